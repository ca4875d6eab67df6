"""YUV4MPEG2, frame by frame: read from and written to anything, without seeking (mjpegtools, yuv4mpeg(5))."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nacre.bitstream.errors import InputError, TruncatedError
from nacre.bitstream.units import BinaryWriter
from nacre.clip import ClipInfo
from nacre.compensation import Planes
from nacre.sources import Readable

SIGNATURE = b"YUV4MPEG2"

_MAX_LINE = 4096
_MAX_SIDE = 65535
_NUMBER = re.compile(r"[0-9]{1,9}\Z", re.ASCII)
_RATIO = re.compile(r"([0-9]{1,9}):([0-9]{1,9})\Z", re.ASCII)
_CHROMA = re.compile(r"(?:(420|422|444)(?:p(9|10|12|14|16))?|(411)|mono(9|10|12|14|16)?)\Z")
_SITED = {"420jpeg": 2, "420mpeg2": 1, "420paldv": 3}  # chroma locations as ClipInfo has them
_TAGS = {location: tag for tag, location in _SITED.items()}
_SHIFTS: Mapping[str, tuple[int, int]] = {"420": (1, 1), "411": (2, 0), "422": (1, 0), "444": (0, 0)}  # width, height
_INTERLACED = frozenset("tbm")
_RANGES = {"COLORRANGE=FULL": 1, "COLORRANGE=LIMITED": 0}


class Y4mReader:
    """The frames of a file object that stands at the start of a YUV4MPEG2 stream; iterate once.

    A frame is a list of its planes: luma and two of chroma, alpha behind them where there is one, luma alone for mono;
    uint8, or uint16 where samples have more than 8 bits. `format` is FFmpeg's name of such frames, such as "yuv420p"
    or "yuv422p10le". rate, sample_aspect_ratio: 0 where the header does not tell. full_range: 1, 0, or None where it
    does not tell. chroma_location: as in ClipInfo.

    Raises InputError where the header or the line before a frame is malformed, TruncatedError where a frame is cut off.
    """

    def __init__(self, file: Readable) -> None:
        self._file = file
        line = self._line("the header of the Y4M file")
        if line is None:
            msg = "the Y4M file ends inside its header"
            raise InputError(msg)
        signature, *words = line.split(" ")
        if signature.encode("latin-1") != SIGNATURE:
            msg = f"the file starts with {signature[:20]!r}, must start with {SIGNATURE.decode()}"
            raise InputError(msg)
        self.header_bytes = len(line) + 1
        tags = _tags(words)
        self.width, self.height = (_side(tags, letter) for letter in "WH")
        self.rate = _ratio(tags, "F")
        self.sample_aspect_ratio = _ratio(tags, "A")
        interlacing = tags.get("I", "?")
        if interlacing not in _INTERLACED | {"p", "?"}:
            msg = f"tag I of the Y4M file is {interlacing[:20]!r}, must be one of p, t, b, m, ?"
            raise InputError(msg)
        self.interlaced = interlacing in _INTERLACED
        extensions = tags["X"].split(" ") if "X" in tags else []
        self.full_range = next((_RANGES[text] for text in extensions if text in _RANGES), None)
        chroma = tags.get("C", "420")
        self.chroma_location = _SITED.get(chroma, 0)
        self.format, self._shapes, self._type = _layout(chroma, self.width, self.height)

    @property
    def frame_bytes(self) -> int:
        """Bytes of the samples of one frame."""
        return sum(height * width for height, width in self._shapes) * self._type.itemsize

    def __iter__(self) -> Iterator[list[NDArray[Any]]]:
        number = 0
        while (line := self._line(f"the line before frame {number} of the Y4M file")) is not None:
            if line.split(" ")[0] != "FRAME":
                msg = f"frame {number} of the Y4M file begins with {line[:20]!r}, must begin with FRAME"
                raise InputError(msg)
            yield [self._plane(shape, number) for shape in self._shapes]
            number += 1

    def _plane(self, shape: tuple[int, int], number: int) -> NDArray[Any]:
        size = shape[0] * shape[1] * self._type.itemsize
        data = bytearray()
        while len(data) < size:
            chunk = self._file.read(size - len(data))
            if not chunk:
                msg = f"frame {number} of the Y4M file is cut off"
                raise TruncatedError(msg)
            data += chunk
        return np.frombuffer(data, self._type).reshape(shape)

    def _line(self, what: str) -> str | None:
        """The next line without its end; None at the end of the file."""
        line = b""
        while not line.endswith(b"\n"):
            byte = self._file.read(1)
            if not byte and not line:
                return None
            if not byte:
                msg = f"{what} is cut off"
                raise TruncatedError(msg)
            line += byte
            if len(line) > _MAX_LINE:
                msg = f"{what} has more than {_MAX_LINE} bytes"
                raise InputError(msg)
        return line[:-1].decode("latin-1")


class Y4mWriter:
    """Writes a YUV4MPEG2 stream of 8-bit 4:2:0; header and frames go out at once. rate: frames a second."""

    def __init__(self, file: BinaryWriter, info: ClipInfo, rate: Fraction) -> None:
        self._file = file
        self._flush = getattr(file, "flush", _nothing)
        aspect = info.sample_aspect_ratio
        words = (
            SIGNATURE.decode(),
            f"W{info.width}",
            f"H{info.height}",
            f"F{rate.numerator}:{rate.denominator}",
            "Ip",
            f"A{aspect.numerator}:{aspect.denominator if aspect else 0}",
            f"C{_TAGS.get(info.chroma_location, '420')}",
            f"XCOLORRANGE={'FULL' if info.colour.full_range else 'LIMITED'}",
        )
        self._write(" ".join(words).encode() + b"\n")

    def write(self, planes: Planes) -> None:
        """Write the next frame."""
        self._write(b"FRAME\n")
        for plane in planes:
            self._write(plane.tobytes())
        self._flush()

    def _write(self, data: bytes) -> None:
        written = self._file.write(data)
        while written is not None and written < len(data):
            data = data[written:]
            written = self._file.write(data)


def _nothing() -> None:
    """In place of what a file object does not have."""


def _tags(words: list[str]) -> dict[str, str]:
    """Values by letter; those of X, of which there may be several, with blanks between."""
    tags: dict[str, str] = {}
    for word in words:
        if not word:
            continue
        letter, value = word[0], word[1:]
        if letter not in "WHFIACX":
            msg = f"the header of the Y4M file has a tag {word[:20]!r}, must be one of W, H, F, I, A, C, X"
            raise InputError(msg)
        if letter in tags and letter != "X":
            msg = f"the header of the Y4M file has the tag {letter} twice"
            raise InputError(msg)
        tags[letter] = f"{tags[letter]} {value}" if letter in tags else value
    return tags


def _side(tags: Mapping[str, str], letter: str) -> int:
    text = tags.get(letter, "")
    if not _NUMBER.match(text) or not 1 <= int(text) <= _MAX_SIDE:
        found = f"is {text[:20]!r}" if letter in tags else "is missing"
        msg = f"tag {letter} of the Y4M file {found}, must be a number of samples, 1..{_MAX_SIDE}"
        raise InputError(msg)
    return int(text)


def _ratio(tags: Mapping[str, str], letter: str) -> Fraction:
    """A ratio, 0 where the header does not tell it."""
    text = tags.get(letter, "0:0")
    match = _RATIO.match(text)
    if match is None:
        msg = f"tag {letter} of the Y4M file is {text[:20]!r}, must be two numbers with a colon between"
        raise InputError(msg)
    above, below = map(int, match.groups())
    if (above == 0) != (below == 0):
        msg = f"tag {letter} of the Y4M file is {text}, must be above 0, or 0:0 where it is not known"
        raise InputError(msg)
    return Fraction(above, below) if below else Fraction(0)


def _layout(chroma: str, width: int, height: int) -> tuple[str, list[tuple[int, int]], np.dtype[Any]]:
    """FFmpeg's name of the frames, (rows, columns) of each plane, and the type of a sample."""
    luma = (height, width)
    if chroma in _SITED:
        chroma = "420"
    if chroma == "444alpha":
        return "yuva444p", [luma] * 4, np.dtype(np.uint8)
    match = _CHROMA.match(chroma)
    if match is None:
        legal = "420, 411, 422, 444 or mono, or one with more bits, such as 420p10"
        msg = f"tag C of the Y4M file is {chroma[:20]!r}, must be {legal}"
        raise InputError(msg)
    sampling, bits = match[1] or match[3], match[2] or match[4]
    depth, sample = (f"{bits}le", np.dtype("<u2")) if bits else ("", np.dtype(np.uint8))
    if sampling is None:
        return f"gray{depth}", [luma], sample
    across, down = _SHIFTS[sampling]
    plane = (-(-height >> down), -(-width >> across))
    return f"yuv{sampling}p{depth}", [luma, plane, plane], sample
