"""Clips in: every kind of source, what is kept of it, what is converted, and what bad input gets."""

from __future__ import annotations

import io
import os
import sys
import threading
import warnings
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from clipfiles import (
    RATE,
    Pipe,
    add_tone,
    encode_tone,
    make_frames,
    make_planes,
    read_clip,
    read_with_warnings,
    same_planes,
    write_file,
)
from PIL import Image
from sequences import HDR

from nacre.bitstream.cicp import Colour
from nacre.bitstream.errors import InputError, LimitError, NacreError
from nacre.bitstream.limits import Limits
from nacre.bitstream.units import SIGNATURE
from nacre.clip import Frame
from nacre.clipread import open_clip
from nacre.containerclip import ContainerClip
from nacre.sources import Readable

MILLISECOND = Fraction(1, 1000)


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("clip.mkv", "ffv1", "yuv420p"),
        ("clip.mp4", "libx264", "yuv420p"),
        ("clip.mov", "mjpeg", "yuvj420p"),
        ("clip.webm", "libvpx-vp9", "yuv420p"),
        ("clip.avi", "mpeg4", "yuv420p"),
        ("clip.ts", "mpeg2video", "yuv420p"),
        ("a:b %03d.mkv", "ffv1", "yuv420p"),
    ],
)
def test_containers_and_codecs(tmp_path: Path, name: str, codec: str, pix_fmt: str) -> None:
    frames = make_frames(6)
    options = {"lossless": "1"} if codec == "libvpx-vp9" else {"qp": "0"} if codec == "libx264" else {}
    path = write_file(tmp_path / name, frames, codec, pix_fmt=pix_fmt, options=options, bit_rate=4_000_000)
    info, tracks, found, packets = read_clip(path)
    assert (info.width, info.height, info.frame_rate, info.rotation, info.hdr) == (48, 32, RATE, 0, None)
    assert (tracks, packets) == ((), [])
    assert info.colour.full_range == (pix_fmt == "yuvj420p")
    assert np.diff([frame.pts * info.time_base for frame in found]).tolist() == [1 / RATE] * 5
    assert all(frame.duration * info.time_base == 1 / RATE and not frame.key for frame in found)
    if codec in ("ffv1", "libx264", "libvpx-vp9"):
        assert same_planes(found, frames)
    assert all(plane.dtype == np.uint8 and plane.flags.c_contiguous for frame in found for plane in frame.planes)


def test_times_are_kept(tmp_path: Path) -> None:
    times = [30, 37, 41, 99, 100]
    base = Fraction(1001, 24000)
    path = write_file(tmp_path / "clip.mp4", make_frames(5, times=[time - 30 for time in times]), "libx264", base)
    info, _, frames, _ = read_clip(path)
    assert [frame.pts * info.time_base for frame in frames] == [(time - 30) * base for time in times]
    assert info.frames == 5
    path = write_file(tmp_path / "clip.mkv", make_frames(5, times=times), time_base=MILLISECOND)
    info, _, frames, _ = read_clip(path)
    assert (info.time_base, [frame.pts for frame in frames]) == (MILLISECOND, times)
    path = write_file(tmp_path / "clip.ts", make_frames(5, times=times), "mpeg2video", base)
    info, _, frames, _ = read_clip(path)
    assert [frame.pts for frame in frames] == pytest.approx(
        [(time - 30) * base / info.time_base for time in times], abs=1
    )


def test_what_the_stream_says_is_kept(tmp_path: Path) -> None:
    display = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
    path = write_file(
        tmp_path / "clip.mp4",
        make_frames(2),
        "libx264",
        options={
            "chroma_sample_location": "topleft",
            "x264-params": f"mastering-display={display}:cll=1000,400",
        },
        matrix=[0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30],
        color_primaries=9,
        color_trc=16,
        colorspace=9,
        color_range=2,
        sample_aspect_ratio=Fraction(4, 3),
    )
    info = read_clip(path)[0]
    assert info.colour == Colour(9, 16, 9, 1)
    assert (info.chroma_location, info.sample_aspect_ratio, info.rotation) == (3, Fraction(4, 3), 1)
    assert info.hdr == HDR


