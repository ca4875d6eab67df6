"""How much work the encoder puts into a stream: levels 1 to 9, one stream format and one decoder for all.

docs/DESIGN.md has what each level takes and saves.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any

from nacre.bitstream.errors import InputError

MIN_EFFORT, MAX_EFFORT = 1, 9


@dataclass(frozen=True, slots=True)
class Effort:
    """A level: whether the fastest analysis is good enough, and how often latents are updated (nacre.refine)."""

    level: int
    fastest: bool = False
    updates: int = 0


_LEVELS = (
    Effort(1, fastest=True),
    Effort(2),
    *(Effort(level, updates=updates) for level, updates in enumerate((1, 2, 4, 8, 16, 32, 64), 3)),
)

DEFAULT_EFFORT = _LEVELS[1]
"""The highest level that does not optimize each picture by itself."""


def parse_effort(value: Any) -> Effort:
    """The level of a number 1..9, or of None, the default; InputError for anything else."""
    if value is None:
        return DEFAULT_EFFORT
    level = 0 if isinstance(value, bool) or not hasattr(value, "__index__") else operator.index(value)
    if not MIN_EFFORT <= level <= MAX_EFFORT:
        msg = f"effort is {value!r}, must be a whole number in {MIN_EFFORT}..{MAX_EFFORT}"
        raise InputError(msg)
    return _LEVELS[level - MIN_EFFORT]
