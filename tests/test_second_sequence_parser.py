"""The second parser of sequences and the package's reader take the same streams, refuse the same, and read the same."""

from __future__ import annotations

import io
from dataclasses import asdict

import pytest
import second_parser
import second_sequence_parser as second
from hypothesis import given, settings
from hypothesis import strategies as st
from sequences import HDR, HEADER, METADATA, TRACKS, Item, make_items, packed, stream, units_of

from nacre.bitstream import FrameUnit, LimitError, Limits, NacreError, SequenceReader

ITEMS = make_items(6, (2, 3), packets=True)
DATA = packed(ITEMS)
UNITS = [DATA[offset : offset + size] for _, offset, size in units_of(DATA)]


def facts(data: bytes) -> object:
    """What the package reads; None where it refuses."""
    reader = SequenceReader(io.BytesIO(data), Limits(max_pixels=2**32, max_tracks=256))
    items = list(reader)
    header = asdict(reader.header)
    header["colour"] = tuple(header["colour"].values())
    hdr = None
    if reader.hdr is not None:
        parts = (reader.hdr.mastering, reader.hdr.light)
        hdr = tuple(None if part is None else list(asdict(part).values()) for part in parts)
    index = None if reader.index is None else [tuple(entry) for entry in reader.index.entries]
    tracks = [asdict(track) for _, track in sorted(reader.tracks.items())]
    return header, tracks, hdr, sorted(reader.metadata.values()), [plain(item) for item in items], index  # type: ignore[arg-type]


def plain(item: Item) -> dict[str, object]:
    values = asdict(item)
    if isinstance(item, FrameUnit):
        values["code"] = values.pop("payload")
    return values


def second_facts(data: bytes) -> object:
    found = second.parse(data)
    items, tracks = [asdict(item) for item in found.items], [asdict(track) for track in found.tracks]
    return asdict(found.header), tracks, found.hdr, sorted(found.metadata.values()), items, found.index


def agree(data: bytes) -> bool:
    """Whether both read it, then the same; otherwise both refuse."""
    try:
        expected = facts(data)
    except LimitError:
        return False
    except NacreError:
        with pytest.raises(second_parser.RefusedError):
            second.parse(data)
        return False
    assert second_facts(data) == expected
    return True


@settings(max_examples=30)
@given(st.integers(0, 2**32), st.lists(st.integers(1, 6), min_size=1, max_size=5), st.booleans())
def test_any_sequence(seed: int, gops: list[int], index: bool) -> None:
    assert agree(packed(make_items(seed, gops), index=index))
    found = second.parse(packed(make_items(seed, gops), index=index))
    assert (found.version, len(found.tracks), len(found.metadata)) == ((0, 4), len(TRACKS), len(METADATA))
    assert found.hdr is not None
    if found.index is not None:
        assert {offset: (number, timestamp) for offset, number, timestamp in found.index} == found.places


@settings(max_examples=200)
@given(st.data())
def test_any_payloads(data: st.DataObject) -> None:
    """Units with a right CRC of which some bytes of the payload are changed."""
    units = [(unit[0], payload(unit)) for unit in UNITS]
    place = data.draw(st.integers(0, len(units) - 1))
    kind, changed = units[place][0], bytearray(units[place][1])
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, max(min(len(changed), 24) - 1, 0)))
        end = at + data.draw(st.integers(0, 2))
        changed[at:end] = data.draw(
            st.binary(max_size=2) | st.sampled_from((b"\0", b"\x80", b"\xff", b"\x80\0", b"\1"))
        )
    units[place] = (data.draw(st.sampled_from((kind, kind, kind, kind ^ 1))), bytes(changed))
    agree(stream(units, data.draw(st.sampled_from((4, 4, 5)))))


def payload(unit: bytes) -> bytes:
    return unit[2 if unit[1] < 0x80 else 3 : -4]


@settings(max_examples=150)
@given(st.lists(st.sampled_from(UNITS[1:]), max_size=8), st.booleans())
def test_any_order(units: list[bytes], in_order: bool) -> None:
    if in_order:
        units = sorted(set(units), key=UNITS.index)
    agree(DATA[:10] + UNITS[0] + b"".join(units))


def test_all_of_it_is_compared() -> None:
    header, tracks, hdr, metadata, items, index = second_facts(DATA)  # type: ignore[misc]
    assert header["width"] == HEADER.width
    assert tracks == [asdict(track) for track in TRACKS]
    assert HDR.light is not None
    assert hdr[1] == [HDR.light.max_content, HDR.light.max_frame_average]
    assert metadata == [b"<x/>"]
    assert len(items) == len(ITEMS)
    assert len(index) == 2
