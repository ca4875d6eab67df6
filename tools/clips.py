"""Clips to evaluate on: found in files and folders, read as planes of 8-bit YUV 4:2:0, which is what is coded."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np

from nacre.bitstream.errors import InputError
from nacre.tools.pictures import SUFFIXES as PICTURE_SUFFIXES
from nacre.tools.pictures import Picture, find_files
from nacre.tools.yuv import Frames, Matrix, to_rgb

SUFFIXES = frozenset({".y4m", ".mkv", ".mp4", ".m4v", ".mov", ".webm", ".avi"})

_FORMATS = {"yuv420p": False, "yuvj420p": True}  # whether samples span the full range
_MATRICES: dict[int, Matrix] = {1: "bt709", 5: "bt601", 6: "bt601", 9: "bt2020", 10: "bt2020"}  # H.273
_FULL_RANGE = 2  # AVCOL_RANGE_JPEG
_HIGH_DEFINITION = 720  # rows from which BT.709 is taken where a file names no matrix
_DEFAULT_RATE = Fraction(25)


@dataclass(frozen=True, eq=False)
class Clip:
    """Frames of 8-bit YUV 4:2:0 (F, 3 H / 2, W), frames per second, and how their samples are to be understood."""

    frames: Frames
    rate: Fraction
    matrix: Matrix
    full_range: bool

    @property
    def width(self) -> int:
        """Columns of luma samples."""
        return self.frames.shape[2]

    @property
    def height(self) -> int:
        """Rows of luma samples."""
        return self.frames.shape[1] * 2 // 3

    @property
    def pixels(self) -> int:
        """Luma samples of all frames."""
        return self.frames.shape[0] * self.height * self.width

    def picture(self, number: int, frames: Frames | None = None) -> Picture:
        """One frame as RGB (H, W, 3), of other frames of the same kind where they are given."""
        return to_rgb((self.frames if frames is None else frames)[number], self.matrix, self.full_range)

    def digest(self) -> str:
        """32 hexadecimal digits that depend on samples, frame rate and colour, not on the file."""
        head = repr((self.frames.shape, self.rate, self.matrix, self.full_range)).encode()
        return hashlib.sha256(head + np.ascontiguousarray(self.frames).tobytes()).hexdigest()[:32]


def is_clip_name(path: Path) -> bool:
    """Whether a file of this name would be a clip."""
    return path.suffix.lower() in SUFFIXES


def find_clips(sources: Iterable[str]) -> tuple[list[Path], list[str]]:
    """The clips among files and in folders, and what has none."""
    return find_files(sources, SUFFIXES, "clips")


def are_clips(sources: Iterable[str]) -> bool:
    """Whether files and folders are clips by their names: of folders those that hold clips and no pictures.

    Raises InputError where some are clips and some pictures.
    """
    kinds = {source: _is_clip_source(Path(source)) for source in sources}
    if len(set(kinds.values())) > 1:
        clip, picture = (next(source for source in kinds if kinds[source] is kind) for kind in (True, False))
        msg = f"{clip} is a clip or holds clips, {picture} does not: pictures and clips are measured apart"
        raise InputError(msg)
    return any(kinds.values())


def _is_clip_source(source: Path) -> bool:
    if not source.is_dir():
        return is_clip_name(source)
    suffixes = {path.suffix.lower() for path in source.iterdir()}
    return bool(suffixes & SUFFIXES) and not suffixes & PICTURE_SUFFIXES


def read_clip(path: Path, frames: int | None = None) -> Clip:
    """The first `frames` frames of a clip, all where that is None.

    Raises InputError where the file cannot be read or is no clip of 8-bit YUV 4:2:0 with even sides and one size.
    """
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            rate = stream.average_rate
            first: Any = None
            found = []
            for frame in islice(container.decode(stream), frames):
                first = first or frame
                _check_frame(frame, first)
                found.append(frame.to_ndarray())
    except InputError as error:
        msg = f"{path}: {error}"
        raise InputError(msg) from error
    except (av.FFmpegError, IndexError, OSError, ValueError) as error:
        reason = "it holds no video" if isinstance(error, IndexError) else str(error)
        msg = f"{path}: cannot be read as a clip: {reason}"
        raise InputError(msg) from error
    if not found:
        msg = f"{path}: has no frames"
        raise InputError(msg)
    guess: Matrix = "bt709" if first.height >= _HIGH_DEFINITION else "bt601"
    return Clip(
        np.stack(found),
        Fraction(rate) if rate else _DEFAULT_RATE,
        _MATRICES.get(int(first.colorspace), guess),
        _FORMATS[first.format.name] or int(first.color_range) == _FULL_RANGE,
    )


def _check_frame(frame: Any, first: Any) -> None:
    if frame.format.name not in _FORMATS:
        msg = f"its samples are {frame.format.name}, must be 8-bit YUV 4:2:0 (yuv420p)"
        raise InputError(msg)
    if frame.width % 2 or frame.height % 2:
        msg = f"{frame.width}x{frame.height}, must have even sides"
        raise InputError(msg)
    if (frame.width, frame.height) != (first.width, first.height):
        msg = f"its frames are {first.width}x{first.height} and {frame.width}x{frame.height}, must be of one size"
        raise InputError(msg)
