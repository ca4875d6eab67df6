"""Names of results, and work on many pictures: errors, threads, interruption."""

from __future__ import annotations

import gc
import os
import threading
import time
import weakref
from pathlib import Path

import pytest

from nacre.batch import Failure, Stopped, Task, plan, run_batch
from nacre.bitstream.errors import InputError


def test_names(tmp_path: Path) -> None:
    folder = str(tmp_path / "new" / "folder")
    sources = ["a.jpg", str(Path("elsewhere") / "b.tar.png"), "noending", ".hidden"]
    targets = [os.path.join(folder, name) for name in ("a.ncr", "b.tar.ncr", "noending.ncr", ".hidden.ncr")]
    assert plan(sources, folder, ".ncr") == [Task(*pair) for pair in zip(sources, targets, strict=True)]
    assert Path(folder).is_dir()


@pytest.mark.parametrize("sources", [["a.jpg", "x/a.png"], ["a.jpg", "b.jpg", "a.jpg"]])
def test_one_name_for_two_results(tmp_path: Path, sources: list[str]) -> None:
    with pytest.raises(InputError, match=rf"a\.jpg and {sources[-1]} would both be written to .*a\.ncr"):
        plan(sources, str(tmp_path / "new"), ".ncr")
    assert list(tmp_path.iterdir()) == []


def test_folders_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below", "a\0b"):
        with pytest.raises(InputError, match="cannot be made a folder"):
            plan(["a.jpg"], str(folder), ".ncr")


TASKS = [Task(f"{number}", f"out/{number}") for number in range(12)]


@pytest.mark.parametrize("jobs", [1, 3])
def test_errors_do_not_stop_the_rest(jobs: int) -> None:
    def work(task: Task) -> int:
        number = int(task.source)
        if number == 3:
            msg = "bad"
            raise InputError(msg)
        if number == 5:
            raise MemoryError
        if number == 7:
            raise OSError(28, "No space left")
        return number * number

    found: dict[str, object] = {}
    threads = set()

    def done(task: Task, result: object) -> None:
        found[task.source] = result
        threads.add(threading.current_thread())

    run_batch(work, TASKS, jobs, done, threading.Event())
    reasons = ("bad", "not enough memory for a picture of this size", "[Errno 28] No space left")
    assert [found.pop(name) for name in ("3", "5", "7")] == [Failure(reason) for reason in reasons]
    assert found == {task.source: int(task.source) ** 2 for task in TASKS if task.source not in ("3", "5", "7")}
    assert threads == {threading.current_thread()}


def test_failures_keep_nothing_in_memory() -> None:
    class Samples:
        pass

    kept: list[weakref.ref[Samples]] = []

    def work(task: Task) -> None:
        samples = Samples()
        kept.append(weakref.ref(samples))
        raise MemoryError

    def done(task: Task, result: object) -> None:
        gc.collect()
        assert kept[int(task.source)]() is None

    run_batch(work, TASKS, 1, done, threading.Event())
    assert len(kept) == len(TASKS)


def test_jobs_run_at_the_same_time() -> None:
    together = threading.Barrier(3, timeout=30)
    run_batch(lambda task: together.wait(), TASKS, 3, lambda task, result: None, threading.Event())


@pytest.mark.parametrize("jobs", [1, 3])
def test_faults_of_the_program_are_not_hidden(jobs: int) -> None:
    with pytest.raises(ZeroDivisionError):
        run_batch(lambda task: 1 // 0, TASKS, jobs, lambda task, result: None, threading.Event())


@pytest.mark.parametrize("error", [KeyboardInterrupt, BrokenPipeError])
def test_interruption_waits_for_work_to_clean_up(error: type[BaseException]) -> None:
    stop = threading.Event()
    started: list[str] = []
    cleaned: list[str] = []

    def work(task: Task) -> None:
        started.append(task.source)
        if task.source == "0":
            return
        try:
            while not stop.is_set():
                time.sleep(0.001)
            raise Stopped
        finally:
            time.sleep(0.05)
            cleaned.append(task.source)

    def done(task: Task, result: object) -> None:
        raise error

    with pytest.raises(error):
        run_batch(work, TASKS, 3, done, stop)
    assert sorted(cleaned) == sorted(set(started) - {"0"})
    assert len(started) < len(TASKS)  # what had not begun never does
