"""One tile: pixels to symbols to bytes, and back. The only module where networks and entropy coding meet.

                 +----------+   y    +---------+  symbols  +-------------+
    pixels ----->| analysis |------->| context |---------->|             |
                 |          |   z    +---------+           | range coder |--> bytes, check of the symbols
                 |          |---+--------- ^ ------------->|             |
                 +----------+   v          | rounding      +-------------+
                          scale network ---+---- index of every symbol's table --^

Decoding reads z, runs the scale network, reads the symbols, and only then turns to floating point: context, synthesis.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from nacre.backend import Graph
from nacre.bitstream.errors import ChecksumError, WeightsError
from nacre.bitstream.geometry import padded_size, y_grid, z_grid
from nacre.effort import DEFAULT_EFFORT, MIN_EFFORT, Effort
from nacre.entropy.latent import TileSymbols, decode_tile, encode_tile, symbols_check
from nacre.entropy.network import IndexArray, PriorArray
from nacre.entropy.tables import MAX_SYMBOL, IntArray
from nacre.fastest import FastestPath
from nacre.latentcoder import NOT_CODED, Float32Array, LatentCoder, position
from nacre.lightpath import LightPath
from nacre.padding import pad
from nacre.picture import Pixels
from nacre.refine import Coded, Original, Refiner
from nacre.stepwise import StepwiseContext
from nacre.stopwatch import Stopwatch
from nacre.weights.store import (
    ANALYSIS,
    HEAVY_ANALYSIS,
    REFINEMENT,
    SYNTHESIS,
    Weights,
)


class TileCoding(NamedTuple):
    """How one tile is coded: its area in pixels, quality in steps, live channels, skip threshold."""

    width: int
    height: int
    quality: int
    live: int
    skip: int


class TileCoder:
    """Encodes and decodes tiles with one set of weights. Graphs are loaded when first needed; threads may share it.

    Qualities are in the stream's steps, 0..25600. Raises WeightsError where the weights' parts do not fit each other,
    BackendError where ONNX Runtime fails.
    """

    def __init__(self, weights: Weights, threads: int) -> None:
        self.weights = weights
        self._latent = LatentCoder(weights, threads)
        self._analysis = Graph(weights, _first(weights, HEAVY_ANALYSIS, ANALYSIS), threads)
        context = StepwiseContext(weights, threads)
        self._fastest = FastestPath(weights, self._latent, context, threads)
        self._synthesis = Graph(weights, SYNTHESIS, threads)
        self._light = LightPath(weights, context, threads)
        self.has_light_synthesis = self._light.there
        """Whether `reconstruct` may be asked for the light synthesis."""
        self._refiner = Refiner(Graph(weights, REFINEMENT, threads), self._latent.y_tables)

    def check_effort(self, effort: Effort) -> None:
        """Raise WeightsError where the weights lack what an effort needs."""
        if effort.updates and REFINEMENT not in self.weights.files:
            msg = (
                f"effort is {effort.level}, must be {MIN_EFFORT}..{DEFAULT_EFFORT.level} with the weights"
                f" '{self.weights.profile}' in {self.weights.folder}, which have no {REFINEMENT}"
            )
            raise WeightsError(msg)

    def row(self, quality: int) -> int:
        """The entropy row of a quality."""
        return self._latent.row(quality)

    def live_channels(self, quality: int) -> int:
        """The latent channels that the encoder codes at a quality."""
        return self._latent.live_channels(quality)

    def encode(
        self,
        pixels: Pixels,
        quality: int,
        stopwatch: Stopwatch,
        effort: Effort = DEFAULT_EFFORT,
        go_on: Callable[[], bool] = lambda: True,
    ) -> tuple[bytes, int]:
        """The range coder's bytes and the symbols check of pixels (H, W, 3), or (H, W) for grey.

        go_on: asked between refinements; False ends them.
        """
        chosen, _ = self._choose(pixels, quality, stopwatch, effort, go_on, ["symbols"])
        return self._code(chosen, quality, y_grid(*pixels.shape[1::-1]), stopwatch)

    def encode_and_reconstruct(
        self,
        pixels: Pixels,
        quality: int,
        stopwatch: Stopwatch,
        effort: Effort = DEFAULT_EFFORT,
        go_on: Callable[[], bool] = lambda: True,
    ) -> tuple[bytes, int, Pixels]:
        """As `encode`, and the pixels (H, W, 3) that a decoder makes of it."""
        height, width = pixels.shape[:2]
        chosen, (y_hat,) = self._choose(pixels, quality, stopwatch, effort, go_on, ["symbols", "y_hat"])
        payload, check = self._code(chosen, quality, y_grid(width, height), stopwatch)
        return payload, check, self._synthesize(y_hat, quality, height, width, stopwatch)

    def _choose(
        self,
        pixels: Pixels,
        quality: int,
        stopwatch: Stopwatch,
        effort: Effort,
        go_on: Callable[[], bool],
        outputs: list[str],
    ) -> tuple[TileSymbols, list[Float32Array]]:
        """What is coded of pixels, and the outputs of the context graph behind the first, which is `symbols`."""
        height, width = pixels.shape[:2]
        latent, grid = self._latent, y_grid(width, height)
        if effort.fastest and self._fastest.there:
            chosen = self._fastest.choose(pixels, grid, quality, stopwatch)
            with stopwatch.part("entropy networks"):
                return chosen, [latent.latent(chosen, *y_grid(*padded_size(width, height))) for _ in outputs[1:]]
        with stopwatch.part("colour"):
            padded = pad(pixels)
        with stopwatch.part("analysis"):
            y, z = self._analysis.run(["y", "z"], {"image": padded[np.newaxis], "position": position(quality)})
        with stopwatch.part("entropy networks"):
            z_symbols = z[0].astype(np.int32)
            index = latent.scale(z_symbols, latent.row(quality))
            rounding = latent.rounding(index, latent.live_channels(quality), *grid)
            if not effort.updates:
                symbols, *others = latent.choose(outputs, y, z, rounding)
        if effort.updates:
            with stopwatch.part("refinement"):
                original = Original.of(padded, height, width, position(quality))
                symbols, *others = self._refine(y, z, index, rounding, original, effort.updates, go_on)
        np.clip(symbols, -MAX_SYMBOL, MAX_SYMBOL, out=symbols)
        return TileSymbols(z_symbols, symbols[0].astype(np.int16), index), others

    def _code(
        self, chosen: TileSymbols, quality: int, grid: tuple[int, int], stopwatch: Stopwatch
    ) -> tuple[bytes, int]:
        """The range coder's bytes of symbols, which are 0 beyond `grid`, and their check."""
        latent, live = self._latent, self.live_channels(quality)
        tables, coded = (latent.z_tables, latent.y_tables), np.s_[:, : grid[0], : grid[1]]
        y, index = chosen.y[coded], chosen.scale_index[coded]
        with stopwatch.part("coder"):
            data = encode_tile(chosen.z, y, index, latent.row(quality), *tables, live, self.weights.skip_threshold)
            return data, symbols_check(chosen.z, y[:live])

    def _refine(
        self,
        y: Float32Array,
        z: Float32Array,
        index: IndexArray,
        rounding: Float32Array,
        original: Original,
        updates: int,
        go_on: Callable[[], bool],
    ) -> Coded:
        """The context graph's outputs for y (1, C, h, w), refined."""

        def run_context(target: Float32Array, rounding: Float32Array) -> Coded:
            return Coded(*self._latent.choose(["symbols", "y_hat"], target, z, rounding))

        coded = rounding[0] > NOT_CODED
        first = run_context(y, rounding)
        return self._refiner.refine(y, first, coded, index[coded], rounding, original, run_context, updates, go_on)

    def decode_symbols(self, data: bytes, check: int, coding: TileCoding, stopwatch: Stopwatch) -> TileSymbols:
        """The symbols of a tile, in integers alone.

        Raises FormatError where the bytes are no code of symbols, ChecksumError where the symbols are not those that
        were encoded.
        """

        latent = self._latent

        def scale(z: IntArray, row: int, before: PriorArray | None = None) -> IndexArray:
            with stopwatch.part("entropy networks"):
                return latent.scale(z, row, before)

        with stopwatch.part("coder"):
            symbols = decode_tile(
                data,
                (self.weights.hyper_channels, *z_grid(coding.width, coding.height)),
                (self.weights.latent_channels, *y_grid(coding.width, coding.height)),
                latent.row(coding.quality),
                latent.z_tables,
                latent.y_tables,
                scale,
                coding.live,
                coding.skip,
            )
            found = symbols_check(symbols.z, symbols.y[: coding.live])
        if found != check:
            msg = f"the check of the symbols is 0x{found:08X}, the stream says 0x{check:08X}"
            raise ChecksumError(msg)
        return symbols

    def reconstruct(
        self, symbols: TileSymbols, coding: TileCoding, stopwatch: Stopwatch, *, light: bool = False
    ) -> Pixels:
        """The pixels (height, width, 3) of decoded symbols, a view into a padded array; or by the light synthesis."""
        padded = y_grid(*padded_size(coding.width, coding.height))
        if light:
            pixels = self._light.reconstruct(symbols, *padded, coding.quality, stopwatch)
            return pixels[: coding.height, : coding.width]
        with stopwatch.part("entropy networks"):
            y_hat = self._latent.latent(symbols, *padded)
        return self._synthesize(y_hat, coding.quality, coding.height, coding.width, stopwatch)

    def _synthesize(
        self,
        y_hat: Float32Array,
        quality: int,
        height: int,
        width: int,
        stopwatch: Stopwatch,
    ) -> Pixels:
        with stopwatch.part("synthesis"):
            (image,) = self._synthesis.run(["image"], {"y_hat": y_hat, "position": position(quality)})
        pixels: Pixels = image[0, :height, :width]
        return pixels


def to_grey(pixels: Pixels) -> Pixels:
    """The mean (H, W) of three channels (H, W, 3), rounded; a third of an integer is never half-way."""
    red, green, blue = (pixels[..., channel] for channel in range(3))
    grey: Pixels = ((red.astype(np.uint16) + green + blue + 1) // 3).astype(np.uint8)
    return grey


def _first(weights: Weights, *names: str) -> str:
    """The first of several files that the weights have; the last one is always there."""
    return next((name for name in names if name in weights.files), names[-1])
