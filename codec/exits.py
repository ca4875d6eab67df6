"""How the command line ends."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes: LOSSES is an end with something missing, INTERRUPTED and TERMINATED are SIGINT and SIGTERM."""

    DONE = 0
    ERROR = 1
    USAGE = 2
    LOSSES = 3
    INTERRUPTED = 130
    TERMINATED = 143
