"""`nacre bench` on a few small frames."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from nacre.bitstream.errors import InputError
from nacre.image import ImageCodec
from nacre.tools import bench

TINY = str(Path(__file__).parent / "data" / "tiny")


def test_the_mosaic_moves_and_never_repeats() -> None:
    tiles = [np.random.default_rng(seed).integers(0, 255, (20 + seed, 30, 3), np.uint8) for seed in range(3)]
    frames = list(bench.mosaic(tiles, 64, 48, 5))
    assert {frame.shape for frame in frames} == {(48, 64, 3)}
    assert len({frame.tobytes() for frame in frames}) == 5
    assert np.array_equal(frames[1][:-2, :-3], frames[0][2:, 3:])


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_result_adds_up(jobs: int) -> None:
    codec = ImageCodec("tiny", 1, TINY)
    tiles = [np.random.default_rng(1).integers(0, 255, (64, 64, 3), np.uint8)]
    result = bench.bench(codec, lambda: bench.mosaic(tiles, 96, 64, 2), jobs=jobs, effort=1)
    assert result["frames"] == 2
    for direction in ("encode", "decode"):
        whole = result[direction]
        assert whole["mpx_per_s"] == pytest.approx(whole["fps"] * 96 * 64 / 1e6)
        # a thread's stages never take longer than all of the work
        assert 0.0 < sum(1.0 / stage["fps"] for stage in whole["stages"].values()) <= 1.0 / whole["fps"]
    with pytest.raises(InputError, match="no frames"):
        bench.bench(codec, list)


def test_time_goes_on_over_the_same_frames() -> None:
    codec = ImageCodec("tiny", 1, TINY)
    tiles = [np.random.default_rng(1).integers(0, 255, (64, 64, 3), np.uint8)]
    once = bench.bench(codec, lambda: bench.mosaic(tiles, 64, 64, 3))
    longer = bench.bench(codec, lambda: bench.mosaic(tiles, 64, 64, 3), seconds=4 / once["encode"]["fps"])
    assert longer["frames"] >= 3
    assert longer["frames"] % 3 == 0
    assert longer["frames"] / longer["encode"]["fps"] >= 4 / once["encode"]["fps"]
    assert longer["bpp"] == pytest.approx(once["bpp"])


def test_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    monkeypatch.setattr(bench, "FRAMES", 2)
    arguments = ["--profile", "tiny", "--weights", TINY, "--size", "80x64", "--threads", "1"]
    assert bench.main([*arguments, "--json", "--jobs", "2", "--bpp", "0.7"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert {"encode", "decode", "bpp", "psnr", "threads", "jobs", "cpu", "kmac_per_pixel", "peak_memory"} <= set(result)
    assert bench.main(arguments) == 0
    assert "frames/s" in capsys.readouterr().out
    with pytest.raises(InputError, match="does not exist"):
        bench.main([*arguments, "--content", str(tmp_path / "none")])
    (tmp_path / "broken.mkv").write_bytes(b"no clip")
    with pytest.raises(InputError, match="cannot be read as a clip"):
        bench.main([*arguments, "--content", str(tmp_path / "broken.mkv")])
    with pytest.raises(SystemExit):
        bench.main([*arguments, "--size", "0x10"])


def test_clips(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("numba")
    monkeypatch.setattr(bench, "FRAMES", 3)
    folder = str(Path(TINY).parent)
    arguments = ["--profile", "tiny", "--weights", folder, "--size", "80x64", "--threads", "1", "--video", "50"]
    assert bench.main([*arguments, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["frames"] == 3
    assert result["psnr"] > 20
    assert {"motion", "synthesis", "coder"} <= set(result["decode"]["stages"])
    assert "P condition" in result["kmac_per_pixel"]
    stages = result["encode"]["stages"].values()
    assert sum(1 / stage["fps"] for stage in stages) == pytest.approx(1 / result["encode"]["fps"], rel=0.2)
    with pytest.raises(InputError, match="must have even sides"):
        bench.main([*arguments[:4], "--size", "81x64", "--video", "50"])


def test_the_quality_for_a_rate() -> None:
    codec = ImageCodec("tiny", 1, TINY)
    frame = np.random.default_rng(1).integers(0, 255, (64, 64, 3), np.uint8)
    frames = [frame, frame[::-1] // 4]
    quality = bench.quality_for(codec, frames, 0.5)
    tried = (quality, min(quality + 1.0, 100.0))
    sizes = [8 * sum(len(codec.encode(f, q)) for f in frames) / (2 * frame[..., 0].size) for q in tried]
    assert quality in (0.0, 100.0) or sizes[0] <= 0.5 < sizes[1]


def test_a_short_clip_is_shown_to_and_fro() -> None:
    frames = np.arange(4, dtype=np.uint8)[:, None, None]
    assert bench.to_and_fro(frames, 9).ravel().tolist() == [0, 1, 2, 3, 2, 1, 0, 1, 2]
    assert bench.to_and_fro(frames, 3).ravel().tolist() == [0, 1, 2, 3]
    assert bench.to_and_fro(frames[:1], 3).ravel().tolist() == [0, 0, 0]
