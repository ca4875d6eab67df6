"""The search for the quality that gives a wanted size or fidelity, in few whole encodes."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from nacre.bitstream.errors import InputError
from nacre.bitstream.header import MAX_QUALITY

MAX_TRIALS = 8
SIZE_TOLERANCE = 0.02
PSNR_TOLERANCE = 0.05  # dB

_START = 15360
# How much a step of quality adds, to the logarithm of the bytes or to the dB, until two trials have shown it.
_LOG_PER_STEP = 0.035 / 256
_DB_PER_STEP = 0.15 / 256
_PATIENCE = 2  # slow steps in a row before the bracket is halved
_HIGHEST_DB = 200.0  # where a decoded picture without any error is placed

Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Trial(Generic[Made]):
    """One encode: quality in steps, the value that a target is about, and what was made."""

    steps: int
    value: float
    made: Made


class Target(NamedTuple):
    """What is wanted of a value that rises with quality.

    low, high: values within both are what is wanted. least, most: values within both may be kept if there are no
    better ones. ends: whether such a one at quality 0 or 100, beyond which there is nothing, is no error. logarithmic:
    the value grows by factors and not by sums. unit: words behind the value in messages; digits: its decimals there.
    """

    name: str
    unit: str
    digits: int
    low: float
    high: float
    least: float
    most: float
    ends: bool
    logarithmic: bool

    @classmethod
    def of_size(cls, limit: int) -> Target:
        """A stream of at most `limit` bytes, and at least 98 % of them."""
        low = math.ceil(limit * (1 - SIZE_TOLERANCE))
        return cls("size", "bytes", 0, low, limit, 0, limit, ends=True, logarithmic=True)

    @classmethod
    def of_bpp(cls, bpp: float) -> Target:
        """A stream within 2 % of so many bits for each pixel."""
        low, high = bpp * (1 - SIZE_TOLERANCE), bpp * (1 + SIZE_TOLERANCE)
        return cls("bpp", "bits per pixel", 4, low, high, 0, math.inf, ends=False, logarithmic=True)

    @classmethod
    def of_psnr(cls, decibels: float) -> Target:
        """A picture of at least this PSNR, and at most 0.05 dB more."""
        high = decibels + PSNR_TOLERANCE
        return cls("psnr", "dB", 3, decibels, high, decibels, math.inf, ends=True, logarithmic=False)

    def scale(self, value: float) -> float:
        """The value where it grows about evenly with quality."""
        return math.log(max(value, 1e-9)) if self.logarithmic else min(value, _HIGHEST_DB)

    def distance(self, value: float) -> float:
        """How far outside of what is wanted a value is, 0 inside."""
        return max(self.scale(self.low) - self.scale(value), self.scale(value) - self.scale(self.high), 0.0)

    def text(self, value: float) -> str:
        """The value for messages."""
        return f"{value:.{self.digits}f}"


def find_quality(trial: Callable[[int], Trial[Made]], target: Target, max_trials: int = MAX_TRIALS) -> Trial[Made]:
    """The trial that gives what is wanted, found with at most `max_trials` calls of `trial` with steps 0..25600.

    Where none does, the nearest of those that may be kept, with a UserWarning that says what it gives. Raises
    InputError where there is none. One trial is kept besides the one that runs.
    """
    bracket = _Bracket(target)
    best: Trial[Made] | None = None
    steps: int | None = _START
    while steps is not None and len(bracket.values) < max_trials:
        if best is None and len(bracket.values) == max_trials - 1:
            steps = MAX_QUALITY if target.least == target.low else 0  # where a value that may be kept is, if anywhere
        found = trial(steps)
        distance = target.distance(found.value)
        if distance == 0.0:
            return found
        if target.least <= found.value <= target.most and (best is None or distance < target.distance(best.value)):
            best = found
        steps = bracket.narrow(steps, found.value)
    wanted = f"{target.text(target.low)}..{target.text(target.high)} {target.unit}"
    if best is None or (bracket.is_beyond_an_end and not target.ends):
        best = None
        if len(bracket.values) < max_trials:
            other = 0 if MAX_QUALITY in bracket.values else MAX_QUALITY
            bracket.values[other] = trial(other).value
        reachable = f"{target.text(min(bracket.values.values()))}..{target.text(max(bracket.values.values()))}"
        msg = f"{target.name} must be {reachable} {target.unit} for this picture, asked for is {wanted}"
        raise InputError(msg)
    msg = f"{target.name} is {target.text(best.value)} {target.unit}; asked for is {wanted}, nothing nearer was found"
    warnings.warn(msg, UserWarning, stacklevel=2)
    return best


class _Bracket:
    """The steps that the wanted ones lie between, and the values found so far, by steps.

    Whatever the values do, the bracket shrinks with every one of them.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._below: int | None = None
        self._above: int | None = None
        self._width = MAX_QUALITY
        self._slow = 0  # how many values in a row have cut off less than half of the bracket
        self.values: dict[int, float] = {}

    @property
    def is_beyond_an_end(self) -> bool:
        """Whether quality 0 gives too much or quality 100 too little."""
        return self._below == MAX_QUALITY or self._above == 0

    def narrow(self, steps: int, value: float) -> int | None:
        """Take in a value outside of what is wanted; gives the steps to try next, None where there are none."""
        before = self._width
        self.values[steps] = value
        if value < self._target.low:
            self._below = steps
        else:
            self._above = steps
        if self._below is None or self._above is None:
            return None if self.is_beyond_an_end else self._extrapolate(steps)
        self._width = self._above - self._below
        if self._width <= 1:
            return None
        self._slow = self._slow + 1 if 2 * self._width > before else 0
        guess = (self._below + self._above) // 2 if self._slow >= _PATIENCE else self._interpolate()
        return min(max(guess, self._below + 1), self._above - 1)

    def _interpolate(self) -> int:
        """Steps on the line through the two values that are nearest to what is wanted."""
        scale, aim = self._target.scale, self._aim()
        first, second = sorted(self.values, key=lambda steps: abs(scale(self.values[steps]) - aim))[:2]
        rise = scale(self.values[second]) - scale(self.values[first])
        if rise == 0.0:
            return (first + second) // 2
        return first + round((second - first) * (aim - scale(self.values[first])) / rise)

    def _extrapolate(self, steps: int) -> int:
        """Steps on the other side of what is wanted, or an end, as long as all values lie on one side."""
        scale = self._target.scale
        slope = _LOG_PER_STEP if self._target.logarithmic else _DB_PER_STEP
        others = [other for other in self.values if other != steps]
        if others:
            nearest = min(others, key=lambda other: abs(other - steps))
            found = (scale(self.values[steps]) - scale(self.values[nearest])) / (steps - nearest)
            slope = max(found, slope / 4)
        away = round((self._aim() - scale(self.values[steps])) / slope)
        return min(max(steps + (away or 1), 0), MAX_QUALITY)

    def _aim(self) -> float:
        target = self._target
        return (target.scale(target.low) + target.scale(target.high)) / 2
