"""GOPs coded side by side: they refer to nothing outside of themselves."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from queue import SimpleQueue

from nacre.bitstream.frames import FrameUnit
from nacre.framecoder import FrameCoder
from nacre.gopencoder import GopEncoder, PlannedFrame, SequencePlan
from nacre.stopwatch import Stopwatch

_MEMORY = 3 << 28
"""Bytes that GOPs which are coded side by side may take."""
_FRAME_BYTES = 1.5
"""Bytes of a luma sample and its chroma, which wait until they are coded."""
_CODING_BYTES = 110
"""Bytes for each luma sample of the frame that is being coded."""

_Entry = tuple[PlannedFrame, "Future[FrameUnit]"]


def gops_at_once(threads: int, gop: int, pixels: int) -> int:
    """How many GOPs of so many frames of so many luma samples are coded side by side; 1 where memory is short."""
    needed = (gop * _FRAME_BYTES + _CODING_BYTES) * pixels
    return max(1, min(threads, int(_MEMORY // needed)))


class GopWorkers:
    """Codes each GOP on a thread of its own.

    A GOP that is alone, at the end or where frames come slowly, has all cores. Time that the caller waits for the
    threads is charged to the stopwatch's parts in `finish`.

    Args:
        count: GOPs at a time.
        narrow, wide: coders of frames with a GOP's share of the threads, and with all of them.
        plan, size, stopwatch: as of `GopEncoder`.
    """

    def __init__(
        self,
        count: int,
        narrow: FrameCoder,
        wide: FrameCoder,
        plan: SequencePlan,
        size: tuple[int, int],
        stopwatch: Stopwatch,
    ) -> None:
        self._count, self._narrow, self._wide, self._plan, self._size = count, narrow, wide, plan, size
        self._stopwatch = stopwatch
        self._changed = threading.Condition()
        self._running = 0
        self._stopping = False
        self._entries: SimpleQueue[_Entry | None] | None = None  # of the GOP that frames are being added to
        self._threads: list[threading.Thread] = []
        self._worked = Stopwatch()  # the sum of the threads that have ended
        self._waited = 0.0

    def add(self, item: PlannedFrame) -> Future[FrameUnit]:
        """What will be the unit of the next frame; waits before a new GOP until there is a thread for it."""
        if item.key:
            self._begin()
        assert self._entries is not None
        future: Future[FrameUnit] = Future()
        self._entries.put((item, future))
        return future

    def wait(self, future: Future[FrameUnit]) -> FrameUnit:
        """The unit; raises what its coding has raised."""
        start = time.perf_counter()
        try:
            return future.result()
        finally:
            self._waited += time.perf_counter() - start

    def end(self) -> None:
        """No further frame comes."""
        if self._entries is not None:
            self._entries.put(None)
            self._entries = None

    def finish(self) -> None:
        """End the threads; frames that are not coded by now never will be."""
        self._stopping = True
        self.end()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join()
        self._stopwatch.charge(self._waited, [self._worked])
        self._waited = 0.0

    def _begin(self) -> None:
        self.end()
        start = time.perf_counter()
        with self._changed:
            self._changed.wait_for(lambda: self._running < self._count)
            self._running += 1
        self._waited += time.perf_counter() - start
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        self._entries = SimpleQueue()
        # a daemon, for an encoder that is never closed must not keep the process from its end
        thread = threading.Thread(target=self._code, args=(self._entries,), name="nacre GOP", daemon=True)
        thread.start()
        self._threads.append(thread)

    def _code(self, entries: SimpleQueue[_Entry | None]) -> None:
        encoder, clock = GopEncoder(self._plan, self._size), Stopwatch()
        trouble: BaseException | None = None
        while (entry := entries.get()) is not None:
            item, future = entry
            if trouble is None and not self._stopping:
                try:
                    coder = self._wide if self._running == 1 else self._narrow
                    future.set_result(encoder.code(item, coder, clock))
                except BaseException as error:  # handed to the caller
                    trouble = error
            if trouble is not None:
                future.set_exception(trouble)
        with self._changed:
            for part, seconds in clock.seconds.items():
                self._worked.seconds[part] += seconds
            self._running -= 1
            self._changed.notify_all()
