"""Small clips for the tests of clip input and output, written by PyAV in any codec, format and time base."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.codec.context import Flags

from nacre.bitstream.tracks import PacketUnit, TrackUnit
from nacre.clip import ClipInfo, Frame
from nacre.clipread import open_clip
from nacre.compensation import Planes
from nacre.videoframes import fill_frame

RATE = Fraction(25)


def make_planes(width: int = 48, height: int = 32, number: int = 0) -> Planes:
    """A gradient with noise, in the limited range; chroma rounded up."""
    random = np.random.default_rng(number)
    shapes = [(height, width), (-(-height // 2), -(-width // 2)), (-(-height // 2), -(-width // 2))]
    planes = []
    for place, (rows, columns) in enumerate(shapes):
        y, x = np.mgrid[:rows, :columns]
        values = (
            60 + 20 * place + 100 * (x + number) / (columns + 9) + 30 * y / rows + random.normal(0, 4, (rows, columns))
        )
        planes.append(np.clip(values, 16, 235).astype(np.uint8))
    return Planes(*planes)


def make_frames(count: int = 5, width: int = 48, height: int = 32, times: Sequence[int] | None = None) -> list[Frame]:
    """Frames one unit of time apart, or at the given times."""
    return [Frame(make_planes(width, height, k), times[k] if times else k, 1) for k in range(count)]


def write_file(
    path: Path | str | Any,
    frames: Sequence[Frame],
    codec: str = "ffv1",
    time_base: Fraction = 1 / RATE,
    pix_fmt: str = "yuv420p",
    *,
    form: str | None = None,
    options: dict[str, str] | None = None,
    matrix: Sequence[int] | None = None,
    planes: Any = None,
    audio: str | None = None,
    **attributes: Any,
) -> Any:
    """A file of the frames; attributes are set on the codec context. planes: another picture's planes, for all frames.
    audio: the codec of a second of a tone."""
    with av.open(str(path) if isinstance(path, Path) else path, "w", format=form) as container:
        stream: Any = container.add_stream(codec, rate=RATE, options=options or {})
        stream.height, stream.width = frames[0].planes.luma.shape
        stream.pix_fmt = pix_fmt
        stream.time_base = time_base
        context = stream.codec_context
        context.time_base = time_base
        context.flags |= Flags.frame_duration
        for name, value in attributes.items():
            setattr(context, name, value)
        if matrix is not None:
            stream.set_display_matrix(matrix)
        sound = None if audio is None else add_tone(container, audio)
        for frame in frames:
            size = frame.planes.luma.shape
            picture = fill_frame(pix_fmt if planes is not None else "yuv420p", size, planes or frame.planes)
            if pix_fmt not in ("yuv420p", "yuvj420p") and planes is None:
                picture = picture.reformat(format=pix_fmt)
            picture.pts, picture.time_base, picture.duration = frame.pts, time_base, frame.duration
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
        if sound is not None:
            encode_tone(container, sound)
    return path


def add_tone(container: Any, codec: str, rate: int = 48000) -> Any:
    stream = container.add_stream(codec, rate=rate, options={"strict": "-2"})
    stream.layout = "stereo"
    return stream


def encode_tone(container: Any, stream: Any, seconds: float = 0.3) -> None:
    rate = stream.rate
    tone = (8000 * np.sin(np.arange(int(rate * seconds)) / 12)).astype(np.int16)
    frame = av.AudioFrame.from_ndarray(np.repeat(tone, 2).reshape(1, -1), "s16", "stereo")
    frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
    container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def read_clip(source: Any, **options: Any) -> tuple[ClipInfo, tuple[TrackUnit, ...], list[Frame], list[PacketUnit]]:
    """Everything in a clip; a warning is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        return read_with_warnings(source, **options)


def read_with_warnings(
    source: Any, **options: Any
) -> tuple[ClipInfo, tuple[TrackUnit, ...], list[Frame], list[PacketUnit]]:
    """Everything in a clip."""
    with open_clip(source, **options) as clip:
        items = list(clip)
        frames = [item for item in items if isinstance(item, Frame)]
        return clip.info, clip.tracks, frames, [item for item in items if isinstance(item, PacketUnit)]


def same_planes(first: Sequence[Frame], second: Sequence[Frame]) -> bool:
    """Whether two clips have equal samples."""
    return len(first) == len(second) and all(
        np.array_equal(a, b)
        for one, other in zip(first, second, strict=True)
        for a, b in zip(one.planes, other.planes, strict=True)
    )


class Pipe:
    """A file object that only reads, in pieces of odd sizes, or only writes."""

    def __init__(self, data: bytes = b"") -> None:
        self.data = bytearray(data)

    def read(self, size: int = -1, /) -> bytes:
        taken = bytes(self.data[: min(size, 777) if size >= 0 else None])
        del self.data[: len(taken)]
        return taken

    def write(self, data: bytes, /) -> int:
        self.data += data[:1000]
        return min(len(data), 1000)
