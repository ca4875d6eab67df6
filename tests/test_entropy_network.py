"""The integer scale network: the reference against Python's own integers, and what is refused."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from nacre.bitstream.errors import InputError, WeightsError
from nacre.entropy import IntegerLayer, IntegerNetwork, known_answer
from nacre.entropy.network import prior_of

Volume = list[list[list[int]]]


def layer(
    seed: int,
    kind: Literal["conv1", "conv3"],
    inputs: int,
    outputs: int,
    *,
    upsample: bool = False,
    rows: int = 1,
    span: tuple[int, int] = (0, 127),
) -> IntegerLayer:
    rng = np.random.default_rng(seed)
    columns = inputs * (9 if kind == "conv3" else 1)
    return IntegerLayer(
        kind=kind,
        weight=rng.integers(-64, 64, (outputs, columns)).astype(np.int8),
        bias=rng.integers(-2000, 2000, (rows, outputs)).astype(np.int32),
        shift=rng.integers(0, 12, outputs).astype(np.uint8),
        low=span[0],
        high=span[1],
        upsample=upsample,
    )


def network(seed: int = 0) -> IntegerNetwork:
    return IntegerNetwork(
        (
            layer(seed, "conv3", 3, 8, rows=4, span=(-128, 127)),
            layer(seed + 1, "conv1", 8, 12, upsample=True),
            layer(seed + 2, "conv3", 3, 20, upsample=True, span=(-5, 200)),
            layer(seed + 3, "conv1", 5, 6, rows=4, span=(0, 63)),
        )
    )


def network_with_prior(seed: int = 0) -> IntegerNetwork:
    """As `network`, with two channels of a prior whose biases depend on the row."""
    return IntegerNetwork(
        (*network(seed).layers[:3], layer(seed + 3, "conv1", 7, 6, rows=4, span=(0, 63))),
        layer(seed + 4, "conv1", 6, 2, rows=4, span=(-3, 255)),
    )


def seen(seed: int, rows: int, columns: int) -> NDArray[np.uint8]:
    """What the prior of `network_with_prior` may see."""
    return np.random.default_rng(seed).integers(0, 16, (6, rows, columns)).astype(np.uint8)


def brute_force(net: IntegerNetwork, z: Volume, row: int, before: Volume | None = None) -> Volume:
    """The network as its documentation states it, one integer at a time."""
    x = z
    for number, part in enumerate(net.layers):
        if net.prior is not None and number == len(net.layers) - 1:
            zeros = [[[0] * len(x[0][0]) for _ in x[0]] for _ in range(net.out_channels)]
            x = x + brute_force_layer(net.prior, zeros if before is None else before, row)
        x = brute_force_layer(part, x, row)
    return x


def brute_force_layer(part: IntegerLayer, x: Volume, row: int) -> Volume:
    """One layer of it."""
    height, width = len(x[0]), len(x[0][0])
    bias = part.bias.tolist()[row if len(part.bias) > 1 else 0]
    out: Volume = []
    for weights, start, shift in zip(part.weight.tolist(), bias, part.shift.tolist(), strict=True):
        plane = [[0] * width for _ in range(height)]
        for y in range(height):
            for c in range(width):
                total = start
                for column, weight in enumerate(weights):
                    tap, channel = divmod(column, len(x)) if part.kind == "conv3" else (4, column)
                    dy, dx = divmod(tap, 3)
                    if 0 <= y + dy - 1 < height and 0 <= c + dx - 1 < width:
                        total += weight * x[channel][y + dy - 1][c + dx - 1]
                assert abs(total) < 1 << 24
                rounding = 1 << (shift - 1) if shift else 0
                plane[y][c] = min(max((total + rounding) >> shift, part.low), part.high)
        out.append(plane)
    x = out
    if part.upsample:
        x = [[[0] * (2 * width) for _ in range(2 * height)] for _ in range(len(out) // 4)]
        for channel, plane in enumerate(out):
            block, position = divmod(channel, 4)
            dy, dx = divmod(position, 2)
            for y in range(height):
                for c in range(width):
                    x[block][2 * y + dy][2 * c + dx] = plane[y][c]
    return x


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 4), st.integers(0, 3))
def test_the_reference_equals_plain_integers(seed: int, height: int, width: int, row: int) -> None:
    net = network(seed)
    z = np.random.default_rng(seed).integers(-127, 128, (3, height, width))
    result = net(z, row)
    assert result.dtype == np.uint8
    assert result.shape == (6, 4 * height, 4 * width)
    assert result.tolist() == brute_force(net, z.tolist(), row)


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.integers(1, 3), st.integers(1, 3), st.integers(0, 3), st.booleans())
def test_a_prior_equals_plain_integers(seed: int, height: int, width: int, row: int, blank: bool) -> None:
    net = network_with_prior(seed)
    z = np.random.default_rng(seed).integers(-127, 128, (3, height, width))
    before = None if blank else seen(seed, 4 * height, 4 * width)
    expected = brute_force(net, z.tolist(), row, None if before is None else before.tolist())
    assert net(z, row, before).tolist() == expected


def test_nothing_before_is_zeros() -> None:
    net, z = network_with_prior(), np.random.default_rng(0).integers(-20, 20, (3, 2, 3))
    assert np.array_equal(net(z, 1), net(z, 1, np.zeros((6, 8, 12), np.uint8)))
    assert not np.array_equal(net(z, 1), net(z, 1, seen(0, 8, 12)))
    # a network without a prior looks at none
    assert np.array_equal(network()(z, 1), network()(z, 1, seen(0, 8, 12)))
    assert np.array_equal(network()(z, 1), network()(z, 1, seen(0, 5, 5)))


def test_a_prior_distinguishes_rows() -> None:
    """Also where no other layer does."""
    net = network_with_prior()
    alike = [replace(part, bias=part.bias[:1]) for part in net.layers]
    assert IntegerNetwork(tuple(alike), net.prior).rows == 4
    z, before = np.zeros((3, 2, 2), int), seen(1, 8, 8)
    assert len({IntegerNetwork(tuple(alike), net.prior)(z, row, before).tobytes() for row in range(4)}) > 1


@pytest.mark.parametrize(
    ("before", "message"),
    [
        (np.zeros((6, 8, 11), np.uint8), r"legal: uint8 \(6, 8, 12\)"),
        (np.zeros((5, 8, 12), np.uint8), r"the prior is uint8 \(5, 8, 12\)"),
        (np.zeros((8, 12), np.uint8), r"the prior is uint8 \(8, 12\)"),
        (np.zeros((6, 8, 12), np.int32), "the prior is int32"),
        (np.full((6, 8, 12), 16, np.uint8), r"0\.\.15"),
    ],
)
def test_a_wrong_frame_before_is_refused(before: NDArray[Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        network_with_prior().forward(np.zeros((3, 2, 3), int), 0, before)


def test_what_is_seen_of_the_frame_before() -> None:
    symbols = np.array([[[0, -1, 2], [14, -15, 16]], [[-16383, 16383, -16], [300, -256, 271]]], np.int32)
    prior = prior_of(symbols, 4, 5)
    assert prior.dtype == np.uint8
    assert prior.shape == (2, 4, 5)
    assert prior[:, :2, :3].tolist() == [[[0, 1, 2], [14, 15, 15]], [[15, 15, 15], [15, 15, 15]]]
    prior[:, :2, :3] = 0
    assert not prior.any()


def test_the_worst_sums_are_exact() -> None:
    # 2 ** 24 - 1 exactly: the largest sum that validation lets pass, with the signs that reach it.
    rng = np.random.default_rng(1)
    weight = rng.integers(-64, 64, (24, 9 * 200)).astype(np.int8)
    norm = np.abs(weight.astype(np.int64)).sum(axis=1)
    bias = ((1 << 24) - 1 - 127 * norm).astype(np.int32)[None]
    first = IntegerLayer("conv3", weight, bias, np.zeros(24, np.uint8), -(1 << 24) + 1, (1 << 24) - 1)
    worst = np.where(weight[5].reshape(3, 3, 200) < 0, -127, 127).transpose(2, 0, 1)
    assert first.forward(worst, 0)[5, 1, 1] == (1 << 24) - 1


def test_rounding_is_half_up_and_shift_0_does_not_round() -> None:
    for shift, expected in ((0, [-3, -2, -1, 0, 1, 2, 3]), (1, [-1, -1, 0, 0, 1, 1, 2]), (2, [-1, 0, 0, 0, 0, 1, 1])):
        part = IntegerLayer(
            "conv1", np.ones((1, 1), np.int8), np.zeros((1, 1), np.int32), np.array([shift], np.uint8), -9, 9
        )
        assert part.forward(np.arange(-3, 4).reshape(1, 1, 7), 0).ravel().tolist() == expected


def test_upsampling_is_depth_to_space() -> None:
    part = IntegerLayer(
        "conv1", np.eye(8, dtype=np.int8), np.zeros((1, 8), np.int32), np.zeros(8, np.uint8), 0, 127, upsample=True
    )
    x = np.arange(8 * 2 * 3).reshape(8, 2, 3)
    out = part.forward(x, 0)
    assert out.shape == (2, 4, 6)
    for c in range(2):
        for dy in range(2):
            for dx in range(2):
                assert np.array_equal(out[c, dy::2, dx::2], x[4 * c + 2 * dy + dx])


def test_rows_choose_biases() -> None:
    net = network()
    z = np.random.default_rng(0).integers(-20, 20, (3, 5, 5))
    assert net.rows == 4
    assert len({net(z, row).tobytes() for row in range(4)}) == 4
    alike = IntegerNetwork(tuple(replace(part, bias=part.bias[:1]) for part in net.layers))
    assert alike.rows == 1
    assert np.array_equal(alike(z, 0), alike(z, 77))
    assert np.array_equal(alike(z, 77), net(z, 0))


def test_networks_survive_npz_without_pickle() -> None:
    net = network(9)
    file = io.BytesIO()
    np.savez_compressed(file, **net.to_arrays())
    file.seek(0)
    with np.load(file, allow_pickle=False) as arrays:
        again = IntegerNetwork.from_arrays(arrays)
    assert known_answer(again) == known_answer(net)
    assert (again.in_channels, again.out_channels) == (3, 6)
    assert again.prior is None


def test_a_prior_is_stored_under_its_name() -> None:
    net = network_with_prior(9)
    arrays = net.to_arrays()
    layers = {name.partition(".")[0] for name in arrays}
    assert layers == {"0", "1", "2", "3", "prior"}
    assert arrays["prior.form"].tolist() == [1, 0, -3, 255]
    again = IntegerNetwork.from_arrays(arrays)
    assert again.prior is not None
    assert len(again.layers) == 4
    assert known_answer(again) == known_answer(net)
    assert {name: array.tolist() for name, array in again.to_arrays().items()} == {
        name: array.tolist() for name, array in arrays.items()
    }


def test_known_answer_tells_executors_apart() -> None:
    net = network(2)
    assert known_answer(net) == known_answer(net, net.forward)

    def saturating(z: NDArray[Any], row: int, before: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
        return net(np.clip(z, -126, 126), row, before)

    assert known_answer(net, saturating) != known_answer(net)


def test_known_answer_tells_what_is_made_of_the_frame_before() -> None:
    net = network_with_prior(2)
    assert known_answer(net) == known_answer(net, net.forward)

    def blind(z: NDArray[Any], row: int, _before: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
        return net(z, row)

    def saturating(z: NDArray[Any], row: int, before: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
        return net(z, row, None if before is None else np.minimum(before, 14))

    def moved(z: NDArray[Any], row: int, before: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
        return net(z, row, None if before is None else np.roll(before, 1, axis=2))

    for executor in (blind, saturating, moved):
        assert known_answer(net, executor) != known_answer(net)


def test_known_answer_is_the_same_everywhere() -> None:
    def pattern(number: int, inputs: int, outputs: int, high: int) -> IntegerLayer:
        weight = (np.arange(outputs * inputs) ** 2 * 37 % 128 - 64).astype(np.int8).reshape(outputs, inputs)
        bias = (np.arange(3 * outputs) * 211 % 4001).astype(np.int32).reshape(3, outputs)
        return IntegerLayer("conv1", weight, bias, np.full(outputs, number, np.uint8), 0, high, upsample=True)

    net = IntegerNetwork((pattern(6, 5, 16, 127), pattern(7, 4, 8, 63)))
    assert known_answer(net) == "7e75e41c6b79ffb4eb28401c509f76cf693397b0d14afb9c8145f37d9bbb7b6c"
    last, prior = (replace(pattern(6, inputs, 4, 63), upsample=False) for inputs in (5, 4))
    small = replace(prior, weight=prior.weight[:3], bias=prior.bias[:, :3], shift=prior.shift[:3])
    seeing = IntegerNetwork((net.layers[0], pattern(7, 4, 8, 127), last), small)
    assert known_answer(seeing) == "2066335d989278e06f15f1325a1df0561d08477e1f636786602dc8b95f5c115c"


def with_layer(number: int, **change: Any) -> tuple[IntegerLayer, ...]:
    layers = list(network().layers)
    layers[number] = replace(layers[number], **change)
    return tuple(layers)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ((), "no layers"),
        (with_layer(0, weight=np.full((8, 27), 64, np.int8)), "layer 0: weights in 64..64, legal range -64..63"),
        (with_layer(1, weight=np.full((12, 8), -65, np.int8)), "layer 1: weights in -65"),
        (with_layer(1, weight=np.zeros((12, 8), np.int16)), "legal: int8"),
        (with_layer(1, weight=np.zeros((12, 7), np.int8)), "do not fit 8 channels"),
        (with_layer(0, weight=np.zeros((8, 26), np.int8)), "do not fit any channels"),
        (with_layer(1, bias=np.zeros((1, 11), np.int32)), "do not fit 8 channels"),
        (with_layer(1, bias=np.zeros((1, 12), np.int64)), "legal: int32"),
        (with_layer(1, bias=np.zeros((0, 12), np.int32)), "not empty"),
        (with_layer(1, bias=np.zeros((3, 12), np.int32)), "rows"),
        (with_layer(1, bias=np.full((1, 12), 1 << 24, np.int32)), "legal are below 16777216"),
        (with_layer(1, bias=np.full((1, 12), -(1 << 31), np.int32)), "legal are below 16777216"),
        (with_layer(1, shift=np.zeros(11, np.uint8)), "do not fit 8 channels"),
        (with_layer(1, shift=np.full(12, 25, np.uint8)), "shift is 25, legal range 0..24"),
        (with_layer(1, shift=np.full(12, 255, np.uint8)), "shift is 255"),
        (with_layer(0, high=1 << 15, low=-(1 << 17)), "layer 1: sums of channel"),
        (with_layer(1, low=3, high=2), "output range 3..2"),
        (with_layer(1, high=1 << 24), "output range 0..16777216"),
        (with_layer(3, high=64), "output is in 0..64, legal range 0..63"),
        (with_layer(3, low=-1), "output is in -1..63"),
        (with_layer(0, upsample=True), "do not fit"),
        ((*network().layers[:2], layer(0, "conv1", 3, 6, span=(0, 63))), "1 layers upsample, legal are 2"),
    ],
)
def test_invalid_networks_are_refused(layers: tuple[IntegerLayer, ...], message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        IntegerNetwork(layers)


def with_prior(last: dict[str, Any] | None = None, **change: Any) -> tuple[tuple[IntegerLayer, ...], IntegerLayer]:
    net = network_with_prior()
    assert net.prior is not None
    return (*net.layers[:3], replace(net.layers[3], **last or {})), replace(net.prior, **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (with_prior(kind="conv3", weight=np.zeros((2, 54), np.int8)), "the prior is conv3, upsample False"),
        (with_prior(weight=np.zeros((8, 6), np.int8), upsample=True), "the prior is conv1, upsample True"),
        (with_prior({"weight": np.zeros((24, 7), np.int8), "upsample": True}), "which may not upsample"),
        ((network().layers[:1], layer(0, "conv1", 8, 2)), "the last of two layers or more"),
        (((), layer(0, "conv1", 8, 2)), "no layers"),
        (with_prior(weight=np.zeros((2, 5), np.int8)), "layer prior: weight .* do not fit 6 channels"),
        (with_prior(bias=np.zeros((1, 3), np.int32)), "layer prior: .* do not fit 6 channels"),
        (with_prior(shift=np.zeros(3, np.uint8)), "layer prior: .* do not fit 6 channels"),
        (with_prior({"weight": np.zeros((6, 5), np.int8)}), "layer 3: .* do not fit 7 channels"),
        (with_prior({"weight": np.int8(1)}), "layer 3: weight is int8"),
        (with_prior(weight=np.zeros((2, 6), np.int16)), "layer prior: weight is int16"),
        (with_prior(weight=np.full((2, 6), 64, np.int8)), "layer prior: weights in 64..64"),
        (with_prior(bias=np.zeros((3, 2), np.int32)), "rows"),
        (with_prior(low=2, high=1), "layer prior: output range 2..1"),
        (with_prior(shift=np.full(2, 25, np.uint8)), "layer prior: shift is 25"),
        (with_prior(high=(1 << 24) - 1), "layer 3: sums of channel"),
    ],
)
def test_invalid_priors_are_refused(change: tuple[tuple[IntegerLayer, ...], IntegerLayer], message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        IntegerNetwork(*change)


def test_the_bounds_of_a_prior() -> None:
    """Its input is at most 15; that of the last layer at most the larger output of the two layers above it."""
    net = network_with_prior()
    assert net.prior is not None

    def edge(part: IntegerLayer, largest: int) -> NDArray[np.int32]:
        norm = np.abs(part.weight.astype(np.int64)).sum(axis=1)
        half = (1 << part.shift.astype(np.int64)) >> 1
        return ((1 << 24) - 1 - largest * norm - half).astype(np.int32)[None]

    def with_biases(last: NDArray[np.int32], prior: NDArray[np.int32], high: int) -> IntegerNetwork:
        assert net.prior is not None
        layers = (*net.layers[:3], replace(net.layers[3], bias=last))
        return IntegerNetwork(layers, replace(net.prior, bias=prior, high=high))

    prior = edge(net.prior, 15)
    for high, largest in ((255, 255), (150, 200)):  # the layer above the last one gives at most 200
        last = edge(net.layers[3], largest)
        with_biases(last, prior, high)
        with pytest.raises(WeightsError, match=r"layer 3: sums of channel \d reach 16777216"):
            with_biases(last + 1, prior, high)
    with pytest.raises(WeightsError, match=r"layer prior: sums of channel \d reach 16777216"):
        with_biases(last, prior + 1, 150)


def test_the_bound_is_the_weights_norm() -> None:
    # One unit of bias decides: 127 * (sum of |weights|) + |bias| + half must stay below 2 ** 24.
    layers = network().layers
    norm = np.abs(layers[0].weight.astype(np.int64)).sum(axis=1)
    half = (1 << layers[0].shift.astype(np.int64)) >> 1
    edge = ((1 << 24) - 1 - 127 * norm - half).astype(np.int32)[None]
    IntegerNetwork((replace(layers[0], bias=edge), *layers[1:]))
    IntegerNetwork((replace(layers[0], bias=-edge), *layers[1:]))
    for sign in (1, -1):
        with pytest.raises(WeightsError, match="reach 16777216"):
            IntegerNetwork((replace(layers[0], bias=sign * (edge + 1)), *layers[1:]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"0.weight": None}, "layer 0: the array 'weight' is missing"),
        ({"2.shift": None}, "layer 2: the array 'shift' is missing"),
        ({"1.form": np.array([1, 1, 0], np.int32)}, "layer 1: form is"),
        ({"1.form": np.array([4, 1, 0, 9], np.int32)}, "layer 1: form is"),
        ({"1.form": np.array([1, 2, 0, 9], np.int32)}, "layer 1: form is"),
        ({"1.form": np.array([1.0, 1.0, 0.0, 9.0])}, "layer 1: form is"),
        ({"0.form": None}, "no layers"),
        ({"prior.form": np.array([1, 0, 0, 9], np.int32)}, "layer prior: the array 'weight' is missing"),
        ({"prior.form": np.array([1, 0, 0], np.int32)}, "layer prior: form is"),
        ({"3.weight": np.array(1, np.int8)}, "layer 3: weight is int8"),
    ],
)
def test_damaged_arrays_are_refused(change: dict[str, Any], message: str) -> None:
    arrays = network().to_arrays() | change
    with pytest.raises(WeightsError, match=message):
        IntegerNetwork.from_arrays({name: array for name, array in arrays.items() if array is not None})


@pytest.mark.parametrize(
    ("z", "row", "message"),
    [
        (np.full((3, 2, 2), 128), 0, "legal range -127..127"),
        (np.full((3, 2, 2), -128), 0, "legal range -127..127"),
        (np.zeros((4, 2, 2), int), 0, r"legal are integers \(3, h, w\)"),
        (np.zeros((3, 2), int), 0, r"legal are integers \(3, h, w\)"),
        (np.zeros((3, 2, 2)), 0, "float64"),
        (np.zeros((3, 2, 2), int), 4, "row is 4, legal range 0..3"),
        (np.zeros((3, 2, 2), int), -1, "row is -1"),
    ],
)
def test_input_out_of_range_is_refused(z: NDArray[Any], row: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        network().forward(z, row)
