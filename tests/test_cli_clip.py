"""The command line on clips: every kind of source and target, options, pipes, damage, signals, bad input."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("av")
pytest.importorskip("numba")

from clipfiles import RATE, make_frames, make_planes, read_clip, read_with_warnings, same_planes, write_file
from conftest import make_picture
from PIL import Image
from sequences import make_items, packed

import nacre
from nacre.bitstream.tracks import AUDIO, SUBTITLE, PacketUnit, TrackUnit
from nacre.cli import build_parser, main
from nacre.clip import ClipInfo, Frame
from nacre.clipwrite import create_clip
from nacre.compensation import Planes
from nacre.kinds import is_clip
from nacre.progress import Progress
from nacre.sequenceinfo import SequenceInfo
from nacre.y4m import Y4mReader

TINY_VIDEO = Path(__file__).parent / "data" / "tiny-video"
NACRE = [sys.executable, "-m", "nacre"]
Capture = pytest.CaptureFixture[str]
Run = Callable[..., tuple[int, list[str], list[str]]]

posix = pytest.mark.skipif(os.name != "posix", reason="pipes and signals of POSIX")


@pytest.fixture(autouse=True)
def weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the tiny models the installed ones."""
    monkeypatch.setenv("NACRE_WEIGHTS", str(TINY_VIDEO))


@pytest.fixture
def run(capfd: Capture) -> Run:
    """Runs a command with one thread; returns its exit code and the lines of standard output and stderr."""

    def run(*arguments: object) -> tuple[int, list[str], list[str]]:
        capfd.readouterr()
        threads = ["--threads", "1"] if arguments[0] in ("encode", "decode", "verify") else []
        code = main([*map(str, arguments), *threads])
        output, error = capfd.readouterr()
        return code, output.splitlines(), error.splitlines()

    return run


