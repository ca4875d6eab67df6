"""What an evaluation finds and leaves behind: tables on the terminal, results.json, results.csv."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nacre.atomic import open_target
from nacre.tools.machine import describe_machine
from nacre.tools.measure import Measurement
from nacre.tools.metrics import METRICS
from nacre.tools.summary import Panel, Shown
from nacre.tools.tables import Table, print_table
from nacre.tools.timing import Speed, Timing
from nacre.version import __version__


@dataclass
class Evaluation:
    """Everything that a run found out.

    skipped: what is not installed here. failures: what went wrong, by name. command: the command line that asked for
    it, if one did.
    """

    measurements: list[Measurement] = field(default_factory=list)
    settings: dict[str, dict[str, str | int | bool]] = field(default_factory=dict)
    metrics: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    timings: list[Timing] = field(default_factory=list)
    command: str = ""

    def counted(self, subjects: str) -> str:
        """How much was measured; subjects: pictures or clips."""
        sources = len({m.picture for m in self.measurements})
        noun = subjects if sources != 1 else subjects.removesuffix("s")
        codecs = f"{len(self.settings)} codec{'s' if len(self.settings) != 1 else ''}"
        return f"{sources} {noun}, {codecs}, {len(self.measurements)} measurements"


def point_table(panel: Panel, metric: str) -> Table:
    """The measured points of a panel."""
    rows = [["codec", "quality", "bpp", metric]]
    for codec, points in panel.curves.items():
        rows += [[codec, f"{p.quality:g}", f"{p.bpp:.4f}", f"{p.value:.4f}"] for p in points]
    return rows


def speed_table(speeds: Sequence[Speed]) -> Table:
    """Throughput of each codec, as nacre.tools.timing.mean_speeds gives it."""
    head = ["codec", "cores", "calls x threads", "encoding, Mpx/s", "decoding, Mpx/s"]
    rows = [
        [codec, str(cores), f"{calls} x {threads}", f"{encode:.2f}", f"{decode:.2f}"]
        for codec, cores, calls, threads, encode, decode in speeds
    ]
    return [head, *rows]


def setting_table(evaluation: Evaluation) -> Table:
    """Settings and versions of each codec."""
    rows = [["codec", "settings and versions"]]
    for codec, settings in evaluation.settings.items():
        rows.append([codec, ", ".join(f"{name} {value}" for name, value in settings.items())])
    return rows


def print_tables(summary: Shown) -> None:
    """Points and differences of every metric on stdout."""
    for metric in summary.metrics:
        for panel in summary.panels(metric):
            print(f"\n{METRICS[metric].label}: {panel.title}")
            print_table(point_table(panel, metric))
        for table in summary.tables(metric):
            print()
            print_table(table)
    print(f"\n{summary.method}; in brackets the interval used")


def print_speeds(speeds: Sequence[Speed]) -> None:
    """Throughput of each codec on stdout."""
    print("\nSpeed, geometric means")
    print_table(speed_table(speeds))


def to_dict(evaluation: Evaluation, summary: Shown) -> dict[str, Any]:
    """All of an evaluation as plain values, as results.json holds it."""
    return {
        "nacre": __version__,
        "command": evaluation.command,
        "machine": describe_machine(),
        "settings": evaluation.settings,
        "metrics": {name: METRICS[name].label for name in evaluation.metrics},
        "skipped": evaluation.skipped,
        "failures": evaluation.failures,
        **summary.to_dict(),
        "timings": [timing.to_dict() for timing in evaluation.timings],
        "measurements": [measurement.to_dict() for measurement in evaluation.measurements],
    }


def _csv(evaluation: Evaluation) -> str:
    columns = ["picture", "width", "height", "frames", "codec", "quality", "bytes", "bpp", *evaluation.metrics]
    columns += ["encode_s", "decode_s", "peak_memory"]
    kinds = [_kinds(measurement) for measurement in evaluation.measurements]
    columns += dict.fromkeys(name for values in kinds for name in values)
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, extrasaction="ignore")
    writer.writeheader()
    for measurement, more in zip(evaluation.measurements, kinds, strict=True):
        values = {name: "inf" if value is None else value for name, value in measurement.metrics.items()}
        writer.writerow({**measurement.to_dict(), **values, **more})
    return text.getvalue()


def _kinds(measurement: Measurement) -> dict[str, float]:
    """What a clip's I and P frames took and gave, by column."""
    return {f"{kind} {name}": value for kind, values in measurement.kinds.items() for name, value in values.items()}


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all; InputError where it cannot be written."""
    with open_target(path) as file:
        file.write(text.encode())


def write_results(folder: Path, evaluation: Evaluation, summary: Shown) -> None:
    """results.json and results.csv in a folder; InputError where they cannot be written."""
    write_text(folder / "results.json", json.dumps(to_dict(evaluation, summary), indent=1, allow_nan=False) + "\n")
    write_text(folder / "results.csv", _csv(evaluation))
