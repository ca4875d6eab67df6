"""What an encode is asked for, a quality or a target, and encodes until it is reached."""

from __future__ import annotations

import io
import math
import operator
from dataclasses import dataclass
from numbers import Real
from typing import Any

from nacre.bitstream.errors import InputError
from nacre.bitstream.header import PictureHeader
from nacre.bitstream.units import BinaryWriter, write_all
from nacre.encoder import PictureEncoder
from nacre.inspection import QUALITY_STEPS
from nacre.picture import RowSource
from nacre.target import Target, Trial, find_quality

DEFAULT_QUALITY = 60.0

_BITS = 8


@dataclass(frozen=True, slots=True)
class Encoded:
    """A stream that was written: its header, and its size in bytes."""

    header: PictureHeader
    size: int


@dataclass(frozen=True, slots=True)
class Goal:
    """What is asked for: a quality in steps, or a target instead."""

    steps: int
    target: Target | None


def quality_steps(quality: Any) -> int:
    """A quality 0..100 in the stream's steps of 1/256; InputError outside."""
    if not _is_number(quality) or not 0 <= quality <= 100:
        msg = f"quality is {quality!r}, must be a number in 0..100"
        raise InputError(msg)
    return math.floor(float(quality) * QUALITY_STEPS + 0.5)


def parse_goal(quality: float | None, bpp: float | None, size: int | None, psnr: float | None) -> Goal:
    """The goal that the arguments of an encode describe, of which at most one is given.

    Raises InputError where more are given or one is out of range.
    """
    given = {"quality": quality, "bpp": bpp, "size": size, "psnr": psnr}
    named = [name for name, value in given.items() if value is not None]
    if len(named) > 1:
        msg = f"{' and '.join(named)} are given, must be one of {', '.join(given)}"
        raise InputError(msg)
    for name, value in (("bpp", bpp), ("psnr", psnr)):
        if value is not None and not (_is_number(value) and 0 < value < math.inf):
            msg = f"{name} is {value!r}, must be a number above 0"
            raise InputError(msg)
    if bpp is not None:
        return Goal(0, Target.of_bpp(bpp))
    if psnr is not None:
        return Goal(0, Target.of_psnr(psnr))
    if size is None:
        return Goal(quality_steps(DEFAULT_QUALITY if quality is None else quality), None)
    if isinstance(size, bool) or not hasattr(size, "__index__") or operator.index(size) < 1:
        msg = f"size is {size!r}, must be a whole number of bytes, at least 1"
        raise InputError(msg)
    return Goal(0, Target.of_size(size))


def encode_to_goal(encoder: PictureEncoder, source: RowSource, goal: Goal, file: BinaryWriter) -> Encoded:
    """Write the stream of a source. For a target the source is rewound before every encode, and nothing is written
    until one of them is chosen."""
    target = goal.target
    if target is None:
        counted = _Counted(file)
        return Encoded(encoder.encode(source, goal.steps, counted), counted.size)

    def trial(steps: int) -> Trial[tuple[PictureHeader, io.BytesIO]]:
        source.rewind()
        stream = io.BytesIO()
        if target.name == "psnr":
            header, value = encoder.encode_and_measure(source, steps, stream)
        else:
            header = encoder.encode(source, steps, stream)
            value = stream.tell()
            if target.name == "bpp":
                value *= _BITS / (header.width * header.height)
        return Trial(steps, value, (header, stream))

    header, stream = find_quality(trial, target).made
    write_all(file, stream.getvalue())
    return Encoded(header, stream.tell())


class _Counted:
    """A file object, and how many bytes were written to it."""

    def __init__(self, file: BinaryWriter) -> None:
        self._file = file
        self.size = 0

    def write(self, data: bytes, /) -> int | None:
        written = self._file.write(data)
        self.size += len(data) if written is None else written
        return written


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
