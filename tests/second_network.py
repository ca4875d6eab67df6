"""The integer scale network of the second parsers, written from bitstream/SPEC.md alone, section 11.

It shares no line with the product. Arrays are int64 of shape (channels, rows, columns).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Integers: TypeAlias = npt.NDArray[np.int64]
MAX_SEEN = 15


@dataclass(frozen=True)
class Layer:
    """Input to output of one layer; its five numbers and arrays are named as in the specification."""

    taps: int
    upsample: int
    low: int
    high: int
    weight: Integers
    bias: Integers
    shift: Integers

    def __call__(self, values: Integers, row: int) -> Integers:
        _, height, width = values.shape
        if self.taps == 9:
            around = np.pad(values, ((0, 0), (1, 1), (1, 1)))
            shifted = [around[:, dy : dy + height, dx : dx + width] for dy in range(3) for dx in range(3)]
            values = np.concatenate(shifted)
        sums = self.bias[row if len(self.bias) > 1 else 0][:, None] + self.weight @ values.reshape(len(values), -1)
        sums += ((np.int64(1) << self.shift) >> 1)[:, None]
        out: Integers = np.clip(sums >> self.shift[:, None], self.low, self.high).reshape(-1, height, width)
        if not self.upsample:
            return out
        blocks = out.reshape(-1, 2, 2, height, width)  # c, dy, dx, y, x
        return blocks.transpose(0, 3, 1, 4, 2).reshape(len(blocks), 2 * height, 2 * width)


@dataclass(frozen=True)
class Network:
    """z and the row to scale indices; one with a prior sees y of the frame before, if there is such a frame."""

    layers: list[Layer]
    prior: Layer | None

    @property
    def z_channels(self) -> int:
        return self.layers[0].weight.shape[1] // self.layers[0].taps

    @property
    def y_channels(self) -> int:
        return len(self.layers[-1].shift) // (4 if self.layers[-1].upsample else 1)

    def __call__(self, z: Integers, row: int, before: Integers | None) -> Integers:
        values = z
        for layer in self.layers[:-1]:
            values = layer(values, row)
        if self.prior is not None:
            seen = np.zeros((self.y_channels, *values.shape[1:]), np.int64)
            if before is not None:
                seen[:, : before.shape[1], : before.shape[2]] = np.minimum(np.abs(before), MAX_SEEN)
            values = np.concatenate([values, self.prior(seen, row)])
        return self.layers[-1](values, row)


def read_network(arrays: Mapping[str, npt.NDArray[Any]]) -> Network:
    """The network of the arrays of `entropy.npz`. [12]"""
    layers: list[Layer] = []
    while f"scale.{len(layers)}.form" in arrays:
        layers.append(read_layer(arrays, f"scale.{len(layers)}"))
    return Network(layers, read_layer(arrays, "scale.prior") if "scale.prior.form" in arrays else None)


def read_layer(arrays: Mapping[str, npt.NDArray[Any]], name: str) -> Layer:
    taps, upsample, low, high = (int(value) for value in arrays[f"{name}.form"])
    weight, bias, shift = (arrays[f"{name}.{part}"].astype(np.int64) for part in ("weight", "bias", "shift"))
    return Layer(taps, upsample, low, high, weight, bias, shift)
