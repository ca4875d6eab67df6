"""Clips out: what each target keeps, and that it is there whole or not at all."""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from clipfiles import make_frames, read_clip, same_planes
from PIL import Image
from sequences import HDR

from nacre.bitstream.cicp import Colour
from nacre.bitstream.errors import InputError
from nacre.bitstream.tracks import AUDIO, TrackUnit
from nacre.clip import ClipInfo, Frame
from nacre.clipwrite import create_clip
from nacre.compensation import Planes
from nacre.containerwrite import ContainerSink

INFO = ClipInfo(width=48, height=32, time_base=Fraction(1, 25), frame_rate=Fraction(25))
TAGGED = replace(
    INFO,
    colour=Colour(9, 16, 9, 0),
    chroma_location=3,
    sample_aspect_ratio=Fraction(4, 3),
    rotation=1,
    hdr=HDR,
)
PACKETLESS = TrackUnit(number=0, kind=AUDIO, codec="aac", time_base=Fraction(1, 48000), sample_rate=48000, channels=2)


def write(target: Path | str, info: ClipInfo, frames: Sequence[Frame], **options: Any) -> list[str]:
    """Write a clip; the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with create_clip(target, info, **options) as clip:
            for frame in frames:
                clip.write(frame)
    return [str(warning.message) for warning in caught]


def psnr(first: Sequence[Frame], second: Sequence[Frame]) -> float:
    errors = [
        np.mean((a.planes.luma.astype(float) - b.planes.luma[: a.planes.luma.shape[0], : a.planes.luma.shape[1]]) ** 2)
        for a, b in zip(first, second, strict=True)
    ]
    return float(10 * np.log10(255**2 / max(np.mean(errors), 1e-6)))


@pytest.mark.parametrize("full_range", [0, 1])
def test_matroska_gives_back_every_sample(tmp_path: Path, full_range: int) -> None:
    frames = make_frames(6)
    info = replace(INFO, colour=Colour(1, 1, 1, full_range))
    assert write(tmp_path / "clip.mkv", info, frames) == []
    found, tracks, decoded, packets = read_clip(tmp_path / "clip.mkv")
    assert same_planes(decoded, frames)
    assert (tracks, packets, found.colour, found.frame_rate) == ((), [], info.colour, 25)
    assert [frame.pts for frame in decoded] == [40 * k for k in range(6)]


@pytest.mark.parametrize("suffix", [".mp4", ".m4v", ".mov"])
def test_players_get_h264_of_high_quality(tmp_path: Path, suffix: str) -> None:
    frames = make_frames(8)
    path = tmp_path / f"clip{suffix}"
    assert write(path, INFO, frames) == []
    found, _, decoded, _ = read_clip(path)
    assert psnr(frames, decoded) > 44
    assert (found.frame_rate, found.frames, found.duration) == (25, 8, Fraction(8, 25))
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert stream.codec_context.profile == "High"
        assert not stream.codec_context.has_b_frames


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".mov"])
def test_what_a_clip_says_of_itself_is_kept(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"clip{suffix}"
    assert write(path, TAGGED, make_frames(3)) == []
    found = read_clip(path)[0]
    for name in ("width", "height", "colour", "chroma_location", "sample_aspect_ratio", "rotation", "hdr"):
        assert getattr(found, name) == getattr(TAGGED, name), name


@pytest.mark.parametrize("rotation", [1, 2, 3])
@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_rotations(tmp_path: Path, suffix: str, rotation: int) -> None:
    write(tmp_path / f"clip{suffix}", replace(INFO, rotation=rotation), make_frames(1))
    assert read_clip(tmp_path / f"clip{suffix}")[0].rotation == rotation


@pytest.mark.parametrize("location", range(7))
def test_chroma_locations_and_unknown_numbers(tmp_path: Path, location: int) -> None:
    info = replace(INFO, chroma_location=location, colour=Colour(200, 99, 77, 0))
    write(tmp_path / "clip.mp4", info, make_frames(1))
    found = read_clip(tmp_path / "clip.mp4")[0]
    assert found.colour == Colour(2, 2, 2, 0)
    assert found.chroma_location == (location if 0 < location < 5 else found.chroma_location)


@pytest.mark.parametrize(
    ("suffix", "base", "tolerance"),
    [
        (".mp4", Fraction(1001, 24000), 0),
        (".mov", Fraction(1, 90000), 0),
        (".mp4", Fraction(1, 7), 0),
        (".mkv", Fraction(1001, 24000), 0.0005),
    ],
)
def test_times_are_kept(tmp_path: Path, suffix: str, base: Fraction, tolerance: float) -> None:
    times = [9, 16, 18, 20, 300, 301]
    frames = [
        replace(frame, duration=k) for frame, k in zip(make_frames(6, times=times), (7, 2, 2, 280, 1, 5), strict=True)
    ]
    path = tmp_path / f"clip{suffix}"
    write(path, replace(INFO, time_base=base), frames)
    found, _, decoded, _ = read_clip(path)
    expected = [time * base for time in times]
    assert [frame.pts * found.time_base for frame in decoded] == pytest.approx(expected, abs=tolerance, rel=0)
    if suffix != ".mkv":
        assert [frame.duration * found.time_base for frame in decoded] == [frame.duration * base for frame in frames]


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (48, 33), (51, 32)])
def test_odd_sizes(tmp_path: Path, size: tuple[int, int]) -> None:
    frames = make_frames(2, *size)
    info = replace(INFO, width=size[0], height=size[1])
    assert write(tmp_path / "clip.mkv", info, frames) == []
    assert same_planes(read_clip(tmp_path / "clip.mkv")[2], frames)
    assert write(tmp_path / "clip.y4m", info, frames) == []
    assert same_planes(read_clip(tmp_path / "clip.y4m")[2], frames)
    (told,) = write(tmp_path / "clip.mp4", info, frames)
    even = f"{size[0] + size[0] % 2}x{size[1] + size[1] % 2}"
    assert told == f"H.264 has even sides only: frames become {even}, edges repeated; Matroska keeps the size"
    found, _, decoded, _ = read_clip(tmp_path / "clip.mp4")
    assert f"{found.width}x{found.height}" == even
    assert psnr(frames, decoded) > 40


def test_odd_sizes_in_matroska_have_no_place_for_all(tmp_path: Path) -> None:
    (told,) = write(tmp_path / "clip.mkv", replace(TAGGED, width=47), make_frames(1, 47))
    assert told == "HDR side data and sample aspect ratio cannot be kept in Matroska where a side is odd"
    found = read_clip(tmp_path / "clip.mkv")[0]
    assert (found.colour, found.rotation, found.chroma_location) == (TAGGED.colour, 1, 3)


# YUV4MPEG2 and pictures


def test_y4m_files_and_standard_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = make_frames(3)
    assert write(tmp_path / "clip.y4m", INFO, frames) == []
    assert same_planes(read_clip(tmp_path / "clip.y4m")[2], frames)
    output = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr(sys, "stdout", output)
    write("-", INFO, frames)
    monkeypatch.undo()
    assert output.buffer.getvalue() == (tmp_path / "clip.y4m").read_bytes()  # type: ignore[attr-defined]
    told = write(tmp_path / "clip.y4m", TAGGED, frames, tracks=[PACKETLESS])
    losses = "rotation, colour primaries, transfer and matrix, HDR side data, 1 audio or subtitle track"
    assert told == [f"YUV4MPEG2 cannot hold what the clip has: {losses}"]
    found = read_clip(tmp_path / "clip.y4m")[0]
    assert (found.sample_aspect_ratio, found.chroma_location) == (Fraction(4, 3), 3)


def test_uneven_times_are_told_once(tmp_path: Path) -> None:
    uneven = make_frames(5, times=[0, 1, 2, 4, 9])
    told = "YUV4MPEG2 streams have no timestamps: frames that were not evenly spaced become so"
    assert write(tmp_path / "clip.y4m", INFO, uneven) == [told]
    assert len(write(tmp_path / "pictures", INFO, uneven)) == 1
    late = make_frames(3, times=[100, 101, 102])
    assert write(tmp_path / "clip.y4m", INFO, late) == []


def test_folders_and_patterns_of_pictures(tmp_path: Path) -> None:
    grey = np.full((16, 24), 120, np.uint8)
    frames = [replace(frame, planes=Planes(frame.planes.luma, grey, grey)) for frame in make_frames(3)]
    info = replace(INFO, colour=Colour(1, 1, 1, 0), chroma_location=1)
    assert write(tmp_path / "new", info, frames) == []
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["000001.png", "000002.png", "000003.png"]
    found = read_clip(tmp_path / "new")[2]
    assert psnr(frames, found) > 47  # by way of RGB
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "002.png").write_bytes(b"replaced")
    (tmp_path / "old" / "kept.txt").write_text("kept")
    write(tmp_path / "old" / "%03d.png", info, frames)
    assert sorted(path.name for path in (tmp_path / "old").iterdir()) == ["001.png", "002.png", "003.png", "kept.txt"]
    assert same_planes(read_clip(tmp_path / "old" / "%03d.png")[2], found)
    write(tmp_path / "made" / "%d.png", info, frames)
    assert sorted(path.name for path in (tmp_path / "made").iterdir()) == ["1.png", "2.png", "3.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made", "new", "old"]


def test_pictures_are_turned_and_say_what_their_samples_mean(tmp_path: Path) -> None:
    luma = np.full((32, 48), 40, np.uint8)
    luma[:, :24] = 200
    grey = np.full((16, 24), 128, np.uint8)
    told = write(tmp_path / "turned", TAGGED, [Frame(Planes(luma, grey, grey), 0, 1)])
    assert told == ["pictures cannot hold what the clip has: sample aspect ratio, HDR side data"]
    with Image.open(tmp_path / "turned" / "000001.png") as image:
        assert image.size == (32, 48)
        pixels = np.asarray(image)
        assert b"cICP\x09\x10\x00\x01" in (tmp_path / "turned" / "000001.png").read_bytes()
    assert pixels[:20].mean() > 200  # a quarter turn clockwise brings the left to the top
    assert pixels[30:].mean() < 60


# Failures


@pytest.mark.parametrize("name", ["clip.mkv", "clip.mp4", "clip.y4m", "folder", "folder/%04d.png"])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_nothing_is_left_when_the_body_fails(tmp_path: Path, name: str, error: type[BaseException]) -> None:
    def fail() -> None:
        with create_clip(tmp_path / name, INFO) as clip:
            for frame in make_frames(3):
                clip.write(frame)
            raise error

    with pytest.raises(error):
        fail()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["clip.mkv", "clip.mp4", "clip.y4m", "folder"])
def test_a_clip_without_frames_is_none(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=rf"{name}: no frame was written"), create_clip(tmp_path / name, INFO):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["clip.mkv", "clip.mp4", "clip.y4m", "folder"])
def test_a_full_disk(tmp_path: Path, name: str) -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (20, 64, 64), np.uint8)
    frames = [Frame(Planes(luma, luma[:32, :32], luma[32:, 32:]), k, 1) for k, luma in enumerate(noise)]

    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))  # Python ignores SIGXFSZ
    try:
        with pytest.raises(InputError, match=rf"{name}: cannot be written: File too large"):
            write(tmp_path / name, replace(INFO, width=64, height=64), frames)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


class Closed(io.BytesIO):
    """A pipe whose reader went away after some bytes."""

    def write(self, data: Any, /) -> int:
        if self.tell() > 3000:
            raise BrokenPipeError(32, "Broken pipe")
        return super().write(data)


def test_a_closed_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(Closed()))
    with pytest.raises(BrokenPipeError):
        write("-", INFO, make_frames(3))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_devices(tmp_path: Path) -> None:
    link = tmp_path / "full.mkv"
    link.symlink_to("/dev/full")
    with pytest.raises(InputError, match=r"full\.mkv: cannot be written: No space left on device"):
        write(link, INFO, make_frames(3))
    assert link.is_symlink()


def test_targets_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "something").write_text("there")
    for name, message in (
        ("clip.avi", r"the name's ending is '\.avi', must be one of \.mkv, \.mp4, \.m4v, \.mov, \.y4m, or none"),
        ("%04d.jpg", r"numbered pictures are PNG: the name's ending is '\.jpg', must be \.png"),
        ("none/clip.mkv", "cannot be written: the folder .* does not exist"),
        ("none/deep/%04d.png", "cannot be written: the folder .* does not exist"),
        ("file", "cannot be written: it is a file"),
        ("file/%04d.png", "cannot be written"),
        ("full", "cannot be written: the folder is not empty"),
    ):
        with pytest.raises(InputError, match=f"{name}: {message}"):
            create_clip(tmp_path / name, INFO)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "full", "something"]


@pytest.mark.parametrize("name", ["clip.mkv", "clip.y4m", "%d.png"])
def test_no_clobber(tmp_path: Path, name: str) -> None:
    there = tmp_path / name.replace("%d", "1")
    there.write_bytes(b"old")
    with pytest.raises(InputError, match="exists already, and --no-clobber keeps it"):
        create_clip(tmp_path / name, INFO, clobber=False)
    assert there.read_bytes() == b"old"
    write(tmp_path / name, INFO, make_frames(1))
    assert there.read_bytes() != b"old"


def test_late_collisions_of_pictures_are_refused(tmp_path: Path) -> None:
    (tmp_path / "2.png").write_bytes(b"old")
    with pytest.raises(InputError, match=r"2\.png exists already"):
        write(tmp_path / "%d.png", INFO, make_frames(3), clobber=False)
    assert [path.name for path in tmp_path.iterdir()] == ["2.png"]


def test_frames_of_another_size_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"clip\.mkv: the planes of frame 2 are .*\(32, 46\).* must be .*\(32, 48\)"):
        write(tmp_path / "clip.mkv", INFO, [*make_frames(2), *make_frames(1, 46)])
    assert list(tmp_path.iterdir()) == []


class Interrupted(io.BytesIO):
    """A file whose user loses patience."""

    def write(self, data: Any, /) -> int:
        if self.tell() > 500:
            raise KeyboardInterrupt
        return super().write(data)


@pytest.mark.parametrize("form", ["matroska", "mp4"])
def test_an_interruption_inside_pyav_is_not_lost(form: str) -> None:
    sink = ContainerSink(Interrupted(), form, INFO, ())

    def run() -> None:
        for frame in make_frames(20):
            sink.write(frame)
        sink.finish()

    with pytest.raises(KeyboardInterrupt):
        run()
    sink.abandon()


def test_a_closed_clip_takes_nothing_more(tmp_path: Path) -> None:
    clip = create_clip(tmp_path / "clip.mkv", INFO)
    (frame,) = make_frames(1)
    clip.write(frame)
    clip.close()
    clip.close()
    with pytest.raises(InputError, match="the clip is closed"):
        clip.write(frame)
    assert len(read_clip(tmp_path / "clip.mkv")[2]) == 1
