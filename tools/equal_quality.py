"""Rates at equal quality: what each codec takes to reach round values of a metric."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from statistics import median

from nacre.tools.bd_rate import rate_at
from nacre.tools.curves import Curve
from nacre.tools.tables import Table

_STEPS = 10  # at most so many between the lowest and the highest level


def levels(curves: Iterable[Curve]) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten that half of the curves or more reach, at most 11."""
    ends = [(curve.quality[0], curve.quality[-1]) for curve in curves]
    low, high = (median(values) for values in zip(*ends, strict=True))
    if low >= high:
        return []
    finest = (high - low) / _STEPS
    power = 10.0 ** math.floor(math.log10(finest))
    step = next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= finest)
    return [step * k for k in range(math.ceil(low / step), math.floor(high / step) + 1)]


def rate_table(curves: Mapping[str, Curve], anchor: str, title: str, sign: float = 1.0) -> Table:
    """Bits per pixel of each curve at equal quality, with what they are more or less than the anchor's in brackets.

    sign: -1 where the curves' qualities are those of a metric of which less is better. Cells are empty where a curve
    does not reach a level; the table is empty without the anchor's curve or where there are no levels.
    """
    if anchor not in curves or not (found := levels(curves.values())):
        return []
    names = (anchor, *(name for name in curves if name != anchor))
    rows = ([name, *(_cell(curves[name], curves[anchor], level) for level in found)] for name in names)
    return [[title, *(f"{sign * level + 0.0:g}" for level in found)], *rows]


def _cell(curve: Curve, anchor: Curve, level: float) -> str:
    if not _reaches(curve, level):
        return ""
    rate = rate_at(curve, level)
    if curve is anchor or not _reaches(anchor, level):
        return f"{rate:.3f}"
    return f"{rate:.3f} ({100.0 * (rate / rate_at(anchor, level) - 1.0):+.0f} %)"


def _reaches(curve: Curve, level: float) -> bool:
    return curve.quality[0] <= level <= curve.quality[-1]
