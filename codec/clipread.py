"""Clips in: files and pipes that FFmpeg reads, YUV4MPEG2, numbered pictures and folders of pictures, opened alike."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from warnings import warn

from nacre.arguments import STANDARD
from nacre.bitstream.cicp import Colour
from nacre.bitstream.errors import InputError, TruncatedError
from nacre.bitstream.limits import Limits
from nacre.bitstream.tracks import PacketUnit, TrackUnit
from nacre.bitstream.units import SIGNATURE
from nacre.clip import DEFAULT_RATE, UNSPECIFIED, ClipInfo, Frame
from nacre.clipspan import Seconds, Source, Span, parse_seconds
from nacre.compensation import Planes
from nacre.endpoints import source as standard_source
from nacre.pixellimit import choose_limits
from nacre.pyavfile import PyavReader
from nacre.sources import CheckedReader, Pushed, Readable, naming, reason, source_name
from nacre.y4m import SIGNATURE as Y4M_SIGNATURE
from nacre.y4m import Y4mReader

ClipSource = str | os.PathLike[str] | Readable

_HEAD_BYTES = max(len(SIGNATURE), len(Y4M_SIGNATURE))


def open_clip(
    source: ClipSource,
    start: Seconds | None = None,
    duration: Seconds | None = None,
    fps: Seconds | None = None,
    max_pixels: int | None = None,
) -> ClipReader:
    """Open a clip: a file that FFmpeg reads or YUV4MPEG2, `-` for standard input, a file object opened in binary mode
    (pipes will do), numbered pictures such as `frames/%04d.png`, or a folder of pictures.

    start, duration: the part to read, in seconds of the clip's own time; the times of what is read count from start.
    fps: frames a second of pictures (25 without it) and of clips without timestamps. max_pixels: of a frame, by default
    NACRE_MAX_PIXELS, or 400 million.

    The first frame is decoded at once. Frames become 8-bit 4:2:0; what is lost, and whatever else is wrong with the
    clip but can be lived with, is a UserWarning. Raises InputError where it cannot be read as a clip, has no video, no
    frames or a size that changes, LimitError where its frames are larger than max_pixels.
    Exceptions of the package name the source.
    """
    span = Span(parse_seconds("start", start, 0), parse_seconds("duration", duration, None))
    rate = parse_seconds("fps", fps, None)
    name = "standard input" if source == STANDARD else source_name(source)
    stack = ExitStack()
    with naming(name), stack:
        clip = _open(source, span, rate, choose_limits(max_pixels), stack)
        return ClipReader(clip, span, name, stack.pop_all())


class ClipReader:
    """An opened clip: iterate once for its frames and, between them, the packets of its tracks, by time.

    A packet comes before the first frame that is not earlier, unless it stands far behind that frame in the file. Times
    of frames rise strictly. A context manager closes it.
    """

    info: ClipInfo
    """What the clip is."""
    tracks: tuple[TrackUnit, ...]
    """Its audio and subtitle tracks."""

    def __init__(self, source: Source, span: Span, name: str | None, stack: ExitStack) -> None:
        self._name, self._stack = name, stack
        self._items = span.cut(source)
        self._first: deque[Frame | PacketUnit] = deque()
        try:
            while not (self._first and isinstance(self._first[-1], Frame)):
                self._first.append(next(self._items))
        except StopIteration:
            self.close()
            msg = f"has no frames{span.describe()}"
            raise InputError(msg) from None
        except BaseException:
            self.close()
            raise
        self.info = span.of(source.info)
        self.tracks = source.tracks

    def __iter__(self) -> Iterator[Frame | PacketUnit]:
        with naming(self._name):
            while self._first:
                yield self._first.popleft()
            yield from self._items

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let the files go."""
        self._items.close()
        self._stack.close()


