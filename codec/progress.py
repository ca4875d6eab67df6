"""How far a command is: files, tiles and frames done, frames a second, time left."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

_BAR = 20  # characters
_FIRST_GUESS = 1.0  # seconds before which no time left is given


@dataclass(slots=True)
class _Clip:
    """Frames done, of how many if that is known, and where counting began: frames then done, and when."""

    done: int
    total: int | None
    first: int
    since: float

    @property
    def share(self) -> float:
        return min(self.done / self.total, 1.0) if self.total else 0.0


class Progress:
    """Counts what is done of `files` pictures and clips and says so in a line; threads may share it.

    show: called with every new line, which is empty while there is one picture of one tile. clock: seconds.
    """

    def __init__(self, files: int, show: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._files, self._show, self._clock = files, show, clock
        self._start = clock()
        self._finished = 0
        self._tiles: dict[int, tuple[int, int]] = {}
        self._passes: dict[int, int] = {}
        self._clips: dict[int, _Clip] = {}
        self._kind = "pictures"
        self._lock = threading.Lock()

    def tiles(self, file: int, done: int, total: int) -> None:
        """Of picture `file` (any number that tells it from others), `done` of `total` tiles are coded.

        When `done` does not grow, the picture is being coded once more, as in a search for a quality.
        """
        with self._lock:
            if file in self._tiles and done <= self._tiles[file][0]:
                self._passes[file] = self._passes.get(file, 1) + 1
            self._tiles[file] = (done, total)
            line = self._line()
        self._show(line)

    def frames(self, file: int, done: int, total: int | None) -> None:
        """Of clip `file`, `done` frames are coded, of `total` or of nobody knows how many."""
        with self._lock:
            clip = self._clips.setdefault(file, _Clip(done, total, done, self._clock()))
            clip.done, clip.total = done, total
            self._kind = "files"
            line = self._line()
        self._show(line)

    def finish(self, file: int) -> None:
        """Picture or clip `file` is done with, well or not."""
        with self._lock:
            self._tiles.pop(file, None)
            self._clips.pop(file, None)
            self._passes.pop(file, None)
            self._finished += 1
            line = self._line()
        self._show(line)

    def _line(self) -> str:
        done, total = (sum(numbers) for numbers in zip((0, 0), *self._tiles.values(), strict=True))
        if self._files == 1 and total <= 1 and not self._clips:
            return ""
        parts = [part / whole for part, whole in self._tiles.values()] + [clip.share for clip in self._clips.values()]
        share = (self._finished + sum(parts)) / self._files
        filled = int(share * _BAR)
        words = []
        if self._files > 1 or all(clip.total for clip in self._clips.values()):
            words += [f"[{'#' * filled}{'-' * (_BAR - filled)}]", f"{int(share * 100):3d} %"]
        if self._files > 1:
            words.append(f"{self._finished} of {self._files} {self._kind}")
        if total > len(self._tiles):
            words.append(f"{done} of {total} tiles")
        words += self._frame_words()
        if self._files == 1 and self._passes:
            words.append(f"encode {max(self._passes.values())}")  # of nobody knows how many
            return "  ".join(words)
        elapsed = self._clock() - self._start
        if share > 0 and elapsed >= _FIRST_GUESS:
            words.append(f"{_clock_time(elapsed * (1 - share) / share)} left")
        return "  ".join(words)

    def _frame_words(self) -> list[str]:
        """Frames done and frames a second, of all clips together."""
        clips = self._clips.values()
        if not clips:
            return []
        done, total = sum(clip.done for clip in clips), sum(clip.total or 0 for clip in clips)
        known = all(clip.total for clip in clips) and done <= total
        words = [f"{done} of {total} frames" if known else f"{done} frames"]
        now = self._clock()
        rate = sum((clip.done - clip.first) / (now - clip.since) for clip in clips if now > clip.since)
        return [*words, f"{rate:.1f} frames/s"] if rate else words


def _clock_time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
