"""Many inputs in one call: what each result is called, and the work on each, one bad one not stopping the rest."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple, TypeVar

from nacre.advice import EXPECTED, explain
from nacre.bitstream.errors import InputError
from nacre.pictureclip import is_pattern
from nacre.sources import reason

Result = TypeVar("Result")


class Task(NamedTuple):
    """One picture or clip: where it is read, a path or `-`, and where its result is written."""

    source: str
    target: str


class Failure(NamedTuple):
    """Why there is no result: text, not the exception, which would keep samples in memory."""

    reason: str


class Stopped(BaseException):
    """Raised by work on an input that has been told to stop."""


def plan(sources: Sequence[str], folder: str, suffix: str | Callable[[str], str]) -> list[Task]:
    """The tasks that write each source to the folder under its own name with another suffix, one for all or for each.

    Numbered pictures get the name of their folder, if that is told. Makes the folder. Raises InputError, before that,
    where two results would have one name, and where the folder cannot be made.
    """
    suffixes = [suffix if isinstance(suffix, str) else suffix(source) for source in sources]
    tasks = [
        Task(source, os.path.join(folder, _stem(source) + ending))
        for source, ending in zip(sources, suffixes, strict=True)
    ]
    taken: dict[str, str] = {}
    for source, target in tasks:
        name = os.path.normcase(target)
        if name in taken:
            msg = f"{taken[name]} and {source} would both be written to {target}; give inputs with different names"
            raise InputError(msg)
        taken[name] = source
    try:
        os.makedirs(folder, exist_ok=True)
    except (OSError, ValueError) as error:
        msg = f"{folder}: cannot be made a folder: {reason(error)}"
        raise InputError(msg) from error
    return tasks


def _stem(source: str) -> str:
    path = Path(source)
    if path.is_dir():
        return path.name
    return (path.parent.name if is_pattern(source) and not path.exists() else "") or path.stem


def run_batch(
    work: Callable[[Task], Result],
    tasks: Sequence[Task],
    jobs: int,
    done: Callable[[Task, Result | Failure], None],
    stop: threading.Event,
) -> None:
    """Call `work` on each task, `jobs` at a time, and `done` with each result or failure, in the caller's thread.

    With one job all runs in the caller's thread, in order. When the caller is interrupted, or `done` raises, `stop` is
    set, which is to make `work` raise Stopped soon; the threads are waited for, so that they clean up after themselves.
    """
    if jobs == 1:
        for task in tasks:
            done(task, _attempt(work, task))
        return
    with ThreadPoolExecutor(jobs, "nacre-job") as pool:
        try:
            futures = {pool.submit(_attempt, work, task): task for task in tasks}
            for future in as_completed(futures):
                done(futures[future], future.result())
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise


def _attempt(work: Callable[[Task], Result], task: Task) -> Result | Failure:
    try:
        return work(task)
    except EXPECTED as error:
        return Failure(explain(error))
