"""A part of a clip, in seconds: which frames and packets are in it, and their times from its start on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any, Protocol

from nacre.bitstream.errors import InputError
from nacre.bitstream.tracks import AUDIO, PacketUnit, TrackUnit
from nacre.clip import ClipInfo, Frame
from nacre.tracks import packet_time

Seconds = int | float | Fraction

_MOST = 1_000_000
_BEHIND = 1  # seconds behind its end that a part is still looked for sound in


class Source(Protocol):
    """Where the frames and packets of a clip come from."""

    @property
    def tracks(self) -> tuple[TrackUnit, ...]:
        """Its audio and subtitle tracks; of a damaged stream some may be missing. Complete as `info`."""

    @property
    def info(self) -> ClipInfo:
        """What the clip is; complete once the first frame was given."""

    def items(self) -> Iterator[Frame | PacketUnit]:
        """Frames in display order with rising times, packets between them."""

    def tell_of_losses(self) -> None:
        """Warn of what was wrong with what was read; InputError where nothing could be decoded."""

    def close(self) -> None:
        """Let the files go."""


class Span:
    """The part of a clip that is read, in seconds; its times count from its start."""

    def __init__(self, start: Fraction | None, duration: Fraction | None) -> None:
        self.start = start or Fraction(0)
        self._end = None if duration is None else self.start + duration

    def cut(self, source: Source) -> Any:
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
            track = next(track for track in source.tracks if track.number == item.track)
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


def _shifted(packet: PacketUnit, shift: int) -> PacketUnit:
    """The packet so many units of time earlier."""
    pts, dts = (None if time is None else time - shift for time in (packet.pts, packet.dts))
    return replace(packet, pts=pts, dts=dts)


def parse_seconds(name: str, value: Seconds | None, low: int | None) -> Fraction | None:
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
