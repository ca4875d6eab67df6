"""The demo: one picture through the codec, beside JPEG and WebP at the quality that reaches the same PSNR."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from nacre.atomic import open_target
from nacre.bitstream.errors import InputError
from nacre.image import ImageCodec
from nacre.media import FORMATS, Pixels, read_picture, to_image, write_picture
from nacre.metrics import psnr
from nacre.scene import draw_scene
from nacre.sources import reason

_PEERS: tuple[tuple[str, dict[str, object]], ...] = (
    ("JPEG", {"optimize": True, "subsampling": 0}),
    ("WEBP", {"method": 4}),
)


@dataclass(frozen=True, slots=True)
class Result:
    """One codec's coding of the picture: sizes in bytes, PSNR in dB, times in seconds."""

    codec: str
    quality: float
    size: int
    psnr: float
    encode_seconds: float
    decode_seconds: float


def run_demo(codec: ImageCodec, picture: str | None, folder: Path, quality: float) -> str:
    """Write original.png, picture.ncr and decoded.png to the folder and return the table of results.

    Raises InputError where the picture cannot be read or the folder not written, and as ImageCodec does.
    """
    pixels = draw_scene() if picture is None else read_picture(picture, codec.limits)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"{folder}: cannot be made a folder: {reason(error)}"
        raise InputError(msg) from error
    codec.decode_array(codec.encode(pixels, quality))  # loads the networks, so that the times below are those of coding
    start = time.perf_counter()
    stream = codec.encode(pixels, quality)
    encoded = time.perf_counter()
    decoded = codec.decode_array(stream)
    end = time.perf_counter()
    ours = Result("nacre", quality, len(stream), psnr(pixels, decoded), encoded - start, end - encoded)

    with open_target(folder / "original.png") as file:
        write_picture(file, pixels, FORMATS["png"])
    with open_target(folder / "picture.ncr") as file:
        file.write(stream)
    with open_target(folder / "decoded.png") as file:
        write_picture(file, decoded, FORMATS["png"])
    peers = [_at_psnr(name, options, pixels, ours.psnr) for name, options in _PEERS]
    return _table(ours, peers, pixels, folder)


def lowest_quality(reaches: Callable[[int], bool], low: int = 0, high: int = 100) -> int | None:
    """The lowest quality in low..high that `reaches` accepts, as higher ones are taken to do; None where none does."""
    if not reaches(high):
        return None
    while low < high:
        middle = (low + high) // 2
        if reaches(middle):
            high = middle
        else:
            low = middle + 1
    return high


def _at_psnr(name: str, options: dict[str, object], pixels: Pixels, target: float) -> Result | str:
    """The coding of a peer at its lowest quality that reaches the target in dB, or its name where none does."""
    results: dict[int, Result] = {}

    def reaches(quality: int) -> bool:
        results[quality] = _code_with_pillow(name, quality, options, pixels)
        return results[quality].psnr >= target

    found = lowest_quality(reaches)
    return name if found is None else results[found]


def _code_with_pillow(name: str, quality: int, options: dict[str, object], pixels: Pixels) -> Result:
    image = to_image(pixels)
    file = io.BytesIO()
    start = time.perf_counter()
    image.save(file, format=name, quality=quality, **options)
    encoded = time.perf_counter()
    with Image.open(io.BytesIO(file.getvalue())) as reopened:
        decoded = np.asarray(reopened.convert(image.mode))
    end = time.perf_counter()
    return Result(name, quality, len(file.getvalue()), psnr(pixels, decoded), encoded - start, end - encoded)


def _table(ours: Result, peers: list[Result | str], pixels: Pixels, folder: Path) -> str:
    height, width = pixels.shape[:2]
    titles = ("codec", "quality", "bytes", "of nacre", "bpp", "PSNR dB", "encode s", "decode s")
    rows: list[tuple[str, ...]] = [titles]
    for result in (ours, *peers):
        if isinstance(result, str):
            rows.append((result, *["-"] * (len(titles) - 1)))
            continue
        rows.append(
            (
                result.codec,
                f"{result.quality:g}",
                f"{result.size}",
                f"{result.size / ours.size:.0%}",
                f"{result.size * 8 / (width * height):.3f}",
                f"{result.psnr:.2f}",
                f"{result.encode_seconds:.4f}",
                f"{result.decode_seconds:.4f}",
            )
        )
    lines = [f"{width} x {height} pixels; original.png, picture.ncr and decoded.png are in {folder}", ""]
    lines += [f"{row[0]:<6}" + "".join(f"{cell:>10}" for cell in row[1:]) for row in rows]
    lines += [
        "",
        "JPEG (4:4:4, optimized) and WebP are at their lowest quality that reaches nacre's PSNR (-: none does).",
    ]
    return "\n".join(lines)
