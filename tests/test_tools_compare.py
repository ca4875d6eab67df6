"""`nacre compare` on two pictures and on two clips."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from clips import make_clip, write_clip
from PIL import Image

pytest.importorskip("scipy")

from nacre.bitstream.errors import InputError
from nacre.tools.compare import main


@pytest.fixture
def pair(tmp_path: Path) -> tuple[str, str]:
    """A picture of noise and the same with a step of one level more, 40 pixels wide, 24 high."""
    clean = np.random.default_rng(3).integers(0, 255, (24, 40, 3), np.uint8)
    paths = (tmp_path / "a.png", tmp_path / "b.png")
    for path, pixels in zip(paths, (clean, clean + 1), strict=True):
        Image.fromarray(pixels).save(path)
    return str(paths[0]), str(paths[1])


def test_values_as_json(pair: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*pair, "--metrics", "psnr,ssim", "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["psnr"] == pytest.approx(48.1308, abs=1e-4)
    assert 0.99 < values["ssim"] < 1.0
    assert main([pair[0], pair[0], "--metrics", "psnr", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"psnr": None}


def test_a_table_of_what_can_be_taken(pair: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(list(pair)) == 0
    printed = capsys.readouterr()
    assert "PSNR (RGB), dB" in printed.out
    assert "skipped: ms-ssim: 40x24, must be at least 161 pixels" in printed.err
    assert main([*pair, "--metrics", "ms-ssim"]) == 3


def test_what_cannot_be_compared(pair: tuple[str, str], tmp_path: Path) -> None:
    Image.new("RGB", (24, 40)).save(tmp_path / "turned.png")
    with pytest.raises(InputError, match="A is a picture of 40x24, B is a picture of 24x40, must be alike"):
        main([pair[0], str(tmp_path / "turned.png")])
    with pytest.raises(InputError, match="cannot be read"):
        main([pair[0], str(tmp_path / "none.png")])
    with pytest.raises(SystemExit):
        main([*pair, "--metrics", "beauty"])


def test_two_clips(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frames = make_clip(frames=3).frames
    worse = frames.copy()
    worse[1, 0, 0] ^= 8
    clips = [str(write_clip(tmp_path / name, samples)) for name, samples in (("a.mkv", frames), ("b.mkv", worse))]
    assert main([*clips, "--metrics", "psnr-yuv,ssim", "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    error = 10 * np.log10(255**2 * 96 * 80 / 64)
    assert values["psnr-yuv"] == pytest.approx((200 + (6 * error + 200) / 8) / 3)
    assert 0.99 < values["ssim"] < 1.0
    assert main([*clips, "--metrics", "psnr-yuv", "--frames", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"psnr-yuv": 100.0}
    short = str(write_clip(tmp_path / "short.mkv", frames[:2]))
    with pytest.raises(InputError, match="A is a clip of 3 frames of 96x80, bt601, limited range, B is a clip of 2"):
        main([clips[0], short])
    Image.new("RGB", (96, 80)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="pictures and clips are measured apart"):
        main([clips[0], str(tmp_path / "a.png")])
