"""The Netpbm formats PGM, PPM and PAM, binary, row by row: read from and written to anything, without seeking."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nacre.bitstream.errors import InputError
from nacre.bitstream.units import BinaryWriter
from nacre.picture import Band, PictureForm
from nacre.sources import Readable, reason

PNM_SIGNATURES = (b"P5", b"P6", b"P7")

_MAX_HEADER_BYTES = 1 << 16
_CHUNK_BYTES = 1 << 22
_BLANKS = b" \t\n\v\f\r"


class _Kind(NamedTuple):
    """Samples of a pixel, and what they are."""

    depth: int
    grey: bool
    alpha: bool


_PAM_KINDS: Mapping[str, _Kind] = {
    "BLACKANDWHITE": _Kind(1, True, False),
    "GRAYSCALE": _Kind(1, True, False),
    "RGB": _Kind(3, False, False),
    "BLACKANDWHITE_ALPHA": _Kind(2, True, True),
    "GRAYSCALE_ALPHA": _Kind(2, True, True),
    "RGB_ALPHA": _Kind(4, False, True),
}


class PnmRows:
    """A RowSource over a PGM (P5), PPM (P6) or PAM (P7) file object that stands at the start of the picture.

    Samples of a maximum other than 255 are scaled to 0..255 and rounded; where they have 16 bits, with a UserWarning.
    What follows the picture in the file is not looked at. Raises InputError where the header is malformed.
    """

    def __init__(self, file: Readable) -> None:
        self._file = file
        header = _HeaderReader(file)
        signature = header.take(2)
        if signature == b"P7":
            width, height, self._kind, self._maximum = _read_pam(header)
        elif signature in PNM_SIGNATURES:
            width, height, self._maximum = (header.number(name) for name in ("width", "height", "maxval"))
            self._kind = _PAM_KINDS["GRAYSCALE" if signature == b"P5" else "RGB"]
        else:
            msg = f"the file starts with {signature!r}, must start with P5, P6 or P7"
            raise InputError(msg)
        for name, value, high in (("width", width, None), ("height", height, None), ("maxval", self._maximum, 65535)):
            if value < 1 or (high is not None and value > high):
                msg = f"{name} of the PNM file is {value}, must be {'at least 1' if high is None else f'1..{high}'}"
                raise InputError(msg)
        self._table = None if self._maximum == 255 else _scale(self._maximum)
        self._wide = self._maximum > 255
        if self._wide:
            warnings.warn("16-bit samples are reduced to 8 bits", UserWarning, stacklevel=2)
        self._row_bytes = width * self._kind.depth * (2 if self._wide else 1)
        self._offset = _tell(file)
        self._row = 0
        self.form = PictureForm(width, height, self._kind.grey, self._kind.alpha)

    def read(self, count: int) -> Band:
        data = self._take(count * self._row_bytes)
        samples: NDArray[Any] = np.frombuffer(data, ">u2" if self._wide else np.uint8)
        if self._table is not None:
            largest = int(samples.max())
            if largest > self._maximum:
                msg = f"a sample in rows {self._row}..{self._row + count - 1} is {largest}, must be 0..{self._maximum}"
                raise InputError(msg)
            samples = self._table[samples]
        self._row += count
        kind = self._kind
        picture: NDArray[np.uint8] = samples.reshape(count, self.form.width, kind.depth)
        pixels = picture[..., 0] if kind.grey else picture[..., :3]
        return Band(pixels, picture[..., -1] if kind.alpha else None)

    def rewind(self) -> None:
        if self._row == 0:
            return
        seek = getattr(self._file, "seek", None)
        if self._offset is None or seek is None:
            msg = "the picture comes from a pipe and cannot be read twice"
            raise InputError(msg)
        try:
            seek(self._offset)
        except (OSError, ValueError) as error:
            msg = f"the picture cannot be read twice: {reason(error)}"
            raise InputError(msg) from error
        self._row = 0

    def _take(self, size: int) -> bytes | bytearray:
        data = self._file.read(size) or b""
        if len(data) < size:  # a pipe, or the end
            joined = bytearray(data)
            while data and len(joined) < size:
                data = self._file.read(size - len(joined)) or b""
                joined += data
            if len(joined) < size:
                rows = self._row + len(joined) // self._row_bytes
                msg = f"the PNM file ends after {rows} rows, must have {self.form.height}"
                raise InputError(msg)
            return joined
        return data


class PnmSink:
    """A RowSink that writes PGM for grey, PPM for RGB, and PAM where there is alpha. Metadata has no place in them."""

    def __init__(self, file: BinaryWriter) -> None:
        self._file = file

    def start(self, form: PictureForm) -> None:
        if form.alpha:
            lines = [
                "P7",
                f"WIDTH {form.width}",
                f"HEIGHT {form.height}",
                f"DEPTH {2 if form.grey else 4}",
                "MAXVAL 255",
                f"TUPLTYPE {'GRAYSCALE_ALPHA' if form.grey else 'RGB_ALPHA'}",
                "ENDHDR",
            ]
        else:
            lines = ["P5" if form.grey else "P6", f"{form.width} {form.height}", "255"]
        self._write("\n".join([*lines, ""]).encode("ascii"))

    def write(self, band: Band) -> None:
        rows, width = band.pixels.shape[:2]
        step = max(1, _CHUNK_BYTES // (4 * width))
        for start in range(0, rows, step):
            chunk = band.pixels[start : start + step]
            if band.alpha is not None:
                chunk = np.dstack([chunk, band.alpha[start : start + step]])
            self._write(chunk.tobytes())

    def _write(self, data: bytes) -> None:
        written = self._file.write(data)
        while written is not None and written < len(data):
            data = data[written:]
            written = self._file.write(data)


class _HeaderReader:
    """The header of a PNM file, byte by byte, so that nothing behind it is taken from a pipe."""

    def __init__(self, file: Readable) -> None:
        self._file = file
        self._taken = 0

    def take(self, size: int) -> bytes:
        """The next `size` bytes."""
        data = b""
        while len(data) < size:
            byte = self._file.read(1)
            if not byte:
                msg = "the PNM file ends inside its header"
                raise InputError(msg)
            data += byte
        self._taken += size
        if self._taken > _MAX_HEADER_BYTES:
            msg = f"the header of the PNM file has more than {_MAX_HEADER_BYTES} bytes"
            raise InputError(msg)
        return data

    def number(self, name: str) -> int:
        """The next number of a P5 or P6 header, with one blank behind it; comments are skipped."""
        word = b""
        while True:
            byte = self.take(1)
            if byte == b"#":
                self.line()
                byte = b"\n"
            if byte not in _BLANKS:
                word += byte
            elif word:
                return _number(word, name)

    def line(self) -> bytes:
        """What is left of the line, without its end."""
        line = b""
        while (byte := self.take(1)) != b"\n":
            line += byte
        return line


def _read_pam(header: _HeaderReader) -> tuple[int, int, _Kind, int]:
    """Width, height, kind and largest sample of a PAM header behind its P7."""
    header.line()
    values: dict[str, int] = {}
    tuple_type: list[str] = []
    while (line := header.line().strip()) != b"ENDHDR":
        if not line or line.startswith(b"#"):
            continue
        key, _, value = line.partition(b" ")
        if key == b"TUPLTYPE":
            tuple_type.append(value.strip().decode("latin-1"))
        elif key in (b"WIDTH", b"HEIGHT", b"DEPTH", b"MAXVAL"):
            values[key.decode()] = _number(value.strip(), key.decode())
        else:
            msg = f"the header of the PAM file has a line {line[:40]!r}, which PAM does not know"
            raise InputError(msg)
    for name in ("WIDTH", "HEIGHT", "DEPTH", "MAXVAL"):
        if name not in values:
            msg = f"the header of the PAM file has no {name}"
            raise InputError(msg)
    depth = values["DEPTH"]
    name = " ".join(tuple_type) or {1: "GRAYSCALE", 2: "GRAYSCALE_ALPHA", 3: "RGB", 4: "RGB_ALPHA"}.get(depth, "")
    kind = _PAM_KINDS.get(name)
    if kind is None or kind.depth != depth:
        legal = ", ".join(f"{known} with {form.depth}" for known, form in _PAM_KINDS.items())
        msg = f"the PAM file has the tuple type '{name}' with DEPTH {depth}, must be one of {legal}"
        raise InputError(msg)
    return values["WIDTH"], values["HEIGHT"], kind, values["MAXVAL"]


def _number(word: bytes, name: str) -> int:
    if not word.isdigit() or len(word) > 9:
        msg = f"{name} of the PNM file is {word[:20]!r}, must be a whole number of at most 9 digits"
        raise InputError(msg)
    return int(word)


def _scale(maximum: int) -> NDArray[np.uint8]:
    """For each sample 0..maximum its value in 0..255, rounded; longer than that, so that every sample is an index."""
    samples = np.arange(256 if maximum < 256 else 65536, dtype=np.uint32)
    scaled: NDArray[np.uint8] = ((np.minimum(samples, maximum) * 255 + maximum // 2) // maximum).astype(np.uint8)
    return scaled


def _tell(file: Readable) -> int | None:
    try:
        return int(file.tell())  # type: ignore[attr-defined]  # not every source has it
    except (AttributeError, TypeError, OSError, ValueError):
        return None
