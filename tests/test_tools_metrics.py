"""Metrics against other implementations and by their defining properties."""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clips import make_clip

pytest.importorskip("scipy")

from nacre.bitstream.errors import InputError
from nacre.tools import perceptual
from nacre.tools.clip_metrics import plane_psnrs
from nacre.tools.curves import decibel
from nacre.tools.metrics import METRICS, Metric, described_metrics
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


def skip_unless_available(metric: Metric, *, clips: bool = False) -> None:
    try:
        metric.check(clips=clips)
    except InputError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_more_noise_is_worse(metric: Metric) -> None:
    skip_unless_available(metric)
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


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_more_noise_is_worse_in_clips(metric: Metric) -> None:
    skip_unless_available(metric, clips=True)
    clip = make_clip(192, 176, 2)
    values = [metric.of_clip(clip, noisy(clip.frames, sigma)) for sigma in (2.0, 8.0, 24.0)]
    assert values == sorted(values, reverse=metric.higher_is_better)


def test_metrics_of_clips_are_means_over_frames() -> None:
    clip = make_clip(192, 176, 3)
    worse = noisy(clip.frames, 6.0)
    worse[1] = clip.frames[1]
    pictures = [(clip.picture(k), clip.picture(k, worse)) for k in range(3)]
    values = [METRICS["psnr"](*pictures[0]), 100.0, METRICS["psnr"](*pictures[2])]  # a frame without error counts 100
    assert METRICS["psnr"].of_clip(clip, worse) == pytest.approx(sum(values) / 3)
    similar = [METRICS["ms-ssim"](*pair) for pair in pictures]
    assert METRICS["ms-ssim"].of_clip(clip, worse) == pytest.approx(sum(similar) / 3)
    assert METRICS["ms-ssim-db"].of_clip(clip, worse) == pytest.approx(decibel(sum(similar) / 3))
    planes = plane_psnrs(clip.frames, worse)
    expected = sum((6 * y + u + v) / 8 for y, u, v in planes.tolist()) / 3
    assert METRICS["psnr-yuv"].of_clip(clip, worse) == pytest.approx(expected)


def test_what_a_metric_of_clips_refuses() -> None:
    clip = make_clip(96, 80, 2)
    with pytest.raises(InputError, match=r"ms-ssim: 96x80, must be at least 161 pixels"):
        METRICS["ms-ssim"].of_clip(clip, clip.frames)
    with pytest.raises(InputError, match=r"psnr-yuv: shapes \(2, 120, 96\) and \(1, 120, 96\)"):
        METRICS["psnr-yuv"].of_clip(clip, clip.frames[:1])
    with pytest.raises(InputError, match="vmaf: is a metric of clips, not of pictures"):
        METRICS["vmaf"].check()


def test_what_cannot_be_had_is_named_with_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = described_metrics()
    assert listed.startswith("psnr, psnr-yuv, ssim ('nacre[eval]')")
    assert "butteraugli (libjxl's program butteraugli_main)" in listed
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InputError, match="butteraugli: the program butteraugli_main of libjxl is not on the path"):
        METRICS["butteraugli"].check()

    def absent(module: str, install: str = "") -> Any:
        msg = f"{module} is not installed: pip install {install}"
        raise InputError(msg)

    perceptual.find_vmaf.cache_clear()
    monkeypatch.setattr(perceptual, "require", absent)
    with pytest.raises(
        InputError, match=r"vmaf: there is no ffmpeg with the filter libvmaf.*pip install imageio-ffmpeg"
    ):
        METRICS["vmaf"].check(clips=True)


def program(folder: Path, name: str, lines: str) -> None:
    """An executable shell script in a folder."""
    (folder / name).write_text(f"#!/bin/sh\n{lines}\n")
    (folder / name).chmod(0o755)


@pytest.mark.skipif(sys.platform == "win32", reason="stands in for programs by shell scripts")
def test_programs_are_run_and_their_failures_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    clean = picture(20, 24)
    program(tmp_path, "butteraugli_main", "test -f $1 -a -f $2 && echo 9.5 && echo 3-norm: 1.25")
    assert METRICS["butteraugli"](clean, clean) == 1.25
    program(tmp_path, "butteraugli_main", "echo nothing")
    with pytest.raises(InputError, match="printed no 3-norm: 'nothing'"):
        METRICS["butteraugli"](clean, clean)
    program(tmp_path, "butteraugli_main", "echo first >&2; echo no memory >&2; exit 3")
    with pytest.raises(InputError, match=r"butteraugli_main failed \(3\): no memory"):
        METRICS["butteraugli"](clean, clean)
    scores = '{"pooled_metrics": {"vmaf": {"mean": 87.5}}}'
    program(
        tmp_path, "ffmpeg", f"case $* in *-filters) echo ' .. libvmaf  VV->V';; *) echo '{scores}' >vmaf.json;; esac"
    )
    perceptual.find_vmaf.cache_clear()
    clip = make_clip(32, 32, 2)
    assert METRICS["vmaf"].of_clip(clip, clip.frames) == 87.5
    perceptual.find_vmaf.cache_clear()
