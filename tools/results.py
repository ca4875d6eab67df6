"""What an evaluation leaves behind: tables on the terminal, results.json, results.csv."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from nacre.atomic import open_target
from nacre.tools.bd_rate import Difference
from nacre.tools.machine import describe_machine
from nacre.tools.measure import Measurement
from nacre.tools.metrics import METRICS
from nacre.tools.summary import Comparison, Summary
from nacre.tools.timing import Timing
from nacre.version import __version__


@dataclass
class Evaluation:
    """Everything that a run found out. skipped: what is not installed here. failures: what went wrong, by name."""

    measurements: list[Measurement] = field(default_factory=list)
    settings: dict[str, dict[str, str | int | bool]] = field(default_factory=dict)
    metrics: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    timings: list[Timing] = field(default_factory=list)


def _cell(value: Difference | str, unit: str) -> str:
    if isinstance(value, str):
        return "no overlap" if "overlap" in value else "no curve"
    return f"{value.value:+.2f}{unit} ({value.low:.4g}..{value.high:.4g})"


def comparison_table(comparisons: Sequence[Comparison]) -> list[list[str]]:
    """Heading and rows of the differences in one metric, with the interval of each in brackets."""
    if not comparisons:
        return []
    heading = [f"against {comparisons[0].anchor}", "BD-rate", "BD-quality (bpp)"]
    if comparisons[0].metric == "psnr":
        heading += ["BD-rate 28.5..40 dB", "BD-rate below 33 dB"]
    rows = [heading]
    for comparison in comparisons:
        intervals = [_cell(value, " %") for value in comparison.intervals] or [""] * (len(heading) - 3)
        rows.append([comparison.codec, _cell(comparison.rate, " %"), _cell(comparison.quality, ""), *intervals])
    return rows


def _print_table(rows: list[list[str]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def print_tables(summary: Summary) -> None:
    """Mean points and differences of every metric on stdout."""
    for metric, codecs in summary.means.items():
        print(f"\n{METRICS[metric].label}, means of {summary.pictures[metric]} pictures")
        rows = [["codec", "quality", "bpp", metric]]
        for codec, points in codecs.items():
            rows += [[codec, f"{p.quality:g}", f"{p.bpp:.4f}", f"{p.value:.4f}"] for p in points]
        _print_table(rows)
        table = comparison_table([c for c in summary.comparisons if c.metric == metric])
        if table:
            print()
            _print_table(table)


def print_speeds(speeds: Sequence[tuple[str, int, float, float]]) -> None:
    """Throughput of each codec on stdout."""
    print("\nSpeed, geometric means over pictures, megapixels per second")
    rows = [["codec", "cores", "encoding", "decoding"]]
    rows += [[codec, str(cores), f"{encode:.2f}", f"{decode:.2f}"] for codec, cores, encode, decode in speeds]
    _print_table(rows)


def to_dict(evaluation: Evaluation, summary: Summary) -> dict[str, Any]:
    """All of an evaluation as plain values, as results.json holds it."""
    return {
        "nacre": __version__,
        "machine": describe_machine(),
        "settings": evaluation.settings,
        "metrics": {name: METRICS[name].label for name in evaluation.metrics},
        "skipped": evaluation.skipped,
        "failures": evaluation.failures,
        "means": {
            metric: {codec: [asdict(point) for point in points] for codec, points in codecs.items()}
            for metric, codecs in summary.means.items()
        },
        "published": summary.published,
        "differences": [comparison.to_dict() for comparison in summary.comparisons],
        "timings": [timing.to_dict() for timing in evaluation.timings],
        "measurements": [measurement.to_dict() for measurement in evaluation.measurements],
    }


def _csv(evaluation: Evaluation) -> str:
    columns = ["picture", "width", "height", "codec", "quality", "bytes", "bpp", *evaluation.metrics]
    columns += ["encode_s", "decode_s", "peak_memory"]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, extrasaction="ignore")
    writer.writeheader()
    for measurement in evaluation.measurements:
        values = {name: "inf" if value is None else value for name, value in measurement.metrics.items()}
        writer.writerow({**measurement.to_dict(), **values})
    return text.getvalue()


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all; InputError where it cannot be written."""
    with open_target(path) as file:
        file.write(text.encode())


def write_results(folder: Path, evaluation: Evaluation, summary: Summary) -> None:
    """results.json and results.csv in a folder; InputError where they cannot be written."""
    write_text(folder / "results.json", json.dumps(to_dict(evaluation, summary), indent=1, allow_nan=False) + "\n")
    write_text(folder / "results.csv", _csv(evaluation))
