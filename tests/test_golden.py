"""The golden streams: both readers give the recorded symbols, today's writer the same bytes, damage is refused."""

from __future__ import annotations

import ast
import io
import json
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import golden
import numpy as np
import pytest
import second_parser
from numpy.typing import NDArray
from PIL import Image

from nacre.bitstream import (
    SIGNATURE,
    FormatError,
    LimitError,
    NacreError,
    PictureStream,
    UnitReader,
    UnitType,
    read_picture,
    tiles,
    write_picture,
    write_signature,
    write_unit,
)
from nacre.entropy import PYTHON_ENGINE, ConstrictionEngine, Engine, encode_tile
from nacre.stopwatch import Stopwatch
from nacre.tile import TileCoding

INDEX: dict[str, Any] = json.loads(golden.INDEX.read_text())
LARGEST_DIFFERENCE = 2  # of 255; symbols are exact everywhere, pixels come from floating point
EQUAL_SAMPLES = 0.999
MAX_BYTES = 300_000

DAMAGED = ("text-17x33-q60", "alpha")
SAME_MINOR = {"text-17x33-q60": {2}, "alpha": set(range(4, 256))}  # read as the stream's own minor version


def stream(name: str) -> bytes:
    return (golden.GOLDEN / f"{name}.ncr").read_bytes()


def parsed(data: bytes) -> PictureStream:
    return read_picture(io.BytesIO(data))


def hashes(z: NDArray[Any], y: NDArray[Any]) -> dict[str, str]:
    return {"z": golden.symbols_hash(z), "y": golden.symbols_hash(y)}


@pytest.fixture(scope="module")
def model() -> golden.Model:
    return golden.Model()


def engine(name: str) -> Engine:
    if name == "python":
        return PYTHON_ENGINE
    pytest.importorskip("constriction")
    return ConstrictionEngine()


def test_the_second_parser_shares_nothing_with_the_product() -> None:
    tree = ast.parse(Path(second_parser.__file__).read_text(encoding="utf-8"))
    names = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    # tests/test_second_parser_rules.py looks at the other parts of it
    assert {name.split(".")[0] for name in names} <= {*sys.stdlib_module_names, "numpy", "second_network"}


def test_the_folder_is_complete() -> None:
    assert set(INDEX) == set(golden.RECIPES)
    expected = {f"{name}.ncr" for name in INDEX} | {f"{name}.png" for name in INDEX if INDEX[name]["picture"]}
    paths = list(golden.GOLDEN.iterdir())
    assert {path.name for path in paths} == expected | {golden.INDEX.name}
    assert sum(path.stat().st_size for path in paths) < MAX_BYTES


@pytest.mark.parametrize("name", INDEX)
def test_the_product_reads_the_recorded_symbols(model: golden.Model, name: str) -> None:
    data = stream(name)
    assert golden.sha256(data) == INDEX[name]["sha256"]
    read = parsed(data)
    assert golden.product_header_hash(read.header) == INDEX[name]["header"]
    assert [hashes(tile.z, tile.y) for tile in model.symbols(read)] == INDEX[name]["tiles"]
    assert golden.product_alpha(read) == INDEX[name].get("alpha", [])


@pytest.mark.parametrize("name", INDEX)
def test_the_second_parser_reads_the_recorded_symbols(name: str) -> None:
    found, symbols = second_parser.decode(stream(name), golden.TINY)
    assert golden.parser_header_hash(found.header) == INDEX[name]["header"]
    assert [hashes(z, y) for z, y in symbols] == INDEX[name]["tiles"]
    assert golden.parser_alpha(found) == INDEX[name].get("alpha", [])


@pytest.mark.parametrize("name", [name for name in INDEX if INDEX[name]["picture"]])
def test_pixels(model: golden.Model, name: str) -> None:
    decoded = model.codec.decode_array(stream(name))
    with Image.open(golden.GOLDEN / f"{name}.png") as image:
        expected = np.asarray(image)
    assert decoded.shape == expected.shape
    difference = np.abs(decoded.astype(int) - expected)
    assert difference.max() <= LARGEST_DIFFERENCE
    assert np.count_nonzero(difference) <= max(1, (1 - EQUAL_SAMPLES) * difference.size)
    if "alpha" in INDEX[name]:
        assert not difference[..., -1].any()


def weights(size: int, tile_size: int, margin: int) -> tuple[list[NDArray[np.int64]], NDArray[np.int64]]:
    """Along an axis, pixel by pixel as SPEC.md says it: the weights of each tile, (size,) each, and the totals."""
    starts = list(range(0, size, tile_size))
    cores = [min(start + tile_size, size) - start for start in starts]
    found = [np.zeros(size, np.int64) for _ in starts]
    totals = np.ones(size, np.int64)
    for tile, (start, core) in enumerate(zip(starts, cores, strict=True)):
        found[tile][start : start + core] = 1
    for tile in range(1, len(starts)):
        half = min(margin, cores[tile - 1], cores[tile])
        for p in range(2 * half):
            x = starts[tile] - half + p
            found[tile][x], found[tile - 1][x] = 2 * p + 1, 4 * half - (2 * p + 1)
            totals[x] = 4 * half
    return found, totals


