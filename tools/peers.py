"""Picture codecs behind one interface: nacre's profiles and their peers, from well-kept libraries.

| name | encoder and settings | quality |
| --- | --- | --- |
| nacre:PROFILE, nacre:PROFILE:N | this package at its default effort, or at effort N | 0..100 |
| jpeg, jpeg-444 | Pillow's defaults (4:2:0, standard Huffman tables); 4:4:4 with optimized tables | 1..100 |
| webp | Pillow, method 4 (its default), 4:2:0 | 0..100 |
| avif, avif-444 | Pillow (libavif, libaom), speed 6 (its default), 4:2:0 and 4:4:4 | 0..100 |
| avif-slow, avif-444-slow | the same at speed 0 | 0..100 |
| avif-fast, avif-444-fast | the same at speed 10 | 0..100 |
| jxl | imagecodecs (libjxl), lossy VarDCT, effort 7 (cjxl's default) | 0..100, turned into a distance as cjxl does |
| jxl-e1, jxl-e3 | the same at efforts 1 and 3 | 0..100, likewise |
| heic, heic-444 | pillow-heif (libheif, x265), its defaults, 4:2:0 and 4:4:4 | 0..100 |
| jpeg2000 | Pillow (OpenJPEG), 9/7 wavelet, with the colour transform | target in bits per pixel, 0.001..24 |
| x264-still, x265-still, svtav1-still, or with :PRESET | intra frames, nacre.tools.still_peers | 0..51, 0..62 (AV1) |

Sizes are those of whole files. No metadata is written beyond what the library insists on.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Protocol

import numpy as np
from PIL import Image, features

from nacre.bitstream.errors import InputError
from nacre.tools.extras import package_version, require
from nacre.tools.pictures import Picture

Settings = Mapping[str, str | int | bool]


class PictureCodec(Protocol):
    """One codec with fixed settings. `qualities` are tried by default, rising; `step` is the finest step between them.

    bounds: the lowest and the highest one there is. threads: how many one call uses at most. settings: all that the
    bytes depend on, versions included.
    """

    name: str
    qualities: tuple[float, ...]
    bounds: tuple[float, float]
    step: float
    threads: int
    settings: Settings

    def encode(self, picture: Picture, quality: float) -> bytes:
        """The file of a picture (H, W, 3)."""

    def decode(self, data: bytes) -> Picture:
        """The picture (H, W, 3) of a file."""


class NacreCodec:
    """A profile of this package, at an effort 1..9 where one is given; `weights` is the folder to look for it in."""

    qualities = tuple(float(quality) for quality in range(0, 101, 5))
    bounds = (0.0, 100.0)
    step = 1 / 8
    threads = 1  # two pictures at a time are faster than two threads for each

    def __init__(self, name: str, weights: str | None) -> None:
        from nacre.effort import parse_effort
        from nacre.image import ImageCodec
        from nacre.version import __version__
        from nacre.weights import store

        profile, _, effort = name.removeprefix("nacre:").partition(":")
        self._effort = parse_effort(int(effort) if effort.isdecimal() else effort or None).level
        installed = store.load(profile, weights)
        hashes = json.dumps({name: entry.sha256 for name, entry in sorted(installed.files.items())})
        self.name = name
        self.settings: Settings = {
            "nacre": __version__,
            "onnxruntime": package_version("onnxruntime") or "",
            "weights": installed.version,
            "digest": installed.digest.hex(),
            "files": hashlib.sha256(hashes.encode()).hexdigest(),
            "effort": self._effort,
            "threads": self.threads,
        }
        self._codec = ImageCodec(profile, self.threads, weights)

    def encode(self, picture: Picture, quality: float) -> bytes:
        """The file of a picture (H, W, 3)."""
        return self._codec.encode(picture, quality, effort=self._effort)

    def decode(self, data: bytes) -> Picture:
        """The picture (H, W, 3) of a file."""
        return self._codec.decode_array(data)


class PillowCodec:
    """A format of Pillow or of its plug-ins, saved with fixed options besides the quality, a whole number."""

    bounds = (0.0, 100.0)
    step = 1.0

    def __init__(
        self,
        name: str,
        file_format: str,
        library: str,
        qualities: tuple[float, ...],
        options: Settings,
        *,
        takes_threads: bool = False,
        threads: int = 1,
    ) -> None:
        self.name, self.qualities = name, qualities
        self._format, self._options = file_format, dict(options)
        self.settings: Settings = {"pillow": package_version("pillow") or "", "library": library, **options}
        self.threads = threads if takes_threads else 1
        if takes_threads:
            self._options["max_threads"] = threads

    def encode(self, picture: Picture, quality: float) -> bytes:
        """The file of a picture (H, W, 3)."""
        return self._save(picture, quality=round(quality))

    def decode(self, data: bytes) -> Picture:
        """The picture (H, W, 3) of a file."""
        with Image.open(io.BytesIO(data), formats=[self._format]) as image:
            return np.array(image.convert("RGB"))

    def _save(self, picture: Picture, **quality: Any) -> bytes:
        file = io.BytesIO()
        Image.fromarray(picture).save(file, self._format, **self._options, **quality)
        return file.getvalue()


class JpegCodec(PillowCodec):
    """JPEG; libjpeg takes whatever is below 1 as 1."""

    bounds = (1.0, 100.0)


class Jpeg2000Codec(PillowCodec):
    """JPEG 2000, whose quality here is the bits per pixel asked for."""

    bounds = (0.001, 24.0)
    step = 0.001

    def encode(self, picture: Picture, quality: float) -> bytes:
        """The file of a picture (H, W, 3) at `quality` bits per pixel."""
        return self._save(picture, quality_layers=[24.0 / quality])


class JpegXlCodec:
    """JPEG XL by imagecodecs, at an effort 1..9."""

    qualities: tuple[float, ...] = (5.0, 15.0, 30.0, 45.0, 60.0, 75.0, 85.0, 92.0, 96.0)
    bounds = (0.0, 100.0)
    step = 0.1

    def __init__(self, name: str, effort: int, threads: int) -> None:
        self._library = require("imagecodecs")
        if not self._library.JPEGXL.available:
            msg = "imagecodecs is installed without JPEG XL"
            raise InputError(msg)
        self.name, self.threads, self._effort = name, threads, effort
        version = package_version("imagecodecs") or ""
        self.settings: Settings = {
            "imagecodecs": version,
            "library": self._library.jpegxl_version(),
            "effort": effort,
        }

    @staticmethod
    def distance(quality: float) -> float:
        """Butteraugli distance of a quality 0..100, as libjxl's JxlEncoderDistanceFromQuality."""
        if quality >= 30.0:
            return 0.1 + (100.0 - quality) * 0.09
        return 53.0 / 3000.0 * quality * quality - 23.0 / 20.0 * quality + 25.0

    def encode(self, picture: Picture, quality: float) -> bytes:
        """The file of a picture (H, W, 3)."""
        return bytes(
            self._library.jpegxl_encode(
                picture, effort=self._effort, distance=self.distance(quality), numthreads=self.threads
            )
        )

    def decode(self, data: bytes) -> Picture:
        """The picture (H, W, 3) of a file."""
        picture: Picture = self._library.jpegxl_decode(data, numthreads=self.threads)
        return picture


