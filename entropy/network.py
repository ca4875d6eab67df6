"""The integer scale network as data, with its reference in NumPy.

The network maps the hyper-latent's symbols to one scale index for every symbol of the latent. Encoder and decoder must
agree on every index, so everything is an integer: weights of 7 bits, biases and shifts, and sums bounded so that
integers carried in float32 are exact, too. Faster executors replace the reference where they give the same integers.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from nacre.bitstream.errors import InputError, WeightsError
from nacre.entropy.scales import SCALE_LEVELS
from nacre.entropy.tables import IntArray

MAX_INPUT = 127  # largest magnitude of a hyper-latent symbol
MAX_PRIOR = 15  # what magnitudes of the symbols of the frame before are cut off at
WEIGHT_LOW, WEIGHT_HIGH = -64, 63  # so that no 16-bit intermediate of two 8-bit products can saturate
SUM_LIMIT = 1 << 24  # integers below it are exact in float32
PRIOR = "prior"  # the layer of that name
UPSAMPLINGS = 2
FINER = 2**UPSAMPLINGS  # times the hyper-latent's grid is the latent's

IndexArray = NDArray[np.uint8]
PriorArray = NDArray[np.uint8]


class Executor(Protocol):
    """Whatever runs the network: z (Cz, hz, wz) in -127..127 and the entropy row to scale indices (Cy, 4 hz, 4 wz).

    before: what a network with a prior sees, (Cy, 4 hz, 4 wz) of `prior_of`; None where there is nothing to see.
    """

    def __call__(self, z: IntArray, row: int, before: PriorArray | None = None) -> IndexArray: ...


def prior_of(symbols: IntArray, rows: int, columns: int) -> PriorArray:
    """Magnitudes, uint8 (Cy, rows, columns), of the symbols (Cy, h, w) of the frame before, zero where it has none."""
    prior = np.zeros((len(symbols), rows, columns), np.uint8)
    np.minimum(np.abs(symbols), MAX_PRIOR, out=prior[:, : symbols.shape[1], : symbols.shape[2]], casting="unsafe")
    return prior


@dataclass(frozen=True, eq=False)
class IntegerLayer:
    """One matrix product per position, requantized by powers of two.

        sum[o] = bias[row, o] + sum over j of weight[o, j] * input[j]
        out[o] = clip((sum[o] + (2 ** shift[o] >> 1)) >> shift[o], low, high)        (>> rounds down)

    kind "conv1": input[j] is channel j at the position. kind "conv3": input[(dy * 3 + dx) * I + i] is channel i at the
    position moved by (dy - 1, dx - 1), zero outside the picture. With `upsample`, channel 4c + 2dy + dx at (y, x) then
    becomes channel c at (2y + dy, 2x + dx).

    weight int8 (O, I) or (O, 9 I); bias int32 (rows, O), or (1, O) where all rows share it; shift uint8 (O,).
    """

    kind: Literal["conv1", "conv3"]
    weight: NDArray[np.int8]
    bias: NDArray[np.int32]
    shift: NDArray[np.uint8]
    low: int
    high: int
    upsample: bool = False

    @property
    def taps(self) -> int:
        return 9 if self.kind == "conv3" else 1

    @property
    def in_channels(self) -> int:
        return int(self.weight.shape[1]) // self.taps

    @property
    def out_channels(self) -> int:
        """Channels after the layer, upsampling included."""
        return int(self.weight.shape[0]) // (4 if self.upsample else 1)

    def forward(self, x: IntArray, row: int) -> NDArray[np.int32]:
        """Activations (I, h, w) to activations (O, h, w), or (O / 4, 2h, 2w) with `upsample`."""
        channels, height, width = x.shape
        margin = 1 if self.kind == "conv3" else 0
        padded = np.zeros((channels, height + 2 * margin, width + 2 * margin))
        padded[:, margin : margin + height, margin : margin + width] = x
        # Integers below 2 ** 24 in float64: the products are exact in whatever order the sums are taken.
        weight = self.weight.astype(np.float64).reshape(-1, self.taps, channels)
        exact = np.zeros((len(weight), height * width))
        for tap in range(self.taps):
            dy, dx = divmod(tap, 3)
            exact += weight[:, tap] @ padded[:, dy : dy + height, dx : dx + width].reshape(channels, -1)
        total = exact.astype(np.int32)
        total += self.bias[row if len(self.bias) > 1 else 0][:, None]
        shift = self.shift.astype(np.int32)[:, None]
        total += np.left_shift(np.int32(1), shift) >> 1
        out: NDArray[np.int32] = np.clip(total >> shift, self.low, self.high).reshape(-1, height, width)
        if self.upsample:
            blocks = out.reshape(-1, 2, 2, height, width).transpose(0, 3, 1, 4, 2)
            out = np.ascontiguousarray(blocks).reshape(-1, 2 * height, 2 * width)
        return out


@dataclass(frozen=True, eq=False)
class IntegerNetwork:
    """Layers in order, validated when made. An `Executor` itself: the reference.

    prior: a layer that sees the frame before; the last layer sees its channels behind those of the layer above.
    """

    layers: tuple[IntegerLayer, ...]
    prior: IntegerLayer | None = None

    def __post_init__(self) -> None:
        self.validate()

    @property
    def in_channels(self) -> int:
        return self.layers[0].in_channels

    @property
    def out_channels(self) -> int:
        return self.layers[-1].out_channels

    @property
    def rows(self) -> int:
        """Entropy rows that the biases distinguish; where it is 1, every row gives the same."""
        return max(len(layer.bias) for layer in self._all)

    @property
    def _all(self) -> tuple[IntegerLayer, ...]:
        return self.layers if self.prior is None else (*self.layers, self.prior)

    def _named(self) -> Iterator[tuple[int | str, IntegerLayer]]:
        """All layers by the names of their arrays."""
        return zip((*range(len(self.layers)), PRIOR), self._all, strict=False)

    def validate(self) -> None:
        """Raises WeightsError unless shapes fit, weights have 7 bits and no sum can reach 2 ** 24."""
        if not self.layers:
            msg = "integer network: there are no layers"
            raise WeightsError(msg)
        for name, layer in self._named():
            _check_arrays(name, layer)
        if self.prior is not None:
            self._check_prior(self.prior)
        channels, bound = 0, MAX_INPUT
        for number, layer in enumerate(self.layers):
            if self.prior is not None and number == len(self.layers) - 1:
                channels += self.prior.out_channels
                bound = max(bound, _largest(self.prior))
            _check_shapes(number, layer, channels)
            _check_bounds(number, layer, bound)
            channels, bound = layer.out_channels, _largest(layer)
        if any(len(layer.bias) not in (1, self.rows) for layer in self._all):
            rows = [len(layer.bias) for layer in self._all]
            msg = f"integer network: biases have {rows} rows, legal are 1 and one other number"
            raise WeightsError(msg)
        upsamplings = sum(layer.upsample for layer in self.layers)
        if upsamplings != UPSAMPLINGS:
            msg = f"integer network: {upsamplings} layers upsample, legal are {UPSAMPLINGS}"
            raise WeightsError(msg)
        last = self.layers[-1]
        if last.low < 0 or last.high >= SCALE_LEVELS:
            msg = f"integer network: the output is in {last.low}..{last.high}, legal range 0..{SCALE_LEVELS - 1}"
            raise WeightsError(msg)

    def _check_prior(self, prior: IntegerLayer) -> None:
        """Raises WeightsError unless the prior's layer fits below the last one, on the latent's grid."""
        if prior.kind != "conv1" or prior.upsample:
            msg = f"integer network: the prior is {prior.kind}, upsample {prior.upsample}, legal: conv1, False"
            raise WeightsError(msg)
        if len(self.layers) < 2 or self.layers[-1].upsample:
            msg = "integer network: behind a prior stands the last of two layers or more, which may not upsample"
            raise WeightsError(msg)
        _check_shapes(PRIOR, prior, self.out_channels)
        _check_bounds(PRIOR, prior, MAX_PRIOR)

    def forward(self, z: IntArray, row: int, before: PriorArray | None = None) -> IndexArray:
        """Scale indices, uint8 (Cy, 4 hz, 4 wz) in 0..63, of z (Cz, hz, wz) in -127..127 for one entropy row.

        before: as in `Executor`. Raises InputError: another shape, a value or a row outside its range.
        """
        if z.ndim != 3 or z.shape[0] != self.in_channels or z.dtype.kind not in "iu":
            msg = f"integer network: input is {z.dtype} {z.shape}, legal are integers ({self.in_channels}, h, w)"
            raise InputError(msg)
        if z.size and (z.max() > MAX_INPUT or z.min() < -MAX_INPUT):
            msg = f"integer network: input is in {z.min()}..{z.max()}, legal range {-MAX_INPUT}..{MAX_INPUT}"
            raise InputError(msg)
        if row < 0 or 1 < self.rows <= row:
            msg = f"integer network: row is {row}, legal range 0..{self.rows - 1}"
            raise InputError(msg)
        x: IntArray = z
        for layer in self.layers[:-1]:
            x = layer.forward(x, row)
        if self.prior is not None:
            shape = (self.out_channels, *x.shape[1:])
            seen = np.zeros(shape, np.uint8) if before is None else before
            if seen.shape != shape or seen.dtype != np.uint8 or seen.max(initial=0) > MAX_PRIOR:
                msg = f"integer network: the prior is {seen.dtype} {seen.shape}, legal: uint8 {shape}, 0..{MAX_PRIOR}"
                raise InputError(msg)
            x = np.concatenate([x, self.prior.forward(seen, row)])
        return self.layers[-1].forward(x, row).astype(np.uint8)

    __call__ = forward

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """What is stored: per layer i `i.weight`, `i.bias`, `i.shift`, `i.form` = taps, upsample, low, high (int32).

        A prior's layer is called `prior`.
        """
        arrays: dict[str, NDArray[Any]] = {}
        for name, layer in self._named():
            arrays[f"{name}.weight"] = layer.weight
            arrays[f"{name}.bias"] = layer.bias
            arrays[f"{name}.shift"] = layer.shift
            arrays[f"{name}.form"] = np.array([layer.taps, layer.upsample, layer.low, layer.high], np.int32)
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> IntegerNetwork:
        """The inverse of `to_arrays`; raises WeightsError where the arrays are not a valid network."""
        layers: list[IntegerLayer] = []
        while f"{len(layers)}.form" in arrays:
            layers.append(_read_layer(arrays, len(layers)))
        return cls(tuple(layers), _read_layer(arrays, PRIOR) if f"{PRIOR}.form" in arrays else None)


def _read_layer(arrays: Mapping[str, NDArray[Any]], name: int | str) -> IntegerLayer:
    form = arrays[f"{name}.form"]
    if form.dtype != np.int32 or form.shape != (4,) or form[0] not in (1, 9) or form[1] not in (0, 1):
        msg = f"integer network: layer {name}: form is {form.tolist()}, legal: int32, 1 or 9, 0 or 1, low, high"
        raise WeightsError(msg)
    missing = [part for part in ("weight", "bias", "shift") if f"{name}.{part}" not in arrays]
    if missing:
        msg = f"integer network: layer {name}: the array '{missing[0]}' is missing"
        raise WeightsError(msg)
    return IntegerLayer(
        kind="conv3" if form[0] == 9 else "conv1",
        weight=arrays[f"{name}.weight"],
        bias=arrays[f"{name}.bias"],
        shift=arrays[f"{name}.shift"],
        low=int(form[2]),
        high=int(form[3]),
        upsample=bool(form[1]),
    )


def _largest(layer: IntegerLayer) -> int:
    return max(abs(layer.low), abs(layer.high))


def _check_arrays(number: int | str, layer: IntegerLayer) -> None:
    """Raises WeightsError unless the layer's arrays have the types and numbers of dimensions that they should have."""
    arrays = (
        ("weight", layer.weight, np.int8, 2),
        ("bias", layer.bias, np.int32, 2),
        ("shift", layer.shift, np.uint8, 1),
    )
    for name, array, dtype, ndim in arrays:
        if array.dtype != dtype or array.ndim != ndim or array.size == 0:
            legal = f"{np.dtype(dtype)}, {ndim} dimensions, not empty"
            msg = f"integer network: layer {number}: {name} is {array.dtype} {array.shape}, legal: {legal}"
            raise WeightsError(msg)


