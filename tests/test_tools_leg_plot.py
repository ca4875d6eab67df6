"""J against hours, from the logs of legs."""

from __future__ import annotations

from pathlib import Path

import pytest

from nacre.tools import leg_plot


def make_run(folder: Path, rows: list[tuple[float, float]]) -> str:
    folder.mkdir()
    lines = ["minutes,step,loss,J", *(f"{minutes},1,2.0,{cost}" for minutes, cost in rows)]
    (folder / "log.csv").write_text("\n".join(lines) + "\n")
    return str(folder)


def test_legs_follow_one_another(tmp_path: Path) -> None:
    first = make_run(tmp_path / "a", [(30, 12.0), (60, 11.0)])
    second = make_run(tmp_path / "b", [(15, 10.5), (45, 10.0)])
    line = leg_plot.read_line(f"fast={first},{second}")
    assert line == leg_plot.Line("fast", [0.5, 1.0, 1.25, 1.75], [12.0, 11.0, 10.5, 10.0], [1, 3])


def test_a_plot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    run, empty = make_run(tmp_path / "a", [(30, 12.0)]), make_run(tmp_path / "b", [])
    out = tmp_path / "plot.svg"
    assert leg_plot.main([f"fast={run}", "--out", str(out)]) == 0
    assert out.read_text().lstrip().startswith("<?xml")
    for argument, message in (
        ("fast", "not of the form"),
        (f"fast={tmp_path / 'none'}", "log.csv"),
        (f"fast={empty}", "has no measurements"),
    ):
        assert leg_plot.main([argument, "--out", str(tmp_path / "other.svg")]) == 1
        assert message in capsys.readouterr().err
    assert not (tmp_path / "other.svg").exists()
