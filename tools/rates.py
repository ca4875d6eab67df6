"""Which qualities a clip still needs, so that every curve has enough points where it is compared."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

INTERVAL = (30.0, 42.0)  # dB of 6:1:1 PSNR
WANTED = 6


def rates_inside(known: Mapping[float, float]) -> int:
    """How many qualities of `known`, quality to dB, lie in the interval."""
    return sum(INTERVAL[0] <= value <= INTERVAL[1] for value in known.values())


def next_qualities(known: Mapping[float, float], step: float) -> list[float]:
    """Qualities to try next, until WANTED ones lie in INTERVAL; none where that is so or nothing is left to try.

    known: dB of the qualities tried. step: the finest step between two. The middles of the widest gaps are taken, as
    far as these lie in the interval, as many as are wanted still.
    """
    lacking = WANTED - rates_inside(known)
    if lacking <= 0:
        return []
    ordered = sorted(known)
    gaps: list[tuple[float, float]] = []
    for low, high in pairwise(ordered):
        bottom, top = sorted((known[low], known[high]))
        width = min(top, INTERVAL[1]) - max(bottom, INTERVAL[0])
        steps = round((high - low) / abs(step))
        if width > 0.0 and steps >= 2:
            gaps.append((width, low + steps // 2 * abs(step)))
    return [quality for _, quality in sorted(gaps, reverse=True)[:lacking]]
