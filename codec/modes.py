"""Pillow's modes as 8-bit grey or RGB, with or without alpha, a few rows at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from nacre.bands import Samples, check_floats, extremes, from_16_bits, from_floats, steps, warn_of_16_bits
from nacre.bitstream.errors import InputError
from nacre.colour import cmyk_transform
from nacre.picture import Band

_TIFF_BITS_PER_SAMPLE = 258


class StoredSamples:
    """What a file says of its samples and Pillow no longer knows once they are loaded; to be made before that.

    wide: 16 bits a sample, of which Pillow keeps 8. grey: grey samples, which Pillow gives as RGB. key_scale: by which
    Pillow multiplied the samples, but not the colour that stands for transparency. integers: of mode I, 0..65535.
    """

    def __init__(self, image: Image.Image) -> None:
        arguments = [tile.args for tile in image.tile] if isinstance(image, ImageFile.ImageFile) else []
        raw = {str(part[0] if isinstance(part, tuple) and part else part) for part in arguments}
        self.wide = image.mode[0] not in "IF" and any(";16" in name for name in raw)
        self.grey = any(name.startswith("LA;16") for name in raw)
        self.key_scale = 85 if "L;2" in raw else 17 if "L;4" in raw else 1
        bits = getattr(image, "tag_v2", {}).get(_TIFF_BITS_PER_SAMPLE)
        self.integers = image.format in ("PNG", "PPM") or (image.format == "TIFF" and bits == (16,))


def image_samples(image: Image.Image, stored: StoredSamples) -> Samples:
    """The picture of a loaded image; UserWarning where 16 bits are reduced.

    Raises InputError for samples that have no 8-bit equivalent: integers and floats without a known range, and CMYK
    without the profile that says which colours its inks have.
    """
    width, height = image.size
    if stored.wide:
        warn_of_16_bits()

    def samples(grey: bool, alpha: bool, band: Callable[[Image.Image], Band]) -> Samples:
        return Samples(width, height, grey, alpha, lambda top, bottom: band(image.crop((0, top, width, bottom))))

    def parts() -> Iterator[NDArray[Any]]:
        return (np.asarray(image.crop((0, top, width, bottom))) for top, bottom in steps(width, 0, height))

    mode = image.mode
    if mode in ("1", "L", "RGB"):
        return _plain(image, stored, samples)
    if mode in ("P", "PA"):
        return _palette(image, samples)
    if mode in ("LA", "La"):
        return samples(True, True, lambda rows: _split(rows.convert("LA")))
    if mode in ("RGBA", "RGBa"):
        if stored.grey:
            return samples(True, True, lambda rows: _first_and_alpha(np.asarray(rows)))
        return samples(False, True, lambda rows: _split(rows.convert("RGBA")))
    if mode in ("RGBX", "YCbCr", "HSV", "LAB"):
        return samples(False, False, lambda rows: Band(np.asarray(rows.convert("RGB")), None))
    if mode == "CMYK":
        transform = cmyk_transform(image.info.get("icc_profile"))
        return samples(False, False, lambda rows: Band(np.asarray(transform.apply(rows)), None))
    if mode == "F":
        check_floats(parts())
        return samples(True, False, lambda rows: Band(from_floats(np.asarray(rows)), None))
    if mode.startswith("I;16") or (mode == "I" and stored.integers):
        return _wide_grey(image, samples, parts())
    if mode == "I":
        low, high = extremes(parts())
        msg = (
            f"has 32-bit integer samples, from {low:.0f} to {high:.0f}, of no known range;"
            " convert it to 8 or 16 bits (mode L or I;16)"
        )
        raise InputError(msg)
    msg = f"has samples of mode {mode}, which are not coded; convert it to 8-bit RGB or grey"
    raise InputError(msg)


_Maker = Callable[[bool, bool, Callable[[Image.Image], Band]], Samples]


def _plain(image: Image.Image, stored: StoredSamples, samples: _Maker) -> Samples:
    """Modes 1, L and RGB, where one colour may stand for transparency."""
    grey = image.mode != "RGB"
    target = "L" if grey else "RGB"
    if "transparency" not in image.info:
        return samples(grey, False, lambda rows: Band(_converted(rows, target), None))
    key = np.array(image.info["transparency"])
    if key.shape != (() if grey else (3,)) or key.dtype.kind not in "iu":
        kind = "one integer" if grey else "three integers"
        msg = f"has the transparent colour {image.info['transparency']!r:.40}, must be {kind}"
        raise InputError(msg)
    if stored.wide:
        key >>= 8  # as Pillow reduces the samples
    key *= stored.key_scale
    if grey:
        return samples(True, True, lambda rows: _keyed(_converted(rows, "L"), key))
    return samples(False, True, lambda rows: _keyed(_converted(rows, "RGB"), key))


def _palette(image: Image.Image, samples: _Maker) -> Samples:
    """Modes P and PA; grey where all colours of the palette are."""
    colours = np.array(image.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
    grey = bool((colours == colours[:, :1]).all())
    if image.has_transparency_data:
        if grey:
            return samples(True, True, lambda rows: _first_and_alpha(np.asarray(rows.convert("RGBA"))))
        return samples(False, True, lambda rows: _split(rows.convert("RGBA")))
    if grey:
        return samples(True, False, lambda rows: Band(np.asarray(rows.convert("RGB"))[..., 0], None))
    return samples(False, False, lambda rows: Band(np.asarray(rows.convert("RGB")), None))


def _wide_grey(image: Image.Image, samples: _Maker, parts: Iterator[NDArray[Any]]) -> Samples:
    """Modes I;16 of any byte order, and I of a file with 16 bits."""
    low, high = extremes(parts)
    if low < 0 or high > 65535:
        msg = f"has 16-bit samples from {low:.0f} to {high:.0f}, must be in 0..65535"
        raise InputError(msg)
    warn_of_16_bits()
    key = image.info.get("transparency")
    if isinstance(key, int):
        return samples(True, True, lambda rows: _keyed(np.asarray(rows), np.array(key), from_16_bits))
    return samples(True, False, lambda rows: Band(from_16_bits(np.asarray(rows)), None))


def _converted(rows: Image.Image, mode: str) -> NDArray[np.uint8]:
    rows.info.pop("transparency", None)  # of the part, not of the picture; Pillow would convert it along
    return np.asarray(rows.convert(mode))


def _keyed(
    samples: NDArray[Any], key: NDArray[Any], reduce: Callable[[NDArray[Any]], NDArray[np.uint8]] | None = None
) -> Band:
    """Samples (n, W) or (n, W, 3) that are transparent where they are the key, opaque elsewhere."""
    differs = samples != key
    if differs.ndim == 3:
        differs = differs.any(axis=2)
    return Band(reduce(samples) if reduce else samples, differs.astype(np.uint8) * np.uint8(255))


def _split(rows: Image.Image) -> Band:
    samples = np.asarray(rows)
    return Band(samples[..., 0] if samples.shape[2] == 2 else samples[..., :3], samples[..., -1])


def _first_and_alpha(samples: NDArray[np.uint8]) -> Band:
    return Band(samples[..., 0], samples[..., -1])
