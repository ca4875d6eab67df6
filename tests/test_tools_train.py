"""Trainer, optimizer, data and export: from pictures to weights, on small things."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")
pytest.importorskip("compressai")

from nacre.entropy.scales import LOG_SCALE_MIN, LOG_SCALE_STEP  # noqa: E402
from nacre.models import ImageModel  # noqa: E402
from nacre.models.conditional import SymbolConditional  # noqa: E402
from nacre.models.tables import symbol_tables  # noqa: E402
from nacre.tools import export, leg, train  # noqa: E402
from nacre.tools.data import CropSampler, load_pictures  # noqa: E402
from nacre.tools.rounding_offsets import rounding_offsets  # noqa: E402
from nacre.tools.soap import Soap  # noqa: E402
from nacre.tools.tiny_model import build, smooth_noise  # noqa: E402


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shard with a manifest: 6 training pictures of which 2 may not ship, 2 validation pictures."""
    folder = tmp_path_factory.mktemp("shards")
    torch.manual_seed(0)
    pictures = (smooth_noise(8, 384) * 255).byte().permute(0, 2, 3, 1).numpy()
    names = ["00000.jpg", "00001.jpg", "00002.jpg", "00003.jpg", "00004.jpg", "00005.jpg", "00946.jpg", "00995.jpg"]
    with tarfile.open(folder / "train-000.tar", "w") as archive:
        for name, picture in zip(names, pictures, strict=True):
            buffer = io.BytesIO()
            Image.fromarray(picture).save(buffer, "JPEG", quality=95)
            member = tarfile.TarInfo(name)
            member.size = buffer.tell()
            buffer.seek(0)
            archive.addfile(member, buffer)
    with (folder / "manifest.csv").open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["file", "ship"])
        writer.writerows([name, "0" if name in ("00002.jpg", "00995.jpg") else "1"] for name in names)
    return folder


def test_shards_keep_what_may_not_ship_out(shards: Path) -> None:
    training, validation = load_pictures(shards, minimum=256)
    assert (len(training), len(validation)) == (5, 2)
    assert len(load_pictures(shards, minimum=256, limit=2)[0]) == 2
    with pytest.raises(ValueError, match="0 training and 0 validation"):
        load_pictures(shards, minimum=1000)


def test_folder_of_pictures(tmp_path: Path) -> None:
    for number in range(3):
        Image.new("RGB", (70, 80), (number, 0, 0)).save(tmp_path / f"{number}.png")
    training, validation = load_pictures(tmp_path, minimum=64)
    assert (len(training), len(validation)) == (2, 1)
    assert training[0].shape == (80, 70, 3)


def test_crops_are_seeded_and_inside(shards: Path) -> None:
    training, _ = load_pictures(shards, minimum=256)
    first, second = (CropSampler(training, 128, 7).batch(4) for _ in range(2))
    assert first.shape == (4, 3, 128, 128)
    assert np.array_equal(first, second)
    assert not np.array_equal(first, CropSampler(training, 128, 8).batch(4))


def test_soap_beats_adam_on_an_ill_conditioned_problem() -> None:
    torch.manual_seed(0)
    basis, _ = torch.linalg.qr(torch.randn(24, 24))
    inputs = torch.randn(512, 24) @ torch.diag(torch.logspace(0, -2, 24)) @ basis
    mixing, _ = torch.linalg.qr(torch.randn(16, 16))
    target = inputs @ torch.randn(24, 16) @ torch.diag(torch.logspace(0, -1, 16)) @ mixing

    def final(kind: str, rate: float) -> float:
        torch.manual_seed(1)
        weight = torch.nn.Parameter(torch.zeros(16, 24, 1, 1))
        optimizer = Soap([weight], rate) if kind == "soap" else torch.optim.Adam([weight], rate, (0.95, 0.95))
        for step in range(300):
            for group in optimizer.param_groups:
                group["lr"] = rate * (1 - step / 300)
            chosen = torch.randint(0, 512, (64,))
            optimizer.zero_grad()
            (inputs[chosen] @ weight.flatten(1).T - target[chosen]).square().mean().backward()
            optimizer.step()
        return float((inputs @ weight.flatten(1).T - target).square().mean())

    best = {kind: min(final(kind, rate) for rate in (0.03, 0.1, 0.3)) for kind in ("soap", "adam")}
    assert best["soap"] < 0.2 * best["adam"]


@pytest.fixture
def tiny_config(monkeypatch: pytest.MonkeyPatch) -> None:
    from nacre.tools.tiny_model import CONFIG

    monkeypatch.setattr(train, "ImageConfig", lambda **_: CONFIG)
    train.ImageConfig.from_dict = type(CONFIG).from_dict  # type: ignore[attr-defined]


def _arguments(shards: Path, out: Path, *more: str) -> list[str]:
    return ["--data", str(shards), "--out", str(out), "--batch", "2", "--crop", "128", "--threads", "1", *more]


