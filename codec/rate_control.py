"""One-pass rate control: the quality of every frame, from what the frames before it have cost.

The size of a frame is modelled as bits = 2^(a + b * quality), with an own `a` for intra and for predicted frames that
follows what is coded, and one slope `b`. A group of pictures has a budget, of which the intra frame gets as many times
a predicted frame's share as it costs at its quality. What has been spent beyond the plan is taken back within about a
second. With a maximum rate, a buffer of the decoder is followed as well: bits arrive at that rate, a frame is
taken out whole at its time, and none may be larger than what has arrived.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

MAX_QUALITY = 100.0
_SLOPE = 4.5 / MAX_QUALITY  # doublings of a frame's bits per step of quality, to begin with
_SLOPE_RANGE = (2.5 / MAX_QUALITY, 9.0 / MAX_QUALITY)
_START = {True: 0.5, False: 0.08}  # bits per pixel at quality 50, to begin with
_FOLLOW = 0.35  # share of a new frame in the running estimates
_STEP = 6.0  # largest change of quality between predicted frames
_RECOVERY_SECONDS = 0.7
_BUFFER_SHARE = {True: 0.8, False: 0.5}  # of what has arrived, that a frame is planned to take at most
_FIRST_FULLNESS = 0.9


@dataclass(frozen=True, slots=True)
class RateGoal:
    """Average bits per second; and with a maximum, bits per second that arrive and bits that the decoder can hold.

    Raises ValueError where a number is not positive, the maximum is below the average, or one of the two is missing.
    """

    bitrate: float
    maximum: float | None = None
    buffer: float | None = None

    def __post_init__(self) -> None:
        for name, value in (("bitrate", self.bitrate), ("maxrate", self.maximum), ("bufsize", self.buffer)):
            if value is not None and not (value > 0 and math.isfinite(value)):
                msg = f"{name} is {value:g}, must be a positive number"
                raise ValueError(msg)
        if self.maximum is not None and self.maximum < self.bitrate:
            msg = f"maxrate is {self.maximum:g}, must be at least the bitrate {self.bitrate:g}"
            raise ValueError(msg)
        if (self.maximum is None) != (self.buffer is None):
            msg = "maxrate and bufsize belong together: one of them is missing"
            raise ValueError(msg)


class RateControl:
    """The quality of every frame of one clip, 0..100.

    For each frame: `quality`, code it; while it is larger than `limit`, `lower` and code it again; then `coded`.

    Args:
        goal: bits per second.
        frame_rate: frames per second.
        gop: frames from one intra frame to the next.
        pixels: luma samples of a frame.
        bonus: what the quality of intra frames is to be above that of the others.
    """

    def __init__(self, goal: RateGoal, frame_rate: float, gop: int, pixels: int, bonus: float = 0.0) -> None:
        self._goal, self._rate, self._gop, self._bonus = goal, frame_rate, gop, bonus
        self._share = goal.bitrate / frame_rate
        self._level = {intra: math.log2(density * pixels) - 50 * _SLOPE for intra, density in _START.items()}
        self._slope = _SLOPE
        self._quality: float | None = None
        self._last: dict[bool, tuple[float, float]] = {}
        self._spent, self._frames, self._since = 0, 0, 0  # bits, frames, and of these those of the group
        self._fullness = None if goal.buffer is None else _FIRST_FULLNESS * goal.buffer

    @property
    def fullness(self) -> float | None:
        """Bits in the decoder's buffer before the next frame is taken; None without a maximum rate."""
        return self._fullness

    @property
    def limit(self) -> int | None:
        """Bits that the next frame may have at most; None where there is no maximum rate."""
        return None if self._fullness is None else max(0, math.floor(self._fullness))

    def quality(self, *, intra: bool) -> float:
        """For the next frame."""
        target = self._plan(intra) - self._debt(intra) / max(1.0, self._rate * _RECOVERY_SECONDS)
        target = max(target, 0.1 * self._plan(intra))
        if self._fullness is not None:
            target = min(target, max(1.0, _BUFFER_SHARE[intra] * self._fullness))
        quality = (math.log2(target) - self._level[intra]) / self._slope
        if self._quality is not None and not intra:
            quality = min(max(quality, self._quality - _STEP), self._quality + _STEP)
        return min(max(quality, 0.0), MAX_QUALITY)

    def lower(self, quality: float, bits: int) -> float | None:
        """A lower quality for a frame that came out larger than `limit`; None where there is none."""
        if quality <= 0:
            return None
        aim = max(1.0, 0.9 * (self.limit or 0))
        return max(0.0, quality - max(1.0, math.log2(max(bits, 1) / aim) / self._slope))

    def coded(self, quality: float, bits: int, *, intra: bool) -> None:
        """What a frame was coded with and how large it is."""
        cost = math.log2(max(bits, 1))
        if intra in self._last:
            before, cost_before = self._last[intra]
            if abs(quality - before) > 2.0:
                slope = min(max((cost - cost_before) / (quality - before), _SLOPE_RANGE[0]), _SLOPE_RANGE[1])
                self._slope += 0.2 * _FOLLOW * (slope - self._slope)
        follow = _FOLLOW if intra in self._last else 1.0
        self._spent += bits
        self._frames += 1
        self._since = 1 if intra else self._since + 1
        self._level[intra] += follow * (cost - quality * self._slope - self._level[intra])
        self._last[intra] = (quality, cost)
        self._quality = quality
        if self._fullness is not None:
            assert self._goal.buffer is not None
            assert self._goal.maximum is not None
            self._fullness = min(self._fullness - bits + self._goal.maximum / self._rate, self._goal.buffer)

    def _debt(self, intra: bool) -> float:
        """Bits spent beyond the plan before the next frame.

        The plan swings about the average, so that the sum is near it whenever the clip ends, and not above it.
        """
        since = 0 if intra else self._since
        whole, rest = self._plan(intra=True), self._plan(intra=False)
        planned = (self._frames - since) * self._share - (whole - self._share) / 2
        return self._spent - planned - (whole + (since - 1) * rest if since else 0.0)

    def _plan(self, intra: bool) -> float:
        """The share of a frame in its group's budget, bits."""
        ratio = math.exp2(self._level[True] + self._slope * self._bonus - self._level[False])
        ratio = min(max(ratio, 1.0), float(4 * self._gop))
        share = self._share * self._gop / (self._gop - 1 + ratio)
        return share * ratio if intra else share
