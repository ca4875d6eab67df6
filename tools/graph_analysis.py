"""Exported linear transforms in the place of the modules that they were fitted to, to measure what they cost."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import numpy as np
import onnxruntime  # type: ignore[import-untyped]
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nacre import latent_arrays
from nacre.models.image import ImageModel
from nacre.models.quantized import pixel_rows
from nacre.models.transforms import LATENT_STRIDE, denormalize, normalize
from nacre.tools.train import Measure
from nacre.weights.store import INT8_ANALYSIS, INT8_HYPER_ANALYSIS


class _GraphAnalysis(nn.Module):
    """All pictures of a batch have one quality."""

    def __init__(self, graph: bytes) -> None:
        super().__init__()
        self._session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])

    def forward(self, x: Tensor, position: Tensor) -> Tensor:
        patches = (pixel_rows(denormalize(x).round()) + 128).to(torch.uint8).numpy()
        (y,) = self._session.run(["y"], {"patches": patches, "position": position[:1].numpy()})
        rows, columns = (side // LATENT_STRIDE for side in x.shape[2:])
        return torch.from_numpy(y).view(len(x), rows, columns, -1).permute(0, 3, 1, 2)


class _GraphHyperAnalysis(nn.Module):
    def __init__(self, graph: bytes) -> None:
        super().__init__()
        self._session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
        self._table = latent_arrays.level_table()

    def forward(self, y: Tensor) -> Tensor:
        rows = y.permute(0, 2, 3, 1).contiguous().numpy()
        levels = np.empty(rows.shape, np.uint8)
        latent_arrays.levels(rows.reshape(-1).view(np.uint32), self._table, levels.reshape(-1))
        z = [self._session.run(["z"], {"levels": one[np.newaxis]})[0] for one in levels]
        return torch.from_numpy(np.concatenate(z))


class _GraphSynthesis(nn.Module):
    """All latents of a batch have one quality."""

    def __init__(self, graph: bytes) -> None:
        super().__init__()
        self._session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])

    def forward(self, y_hat: Tensor, position: Tensor) -> Tensor:
        batch, _, rows, columns = y_hat.shape
        inputs = {"y_hat": y_hat.permute(0, 2, 3, 1).flatten(0, 2).numpy(), "position": position[:1].numpy()}
        (patches,) = self._session.run(["patches"], inputs)
        pixels = torch.from_numpy(patches).view(batch, rows, columns, LATENT_STRIDE, LATENT_STRIDE, 3)
        return normalize(
            pixels.permute(0, 5, 1, 3, 2, 4).reshape(batch, 3, *(16 * side for side in (rows, columns))).float()
        )


def with_graph_synthesis(model: ImageModel, graph: bytes) -> ImageModel:
    """A copy of the model whose synthesis is an exported light one."""
    changed = copy.deepcopy(model)
    changed.synthesis = _GraphSynthesis(graph)  # type: ignore[assignment]
    return changed


def with_graph_analysis(model: ImageModel, graphs: Mapping[str, bytes]) -> ImageModel:
    """A copy of the model whose analysis and hyper-analysis are exported graphs, by file name, for whole pixels."""
    changed = copy.deepcopy(model)
    changed.analysis = _GraphAnalysis(graphs[INT8_ANALYSIS])  # type: ignore[assignment]
    changed.hyper_analysis = _GraphHyperAnalysis(graphs[INT8_HYPER_ANALYSIS])  # type: ignore[assignment]
    return changed


def extra_rates(reference: Measure, other: Measure) -> NDArray[np.float64]:
    """By which share of the rate the other is larger at its PSNRs, the reference's rates interpolated over PSNR."""
    expected = np.interp(other.psnrs, reference.psnrs, np.log(reference.rates))
    extra: NDArray[np.float64] = np.asarray(other.rates) / np.exp(expected) - 1
    return extra
