"""Distortion metrics between 8-bit RGB pictures, with their definitions.

Every metric takes two (H, W, 3) uint8 arrays, reference first, exactly as a user gets them from the decoder.

| name | definition |
| --- | --- |
| psnr | 10 log10(255^2 / MSE), MSE over all R, G and B samples; dB |
| psnr-yuv | 6:1:1 PSNR: (6 Y + U + V) / 8 of the planes' PSNRs, BT.709 full range, unrounded, without subsampling; dB |
| ssim | Wang et al. 2004, window 11 with sigma 1.5, no padding, mean over R, G and B |
| ms-ssim | Wang et al. 2003, five scales, on R, G and B, as pytorch-msssim (CompressAI) computes it |
| ms-ssim-db | -10 log10(1 - MS-SSIM); of a set of pictures, of their mean MS-SSIM, as CompressAI plots it; dB |
| ssimulacra2 | SSIMULACRA 2.1 (Sneyers, Cloudinary 2023) by the package ssimulacra2; 100 is identical |
| lpips | LPIPS 0.1 (Zhang et al. 2018), AlexNet, by the package lpips; needs torchvision's AlexNet weights |
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nacre.bitstream.errors import InputError
from nacre.metrics import psnr
from nacre.tools.curves import decibel
from nacre.tools.extras import require
from nacre.tools.pictures import Picture

_BT709 = np.array(
    [[0.2126, 0.7152, 0.0722], [-0.2126 / 1.8556, -0.7152 / 1.8556, 0.5], [0.5, -0.7152 / 1.5748, -0.0722 / 1.5748]]
)
_MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_WINDOW = np.exp(-(np.arange(-5.0, 6.0) ** 2) / (2 * 1.5**2))
_ALEXNET = "alexnet-owt-7be5be79.pth"

Planes = NDArray[np.float64]  # (3, H, W)


def psnr_yuv(reference: Picture, picture: Picture) -> float:
    """(6 Y + U + V) / 8 of the PSNRs of the BT.709 planes, dB; inf where a plane is equal."""
    difference = (reference.astype(np.float64) - picture) @ _BT709.T
    errors = np.mean(np.square(difference), axis=(0, 1))
    planes = [math.inf if error == 0.0 else 10.0 * math.log10(255.0**2 / error) for error in errors.tolist()]
    return (6.0 * planes[0] + planes[1] + planes[2]) / 8.0


def _blur(planes: Planes) -> Planes:
    """Gaussian window of 11, sigma 1.5, over the positions where it fits."""
    correlate = require("scipy.ndimage").correlate1d
    window = _WINDOW / _WINDOW.sum()
    across = correlate(planes, window, axis=2)[:, :, 5:-5]
    blurred: Planes = correlate(across, window, axis=1)[:, 5:-5]
    return blurred


def _similarity(x: Planes, y: Planes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """SSIM and its contrast-structure factor of each plane, (3,) both."""
    c1, c2 = (0.01 * 255.0) ** 2, (0.03 * 255.0) ** 2
    mean_x, mean_y = _blur(x), _blur(y)
    spread = _blur(x * x) - mean_x**2 + _blur(y * y) - mean_y**2
    contrast = (2.0 * (_blur(x * y) - mean_x * mean_y) + c2) / (spread + c2)
    luminance = (2.0 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return (luminance * contrast).mean(axis=(1, 2)), contrast.mean(axis=(1, 2))


def _planes(picture: Picture) -> Planes:
    return picture.transpose(2, 0, 1).astype(np.float64)


def ssim(reference: Picture, picture: Picture) -> float:
    """Mean SSIM of R, G and B, at most 1."""
    return float(_similarity(_planes(reference), _planes(picture))[0].mean())


def _halve(planes: Planes) -> Planes:
    """Mean of 2x2 samples; an odd side gets a zero row or column first, as pytorch-msssim pads it."""
    height, width = planes.shape[1:]
    planes = np.pad(planes, ((0, 0), (height % 2, 0), (width % 2, 0)))
    return (planes[:, ::2, ::2] + planes[:, 1::2, ::2] + planes[:, ::2, 1::2] + planes[:, 1::2, 1::2]) / 4.0


def ms_ssim(reference: Picture, picture: Picture) -> float:
    """MS-SSIM over five scales, mean of R, G and B, 0..1."""
    x, y = _planes(reference), _planes(picture)
    product = np.ones(3)
    for scale, weight in enumerate(_MS_SSIM_WEIGHTS):
        if scale:
            x, y = _halve(x), _halve(y)
        whole, contrast = _similarity(x, y)
        last = scale == len(_MS_SSIM_WEIGHTS) - 1
        product *= np.maximum(whole if last else contrast, 0.0) ** weight
    return float(product.mean())


def ssimulacra2(reference: Picture, picture: Picture) -> float:
    """SSIMULACRA2: 100 identical, 90 hardly distinguishable, 70 high, 50 medium, 30 low quality; may be below 0."""
    files = []
    for pixels in (reference, picture):
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "BMP")
        files.append(file)
    return float(require("ssimulacra2").compute_ssimulacra2(*files))


def _alexnet_weights() -> Path:
    return Path(require("torch.hub").get_dir()) / "checkpoints" / _ALEXNET


@cache
def _lpips_network() -> Any:
    return require("lpips").LPIPS(net="alex", verbose=False).eval()


def lpips(reference: Picture, picture: Picture) -> float:
    """LPIPS with AlexNet features, 0 is identical."""
    torch = require("torch")
    tensors = [torch.from_numpy(_planes(pixels) / 127.5 - 1.0).float()[None] for pixels in (reference, picture)]
    with torch.inference_mode():
        return float(_lpips_network()(*tensors))


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric and what tables and plots need of it. packages: the modules it needs; install: what brings them."""

    name: str
    label: str
    function: Callable[[Picture, Picture], float]
    higher_is_better: bool = True
    minimum_side: int = 1
    packages: tuple[str, ...] = ()
    install: str = "'nacre[eval]'"

    def check(self) -> None:
        """Raise InputError where the metric cannot be computed on this machine."""
        try:
            for package in self.packages:
                require(package, self.install)
        except InputError as error:
            msg = f"{self.name}: {error}"
            raise InputError(msg) from error
        if self.name == "lpips" and not _alexnet_weights().exists():
            msg = f"{self.name}: {_alexnet_weights()} does not exist (torchvision's AlexNet weights)"
            raise InputError(msg)

    def __call__(self, reference: Picture, picture: Picture) -> float:
        """The metric's value. Raises InputError where the shapes differ or a side is too short for the metric."""
        if reference.shape != picture.shape:
            msg = f"{self.name}: shapes {reference.shape} and {picture.shape}, must be equal"
            raise InputError(msg)
        if min(reference.shape[:2]) < self.minimum_side:
            height, width = reference.shape[:2]
            msg = f"{self.name}: {width}x{height}, must be at least {self.minimum_side} pixels on each side"
            raise InputError(msg)
        return self.function(reference, picture)


METRICS = {
    metric.name: metric
    for metric in (
        Metric("psnr", "PSNR (RGB), dB", psnr),
        Metric("psnr-yuv", "PSNR (YUV 6:1:1), dB", psnr_yuv),
        Metric("ssim", "SSIM", ssim, minimum_side=11, packages=("scipy.ndimage",)),
        Metric("ms-ssim", "MS-SSIM", ms_ssim, minimum_side=161, packages=("scipy.ndimage",)),
        Metric(
            "ms-ssim-db",
            "MS-SSIM, dB",
            lambda a, b: decibel(ms_ssim(a, b)),
            minimum_side=161,
            packages=("scipy.ndimage",),
        ),
        Metric("ssimulacra2", "SSIMULACRA2", ssimulacra2, minimum_side=8, packages=("ssimulacra2",)),
        Metric(
            "lpips",
            "LPIPS (AlexNet)",
            lpips,
            higher_is_better=False,
            minimum_side=32,
            packages=("lpips", "torch"),
            install="lpips",
        ),
    )
}
DEFAULT_METRICS = ("psnr", "ms-ssim-db")
