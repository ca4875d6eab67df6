"""Rate-quality curves: measured ones and published ones."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nacre.bitstream.errors import InputError

_PUBLISHED_KEYS = {"psnr": "psnr_rgb", "ms-ssim": "ms_ssim"}  # metric here: its key in a file of published curves


@dataclass(frozen=True, slots=True)
class Curve:
    """Points of one codec in rising order of rate: bits per pixel and a quality of which more is better.

    Raises InputError unless there are two points or more, all finite, rates above 0, both strictly rising.
    """

    name: str
    rate: tuple[float, ...]
    quality: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.rate) != len(self.quality) or len(self.rate) < 2:
            counts = f"{len(self.rate)} rates and {len(self.quality)} qualities"
            msg = f"{self.name}: {counts}, must be equally many, at least 2"
            raise InputError(msg)
        if not all(map(math.isfinite, self.rate + self.quality)) or min(self.rate) <= 0.0:
            msg = f"{self.name}: rates must be finite and above 0, qualities finite"
            raise InputError(msg)
        for low, high in zip(range(len(self.rate)), range(1, len(self.rate)), strict=False):
            if self.rate[high] <= self.rate[low] or self.quality[high] <= self.quality[low]:
                msg = (
                    f"{self.name}: rate and quality must rise together, but ({self.rate[low]:.4f}, "
                    f"{self.quality[low]:.4f}) is followed by ({self.rate[high]:.4f}, {self.quality[high]:.4f})"
                )
                raise InputError(msg)

    @classmethod
    def of(cls, name: str, points: list[tuple[float, float]]) -> Curve:
        """A curve from (rate, quality) points in any order."""
        ordered = sorted(points)
        return cls(name, tuple(rate for rate, _ in ordered), tuple(quality for _, quality in ordered))


def decibel(similarity: float) -> float:
    """A similarity of 0..1, such as MS-SSIM, in dB: -10 log10(1 - similarity); inf where it is 1."""
    return math.inf if similarity >= 1.0 else -10.0 * math.log10(1.0 - similarity)


@dataclass(frozen=True, slots=True)
class Published:
    """Published points of one codec: rates and whatever metrics the source gives."""

    name: str
    points: dict[str, Any]

    @property
    def label(self) -> str:
        """The name in tables and plots, where a measured codec may be called the same."""
        return f"{self.name} (published)"

    def points_of(self, metric: str) -> list[tuple[float, float]]:
        """(bits per pixel, value) of a metric; empty where the source has none. `ms-ssim-db` follows from `ms-ssim`."""
        source = "ms-ssim" if metric == "ms-ssim-db" else metric
        values = self.points.get(_PUBLISHED_KEYS.get(source, source))
        if values is None:
            return []
        return [
            (float(rate), decibel(value) if metric == "ms-ssim-db" else float(value))
            for rate, value in zip(self.points["bpp"], values, strict=True)
        ]


def _codecs(tree: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, value in tree.items():
        if isinstance(value, dict):
            if isinstance(value.get("bpp"), list):
                yield name, value
            else:
                yield from _codecs(value)


def load_published(reference: str) -> Published:
    """The curve that `FILE.json:NAME` names: the one object called NAME with a list `bpp`, at any depth of the file.

    Raises InputError where the file cannot be read or does not hold exactly one such object.
    """
    file, separator, name = reference.rpartition(".json:")
    if not separator:
        msg = f"published curve {reference!r}: must be FILE.json:NAME"
        raise InputError(msg)
    path = Path(f"{file}.json")
    try:
        tree = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        msg = f"{path}: cannot be read: {error}"
        raise InputError(msg) from error
    found = list(_codecs(tree)) if isinstance(tree, dict) else []
    matches = [points for other, points in found if other == name]
    if len(matches) != 1:
        known = ", ".join(sorted({other for other, _ in found})) or "none"
        msg = f"{path}: {len(matches)} curves named {name!r}, must be 1; there are: {known}"
        raise InputError(msg)
    return Published(name, matches[0])
