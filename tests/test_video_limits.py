"""Sequences whose headers ask for much, or for weights that are not there: one clear error, and nothing set aside."""

from __future__ import annotations

import io
import tracemalloc
from fractions import Fraction
from pathlib import Path

import pytest
from conftest import TINY, TINY_VIDEO

import nacre
from nacre.bitstream import FrameUnit, SequenceHeader, SequenceWriter
from nacre.video import MAX_FRAME_PIXELS, VideoDecoder, VideoEncoder
from nacre.weights.sequence import load_sequence


def claiming(width: int, height: int, profile: str = "tiny", digest: bytes | None = None) -> bytes:
    """A sequence whose header claims a size, with an intra and a predicted frame of no bytes."""
    header = SequenceHeader(
        width=width, height=height, time_base=Fraction(1, 25), frame_duration=1, profile=profile,
        digest=digest or load_sequence("tiny", TINY_VIDEO).stream_digest, skip_threshold=4,
    )  # fmt: skip
    file = io.BytesIO()
    with SequenceWriter(file, header) as writer:
        for number in (0, 1):
            writer.frame(
                FrameUnit(key=number == 0, number=number, timestamp=number, duration=1, quality=0, live_channels=1,
                          check=0, payload=b"")
            )  # fmt: skip
    return file.getvalue()


@pytest.mark.parametrize("keep_going", [False, True])
@pytest.mark.parametrize(("width", "height"), [(65535, 65535), (20000, 20000), (65535, 257)])
def test_claimed_sizes_beyond_the_limit_cost_nothing(width: int, height: int, keep_going: bool) -> None:
    data = claiming(width, height)
    tracemalloc.start()
    try:
        with pytest.raises(
            nacre.LimitError, match=rf"{width} x {height} = .* pixels, the limit max_pixels is 16777216"
        ):
            VideoDecoder(data, weights=TINY_VIDEO, threads=1, keep_going=keep_going)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_the_limit_is_the_callers() -> None:
    data = claiming(80, 60)
    with pytest.raises(nacre.LimitError, match="max_pixels is 4799"):
        VideoDecoder(data, weights=TINY_VIDEO, threads=1, max_pixels=4799)
    VideoDecoder(data, weights=TINY_VIDEO, threads=1, max_pixels=4800).close()
    with VideoDecoder(claiming(8192, 2049), weights=TINY_VIDEO, threads=1, max_pixels=1 << 25) as decoder:
        assert decoder.info.width * decoder.info.height > MAX_FRAME_PIXELS


def test_the_encoder_has_the_same_limit() -> None:
    with pytest.raises(nacre.LimitError, match="the limit max_pixels is 16777216"):
        VideoEncoder(io.BytesIO(), 8192, 2049, 25, weights=TINY_VIDEO, profile="tiny")


def test_frames_that_hold_nothing() -> None:
    """Their symbols have another check: no frame."""
    data = claiming(80, 60)
    with pytest.raises(nacre.FormatError, match="frame 0"):
        next(VideoDecoder(data, weights=TINY_VIDEO, threads=1))
    with VideoDecoder(data, weights=TINY_VIDEO, threads=1, keep_going=True) as decoder:
        assert not list(decoder)
        assert any("frame 0 is lost" in loss for loss in decoder.losses)


@pytest.mark.parametrize(
    ("profile", "digest", "weights", "message"),
    [
        ("tiny", b"otherone", TINY_VIDEO, "'tiny' .*6f746865726f6e65"),
        ("none", None, TINY_VIDEO, "weights of clips 'none' with digest [0-9a-f]{16} are not installed"),
        ("tiny", None, TINY, "weights of clips 'tiny' with digest [0-9a-f]{16} are not installed"),  # of pictures
    ],
)
def test_weights_that_are_not_there(profile: str, digest: bytes | None, weights: Path, message: str) -> None:
    data = claiming(80, 60, profile, digest)
    for keep_going in (False, True):
        with pytest.raises(nacre.WeightsError, match=message) as caught:
            VideoDecoder(data, weights=weights, threads=1, keep_going=keep_going)
        assert "\n" not in str(caught.value)
