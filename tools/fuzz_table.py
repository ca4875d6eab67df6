"""The reports of fuzzing rounds (nacre.tools.fuzz) added up, as Markdown.

python -m nacre.tools.fuzz_table round-*.json
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

REPAIRED, CHECKED = "lengths and CRCs right", "checks of symbols right, too"
_ADDED = ("streams", "mutated", REPAIRED, CHECKED, "seconds", "processor_seconds")
_MIB = 1 << 20


def fuzz_tables(reports: Sequence[Mapping[str, Any]]) -> str:
    """A row for each round and one for all; then how often each kind of mutation was made, and each stage reached."""
    head = (
        "round", "engine", "networks and coder", "streams", "mutated", "of these with right CRCs",
        "with right checks, too", "s", "s of processor", "findings", "slowest, s of processor", "slowest, s",
        "most memory for one, MiB", "memory of the process, MiB",
    )  # fmt: skip
    lines = [_row(head), "| --- | --- | --- |" + " ---: |" * (len(head) - 3)]
    lines += [_row(_cells(str(report["seed"]), [report])) for report in reports]
    if len(reports) > 1:
        lines.append(_row(_cells("all", reports)))
    for title, what in (("mutation", "kinds"), ("way through the decoder", "ways"), ("stage", "stages")):
        counts: Counter[str] = Counter()
        for report in reports:
            counts.update(report[what])
        lines += ["", _row((title, "times")), "| --- | ---: |"]
        lines += [_row((name, str(count))) for name, count in counts.most_common()]
    return "\n".join(lines)


def _cells(name: str, reports: Sequence[Mapping[str, Any]]) -> list[str]:
    sums = {field: sum(report.get(field, 0) for report in reports) for field in _ADDED}
    mutated = sums["mutated"]
    environments = {report["environment"] or "as shipped" for report in reports}
    return [
        name,
        " and ".join(sorted({report["engine"] for report in reports})),
        " and ".join(sorted(environments)),
        f"{sums['streams']}",
        f"{mutated}",
        f"{sums[REPAIRED] / mutated:.1%}",
        f"{sums[CHECKED] / mutated:.1%}",
        f"{sums['seconds']:.0f}",
        f"{sums['processor_seconds']:.0f}",
        f"{sum(found['count'] for report in reports for found in report['findings'].values())}",
        f"{max(report['slowest_processor_seconds'] for report in reports):.3f}",
        f"{max(report['slowest_seconds'] for report in reports):.3f}",
        f"{max(report['memory_largest_need'] for report in reports) / _MIB:.0f}",
        f"{max(report['memory_peak'] for report in reports) / _MIB:.0f}",
    ]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns 1 where a round found something."""
    parser = argparse.ArgumentParser(prog="python -m nacre.tools.fuzz_table", description=__doc__.partition("\n")[0])
    parser.add_argument("reports", type=Path, nargs="+", help="reports of nacre.tools.fuzz")
    options = parser.parse_args(arguments)
    reports = [json.loads(path.read_text()) for path in options.reports]
    print(fuzz_tables(reports))
    return int(any(report["findings"] for report in reports))


if __name__ == "__main__":
    sys.exit(main())
