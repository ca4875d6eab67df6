"""From measurements to curves and tables: means over pictures, Bjontegaard differences.

What is shown of an evaluation, on the terminal, in plots and in the report, is a `Shown`; clips have their own
(nacre.tools.clip_summary).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any, Protocol

from nacre.bitstream.errors import InputError
from nacre.tools.bd_rate import Difference, bd_quality, bd_rate
from nacre.tools.curves import Curve, Published, decibel
from nacre.tools.equal_quality import rate_table
from nacre.tools.measure import Measurement
from nacre.tools.metrics import METRICS
from nacre.tools.tables import Table, cell

# Parts of the PSNR range that are reported besides the whole overlap, dB.
PSNR_INTERVALS = ((28.5, 40.0), (0.0, 33.0))


@dataclass(frozen=True, slots=True)
class MeanPoint:
    """One codec at one quality, means over pictures or the figures of one clip: bits per pixel, and a metric."""

    quality: float
    bpp: float
    value: float


@dataclass(frozen=True, slots=True)
class Panel:
    """What is drawn into one pair of axes: measured curves by codec, published ones by label."""

    title: str
    curves: Mapping[str, Sequence[MeanPoint]]
    published: Mapping[str, Sequence[tuple[float, float]]]


class Shown(Protocol):
    """What terminal, plots and report show of an evaluation.

    subjects: pictures or clips. method: how differences were taken. rates: what is counted. anchors: what differences
    in a metric were taken against; metrics without any are missing. speeds_against: the metric and the anchor
    of the rate-speed plots and the BD-rates in them by codec, the anchor's included; empty where there is no anchor.
    """

    @property
    def subjects(self) -> str: ...

    @property
    def method(self) -> str: ...

    @property
    def rates(self) -> str: ...

    @property
    def metrics(self) -> Sequence[str]: ...

    @property
    def anchors(self) -> Mapping[str, str]: ...

    @property
    def speeds_against(self) -> tuple[str, str, Mapping[str, float]]: ...

    def panels(self, metric: str) -> list[Panel]: ...

    def tables(self, metric: str) -> list[Table]: ...

    def to_dict(self) -> dict[str, Any]: ...


def complete_pictures(measurements: Sequence[Measurement], metric: str) -> tuple[list[str], list[str]]:
    """Pictures that every codec and quality has a value for, and the others, which means leave out."""
    points = {(m.codec, m.quality) for m in measurements}
    have: dict[str, set[tuple[str, float]]] = defaultdict(set)
    for m in measurements:
        if metric in m.metrics:
            have[m.picture].add((m.codec, m.quality))
    names = sorted({m.picture for m in measurements})
    return [name for name in names if have[name] == points], [name for name in names if have[name] != points]


def mean_points(measurements: Sequence[Measurement], metric: str) -> dict[str, list[MeanPoint]]:
    """For each codec, its mean points in rising order of quality, over the pictures that are complete.

    MS-SSIM in dB is that of the mean MS-SSIM. Points without a finite mean (an identical picture) are left out.
    """
    pictures = set(complete_pictures(measurements, metric)[0])
    groups: dict[tuple[str, float], list[Measurement]] = defaultdict(list)
    for m in measurements:
        if m.picture in pictures:
            groups[m.codec, m.quality].append(m)
    means: dict[str, list[MeanPoint]] = {m.codec: [] for m in measurements}
    for (codec, quality), group in sorted(groups.items()):
        values = [m.metrics[metric] for m in group]
        finite = [value for value in values if value is not None]
        if len(finite) < len(values):
            continue
        if metric == "ms-ssim-db":
            value = decibel(fmean(1.0 - 10.0 ** (-value / 10.0) for value in finite))
        else:
            value = fmean(finite)
        means[codec].append(MeanPoint(quality, fmean(m.bpp for m in group), value))
    return means


@dataclass(frozen=True, slots=True)
class Comparison:
    """A codec against the anchor in one metric: BD-rate in percent, BD-quality in the metric's unit, or why not.

    intervals: BD-rates over parts of the range (PSNR only), in the order of PSNR_INTERVALS.
    """

    metric: str
    codec: str
    anchor: str
    rate: Difference | str
    quality: Difference | str
    intervals: tuple[Difference | str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; what could not be computed is a string."""
        return asdict(self)


def metric_curve(name: str, metric: str, points: Iterable[tuple[float, float]]) -> Curve:
    """A curve of (bits per pixel, metric) points, of which more is better; InputError where that is none."""
    sign = 1.0 if METRICS[metric].higher_is_better else -1.0
    return Curve.of(name, [(rate, sign * value) for rate, value in points if math.isfinite(value)])


def or_reason(function: Callable[..., Difference], *arguments: Any) -> Difference | str:
    """A difference, or what its InputError says."""
    try:
        return function(*arguments)
    except InputError as error:
        return str(error)


