"""The demo, its scene, and the metric that it prints."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from conftest import make_picture
from PIL import Image

import nacre
from nacre.demo import lowest_quality, run_demo
from nacre.metrics import psnr
from nacre.scene import draw_scene


def test_scene_is_the_same_every_time_and_has_detail() -> None:
    scene = draw_scene()
    assert scene.shape == (512, 768, 3)
    assert scene.dtype == np.uint8
    np.testing.assert_array_equal(scene, draw_scene())
    assert scene.std() > 40


def test_demo_of_a_picture(tiny_folder: Path, tmp_path: Path) -> None:
    picture = tmp_path / "in.png"
    pixels = make_picture(48, 64)
    Image.fromarray(pixels).save(picture)
    out = tmp_path / "deep" / "folder"
    codec = nacre.ImageCodec(weights=tiny_folder, threads=1)
    table = run_demo(codec, str(picture), out, 60.0)
    assert sorted(path.name for path in out.iterdir()) == ["decoded.png", "original.png", "picture.ncr"]
    np.testing.assert_array_equal(np.asarray(Image.open(out / "original.png")), pixels)
    np.testing.assert_array_equal(np.asarray(Image.open(out / "decoded.png")), codec.decode_array(out / "picture.ncr"))
    rows = [line.split() for line in table.splitlines()]
    ours, jpeg = (next(row for row in rows if row and row[0] == name) for name in ("nacre", "JPEG"))
    assert int(ours[2]) == (out / "picture.ncr").stat().st_size
    assert float(jpeg[5]) >= float(ours[5])


def test_demo_into_a_file(tiny_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(nacre.InputError, match="cannot be made a folder"):
        run_demo(nacre.ImageCodec(weights=tiny_folder), None, tmp_path / "file" / "out", 60.0)


def test_lowest_quality() -> None:
    for answer in range(101):
        assert lowest_quality(lambda quality, answer=answer: quality >= answer) == answer  # type: ignore[misc]
    assert lowest_quality(lambda quality: False) is None


def test_psnr() -> None:
    black, other = np.zeros((4, 4), np.uint8), np.full((4, 4), 255, np.uint8)
    assert psnr(black, other) == 0.0
    assert psnr(black, black) == math.inf
    assert psnr(black, black + np.uint8(1)) == pytest.approx(20 * math.log10(255))
