"""Pictures of any kind as 8-bit rows: a conversion of a few rows at a time, run from top to bottom."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nacre.bitstream.errors import InputError
from nacre.picture import Band, PictureForm

_STEP_PIXELS = 1 << 20


@dataclass(frozen=True, slots=True)
class Samples:
    """A picture of width x height pixels as it can be had in 8 bits.

    grey: one plane instead of R, G, B. alpha: bands have an alpha plane. band: (top, bottom) gives rows top to
    bottom - 1, new arrays or views of the picture.
    """

    width: int
    height: int
    grey: bool
    alpha: bool
    band: Callable[[int, int], Band]

    def without_opaque_alpha(self) -> Samples:
        """The same picture, without an alpha plane that is 255 everywhere."""
        if not self.alpha:
            return self
        for top, bottom in steps(self.width, 0, self.height):
            alpha = self.band(top, bottom).alpha
            if alpha is not None and alpha.min() < 255:
                return self
        band = self.band
        return replace(self, alpha=False, band=lambda top, bottom: Band(band(top, bottom).pixels, None))


class BandRows:
    """A RowSource over Samples, in a buffer that is used again."""

    def __init__(self, form: PictureForm, samples: Samples) -> None:
        self.form = form
        self._samples = samples
        self._row = 0
        self._pixels: NDArray[np.uint8] | None = None
        self._alpha: NDArray[np.uint8] | None = None

    def read(self, count: int) -> Band:
        form = self.form
        if self._pixels is None or len(self._pixels) < count:
            self._pixels = np.empty((count, form.width) if form.grey else (count, form.width, 3), np.uint8)
            self._alpha = np.empty((count, form.width), np.uint8) if form.alpha else None
        start = self._row
        self._row += count
        for top, bottom in steps(form.width, start, self._row):
            pixels, alpha = self._samples.band(top, bottom)
            self._pixels[top - start : bottom - start] = pixels
            if self._alpha is not None:
                self._alpha[top - start : bottom - start] = alpha
        return Band(self._pixels[:count], None if self._alpha is None else self._alpha[:count])

    def rewind(self) -> None:
        self._row = 0


def steps(width: int, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Rows start..end - 1 in parts of about a million pixels: (top, bottom) of each."""
    step = max(1, _STEP_PIXELS // width)
    for top in range(start, end, step):
        yield top, min(top + step, end)


def extremes(parts: Iterator[NDArray[Any]]) -> tuple[float, float]:
    """The smallest and the largest sample of all parts; NaN where there is one."""
    low, high = np.inf, -np.inf
    for part in parts:
        low, high = np.minimum(low, part.min()), np.maximum(high, part.max())
    return float(low), float(high)


def check_floats(parts: Iterator[NDArray[Any]]) -> None:
    """Raise InputError where a sample is outside 0..1."""
    low, high = extremes(parts)
    if not (low >= 0 and high <= 1):
        msg = f"has floating-point samples from {low:g} to {high:g}, must be in 0..1"
        raise InputError(msg)


def from_floats(samples: NDArray[Any]) -> NDArray[np.uint8]:
    """Samples 0..1 in 8 bits, rounded."""
    rounded: NDArray[np.uint8] = np.floor(samples.astype(np.float64) * 255 + 0.5).astype(np.uint8)
    return rounded


def from_16_bits(samples: NDArray[Any]) -> NDArray[np.uint8]:
    """Samples 0..65535 in 8 bits, rounded."""
    rounded: NDArray[np.uint8] = ((samples.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
    return rounded


def warn_of_16_bits() -> None:
    """Say what is lost."""
    warnings.warn("16-bit samples are reduced to 8 bits", UserWarning, stacklevel=2)
