"""Fields of payloads: integers with their legal ranges, ratios, short texts; one declaration for both directions.

Writers raise InputError for a value out of range, readers FormatError for a payload that ends too early; both name the
field, the value and the legal range.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import NamedTuple, TypeVar

from nacre.bitstream.errors import FormatError, InputError
from nacre.bitstream.units import pack_varint, parse_varint

MAX_TERM = (1 << 31) - 1
"""The largest numerator or denominator of a ratio."""
MAX_TIME = (1 << 62) - 1
"""The largest magnitude of a time, in units of its time base."""

_WIDE_BYTES = 10  # of the longest integer of 64 bits
_T = TypeVar("_T")


class Integer(NamedTuple):
    """An unsigned little-endian integer: name, bytes, lowest and highest legal value."""

    name: str
    width: int
    low: int
    high: int


def checked(name: str, value: object, low: int, high: int) -> int:
    """The value as an int; InputError, naming it, unless it is an integer in low..high."""
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        msg = f"{name} is {value!r}, must be an integer"
        raise InputError(msg) from None
    if not low <= number <= high:
        legal = f"{low}..{high}" if low < high else f"{low}"
        msg = f"{name} is {number}, must be {legal}"
        raise InputError(msg)
    return number


def check_integers(instance: object, fields: Iterable[Integer]) -> None:
    """Make the fields of a frozen dataclass that are integers ints in their legal ranges; InputError otherwise."""
    for name, _, low, high in fields:
        object.__setattr__(instance, name, checked(name, getattr(instance, name), low, high))


def check_ratio(name: str, value: object, low: int = 1) -> Fraction:
    """The value as a Fraction; InputError unless numerator and denominator are at most MAX_TERM, the former >= low."""
    if not isinstance(value, (Fraction, int)):
        msg = f"{name} is {value!r}, must be a fraction"
        raise InputError(msg)
    ratio = Fraction(value)
    if not (low <= ratio.numerator <= MAX_TERM and ratio.denominator <= MAX_TERM):
        msg = f"{name} is {ratio}, must have a numerator in {low}..{MAX_TERM} and a denominator in 1..{MAX_TERM}"
        raise InputError(msg)
    return ratio


def check_text(name: str, value: str, longest: int) -> None:
    """InputError unless the text has at most `longest` bytes of UTF-8 and no control characters."""
    try:
        size = len(value.encode("utf-8"))
    except UnicodeEncodeError:
        msg = f"{name} is {value!r}, must be text that UTF-8 can hold"
        raise InputError(msg) from None
    if size > longest:
        msg = f"{name} has {size} bytes, must have at most {longest}"
        raise InputError(msg)
    if any(ord(letter) < 0x20 or ord(letter) == 0x7F for letter in value):
        msg = f"{name} is {value!r}, must be without control characters"
        raise InputError(msg)


def pack_integers(instance: object, fields: Iterable[Integer]) -> bytes:
    """The fields of an instance, one after the other."""
    return b"".join(getattr(instance, name).to_bytes(width, "little") for name, width, _, _ in fields)


def pack_ratio(ratio: Fraction) -> bytes:
    """Numerator and denominator, u32 each."""
    return ratio.numerator.to_bytes(4, "little") + ratio.denominator.to_bytes(4, "little")


def pack_text(text: str) -> bytes:
    """Length in bytes as u8, then the UTF-8 of a text of at most 255 bytes."""
    data = text.encode("utf-8")
    return bytes((len(data),)) + data


def pack_time(value: int) -> bytes:
    """A signed integer of at most MAX_TIME as a varint: 0, -1, 1, -2, ... are 0, 1, 2, 3, ...; otherwise InputError."""
    checked("time or difference of times", value, -MAX_TIME, MAX_TIME)
    return pack_varint(value << 1 if value >= 0 else (-value << 1) - 1, 64)


class FieldReader:
    """The fields of a payload, taken from the front; FormatError, naming the place and the field, beyond its end."""

    def __init__(self, payload: bytes, place: str) -> None:
        self._payload = payload
        self._place = place
        self._position = 0

    @property
    def left(self) -> int:
        """Bytes that are left."""
        return len(self._payload) - self._position

    def take(self, name: str, size: int) -> bytes:
        """The next `size` bytes."""
        if size > self.left:
            msg = f"{self._place} ends inside {name}: {size} bytes are due, {self.left} are left"
            raise FormatError(msg)
        start = self._position
        self._position += size
        return self._payload[start : self._position]

    def integer(self, name: str, width: int) -> int:
        """An unsigned integer of `width` bytes."""
        return int.from_bytes(self.take(name, width), "little")

    def integers(self, fields: Iterable[Integer]) -> dict[str, int]:
        """The integers by name, of whatever value: whoever is given them checks."""
        return {name: self.integer(name, width) for name, width, _, _ in fields}

    def varint(self, name: str, bits: int = 32) -> int:
        """An unsigned integer below 2^bits, bits 32 or 64."""
        try:
            value, used = parse_varint(self._payload[self._position : self._position + _WIDE_BYTES], bits)
        except FormatError as error:
            msg = f"{self._place}: {name}: {error}"
            raise FormatError(msg) from error
        self._position += used
        return value

    def time(self, name: str) -> int:
        """A signed integer of `pack_time`."""
        value = self.varint(name, 64)
        value = -((value + 1) >> 1) if value & 1 else value >> 1
        if abs(value) > MAX_TIME:
            msg = f"{self._place}: {name} is {value}, must be {-MAX_TIME}..{MAX_TIME}"
            raise FormatError(msg)
        return value

    def ratio(self, name: str, low: int = 1) -> Fraction:
        """A ratio in lowest terms, the numerator at least `low`."""
        numerator, denominator = self.integer(name, 4), self.integer(name, 4)
        if not (low <= numerator <= MAX_TERM and 1 <= denominator <= MAX_TERM):
            msg = (
                f"{self._place}: {name} is {numerator}/{denominator}, must have a numerator in {low}..{MAX_TERM}"
                f" and a denominator in 1..{MAX_TERM}"
            )
            raise FormatError(msg)
        ratio = Fraction(numerator, denominator)
        if ratio.denominator != denominator:
            msg = f"{self._place}: {name} is {numerator}/{denominator}, must be in lowest terms"
            raise FormatError(msg)
        return ratio

    def text(self, name: str) -> str:
        """A text of at most 255 bytes of UTF-8."""
        data = self.take(name, self.integer(f"length of {name}", 1))
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError as error:
            msg = f"{self._place}: {name} is {data!r}, must be UTF-8"
            raise FormatError(msg) from error

    def rest(self) -> bytes:
        """All that is left."""
        return self.take("the rest", self.left)

    def end(self) -> None:
        """FormatError unless all is taken."""
        if self.left:
            msg = f"{self._place} has {self.left} bytes behind its last field, must have none"
            raise FormatError(msg)

    def made(self, make: Callable[[], _T]) -> _T:
        """What `make` makes of fields; its InputError becomes a FormatError that names the place."""
        try:
            return make()
        except InputError as error:
            msg = f"{self._place}: {error}"
            raise FormatError(msg) from error
