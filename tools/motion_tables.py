"""Counts the symbols of motion fields on training shots and makes the tables that code them.

    python -m nacre.tools.motion_tables --data FOLDER --out motion.npz

Fields are searched as an encoder does, on references that H.264 has coded at several qualities, with the weight of
bits that goes with each. A bit at a low quality, of which there are few, counts for more than one at a high quality:
what counts is the share of a frame's bits.
"""

from __future__ import annotations

import argparse
import io
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from nacre.entropy.motion import MOTION_TABLES, MotionSymbols, walk
from nacre.entropy.tables import IntArray, TableSet, quantize_pmf
from nacre.motion_field import to_symbols
from nacre.motion_search import search
from nacre.tools.shots import Shot, training_shots
from nacre.tools.yuv import Frames

RATES = ((20, 24.0), (26, 80.0), (32, 300.0), (38, 1000.0))
"""CRF of the reference, and what a bit may cost of the squared differences."""
SHARE = 0.65  # exponent of the latter that frames' bits go down with, about, on validation shots
FRAMES = 8  # of each shot
MAX_DIFFERENCE = 1024
MAX_RADIUS = 32
PRIOR = 0.5  # counts added to every symbol that a table holds
TAIL = 2.0**-7  # share of a table's symbols that may be left to the escape


class Counts:
    """How often each symbol occurred with each table, weighted: float64 (88, 2049), symbols -1024..1024."""

    def __init__(self) -> None:
        self.values = np.zeros((MOTION_TABLES, 2 * MAX_DIFFERENCE + 1))

    def add(self, symbols: MotionSymbols, previous: MotionSymbols | None, weight: float = 1.0) -> None:
        """Counts one frame's symbols, each `weight` times."""

        def exchange(values: IntArray | None, index: IntArray) -> IntArray:
            assert values is not None
            np.add.at(self.values, (index, values + MAX_DIFFERENCE), weight)
            return values

        walk(exchange, symbols.splits[0].shape, symbols, previous)

    def tables(self) -> TableSet:
        """The tables: each as wide as its symbols ask for, all symbols within possible."""
        return TableSet.stack([_table(counts) for counts in self.values])


def _table(counts: NDArray[np.float64]) -> NDArray[np.int64]:
    """Frequencies of one table (2R + 2,), with the smallest radius that leaves out less than TAIL."""
    centre = len(counts) // 2
    outside = counts.sum() - np.array([counts[centre - r : centre + r + 1].sum() for r in range(MAX_RADIUS + 1)])
    narrow = np.flatnonzero(outside <= TAIL * counts.sum())
    radius = max(1, int(narrow[0]) if narrow.size else MAX_RADIUS)
    kept = counts[centre - radius : centre + radius + 1] + PRIOR
    return quantize_pmf(np.append(kept, outside[radius] + PRIOR))


def fields(shots: Iterable[Shot], frames: int = FRAMES) -> Iterator[tuple[NDArray[np.int16], bool, float]]:
    """Motion fields of successive frames, each with whether it follows the one before, and what it counts."""
    for shot, (crf, lmbda) in itertools.product(shots, RATES):
        start = (len(shot.frames) - frames) // 2
        found = None
        luma = shot.luma[start : start + frames]
        for reference, current in zip(coded(shot.frames[start : start + frames], crf), luma[1:], strict=False):
            follows = found is not None
            found = search(reference, current, lmbda, found)
            yield found, follows, (lmbda / RATES[0][1]) ** SHARE


def coded(frames: Frames, crf: int) -> Frames:
    """The luma planes (F, H, W) of frames (F, 3 H / 2, W) after libx264 at a constant quality, without B frames."""
    height, width = frames.shape[1] * 2 // 3, frames.shape[2]
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"crf": str(crf), "preset": "veryfast", "tune": "zerolatency", "x264-params": "threads=1"}
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="yuv420p")))
        container.mux(stream.encode())
    file.seek(0)
    with av.open(file, "r") as container:
        decoded: list[Any] = [frame.to_ndarray(format="yuv420p") for frame in container.decode(video=0)]
    return np.stack(decoded)[:, :height]


def count(found: Iterable[tuple[NDArray[np.int16], bool, float]]) -> Counts:
    """Counts over fields as `fields` gives them."""
    counts = Counts()
    previous = None
    for field, follows, weight in found:
        symbols = to_symbols(field)
        counts.add(symbols, previous if follows else None, weight)
        previous = symbols
    return counts


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of tar shards of shots with manifest.csv")
    parser.add_argument("--out", type=Path, required=True, help="the .npz file to write")
    options = parser.parse_args(arguments)
    tables = count(fields(training_shots(options.data))).tables()
    np.savez_compressed(options.out, **{f"m.{name}": array for name, array in tables.to_arrays().items()})
    size = options.out.stat().st_size
    print(f"{options.out}: {len(tables)} tables, {len(tables.frequencies)} frequencies, {size} bytes")


if __name__ == "__main__":
    main()
