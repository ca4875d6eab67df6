"""The command line as a process: pipes, signals, terminals."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import make_picture
from numpy.typing import NDArray
from PIL import Image

import nacre
from nacre.metrics import psnr

pytestmark = [
    pytest.mark.usefixtures("tiny_weights"),
    pytest.mark.skipif(os.name != "posix", reason="pipes, signals and terminals of POSIX"),
]

NACRE = [sys.executable, "-m", "nacre"]


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    Image.fromarray(make_picture(60, 90)).save(path)
    return path


@pytest.fixture
def stream(tmp_path: Path) -> Path:
    path = tmp_path / "photo.ncr"
    path.write_bytes(nacre.encode(make_picture(60, 90), threads=1))
    return path


@pytest.fixture(scope="module")
def tall() -> NDArray[np.uint8]:
    """A picture of 1 x 3 tiles."""
    return np.random.default_rng(0).integers(0, 256, (2200, 1000, 3), dtype=np.uint8)


def between(picture: NDArray[np.uint8], measure: Callable[[bytes], float]) -> float:
    """What a target can reach: the middle of what qualities 20 and 80 give."""
    return sum(measure(nacre.encode(picture, quality)) for quality in (20, 80)) / 2


def psnr_to(picture: NDArray[np.uint8]) -> Callable[[bytes], float]:
    return lambda stream: psnr(nacre.decode_array(stream), picture)


def run(*arguments: object, **options: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*NACRE, *map(str, arguments)], capture_output=True, check=False, timeout=120, **options)


def ppm(pixels: NDArray[np.uint8]) -> bytes:
    kind = b"P6" if pixels.ndim == 3 else b"P5"
    return kind + b"\n%d %d\n255\n" % (pixels.shape[1], pixels.shape[0]) + pixels.tobytes()


def test_in_a_pipe(photo: Path) -> None:
    coded = run("encode", "-", "-", "--threads", "1", input=photo.read_bytes())
    assert (coded.returncode, coded.stderr) == (0, b"")
    assert coded.stdout == nacre.encode(photo, threads=1)
    for form in ("ppm", "png", "tiff", "jpg"):
        decoded = run("decode", "-", "-", "--format", form, input=coded.stdout)
        assert (decoded.returncode, decoded.stderr) == (0, b"")
        with Image.open(io.BytesIO(decoded.stdout)) as image:
            if form != "jpg":
                np.testing.assert_array_equal(np.asarray(image), nacre.decode_array(coded.stdout))


@pytest.mark.parametrize("channels", [1, 3])
def test_pnm_in_a_pipe(channels: int) -> None:
    picture = make_picture(241, 167, channels)
    size, dB = int(between(picture, len)), between(picture, psnr_to(picture))
    for name, value in (("quality", 80), ("size", size), ("psnr", dB)):  # the last two read the picture several times
        coded = run("encode", "-", "-", f"--{name}", value, "--threads", "1", input=ppm(picture))
        assert coded.returncode == 0
        assert coded.stderr == b"" or b"nothing nearer was found" in coded.stderr
        assert coded.stdout == nacre.encode(picture, threads=1, **{name: value})  # type: ignore[arg-type]
    decoded = run("decode", "-", "-", "--format", "pnm", input=coded.stdout)
    assert (decoded.returncode, decoded.stderr) == (0, b"")
    assert decoded.stdout == ppm(nacre.decode_array(coded.stdout))


def test_standard_input_that_is_a_file(tmp_path: Path) -> None:
    picture = make_picture(241, 167)
    path = tmp_path / "photo.ppm"
    path.write_bytes(ppm(picture))
    size = int(between(picture, len))
    with open(path, "rb") as file:
        coded = run("encode", "-", "-", "--size", size, "--threads", "1", stdin=file)
    assert (coded.returncode, coded.stderr) == (0, b"")
    assert coded.stdout == nacre.encode(path, size=size, threads=1)


def test_pnm_is_coded_by_rows(tall: NDArray[np.uint8]) -> None:
    """The stream comes out while the picture goes in, and rows while the stream goes in."""
    taller = np.concatenate([tall, tall])
    for arguments, data, held_back in (
        (["encode", "-", "-", "--threads", "1"], ppm(taller), taller.nbytes // 2),
        (["decode", "-", "-", "--format", "ppm", "--threads", "1"], nacre.encode(taller), 1000),
    ):
        with subprocess.Popen([*NACRE, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            has_begun = threading.Event()
            timer = threading.Timer(120, process.kill)
            writer = threading.Thread(target=write_with_a_pause, args=(process, data, held_back, has_begun))
            timer.start()
            writer.start()
            assert process.stdout is not None
            assert len(process.stdout.read(4096)) == 4096  # never, did it wait for the rest
            has_begun.set()
            assert process.stdout.read()
            writer.join()
            assert process.wait() == 0
            timer.cancel()


def write_with_a_pause(process: subprocess.Popen[bytes], data: bytes, held_back: int, go_on: threading.Event) -> None:
    assert process.stdin is not None
    with suppress(BrokenPipeError):
        process.stdin.write(data[:-held_back])
        process.stdin.flush()
        go_on.wait(150)
        process.stdin.write(data[-held_back:])
        process.stdin.close()


@pytest.mark.parametrize("form", ["png", "ppm"])
def test_truncated_pipes(stream: Path, tmp_path: Path, form: str) -> None:
    coded = run("encode", "-", tmp_path / "out.ncr", input=ppm(make_picture(60, 90))[:-1])
    assert coded.returncode == 1
    assert b"ends after 59 rows" in coded.stderr
    decoded = run("decode", "-", tmp_path / f"out.{form}", input=stream.read_bytes()[:-1])
    assert decoded.returncode == 1
    assert decoded.stderr.startswith(b"nacre: error: <stdin>: ")
    assert decoded.stderr.count(b"\n") == 1
    assert list(tmp_path.iterdir()) == [stream]


def test_bad_input(tmp_path: Path) -> None:
    result = run("decode", tmp_path / "missing.ncr", tmp_path / "out.png")
    assert result.returncode == 1
    assert result.stderr.count(b"\n") == 1
    assert b"missing.ncr: cannot be read" in result.stderr


def test_closed_standard_streams(photo: Path, stream: Path, tmp_path: Path) -> None:
    for command, words in (
        (f"encode - {tmp_path / 'out.ncr'} <&-", b"standard input is closed"),
        (f"decode {stream} - >&-", b"standard output is closed"),
    ):
        result = subprocess.run(
            ["sh", "-c", f"{sys.executable} -m nacre {command}"], stderr=subprocess.PIPE, check=False, timeout=120
        )
        assert result.returncode == 1
        assert words in result.stderr
        assert result.stderr.count(b"\n") == 1
    result = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m nacre encode {photo} {tmp_path / 'out.ncr'} >&- 2>&-"],
        check=False,
        timeout=120,
    )
    assert result.returncode == 0
    assert nacre.inspect(tmp_path / "out.ncr").header.width == 90


@pytest.mark.parametrize(
    "arguments",
    [
        ["encode", "photo.png", "-"],
        ["encode", "photo.png", "-", "--size", "100k", "--quiet"],
        ["encode", "photo.png", "copy.png", "--out-dir", "out"],
        ["encode", "photo.png", "copy.png", "--out-dir", "out", "--jobs", "2"],
        ["decode", "photo.ncr", "-"],
        ["decode", "photo.ncr", "-", "--format", "jpg"],
        ["decode", "photo.ncr", "-", "--format", "tiff"],
        ["decode", "photo.ncr", "-", "--format", "bmp"],
        ["decode", "photo.ncr", "-", "--format", "webp"],
        ["decode", "photo.ncr", "-", "--format", "ppm"],
        ["info", "photo.ncr"],
    ],
)
def test_reader_that_has_gone(photo: Path, stream: Path, arguments: list[str]) -> None:
    photo.with_name("copy.png").write_bytes(photo.read_bytes())
    reading, writing = os.pipe()
    os.close(reading)
    result = subprocess.run(
        [*NACRE, *arguments], cwd=photo.parent, stdout=writing, stderr=subprocess.PIPE, check=False, timeout=120
    )
    os.close(writing)
    assert result.returncode == 1
    assert result.stderr == b"nacre: error: the reader of standard output has gone\n"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped_while_reading(tmp_path: Path, number: signal.Signals, code: int) -> None:
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([*NACRE, "encode", "-", str(tmp_path / "out.ncr")], **pipes) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(bytes(1 << 20))  # returns once the process reads, that is once its handlers are set
        process.stdin.flush()
        time.sleep(0.2)
        process.send_signal(number)
        assert process.wait(timeout=30) == code
        assert process.stderr.read().count(b"\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped_in_the_middle_of_many(
    tmp_path: Path, tall: NDArray[np.uint8], number: signal.Signals, code: int, jobs: int
) -> None:
    sources = [tmp_path / f"{index}.ppm" for index in range(40)]
    sources[0].write_bytes(ppm(tall))
    for source in sources[1:]:
        source.symlink_to(sources[0])
    out = tmp_path / "out"
    command = [*NACRE, "encode", *map(str, sources), "--out-dir", str(out), "--jobs", str(jobs)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()  # the first one is done
        time.sleep(0.05)
        process.send_signal(number)
        assert process.wait(timeout=60) == code
        finished = 1 + process.stdout.read().count(b"\n")
        assert process.stderr.read() == {130: b"nacre: interrupted\n", 143: b"nacre: terminated\n"}[code]
    written = sorted(out.iterdir())
    assert finished <= len(written) < len(sources)
    for path in written:
        assert path.suffix == ".ncr"  # none under a temporary name
        nacre.verify(path)


def on_a_terminal(*arguments: object, cwd: Path) -> tuple[int, bytes, bytes]:
    """Runs a command whose stderr is a terminal; its exit code, standard output, and what the terminal was sent."""
    master, slave = os.openpty()
    with subprocess.Popen([*NACRE, *map(str, arguments)], cwd=cwd, stdout=subprocess.PIPE, stderr=slave) as process:
        os.close(slave)
        shown = b""
        while True:
            try:
                data = os.read(master, 4096)
            except OSError:  # EIO: the other side is closed
                break
            if not data:
                break
            shown += data
        assert process.stdout is not None
        output = process.stdout.read()
        code = process.wait(timeout=120)
    os.close(master)
    return code, output, shown


def test_progress_on_a_terminal(tmp_path: Path, tall: NDArray[np.uint8]) -> None:
    (tmp_path / "tall.ppm").write_bytes(ppm(tall))
    (tmp_path / "bad.ppm").write_bytes(b"P6\n")
    (tmp_path / "small.ppm").write_bytes(ppm(make_picture(40, 50)))
    code, output, shown = on_a_terminal("encode", "tall.ppm", "tall.ncr", cwd=tmp_path)
    assert code == 0
    assert output.startswith(b"tall.ncr: 1000 x 2200, ")
    assert b"\r[######--------------]   33 %  1 of 3 tiles" in shown
    assert shown.split(b"\r")[-2].strip() == b""  # blanks over it, and nothing behind them
    assert shown.endswith(b"\r")

    code, output, shown = on_a_terminal("encode", *tmp_path.glob("*.ppm"), "--out-dir", "out", cwd=tmp_path)
    assert code == 3
    assert output.count(b"\n") == 2
    assert b" of 3 pictures" in shown
    (complaint,) = [line for line in shown.split(b"\r") if b"error" in line]
    assert complaint.startswith(b"nacre: error: ")
    assert b"bad.ppm: the PNM file ends inside its header" in complaint

    for arguments in (
        ["decode", "tall.ncr", "tall.png", "--quiet"],
        ["encode", "small.ppm", "small.ncr"],  # one tile
    ):
        code, _, shown = on_a_terminal(*arguments, cwd=tmp_path)
        assert (code, shown) == (0, b"")
    assert run("decode", tmp_path / "tall.ncr", tmp_path / "tall.png").stderr == b""


def test_terminals_get_no_streams(photo: Path) -> None:
    master, slave = os.openpty()
    result = subprocess.run(
        [*NACRE, "encode", str(photo), "-"], stdout=slave, stderr=subprocess.PIPE, check=False, timeout=120
    )
    os.close(slave)
    os.close(master)
    assert result.returncode == 1
    assert b"standard output is a terminal, must be a file or a pipe" in result.stderr
