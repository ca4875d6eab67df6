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
from nacre.metrics import psnr
from nacre.weights.store import FIRST_CONTEXT, LIGHT_SYNTHESIS, NEXT_CONTEXT

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("compressai")
onnxruntime = pytest.importorskip("onnxruntime")

from nacre.models.quantized import export_linear_synthesis, fit_synthesis  # noqa: E402
from nacre.tools.export import EncoderChoice, export_fastest  # noqa: E402
from nacre.tools.tiny_model import build, smooth_noise  # noqa: E402

QUALITY = 70


@pytest.fixture(scope="module")
def graphs() -> dict[str, bytes]:
    """The light synthesis of the tiny model, and what goes before it."""
    torch.set_num_threads(1)
    torch.manual_seed(5)
    model, crops = build().eval(), (smooth_noise(8, 128) * 255).round().to(torch.uint8)
    choice = EncoderChoice(torch.full((64,), 0.5), 4)
    return {name: graph.SerializeToString() for name, graph in export_fastest(model, crops, choice).items()}


@pytest.fixture
def light_weights(
    tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, graphs: dict[str, bytes]
) -> Path:
    """Makes the tiny model with a light synthesis the installed one."""
    folder = tmp_path / "tiny"
    shutil.copytree(tiny_weights, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    for name in (LIGHT_SYNTHESIS, FIRST_CONTEXT, NEXT_CONTEXT):
        (folder / name).write_bytes(graphs[name])
        manifest["files"][name] = {"sha256": hashlib.sha256(graphs[name]).hexdigest(), "bytes": len(graphs[name])}
    manifest["mac_per_pixel"]["light_synthesis"] = 51.5
    (folder / "manifest.json").write_text(json.dumps(manifest))
    monkeypatch.setenv("NACRE_WEIGHTS", str(folder))
    return folder


@pytest.mark.parametrize("compiled", [False, True])
def test_light_decodes_the_same_stream_otherwise(
    tiny_weights: Path, light_weights: Path, monkeypatch: pytest.MonkeyPatch, compiled: bool
) -> None:
    monkeypatch.setattr("nacre.tiling.ONE_TILE_PIXELS", 4096)
    monkeypatch.setattr("nacre.tiling.TILE_SIZE", 64)
    monkeypatch.setattr("nacre.loops.compiling_pays", lambda: compiled)
    codec = nacre.ImageCodec(threads=1, weights=tiny_weights)
    picture = make_picture(100, 90) // 2 + 40
    data = codec.encode(picture, QUALITY)
    ordinary = codec.decode_array(data)
    light = nacre.decode_array(data, light=True, threads=1)
    np.testing.assert_array_equal(nacre.decode_array(data, threads=1), ordinary)
    assert not np.array_equal(light, ordinary)
    assert psnr(light, ordinary) > 22  # the tiny model's own loss is larger
    assert psnr(picture, light) > psnr(picture, ordinary) - 3
    np.testing.assert_array_equal(np.asarray(nacre.decode(data, light=True, threads=1)), light)
    part = nacre.decode_array(data, region=(50, 40, 30, 20), keep_going=True, light=True, threads=1)
    np.testing.assert_array_equal(part, light[40:60, 50:80])


def test_the_light_synthesis_is_the_fitted_transform(graphs: dict[str, bytes]) -> None:
    torch.manual_seed(7)
    model, crops = build().eval(), (smooth_noise(8, 128) * 255).round().to(torch.uint8)
    linear = fit_synthesis(model, crops, torch.full((64,), 0.5), 4)
    session = onnxruntime.InferenceSession(
        export_linear_synthesis(model.synthesis, linear).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    for place in (0.2, 0.6, 1.0):
        gain = model.synthesis.gain(torch.tensor([place])).flatten().detach().numpy()
        y_hat = (linear.seen[::7] / gain).astype(np.float32)
        (patches,) = session.run(["patches"], {"y_hat": y_hat, "position": np.array([place], np.float32)})
        exact = np.clip((y_hat * gain) @ linear.weight.T + linear.bias, 0, 255)
        assert np.sqrt(np.mean(np.square(patches - exact))) < 1.5


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
