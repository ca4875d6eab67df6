"""GOPs side by side: order, errors, an encoder that is given up, memory."""

from __future__ import annotations

import gc
import io
import subprocess
import sys
import threading
import time
import weakref
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from conftest import TINY_VIDEO

pytest.importorskip("numba")

import golden_sequences

import nacre
from nacre.bitstream.errors import InputError
from nacre.bitstream.frames import FrameUnit
from nacre.bitstream.sequence import SequenceReader
from nacre.bitstream.tracks import SUBTITLE, PacketUnit, TrackUnit
from nacre.clip import Frame
from nacre.compensation import Planes
from nacre.framecoder import FrameCoder
from nacre.gopworkers import gops_at_once
from nacre.stopwatch import Stopwatch

WIDTH, HEIGHT = 150, 90
OPTIONS: dict[str, Any] = {"weights": TINY_VIDEO, "profile": "tiny", "gop": 3, "scene_cut": False, "threads": 2}


def scene(number: int) -> Planes:
    """A frame with its number in the first sample."""
    planes = golden_sequences.scene(number, WIDTH, HEIGHT)
    planes.luma[0, 0] = number
    return planes


def packet(track: int, number: int) -> PacketUnit:
    return PacketUnit(track=track, pts=40 * number, dts=None, duration=40, data=bytes([number]))


def write_all(encoder: nacre.VideoEncoder, frames: int = 7) -> None:
    for number in range(frames):
        encoder.write(scene(number))


def workers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "nacre GOP"]


def test_how_many() -> None:
    assert gops_at_once(1, 32, 640 * 360) == 1
    assert gops_at_once(2, 32, 640 * 360) == 2
    assert gops_at_once(16, 32, 640 * 360) == 16
    assert gops_at_once(16, 32, 1920 * 1080) == 2
    assert gops_at_once(16, 32, 3840 * 2160) == 1
    assert gops_at_once(16, 1 << 15, 640 * 360) == 1


