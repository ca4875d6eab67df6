"""The synthesis followed by its adjoint: how the squared error of a picture changes with every latent.

Written out by hand, since the graph has to run where there is no PyTorch. Every layer is linear but the ReLUs, which
become masks: a 1x1 convolution is undone by its transpose, a depthwise 3x3 one by the mirrored kernel, a transposed
2x2 one of stride 2 by the plain one, depth-to-space by space-to-depth.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nacre.models.blocks import ResidualBlock
from nacre.models.config import LAMBDA_MAX, LAMBDA_MIN
from nacre.models.image import ImageModel
from nacre.models.transforms import PIXEL_SCALE, denormalize


class DistortionGradient(nn.Module):
    """y_hat (1, C, h, w), patches and counted uint8 (1, 192, 2h, 2w), position (1,) -> gradient, distortion

    patches: the picture's samples 0..255, 8x8 of them as channels (``F.pixel_unshuffle(x, 8)``). counted: 1 for
    samples whose error counts, 0 for others. distortion (1,): lambda times the squared error on the 0..255 scale,
    a mean over the three colours and a sum over pixels, so that it compares with bits. gradient (1, C, h, w): its
    derivative by y_hat; the decoder's rounding of samples is left out, its clipping is not.
    """

    def __init__(self, model: ImageModel) -> None:
        super().__init__()
        self.synthesis = model.synthesis

    def forward(self, y_hat: Tensor, patches: Tensor, counted: Tensor, position: Tensor) -> tuple[Tensor, Tensor]:
        synthesis = self.synthesis
        gain = synthesis.gain(position)
        h = y_hat * gain
        masks: list[Tensor] = []
        for block in synthesis.latent_blocks:
            h = _forward(block, h, position, masks)
        h = synthesis.up(h)
        for block in synthesis.blocks:
            h = _forward(block, h, position, masks)
        samples = denormalize(synthesis.head(h))
        clipped = samples.clamp(0.0, 255.0)
        error = (clipped - patches.float()) * counted.float()
        weight = LAMBDA_MIN / 3.0 * torch.exp(position * math.log(LAMBDA_MAX / LAMBDA_MIN))
        distortion = weight * error.square().sum()
        g = error * (samples == clipped).float() * (2.0 * PIXEL_SCALE * weight)[:, None, None, None]
        g = _transposed(synthesis.head, g)
        for block in reversed(synthesis.blocks):
            g = _backward(block, g, position, masks)
        g = F.conv2d(g, synthesis.up.weight, stride=2)
        for block in reversed(synthesis.latent_blocks):
            g = _backward(block, g, position, masks)
        return g * gain, distortion


def _forward(block: nn.Module, x: Tensor, position: Tensor, masks: list[Tensor]) -> Tensor:
    """The block's output; appends where its ReLU lets through."""
    assert isinstance(block, ResidualBlock)
    hidden = torch.relu(block.expand(block.depthwise(x)))
    masks.append(hidden > 0)
    return x + block.gain(position) * block.project(hidden)


def _backward(block: nn.Module, g: Tensor, position: Tensor, masks: list[Tensor]) -> Tensor:
    """The gradient by the block's input from that by its output; takes the last mask away."""
    assert isinstance(block, ResidualBlock)
    hidden = _transposed(block.project, g * block.gain(position)) * masks.pop().float()
    spread = _transposed(block.expand, hidden)
    kernel = block.depthwise.weight.flip(2, 3)
    return g + F.conv2d(spread, kernel, padding=1, groups=block.depthwise.groups)


def _transposed(layer: nn.Conv2d, g: Tensor) -> Tensor:
    return F.conv2d(g, layer.weight.transpose(0, 1))
