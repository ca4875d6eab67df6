"""J against hours of training: ``python -m nacre.tools.leg_plot NAME=RUN,RUN... --out plot.svg``."""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path
from typing import NamedTuple

from nacre.atomic import open_target
from nacre.tools.plot import axes_of_one


class Line(NamedTuple):
    """Legs that begin where the one before ended: hours since the first began and J, of each measurement.

    ends: the last measurement of each leg, where the rate has reached zero.
    """

    name: str
    hours: list[float]
    costs: list[float]
    ends: list[int]


def read_line(argument: str) -> Line:
    """The line of NAME=RUN,RUN...; raises ValueError where that has another form, OSError where a log is missing."""
    name, found, runs = argument.partition("=")
    if not (name and found and runs):
        msg = f"{argument} is not of the form NAME=RUN,RUN..."
        raise ValueError(msg)
    line, before = Line(name, [], [], []), 0.0
    for run in runs.split(","):
        path = Path(run) / "log.csv"
        with path.open(newline="") as handle:
            rows = [(float(row["minutes"]) / 60, float(row["J"])) for row in csv.DictReader(handle)]
        if not rows:
            msg = f"{path} has no measurements"
            raise ValueError(msg)
        line.hours.extend(before + hours for hours, _ in rows)
        line.costs.extend(cost for _, cost in rows)
        line.ends.append(len(line.hours) - 1)
        before += rows[-1][0]
    return line


def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="nacre.tools.leg_plot", description=__doc__.split(":", 1)[0])
    parser.add_argument("lines", nargs="+", metavar="NAME=RUN,RUN...", help="run folders of legs, in order")
    parser.add_argument("--out", type=Path, required=True, help="an SVG file")
    options = parser.parse_args(arguments)
    try:
        lines = [read_line(argument) for argument in options.lines]
        figure, axes = axes_of_one("hours of training", "J")
        for line in lines:
            (drawn,) = axes.plot(line.hours, line.costs, linewidth=1.2, label=line.name)
            ends = [[values[place] for place in line.ends] for values in (line.hours, line.costs)]
            axes.plot(*ends, "o", markersize=5, color=drawn.get_color())
        axes.legend(frameon=False)
        with open_target(options.out) as handle:
            figure.savefig(handle, format="svg")
    except (ValueError, OSError) as error:
        print(f"nacre.tools.leg_plot: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