_JPEG_QUALITIES = (5.0, 10.0, 20.0, 35.0, 50.0, 65.0, 80.0, 90.0, 95.0)
_WEBP_QUALITIES = (0.0, 10.0, 25.0, 50.0, 70.0, 85.0, 95.0, 100.0)
_AVIF_QUALITIES = (10.0, 25.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0)
_HEIC_QUALITIES = (10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0)
_JPEG2000_QUALITIES = (0.1, 0.2, 0.4, 0.7, 1.2, 2.0, 3.2)


def _feature(name: str) -> str:
    version = features.version(name)
    if version is None:
        msg = f"this build of Pillow has no {name}"
        raise InputError(msg)
    return f"{name} {version}"


def _jpeg(name: str, options: Settings, threads: int) -> PictureCodec:
    return JpegCodec(name, "JPEG", _feature("libjpeg_turbo"), _JPEG_QUALITIES, options)


def _webp(name: str, options: Settings, threads: int) -> PictureCodec:
    return PillowCodec(name, "WEBP", _feature("webp"), _WEBP_QUALITIES, options)


def _avif(name: str, options: Settings, threads: int) -> PictureCodec:
    version = f"{_feature('avif')}, {require('PIL._avif').codec_versions()}"
    return PillowCodec(name, "AVIF", version, _AVIF_QUALITIES, options, takes_threads=True, threads=threads)


