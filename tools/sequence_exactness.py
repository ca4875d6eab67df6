"""Exactness of sequences over environments: the same symbols in each, and how far samples drift apart.

    python -m nacre.tools.sequence_exactness CLIP... --weights FOLDER [--frames 33] [--quality 40 --quality 80]

codes the first frames of clips as one GOP, as they always are, and reads every stream in every environment. Prints a
table: symbols (motion, z, y and scale indices) of how many frames differ from the first environment's, which must be
none, and how samples differ, in all frames and in the last ones, to which float differences have drifted through all
frames before. Returns 1 where symbols differ.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nacre.bitstream.errors import InputError, NacreError
from nacre.compensation import Planes
from nacre.tools.environments import ENVIRONMENTS, Environment, installed
from nacre.video import VideoDecoder, VideoEncoder

NAMES = tuple(name for name in ENVIRONMENTS if name != "pytorch")
"""The environments that sequences can be read in; the first is what the others are compared with."""


class Reading(NamedTuple):
    """What an environment makes of a stream. symbols: digests of frames by the digests of their bytes."""

    symbols: Mapping[str, str]
    frames: list[NDArray[np.uint8]]


class Difference(NamedTuple):
    """How samples differ from those of the first environment: the largest difference, and the share that is equal."""

    largest: int
    equal: float


class Outcome(NamedTuple):
    """An environment against the first one. calls: of scale executor and compensation; last: of the last frames."""

    name: str
    frames: int
    calls: tuple[int, int]
    mismatches: int
    every: Difference
    last: Difference


def make(frames: Sequence[Planes], weights: Path, quality: float, profile: str | None = None) -> bytes:
    """The stream of a clip's frames, one GOP."""
    height, width = frames[0].luma.shape
    file = io.BytesIO()
    with VideoEncoder(
        file, width, height, Fraction(25), quality=quality, gop=len(frames), scene_cut=False, weights=weights,
        profile=profile, threads=1,
    ) as encoder:  # fmt: skip
        for frame in frames:
            encoder.write(frame)
    return file.getvalue()


def read(streams: Sequence[bytes], weights: Path, environment: Environment) -> tuple[list[Reading], tuple[int, int]]:
    """Every stream read in an environment, and the calls of its scale executor and of its compensation.

    Raises InputError where one of them did not run for every frame: such a row would prove nothing.
    """
    readings = []
    predicted = 0
    with installed(environment) as record:
        for data in streams:
            record.symbols.clear()
            with VideoDecoder(data, weights=weights, threads=environment.threads) as decoder:
                frames = list(decoder)
            decoded = [np.concatenate([plane.ravel() for plane in frame.planes]) for frame in frames]
            predicted += sum(not frame.key for frame in frames)
            readings.append(Reading(dict(record.symbols), decoded))
        names = f"{environment.scale}:scale", f"{environment.compensation}:compensation"
        calls = record.calls[names[0]], record.calls[names[1]]
    least = sum(len(reading.frames) for reading in readings), predicted
    if calls[0] < least[0] or calls[1] < least[1]:
        msg = f"{environment.name}: {' and '.join(names)} were called {calls} times, must be at least {least}"
        raise InputError(msg)
    return readings, calls


def compare(streams: Sequence[bytes], weights: Path, names: Sequence[str] = NAMES) -> list[Outcome]:
    """The outcome of every environment, the first of them what they are compared with."""
    outcomes = []
    expected: list[Reading] = []
    for name in names:
        found, calls = read(streams, weights, ENVIRONMENTS[name])
        expected = expected or found
        mismatches = sum(
            len(right.symbols.items() - given.symbols.items()) for right, given in zip(expected, found, strict=True)
        )
        every, last = (
            _difference(
                [frame for reading in found for frame in reading.frames[part]],
                [frame for reading in expected for frame in reading.frames[part]],
            )
            for part in (slice(None), slice(-1, None))
        )
        frames = sum(len(reading.frames) for reading in found)
        outcomes.append(Outcome(name, frames, calls, mismatches, every, last))
    return outcomes


def table(outcomes: Sequence[Outcome]) -> str:
    """The outcomes as Markdown."""
    head = (
        "environment", "frames read", "calls of its scale executor", "of its compensation", "frames of other symbols",
        "largest difference", "share equal", "largest in the last frame", "share equal there",
    )  # fmt: skip
    lines = [f"| {' | '.join(head)} |", "| --- |" + " ---: |" * (len(head) - 1)]
    lines += [
        f"| {name} | {frames} | {calls[0]} | {calls[1]} | {mismatches} | {every.largest} | {every.equal:.6f} |"
        f" {last.largest} | {last.equal:.6f} |"
        for name, frames, calls, mismatches, every, last in outcomes
    ]
    return "\n".join(lines)


def _difference(found: Sequence[NDArray[np.uint8]], expected: Sequence[NDArray[np.uint8]]) -> Difference:
    a, b = np.concatenate(found).astype(np.int16), np.concatenate(expected)
    difference = np.abs(a - b)
    return Difference(int(difference.max()), 1 - np.count_nonzero(difference) / difference.size)


def _frames(path: Path, count: int) -> list[Planes]:
    from nacre.clip import Frame
    from nacre.clipread import open_clip

    with open_clip(path) as clip:
        return [item.planes for item in islice((item for item in clip if isinstance(item, Frame)), count)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m nacre.tools.sequence_exactness", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument("--weights", type=Path, required=True, help="folder of weights of sequences")
    parser.add_argument("--frames", type=int, default=33, help="of each clip, default 33")
    parser.add_argument("--quality", type=float, action="append", help="repeatable, default 40 and 80")
    parser.add_argument("--environment", choices=NAMES, action="append", help="repeatable, default all")
    options = parser.parse_args(arguments)
    try:
        clips = [_frames(path, options.frames) for path in options.clips]
        streams = [make(clip, options.weights, q) for clip in clips for q in options.quality or (40.0, 80.0)]
        outcomes = compare(streams, options.weights, options.environment or NAMES)
    except NacreError as error:
        print(f"sequence_exactness: error: {error}", file=sys.stderr)
        return 1
    print(table(outcomes))
    return int(any(outcome.mismatches for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
