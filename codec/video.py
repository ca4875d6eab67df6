"""The video codec: frames to a stream in a file, and back.

with VideoEncoder("clip.ncr", width, height, frame_rate, quality=50) as encoder:
    for frame in frames:
        encoder.write(frame)
with VideoDecoder("clip.ncr") as decoder:
    for frame in decoder:
        frame.to_rgb()
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, cast

import numpy as np
from numpy.typing import NDArray

from nacre.atomic import open_target
from nacre.bitstream.errors import FormatError, InputError
from nacre.bitstream.frames import FrameUnit
from nacre.bitstream.scan import FoundIndex, read_index
from nacre.bitstream.seekindex import IndexEntry, SeekIndex
from nacre.bitstream.sequence import LostFrames, SequenceReader
from nacre.bitstream.sequenceheader import SequenceHeader
from nacre.bitstream.tracks import PacketUnit, TrackUnit
from nacre.bitstream.units import BinaryWriter, SeekableReader
from nacre.clip import ClipInfo, Frame
from nacre.clipspan import Seconds, Span, parse_seconds
from nacre.compensation import Planes
from nacre.entropy.forking import FORK_GATE
from nacre.framecoder import FrameCoder
from nacre.gopencoder import SequencePlan
from nacre.gopworkers import gops_at_once
from nacre.image import MAX_THREADS, usable_cpus
from nacre.lookahead import LookAhead
from nacre.pixellimit import choose_limits
from nacre.rate_control import RateGoal
from nacre.sequencedecoder import SequenceDecoder, clip_info
from nacre.sequenceencoder import SequenceEncoder
from nacre.sources import Source, naming, open_source, source_name
from nacre.stopwatch import Stopwatch
from nacre.videoframes import RgbConverter, make_frame
from nacre.videoinput import FrameReader
from nacre.weights.sequence import SequenceWeights, load_sequence

DEFAULT_QUALITY = 50.0
DEFAULT_GOP = 32
MAX_FRAME_PIXELS = 1 << 24
"""The largest frame in luma samples, unless the caller or the environment says another limit.

