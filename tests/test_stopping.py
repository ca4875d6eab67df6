"""Signals that end a command, above all where a library swallows what they raise."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from nacre.stopping import Terminated, stopping

STOPS = [(signal.SIGTERM, Terminated), (signal.SIGINT, KeyboardInterrupt)]


def in_a_callback(number: signal.Signals) -> None:
    """The signal arrives while C code has called Python, which then can only print what is raised; then time passes."""
    ctypes.CFUNCTYPE(None)(lambda: signal.raise_signal(number))()
    time.sleep(20)


@pytest.mark.parametrize(("number", "kind"), STOPS)
def test_a_signal_raises(number: signal.Signals, kind: type[BaseException]) -> None:
    with pytest.raises(kind), stopping():
        signal.raise_signal(number)


@pytest.mark.parametrize(("number", "kind"), STOPS)
def test_what_a_callback_swallows_is_raised_again(number: signal.Signals, kind: type[BaseException]) -> None:
    with pytest.raises(kind), stopping():
        in_a_callback(number)


@pytest.mark.skipif(os.name != "posix", reason="signals wake a read on POSIX only")
def test_it_wakes_a_read() -> None:
    script = (
        "import ctypes, os, signal\n"
        "from nacre.stopping import Terminated, stopping\n"
        "try:\n"
        "    with stopping():\n"
        "        ctypes.CFUNCTYPE(None)(lambda: signal.raise_signal(signal.SIGTERM))()\n"
        "        os.read(0, 1)\n"
        "except Terminated:\n"
        "    print('terminated')\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.wait(timeout=30) == 0
        assert process.stdout.read() == b"terminated\n"


def test_other_lost_exceptions_are_reported_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[type[BaseException]] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda lost: seen.append(lost.exc_type))

    def fail() -> None:
        raise ValueError

    with stopping():
        ctypes.CFUNCTYPE(None)(fail)()
    assert seen == [ValueError]


def test_everything_is_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM), sys.unraisablehook
    with stopping():
        assert signal.getsignal(signal.SIGTERM) is not before[0]
        assert sys.unraisablehook is not before[1]
    assert (signal.getsignal(signal.SIGTERM), sys.unraisablehook) == before


def test_other_threads_are_left_alone() -> None:
    before, inside = sys.unraisablehook, []

    def work() -> None:
        with stopping():
            inside.append(sys.unraisablehook)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert inside == [before]
