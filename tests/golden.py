"""The golden streams of tests/data/golden: streams of the tiny model whose symbols must never change.

    python tests/golden.py

adds the streams that are not there yet, each with its entry in index.json and its decoded picture, and never rewrites
one: a change of the code that changes an old stream is a mistake or a new version of the format. Only what the product
and tests/second_parser.py agree on is recorded.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import golden_folder
import numpy as np
import second_parser
from golden_folder import Made
from numpy.typing import NDArray
from PIL import ImageCms

import nacre
from nacre.bitstream import (
    GREY,
    MAX_QUALITY,
    NO_ALPHA,
    RGB,
    SIGNATURE,
    STRAIGHT_ALPHA,
    AlphaUnit,
    PictureHeader,
    PictureStream,
    TileUnit,
    UnitType,
    read_picture,
    tiles,
    write_picture,
    write_unit,
    y_grid,
    z_grid,
)
from nacre.entropy import (
    IntegerNetwork,
    TableSet,
    TileSymbols,
    decode_alpha,
    encode_alpha,
    encode_tile,
    symbols_check,
)
from nacre.stopwatch import Stopwatch
from nacre.tile import TileCoder, TileCoding
from nacre.weights import load

DATA = Path(__file__).parent / "data"
TINY = DATA / "tiny"
GOLDEN = DATA / "golden"
INDEX = GOLDEN / "index.json"

Pixels = NDArray[np.uint8]


# Pictures


def make_content(content: str, width: int, height: int, *, grey: bool = False) -> Pixels:
    """A picture of one kind, uint8 (height, width, 3) or, grey, (height, width); the same at every call."""
    random = np.random.default_rng(1)
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    if content == "flat":
        image = np.full((height, width, 3), (90.0, 140.0, 200.0))
    elif content == "noise":
        image = random.integers(0, 256, (height, width, 3)).astype(np.float64)
    elif content == "gradient":
        disc = np.hypot(x - 0.6 * width, y - 0.4 * height) < 0.3 * min(width, height)
        ramp = 40 + 120 * x / width + 60 * y / height + 60 * (x + 2 * y > width)
        image = np.where(disc[..., None], (220, 60, 40), ramp[..., None] * (1.0, 0.8, 0.6))
    elif content == "text":
        image = np.where(_segments(width, height, random)[..., None], (20, 24, 40), (248, 244, 232)).astype(np.float64)
    elif content == "photo":
        frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None, :])
        spectrum = np.fft.fft2(random.normal(size=(3, height, width))) / np.maximum(frequency, 0.5 / max(width, height))
        field = np.fft.ifft2(spectrum).real
        field += field.mean(axis=0)
        image = (128 + 45 * (field - field.mean()) / max(float(field.std()), 1e-6)).transpose(1, 2, 0)
    else:
        raise ValueError(content)
    pixels: Pixels = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    if grey:
        pixels = pixels[..., 1]
    return pixels


def make_alpha(kind: int, width: int, height: int) -> Pixels:
    """A plane, uint8 (height, width), to which the filter `kind` does most good; the same at every call."""
    start, step = np.random.default_rng(1).integers(0, 256, (2, height if kind == 1 else width))
    x, y = np.arange(width), np.arange(height)[:, np.newaxis]
    if kind == 0:
        plane = np.where((x // 8 + y // 8) % 2, 255, 0)
    elif kind == 1:
        plane = (start[:, np.newaxis] + step[:, np.newaxis] * x) % 256
    else:
        plane = (start + step * y) % 256
    alpha: Pixels = plane.astype(np.uint8)
    return alpha


def _segments(width: int, height: int, random: np.random.Generator) -> NDArray[np.bool_]:
    """Lines of small signs made of the strokes of a seven-segment display, where ink is."""
    ink = np.zeros((height + 12, width + 8), np.bool_)
    for top in range(2, height, 12):
        for left in range(1, width, 7):
            strokes = random.random(7) < 0.6
            for number, stroke in enumerate(strokes[:3]):
                ink[top + 4 * number, left : left + 5] |= stroke
            for number, stroke in enumerate(strokes[3:]):
                down, across = divmod(number, 2)
                ink[top + 4 * down : top + 4 * down + 5, left + 4 * across] |= stroke
    return ink[:height, :width]


# The product, taken apart far enough to see symbols


class Model:
    """The tiny model: the public codec, the coder of tiles, and the stored arrays."""

    def __init__(self) -> None:
        self.codec = nacre.ImageCodec(weights=TINY, threads=1)
        self.weights = load(folder=TINY)
        self.coder = TileCoder(self.weights, threads=1)
        arrays = self.weights.arrays("entropy.npz")

        def part(prefix: str) -> dict[str, NDArray[Any]]:
            return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}

        self.network = IntegerNetwork.from_arrays(part("scale."))
        self.y_tables = TableSet.from_arrays(part("y."))
        self.z_tables = TableSet.from_arrays(part("z."))

    def symbols(self, stream: PictureStream) -> list[TileSymbols]:
        """The symbols of every tile, as the product decodes them."""
        header = stream.header
        areas = [tile.area for tile in tiles(header.width, header.height, header.tile_size, header.tile_margin)]
        found = []
        for tile, area in zip(stream.tiles, areas, strict=True):
            coding = TileCoding(area.width, area.height, header.quality, header.live_channels, header.skip_threshold)
            found.append(self.coder.decode_symbols(tile.payload, tile.check, coding, Stopwatch()))
        return found


# Streams


class Recipe(NamedTuple):
    """How a stream is made, and whether its picture is recorded."""

    make: Callable[[Model], bytes]
    picture: bool = True


def _encoded(content: str, width: int, height: int, quality: float, *, grey: bool = False) -> Recipe:
    return Recipe(lambda model: model.codec.encode(make_content(content, width, height, grey=grey), quality))


def _written(stream: PictureStream) -> bytes:
    file = io.BytesIO()
    write_picture(file, stream)
    return file.getvalue()


def _units(units: Iterable[tuple[int, bytes]], minor: int) -> bytes:
    file = io.BytesIO(SIGNATURE + bytes((0, minor)))
    file.seek(0, io.SEEK_END)
    for unit_type, payload in units:
        write_unit(file, unit_type, payload)
    return file.getvalue()


def _metadata() -> dict[int, bytes]:
    return {
        UnitType.ICC_PROFILE: ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
        UnitType.EXIF: b"II*\0\x08\0\0\0\0\0\0\0\0\0",
        UnitType.XMP: b'<x:xmpmeta xmlns:x="adobe:ns:meta/"></x:xmpmeta>',
    }


def _with_metadata(model: Model) -> bytes:
    stream = read_picture(io.BytesIO(model.codec.encode(make_content("photo", 64, 64), 37.5)))
    return _written(replace(stream, metadata=_metadata()))


def _with_unknown_units(model: Model) -> bytes:
    """Optional units that no reader knows, and metadata, before and behind the tile."""
    stream = read_picture(io.BytesIO(model.codec.encode(make_content("text", 17, 33), 100)))
    xmp = _metadata()[UnitType.XMP]
    units = [
        (UnitType.PICTURE_HEADER, stream.header.pack()),
        (0x93, b"not a gain map"),
        (UnitType.XMP, xmp),
        (0xFF, b""),
        (UnitType.TILE, stream.tiles[0].pack()),
        (0xFF, bytes(range(200))),
        (UnitType.EXIF, b""),
        (UnitType.END, b""),
    ]
    return _units(units, minor=1)


def _of_a_later_minor_version(model: Model) -> bytes:
    """A header with fields that this version does not know, and a new optional unit."""
    stream = read_picture(io.BytesIO(model.codec.encode(make_content("gradient", 64, 64), 60)))
    units = [
        (UnitType.PICTURE_HEADER, stream.header.pack() + b"\1\2\3"),
        (0xA0, b"new"),
        (UnitType.TILE, stream.tiles[0].pack()),
        (UnitType.END, b""),
    ]
    return _units(units, minor=2)


def make_header(model: Model, width: int, height: int, quality: int) -> PictureHeader:
    """The header of a colour picture with all channels live, quality in steps."""
    return PictureHeader(
        width=width,
        height=height,
        chroma=RGB,
        quality=quality,
        profile=model.weights.profile,
        digest=model.weights.stream_digest,
        live_channels=model.weights.latent_channels,
        skip_threshold=model.weights.skip_threshold,
    )


def _code_tiles(model: Model, header: PictureHeader, pixels: Pixels) -> list[TileUnit]:
    coded = []
    for tile in tiles(header.width, header.height, header.tile_size, header.tile_margin):
        left, top, width, height = tile.area
        payload, check = model.coder.encode(
            pixels[top : top + height, left : left + width], header.quality, Stopwatch()
        )
        coded.append(TileUnit(tile.index, check, payload))
    return coded


def _with_tiles(model: Model) -> bytes:
    header = replace(make_header(model, 130, 70, 12800), tile_size=64, tile_margin=16)
    pixels = make_content("photo", header.width, header.height)
    return _written(PictureStream(header, _code_tiles(model, header, pixels)))


def _alpha_stream(model: Model, header: PictureHeader, pixels: Pixels) -> PictureStream:
    """Tiles and, filters in turn, their alpha."""
    alpha = []
    for tile in tiles(header.width, header.height, header.tile_size, header.tile_margin):
        plane = make_alpha(tile.index % 3, tile.core.width, tile.core.height)
        alpha.append(AlphaUnit(tile.index, *encode_alpha(plane)))
    return PictureStream(header, _code_tiles(model, header, pixels), {}, alpha)


def _with_alpha(model: Model) -> bytes:
    """Two tiles, the last narrower than the margin."""
    header = replace(make_header(model, 69, 40, 15360), tile_size=64, tile_margin=16, alpha=STRAIGHT_ALPHA)
    return _written(_alpha_stream(model, header, make_content("gradient", header.width, header.height)))


def _with_grey_alpha(model: Model) -> bytes:
    """Grey, two rows of three tiles, metadata."""
    header = make_header(model, 150, 90, 15360)
    header = replace(header, chroma=GREY, tile_size=64, tile_margin=16, alpha=STRAIGHT_ALPHA)
    grey = make_content("photo", header.width, header.height, grey=True)
    stream = _alpha_stream(model, header, np.repeat(grey[..., np.newaxis], 3, axis=2))
    return _written(replace(stream, metadata={UnitType.EXIF: _metadata()[UnitType.EXIF]}))


def _of_an_unknown_minor_version(model: Model) -> bytes:
    """A header with the field alpha and more fields behind it, and a new optional unit."""
    header = replace(make_header(model, 33, 17, 15360), alpha=STRAIGHT_ALPHA)
    stream = _alpha_stream(model, header, make_content("text", 33, 17))
    units = [
        (UnitType.PICTURE_HEADER, header.pack() + b"\1\2\3"),
        (UnitType.TILE, stream.tiles[0].pack()),
        (0xA0, b"new"),
        (UnitType.ALPHA, stream.alpha[0].pack()),
        (UnitType.END, b""),
    ]
    return _units(units, minor=200)


def make_symbols(model: Model, header: PictureHeader, random: np.random.Generator, spread: float) -> TileSymbols:
    """Symbols of a picture of one tile: z of the given spread, y of every size where the scale lets it be coded."""
    z_shape = model.weights.hyper_channels, *z_grid(header.width, header.height)
    z = np.clip(np.rint(random.laplace(0, spread, z_shape)), -127, 127).astype(np.int32)
    rows, columns = y_grid(header.width, header.height)
    index = model.network(z, model.coder.row(header.quality))[:, :rows, :columns]
    magnitude = np.exp2(random.uniform(0, 14, index.shape)).astype(np.int32) * (random.random(index.shape) < 0.5)
    y = magnitude * random.choice([-1, 1], index.shape).astype(np.int32)
    y[index < header.skip_threshold] = 0
    y[header.live_channels :] = 0
    return TileSymbols(z, y, index)


def write_symbols(model: Model, header: PictureHeader, symbols: TileSymbols) -> bytes:
    """The stream of symbols of a picture of one tile."""
    z, y, index = symbols
    row, live = model.coder.row(header.quality), header.live_channels
    code = encode_tile(z, y, index, row, model.z_tables, model.y_tables, live, header.skip_threshold)
    return _written(PictureStream(header, [TileUnit(0, symbols_check(z, y[:live]), code)]))


def _with_extreme_symbols(model: Model) -> bytes:
    """Symbols of every size up to the largest, many of them escaped, some channels dead, many scales skipped."""
    header = replace(make_header(model, 130, 70, MAX_QUALITY), live_channels=19, skip_threshold=23)
    z, y, index = make_symbols(model, header, np.random.default_rng(2), 64.0)
    coded = np.argwhere(y)
    for (c, i, j), value in zip(coded[[0, -1]].tolist(), (-16383, 16383), strict=True):
        y[c, i, j] = value
    return write_symbols(model, header, TileSymbols(z, y, index))


RECIPES: Mapping[str, Recipe] = {
    "flat-1x1-q0": _encoded("flat", 1, 1, 0),
    "noise-1x1-q100": _encoded("noise", 1, 1, 100),
    "gradient-17x33-q37.5": _encoded("gradient", 17, 33, 37.5),
    "text-17x33-q60": _encoded("text", 17, 33, 60),
    "noise-64x64-q100": _encoded("noise", 64, 64, 100),
    "flat-64x64-q60": _encoded("flat", 64, 64, 60),
    "gradient-200x120-q60": _encoded("gradient", 200, 120, 60),
    "text-200x120-q100": _encoded("text", 200, 120, 100),
    "photo-200x120-q0": _encoded("photo", 200, 120, 0),
    "gradient-130x70-grey-q37.5": _encoded("gradient", 130, 70, 37.5, grey=True),
    "metadata": Recipe(_with_metadata),
    "unknown-units": Recipe(_with_unknown_units),
    "minor-version-2": Recipe(_of_a_later_minor_version),
    "tiles": Recipe(_with_tiles, picture=False),
    "extreme-symbols": Recipe(_with_extreme_symbols, picture=False),
    "alpha": Recipe(_with_alpha),
    "alpha-grey-tiles": Recipe(_with_grey_alpha),
    "minor-version-200": Recipe(_of_an_unknown_minor_version),
}


# What is recorded


def sha256(data: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def symbols_hash(symbols: NDArray[Any]) -> str:
    """SHA-256 of symbols as 16-bit little-endian integers in C order."""
    return sha256(symbols.astype("<i2").tobytes())


def product_alpha(stream: PictureStream) -> list[str]:
    """SHA-256 of the alpha of each tile's core, row by row, as the product reads it."""
    header = stream.header
    cores = [tile.core for tile in tiles(header.width, header.height, header.tile_size, header.tile_margin)]
    coded = zip(stream.alpha, cores, strict=True) if stream.alpha else ()
    return [sha256(decode_alpha(unit.filter, unit.data, core.height, core.width).tobytes()) for unit, core in coded]