A frame is coded as one tile, which takes some 110 bytes of memory for each of them.
"""
_MAX_GOP = 1 << 15
_MAX_RATE_TERM = 1 << 20


class VideoEncoder:
    """Codes frames one after the other into a file.

    target: path, which is there when the encoder is closed and not before, or a file object, which is only written to
    and stays open. width, height: luma samples, odd ones too. frame_rate: frames a second, of frames that do not tell
    their time. Of quality (0..100, by default 50) and bitrate (bits a second, met over some seconds) at most one;
    maxrate and bufsize: bits a second that a receiver gets at most, and bits that it can hold. gop: frames from one
    intra frame to the next, at most, 1..32768; scene_cut: whether one comes where scenes change, too. low_delay:
    whether every frame is in the file when `write` returns, as it always is with a bitrate; otherwise several GOPs are
    coded side by side where there are threads and memory for them. clip: what the clip is beside that, with the time
    base of its frames; by default the first frame tells. tracks: what `packet` may be given. profile, threads, weights,
    max_pixels: as in ImageCodec. clobber: whether an existing file may be replaced.

    A context manager; when an error leaves it, nothing remains of a path. Raises InputError for arguments out of range,
    LimitError where frames are too large, WeightsNotFoundError, WeightsError, and BackendError where numba is missing,
    which motion needs.
    """

    def __init__(
        self,
        target: str | os.PathLike[str] | BinaryWriter,
        width: int,
        height: int,
        frame_rate: Seconds,
        *,
        quality: float | None = None,
        bitrate: float | None = None,
        maxrate: float | None = None,
        bufsize: float | None = None,
        gop: int = DEFAULT_GOP,
        scene_cut: bool = True,
        low_delay: bool = False,
        clip: ClipInfo | None = None,
        tracks: Sequence[TrackUnit] = (),
        profile: str | None = None,
        threads: int | None = None,
        weights: str | os.PathLike[str] | None = None,
        max_pixels: int | None = None,
        clobber: bool = True,
        stopwatch: Stopwatch | None = None,
    ) -> None:
        choose_limits(max_pixels, MAX_FRAME_PIXELS).check_picture(width, height)
        self._plan = _plan(quality, bitrate, maxrate, bufsize, gop, scene_cut=scene_cut, low_delay=low_delay)
        self._frames = FrameReader(width, height, _rate(frame_rate), clip)
        self._tracks = tuple(tracks)
        self._stopwatch = stopwatch or Stopwatch()
        self._weights, self._threads = load_sequence(profile, weights), _threads(threads)
        self._coder = _coder(self._weights, self._threads)
        self._encoder: SequenceEncoder | None = None
        self._closed = False
        self._stack = ExitStack()
        self._file: BinaryWriter
        if isinstance(target, str | os.PathLike):
            self._file = self._stack.enter_context(open_target(Path(target), clobber=clobber))
        else:
            self._file = target

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._closed:
            return
        if error is None:
            self.close()
        else:
            self._abandon(kind, error, trace)

    @property
    def frames(self) -> int:
        """Frames given so far."""
        return 0 if self._encoder is None else self._encoder.frames

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return 0 if self._encoder is None else self._encoder.size

    def write(self, frame: Frame | Planes | NDArray[np.uint8] | Any, key: bool = False) -> None:
        """Code the next frame: av.VideoFrame, array (H, W, 3) of RGB or (3 H / 2, W) of 4:2:0 uint8, Planes, Frame.

        A Frame has its own time, in units of the clip's time base; others follow the frame before by 1 / frame_rate.
        key: whether it begins a GOP. Raises InputError for a frame of another size or kind, or with a time that does
        not rise; what a conversion loses is a UserWarning.
        """
        self._check_open()
        read = self._frames.read(frame, key=key)
        self._started().write(read)

    def packet(self, unit: PacketUnit) -> None:
        """Write a packet of one of the tracks, near the frames that are shown at its time."""
        self._check_open()
        self._started().packet(unit)

    def close(self) -> None:
        """Finish the stream; a path is there now. InputError where no frame was written, and nothing of a path."""
        if self._closed:
            return
        try:
            self._started().close()
        except BaseException as error:
            self._abandon(type(error), error, error.__traceback__)
            raise
        self._closed = True
        self._stack.close()

    def _started(self) -> SequenceEncoder:
        """The encoder, which begins with the first frame, since that may tell what the clip is."""
        if self._encoder is None:
            info, plan, threads = self._frames.info, self._plan, self._threads
            side_by_side = None
            if plan.goal is None and not plan.low_delay:
                count = gops_at_once(threads, plan.gop, info.width * info.height)
                side_by_side = (count, _coder(self._weights, threads // count)) if count > 1 else None
            self._encoder = SequenceEncoder(
                self._coder, self._file, info, self._tracks, plan, self._stopwatch, side_by_side
            )
        return self._encoder

    def _check_open(self) -> None:
        if self._closed:
            msg = "the encoder is closed, nothing can be written to it"
            raise InputError(msg)

    def _abandon(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        try:
            if self._encoder is not None:
                self._encoder.abandon()
        finally:
            self._stack.__exit__(kind, error, trace)


@dataclass(frozen=True, slots=True)
class DecodedFrame:
    """A frame of a clip. planes: 8-bit 4:2:0. number: 0 for the first. pts, duration: in units of info.time_base."""

    planes: Planes
    number: int
    pts: int
    duration: int
    key: bool
    info: ClipInfo

    @property
    def time(self) -> float:
        """When it is shown, seconds."""
        return float(self.pts * self.info.time_base)

    def to_rgb(self) -> NDArray[np.uint8]:
        """The picture (H, W, 3), not turned."""
        return RgbConverter(self.info).rgb(self.planes)

    def to_av(self) -> Any:
        """An av.VideoFrame in yuv420p with its time and colour."""
        frame: Any = make_frame(self.planes)
        frame.pts, frame.time_base = self.pts, self.info.time_base
        frame.color_range = 2 if self.info.colour.full_range else 1
        frame.colorspace = self.info.colour.matrix
        return frame


@dataclass(frozen=True, slots=True)
class SequenceVerification:
    """A sequence that was decoded to its symbols without fault: how many frames, symbols and bytes it has."""

    frames: int
    symbols: int
    bytes: int


class VideoDecoder:
    """Decodes a stream's frames one after the other: iterate for them.

    source: path, bytes or file object, a pipe too. keep_going: damaged frames, each with the rest of its GOP, are left
    out and named in `losses`, where otherwise FormatError or one of its kinds is raised. Where a stream is cut short,
    all frames that are whole are given, then TruncatedError is raised (with keep_going the iteration ends); after it
    one may go on, if the file has grown, or call `poll` from the beginning.

    A context manager, which lets a file that it has opened go. Raises FormatError and its kinds, LimitError where
    frames are larger than max_pixels (by default NACRE_MAX_PIXELS, or 2^24 luma samples), WeightsNotFoundError,
    WeightsMismatchError, InputError; names of files stand before messages.
    """

    info: ClipInfo
    """What the clip is; `frames` and `duration` are None where the source cannot seek."""
    header: SequenceHeader
    """What the stream says of it."""

    def __init__(
        self,
        source: Source,
        *,
        keep_going: bool = False,
        threads: int | None = None,
        weights: str | os.PathLike[str] | None = None,
        max_pixels: int | None = None,
        stopwatch: Stopwatch | None = None,
    ) -> None:
        self._limits = choose_limits(max_pixels, MAX_FRAME_PIXELS)
        self._name = source_name(source)
        self._found: FoundIndex | None = None
        self._skipped = 0  # number of the first frame that is decoded
        with ExitStack() as stack, naming(None if isinstance(source, str | os.PathLike) else self._name):
            file = stack.enter_context(open_source(source))
            seekable = file.seekable_file
            self._seekable = None if seekable is None else cast("SeekableReader", _Window(seekable))
            index = self._index() if self._seekable is not None else None
            if self._seekable is not None:
                self._seekable.seek(0)
            self._reader = SequenceReader(self._seekable or file, self._limits, keep_going)
            self.header = self._reader.header
            sequence = load_sequence(self.header.profile, weights, self.header.digest)
            count = _threads(threads)
            coder = _coder(sequence, count)
            self._decoder = SequenceDecoder(self._reader, coder, stopwatch or Stopwatch(), keep_going=keep_going)
            self._units = LookAhead(self._reader)
            self._units.begin()
            self._reads_ahead = count > 1 and self._seekable is not None  # other sources would have to be waited for
            end = None if index is None else index.end - index.entries[0].timestamp
            self.info = clip_info(self._reader, None if index is None else index.frames, end)
            self._stack = stack.pop_all()

    @property
    def tracks(self) -> tuple[TrackUnit, ...]:
        """Its audio and subtitle tracks."""
        return tuple(track for _, track in sorted(self._reader.tracks.items()))

    @property
    def losses(self) -> list[str]:
        """With keep_going, what was wrong so far, in words."""
        return self._decoder.losses

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let the file go."""
        self._stack.close()

    def __iter__(self) -> Iterator[DecodedFrame]:
        return self

    def __next__(self) -> DecodedFrame:
        with naming(self._name):
            for item, number in self._items():
                if isinstance(item, Frame):
                    return self._given(item, number)
        raise StopIteration

    def poll(self) -> DecodedFrame | None:
        """The next frame of a file that may still grow, None while it has no whole one; `ended` tells the end."""
        with naming(self._name):
            while (unit := self._units.take(final=False)) is not None:
                item = self._decode(unit)
                if isinstance(item, Frame) and isinstance(unit, FrameUnit):
                    return self._given(item, unit.number)
        return None

    @property
    def ended(self) -> bool:
        """Whether there is nothing more to come."""
        return self._units.ended

    def items(self, start: Seconds | None = None, duration: Seconds | None = None) -> Iterator[Frame | PacketUnit]:
        """Frames and, between them, packets of the tracks, or of a part in seconds, whose times count from its start.

        Goes to the part where the source can seek; otherwise reads all before it.
        """
        span = Span(parse_seconds("start", start, 0), parse_seconds("duration", duration, None))
        with naming(self._name):
            if span.start and self._seekable is not None:
                entry = self._entry_at(span.start)
                # packets of the time of an intra frame stand in front of it, so begin one earlier, if there are any
                before = [other for other in self._entries() if other.number < entry.number] if self.tracks else []
                self._go_to(before[-1] if before else entry)
                self._skipped = entry.number
            yield from span.cut(_Part(self))

    def seek(self, seconds: Seconds) -> None:
        """The next frame is the one that is shown at a time of the clip, the first one where that is before it.

        Raises InputError where the source cannot seek.
        """
        time = parse_seconds("time", max(seconds, 0), 0)
        assert time is not None
        with naming(self._name):
            self._go_to(self._entry_at(time))
            target = math.floor(time / self.header.time_base)
            self._pass_until(lambda unit: unit.timestamp + unit.duration > target)

    def __len__(self) -> int:
        """Frames of the stream, or of what there is of it so far; TypeError where the source cannot seek."""
        if self._seekable is None:
            msg = "the source cannot seek: it has no length"
            raise TypeError(msg)
        with naming(self._name):
            index = self._index()
            return 0 if index is None else index.frames

    def __getitem__(self, number: int) -> DecodedFrame:
        """A frame by its number, from the end where that is negative; the next one to iterate is that behind it.

        Raises IndexError outside the clip, FormatError where damage has taken the intra frame that it hangs on.
        """
        frames = len(self)
        if not -frames <= number < frames:
            msg = f"frame {number} of {frames}"
            raise IndexError(msg)
        wanted = number % frames + self.header.first_frame
        with naming(self._name):
            before = [entry for entry in self._entries() if entry.number <= wanted]
            if not before:
                msg = f"frame {number} has no intra frame before it"
                raise FormatError(msg)
            self._go_to(max(before))
            self._pass_until(lambda unit: unit.number >= wanted)
        return next(self)

    def verify(self) -> SequenceVerification:
        """Check all checksums and decode all symbols from here on, no frames' samples; raises as iterating does."""
        frames = symbols = 0
        with naming(self._name):
            while (unit := self._units.take()) is not None:
                if isinstance(unit, FrameUnit):
                    frames += 1
                    symbols += self._decoder.symbols(unit)
        part = self._reader.part
        return SequenceVerification(frames, symbols, part.offset + part.size)

    def _items(self) -> Iterator[tuple[Frame | PacketUnit, int]]:
        """Frames and packets, with the numbers of units that are frames."""
        while (unit := self._units.take()) is not None:
            if isinstance(unit, FrameUnit) and unit.number < self._skipped:
                continue
            item = self._decode(unit)
            if item is not None:
                yield item, unit.number if isinstance(unit, FrameUnit) else 0

    def _decode(self, unit: FrameUnit | PacketUnit | LostFrames) -> Frame | PacketUnit | None:
        following = self._units.next_frame() if self._reads_ahead and isinstance(unit, FrameUnit) else None
        return self._decoder.decode(unit, following)

    def _given(self, frame: Frame, number: int) -> DecodedFrame:
        number -= self.header.first_frame
        return DecodedFrame(frame.planes, number, frame.pts, frame.duration, frame.key, self.info)

    def _pass_until(self, reached: Any) -> None:
        """Decode frames until the one that is due is reached, which is not decoded yet."""
        while (unit := self._units.take()) is not None:
            if isinstance(unit, FrameUnit) and reached(unit):
                self._units.put_back(unit)
                return
            self._decode(unit)

    def _entries(self) -> tuple[IndexEntry, ...]:
        index = self._index()
        if index is None:
            msg = "the sequence has no intra frame yet, there is nothing to seek to"
            raise FormatError(msg)
        return index.entries

    def _entry_at(self, time: Fraction) -> IndexEntry:
        """The last intra frame that is shown at a time, in seconds, or before it, or else the first one."""
        target = math.floor(time / self.header.time_base)
        entries = self._entries()
        return max((entry for entry in entries if entry.timestamp <= target), default=entries[0])

    def _go_to(self, entry: IndexEntry) -> None:
        self._reader.seek(entry)
        self._decoder.restart()
        self._units.forget()
        self._skipped = 0

    def _index(self) -> SeekIndex | None:
        """Where the intra frames are, as far as the file goes now; the reader's place is kept."""
        if self._seekable is None:
            msg = "the source cannot seek"
            raise InputError(msg)
        if self._found is None or not self._found.complete:
            place = self._seekable.tell()  # type: ignore[attr-defined]  # _Window has it
            self._found = read_index(self._seekable, self._limits, self._found)
            self._seekable.seek(place)
        return self._found.index


