"""An exported analysis in the place of the module that it was made of, to measure what its arithmetic costs."""

from __future__ import annotations

import copy

import numpy as np
import onnxruntime  # type: ignore[import-untyped]
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nacre.models.image import ImageModel
from nacre.models.transforms import denormalize
from nacre.tools.train import Measure


class _GraphAnalysis(nn.Module):
    """The y of a graph of the analysis in 8 bits; its z waits for ``_KeptHyperLatent``.

    All pictures of a batch have one quality.
    """

    def __init__(self, graph: bytes) -> None:
        super().__init__()
        self._session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
        self.z = torch.empty(0)

    def forward(self, x: Tensor, position: Tensor) -> Tensor:
        images = denormalize(x).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
        place = position[:1].numpy()
        pairs = [self._session.run(["y", "z"], {"image": image[np.newaxis], "position": place}) for image in images]
        y, z = (torch.from_numpy(np.concatenate(parts)) for parts in zip(*pairs, strict=True))
        self.z = z
        return y.permute(0, 3, 1, 2)


class _KeptHyperLatent(nn.Module):
    def __init__(self, analysis: _GraphAnalysis) -> None:
        super().__init__()
        self._analysis = [analysis]  # in a list, so that it is no part of this module

    def forward(self, y: Tensor) -> Tensor:
        return self._analysis[0].z


def with_graph_analysis(model: ImageModel, graph: bytes) -> ImageModel:
    """A copy of the model whose analysis and hyper-analysis are those of an exported graph, for whole pixels."""
    changed = copy.deepcopy(model)
    analysis = _GraphAnalysis(graph)
    changed.analysis = analysis  # type: ignore[assignment]
    changed.hyper_analysis = _KeptHyperLatent(analysis)  # type: ignore[assignment]
    return changed


def extra_rates(reference: Measure, other: Measure) -> NDArray[np.float64]:
    """By which share of the rate the other is larger at its PSNRs, the reference's rates interpolated over PSNR."""
    expected = np.interp(other.psnrs, reference.psnrs, np.log(reference.rates))
    extra: NDArray[np.float64] = np.asarray(other.rates) / np.exp(expected) - 1
    return extra
