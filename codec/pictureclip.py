"""Clips made of pictures: numbered files and folders of pictures."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nacre.bitstream.cicp import Colour
from nacre.bitstream.errors import InputError
from nacre.bitstream.limits import Limits
from nacre.bitstream.tracks import PacketUnit, TrackUnit
from nacre.clip import DEFAULT_RATE, ClipInfo, Frame
from nacre.formats import is_picture_name
from nacre.media import open_rows
from nacre.picture import ArraySink
from nacre.sources import reason
from nacre.videoframes import LEFT, Converter

_PLACE = re.compile(r"%(0?)(\d*)d")
_DIGITS = re.compile(r"(\d+)")
_SRGB = Colour(primaries=1, transfer=13, matrix=1, full_range=0)
_BAND_ROWS = 256


class PictureClip:
    """Pictures as frames, `fps` of them a second; see ContainerClip.

    Raises InputError where a picture cannot be read or has another size than the first.
    """

    tracks: tuple[TrackUnit, ...] = ()

    def __init__(self, paths: Sequence[Path], fps: Fraction | None, limits: Limits) -> None:
        self._paths, self._limits = paths, limits
        rate = fps or DEFAULT_RATE
        self.info = ClipInfo(
            width=1,
            height=1,
            time_base=1 / rate,
            frame_rate=rate,
            colour=_SRGB,
            chroma_location=LEFT,
            frames=len(paths),
            duration=len(paths) / rate,
        )

    def close(self) -> None:
        """Nothing is open between two pictures."""

    def tell_of_losses(self) -> None:
        """Everything was told of."""

    def items(self) -> Iterator[Frame | PacketUnit]:
        """The pictures in their order."""
        import av

        converter, told = Converter(), set[str]()
        for number, path in enumerate(self._paths):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", UserWarning)
                pixels = _read(path, self._limits)
            for message in (str(warning.message) for warning in caught):
                if message not in told:
                    told.add(message)
                    warnings.warn(f"{path.name}: {message}", UserWarning, stacklevel=2)
            height, width = pixels.shape[:2]
            if number == 0:
                self.info = replace(self.info, width=width, height=height)
            elif (width, height) != (self.info.width, self.info.height):
                msg = (
                    f"{path.name} is {width}x{height}, the pictures before are {self.info.width}x{self.info.height};"
                    " a clip must keep its size"
                )
                raise InputError(msg)
            frame: Any = av.VideoFrame.from_ndarray(pixels, "rgb24")
            yield Frame(converter.planes(frame), number, 1)


def is_pattern(name: str) -> bool:
    """Whether a name has a place for a number, such as %04d, in its last part."""
    return _PLACE.search(Path(name).name) is not None


def numbered(name: str, number: int) -> str:
    """The name of the picture with this number."""
    path = Path(name)
    return str(path.with_name(_PLACE.sub(lambda place: f"{number:{place[1]}{place[2]}d}", path.name)))


def numbered_pictures(name: str) -> list[Path]:
    """The files that a pattern names, by their numbers; a gap is a UserWarning. InputError where there are none."""
    path = Path(name)
    before, after = (re.escape(part) for part in _split(path.name))
    matcher = re.compile(rf"{before}(\d+){after}\Z")
    found = {}
    for entry in _entries(path.parent):
        match = matcher.match(entry.name)
        if match and numbered(name, int(match[1])) == str(path.with_name(entry.name)):
            found[int(match[1])] = entry
    if not found:
        msg = "names no file that exists"
        raise InputError(msg)
    numbers = sorted(found)
    gap = next((number for number in range(numbers[0], numbers[-1]) if number not in found), None)
    if gap is not None:
        missing = numbers[-1] - numbers[0] + 1 - len(numbers)
        warnings.warn(f"{missing} numbers are missing, the first is {gap}", UserWarning, stacklevel=2)
    return [found[number] for number in numbers]


def pictures_in(folder: Path) -> list[Path]:
    """The pictures in a folder, by their names, in which numbers count as such. InputError where there are none."""
    found = [path for path in _entries(folder) if is_picture_name(path.name)]
    if not found:
        msg = "is a folder without pictures"
        raise InputError(msg)
    return sorted(found, key=lambda path: [int(part) if part.isdigit() else part for part in _DIGITS.split(path.name)])


def _split(name: str) -> tuple[str, str]:
    places = list(_PLACE.finditer(name))
    if len(places) != 1:
        msg = f"has {len(places)} places for a number, must have one"
        raise InputError(msg)
    return name[: places[0].start()], name[places[0].end() :]


def _entries(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if not path.name.startswith(".") and path.is_file()]
    except OSError as error:
        msg = f"cannot be read: {reason(error)}"
        raise InputError(msg) from error


def _read(path: Path, limits: Limits) -> NDArray[np.uint8]:
    """A picture as RGB (H, W, 3)."""
    with open_rows(path, limits, strip=True) as rows:
        sink = ArraySink()
        sink.start(rows.form)
        for top in range(0, rows.form.height, _BAND_ROWS):
            sink.write(rows.read(min(_BAND_ROWS, rows.form.height - top)))
    if sink.alpha is not None:
        warnings.warn("alpha is dropped", UserWarning, stacklevel=2)
    pixels = sink.pixels
    return np.repeat(pixels[..., np.newaxis], 3, axis=2) if pixels.ndim == 2 else pixels
