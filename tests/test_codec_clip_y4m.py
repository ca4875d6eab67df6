"""YUV4MPEG2 by frames."""

from __future__ import annotations

import io
import os
import threading
from fractions import Fraction

import numpy as np
import pytest
from clipfiles import Pipe, make_frames, read_clip, read_with_warnings, same_planes

from nacre.bitstream.errors import InputError, TruncatedError
from nacre.clip import UNSPECIFIED, ClipInfo
from nacre.y4m import Y4mReader, Y4mWriter


def written(info: ClipInfo, count: int = 3) -> bytes:
    file = Pipe()
    writer = Y4mWriter(file, info, info.frame_rate)
    for frame in make_frames(count, info.width, info.height):
        writer.write(frame.planes)
    return bytes(file.data)


INFO = ClipInfo(
    width=7,
    height=5,
    time_base=Fraction(1001, 30000),
    frame_rate=Fraction(30000, 1001),
    chroma_location=1,
    sample_aspect_ratio=Fraction(4, 3),
)


def test_round_trip_through_pipes() -> None:
    data = written(INFO)
    header = b"YUV4MPEG2 W7 H5 F30000:1001 Ip A4:3 C420mpeg2 XCOLORRANGE=LIMITED\nFRAME\n"
    assert data.startswith(header)
    assert len(data) == len(header) + 3 * (35 + 2 * 12) + 2 * 6
    info, tracks, frames, packets = read_clip(Pipe(data))
    assert (tracks, packets) == ((), [])
    assert info == INFO
    assert same_planes(frames, make_frames(3, 7, 5))
    assert [(frame.pts, frame.duration) for frame in frames] == [(0, 1), (1, 1), (2, 1)]


def test_a_pipe_of_the_system_gives_frames_as_they_come() -> None:
    data = written(INFO, 2)
    first = data.index(b"FRAME", data.index(b"FRAME") + 1)
    reading, writing = os.pipe()
    go_on = threading.Event()

    def feed() -> None:
        os.write(writing, data[:first])
        go_on.wait(10)
        os.write(writing, data[first:])
        os.close(writing)

    thread = threading.Thread(target=feed)
    thread.start()
    with os.fdopen(reading, "rb") as file:
        reader = iter(Y4mReader(file))
        luma = next(reader)[0]
        go_on.set()  # before this, nothing of the second frame was there
        assert len(list(reader)) == 1
    thread.join()
    assert np.array_equal(luma, make_frames(1, 7, 5)[0].planes.luma)


@pytest.mark.parametrize(
    ("location", "tag"), [(0, b" C420 "), (1, b" C420mpeg2 "), (2, b" C420jpeg "), (3, b" C420paldv "), (5, b" C420 ")]
)
def test_chroma_locations(location: int, tag: bytes) -> None:
    info = ClipInfo(width=4, height=2, time_base=Fraction(1), frame_rate=Fraction(1), chroma_location=location)
    data = written(info, 1)
    assert tag in data
    assert Y4mReader(io.BytesIO(data)).chroma_location == (location if location <= 3 else 0)


@pytest.mark.parametrize(
    ("tag", "name", "shapes", "sample"),
    [
        ("", "yuv420p", [(3, 5), (2, 3), (2, 3)], "u1"),
        ("C422", "yuv422p", [(3, 5), (3, 3), (3, 3)], "u1"),
        ("C444", "yuv444p", [(3, 5)] * 3, "u1"),
        ("C444alpha", "yuva444p", [(3, 5)] * 4, "u1"),
        ("C411", "yuv411p", [(3, 5), (3, 2), (3, 2)], "u1"),
        ("Cmono", "gray", [(3, 5)], "u1"),
        ("Cmono12", "gray12le", [(3, 5)], "<u2"),
        ("C420p10", "yuv420p10le", [(3, 5), (2, 3), (2, 3)], "<u2"),
        ("C422p16", "yuv422p16le", [(3, 5), (3, 3), (3, 3)], "<u2"),
    ],
)
def test_formats(tag: str, name: str, shapes: list[tuple[int, int]], sample: str) -> None:
    size = sum(height * width for height, width in shapes) * np.dtype(sample).itemsize
    data = f"YUV4MPEG2 W5 H3 F25:1 {tag}\nFRAME Ippp\n".encode() + bytes(range(size))
    reader = Y4mReader(io.BytesIO(data))
    assert (reader.format, reader.frame_bytes) == (name, size)
    ((*planes,),) = list(reader)
    assert [plane.shape for plane in planes] == shapes
    assert b"".join(plane.tobytes() for plane in planes) == bytes(range(size))
    assert {plane.dtype for plane in planes} == {np.dtype(sample)}


