"""The integer scale decoder, trained quantization-aware: the torch twin of nacre.entropy.network.

All tensors hold integers in float32. Every layer computes clip(floor((W @ x + bias + 2^(s-1)) / 2^s), lo, hi); weights
are limited to -64..63, hidden activations to 0..255 with four fractional bits, the last layer's output is the index of
the scale, 0..63. Rounding passes gradients straight through.
"""

from __future__ import annotations

import math
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nacre.entropy.scales import SCALE_LEVELS
from nacre.models.blocks import anchor_weights
from nacre.models.config import ImageConfig
from nacre.models.rounding import floor_ste, round_ste

WEIGHT_MAX = 63.0
HIDDEN_MAX = 255.0
HIDDEN_FRACTION = 4
Z_MAX = 127
PRIOR_MAX = 15
PRIOR_GAIN = 8.0  # most of these symbols are zero
ACCUMULATOR_LIMIT = 2.0**24


class IntegerConv(nn.Module):
    """One layer; ``anchors`` > 1 gives it a bias for each entropy row, interpolated between that many anchors.

    ``first``: the largest magnitude of symbols, where the layer sees these instead of activations.

    ``stored_bias`` (rows, outputs): the integer biases of published weights, used in place of interpolated ones, whose
    last digit may round differently from batch to batch, until the layer is trained again.
    """

    stored_bias: Tensor | None

    def __init__(
        self, inputs: int, outputs: int, *, kernel: int, first: int = 0, last: bool = False, anchors: int = 1
    ) -> None:
        super().__init__()
        self.kernel, self.anchors = kernel, anchors
        self.in_fraction = 0 if first else HIDDEN_FRACTION
        self.in_max = float(first) if first else HIDDEN_MAX
        self.out_fraction = 0 if last else HIDDEN_FRACTION
        self.out_max = float(SCALE_LEVELS - 1) if last else HIDDEN_MAX
        self.weight = nn.Parameter(torch.empty(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(anchors, outputs))
        self.register_buffer("stored_bias", None, persistent=False)
        nn.init.normal_(self.weight, std=(0.3 if last else 1.0) / math.sqrt(inputs * kernel * kernel))

    def train(self, mode: bool = True) -> Self:
        """As in ``nn.Module``; training lets go of stored biases."""
        if mode:
            self.stored_bias = None
        return super().train(mode)

    def weight_exponents(self) -> Tensor:
        """Fractional bits of each output channel's weights (outputs,): the most that keep weights and sums in range."""
        with torch.no_grad():
            flat = self.weight.flatten(1)
            largest = flat.abs().amax(1).clamp_min(1e-6)
            total = flat.abs().sum(1).clamp_min(1e-6) * self.in_max
            by_range = torch.floor(torch.log2(WEIGHT_MAX / largest))
            by_sum = torch.floor(torch.log2(ACCUMULATOR_LIMIT / 4 / total))
            # at least 0 after the shift, at most 12 so that biases stay small beside 2^24
            return torch.minimum(by_range, by_sum).clamp(self.out_fraction - self.in_fraction, 12)

    def integers(self, position: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Integer weights (O, I, k, k), biases (rows, O) for the positions given, and shifts (O,), as float32."""
        exponent = self.weight_exponents()
        weight = round_ste(self.weight * torch.exp2(exponent)[:, None, None, None]).clamp(-WEIGHT_MAX - 1, WEIGHT_MAX)
        if self.stored_bias is None:
            bias = self.bias if self.anchors == 1 else anchor_weights(position, self.anchors) @ self.bias
            bias = round_ste(bias * torch.exp2(exponent + self.in_fraction))
        else:
            bias = self.stored_bias[torch.round(position * (len(self.stored_bias) - 1)).long()]
        return weight, bias, exponent + self.in_fraction - self.out_fraction

    def forward(self, x: Tensor, position: Tensor) -> Tensor:
        weight, bias, shift = self.integers(position)
        accumulator = F.conv2d(x, weight, padding=self.kernel // 2) + bias[:, :, None, None]
        half = torch.where(shift > 0, torch.exp2(shift - 1), torch.zeros_like(shift))
        scaled = (accumulator + half[:, None, None]) * torch.exp2(-shift)[:, None, None]
        return floor_ste(scaled).clamp(0.0, self.out_max)


class ScaleDecoder(nn.Module):
    """z_hat (B, hyper_channels, h, w), integers in -127..127 -> scale index (B, latent_channels, 4h, 4w) in 0..63.

    ``position`` (B,) in 0..1 is the entropy row divided by rows - 1. With ``scale_prior`` the last layer sees what a
    further one makes of ``before`` (B, latent_channels, 4h, 4w): magnitudes of the symbols of the frame before, cut off
    at ``PRIOR_MAX``; None where there are none, which are zeros then.
    """

    def __init__(self, config: ImageConfig) -> None:
        super().__init__()
        hidden, up, fine, anchors = config.scale_hidden, config.scale_upsampled, config.scale_fine, config.anchors
        latent, prior = config.latent_channels, config.scale_prior
        self.layers = nn.ModuleList(
            [
                IntegerConv(config.hyper_channels, hidden, kernel=3, first=Z_MAX, anchors=anchors),
                IntegerConv(hidden, 4 * up, kernel=1),
                IntegerConv(up, hidden, kernel=3),
                IntegerConv(hidden, 4 * fine, kernel=1),
                IntegerConv(fine + prior, latent, kernel=1, last=True, anchors=anchors),
            ]
        )
        self.prior = IntegerConv(latent, prior, kernel=1, first=PRIOR_MAX, anchors=anchors) if prior else None
        if self.prior is not None:
            nn.init.normal_(self.prior.weight, std=PRIOR_GAIN / math.sqrt(latent))
        self.upsample_after = (1, 3)

    @torch.autocast("cpu", enabled=False)
    @torch.autocast("cuda", enabled=False)
    def forward(self, z_hat: Tensor, position: Tensor, before: Tensor | None = None) -> Tensor:
        h = z_hat.float()
        for number, layer in enumerate(self.layers[:-1]):
            h = layer(h, position)
            if number in self.upsample_after:
                h = F.pixel_shuffle(h, 2)
        if self.prior is not None:
            if before is None:
                before = h.new_zeros(len(h), self.prior.weight.shape[1], *h.shape[2:])
            h = torch.cat([h, self.prior(before, position)], 1)
        index: Tensor = self.layers[-1](h, position)
        return index


def prior_of(symbols: Tensor) -> Tensor:
    """What the frame behind sees of the symbols of a latent (B, C, h, w), without a gradient."""
    return symbols.detach().abs().clamp_max(PRIOR_MAX)