@pytest.mark.parametrize(
    ("numbers", "turns", "kept"),
    [
        ((1, 0, 0, 1), 0, True),
        ((0, 1, -1, 0), 1, True),
        ((-1, 0, 0, -1), 2, True),
        ((0, -1, 1, 0), 3, True),
        ((-1, 0, 0, 1), 0, False),
        ((0.8, 0.6, -0.6, 0.8), 0, False),
    ],
)
def test_rotations(tmp_path: Path, numbers: tuple[float, ...], turns: int, kept: bool) -> None:
    a, b, c, d = (round(65536 * number) for number in numbers)
    path = write_file(tmp_path / "clip.mp4", make_frames(1), "libx264", matrix=[a, b, 0, c, d, 0, 0, 0, 1 << 30])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert read_with_warnings(path)[0].rotation == turns
    assert ["which is not kept" in str(warning.message) for warning in caught] == ([] if kept else [True])


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (48, 33), (51, 32)])
def test_odd_sizes(tmp_path: Path, size: tuple[int, int]) -> None:
    frames = make_frames(2, *size)
    found = read_clip(write_file(tmp_path / "clip.mkv", frames))[2]
    assert same_planes(found, frames)
    assert found[0].planes.cb.shape == (-(-size[1] // 2), -(-size[0] // 2))


LUMA = make_planes().luma


def deep(plane: Any, bits: int) -> Any:
    return plane.astype(np.uint16) << bits - 8


@pytest.mark.parametrize(
    ("pix_fmt", "planes", "message"),
    [
        ("yuv422p", (LUMA, np.full((32, 24), 90, np.uint8)), "yuv422p is converted.*: chroma is halved in height$"),
        ("yuv444p", (LUMA, np.full((32, 48), 90, np.uint8)), "yuv444p is converted.*halved in width and height$"),
        ("yuv420p10le", (deep(LUMA, 10), np.full((16, 24), 360, np.uint16)), "10-bit samples are reduced to 8 bits$"),
        (
            "yuva420p",
            (LUMA, np.full((16, 24), 90, np.uint8), np.full((16, 24), 90, np.uint8), LUMA),
            "alpha is dropped$",
        ),
        ("gray", (LUMA,), None),
        ("gray10le", (deep(LUMA, 10),), "10-bit samples are reduced to 8 bits$"),
    ],
)
def test_other_samples_are_converted(
    tmp_path: Path, pix_fmt: str, planes: tuple[Any, ...], message: str | None
) -> None:
    planes = (*planes, planes[1]) if len(planes) == 2 else planes
    full = 2 if pix_fmt.startswith(("yuv444", "gray")) else 1
    path = write_file(tmp_path / "clip.mkv", make_frames(2), pix_fmt=pix_fmt, planes=planes, color_range=full)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        info, _, frames, _ = read_with_warnings(path)
    texts = [str(warning.message) for warning in caught]
    assert len(texts) == (message is not None)
    if message is not None:
        with pytest.warns(UserWarning, match=message):
            warnings.warn(texts[0], UserWarning, stacklevel=1)
    assert info.colour.full_range == full - 1
    chroma = 128 if pix_fmt.startswith("gray") else 90
    for frame in frames:
        assert np.abs(frame.planes.luma.astype(int) - LUMA).max() <= (pix_fmt == "gray10le")
        assert frame.planes.cb.shape == (16, 24)
        assert (frame.planes.cb == chroma).all()
        assert (frame.planes.cr == chroma).all()


def test_depth_is_rounded(tmp_path: Path) -> None:
    luma = np.arange(64, 64 + 32 * 48 // 2).repeat(2).reshape(32, 48).astype(np.uint16)
    chroma = np.full((16, 24), 512, np.uint16)
    path = write_file(tmp_path / "clip.mkv", make_frames(1), pix_fmt="yuv420p10le", planes=(luma, chroma, chroma))
    with pytest.warns(UserWarning, match="10-bit"):
        (frame,) = read_with_warnings(path)[2]
    assert np.array_equal(frame.planes.luma, (luma + 2) // 4)


def test_rgb_becomes_bt709_of_limited_range(tmp_path: Path) -> None:
    colours = np.array([[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 0, 255]], np.uint8)
    picture = np.repeat(np.repeat(colours[np.newaxis], 8, axis=0), 8, axis=1)  # four stripes of 8 columns
    Image.fromarray(picture).save(tmp_path / "0.png")
    info, _, (frame,), _ = read_clip(tmp_path)
    assert (info.colour, info.chroma_location) == (Colour(1, 13, 1, 0), 1)
    assert frame.planes.luma[0, 4::8].tolist() == [16, 235, 63, 32]
    assert frame.planes.cb[0, 2::4].tolist() == [128, 128, 102, 240]
    assert frame.planes.cr[0, 2::4].tolist() == [128, 128, 240, 118]


# Parts


def test_a_part_begins_at_zero(tmp_path: Path) -> None:
    frames = make_frames(40)
    path = write_file(tmp_path / "clip.mp4", frames, "libx264", options={"qp": "0", "g": "7"})
    info, _, found, _ = read_clip(path, start=0.6, duration=Fraction(2, 5))
    assert same_planes(found, frames[15:25])
    assert [frame.pts * info.time_base for frame in found] == [k / RATE for k in range(10)]
    assert (info.duration, info.frames) == (Fraction(2, 5), 10)
    assert len(read_clip(path, duration=0.1)[2]) == 3
    assert len(read_clip(path, start=1.5)[2]) == 2
    assert len(read_clip(Pipe(write_file(io.BytesIO(), frames, form="matroska").getvalue()), start=1.5)[2]) == 2
    with pytest.raises(InputError, match=r"has no frames from 1\.6 s on"):
        read_clip(path, start=1.6)
    for options in ({"start": -1}, {"duration": 0}, {"fps": "x"}, {"start": float("nan")}):
        with pytest.raises(InputError, match="must be"):
            open_clip(path, **options)  # type: ignore[arg-type]  # what a caller may do


def test_packets_of_a_part(tmp_path: Path) -> None:
    cut = write_file(tmp_path / "clip.mp4", make_frames(8), "libx264", audio="aac")
    _, (track,), _, all_packets = read_clip(cut)
    _, _, part, packets = read_clip(cut, start=0.08, duration=0.12)
    assert len(part) == 3
    seconds = [Fraction(packet.pts or 0) * track.time_base for packet in all_packets]
    wanted = [packet.data for packet, time in zip(all_packets, seconds, strict=True) if 0.08 <= time < 0.2]
    assert [packet.data for packet in packets] == wanted
    assert 0 <= Fraction(packets[0].pts or 0) * track.time_base < Fraction(1024, 48000)


# Sources


def test_pipes_and_file_objects(tmp_path: Path) -> None:
    frames = make_frames(6)
    data = write_file(io.BytesIO(), frames, form="matroska", audio="libopus").getvalue()
    whole = read_clip(io.BytesIO(data))
    assert same_planes(whole[2], frames)
    piped = read_clip(Pipe(data))
    assert same_planes(piped[2], frames)
    assert (piped[1], piped[3]) == (whole[1], whole[3])
    behind = io.BytesIO(b"something else" + data)
    behind.seek(14)
    assert same_planes(read_clip(behind)[2], frames)
    mp4 = io.BytesIO()
    write_file(mp4, frames, "libx264", form="mp4", options={"qp": "0"})
    mp4.seek(0)
    assert same_planes(read_clip(mp4)[2], frames)
    with pytest.raises(InputError, match=r"none of its frames can be decoded: .*from a pipe, but from a file"):
        read_clip(Pipe(mp4.getvalue()))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_named_pipes_and_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_file(io.BytesIO(), make_frames(3), form="matroska").getvalue()
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    thread = threading.Thread(target=pipe.write_bytes, args=(data,))
    thread.start()
    assert len(read_clip(pipe)[2]) == 3
    thread.join()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert len(read_clip("-")[2]) == 3


def save_pictures(folder: Path, numbers: list[int], mode: str = "RGB") -> None:
    folder.mkdir(exist_ok=True)
    for number in numbers:
        Image.new("RGB", (9, 6), (number, 100, 200)).convert(mode).save(folder / f"{number:04d}.png")


def test_numbered_pictures(tmp_path: Path) -> None:
    save_pictures(tmp_path / "f", [8, 9, 10, 200])
    (tmp_path / "f" / "10.png").write_bytes(b"another name")
    with pytest.warns(UserWarning, match="189 numbers are missing, the first is 11"):
        info, _, frames, _ = read_with_warnings(tmp_path / "f" / "%04d.png", fps=30)
    assert (info.frame_rate, info.time_base, info.frames, info.duration) == (30, Fraction(1, 30), 4, Fraction(2, 15))
    assert (info.width, info.height) == (9, 6)
    assert [frame.pts for frame in frames] == [0, 1, 2, 3]
    luma = [int(frame.planes.luma[3, 4]) for frame in frames]
    assert luma == sorted(luma)
    assert luma[3] > luma[0]
    with pytest.raises(InputError, match="names no file that exists"):
        read_clip(tmp_path / "f" / "x%04d.png")
    with pytest.raises(InputError, match="has 2 places for a number"):
        read_clip(str(tmp_path / "f" / "%d-%d.png"))


def test_folders_of_pictures(tmp_path: Path) -> None:
    for name, red in (("shot 2.png", 20), ("shot 10.png", 200), ("shot 1.png", 10)):
        Image.new("RGBA", (9, 6), (red, 100, 200, 77)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.warns(UserWarning, match="alpha is dropped") as caught:
        info, _, frames, _ = read_with_warnings(tmp_path)
    assert len(caught) == 1
    assert info.frame_rate == 25
    luma = [int(frame.planes.luma[0, 0]) for frame in frames]
    assert luma == sorted(luma)
    Image.new("L", (9, 6), 255).save(tmp_path / "shot 11.png")
    with pytest.warns(UserWarning, match="alpha"):
        frames = read_with_warnings(tmp_path)[2]
    assert (frames[-1].planes.luma == 235).all()
    Image.new("RGB", (9, 7)).save(tmp_path / "shot 12.png")
    with pytest.warns(UserWarning, match="alpha"), pytest.raises(InputError, match=r"shot 12\.png is 9x7, .* are 9x6"):
        read_with_warnings(tmp_path)
    (tmp_path / "shot 12.png").write_bytes(b"damaged")
    with pytest.warns(UserWarning, match="alpha"), pytest.raises(InputError, match=r"shot 12\.png: is no picture"):
        read_with_warnings(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty: is a folder without pictures"):
        read_clip(tmp_path / "empty")


# Bad input


def bad_files(folder: Path) -> list[tuple[Path, str]]:
    """Files that are no clips, and what is said of them."""
    contents: list[tuple[str, bytes, str]] = [
        ("empty.mp4", b"", "is empty"),
        ("garbage.mkv", np.random.default_rng(0).bytes(5000), "cannot be read as a clip: Invalid data"),
        ("text.txt", b"some words\n" * 50, "is no clip|cannot be read as a clip"),
        ("stream.ncr", SIGNATURE + bytes(20), "is a nacre stream already"),
        ("header.mp4", b"\0\0\0\x18ftypisom" + bytes(12), "cannot be read as a clip"),
    ]
    for name, data, _ in contents:
        (folder / name).write_bytes(data)
    with av.open(str(folder / "sound.mp4"), "w") as container:
        encode_tone(container, add_tone(container, "aac"))
    with av.open(str(folder / "cover.mp3"), "w") as container:
        stream: Any = container.add_stream("mjpeg")
        stream.width, stream.height, stream.pix_fmt = 16, 16, "yuvj420p"
        stream.disposition = 1 << 10
        sound = add_tone(container, "libmp3lame")
        container.mux(stream.encode(av.VideoFrame(16, 16, "yuvj420p")))
        encode_tone(container, sound)
    with av.open(str(folder / "none.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 16, 16, "yuv420p"
        container.start_encoding()
    found = [(folder / name, message) for name, _, message in contents]
    return [
        *found,
        (folder / "sound.mp4", "has no video stream"),
        (folder / "cover.mp3", "has no video stream"),
        (folder / "none.mkv", "cannot be read as a clip: End of file"),
        (folder / "missing.mp4", "cannot be read: No such file"),
        (folder / "nul\0.mp4", "cannot be read"),
    ]


def test_what_is_no_clip(tmp_path: Path) -> None:
    for path, message in bad_files(tmp_path):
        with pytest.raises(InputError, match=message) as caught:
            read_clip(path)
        assert str(caught.value).startswith(f"{path}: ")
        assert "\n" not in str(caught.value).replace(str(path), "")
    with pytest.raises(InputError, match="the source is int"):
        open_clip(7)  # type: ignore[arg-type]  # what a caller may do
    with pytest.raises(InputError, match="opened in text mode"):
        open_clip(io.StringIO("YUV4MPEG2"))  # type: ignore[arg-type]


def test_a_size_that_changes_is_refused(tmp_path: Path) -> None:
    data = [write_file(io.BytesIO(), make_frames(3, width), "libx264", form="h264").getvalue() for width in (48, 64)]
    path = tmp_path / "clip.h264"
    path.write_bytes(b"".join(data))
    with (
        pytest.warns(UserWarning, match="no timestamps"),
        pytest.raises(
            InputError, match=r"clip\.h264: frame 3 is 64x32, the frames before are 48x32; a clip must keep its size"
        ),
    ):
        read_with_warnings(path)


def test_missing_timestamps_are_made(tmp_path: Path) -> None:
    path = write_file(tmp_path / "clip.h264", make_frames(4), "libx264", form="h264")
    with pytest.warns(UserWarning, match="has no timestamps; they are made for 25 frames a second"):
        info, _, frames, _ = read_with_warnings(path)
    assert (info.time_base, [frame.pts for frame in frames]) == (Fraction(1, 25), [0, 1, 2, 3])
    info, _, frames, _ = read_clip(path, fps=Fraction(30000, 1001))
    assert (info.time_base, info.frame_rate) == (Fraction(1001, 30000), Fraction(30000, 1001))
    timed = write_file(tmp_path / "clip.mkv", make_frames(1))
    with pytest.raises(InputError, match="fps is given, but the clip has times of its own"):
        read_clip(timed, fps=30)


def test_frames_without_a_timestamp_follow_the_one_before(tmp_path: Path) -> None:
    path = write_file(tmp_path / "clip.mkv", make_frames(2))
    with closing(ContainerClip(f"file:{path}", None, None, Limits())) as clip:
        _, second = clip.items()
        assert isinstance(second, Frame)
        assert clip._time(SimpleNamespace(pts=None, dts=None)) == second.pts + 40
        assert clip._time(SimpleNamespace(pts=None, dts=120)) == 120  # AVI has times of decoding alone
        with pytest.warns(UserWarning, match="has frames without a timestamp, which was made from the frame rate: 1"):
            clip.tell_of_losses()


def test_timestamps_that_do_not_rise_are_raised(tmp_path: Path) -> None:
    path = write_file(tmp_path / "clip.mkv", make_frames(5, times=[0, 1, 2, 3, 40]), time_base=Fraction(1, 5000))
    with pytest.warns(UserWarning, match=r"has frames with a timestamp that is not above.*: 3"):
        frames = read_with_warnings(path)[2]
    assert [frame.pts for frame in frames] == [0, 1, 2, 3, 8]


def test_interlaced_and_several_streams_are_told(tmp_path: Path) -> None:
    options = {"x264-params": "interlaced=1:tff=1"}
    path = write_file(tmp_path / "clip.mkv", make_frames(4), "libx264", options=options)
    with pytest.warns(UserWarning, match="is interlaced") as caught:
        assert len(read_with_warnings(path)[2]) == 4
    assert len(caught) == 1
    with av.open(str(tmp_path / "two.mkv"), "w") as container:
        for width in (16, 32):
            stream: Any = container.add_stream("ffv1", rate=25)
            stream.width, stream.height, stream.pix_fmt = width, 16, "yuv420p"
        for stream in container.streams:
            container.mux(stream.encode(av.VideoFrame(stream.width, 16, "yuv420p")))
            container.mux(stream.encode(None))
    with pytest.warns(UserWarning, match="has 2 video streams; number [01] is read"):
        read_with_warnings(tmp_path / "two.mkv")


def test_broken_packets_are_skipped_and_counted(tmp_path: Path) -> None:
    frames = make_frames(6)
    path = write_file(tmp_path / "clip.mkv", frames, options={"slicecrc": "1", "level": "3", "g": "1"})
    with av.open(str(path)) as container:
        packets = [bytes(packet) for packet in container.demux() if packet.size]
    data = path.read_bytes()
    place = data.index(packets[2])
    path.write_bytes(data[:place] + b"\xff" * len(packets[2]) + data[place + len(packets[2]) :])
    with pytest.warns(
        UserWarning, match="has (broken packets, which were skipped|frames that the decoder calls damaged): 1"
    ):
        found = read_with_warnings(path)[2]
    assert {frame.pts for frame in found} >= {0, 40, 120, 160, 200}
    assert same_planes([frame for frame in found if frame.pts != 80], frames[:2] + frames[3:])
    with pytest.warns(UserWarning, match="has broken packets"):
        assert len(read_with_warnings(path, duration=0.16)[2]) == 3
    path.write_bytes(data[: data.index(packets[4]) + 3])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert same_planes(read_with_warnings(path)[2][:4], frames[:4])


def test_nothing_that_can_be_decoded(tmp_path: Path) -> None:
    path = write_file(tmp_path / "clip.avi", make_frames(3), "mpeg4")
    with av.open(str(path)) as container:
        packets = [bytes(packet) for packet in container.demux() if packet.size]
    data = path.read_bytes()
    for packet in packets:
        data = data.replace(packet, b"\x55" * len(packet))
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"clip\.avi: (none of its frames can be decoded|has no frames|has no video)"):
        read_with_warnings(path)


def test_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_file(tmp_path / "clip.mkv", make_frames(1))
    monkeypatch.setenv("NACRE_MAX_PIXELS", "1000")
    with pytest.raises(LimitError, match="48 x 32"):
        read_clip(path)
    with pytest.raises(LimitError, match="60000 x 60000"):
        read_clip(Pipe(b"YUV4MPEG2 W60000 H60000 F25:1\nFRAME\n"))


class Failing(Pipe):
    """Reads a while, then raises."""

    def __init__(self, data: bytes, error: BaseException) -> None:
        super().__init__(data)
        self.error = error

    def read(self, size: int = -1, /) -> bytes:
        if not self.data:
            raise self.error
        return super().read(size)


@pytest.mark.parametrize("part", [0.05, 0.7])
@pytest.mark.parametrize(
    ("error", "raised"), [(KeyboardInterrupt(), KeyboardInterrupt), (OSError(5, "Input/output error"), NacreError)]
)
def test_what_a_pipe_raises_is_not_lost(error: BaseException, raised: type[BaseException], part: float) -> None:
    for data in (
        write_file(io.BytesIO(), make_frames(6), form="matroska").getvalue(),
        b"YUV4MPEG2 W24 H16 F25:1\n" + (b"FRAME\n" + bytes(576)) * 6,
    ):
        pipe: Readable = Failing(data[: int(part * len(data))], error)
        with pytest.raises(raised):
            list(open_clip(pipe))


def test_frames_far_behind_their_packets_do_not_hold_them_back(tmp_path: Path) -> None:
    """Packets are in order of time with frames, though the file has all sound behind all pictures."""
    with av.open(str(tmp_path / "clip.mp4"), "w") as container:
        video: Any = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 48, 32, "yuv420p"
        sound = add_tone(container, "aac")
        for _ in range(20):
            container.mux(video.encode(av.VideoFrame(48, 32, "yuv420p")))
        container.mux(video.encode(None))
        encode_tone(container, sound, 0.8)
    with open_clip(tmp_path / "clip.mp4") as clip:
        latest = float("-inf")
        for item in clip:
            base = clip.info.time_base if isinstance(item, Frame) else clip.tracks[item.track].time_base
            time = float((item.pts or 0) * base)
            assert time >= latest
            latest = time
