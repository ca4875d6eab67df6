"""Training clips: tar shards of short shots with their manifest, decoded to planes of 8-bit YUV 4:2:0."""

from __future__ import annotations

import csv
import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from nacre.tools.yuv import Frames

# Whole sources that nothing is trained on, a tenth of all and of the shots with ship = 1: a room, hands, a road, a
# coast, a face, and the fast pans of DAVIS.
VALIDATION_SOURCES = frozenset(
    {
        "notebooks_videos_bedroom.mp4",
        "asl_gestures_hungry.mkv",
        "asl_gestures_walk.mkv",
        "test_videos_solidWhiteRight.mp4",
        "lofoten.mp4",
        "assets_examples_driving_d3.mp4",
        "car-roundabout",
        "cows",
        "dance-twirl",
        "parkour",
    }
)
_COLUMNS = ("file", "source_file", "w", "h", "ship")


@dataclass(frozen=True, eq=False)
class Shot:
    """One shot: its file's name, the video it was cut from, and its frames of 8-bit YUV 4:2:0, (F, 3 H / 2, W)."""

    name: str
    source: str
    frames: Frames

    @property
    def luma(self) -> NDArray[np.uint8]:
        """The luma planes, (F, H, W)."""
        return self.frames[:, : self.frames.shape[1] * 2 // 3]


def load_shots(folder: Path, *, minimum: int, limit: int | None = None) -> tuple[list[Shot], list[Shot]]:
    """Training and validation shots of a folder of shards, in the shards' order.

    Training shots have ship = 1 in the manifest; those of VALIDATION_SOURCES, whatever their row says, are for
    validation. Shots below ``minimum`` luma samples on a side are left out. ``limit`` bounds the training shots.
    Raises ValueError where nothing remains.
    """
    training: list[Shot] = []
    validation: list[Shot] = []
    for row, data in _members(folder):
        held_out = row["source_file"] in VALIDATION_SOURCES
        if min(int(row["w"]), int(row["h"])) < minimum:
            continue
        if held_out:
            validation.append(_shot(row, data))
        elif row["ship"] == "1" and len(training) != limit:
            training.append(_shot(row, data))
    if not training or not validation:
        msg = f"{folder}: {len(training)} training and {len(validation)} validation shots of at least {minimum} samples"
        raise ValueError(msg)
    return training, validation


def training_shots(folder: Path) -> Iterator[Shot]:
    """The training shots one after the other, for what need not hold them all."""
    for row, data in _members(folder):
        if row["ship"] == "1" and row["source_file"] not in VALIDATION_SOURCES:
            yield _shot(row, data)


def validation_shots(folder: Path) -> Iterator[Shot]:
    """The validation shots one after the other."""
    for row, data in _members(folder):
        if row["source_file"] in VALIDATION_SOURCES:
            yield _shot(row, data)


def _members(folder: Path) -> Iterator[tuple[dict[str, str], bytes]]:
    """Every shot's row of the manifest and its file."""
    manifest = folder / "manifest.csv"
    with manifest.open(newline="") as handle:
        reader = csv.DictReader(handle)
        missing = set(_COLUMNS) - set(reader.fieldnames or ())
        if missing:
            msg = f"{manifest} lacks the column {' and '.join(sorted(missing))}"
            raise ValueError(msg)
        rows = {row["file"]: row for row in reader}
    for shard in sorted(folder.glob("*.tar")):
        with tarfile.open(shard) as archive:
            for member in archive:
                file = archive.extractfile(member)
                if file is not None and member.name in rows:
                    yield rows[member.name], file.read()


def _shot(row: dict[str, str], data: bytes) -> Shot:
    with av.open(io.BytesIO(data), "r") as container:
        frames: list[Any] = [frame.to_ndarray(format="yuv420p") for frame in container.decode(video=0)]
    return Shot(row["file"], row["source_file"], np.stack(frames))
