"""What comes of damage: every byte of a small stream of several tiles changed, every cut, units dropped and moved.

    python tests/damage.py

prints the table of outcomes. Every case is decoded twice, as it is and with keep_going, and judged against the picture
and the symbols of the undamaged stream.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import combinations
from typing import NamedTuple

import numpy as np
from golden import TINY, make_content
from numpy.typing import NDArray

import nacre
import nacre.image
from nacre.bitstream import NacreError, UnitType, tiles
from nacre.picture import ArraySink
from nacre.tiling import Tiling
from nacre.tools.environments import ENVIRONMENTS, Record, installed
from nacre.tools.mutation import Part, join, split

WIDTH, HEIGHT, TILE, MARGIN = 150, 40, 64, 16
OTHER_VALUES = (0x01, 0x80, 0xFF)  # what bytes are changed by

EXACT = "the picture, unchanged"
PARTLY = "what is lost is named, all else exact"
NO_ALPHA = "all alpha is lost, named, all else exact"
WRONG = "WRONG"
_ALPHA_LOST = re.compile(r"the alpha of tile (\d+) ")


class Case(NamedTuple):
    """A damaged stream, and in which row of the table it is counted."""

    kind: str
    data: bytes


class Bench:
    """The undamaged stream with its picture and symbols, and the decoder to judge others by."""

    def __init__(self, record: Record, *, alpha: bool) -> None:
        self._record = record
        self.codec = nacre.ImageCodec(weights=TINY, threads=1)
        picture = make_content("gradient", WIDTH, HEIGHT)
        if alpha:
            opacity = np.add.outer(np.arange(HEIGHT), np.arange(WIDTH)) % 256
            picture = np.dstack([picture, opacity.astype(np.uint8)])
        choose, nacre.image.choose_tiling = nacre.image.choose_tiling, lambda *_: Tiling(TILE, MARGIN)
        try:
            self.stream = self.codec.encode(picture, 20)
        finally:
            nacre.image.choose_tiling = choose
        record.symbols.clear()
        self.picture = self.codec.decode_array(self.stream)
        self._symbols = dict(record.symbols)
        self._tiles = list(tiles(WIDTH, HEIGHT, TILE, MARGIN))

    def strict(self, data: bytes) -> str:
        """The outcome without keep_going."""
        self._record.symbols.clear()
        try:
            decoded = self.codec.decode_array(data)
        except NacreError as error:
            return f"{type(error).__name__}" if str(error) else WRONG
        return EXACT if np.array_equal(decoded, self.picture) and self._symbols_are_right() else WRONG

    def keeping_going(self, data: bytes) -> str:
        """The outcome with keep_going."""
        self._record.symbols.clear()
        sink = ArraySink()
        try:
            decoded = self.codec.decode_rows(data, sink, keep_going=True)
        except NacreError as error:
            return f"{type(error).__name__}" if str(error) else WRONG
        lost_alpha = [int(match[1]) for loss in decoded.losses for match in _ALPHA_LOST.finditer(loss)]
        found = sink.array()
        if found.shape == (HEIGHT, WIDTH, 3) != self.picture.shape and decoded.losses:
            # The minor version, which no CRC covers, says that there is no alpha, and every ALPHA unit is a loss.
            same = np.array_equal(found, self.picture[..., :3]) and self._symbols_are_right()
            return NO_ALPHA if same else WRONG
        if found.shape != self.picture.shape or not self._exact_elsewhere(found, decoded.lost_tiles, lost_alpha):
            return WRONG
        if decoded.losses:
            return f"{PARTLY} ({len(decoded.lost_tiles)} of {len(self._tiles)} tiles lost)"
        return EXACT if np.array_equal(found, self.picture) else WRONG

    def _exact_elsewhere(self, found: NDArray[np.uint8], lost: Iterable[int], lost_alpha: Iterable[int]) -> bool:
        """Whether samples outside the areas of lost tiles, alpha outside their cores, and all symbols are right."""
        wrong = found != self.picture
        for index in lost:
            area = self._tiles[index].area
            wrong[area.y : area.y + area.height, area.x : area.x + area.width, :3] = False
        for index in lost_alpha:
            core = self._tiles[index].core
            wrong[core.y : core.y + core.height, core.x : core.x + core.width, 3:] = False
        return not wrong.any() and self._symbols_are_right()

    def _symbols_are_right(self) -> bool:
        """Whether every tile whose bytes are undamaged gave the symbols that it gives in the undamaged stream."""
        return all(
            self._symbols[code] == found for code, found in self._record.symbols.items() if code in self._symbols
        )


def cases(stream: bytes) -> Iterator[Case]:
    """Every case of damage to a stream."""
    for place, byte in enumerate(stream):
        for change in OTHER_VALUES:
            yield Case("a byte changed", stream[:place] + bytes((byte ^ change,)) + stream[place + 1 :])
    for length in range(len(stream)):
        yield Case("cut", stream[:length])
    for place in range(len(stream)):
        yield Case("a byte missing", stream[:place] + stream[place + 1 :])
        yield Case("a byte too many", stream[:place] + b"\x55" + stream[place:])
    head, parts = split(stream)
    for place, part in enumerate(parts):
        yield Case("a unit dropped", join(head, parts[:place] + parts[place + 1 :]))
        for other in range(len(parts) + 1):
            yield Case("a unit duplicated", join(head, [*parts[:other], part, *parts[other:]]))
    for first, second in combinations(range(len(parts)), 2):
        swapped = list(parts)
        swapped[first], swapped[second] = swapped[second], swapped[first]
        yield Case("two units exchanged", join(head, swapped))
        yield Case("units rotated", join(head, [*parts[:first], *parts[first + 1 : second + 1], parts[first],
                                                *parts[second + 1 :]]))  # fmt: skip
    yield Case("all units reversed", join(head, [parts[0], *parts[:0:-1]]))
    for place, part in enumerate(parts):
        if part.type == UnitType.TILE:
            for offset in range(5, len(part.payload)):
                payload = bytearray(part.payload)
                payload[offset] ^= 0x40
                changed = [*parts[:place], Part(part.type, bytes(payload)), *parts[place + 1 :]]
                yield Case("a tile's code changed under a right CRC", join(head, changed))


def outcomes(bench: Bench, chosen: Iterable[Case]) -> dict[str, tuple[Counter[str], Counter[str]]]:
    """By kind of damage, what comes of it without and with keep_going."""
    found: dict[str, tuple[Counter[str], Counter[str]]] = {}
    for case in chosen:
        strict, keeping = found.setdefault(case.kind, (Counter(), Counter()))
        strict[bench.strict(case.data)] += 1
        keeping[bench.keeping_going(case.data)] += 1
    return found


def table(found: dict[str, tuple[Counter[str], Counter[str]]]) -> str:
    """The outcomes as Markdown."""
    lines = ["| damage | cases | decoded as it is | with keep_going |", "| --- | ---: | --- | --- |"]
    for kind, (strict, keeping) in found.items():
        cells = ["; ".join(f"{count} {name}" for name, count in counter.most_common()) for counter in (strict, keeping)]
        lines.append(f"| {kind} | {strict.total()} | {cells[0]} | {cells[1]} |")
    return "\n".join(lines)


def main() -> int:
    """Print the tables of a stream without and one with alpha; 1 where anything is wrong."""
    wrong = 0
    for alpha in (False, True):
        with installed(ENVIRONMENTS["onnxruntime-1-all"]) as record:
            bench = Bench(record, alpha=alpha)
            found = outcomes(bench, cases(bench.stream))
        form = "RGB and alpha" if alpha else "RGB"
        size = f"{WIDTH} x {HEIGHT} {form}, {len(list(tiles(WIDTH, HEIGHT, TILE, MARGIN)))} tiles"
        sys.stdout.write(f"{size}, {len(bench.stream)} bytes\n\n{table(found)}\n\n")
        wrong += sum(counter[WRONG] for pair in found.values() for counter in pair)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
