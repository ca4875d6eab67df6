"""Pictures read whole for tests, in bands of uneven height."""

from __future__ import annotations

import io
import itertools
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nacre.bitstream import Limits
from nacre.media import open_rows
from nacre.picture import ArraySink, PictureForm

LIMITS = Limits()


class Whole(NamedTuple):
    """A picture as open_rows gives it: pixels (H, W) or (H, W, 3), alpha (H, W) or None."""

    form: PictureForm
    pixels: NDArray[np.uint8]
    alpha: NDArray[np.uint8] | None


def read_whole(picture: Any, limits: Limits = LIMITS, strip: bool = False) -> Whole:
    with open_rows(picture, limits, strip=strip) as rows:
        sink = ArraySink()
        sink.start(rows.form)
        row = 0
        for count in itertools.cycle((1, 7, 2, 64)):
            count = min(count, rows.form.height - row)
            if count == 0:
                break
            band = rows.read(count)
            assert len(band.pixels) == count
            assert (band.alpha is not None) == rows.form.alpha
            sink.write(band)
            row += count
    return Whole(rows.form, sink.pixels, sink.alpha)


def saved(image: Image.Image, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format=form, **options)
    return file.getvalue()