@pytest.fixture(scope="module")
def coded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stream of 7 frames in GOPs of 3, without tracks."""
    path = tmp_path_factory.mktemp("coded") / "clip.ncr"
    info = ClipInfo(width=64, height=64, time_base=1 / RATE, frame_rate=RATE)
    with nacre.VideoEncoder(
        path, 64, 64, RATE, gop=3, scene_cut=False, clip=info, threads=1, weights=TINY_VIDEO
    ) as encoder:
        for frame in moving_frames(7, 64, 64):
            encoder.write(frame)
    return path


@pytest.fixture
def stream(coded: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(coded, tmp_path / "clip.ncr"))


@pytest.fixture
def y4m(tmp_path: Path) -> Path:
    """5 frames of 64x48 as YUV4MPEG2."""
    return write_y4m(tmp_path / "clip.y4m", 5, 64, 48)


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """5 frames with a second of sound and a line of text."""
    tracks = (
        TrackUnit(
            number=0,
            kind=AUDIO,
            codec="pcm_s16le",
            time_base=Fraction(1, 8000),
            sample_rate=8000,
            channels=1,
            layout="mono",
            language="eng",
        ),
        TrackUnit(number=1, kind=SUBTITLE, codec="subrip", time_base=Fraction(1, 1000), language="deu"),
    )
    info = ClipInfo(width=64, height=48, time_base=Fraction(1, 1000), frame_rate=RATE)
    path = tmp_path / "film.mkv"
    with create_clip(path, info, tracks) as writer:
        writer.packet(PacketUnit(track=1, pts=0, dts=0, duration=80, data=b"Hello"))
        for number in range(5):
            writer.packet(PacketUnit(track=0, pts=320 * number, dts=320 * number, duration=320, data=bytes(640)))
            writer.write(Frame(make_planes(64, 48, number), 40 * number, 40))
    return path


def write_y4m(path: Path, count: int, width: int, height: int) -> Path:
    with create_clip(path, ClipInfo(width=width, height=height, time_base=1 / RATE, frame_rate=RATE)) as writer:
        for frame in moving_frames(count, width, height):
            writer.write(frame)
    return path


def moving_frames(count: int, width: int, height: int) -> list[Frame]:
    """A texture that moves, so that no frame is taken for the first of another scene."""
    whole = make_planes(width + 2 * count, height)
    return [
        Frame(
            Planes(
                *(
                    np.ascontiguousarray(plane[:, step * number :][:, : -(-width * step // 2)])
                    for plane, step in zip(whole, (2, 1, 1), strict=True)
                )
            ),
            number,
            1,
        )
        for number in range(count)
    ]


def decoded(path: Path) -> list[Frame]:
    """The frames of a stream, by the Python API."""
    with nacre.VideoDecoder(path, threads=1) as decoder:
        return [Frame(frame.planes, frame.pts, frame.duration, frame.key) for frame in decoder]


def inspect(path: Path) -> SequenceInfo:
    found = nacre.inspect(path)
    assert isinstance(found, SequenceInfo)
    return found


# Sources and targets


def test_encode_and_decode(y4m: Path, tmp_path: Path, run: Run) -> None:
    target = tmp_path / "out.ncr"
    code, output, error = run("encode", y4m, target, "--gop", 3)
    assert (code, error) == (0, [])
    size = target.stat().st_size
    assert output == [f"{target}: 64 x 48, 5 frames, 0.20 s, {size} bytes, {size * 8 / 200:.4g} kbit/s"]
    found = inspect(target)
    assert len(found.frames) == 5
    assert 1 < found.longest_gop <= 3  # untrained weights see cuts between scenes
    assert found.of_kind(key=False).low_quality == 50.0
    assert (found.header.frame_rate, found.tracks) == (RATE, ())

    frames = decoded(target)
    for name in ("out.mkv", "out.y4m"):
        code, output, error = run("decode", target, tmp_path / name)
        assert (code, output, error) == (0, [f"{tmp_path / name}: 64 x 48, 5 frames, 0.20 s"], [])
        assert same_planes(read_clip(tmp_path / name)[2], frames)
    for name in ("out.mp4", "out.mov"):
        assert run("decode", target, tmp_path / name, "--quiet") == (0, [], [])
        assert len(read_clip(tmp_path / name)[2]) == 5
    assert run("decode", target, tmp_path / "out")[0] == 0
    assert run("decode", target, tmp_path / "out" / "more%03d.png")[0] == 0
    names = [f"{number:06d}.png" for number in range(1, 6)] + [f"more{number:03d}.png" for number in range(1, 6)]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    with Image.open(tmp_path / "out" / "000002.png") as first, Image.open(tmp_path / "out" / "more002.png") as second:
        assert first.size == (64, 48)
        np.testing.assert_array_equal(np.asarray(first), np.asarray(second))


@pytest.mark.parametrize(
    ("name", "codec", "form"),
    [("a.mkv", "ffv1", None), ("a.mp4", "libx264", None), ("a.ts", "mpeg2video", None), ("a.data", "ffv1", "matroska")],
)
def test_files_of_ffmpeg(tmp_path: Path, run: Run, name: str, codec: str, form: str | None) -> None:
    target = tmp_path / name if form is None else str(tmp_path / name)
    path = write_file(target, make_frames(6), codec, form=form, bit_rate=4_000_000)
    assert run("encode", path, tmp_path / "out.ncr", "--quiet") == (0, [], [])
    assert len(inspect(tmp_path / "out.ncr").frames) == 6


def test_low_delay_gives_the_same_bytes(y4m: Path, tmp_path: Path, run: Run) -> None:
    assert run("encode", y4m, tmp_path / "a.ncr", "--gop", 2)[0] == 0
    assert run("encode", y4m, tmp_path / "b.ncr", "--gop", 2, "--low-delay")[0] == 0
    assert (tmp_path / "a.ncr").read_bytes() == (tmp_path / "b.ncr").read_bytes()


def test_groups_of_one(y4m: Path, tmp_path: Path, run: Run) -> None:
    assert run("encode", y4m, tmp_path / "out.ncr", "--gop", 1, "-q", 20)[0] == 0
    assert inspect(tmp_path / "out.ncr").longest_gop == 1


def test_pictures_as_clips(tmp_path: Path, run: Run) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(3):
        Image.fromarray(make_picture(40, 56, seed=number)).save(folder / f"{number:04d}.png")
    for source in (folder, folder / "%04d.png"):
        assert run("encode", source, tmp_path / "out.ncr", "--fps", "30000/1001", "--quiet") == (0, [], [])
        found = inspect(tmp_path / "out.ncr")
        assert (len(found.frames), found.header.frame_rate) == (3, Fraction(30000, 1001))
    code, _, error = run("encode", folder, folder / "%04d.png", "--out-dir", tmp_path / "out")
    assert (code, len(error)) == (1, 1)  # both would be frames.ncr
    assert "would both be written" in error[0]


def test_tracks_and_parts(film: Path, tmp_path: Path, run: Run) -> None:
    whole, silent, back = (tmp_path / name for name in ("whole.ncr", "silent.ncr", "back.mkv"))
    assert run("encode", film, whole)[0] == 0
    assert [(track.unit.codec, track.packets) for track in inspect(whole).tracks] == [("pcm_s16le", 5), ("subrip", 1)]
    assert run("encode", film, silent, "--no-audio")[0] == 0
    (track,) = inspect(silent).tracks
    assert (track.unit.number, track.unit.codec, track.unit.language, track.packets) == (0, "subrip", "deu", 1)

    assert run("decode", whole, back)[0] == 0
    _, tracks, frames, packets = read_clip(back)
    assert [track.language for track in tracks] == ["eng", "deu"]
    assert b"".join(packet.data for packet in packets if packet.track == 0) == bytes(3200)
    assert len(frames) == 5
    assert run("decode", whole, back, "--no-audio")[0] == 0
    assert [track.codec for track in read_clip(back)[1]] == ["subrip"]

    for options in (["--start", "0.08", "--duration", "0.08"], ["--start", "0:00:00.080", "--duration", "00:00.08"]):
        assert run("encode", film, tmp_path / "part.ncr", *options)[0] == 0
        found = inspect(tmp_path / "part.ncr")
        assert [frame.timestamp for frame in found.frames] == [0, 40]
        assert run("decode", whole, back, *options)[0] == 0
        assert same_planes(read_clip(back)[2], decoded(whole)[2:4])
    code, output, error = run("decode", whole, back, "--start", 9)
    assert (code, output, len(error)) == (1, [], 1)


def test_rates(tmp_path: Path, run: Run) -> None:
    source = write_y4m(tmp_path / "clip.y4m", 25, 64, 64)
    sizes = {}
    for rate in ("20k", "200k"):
        target = tmp_path / f"{rate}.ncr"
        assert run("encode", source, target, "--bitrate", rate, "--maxrate", "300k", "--bufsize", "1M")[0] == 0
        sizes[rate] = target.stat().st_size
    assert sizes["20k"] < sizes["200k"]
    qualities = {frame.quality for frame in inspect(tmp_path / "20k.ncr").frames}
    assert len(qualities) > 1


def test_pictures_and_clips_to_a_folder(stream: Path, y4m: Path, tmp_path: Path, run: Run) -> None:
    photo, out = tmp_path / "photo.png", tmp_path / "out"
    Image.fromarray(make_picture(40, 50)).save(photo)
    code, output, error = run("encode", photo, y4m, "--out-dir", out)
    assert (code, error) == (0, [])
    assert sorted(line.split(":")[0] for line in output) == [str(out / "clip.ncr"), str(out / "photo.ncr")]
    back = tmp_path / "back"
    for options, ending in (([], "mkv"), (["--jobs", 2], "mkv"), (["--format", "y4m"], "y4m")):
        code, output, error = run("decode", out / "photo.ncr", out / "clip.ncr", "--out-dir", back, *options)
        assert code == (3 if "y4m" in options else 0)
        names = sorted(path.name for path in back.iterdir())
        assert names == [f"clip.{ending}"] + (["photo.png"] if ending == "mkv" else [])
        shutil.rmtree(back)
    assert f"{out / 'photo.ncr'}: " in error[0]
    code, output, error = run("decode", out / "clip.ncr", "--out-dir", back, "--format", "webp")
    assert (code, output) == (1, [])
    assert "format is 'webp', must be one of mkv, mp4, m4v, mov, y4m for a clip" in error[0]


# Kinds


@pytest.mark.parametrize(
    ("start", "clip"),
    [
        (b"YUV4MPEG2 W6", True),
        (b"\x1a\x45\xdf\xa3", True),
        (b"\0\0\0\x20ftypisom", True),
        (b"\0\0\0\x20ftypavif", False),
        (b"\0\0\0\x14ftypqt  ", True),
        (b"\0\0\0\x08wide\0\0\0\0", True),
        (b"RIFF\0\0\0\0AVI ", True),
        (b"RIFF\0\0\0\0WEBP", False),
        (b"\x47\x40\x11\x10\0\x42\xf0", True),
        (b"GIF89a", False),
        (b"\0\0\1\xba", True),
        (b"\0\0\1\0\1\0", False),  # an icon
        (b"\0\0\0\1\x67", True),
        (b"OggS", True),
        (b"\x89PNG\r\n\x1a\n", False),
        (b"\xff\xd8\xff\xe0", False),
        (b"P6\n64 64\n255", False),
        (b"II*\0", False),
        (b"", False),
    ],
)
def test_kinds_by_their_first_bytes(start: bytes, clip: bool) -> None:
    assert is_clip("-", start) is clip


def test_kinds_by_their_names(tmp_path: Path) -> None:
    (tmp_path / "100%d.png").touch()
    assert is_clip("a.MKV", b"")
    assert is_clip(str(tmp_path), b"")
    assert is_clip("frames/%04d.png", b"")
    assert not is_clip(str(tmp_path / "100%d.png"), b"")
    assert not is_clip("frames%d/a.png", b"")
    assert not is_clip("a\0b", b"")


class Stdin(io.RawIOBase):
    """A pipe, which cannot seek and gives a few bytes at a time."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._file.readinto(memoryview(buffer)[:999])


