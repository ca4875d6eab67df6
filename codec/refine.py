"""Latents refined for one picture: symbols that cost less, in bits and squared error together, for the same decoder.

The analysis serves all pictures; here its latent is moved for the one at hand. With g the gradient of the distortion by
the decoder's latent y_hat, in bits, and H its curvature, the distortion is least at y_hat - g / H as far as one latent
can tell. All at once would overshoot, so the target of rounding goes a share of the way there, less with every update;
and symbols are cut towards zero by what the smaller one saves in bits, more with every update.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nacre.backend import Graph
from nacre.entropy.network import IndexArray
from nacre.entropy.tables import TOTAL_BITS, TableSet
from nacre.picture import Pixels

Float32Array = NDArray[np.float32]

PATCH = 8  # side of the blocks of pixels that the graph takes as channels

CURVATURE = 20.0
"""Second derivative of the distortion by one latent, in bits: much the same for all channels and qualities, since the
networks' gains make it so (models with uniform steps: 2 * 26 / 3, see nacre.tools.export.rounding_offsets)."""

# Chosen on validation crops.
_FIRST_SHARE = 0.6
_FIRST_STRENGTH, _LAST_STRENGTH = 0.3, 1.0  # how much of what a smaller symbol saves counts
_SHORT_STRENGTH, _STRENGTH_PER_UPDATE = 0.55, 0.05  # the last one, where the updates are few
_NEAREST = 0.5
_RISES = 32  # magnitudes whose prices are looked up; beyond, the last one stands for all


class Coded(NamedTuple):
    """What the context network makes of a target: symbols and y_hat, both (1, C, h, w)."""

    symbols: Float32Array
    y_hat: Float32Array


class Original(NamedTuple):
    """What a tile is compared with: its samples uint8 (1, 192, 2h, 2w), 1 where they count, position (1,) in 0..1."""

    patches: NDArray[np.uint8]
    counted: NDArray[np.uint8]
    position: Float32Array

    @classmethod
    def of(cls, padded: Pixels, height: int, width: int, position: Float32Array) -> Original:
        """Pixels (H, W, 3), sides multiples of 64, of which the first `height` rows and `width` columns count."""
        counted = np.zeros_like(padded)
        counted[:height, :width] = 1
        return cls(_patches(padded), _patches(counted), position)


class SymbolPrices:
    """What symbols cost by their integer tables, read-only."""

    def __init__(self, tables: TableSet) -> None:
        radii = tables.radii[:, np.newaxis]
        self._radii = tables.radii
        self._centres = np.cumsum(2 * tables.radii + 2) - tables.radii - 2
        self._bits = (TOTAL_BITS - np.log2(tables.frequencies)).astype(np.float32)
        magnitudes = np.minimum(
            np.arange(_RISES), np.maximum(radii - 1, 0)
        )  # the last two of a table stand for the rest
        centres = self._centres[:, np.newaxis]
        rises = self._bits[centres + np.minimum(magnitudes + 1, radii)] - self._bits[centres + magnitudes]
        self._rises = np.maximum(rises, 0.0).ravel()

    def total(self, symbols: NDArray[np.int32], index: IndexArray) -> float:
        """Bits of symbols (N,) with the tables index (N,); of an escape, what follows it is not counted."""
        radius = self._radii[index]
        entry = np.where(np.abs(symbols) <= radius, symbols, radius + 1)
        return float(self._bits[self._centres[index] + entry].sum(dtype=np.float64))

    def rises(self, magnitudes: Float32Array, index: IndexArray) -> Float32Array:
        """Bits by which the integer nearest to each magnitude (N,), at least 1, is dearer than the one below it."""
        below = np.clip(np.rint(magnitudes), 1, _RISES).astype(np.int32) - 1
        rises: Float32Array = self._rises[index.astype(np.int32) * _RISES + below]
        return rises


class Refiner:
    """Refines latents with one set of weights. Threads may share it."""

    def __init__(self, graph: Graph, tables: TableSet) -> None:
        self._graph, self._prices = graph, SymbolPrices(tables)

    def refine(
        self,
        y: Float32Array,
        first: Coded,
        coded: NDArray[np.bool_],
        index: IndexArray,
        rounding: Float32Array,
        original: Original,
        run_context: Callable[[Float32Array, Float32Array], Coded],
        updates: int,
        go_on: Callable[[], bool],
    ) -> Coded:
        """The cheapest symbols found with so many updates of the target, at first y (1, C, h, w).

        first: how y is coded without refinement; nothing dearer is given back. coded (C, h, w): where the stream holds
        symbols; index (N,): their tables. rounding: as run_context takes it beside a target, overwritten. go_on: asked
        before every update; False ends the work.
        """
        target = y.copy()
        best = found = first
        least = np.inf
        last_strength = min(_SHORT_STRENGTH + _STRENGTH_PER_UPDATE * updates, _LAST_STRENGTH)
        for update in range(updates + 1):
            gradient, distortion = self._graph.run(
                ["gradient", "distortion"], {"y_hat": found.y_hat, **original._asdict()}
            )
            cost = float(distortion[0]) + self._prices.total(found.symbols[0, coded].astype(np.int32), index)
            if cost < least:
                best, least = found, cost
            if update == updates or not go_on():
                break
            done = (update + 1) / updates
            share = _FIRST_SHARE * (1 - (update + 1) / (updates + 1))
            strength = _FIRST_STRENGTH + (last_strength - _FIRST_STRENGTH) * done
            target += share * (found.y_hat - gradient / CURVATURE - target)
            magnitudes = np.abs(target - found.y_hat + found.symbols)[0, coded]
            rounding[0, coded] = _NEAREST - strength / CURVATURE * self._prices.rises(magnitudes, index)
            found = run_context(target, rounding)
        return best


def _patches(pixels: Pixels) -> NDArray[np.uint8]:
    """Pixels (H, W, 3) as (1, 192, H / 8, W / 8), channels (colour, row, column)."""
    height, width, _ = pixels.shape
    blocks = pixels.reshape(height // PATCH, PATCH, width // PATCH, PATCH, 3).transpose(4, 1, 3, 0, 2)
    return np.ascontiguousarray(blocks).reshape(1, -1, height // PATCH, width // PATCH)
