"""A second decoder of the symbols of sequences, written from bitstream/SPEC.md alone.

It shares no line with the product, and gives the motion field, z and y of every frame. Numbers in brackets name
sections of the specification.

    python tests/second_frames.py STREAM WEIGHTS_FOLDER
"""

from __future__ import annotations

import hashlib
import json
import sys
import zlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from second_motion import Motion, read_motion
from second_network import Integers
from second_parser import RangeDecoder, Weights, read_latent, read_weights, require
from second_sequence_parser import Frame, Header, Sequence, parse


@dataclass(frozen=True)
class SequenceWeights:
    """[12]"""

    profile: str
    digest: bytes
    intra: Weights
    predicted: Weights


@dataclass(frozen=True)
class FrameSymbols:
    """[19]"""

    motion: Motion | None  # none in an intra frame
    z: Integers
    y: Integers

    @property
    def numbers(self) -> Integers:
        """Those of the motion field, in the order of coding."""
        return np.array([] if self.motion is None else self.motion.numbers, np.int64)


@cache
def read_sequence_weights(folder: Path) -> SequenceWeights:
    """[12]"""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    require(manifest["kind"] == "sequence", "no weights of sequences")
    intra, predicted = (read_weights(folder / name) for name in ("intra", "predicted"))
    require(len(predicted.motion_tables) == 88, "bad number of motion tables")
    digest = hashlib.sha256(intra.digest + predicted.digest).digest()[:8]
    return SequenceWeights(manifest["profile"], digest, intra, predicted)


def read_frame_symbols(
    header: Header, frame: Frame, weights: SequenceWeights, before: FrameSymbols | None
) -> FrameSymbols:
    """The symbols of a frame; before: those of the frame before. [19]"""
    decoder, motion = RangeDecoder(frame.code), None
    if frame.key or (before is not None and before.motion is None):
        before = None  # an intra frame looks at nothing and tells nothing
    if not frame.key:
        known = None if before is None else before.motion
        rows, columns = -(-header.height // 64), -(-header.width // 64)
        motion = read_motion(decoder, weights.predicted.motion_tables, rows, columns, known)
    part = weights.intra if frame.key else weights.predicted
    size, live, seen = (header.width, header.height), frame.live_channels, None if before is None else before.y
    z, y = read_latent(decoder, part, size, frame.quality, live, header.skip_threshold, seen)
    decoder.finish()
    check = 0 if motion is None else motion.check()
    for array in (z, y[:live]):
        check = zlib.crc32(array.astype("<i2").tobytes(), check)
    require(check == frame.check, "the frame check does not match")
    return FrameSymbols(motion, z, y)


def decode(stream: bytes, folder: Path) -> tuple[Sequence, list[FrameSymbols]]:
    """A sequence taken apart, and the symbols of its frames."""
    sequence, weights = parse(stream), read_sequence_weights(folder)
    header = sequence.header
    require((header.profile, header.digest) == (weights.profile, weights.digest), "these are not the weights")
    found: list[FrameSymbols] = []
    for frame in sequence.items:
        if isinstance(frame, Frame):
            found.append(read_frame_symbols(header, frame, weights, found[-1] if found else None))
    return sequence, found


def main() -> None:
    for number, symbols in enumerate(decode(Path(sys.argv[1]).read_bytes(), Path(sys.argv[2]))[1]):
        arrays = (symbols.numbers, symbols.z, symbols.y)
        print(number, *(hashlib.sha256(array.astype("<i2").tobytes()).hexdigest() for array in arrays))


if __name__ == "__main__":
    main()
