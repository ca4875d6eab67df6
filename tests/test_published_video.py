"""The published weights of clips, on photographs from scikit-image that move."""

from __future__ import annotations

import io
from pathlib import Path

import av
import numpy as np
import pytest

import nacre
from nacre.bitstream import FrameUnit, SequenceReader
from nacre.weights import store

skdata = pytest.importorskip("skimage.data")
pytest.importorskip("numba")
WEIGHTS = Path(store.__file__).parent  # the package's own, whatever NACRE_WEIGHTS names
WIDTH, HEIGHT, FRAMES = 192, 128, 10

Clip = list[np.ndarray]


def moved(picture: np.ndarray, right: int, down: int) -> Clip:
    """A window of twice the size that moves over a photograph, halved: frames of YUV 4:2:0, (3 HEIGHT / 2, WIDTH)."""
    clip = []
    for time in range(FRAMES):
        top, left = 60 + down * time, 60 + right * time
        window = picture[top : top + 2 * HEIGHT, left : left + 2 * WIDTH].astype(np.float64)
        halved = window.reshape(HEIGHT, 2, WIDTH, 2, 3).mean((1, 3)).round().astype(np.uint8)
        clip.append(av.VideoFrame.from_ndarray(halved, "rgb24").reformat(format="yuv420p").to_ndarray())
    return clip


@pytest.fixture(scope="module")
def clips() -> list[Clip]:
    return [moved(skdata.astronaut(), 5, 2), moved(skdata.coffee(), 3, -1)]


def coded(clip: Clip, quality: float, gop: int = 32) -> tuple[bytes, float]:
    """The stream of a clip and the PSNR of its luma."""
    file = io.BytesIO()
    with nacre.VideoEncoder(file, WIDTH, HEIGHT, 25, quality=quality, gop=gop, weights=WEIGHTS) as encoder:
        for frame in clip:
            encoder.write(frame)
    data = file.getvalue()
    decoded = [frame.planes.luma for frame in nacre.VideoDecoder(io.BytesIO(data), weights=WEIGHTS)]
    return data, luma_psnr(clip, decoded)


def luma_psnr(clip: Clip, decoded: list[np.ndarray]) -> float:
    pairs = zip(clip, decoded, strict=True)
    return float(np.mean([10 * np.log10(255**2 / np.mean((a[:HEIGHT].astype(float) - b) ** 2)) for a, b in pairs]))


def coded_by_x264(clip: Clip, crf: int) -> tuple[int, float]:
    """Bytes of packets and PSNR of luma of libx264 at its default preset, tuned for latency."""
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.framerate = WIDTH, HEIGHT, "yuv420p", 25
    encoder.time_base, encoder.options = encoder.framerate**-1, {"crf": str(crf), "tune": "zerolatency"}
    packets = []
    for number, frame in enumerate(clip):
        picture = av.VideoFrame.from_ndarray(frame, "yuv420p")
        picture.pts = number
        packets += encoder.encode(picture)
    packets += encoder.encode(None)
    decoder = av.CodecContext.create("h264", "r")
    frames = [frame for packet in (*packets, None) for frame in decoder.decode(packet)]
    return sum(packet.size for packet in packets), luma_psnr(clip, [frame.to_ndarray()[:HEIGHT] for frame in frames])


def test_sizes_and_fidelity_rise_with_quality(clips: list[Clip]) -> None:
    for clip in clips:
        points = [coded(clip, quality) for quality in (0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100)]
        assert np.all(np.diff([len(data) for data, _ in points]) > 0)
        assert np.all(np.diff([psnr for _, psnr in points]) > 0)
        assert points[0][1] < 31.0
        assert points[-1][1] > 37.5


def test_predicted_frames_are_small(clips: list[Clip]) -> None:
    """Frames that motion explains cost a fraction of an intra frame, and a GOP less than worse intra frames alone."""
    for clip in clips:
        data, psnr = coded(clip, 50)
        units = [unit for unit in SequenceReader(io.BytesIO(data)) if isinstance(unit, FrameUnit)]
        sizes = {key: [len(unit.payload) for unit in units if unit.key == key] for key in (True, False)}
        assert len(sizes[True]) == 1
        assert max(sizes[False]) < 0.4 * sizes[True][0]
        alone, worse = coded(clip, 30, gop=1)
        assert len(data) < 0.3 * len(alone)
        assert psnr > worse + 1


def test_scene_cuts_begin_groups(clips: list[Clip]) -> None:
    data, _ = coded(clips[0] + clips[1], 50)
    keys = [unit.key for unit in SequenceReader(io.BytesIO(data)) if isinstance(unit, FrameUnit)]
    assert [number for number, key in enumerate(keys) if key] == [0, FRAMES]


def test_smaller_than_x264(clips: list[Clip]) -> None:
    """x264 at low latency needs more bytes for as much PSNR."""
    for clip in clips:
        data, ours = coded(clip, 50)
        for crf in range(40, 0, -1):
            size, theirs = coded_by_x264(clip, crf)
            if theirs >= ours:
                assert size > len(data)
                break
        else:
            pytest.fail("no rate factor of x264 reaches the PSNR")
