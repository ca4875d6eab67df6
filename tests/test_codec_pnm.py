"""PGM, PPM and PAM row by row."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from nacre.bitstream.errors import InputError
from nacre.picture import ArrayRows, ArraySink, Band, PictureForm
from nacre.pnm import PnmRows, PnmSink


def written(form: PictureForm, pixels: NDArray[np.uint8], alpha: NDArray[np.uint8] | None, step: int) -> bytes:
    file = io.BytesIO()
    sink, source = PnmSink(file), ArrayRows(form, pixels, alpha)
    sink.start(form)
    for row in range(0, form.height, step):
        sink.write(source.read(min(step, form.height - row)))
    return file.getvalue()


def read(data: bytes, step: int = 3) -> ArraySink:
    source, sink = PnmRows(io.BytesIO(data)), ArraySink()
    sink.start(source.form)
    for row in range(0, source.form.height, step):
        sink.write(source.read(min(step, source.form.height - row)))
    return sink


@given(
    width=st.integers(1, 40),
    height=st.integers(1, 40),
    grey=st.booleans(),
    alpha=st.booleans(),
    step=st.integers(1, 50),
)
def test_round_trip(width: int, height: int, grey: bool, alpha: bool, step: int) -> None:
    random = np.random.default_rng(width)
    form = PictureForm(width, height, grey, alpha)
    pixels = random.integers(0, 256, (height, width) if grey else (height, width, 3), np.uint8)
    plane = random.integers(0, 256, (height, width), np.uint8) if alpha else None
    data = written(form, pixels, plane, step)
    assert data[:2] == (b"P7" if alpha else b"P5" if grey else b"P6")
    found = read(data)
    assert found.form == form
    np.testing.assert_array_equal(found.pixels, pixels)
    if plane is not None:
        np.testing.assert_array_equal(found.alpha, plane)


@pytest.mark.parametrize(("mode", "grey"), [("L", True), ("RGB", False)])
def test_pillow_reads_what_is_written(mode: str, grey: bool) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (9, 11) if grey else (9, 11, 3), np.uint8)
    with Image.open(io.BytesIO(written(PictureForm(11, 9, grey, False), pixels, None, 4))) as image:
        assert image.mode == mode
        np.testing.assert_array_equal(np.asarray(image), pixels)


def test_a_wide_picture_is_written_in_parts() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (70, 30_000, 3), np.uint8)  # more than one write of 4 MiB
    data = written(PictureForm(30_000, 70, False, False), pixels, None, 70)
    np.testing.assert_array_equal(read(data, 70).pixels, pixels)


@pytest.mark.parametrize(
    "header",
    [
        b"P5 3 2 255\n",
        b"P5\n3\n2\n255\n",
        b"P5 # a comment\n3 #another\n # and one more\n2\t255 ",
        b"P5#c\n#\n\r\n3 2\r\n255\n",
        b"P7\nWIDTH 3\nHEIGHT 2\nDEPTH 1\nMAXVAL 255\nTUPLTYPE GRAYSCALE\nENDHDR\n",
        b"P7\n# comment\n\nMAXVAL 255\nDEPTH 1\nHEIGHT 2\nWIDTH 3\nENDHDR\n",
    ],
)
def test_forms_of_headers(header: bytes) -> None:
    found = read(header + bytes([35, 10, 13, 32, 0, 255]) + b"another picture")
    assert found.form == PictureForm(3, 2, True, False)
    assert found.pixels.tolist() == [[35, 10, 13], [32, 0, 255]]


@pytest.mark.parametrize(
    ("kind", "depth", "grey", "alpha"),
    [
        ("GRAYSCALE", 1, True, False),
        ("GRAYSCALE_ALPHA", 2, True, True),
        ("RGB", 3, False, False),
        ("RGB_ALPHA", 4, False, True),
    ],
)
def test_kinds_of_pam(kind: str, depth: int, grey: bool, alpha: bool) -> None:
    samples = np.arange(2 * 3 * depth, dtype=np.uint8)
    for name in (f"TUPLTYPE {kind}\n", ""):
        header = f"P7\nWIDTH 3\nHEIGHT 2\nDEPTH {depth}\nMAXVAL 255\n{name}ENDHDR\n".encode()
        found = read(header + samples.tobytes())
        assert (found.form.grey, found.form.alpha) == (grey, alpha)
        np.testing.assert_array_equal(found.array(), samples.reshape((2, 3) if depth == 1 else (2, 3, depth)))


def test_other_largest_samples_are_scaled() -> None:
    assert read(b"P5 4 1 3\n" + bytes([0, 1, 2, 3])).pixels.tolist() == [[0, 85, 170, 255]]
    assert read(b"P5 4 1 100\n" + bytes([0, 1, 50, 100])).pixels.tolist() == [[0, 3, 128, 255]]
    bits = b"P7\nWIDTH 2\nHEIGHT 1\nDEPTH 1\nMAXVAL 1\nTUPLTYPE BLACKANDWHITE\nENDHDR\n"
    assert read(bits + b"\0\1").pixels.tolist() == [[0, 255]]


@pytest.mark.parametrize("maximum", [256, 1023, 65535])
def test_16_bit_samples_are_reduced_with_a_warning(maximum: int) -> None:
    random = np.random.default_rng(3)
    samples = random.integers(0, maximum + 1, (5, 4, 3)).astype(">u2")
    samples[0, 0] = 0, maximum, maximum // 2
    with pytest.warns(UserWarning, match="16-bit samples are reduced to 8 bits"):
        found = read(f"P6 4 5 {maximum}\n".encode() + samples.tobytes())
    expected = np.floor(samples.astype(np.float64) * 255 / maximum + 0.5)
    np.testing.assert_allclose(found.pixels, expected, atol=0)


def test_8_bit_samples_do_not_warn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read(b"P5 1 1 254\n\1")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "ends inside its header"),
        (b"P5 3", "ends inside its header"),
        (b"P5 3 2 255", "ends inside its header"),
        (b"P7\nWIDTH 3\n", "ends inside its header"),
        (b"P3 1 1 255\n1 2 3\n", "starts with b'P3', must start with P5, P6 or P7"),
        (b"P5 x 2 255\n", "width of the PNM file is b'x'"),
        (b"P5 3 -2 255\n", "height of the PNM file is b'-2'"),
        (b"P5 3 9999999999 255\n", "height of the PNM file is b'9999999999'"),
        (b"P5 0 2 255\n", "width of the PNM file is 0, must be at least 1"),
        (b"P5 3 2 0\n", r"maxval of the PNM file is 0, must be 1\.\.65535"),
        (b"P5 3 2 65536\n", r"maxval of the PNM file is 65536, must be 1\.\.65535"),
        (b"P7\nWIDTH 3\nHEIGHT 2\nDEPTH 1\nENDHDR\n", "has no MAXVAL"),
        (b"P7\nWIDTH 3\nHEIGHT 2\nDEPTH 5\nMAXVAL 255\nENDHDR\n", "tuple type '' with DEPTH 5"),
        (b"P7\nWIDTH 3\nHEIGHT 2\nDEPTH 3\nMAXVAL 255\nTUPLTYPE RGB_ALPHA\nENDHDR\n", "'RGB_ALPHA' with DEPTH 3"),
        (b"P7\nWIDTH 3\nHEIGHT 2\nDEPTH 4\nMAXVAL 255\nTUPLTYPE CMYK\nENDHDR\n", "'CMYK' with DEPTH 4"),
        (b"P7\nWIDTH 3\nFOO 1\n", "line b'FOO 1'"),
        (b"P5\n" + b"#" * 70_000, "more than 65536 bytes"),
    ],
)
def test_malformed_headers(data: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        PnmRows(io.BytesIO(data))


def test_truncated_samples() -> None:
    data = b"P6 4 5 255\n" + bytes(4 * 5 * 3 - 1)
    source = PnmRows(io.BytesIO(data))
    source.read(3)
    with pytest.raises(InputError, match="ends after 4 rows, must have 5"):
        source.read(2)


def test_samples_above_the_largest() -> None:
    source = PnmRows(io.BytesIO(b"P5 2 2 100\n" + bytes([1, 100, 3, 101])))
    source.read(1)
    with pytest.raises(InputError, match=r"a sample in rows 1\.\.1 is 101, must be 0\.\.100"):
        source.read(1)


def test_pipes_dribble_and_cannot_be_read_twice() -> None:
    class Pipe:
        def __init__(self, data: bytes) -> None:
            self._file = io.BytesIO(data)

        def read(self, size: int, /) -> bytes:
            return self._file.read(min(size, 5))

    source = PnmRows(Pipe(b"P6 4 5 255\n" + bytes(range(60)) + b"next"))
    source.rewind()  # nothing was read yet
    band = source.read(5)
    assert band.pixels.ravel().tolist() == list(range(60))
    with pytest.raises(InputError, match="cannot be read twice"):
        source.rewind()


def test_files_are_rewound_to_where_the_picture_starts() -> None:
    file = io.BytesIO(b"before P5 2 1 255\n\x05\x06")
    file.seek(7)
    source = PnmRows(file)
    for _ in range(3):
        np.testing.assert_array_equal(source.read(1).pixels, [[5, 6]])
        source.rewind()


def test_files_that_take_little_at_a_time() -> None:
    class Slow:
        def __init__(self) -> None:
            self.data = b""

        def write(self, data: bytes, /) -> int:
            self.data += data[:7]
            return min(len(data), 7)

    file = Slow()
    sink = PnmSink(file)
    sink.start(PictureForm(4, 2, False, False))
    sink.write(Band(np.arange(24, dtype=np.uint8).reshape(2, 4, 3), None))
    assert file.data == b"P6\n4 2\n255\n" + bytes(range(24))
