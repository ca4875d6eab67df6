"""The golden sequences: both readers give the recorded symbols, today's writer the same bytes."""

from __future__ import annotations

import io
import json
from typing import Any

import golden_sequences as golden
import numpy as np
import pytest
import second_frames
from PIL import Image
from second_parser import RefusedError
from test_golden import EQUAL_SAMPLES, LARGEST_DIFFERENCE, engine

from nacre.bitstream import FormatError, FrameUnit, PacketUnit, SequenceReader, SequenceWriter, UnitReader
from nacre.framecoder import FrameCoding, FrameSymbols, Previous
from nacre.stopwatch import Stopwatch
from nacre.video import VideoDecoder

INDEX: dict[str, Any] = json.loads(golden.INDEX.read_text())
MAX_BYTES = 200_000


def stream(name: str) -> bytes:
    return (golden.GOLDEN / f"{name}.ncr").read_bytes()


def model_of(name: str) -> golden.Model:
    return golden.load_model(golden.RECIPES[name].folder)


def second_read(name: str) -> tuple[second_frames.Sequence, list[second_frames.FrameSymbols]]:
    return second_frames.decode(stream(name), golden.RECIPES[name].folder)


def test_the_folder_is_complete() -> None:
    assert set(INDEX) == set(golden.RECIPES)
    expected = {f"{name}.ncr" for name in INDEX} | {f"{name}.png" for name in INDEX if INDEX[name]["samples"]}
    paths = list(golden.GOLDEN.iterdir())
    assert {path.name for path in paths} == expected | {golden.INDEX.name}
    assert sum(path.stat().st_size for path in paths) < MAX_BYTES


@pytest.mark.parametrize("name", INDEX)
def test_the_product_reads_the_recorded_symbols(name: str) -> None:
    data, model = stream(name), model_of(name)
    assert golden.sha256(data) == INDEX[name]["sha256"]
    assert golden.product_fields(data) == INDEX[name]["fields"]
    assert golden.product_hashes(model.symbols(data)) == INDEX[name]["frames"]
    assert VideoDecoder(data, weights=model.folder, threads=1).verify().frames == len(INDEX[name]["frames"])


@pytest.mark.parametrize("name", INDEX)
def test_the_second_parser_reads_the_recorded_symbols(name: str) -> None:
    parsed, found = second_read(name)
    assert golden.second_fields(parsed) == INDEX[name]["fields"]
    assert golden.second_hashes(found) == INDEX[name]["frames"]


@pytest.mark.parametrize("name", [name for name in INDEX if INDEX[name]["samples"]])
def test_samples(name: str) -> None:
    decoded = golden.sheet(model_of(name).frames(stream(name)))
    with Image.open(golden.GOLDEN / f"{name}.png") as image:
        expected = np.asarray(image)
    assert decoded.shape == expected.shape
    difference = np.abs(decoded.astype(int) - expected)
    assert difference.max() <= LARGEST_DIFFERENCE
    assert np.count_nonzero(difference) <= max(1, (1 - EQUAL_SAMPLES) * difference.size)


@pytest.mark.parametrize("engine_name", ["constriction", "python"])
@pytest.mark.parametrize("name", INDEX)
def test_the_writer_gives_the_same_bytes(name: str, engine_name: str) -> None:
    """From the symbols that the second parser reads to the stream that it read them from."""
    data, model = stream(name), model_of(name)
    parsed, found = second_read(name)
    reader = SequenceReader(io.BytesIO(data))
    header = reader.header
    symbols = iter(found)
    previous: Previous | None = None
    items: list[FrameUnit | PacketUnit] = []
    for item in reader:
        assert isinstance(item, FrameUnit | PacketUnit)
        if isinstance(item, FrameUnit):
            given = model.from_second(header, item, next(symbols), previous)
            assert model.encode(item, given, previous, header, engine(engine_name)) == item
            previous = given.previous
        items.append(item)
    assert next(symbols, None) is None
    file = io.BytesIO()
    with SequenceWriter(file, header, reader.metadata, reader.hdr, reader.index is not None) as writer:
        for _, track in sorted(reader.tracks.items()):
            writer.track(track)
        for item in items:
            writer.frame(item) if isinstance(item, FrameUnit) else writer.packet(item)
    if parsed.skipped:
        assert golden.product_fields(file.getvalue()) == INDEX[name]["fields"]
    else:
        assert file.getvalue() == data


