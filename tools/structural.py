"""PSNR and structural similarity of 8-bit RGB pictures, in NumPy and SciPy; nacre.tools.metrics defines each."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from nacre.tools.extras import require
from nacre.tools.pictures import Picture

_BT709 = np.array(
    [[0.2126, 0.7152, 0.0722], [-0.2126 / 1.8556, -0.7152 / 1.8556, 0.5], [0.5, -0.7152 / 1.5748, -0.0722 / 1.5748]]
)
_MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_WINDOW = np.exp(-(np.arange(-5.0, 6.0) ** 2) / (2 * 1.5**2))

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
