"""Building blocks shared by the transforms: residual blocks and gains that depend on quality."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def anchor_weights(position: Tensor, anchors: int) -> Tensor:
    """Linear interpolation weights (B, anchors) of positions in 0..1 between equally spaced anchors."""
    grid = torch.arange(anchors, device=position.device, dtype=torch.float32)
    return torch.relu(1.0 - (position.float()[:, None] * (anchors - 1) - grid).abs())


class QualityGain(nn.Module):
    """A positive gain per channel, log-linear between anchors on the quality axis.

    ``position`` is quality / 100, (B,); the result is (B, channels, 1, 1).
    """

    def __init__(self, channels: int, anchors: int) -> None:
        super().__init__()
        self.anchors = anchors
        self.log_gain = nn.Parameter(torch.zeros(anchors, channels))

    def forward(self, position: Tensor) -> Tensor:
        return torch.exp(anchor_weights(position, self.anchors) @ self.log_gain)[:, :, None, None]


class ResidualBlock(nn.Module):
    """x + gain(quality) * project(relu(expand(depthwise 3x3(x)))), the projection starting at zero."""

    def __init__(self, channels: int, hidden: int, anchors: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.expand = nn.Conv2d(channels, hidden, 1)
        self.project = nn.Conv2d(hidden, channels, 1)
        self.gain = QualityGain(channels, anchors)
        with torch.no_grad():
            self.depthwise.weight.mul_(0.3)
            self.depthwise.weight[:, :, 1, 1] += 1.0
        nn.init.zeros_(self.project.weight)
        for layer in (self.depthwise, self.expand, self.project):
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, position: Tensor) -> Tensor:
        branch = self.project(torch.relu(self.expand(self.depthwise(x))))
        return x + self.gain(position).to(branch.dtype) * branch
