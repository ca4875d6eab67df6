"""Training sequences: crops of successive frames with the motion between them, decoded and searched once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nacre.atomic import open_target
from nacre.compensation import Planes as ArrayPlanes
from nacre.compensation import compensate
from nacre.models.frames import Planes
from nacre.motion_search import search
from nacre.tools.shots import Shot

GRID = 16  # crops begin at multiples of this, so that blocks and chroma samples stay whole
BLOCK = 8
SEARCH_LAMBDA = 128.0  # of the motion that training sees, bits against squared differences


class Rollout(NamedTuple):
    """Frames of a batch of sequences and the motion from each frame to the one before it.

    luma (B, T, H, W) and chroma (B, T, 2, H/2, W/2) uint8, fields (B, T - 1, 2, H/8, W/8) int16.
    """

    luma: NDArray[np.uint8]
    chroma: NDArray[np.uint8]
    fields: NDArray[np.int16]

    def planes(self, time: int, device: torch.device) -> Planes:
        """Frame number ``time`` of every sequence, float."""
        luma, chroma = torch.from_numpy(self.luma[:, time]), torch.from_numpy(self.chroma[:, time])
        return Planes(luma[:, None].to(device).float(), chroma.to(device).float())


@dataclass(frozen=True, eq=False)
class Sequence:
    """One shot: frames as planes, and their motion; sides are cut down to multiples of 16."""

    luma: NDArray[np.uint8]
    chroma: NDArray[np.uint8]
    fields: NDArray[np.int16]


def sequence(shot: Shot, cache: Path) -> Sequence:
    """The frames of a shot and their motion, which is searched once and kept in the folder ``cache``."""
    frames = shot.frames
    height, width = frames.shape[1] * 2 // 3 // GRID * GRID, frames.shape[2] // GRID * GRID
    full_height = frames.shape[1] * 2 // 3
    luma = frames[:, :height, :width]
    chroma = frames[:, full_height:].reshape(len(frames), 2, full_height // 2, -1)[:, :, : height // 2, : width // 2]
    path = cache / f"{shot.name}.npy"
    if path.exists():
        fields = np.load(path)
    else:
        cache.mkdir(parents=True, exist_ok=True)
        found: list[NDArray[np.int16]] = []
        for time in range(1, len(luma)):
            found.append(search(luma[time - 1], luma[time], SEARCH_LAMBDA, found[-1] if found else None))
        fields = np.stack(found)[:, :, : height // BLOCK, : width // BLOCK]
        with open_target(path) as file:  # another run may use the same folder
            np.save(file, fields)
    return Sequence(np.ascontiguousarray(luma), np.ascontiguousarray(chroma), fields)


def crop(shot: Sequence, start: int, length: int, top: int, left: int, size: int) -> Rollout:
    """``length`` frames from ``start`` of one shot, a square of ``size`` samples; all multiples of 16."""
    times = slice(start, start + length)
    rows, columns = slice(top, top + size), slice(left, left + size)
    half_rows, half_columns = slice(top // 2, (top + size) // 2), slice(left // 2, (left + size) // 2)
    blocks = slice(top // BLOCK, (top + size) // BLOCK), slice(left // BLOCK, (left + size) // BLOCK)
    return Rollout(
        shot.luma[times, rows, columns],
        shot.chroma[times, :, half_rows, half_columns],
        shot.fields[start : start + length - 1, :, *blocks],
    )


def mirror(rollout: Rollout) -> Rollout:
    """Left and right exchanged."""
    fields = rollout.fields[..., ::-1].copy()
    fields[:, 1] *= -1
    return Rollout(rollout.luma[..., ::-1], rollout.chroma[..., ::-1], fields)


def stack(rollouts: list[Rollout]) -> Rollout:
    """A batch of single sequences."""
    return Rollout(*(np.ascontiguousarray(np.stack(parts)) for parts in zip(*rollouts, strict=True)))


class RolloutSampler:
    """Random crops of random shots, half of them mirrored; shots are drawn in proportion to their samples."""

    def __init__(self, shots: list[Sequence], size: int, seed: int) -> None:
        self.shots, self.size = shots, size
        self.random = np.random.default_rng(seed)
        volume = np.array([shot.luma.size for shot in shots], np.float64)
        self.weights = volume / volume.sum()

    def batch(self, count: int, length: int) -> Rollout:
        """``count`` sequences of ``length`` frames."""
        return stack([self._one(length) for _ in range(count)])

    def _one(self, length: int) -> Rollout:
        shot = self.shots[self.random.choice(len(self.shots), p=self.weights)]
        frames, height, width = shot.luma.shape
        start = int(self.random.integers(frames - length + 1))
        top = int(self.random.integers((height - self.size) // GRID + 1)) * GRID
        left = int(self.random.integers((width - self.size) // GRID + 1)) * GRID
        rollout = crop(shot, start, length, top, left, self.size)
        return mirror(rollout) if self.random.random() < 0.5 else rollout


def predict(reference: Planes, fields: NDArray[np.int16]) -> Planes:
    """Compensation of every sequence's reference (B, ...), samples rounded, by its field (B, 2, H/8, W/8)."""
    device = reference.luma.device
    luma, chroma = (plane.to("cpu", torch.uint8).numpy() for plane in reference)
    parts = [compensate(ArrayPlanes(luma[n, 0], chroma[n, 0], chroma[n, 1]), fields[n]) for n in range(len(fields))]

    def batch(planes: list[NDArray[np.uint8]]) -> Tensor:
        return torch.from_numpy(np.stack(planes)).to(device).float()

    return Planes(batch([part[0][None] for part in parts]), batch([np.stack([part[1], part[2]]) for part in parts]))
