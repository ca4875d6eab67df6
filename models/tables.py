"""Integer tables and the integer network of a trained model: the exact side of its entropy coding."""

from __future__ import annotations

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nacre.entropy.network import IntegerLayer, IntegerNetwork
from nacre.entropy.scales import LOG_SCALE_MIN, LOG_SCALE_STEP, SCALE_LEVELS
from nacre.entropy.tables import TableSet, mix_tables, quantize_pmf
from nacre.models.conditional import SymbolConditional
from nacre.models.prior import HyperPrior
from nacre.models.scale_decoder import HIDDEN_MAX, Z_MAX, IntegerConv, ScaleDecoder

TAIL = 2.0**-15  # probability that the escape of a table may stand for
MAX_RADIUS = 2000
MIXTURE_WEIGHT_TOTAL = 256


def _with_escape(pmf: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities (n,) and, appended, what remains to 1."""
    return np.append(pmf, max(1.0 - float(pmf.sum()), 0.0))


def _trim(pmf: NDArray[np.float64]) -> NDArray[np.float64]:
    """The centre of a symmetric-support pmf (2R + 1,), with the smallest radius that leaves out less than TAIL."""
    radius = len(pmf) // 2
    outside = 1.0 - pmf.sum()
    while radius > 0:
        outside += pmf[len(pmf) // 2 - radius] + pmf[len(pmf) // 2 + radius]
        if outside >= TAIL:
            break
        radius -= 1
    centre = len(pmf) // 2
    return pmf[centre - radius : centre + radius + 1]


@torch.no_grad()
def symbol_tables(conditional: SymbolConditional) -> TableSet:
    """One table for each scale level; a mixture is summed in integers from its components' tables."""
    exact = copy.deepcopy(conditional).double().cpu()
    tables = []
    for level in range(SCALE_LEVELS):
        sigma = np.exp(LOG_SCALE_MIN + LOG_SCALE_STEP * level)
        pmf = _trim(exact.pmf(level, min(MAX_RADIUS, int(12 * sigma) + 8)))
        if conditional.family != "mixture":
            tables.append(quantize_pmf(_with_escape(pmf)))
            continue
        radius = len(pmf) // 2
        weights, parts = exact.component_pmfs(level, radius)
        first = int(np.clip(np.round(weights[0] * MIXTURE_WEIGHT_TOTAL), 0, MIXTURE_WEIGHT_TOTAL))
        components = np.stack([quantize_pmf(_with_escape(part)) for part in parts])
        shares = np.array([first, MIXTURE_WEIGHT_TOTAL - first])
        tables.append(mix_tables(components, shares, np.zeros(2, np.int64)))
    return TableSet.stack(tables)


def hyper_tables(prior: HyperPrior, rows: int) -> TableSet:
    """rows * channels tables; table row * channels + c is channel c of the hyper-latent at that entropy row."""
    exact = copy.deepcopy(prior).cpu()
    tables = []
    for row in range(rows):
        tables += [quantize_pmf(_with_escape(_trim(pmf))) for pmf in exact.pmf(row / (rows - 1), Z_MAX)]
    return TableSet.stack(tables)


@torch.no_grad()
def integer_network(decoder: ScaleDecoder, rows: int) -> IntegerNetwork:
    """The scale decoder as integers; raises WeightsError where a sum could leave the exact range."""
    positions = torch.arange(rows, dtype=torch.float32) / (rows - 1)
    last = len(decoder.layers) - 1
    layers = [
        _integer_layer(module, positions, upsample=number in decoder.upsample_after, last=number == last)
        for number, module in enumerate(decoder.layers)
    ]
    return IntegerNetwork(tuple(layers), None if decoder.prior is None else _integer_layer(decoder.prior, positions))


def _integer_layer(module: nn.Module, positions: Tensor, *, upsample: bool = False, last: bool = False) -> IntegerLayer:
    assert isinstance(module, IntegerConv)
    weight, bias, shift = module.integers(positions)
    matrix = weight.permute(0, 2, 3, 1).reshape(len(weight), -1)  # columns (dy, dx, input)
    return IntegerLayer(
        kind="conv3" if module.kernel == 3 else "conv1",
        weight=matrix.numpy().astype(np.int8),
        bias=bias.numpy().astype(np.int32),
        shift=shift.numpy().astype(np.uint8),
        low=0,
        high=SCALE_LEVELS - 1 if last else int(HIDDEN_MAX),
        upsample=upsample,
    )
