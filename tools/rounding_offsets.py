"""How an encoder rounds residuals of the latent to symbols: towards zero, the more a smaller symbol saves."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from nacre.entropy.tables import TableSet
from nacre.models.conditional import SymbolConditional
from nacre.models.tables import symbol_tables


def rounding_offsets(tables: TableSet, strength: float) -> Tensor:
    """The encoder's rounding offset for each scale index, (64,): 0.5 less what a smaller symbol saves in rate.

    With the step sqrt(26 / lambda) of an orthonormal transform of 768 samples in 256 pixels, an error e of a symbol
    costs as much as 26 / 3 e^2 bits. So the smaller of two neighbours that differ by b bits is worth its larger error
    up to b / (2 * 26 / 3) beyond the middle between them; b is taken between 0 and 1. ``strength`` scales that.
    """
    offsets = []
    for level in range(len(tables)):
        frequencies = np.diff(tables.table(level).astype(np.int64))
        radius = len(frequencies) // 2 - 1
        bits = float(np.log2(frequencies[radius] / frequencies[radius + 1]))
        offsets.append(0.5 - min(0.49, strength * max(bits, 0.0) / (2 * 26 / 3)))
    return torch.tensor(offsets)


def training_offsets(strength: float) -> Tensor:
    """The same of a Gaussian conditional, which training does not change: a leg that goes on rounds as before."""
    return rounding_offsets(symbol_tables(SymbolConditional("gaussian")), strength)
