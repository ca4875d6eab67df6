"""One codec in many threads and processes: the bytes and pixels of one thread, and no memory that grows."""

from __future__ import annotations

import gc
import hashlib
import multiprocessing
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import TINY, make_picture
from golden import make_content
from numpy.typing import NDArray

import nacre

JOBS = [
    (content, width, height, quality)
    for width, height in ((1, 1), (17, 33), (90, 70))
    for content in ("photo", "noise", "text")
    for quality in (0.0, 60.0, 100.0)
]
Job = tuple[str, int, int, float]
TIMEOUT = 60  # seconds, of what takes less than one


def result(codec: nacre.ImageCodec, job: Job) -> tuple[bytes, str]:
    """The stream of a job, and the digest of its pixels."""
    content, width, height, quality = job
    data = codec.encode(make_content(content, width, height), quality)
    return data, hashlib.sha256(codec.decode_array(data).tobytes()).hexdigest()


def in_process(job: Job, threads: int) -> tuple[bytes, str]:
    """`result` with a codec of this process's own."""
    return result(nacre.ImageCodec(weights=TINY, threads=threads), job)


@pytest.fixture(scope="module")
def expected() -> list[tuple[bytes, str]]:
    codec = nacre.ImageCodec(weights=TINY, threads=1)
    return [result(codec, job) for job in JOBS]


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_share_a_codec(expected: list[tuple[bytes, str]], threads: int) -> None:
    """From the first call on, which finds nothing loaded."""
    codec = nacre.ImageCodec(weights=TINY, threads=threads)
    barrier = threading.Barrier(8)

    def work(turn: int) -> list[tuple[bytes, str]]:
        barrier.wait(TIMEOUT)
        order = [(turn + place) % len(JOBS) for place in range(len(JOBS))]
        found = {place: result(codec, JOBS[place]) for place in order}
        return [found[place] for place in range(len(JOBS))]

    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(work, range(0, 8 * 3, 3)):
            assert found == expected


def test_threads_share_the_functions(expected: list[tuple[bytes, str]], tiny_weights: Path) -> None:
    def work(job: Job) -> bytes:
        content, width, height, quality = job
        data = nacre.encode(make_content(content, width, height), quality, threads=1)
        assert nacre.decode_array(data, threads=1).shape == (height, width, 3)
        return data

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(work, JOBS)) == [data for data, _ in expected]


def test_an_error_in_one_thread_is_no_other_ones(expected: list[tuple[bytes, str]]) -> None:
    codec = nacre.ImageCodec(weights=TINY, threads=1)

    def work(place: int) -> bool:
        data, digest = expected[place % len(expected)]
        if place % 2:
            with pytest.raises(nacre.FormatError):
                codec.decode_array(data[: len(data) // 2])
            return True
        return hashlib.sha256(codec.decode_array(data).tobytes()).hexdigest() == digest

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(work, range(60)))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_processes(expected: list[tuple[bytes, str]], method: str, threads: int) -> None:
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} on this system")
    some = JOBS[::5]
    with ProcessPoolExecutor(2, multiprocessing.get_context(method)) as pool:
        found = [pool.submit(in_process, job, threads) for job in some]
        assert [future.result(TIMEOUT) for future in found] == expected[::5]


def _send(pipe: Any, codec: nacre.ImageCodec, jobs: list[Job]) -> None:
    pipe.send([result(codec, job) for job in jobs])


def _forked(codec: nacre.ImageCodec, jobs: list[Job]) -> list[tuple[bytes, str]]:
    """What a forked process makes with a codec of its parent; fails where the process hangs."""
    context: BaseContext = multiprocessing.get_context("fork")
    reading, writing = multiprocessing.Pipe(duplex=False)
    process = context.Process(target=_send, args=(writing, codec, jobs))  # type: ignore[attr-defined]
    process.start()
    writing.close()
    try:
        assert reading.poll(TIMEOUT), "the forked process hangs"
        found: list[tuple[bytes, str]] = reading.recv()
        return found
    finally:
        process.kill()
        process.join()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.parametrize("threads", [1, 2])
