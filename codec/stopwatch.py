"""Where the seconds of a call went."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Literal, get_args

Part = Literal["colour", "motion", "analysis", "refinement", "entropy networks", "coder", "synthesis", "rest"]
"""What time is charged to.

colour: samples made ready for the networks, and grey made of colour. motion: that of frames, searched and compensated.
entropy networks: scale and context network. refinement: latents improved for the picture, by the networks of both.
coder: range coder, check of the symbols, alpha. rest: files, units, tiles cut and joined.
"""


class Stopwatch:
    """Wall-clock seconds per part of one encode or decode.

    Time is charged to one part at a time, the innermost that is open; outside of all, while running, to `rest`.
    """

    def __init__(self) -> None:
        self.seconds: dict[Part, float] = dict.fromkeys(get_args(Part), 0.0)
        self._part: Part | None = None
        self._since = 0.0

    @contextmanager
    def part(self, part: Part) -> Iterator[None]:
        """Charge what happens inside to `part`."""
        outer = self._switch(part)
        try:
            yield
        finally:
            self._switch(outer)

    def charge(self, seconds: float, others: Iterable[Stopwatch]) -> None:
        """Move seconds from `rest`, where they passed while others worked, to the parts that these worked on."""
        spent: dict[Part, float] = dict.fromkeys(get_args(Part), 0.0)
        for other in others:
            for part, share in other.seconds.items():
                spent[part] += share
        whole = sum(spent.values())
        if whole > 0.0:
            for part, share in spent.items():
                self.seconds[part] += seconds * share / whole
            self.seconds["rest"] -= seconds

    @property
    def total(self) -> float:
        """Seconds of all parts together."""
        return sum(self.seconds.values())

    def _switch(self, part: Part | None) -> Part | None:
        now = time.perf_counter()
        before = self._part
        if before is not None:
            self.seconds[before] += now - self._since
        self._part, self._since = part, now
        return before