def _check_shapes(number: int | str, layer: IntegerLayer, channels: int) -> None:
    """Raises WeightsError unless the layer's arrays fit each other and the channels that come in (0: any)."""
    outputs, columns = layer.weight.shape
    fits = columns % layer.taps == 0 and layer.in_channels == (channels or layer.in_channels)
    if (
        not fits
        or layer.bias.shape[1] != outputs
        or layer.shift.shape != (outputs,)
        or (layer.upsample and outputs % 4)
    ):
        msg = (
            f"integer network: layer {number}: weight {layer.weight.shape}, bias {layer.bias.shape}, shift "
            f"{layer.shift.shape} do not fit {channels or 'any'} channels, {layer.kind}, upsample {layer.upsample}"
        )
        raise WeightsError(msg)


def _check_bounds(number: int | str, layer: IntegerLayer, bound: int) -> None:
    """Raises WeightsError unless every partial sum stays below 2 ** 24 for inputs of magnitude up to bound."""
    low, high = int(layer.weight.min()), int(layer.weight.max())
    if low < WEIGHT_LOW or high > WEIGHT_HIGH:
        msg = f"integer network: layer {number}: weights in {low}..{high}, legal range {WEIGHT_LOW}..{WEIGHT_HIGH}"
        raise WeightsError(msg)
    if not -SUM_LIMIT < layer.low <= layer.high < SUM_LIMIT:
        msg = f"integer network: layer {number}: output range {layer.low}..{layer.high} is empty or too wide"
        raise WeightsError(msg)
    if layer.shift.max() > 24:
        msg = f"integer network: layer {number}: shift is {layer.shift.max()}, legal range 0..24"
        raise WeightsError(msg)
    norm = np.abs(layer.weight.astype(np.int64)).sum(axis=1)
    bias = np.abs(layer.bias.astype(np.int64)).max(axis=0)
    worst = bound * norm + bias + (np.left_shift(1, layer.shift.astype(np.int64)) >> 1)
    if worst.max() >= SUM_LIMIT:
        channel = int(worst.argmax())
        reach = f"sums of channel {channel} reach {worst[channel]}"
        msg = f"integer network: layer {number}: {reach}, legal are below {SUM_LIMIT}"
        raise WeightsError(msg)


