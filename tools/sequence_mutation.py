"""Mutations of sequences for fuzzing, as nacre.tools.mutation makes them of pictures: units, frames, symbols."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nacre.bitstream import (
    MAX_QUALITY,
    FrameUnit,
    NacreError,
    SequenceHeader,
    UnitType,
    padded_size,
    y_grid,
    z_grid,
)
from nacre.bitstream.frames import Due
from nacre.bitstream.units import FRAME_TYPES
from nacre.entropy import IntegerNetwork, SymbolDecoder, SymbolEncoder, TableSet, symbols_check
from nacre.entropy.latent import decode_latent
from nacre.entropy.motion import LEVELS, MotionSymbols, decode_motion, encode_motion
from nacre.entropy.network import FINER, prior_of
from nacre.entropy.tables import IntArray
from nacre.framecoder import Previous
from nacre.tools.mutation import (
    BYTES,
    INTEGERS,
    LARGE,
    MADE_UP,
    REPAIRABLE_PIXELS,
    SIDES,
    SYMBOL_VALUES,
    UNITS,
    Mutator,
    Part,
    Pool,
    any_bytes,
    pick,
    with_payload,
)
from nacre.weights.sequence import find_sequence_profiles
from nacre.weights.store import Weights

_ROOT = 64  # luma samples of a block of the motion field's first level
_HEADER = (("width", 0, 4), ("height", 4, 4), ("bit depth", 8, 1), ("chroma", 9, 1), ("full range", 13, 1),
           ("chroma location", 14, 1), ("rotation", 15, 1), ("aspect", 16, 4), ("aspect", 20, 4), ("time base", 24, 4),
           ("time base", 28, 4), ("frame rate", 32, 4), ("frame rate", 36, 4), ("duration", 40, 4),
           ("first frame", 44, 4), ("profile length", 48, 1))  # fmt: skip  # name, offset, bytes


class _Arrays(NamedTuple):
    """What entropy coding of frames of one kind needs."""

    weights: Weights
    network: IntegerNetwork
    y_tables: TableSet
    z_tables: TableSet
    motion_tables: TableSet | None

    def row(self, quality: int) -> int:
        return (quality * (self.weights.rows - 1) + MAX_QUALITY // 2) // MAX_QUALITY


class SequenceCoder:
    """What is needed of a set of weights of sequences to make frames' checks right."""

    def __init__(self, folder: Path) -> None:
        weights = find_sequence_profiles(folder)[0]
        self._intra, self._predicted = _arrays(weights.intra), _arrays(weights.predicted)

    def check(
        self, header: SequenceHeader, frame: FrameUnit, previous: Previous | None
    ) -> tuple[FrameUnit, Previous | None]:
        """The frame with its code cut where it would go on after the last symbol, and the right check.

        Also what the frame behind knows of it. ValueError where the code gives no symbols.
        """
        arrays = self._of(frame, header)
        size, code = (header.width, header.height), frame.payload
        for _ in range(2):
            try:
                decoder, motion, before = SymbolDecoder(code), None, None
                if arrays.motion_tables is not None:
                    motion = decode_motion(decoder, _roots(size), arrays.motion_tables, previous and previous.motion)
                    before = previous and previous.y
                z, y, _index = decode_latent(
                    decoder, (arrays.weights.hyper_channels, *z_grid(*size)),
                    (arrays.weights.latent_channels, *y_grid(*size)), arrays.row(frame.quality), arrays.z_tables,
                    arrays.y_tables, arrays.network, frame.live_channels, header.skip_threshold, before,
                )  # fmt: skip
                decoder.finish()
            except NacreError:
                code = code[: len(code) // 2].rstrip(b"\0")
                continue
            check, behind = _known(motion, z, y, frame.live_channels)
            return replace(frame, payload=code, check=check), behind
        raise ValueError(code)

    def encode(
        self, header: SequenceHeader, frame: FrameUnit, previous: Previous | None, random: Random
    ) -> tuple[FrameUnit, Previous | None]:
        """The frame with code and check of symbols that are made up, some of which no stream may hold.

        Also what the frame behind knows of it.
        """
        arrays = self._of(frame, header)
        size, few = (header.width, header.height), np.random.default_rng(random.getrandbits(32))
        encoder, motion, prior = SymbolEncoder(), None, None
        if arrays.motion_tables is not None:
            motion = _made_up_motion(few, _roots(size), random)
            encode_motion(encoder, motion, arrays.motion_tables, previous and previous.motion)
            if previous is not None:
                prior = prior_of(previous.y, *(FINER * side for side in z_grid(*size)))
        z = _made_up(few, (arrays.weights.hyper_channels, *z_grid(*size)), random)
        y = _made_up(few, (arrays.weights.latent_channels, *y_grid(*size)), random)
        if random.random() < 0.8:
            np.clip(z, -127, 127, out=z)
        live, row = min(frame.live_channels, len(y)), arrays.row(frame.quality)
        scale = arrays.network(np.clip(z, -127, 127), row, prior)[:, : y.shape[1], : y.shape[2]]
        coded = scale[:live] >= header.skip_threshold
        y[live:] = 0
        y[:live][~coded] = 0
        tables = np.repeat(np.arange(len(z)) + row * len(z), z[0].size)
        encoder.encode(z.reshape(-1), tables, arrays.z_tables)
        encoder.encode(y[:live][coded], scale[:live][coded], arrays.y_tables)
        check, behind = _known(motion, z, y, live)
        return replace(frame, payload=encoder.finish(), check=check), behind

    def _of(self, frame: FrameUnit, header: SequenceHeader) -> _Arrays:
        if header.width * header.height > REPAIRABLE_PIXELS:
            raise ValueError(header)
        return self._intra if frame.key else self._predicted


class SequenceMutator(Mutator):
    """Makes one sequence from another, as Mutator does with pictures."""

    versions = (0, 3, 4, 5, 255)
    checked_share = 0.2

    def __init__(self, coder: SequenceCoder, pool: Sequence[bytes]) -> None:
        super().__init__(None, pool)
        self._frames = coder
        self.units, self.symbols = SEQUENCE_UNITS, SEQUENCE_SYMBOLS

    def _check(self, head: bytes, parts: list[Part], random: Random, *, made_up: bool = False) -> bool:
        """Make numbers and checks of all frames right, in place; whether there were frames and it could be done."""
        try:
            header = SequenceHeader.parse(parts[0].payload, head[-1])
        except (NacreError, IndexError):
            return False
        due, before = Due(header.first_frame, 0), None
        previous: Previous | None = None
        for place, part in enumerate(parts):
            if part.type not in FRAME_TYPES:
                continue
            try:
                frame = _read(part, header, due)
                time = frame.timestamp if before is None or frame.timestamp > before.timestamp else due.timestamp
                frame = replace(frame, number=due.number, timestamp=time)
                turn = self._frames.encode if made_up and random.random() < 0.7 else None
                if turn is None:
                    frame, previous = self._frames.check(header, frame, previous if before else None)
                else:
                    frame, previous = turn(header, frame, previous if before else None, random)
                parts[place] = Part(frame.type, frame.pack(header, due))
            except (NacreError, ValueError):
                return False
            due, before = frame.next, frame
        if random.random() < 0.9:
            parts[:] = [part for part in parts if part.type != UnitType.SEEK_INDEX]
        return before is not None


def _arrays(weights: Weights) -> _Arrays:
    arrays = weights.arrays("entropy.npz")

    def part(prefix: str) -> dict[str, NDArray[Any]]:
        return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}

    network = IntegerNetwork.from_arrays(part("scale."))
    y_tables, z_tables = TableSet.from_arrays(part("y.")), TableSet.from_arrays(part("z."))
    return _Arrays(
        weights, network, y_tables, z_tables, TableSet.from_arrays(motion) if (motion := part("m.")) else None
    )


