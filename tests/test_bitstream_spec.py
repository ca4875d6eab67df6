"""The examples and the tables of SPEC.md agree with the package."""

from __future__ import annotations

import io
import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_golden import weights

from nacre import bitstream, entropy
from nacre.bitstream import (
    RESERVED,
    VERSION_MAJOR,
    VERSION_MINOR,
    AlphaUnit,
    FrameUnit,
    PacketUnit,
    PictureHeader,
    SequenceHeader,
    SequenceReader,
    SequenceWriter,
    TrackUnit,
    UnitType,
    interpolation,
    read_picture,
    tiles,
    write_picture,
)

SPEC = (Path(bitstream.__file__).parent / "SPEC.md").read_text(encoding="utf-8")


def example(name: str) -> str:
    """The content of the one fenced block called `name`."""
    found = re.findall(rf"^```{name}\n(.*?)^```$", SPEC, re.MULTILINE | re.DOTALL)
    assert len(found) == 1
    return str(found[0])


def fields(name: str) -> dict[str, str]:
    return dict(line.split(": ") for line in example(name).splitlines())


def integers(text: str) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    return np.array([int(word) for word in text.split()], np.int32)


def test_stream() -> None:
    data = bytes.fromhex(example("stream"))
    picture = read_picture(io.BytesIO(data))
    header = picture.header
    assert header == PictureHeader(
        width=150,
        height=70,
        chroma=0,
        quality=25600,
        profile="test",
        digest=bytes.fromhex("00010203fcfdfeff"),
        live_channels=1,
        skip_threshold=0,
        tile_size=128,
        tile_margin=32,
    )
    areas = [tuple(tile.area) for tile in tiles(header.width, header.height, header.tile_size, header.tile_margin)]
    assert areas == [(0, 0, 150, 70), (96, 0, 54, 70)]
    file = io.BytesIO()
    write_picture(file, picture)
    assert file.getvalue() == data


def test_sequence() -> None:
    data = bytes.fromhex(example("sequence"))
    reader = SequenceReader(io.BytesIO(data))
    header = SequenceHeader(
        width=35,
        height=21,
        time_base=Fraction(1, 1000),
        frame_duration=40,
        frame_rate=Fraction(25),
        profile="test",
        digest=bytes.fromhex("00010203fcfdfeff"),
        skip_threshold=3,
        chroma_location=1,
        sample_aspect_ratio=Fraction(40, 33),
    )
    track = TrackUnit(number=0, kind=2, codec="subrip", time_base=Fraction(1, 1000), disposition=1, language="eng")
    intra, packet, predicted = reader
    assert (reader.header, reader.tracks) == (header, {0: track})
    coding: dict[str, Any] = {"quality": 12800, "live_channels": 320, "check": 0x01020304, "payload": b"first"}
    assert intra == FrameUnit(key=True, number=0, timestamp=-40, duration=40, **coding)
    assert packet == PacketUnit(track=0, pts=0, dts=0, duration=2000, data=b"Hello")
    coding = {"quality": 6400, "live_channels": 0, "check": 0xFFFFFFFF, "payload": b""}
    assert predicted == FrameUnit(key=False, number=1, timestamp=3, duration=37, **coding)
    file = io.BytesIO()
    with SequenceWriter(file, header) as writer:
        writer.track(track)
        writer.frame(intra)
        writer.packet(packet)
        writer.frame(predicted)
    assert file.getvalue() == data
    assert reader.index is not None
    assert reader.index.entries[0].offset == data.index(b"\x11\x10")


def test_alpha() -> None:
    values = fields("alpha")
    unit = AlphaUnit.parse(bytes.fromhex(values["payload"]))
    rows = [[int(value) for value in values[f"row {number}"].split()] for number in range(3)]
    assert unit.index == 0
    assert entropy.decode_alpha(unit.filter, unit.data, 3, 4).tolist() == rows


def test_weights_of_tiles() -> None:
    """The numbers of the example, against the rule as tests/test_golden.py writes it out."""
    (earlier, later), totals = weights(66, 64, 16)
    for values, words in (
        (earlier, "weights {} in the earlier"),
        (later, "tile, {} in the later"),
        (totals, "totals {}."),
    ):
        assert words.format(" ".join(str(value) for value in values[61:])) in SPEC.replace("\n", " ")


def test_versions() -> None:
    assert SPEC.startswith(f"# The nacre bitstream, version {VERSION_MAJOR}.{VERSION_MINOR}\n")


def test_unit_types() -> None:
    rows = [line.strip("|").split("|") for line in SPEC.splitlines() if re.match(r"\| [0-9A-F]{2} \|", line)]
    cells = [[cell.strip() for cell in row] for row in rows]
    known = {int(row[0], 16): row[1] for row in cells if row[1].isupper()}
    assert known == {int(unit_type): unit_type.name for unit_type in UnitType}
    pairs = [(row[i], row[i + 1]) for row in cells if not row[1].isupper() for i in (0, 2) if row[i]]
    assert {int(number, 16): purpose for number, purpose in pairs} == RESERVED


def test_motion_compensation() -> None:
    """The taps of the table and the windows, against those of the package."""
    rows = [
        line.strip("| ").split("|") for line in SPEC.splitlines() if re.match(r"\| [0-7] \| [- 0-9]*\| [-0-9]", line)
    ]
    taps = [[tuple(int(tap) for tap in cell.split()) for cell in row] for row in rows]
    assert [row[0] for row in taps] == [(fraction,) for fraction in range(8)]
    assert tuple(row[1] for row in taps[:4]) == interpolation.LUMA_TAPS
    assert tuple(row[-1] for row in taps) == interpolation.CHROMA_TAPS
    luma, chroma = (" ".join(map(str, window)) for window in (interpolation.LUMA_WINDOW, interpolation.CHROMA_WINDOW))
    assert f"for luma {luma} and for chroma {chroma}," in SPEC


def test_symbols() -> None:
    values = fields("symbols")
    tables = entropy.TableSet.stack([integers(values[f"table {number}"]) for number in range(3)])
    symbols, numbers = integers(values["symbols"]), integers(values["numbers"])
    for engine in (entropy.default_engine(), entropy.PYTHON_ENGINE):
        encoder = entropy.SymbolEncoder(engine)
        encoder.encode(symbols, numbers, tables)
        assert encoder.finish().hex() == values["code"]
        decoder = entropy.SymbolDecoder(bytes.fromhex(values["code"]), engine)
        assert decoder.decode(numbers, tables).tolist() == symbols.tolist()
        decoder.finish()


def test_raw_bits_with_a_long_carry() -> None:
    values = fields("raw")
    numbers = integers(values["values"])
    for engine in (entropy.default_engine(), entropy.PYTHON_ENGINE):
        encoder = engine.encoder()
        encoder.encode_bits(numbers, np.full_like(numbers, int(values["bits"])))
        assert encoder.words().astype("<u4").tobytes().rstrip(b"\0").hex() == values["code"]


def test_symbols_check() -> None:
    check = entropy.symbols_check(np.array([[[1, -1]]]), np.array([[[0, 300]]]))
    assert f"have the check {check:08X}." in SPEC


@pytest.mark.parametrize(("total", "expected"), [(-5, -2), (-4, -2), (4, 2), (5, 3)])
def test_rounding_of_the_scale_network(total: int, expected: int) -> None:
    layer = entropy.IntegerLayer(
        kind="conv1",
        weight=np.array([[1]], np.int8),
        bias=np.zeros((1, 1), np.int32),
        shift=np.array([1], np.uint8),
        low=-9,
        high=9,
    )
    assert layer.forward(np.array([[[total]]]), 0).item() == expected
