"""Multiply-accumulates per pixel of each part, counted from the layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from nacre.models.frames import PATCH_CHANNELS
from nacre.models.image import ImageModel
from nacre.models.scale_decoder import IntegerConv
from nacre.models.transforms import PATCH
from nacre.models.video import FrameModel

SIDE = 256


PARTS = ("analysis", "hyper_analysis", "scale_decoder", "context", "synthesis")


def mac_per_pixel(model: ImageModel) -> dict[str, float]:
    """Part name to MAC per pixel of the picture, convolutions only; the four context steps are all counted.

    A heavier analysis, where there is one, comes last: it takes the ordinary one's place.
    """
    parts = [*PARTS]
    parts += ["heavy_analysis"] if model.config.has_heavy_analysis else []

    def run() -> None:
        model(torch.zeros(1, 3, SIDE, SIDE), 50.0)
        if model.config.has_heavy_analysis:
            model.heavy_analysis(torch.zeros(1, 3, SIDE, SIDE), torch.tensor([0.5]))

    return _counted(model, parts, run)


def mac_per_luma_sample(model: FrameModel) -> dict[str, float]:
    """Part name to MAC per luma sample of a frame, as ``mac_per_pixel``."""
    patches = torch.zeros(1, PATCH_CHANNELS, SIDE // PATCH, SIDE // PATCH)
    prediction = patches if model.predicted else None
    parts = [*PARTS, *(["condition"] if model.predicted else [])]
    return _counted(model, parts, lambda: model.code(patches, prediction, torch.tensor([50.0]), hard=True))


@torch.no_grad()
def _counted(model: nn.Module, parts: Sequence[str], run: Callable[[], object]) -> dict[str, float]:
    """MAC of each part for each pixel of SIDE x SIDE, while ``run`` runs the model."""
    counts = dict.fromkeys(parts, 0.0)

    def counter(part: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            # a transposed convolution meets each of its inputs, a convolution makes each of its outputs, once a weight
            places = inputs[0] if isinstance(module, nn.ConvTranspose2d) else output
            counts[part] += module.weight.numel() * places.shape[2] * places.shape[3] / SIDE**2  # type: ignore[operator]

        return count

    handles = [
        module.register_forward_hook(counter(part))
        for part in counts
        for module in getattr(model, part).modules()
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | IntegerConv)
    ]
    run()
    for handle in handles:
        handle.remove()
    return counts
