"""A second reader of .ncr streams, written from bitstream/SPEC.md alone; it shares no line with the product.

It gives the fields of the header and all symbols. It is slow, and decodes no pixels. Numbers in brackets name sections
of the specification.

    python tests/second_parser.py STREAM WEIGHTS_FOLDER
"""

from __future__ import annotations

import bisect
import hashlib
import json
import string
import sys
import zlib
from dataclasses import asdict, dataclass, field
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from second_network import Integers, Network, read_network

Table: TypeAlias = list[int]  # cumulative frequencies; 2 R + 3 of them [10]
Tile: TypeAlias = tuple[int, bytes]  # symbols check and code [6]

SIGNATURE = bytes.fromhex("8b4e43520d0a1a0a")
PICTURE_HEADER, TILE, ALPHA, END = 0x01, 0x02, 0x03, 0x0F
METADATA = {0x90: "ICC_PROFILE", 0x91: "EXIF", 0x92: "XMP"}
PROFILE_LETTERS = frozenset((string.ascii_lowercase + string.digits + "_-").encode())
MAX_MAGNITUDE = 16383


class RefusedError(Exception):
    """The stream, or the weights, break a rule of the specification."""


def require(condition: bool, message: str) -> None:
    if not condition:
        raise RefusedError(message)


class Bytes:
    """Bytes taken from the front."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    @property
    def left(self) -> int:
        return len(self.data) - self.at

    def take(self, count: int) -> bytes:
        require(count <= self.left, "the bytes end early")
        self.at += count
        return self.data[self.at - count : self.at]

    def unsigned(self, count: int) -> int:
        return int.from_bytes(self.take(count), "little")

    def varint(self) -> int:
        """[1]"""
        value, shift, byte = 0, 0, 0x80
        while byte >= 0x80:
            require(shift < 35, "a varint has more than 5 bytes")
            byte = self.unsigned(1)
            value |= (byte & 0x7F) << shift
            shift += 7
        require((byte > 0 or shift == 7) and value < 2**32, "a varint is not in its shortest form, or too large")
        return value


@dataclass(frozen=True)
class Header:
    """[4]"""

    width: int
    height: int
    bit_depth: int
    chroma: int
    primaries: int
    transfer: int
    matrix: int
    full_range: int
    profile: str
    digest: bytes
    quality: int
    live_channels: int
    skip_threshold: int
    tile_size: int
    tile_margin: int
    alpha: int

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of tiles. [5]"""
        size = self.tile_size or 65535
        return -(-self.height // size), -(-self.width // size)

    def extent(self, tile: int, margin: int) -> tuple[int, int, int, int]:
        """Left, top, right and bottom of the core of the tile with a margin around it. [5]"""
        size = self.tile_size or 65535
        top, left = (size * place for place in divmod(tile, self.grid[1]))
        right, bottom = min(left + size + margin, self.width), min(top + size + margin, self.height)
        return max(left - margin, 0), max(top - margin, 0), right, bottom


@dataclass
class Stream:
    version: tuple[int, int]
    header: Header
    tiles: list[Tile] = field(default_factory=list)
    alpha: list[Integers] = field(default_factory=list)  # of the tiles' cores
    metadata: dict[str, bytes] = field(default_factory=dict)
    skipped: list[int] = field(default_factory=list)  # types of optional units that are not known


def read_header(payload: bytes, minor: int) -> Header:
    """[4, 14]"""
    data = Bytes(payload)
    width, height = data.unsigned(4), data.unsigned(4)
    depth, chroma, primaries, transfer, matrix, full_range, length = data.take(7)
    require(1 <= width <= 65535 and 1 <= height <= 65535, "bad size")
    require(depth == 8 and chroma <= 1 and full_range <= 1, "bad format of samples")
    require(1 <= length <= 16, "bad length of the profile")
    profile, digest = data.take(length), data.take(8)
    require(PROFILE_LETTERS.issuperset(profile), "bad letter in the profile")
    quality, live, threshold = data.unsigned(2), data.unsigned(2), data.unsigned(1)
    size, margin, alpha = data.unsigned(2), data.unsigned(2), data.unsigned(1) if minor >= 3 else 0
    require(quality <= 25600 and 1 <= live <= 1024 and threshold <= 63, "bad quality, live channels or skip threshold")
    require(size % 64 == 0 and margin % 16 == 0 and alpha <= 1, "bad tile size, margin or alpha")
    require(data.left == 0 or minor not in (1, 3), "bytes behind the header")
    name, colour = profile.decode("ascii"), (primaries, transfer, matrix, full_range)
    header = Header(width, height, depth, chroma, *colour, name, digest, quality, live, threshold, size, margin, alpha)
    require(margin == 0 if header.grid == (1, 1) else 4 * margin <= size, "bad tile margin")
    return header


def read_unit(data: Bytes) -> tuple[int, bytes]:
    """[3]"""
    start = data.at
    kind = data.unsigned(1)
    payload = data.take(data.varint())
    crc = zlib.crc32(data.data[start : data.at])
    require(data.unsigned(4) == crc, f"CRC of unit {kind:02x} does not match")
    return kind, payload


def read_tile(payload: bytes, index: int) -> Tile:
    """[6]"""
    data = Bytes(payload)
    require(data.varint() == index, "a tile out of order")
    check, code = data.unsigned(4), data.take(data.left)
    require(not code.endswith(b"\0"), "the code ends with a zero byte")
    return check, code


def read_alpha(payload: bytes, index: int, header: Header) -> Integers:
    """The alpha of a tile's core, (height, width). [16]"""
    data = Bytes(payload)
    require(data.varint() == index, "alpha out of order")
    kind = data.unsigned(1)
    left, top, right, bottom = header.extent(index, 0)
    shape, inflater = (bottom - top, right - left), zlib.decompressobj()
    try:
        samples = inflater.decompress(data.take(data.left), shape[0] * shape[1] + 1)
    except zlib.error as error:
        raise RefusedError(error) from error
    whole = inflater.eof and not inflater.unused_data and len(samples) == shape[0] * shape[1]
    require(whole and kind <= 2, "bad filter or samples of alpha")
    plane = np.frombuffer(samples, np.uint8).reshape(shape).astype(np.int64)
    return plane if kind == 0 else np.cumsum(plane, axis=2 - kind) % 256


def parse(stream: bytes) -> Stream:
    """Take a stream apart. [2, 3, 14]"""
    data = Bytes(stream)
    require(data.take(8) == SIGNATURE, "not an .ncr stream")
    major, minor = data.take(2)
    require(major == 0 and minor > 0, "a version that cannot be read")
    kind, payload = read_unit(data)
    require(kind == PICTURE_HEADER, "no picture header")
    result = Stream((major, minor), header := read_header(payload, minor))
    tiles = header.grid[0] * header.grid[1]
    while True:
        kind, payload = read_unit(data)
        if kind == END:
            require(payload == b"" and data.left == 0, "bytes in or behind END")
            require((len(result.tiles), len(result.alpha)) == (tiles, tiles * header.alpha), "too few tiles or alpha")
            return result
        if kind == TILE:
            require(len(result.tiles) < tiles and len(result.alpha) == len(result.tiles) * header.alpha, "extra tile")
            result.tiles.append(read_tile(payload, len(result.tiles)))
        elif kind == ALPHA:
            require(header.alpha == 1 and len(result.alpha) < len(result.tiles), "too many alpha")
            result.alpha.append(read_alpha(payload, len(result.alpha), header))
        elif kind in METADATA:
            require(METADATA[kind] not in result.metadata, "a metadata unit twice")
            result.metadata[METADATA[kind]] = payload
        else:
            require(kind >= 0x80, f"unit {kind:02x} is critical and not known")
            result.skipped.append(kind)


@dataclass(frozen=True)
class Weights:
    """[12]"""

    profile: str
    digest: bytes  # all 32 bytes
    network: Network
    z_tables: list[Table]
    y_tables: list[Table]
    motion_tables: list[Table]  # of predicted frames, none elsewhere


def read_tables(arrays: dict[str, npt.NDArray[np.generic]], prefix: str) -> list[Table]:
    """[10, 12]"""
    frequencies = [int(value) for value in arrays[f"{prefix}.frequencies"]]
    tables, at = [], 0
    for radius in (int(value) for value in arrays[f"{prefix}.radii"]):
        entries = frequencies[at : at + 2 * radius + 2]
        at += 2 * radius + 2
        cumulative = [0, *accumulate(entries)]
        whole = len(entries) == 2 * radius + 2 and min(entries) >= 1 and cumulative[-1] == 65536
        require(whole and radius <= MAX_MAGNITUDE, f"bad table in {prefix}")
        tables.append(cumulative)
    require(at == len(frequencies), f"frequencies left over in {prefix}")
    return tables


@cache
def read_weights(folder: Path) -> Weights:
    """[4, 12]"""
    files = ((folder / name).read_bytes() for name in ("context.onnx", "entropy.npz", "synthesis.onnx"))
    digest = hashlib.sha256(b"".join(hashlib.sha256(data).digest() for data in files)).digest()
    profile = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["profile"]
    with np.load(folder / "entropy.npz", allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    motion = read_tables(arrays, "m") if "m.radii" in arrays else []
    return Weights(profile, digest, read_network(arrays), read_tables(arrays, "z"), read_tables(arrays, "y"), motion)


class RangeDecoder:
    """[9]"""

    def __init__(self, code: bytes) -> None:
        padded = code + bytes(-len(code) % 4)
        self.words = [int.from_bytes(padded[at : at + 4], "little") for at in range(0, len(padded), 4)]
        self.read = 0
        self.width = 2**64 - 1
        self.ahead = (self.word() << 32) + self.word()

    def word(self) -> int:
        self.read += 1
        return self.words[self.read - 1] if self.read <= len(self.words) else 0

    def find(self) -> int:
        q = self.ahead // (self.width >> 24)
        require(q < 2**24, "a code that no encoder writes")
        return q

    def take(self, start: int, end: int) -> None:
        step = self.width >> 24
        self.ahead -= step * start
        self.width = step * (end - start)
        if self.width < 2**32:
            self.width <<= 32
            self.ahead = (self.ahead << 32) + self.word()

    def entry(self, table: Table) -> int:
        found = bisect.bisect_right(table, self.find() >> 8) - 1
        self.take(256 * table[found], 256 * table[found + 1])
        return found

    def raw(self, bits: int) -> int:
        value = self.find() >> (24 - bits)
        self.take(value << (24 - bits), (value + 1) << (24 - bits))
        return value

    def finish(self) -> None:
        require(self.read >= len(self.words), "words of the code are left")
        require(self.ahead < 2**32, "a code that no encoder writes")


def read_array(decoder: RangeDecoder, tables: list[Table], numbers: Integers) -> Integers:
    """The symbols of one array, each with the table that its number names. [8]"""
    symbols = np.zeros(len(numbers), np.int64)
    for number in np.unique(numbers):
        table = tables[int(number)]
        group = [int(place) for place in np.flatnonzero(numbers == number)]
        radius = (len(table) - 3) // 2
        symbols[group] = [decoder.entry(table) - radius for _ in group]
        escaped = [place for place in group if symbols[place] == radius + 1]
        lengths = [decoder.raw(4) for _ in escaped]
        require(all(1 <= length <= 14 for length in lengths), "bad length of an escaped symbol")
        for place, length in zip(escaped, lengths, strict=True):
            negative, rest = divmod(decoder.raw(length), 2 ** (length - 1))
            magnitude = 2 ** (length - 1) + rest + radius
            require(magnitude <= MAX_MAGNITUDE, "a symbol is too large")
            symbols[place] = -magnitude if negative else magnitude
    return symbols


def read_latent(
    decoder: RangeDecoder,
    weights: Weights,
    size: tuple[int, int],
    quality: int,
    live: int,
    threshold: int,
    before: Integers | None = None,
) -> tuple[Integers, Integers]:
    """z and y of an area of (width, height); before: y of the frame before, if there is one. [7], steps 1 to 4"""
    width, height = size
    z_shape = weights.network.z_channels, -(-height // 64), -(-width // 64)
    y_shape = weights.network.y_channels, -(-height // 16), -(-width // 16)
    row = (quality * (len(weights.z_tables) // z_shape[0] - 1) + 12800) // 25600
    z_numbers = np.repeat(row * z_shape[0] + np.arange(z_shape[0]), z_shape[1] * z_shape[2])
    z = read_array(decoder, weights.z_tables, z_numbers).reshape(z_shape)
    require(int(np.abs(z).max()) <= 127, "a symbol of z is too large")
    indices = weights.network(z, row, before)
    require(indices.shape == (y_shape[0], 4 * z_shape[1], 4 * z_shape[2]) and live <= len(indices), "bad shape of y")
    indices = indices[:, : y_shape[1], : y_shape[2]]
    coded = indices >= threshold
    coded[live:] = False
    y = np.zeros(y_shape, np.int64)
    y[coded] = read_array(decoder, weights.y_tables, indices[coded])
    return z, y


def read_symbols(header: Header, number: int, tile: Tile, weights: Weights) -> tuple[Integers, Integers]:
    """z and y of one tile. [5, 7, 13]"""
    (expected, code), (left, top, right, bottom) = tile, header.extent(number, header.tile_margin)
    decoder, live = RangeDecoder(code), header.live_channels
    size = right - left, bottom - top
    z, y = read_latent(decoder, weights, size, header.quality, live, header.skip_threshold)
    decoder.finish()
    require(zlib.crc32(y[:live].astype("<i2").tobytes(), zlib.crc32(z.astype("<i2").tobytes())) == expected, "bad CRC")
    return z, y


def decode(stream: bytes, folder: Path, max_pixels: int = 2**24) -> tuple[Stream, list[tuple[Integers, Integers]]]:
    """A stream taken apart, and z and y of its tiles."""
    header = (parsed := parse(stream)).header
    require(header.width * header.height <= max_pixels, "the picture is too large")
    weights = read_weights(folder)
    require((header.profile, header.digest) == (weights.profile, weights.digest[:8]), "these are not the weights")
    return parsed, [read_symbols(header, number, tile, weights) for number, tile in enumerate(parsed.tiles)]


def main() -> None:
    parsed, tiles = decode(Path(sys.argv[1]).read_bytes(), Path(sys.argv[2]))
    print(asdict(parsed.header), {name: len(payload) for name, payload in parsed.metadata.items()}, parsed.skipped)
    for number, (z, y) in enumerate(tiles):
        sums = (hashlib.sha256(symbols.astype("<i2").tobytes()).hexdigest() for symbols in (z, y))
        print(number, z.shape, y.shape, *sums)


if __name__ == "__main__":
    main()
