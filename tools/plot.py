"""Rate-distortion and rate-speed plots."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from nacre.atomic import open_target
from nacre.tools.extras import require
from nacre.tools.metrics import METRICS
from nacre.tools.summary import Panel, Shown
from nacre.tools.timing import Speed

_COLOURS = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#8c510a",
    "#5e3c99",
    "#666666",
    "#a6761d",
)
_MARKERS = "osv^D<>Pp*X"  # one more than colours, so that a colour comes back with another marker
_DASHES = ("--", ":", "-.", (0, (6, 2, 1, 2, 1, 2)))  # of published curves
_INSIDE = 8  # entries of a legend that have room among the curves
FORMATS: tuple[Literal["png"], Literal["svg"]] = ("png", "svg")
_BPP_TICKS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 3.0, 5.0)


def _figure(width: float, height: float, rows: int = 1, columns: int = 1) -> tuple[Any, list[Any]]:
    """A figure with axes, row by row."""
    figure = require("matplotlib.figure").Figure(figsize=(width, height), layout="constrained")
    found = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in found:
        axes.grid(True, color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    return figure, found


def axes_of_one(across: str, up: str) -> tuple[Any, Any]:
    """A matplotlib Figure with one pair of axes, labelled."""
    figure, (axes,) = _figure(8.0, 4.5)
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    return figure, axes


def _decimal_axis(axis: Any, ticks: Sequence[float]) -> None:
    ticker = require("matplotlib.ticker")
    axis.set_major_locator(ticker.FixedLocator(ticks))
    axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(ticker.NullLocator())


def draw_curves(summary: Shown, metric: str) -> Any:
    """A matplotlib Figure: a metric over bits per pixel; measured codecs solid, published ones dashed."""
    panels = summary.panels(metric)
    columns = 1 if len(panels) == 1 else 2
    rows = max(1, math.ceil(len(panels) / columns))
    size = (9.5, 5.4) if columns == 1 else (11.0, 3.9 * rows)
    figure, grid = _figure(*size, rows, columns)
    for axes in grid[len(panels) :]:
        axes.remove()
    for axes, panel in zip(grid, panels, strict=False):
        _draw_panel(axes, panel)
        axes.set_xlabel(summary.rates)
        axes.set_ylabel(METRICS[metric].label)
    return figure


def _draw_panel(axes: Any, panel: Panel) -> None:
    rates: list[float] = []
    for number, (codec, points) in enumerate(panel.curves.items()):
        ours = codec.startswith("nacre:")
        axes.plot(
            [point.bpp for point in points],
            [point.value for point in points],
            label=codec,
            color="black" if ours else _COLOURS[number % len(_COLOURS)],
            marker=_MARKERS[number % len(_MARKERS)],
            markersize=4,
            linewidth=2.4 if ours else 1.4,
            zorder=3 if ours else 2,
        )
        rates += [point.bpp for point in points]
    for number, (name, values) in enumerate(panel.published.items()):
        bpp, quality = zip(*values, strict=True)
        dashes = _DASHES[number % len(_DASHES)]
        axes.plot(bpp, quality, linestyle=dashes, label=name, color="#555555", linewidth=1.2)
        rates += bpp
    axes.set_xscale("log")
    low, high = min(rates, default=0.1) / 1.5, max(rates, default=1.0) * 1.5
    _decimal_axis(axes.xaxis, [tick for tick in _BPP_TICKS if low < tick < high])
    axes.set_title(panel.title, fontsize=11)
    entries = len(panel.curves) + len(panel.published)
    beside = {} if entries <= _INSIDE else {"loc": "center left", "bbox_to_anchor": (1.0, 0.5)}
    axes.legend(fontsize=9, frameon=False, **beside)


def draw_speeds(summary: Shown, speeds: Sequence[Speed], direction: Literal["encode", "decode"]) -> Any:
    """A matplotlib Figure: BD-rate of each codec over its speed on two cores, or one where two were not timed."""
    figure, (axes,) = _figure(8.0, 4.6)
    metric, anchor, rates = summary.speeds_against
    cores = max((speed.cores for speed in speeds), default=1)
    shown = [speed for speed in speeds if speed.cores == cores and speed.codec in rates]
    values = []
    for number, timed in enumerate(shown):
        codec, speed = timed.codec, timed.encode if direction == "encode" else timed.decode
        values.append(speed)
        colour = "black" if codec.startswith("nacre:") else _COLOURS[number % len(_COLOURS)]
        marker = _MARKERS[number % len(_MARKERS)]
        axes.plot([speed], [rates[codec]], marker, color=colour, markersize=8, label=codec)
    axes.set_xscale("log")
    if values:
        low, high = (math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)) + 1e-9))
        _decimal_axis(axes.xaxis, [m * 10.0**e for e in range(low - 1, high + 1) for m in (1, 3)])
        axes.set_xlim(min(values) / 1.6, max(values) * 1.6)
        axes.legend(fontsize=9, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    axes.margins(y=0.15)
    axes.set_xlabel(f"{direction[:-1]}ing, megapixels per second, {cores} core{'s' if cores > 1 else ''}")
    axes.set_ylabel(f"BD-rate ({metric}) against {anchor}, %" if metric else "BD-rate: no anchor")
    return figure


def render(figure: Any, file_format: Literal["png", "svg"]) -> bytes:
    """The bytes of a figure."""
    file = io.BytesIO()
    figure.savefig(file, format=file_format, dpi=150, metadata={"Date": None} if file_format == "svg" else None)
    return file.getvalue()


def write_plots(folder: Path, summary: Shown, speeds: Sequence[Speed]) -> dict[str, bytes]:
    """Every plot as PNG and SVG in a folder; the SVG files by name. Raises InputError where one cannot be written."""
    figures = {metric: draw_curves(summary, metric) for metric in summary.metrics}
    if speeds:
        figures.update({direction: draw_speeds(summary, speeds, direction) for direction in ("encode", "decode")})
    for name, figure in figures.items():
        for file_format in FORMATS:
            with open_target(folder / f"{name}.{file_format}") as file:
                file.write(render(figure, file_format))
    return {name: (folder / f"{name}.svg").read_bytes() for name in figures}
