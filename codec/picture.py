"""Pictures row by row: what a picture is apart from its samples, and the two ends that rows come from and go to.

Samples are 8 bits. Rows are handed over in bands, so that nobody needs to hold a whole picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from nacre.bitstream.cicp import Colour
from nacre.bitstream.errors import InputError

Pixels = NDArray[np.uint8]
"""Samples without alpha: (H, W) grey or (H, W, 3) RGB."""


@dataclass(frozen=True, slots=True)
class PictureForm:
    """What a picture is apart from its samples.

    width, height: pixels. grey: one plane instead of R, G, B. alpha: a straight alpha plane comes with it. metadata:
    bytes as they are, by UnitType.ICC_PROFILE, EXIF, XMP. colour: CICP numbers.
    """

    width: int
    height: int
    grey: bool
    alpha: bool
    metadata: Mapping[int, bytes] = field(default_factory=dict)
    colour: Colour = field(default_factory=Colour)


class Band(NamedTuple):
    """Some rows: pixels uint8 (n, W) grey or (n, W, 3), alpha uint8 (n, W) or None where the picture has none."""

    pixels: Pixels
    alpha: NDArray[np.uint8] | None

    @classmethod
    def empty(cls, form: PictureForm, count: int) -> Band:
        """Memory for `count` rows of a picture."""
        pixels = np.empty(_shape(form, count), np.uint8)
        return cls(pixels, np.empty((count, form.width), np.uint8) if form.alpha else None)

    def rows(self, start: int, stop: int) -> Band:
        """Its rows start..stop-1, not copied."""
        return Band(self.pixels[start:stop], None if self.alpha is None else self.alpha[start:stop])

    def put(self, start: int, other: Band) -> None:
        """Copy another band of the same picture over its rows from `start` on."""
        stop = start + len(other.pixels)
        self.pixels[start:stop] = other.pixels
        if self.alpha is not None:
            self.alpha[start:stop] = other.alpha


class RowSource(Protocol):
    """A picture to be read from top to bottom."""

    @property
    def form(self) -> PictureForm:
        """What the picture is; known before the first row."""

    def read(self, count: int) -> Band:
        """The next `count` rows, 1 to as many as are left; InputError where they are damaged or missing.

        The arrays are the caller's to read until the next call.
        """

    def rewind(self) -> None:
        """Go back to row 0; InputError where the source cannot."""


class RowSink(Protocol):
    """Where a picture goes, from top to bottom."""

    def start(self, form: PictureForm) -> None:
        """Called once, before the first row."""

    def write(self, band: Band) -> None:
        """The next rows, at least one. The arrays may be used again after the call."""


class ArrayRows:
    """A RowSource over arrays: pixels uint8 (H, W) or (H, W, 3), alpha uint8 (H, W) or None, as the form says."""

    def __init__(self, form: PictureForm, pixels: Pixels, alpha: NDArray[np.uint8] | None = None) -> None:
        expected = _shape(form, form.height), (form.height, form.width) if form.alpha else None
        found = pixels.shape, None if alpha is None else alpha.shape
        if found != expected:
            msg = f"pixels are {found[0]} with alpha {found[1]}, must be {expected[0]} with alpha {expected[1]}"
            raise InputError(msg)
        self.form = form
        self._picture = Band(pixels, alpha)
        self._row = 0

    def read(self, count: int) -> Band:
        """The next `count` rows, not copied."""
        start = self._row
        self._row += count
        return self._picture.rows(start, self._row)

    def rewind(self) -> None:
        """Go back to row 0."""
        self._row = 0


class ArraySink:
    """A RowSink that collects the picture: `form`, `pixels` (H, W) or (H, W, 3), `alpha` (H, W) or None."""

    form: PictureForm

    def start(self, form: PictureForm) -> None:
        """Set memory for the whole picture aside."""
        self.form = form
        self._picture = Band.empty(form, form.height)
        self._row = 0

    def write(self, band: Band) -> None:
        """Keep the next rows."""
        self._picture.put(self._row, band)
        self._row += len(band.pixels)

    @property
    def pixels(self) -> Pixels:
        """The samples without alpha."""
        return self._picture.pixels

    @property
    def alpha(self) -> NDArray[np.uint8] | None:
        """The alpha plane."""
        return self._picture.alpha

    def array(self) -> NDArray[np.uint8]:
        """The picture with alpha as its last channel, if there is any: (H, W[, 2..4])."""
        pixels, alpha = self._picture
        return pixels if alpha is None else np.dstack([pixels, alpha])


def _shape(form: PictureForm, rows: int) -> tuple[int, ...]:
    return (rows, form.width) if form.grey else (rows, form.width, 3)
