"""What a measurement ran on, and what it took of it."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import numpy as np

_STATUS = Path("/proc/self/status")
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def cpu_name() -> str:
    """The processor's name as the system gives it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def describe_machine() -> dict[str, Any]:
    """Processor, system and Python, for the head of a report."""
    from nacre.image import usable_cpus

    return {
        "cpu": cpu_name(),
        "usable_cpus": usable_cpus(),
        "logical_cpus": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "numpy": np.__version__,
    }


def reset_peak_memory() -> None:
    """Let the peak of resident memory start anew, where the system can do that (Linux)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def peak_memory() -> int | None:
    """Peak of this process's resident memory in bytes since the last reset; None where the system does not say."""
    try:
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None
