"""Pictures to evaluate on: found in files and folders, read as 8-bit RGB."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nacre.bitstream.errors import InputError

Picture = NDArray[np.uint8]  # (H, W, 3) RGB

SUFFIXES = frozenset({".png", ".ppm", ".bmp", ".tif", ".tiff", ".webp", ".jpg", ".jpeg"})


def find_files(sources: Iterable[str], suffixes: Iterable[str], what: str) -> tuple[list[Path], list[str]]:
    """Files as they are named and those of folders by suffix, sorted, without repetition; and what has none of `what`.

    suffixes: in small letters.
    """
    known = frozenset(suffixes)
    paths: dict[Path, None] = {}
    empty: list[str] = []
    for source in map(Path, sources):
        if source.is_dir():
            found = sorted(path for path in source.iterdir() if path.suffix.lower() in known)
            if not found:
                empty.append(f"{source}: no {what} found ({', '.join(sorted(known))})")
            paths.update(dict.fromkeys(found))
        elif source.exists():
            paths[source] = None
        else:
            empty.append(f"{source}: does not exist")
    return list(paths), empty


def find_pictures(sources: Iterable[str]) -> tuple[list[Path], list[str]]:
    """The pictures among files and in folders, and what has none."""
    return find_files(sources, SUFFIXES, "pictures")


def read_picture(path: Path) -> Picture:
    """(H, W, 3) uint8 RGB. Raises InputError where the file is no readable 8-bit picture without transparency."""
    try:
        with Image.open(path) as image:
            if image.mode not in ("RGB", "L", "P", "1"):
                msg = f"{path}: mode {image.mode}, must be RGB or grey with 8 bits and no alpha"
                raise InputError(msg)
            return np.array(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        if isinstance(error, InputError):
            raise
        msg = f"{path}: cannot be read: {error}"
        raise InputError(msg) from error


def digest(picture: Picture) -> str:
    """32 hexadecimal digits that depend on size and samples only, not on the file."""
    return hashlib.sha256(repr(picture.shape).encode() + np.ascontiguousarray(picture).tobytes()).hexdigest()[:32]
