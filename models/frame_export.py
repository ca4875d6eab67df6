"""Networks of video frames to ONNX graphs, which see a frame as uint8 patches (1, 96, H/8, W/8) (frames.py)."""

from __future__ import annotations

import onnx
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nacre.models.export import ContextGraph, ContextSteps, trace
from nacre.models.frames import CHROMA_SCALE, LUMA_CHANNELS, PATCH_CHANNELS
from nacre.models.scale_decoder import Z_MAX
from nacre.models.storage import compact
from nacre.models.transforms import PIXEL_CENTRE, PIXEL_SCALE
from nacre.models.video import FrameModel
from nacre.weights.store import ANALYSIS, SYNTHESIS

_SCALE = torch.full((1, PATCH_CHANNELS, 1, 1), 1 / PIXEL_SCALE)  # of samples less their centre
_SCALE[:, LUMA_CHANNELS:] *= CHROMA_SCALE


def _of_samples(layer: nn.Module, samples: Tensor, weight: Tensor | None = None) -> Tensor:
    """A 1x1 convolution of normalized patches, from float patches that are not: the runtime folds the difference.

    weight: its weights, if not the layer's own.
    """
    assert isinstance(layer, nn.Conv2d)
    weight = layer.weight * _SCALE if weight is None else weight
    assert layer.bias is not None
    return F.conv2d(samples, weight, layer.bias - PIXEL_CENTRE * weight.sum((1, 2, 3)))


class FrameAnalysisGraph(nn.Module):
    """patches, position (1,), and of a predicted frame prediction -> y, z rounded and clipped; see AnalysisGraph."""

    def __init__(self, model: FrameModel) -> None:
        super().__init__()
        self.analysis, self.hyper_analysis = model.analysis, model.hyper_analysis

    def forward(self, patches: Tensor, position: Tensor, prediction: Tensor | None = None) -> tuple[Tensor, Tensor]:
        embed = self.analysis.embed
        if prediction is None:
            h = _of_samples(embed, patches.float())
        else:
            residual, known = embed.weight.split(PATCH_CHANNELS, 1)
            weight = torch.cat([residual * _SCALE, (known - residual) * _SCALE], 1)
            h = _of_samples(embed, torch.cat([patches, prediction], 1).float(), weight)
        y = self.analysis.latent(h, position)
        return y, torch.round(self.hyper_analysis(y)).clamp(-Z_MAX, Z_MAX)


class FrameContextGraph(ContextSteps):
    """As ContextGraph, but one that sees the prediction as well: a further input ``prediction`` behind the others."""

    def __init__(self, model: FrameModel) -> None:
        super().__init__(model)
        self.condition = model.condition

    def forward(
        self, target: Tensor, z_hat: Tensor, rounding: Tensor, encoding: Tensor, prediction: Tensor
    ) -> tuple[Tensor, Tensor]:
        condition = self.condition.state(_of_samples(self.condition.embed, prediction.float()))
        rows = condition.permute(0, 2, 3, 1).reshape(-1, condition.shape[1])
        return self.decode(target, z_hat, rounding, encoding, rows)


class FrameSynthesisGraph(nn.Module):
    """y_hat (1, C, h, w), position (1,), and of a predicted frame prediction -> patches uint8."""

    def __init__(self, model: FrameModel) -> None:
        super().__init__()
        self.synthesis = model.synthesis

    def forward(self, y_hat: Tensor, position: Tensor, prediction: Tensor | None = None) -> Tensor:
        synthesis, wide = self.synthesis, None if prediction is None else prediction.float()
        known = None if wide is None else _of_samples(synthesis.fuse, wide)
        head, to_samples = synthesis.head, 1 / _SCALE.flatten()
        assert head.bias is not None
        weight = head.weight * to_samples[:, None, None, None]
        change = F.conv2d(synthesis.features(y_hat, position, known), weight, head.bias * to_samples)
        return torch.round(change + (PIXEL_CENTRE if wide is None else wide)).clamp(0, 255).to(torch.uint8)


@torch.no_grad()
def export_frame_graphs(model: FrameModel) -> dict[str, onnx.ModelProto]:
    """The float graphs of a model of frames by file name."""
    model = model.eval().cpu().to(memory_format=torch.contiguous_format)
    config = model.config
    position = torch.tensor([0.5])
    latent, hyper = torch.zeros(1, config.latent_channels, 8, 8), torch.zeros(1, config.hyper_channels, 2, 2)
    patches = torch.zeros(1, PATCH_CHANNELS, 16, 16, dtype=torch.uint8)
    prediction = (patches,) if model.predicted else ()
    names = ("prediction",) if model.predicted else ()
    grid, fine, coarse = {2: "h", 3: "w"}, {2: "h8", 3: "w8"}, {2: "hz", 3: "wz"}
    known = dict.fromkeys(names, fine)
    graphs = {
        ANALYSIS: trace(
            FrameAnalysisGraph(model),
            (patches, position, *prediction),
            ("patches", "position", *names),
            ("y", "z"),
            {"patches": fine, "y": grid, "z": coarse, **known},
        ),
        "context.onnx": trace(
            FrameContextGraph(model) if model.predicted else ContextGraph(model),
            (latent, hyper, torch.full_like(latent, 0.5), torch.tensor([1.0]), *prediction),
            ("target", "z_hat", "rounding", "encoding", *names),
            ("symbols", "y_hat"),
            {"target": grid, "rounding": grid, "z_hat": coarse, "symbols": grid, "y_hat": grid, **known},
        ),
        SYNTHESIS: trace(
            FrameSynthesisGraph(model),
            (latent, position, *prediction),
            ("y_hat", "position", *names),
            ("patches",),
            {"y_hat": grid, "patches": fine, **known},
        ),
    }
    return {name: compact(graph) for name, graph in graphs.items()}
