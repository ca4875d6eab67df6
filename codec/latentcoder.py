"""A set of weights' entropy model at work: tables, scale network, context graph, the encoder's rounding.

Tiles and frames share it. What is coded hangs on integers alone: hyper-latent, scale network, tables. The context graph
is float and runs behind the parsing.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from nacre.backend import Graph, scale_executor
from nacre.bitstream.errors import WeightsError
from nacre.bitstream.header import MAX_QUALITY
from nacre.entropy.coder import SymbolDecoder, SymbolEncoder
from nacre.entropy.latent import TileSymbols, decode_latent, encode_latent
from nacre.entropy.network import IndexArray, IntegerNetwork
from nacre.entropy.scales import SCALE_LEVELS
from nacre.entropy.tables import IntArray, TableSet
from nacre.weights.store import Weights

Float32Array = NDArray[np.float32]
Conditions = Mapping[str, NDArray[np.uint8]]
"""Further inputs of the context graph, those of a predicted frame."""

NEAREST = 0.5  # rounding offset of the decoder's symbols, integers already
NOT_CODED = -1e9  # rounding offset that makes every symbol zero


class LatentCoder:
    """Latents to symbols to bytes, and back, with one set of weights. Threads may share it.

    Qualities are in the stream's steps, 0..25600. Raises WeightsError where the weights' parts do not fit each other,
    BackendError where ONNX Runtime fails.
    """

    def __init__(self, weights: Weights, threads: int) -> None:
        self.weights = weights
        arrays = weights.arrays("entropy.npz")
        self._network = IntegerNetwork.from_arrays(part(arrays, "scale."))
        self.y_tables = TableSet.from_arrays(part(arrays, "y."))
        self.z_tables = TableSet.from_arrays(part(arrays, "z."))
        self._check_parts()
        self._offsets = np.array(weights.rounding_offsets, np.float32)
        self._offsets[: weights.skip_threshold] = NOT_CODED
        self.thresholds = NEAREST - self._offsets
        """By scale index: how far a residual is moved towards 0, at most to it, before it is rounded."""
        self.scale = scale_executor(weights, self._network, threads)
        self._context = Graph(weights, "context.onnx", threads)

    def row(self, quality: int) -> int:
        """The entropy row of a quality."""
        return (quality * (self.weights.rows - 1) + MAX_QUALITY // 2) // MAX_QUALITY

    def live_channels(self, quality: int) -> int:
        """The latent channels that the encoder codes at a quality."""
        return self.weights.live_channels[self.row(quality)]

    def rounding(self, index: IndexArray, live: int, rows: int, columns: int) -> Float32Array:
        """What the context graph adds to magnitudes before it cuts them to integers, the encoder's choice.

        For index (C, h, w) of a latent (1, C, h, w); NOT_CODED where the stream holds no symbol: in channels from
        `live` on and in places from `rows` and `columns` on.
        """
        rounding = self._offsets.take(index[np.newaxis], mode="clip")
        for beyond in (np.s_[:, live:], np.s_[:, :, rows:], np.s_[..., columns:]):
            rounding[beyond] = NOT_CODED
        return rounding

    def choose(
        self,
        outputs: list[str],
        y: Float32Array,
        z: Float32Array,
        rounding: Float32Array,
        conditions: Conditions | None = None,
    ) -> list[Float32Array]:
        """Outputs of the context graph, `symbols` and `y_hat` (1, C, h, w), for a latent y (1, C, h, w) to encode."""
        return self._run(outputs, y, z, rounding, conditions, encoding=True)

    def latent(
        self, symbols: TileSymbols, height: int, width: int, conditions: Conditions | None = None
    ) -> Float32Array:
        """The latent y_hat (1, C, height, width) of decoded symbols, whose grid may be smaller."""
        shape = (1, self.weights.latent_channels, height, width)
        rows, columns = symbols.y.shape[1:]
        target = np.zeros(shape, np.float32)
        target[0, :, :rows, :columns] = symbols.y
        nearest = np.full(shape, NEAREST, np.float32)
        z = symbols.z[np.newaxis].astype(np.float32)
        (y_hat,) = self._run(["y_hat"], target, z, nearest, conditions, encoding=False)
        return y_hat

    def encode(
        self, encoder: SymbolEncoder, z: IntArray, y: IntArray, index: IndexArray, quality: int, live: int
    ) -> None:
        """Code z (Cz, hz, wz) and y (Cy, hy, wy) with the scale indices of y; raises as `encode_latent`."""
        skip = self.weights.skip_threshold
        encode_latent(encoder, z, y, index, self.row(quality), self.z_tables, self.y_tables, live, skip)

    def decode(
        self,
        decoder: SymbolDecoder,
        z_grid: tuple[int, int],
        y_grid: tuple[int, int],
        quality: int,
        live: int,
        skip: int,
        before: IntArray | None = None,
    ) -> TileSymbols:
        """The symbols of grids (h, w); before and errors as `decode_latent`."""
        z_shape, y_shape = (self.weights.hyper_channels, *z_grid), (self.weights.latent_channels, *y_grid)
        row = self.row(quality)
        return decode_latent(
            decoder, z_shape, y_shape, row, self.z_tables, self.y_tables, self.scale, live, skip, before
        )

    def _run(
        self,
        outputs: list[str],
        target: Float32Array,
        z_hat: Float32Array,
        rounding: Float32Array,
        conditions: Conditions | None,
        *,
        encoding: bool,
    ) -> list[Float32Array]:
        flag = np.array([encoding], np.float32)
        inputs = {"target": target, "z_hat": z_hat, "rounding": rounding, "encoding": flag}
        return self._context.run(outputs, inputs | dict(conditions or {}))

    def _check_parts(self) -> None:
        """Raise WeightsError unless tables and scale network are those of the manifest's configuration."""
        weights, network = self.weights, self._network
        expected = (
            weights.hyper_channels,
            weights.latent_channels,
            SCALE_LEVELS,
            weights.rows * weights.hyper_channels,
        )
        found = (network.in_channels, network.out_channels, len(self.y_tables), len(self.z_tables))
        if found != expected or network.rows not in (1, weights.rows):
            msg = (
                f"weights '{weights.profile}': channels in and out of the scale network and numbers of tables are"
                f" {found}, must be {expected}; its rows are {network.rows}, must be {weights.rows}"
            )
            raise WeightsError(msg)


def part(arrays: Mapping[str, NDArray[np.generic]], prefix: str) -> dict[str, NDArray[np.generic]]:
    """The arrays whose names have a prefix, without it."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def position(quality: int) -> Float32Array:
    """The networks' quality input, (1,) in 0..1."""
    return np.array([quality / MAX_QUALITY], np.float32)
