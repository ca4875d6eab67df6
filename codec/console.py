"""What the command line says: results on standard output, complaints and a line of progress on stderr."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import TextIO

from nacre.progress import Progress

_REDRAW = 0.1  # seconds from one line of progress to the next
_COLUMNS = 80  # of a terminal that does not say

# What complaints begin with: the input that the running code works on; each thread has its own.
_subject: ContextVar[str] = ContextVar("_subject", default="")


class Console:
    """Standard output and stderr of a command; threads may share it. quiet: say nothing but complaints.

    The line of progress stands below all else, and only where stderr is a terminal.
    """

    def __init__(self, *, quiet: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self.quiet = quiet
        self._clock = clock
        self._lock = threading.Lock()
        self._shown = 0  # characters of the line of progress on the screen
        self._next_draw = 0.0

    def say(self, text: str, *, beside: bool = False) -> None:
        """Lines on standard output, or on stderr when that carries the result (`beside`); nothing when quiet.

        BrokenPipeError where the reader of standard output has gone.
        """
        if not self.quiet:
            self._print(text, sys.stderr if beside else sys.stdout)

    def answer(self, text: str) -> None:
        """Lines on standard output, which are what was asked for, quiet or not; raises as `say`."""
        self._print(text, sys.stdout)

    def complain(self, message: str, kind: str = "") -> None:
        """One line on stderr, whatever the message holds; kind: `error`, `warning` or nothing, which it begins with."""
        if sys.stderr is None:
            return
        subject = _subject.get()
        if not message.startswith(subject):
            message = f"{subject}{message}"
        line = " ".join(f"nacre: {kind and f'{kind}: '}{message}".split())
        with self._lock, suppress(OSError):
            self._erase()
            print(_printable(line, sys.stderr), file=sys.stderr, flush=True)

    @contextmanager
    def about(self, subject: str) -> Iterator[None]:
        """Complaints that this thread makes inside name the subject."""
        token = _subject.set(f"{subject}: ")
        try:
            yield
        finally:
            _subject.reset(token)

    @contextmanager
    def progress(self, files: int) -> Iterator[Progress]:
        """The progress of `files` pictures and clips, on the screen as long as the body runs."""
        visible = not self.quiet and sys.stderr is not None and sys.stderr.isatty()
        try:
            yield Progress(files, self._draw if visible else _ignore)
        finally:
            with self._lock, suppress(OSError):
                self._erase()

    def _print(self, text: str, stream: TextIO | None) -> None:
        if stream is not None:
            with self._lock:
                self._erase()
                print(_printable(text, stream), file=stream, flush=True)

    def _draw(self, line: str) -> None:
        with self._lock, suppress(OSError):
            now = self._clock()
            if now < self._next_draw or not line:
                return
            self._next_draw = now + _REDRAW
            columns = os.get_terminal_size(sys.stderr.fileno()).columns or _COLUMNS
            line = line[: columns - 1]
            print("\r" + line.ljust(self._shown), end="", file=sys.stderr, flush=True)
            self._shown = len(line)

    def _erase(self) -> None:
        if self._shown:
            print("\r" + " " * self._shown, end="\r", file=sys.stderr, flush=True)
            self._shown = 0
            self._next_draw = 0.0


def _printable(text: str, stream: TextIO) -> str:
    """The text without what the stream's encoding cannot say, such as bytes of file names that are no text."""
    encoding = stream.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _ignore(_: str) -> None:
    pass
