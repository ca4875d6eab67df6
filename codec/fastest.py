"""The encoder's fastest way from pixels to symbols: an analysis in 8 bits, a context graph that moves nothing about.

Between the two graphs a latent is rows of channels, (h, w, C), and the four places of the 2x2 grid, which the context
decodes one after the other, are every second row and column of it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nacre.backend import Graph
from nacre.entropy.latent import TileSymbols
from nacre.entropy.network import IndexArray
from nacre.entropy.tables import MAX_SYMBOL
from nacre.latentcoder import NEVER, Float32Array, LatentCoder, position
from nacre.picture import Pixels
from nacre.stopwatch import Stopwatch
from nacre.weights.store import ENCODER_CONTEXT, INT8_ANALYSIS, Weights

_PLACES = tuple(np.s_[row::2, column::2] for row in range(2) for column in range(2))
_SYMBOLS = tuple(f"symbols{place}" for place in range(len(_PLACES)))


class FastestPath:
    """Pixels to symbols with one set of weights. Graphs are loaded when first needed; threads may share it."""

    def __init__(self, weights: Weights, latent: LatentCoder, threads: int) -> None:
        self._latent = latent
        self._analysis = Graph(weights, INT8_ANALYSIS, threads)
        self._context = Graph(weights, ENCODER_CONTEXT, threads)
        self.there = {INT8_ANALYSIS, ENCODER_CONTEXT} <= weights.files.keys()
        """Whether the weights have what it needs."""

    def choose(self, padded: Pixels, grid: tuple[int, int], quality: int, stopwatch: Stopwatch) -> TileSymbols:
        """The symbols of pixels (H, W, 3), sides multiples of 64; y holds none beyond `grid`, its (rows, columns)."""
        with stopwatch.part("analysis"):
            y, z = self._analysis.run(["y", "z"], {"image": padded[np.newaxis], "position": position(quality)})
        with stopwatch.part("entropy networks"):
            z_symbols = z[0].astype(np.int32)
            index = self._latent.scale(z_symbols, self._latent.row(quality))
            thresholds = self._thresholds(index, self._latent.live_channels(quality), grid)
            return TileSymbols(z_symbols, self._symbols(y[0], z, thresholds), index)

    def _thresholds(self, index: IndexArray, live: int, grid: tuple[int, int]) -> NDArray[np.uint8]:
        """For each symbol the index of its threshold, (h, w, C)."""
        channels, height, width = index.shape
        rows = np.ascontiguousarray(index.reshape(channels, -1).T).reshape(height, width, channels)
        for beyond in (np.s_[..., live:], np.s_[grid[0] :], np.s_[:, grid[1] :]):
            rows[beyond] = NEVER
        return rows

    def _symbols(self, y: Float32Array, z: Float32Array, thresholds: NDArray[np.uint8]) -> NDArray[np.int16]:
        """Symbols (C, h, w) of a latent y (h, w, C)."""
        height, width, channels = y.shape
        inputs = {"z_hat": z}
        for place, quarter in enumerate(_PLACES):
            inputs[f"target{place}"] = y[quarter].reshape(-1, channels)
            indices = thresholds[quarter].reshape(-1, channels)
            inputs[f"threshold{place}"] = self._latent.thresholds.take(indices, mode="clip")
        rows = np.empty(y.shape, np.int16)
        for quarter, symbols in zip(_PLACES, self._context.run(_SYMBOLS, inputs), strict=True):
            np.clip(symbols, -MAX_SYMBOL, MAX_SYMBOL, out=symbols)
            rows[quarter] = symbols.reshape(height // 2, width // 2, channels)
        return np.ascontiguousarray(rows.reshape(-1, channels).T).reshape(channels, height, width)
