"""The rate-distortion cost, normalized so that every rate of one network weighs alike."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nacre.models.transforms import PIXEL_SCALE


def bits_per_pixel(likelihoods: dict[str, Tensor], pixels: int) -> Tensor:
    """Estimated rate (B,) in bits per pixel from likelihoods (B, ...)."""
    total = sum(-torch.log2(value).flatten(1).sum(1) for value in likelihoods.values())
    return total / pixels  # type: ignore[return-value]


def normalized_cost(output: dict[str, Any], x: Tensor, lmbda: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """R / sqrt(lambda) + sqrt(lambda) D per picture, and R in bits per pixel and D on the 0..255 scale, each (B,).

    ``output`` as of ``ImageModel.code``, x what it was given, pixels or patches, lambda (B,).
    """
    rate = bits_per_pixel(output["likelihoods"], x[0].numel() // 3)
    distortion = (output["x_hat"] - x).square().mean((1, 2, 3)) * PIXEL_SCALE**2
    root = lmbda.sqrt()
    return rate / root + root * distortion, rate, distortion
