"""The decoder's fastest way from symbols to pixels: the context step by step, a linear synthesis in 8 bits.

The four places of the 2x2 grid stay apart until they are pixels.
"""

from __future__ import annotations

import numpy as np

from nacre.backend import Graph
from nacre.bitstream.geometry import Y_STEP
from nacre.entropy.latent import TileSymbols
from nacre.fastest import COLOURS
from nacre.latentcoder import position
from nacre.loops import loop, transposed
from nacre.picture import Pixels
from nacre.stepwise import StepwiseContext
from nacre.stopwatch import Stopwatch
from nacre.weights.store import LIGHT_FILES, LIGHT_SYNTHESIS, Weights


class LightPath:
    """Symbols to pixels with one set of weights. Graphs are loaded when first needed; threads may share it."""

    def __init__(self, weights: Weights, context: StepwiseContext, threads: int) -> None:
        self._context = context
        self._synthesis = Graph(weights, LIGHT_SYNTHESIS, threads)
        self.there = set(LIGHT_FILES) <= weights.files.keys()
        """Whether the weights have what it needs."""

    def reconstruct(self, symbols: TileSymbols, height: int, width: int, quality: int, stopwatch: Stopwatch) -> Pixels:
        """The pixels (16 height, 16 width, 3) of symbols; height and width: of the latent's padded grid."""
        z = symbols.z[np.newaxis].astype(np.float32)
        pixels = np.empty((height // 2, 2, Y_STEP, width // 2, 2, Y_STEP * COLOURS), np.uint8)
        with stopwatch.part("entropy networks"):
            rows = _rows(symbols, height, width)
            for row, column, mean in self._context.steps(z):
                loop("add", mean, rows, row, column)
                with stopwatch.part("synthesis"):
                    inputs = {"y_hat": mean.reshape(-1, mean.shape[2]), "position": position(quality)}
                    (patches,) = self._synthesis.run(["patches"], inputs)
                    squares = patches.reshape(height // 2, width // 2, Y_STEP, -1)
                    pixels[:, row, :, :, column] = squares.transpose(0, 2, 1, 3)
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
