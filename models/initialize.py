"""The linear start: both transforms begin as a two-stage principal-component transform with matched step sizes.

A convolutional codec that starts from noise spends its first hours finding a block transform; here stage one holds the
principal components of 8x8 patches, stage two those of 2x2 neighbours of them, the synthesis their transposes, and the
gains ask for the uniform step sqrt(26 / lambda) of three samples a pixel, on the 0..255 scale.
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


def principal_components(samples: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The leading eigenvectors (count, D) of the second moments of samples (N, D), and their standard deviations."""
    moments = samples.double().T @ samples.double() / samples.shape[0]
    values, vectors = torch.linalg.eigh(moments)
    order = values.argsort(descending=True)[:count]
    return vectors[:, order].T.float(), values[order].clamp_min(1e-12).sqrt().float()


@torch.no_grad()
def linear_start(model: ImageModel, crops: Tensor) -> None:
    """Initialize ``model`` from training crops (N, 3, H, W) in 0..1, H and W multiples of 16."""
    transform_start(model, F.pixel_unshuffle(normalize(crops * 255.0), PATCH), 3.0)


@torch.no_grad()
def transform_start(model: ImageModel | FrameModel, patches: Tensor, samples_per_pixel: float) -> None:
    """Begin with the components of patches (N, D, h, w), h and w even, that the first D inputs hold.

    With n samples a pixel the step is sqrt(26 / 3 n / lambda) on the 0..255 scale.
    """
    analysis, synthesis, config = model.analysis, model.synthesis, model.config
    width, size = config.analysis_width, patches.shape[1]
    first, _ = principal_components(patches.permute(0, 2, 3, 1).flatten(0, 2), width)
    analysis.embed.weight.zero_()
    analysis.embed.weight.flatten(1)[:, :size] = first
    analysis.embed.bias.zero_()  # type: ignore[union-attr]
    components = torch.einsum("kd,ndhw->nkhw", first, patches)
    neighbours = F.pixel_unshuffle(components, 2)  # channel = component * 4 + place
    second, deviation = principal_components(neighbours.permute(0, 2, 3, 1).flatten(0, 2), config.latent_channels)
    kernel = second.view(config.latent_channels, width, 2, 2)
    analysis.down.weight.copy_(kernel)
    analysis.down.bias.zero_()  # type: ignore[union-attr]
    synthesis.up.weight.mul_(0.1)
    synthesis.up.weight[:, :width].copy_(kernel)
    synthesis.up.bias.zero_()  # type: ignore[union-attr]
    synthesis.head.weight.zero_()
    synthesis.head.weight[:, :width].copy_(first.T[:, :, None, None])
    synthesis.head.bias.zero_()  # type: ignore[union-attr]

    log_gain = step_gains(config.anchors, samples_per_pixel)
    analysis.gain.log_gain.copy_(log_gain[:, None].expand(-1, config.latent_channels))
    synthesis.gain.log_gain.copy_(-log_gain[:, None].expand(-1, config.latent_channels))
    last = model.scale_decoder.layers[-1]
    assert isinstance(last, IntegerConv)
    sigma = torch.exp(log_gain)[:, None] * deviation
    last.bias.copy_(((sigma.log() - LOG_SCALE_MIN) / LOG_SCALE_STEP - 5.0).clamp(2.0, 62.0))


def step_gains(anchors: int, samples_per_pixel: float) -> Tensor:
    """Logarithms of the gains, for each anchor of quality, that make rounding a step of sqrt(26 / 3 n / lambda)."""
    qualities = torch.linspace(0, 100, anchors)
    steps = [math.sqrt(26.0 / 3 * samples_per_pixel / quality_to_lambda(float(quality))) for quality in qualities]
    return torch.log(PIXEL_SCALE / torch.tensor(steps))


def light_start(parameters: dict[str, Tensor]) -> dict[str, Tensor]:
    """Gain and head of a model's lighter synthesis: the ordinary one without its blocks. Names are the model's."""
    up, head = parameters["synthesis.up.weight"], parameters["synthesis.head.weight"].view(3, PATCH, PATCH, -1)
    weight = torch.einsum("cpqk,ikyx->ypxqci", head, up).reshape(-1, up.shape[0], 1, 1)
    bias = head @ parameters["synthesis.up.bias"] + parameters["synthesis.head.bias"].view(3, PATCH, PATCH)
    return {
        "light_synthesis.gain.log_gain": parameters["synthesis.gain.log_gain"],
        "light_synthesis.head.weight": weight,
        "light_synthesis.head.bias": bias.permute(1, 2, 0)[None, :, None].expand(2, -1, 2, -1, -1).flatten(),
    }