@pytest.mark.parametrize("kind", ["y4m", "film", "picture"])
def test_pipes(
    kind: str, film: Path, y4m: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: Any
) -> None:
    """What a pipe brings is told by its first bytes, of which none is lost."""
    photo = io.BytesIO()
    Image.fromarray(make_picture(40, 50)).save(photo, "PNG")
    data = photo.getvalue() if kind == "picture" else {"y4m": y4m, "film": film}[kind].read_bytes()

    def passed(command: str, data: bytes) -> bytes:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(Stdin(data))))
        assert main([command, "-", "-", "--threads", "1"]) == 0
        output, error = capfdbinary.readouterr()
        assert error.count(b"\n") == (kind == "film" and command == "decode")  # YUV4MPEG2 has no tracks
        return bytes(output)

    stream = passed("encode", data)
    found = nacre.inspect(stream)
    back = passed("decode", stream)
    if kind == "picture":
        assert not isinstance(found, SequenceInfo)
        assert back.startswith(b"\x89PNG")
        return
    assert isinstance(found, SequenceInfo)
    assert len(found.frames) == 5
    path = tmp_path / "piped.ncr"
    path.write_bytes(stream)
    assert same_planes([Frame(Planes(*planes), 0, 1) for planes in Y4mReader(io.BytesIO(back))], decoded(path))


