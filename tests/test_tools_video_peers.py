"""Video codecs: what their names stand for, the conditions they code under, decodes verified."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from clips import make_clip

pytest.importorskip("scipy")

from nacre.bitstream.errors import InputError
from nacre.bitstream.sequence import is_sequence
from nacre.tools import video_peers
from nacre.tools.clip_metrics import plane_psnrs
from nacre.tools.ffmpeg import without_option_message
from nacre.tools.peers import check_qualities
from nacre.tools.video_peers import CodedClip, FFmpegCodec, open_video_codec, variants

TINY = str(Path(__file__).parent / "data")
GOP = 3
ENCODERS = ("x264-stock", "x264-psnr", "x265-stock", "x265-psnr", "svtav1", "aom", "vp9")


def _scheduling() -> set[int]:
    """The policies of this process's threads."""
    if not hasattr(os, "sched_getscheduler"):
        return set()
    return {os.sched_getscheduler(int(thread)) for thread in os.listdir("/proc/self/task")}


def opened(name: str) -> Any:
    try:
        return open_video_codec(name, GOP, weights=TINY)
    except InputError as error:
        pytest.skip(str(error))


def test_names_and_what_they_stand_for() -> None:
    assert variants("x264") == ("x264-stock", "x264-psnr")
    assert variants("x265:slow") == ("x265-stock:slow", "x265-psnr:slow")
    assert variants("x264-psnr:fast") == ("x264-psnr:fast",)
    assert variants("vp9") == ("vp9",)
    assert variants("nacre:fast") == ("nacre:fast",)
    assert variants("nacre:fast-intra") == ("nacre:fast-intra",)
    assert variants("jpeg") == ("jpeg-intra",)
    for unknown in ("h263", "nacre", "x264-other"):
        with pytest.raises(InputError, match="is unknown, must be one of x264, x265"):
            variants(unknown)


@pytest.mark.parametrize("name", [*ENCODERS, "nacre:tiny", "nacre:tiny-intra", "jpeg-intra"])
def test_every_codec_gives_back_the_clip(name: str) -> None:
    codec = opened(name)
    clip = make_clip(frames=GOP + 2)
    scheduling = _scheduling()  # which SVT-AV1 changes where root runs it
    coded = [codec.encode(clip, codec.qualities[place]) for place in (1, -2)]
    assert all(len(stream.packets) == len(clip.frames) for stream in coded)
    assert len(coded[0]) < len(coded[1])
    decoded = [codec.decode(stream) for stream in coded]
    assert all(frames.shape == clip.frames.shape and frames.dtype == np.uint8 for frames in decoded)
    assert plane_psnrs(clip.frames, decoded[0])[:, 0].mean() < plane_psnrs(clip.frames, decoded[1])[:, 0].mean()
    assert np.array_equal(codec.decode(coded[1]), decoded[1])
    assert codec.threads == 1
    assert _scheduling() == scheduling
    if name in ENCODERS:  # P frames are smaller than the I frames before them
        sizes = [len(packet) for packet in coded[0].packets]
        assert max(sizes[1:GOP]) < sizes[0]
        assert sizes[GOP] > max(sizes[1:GOP])


def options_written(library: str, options: dict[str, str]) -> str:
    """What x264 or x265 writes down of its options in its stream."""
    clip = make_clip(frames=1)
    context: Any = av.CodecContext.create(library, "w")
    context.width, context.height, context.pix_fmt, context.time_base = (
        clip.width,
        clip.height,
        "yuv420p",
        1 / clip.rate,
    )
    context.options = {**options, "crf": "30"}
    frame = av.VideoFrame.from_ndarray(clip.frames[0], "yuv420p")
    packets = [*context.encode(frame), *context.encode(None)]
    data = b"".join(bytes(packet) for packet in packets)
    found = re.search(rb"options: ([^\x00]*)", data)
    assert found is not None
    assert len(without_option_message(data, library)) < len(data) - len(found[1])
    return " " + found[1].decode("ascii", "replace") + " "


def test_x264_codes_under_equal_conditions() -> None:
    opened("x264-stock")
    fixed = ["keyint=3", "scenecut=0", "bframes=0", "threads=1", "lookahead_threads=1", "mbtree=0"]
    stock, psnr = (options_written("libx264", video_peers._x264("medium", GOP, stock=stock)) for stock in (True, False))
    for written in (stock, psnr):
        assert [option for option in fixed if f" {option} " not in written] == []
    assert " aq=1:1.00 " in stock
    assert " psy=1 " in stock
    assert " aq=0 " in psnr
    assert " psy=0 " in psnr