def test_what_the_streams_exercise() -> None:
    """The longest vectors, escapes, no live channels, qualities, tracks, times, an index or none, a later version."""
    found = {name: second_read(name) for name in INDEX}
    frames = {
        name: [item for item in read.items if isinstance(item, second_frames.Frame)]
        for name, (read, _) in found.items()
    }
    extreme = found["extreme-symbols"][1]
    assert {(symbols.z.min(), symbols.z.max(), symbols.y.min(), symbols.y.max()) for symbols in extreme} == {
        (-127, 127, -16383, 16383)
    }
    motion = extreme[1].motion
    assert motion is not None
    assert max(abs(part) for vector in motion.vectors.values() for part in vector) == 512
    assert {level for level, _, _ in motion.splits} == {0, 1, 2}
    assert [frame.live_channels for frame in frames["no-live-channels"]] == [24, 0, 0, 0]
    assert len(found["no-live-channels"][1][1].numbers) > 100
    assert len({frame.quality for frame in frames["quality-changes"]}) >= 6
    assert [frame.key for frame in frames["quality-changes"]] == [number in (0, 5) for number in range(8)]
    assert [frame.key for frame in frames["17x33-gops"]] == [number % 3 == 0 for number in range(7)]
    assert [frame.number % 65536 for frame in frames["no-index"]] == [65533, 65534, 65535, 0, 1, 2]
    assert [name for name, (read, _) in found.items() if read.index is None] == ["no-index", "minor-version-200"]
    assert [frame.timestamp for frame in frames["times"]] == [-40, 0, 7, 8, 2500, 2540]
    assert len({frame.duration for frame in frames["times"]}) == 5
    read = found["tracks"][0]
    assert (len(read.tracks), set(read.metadata), read.hdr is not None) == (2, {"XMP"}, True)
    packets = [item for item in read.items if not isinstance(item, second_frames.Frame)]
    assert {(packet.key, packet.discard, packet.dts is None, packet.pts is None) for packet in packets} == {
        (True, True, True, True), (True, False, False, False), (False, False, True, False)
    }  # fmt: skip
    assert [packet.trim for packet in packets if packet.trim != (0, 0)] == [(0, 300)]
    assert found["minor-version-200"][0].version == (0, 200)
    assert found["minor-version-200"][0].skipped == [0x98, 0xFF]
    assert [frame.key for frame in frames["prior-66x34"]] == [number % 4 == 0 for number in range(6)]
    assert [frame.key for frame in frames["prior-extreme-symbols"]] == [number in (0, 3) for number in range(6)]
    assert {frame.live_channels for frame in frames["prior-extreme-symbols"] if not frame.key} == {11}


@pytest.mark.parametrize("name", ["prior-66x34", "prior-extreme-symbols"])
def test_the_prior_matters(name: str) -> None:
    """Behind a predicted frame, zeros for its symbols, or a lower cut of large ones, give other scale indices."""
    model = model_of(name)
    header, frames = golden.units_of(stream(name))
    size, part = (header.width, header.height), model.predicted
    before: FrameSymbols | None = None
    behind = 0
    for frame, symbols in zip(frames, model.symbols(stream(name)), strict=True):
        assert isinstance(frame, FrameUnit)
        previous = None if before is None or frame.key else before.previous
        if previous is not None:
            behind += 1
            (_, latent), z = symbols, symbols.latent.z
            assert np.array_equal(latent.scale_index, part.index(z, frame.quality, size, previous))
            assert np.mean(latent.scale_index != part.index(z, frame.quality, size, None)) > 0.1
            if name == "prior-extreme-symbols":
                lower = Previous(previous.motion, np.clip(previous.y, -14, 14))
                assert np.any(latent.scale_index != part.index(z, frame.quality, size, lower))
            # what is coded by these scales cannot be read by those of a frame that has nothing before it
            coding = FrameCoding(*size, frame.quality, frame.live_channels, header.skip_threshold)
            blank = Previous(previous.motion, np.zeros_like(previous.y))
            with pytest.raises(FormatError):
                model.coder.decode_symbols(frame.payload, frame.check, coding, blank, Stopwatch(), intra=False)
        before = symbols
    assert behind == 2


def test_the_second_parser_and_the_product_refuse_the_same_codes() -> None:
    """Every byte of the codes changed under a right CRC: refused by both, or of the same symbols to both."""
    data, model = stream("64x64"), model_of("64x64")
    units = list(UnitReader(io.BytesIO(data)))
    symbols = INDEX["64x64"]["frames"]
    refused = 0
    header, frames = golden.units_of(data)
    for number, unit in enumerate(frames[:2]):
        assert isinstance(unit, FrameUnit)
        for place in range(0, len(unit.payload), 5):
            code = bytearray(unit.payload)
            code[place] ^= 0x11
            changed = golden.written(
                header, [*frames[:number], golden.replace(unit, payload=bytes(code)), *frames[number + 1 :]]
            )
            try:
                hashes = golden.product_hashes(model.symbols(changed))
            except FormatError:
                refused += 1
                with pytest.raises(RefusedError):
                    second_frames.decode(changed, golden.TINY_VIDEO)
            else:  # bits that no symbol depends on: the last word's lower ones
                assert hashes == symbols
    assert refused > 100
    assert len(units) == 1 + len(frames) + 2
