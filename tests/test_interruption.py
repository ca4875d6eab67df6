"""Interrupted work: signals, full disks, killed processes. Targets are there whole or not at all."""

from __future__ import annotations

import builtins
import errno
import io
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import make_picture
from golden import make_content
from PIL import Image

import nacre
import nacre.atomic
import nacre.backend
import nacre.tile
from nacre.atomic import TEMPORARY_SUFFIX
from nacre.bitstream import PictureWriter
from nacre.cli import main

pytestmark = [
    pytest.mark.usefixtures("tiny_weights"),
    pytest.mark.skipif(os.name != "posix", reason="signals and limits of POSIX"),
]

Capture = pytest.CaptureFixture[str]
SIGNALS = {signal.SIGINT: (130, "nacre: interrupted\n"), signal.SIGTERM: (143, "nacre: terminated\n")}


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.ppm"
    Image.fromarray(make_picture(40, 50)).save(path)
    return path


@pytest.fixture
def stream(tmp_path: Path) -> Path:
    path = tmp_path / "stream.ncr"
    path.write_bytes(nacre.encode(make_picture(40, 50), threads=1))
    return path


# Where a signal or a death may come: (name, place, attribute, which call of it).
ENCODING: dict[str, tuple[Any, str, int]] = {
    "analysis": (nacre.backend.Graph, "run", 1),
    "scale network": (nacre.backend.ScaleGraph, "__call__", 10),  # nine calls before are the known-answer test's
    "entropy coder": (nacre.tile, "encode_tile", 1),
    "start of the stream": (PictureWriter, "__init__", 1),
    "tile written": (PictureWriter, "tile", 1),
    "end of the stream": (PictureWriter, "finish", 1),
    "publishing": (nacre.atomic, "_publish", 1),
}
DECODING: dict[str, tuple[Any, str, int]] = {
    "entropy decoder": (nacre.tile, "decode_tile", 1),
    "scale network": (nacre.backend.ScaleGraph, "__call__", 10),
    "synthesis": (nacre.tile.TileCoder, "reconstruct", 1),
    "publishing": (nacre.atomic, "_publish", 1),
}


def strike(monkeypatch: pytest.MonkeyPatch, point: tuple[Any, str, int], action: Callable[[], None]) -> list[int]:
    """Have `action` happen when a function is called for the so many-th time; the list grows with its calls."""
    place, attribute, turn = point
    function = getattr(place, attribute)
    calls: list[int] = []

    def struck(*arguments: Any, **named: Any) -> Any:
        calls.append(len(calls))
        if len(calls) == turn:
            action()
        return function(*arguments, **named)

    monkeypatch.setattr(place, attribute, struck)
    return calls


def snapshot(folder: Path) -> dict[str, bytes]:
    """All files of a folder, hidden ones too."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize(("number", "target"), [(signal.SIGINT, "new"), (signal.SIGTERM, "old")])
@pytest.mark.parametrize("point", ENCODING)
def test_signals_while_encoding(
    point: str, number: signal.Signals, target: str, photo: Path, monkeypatch: pytest.MonkeyPatch, capfd: Capture
) -> None:
    out = photo.with_name("out.ncr")
    if target == "old":
        out.write_bytes(b"what was there before")
    before = snapshot(photo.parent)
    calls = strike(monkeypatch, ENCODING[point], lambda: os.kill(os.getpid(), number))
    code, message = SIGNALS[number]
    assert main(["encode", str(photo), str(out), "--threads", "1"]) == code
    assert calls
    assert capfd.readouterr() == ("", message)
    assert snapshot(photo.parent) == before


@pytest.mark.parametrize(("number", "form"), [(signal.SIGINT, "png"), (signal.SIGTERM, "ppm")])
@pytest.mark.parametrize("point", DECODING)
def test_signals_while_decoding(
    point: str, number: signal.Signals, form: str, stream: Path, monkeypatch: pytest.MonkeyPatch, capfd: Capture
) -> None:
    before = snapshot(stream.parent)
    calls = strike(monkeypatch, DECODING[point], lambda: os.kill(os.getpid(), number))
    code, message = SIGNALS[number]
    assert main(["decode", str(stream), str(stream.with_name(f"out.{form}")), "--threads", "1"]) == code
    assert calls
    assert capfd.readouterr() == ("", message)
    assert snapshot(stream.parent) == before


def test_an_interrupted_codec_codes_on(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a user of the library sees behind a KeyboardInterrupt: the same bytes as before."""
    codec = nacre.ImageCodec(threads=1)
    expected = codec.encode(photo)
    for name, (place, attribute, _) in ENCODING.items():
        if name == "publishing":
            continue
        with monkeypatch.context() as patch:
            strike(patch, (place, attribute, 1), lambda: signal.raise_signal(signal.SIGINT))
            with pytest.raises(KeyboardInterrupt):
                codec.encode(photo)
        assert codec.encode(photo) == expected