def test_x265_codes_under_equal_conditions() -> None:
    opened("x265-stock")
    fixed = [
        "keyint=3",
        "min-keyint=3",
        "scenecut=0",
        "bframes=0",
        "frame-threads=1",
        "no-wpp",
        "rc-lookahead=0",
        "no-open-gop",
    ]

    def written(stock: bool) -> str:
        options = video_peers._x265("medium", GOP, stock=stock)
        return options_written("libx265", {**options, "x265-params": options["x265-params"].replace(":info=0", "")})

    stock, psnr = written(True), written(False)
    for text in (stock, psnr):
        assert [option for option in fixed if f" {option} " not in text] == []
    assert " aq-mode=2 " in stock or " aq-mode=1 " in stock
    assert " aq-mode=0 " in psnr
    assert " psy-rd=0.00 " in psnr
    assert " psy-rdoq=0.00 " in psnr


@pytest.mark.parametrize("name", [name for name in ENCODERS if not name.endswith("-psnr")])
def test_bounds_of_the_quality_are_those_of_the_encoder(name: str) -> None:
    """At both ends the encoder does what it is asked for: its neighbours inside give other bytes."""
    codec = opened(name)
    check_qualities(name, (*codec.qualities, *codec.bounds), codec.bounds, codec.step)
    clip = make_clip(frames=2)
    low, high = codec.bounds
    finest, fine, coarse, coarsest = (len(codec.encode(clip, quality)) for quality in (low, low + 8, high - 8, high))
    assert finest > fine > coarse > coarsest


@pytest.mark.parametrize("name", ["x264-stock", "x265-stock"])
def test_streams_hold_no_options(name: str) -> None:
    codec = opened(name)
    (packet,) = codec.encode(make_clip(frames=1), 30.0).packets
    assert b"options:" not in packet
    assert packet.startswith(b"\x00\x00\x00\x01")


def test_option_messages_are_taken_out_whole() -> None:
    head, message, slice_ = b"\0\0\0\1\x67abc", b"\0\0\1\x06\x05\x09options", b"\0\0\1\x65xyz"
    other = b"\0\0\1\x06\x01\x02it"  # a picture timing message stays
    assert without_option_message(head + message + other + slice_, "libx264") == head + other + slice_
    h265 = b"\0\0\0\1\x40\x01v", b"\0\0\1\x4e\x01\x05\x03opt", b"\0\0\1\x26\x01s"
    assert without_option_message(b"".join(h265), "libx265") == h265[0] + h265[2]


def test_a_stream_that_is_not_what_the_settings_ask_for() -> None:
    codec = opened("x264-psnr")
    clip = make_clip(frames=4)
    coded = codec.encode(clip, 30.0)
    with pytest.raises(InputError, match="kinds IPPI, must be IIII"):
        FFmpegCodec("x264-psnr", 1).decode(coded)
    short = CodedClip(coded.packets[:2], coded.matrix, coded.full_range)
    assert len(codec.decode(short)) == 2
    damaged = CodedClip((coded.packets[0][:40], *coded.packets[1:]), coded.matrix, coded.full_range)
    with pytest.raises((InputError, av.FFmpegError)):
        codec.decode(damaged)


def test_what_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video_peers, "has_codec", lambda codec, mode: False)
    with pytest.raises(InputError, match="has no encoder libx264"):
        open_video_codec("x264-stock", GOP)
    monkeypatch.setattr(video_peers, "has_codec", lambda codec, mode: mode == "w")
    with pytest.raises(InputError, match="none of the decoders libdav1d, libaom-av1"):
        open_video_codec("svtav1", GOP)


def test_every_byte_of_a_nacre_stream_counts_and_is_decoded() -> None:
    pytest.importorskip("numba")
    codec, clip = opened("nacre:tiny"), make_clip(frames=GOP + 2)
    coded = codec.encode(clip, 50.0)
    assert is_sequence(b"".join(coded.packets))
    assert coded.packets[-1].endswith(bytes.fromhex("0f00300e41c6"))
    with pytest.raises(InputError, match="other kinds than a GOP of 4"):
        open_video_codec("nacre:tiny", GOP + 1, weights=TINY).decode(coded)


def test_intra_codecs_say_so() -> None:
    codec = opened("nacre:tiny-intra")
    assert codec.name == "nacre:tiny-intra"
    assert codec.settings["frames"] == "each a picture of its own (intra only)"
    assert codec.qualities == (0.0, 20.0, 40.0, 60.0, 80.0, 100.0)
