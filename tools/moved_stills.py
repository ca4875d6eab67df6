"""Shots made of pictures: a camera that pans, turns and zooms over one, another one moving in front, noise on top.

Shots of films that were coded before have lost the finest detail and the noise; pictures have not, and their motion is
of every speed. What is in front covers and uncovers the rest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nacre.tools.data import Picture
from nacre.tools.shots import Shot
from nacre.tools.yuv import Frame, from_rgb

FRAMES = 9
SIDE = 320
_SPEEDS = (0.05, 12.0)  # samples a frame, drawn evenly in their logarithm
_TURN, _ZOOM = 0.004, 0.006  # standard deviations: radians a frame, share a frame
_SCALES = (0.75, 1.5)  # samples of a picture to one of the frame, at the beginning
_NOISE = 3.0  # largest standard deviation, of 255


def moved_stills(pictures: Sequence[Picture], count: int, seed: int) -> list[Shot]:
    """``count`` shots of 9 frames of 320x320 luma samples, the same for a seed and pictures (H, W, 3) uint8."""
    random = np.random.default_rng(seed)
    return [Shot(f"moved-{seed}-{number:04d}", "moved stills", _shot(pictures, random)) for number in range(count)]


def _shot(pictures: Sequence[Picture], random: np.random.Generator) -> NDArray[np.uint8]:
    behind = _Path(pictures[int(random.integers(len(pictures)))], random)
    front = mask = None
    if random.random() < 0.5:
        front = _Path(pictures[int(random.integers(len(pictures)))], random)
        mask = _ellipse(random)
    noise = random.uniform(0.0, _NOISE) if random.random() < 0.5 else 0.0
    frames: list[Frame] = []
    for time in range(FRAMES):
        picture = behind.seen(time)
        if front is not None and mask is not None:
            place = Image.fromarray(mask).transform(
                (SIDE, SIDE), Image.Transform.AFFINE, front.shift(time), Image.Resampling.BILINEAR
            )
            picture = Image.composite(front.seen(time), picture, place)
        samples = np.asarray(picture).astype(np.float32)
        if noise:
            samples += random.normal(0.0, noise, samples.shape).astype(np.float32)
        frames.append(from_rgb(np.clip(np.rint(samples), 0, 255).astype(np.uint8), "bt709", full_range=False))
    return np.stack(frames)


class _Path:
    """How a picture is seen over time."""

    def __init__(self, picture: Picture, random: np.random.Generator) -> None:
        edges = ((SIDE, SIDE), (SIDE, SIDE), (0, 0))
        self._picture = Image.fromarray(np.pad(picture, edges, "symmetric"))
        self._scale = min(random.uniform(*_SCALES), (min(picture.shape[:2]) - 2) / SIDE)
        self._zoom, self._turn = random.normal(0.0, _ZOOM), random.normal(0.0, _TURN)
        speed = math.exp(random.uniform(*np.log(_SPEEDS)))
        direction = random.uniform(0.0, 2.0 * math.pi)
        self._step = speed * math.cos(direction), speed * math.sin(direction)
        room = [side / 2 - self._scale * SIDE / 2 for side in picture.shape[1::-1]]
        self._start = [random.uniform(-r, r) / self._scale if r > 0 else 0.0 for r in room]

    def seen(self, time: int) -> Image.Image:
        """The picture at a frame; what lies outside is its mirror image."""
        scale = self._scale * math.exp(self._zoom * time)
        cosine, sine = scale * math.cos(self._turn * time), scale * math.sin(self._turn * time)
        x, y = (start + step * time - SIDE / 2 for start, step in zip(self._start, self._step, strict=True))
        centre = self._picture.width / 2, self._picture.height / 2
        data = (
            cosine, -sine, centre[0] + cosine * x - sine * y,
            sine, cosine, centre[1] + sine * x + cosine * y,
        )  # fmt: skip
        return self._picture.transform((SIDE, SIDE), Image.Transform.AFFINE, data, Image.Resampling.BICUBIC)

    def shift(self, time: int) -> tuple[float, float, float, float, float, float]:
        """As an affine map of the frame: how far the outline has gone, with what it holds."""
        return 1.0, 0.0, self._step[0] * time, 0.0, 1.0, self._step[1] * time


def _ellipse(random: np.random.Generator) -> NDArray[np.uint8]:
    """A mask (SIDE, SIDE), 255 inside an ellipse, with an edge of about two samples."""
    y, x = np.mgrid[:SIDE, :SIDE] - random.uniform(0.25, 0.75, 2)[:, None, None] * SIDE
    angle = random.uniform(0.0, math.pi)
    radii = random.uniform(0.1, 0.35, 2) * SIDE
    u = (x * math.cos(angle) + y * math.sin(angle)) / radii[0]
    v = (y * math.cos(angle) - x * math.sin(angle)) / radii[1]
    distance = (np.hypot(u, v) - 1.0) * radii.min()
    return (255.0 * np.clip(0.5 - distance / 2.0, 0.0, 1.0)).astype(np.uint8)