@posix
def test_frames_pass_as_they_come(tmp_path: Path) -> None:
    """Through encoder and decoder, while the clip is still being recorded."""
    source = write_y4m(tmp_path / "clip.y4m", 3, 64, 64).read_bytes()
    head = source.index(b"FRAME")
    frame = (len(source) - head) // 3
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with (
        subprocess.Popen([*NACRE, "encode", "-", "-", "--threads", "1"], **pipes) as encoder,
        subprocess.Popen(
            [*NACRE, "decode", "-", "-", "--threads", "1"], stdin=encoder.stdout, stdout=subprocess.PIPE
        ) as decoder,
    ):
        assert encoder.stdin is not None
        assert encoder.stdout is not None
        assert decoder.stdout is not None
        encoder.stdout.close()
        encoder.stdin.write(source[: head + frame])
        encoder.stdin.flush()
        assert decoder.stdout.readline().startswith(b"YUV4MPEG2 W64 H64")
        assert len(decoder.stdout.read(frame)) == frame
        encoder.stdin.write(source[head + frame :])
        encoder.stdin.close()
        assert len(decoder.stdout.read()) == 2 * frame
        assert (encoder.wait(60), decoder.wait(60)) == (0, 0)


# Options


@pytest.mark.parametrize(
    "options",
    ["--bpp 1", "--size 10k", "--psnr 30", "-e 2", "--strip"],
)
def test_options_of_pictures_are_refused(y4m: Path, tmp_path: Path, run: Run, options: str) -> None:
    code, output, error = run("encode", y4m, tmp_path / "out.ncr", *options.split())
    assert (code, output, len(error)) == (1, [], 1)
    assert f"{y4m}: --" in error[0]
    assert "is for pictures alone, this is a clip" in error[0]
    assert not (tmp_path / "out.ncr").exists()


@pytest.mark.parametrize(
    "options",
    [
        "--bitrate 1M",
        "--gop 8",
        "--fps 25",
        "--start 1",
        "--duration 1",
        "--no-audio",
        "--low-delay",
        "--bitrate 1M --maxrate 2M --bufsize 2M",
    ],
)
def test_options_of_clips_are_refused(tmp_path: Path, run: Run, options: str) -> None:
    photo = tmp_path / "photo.png"
    Image.fromarray(make_picture(40, 50)).save(photo)
    code, output, error = run("encode", photo, tmp_path / "out.ncr", *options.split())
    assert (code, output, len(error)) == (1, [], 1)
    assert "is for clips alone, this is a picture" in error[0]
    assert not (tmp_path / "out.ncr").exists()


@pytest.mark.parametrize("options", ["--region 0,0,8,8", "--light", "--format mkv"])
def test_decoding_with_options_of_pictures(stream: Path, tmp_path: Path, run: Run, options: str) -> None:
    code, output, error = run("decode", stream, tmp_path / "out.mkv", *options.split())
    assert (code, output, len(error)) == (1, [], 1)
    assert "is for pictures alone, this is a clip" in error[0]
    assert not (tmp_path / "out.mkv").exists()