def test_what_the_header_does_not_tell() -> None:
    reader = Y4mReader(io.BytesIO(b"YUV4MPEG2 H2 W4 F0:0 A0:0 I? Xnothing XCOLORRANGE=FULL\n"))
    assert (reader.rate, reader.sample_aspect_ratio, reader.interlaced, reader.full_range) == (0, 0, False, 1)
    assert list(reader) == []
    assert Y4mReader(io.BytesIO(b"YUV4MPEG2 W4 H2 It\n")).interlaced


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b"YUV4MPEG2 W4 H2", "header of the Y4M file is cut off"),
        (b"YUV4MPEG3 W4 H2\n", "starts with 'YUV4MPEG3'"),
        (b"YUV4MPEG2 H2 F25:1\n", "tag W of the Y4M file is missing, must be a number of samples, 1..65535"),
        (b"YUV4MPEG2 W0 H2 F25:1\n", "tag W of the Y4M file is '0'"),
        (b"YUV4MPEG2 W4 H-2 F25:1\n", "tag H of the Y4M file is '-2'"),
        (b"YUV4MPEG2 W4 H65536\n", "tag H of the Y4M file is '65536'"),
        (b"YUV4MPEG2 W4 H2 F25\n", "tag F of the Y4M file is '25', must be two numbers"),
        (b"YUV4MPEG2 W4 H2 F25:0\n", "tag F of the Y4M file is 25:0, must be above 0"),
        (b"YUV4MPEG2 W4 H2 A1:x\n", "tag A of the Y4M file is '1:x'"),
        (b"YUV4MPEG2 W4 H2 Iz\n", "tag I of the Y4M file is 'z'"),
        (b"YUV4MPEG2 W4 H2 C421\n", "tag C of the Y4M file is '421'"),
        (b"YUV4MPEG2 W4 H2 Q7\n", "has a tag 'Q7'"),
        (b"YUV4MPEG2 W4 H2 W4\n", "has the tag W twice"),
        (b"YUV4MPEG2 W4 H2 X" + b"x" * 5000, "more than 4096 bytes"),
    ],
)
def test_bad_headers(header: bytes, message: str) -> None:
    with pytest.raises((InputError, TruncatedError), match=message):
        Y4mReader(io.BytesIO(header))


def test_bad_frames() -> None:
    start = b"YUV4MPEG2 W4 H2 F25:1\n"
    with pytest.raises(InputError, match="frame 0 of the Y4M file begins with 'FRAMES'"):
        list(Y4mReader(io.BytesIO(start + b"FRAMES\n" + bytes(12))))
    for cut in (1, 5, 6, 7, 17):
        with pytest.raises(TruncatedError, match="frame 1 of the Y4M file is cut off"):
            list(Y4mReader(io.BytesIO((start + (b"FRAME\n" + bytes(12)) * 2)[: len(start) + 18 + cut])))


def test_a_clip_that_is_cut_off_gives_what_it_has() -> None:
    data = written(INFO)
    with pytest.warns(UserWarning, match="frame 2 of the Y4M file is cut off; it is left out"):
        _, _, frames, _ = read_with_warnings(Pipe(data[:-1]))
    assert same_planes(frames, make_frames(2, 7, 5))
    with pytest.raises(InputError, match="frame 0 of the Y4M file is cut off"):
        read_clip(Pipe(data[:100]))
    with pytest.raises(InputError, match="has no frames"):
        read_clip(Pipe(data[: data.index(b"\n") + 1]))


def test_clips_in_other_formats_are_converted() -> None:
    luma = bytes(range(16, 24))
    data = b"YUV4MPEG2 W4 H2 F25:1 C444p10\nFRAME\n" + b"".join((4 * v).to_bytes(2, "little") for v in luma)
    data += (512).to_bytes(2, "little") * 16
    with pytest.warns(UserWarning, match="yuv444p10le is converted.*width and height, 10-bit samples are reduced"):
        info, _, (frame,), _ = read_with_warnings(Pipe(data))
    assert frame.planes.luma.tobytes() == luma
    assert (frame.planes.cb == 128).all()
    assert (info.chroma_location, info.colour) == (1, UNSPECIFIED)
    info, _, (frame,), _ = read_clip(Pipe(b"YUV4MPEG2 W4 H2 F25:1 Cmono\nFRAME\n" + bytes(range(8))))
    assert frame.planes.luma.tobytes() == bytes(range(8))
    assert (frame.planes.cr == 128).all()
    assert info.colour.full_range == 1


def test_rates_and_interlacing() -> None:
    frame = b"FRAME\n" + bytes(12)
    with pytest.warns(UserWarning, match="has no frame rate; it is taken as 25 frames a second"):
        info = read_with_warnings(Pipe(b"YUV4MPEG2 W4 H2\n" + frame))[0]
    assert (info.frame_rate, info.time_base) == (25, Fraction(1, 25))
    assert read_clip(Pipe(b"YUV4MPEG2 W4 H2\n" + frame), fps=12)[0].frame_rate == 12
    with pytest.raises(InputError, match="fps is given, but the clip has 25 frames a second"):
        read_clip(Pipe(b"YUV4MPEG2 W4 H2 F25:1\n" + frame), fps=12)
    with pytest.warns(UserWarning, match="is interlaced"):
        read_with_warnings(Pipe(b"YUV4MPEG2 W4 H2 F25:1 It\n" + frame))