@pytest.mark.usefixtures("tiny_config")
def test_training_saves_resumes_and_exports(
    shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leg, "WARM_UP_STEPS", 5)
    monkeypatch.setattr(leg, "MAX_STEP_SECONDS", 0.2)  # a loaded machine still makes some steps
    out = tmp_path / "run"
    assert train.main(_arguments(shards, out, "--minutes", "0.04", "--conditional", "mixture")) == 0
    state = torch.load(out / "state.pt")
    steps = state["step"]
    assert steps > 2
    assert state["elapsed"] >= 0.04 * 60
    # the same command with more minutes goes on
    assert train.main(_arguments(shards, out, "--minutes", "0.08")) == 0
    state = torch.load(out / "state.pt")
    assert state["step"] > steps
    with (out / "log.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == 2
    assert float(rows[1]["J"]) > 0
    # a new leg starts from the averages with a fresh optimizer, here training one part alone
    second = tmp_path / "second"
    assert train.main(_arguments(shards, second, "--minutes", "0.02", "--start", str(out), "--only", "synthesis")) == 0
    parameters = torch.load(second / "state.pt")["model"]
    assert torch.equal(parameters["analysis.embed.weight"], state["average"]["analysis.embed.weight"])
    assert not torch.equal(parameters["synthesis.head.weight"], state["average"]["synthesis.head.weight"])
    # what versions before have written: a trained light synthesis, which is none of the networks any more
    state["config"] |= {"light_blocks": 2, "light_hidden": 8}
    state["average"]["light_synthesis.head.bias"] = torch.zeros(3)
    torch.save(state, out / "state.pt")
    capsys.readouterr()
    folder = tmp_path / "weights"
    assert export.main([str(out), str(folder), "--data", str(shards), "--threads", "1", "--note", "test"]) == 0
    printed = capsys.readouterr().out
    assert "J as shipped" in printed
    assert "J with the light synthesis" in printed
    assert (folder / "synthesis_light.onnx").exists()
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["training"]["note"] == "test"
    assert manifest["live_channels"] == sorted(manifest["live_channels"])
    # and published weights can be trained on
    again = tmp_path / "again"
    assert train.main(_arguments(shards, again, "--minutes", "0.01", "--start", str(folder))) == 0


def test_training_refuses_what_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train.main(_arguments(tmp_path, tmp_path / "run", "--minutes", "1")) == 1
    assert "0 training" in capsys.readouterr().err


def test_measure_sees_rate_and_distortion() -> None:
    torch.set_num_threads(1)
    model: ImageModel = build()
    torch.manual_seed(0)
    result = train.measure(model, (smooth_noise(2, 128) * 255).byte())
    assert result.rates == sorted(result.rates)
    assert result.psnrs == sorted(result.psnrs)
    assert model.training
    expected = np.mean(
        [
            rate / lmbda**0.5 + lmbda**0.5 * 255**2 * 10 ** (-psnr / 10)
            for rate, psnr, lmbda in zip(result.rates, result.psnrs, train.MEASURE_LAMBDAS, strict=True)
        ]
    )
    assert result.cost == pytest.approx(expected, rel=1e-6)


def test_rounding_is_chosen_by_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build()
    wanted = rounding_offsets(symbol_tables(model.conditional), 0.2)

    def fake(_model: ImageModel, _crops: torch.Tensor, offsets: torch.Tensor, threshold: int) -> train.Measure:
        return train.Measure(float((offsets - wanted).abs().sum()) + abs(threshold - 8), [], [])

    monkeypatch.setattr(export, "measure", fake)
    lines: list[str] = []
    choice = export.choose_rounding(model, torch.zeros(1), lines.append)
    assert torch.equal(choice.offsets, wanted)
    assert choice.skip_threshold == 8
    assert len(lines) == len(export.CANDIDATE_STRENGTHS) + len(export.CANDIDATE_THRESHOLDS)


def test_rounding_offsets_widen_the_zone_of_unlikely_symbols() -> None:
    offsets = rounding_offsets(symbol_tables(SymbolConditional("gaussian")), 1.0)
    assert offsets.shape == (64,)
    assert float(offsets[0]) == pytest.approx(0.01)
    assert float(offsets[-1]) == pytest.approx(0.5, abs=0.01)
    # sigma about 0.5: P(0) = 0.683, P(1) = 0.157, 2.12 bits apart
    level = round((np.log(0.5) - LOG_SCALE_MIN) / LOG_SCALE_STEP)
    sigma = np.exp(LOG_SCALE_MIN + LOG_SCALE_STEP * level)
    p = torch.special.ndtr(torch.tensor([0.5, 1.5]) / sigma)
    bits = np.log2(float(2 * p[0] - 1) / float(p[1] - p[0]))
    assert float(offsets[level]) == pytest.approx(0.5 - 3 * bits / 52, abs=1e-3)
