"""Frames coded and decoded by two threads at once: the same as by one, errors in order, and nothing left running."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nacre
from nacre.bitstream.frames import FrameUnit
from nacre.bitstream.sequence import SequenceReader, SequenceWriter
from nacre.bitstream.tracks import SUBTITLE, PacketUnit, TrackUnit
from nacre.clip import Frame
from nacre.compensation import Planes
from nacre.framecoder import FrameCoder, _Networks
from nacre.lookahead import LookAhead
from nacre.parallel import at_once, bands, timed_at_once
from nacre.stopwatch import Stopwatch
from nacre.video import DecodedFrame, VideoDecoder, VideoEncoder

pytest.importorskip("numba")

from nacre.compensation import compensate
from nacre.motion_search import search

WEIGHTS = Path(__file__).parent / "data" / "tiny-video"
WIDTH, HEIGHT = 150, 90
FRAMES = 7
TRACK = TrackUnit(number=0, kind=SUBTITLE, codec="subrip", time_base=Fraction(1, 25))


def scene(time: int) -> Planes:
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    luma = 120 + 60 * np.sin((x + 2 * time) / 5 + y / 9) + 40 * np.sin(y / 4 - x / 23)
    chroma = luma[::2, ::2] / 2
    return Planes(*(plane.astype(np.uint8) for plane in (luma, chroma + 64, 255 - chroma)))


def encode(threads: int, packets: int = 0) -> bytes:
    """Frames in GOPs of four, each behind so many packets."""
    file = io.BytesIO()
    options: dict[str, Any] = {"gop": 4, "scene_cut": False, "weights": WEIGHTS, "profile": "tiny"}
    tracks = [TRACK] if packets else []
    with VideoEncoder(file, WIDTH, HEIGHT, 25, threads=threads, tracks=tracks, **options) as encoder:
        for time in range(FRAMES):
            for number in range(packets):
                encoder.packet(PacketUnit(track=0, dts=time, pts=time, duration=1, data=bytes([number, 1])))
            encoder.write(scene(time))
    return file.getvalue()


def decoder(source: Any, threads: int = 2, **options: Any) -> VideoDecoder:
    return VideoDecoder(source, weights=WEIGHTS, threads=threads, **options)


def same(one: DecodedFrame | Frame, other: DecodedFrame | Frame) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one.planes, other.planes, strict=True))


@pytest.fixture(scope="module")
def clip() -> bytes:
    return encode(1)


@pytest.fixture(scope="module")
def frames(clip: bytes) -> list[DecodedFrame]:
    return list(decoder(io.BytesIO(clip), threads=1))


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = threading.active_count()
    yield
    assert threading.active_count() == before


def with_checks_changed(clip: bytes, *numbers: int) -> bytes:
    """The clip with frames whose units are intact and whose symbols are not those encoded."""
    reader, file = SequenceReader(io.BytesIO(clip)), io.BytesIO()
    with SequenceWriter(file, reader.header) as writer:
        for unit in reader:
            assert isinstance(unit, FrameUnit)
            writer.frame(replace(unit, check=unit.check ^ 1) if unit.number in numbers else unit)
    return file.getvalue()


def test_work_is_done_at_once_with_results_in_order() -> None:
    meet = threading.Barrier(3)

    def work(number: int) -> tuple[int, str]:
        meet.wait(60)
        return number, threading.current_thread().name

    results = at_once(3, lambda: work(0), lambda: work(1), lambda: work(2))
    assert [number for number, _ in results] == [0, 1, 2]
    assert results[2][1] == threading.current_thread().name
    assert at_once(1, threading.get_ident, threading.get_ident) == [threading.get_ident()] * 2


def test_bands_are_of_about_one_size_and_none_is_empty() -> None:
    assert bands(7, 3) == [(0, 2), (2, 4), (4, 7)]
    assert bands(2, 5) == [(0, 1), (1, 2)]
    assert bands(6, 1) == [(0, 6)]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_error_in_any_work_is_raised_when_all_have_ended(threads: int, place: int) -> None:
    def fail() -> None:
        raise KeyError(place)

    works: list[Any] = [lambda: None] * 3
    works[place] = fail
    with pytest.raises(KeyError, match=str(place)):
        at_once(threads, *works)
    with pytest.raises(KeyError, match=str(place)):
        timed_at_once(threads, Stopwatch(), *(lambda _, work=work: work() for work in works))


def test_time_is_charged_once_to_what_was_done_in_it() -> None:
    def work(part: Any, clock: Stopwatch) -> None:
        with clock.part(part):
            sum(range(20_000))

    watch = Stopwatch()
    with watch.part("rest"):
        timed_at_once(2, watch, lambda clock: work("coder", clock), lambda clock: work("synthesis", clock))
    assert watch.seconds["coder"] > 0
    assert watch.seconds["synthesis"] > 0
    assert watch.seconds["rest"] >= 0
    assert watch.total < 10


@pytest.mark.parametrize("threads", [2, 3, 7])
def test_motion_is_the_same_whatever_the_threads(threads: int) -> None:
    random = np.random.default_rng(0)
    small = random.integers(0, 256, (60, 50), np.uint8)
    reference = np.kron(small, np.ones((4, 4), np.uint8))[:192, :192]
    current = np.roll(reference, (3, -5), (0, 1)) // 2 + random.integers(0, 90, reference.shape, np.uint8)
    field = search(reference, current, 4.0)
    assert len(np.unique(field)) > 10
    assert np.array_equal(search(reference, current, 4.0, None, threads), field)
    assert np.array_equal(search(reference, current, 4.0, field, threads), search(reference, current, 4.0, field))
    planes = Planes(reference, reference[::2, ::2].copy(), current[::2, ::2].copy())
    for one, other in zip(compensate(planes, field, threads), compensate(planes, field), strict=True):
        assert np.array_equal(one, other)


def test_bytes_and_frames_are_the_same_whatever_the_threads(clip: bytes, frames: list[DecodedFrame]) -> None:
    assert encode(2) == clip
    found = list(decoder(io.BytesIO(clip)))
    assert [frame.number for frame in found] == list(range(FRAMES))
    assert all(same(one, other) for one, other in zip(found, frames, strict=True))


@pytest.mark.parametrize("packets", [1, 3, 20])
def test_packets_stay_between_the_frames_where_they_were(packets: int, frames: list[DecodedFrame]) -> None:
    data = encode(2, packets)
    items = list(decoder(io.BytesIO(data)).items())
    due = [*range(packets), "frame"] * FRAMES
    assert [item.data[0] if isinstance(item, PacketUnit) else "frame" for item in items] == due
    found = [item for item in items if isinstance(item, Frame)]
    assert all(same(one, other) for one, other in zip(found, frames, strict=True))


def test_seeking(clip: bytes, frames: list[DecodedFrame]) -> None:
    with decoder(io.BytesIO(clip)) as read:
        for number in (2, 6, 3, 4, 0):
            assert same(read[number], frames[number])
        assert next(read).number == 1
        read.seek(5 / 25)
        assert [frame.number for frame in read] == [5, 6]


@pytest.mark.parametrize("number", range(FRAMES))
def test_a_damaged_frame_is_named_when_its_turn_has_come(clip: bytes, frames: list[DecodedFrame], number: int) -> None:
    read, found = decoder(io.BytesIO(with_checks_changed(clip, number))), []
    with pytest.raises(nacre.ChecksumError, match=f"^frame {number}: the check of the symbols"):
        found.extend(read)
    assert [same(one, other) for one, other in zip(found, frames, strict=False)] == [True] * number


@pytest.mark.parametrize("numbers", [(1,), (2, 3), (4,), (0, 5)])
def test_losses_are_the_same_whatever_the_threads(clip: bytes, numbers: tuple[int, ...]) -> None:
    damaged = with_checks_changed(clip, *numbers)
    one, two = (decoder(io.BytesIO(damaged), threads, keep_going=True) for threads in (1, 2))
    for frame, other in zip(one, two, strict=True):
        assert frame.number == other.number
        assert same(frame, other)
    assert one.losses == two.losses
    assert len(one.losses) >= 1


def test_a_damaged_unit_does_not_cost_the_frames_before_it(clip: bytes, frames: list[DecodedFrame]) -> None:
    reader = SequenceReader(io.BytesIO(clip))
    places = [reader.part.offset for _ in reader]
    damaged = bytearray(clip)
    damaged[places[3] + 8] ^= 1
    read = decoder(io.BytesIO(bytes(damaged)))
    assert [same(next(read), frames[number]) for number in range(3)] == [True] * 3
    assert not read.ended
    with pytest.raises(nacre.ChecksumError, match="PREDICTED_FRAME"):
        next(read)
    assert read.ended


def test_every_frame_of_a_growing_file_is_given_as_soon_as_it_is_there(
    clip: bytes, frames: list[DecodedFrame], tmp_path: Path
) -> None:
    reader = SequenceReader(io.BytesIO(clip))
    ends = [reader.part.offset + reader.part.size for _ in reader]
    path = tmp_path / "growing.ncr"
    path.write_bytes(clip[: ends[0]])
    with decoder(path) as read, path.open("ab", buffering=0) as file:
        for number, end in enumerate(ends):
            if number:
                assert read.poll() is None
                file.write(clip[ends[number - 1] : end - 1])
                assert read.poll() is None
                file.write(clip[end - 1 : end])
            frame = read.poll()
            assert frame is not None
            assert same(frame, frames[number])
        assert not read.ended
        file.write(clip[ends[-1] :])
        assert read.poll() is None
        assert read.ended


class Live:
    """A pipe: what is read beyond the bytes that are there would be waited for."""

    def __init__(self, data: bytes) -> None:
        self._data, self.there, self._place = data, 0, 0

    def read(self, size: int) -> bytes:
        assert self._place + size <= self.there
        self._place += size
        return self._data[self._place - size : self._place]


def test_nothing_is_waited_for_at_a_pipe(clip: bytes, frames: list[DecodedFrame]) -> None:
    reader = SequenceReader(io.BytesIO(clip))
    ends = [reader.part.offset + reader.part.size for _ in reader]
    pipe = Live(clip)
    pipe.there = ends[0]
    with decoder(pipe) as read:
        for number, end in enumerate(ends):
            pipe.there = end
            assert same(next(read), frames[number])


def test_a_decoder_may_be_left_at_any_frame(clip: bytes) -> None:
    for count in range(FRAMES):
        with decoder(io.BytesIO(clip)) as read:
            for _ in range(count):
                next(read)


def test_an_interruption_while_the_next_frame_is_read_leaves_no_thread(
    clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes in the calling thread, while the networks run in another."""
    running, let_go, decode_symbols = threading.Event(), threading.Event(), FrameCoder.decode_symbols
    synthesize, calls = _Networks.synthesize, []

    def parse(*args: Any, **kwargs: Any) -> Any:
        calls.append(None)
        if len(calls) == 1:
            return decode_symbols(*args, **kwargs)
        assert running.wait(60)
        let_go.set()
        raise KeyboardInterrupt

    def slow(*args: Any) -> Planes:
        assert threading.current_thread() is not threading.main_thread()
        running.set()
        assert let_go.wait(60)
        return synthesize(*args)

    monkeypatch.setattr(FrameCoder, "decode_symbols", parse)
    monkeypatch.setattr(_Networks, "synthesize", slow)
    with decoder(io.BytesIO(clip)) as read, pytest.raises(KeyboardInterrupt):
        next(read)


def test_what_was_read_in_advance_comes_in_order(clip: bytes) -> None:
    units = LookAhead(SequenceReader(io.BytesIO(clip)))
    expected = list(SequenceReader(io.BytesIO(clip)))
    assert units.next_frame() == expected[0]
    assert units.next_frame() == expected[0]
    first = units.take()
    assert first == expected[0]
    units.put_back(first)
    assert [units.take() for _ in range(3)] == expected[:3]
    units.next_frame()
    units.forget()
    assert units.take() == expected[4]
    assert not units.ended
