"""Mutations of streams for fuzzing, each with a name: of bytes, of units under right lengths and CRCs, of symbols.

Streams are taken apart leniently, so that what one mutation broke the next one can still build on.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nacre.bitstream import (
    MAX_QUALITY,
    SIGNATURE,
    NacreError,
    PictureHeader,
    UnitType,
    tiles,
    y_grid,
    z_grid,
)
from nacre.bitstream.units import pack_varint, parse_varint
from nacre.entropy import MAX_SYMBOL, IntegerNetwork, SymbolEncoder, TableSet, decode_tile, symbols_check
from nacre.weights import load

ALPHA = 0x03  # unit type
REPAIRABLE_PIXELS = 1 << 15  # of a tile whose symbols are made right again
_CRC_BYTES = 4
MADE_UP = "made-up symbols"
"""The kind whose checks can always be made right."""
INTEGERS = (0, 1, 2, 15, 16, 17, 63, 64, 65, 127, 128, 255, 256, 4095, 4096, 32767, 32768, 65535)
LARGE = (1 << 16, (1 << 24) - 1, 1 << 24, (1 << 31) - 1, 1 << 31, (1 << 32) - 1)
SIDES = (1, 1, 2, 15, 16, 17, 31, 33, 48, 63, 64, 65, 127, 128, 129)
SYMBOL_VALUES = (0, 1, -1, 2, -2, 63, -64, 127, -127, 128, -128, 255, 4095, -4096, MAX_SYMBOL, -MAX_SYMBOL)

# Offsets from the payload's start, and from the end of the digest; (name, offset, bytes).
_FRONT = (("width", 0, 4), ("height", 4, 4), ("bit depth", 8, 1), ("chroma", 9, 1), ("primaries", 10, 1),
          ("full range", 13, 1), ("profile length", 14, 1))  # fmt: skip
_BACK = (("quality", 0, 2), ("live channels", 2, 2), ("skip threshold", 4, 1), ("tile size", 5, 2),
         ("tile margin", 7, 2), ("alpha", 9, 1))  # fmt: skip


class Part(NamedTuple):
    """A unit, right or wrong: type and payload."""

    type: int
    payload: bytes


class Mutated(NamedTuple):
    """A stream, the mutation's name, whether lengths and CRCs are right, whether the symbols' checks are, too."""

    data: bytes
    kind: str
    repaired: bool
    checked: bool


def split(data: bytes) -> tuple[bytes, list[Part]]:
    """Signature with version, and units: whatever lengths and CRCs say, all bytes go somewhere."""
    position = len(SIGNATURE) + 2
    head, parts = data[:position], []
    while position < len(data):
        try:
            length, used = parse_varint(data[position + 1 : position + 6])
        except NacreError:
            length, used = len(data), 1
        start = position + 1 + used
        end = min(start + length, max(start, len(data) - _CRC_BYTES))
        parts.append(Part(data[position], data[start:end]))
        position = end + _CRC_BYTES
    return head, parts


def join(head: bytes, parts: Sequence[Part]) -> bytes:
    """A stream whose lengths and CRCs are right."""
    pieces = [head]
    for part in parts:
        start = bytes((part.type,)) + pack_varint(len(part.payload))
        pieces += [start, part.payload, zlib.crc32(part.payload, zlib.crc32(start)).to_bytes(_CRC_BYTES, "little")]
    return b"".join(pieces)


class Coder:
    """What is needed of a set of weights to make the symbols' checks right."""

    def __init__(self, folder: Path) -> None:
        self.weights = load(folder=folder)
        arrays = self.weights.arrays("entropy.npz")

        def part(prefix: str) -> dict[str, NDArray[Any]]:
            return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}

        self._network = IntegerNetwork.from_arrays(part("scale."))
        self._y_tables = TableSet.from_arrays(part("y."))
        self._z_tables = TableSet.from_arrays(part("z."))

    def rows_and_shapes(
        self, header: PictureHeader, index: int
    ) -> tuple[int, tuple[int, int, int], tuple[int, int, int]]:
        """Entropy row, shape of z, shape of y of a tile; ValueError for one that there is not, or too large a one."""
        if index >= header.tile_count or header.tile_count > 64:
            raise ValueError(index)
        area = list(tiles(header.width, header.height, header.tile_size, header.tile_margin))[index].area
        if area.width * area.height > REPAIRABLE_PIXELS:
            raise ValueError(area)
        row = (header.quality * (self.weights.rows - 1) + MAX_QUALITY // 2) // MAX_QUALITY
        z = (self.weights.hyper_channels, *z_grid(area.width, area.height))
        return row, z, (self.weights.latent_channels, *y_grid(area.width, area.height))

    def check(self, header: PictureHeader, index: int, code: bytes) -> tuple[bytes, int]:
        """The code, cut where it would go on after the last symbol, and its check; ValueError where there is none."""
        row, z, y = self.rows_and_shapes(header, index)
        for _ in range(2):
            try:
                found = decode_tile(
                    code, z, y, row, self._z_tables, self._y_tables, self._network,
                    header.live_channels, header.skip_threshold,
                )  # fmt: skip
            except NacreError:
                code = code[: len(code) // 2].rstrip(b"\0")
                continue
            return code, symbols_check(found.z, found.y[: header.live_channels])
        raise ValueError(code)

    def encode(self, header: PictureHeader, index: int, random: Random) -> tuple[bytes, int]:
        """The code and check of symbols that are made up; among those of z may be some that no stream may hold."""
        row, z_shape, y_shape = self.rows_and_shapes(header, index)
        few = np.random.default_rng(random.getrandbits(32))
        z, y = np.zeros(z_shape, np.int32), np.zeros(y_shape, np.int32)
        for array in (z, y):
            spots = few.random(array.shape) < random.choice((0.02, 0.2, 0.9))
            array[spots] = few.choice(SYMBOL_VALUES, int(spots.sum()))
        if random.random() < 0.8:
            np.clip(z, -127, 127, out=z)
        live = min(header.live_channels, len(y))
        scale = self._network(np.clip(z, -127, 127), row)[:, : y.shape[1], : y.shape[2]]
        coded = scale[:live] >= header.skip_threshold
        y[live:] = 0
        y[:live][~coded] = 0
        encoder = SymbolEncoder()
        tables = np.repeat(np.arange(len(z)) + row * len(z), z[0].size)
        encoder.encode(z.reshape(-1), tables, self._z_tables)
        encoder.encode(y[:live][coded], scale[:live][coded], self._y_tables)
        return encoder.finish(), symbols_check(z, y[:live])


class Mutator:
    """Makes one stream from another. `pool` holds streams that are right; parts of others are drawn from it.

    Without a coder no checks of tiles are made right.
    """

    versions: Sequence[int] = (0, 1, 2, 3, 255)
    """Minor versions that streams now and then get."""
    checked_share = 0.1
    """Of streams with mutated units, how many get right checks."""

    def __init__(self, coder: Coder | None, pool: Sequence[bytes]) -> None:
        self._coder, self._pool = coder, tuple(pool)
        self.units, self.symbols = UNITS, SYMBOLS

    def mutate(self, data: bytes, random: Random, limit: int) -> Mutated:
        """A mutation of `data` of at most about `limit` bytes."""
        draw = random.random()
        if draw < 0.42:
            kind = random.choice(list(BYTES))
            data = BYTES[kind](data, random, self._pool)[:limit]
            if random.random() < 0.7:
                return Mutated(data, kind, repaired=False, checked=False)
            return Mutated(join(*self._with_signature(*split(data), random)), kind, repaired=True, checked=False)
        head, parts = self._with_signature(*split(data), random)
        if draw < 0.8:
            kind = random.choice(list(self.units))
            parts = self.units[kind](parts, random, self._pool)
            checked = random.random() < self.checked_share and self._check(head, parts, random)
        else:
            kind = MADE_UP if random.random() < 0.6 else random.choice(list(self.symbols))
            if random.random() < 0.7 or not self._check(head, list(parts), random):  # mostly on streams that are right
                head, parts = split(random.choice(self._pool))
            parts = self.symbols[kind](parts, random, self._pool)
            checked = self._check(head, parts, random, made_up=kind == MADE_UP)
        return Mutated(join(head, parts), kind, repaired=True, checked=checked)

    def _check(self, head: bytes, parts: list[Part], random: Random, *, made_up: bool = False) -> bool:
        """Make the checks of all tiles right, in place; whether there were tiles and it could be done."""
        if self._coder is None:
            return False
        try:
            header = PictureHeader.parse(parts[0].payload, minor=head[-1])
            done = False
            for place, part in enumerate(parts):
                if part.type != UnitType.TILE:
                    continue
                index, used = parse_varint(part.payload)
                code = part.payload[used + 4 :].rstrip(b"\0")
                if made_up:
                    code, check = self._coder.encode(header, index, random)
                else:
                    code, check = self._coder.check(header, index, code)
                parts[place] = Part(part.type, part.payload[:used] + check.to_bytes(4, "little") + code)
                done = True
        except (NacreError, ValueError, IndexError):
            return False
        return done

    def _with_signature(self, head: bytes, parts: list[Part], random: Random) -> tuple[bytes, list[Part]]:
        """Mostly with the right signature, and with units to mutate."""
        if not parts or (not head.startswith(SIGNATURE) and random.random() < 0.95):
            head, parts = split(random.choice(self._pool))
        if random.random() < 0.05:
            head = SIGNATURE + bytes((0, random.choice(self.versions)))
        return head, parts


Pool = Sequence[bytes]


def _place(data: bytes, random: Random) -> int:
    return random.randrange(len(data) + 1)


def _flip(data: bytes, random: Random, _: Pool) -> bytes:
    changed = bytearray(data)
    for _turn in range(random.choice((1, 1, 1, 2, 8)) if data else 0):
        changed[random.randrange(len(data))] ^= 1 << random.randrange(8)
    return bytes(changed)


def _set(data: bytes, random: Random, _: Pool) -> bytes:
    if not data:
        return data
    place = random.randrange(len(data))
    return data[:place] + bytes((random.choice((0, 1, 0x7F, 0x80, 0xFF, random.randrange(256))),)) + data[place + 1 :]


def _insert(data: bytes, random: Random, _: Pool) -> bytes:
    place = _place(data, random)
    return data[:place] + random.randbytes(random.choice((1, 2, 4, 17, 100))) + data[place:]


def _delete(data: bytes, random: Random, _: Pool) -> bytes:
    place = _place(data, random)
    return data[:place] + data[place + random.choice((1, 2, 4, 17, 100)) :]


def _cut(data: bytes, random: Random, _: Pool) -> bytes:
    return data[: _place(data, random)]


def _repeat(data: bytes, random: Random, _: Pool) -> bytes:
    first, second = sorted((_place(data, random), _place(data, random)))
    return data[:second] + data[first:second] + data[second:]


def _number(data: bytes, random: Random, _: Pool) -> bytes:
    place, width = _place(data, random), random.choice((1, 2, 4))
    value = random.choice(INTEGERS + LARGE) % (1 << 8 * width)
    return data[:place] + value.to_bytes(width, "little") + data[place + width :]


def _splice(data: bytes, random: Random, pool: Pool) -> bytes:
    other = random.choice(pool)
    return data[: _place(data, random)] + other[_place(other, random) :]


def _append(data: bytes, random: Random, pool: Pool) -> bytes:
    return data + random.choice((b"\0", random.randbytes(5), random.choice(pool)))


BYTES: Mapping[str, Callable[[bytes, Random, Pool], bytes]] = {
    "flip bits": _flip,
    "set byte": _set,
    "insert bytes": _insert,
    "delete bytes": _delete,
    "cut": _cut,
    "repeat bytes": _repeat,
    "write integer": _number,
    "splice": _splice,
    "append": _append,
}


def pick(parts: list[Part], random: Random, *types: int) -> int:
    """The place of a unit of one of the types, or of any unit where there is none."""
    places = [place for place, part in enumerate(parts) if part.type in types]
    return random.choice(places) if places else random.randrange(len(parts))


def with_payload(parts: list[Part], place: int, payload: bytes) -> list[Part]:
    return [*parts[:place], Part(parts[place].type, payload), *parts[place + 1 :]]


def any_bytes(data: bytes, random: Random, pool: Pool) -> bytes:
    return BYTES[random.choice(("flip bits", "set byte", "insert bytes", "delete bytes", "cut", "write integer"))](
        data, random, pool
    )


def _in_payload(parts: list[Part], random: Random, pool: Pool) -> list[Part]:
    place = random.randrange(len(parts))
    return with_payload(parts, place, any_bytes(parts[place].payload, random, pool))


def _header_field(parts: list[Part], random: Random, _: Pool) -> list[Part]:
    place = pick(parts, random, UnitType.PICTURE_HEADER)
    payload = bytearray(parts[place].payload)
    back = 15 + (payload[14] if len(payload) > 14 else 0) + 8
    fields = [*_FRONT, *((name, back + offset, width) for name, offset, width in _BACK)]
    for name, offset, width in random.sample(fields, random.choice((1, 1, 2, 3))):
        if name in ("width", "height") and random.random() < 0.9:
            value = random.choice(SIDES)
        elif name in ("tile size", "tile margin") and random.random() < 0.7:
            value = random.choice((0, 16, 32, 64, 128))
        else:
            value = random.choice((*INTEGERS, *LARGE, random.getrandbits(8 * width)))
        payload[offset : offset + width] = (value % (1 << 8 * width)).to_bytes(width, "little")
    return with_payload(parts, place, bytes(payload))


def _header_bytes(parts: list[Part], random: Random, pool: Pool) -> list[Part]:
    place = pick(parts, random, UnitType.PICTURE_HEADER)
    return with_payload(parts, place, any_bytes(parts[place].payload, random, pool))


def _drop(parts: list[Part], random: Random, _: Pool) -> list[Part]:
    place = random.randrange(len(parts))
    return parts[:place] + parts[place + 1 :] or parts


def _duplicate(parts: list[Part], random: Random, _: Pool) -> list[Part]:
    part = random.choice(parts)
    place = random.randrange(len(parts) + 1)
    return [*parts[:place], part, *parts[place:]]


def _swap(parts: list[Part], random: Random, _: Pool) -> list[Part]:
    first, second = random.randrange(len(parts)), random.randrange(len(parts))
    swapped = list(parts)
    swapped[first], swapped[second] = swapped[second], swapped[first]
    return swapped


def _type(parts: list[Part], random: Random, _: Pool) -> list[Part]:
    place = random.randrange(len(parts))
    known = (*UnitType, ALPHA, 0x04, 0x10, 0x93, 0xFF, random.randrange(256))
    return [*parts[:place], Part(random.choice(known), parts[place].payload), *parts[place + 1 :]]


def _foreign_unit(parts: list[Part], random: Random, pool: Pool) -> list[Part]:
    """A unit of another stream, or one that is made up."""
    others = split(random.choice(pool))[1]
    part = random.choice(others) if others and random.random() < 0.6 else None
    if part is None:
        part = Part(random.choice((0x90, 0x91, 0x92, 0x93, 0xFF, ALPHA)), random.randbytes(random.choice((0, 1, 30))))
    place = random.randrange(len(parts) + 1)
    return [*parts[:place], part, *parts[place:]]


def _tile_index(parts: list[Part], random: Random, _: Pool) -> list[Part]:
    place = pick(parts, random, UnitType.TILE, ALPHA)
    try:
        used = parse_varint(parts[place].payload)[1]
    except NacreError:
        used = 0
    value = random.choice((0, 1, 2, 3, 5, *INTEGERS, (1 << 32) - 1))
    index = random.choice((pack_varint(value), random.randbytes(5), b"\x80\0", b"\xff" * 5))
    return with_payload(parts, place, index + parts[place].payload[used:])


def _alpha_plane(parts: list[Part], random: Random, pool: Pool) -> list[Part]:
    """What an alpha unit holds, changed under its compression; where there is none, one is made."""
    places = [place for place, part in enumerate(parts) if part.type == ALPHA]
    raw = random.choice((b"", bytes(random.choice((1, 64, 561, 4096, 200_000))), random.randbytes(100)))
    if not places:
        place = pick(parts, random, UnitType.TILE)
        unit = Part(ALPHA, b"\0" + bytes((random.randrange(4),)) + zlib.compress(raw, 9))
        return [*parts[: place + 1], unit, *parts[place + 1 :]]
    place = random.choice(places)
    payload = parts[place].payload
    with suppress(zlib.error):
        raw = any_bytes(zlib.decompress(payload[2:]), random, pool) if random.random() < 0.7 else raw
    packed = zlib.compress(raw, random.choice((0, 1, 9)))
    return with_payload(parts, place, payload[:1] + bytes((random.choice((0, 1, 2, 3, 255)),)) + packed)


UNITS: Mapping[str, Callable[[list[Part], Random, Pool], list[Part]]] = {
    "bytes of a payload": _in_payload,
    "header field": _header_field,
    "header bytes": _header_bytes,
    "drop unit": _drop,
    "duplicate unit": _duplicate,
    "swap units": _swap,
    "type of a unit": _type,
    "foreign unit": _foreign_unit,
    "tile index": _tile_index,
    "alpha plane": _alpha_plane,
}


def _code(parts: list[Part], random: Random, pool: Pool) -> list[Part]:
    """The range coder's bytes of a tile."""
    place = pick(parts, random, UnitType.TILE)
    payload = parts[place].payload
    return with_payload(parts, place, payload[:5] + any_bytes(payload[5:], random, pool))


def _cut_code(parts: list[Part], random: Random, _: Pool) -> list[Part]:
    place = pick(parts, random, UnitType.TILE)
    payload = parts[place].payload
    return with_payload(
        parts, place, payload[:5] + payload[5 : 5 + random.randrange(max(len(payload) - 4, 1))].rstrip(b"\0")
    )


def _header_under_symbols(parts: list[Part], random: Random, _: Pool) -> list[Part]:
    """Quality, live channels, skip threshold: the same code gives other symbols."""
    place = pick(parts, random, UnitType.PICTURE_HEADER)
    payload = bytearray(parts[place].payload)
    back = 15 + (payload[14] if len(payload) > 14 else 0) + 8
    payload[back : back + 2] = random.randrange(MAX_QUALITY + 1).to_bytes(2, "little")
    payload[back + 2 : back + 4] = random.randrange(1, 26).to_bytes(2, "little")
    payload[back + 4 : back + 5] = bytes((random.randrange(64),))
    return with_payload(parts, place, bytes(payload))


def _unchanged(parts: list[Part], _random: Random, _: Pool) -> list[Part]:
    return parts


SYMBOLS: Mapping[str, Callable[[list[Part], Random, Pool], list[Part]]] = {
    "code bytes": _code,
    "cut code": _cut_code,
    "other tables": _header_under_symbols,
    MADE_UP: _unchanged,
}
