"""The linear start: both transforms begin as a two-stage block transform with matched step sizes.

A convolutional codec that starts from noise spends its first hours finding a block transform; here stage one holds the
cosines of blocks, stage two what 2x2 neighbours of them have in common, the synthesis their transposes, and the gains
ask for the uniform step sqrt(26 / lambda) of three samples a pixel, on the 0..255 scale. Cosines of small blocks are a
better beginning than the principal components of large ones (weights/STUDY.md): what they leave is confined to places
and edges, and training does not turn the one basis into the other.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from nacre.entropy.scales import LOG_SCALE_MIN, LOG_SCALE_STEP
from nacre.models.config import quality_to_lambda
from nacre.models.image import ImageModel
from nacre.models.scale_decoder import IntegerConv
from nacre.models.transforms import PATCH, PIXEL_SCALE, normalize
from nacre.models.video import FrameModel

ALIKE = 0.08  # bits a symbol


def principal_components(samples: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The leading eigenvectors (count, D) of the second moments of samples (N, D), and their standard deviations."""
    moments = samples.double().T @ samples.double() / samples.shape[0]
    values, vectors = torch.linalg.eigh(moments)
    order = values.argsort(descending=True)[:count]
    return vectors[:, order].T.float(), values[order].clamp_min(1e-12).sqrt().float()


@torch.no_grad()
def linear_start(model: ImageModel, crops: Tensor) -> None:
    """Initialize ``model`` from training crops (N, 3, H, W) in 0..1, H and W multiples of 16."""
    patches = F.pixel_unshuffle(normalize(crops * 255.0), PATCH)
    colours, _ = principal_components(patches.unflatten(1, (3, -1)).movedim(1, 4).flatten(0, 3), 3)
    set_transform(model, torch.kron(colours.contiguous(), cosines(PATCH, PATCH).contiguous()), patches, 3.0)


def cosines(block: int, side: int) -> Tensor:
    """DCT-II of the blocks of a square of samples in raster order: orthonormal rows (side^2, side^2)."""
    frequency, sample = torch.meshgrid(torch.arange(block), torch.arange(block), indexing="ij")
    one = torch.cos(torch.pi / block * (sample + 0.5) * frequency) * math.sqrt(2 / block)
    one[0] /= math.sqrt(2)
    line = torch.block_diag(*[one] * (side // block)).contiguous()
    return torch.kron(line, line)


@torch.no_grad()
def set_transform(model: ImageModel | FrameModel, rows: Tensor, patches: Tensor, samples_per_pixel: float) -> None:
    """Begin with a block transform, orthonormal rows (D, D), of the first D inputs, patches (N, D, h, w).

    The strongest rows are kept. Where the four neighbours of one are alike, their principal components take their
    place. With n samples a pixel the step is sqrt(26 / 3 n / lambda) on the 0..255 scale.
    """
    analysis, synthesis, config = model.analysis, model.synthesis, model.config
    width, size = config.analysis_width, len(rows)
    components = torch.einsum("kd,ndhw->nkhw", rows, patches)
    kept = components.square().mean((0, 2, 3)).argsort(descending=True)[:width]
    neighbours = F.pixel_unshuffle(components[:, kept], 2).unflatten(1, (width, 4))
    moments = torch.einsum("nkahw,nkbhw->kab", neighbours, neighbours) / neighbours[:, 0, 0].numel()
    second, deviation = _neighbours(moments, config.latent_channels)
    analysis.embed.weight.zero_()
    analysis.embed.weight.flatten(1)[:, :size] = rows[kept]
    analysis.embed.bias.zero_()  # type: ignore[union-attr]
    analysis.down.weight.copy_(second)
    analysis.down.bias.zero_()  # type: ignore[union-attr]
    synthesis.up.weight.mul_(0.1)
    synthesis.up.weight[:, :width].copy_(second)
    synthesis.up.bias.zero_()  # type: ignore[union-attr]
    synthesis.head.weight.zero_()
    synthesis.head.weight[:, :width].copy_(rows[kept].T[:, :, None, None])
    synthesis.head.bias.zero_()  # type: ignore[union-attr]

    log_gain = step_gains(config.anchors, samples_per_pixel)
    analysis.gain.log_gain.copy_(log_gain[:, None].expand(-1, config.latent_channels))
    synthesis.gain.log_gain.copy_(-log_gain[:, None].expand(-1, config.latent_channels))
    last = model.scale_decoder.layers[-1]
    assert isinstance(last, IntegerConv)
    sigma = torch.exp(log_gain)[:, None] * deviation
    last.bias.copy_(((sigma.log() - LOG_SCALE_MIN) / LOG_SCALE_STEP - 5.0).clamp(2.0, 62.0))


def _neighbours(moments: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Kernels (count, K, 2, 2) and root mean squares (count,) of 2x2 neighbours' moments (K, 4, 4), strongest first.

    Each of the K components stays as it is in its four places, or, where that saves more than ``ALIKE`` bits a symbol,
    becomes their principal components.
    """
    kernels = torch.zeros(len(moments), 4, len(moments), 4)
    strength = torch.diagonal(moments, dim1=1, dim2=2).clone()
    for component, moment in enumerate(moments):
        values, vectors = torch.linalg.eigh(moment.double())
        saved = 0.5 * (strength[component].double().log2().mean() - values.clamp_min(1e-12).log2().mean())
        alike = bool(saved > ALIKE)
        kernels[component, :, component] = vectors.T.float() if alike else torch.eye(4)
        if alike:
            strength[component] = values.float()
    order = strength.flatten().argsort(descending=True, stable=True)[:count]
    flat = kernels.view(-1, len(moments), 2, 2)
    return flat[order], strength.flatten()[order].clamp_min(1e-12).sqrt()


def step_gains(anchors: int, samples_per_pixel: float) -> Tensor:
    """Logarithms of the gains, for each anchor of quality, that make rounding a step of sqrt(26 / 3 n / lambda)."""
    qualities = torch.linspace(0, 100, anchors)
    steps = [math.sqrt(26.0 / 3 * samples_per_pixel / quality_to_lambda(float(quality))) for quality in qualities]
    return torch.log(PIXEL_SCALE / torch.tensor(steps))
