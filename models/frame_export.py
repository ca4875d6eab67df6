"""Networks of video frames to ONNX graphs, which see a frame as uint8 patches (1, 96, H/8, W/8) (frames.py)."""

from __future__ import annotations

import onnx
import torch
from torch import Tensor, nn

from nacre.models.export import ContextGraph, ContextSteps, halve, trace
from nacre.models.frames import CHROMA_SCALE, LUMA_CHANNELS, PATCH_CHANNELS
from nacre.models.scale_decoder import Z_MAX
from nacre.models.transforms import PIXEL_CENTRE, PIXEL_SCALE
from nacre.models.video import FrameModel
from nacre.weights.store import ANALYSIS, SYNTHESIS

_SCALE = torch.full((1, PATCH_CHANNELS, 1, 1), 1 / PIXEL_SCALE)  # of samples less their centre
_SCALE[:, LUMA_CHANNELS:] *= CHROMA_SCALE


def _normalized(patches: Tensor) -> Tensor:
    return (patches.float() - PIXEL_CENTRE) * _SCALE


class FrameAnalysisGraph(nn.Module):
    """patches, position (1,), and of a predicted frame prediction -> y, z rounded and clipped; see AnalysisGraph."""

    def __init__(self, model: FrameModel) -> None:
        super().__init__()
        self.analysis, self.hyper_analysis = model.analysis, model.hyper_analysis

    def forward(self, patches: Tensor, position: Tensor, prediction: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x = _normalized(patches)
        if prediction is not None:
            known = _normalized(prediction)
            x = torch.cat([x - known, known], 1)
        y = self.analysis(x, position)
        return y, torch.round(self.hyper_analysis(y)).clamp(-Z_MAX, Z_MAX)


class FrameContextGraph(ContextSteps):
    """As ContextGraph, but one that sees the prediction as well: a further input ``prediction`` behind the others."""

    def __init__(self, model: FrameModel) -> None:
        super().__init__(model)
        self.condition = model.condition

    def forward(
        self, target: Tensor, z_hat: Tensor, rounding: Tensor, encoding: Tensor, prediction: Tensor
    ) -> tuple[Tensor, Tensor]:
        condition = self.condition(_normalized(prediction))
        rows = condition.permute(0, 2, 3, 1).reshape(-1, condition.shape[1])
        return self.decode(target, z_hat, rounding, encoding, rows)


class FrameSynthesisGraph(nn.Module):
    """y_hat (1, C, h, w), position (1,), and of a predicted frame prediction -> patches uint8."""

    def __init__(self, model: FrameModel) -> None:
        super().__init__()
        self.synthesis = model.synthesis

    def forward(self, y_hat: Tensor, position: Tensor, prediction: Tensor | None = None) -> Tensor:
        known = None if prediction is None else _normalized(prediction)
        x_hat = self.synthesis.frame(y_hat, position, known)
        return torch.round(x_hat * (1 / _SCALE) + PIXEL_CENTRE).clamp(0, 255).to(torch.uint8)


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
    return {name: halve(graph) for name, graph in graphs.items()}
