"""Functions that numba compiles on first use; their machine code is kept in numba's cache for later processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """The function as machine code; sums of floating-point numbers may be taken in any order."""
    return _made(function, fastmath={"contract", "reassoc", "nsz"})


def compiled_exactly(function: Function) -> Function:
    """The function as machine code that rounds as NumPy does."""
    return _made(function)


def _made(function: Function, **options: Any) -> Function:
    options |= {"nogil": True, "error_model": "numpy"}
    made: Function
    try:
        made = njit(cache=True, **options)(function)
    except RuntimeError:  # there is no place that the cache could be written to
        made = njit(**options)(function)
    return made