def _known(motion: MotionSymbols | None, z: IntArray, y: IntArray, live: int) -> tuple[int, Previous | None]:
    """The check of a frame's symbols, and what the frame behind knows of it."""
    numbers = None if motion is None else motion.in_order()
    return symbols_check(z, y[:live], numbers), None if motion is None else Previous(motion, y)


def _roots(size: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of the motion field's blocks of 64 in a frame of (width, height)."""
    width, height = padded_size(*size)
    return height // _ROOT, width // _ROOT


def _made_up(few: np.random.Generator, shape: tuple[int, ...], random: Random) -> NDArray[np.int32]:
    symbols = np.zeros(shape, np.int32)
    spots = few.random(shape) < random.choice((0.0, 0.02, 0.2, 0.9))
    symbols[spots] = few.choice(SYMBOL_VALUES, int(spots.sum()))
    return symbols


def _made_up_motion(few: np.random.Generator, grid: tuple[int, int], random: Random) -> MotionSymbols:
    """A quadtree of any shape; mostly of vectors that a stream may hold."""
    largest = random.choice((0, 3, 60, 200, 16383))
    share = random.choice((0.0, 0.2, 1.0))
    differences, splits = [], []
    present = np.ones(grid, np.bool_)
    for level in range(LEVELS):
        values = few.integers(-largest, largest + 1, (2, *present.shape), dtype=np.int32)
        differences.append(np.where(present & (few.random(present.shape) < 0.5), values, 0).astype(np.int32))
        if level < LEVELS - 1:
            splits.append(present & (few.random(present.shape) < share))
            present = splits[-1].repeat(2, axis=0).repeat(2, axis=1)
    return MotionSymbols(tuple(differences), tuple(splits))


def _read(part: Part, header: SequenceHeader, due: Due) -> FrameUnit:
    return FrameUnit.parse(part.payload, part.type == UnitType.INTRA_FRAME, header, due)


def _with_frame(
    parts: list[Part],
    random: Random,
    change: Callable[[FrameUnit], FrameUnit | None],
    *,
    otherwise: Callable[[], bytes],
) -> list[Part]:
    """The units with one frame changed; where that cannot be done, with other bytes in a unit."""
    place = pick(parts, random, *FRAME_TYPES)
    try:
        header = SequenceHeader.parse(parts[0].payload, 255)
        due = Due(header.first_frame, 0)
        for part in parts[:place]:
            if part.type in FRAME_TYPES:
                due = _read(part, header, due).next
        frame = change(_read(parts[place], header, due))
        if frame is not None:
            return [*parts[:place], Part(frame.type, frame.pack(header, due)), *parts[place + 1 :]]
    except (NacreError, ValueError):
        pass
    return with_payload(parts, place, otherwise())


def _header_field(parts: list[Part], random: Random, _: Pool) -> list[Part]:
    place = pick(parts, random, UnitType.SEQUENCE_HEADER)
    payload = bytearray(parts[place].payload)
    back = 49 + (payload[48] if len(payload) > 48 else 0) + 8
    for name, offset, width in random.sample((*_HEADER, ("skip threshold", back, 1)), random.choice((1, 1, 2, 3))):
        value = random.choice((*INTEGERS, *LARGE, random.getrandbits(8 * width)))
        if name in ("width", "height") and random.random() < 0.9:
            value = random.choice(SIDES)
        payload[offset : offset + width] = (value % (1 << 8 * width)).to_bytes(width, "little")
    return with_payload(parts, place, bytes(payload))


def _header_bytes(parts: list[Part], random: Random, pool: Pool) -> list[Part]:
    place = pick(parts, random, UnitType.SEQUENCE_HEADER)
    return with_payload(parts, place, any_bytes(parts[place].payload, random, pool))


def _frame_field(parts: list[Part], random: Random, pool: Pool) -> list[Part]:
    def change(frame: FrameUnit) -> FrameUnit:
        number, wide = random.choice((*INTEGERS, *LARGE)), random.getrandbits(62)
        values: dict[str, int] = random.choice((
            {"number": frame.number + random.choice((-1, 1, 2, 40000))}, {"number": number},
            {"timestamp": frame.timestamp + random.choice((-1000, -1, 1, number))}, {"timestamp": wide - (1 << 61)},
            {"duration": number}, {"quality": number % (MAX_QUALITY + 1)}, {"live_channels": number % 1025},
            {"check": random.getrandbits(32)},
        ))  # fmt: skip
        return replace(frame, **values)  # type: ignore[arg-type]  # all of them are integers

    place = random.randrange(len(parts))
    return _with_frame(parts, random, change, otherwise=lambda: any_bytes(parts[place].payload, random, pool))


def _frame_kind(parts: list[Part], random: Random, pool: Pool) -> list[Part]:
    """An intra frame as a predicted one, or the other way round."""

    def change(frame: FrameUnit) -> FrameUnit:
        return replace(frame, key=not frame.key)

    return _with_frame(parts, random, change, otherwise=lambda: random.choice(pool)[:100])


def _gop_again(parts: list[Part], random: Random, _: Pool) -> list[Part]:
    """A run of units twice."""
    first, second = sorted((random.randrange(len(parts)), random.randrange(len(parts) + 1)))
    return [*parts[:second], *parts[first:second][:8], *parts[second:]]


_OF_ALL = ("bytes of a payload", "drop unit", "duplicate unit", "swap units", "type of a unit", "foreign unit")
SEQUENCE_UNITS: Mapping[str, Callable[[list[Part], Random, Pool], list[Part]]] = {
    **{name: UNITS[name] for name in _OF_ALL},
    "sequence header field": _header_field,
    "sequence header bytes": _header_bytes,
    "frame field": _frame_field,
    "frame kind": _frame_kind,
    "units again": _gop_again,
}


def _code(parts: list[Part], random: Random, pool: Pool) -> list[Part]:
    """The range coder's bytes of a frame."""

    def change(frame: FrameUnit) -> FrameUnit:
        kind = random.choice(("flip bits", "set byte", "insert bytes", "delete bytes", "cut", "write integer"))
        return replace(frame, payload=BYTES[kind](frame.payload, random, pool).rstrip(b"\0"))

    return _with_frame(parts, random, change, otherwise=lambda: b"")


def _other_tables(parts: list[Part], random: Random, _: Pool) -> list[Part]:
    """Quality and live channels: the same code gives other symbols."""

    def change(frame: FrameUnit) -> FrameUnit:
        return replace(frame, quality=random.randrange(MAX_QUALITY + 1), live_channels=random.randrange(1, 26))

    return _with_frame(parts, random, change, otherwise=lambda: b"")


def _unchanged(parts: list[Part], _random: Random, _: Pool) -> list[Part]:
    return parts


SEQUENCE_SYMBOLS: Mapping[str, Callable[[list[Part], Random, Pool], list[Part]]] = {
    "code of a frame": _code,
    "other tables of a frame": _other_tables,
    "kind of a frame": _frame_kind,
    "frames again": _gop_again,
    MADE_UP: _unchanged,
}
