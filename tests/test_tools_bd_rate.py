"""BD-rate and BD-quality against published figures and by their defining properties."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("scipy")

from nacre.bitstream.errors import InputError
from nacre.tools.bd_rate import bd_quality, bd_rate
from nacre.tools.curves import Curve, decibel, load_published

# Kodak means as InterDigitalInc/CompressAI publishes them (results/image/kodak): bits per pixel, PSNR over RGB.
VTM = Curve(
    "vtm",
    (0.04824, 0.1125, 0.24582, 0.49055, 0.87481, 1.43085, 2.32461, 3.63261),
    (26.14485, 28.49302, 31.19987, 34.26153, 37.41979, 40.42444, 43.50577, 46.59176),
)
BPG = Curve(
    "bpg_444_x265_ycbcr",
    (0.06777, 0.16102, 0.35155, 0.6847, 1.19967, 1.92971, 3.05788, 4.70314),
    (26.19513, 28.68155, 31.59466, 34.85747, 38.25989, 41.47887, 44.70311, 47.63252),
)
MBT2018_MEAN = Curve(
    "mbt2018-mean",
    (0.12392, 0.19798, 0.30724, 0.46061, 0.66167, 0.9144, 1.23421, 1.61909),
    (27.69947, 29.35881, 31.12892, 32.95068, 34.96832, 36.91109, 38.83751, 40.63331),
)


@pytest.mark.parametrize(("test", "published"), [(BPG, 22.0), (MBT2018_MEAN, 21.3)])
def test_published_bd_rates(test: Curve, published: float) -> None:
    assert bd_rate(VTM, test).value == pytest.approx(published, abs=0.5)


@pytest.mark.parametrize(
    ("name", "published"),
    [("av1", 16.2), ("bpg_444_x265_ycbcr", 22.0), ("compressai-mbt2018-mean_mse_cpu", 21.3), ("webp", 78.8)],
)
def test_published_bd_rates_from_the_file(kodak_curves: Path, name: str, published: float) -> None:
    anchor, test = (
        Curve.of(codec, load_published(f"{kodak_curves}:{codec}").points_of("psnr")) for codec in ("vtm", name)
    )
    assert bd_rate(anchor, test).value == pytest.approx(published, abs=0.5)


def test_a_curve_shifted_in_rate_gives_the_shift() -> None:
    dearer = Curve("dearer", tuple(1.25 * rate for rate in VTM.rate), VTM.quality)
    difference = bd_rate(VTM, dearer)
    assert difference.value == pytest.approx(25.0)
    assert (difference.low, difference.high) == (VTM.quality[0], VTM.quality[-1])
    assert bd_rate(dearer, VTM).value == pytest.approx(-20.0)


def test_a_curve_shifted_in_quality_gives_the_shift() -> None:
    better = Curve("better", VTM.rate, tuple(quality + 0.7 for quality in VTM.quality))
    assert bd_quality(VTM, better).value == pytest.approx(0.7)
    assert bd_quality(VTM, VTM).value == 0.0


def test_the_interval_is_kept_and_reported() -> None:
    low, high = bd_rate(VTM, BPG, (0.0, 33.0)), bd_rate(VTM, BPG, (33.0, 99.0))
    whole = bd_rate(VTM, BPG)
    assert (low.low, low.high) == (BPG.quality[0], 33.0)
    assert (high.low, high.high) == (33.0, VTM.quality[-1])
    assert min(low.value, high.value) < whole.value < max(low.value, high.value)
    assert str(bd_rate(VTM, VTM, (28.5, 40.0))) == "+0.00 over 28.50..40.00"


def test_curves_that_do_not_overlap_are_an_error() -> None:
    far = Curve("far", (1.0, 2.0), (50.0, 55.0))
    with pytest.raises(InputError, match=r"do not overlap.*vtm 26.14..46.59.*far 50..55"):
        bd_rate(VTM, far)
    with pytest.raises(InputError, match=r"do not overlap within 10..20"):
        bd_rate(VTM, BPG, (10.0, 20.0))
    with pytest.raises(InputError, match="do not overlap"):
        bd_quality(VTM, Curve("tiny", (0.001, 0.002), (30.0, 31.0)))


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([(0.1, 30.0)], "at least 2"),
        ([(0.1, 30.0), (0.0, 20.0)], "above 0"),
        ([(0.1, 30.0), (0.2, float("inf"))], "finite"),
        ([(0.1, 30.0), (0.2, 30.0)], "rise together"),
        ([(0.1, 30.0), (0.2, 29.0), (0.3, 31.0)], "rise together"),
    ],
)
def test_points_that_are_no_curve(points: list[tuple[float, float]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Curve.of("broken", points)


def test_published_files(tmp_path: Path) -> None:
    path = tmp_path / "points.json"
    path.write_text(
        json.dumps({"meta": {}, "set": {"codec a": {"bpp": [1, 2], "psnr_rgb": [30, 40], "ms_ssim": [0.9, 0.99]}}})
    )
    published = load_published(f"{path}:codec a")
    assert published.points_of("psnr") == [(1.0, 30.0), (2.0, 40.0)]
    assert [value for _, value in published.points_of("ms-ssim-db")] == pytest.approx([10.0, 20.0])
    assert published.points_of("ssim") == []
    assert decibel(1.0) == float("inf")
    with pytest.raises(InputError, match=r"0 curves named 'b'.*codec a"):
        load_published(f"{path}:b")
    with pytest.raises(InputError, match=r"must be FILE\.json:NAME"):
        load_published("vtm")
    with pytest.raises(InputError, match="cannot be read"):
        load_published(f"{tmp_path / 'none.json'}:a")
