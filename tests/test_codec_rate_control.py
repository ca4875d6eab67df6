"""Rate control against a coder whose frames vary in cost."""

from __future__ import annotations

import itertools
import math
import random

import pytest

from nacre.rate_control import RateControl, RateGoal

PIXELS = 640 * 360


def encode(
    goal: RateGoal, *, seconds: float = 10.0, rate: float = 30.0, gop: int = 32, seed: int = 0, cut: bool = False
) -> tuple[list[int], list[float]]:
    """Bits and qualities of a clip whose complexity wanders, and jumps where there is a ``cut``."""
    random_ = random.Random(seed)
    control = RateControl(goal, rate, gop, PIXELS)
    sizes, qualities = [], []
    complexity = 0.0
    for number in range(round(seconds * rate)):
        intra = number % gop == 0
        complexity += random_.gauss(0, 0.05)
        if cut and number == round(seconds * rate / 2):
            complexity += 1.5
        true = math.log2((0.4 if intra else 0.03) * PIXELS) + complexity + random_.gauss(0, 0.1)
        quality = control.quality(intra=intra)

        def size(value: float, true: float = true) -> int:
            return round(2 ** (true + 5.5 / 100 * (value - 50)))

        while control.limit is not None and size(quality) > control.limit:
            lower = control.lower(quality, size(quality))
            if lower is None:
                break
            quality = lower
        control.coded(quality, size(quality), intra=intra)
        sizes.append(size(quality))
        qualities.append(quality)
    return sizes, qualities


@pytest.mark.parametrize("bitrate", [1e5, 4e5, 1e6])
@pytest.mark.parametrize("seed", range(4))
def test_average_is_met_within_three_percent_over_ten_seconds(bitrate: float, seed: int) -> None:
    sizes, _ = encode(RateGoal(bitrate), seed=seed)
    assert sum(sizes) / 10 == pytest.approx(bitrate, rel=0.03)


def test_a_harder_second_half_is_paid_for() -> None:
    sizes, qualities = encode(RateGoal(1e6), cut=True, seconds=20)
    assert sum(sizes) / 20 == pytest.approx(1e6, rel=0.03)
    assert min(qualities[-100:]) < max(qualities[100:200])


def test_quality_is_steady_within_a_group() -> None:
    _, qualities = encode(RateGoal(1e6))
    steps = [abs(a - b) for a, b in itertools.pairwise(qualities[40:])]
    assert sum(steps) / len(steps) < 2.5


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("cut", [False, True])
def test_the_buffer_never_underflows(seed: int, cut: bool) -> None:
    goal = RateGoal(1e6, maximum=1.2e6, buffer=6e5)
    sizes, _ = encode(goal, seed=seed, cut=cut)
    assert goal.maximum is not None
    assert goal.buffer is not None
    fullness = 0.9 * goal.buffer
    for size in sizes:
        fullness -= size
        assert fullness >= 0
        fullness = min(fullness + goal.maximum / 30, goal.buffer)


def test_what_cannot_get_smaller_is_said() -> None:
    control = RateControl(RateGoal(1e5, 1e5, 1e5), 30, 32, PIXELS)
    assert control.limit == 90_000
    quality: float | None = 80.0
    tried = []
    while quality is not None:
        tried.append(quality)
        quality = control.lower(quality, 200_000)
    assert tried == sorted(tried, reverse=True)
    assert tried[-1] == 0.0


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ((0.0, None, None), "bitrate is 0"),
        ((1e6, 5e5, 1e6), "maxrate is 500000, must be at least the bitrate"),
        ((1e6, 2e6, None), "belong together"),
        ((1e6, 2e6, float("inf")), "bufsize is inf"),
    ],
)
def test_goals_that_make_no_sense_are_refused(numbers: tuple[float, float | None, float | None], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        RateGoal(*numbers)
