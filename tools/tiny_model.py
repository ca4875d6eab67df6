"""The tiny seeded model of the tests: ``python -m nacre.tools.tiny_model FOLDER``. Untrained, but complete."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from nacre.entropy.scales import LOG_SCALE_MIN, LOG_SCALE_STEP
from nacre.models.config import ImageConfig
from nacre.models.image import ImageModel
from nacre.models.initialize import principal_components, step_gains
from nacre.models.scale_decoder import IntegerConv
from nacre.models.tables import symbol_tables
from nacre.models.transforms import PATCH, normalize
from nacre.models.video import FrameModel
from nacre.tools.export import EncoderChoice, publish
from nacre.tools.rounding_offsets import rounding_offsets

CONFIG = ImageConfig(
    name="tiny", latent_channels=24, hyper_channels=8, hyper_hidden=8, analysis_width=24, analysis_hidden=16,
    analysis_blocks=1, analysis_latent_hidden=16, synthesis_width=24, synthesis_hidden=16, synthesis_blocks=1,
    synthesis_latent_hidden=16, synthesis_latent_blocks=1, context_width=16, context_hidden=16, scale_hidden=16,
    scale_upsampled=8, scale_fine=12, anchors=5, rows=11,
)  # fmt: skip


def smooth_noise(count: int, side: int) -> torch.Tensor:
    """Pictures (count, 3, side, side) in 0..1 whose spectrum falls like that of photographs."""
    frequencies = torch.fft.fftfreq(side).square()
    radius = (frequencies[:, None] + frequencies[None, :]).sqrt().clamp_min(1 / side)
    noise = torch.fft.fft2(torch.randn(count, 3, side, side)) / radius**1.2
    field = torch.fft.ifft2(noise).real
    field = field + field.mean(1, keepdim=True)
    field = (field - field.mean((2, 3), keepdim=True)) / field.std((2, 3), keepdim=True)
    return (0.5 + 0.2 * field).clamp(0, 1)


@torch.no_grad()
def component_start(model: ImageModel | FrameModel, patches: Tensor, samples_per_pixel: float) -> None:
    """Begin with principal components of patches (N, D, h, w), h and w even, and of 2x2 neighbours of these.

    Golden streams hang on this start. The gains are those of `set_transform`.
    """
    analysis, synthesis, config = model.analysis, model.synthesis, model.config
    width, size = config.analysis_width, patches.shape[1]
    first, _ = principal_components(patches.permute(0, 2, 3, 1).flatten(0, 2), width)
    neighbours = F.pixel_unshuffle(torch.einsum("kd,ndhw->nkhw", first, patches), 2)
    second, deviation = principal_components(neighbours.permute(0, 2, 3, 1).flatten(0, 2), config.latent_channels)
    kernel = second.view(config.latent_channels, width, 2, 2)
    for layer in (analysis.embed, analysis.down, synthesis.up, synthesis.head):
        layer.bias.zero_()  # type: ignore[union-attr]
    analysis.embed.weight.zero_()
    analysis.embed.weight.flatten(1)[:, :size] = first
    analysis.down.weight.copy_(kernel)
    synthesis.up.weight.mul_(0.1)
    synthesis.up.weight[:, :width].copy_(kernel)
    synthesis.head.weight.zero_()
    synthesis.head.weight[:, :width].copy_(first.T[:, :, None, None])
    log_gain = step_gains(config.anchors, samples_per_pixel)[:, None]
    analysis.gain.log_gain.copy_(log_gain.expand(-1, config.latent_channels))
    synthesis.gain.log_gain.copy_(-log_gain.expand(-1, config.latent_channels))
    last = model.scale_decoder.layers[-1]
    assert isinstance(last, IntegerConv)
    sigma = torch.exp(log_gain) * deviation
    last.bias.copy_(((sigma.log() - LOG_SCALE_MIN) / LOG_SCALE_STEP - 5.0).clamp(2.0, 62.0))


def build() -> ImageModel:
    """The model: linear start on noise, everything that starts at zero moved a little so that tests see it work."""
    torch.manual_seed(20)
    model = ImageModel(CONFIG)
    component_start(model, F.pixel_unshuffle(normalize(smooth_noise(48, 64) * 255.0), PATCH), 3.0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "project.weight" in name or "predict" in name:
                parameter.add_(0.02 * torch.randn_like(parameter))
            elif name.endswith("log_stretch"):
                parameter.sub_(1.0)
    return model


def main(arguments: list[str]) -> int:
    """Command line."""
    if len(arguments) != 1:
        print("usage: python -m nacre.tools.tiny_model FOLDER", file=sys.stderr)
        return 2
    torch.set_num_threads(1)
    model = build().eval()
    choice = EncoderChoice(rounding_offsets(symbol_tables(model.conditional), 0.5), 4)
    publish(
        model, Path(arguments[0]), choice=choice, live=[8, 8, 16] + [24] * 8, version="0.1.0",
        notes={"note": "untrained test model"},
    )  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
