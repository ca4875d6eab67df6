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
from typing import Any, Protocol, Self, cast
from warnings import warn

from nacre.arguments import STANDARD
from nacre.bitstream.cicp import Colour
from nacre.bitstream.errors import InputError, TruncatedError
from nacre.bitstream.limits import Limits
from nacre.bitstream.tracks import AUDIO, PacketUnit, TrackUnit
from nacre.bitstream.units import SIGNATURE
from nacre.clip import DEFAULT_RATE, UNSPECIFIED, ClipInfo, Frame
from nacre.compensation import Planes
from nacre.endpoints import source as standard_source
from nacre.pixellimit import choose_limits
from nacre.pyavfile import PyavReader
from nacre.sources import CheckedReader, Readable, naming, reason, source_name
from nacre.tracks import packet_time
from nacre.y4m import SIGNATURE as Y4M_SIGNATURE
from nacre.y4m import Y4mReader

ClipSource = str | os.PathLike[str] | Readable
Seconds = int | float | Fraction

_HEAD_BYTES = max(len(SIGNATURE), len(Y4M_SIGNATURE))
_MOST = 1_000_000
_BEHIND = 1  # seconds behind its end that a part is still looked for sound in


class _Source(Protocol):
    """Where the frames and packets of a clip come from."""

    tracks: tuple[TrackUnit, ...]

    @property
    def info(self) -> ClipInfo:
        """What the clip is; complete once the first frame was given."""

    def items(self) -> Iterator[Frame | PacketUnit]:
        """Frames in display order with rising times, packets between them."""

    def tell_of_losses(self) -> None:
        """Warn of what was wrong with what was read; InputError where nothing could be decoded."""

    def close(self) -> None:
        """Let the files go."""


def open_clip(
    source: ClipSource, start: Seconds | None = None, duration: Seconds | None = None, fps: Seconds | None = None
) -> ClipReader:
    """Open a clip: a file that FFmpeg reads or YUV4MPEG2, `-` for standard input, a file object opened in binary mode
    (pipes will do), numbered pictures such as `frames/%04d.png`, or a folder of pictures.

    start, duration: the part to read, in seconds of the clip's own time; the times of what is read count from start.
    fps: frames a second of pictures (25 without it) and of clips without timestamps.

    The first frame is decoded at once. Frames become 8-bit 4:2:0; what is lost, and whatever else is wrong with the
    clip but can be lived with, is a UserWarning. Raises InputError where it cannot be read as a clip, has no video, no
    frames or a size that changes, LimitError where its frames are larger than NACRE_MAX_PIXELS or its default allows.
    Exceptions of the package name the source.
    """
    span = _Span(_seconds("start", start, 0), _seconds("duration", duration, None))
    rate = _seconds("fps", fps, None)
    name = "standard input" if source == STANDARD else source_name(source)
    stack = ExitStack()
    with naming(name), stack:
        clip = _open(source, span, rate, stack)
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

    def __init__(self, source: _Source, span: _Span, name: str | None, stack: ExitStack) -> None:
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


class _Span:
    """The part of a clip that is read, in seconds; its times count from its start."""

    def __init__(self, start: Fraction | None, duration: Fraction | None) -> None:
        self.start = start or Fraction(0)
        self._end = None if duration is None else self.start + duration

    def cut(self, source: _Source) -> Any:
        """A generator of the frames and packets in the part."""
        ended: set[int] = set()
        for item in source.items():
            if isinstance(item, Frame):
                base = source.info.time_base
                time = item.pts * base
                if self._end is not None and time >= self._end:
                    sound = {track.number for track in source.tracks if track.kind == AUDIO}
                    if sound <= ended or time >= self._end + _BEHIND:
                        break
                elif time >= self.start or not self.start:
                    yield replace(item, pts=item.pts - round(self.start / base)) if self.start else item
                continue
            track = source.tracks[item.track]
            seconds = packet_time(item, track)
            if self._end is not None and seconds is not None and seconds >= self._end:
                ended.add(item.track)
            elif not self.start:
                yield item
            elif seconds is not None and seconds >= self.start:
                yield _shifted(item, round(self.start / track.time_base))
        source.tell_of_losses()

    def of(self, info: ClipInfo) -> ClipInfo:
        """The clip's description, with frames and duration of the part."""
        if not self.start and self._end is None:
            return info
        whole = info.duration
        duration = None if self._end is None else self._end - self.start
        if whole is not None:
            left = max(Fraction(0), whole - self.start)
            duration = left if duration is None else min(duration, left)
        frames = None
        if duration is not None and info.frames and whole:
            frames = round(info.frames * duration / whole)
        return replace(info, frames=frames, duration=duration)

    def describe(self) -> str:
        """For a message: which part it is."""
        start = f" from {float(self.start):g} s on" if self.start else ""
        return start if self._end is None else f"{start} before {float(self._end):g} s"


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


class _Pushed:
    """A pipe with the bytes in front that were read from it to see what it is."""

    def __init__(self, head: bytes, reader: Readable) -> None:
        self._head, self._reader = head, reader

    def read(self, size: int, /) -> bytes | None:
        if not self._head:
            return self._reader.read(size)
        data, self._head = self._head[:size], self._head[size:]
        return data


class _Prompt:
    """A pipe that gives what it has, so that a clip that is being recorded is not kept waiting."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def read(self, size: int, /) -> bytes | None:
        return cast("bytes | None", self._file.read1(size))


def _shifted(packet: PacketUnit, shift: int) -> PacketUnit:
    """The packet so many units of time earlier."""
    pts, dts = (None if time is None else time - shift for time in (packet.pts, packet.dts))
    return replace(packet, pts=pts, dts=dts)


def _open(source: ClipSource, span: _Span, fps: Fraction | None, stack: ExitStack) -> _Source:
    limits = choose_limits()
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
    if whole is None and hasattr(file, "read1"):
        reader = CheckedReader(_Prompt(file), InputError)
    begin = 0 if whole is None else whole.tell()
    head = b""
    while len(head) < _HEAD_BYTES and (more := reader.read(_HEAD_BYTES - len(head))):
        head += more
    if head.startswith(SIGNATURE):
        msg = "is a nacre stream already, must be a clip in another format"
        raise InputError(msg)
    if whole is not None:
        whole.seek(begin)
    readable = reader if whole is not None else _Pushed(head, reader)
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


def _seconds(name: str, value: Seconds | None, low: int | None) -> Fraction | None:
    """An argument as a fraction; low: whether it may be 0."""
    if value is None:
        return None
    try:
        number = Fraction(str(value))
    except (ValueError, ZeroDivisionError):
        number = Fraction(-1)
    if number < 0 or (number == 0 and low is None) or number > _MOST:
        msg = f"{name} is {value}, must be {'at least' if low is not None else 'above'} 0 and at most {_MOST}"
        raise InputError(msg)
    return number.limit_denominator(_MOST)