def compare_curves(
    means: dict[str, list[MeanPoint]], metric: str, published: Sequence[Published], anchor: str
) -> list[Comparison]:
    """Every codec and published curve against the one called `anchor`, or the first codec where that has no points.

    Empty where nothing was measured.
    """
    sets = {codec: [(point.bpp, point.value) for point in points] for codec, points in means.items()}
    sets.update({curve.label: curve.points_of(metric) for curve in published})
    if not sets.get(anchor):
        anchor = next((codec for codec in means if sets[codec]), "")
    if not anchor:
        return []
    result = []
    for name, points in sets.items():
        if name == anchor or not points:
            continue
        try:
            curves = metric_curve(anchor, metric, sets[anchor]), metric_curve(name, metric, points)
        except InputError as error:
            result.append(Comparison(metric, name, anchor, str(error), str(error), ()))
            continue
        intervals = PSNR_INTERVALS if metric == "psnr" else ()
        result.append(
            Comparison(
                metric,
                name,
                anchor,
                or_reason(bd_rate, *curves),
                or_reason(bd_quality, *curves),
                tuple(or_reason(bd_rate, *curves, interval) for interval in intervals),
            )
        )
    return result


@dataclass(frozen=True, slots=True)
class Summary:
    """Curves and comparisons of an evaluation, by metric. pictures: how many the means of a metric are taken over.

    left_out: pictures that means do without.
    """

    pictures: dict[str, int]
    means: dict[str, dict[str, list[MeanPoint]]]
    published: dict[str, dict[str, list[tuple[float, float]]]]
    comparisons: list[Comparison]
    left_out: list[str]
    subjects: str = "pictures"
    method: str = "BD-rate by PCHIP over the logarithm of the rate, on means over pictures"
    rates: str = "bits per pixel (whole files)"

    @property
    def metrics(self) -> list[str]:
        """The metrics that were measured."""
        return list(self.means)

    @property
    def anchors(self) -> dict[str, str]:
        """What differences were taken against, by metric."""
        return {comparison.metric: comparison.anchor for comparison in self.comparisons}

    @property
    def speeds_against(self) -> tuple[str, str, dict[str, float]]:
        """PSNR, or the first metric where that was not measured, the anchor and BD-rates, percent."""
        anchors = self.anchors
        metric = "psnr" if "psnr" in anchors else next(iter(anchors), "")
        if not metric:
            return "", "", {}
        found = (c for c in self.comparisons if c.metric == metric)
        rates = {c.codec: c.rate.value for c in found if isinstance(c.rate, Difference)}
        return metric, anchors[metric], {anchors[metric]: 0.0, **rates}

    def panels(self, metric: str) -> list[Panel]:
        """The mean curves of a metric."""
        count = self.pictures[metric]
        title = f"Means of {count} pictures" if count != 1 else "One picture"
        return [Panel(title, self.means[metric], self.published.get(metric, {}))]

    def tables(self, metric: str) -> list[Table]:
        """The differences in a metric, and bits per pixel at equal values of it; none without an anchor."""
        chosen = [comparison for comparison in self.comparisons if comparison.metric == metric]
        if not chosen:
            return []
        sign = 1.0 if METRICS[metric].higher_is_better else -1.0
        rates = rate_table(self._curves(metric), chosen[0].anchor, f"bits per pixel at {metric}", sign)
        return [comparison_table(chosen), *([rates] if rates else [])]

    def _curves(self, metric: str) -> dict[str, Curve]:
        """Measured and published curves that are such."""
        sets = {codec: [(point.bpp, point.value) for point in points] for codec, points in self.means[metric].items()}
        curves = {}
        for name, points in {**sets, **self.published.get(metric, {})}.items():
            try:
                curves[name] = metric_curve(name, metric, points)
            except InputError:
                continue  # the comparison says why
        return curves

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "means": {
                metric: {codec: [asdict(point) for point in points] for codec, points in codecs.items()}
                for metric, codecs in self.means.items()
            },
            "published": self.published,
            "differences": [comparison.to_dict() for comparison in self.comparisons],
        }


def comparison_table(comparisons: Sequence[Comparison]) -> Table:
    """Heading and rows of the differences in one metric, at least one, with the interval of each in brackets."""
    heading = [f"against {comparisons[0].anchor}", "BD-rate", "BD-quality (bpp)"]
    if comparisons[0].metric == "psnr":
        heading += ["BD-rate 28.5..40 dB", "BD-rate below 33 dB"]
    rows = [heading]
    for comparison in comparisons:
        intervals = [cell(value, " %") for value in comparison.intervals] or [""] * (len(heading) - 3)
        rows.append([comparison.codec, cell(comparison.rate, " %"), cell(comparison.quality, ""), *intervals])
    return rows


def summarize(
    measurements: Sequence[Measurement], metrics: Sequence[str], published: Sequence[Published], anchor: str
) -> Summary:
    """Mean curves of every metric and the differences against `anchor`, a codec or the label of a published curve.

    In metrics of which nothing is known of the anchor they are taken against the first codec.
    """
    pictures, means, comparisons, left_out = {}, {}, [], []
    for metric in metrics:
        complete, incomplete = complete_pictures(measurements, metric)
        pictures[metric] = len(complete)
        means[metric] = mean_points(measurements, metric)
        comparisons += compare_curves(means[metric], metric, published, anchor)
        left_out += [f"{picture}: left out of the means of {metric}, which it lacks in part" for picture in incomplete]
    curves = {
        metric: {curve.label: points for curve in published if (points := curve.points_of(metric))}
        for metric in metrics
    }
    return Summary(pictures, means, curves, comparisons, left_out)
