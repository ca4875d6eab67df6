"""From measurements of clips to curves and tables: BD-rates of each clip, their means over clips.

6:1:1 PSNR is compared between 30 and 42 dB, other metrics over all that both curves reach; I and P frames apart as well
(nacre.tools.clip_metrics.frame_kinds). Of an encoder's variants the bar is the one that needs less rate in the metric,
by the mean of its BD-rates over clips against the other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import PurePath
from statistics import fmean
from typing import Any

from nacre.bitstream.errors import InputError
from nacre.tools.bd_rate import Difference, bd_quality, bd_rate
from nacre.tools.measure import Measurement
from nacre.tools.rates import INTERVAL
from nacre.tools.summary import MeanPoint, Panel, metric_curve, or_reason
from nacre.tools.tables import Table, cell

PLANES = "psnr-yuv"
ALL = "all"  # frames of either kind

Curves = dict[str, list[MeanPoint]]  # of one clip, by codec


@dataclass(frozen=True, slots=True)
class ClipComparison:
    """A codec against the anchor in one metric, over all frames or those of one kind, clip by clip.

    rates: BD-rates in percent, qualities: BD-qualities in the metric's unit, or why there is none.
    """

    metric: str
    frames: str
    codec: str
    anchor: str
    rates: Mapping[str, Difference | str]
    qualities: Mapping[str, Difference | str]

    @property
    def mean_rate(self) -> float | None:
        """The mean BD-rate over the clips that have one, None where none has."""
        return _mean(self.rates)

    @property
    def mean_quality(self) -> float | None:
        """The mean BD-quality over the clips that have one, None where none has."""
        return _mean(self.qualities)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; what could not be computed is a string."""
        return {**asdict(self), "mean_rate": self.mean_rate, "mean_quality": self.mean_quality}


def _mean(values: Mapping[str, Difference | str]) -> float | None:
    found = [value.value for value in values.values() if isinstance(value, Difference)]
    return fmean(found) if found else None


def clip_points(measurements: Sequence[Measurement], metric: str, frames: str = ALL) -> dict[str, Curves]:
    """The curves of a metric by clip and codec, in rising order of rate; of frames of one kind 6:1:1 PSNR alone.

    Points without a finite value (a clip without error) are left out.
    """
    curves: dict[str, Curves] = {}
    for m in measurements:
        bpp, value = m.bpp, m.metrics.get(metric)
        if frames != ALL:
            kind = m.kinds.get(frames)
            if kind is None:
                continue
            bpp, value = 8.0 * kind["bytes"] / (m.width * m.height * kind["frames"]), kind[PLANES]
        if value is not None and math.isfinite(value):
            curves.setdefault(m.picture, {}).setdefault(m.codec, []).append(MeanPoint(m.quality, bpp, value))
    return {
        clip: {codec: sorted(points, key=lambda point: point.bpp) for codec, points in codecs.items()}
        for clip, codecs in curves.items()
    }


def compare_codecs(curves: Mapping[str, Curves], metric: str, codec: str, anchor: str, frames: str) -> ClipComparison:
    """One codec against another on every clip."""
    rates: dict[str, Difference | str] = {}
    qualities: dict[str, Difference | str] = {}
    interval = INTERVAL if metric == PLANES else None
    for clip, codecs in curves.items():
        try:
            pair = [
                metric_curve(name, metric, [(point.bpp, point.value) for point in codecs.get(name, [])])
                for name in (anchor, codec)
            ]
        except InputError as error:
            rates[clip] = qualities[clip] = str(error)
        else:
            rates[clip] = or_reason(bd_rate, *pair, interval)
            qualities[clip] = or_reason(bd_quality, *pair)
    return ClipComparison(metric, frames, codec, anchor, rates, qualities)


