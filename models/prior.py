"""The factorized prior of the hyper-latent: CompressAI's entropy bottleneck, stretched and moved per entropy row."""

from __future__ import annotations

import numpy as np
import torch
from compressai.entropy_models import EntropyBottleneck
from compressai.ops import LowerBound
from numpy.typing import NDArray
from torch import Tensor, nn

from nacre.models.blocks import anchor_weights
from nacre.models.conditional import LIKELIHOOD_MIN
from nacre.models.config import ImageConfig


class HyperPrior(nn.Module):
    """p(z) per channel: F(a z + b) with F the learned univariate CDF (Balle et al. 2018) and a, b set by the row."""

    def __init__(self, config: ImageConfig) -> None:
        super().__init__()
        channels = config.hyper_channels
        self.anchors = config.anchors
        self.bottleneck = EntropyBottleneck(channels, init_scale=4.0)
        self.log_stretch = nn.Parameter(torch.zeros(config.anchors, channels))
        self.shift = nn.Parameter(torch.zeros(config.anchors, channels))
        self.bound = LowerBound(LIKELIHOOD_MIN)

    def _interval(self, lower: Tensor, upper: Tensor) -> Tensor:
        """Probability between two bounds, (channels, 1, N) each, evaluated on the side where the CDF is small."""
        low = self.bottleneck._logits_cumulative(lower, stop_gradient=False)
        high = self.bottleneck._logits_cumulative(upper, stop_gradient=False)
        sign = torch.where(low + high > 0, -1.0, 1.0)
        return (torch.sigmoid(sign * high) - torch.sigmoid(sign * low)).abs()

    def forward(self, z: Tensor, position: Tensor) -> Tensor:
        """Likelihoods of z (B, channels, h, w), noisy or rounded, at entropy rows ``position`` (B,) in 0..1."""
        weights = anchor_weights(position, self.anchors)
        stretch = torch.exp(weights @ self.log_stretch)[:, :, None, None]
        shift = (weights @ self.shift)[:, :, None, None]
        batch, channels, height, width = z.shape

        def flat(values: Tensor) -> Tensor:
            return values.permute(1, 0, 2, 3).reshape(channels, 1, -1)

        likelihood = self._interval(flat((z - 0.5) * stretch + shift), flat((z + 0.5) * stretch + shift))
        likelihood = likelihood.view(channels, batch, height, width).permute(1, 0, 2, 3)
        return self.bound(likelihood)

    @torch.no_grad()
    def pmf(self, row_position: float, radius: int) -> NDArray[np.float64]:
        """Probabilities of -radius..radius for every channel at an entropy row, (channels, 2 radius + 1)."""
        channels = self.shift.shape[1]
        symbols = torch.arange(-radius, radius + 1, dtype=torch.float32)
        z = symbols.view(1, 1, 1, -1).expand(1, channels, 1, -1)
        return self.forward(z, torch.tensor([row_position]))[0, :, 0].double().numpy()
