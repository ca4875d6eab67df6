"""The decoder's fastest way from symbols to pixels: the context step by step, a linear synthesis in 8 bits.

The four places of the 2x2 grid stay apart until they are pixels.
"""

from __future__ import annotations

import numpy as np

from nacre.backend import Graph
from nacre.bitstream.geometry import Y_STEP
from nacre.entropy.latent import TileSymbols
from nacre.fastest import COLOURS, PLACES, loop, transposed
from nacre.latentcoder import position
from nacre.picture import Pixels
from nacre.stopwatch import Stopwatch
from nacre.weights.store import FIRST_CONTEXT, LIGHT_FILES, LIGHT_SYNTHESIS, NEXT_CONTEXT, Weights


class LightPath:
    """Symbols to pixels with one set of weights. Graphs are loaded when first needed; threads may share it."""

    def __init__(self, weights: Weights, threads: int) -> None:
        self._first_context = Graph(weights, FIRST_CONTEXT, threads)
        self._next_context = Graph(weights, NEXT_CONTEXT, threads)
        self._synthesis = Graph(weights, LIGHT_SYNTHESIS, threads)
        self.there = set(LIGHT_FILES) <= weights.files.keys()
        """Whether the weights have what it needs."""

    def reconstruct(self, symbols: TileSymbols, height: int, width: int, quality: int, stopwatch: Stopwatch) -> Pixels:
        """The pixels (16 height, 16 width, 3) of symbols; height and width: of the latent's padded grid."""
        z = symbols.z[np.newaxis].astype(np.float32)
        pixels = np.empty((height // 2, 2, Y_STEP, width // 2, 2, Y_STEP * COLOURS), np.uint8)
        with stopwatch.part("entropy networks"):
            rows = _rows(symbols, height, width)
            state, mean = self._first_context.run(["state", "mean"], {"z_hat": z})
        for step, (row, column) in enumerate(PLACES, 1):
            with stopwatch.part("entropy networks"):
                loop("add", mean.reshape(height // 2, width // 2, -1), rows, row, column)
            with stopwatch.part("synthesis"):
                inputs = {"y_hat": mean, "position": position(quality)}
                (patches,) = self._synthesis.run(["patches"], inputs)
                squares = patches.reshape(height // 2, width // 2, Y_STEP, -1)
                pixels[:, row, :, :, column] = squares.transpose(0, 2, 1, 3)
            if step < len(PLACES):
                with stopwatch.part("entropy networks"):
                    inputs = {"state": state, "y_hat": mean, "step": np.array(step)}
                    state, mean = self._next_context.run(["next_state", "mean"], inputs)
        return pixels.reshape(height * Y_STEP, width * Y_STEP, COLOURS)


def _rows(symbols: TileSymbols, height: int, width: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int32]]:
    """Rows of channels (height, width, C) of symbols (C, h, w), whose grid may be smaller."""
    channels, rows, columns = symbols.y.shape
    there = transposed(np.ascontiguousarray(symbols.y, np.int32).reshape(channels, -1))
    there = there.reshape(rows, columns, channels)
    if (rows, columns) == (height, width):
        return there
    padded = np.zeros((height, width, channels), np.int32)
    padded[:rows, :columns] = there
    return padded
