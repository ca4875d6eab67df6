"""Signals that end a command: what they raise comes again where a callback of a library has swallowed it."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

_AGAIN = 0.05
"""Seconds until a swallowed exception is raised anew, so that the callback has returned by then."""


class Terminated(BaseException):
    """SIGTERM arrived."""


@contextmanager
def stopping() -> Iterator[None]:
    """SIGTERM raises Terminated within, so that what is half done is cleaned up.

    An exception raised in a callback of C code or in a finalizer can only be printed by Python. Were it a signal's, the
    signal would be lost; here it is sent again. Does nothing outside the main thread, which alone gets signals.
    """
    main = threading.current_thread()
    if main is not threading.main_thread():
        yield
        return
    timers: list[threading.Timer] = []
    report = sys.unraisablehook

    def terminate(_signal: int, _frame: FrameType | None) -> None:
        raise Terminated

    def send_again(lost: Any) -> None:
        number = {Terminated: signal.SIGTERM, KeyboardInterrupt: signal.SIGINT}.get(lost.exc_type)
        if number is None:
            report(lost)
            return
        timer = threading.Timer(_AGAIN, _send, (main, number))
        timer.daemon = True
        timers.append(timer)
        timer.start()

    before = signal.signal(signal.SIGTERM, terminate)
    sys.unraisablehook = send_again
    try:
        yield
    finally:
        for timer in timers:
            timer.cancel()
        sys.unraisablehook = report
        signal.signal(signal.SIGTERM, before)


def _send(thread: threading.Thread, number: signal.Signals) -> None:
    """A signal to a thread, which wakes it where it waits."""
    if hasattr(signal, "pthread_kill"):
        with suppress(ProcessLookupError):
            signal.pthread_kill(thread.ident or 0, number)
    else:
        signal.raise_signal(number)
