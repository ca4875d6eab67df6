"""Rate-distortion and rate-speed plots."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from nacre.atomic import open_target
from nacre.tools.bd_rate import Difference
from nacre.tools.extras import require
from nacre.tools.metrics import METRICS
from nacre.tools.summary import Comparison, Summary

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
_MARKERS = "osv^D<>Pp*"
FORMATS: tuple[Literal["png"], Literal["svg"]] = ("png", "svg")
_BPP_TICKS = (0.03, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 3.0, 5.0)


def _axes(width: float, height: float) -> tuple[Any, Any]:
    figure = require("matplotlib.figure").Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.grid(True, color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes


def _decimal_axis(axis: Any, ticks: Sequence[float]) -> None:
    ticker = require("matplotlib.ticker")
    axis.set_major_locator(ticker.FixedLocator(ticks))
    axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(ticker.NullLocator())


def draw_curves(summary: Summary, metric: str) -> Any:
    """A matplotlib Figure: the mean of a metric over bits per pixel; measured codecs solid, published ones dashed."""
    figure, axes = _axes(8.0, 5.4)
    rates: list[float] = []
    for number, (codec, points) in enumerate(summary.means[metric].items()):
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
    for number, (name, values) in enumerate(summary.published.get(metric, {}).items()):
        bpp, quality = zip(*values, strict=True)
        axes.plot(bpp, quality, "--", label=name, color=_COLOURS[-1 - number % len(_COLOURS)], linewidth=1.2)
        rates += bpp
    axes.set_xscale("log")
    _decimal_axis(
        axes.xaxis, [tick for tick in _BPP_TICKS if min(rates, default=0.1) / 1.5 < tick < max(rates, default=1) * 1.5]
    )
    axes.set_xlabel("bits per pixel (whole files)")
    axes.set_ylabel(METRICS[metric].label)
    axes.set_title(f"Means of {summary.pictures[metric]} pictures", fontsize=11)
    axes.legend(fontsize=9, frameon=False)
    return figure


def draw_speeds(
    comparisons: Sequence[Comparison],
    speeds: Sequence[tuple[str, int, float, float]],
    direction: Literal["encode", "decode"],
) -> Any:
    """A matplotlib Figure: BD-rate of each codec over its speed on two cores, or one where two were not timed."""
    figure, axes = _axes(8.0, 4.6)
    rates = {c.codec: c.rate.value for c in comparisons if isinstance(c.rate, Difference)}
    if comparisons:
        rates[comparisons[0].anchor] = 0.0
    cores = max((speed[1] for speed in speeds), default=1)
    shown = [speed for speed in speeds if speed[1] == cores and speed[0] in rates]
    values = []
    for number, (codec, _, encoding, decoding) in enumerate(shown):
        speed = encoding if direction == "encode" else decoding
        values.append(speed)
        colour = "black" if codec.startswith("nacre:") else _COLOURS[number % len(_COLOURS)]
        axes.plot([speed], [rates[codec]], "o", color=colour)
        axes.annotate(codec, (speed, rates[codec]), xytext=(6, 4), textcoords="offset points", color=colour, fontsize=9)
    axes.set_xscale("log")
    if values:
        low, high = (math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)) + 1e-9))
        _decimal_axis(axes.xaxis, [m * 10.0**e for e in range(low - 1, high + 1) for m in (1, 3)])
        axes.set_xlim(min(values) / 1.6, max(values) * 3.0)
    axes.margins(y=0.15)
    axes.set_xlabel(f"{direction[:-1]}ing, megapixels per second, {cores} core{'s' if cores > 1 else ''}")
    axes.set_ylabel(f"BD-rate against {comparisons[0].anchor if comparisons else '?'}, %")
    return figure


def render(figure: Any, file_format: Literal["png", "svg"]) -> bytes:
    """The bytes of a figure."""
    file = io.BytesIO()
    figure.savefig(file, format=file_format, dpi=150, metadata={"Date": None} if file_format == "svg" else None)
    return file.getvalue()


def write_plots(folder: Path, summary: Summary, speeds: Sequence[tuple[str, int, float, float]]) -> dict[str, bytes]:
    """Every plot as PNG and SVG in a folder; the SVG files by name. Raises InputError where one cannot be written."""
    figures = {metric: draw_curves(summary, metric) for metric in summary.means}
    if speeds:
        psnr = [comparison for comparison in summary.comparisons if comparison.metric == "psnr"]
        figures.update({direction: draw_speeds(psnr, speeds, direction) for direction in ("encode", "decode")})
    for name, figure in figures.items():
        for file_format in FORMATS:
            with open_target(folder / f"{name}.{file_format}") as file:
                file.write(render(figure, file_format))
    return {name: (folder / f"{name}.svg").read_bytes() for name in figures}
