"""Clips that FFmpeg reads, by PyAV: frames decoded and brought to 8-bit 4:2:0, packets of other tracks as they are."""

from __future__ import annotations

import math
import struct
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any
from warnings import warn

from nacre.bitstream.errors import InputError
from nacre.bitstream.limits import Limits
from nacre.bitstream.tracks import AUDIO, MAX_TRACKS, ContentLight, HdrUnit, MasteringDisplay, PacketUnit, TrackUnit
from nacre.clip import DEFAULT_RATE, ClipInfo, Frame
from nacre.matroska import chroma_location
from nacre.pyavfile import PyavReader
from nacre.sources import reason
from nacre.tracks import KINDS, packet_time, read_packet, read_track
from nacre.videoframes import LEFT, Converter, frame_colour, sampling

_NO_TIMESTAMPS, _DISCONTINUOUS = 0x80, 0x200  # AVFMT_NOTIMESTAMPS, AVFMT_TS_DISCONT
_NO_CLIPS = frozenset(("tty", "bin", "xbin", "adf", "idf"))  # FFmpeg takes texts for these by their names' ending
_ATTACHED_PICTURE = 1 << 10  # AV_DISPOSITION_ATTACHED_PIC
_INTERLACED = frozenset((2, 3, 4, 5))  # AVFieldOrder
_MOST_BEHIND = 1.5  # seconds that sound may stand behind pictures in a file and still come before them
_MAX_WAITING = 1 << 25  # bytes of packets that wait for their frame
_MICROSECONDS = Fraction(1, 1_000_000)
_MAX_TERM = (1 << 31) - 1
_CHROMATICITY, _LUMINANCE = 50_000, 10_000  # steps per unit in HDR side data
# Display matrices by their first four numbers in 1/65536, to clockwise quarter turns
_TURNS = {(1, 0, 0, 1): 0, (0, 1, -1, 0): 1, (-1, 0, 0, -1): 2, (0, -1, 1, 0): 3}


