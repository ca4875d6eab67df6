"""Metrics against other implementations and by their defining properties."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

pytest.importorskip("scipy")

from nacre.bitstream.errors import InputError
from nacre.tools.metrics import METRICS, Metric
from nacre.tools.pictures import Picture


def picture(height: int, width: int, seed: int = 0) -> Picture:
    """A smooth coloured scene with some noise."""
    y, x = np.mgrid[:height, :width] / 24.0
    waves = np.stack([np.sin(x + y), np.cos(x - 0.7 * y), np.sin(0.3 * x * y / 8.0)], axis=-1)
    noise = np.random.default_rng(seed).normal(0.0, 0.05, waves.shape)
    pixels: Picture = np.clip(127.5 + 100.0 * (waves + noise), 0.0, 255.0).astype(np.uint8)
    return pixels


def noisy(clean: Picture, sigma: float) -> Picture:
    noise = np.random.default_rng(7).normal(0.0, sigma, clean.shape)
    return np.clip(np.rint(clean + noise), 0.0, 255.0).astype(np.uint8)


def available(metric: Metric) -> bool:
    try:
        metric.check()
    except InputError:
        return False
    return True


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_more_noise_is_worse(metric: Metric) -> None:
    if not available(metric):
        pytest.skip(f"{metric.name} is not installed")
    clean = picture(176, 200)
    values = [metric(clean, noisy(clean, sigma)) for sigma in (2.0, 8.0, 24.0)]
    assert values == sorted(values, reverse=metric.higher_is_better)


@pytest.mark.parametrize(
    ("name", "best"), [("psnr", math.inf), ("psnr-yuv", math.inf), ("ssim", 1.0), ("ms-ssim", 1.0)]
)
def test_an_identical_picture(name: str, best: float) -> None:
    clean = picture(161, 161)
    assert METRICS[name](clean, clean) == pytest.approx(best)


@pytest.mark.parametrize("size", [(161, 163), (200, 178)])
def test_ssim_and_ms_ssim_agree_with_pytorch_msssim(size: tuple[int, int]) -> None:
    torch: Any = pytest.importorskip("torch")
    reference: Any = pytest.importorskip("pytorch_msssim")
    clean = picture(*size)
    worse = noisy(clean, 12.0)
    tensors = [torch.from_numpy(a.transpose(2, 0, 1).astype(np.float64))[None] for a in (clean, worse)]
    for name, function in (("ssim", reference.ssim), ("ms-ssim", reference.ms_ssim)):
        # its window is rounded to float32, which the variances magnify
        assert METRICS[name](clean, worse) == pytest.approx(float(function(*tensors, data_range=255)), abs=2e-5)


def test_psnr_yuv_of_a_grey_error_is_its_luma_psnr() -> None:
    clean = (picture(40, 40) // 2).astype(np.uint8)
    brighter = (clean + 5).astype(np.uint8)
    # U and V are untouched but for rounding in the matrix: only the luma term is finite in exact arithmetic.
    difference = METRICS["psnr-yuv"](clean, brighter)
    assert difference > 6.0 / 8.0 * 10.0 * math.log10(255.0**2 / 25.0)
    red = clean.copy()
    red[..., 0] += 10
    planes = (0.2126, 0.2126 / 1.8556, 0.5)
    expected = sum(w * 20.0 * math.log10(255.0 / (10.0 * p)) for w, p in zip((6, 1, 1), planes, strict=True)) / 8.0
    assert METRICS["psnr-yuv"](clean, red) == pytest.approx(expected)


def test_what_a_metric_refuses() -> None:
    with pytest.raises(InputError, match=r"ms-ssim: 200x160, must be at least 161 pixels"):
        METRICS["ms-ssim"](picture(160, 200), picture(160, 200))
    with pytest.raises(InputError, match=r"psnr: shapes \(8, 8, 3\) and \(8, 9, 3\)"):
        METRICS["psnr"](picture(8, 8), picture(8, 9))
    absent = Metric("none", "None", METRICS["psnr"].function, packages=("nacre_no_such_module",))
    with pytest.raises(InputError, match=r"nacre_no_such_module is not installed: pip install 'nacre\[eval\]'"):
        absent.check()