class _Part:
    """A decoder as what a Span cuts."""

    def __init__(self, decoder: VideoDecoder) -> None:
        self._decoder = decoder
        self.info = decoder.info

    @property
    def tracks(self) -> tuple[TrackUnit, ...]:
        """Those that were passed."""
        return self._decoder.tracks

    def items(self) -> Iterator[Frame | PacketUnit]:
        """Frames and packets from here on."""
        return (item for item, _ in self._decoder._items())

    def tell_of_losses(self) -> None:
        """They are in the decoder's `losses`."""

    def close(self) -> None:
        """The decoder is closed by its owner."""


class _Window:
    """A file object whose place at the beginning is its byte 0."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._start = file.tell()

    def read(self, size: int, /) -> bytes | None:
        return self._file.read(size)

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        return self._file.seek(offset + self._start if whence == os.SEEK_SET else offset, whence) - self._start

    def tell(self) -> int:
        return self._file.tell() - self._start


def _plan(
    quality: float | None,
    bitrate: float | None,
    maxrate: float | None,
    bufsize: float | None,
    gop: int,
    *,
    scene_cut: bool,
    low_delay: bool,
) -> SequencePlan:
    if quality is not None and bitrate is not None:
        msg = "quality and bitrate are both given, must be one of them"
        raise InputError(msg)
    if bitrate is None and (maxrate is not None or bufsize is not None):
        msg = "maxrate and bufsize need a bitrate"
        raise InputError(msg)
    level = DEFAULT_QUALITY if quality is None else quality
    if isinstance(level, bool) or not isinstance(level, int | float) or not 0 <= level <= 100:
        msg = f"quality is {level!r}, must be a number in 0..100"
        raise InputError(msg)
    if isinstance(gop, bool) or not isinstance(gop, int) or not 1 <= gop <= _MAX_GOP:
        msg = f"gop is {gop!r}, must be 1..{_MAX_GOP}"
        raise InputError(msg)
    try:
        goal = None if bitrate is None else RateGoal(bitrate, maxrate, bufsize)
    except ValueError as error:
        raise InputError(str(error)) from error
    return SequencePlan(float(level), goal, gop, scene_cut, low_delay)


def _rate(frame_rate: Seconds) -> Fraction:
    rate = parse_seconds("frame_rate", frame_rate, None)
    assert rate is not None
    return rate.limit_denominator(_MAX_RATE_TERM)


def _coder(weights: SequenceWeights, threads: int) -> FrameCoder:
    """The coder of installed weights, which encoders and decoders of a process share."""
    with FORK_GATE:
        return _kept_coder(weights.folder, weights.digest, threads)


@lru_cache(maxsize=4)
def _kept_coder(folder: Path, digest: bytes, threads: int) -> FrameCoder:
    return FrameCoder(load_sequence(None, folder, digest), threads)


def _threads(threads: int | None) -> int:
    if threads is None:
        return usable_cpus()
    if not 1 <= threads <= MAX_THREADS:
        msg = f"threads is {threads}, must be 1..{MAX_THREADS}"
        raise InputError(msg)
    return threads