def test_values() -> None:
    parse = build_parser().parse_args
    options = parse(["encode", "a", "b", "--bitrate", "1.5M", "--maxrate", "2M", "--bufsize", "800k", "--fps", "29.97"])
    assert (options.bitrate, options.maxrate, options.bufsize) == (1_500_000, 2_000_000, 800_000)
    assert options.fps == Fraction(2997, 100)
    for text, seconds in (("90", 90), ("1.25", 1.25), ("1:30", 90), ("01:02:03.5", 3723.5), ("0", 0), ("100:00", None)):
        if seconds is not None:
            assert parse(["decode", "a", "b", "--start", text]).start == seconds


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("encode a b --bitrate 1M -q 50", "not allowed with"),
        ("encode a b --bitrate 0", "must be a number of bits"),
        ("encode a b --bitrate 1G", "must be a number of bits"),
        ("encode a b --bitrate 1M --maxrate 2M", "belong together"),
        ("encode a b --bitrate 1M --bufsize 2M", "belong together"),
        ("encode a b --maxrate 2M --bufsize 2M", "need --bitrate"),
        ("encode a b --bitrate 3M --maxrate 2M --bufsize 2M", "must be at least --bitrate, 3000000"),
        ("encode a b --gop 0", "must be an integer of at least 1"),
        ("encode a b --fps 0", "must be frames a second above 0"),
        ("encode a b --fps 30/0", "must be frames a second above 0"),
        ("encode a b --start 1:75", "must be seconds, or hours"),
        ("decode a b --start 1:2:3:4", "must be seconds, or hours"),
        ("decode a b --start 1:60:00", "must be seconds, or hours"),
        ("decode a b --duration 0", "must be above 0"),
        ("decode a b --bitrate 1M", "unrecognized arguments: --bitrate"),
    ],
)
def test_usage_errors(text: str, complaint: str, capfd: Capture) -> None:
    assert main(text.split()) == 2
    output, error = capfd.readouterr()
    assert output == ""
    assert complaint in error


def test_no_clobber(y4m: Path, stream: Path, tmp_path: Path, run: Run) -> None:
    before = stream.read_bytes()
    code, output, error = run("encode", y4m, stream, "--no-clobber")
    assert (code, output, len(error)) == (1, [], 1)
    assert "exists already" in error[0]
    assert stream.read_bytes() == before
    code, _, error = run("decode", stream, y4m, "--no-clobber")
    assert (code, len(error)) == (1, 1)
    assert "exists already" in error[0]


