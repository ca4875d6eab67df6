"""Peers of pictures that are intra frames of video encoders, and the names of all peers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("PIL")

from nacre.bitstream.errors import InputError
from nacre.metrics import psnr
from nacre.scene import draw_scene
from nacre.tools.peers import NAMES, is_name, open_codec

STILLS = ("x264-still", "x264-still:ultrafast", "x265-still:ultrafast", "svtav1-still:10")


def opened(name: str) -> Any:
    try:
        return open_codec(name)
    except InputError as error:
        pytest.skip(str(error))


def scene(height: int, width: int) -> Any:
    return np.ascontiguousarray(draw_scene()[:height, :width])


def test_names() -> None:
    for name in ("jpeg", "avif-fast", "avif-444-fast", "jxl-e1", "jxl-e3", "nacre:fast", "nacre:fast:1", *STILLS):
        assert is_name(name), name
    for name in ("nacre", "nacre:", "jpeg:3", "x264-still:", "x264", "svtav1"):
        assert not is_name(name), name
        with pytest.raises(InputError, match="is unknown, must be one of nacre:PROFILE"):
            open_codec(name)
    assert {"x264-still:PRESET", "jxl-e1", "avif-fast"} <= set(NAMES)


@pytest.mark.parametrize("name", STILLS)
def test_intra_frames_give_back_the_picture(name: str) -> None:
    codec = opened(name)
    picture = scene(128, 192)
    worst, best = (codec.decode(codec.encode(picture, quality)) for quality in codec.bounds)
    assert worst.shape == best.shape == picture.shape
    assert psnr(picture, worst) + 8.0 < psnr(picture, best)
    assert psnr(picture, best) > 36.0  # what 4:2:0 leaves of it


@pytest.mark.parametrize("sides", [(65, 96), (64, 97), (71, 83)])
@pytest.mark.parametrize("name", ["x264-still:ultrafast", "x265-still:ultrafast", "svtav1-still:10"])
def test_odd_sides(name: str, sides: tuple[int, int]) -> None:
    codec = opened(name)
    picture = scene(*sides)
    decoded = codec.decode(codec.encode(picture, codec.qualities[-1]))
    assert decoded.shape == picture.shape
    assert psnr(picture, decoded) > 28.0


@pytest.mark.parametrize("name", ["x264-still:ultrafast", "x265-still:ultrafast"])
def test_files_hold_no_message_of_options(name: str) -> None:
    data = opened(name).encode(scene(64, 96), 20.0)
    assert b"options" not in data
    assert b"x26" not in data


def test_other_sides_than_said_are_refused() -> None:
    codec = opened("x264-still:ultrafast")
    data = codec.encode(scene(64, 96), 20.0)
    with pytest.raises(InputError, match="must be one intra frame for 80 x 64"):
        codec.decode((80).to_bytes(2, "little") + data[2:])
    with pytest.raises(InputError, match="x264-still:ultrafast: "):
        codec.decode(data[: len(data) // 20])


def test_presets_are_checked() -> None:
    for name in ("x264-still:quick", "svtav1-still:fast", "svtav1-still:14"):
        family, _, preset = name.partition(":")
        opened(family)
        with pytest.raises(InputError, match=f"^{family}: preset is '{preset}', must be one of "):
            open_codec(name)


def test_settings_tell_presets_and_efforts_apart() -> None:
    assert opened("x264-still:fast").settings != opened("x264-still").settings
    assert [opened(name).settings["effort"] for name in ("jxl-e1", "jxl-e3", "jxl")] == [1, 3, 7]
    assert opened("avif-fast").settings["speed"] == 10
