"""Bjontegaard differences between two rate-quality curves, by PCHIP over the logarithm of the rate.

The integral of a monotone piecewise cubic (Fritsch and Carlson 1980) replaces the cubic fit of VCEG-M33 (2001), as
JVET's and AOM's common test conditions do: it cannot swing between the points. The average is taken over the qualities
(BD-rate) or log-rates (BD-quality) that both curves reach; where there are none, an error is raised, never a number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from nacre.bitstream.errors import InputError
from nacre.tools.curves import Curve
from nacre.tools.extras import require

Axis = Sequence[float]  # rising


@dataclass(frozen=True, slots=True)
class Difference:
    """A mean difference and the interval it was taken over (qualities for BD-rate, bits per pixel for BD-quality)."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:+.2f} over {self.low:.2f}..{self.high:.2f}"


def _overlap(
    anchor: Curve, test: Curve, axes: tuple[Axis, Axis], interval: tuple[float, float] | None
) -> tuple[float, float]:
    low, high = max(axis[0] for axis in axes), min(axis[-1] for axis in axes)
    within = ""
    if interval is not None:
        low, high = max(low, interval[0]), min(high, interval[1])
        within = f" within {interval[0]:g}..{interval[1]:g}"
    if low >= high:
        spans = ", ".join(
            f"{curve.name} {axis[0]:.4g}..{axis[-1]:.4g}" for curve, axis in zip((anchor, test), axes, strict=True)
        )
        msg = f"the curves do not overlap{within}: {spans}"
        raise InputError(msg)
    return low, high


def _mean_gap(anchor: tuple[Axis, Axis], test: tuple[Axis, Axis], low: float, high: float) -> float:
    """Mean of test(x) - anchor(x) over low..high, each given as rising x and its values."""
    pchip = require("scipy.interpolate").PchipInterpolator
    areas = [float(pchip(x, y).integrate(low, high)) for x, y in (anchor, test)]
    return (areas[1] - areas[0]) / (high - low)


def rate_at(curve: Curve, quality: float) -> float:
    """Bits per pixel at which a curve has a quality, by the interpolation of `bd_rate`.

    Raises InputError where the curve does not reach it.
    """
    low, high = curve.quality[0], curve.quality[-1]
    if not low <= quality <= high:
        msg = f"{curve.name}: quality is {quality:.4g}, must be in {low:.4g}..{high:.4g}"
        raise InputError(msg)
    pchip = require("scipy.interpolate").PchipInterpolator
    return math.exp(float(pchip(curve.quality, [math.log(rate) for rate in curve.rate])(quality)))


def bd_rate(anchor: Curve, test: Curve, interval: tuple[float, float] | None = None) -> Difference:
    """Mean difference in rate of `test` against `anchor` at equal quality, in percent; less than 0 is better.

    `interval` narrows the qualities looked at, for instance (28.5, 40.0) dB; what the curves do not both reach is left
    out, and the result says which part was used. Raises InputError where nothing is left.
    """
    low, high = _overlap(anchor, test, (anchor.quality, test.quality), interval)
    logs = [[math.log(rate) for rate in curve.rate] for curve in (anchor, test)]
    gap = _mean_gap((anchor.quality, logs[0]), (test.quality, logs[1]), low, high)
    return Difference(100.0 * math.expm1(gap), low, high)


def bd_quality(anchor: Curve, test: Curve, interval: tuple[float, float] | None = None) -> Difference:
    """Mean difference in quality of `test` against `anchor` at equal rate, in the metric's unit; more is better.

    `interval` narrows the rates looked at, in bits per pixel; otherwise as `bd_rate`.
    """
    low, high = _overlap(anchor, test, (anchor.rate, test.rate), interval)
    logs = [[math.log(rate) for rate in curve.rate] for curve in (anchor, test)]
    gap = _mean_gap((logs[0], anchor.quality), (logs[1], test.quality), math.log(low), math.log(high))
    return Difference(gap, low, high)
