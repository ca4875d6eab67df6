"""The tool that compares environments: it counts what it says it ran, and it sees a difference where there is one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import TINY
from golden import GOLDEN
from PIL import Image

from nacre.bitstream import InputError
from nacre.entropy.network import Executor, IndexArray, PriorArray
from nacre.entropy.tables import IntArray
from nacre.tools import environments, exactness

Capture = pytest.CaptureFixture[str]
SIZES = [(17, 33), (70, 40)]
QUALITIES = [10, 90]
STREAMS = len(SIZES) * 3 * len(QUALITIES)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures and cases, as the tool makes them where scikit-image is installed."""
    (tmp_path / "pictures").mkdir()
    names = [f"{content}-{width}x{height}" for width, height in SIZES for content in ("noise", "flat", "text")]
    for name, (width, height) in zip(names, [size for size in SIZES for _ in range(3)], strict=True):
        picture = exactness.make_content(name.partition("-")[0], width, height)
        Image.fromarray(picture).save(tmp_path / "pictures" / f"{name}.png")
    cases = [{"picture": name, "qualities": QUALITIES} for name in names]
    (tmp_path / "cases.json").write_text(json.dumps(cases))
    return tmp_path


def step(kind: str, folder: Path, *names: str, golden: bool = False) -> int:
    arguments = [kind, str(folder), "--weights", str(TINY)]
    for name in names:
        arguments += ["--environment", name]
    return exactness.main([*arguments, *(["--golden", str(GOLDEN)] if golden else [])])


def test_rows(folder: Path, capsys: Capture) -> None:
    assert step("make", folder, "onnxruntime-1-all", "onnxruntime-2-off", "numpy-python") == 0
    assert step("read", folder, "onnxruntime-1-all", "onnxruntime-2-basic", "numpy-python", golden=True) == 0
    capsys.readouterr()
    assert exactness.main(["table", str(folder)]) == 0
    assert "| native:numpy-python |" in capsys.readouterr().out
    read = {outcome.report["environment"]: outcome for outcome in exactness.outcomes(folder)}
    assert read.keys() == {"onnxruntime-1-all", "onnxruntime-2-basic", "numpy-python"}
    golden = len(list(GOLDEN.glob("*.ncr")))
    for name, outcome in read.items():
        calls = outcome.report["calls"]
        executor = environments.ENVIRONMENTS[name].scale
        assert calls[f"{executor}:scale"] == outcome.report["tiles"] > golden
        assert not [call for call in calls if call.endswith(":scale") and not call.startswith(executor)]
        assert outcome.report["known_answers"] == {"tiny": True}
        assert outcome.streams >= STREAMS // 2 + golden  # streams that are alike are read once
        assert outcome.compared >= STREAMS // 2 + golden
        assert (outcome.mismatches, outcome.outside) == (0, 0)
    made = json.loads((folder / "made" / "native--numpy-python.json").read_text())
    assert len(made["streams"]) == made["calls"]["numpy:scale"] == made["calls"]["python:encode"] == STREAMS


@pytest.mark.slow
def test_pytorch(folder: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("onnx")
    pytest.importorskip("compressai")
    assert step("make", folder, "onnxruntime-1-all", "pytorch") == 0
    assert step("read", folder, "onnxruntime-1-all", "pytorch") == 0
    (outcome,) = [outcome for outcome in exactness.outcomes(folder) if outcome.report["environment"] == "pytorch"]
    calls = outcome.report["calls"]
    assert calls["pytorch:scale"] == calls["pytorch:context"] + outcome.streams - outcome.compared == outcome.streams
    assert "onnxruntime:scale" not in calls
    assert (outcome.mismatches, outcome.outside) == (0, 0)


def wrong_by_one(executor: Executor) -> Executor:
    """An executor that gives another index in one place, where there is something to tell it by."""

    def run(z: IntArray, row: int, before: PriorArray | None = None) -> IndexArray:
        index = executor(z, row, before).copy()
        index[0, 0, 0] = (index[0, 0, 0] + 9) % 64
        return index

    return run


def test_other_integers_are_seen(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    assert step("make", folder, "onnxruntime-1-all") == 0
    assert step("read", folder, "onnxruntime-1-all") == 0
    made: Callable[..., Executor] = environments._scale
    monkeypatch.setattr(environments, "_scale", lambda *arguments: wrong_by_one(made(*arguments)))
    assert step("read", folder, "onnxruntime-2-all") == 0
    outcome = exactness.outcomes(folder)[1]
    assert outcome.mismatches == outcome.streams > 0
    assert exactness.main(["table", str(folder)]) == 1


def test_an_executor_that_does_not_run_is_no_row(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments.Record, "count", lambda self, name: None)
    with pytest.raises(InputError, match="onnxruntime:scale was called 0 times"):
        exactness.make_streams(exactness.Row(folder, environments.ENVIRONMENTS["onnxruntime-1-all"], "native", [TINY]))


def test_contents() -> None:
    noise = exactness.make_content("noise", 40, 20)
    assert noise.shape == (20, 40, 3)
    assert np.unique(noise).size > 200
    assert np.unique(exactness.make_content("text", 150, 60)).size > 3
    pytest.importorskip("skimage")
    photo = exactness.make_content("photo", 601, 300)
    assert photo.shape == (300, 601, 3)
    assert photo.std() > 30
