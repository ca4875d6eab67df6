"""How far a long work is, on stderr."""

from __future__ import annotations

import sys
import time


class Progress:
    """A line that is overwritten on a terminal, nothing in a pipe; with `verbose` a line for every piece, anywhere."""

    def __init__(self, total: int, *, verbose: bool = False, quiet: bool = False) -> None:
        self._shown = sys.stderr.isatty() and not verbose and not quiet
        self._verbose = verbose
        self._total, self._done, self._start = total, 0, time.monotonic()

    def step(self, what: str) -> None:
        """One more piece is done; `what` names it."""
        self._done += 1
        if self._verbose:
            print(f"{self._done}/{self._total}  {what}", file=sys.stderr)
        elif self._shown:
            left = round((time.monotonic() - self._start) / self._done * (self._total - self._done))
            count = f"{self._done}/{self._total}"
            print(f"\r{count}  {left // 60}:{left % 60:02} left  {what[:50]:50}", end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Wipe the line."""
        if self._shown:
            print("\r" + 79 * " " + "\r", end="", file=sys.stderr, flush=True)
