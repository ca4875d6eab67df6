"""What comes of damage to a sequence: every byte changed, every cut, bytes and units dropped, repeated and exchanged.

    python tests/sequence_damage.py [N]

prints the table of outcomes, of every Nth case alone where N is given. Every case is decoded twice, as it is and with
keep_going, and every frame that is given is compared with the same frame of the undamaged stream.
"""

from __future__ import annotations

import io
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

import damage
import numpy as np
from conftest import TINY_VIDEO
from golden_sequences import GOLDEN
from sequences import HDR, TRACKS

from nacre.bitstream import FrameUnit, NacreError, PacketUnit, SequenceReader, SequenceWriter, UnitType
from nacre.compensation import Planes
from nacre.tools.mutation import Part, join, split
from nacre.video import VideoDecoder

EXACT = "all frames, unchanged"
PARTLY = "what is lost is named, all other frames exact"
SOME_FIRST = "the first frames, exact, then"
WRONG = "WRONG"
HEAD = 12  # bytes of a frame in front of its code; the symbols' check is not taken over them


class Outcome(NamedTuple):
    """What came of a case, and how many frames were given."""

    text: str
    frames: int


class Bench:
    """The undamaged stream with its frames, and the decoder to judge others by."""

    def __init__(self, threads: int = 1) -> None:
        self.threads = threads
        self.stream = _stream()
        self.frames = {frame.number: frame.planes for frame in self._decoder(self.stream)}

    def strict(self, data: bytes) -> Outcome:
        """What comes of decoding without keep_going: right frames up to an error, or all of them."""
        given = 0
        try:
            for frame in self._decoder(data):
                if not self._right(frame.number, frame.planes):
                    return Outcome(WRONG, given)
                given += 1
        except NacreError as error:
            if not str(error):
                return Outcome(WRONG, given)
            start = f"{SOME_FIRST} " if given else ""
            return Outcome(f"{start}{type(error).__name__}", given)
        return Outcome(EXACT if given == len(self.frames) else WRONG, given)

    def keeping_going(self, data: bytes) -> Outcome:
        """What comes of decoding with keep_going."""
        numbers: list[int] = []
        try:
            decoder = self._decoder(data, keep_going=True)
            for frame in decoder:
                if not self._right(frame.number, frame.planes):
                    return Outcome(WRONG, len(numbers))
                numbers.append(frame.number)
        except NacreError as error:
            return Outcome(type(error).__name__ if str(error) else WRONG, len(numbers))
        if numbers != sorted(set(numbers)):
            return Outcome(WRONG, len(numbers))
        if decoder.losses:
            return Outcome(PARTLY, len(numbers))
        return Outcome(EXACT if len(numbers) == len(self.frames) else WRONG, len(numbers))

    def _decoder(self, data: bytes, *, keep_going: bool = False) -> VideoDecoder:
        return VideoDecoder(data, keep_going=keep_going, weights=TINY_VIDEO, threads=self.threads)

    def _right(self, number: int, planes: Planes) -> bool:
        known = self.frames.get(number)
        return known is not None and all(np.array_equal(a, b) for a, b in zip(planes, known, strict=True))


def _stream() -> bytes:
    """Two GOPs of two frames, packets between them, HDR side data, an index: about 1.6 kB."""
    reader = SequenceReader(io.BytesIO((GOLDEN / "64x64.ncr").read_bytes()))
    file = io.BytesIO()
    with SequenceWriter(file, reader.header, hdr=HDR) as writer:
        writer.track(replace(TRACKS[1], number=0))
        for unit in reader:
            assert isinstance(unit, FrameUnit)
            writer.frame(unit)
            if unit.number % 2:
                writer.packet(PacketUnit(track=0, pts=unit.number, dts=None, duration=1, data=b"text"))
    return file.getvalue()


def cases(stream: bytes) -> Iterator[damage.Case]:
    """Every case of damage to a stream."""
    for case in damage.cases(stream):
        if case.kind != "a tile's code changed under a right CRC":
            yield case
    head, parts = split(stream)
    for place, part in enumerate(parts):
        if part.type in (UnitType.INTRA_FRAME, UnitType.PREDICTED_FRAME):
            for offset in range(HEAD, len(part.payload)):
                payload = bytearray(part.payload)
                payload[offset] ^= 0x40
                changed = [*parts[:place], Part(part.type, bytes(payload)), *parts[place + 1 :]]
                yield damage.Case("a frame's code changed under a right CRC", join(head, changed))


def outcomes(bench: Bench, chosen: Iterable[damage.Case]) -> dict[str, tuple[Counter[str], Counter[str], int]]:
    """By kind of damage, what comes of it without and with keep_going, and the frames that the latter gives."""
    found: dict[str, tuple[Counter[str], Counter[str], int]] = {}
    for case in chosen:
        strict, keeping, frames = found.setdefault(case.kind, (Counter(), Counter(), 0))
        strict[bench.strict(case.data).text] += 1
        outcome = bench.keeping_going(case.data)
        keeping[outcome.text] += 1
        found[case.kind] = strict, keeping, frames + outcome.frames
    return found


def table(bench: Bench, found: dict[str, tuple[Counter[str], Counter[str], int]]) -> str:
    """The outcomes as Markdown."""
    lines = [
        "| damage | cases | decoded as it is | with keep_going | frames given |",
        "| --- | ---: | --- | --- | ---: |",
    ]
    for kind, (strict, keeping, frames) in found.items():
        cells = ["; ".join(f"{count} {name}" for name, count in counter.most_common()) for counter in (strict, keeping)]
        given = frames / strict.total() / len(bench.frames)
        lines.append(f"| {kind} | {strict.total()} | {cells[0]} | {cells[1]} | {given:.1%} |")
    return "\n".join(lines)


def every(step: int, found: Iterable[damage.Case]) -> Iterator[damage.Case]:
    """Of the cases of each kind the first and every step-th behind it."""
    passed: Counter[str] = Counter()
    for case in found:
        if passed[case.kind] % step == 0:
            yield case
        passed[case.kind] += 1


def main() -> int:
    """Print the table; 1 where anything is wrong."""
    bench = Bench()
    found = outcomes(bench, every(int(sys.argv[1]) if len(sys.argv) > 1 else 1, cases(bench.stream)))
    frames = f"{len(bench.frames)} frames in GOPs of 2"
    sys.stdout.write(f"64 x 64, {frames}, {len(bench.stream)} bytes\n\n{table(bench, found)}\n")
    return int(any(strict[WRONG] or keeping[WRONG] for strict, keeping, _ in found.values()))


if __name__ == "__main__":
    sys.exit(main())
