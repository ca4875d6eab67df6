"""Motion compensation in PyTorch: the samples of nacre.compensation, differentiable with respect to the reference."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from nacre.bitstream.interpolation import (
    CHROMA_TAPS,
    CHROMA_WINDOW,
    LUMA_TAPS,
    LUMA_WINDOW,
    TAP_TOTAL,
    WINDOW_TOTAL,
)
from nacre.models.frames import Planes
from nacre.models.rounding import floor_ste


def compensate(reference: Planes, field: Tensor) -> Planes:
    """The prediction of frames: where the reference's samples are integers, those of `nacre.compensation.compensate`.

    reference: luma (B, 1, H, W) and chroma (B, 2, H / 2, W / 2), float32 on the 0..255 scale; field (B, 2, H / 8, W /
    8), integers, dy before dx in quarter luma samples, -512..512. Gradients pass roundings unchanged; the last clip
    stops them.
    """
    field = field.long()
    return Planes(
        _predict(reference.luma, field, LUMA_TAPS, LUMA_WINDOW),
        _predict(reference.chroma, field, CHROMA_TAPS, CHROMA_WINDOW),
    )


def _predict(plane: Tensor, field: Tensor, taps: Sequence[Sequence[int]], window: Sequence[int]) -> Tensor:
    """The prediction of planes (B, C, H, W), every sum an integer below 2 ** 24 in magnitude, so exact."""
    steps, size = len(taps), len(window)
    margin = int(field.abs().max()) // steps + len(taps[0])
    batch, channels, height, width = plane.shape
    device = plane.device
    padded = F.pad(plane.float(), (margin,) * 4, mode="replicate")
    interpolated = _interpolate(padded, taps)  # (B, C, steps * steps, h, w)
    padded_height, padded_width = interpolated.shape[-2:]
    flat = interpolated.flatten(2)
    y, x = torch.arange(height, device=device), torch.arange(width, device=device)
    later = torch.tensor(window, dtype=torch.float32, device=device)
    row_weight, column_weight = later[(y + size // 2) % size], later[(x + size // 2) % size]
    total = torch.full_like(plane, WINDOW_TOTAL**2 * TAP_TOTAL // 2, dtype=torch.float32)
    for below in (0, 1):
        row = ((y + size // 2) // size - 1 + below).clamp(0, field.shape[2] - 1)
        row_share = row_weight if below else WINDOW_TOTAL - row_weight
        for right in (0, 1):
            column = ((x + size // 2) // size - 1 + right).clamp(0, field.shape[3] - 1)
            column_share = column_weight if right else WINDOW_TOTAL - column_weight
            dy, dx = field[:, :, row][:, :, :, column].unbind(1)
            phase = dy.remainder(steps) * steps + dx.remainder(steps)
            source_y = y[:, None] + torch.div(dy, steps, rounding_mode="floor") + margin
            source_x = x + torch.div(dx, steps, rounding_mode="floor") + margin
            index = ((phase * padded_height + source_y) * padded_width + source_x).flatten(1)
            samples = flat.gather(2, index[:, None].expand(-1, channels, -1)).view(batch, channels, height, width)
            total = total + row_share[:, None] * column_share * samples
    return floor_ste(total / (WINDOW_TOTAL**2 * TAP_TOTAL)).clamp(0, 255)


def _interpolate(padded: Tensor, taps: Sequence[Sequence[int]]) -> Tensor:
    """Planes (B, C, h, w) at all fractions, times 64: (B, C, steps * steps, h, w)."""
    rows = [_filtered(padded, across, -1) for across in taps]
    planes = [_filtered(row, down, -2) for down in taps for row in rows]
    return floor_ste((torch.stack(planes, 2) + TAP_TOTAL // 2) / TAP_TOTAL)


def _filtered(samples: Tensor, taps: Sequence[int], dim: int) -> Tensor:
    """One pass of a filter, as a sum that no device or autocast computes in less than float32."""
    origin = len(taps) // 2 - 1
    parts = [tap * samples.roll(origin - number, dim) for number, tap in enumerate(taps) if tap]
    return torch.stack(parts).sum(0) if len(parts) > 1 else parts[0]