# Full disks


class FullDisk(io.FileIO):
    """A file on a disk that takes so many bytes more."""

    room = 0

    def write(self, data: Any, /) -> int:
        if FullDisk.room <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken = super().write(bytes(data)[: FullDisk.room])
        FullDisk.room -= taken
        return taken


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Sets how many bytes targets may still take; what is written is as unbuffered as it gets."""

    def limit(room: int) -> None:
        FullDisk.room = room

        def opened(path: Any, mode: str = "r", *arguments: Any, **named: Any) -> Any:
            if "x" in mode or "w" in mode:
                return io.BufferedWriter(FullDisk(path, mode.replace("b", "")), 16)
            return builtins.open(path, mode, *arguments, **named)

        monkeypatch.setattr(nacre.atomic, "open", opened, raising=False)

    return limit


def test_full_disk_while_encoding(
    photo: Path, full_disk: Callable[[int], None], monkeypatch: pytest.MonkeyPatch, capfd: Capture
) -> None:
    out = photo.with_name("out.ncr")
    size = len(nacre.encode(photo, threads=1))
    before = snapshot(photo.parent)
    for room in [*range(0, size, 31), size - 1]:
        full_disk(room)
        assert main(["encode", str(photo), str(out), "--threads", "1"]) == 1
        message = capfd.readouterr().err
        assert message.startswith(f"nacre: error: {out}: cannot be written: No space left on device")
        assert message.count("\n") == 1
        assert snapshot(photo.parent) == before
    full_disk(size)
    assert main(["encode", str(photo), str(out), "--threads", "1"]) == 0
    assert out.stat().st_size == size


@pytest.mark.parametrize("form", ["png", "ppm"])
def test_full_disk_while_decoding(form: str, stream: Path, full_disk: Callable[[int], None], capfd: Capture) -> None:
    out = stream.with_name(f"out.{form}")
    assert main(["decode", str(stream), str(out), "--threads", "1", "--quiet"]) == 0
    size = out.stat().st_size
    out.unlink()
    before = snapshot(stream.parent)
    for room in (0, 1, 100, size // 2, size - 1):
        full_disk(room)
        assert main(["decode", str(stream), str(out), "--threads", "1"]) == 1
        message = capfd.readouterr().err
        assert message.startswith(f"nacre: error: {out}: cannot be written: No space left on device")
        assert message.count("\n") == 1
        assert snapshot(stream.parent) == before


@pytest.mark.parametrize("form", ["ncr", "png", "ppm", "webp", "jpg", "tif", "bmp", "tga"])
def test_largest_file_of_the_system(form: str, tmp_path: Path, capfd: Capture) -> None:
    """The same by the system's own limit on files, which libraries that write by themselves meet, too."""
    resource = pytest.importorskip("resource")
    photo, stream, out = tmp_path / "photo.ppm", tmp_path / "stream.ncr", tmp_path / f"out.{form}"
    Image.fromarray(make_content("noise", 96, 80)).save(photo)
    stream.write_bytes(nacre.encode(photo, 100, threads=1))
    command = ["encode", str(photo), str(out), "-q", "100"] if form == "ncr" else ["decode", str(stream), str(out)]
    assert main([*command, "--threads", "1", "--quiet"]) == 0
    size = out.stat().st_size
    out.unlink()
    before = snapshot(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in (size // 2, size - 1):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            code = main([*command, "--threads", "1"])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert code == 1
        assert capfd.readouterr().err == f"nacre: error: {out}: cannot be written: File too large\n"
        assert snapshot(tmp_path) == before


def test_folders_that_take_no_files(photo: Path, stream: Path, capfd: Capture) -> None:
    if not Path("/sys/kernel").is_dir():
        pytest.skip("there is no /sys, in which nobody can make a file")
    for arguments in (["encode", str(photo), "/sys/kernel/out.ncr"], ["decode", str(stream), "/sys/kernel/out.png"]):
        assert main([*arguments, "--threads", "1"]) == 1
        message = capfd.readouterr().err
        assert message.startswith(f"nacre: error: {arguments[2]}: cannot be written: ")
        assert message.count("\n") == 1


# Death without warning

DYING = """
import os, signal, sys
import nacre.atomic, nacre.bitstream
place, attribute = {"writing": (nacre.bitstream.PictureWriter, "finish"), "publishing": (nacre.atomic, "_publish")}[
    sys.argv[1]]
setattr(place, attribute, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
from nacre.cli import main
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["writing", "encode", "photo.ppm", "target"],
        ["publishing", "encode", "photo.ppm", "target"],
        ["publishing", "decode", "stream.ncr", "target", "--format", "png"],
    ],
    ids=" ".join,
)
def test_killed(arguments: list[str], photo: Path, stream: Path) -> None:
    target = photo.with_name("target")
    target.write_bytes(b"what was there before")
    before = snapshot(photo.parent)
    command = [sys.executable, "-c", DYING, *arguments, "--threads", "1"]
    result = subprocess.run(command, cwd=photo.parent, capture_output=True, check=False, timeout=120)
    assert result.returncode == -signal.SIGKILL
    after = snapshot(photo.parent)
    left = after.keys() - before.keys()
    assert {name: after[name] for name in before} == before
    assert len(left) <= 1
    assert all(name.startswith(".") and name.endswith(TEMPORARY_SUFFIX) for name in left)
    # What is left over is in nobody's way.
    assert main([arguments[1], str(photo.with_name(arguments[2])), str(target), *arguments[4:], "--quiet"]) == 0
    assert target.read_bytes() != b"what was there before"


# Measuring


@pytest.fixture
def evaluation(tmp_path: Path) -> tuple[list[str], Path]:
    """Arguments of an evaluation of some seconds, and the folder of its results."""
    pytest.importorskip("scipy")
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    Image.fromarray(make_picture(64, 64)).save(pictures / "a.png")
    out = tmp_path / "report"
    command = ["evaluate", str(pictures), "--codecs", "jpeg", "--metrics", "psnr", "--qualities", "jpeg=20,40,60,80"]
    return [*command, "--timing", "0", "--out", str(out), "--quiet"], out


RESULTS = {"results.json", "results.csv", "report.html"}


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("point", ["measuring", "writing"])
def test_signals_while_evaluating(
    point: str,
    number: signal.Signals,
    evaluation: tuple[list[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    capfd: Capture,
) -> None:
    from nacre.tools import measure, results

    command, out = evaluation
    code, message = SIGNALS[number]
    with monkeypatch.context() as patch:
        place = {"measuring": (measure.Journal, "add", 2), "writing": (results, "_csv", 1)}[point]
        strike(patch, place, lambda: os.kill(os.getpid(), number))
        assert main(command) == code
    assert capfd.readouterr().err == message
    names = {path.name for path in out.iterdir()}
    assert not any(name.endswith(TEMPORARY_SUFFIX) for name in names)
    assert "report.html" not in names
    if point == "writing":  # what was written before is whole
        json.loads((out / "results.json").read_bytes())
        assert "results.csv" not in names
    else:
        assert not names & RESULTS
    # What was measured is not measured again.
    assert main(command) == 0
    assert {path.name for path in out.iterdir()} >= RESULTS
    (journal,) = [path for path in out.iterdir() if path.name not in RESULTS and path.suffix in (".jsonl", ".json")]
    measured = [json.loads(line) for line in journal.read_bytes().splitlines() if line]
    assert len({entry["key"] for entry in measured}) == len(measured) == 4


def hang(*arguments: Any) -> None:
    """In a worker: have the signal sent to the main process, then work for longer than anybody waits."""
    os.kill(os.getppid(), int(os.environ[SIGNAL]))
    time.sleep(120)


def hang_behind_the_first(task: Any) -> Any:
    """As `hang`, in a measurement, once the one at quality 20 is kept."""
    from nacre.tools.measure import measure

    if task.quality == 20:
        return measure(task)
    while not Path(os.environ[JOURNAL]).stat().st_size:
        time.sleep(0.02)
    return hang()


SIGNAL, JOURNAL = "NACRE_TEST_SIGNAL", "NACRE_TEST_JOURNAL"


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("point", ["measuring", "timing", "crops"])
def test_signals_while_workers_work(
    point: str,
    number: signal.Signals,
    evaluation: tuple[list[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    capfd: Capture,
) -> None:
    """What is under way is given up at once, not waited for, and what was measured is kept."""
    from nacre.tools import crops, measure, timing

    command, out = evaluation
    if point == "timing":
        command = [*command, "--timing", "1"]
    place, attribute = {
        "measuring": (measure, "_attempt"), "timing": (timing, "_take_turn"), "crops": (crops, "_crop"),
    }[point]  # fmt: skip
    monkeypatch.setenv(SIGNAL, str(int(number)))
    monkeypatch.setenv(JOURNAL, str(out / "measurements.jsonl"))
    with monkeypatch.context() as patch:
        patch.setattr(place, attribute, hang_behind_the_first if point == "measuring" else hang)
        start = time.monotonic()
        code, message = SIGNALS[number]
        assert main(command) == code
        assert time.monotonic() - start < 60
    assert not multiprocessing.active_children()
    assert capfd.readouterr().err == message
    measured = (out / "measurements.jsonl").read_bytes().splitlines()
    assert len(measured) == (1 if point == "measuring" else 4)
    assert not (out / "report.html").exists()


@pytest.mark.parametrize("seconds", [0.0, 0.05, 0.2, 0.4])
def test_an_interruption_of_all_processes_while_workers_start(seconds: float) -> None:
    """Ctrl-C on a terminal reaches workers too, at any moment: they say nothing."""
    from nacre.tools.workers import worker_pool

    def interrupt() -> None:
        for worker in multiprocessing.active_children():
            os.kill(worker.pid or 0, signal.SIGINT)

    with worker_pool(2) as pool:
        futures = [pool.submit(time.sleep, 0.01) for _ in range(2)]
        time.sleep(seconds)
        assert len(multiprocessing.active_children()) == 2
        interrupt()
        for future in futures:
            assert future.result(timeout=60) is None


GO_ON = "NACRE_TEST_GO_ON"


def measure_when_told(task: Any) -> Any:
    """In a worker: measure quality 20 at once, the others once the file that GO_ON names is there."""
    from nacre.tools.measure import measure

    end = time.monotonic() + 120
    while task.quality > 20 and not os.path.exists(os.environ[GO_ON]) and time.monotonic() < end:
        time.sleep(0.02)
    return measure(task)


def test_killed_workers_while_evaluating(
    evaluation: tuple[list[str], Path], monkeypatch: pytest.MonkeyPatch, capfd: Capture, tmp_path: Path
) -> None:
    """The system kills a worker, for want of memory say: one line, nothing measured is lost, the rest is measured."""
    from nacre.tools import measure

    def kill() -> None:
        workers = multiprocessing.active_children()
        assert len(workers) == 2
        os.kill(workers[0].pid or 0, signal.SIGKILL)
        (tmp_path / "go-on").touch()

    monkeypatch.setenv(GO_ON, str(tmp_path / "go-on"))
    monkeypatch.setattr(measure, "_attempt", measure_when_told)
    command, out = evaluation
    calls = strike(monkeypatch, (measure.Journal, "add", 1), kill)
    assert main([*[word for word in command if word != "--quiet"], "--jobs", "2"]) == 0
    assert len(calls) == 4
    complaints = [line for line in capfd.readouterr().err.splitlines() if "died" in line]
    assert len(complaints) == 1
    assert complaints[0].startswith("nacre: warning: a worker process died: what was under way (")
    assert {path.name for path in out.iterdir()} >= RESULTS
    measured = [json.loads(line) for line in (out / "measurements.jsonl").read_bytes().splitlines()]
    assert len({entry["key"] for entry in measured}) == len(measured) == 4
    assert not multiprocessing.active_children()


def test_measurements_that_kill_their_workers(
    evaluation: tuple[list[str], Path], monkeypatch: pytest.MonkeyPatch, capfd: Capture
) -> None:
    """Exit code 3, a line for what cannot be measured, and the others are kept."""
    from nacre.tools import measure

    command, out = evaluation
    monkeypatch.setattr(measure, "_attempt", die_at_quality_60)
    assert main([*command, "--jobs", "2"]) == 3
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("nacre evaluate: ")
    assert line.endswith("a.png: jpeg at quality 60: its process died")
    measured = [json.loads(entry) for entry in (out / "measurements.jsonl").read_bytes().splitlines()]
    assert sorted(entry["quality"] for entry in measured) == [20, 40, 80]
    monkeypatch.undo()


def die_at_quality_60(task: Any) -> Any:
    from nacre.tools.measure import measure

    if task.quality == 60:
        os.kill(os.getpid(), signal.SIGKILL)
    return measure(task)


# Standard output that takes nothing


def nowhere(kind: str) -> int:
    """A descriptor that takes nothing: of a pipe whose reader has gone, or of a full device."""
    if kind == "full":
        if not Path("/dev/full").exists():
            pytest.skip("there is no /dev/full")
        return os.open("/dev/full", os.O_WRONLY)
    reading, writing = os.pipe()
    os.close(reading)
    return writing


GONE = {
    "pipe": "nacre: error: the reader of standard output has gone\n",
    "full": "No space left on device",
}


@pytest.mark.parametrize("kind", GONE)
@pytest.mark.parametrize(
    "arguments",
    ["encode photo.ppm -", "encode photo.ppm out.ncr", "decode stream.ncr -", "decode stream.ncr - --format ppm",
     "info stream.ncr", "verify stream.ncr --json"],
)  # fmt: skip
def test_standard_output_that_takes_nothing(kind: str, arguments: str, photo: Path, stream: Path) -> None:
    output = nowhere(kind)
    command = [sys.executable, "-m", "nacre", *arguments.split()]
    result = subprocess.run(
        command, cwd=photo.parent, stdout=output, stderr=subprocess.PIPE, text=True, check=False, timeout=120
    )
    os.close(output)
    assert result.returncode == 1
    assert GONE[kind] in result.stderr
    assert result.stderr.startswith("nacre: error: ")
    assert result.stderr.count("\n") == 1
    assert {path.name for path in photo.parent.iterdir()} - {"out.ncr"} == {photo.name, stream.name}


@pytest.mark.parametrize("kind", GONE)
def test_evaluation_whose_output_nobody_takes(kind: str, evaluation: tuple[list[str], Path]) -> None:
    """What was measured is kept, and the next run takes it from there."""
    command, out = evaluation
    output = nowhere(kind)
    result = subprocess.run(
        [sys.executable, "-m", "nacre", *command],
        stdout=output, stderr=subprocess.PIPE, text=True, check=False, timeout=300,
    )  # fmt: skip
    os.close(output)
    assert result.returncode == 1
    assert GONE[kind] in result.stderr
    assert result.stderr.startswith("nacre: error: ")
    assert result.stderr.count("\n") == 1
    assert {path.name for path in out.iterdir()} == {"measurements.jsonl"}
    assert len((out / "measurements.jsonl").read_bytes().splitlines()) == 4


def test_targets_that_are_full_devices(photo: Path, stream: Path, capfd: Capture) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    before = snapshot(photo.parent)
    for arguments in (["encode", str(photo), "/dev/full"], ["decode", str(stream), "/dev/full", "--format", "png"]):
        assert main([*arguments, "--threads", "1"]) == 1
        assert capfd.readouterr() == ("", "nacre: error: /dev/full: cannot be written: No space left on device\n")
        assert snapshot(photo.parent) == before


def test_full_disk_while_evaluating(
    evaluation: tuple[list[str], Path], full_disk: Callable[[int], None], capfd: Capture
) -> None:
    command, out = evaluation
    full_disk(100)
    assert main(command) == 1
    message = capfd.readouterr().err
    assert "cannot be written: No space left on device" in message
    assert message.count("\n") == 1
    assert not {path.name for path in out.iterdir()} & RESULTS
    assert not [path for path in out.iterdir() if path.name.endswith(TEMPORARY_SUFFIX)]