def parser_alpha(stream: second_parser.Stream) -> list[str]:
    """The same as the second parser reads it."""
    return [sha256(plane.astype(np.uint8).tobytes()) for plane in stream.alpha]


def product_header_hash(header: PictureHeader) -> str:
    """SHA-256 of the header's fields, of the kind that `parser_header_hash` gives."""
    fields = asdict(header)
    return _fields_hash(fields | fields.pop("colour"))


def parser_header_hash(header: second_parser.Header) -> str:
    """SHA-256 of the header's fields: JSON with sorted names and without blanks, the digest in hexadecimal."""
    return _fields_hash(asdict(header))


def _fields_hash(fields: dict[str, Any]) -> str:
    """Fields that came with later versions of the format count only where they say something."""
    plain = fields | {"digest": fields["digest"].hex()}
    if plain["alpha"] == NO_ALPHA:
        del plain["alpha"]
    return sha256(json.dumps(plain, sort_keys=True, separators=(",", ":")).encode())


def _entry(model: Model, data: bytes) -> dict[str, Any]:
    """What the index says of a stream; RuntimeError where the two readers differ."""
    stream = read_picture(io.BytesIO(data))
    ours = [{"z": symbols_hash(tile.z), "y": symbols_hash(tile.y)} for tile in model.symbols(stream)]
    parsed, found = second_parser.decode(data, TINY)
    theirs = [{"z": symbols_hash(z), "y": symbols_hash(y)} for z, y in found]
    header = product_header_hash(stream.header)
    alpha = product_alpha(stream)
    if ours != theirs or header != parser_header_hash(parsed.header) or alpha != parser_alpha(parsed):
        msg = "the product and the second parser read different things"
        raise RuntimeError(msg)
    return {"sha256": sha256(data), "header": header, "tiles": ours} | ({"alpha": alpha} if alpha else {})


def add_missing() -> list[str]:
    """Make the streams that are not there yet, and give their names; RuntimeError where a stream lacks its entry."""
    model = Model()

    def make(name: str) -> Made:
        recipe = RECIPES[name]
        data = recipe.make(model)
        picture = model.codec.decode_array(data) if recipe.picture else None
        return Made(data, _entry(model, data) | {"picture": recipe.picture}, picture)

    return golden_folder.add_missing(GOLDEN, RECIPES, make)


if __name__ == "__main__":
    added = add_missing()
    sys.stdout.write(f"added {len(added)}: {', '.join(added) or '-'}\n")
