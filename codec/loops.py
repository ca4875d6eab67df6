"""Loops over latents and pixels: compiled, once a process has coded so much that this pays, or by NumPy, alike."""

from __future__ import annotations

from functools import cache
from types import ModuleType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from nacre import latent_arrays
from nacre.entropy.engines import compiled_engine, compiling_pays
from nacre.entropy.forking import FORK_GATE

Number = TypeVar("Number", bound=np.integer[Any])


def loop(name: str, *arguments: Any) -> None:
    """Run a function of latent_arrays, compiled if that pays."""
    with FORK_GATE:
        getattr((_compiled_loops() if compiling_pays() else None) or latent_arrays, name)(*arguments)


@cache
def _compiled_loops() -> ModuleType | None:
    """None where numba is not installed or cannot compile here."""
    if compiled_engine() is None:
        return None
    try:
        from nacre import latent_kernels

        latent_kernels.compile_all()
    except Exception:  # whatever hinders numba, such as a full disk, NumPy can serve
        return None
    return latent_kernels


def transposed(matrix: NDArray[Number]) -> NDArray[Number]:
    """Rows as columns."""
    transposed = np.empty(matrix.shape[::-1], matrix.dtype)
    loop("transpose", matrix, transposed)
    return transposed
