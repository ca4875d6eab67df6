"""Work on threads with results in order: a few pieces of many at a time, or a few pieces at once."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from types import TracebackType
from typing import Any, Self, TypeVar

from nacre.stopwatch import Stopwatch

Item = TypeVar("Item")
Result = TypeVar("Result")


class Workers:
    """Threads that tiles are coded on; to be used in a `with` statement.

    count: how many; 1 works in the calling thread. stopwatch: what its time is charged to; with several threads, the
    time that the caller waits for them, in proportion to what they did.
    """

    def __init__(self, count: int, stopwatch: Stopwatch) -> None:
        self._count, self._stopwatch = count, stopwatch
        self._pool = ThreadPoolExecutor(count, "nacre") if count > 1 else None
        self._stopping = threading.Event()
        self._clocks: list[Stopwatch] = []
        self._waited = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._stopping.set()
            self._pool.shutdown(cancel_futures=True)
            self._stopwatch.charge(self._waited, self._clocks)

    @property
    def single(self) -> bool:
        """Whether all is done in the calling thread."""
        return self._pool is None

    @property
    def wanted(self) -> bool:
        """Whether results are still waited for; work that takes long is to end early where they are not."""
        return not self._stopping.is_set()

    def map(self, function: Callable[[Item, Stopwatch], Result], items: Iterable[Item]) -> Iterator[Result]:
        """What the function gives for each item, in order; items are taken one more than there are threads ahead."""
        if self._pool is None:
            for item in items:
                yield function(item, self._stopwatch)
            return
        pending: deque[Future[Result]] = deque()
        for item in items:
            if len(pending) == self._count:
                yield self._wait(pending.popleft())
            clock = Stopwatch()
            self._clocks.append(clock)
            pending.append(self._pool.submit(function, item, clock))
        while pending:
            yield self._wait(pending.popleft())

    def _wait(self, future: Future[Result]) -> Result:
        start = time.perf_counter()
        try:
            return future.result()
        finally:
            self._waited += time.perf_counter() - start


def at_once(threads: int, *works: Callable[[], Any]) -> list[Any]:
    """What each of the functions gives, in order: one after the other with one thread, otherwise all at the same time.

    The last one runs in the calling thread. No thread is left when this returns or raises; what is raised is the error
    of the last function, or else of the first that has one.
    """
    if threads == 1:
        return [work() for work in works]
    futures: list[Future[Any]] = [Future() for _ in works[1:]]
    helpers = []
    try:
        for future, work in zip(futures, works, strict=False):
            helper = threading.Thread(target=_settle, args=(future, work), name="nacre")
            helper.start()
            helpers.append(helper)
        last = works[-1]()
    finally:
        for helper in helpers:
            helper.join()
    return [*(future.result() for future in futures), last]


def timed_at_once(threads: int, stopwatch: Stopwatch, *works: Callable[[Stopwatch], Any]) -> list[Any]:
    """The same with functions that charge their time, to be called inside of `rest`."""
    if threads == 1:
        return [work(stopwatch) for work in works]
    clocks = [Stopwatch() for _ in works]
    start = time.perf_counter()
    try:
        return at_once(threads, *map(partial, works, clocks))
    finally:
        stopwatch.charge(time.perf_counter() - start, clocks)


def bands(rows: int, count: int) -> list[tuple[int, int]]:
    """Rows 0 to rows - 1 in `count` parts of about one size, or as many as there are rows: (start, stop) of each."""
    count = min(count, rows)
    return list(pairwise(rows * band // count for band in range(count + 1)))


def _settle(future: Future[Any], work: Callable[[], Any]) -> None:
    try:
        future.set_result(work())
    except BaseException as error:  # handed to the caller
        future.set_exception(error)
