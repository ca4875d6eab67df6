"""Encodes to a size, a rate or a PSNR: the search on functions, and through ImageCodec with the tiny model."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from conftest import TINY, make_picture
from hypothesis import given, settings
from hypothesis import strategies as st

import nacre
import nacre.image
from nacre.bitstream import MAX_QUALITY, UnitType
from nacre.encoder import PictureEncoder
from nacre.metrics import psnr
from nacre.picture import ArrayRows, Band, PictureForm
from nacre.target import MAX_TRIALS, Target, Trial, find_quality
from nacre.tiling import Tiling

# The search


class Curve:
    """Trials of a value that is a function of the steps."""

    def __init__(self, value: Callable[[int], float]) -> None:
        self.value = value
        self.asked: list[int] = []

    def __call__(self, steps: int) -> Trial[str]:
        assert 0 <= steps <= MAX_QUALITY
        assert steps not in self.asked
        self.asked.append(steps)
        return Trial(steps, self.value(steps), f"made at {steps}")


def exponential(steps: int) -> float:
    return round(3000 * math.exp(3.6 * steps / MAX_QUALITY))


def decibels(steps: int) -> float:
    return 26 + 14 * (steps / MAX_QUALITY) ** 0.8


@contextmanager
def no_warning() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.mark.parametrize("limit", [3100, 5000, 12_000, 40_000, 109_000])
def test_size(limit: int) -> None:
    curve = Curve(exponential)
    with no_warning():
        found = find_quality(curve, Target.of_size(limit))
    assert 0.98 * limit <= found.value <= limit
    assert found == Trial(found.steps, exponential(found.steps), f"made at {found.steps}")
    assert len(curve.asked) <= 5


@pytest.mark.parametrize("bpp", [0.05, 0.3, 1.7])
def test_bpp(bpp: float) -> None:
    curve = Curve(lambda steps: exponential(steps) / 60_000)
    with no_warning():
        assert find_quality(curve, Target.of_bpp(bpp)).value == pytest.approx(bpp, rel=0.02)
    assert len(curve.asked) <= 5


@pytest.mark.parametrize("wanted", [26.5, 30, 33.3, 39.9])
def test_psnr(wanted: float) -> None:
    curve = Curve(decibels)
    with no_warning():
        assert wanted <= find_quality(curve, Target.of_psnr(wanted)).value <= wanted + 0.05
    assert len(curve.asked) <= 6


@settings(max_examples=300)
@given(
    knots=st.lists(st.floats(0.001, 1.0), min_size=2, max_size=12),
    power=st.sampled_from([0.25, 0.5, 1, 2, 4]),
    where=st.floats(0.0, 1.0),
    kind=st.sampled_from(["size", "bpp", "psnr"]),
)
def test_any_rising_curve(knots: list[float], power: float, where: float, kind: str) -> None:
    heights = np.concatenate([[0.0], np.cumsum(knots)])
    places = np.linspace(0, 1, len(heights)) ** power * MAX_QUALITY

    def height(steps: int) -> float:
        return float(np.interp(steps, places, heights / heights[-1]))

    if kind == "psnr":
        curve = Curve(lambda steps: 25 + 20 * height(steps))
        target = Target.of_psnr(25 + 20 * where)
    elif kind == "size":
        curve = Curve(lambda steps: round(1000 * math.exp(4 * height(steps))))
        target = Target.of_size(round(1000 * math.exp(4 * where)))
    else:
        curve = Curve(lambda steps: 0.05 * math.exp(4 * height(steps)))
        target = Target.of_bpp(0.05 * math.exp(4 * where))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = find_quality(curve, target)
    assert len(curve.asked) <= MAX_TRIALS
    assert target.least <= found.value <= target.most


@settings(max_examples=300)
@given(seed=st.integers(0, 10_000), kind=st.sampled_from(["size", "bpp", "psnr"]), where=st.floats(0.0, 1.0))
def test_no_order_at_all(seed: int, kind: str, where: float) -> None:
    """Values without any order: the search ends, and what it keeps is legal and the nearest that it saw."""
    values = np.random.default_rng(seed).uniform(20, 40, MAX_QUALITY + 1)
    value = 20 + 20 * where
    target = {"size": Target.of_size(round(value)), "bpp": Target.of_bpp(value), "psnr": Target.of_psnr(value)}[kind]
    curve = Curve(lambda steps: float(values[steps]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found: Trial[str] | None = find_quality(curve, target)
        except nacre.InputError:
            found = None
    assert len(curve.asked) <= MAX_TRIALS
    legal = [seen for seen in values[curve.asked] if target.least <= seen <= target.most]
    if found is not None:
        assert target.distance(found.value) == min(target.distance(seen) for seen in legal)
    elif kind == "bpp":
        assert {0, MAX_QUALITY} & set(curve.asked)
    else:
        assert len(legal) <= 1  # at the end that is tried for the message alone


def test_what_is_kept_when_nothing_is_near() -> None:
    def jump(steps: int) -> float:
        return 10 if steps < 9999 else 50

    for target, value in ((Target.of_size(30), 10), (Target.of_bpp(30), 50), (Target.of_psnr(30), 50)):
        curve = Curve(jump)
        with pytest.warns(UserWarning, match=rf"{target.name} is {value}[0.]* .*; asked for is .*, nothing nearer"):
            assert find_quality(curve, target).value == value
        assert len(curve.asked) <= MAX_TRIALS


def test_the_last_trial_goes_where_a_legal_value_is() -> None:
    values = iter([100.0, 90.0, 80.0, 70.0, 60.0])
    curve = Curve(lambda steps: 3.0 if steps == 0 else next(values))
    with pytest.warns(UserWarning, match="size is 3 bytes"):
        found = find_quality(curve, Target.of_size(5), max_trials=3)
    assert found.steps == 0
    assert len(curve.asked) == 3


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (Target.of_size(2999), r"size must be 3000\.\.109795 bytes for this picture, asked for is 2940\.\.2999 bytes"),
        (Target.of_bpp(50_000_000), r"bpp must be 3000\.0000\.\.109795\.0000 bits per pixel"),
        (Target.of_bpp(1), r"bpp must be 3000\.0000\.\.109795\.0000 bits per pixel"),
    ],
)
def test_out_of_reach(target: Target, message: str) -> None:
    curve = Curve(exponential)
    with pytest.raises(nacre.InputError, match=message):
        find_quality(curve, target)
    assert len(curve.asked) <= MAX_TRIALS


def test_a_psnr_out_of_reach() -> None:
    with pytest.raises(
        nacre.InputError, match=r"psnr must be 26\.000\.\.40\.000 dB .* asked for is 41\.000\.\.41\.050 dB"
    ):
        find_quality(Curve(decibels), Target.of_psnr(41))


def test_better_than_asked_for_is_kept_with_a_warning() -> None:
    with pytest.warns(UserWarning, match="size is 109795 bytes; .* nothing nearer was found"):
        assert find_quality(Curve(exponential), Target.of_size(10**9)).steps == MAX_QUALITY
    with pytest.warns(UserWarning, match=r"psnr is 26\.000 dB; .* nothing nearer was found"):
        assert find_quality(Curve(decibels), Target.of_psnr(3)).steps == 0


def test_a_perfect_picture_has_a_psnr() -> None:
    curve = Curve(lambda steps: math.inf if steps > 20_000 else 30 + steps / 1000)
    with no_warning():
        assert 49 <= find_quality(curve, Target.of_psnr(49)).value <= 49.05


# Through the codec


@pytest.fixture(scope="module")
def codec() -> nacre.ImageCodec:
    return nacre.ImageCodec(weights=TINY, threads=1)


def counted(codec: nacre.ImageCodec, monkeypatch: pytest.MonkeyPatch, picture: Any, **goal: Any) -> bytes:
    """The stream, made with no more encodes than allowed."""
    encodes = 0
    encode, measure = PictureEncoder.encode, PictureEncoder.encode_and_measure

    def count(method: Callable[..., Any]) -> Callable[..., Any]:
        def counting(*arguments: Any) -> Any:
            nonlocal encodes
            encodes += 1
            return method(*arguments)

        return counting

    with monkeypatch.context() as patch:
        patch.setattr(PictureEncoder, "encode", count(encode))
        patch.setattr(PictureEncoder, "encode_and_measure", count(measure))
        data = codec.encode(picture, **goal)
    assert 1 <= encodes <= MAX_TRIALS
    return data


@pytest.mark.parametrize("tiled", [False, True])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_targets(codec: nacre.ImageCodec, monkeypatch: pytest.MonkeyPatch, channels: int, tiled: bool) -> None:
    if tiled:
        monkeypatch.setattr(nacre.image, "choose_tiling", lambda *_: Tiling(64, 16))
    picture = make_picture(130, 200, min(channels, 3))
    if channels == 4:
        picture = np.dstack([picture, np.arange(130 * 200, dtype=np.uint8).reshape(130, 200)])
    low, high = (codec.encode(picture, quality) for quality in (20, 90))
    size = (len(low) + len(high)) // 2
    assert 0.98 * size <= len(counted(codec, monkeypatch, picture, size=size)) <= size
    bpp = 8 * size / (130 * 200)
    data = counted(codec, monkeypatch, picture, bpp=bpp)
    assert 8 * len(data) / (130 * 200) == pytest.approx(bpp, rel=0.02)
    colour = picture if channels == 1 else picture[..., :3]

    def fidelity(data: bytes) -> float:
        decoded = codec.decode_array(data)
        return psnr(colour, decoded if channels == 1 else decoded[..., :3])

    wanted = fidelity(codec.encode(picture, 40))
    assert wanted <= fidelity(counted(codec, monkeypatch, picture, psnr=wanted)) <= wanted + 0.05


def test_size_counts_metadata(codec: nacre.ImageCodec) -> None:
    form = PictureForm(120, 80, False, False, {UnitType.XMP: bytes(1000)})
    file = io.BytesIO()
    made = codec.encode_rows(ArrayRows(form, make_picture(80, 120)), file, size=1600)
    assert 0.98 * 1600 <= made.size == len(file.getvalue()) <= 1600
    assert codec.decode(file.getvalue()).info["xmp"] == bytes(1000)


@pytest.mark.parametrize("tiled", [False, True])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_measured_psnr_is_that_of_the_decoded_picture(
    monkeypatch: pytest.MonkeyPatch, tiled: bool, threads: int, channels: int
) -> None:
    picture = make_picture(200, 150, channels)
    form = PictureForm(150, 200, channels == 1, False)
    codec = nacre.ImageCodec(weights=TINY, threads=threads)
    coder = codec._coder(None, tiles=tiled)
    tiling = Tiling(64, 16) if tiled else Tiling(0, 0)
    file = io.BytesIO()
    encoder = PictureEncoder(coder, tiling, threads, nacre.image.Stopwatch())
    header, measured = encoder.encode_and_measure(ArrayRows(form, picture), 9000, file)
    assert header.tile_size == tiling.size
    assert measured == pytest.approx(psnr(picture, codec.decode_array(file.getvalue())), abs=1e-9)
    plain = io.BytesIO()
    encoder.encode(ArrayRows(form, picture), 9000, plain)
    assert plain.getvalue() == file.getvalue()


@pytest.mark.parametrize(
    ("goal", "message"),
    [
        ({"quality": 60, "bpp": 1.0}, "quality and bpp are given, must be one of quality, bpp, size, psnr"),
        ({"size": 1000, "psnr": 30}, "size and psnr are given"),
        ({"quality": 1, "bpp": 1, "size": 1, "psnr": 1}, "quality and bpp and size and psnr are given"),
        ({"bpp": 0}, "bpp is 0, must be a number above 0"),
        ({"bpp": "1"}, "bpp is '1'"),
        ({"bpp": math.inf}, "bpp is inf"),
        ({"psnr": math.nan}, "psnr is nan"),
        ({"psnr": -3}, "psnr is -3"),
        ({"psnr": True}, "psnr is True"),
        ({"size": 0}, "size is 0, must be a whole number of bytes, at least 1"),
        ({"size": 1.5}, "size is 1.5"),
        ({"size": True}, "size is True"),
        ({"size": "1k"}, "size is '1k'"),
        ({"size": 50}, r"size must be \d+\.\.\d+ bytes for this picture"),
        ({"psnr": 90}, r"psnr must be [\d.]+ dB for this picture"),
        ({"bpp": 20}, r"bpp must be [\d.]+ bits per pixel for this picture"),
    ],
)
def test_goals_that_are_refused(codec: nacre.ImageCodec, goal: dict[str, Any], message: str) -> None:
    file = io.BytesIO()
    with pytest.raises(nacre.InputError, match=message):
        codec.encode_to(make_picture(64, 64), file, **goal)
    assert file.getvalue() == b""


def test_a_source_that_cannot_be_rewound(codec: nacre.ImageCodec) -> None:
    class Once(ArrayRows):
        started = False

        def read(self, count: int) -> Band:
            self.started = True
            return super().read(count)

        def rewind(self) -> None:
            if self.started:
                msg = "it is a pipe"
                raise nacre.InputError(msg)

    form = PictureForm(64, 64, False, False)
    codec.encode_rows(Once(form, make_picture(64, 64)), io.BytesIO(), 60)
    with pytest.raises(nacre.InputError, match="it is a pipe"):
        codec.encode_rows(Once(form, make_picture(64, 64)), io.BytesIO(), size=300)


def test_progress_starts_again_with_every_encode(codec: nacre.ImageCodec) -> None:
    calls: list[tuple[int, int]] = []
    codec.encode_to(make_picture(64, 64), io.BytesIO(), bpp=0.4, progress=lambda *call: calls.append(call))
    assert set(calls) == {(1, 1)}
    assert 1 < len(calls) <= MAX_TRIALS
