"""Training pictures: tar shards with their manifest, or a folder of pictures, decoded once into memory."""

from __future__ import annotations

import csv
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Picture = NDArray[np.uint8]  # (H, W, 3)

VALIDATION_NAMES = frozenset(f"{number:05d}.jpg" for number in range(946, 996))
_PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".ppm", ".tif", ".tiff", ".bmp"})


def _read(data: bytes) -> Picture:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


def _files(folder: Path) -> Iterator[tuple[str, bytes]]:
    shards = sorted(folder.glob("*.tar"))
    for shard in shards:
        with tarfile.open(shard) as archive:
            for member in archive:
                handle = archive.extractfile(member)
                if handle is not None:
                    yield member.name, handle.read()
    if not shards:
        for path in sorted(folder.rglob("*")):
            if path.suffix.lower() in _PICTURE_SUFFIXES:
                yield str(path.relative_to(folder)), path.read_bytes()


def shippable(folder: Path) -> frozenset[str] | None:
    """Names whose manifest row says ship = 1; None where there is no manifest."""
    manifest = folder / "manifest.csv"
    if not manifest.exists():
        return None
    with manifest.open(newline="") as handle:
        rows = csv.DictReader(handle)
        missing = {"file", "ship"} - set(rows.fieldnames or ())
        if missing:
            msg = f"{manifest} lacks the column {' and '.join(sorted(missing))}"
            raise ValueError(msg)
        return frozenset(row["file"] for row in rows if row["ship"] == "1")


def load_pictures(folder: Path, *, minimum: int, limit: int | None = None) -> tuple[list[Picture], list[Picture]]:
    """Training and validation pictures of a folder of shards or of pictures, as (H, W, 3) uint8.

    Rows of the manifest with ship other than 1 are left out of training. Validation is files 00946 to 00995 of the
    shards (every row, none is trained on), or the last twentieth where there are none of these. Pictures below
    ``minimum`` pixels on a side are left out. ``limit`` bounds the training pictures. Raises ValueError where nothing
    remains.
    """
    allowed = shippable(folder)
    named = [(name, data) for name, data in _files(folder)]
    held_out = VALIDATION_NAMES & {name for name, _ in named}
    if not held_out:
        held_out = frozenset(name for name, _ in named[len(named) - max(1, len(named) // 20) :])
    training: list[Picture] = []
    validation: list[Picture] = []
    for name, data in named:
        if name not in held_out and ((allowed is not None and name not in allowed) or len(training) == limit):
            continue
        picture = _read(data)
        if min(picture.shape[:2]) >= minimum:
            (validation if name in held_out else training).append(picture)
    if not training or not validation:
        msg = (
            f"{folder}: {len(training)} training and {len(validation)} validation pictures of at least {minimum} pixels"
        )
        raise ValueError(msg)
    return training, validation


class CropSampler:
    """Random square crops with flips and transposition, pictures drawn in proportion to their area."""

    def __init__(self, pictures: list[Picture], size: int, seed: int) -> None:
        self.pictures, self.size = pictures, size
        self.random = np.random.default_rng(seed)
        area = np.array([picture.shape[0] * picture.shape[1] for picture in pictures], np.float64)
        self.weights = area / area.sum()

    def crop(self) -> Picture:
        """One crop (size, size, 3)."""
        picture = self.pictures[self.random.choice(len(self.pictures), p=self.weights)]
        top = self.random.integers(picture.shape[0] - self.size + 1)
        left = self.random.integers(picture.shape[1] - self.size + 1)
        crop = picture[top : top + self.size, left : left + self.size]
        if self.random.random() < 0.5:
            crop = crop[:, ::-1]
        if self.random.random() < 0.25:
            crop = crop.transpose(1, 0, 2)
        return crop

    def batch(self, count: int) -> NDArray[np.uint8]:
        """(count, 3, size, size) uint8."""
        return np.ascontiguousarray(np.stack([self.crop() for _ in range(count)]).transpose(0, 3, 1, 2))


def centre_crops(pictures: list[Picture], size: int) -> NDArray[np.uint8]:
    """The central crop of every picture, (N, 3, size, size) uint8."""
    crops = []
    for picture in pictures:
        top, left = (picture.shape[0] - size) // 2, (picture.shape[1] - size) // 2
        crops.append(picture[top : top + size, left : left + size].transpose(2, 0, 1))
    return np.stack(crops)