def _heic(name: str, options: Settings, threads: int) -> PictureCodec:
    plugin = require("pillow_heif")
    plugin.register_heif_opener(decode_threads=1)
    information = plugin.libheif_info()
    if not information.get("HEIF"):
        msg = "this build of pillow-heif has no HEVC encoder"
        raise InputError(msg)
    library = f"pillow-heif {plugin.__version__}, libheif {information['libheif']}, {information['HEIF']}"
    return PillowCodec(name, "HEIF", library, _HEIC_QUALITIES, options)


def _jpeg2000(name: str, options: Settings, threads: int) -> PictureCodec:
    return Jpeg2000Codec(name, "JPEG2000", _feature("jpg_2000"), _JPEG2000_QUALITIES, options)


def _still(name: str, threads: int) -> PictureCodec:
    require("av")
    from nacre.tools.still_peers import StillCodec

    return StillCodec(name)


_STILLS = ("x264-still", "x265-still", "svtav1-still")
_OPENERS: dict[str, Callable[[int], PictureCodec]] = {
    "jpeg": partial(_jpeg, "jpeg", {}),
    "jpeg-444": partial(_jpeg, "jpeg-444", {"subsampling": "4:4:4", "optimize": True}),
    "webp": partial(_webp, "webp", {"method": 4}),
    "avif": partial(_avif, "avif", {"speed": 6, "subsampling": "4:2:0"}),
    "avif-444": partial(_avif, "avif-444", {"speed": 6, "subsampling": "4:4:4"}),
    "avif-slow": partial(_avif, "avif-slow", {"speed": 0, "subsampling": "4:2:0"}),
    "avif-444-slow": partial(_avif, "avif-444-slow", {"speed": 0, "subsampling": "4:4:4"}),
    "avif-fast": partial(_avif, "avif-fast", {"speed": 10, "subsampling": "4:2:0"}),
    "avif-444-fast": partial(_avif, "avif-444-fast", {"speed": 10, "subsampling": "4:4:4"}),
    "jxl": partial(JpegXlCodec, "jxl", 7),
    "jxl-e1": partial(JpegXlCodec, "jxl-e1", 1),
    "jxl-e3": partial(JpegXlCodec, "jxl-e3", 3),
    "heic": partial(_heic, "heic", {"chroma": "420"}),
    "heic-444": partial(_heic, "heic-444", {"chroma": "444"}),
    "jpeg2000": partial(_jpeg2000, "jpeg2000", {"quality_mode": "rates", "irreversible": True, "mct": 1}),
    **{name: partial(_still, name) for name in _STILLS},
}
NAMES = ("nacre:PROFILE", "nacre:PROFILE:EFFORT", *_OPENERS, *(f"{name}:PRESET" for name in _STILLS))


def is_name(name: str) -> bool:
    """Whether it is the name of a codec, installed or not."""
    family, _, detail = name.partition(":")
    return name in _OPENERS or (bool(detail) and family in ("nacre", *_STILLS))


def open_codec(name: str, threads: int = 1, weights: str | None = None) -> PictureCodec:
    """A codec by name. `threads` bounds what codecs with threads of their own use; `weights` is nacre's folder.

    Raises InputError for an unknown name and where the library is not installed, WeightsError for nacre's weights.
    """
    if not is_name(name):
        msg = f"codec {name!r} is unknown, must be one of {', '.join(NAMES)}"
        raise InputError(msg)
    kind = name.partition(":")[0]
    if kind == "nacre":
        return NacreCodec(name, weights)
    return _still(name, threads) if kind in _STILLS else _OPENERS[name](threads)


def check_qualities(name: str, qualities: Iterable[float], bounds: tuple[float, float], step: float) -> None:
    """Raise InputError for a quality that a codec does not have, which its library would change without a word."""
    low, high = bounds
    for quality in qualities:
        if not low <= quality <= high:
            msg = f"{name}: quality {quality:g} is out of range, must be {low:g}..{high:g}"
            raise InputError(msg)
        if abs(step) == 1.0 and quality != round(quality):
            msg = f"{name}: quality {quality:g} must be a whole number"
            raise InputError(msg)


def fingerprint(settings: Settings) -> str:
    """Changes where a codec's settings or versions change."""
    return hashlib.sha256(json.dumps(dict(settings), sort_keys=True).encode()).hexdigest()[:16]
