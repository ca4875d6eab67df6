"""Worker processes of measurements: of one thread each, deaf to Ctrl-C, and gone as soon as their work is given up."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

from nacre.tools.machine import THREAD_VARIABLES

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


@contextmanager
def single_threaded_children() -> Iterator[None]:
    """Processes started inside use one thread each in the libraries that listen to the environment."""
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def worker_pool(
    workers: int, initializer: Callable[..., None] | None = None, *arguments: Any
) -> Iterator[ProcessPoolExecutor]:
    """Fresh processes, not forked: ONNX Runtime does not survive that. Each begins with initializer(*arguments).

    Leaving the block waits for what is under way, but an error or a signal that ends the block ends the processes at
    once: what they measure is not wanted any more, and they hold nothing that would have to be tidied up.
    """
    context = multiprocessing.get_context("spawn")
    pool = _Pool(workers, context, initializer=_start, initargs=(initializer, arguments))
    try:
        yield pool
    except BaseException:
        for process in list((pool._processes or {}).values()):  # no public name before Python 3.14
            process.kill()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


class _Pool(ProcessPoolExecutor):
    """Its processes, which `submit` starts, inherit a mask against Ctrl-C: it is the parent that stops them."""

    def submit(
        self, fn: Callable[Parameters, Result], /, *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> Future[Result]:
        if not hasattr(signal, "pthread_sigmask"):
            return super().submit(fn, *args, **kwargs)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return super().submit(fn, *args, **kwargs)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start(initializer: Callable[..., None] | None, arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if initializer is not None:
        initializer(*arguments)