@dataclass(frozen=True, slots=True)
class ClipSummary:
    """Curves and comparisons of an evaluation of clips.

    curves: by metric, clip and codec. bars: by metric and name asked for, which of several variants is the stronger.
    comparisons: against the anchor of each metric.
    """

    curves: dict[str, dict[str, Curves]]
    bars: dict[str, dict[str, str]]
    comparisons: list[ClipComparison]
    subjects: str = "clips"
    method: str = (
        f"BD-rate by PCHIP over the logarithm of the rate, 6:1:1 PSNR between {INTERVAL[0]:g} and {INTERVAL[1]:g} dB,"
        " of each clip, then the mean over clips; * marks the stronger variant of an encoder, which is the bar"
    )
    rates: str = "bits per pixel (elementary streams)"

    @property
    def metrics(self) -> list[str]:
        """The metrics that were measured."""
        return list(self.curves)

    @property
    def anchors(self) -> dict[str, str]:
        """What differences were taken against, by metric."""
        return {comparison.metric: comparison.anchor for comparison in self.comparisons}

    @property
    def speeds_against(self) -> tuple[str, str, dict[str, float]]:
        """6:1:1 PSNR, or the first metric where that was not measured, the anchor and mean BD-rates, percent."""
        anchors = self.anchors
        metric = PLANES if PLANES in anchors else next(iter(anchors), "")
        if not metric:
            return "", "", {}
        found = [c for c in self.comparisons if (c.metric, c.frames) == (metric, ALL)]
        rates = {c.codec: c.mean_rate for c in found if c.mean_rate is not None}
        return metric, anchors[metric], {anchors[metric]: 0.0, **rates}

    def panels(self, metric: str) -> list[Panel]:
        """The curves of each clip."""
        return [Panel(PurePath(clip).name, curves, {}) for clip, curves in self.curves[metric].items()]

    def tables(self, metric: str) -> list[Table]:
        """Means over clips, and the BD-rates of each clip; none without an anchor."""
        chosen = [c for c in self.comparisons if c.metric == metric]
        return [self._means(metric, chosen), self._each([c for c in chosen if c.frames == ALL])] if chosen else []

    def _means(self, metric: str, comparisons: Sequence[ClipComparison]) -> Table:
        kinds = list(dict.fromkeys(c.frames for c in comparisons))
        heading = ["BD-rate" if kind == ALL else f"BD-rate, {kind} frames" for kind in kinds]
        stronger = self.bars[metric].values()
        anchor, codecs = comparisons[0].anchor, dict.fromkeys(c.codec for c in comparisons)
        names = {codec: f"{codec} *" if codec in stronger else codec for codec in (anchor, *codecs)}
        rows = [[f"mean against {names[anchor]}", *heading, "BD-quality", "clips"]]
        for codec in codecs:
            mine = {c.frames: c for c in comparisons if c.codec == codec}
            count = sum(isinstance(value, Difference) for value in mine[ALL].rates.values())
            rates = [_signed(mine[kind].mean_rate if kind in mine else None, " %") for kind in kinds]
            quality = _signed(mine[ALL].mean_quality, "")
            rows.append([names[codec], *rates, quality, f"{count} of {len(mine[ALL].rates)}"])
        return rows

    def _each(self, comparisons: Sequence[ClipComparison]) -> Table:
        clips = comparisons[0].rates
        rows = ([PurePath(clip).name, *(cell(c.rates[clip], " %") for c in comparisons)] for clip in clips)
        return [["BD-rate of each clip", *(c.codec for c in comparisons)], *rows]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "curves": {
                metric: {
                    clip: {codec: [asdict(point) for point in points] for codec, points in codecs.items()}
                    for clip, codecs in clips.items()
                }
                for metric, clips in self.curves.items()
            },
            "stronger_variants": self.bars,
            "differences": [comparison.to_dict() for comparison in self.comparisons],
        }


def _signed(value: float | None, unit: str) -> str:
    return "none" if value is None else f"{value:+.2f}{unit}"


def _bar(curves: Mapping[str, Curves], metric: str, codecs: Sequence[str]) -> str:
    """The variant with the least rate: each is held against the strongest so far."""
    best = codecs[0]
    for codec in codecs[1:]:
        difference = compare_codecs(curves, metric, codec, best, ALL).mean_rate
        if difference is not None and difference < 0.0:
            best = codec
    return best


def summarize_clips(
    measurements: Sequence[Measurement], metrics: Sequence[str], names: Mapping[str, Sequence[str]], anchor: str
) -> ClipSummary:
    """Curves of every metric and the differences against what `anchor` names.

    names: the codecs that each name asked for stands for; of several, the stronger is the anchor. anchor: one of those
    names or of those codecs.
    """
    measured = dict.fromkeys(m.codec for m in measurements)
    curves: dict[str, dict[str, Curves]] = {}
    bars: dict[str, dict[str, str]] = {}
    comparisons = []
    for metric in metrics:
        curves[metric] = clip_points(measurements, metric)
        bars[metric] = {
            name: _bar(curves[metric], metric, found)
            for name, codecs in names.items()
            if len(found := [codec for codec in codecs if codec in measured]) > 1
        }
        candidates = (codec for codec in names.get(anchor, (anchor,)) if codec in measured)
        bar = bars[metric].get(anchor) or next(candidates, None)
        if bar is None:
            continue
        for frames in (ALL, "I", "P") if metric == PLANES else (ALL,):
            points = curves[metric] if frames == ALL else clip_points(measurements, metric, frames)
            if points:
                others = (codec for codec in measured if codec != bar)
                comparisons += [compare_codecs(points, metric, codec, bar, frames) for codec in others]
    return ClipSummary(curves, bars, comparisons)
