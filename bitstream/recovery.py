"""Finding the intact units of a damaged picture.

A unit whose CRC-32 is wrong tells nothing for sure: its payload may be damaged, then the next unit stands where the
length says, or the length is, then the next unit is anywhere. So the bytes behind its first one are searched for the
next place where a unit of a known type, of a possible length and with a possible beginning of its payload has the right
CRC. Foreign units, such as those of a stream inside of metadata, are kept out so: if an intact unit or the end of the
stream stands where the length says, what is found before that place counts only if intact units follow one another from
it to exactly there.

Work is bounded, whatever a stream holds: one pass over its bytes, and MAX_WORK. The CRC of a long stretch is taken from
checkpoints and the algebra of the CRC, so a candidate costs at most 16 KiB of checksums however long it claims to be.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator
from functools import cache

from nacre.bitstream.errors import FormatError
from nacre.bitstream.limits import Limits
from nacre.bitstream.units import PICTURE_TYPES, Unit, UnitType, parse_varint, unit_name

MAX_WORK = 1 << 31
"""What the search may take in a stream, in bytes of checksums: a few seconds, and enough for the largest metadata."""
_LOOK_WORK = 1 << 10  # of telling whether a place may be the beginning of a unit
_CHECK_WORK = 1 << 12  # of a checksum, beside its bytes

_CRC_BYTES = 4
_MAX_HEAD = 6  # bytes: a type and the longest length
_MAX_VARINT = 5  # bytes
_MAX_HEADER = 1 << 10  # bytes of a picture header, with whatever later versions append
_CODED = bytes((UnitType.TILE, UnitType.ALPHA))
_OTHERS = b"".join(re.escape(bytes((known,))) for known in sorted(PICTURE_TYPES - {*_CODED, UnitType.END}))
_CANDIDATE = re.compile(
    b"[" + re.escape(_CODED) + b"](?=[\x02-\x7f]|[\x80-\xff]{1,4}[\x01-\x7f])"  # with an index and more
    b"|[" + _OTHERS + b"](?=[\x80-\xff]{0,4}[\x00-\x7f])|" + re.escape(bytes((UnitType.END,))) + b"(?=\x00)"
)


class IntactUnits:
    """Iterator over the units of `data` whose CRC is right, of whatever type, in the order in which they stand.

    data: what stands behind the first units of a stream. offset: of its first byte in the stream. number: of the first
    unit in it. tile_count: tiles of the picture. note: is told of each stretch that is lost, in words. Raises
    LimitError where there are more units than the limits allow.
    """

    def __init__(
        self, data: bytes, offset: int, number: int, tile_count: int, limits: Limits, note: Callable[[str], None]
    ) -> None:
        self._data = data
        self._offset, self._number = offset, number
        self._tile_count, self._limits, self._note = tile_count, limits, note
        self._checksums = _Checksums(data)
        self._work = 0
        self._at = 0

    def __iter__(self) -> Iterator[Unit]:
        return self

    def __next__(self) -> Unit:
        while self._at < len(self._data):
            at, number = self._at, self._number
            self._number += 1
            self._limits.check_units(self._number)
            trouble = self._trouble(at)
            if trouble is None:
                start, end = self._extent(at)
                self._at = end
                return Unit(self._data[at], self._data[start : end - _CRC_BYTES], self._offset + at, end - at)
            self._at = self._search(at)
            place = f"unit {number} ({unit_name(self._data[at])}) at byte {self._offset + at}"
            self._note(f"{place} is damaged: {trouble}; {self._at - at} bytes are lost")
        raise StopIteration

    def _extent(self, at: int) -> tuple[int, int]:
        """(start of the payload, end of the unit) of what looks like a unit at `at`; FormatError where it cannot be."""
        try:
            length, used = parse_varint(self._data[at + 1 : at + _MAX_HEAD])
        except FormatError as error:
            msg = f"its length is malformed: {error}"
            raise FormatError(msg) from error
        start = at + 1 + used
        end = start + length + _CRC_BYTES
        if end > len(self._data):
            due, left = length + _CRC_BYTES, len(self._data) - start
            msg = f"it is cut off: {due} bytes are due from byte {self._offset + start} on, {left} are left"
            raise FormatError(msg)
        if length > self._limits.max_unit_bytes:
            msg = f"it announces {length} bytes, the limit max_unit_bytes is {self._limits.max_unit_bytes}"
            raise FormatError(msg)
        return start, end

    def _trouble(self, at: int) -> str | None:
        """What is wrong with the unit at `at`, None where it is intact."""
        try:
            _, end = self._extent(at)
        except FormatError as error:
            return str(error)
        stored = int.from_bytes(self._data[end - _CRC_BYTES : end], "little")
        computed = self._checksums.between(at, end - _CRC_BYTES)
        if stored != computed:
            return f"its checksum is 0x{stored:08X}, its bytes give 0x{computed:08X}"
        return None

    def _search(self, damaged: int) -> int:
        """Where to go on behind the damaged unit at `damaged`: at an intact unit, or at the end of the data."""
        announced = self._announced_end(damaged)
        astray: set[int] = set()  # units from which no row of units leads to the announced end
        stop = len(self._data) if announced is None else announced
        for match in _CANDIDATE.finditer(self._data, damaged + 1, stop):
            at = match.start()
            if self._work >= MAX_WORK:
                self._note(f"the search for units ends at byte {self._offset + at}: too much looks like one")
                break
            self._work += _LOOK_WORK
            if at in astray or not self._is_plausible(at) or not self._is_intact(at):
                continue
            if announced is None:
                return at
            row = list(self._row(at, announced))
            if row[-1] == announced:
                return at
            astray.update(row)
        return stop

    def _announced_end(self, at: int) -> int | None:
        """Where the damaged unit at `at` says that it ends, if that is the end of the data or an intact unit."""
        try:
            _, end = self._extent(at)
        except FormatError:
            return None
        return end if end == len(self._data) or self._trouble(end) is None else None

    def _row(self, at: int, stop: int) -> Iterator[int]:
        """`at`, the end of the intact unit there, and so on while intact units follow, as far as `stop`."""
        while at < stop:
            yield at
            if self._work >= MAX_WORK or not self._is_intact(at):
                return
            at = self._extent(at)[1]
        yield at

    def _is_intact(self, at: int) -> bool:
        """Whether there is an intact unit at `at`, as a part of the search."""
        before = self._checksums.work
        intact = self._trouble(at) is None
        self._work += _CHECK_WORK + self._checksums.work - before
        return intact

    def _is_plausible(self, at: int) -> bool:
        """Whether length and first bytes of the payload of the candidate at `at` are those of its type."""
        try:
            start, end = self._extent(at)
            unit_type, length = self._data[at], end - _CRC_BYTES - start
            if unit_type in {UnitType.TILE, UnitType.ALPHA}:
                index, used = parse_varint(self._data[start : start + min(length, _MAX_VARINT)])
                return index < self._tile_count and used < length
        except FormatError:
            return False
        if unit_type == UnitType.PICTURE_HEADER:
            return length <= _MAX_HEADER
        return unit_type != UnitType.END or length == 0


class _Checksums:
    """CRC-32 of any stretch of `data`, in time that does not grow with its length.

    With crc(AB) = crc(A) * x^(8 len(B)) + crc(B) over the polynomials modulo that of the CRC, the CRC of a stretch
    follows from those of all that stands before its ends, and these from checkpoints every _STEP bytes. work: bytes
    taken, without those of the checkpoints.
    """

    _STEP = 1 << 13

    def __init__(self, data: bytes) -> None:
        self._view = memoryview(data)
        self._checkpoints: list[int] = []
        self.work = 0

    def between(self, start: int, end: int) -> int:
        """CRC-32 of the bytes start .. end - 1."""
        if end - start <= 2 * self._STEP:
            self.work += end - start
            return zlib.crc32(self._view[start:end])
        return self._before(end) ^ _multiply(self._before(start), _power(end - start))

    def _before(self, end: int) -> int:
        if not self._checkpoints:
            self._checkpoints.append(0)
            for at in range(0, len(self._view) - self._STEP + 1, self._STEP):
                self._checkpoints.append(zlib.crc32(self._view[at : at + self._STEP], self._checkpoints[-1]))
        number = end // self._STEP
        self.work += end - number * self._STEP
        return zlib.crc32(self._view[number * self._STEP : end], self._checkpoints[number])


# Polynomials of degree below 32 over the field of two elements, bit 31 - k the coefficient of x^k.

_ONE = 1 << 31
_POLYNOMIAL = 0xEDB88320


def _multiply(a: int, b: int) -> int:
    """The product of two polynomials modulo that of the CRC."""
    product = 0
    while a:
        if a & _ONE:
            product ^= b
        a = a << 1 & 0xFFFFFFFF
        b = b >> 1 ^ (_POLYNOMIAL if b & 1 else 0)
    return product


def _power(size: int) -> int:
    """x^(8 size), size >= 0 in bytes."""
    product, place = _ONE, 0
    while size:
        product = _multiply(product, _digit_power(place, size & 0xFF))
        size >>= 8
        place += 1
    return product


@cache
def _digit_power(place: int, digit: int) -> int:
    """x^(8 digit 256^place), digit in 0..255."""
    if digit == 0:
        return _ONE
    if (place, digit) == (0, 1):
        return _ONE >> 8
    root = _digit_power(place - 1, 128) if digit == 1 else _digit_power(place, digit // 2)
    square = _multiply(root, root)
    return _multiply(square, _digit_power(place, 1)) if digit > 1 and digit % 2 else square
