"""Rounding and clipping with straight-through gradients."""

from __future__ import annotations

import torch
from torch import Tensor


def round_ste(x: Tensor) -> Tensor:
    """Round half to even; the gradient passes unchanged."""
    return x + (torch.round(x) - x).detach()


def floor_ste(x: Tensor) -> Tensor:
    """Round towards minus infinity; the gradient passes unchanged."""
    return x + (torch.floor(x) - x).detach()
