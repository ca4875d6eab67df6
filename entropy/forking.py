"""Forks that find no network at work and nothing under compilation: locks taken then would stay locked in the child."""

from __future__ import annotations

# Hooks before a fork run the last registered first. These modules have some that take locks; were they imported later,
# by a thread inside the gate perhaps, a fork would hold their locks while it waits for a thread that needs them.
import concurrent.futures.thread
import logging
import os
import threading
from types import TracebackType

_IMPORTED_BEFORE = (concurrent.futures.thread, logging)


class ForkGate:
    """A context manager around work that a fork must wait for; any number of threads may be inside, also nested.

    A fork waits until all have left, and while it waits no thread enters. In the child nobody is inside.
    """

    def __init__(self) -> None:
        self._reset()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(before=self._close, after_in_parent=self._open, after_in_child=self._reset)

    def _reset(self) -> None:
        self._changed = threading.Condition()
        self._here = threading.local()
        self._inside = 0
        self._forking = False

    def __enter__(self) -> None:
        depth = getattr(self._here, "depth", 0)
        if depth == 0:
            with self._changed:
                self._changed.wait_for(lambda: not self._forking)
                self._inside += 1
        self._here.depth = depth + 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._here.depth -= 1
        if self._here.depth == 0:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    def _close(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._forking)
            self._forking = True
            self._changed.wait_for(lambda: self._inside == 0)

    def _open(self) -> None:
        with self._changed:
            self._forking = False
            self._changed.notify_all()


FORK_GATE = ForkGate()
