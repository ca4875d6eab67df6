"""The rate-distortion cost, normalized so that every rate of one network weighs alike."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def bits_per_pixel(likelihoods: dict[str, Tensor], pixels: int) -> Tensor:
    """Estimated rate (B,) in bits per pixel from likelihoods (B, ...)."""
    total = sum(-torch.log2(value).flatten(1).sum(1) for value in likelihoods.values())
    return total / pixels  # type: ignore[return-value]


def squared_error(x_hat: Tensor, x: Tensor) -> Tensor:
    """Mean squared error (B,) on the 0..255 scale of pictures in 0..1."""
    return ((x_hat.float() - x) * 255.0).square().flatten(1).mean(1)


def normalized_cost(output: dict[str, Any], x: Tensor, lmbda: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """R / sqrt(lambda) + sqrt(lambda) D per picture, and R in bits per pixel and D on the 0..255 scale, each (B,)."""
    rate = bits_per_pixel(output["likelihoods"], x.shape[2] * x.shape[3])
    distortion = squared_error(output["x_hat"], x)
    root = lmbda.sqrt()
    return rate / root + root * distortion, rate, distortion
