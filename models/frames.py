"""Frames of 8-bit YUV 4:2:0 as the networks see them: space-to-depth to 1/8 of the luma's resolution.

A patch of 8x8 luma samples has 64 + 16 + 16 channels: the luma samples in raster order, then 4x4 of each chroma plane.
Chroma is scaled so that the mean squared error over all 96 channels, equally weighted, is (6 Y + 2 U + 2 V) / 9 of the
planes' errors. The usual figure of merit is (6 Y + U + V) / 8 of their PSNRs; chroma's errors are then weighted by
their inverses, and these are two to three times larger than luma's.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from nacre.models.rounding import round_ste
from nacre.models.transforms import PATCH, PIXEL_CENTRE, PIXEL_SCALE

LUMA_CHANNELS = PATCH * PATCH
CHROMA_CHANNELS = LUMA_CHANNELS // 4
PATCH_CHANNELS = LUMA_CHANNELS + 2 * CHROMA_CHANNELS
CHROMA_SCALE = math.sqrt((2 / CHROMA_CHANNELS) / (6 / LUMA_CHANNELS))


class Planes(NamedTuple):
    """Luma (B, 1, H, W) and chroma (B, 2, H/2, W/2) samples on the 0..255 scale, H and W multiples of 16."""

    luma: Tensor
    chroma: Tensor


def to_patches(planes: Planes) -> Tensor:
    """Normalized patches (B, 96, H/8, W/8), float32, centred on zero."""
    luma = F.pixel_unshuffle((planes.luma.float() - PIXEL_CENTRE) / PIXEL_SCALE, PATCH)
    chroma = F.pixel_unshuffle((planes.chroma.float() - PIXEL_CENTRE) * (CHROMA_SCALE / PIXEL_SCALE), PATCH // 2)
    return torch.cat([luma, chroma], 1)


def to_planes(patches: Tensor) -> Planes:
    """The inverse of `to_patches`: on the 0..255 scale, neither rounded nor clipped."""
    luma, chroma = patches.split([LUMA_CHANNELS, 2 * CHROMA_CHANNELS], 1)
    return Planes(
        F.pixel_shuffle(luma, PATCH) * PIXEL_SCALE + PIXEL_CENTRE,
        F.pixel_shuffle(chroma, PATCH // 2) * (PIXEL_SCALE / CHROMA_SCALE) + PIXEL_CENTRE,
    )


def round_planes(planes: Planes) -> Planes:
    """Samples as a decoder keeps them: integers 0..255, in float; the gradient passes straight through the rounding."""
    return Planes(round_ste(planes.luma).clamp(0, 255), round_ste(planes.chroma).clamp(0, 255))
