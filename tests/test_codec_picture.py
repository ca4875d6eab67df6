"""Pictures row by row: arrays as sources and sinks."""

from __future__ import annotations

import numpy as np
import pytest

from nacre.bitstream.errors import InputError
from nacre.picture import ArrayRows, ArraySink, Band, PictureForm


@pytest.mark.parametrize("grey", [True, False])
@pytest.mark.parametrize("alpha", [True, False])
def test_rows_from_arrays_to_arrays(grey: bool, alpha: bool) -> None:
    random = np.random.default_rng(0)
    form = PictureForm(5, 7, grey, alpha)
    pixels = random.integers(0, 256, (7, 5) if grey else (7, 5, 3), np.uint8)
    plane = random.integers(0, 256, (7, 5), np.uint8) if alpha else None
    source, sink = ArrayRows(form, pixels, plane), ArraySink()
    for _ in range(2):
        sink.start(source.form)
        for count in (1, 4, 2):
            band = source.read(count)
            assert len(band.pixels) == count
            sink.write(band)
        source.rewind()
        np.testing.assert_array_equal(sink.pixels, pixels)
        if plane is None:
            assert sink.alpha is None
            np.testing.assert_array_equal(sink.array(), pixels)
        else:
            np.testing.assert_array_equal(sink.alpha, plane)
            np.testing.assert_array_equal(sink.array(), np.dstack([pixels, plane]))
    assert sink.form is form


def test_arrays_that_are_not_the_form() -> None:
    pixels = np.zeros((4, 6, 3), np.uint8)
    with pytest.raises(InputError, match=r"pixels are \(4, 6, 3\) with alpha None, must be \(6, 4, 3\)"):
        ArrayRows(PictureForm(4, 6, False, False), pixels)
    with pytest.raises(InputError, match=r"must be \(4, 6, 3\) with alpha \(4, 6\)"):
        ArrayRows(PictureForm(6, 4, False, True), pixels)
    with pytest.raises(InputError, match=r"with alpha None"):
        ArrayRows(PictureForm(6, 4, False, False), pixels, np.zeros((4, 6), np.uint8))


def test_bands_are_cut_and_put() -> None:
    form = PictureForm(3, 4, True, True)
    whole = Band.empty(form, 4)
    whole.put(0, Band(np.zeros((4, 3), np.uint8), np.zeros((4, 3), np.uint8)))
    whole.put(2, Band(np.full((1, 3), 7, np.uint8), np.full((1, 3), 9, np.uint8)))
    pixels, alpha = whole.rows(1, 3)
    assert pixels.tolist() == [[0, 0, 0], [7, 7, 7]]
    assert alpha is not None
    assert alpha.tolist() == [[0, 0, 0], [9, 9, 9]]
