"""The encoder's fastest way from pixels to symbols: a linear analysis in 8 bits, a context that runs step by step.

    pixels -> patches -> analysis -> y -> levels -> hyper-analysis -> z -> scale network -> index
    z -> mean of the first places -> symbols, y_hat -> mean of the next places -> ... four times

A latent is rows of channels, (h, w, C), throughout; the four places of the 2x2 grid, which the context decodes one
after the other, are every second row and column of it. Between the graphs compiled loops are at work, once a process
has coded so much that compiling them pays, and NumPy before that, with the same result.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nacre.backend import Graph
from nacre.bitstream.geometry import Y_STEP, padded_size
from nacre.entropy.latent import TileSymbols
from nacre.entropy.network import IndexArray
from nacre.entropy.tables import MAX_SYMBOL
from nacre.latent_arrays import level_table
from nacre.latentcoder import Float32Array, LatentCoder, position
from nacre.loops import loop, transposed
from nacre.picture import Pixels
from nacre.stepwise import StepwiseContext
from nacre.stopwatch import Stopwatch
from nacre.weights.store import FASTEST_FILES, INT8_ANALYSIS, INT8_HYPER_ANALYSIS, Weights

_LARGEST = np.float32(MAX_SYMBOL)
COLOURS = 3


class FastestPath:
    """Pixels to symbols with one set of weights. Graphs are loaded when first needed; threads may share it."""

    def __init__(self, weights: Weights, latent: LatentCoder, context: StepwiseContext, threads: int) -> None:
        self._latent, self._context = latent, context
        self._analysis = Graph(weights, INT8_ANALYSIS, threads)
        self._hyper_analysis = Graph(weights, INT8_HYPER_ANALYSIS, threads)
        self.there = set(FASTEST_FILES) <= weights.files.keys()
        """Whether the weights have what it needs."""

    def choose(self, pixels: Pixels, grid: tuple[int, int], quality: int, stopwatch: Stopwatch) -> TileSymbols:
        """The symbols of pixels (H, W, 3), or (H, W) for grey; y holds none beyond `grid`, its (rows, columns)."""
        width, height = (side // Y_STEP for side in padded_size(*pixels.shape[1::-1]))
        with stopwatch.part("colour"):
            patches = np.empty((height * width, COLOURS * Y_STEP**2), np.uint8)
            coloured = pixels if pixels.ndim > 2 else np.repeat(pixels[..., np.newaxis], COLOURS, 2)
            loop("patches", np.ascontiguousarray(coloured), patches.reshape(height, width, Y_STEP, -1))
        with stopwatch.part("analysis"):
            (y,) = self._analysis.run(["y"], {"patches": patches, "position": position(quality)})
            levels = np.empty((1, height, width, y.shape[1]), np.uint8)
            loop("levels", y.reshape(-1).view(np.uint32), level_table(), levels.reshape(-1))
            (z,) = self._hyper_analysis.run(["z"], {"levels": levels})
        with stopwatch.part("entropy networks"):
            z_symbols = z[0].astype(np.int32)
            index = self._latent.scale(z_symbols, self._latent.row(quality))
            live = self._latent.live_channels(quality)
            rows = transposed(index.reshape(len(index), -1)).reshape(height, width, -1)
            symbols = self._symbols(y.reshape(rows.shape), z, rows, live, grid)
            channels_first = transposed(symbols.reshape(-1, len(index))).reshape(index.shape)
            return TileSymbols(z_symbols, channels_first, index)

    def _symbols(
        self, y: Float32Array, z: Float32Array, index: IndexArray, live: int, grid: tuple[int, int]
    ) -> NDArray[np.int16]:
        """Symbols (h, w, C) of a latent y, index likewise."""
        symbols = np.empty(y.shape, np.int16)
        for row, column, mean in self._context.steps(z):
            loop("choose", mean, y, index, row, column, *grid, live, self._latent.thresholds, _LARGEST, symbols)
        return symbols