def test_a_codec_that_was_used_before_the_fork(expected: list[tuple[bytes, str]], threads: int) -> None:
    """Threads of the networks do not survive a fork."""
    codec = nacre.ImageCodec(weights=TINY, threads=threads)
    result(codec, ("noise", 512, 512, 60.0))  # enough for more than one thread
    assert _forked(codec, JOBS[::4]) == expected[::4]
    (large,) = _forked(codec, [("noise", 512, 512, 60.0)])
    assert large == result(codec, ("noise", 512, 512, 60.0))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_the_functions_after_a_fork() -> None:
    """The codecs that the package keeps have threads, for which a child that let go of them would wait for ever."""
    picture = make_picture(512, 512, seed=3)
    expected = nacre.encode(picture, threads=2, weights=TINY)

    def send(pipe: Any) -> None:
        pipe.send(nacre.encode(picture, threads=2, weights=TINY))

    context: BaseContext = multiprocessing.get_context("fork")
    reading, writing = multiprocessing.Pipe(duplex=False)
    process = context.Process(target=send, args=(writing,))  # type: ignore[attr-defined]
    process.start()
    writing.close()
    try:
        assert reading.poll(TIMEOUT), "the forked process hangs"
        assert reading.recv() == expected
        process.join(TIMEOUT)
        assert process.exitcode == 0
    finally:
        process.kill()
        process.join()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_fork_while_other_threads_code(expected: list[tuple[bytes, str]]) -> None:
    codec = nacre.ImageCodec(weights=TINY, threads=1)
    stop = threading.Event()

    def busy() -> None:
        while not stop.is_set():
            result(codec, JOBS[4])

    with ThreadPoolExecutor(2) as pool:
        others = [pool.submit(busy) for _ in range(2)]
        try:
            for _ in range(3):
                assert _forked(codec, JOBS[:3]) == expected[:3]
        finally:
            stop.set()
        for other in others:
            other.result(TIMEOUT)


WHILE_COMPILING = """
import os, sys, threading, time
import numpy as np
from nacre.entropy import PYTHON_ENGINE, SymbolEncoder, TableSet
from nacre.entropy.engines import compiled_engine

thread = threading.Thread(target=compiled_engine)
thread.start()
time.sleep(float(sys.argv[1]))
child = os.fork()
if child == 0:
    tables, found = TableSet.stack([np.array([1, 65533, 1, 1])]), []
    for engine in (compiled_engine(), PYTHON_ENGINE):
        encoder = SymbolEncoder(engine)
        encoder.encode(np.ones(3, np.int16), np.zeros(3, np.uint8), tables)
        found.append(encoder.finish())
    os._exit(0 if found[0] == found[1] else 1)
for _ in range(1000):
    done, status = os.waitpid(child, os.WNOHANG)
    if done:
        sys.exit(os.waitstatus_to_exitcode(status))
    time.sleep(0.1)
os.kill(child, 9)
sys.exit("the forked process hangs")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.parametrize("delay", [0.15, 1.5])
def test_a_fork_while_another_thread_compiles(tmp_path: Path, delay: float) -> None:
    """In the midst of numba's import, and of its work."""
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-W", "ignore", "-c", WHILE_COMPILING, str(delay)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=3 * TIMEOUT, check=False)
    assert done.returncode == 0, done.stderr


def resident() -> int:
    """Resident memory of this process in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError


def growth(call: Callable[[int], object], calls: int = 1000) -> int:
    """By how many bytes the process grows from call 100 to the last call."""
    for number in range(100):
        call(number)
    gc.collect()
    before = resident()
    for number in range(100, calls):
        call(number)
    gc.collect()
    return resident() - before


def _picture(number: int) -> NDArray[np.uint8]:
    return make_picture(20 + number % 50, 30 + number % 37, seed=number)


def memory_of(kind: str) -> int:
    """The growth of one kind of work, in a process that did nothing else."""
    codec = nacre.ImageCodec(weights=TINY, threads=1)
    streams = [codec.encode(_picture(number), number % 101) for number in range(40)]

    def refused(number: int) -> None:
        data = bytearray(streams[number % 40])
        data[number % len(data)] ^= 0x55
        try:
            codec.decode_array(bytes(data))
        except nacre.NacreError:
            return

    work: dict[str, Callable[[int], object]] = {
        "encode": lambda number: codec.encode(_picture(number), number % 101),
        "decode": lambda number: codec.decode_array(streams[number % 40]),
        "damaged": refused,
    }
    return growth(work[kind])


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("kind", ["encode", "decode", "damaged"])
def test_memory_does_not_grow(kind: str) -> None:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        assert pool.submit(memory_of, kind).result() <= 5 << 20
