"""What the work on one input of encode or decode is given to tell how far it is, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a picture or a clip: a line that says so, and what of it was lost."""

    line: str
    losses: Sequence[str] = ()


class Steps(NamedTuple):
    """Called as the work goes on; both raise what is to stop it.

    tiles: with the number of tiles that are done and of all. frames: with the number of frames that are done, and of
    all where that is known.
    """

    tiles: Callable[[int, int], None]
    frames: Callable[[int, int | None], None]
