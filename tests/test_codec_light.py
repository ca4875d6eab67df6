"""decode --light: the same streams through the light synthesis, and weights that have none."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import make_picture
from PIL import Image

import nacre
from nacre.cli import main
from nacre.weights.store import LIGHT_SYNTHESIS, SYNTHESIS

onnx = pytest.importorskip("onnx")

QUALITY = 70


@pytest.fixture
def light_weights(tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Makes the tiny model with a light synthesis the installed one: its own synthesis, red brighter by 20."""
    folder = tmp_path / "tiny"
    shutil.copytree(tiny_weights, folder)
    graph = onnx.load(folder / SYNTHESIS)
    bias = next(tensor for tensor in graph.graph.initializer if tensor.name == "synthesis.head.bias")
    values = onnx.numpy_helper.to_array(bias).astype(np.float32)
    values[:64] += 20 / 64  # 64 outputs a colour for the patch of 8 x 8, in units of 64 steps
    precision = onnx.numpy_helper.to_array(bias).dtype
    bias.CopyFrom(onnx.numpy_helper.from_array(values.astype(precision), bias.name))
    data = graph.SerializeToString()
    (folder / LIGHT_SYNTHESIS).write_bytes(data)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][LIGHT_SYNTHESIS] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    manifest["mac_per_pixel"]["light_synthesis"] = 51.5
    (folder / "manifest.json").write_text(json.dumps(manifest))
    monkeypatch.setenv("NACRE_WEIGHTS", str(folder))
    return folder


def test_light_decodes_the_same_stream_by_other_weights(
    tiny_weights: Path, light_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nacre.tiling.ONE_TILE_PIXELS", 4096)
    monkeypatch.setattr("nacre.tiling.TILE_SIZE", 64)
    codec = nacre.ImageCodec(threads=1, weights=tiny_weights)
    data = codec.encode(make_picture(100, 90) // 2 + 40, QUALITY)
    ordinary = codec.decode_array(data)
    light = nacre.decode_array(data, light=True, threads=1)
    np.testing.assert_array_equal(nacre.decode_array(data, threads=1), ordinary)
    np.testing.assert_array_equal(light[..., 1:], ordinary[..., 1:])
    difference = light[..., 0].astype(int) - ordinary[..., 0]
    assert difference.min() >= 19
    assert difference.max() <= 21
    np.testing.assert_array_equal(np.asarray(nacre.decode(data, light=True, threads=1)), light)
    part = nacre.decode_array(data, region=(50, 40, 30, 20), keep_going=True, light=True, threads=1)
    np.testing.assert_array_equal(part, light[40:60, 50:80])


def test_light_on_the_command_line(light_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stream, target = tmp_path / "a.ncr", tmp_path / "a.png"
    stream.write_bytes(nacre.encode(make_picture(40, 50), QUALITY, threads=1))
    assert main(["decode", str(stream), str(target), "--light", "--threads", "1"]) == 0
    with Image.open(target) as image:
        np.testing.assert_array_equal(np.asarray(image), nacre.decode_array(stream, light=True, threads=1))
    capsys.readouterr()
    assert main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.split()[:2] == ["light_synthesis", "51.5"] for line in lines)
    ordinary = json.loads((light_weights / "manifest.json").read_text())["mac_per_pixel"]
    del ordinary["light_synthesis"]
    assert f"  MAC/pixel  {sum(ordinary.values()):.0f}" in lines


@pytest.mark.usefixtures("tiny_weights")
def test_weights_without_a_light_synthesis(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stream, target = tmp_path / "a.ncr", tmp_path / "a.png"
    stream.write_bytes(nacre.encode(make_picture(40, 50), QUALITY, threads=1))
    with pytest.raises(nacre.WeightsError, match=r"have no light synthesis \(synthesis_light\.onnx\)"):
        nacre.decode(stream, light=True, threads=1)
    assert main(["decode", str(stream), str(target), "--light", "--keep-going", "--threads", "1"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "synthesis_light.onnx" in line
    assert not target.exists()