class _Y4mClip:
    """The frames of a YUV4MPEG2 stream; see ContainerClip."""

    tracks: tuple[TrackUnit, ...] = ()

    def __init__(self, file: Readable, size: int | None, fps: Fraction | None, limits: Limits) -> None:
        self._reader = reader = Y4mReader(file)
        limits.check_picture(reader.width, reader.height)
        if fps is not None and reader.rate:
            msg = f"fps is given, but the clip has {float(reader.rate):g} frames a second by its header"
            raise InputError(msg)
        rate = fps or reader.rate or DEFAULT_RATE
        if not fps and not reader.rate:
            warn(f"has no frame rate; it is taken as {float(rate):g} frames a second", UserWarning, stacklevel=2)
        frames = None if size is None else (size - reader.header_bytes) // (reader.frame_bytes + len("FRAME\n"))
        self.info = ClipInfo(
            width=reader.width,
            height=reader.height,
            time_base=1 / rate,
            frame_rate=rate,
            colour=UNSPECIFIED if not reader.full_range else replace(UNSPECIFIED, full_range=1),
            chroma_location=reader.chroma_location,
            sample_aspect_ratio=reader.sample_aspect_ratio,
            frames=frames,
            duration=None if frames is None else frames / rate,
        )

    def items(self) -> Iterator[Frame | PacketUnit]:
        """The frames."""
        if self._reader.interlaced:
            warn("is interlaced; both fields of a frame are kept as its rows", UserWarning, stacklevel=2)
        convert = _plain if self._reader.format == "yuv420p" else self._conversion()
        number = 0
        try:
            for planes in self._reader:
                yield Frame(convert(planes), number, 1)
                number += 1
        except TruncatedError as error:
            if number == 0:
                raise InputError(str(error)) from error
            warn(f"{error}; it is left out", UserWarning, stacklevel=2)

    def tell_of_losses(self) -> None:
        """Everything was told of."""

    def close(self) -> None:
        """Nothing is open here."""

    def _conversion(self) -> Any:
        """A function from planes in the stream's format to 8-bit 4:2:0; info then tells of these."""
        from av import VideoFormat

        from nacre.videoframes import LEFT, Converter, fill_frame, sampling

        name, size = self._reader.format, (self._reader.height, self._reader.width)
        kind = sampling(VideoFormat(name))
        if kind.losses:
            warn(f"{name} is converted to 8-bit 4:2:0: {', '.join(kind.losses)}", UserWarning, stacklevel=2)
        full = self._reader.full_range == 1 or (kind.grey and self._reader.full_range is None)
        location = LEFT if any(kind.more_chroma) else self.info.chroma_location
        self.info = replace(self.info, colour=Colour(2, 2, 2, int(full)), chroma_location=location)
        converter = Converter()

        def convert(planes: list[Any]) -> Planes:
            frame = fill_frame(name, size, planes)
            frame.color_range = 2 if full else 1
            return converter.planes(frame)

        return convert


def _plain(planes: list[Any]) -> Planes:
    return Planes(*planes)


def _open(source: ClipSource, span: Span, fps: Fraction | None, limits: Limits, stack: ExitStack) -> Source:
    file: Any = standard_source(STANDARD) if source == STANDARD else source
    path = None
    if isinstance(file, str | os.PathLike):
        path = os.fsdecode(file)
        pictures = _pictures(path)
        if pictures is not None:
            from nacre.pictureclip import PictureClip

            return PictureClip(pictures, fps, limits)
        try:
            file = stack.enter_context(open(path, "rb"))  # noqa: SIM115  (closed by the stack)
        except (OSError, ValueError) as error:  # ValueError: a null character in the path
            msg = f"cannot be read: {reason(error)}"
            raise InputError(msg) from error
    elif not hasattr(file, "read"):
        msg = f"the source is {type(file).__name__}, must be a path or a file object opened in binary mode"
        raise InputError(msg)
    reader = CheckedReader(file, InputError)
    whole = reader.seekable_file
    if whole is None:
        reader = CheckedReader(Pushed(b"", file), InputError)
    begin = 0 if whole is None else whole.tell()
    head = b""
    while len(head) < _HEAD_BYTES and (more := reader.read(_HEAD_BYTES - len(head))):
        head += more
    if head.startswith(SIGNATURE):
        msg = "is a nacre stream already, must be a clip in another format"
        raise InputError(msg)
    if whole is not None:
        whole.seek(begin)
    readable = reader if whole is not None else Pushed(head, reader)
    if head.startswith(Y4M_SIGNATURE):
        size = os.path.getsize(path) if whole is not None and path is not None else None
        return _Y4mClip(readable, size, fps, limits)
    from nacre.containerclip import ContainerClip

    opened = f"file:{path}" if whole is not None and path is not None else PyavReader(readable, whole)
    clip = ContainerClip(opened, fps, span.start, limits)
    stack.callback(clip.close)
    return clip


def _pictures(name: str) -> list[Path] | None:
    """The pictures that a folder or a pattern names, None where the name is that of a file."""
    path = Path(name)
    try:
        is_folder, exists = path.is_dir(), path.exists()
    except (OSError, ValueError):
        return None
    if exists and not is_folder:
        return None
    from nacre.pictureclip import is_pattern, numbered_pictures, pictures_in

    if is_folder:
        return pictures_in(path)
    return numbered_pictures(name) if is_pattern(name) else None
