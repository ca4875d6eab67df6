"""Analysis, synthesis and hyper-analysis: the float networks around the latent.

Both main transforms keep a linear path (a two-stage block transform) that starts at the principal components of
training patches (initialize.py); residual branches start at zero, so that training begins with a transform codec.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nacre.models.blocks import QualityGain, ResidualBlock
from nacre.models.config import ImageConfig

PATCH = 8
LATENT_STRIDE = 16
PIXEL_CENTRE = 127.5
PIXEL_SCALE = 64.0


def normalize(pixels: Tensor) -> Tensor:
    """Pixels on the 0..255 scale to the range in which the networks work."""
    return (pixels - PIXEL_CENTRE) * (1.0 / PIXEL_SCALE)


def denormalize(x: Tensor) -> Tensor:
    """The inverse of ``normalize``; neither rounded nor clipped."""
    return x * PIXEL_SCALE + PIXEL_CENTRE


class Analysis(nn.Module):
    """x (B, 3, H, W), normalized, H and W multiples of 16 -> gained latent y (B, latent_channels, H/16, W/16)

    or from the 8x8 patches of x as channels, ``F.pixel_unshuffle(x, 8)``, in which training keeps its pixels. The
    ``heavy`` form has more and wider blocks behind those of the ordinary one.

    8x8 stride 8 -> blocks at 1/8 -> 2x2 stride 2 -> blocks at 1/16 -> gain(quality)
    """

    def __init__(self, config: ImageConfig, *, heavy: bool = False) -> None:
        super().__init__()
        width, latent, anchors = config.analysis_width, config.latent_channels, config.anchors
        hidden = [config.analysis_hidden] * config.analysis_blocks
        latent_hidden = [config.analysis_latent_hidden] * config.analysis_latent_blocks
        if heavy:
            hidden += [config.heavy_hidden] * config.heavy_blocks
            latent_hidden += [config.heavy_latent_hidden] * config.heavy_latent_blocks
        self.embed = nn.Conv2d(3, width, PATCH, stride=PATCH)
        self.blocks = nn.ModuleList(ResidualBlock(width, size, anchors) for size in hidden)
        self.down = nn.Conv2d(width, latent, 2, stride=2)
        self.latent_blocks = nn.ModuleList(ResidualBlock(latent, size, anchors) for size in latent_hidden)
        self.gain = QualityGain(latent, anchors)

    def forward(self, x: Tensor, position: Tensor) -> Tensor:
        if x.shape[1] == 3:
            h = self.embed(x)
        else:
            h = F.conv2d(x, self.embed.weight.flatten(1)[:, :, None, None], self.embed.bias)
        return self.latent(h, position)

    def latent(self, h: Tensor, position: Tensor) -> Tensor:
        """The gained latent of what the first layer gives, (B, width, H/8, W/8)."""
        for block in self.blocks:
            h = block(h, position)
        y = self.down(h)
        for block in self.latent_blocks:
            y = block(y, position)
        return y.float() * self.gain(position)


class Synthesis(nn.Module):
    """y_hat (B, latent_channels, h, w), gained -> x_hat (B, 3, 16h, 16w), normalized, not clipped

    gain(quality) -> blocks at 1/16 -> transposed 2x2 stride 2 -> blocks at 1/8 -> 1x1 -> depth-to-space 8
    """

    def __init__(self, config: ImageConfig) -> None:
        super().__init__()
        width, latent, anchors = config.synthesis_width, config.latent_channels, config.anchors
        self.gain = QualityGain(latent, anchors)
        self.latent_blocks = nn.ModuleList(
            ResidualBlock(latent, config.synthesis_latent_hidden, anchors)
            for _ in range(config.synthesis_latent_blocks)
        )
        self.up = nn.ConvTranspose2d(latent, width, 2, stride=2)
        self.blocks = nn.ModuleList(
            ResidualBlock(width, config.synthesis_hidden, anchors) for _ in range(config.synthesis_blocks)
        )
        self.head = nn.Conv2d(width, 3 * PATCH * PATCH, 1)

    def forward(self, y_hat: Tensor, position: Tensor) -> Tensor:
        return F.pixel_shuffle(self.patches(y_hat, position), PATCH).float()

    def patches(self, y_hat: Tensor, position: Tensor) -> Tensor:
        """As ``forward``, before depth-to-space: (B, 192, 2h, 2w)."""
        h = y_hat * self.gain(position)
        for block in self.latent_blocks:
            h = block(h, position)
        h = self.up(h)
        for block in self.blocks:
            h = block(h, position)
        x_hat: Tensor = self.head(h)
        return x_hat


class HyperAnalysis(nn.Module):
    """Gained latent y (B, latent_channels, h, w), h and w multiples of 4 -> z (B, hyper_channels, h/4, w/4)

    sign(y) log(1 + |y|), or of magnitudes alone |y| / (|y| + 2) -> 1x1 -> 2x2 stride 2 -> 2x2 stride 2
    """

    def __init__(self, config: ImageConfig) -> None:
        super().__init__()
        hidden, coarse = config.hyper_hidden, config.hyper_channels
        self.magnitudes = config.hyper_magnitudes
        self.first = nn.Conv2d(config.latent_channels, hidden, 1)
        self.second = nn.Conv2d(hidden, coarse, 2, stride=2)
        self.third = nn.Conv2d(coarse, config.hyper_channels, 2, stride=2)

    def forward(self, y: Tensor) -> Tensor:
        magnitude = y.abs()
        h = magnitude / (magnitude + 2.0) if self.magnitudes else torch.sign(y) * torch.log1p(magnitude)
        h = torch.relu(self.second(torch.relu(self.first(h))))
        z: Tensor = self.third(h).float()
        return z