def known_answer(network: IntegerNetwork, executor: Executor | None = None) -> str:
    """A digest of what the executor (by default the reference) makes of fixed inputs, SHA-256 in hexadecimal.

    Inputs, each (Cz, 6, 9): noise over -127..127, the same noise's signs times 127 (which no saturating intermediate
    survives), and zeros; each for the first, the middle and the last row. A prior sees, with these: numbers that a
    multiplication scatters, the largest ones, and nothing.
    """
    shape = (network.in_channels, 6, 9)
    state, noise = 1, []
    for _ in range(network.in_channels * 6 * 9):
        state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
        noise.append((state >> 16) % (2 * MAX_INPUT + 1) - MAX_INPUT)
    plain = np.array(noise, np.int32).reshape(shape)
    run: Executor = network if executor is None else executor
    digest = hashlib.sha256()
    inputs = plain, np.where(plain < 0, -MAX_INPUT, MAX_INPUT).astype(np.int32), np.zeros(shape, np.int32)
    for z, before in zip(inputs, _known_priors(network, FINER * 6, FINER * 9), strict=True):
        for row in (0, network.rows // 2, network.rows - 1):
            digest.update(np.ascontiguousarray(run(z, row, before), np.uint8).tobytes())
    return digest.hexdigest()


def _known_priors(network: IntegerNetwork, rows: int, columns: int) -> list[PriorArray | None]:
    if network.prior is None:
        return [None] * 3
    shape = (network.out_channels, rows, columns)
    places = np.arange(math.prod(shape), dtype=np.uint32).reshape(shape)
    scattered = (places * np.uint32(2654435761) >> np.uint32(28)).astype(np.uint8)
    return [scattered, np.full(shape, MAX_PRIOR, np.uint8), None]