def test_the_second_gop_does_not_wait_for_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its frames are coded while the first is held up; units are in the order of the frames all the same."""
    second = threading.Event()
    coded: list[int] = []
    encode = FrameCoder.encode

    def held_up(self: FrameCoder, frame: Planes, *arguments: Any) -> Any:
        number = int(frame.luma[0, 0])
        if number == 0:
            assert second.wait(30)
        result = encode(self, frame, *arguments)
        coded.append(number)
        if number == 3:
            second.set()
        return result

    monkeypatch.setattr(FrameCoder, "encode", held_up)
    file = io.BytesIO()
    with nacre.VideoEncoder(file, WIDTH, HEIGHT, 25, **OPTIONS) as encoder:
        write_all(encoder)
    assert coded.index(3) < coded.index(0)
    units = [unit for unit in SequenceReader(io.BytesIO(file.getvalue())) if isinstance(unit, FrameUnit)]
    assert [unit.number for unit in units] == list(range(7))
    assert [unit.key for unit in units] == [True, False, False] * 2 + [True]
    assert not workers()


def test_packets_stay_where_they_were_given() -> None:
    file = io.BytesIO()
    track = TrackUnit(number=0, kind=SUBTITLE, codec="subrip", time_base=Fraction(1, 1000))
    with nacre.VideoEncoder(file, WIDTH, HEIGHT, 25, tracks=[track], **OPTIONS) as encoder:
        for number in range(7):
            encoder.packet(packet(0, number))
            encoder.write(scene(number))
        with pytest.raises(InputError, match="track 3"):
            encoder.packet(packet(3, 0))
    units = list(SequenceReader(io.BytesIO(file.getvalue())))
    assert [isinstance(unit, FrameUnit) for unit in units] == [False, True] * 7
    assert [unit.data for unit in units if isinstance(unit, PacketUnit)] == [bytes([number]) for number in range(7)]


@pytest.mark.parametrize("bad", [0, 4, 6])
def test_what_a_thread_raises_is_raised(bad: int, monkeypatch: pytest.MonkeyPatch) -> None:
    encode = FrameCoder.encode

    def broken(self: FrameCoder, frame: Planes, *arguments: Any) -> Any:
        if int(frame.luma[0, 0]) == bad:
            msg = "the network is down"
            raise nacre.BackendError(msg)
        return encode(self, frame, *arguments)

    monkeypatch.setattr(FrameCoder, "encode", broken)

    def encode_all() -> None:
        with nacre.VideoEncoder(io.BytesIO(), WIDTH, HEIGHT, 25, **OPTIONS) as encoder:
            write_all(encoder)

    with pytest.raises(nacre.BackendError, match="the network is down"):
        encode_all()
    assert not workers()


def test_a_frame_that_is_not_due_is_refused_at_once() -> None:
    file = io.BytesIO()
    with nacre.VideoEncoder(file, WIDTH, HEIGHT, 25, **OPTIONS) as encoder:
        encoder.write(Frame(scene(0), 10, 1))
        with pytest.raises(InputError, match="timestamp"):
            encoder.write(Frame(scene(1), 10, 1))
        encoder.write(Frame(scene(1), 11, 1))
    with nacre.VideoDecoder(file.getvalue(), weights=TINY_VIDEO) as decoder:
        assert [frame.pts for frame in decoder] == [10, 11]


def test_an_encoder_given_up_leaves_no_thread_and_no_file(tmp_path: Path) -> None:
    def interrupted() -> None:
        with nacre.VideoEncoder(tmp_path / "clip.ncr", WIDTH, HEIGHT, 25, **OPTIONS) as encoder:
            write_all(encoder)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not workers()
    assert not list(tmp_path.iterdir())


def test_an_encoder_that_is_never_closed_does_not_trouble_the_process() -> None:
    script = (
        "import io, sys, numpy as np, nacre\n"
        f"encoder = nacre.VideoEncoder(io.BytesIO(), 320, 192, 25, weights={str(TINY_VIDEO)!r}, profile='tiny',"
        " gop=3, threads=2)\n"
        "for number in range(7):\n"
        "    encoder.write(np.random.default_rng(number).integers(0, 256, (288, 320), np.uint8))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_encoder_that_is_dropped_leaves_no_thread() -> None:
    encoder = nacre.VideoEncoder(io.BytesIO(), WIDTH, HEIGHT, 25, **OPTIONS)
    write_all(encoder)
    del encoder
    gc.collect()
    assert not workers()


def test_frames_that_wait_are_held_once(monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()
    encode = FrameCoder.encode

    def held_up(self: FrameCoder, *arguments: Any) -> Any:
        assert go_on.wait(30)
        return encode(self, *arguments)

    monkeypatch.setattr(FrameCoder, "encode", held_up)
    with nacre.VideoEncoder(io.BytesIO(), WIDTH, HEIGHT, 25, **OPTIONS) as encoder:
        given = []
        for number in range(5):
            planes = scene(number)
            given.append(weakref.ref(planes.luma))
            encoder.write(planes)
            del planes
        gc.collect()
        held = [luma() is not None for luma in given]
        go_on.set()
    assert not any(held)


def test_a_frame_whose_coding_failed_may_be_given_again(monkeypatch: pytest.MonkeyPatch) -> None:
    encode = FrameCoder.encode
    fails = {1}

    def broken(self: FrameCoder, frame: Planes, *arguments: Any) -> Any:
        number = int(frame.luma[0, 0])
        if number in fails:
            fails.remove(number)
            msg = "the network is down"
            raise nacre.BackendError(msg)
        return encode(self, frame, *arguments)

    monkeypatch.setattr(FrameCoder, "encode", broken)
    file = io.BytesIO()
    with nacre.VideoEncoder(file, WIDTH, HEIGHT, 25, low_delay=True, **OPTIONS) as encoder:
        encoder.write(Frame(scene(0), 0, 1))
        with pytest.raises(nacre.BackendError):
            encoder.write(Frame(scene(1), 1, 1))
        encoder.write(Frame(scene(1), 1, 1))
    units = [unit for unit in SequenceReader(io.BytesIO(file.getvalue())) if isinstance(unit, FrameUnit)]
    assert [unit.number for unit in units] == [0, 1]


def test_waiting_is_charged_to_what_was_waited_for() -> None:
    stopwatch = Stopwatch()
    start = time.perf_counter()
    with nacre.VideoEncoder(io.BytesIO(), WIDTH, HEIGHT, 25, stopwatch=stopwatch, **OPTIONS) as encoder:
        write_all(encoder, 12)
    assert stopwatch.total <= time.perf_counter() - start
    assert stopwatch.seconds["synthesis"] > 0
    assert stopwatch.seconds["rest"] >= 0