@pytest.mark.parametrize("name", ["tiles", "alpha", "alpha-grey-tiles"])
def test_tiles_are_blended_and_alpha_is_put_together_as_specified(model: golden.Model, name: str) -> None:
    data = stream(name)
    found, _ = second_parser.decode(data, golden.TINY)
    header = found.header
    down, down_totals = weights(header.height, header.tile_size, header.tile_margin)
    across, across_totals = weights(header.width, header.tile_size, header.tile_margin)
    sums = np.zeros((header.height, header.width, 3), np.int64)
    alpha = np.zeros((header.height, header.width, 1), np.int64)
    read = parsed(data)
    for number, symbols in enumerate(model.symbols(read)):
        left, top, right, bottom = header.extent(number, header.tile_margin)
        coding = TileCoding(right - left, bottom - top, header.quality, header.live_channels, header.skip_threshold)
        samples = model.coder.reconstruct(symbols, coding, Stopwatch()).astype(np.int64)
        if not header.chroma:
            samples[...] = (samples.sum(axis=2, keepdims=True) + 1) // 3
        row, column = divmod(number, len(across))
        weight = down[row][top:bottom, np.newaxis] * across[column][left:right]
        sums[top:bottom, left:right] += weight[..., np.newaxis] * samples
        if header.alpha:
            left, top, right, bottom = header.extent(number, 0)
            alpha[top:bottom, left:right, 0] = found.alpha[number]
    totals = (down_totals[:, np.newaxis] * across_totals)[..., np.newaxis]
    picture = (sums + totals // 2) // totals
    expected = [picture if header.chroma else picture[..., :1]] + ([alpha] if header.alpha else [])
    assert np.array_equal(model.codec.decode_array(data), np.concatenate(expected, axis=2))


@pytest.mark.parametrize("engine_name", ["constriction", "python"])
@pytest.mark.parametrize("name", INDEX)
def test_the_writer_gives_the_same_bytes(model: golden.Model, name: str, engine_name: str) -> None:
    """From the symbols that the second parser reads to the stream that it read them from."""
    data = stream(name)
    found, symbols = second_parser.decode(data, golden.TINY)
    read = parsed(data)
    header = read.header
    row = model.coder.row(header.quality)
    for tile, (z, y) in zip(read.tiles, symbols, strict=True):
        index = model.network(z, row)[:, : y.shape[1], : y.shape[2]]
        limits = header.live_channels, header.skip_threshold
        code = encode_tile(z, y, index, row, model.z_tables, model.y_tables, *limits, engine(engine_name))
        assert code == tile.payload
    file = io.BytesIO()
    write_picture(file, read)
    if found.version == (0, header.minor) and not found.skipped:
        assert file.getvalue() == data
    else:
        assert parsed(file.getvalue()) == PictureStream(header, read.tiles, read.metadata, read.alpha)


def test_what_the_streams_exercise() -> None:
    """Escapes, the largest symbols, several tiles, metadata, unknown units, a later version: each is in some stream."""
    found = {name: second_parser.decode(stream(name), golden.TINY) for name in INDEX}
    _, ((z, y),) = found["extreme-symbols"]
    assert (z.min(), z.max(), y.min(), y.max()) == (-127, 127, -16383, 16383)
    assert len(found["tiles"][1]) == 6
    assert set(found["metadata"][0].metadata) == {"ICC_PROFILE", "EXIF", "XMP"}
    assert found["unknown-units"][0].skipped == [0x93, 0xFF, 0xFF]
    assert found["minor-version-2"][0].version == (0, 2)
    assert found["minor-version-200"][0].version == (0, 200)
    assert found["minor-version-200"][0].skipped == [0xA0]
    assert found["alpha"][0].version == found["alpha-grey-tiles"][0].version == (0, 3)
    assert [unit.filter for unit in parsed(stream("alpha")).alpha] == [0, 1]
    assert {unit.filter for unit in parsed(stream("alpha-grey-tiles")).alpha} == {0, 1, 2}
    for name, (read, _) in found.items():
        product = parsed(stream(name))
        assert product.version == read.version
        named = {UnitType(unit_type).name: payload for unit_type, payload in product.metadata.items()}
        assert named == read.metadata
    header = found["tiles"][0].header
    areas = [tile.area for tile in tiles(header.width, header.height, header.tile_size, header.tile_margin)]
    expected = [(area.x, area.y, area.x + area.width, area.y + area.height) for area in areas]
    assert [header.extent(number, header.tile_margin) for number in range(6)] == expected


def changed(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Every byte changed in four ways: all bits, the highest, the lowest, and to what it most likely is not."""
    for place, byte in enumerate(data):
        for value in (byte ^ 0xFF, byte ^ 0x80, byte ^ 1, (byte + 37) & 0xFF):
            yield place, data[:place] + bytes((value,)) + data[place + 1 :]


@pytest.mark.parametrize("name", DAMAGED)
def test_every_changed_byte_is_refused(model: golden.Model, name: str) -> None:
    data = stream(name)
    picture = model.codec.decode_array(data)
    minor = len(SIGNATURE) + 1
    for place, damaged in changed(data):
        if place == minor and damaged[minor] in SAME_MINOR[name]:
            assert np.array_equal(model.codec.decode_array(damaged), picture)
            continue
        with pytest.raises(NacreError):
            model.codec.decode_array(damaged)
        with pytest.raises(second_parser.RefusedError):
            second_parser.parse(damaged)


@pytest.mark.parametrize("name", DAMAGED)
def test_minor_versions(name: str) -> None:
    """Both readers agree on every one."""
    data = stream(name)
    for minor in range(256):
        other = data[: len(SIGNATURE) + 1] + bytes((minor,)) + data[len(SIGNATURE) + 2 :]
        if minor in SAME_MINOR[name] | {data[len(SIGNATURE) + 1]}:
            assert parsed(other) == parsed(data)
            assert second_parser.parse(other).header == second_parser.parse(data).header
        else:
            with pytest.raises(FormatError):
                parsed(other)
            with pytest.raises(second_parser.RefusedError):
                second_parser.parse(other)


def rebuilt(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Streams with a byte of one payload changed, and the CRC put right: (type of the unit, stream)."""
    units = list(UnitReader(io.BytesIO(data)))
    for number, unit in enumerate(units):
        for _, payload in changed(unit.payload):
            file = io.BytesIO(data[: units[0].offset])
            file.seek(0, io.SEEK_END)
            for other, kept in enumerate(units):
                write_unit(file, kept.type, payload if other == number else kept.payload)
            yield unit.type, file.getvalue()


@pytest.mark.parametrize("name", DAMAGED)
def test_changes_under_a_right_checksum(model: golden.Model, name: str) -> None:
    """Both readers agree on what is a stream, and none of them gives other symbols for a changed tile."""
    data = stream(name)
    symbols = [hashes(z, y) for z, y in second_parser.decode(data, golden.TINY)[1]]
    refused = 0
    for unit_type, damaged in rebuilt(data):
        try:
            read = parsed(damaged)
            alpha = golden.product_alpha(read)
        except FormatError:
            refused += 1
            with pytest.raises(second_parser.RefusedError):
                second_parser.parse(damaged)
            continue
        except LimitError:
            continue
        found = second_parser.parse(damaged)
        assert golden.product_header_hash(read.header) == golden.parser_header_hash(found.header)
        assert alpha == golden.parser_alpha(found)
        if unit_type == UnitType.TILE:
            try:
                decoded = model.symbols(read)
            except FormatError:
                refused += 1
                with pytest.raises(second_parser.RefusedError):
                    second_parser.decode(damaged, golden.TINY)
            else:  # bits that no symbol depends on: the last word's lower ones
                assert [hashes(tile.z, tile.y) for tile in decoded] == symbols
    assert refused > len(data)


@pytest.mark.parametrize(
    ("kind", "samples"),
    [
        (3, zlib.compress(bytes(64 * 40))),
        (0, zlib.compress(bytes(64 * 40 - 1))),
        (1, zlib.compress(bytes(64 * 40 + 1))),
        (2, zlib.compress(bytes(64 * 40)) + b"\0"),
        (0, zlib.compress(bytes(64 * 40))[:-1]),
        (0, b""),
        (0, zlib.compress(bytes(80 * 40))),  # the area of the tile instead of its core
    ],
)
def test_both_readers_refuse_other_alpha(model: golden.Model, kind: int, samples: bytes) -> None:
    units = list(UnitReader(io.BytesIO(stream("alpha"))))
    first = next(number for number, unit in enumerate(units) if unit.type == UnitType.ALPHA)
    file = io.BytesIO()
    write_signature(file, 3)
    for number, unit in enumerate(units):
        write_unit(file, unit.type, bytes((0, kind)) + samples if number == first else unit.payload)
    with pytest.raises(FormatError, match="alpha"):
        model.codec.decode_array(file.getvalue())
    with pytest.raises(second_parser.RefusedError, match=r"alpha|decompress"):
        second_parser.parse(file.getvalue())