def test_limit(y4m: Path, stream: Path, tmp_path: Path, run: Run) -> None:
    for command in (
        ["encode", y4m, tmp_path / "out.ncr"],
        ["decode", stream, tmp_path / "out.mkv"],
        ["verify", stream],
    ):
        code, output, error = run(*command, "--max-pixels", 3000)
        assert (code, output, len(error)) == (1, [], 1)
        assert "max_pixels is 3000 (--max-pixels or NACRE_MAX_PIXELS" in error[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.ncr", "clip.y4m"]


# What a stream says, and damage


def test_info_needs_no_weights(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NACRE_WEIGHTS", str(tmp_path / "nowhere"))
    path = tmp_path / "clip.ncr"
    data = packed(make_items())
    path.write_bytes(data)
    code, output, error = run("info", path)
    assert (code, error) == (0, [])
    assert output[0] == f"{path}: 37 x 23 YUV 4:2:0, 8 bits, 13 frames, 0.692 s"
    text = "\n".join(output)
    for words in (
        "nacre 0.4, complete",
        "30 frames/s, 4 GOPs of at most 5 frames",
        "turned by 90 degrees, sample aspect ratio 40:33",
        "0 audio, aac, 48000 Hz, stereo, eng, 'Café', 13 packets",
        "1 subtitle, subrip, 3 packets",
        "XMP 4 bytes",
        "index    4 intra frames",
        "in units of 1/15360 s",
        "mastering display of 0.005 to 1000 cd/m2",
        f"size     {len(data)} bytes",
    ):
        assert words in text
    _, longer, _ = run("info", path, "-v")
    assert longer[: len(output)] == output
    assert len(longer) == len(output) + 13
    assert longer[len(output)].split()[:2] == ["0", "intra"]

    code, output, _ = run("info", path, "--json")
    found = json.loads("\n".join(output))
    assert found == inspect(path).to_dict()
    assert (found["frames"], found["gops"], found["complete"]) == (13, 4, True)
    assert found["intra_frames"]["frames"] + found["predicted_frames"]["frames"] == 13
    frames = sum(frame["bytes"] for frame in found["frame_list"])
    assert frames == found["intra_frames"]["bytes"] + found["predicted_frames"]["bytes"]
    assert found["bytes"] == len(data) > frames + sum(track["bytes"] for track in found["tracks"])
    assert found["duration"] == pytest.approx(found["bytes"] * 8 / found["bits_per_second"])


def test_info_of_a_stream_that_ends_early(tmp_path: Path, run: Run) -> None:
    data, path = packed(make_items()), tmp_path / "clip.ncr"
    whole = nacre.inspect(data)
    assert isinstance(whole, SequenceInfo)
    assert whole.complete
    for size in (len(data) - 1, 700, 200):
        path.write_bytes(data[:size])
        code, output, error = run("info", path)
        assert (code, error) == (0, [])
        assert "without an end: cut short, or still being written" in output[1]
        found = inspect(path)
        assert found.frames == whole.frames[: len(found.frames)]
        assert found.size <= size
    assert found.frames == ()
    path.write_bytes(data[:40])
    assert run("info", path)[0] == 1
    path.write_bytes(data[:300] + b"\0" + data[301:])
    code, output, error = run("info", path)
    assert (code, output, len(error)) == (1, [], 1)


def test_verify(stream: Path, run: Run) -> None:
    code, output, error = run("verify", stream)
    assert (code, error) == (0, [])
    assert output[0].startswith(f"{stream}: good, 7 frames, ")
    code, output, _ = run("verify", stream, "--json")
    found = json.loads("\n".join(output))
    assert (found["ok"], found["frames"], found["bytes"]) == (True, 7, stream.stat().st_size)
    data = stream.read_bytes()
    for bad in (data[:-1], data[:-400], data[:400] + bytes((data[400] ^ 1,)) + data[401:], data + b"more"):
        stream.write_bytes(bad)
        code, output, error = run("verify", stream)
        assert (code, output, len(error)) == (1, [], 1)
        assert str(stream) in error[0]


def test_damage(stream: Path, tmp_path: Path, run: Run) -> None:
    """A damaged frame costs what is left of its GOP, a stream that was cut short what is missing."""
    whole, target = decoded(stream), tmp_path / "out.mkv"
    data = bytearray(stream.read_bytes())
    offset = damaged_frame(stream, 4)
    data[offset] ^= 0x40
    stream.write_bytes(data)
    code, output, error = run("decode", stream, target)
    assert (code, output, len(error)) == (1, [], 1)
    assert "--keep-going" in error[0]
    assert not target.exists()
    code, _, error = run("decode", stream, target, "--keep-going")
    assert code == 3
    assert error
    assert all(line.startswith(f"nacre: {stream}: ") for line in error)
    found = read_clip(target)[2]
    assert same_planes(found, [*whole[:4], *whole[6:]])
    assert [frame.pts for frame in found] == [0, 40, 80, 120, 240]

    stream.write_bytes(data[: damaged_frame(stream, 6, True) - 5])
    code, _, error = run("decode", stream, target, "--keep-going")
    assert code == 3
    assert same_planes(read_clip(target)[2], whole[:4])


def damaged_frame(path: Path, number: int, damaged: bool = False) -> int:
    """Where a byte of a frame's code is."""
    found = nacre.bitstream.SequenceReader(io.BytesIO(path.read_bytes()), keep_going=damaged)
    for item in found:
        if getattr(item, "number", None) == number and hasattr(item, "payload"):
            return found.part.offset + found.part.size - 6
    raise AssertionError


def test_nothing_left(stream: Path, tmp_path: Path, run: Run) -> None:
    found = inspect(stream)
    size = found.size - found.frame_size
    stream.write_bytes(stream.read_bytes()[: size // 2])
    code, output, error = run("decode", stream, tmp_path / "out.mkv", "--keep-going")
    assert (code, output, len(error)) == (1, [], 1)
    assert not (tmp_path / "out.mkv").exists()


# Bad input


def test_clips_that_cannot_be_encoded(tmp_path: Path, run: Run, stream: Path) -> None:
    (tmp_path / "empty.mkv").touch()
    (tmp_path / "notes.mp4").write_text("no clip")
    (tmp_path / "short.y4m").write_bytes(b"YUV4MPEG2 W64 H64\n")
    (tmp_path / "cut.y4m").write_bytes(b"YUV4MPEG2 W64 H64 F25:1\nFRAME\nxx")
    (tmp_path / "odd.y4m").write_bytes(b"YUV4MPEG2 W64 H64 C999\nFRAME\n")
    (tmp_path / "nothing").mkdir()
    sizes = tmp_path / "sizes"
    sizes.mkdir()
    for number, side in enumerate((32, 32, 48)):
        Image.new("RGB", (side, side)).save(sizes / f"{number}.png")
    import av

    with av.open(str(tmp_path / "sound.mkv"), "w") as container:
        from clipfiles import add_tone, encode_tone

        encode_tone(container, add_tone(container, "flac"))
    target = tmp_path / "out.ncr"
    before = {path.name for path in tmp_path.iterdir()}
    for name, text in (
        ("missing.mkv", "No such file"),
        ("empty.mkv", "is empty"),
        ("notes.mp4", "cannot be read"),
        ("short.y4m", "has no frames"),
        ("cut.y4m", "frame 0 of the Y4M file is cut off"),
        ("odd.y4m", "tag C"),
        ("nothing", "is a folder without pictures"),
        ("%d.png", "names no file that exists"),
        ("sizes", "a clip must keep its size"),
        ("sound.mkv", "has no video stream"),
    ):
        code, output, error = run("encode", tmp_path / name, target)
        assert (code, output) == (1, [])
        errors = [line for line in error if line.startswith("nacre: error: ")]
        assert len(errors) == 1
        assert text in errors[0]
        assert str(tmp_path / name) in errors[0]
        assert {path.name for path in tmp_path.iterdir()} == before
    code, _, error = run("encode", stream, target)
    assert (code, len(error)) == (1, 1)
    assert "is a nacre stream already" in error[0]


def test_clips_that_are_taken_with_a_warning(tmp_path: Path, run: Run) -> None:
    whole = write_y4m(tmp_path / "clip.y4m", 3, 64, 48).read_bytes()
    target = tmp_path / "out.ncr"
    for name, data, text in (
        ("cut.y4m", whole[:-100], "frame 2 of the Y4M file is cut off; it is left out"),
        ("fields.y4m", whole.replace(b" Ip", b" It"), "is interlaced"),
        ("rateless.y4m", whole.replace(b" F25:1", b""), "it is taken as 25 frames a second"),
    ):
        (tmp_path / name).write_bytes(data)
        code, output, error = run("encode", tmp_path / name, target)
        assert (code, len(output), len(error)) == (0, 1, 1)
        assert error[0].startswith(f"nacre: warning: {tmp_path / name}: ")
        assert text in error[0]
        assert run("encode", tmp_path / name, target, "--quiet") == (0, [], [])
    path = write_file(tmp_path / "deep.mkv", make_frames(2), pix_fmt="yuv422p10le")
    code, _, error = run("encode", path, target)
    assert (code, len(error)) == (0, 1)
    assert f"{path}: " in error[0]


def test_targets_that_cannot_be_written(y4m: Path, stream: Path, tmp_path: Path, run: Run) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.png").touch()
    before = sorted(tmp_path.rglob("*"))
    for command, text in (
        (["encode", y4m, tmp_path / "nowhere" / "out.ncr"], "does not exist"),
        (["encode", y4m, tmp_path / "full"], "it is a folder"),
        (["encode", y4m, tmp_path / "out.mkv"], "the name is that of video"),
        (["decode", stream, tmp_path / "nowhere" / "out.mkv"], "does not exist"),
        (["decode", stream, tmp_path / "out.xyz"], "must be one of .mkv, .mp4"),
        (["decode", stream, tmp_path / "out.png"], "must be one of .mkv, .mp4"),
        (["decode", stream, tmp_path / "full"], "the folder is not empty"),
        *([(["encode", y4m, "/dev/full"], "No space left")] if sys.platform.startswith("linux") else []),
    ):
        code, output, error = run(*command)
        assert (code, output, len(error)) == (1, [], 1), command
        assert text in error[0]
        assert sorted(tmp_path.rglob("*")) == before


def test_weights_that_are_missing(y4m: Path, stream: Path, tmp_path: Path, run: Run) -> None:
    (tmp_path / "none").mkdir()
    for command in (
        ["encode", y4m, tmp_path / "out.ncr"],
        ["decode", stream, tmp_path / "out.mkv"],
        ["verify", stream],
    ):
        code, output, error = run(*command, "--weights", tmp_path / "none")
        assert (code, output, len(error)) == (1, [], 1)
        assert "are not installed" in error[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.ncr", "clip.y4m", "none"]


# Signals, pipes, progress


@posix
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped_in_the_middle(tmp_path: Path, y4m: Path, number: signal.Signals, code: int) -> None:
    data = y4m.read_bytes()
    y4m.unlink()
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([*NACRE, "encode", "-", str(tmp_path / "out.ncr"), "--threads", "1"], **pipes) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(data)
        process.stdin.flush()
        deadline = time.monotonic() + 60
        while not list(tmp_path.iterdir()) and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.3)  # it codes what it has, then waits for more
        assert [path.suffix for path in tmp_path.iterdir()] == [".nacre-part"]
        process.send_signal(number)
        assert process.wait(timeout=30) == code
        assert process.stderr.read() == {130: b"nacre: interrupted\n", 143: b"nacre: terminated\n"}[code]
    assert list(tmp_path.iterdir()) == []


@posix
@pytest.mark.parametrize("command", ["encode", "decode"])
def test_a_reader_that_has_gone(y4m: Path, stream: Path, command: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    source = y4m if command == "encode" else stream
    result = subprocess.run(
        [*NACRE, command, str(source), "-"], stdout=writing, stderr=subprocess.PIPE, check=False, timeout=120
    )
    os.close(writing)
    assert result.returncode == 1
    assert result.stderr == b"nacre: error: the reader of standard output has gone\n"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_progress_of_a_clip() -> None:
    lines: list[str] = []
    clock = Clock()
    progress = Progress(1, lines.append, clock)
    for done in (1, 11, 51, 101, 105):
        progress.frames(0, done, 101)
        clock.now += 0.5 if done == 1 else 2.0
    assert lines == [
        "[--------------------]    0 %  1 of 101 frames",
        "[##------------------]   10 %  11 of 101 frames  20.0 frames/s",
        "[##########----------]   50 %  51 of 101 frames  20.0 frames/s  0:02 left",
        "[####################]  100 %  101 of 101 frames  22.2 frames/s  0:00 left",
        "[####################]  100 %  105 frames  16.0 frames/s  0:00 left",
    ]


def test_progress_of_a_clip_of_unknown_length() -> None:
    lines: list[str] = []
    clock = Clock()
    progress = Progress(1, lines.append, clock)
    progress.frames(0, 1, None)
    clock.now = 4.0
    progress.frames(0, 61, None)
    assert lines == ["1 frames", "61 frames  15.0 frames/s"]


def test_progress_of_clips_and_pictures() -> None:
    lines: list[str] = []
    clock = Clock()
    progress = Progress(2, lines.append, clock)
    progress.tiles(1, 1, 1)
    progress.finish(1)
    progress.frames(2, 5, 10)
    progress.frames(2, 6, None)
    progress.finish(2)
    assert lines[2:] == [
        "[###############-----]   75 %  1 of 2 files  5 of 10 frames",
        "[##########----------]   50 %  1 of 2 files  6 frames",
        "[####################]  100 %  2 of 2 files",
    ]


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    master, slave = os.openpty()
    yield master, slave
    os.close(master)


@posix
def test_progress_on_a_terminal(y4m: Path, terminal: tuple[int, int]) -> None:
    master, slave = terminal
    with subprocess.Popen(
        [*NACRE, "encode", str(y4m), str(y4m.with_suffix(".ncr"))], stdout=subprocess.PIPE, stderr=slave
    ) as process:
        os.close(slave)
        shown = b""
        while True:
            try:
                data = os.read(master, 4096)
            except OSError:  # the other side is closed
                break
            if not data:
                break
            shown += data
        assert process.wait(timeout=120) == 0
    assert b"] " in shown
    assert b" of 5 frames" in shown
    assert shown.endswith(b"\r")


def test_verbose_says_where_time_goes(stream: Path, tmp_path: Path, run: Run) -> None:
    code, output, _ = run("decode", stream, tmp_path / "out.y4m", "-v")
    assert code == 0
    assert " frames/s, " in output[0]
    assert ", synthesis " in output[0]


def test_uneven_times_are_told(stream: Path, tmp_path: Path, run: Run) -> None:
    path = write_file(tmp_path / "clip.mkv", make_frames(4, times=[0, 40, 500, 540]), time_base=Fraction(1, 1000))
    assert run("encode", path, stream)[0] == 0
    assert [frame.timestamp for frame in inspect(stream).frames] == [0, 40, 500, 540]
    code, _, error = run("decode", stream, tmp_path / "out.y4m")
    assert code == 0
    assert len(error) == 1
    assert "warning" in error[0]
    assert "frames that were not evenly spaced" in error[0]
    assert len(read_with_warnings(tmp_path / "out.y4m")[2]) == 4