class ContainerClip:
    """The video of a file and its audio and subtitle tracks; iterate `items` once.

    file: a path as FFmpeg takes it, or a PyavReader. fps: frames a second of clips that have no timestamps.
    seek: seconds, where reading may begin somewhat before. `info` is complete once the first frame was given.

    Raises InputError where the file cannot be read, has no video, or changes its size. Whatever else is wrong is a
    UserWarning.
    """

    def __init__(self, file: str | PyavReader, fps: Fraction | None, seek: Fraction | None, limits: Limits) -> None:
        import av

        self._limits = limits
        self._file = file if isinstance(file, PyavReader) else None
        try:
            self._container: Any = av.open(file, metadata_errors="replace")
        except (av.FFmpegError, OSError, ValueError) as error:
            self._check()
            raise _unreadable(error) from error
        self._check()
        try:
            self._start(fps, seek)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let the file go."""
        self._container.close()

    def items(self) -> Iterator[Frame | PacketUnit]:
        """Frames in display order, packets before the first frame that is not earlier, as far as the file allows."""
        waiting: deque[PacketUnit] = deque()
        held = 0
        for packet in self._packets():
            if packet.stream.index == self._video.index:
                for frame in self._decode(packet):
                    time = frame.pts * float(self.info.time_base)
                    while waiting and self._due(waiting[0]) <= time:
                        held -= len(waiting[0].data)
                        yield waiting.popleft()
                    yield frame
                continue
            unit = self._unit(packet)
            if unit is not None:
                waiting.append(unit)
                held += len(unit.data)
            while held > _MAX_WAITING:
                held -= len(waiting[0].data)
                yield waiting.popleft()
        yield from waiting

    # Opening

    def _start(self, fps: Fraction | None, seek: Fraction | None) -> None:
        container = self._container
        if container.format.name in _NO_CLIPS:
            msg = "is no clip in a format that FFmpeg reads"
            raise InputError(msg)
        pictures = [stream for stream in container.streams.video if not int(stream.disposition) & _ATTACHED_PICTURE]
        if not pictures:
            msg = "has no video stream"
            raise InputError(msg)
        best = container.streams.best("video")
        self._video = best if best in pictures else pictures[0]
        if self._video.codec_context is None:
            msg = "its video is in a codec that FFmpeg cannot decode"
            raise InputError(msg)
        if len(pictures) > 1:
            msg = f"has {len(pictures)} video streams; number {self._video.index} is read"
            warn(msg, UserWarning, stacklevel=2)
        self._video.thread_type = "AUTO"
        flags = container.format.flags
        self._offset = Fraction(0)
        if flags & _DISCONTINUOUS and not flags & _NO_TIMESTAMPS and container.start_time is not None:
            self._offset = container.start_time * _MICROSECONDS
        self._choose_times(fps, flags)
        self._choose_tracks()
        movable = self._file is None or self._file.seekable()
        if seek and movable and not flags & _DISCONTINUOUS and not self._counted:
            self._seek(seek)
        self._converter = Converter()
        self._frames = self._broken = self._missing = self._disordered = self._damaged = 0
        self._next = 0
        self._last: int | None = None
        self._told: set[str] = set()
        self._trouble = self._stopped = ""

    def _choose_times(self, fps: Fraction | None, flags: int) -> None:
        video = self._video
        self._counted = bool(flags & _NO_TIMESTAMPS)
        if fps is not None and not self._counted:
            msg = "fps is given, but the clip has times of its own; fps is for pictures and for clips that have none"
            raise InputError(msg)
        rate = fps or video.average_rate or video.guessed_rate or Fraction(0)
        rate = Fraction(rate).limit_denominator(1 << 16)
        base = Fraction(video.time_base or _MICROSECONDS)
        if self._counted:
            rate = rate or DEFAULT_RATE
            base = 1 / rate
            if fps is None:
                warn(f"has no timestamps; they are made for {float(rate):g} frames a second", UserWarning, stacklevel=2)
        context = video.codec_context
        self._limits.check_picture(context.width, context.height)
        duration = self._container.duration
        aspect = Fraction(video.sample_aspect_ratio or 0)
        self.info = ClipInfo(
            width=context.width,
            height=context.height,
            time_base=base,
            frame_rate=rate,
            sample_aspect_ratio=aspect if max(aspect.numerator, aspect.denominator) <= _MAX_TERM else Fraction(0),
            frames=video.frames or None,
            duration=None if duration is None or duration <= 0 else duration * _MICROSECONDS,
        )

    def _choose_tracks(self) -> None:
        """The audio and subtitle streams that are passed; what is left out is warned of."""
        self._tracks: dict[int, TrackUnit] = {}
        left = []
        for stream in self._container.streams:
            if stream.type == "video":
                continue
            trouble = stream.type
            if stream.type in KINDS and len(self._tracks) < MAX_TRACKS:
                try:
                    self._tracks[stream.index] = read_track(stream, len(self._tracks))
                    continue
                except InputError as error:
                    trouble = str(error)
            left.append(f"{stream.index} ({trouble})")
        if left:
            warn(f"streams that cannot be kept are left out: {', '.join(left)}", UserWarning, stacklevel=2)
        self.tracks = tuple(self._tracks.values())

    def _seek(self, seek: Fraction) -> None:
        import av

        video = self._video
        try:
            self._container.seek(math.floor(seek / video.time_base), stream=video)
        except (av.FFmpegError, OSError):  # a file without an index: it is read from its beginning
            return

    # Packets

    def _packets(self) -> Iterator[Any]:
        """Packets of PyAV; pictures wait for sound that stands behind them in the file, if it is not too far behind."""
        video = self._video.index
        sound = {index: -math.inf for index, track in self._tracks.items() if track.kind == AUDIO}
        held: deque[tuple[float, Any]] = deque()
        newest = -math.inf
        for packet in self._demuxed():
            time = packet.pts if packet.dts is None else packet.dts
            seconds = -math.inf if time is None else time * float(packet.time_base)
            newest = max(newest, seconds)
            if packet.stream.index == video:
                held.append((seconds, packet))
            else:
                if packet.stream.index in sound:
                    sound[packet.stream.index] = max(sound[packet.stream.index], seconds)
                yield packet
            reached = min(sound.values(), default=math.inf)
            while held and (held[0][0] <= reached or newest - held[0][0] > _MOST_BEHIND):
                yield held.popleft()[1]
        for _, packet in held:
            yield packet

    def _check(self) -> None:
        if self._file is not None:
            self._file.check()

    def _demuxed(self) -> Iterator[Any]:
        import av

        streams = [stream for stream in self._container.streams if stream.index in self._tracks]
        try:
            for packet in self._container.demux(self._video, *streams):
                self._check()
                yield packet
        except av.FFmpegError as error:
            self._check()
            self._trouble = self._stopped = _reason(error)
            flush: Any = av.Packet()
            flush.stream = self._video
            flush.time_base = self._video.time_base
            yield flush

    def _unit(self, packet: Any) -> PacketUnit | None:
        """A packet of a track, None for the empty one that ends it."""
        if packet.size == 0 and packet.dts is None and packet.pts is None:
            return None
        try:
            return read_packet(packet, self._tracks[packet.stream.index], self._offset)
        except InputError:
            self._broken += 1
            return None

    def _due(self, packet: PacketUnit) -> float:
        time = packet_time(packet, self.tracks[packet.track])
        return -math.inf if time is None else time

    # Frames

    def _decode(self, packet: Any) -> Iterator[Frame]:
        import av

        try:
            frames = self._video.codec_context.decode(packet if packet.size else None)
        except (av.FFmpegError, ValueError) as error:
            if packet.size:
                self._broken += 1
                self._trouble = _reason(error)
            return
        for frame in frames:
            yield self._frame(frame)

    def _frame(self, frame: Any) -> Frame:
        if self._frames == 0:
            self._take_info(frame)
        elif (frame.width, frame.height) != (self.info.width, self.info.height):
            msg = (
                f"frame {self._frames} is {frame.width}x{frame.height}, the frames before are"
                f" {self.info.width}x{self.info.height}; a clip must keep its size"
            )
            raise InputError(msg)
        self._tell_of_conversion(frame)
        self._damaged += frame.is_corrupt
        planes = self._converter.planes(frame)
        usual = self.info.frame_duration
        duration = 1 if self._counted else min(frame.duration, (1 << 32) - 1) or usual
        pts = self._time(frame)
        self._frames += 1
        self._last, self._next = pts, pts + duration
        return Frame(planes, pts, duration)

    def _time(self, frame: Any) -> int:
        """When a frame is shown: later than the one before, whatever the file says."""
        if self._counted:
            return self._next
        time = frame.dts if frame.pts is None else frame.pts
        if time is None:
            self._missing += 1
            return self._next
        time -= round(self._offset / self.info.time_base)
        if self._last is not None and time <= self._last:
            self._disordered += 1
            return self._last + 1
        return int(time)

    def _take_info(self, frame: Any) -> None:
        """What the first frame tells."""
        self._limits.check_picture(frame.width, frame.height)
        kind = sampling(frame.format)
        side = {data.type.name: bytes(data) for data in frame.side_data}
        location = LEFT if any(kind.more_chroma) else chroma_location(self._video)
        self.info = replace(
            self.info,
            width=frame.width,
            height=frame.height,
            colour=frame_colour(frame, kind),
            chroma_location=location,
            rotation=_rotation(side.get("DISPLAYMATRIX")),
            hdr=_hdr(side.get("MASTERING_DISPLAY_METADATA"), side.get("CONTENT_LIGHT_LEVEL")),
        )

    def _tell_of_conversion(self, frame: Any) -> None:
        """Warn once of what is lost of samples of this format, and of interlacing."""
        name = frame.format.name
        if name not in self._told:
            self._told.add(name)
            losses = sampling(frame.format).losses
            if losses:
                warn(f"{name} is converted to 8-bit 4:2:0: {', '.join(losses)}", UserWarning, stacklevel=2)
        order = self._video.codec_context.field_order
        if (frame.interlaced_frame or order in _INTERLACED) and "interlaced" not in self._told:
            self._told.add("interlaced")
            warn("is interlaced; both fields of a frame are kept as its rows", UserWarning, stacklevel=2)

    def tell_of_losses(self) -> None:
        """Warn of what was wrong with what was read; InputError where nothing could be decoded."""
        if self._frames == 0 and self._trouble:
            msg = f"none of its frames can be decoded: {self._trouble}"
            if self._file is not None and not self._file.seekable():
                msg += "; some clips cannot be read from a pipe, but from a file"
            raise InputError(msg)
        if self._stopped:
            warn(f"reading stops after frame {self._frames - 1}: {self._stopped}", UserWarning, stacklevel=2)
        for count, text in (
            (self._broken, "broken packets, which were skipped"),
            (self._damaged, "frames that the decoder calls damaged"),
            (self._missing, "frames without a timestamp, which was made from the frame rate"),
            (self._disordered, "frames with a timestamp that is not above the one before, which was raised"),
        ):
            if count:
                warn(f"has {text}: {count}", UserWarning, stacklevel=2)


def _rotation(matrix: bytes | None) -> int:
    """Clockwise quarter turns of a display matrix; what these cannot say is a UserWarning."""
    if matrix is None:
        return 0
    numbers = struct.unpack("=9i", matrix)
    first = tuple(round(numbers[place] / 65536) for place in (0, 1, 3, 4))
    exact = all(numbers[place] % 65536 == 0 for place in (0, 1, 3, 4))
    if first not in _TURNS or not exact:
        warn("is shown mirrored or turned by other than quarter turns, which is not kept", UserWarning, stacklevel=2)
    return _TURNS.get(first, 0)


def _hdr(mastering: bytes | None, light: bytes | None) -> HdrUnit | None:
    """HDR side data from FFmpeg's structures AVMasteringDisplayMetadata and AVContentLightMetadata."""
    display = content = None
    if mastering is not None:
        *numbers, has_primaries, has_luminance = struct.unpack_from("=22i", mastering)
        ratios = [above / below if below else 0.0 for above, below in zip(numbers[::2], numbers[1::2], strict=True)]
        xy = [min(65535, max(0, round(ratio * _CHROMATICITY))) * bool(has_primaries) for ratio in ratios[:8]]
        low, high = (min((1 << 32) - 1, max(0, round(x * _LUMINANCE))) * bool(has_luminance) for x in ratios[8:])
        display = MasteringDisplay(
            red_x=xy[0],
            red_y=xy[1],
            green_x=xy[2],
            green_y=xy[3],
            blue_x=xy[4],
            blue_y=xy[5],
            white_x=xy[6],
            white_y=xy[7],
            max_luminance=high,
            min_luminance=low,
        )
    if light is not None:
        largest, average = struct.unpack_from("=2I", light)
        content = ContentLight(max_content=min(largest, 65535), max_frame_average=min(average, 65535))
    return None if display is None and content is None else HdrUnit(display, content)


def _reason(error: Exception) -> str:
    """What FFmpeg says went wrong, without the file's name."""
    return getattr(error, "strerror", None) or reason(error)


def _unreadable(error: Exception) -> InputError:
    return InputError(f"cannot be read as a clip: {_reason(error)}")
