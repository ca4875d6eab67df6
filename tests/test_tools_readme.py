"""The examples of tools/README.md."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from clips import make_clip, write_clip
from PIL import Image

pytest.importorskip("scipy")
pytest.importorskip("matplotlib")

import nacre.tools
from nacre.scene import draw_scene

README = Path(nacre.tools.__path__[0]) / "README.md"


def examples() -> list[str]:
    """The indented blocks below "In a notebook"."""
    if not README.is_file():
        pytest.skip("the installed package has no README of its tools")
    blocks = re.findall(r"(?:^(?: {4}.*)?\n)+", README.read_text().partition("## In a notebook")[2], re.MULTILINE)
    return [re.sub(r"^ {4}", "", block, flags=re.MULTILINE) for block in blocks if block.strip()]


def test_what_the_examples_import_is_there() -> None:
    found = examples()
    assert len(found) == 2
    for example in found:
        lines = [line for line in example.splitlines() if line.startswith(("from ", "import "))]
        assert len(lines) >= 4
        exec("\n".join(lines), {})


@pytest.mark.slow
def test_the_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in ("kodak", "clips"):
        (tmp_path / folder).mkdir()
    scene = draw_scene()[:128, :192]
    grain = np.random.default_rng(0).normal(0.0, 10.0, scene.shape)
    Image.fromarray(np.clip(scene + grain, 0.0, 255.0).astype(np.uint8)).save(tmp_path / "kodak" / "a.png")
    write_clip(tmp_path / "clips" / "a.mkv", make_clip(128, 64).frames)
    points = {"bpp": [0.01, 0.1, 1.0, 30.0], "psnr_rgb": [10.0, 20.0, 30.0, 60.0]}
    (tmp_path / "kodak-rd.json").write_text(json.dumps({"vtm": points}))
    monkeypatch.chdir(tmp_path)
    for example in examples():
        exec(example, {"__name__": "__main__"})
    printed = capsys.readouterr().out
    assert re.search(r"^[+-]\d+\.\d\d over 28\.50\.\.\d\d\.\d\d$", printed, re.MULTILINE)
    assert "mean against x264-" in printed
