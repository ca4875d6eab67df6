"""The golden streams: both readers give the recorded symbols, today's writer the same bytes, damage is refused."""

from __future__ import annotations

import ast
import io
import json
import sys
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
    write_unit,
)
from nacre.entropy import PYTHON_ENGINE, ConstrictionEngine, Engine, encode_tile

INDEX: dict[str, Any] = json.loads(golden.INDEX.read_text())
LARGEST_DIFFERENCE = 2  # of 255; symbols are exact everywhere, pixels come from floating point
EQUAL_SAMPLES = 0.999
MAX_BYTES = 300_000

DAMAGED = "text-17x33-q60"


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
    assert {name.split(".")[0] for name in names} <= {*sys.stdlib_module_names, "numpy"}


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


@pytest.mark.parametrize("name", INDEX)
def test_the_second_parser_reads_the_recorded_symbols(name: str) -> None:
    found, symbols = second_parser.decode(stream(name), golden.TINY)
    assert golden.parser_header_hash(found.header) == INDEX[name]["header"]
    assert [hashes(z, y) for z, y in symbols] == INDEX[name]["tiles"]


@pytest.mark.parametrize("name", [name for name in INDEX if INDEX[name]["picture"]])
def test_pixels(model: golden.Model, name: str) -> None:
    decoded = model.codec.decode_array(stream(name))
    with Image.open(golden.GOLDEN / f"{name}.png") as image:
        expected = np.asarray(image)
    assert decoded.shape == expected.shape
    difference = np.abs(decoded.astype(int) - expected)
    assert difference.max() <= LARGEST_DIFFERENCE
    assert np.count_nonzero(difference) <= max(1, (1 - EQUAL_SAMPLES) * difference.size)


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
    if found.version == (0, 1) and not found.skipped:
        assert file.getvalue() == data
    else:
        assert parsed(file.getvalue()) == PictureStream(header, read.tiles, read.metadata)


def test_what_the_streams_exercise() -> None:
    """Escapes, the largest symbols, several tiles, metadata, unknown units, a later version: each is in some stream."""
    found = {name: second_parser.decode(stream(name), golden.TINY) for name in INDEX}
    _, ((z, y),) = found["extreme-symbols"]
    assert (z.min(), z.max(), y.min(), y.max()) == (-127, 127, -16383, 16383)
    assert len(found["tiles"][1]) == 6
    assert set(found["metadata"][0].metadata) == {"ICC_PROFILE", "EXIF", "XMP"}
    assert found["unknown-units"][0].skipped == [0x93, 0xFF, 0xFF]
    assert found["minor-version-2"][0].version == (0, 2)
    for name, (read, _) in found.items():
        product = parsed(stream(name))
        assert product.version == read.version
        named = {UnitType(unit_type).name: payload for unit_type, payload in product.metadata.items()}
        assert named == read.metadata
    header = found["tiles"][0].header
    areas = [tile.area for tile in tiles(header.width, header.height, header.tile_size, header.tile_margin)]
    expected = [(area.x, area.y, area.x + area.width, area.y + area.height) for area in areas]
    assert [header.area(number) for number in range(6)] == expected


def changed(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Every byte changed in four ways: all bits, the highest, the lowest, and to what it most likely is not."""
    for place, byte in enumerate(data):
        for value in (byte ^ 0xFF, byte ^ 0x80, byte ^ 1, (byte + 37) & 0xFF):
            yield place, data[:place] + bytes((value,)) + data[place + 1 :]


def test_every_changed_byte_is_refused(model: golden.Model) -> None:
    data = stream(DAMAGED)
    picture = model.codec.decode_array(data)
    minor = len(SIGNATURE) + 1
    for place, damaged in changed(data):
        if place == minor and damaged[minor]:  # later minor versions are read
            assert np.array_equal(model.codec.decode_array(damaged), picture)
            continue
        with pytest.raises(NacreError):
            model.codec.decode_array(damaged)
        with pytest.raises(second_parser.RefusedError):
            second_parser.parse(damaged)


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


def test_changes_under_a_right_checksum(model: golden.Model) -> None:
    """Both readers agree on what is a stream, and none of them gives other symbols for a changed tile."""
    data = stream(DAMAGED)
    ((z, y),) = second_parser.decode(data, golden.TINY)[1]
    symbols = hashes(z, y)
    refused = 0
    for unit_type, damaged in rebuilt(data):
        try:
            read = parsed(damaged)
        except FormatError:
            refused += 1
            with pytest.raises(second_parser.RefusedError):
                second_parser.parse(damaged)
            continue
        except LimitError:
            continue
        found = second_parser.parse(damaged)
        assert golden.product_header_hash(read.header) == golden.parser_header_hash(found.header)
        if unit_type == UnitType.TILE:
            try:
                (tile,) = model.symbols(read)
            except FormatError:
                refused += 1
                with pytest.raises(second_parser.RefusedError):
                    second_parser.decode(damaged, golden.TINY)
            else:  # bits that no symbol depends on: the last word's lower ones
                assert hashes(tile.z, tile.y) == symbols
    assert refused > len(data)
