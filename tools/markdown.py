"""The tables of an evaluation as one Markdown file, beside the plots that it shows."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from nacre.tools.machine import describe_machine
from nacre.tools.metrics import METRICS
from nacre.tools.results import Evaluation, point_table, setting_table, speed_table
from nacre.tools.summary import Shown
from nacre.tools.tables import Table
from nacre.tools.timing import Speed
from nacre.version import __version__


def build_markdown(evaluation: Evaluation, summary: Shown, plots: Collection[str], speeds: Sequence[Speed]) -> str:
    """The page as text. plots: names of SVG files beside it, those of metrics under the metric's name."""
    parts = ["# Rate and distortion"]
    if evaluation.command:
        parts.append(f"    {evaluation.command}")
    parts.append(
        f"{evaluation.counted(summary.subjects)}; {describe_machine()['cpu']}; nacre {__version__}."
        f" {summary.method}; the interval used in brackets."
    )
    parts += [_listing("Left out", evaluation.skipped), _listing("Failed or incomplete", evaluation.failures)]
    for metric in evaluation.metrics:
        parts += [f"## {METRICS[metric].label}", _image(metric, plots), *map(_table, summary.tables(metric))]
        for panel in summary.panels(metric):
            parts += [f"{panel.title}:", _table(point_table(panel, metric))]
    if speeds:
        parts += ["## Speed", _table(speed_table(speeds)), *(_image(name, plots) for name in ("encode", "decode"))]
    parts += ["## Settings", _table(setting_table(evaluation))]
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(rows: Table) -> str:
    ruled = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in ruled)


def _listing(title: str, lines: Sequence[str]) -> str:
    return "\n".join([f"{title}:", "", *(f"- {line}" for line in lines)]) if lines else ""


def _image(name: str, plots: Collection[str]) -> str:
    return f"![{name}]({name}.svg)" if name in plots else ""
