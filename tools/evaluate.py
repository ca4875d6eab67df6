"""`nacre evaluate`: pictures or clips through codecs, metrics, mean curves, Bjontegaard differences, a report.

The parts can be used on their own, in a notebook for instance: `evaluate`, and `nacre.tools.evaluate_clips` for clips,
give an `Evaluation` that holds every measurement; `nacre.tools.summary` and `nacre.tools.clip_summary` make curves and
differences of them, `nacre.tools.plot` and `nacre.tools.report` draw them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from nacre.bitstream.errors import InputError, NacreError
from nacre.tools.clip_summary import summarize_clips
from nacre.tools.crops import Crop, make_crops
from nacre.tools.evaluate_arguments import load_curves, parse
from nacre.tools.evaluate_clips import evaluate_clips
from nacre.tools.markdown import build_markdown
from nacre.tools.measure import Task
from nacre.tools.metrics import DEFAULT_METRICS
from nacre.tools.peers import PictureCodec, check_qualities, fingerprint, open_codec
from nacre.tools.pictures import digest, find_pictures, read_picture
from nacre.tools.plot import write_plots
from nacre.tools.progress import Progress
from nacre.tools.report import build_report
from nacre.tools.results import Evaluation, print_speeds, print_tables, write_results, write_text
from nacre.tools.runs import check_metrics, note, run_tasks
from nacre.tools.subjects import ClipCoding, open_any
from nacre.tools.summary import Shown, summarize
from nacre.tools.timing import mean_speeds, time_codecs

EXIT_LOSSES = 3


def _open_codecs(names: Sequence[str], weights: str | None, result: Evaluation) -> list[PictureCodec]:
    codecs = []
    for name in names:
        try:
            codec = open_codec(name, weights=weights)
        except NacreError as error:
            result.skipped.append(f"{name}: {error}")
        else:
            codecs.append(codec)
            result.settings[name] = dict(codec.settings)
    return codecs


def evaluate(
    pictures: Iterable[str],
    codecs: Sequence[str],
    metrics: Sequence[str] = DEFAULT_METRICS,
    *,
    qualities: dict[str, tuple[float, ...]] | None = None,
    weights: str | None = None,
    jobs: int = 1,
    journal: Path | None = None,
    progress: Callable[[int], Progress] = Progress,
) -> Evaluation:
    """Measure every picture with every codec at every quality, in `jobs` processes of one thread each.

    pictures: files and folders. codecs, metrics: names of nacre.tools.peers and nacre.tools.metrics. qualities: other
    ones than a codec's own, by codec. weights: folder of nacre's weights. journal: file in which finished measurements
    are kept; those that it has already are not made again. progress: what is told of every piece, made with their
    number. What is not installed, cannot be read or fails is listed in the result; the rest goes on. Raises InputError
    for a quality that a codec does not have, and where the journal cannot be written.
    """
    result = Evaluation()
    opened = _open_codecs(codecs, weights, result)
    for codec in opened:
        check_qualities(codec.name, (qualities or {}).get(codec.name, ()), codec.bounds, codec.step)
    check_metrics(metrics, result)
    paths, missing = find_pictures(pictures)
    result.failures += missing
    tasks = []
    for path in paths:
        try:
            identity = digest(read_picture(path))
        except InputError as error:
            result.failures.append(str(error))
            continue
        for codec in opened:
            for quality in (qualities or {}).get(codec.name, codec.qualities):
                key = f"{identity}/{codec.name}/{fingerprint(codec.settings)}/{quality:g}"
                tasks.append(Task(str(path), codec.name, quality, tuple(result.metrics), key, weights))
    note(run_tasks(tasks, jobs, journal, progress), result)
    return result


def _run(arguments: argparse.Namespace) -> int:
    out: Path | None = arguments.out
    clip = ClipCoding(arguments.gop, arguments.frames) if arguments.clips else None
    published, anchor = load_curves(arguments)
    if out is not None:
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            msg = f"{out}: cannot be made: {error.strerror}"
            raise InputError(msg) from error
    measure = evaluate if clip is None else partial(evaluate_clips, gop=clip.gop, frames=clip.frames)
    evaluation = measure(
        arguments.sources,
        arguments.codecs,
        arguments.metrics,
        qualities=dict(arguments.qualities),
        weights=arguments.weights,
        jobs=arguments.jobs,
        journal=out / "measurements.jsonl" if out is not None else None,
        progress=partial(Progress, verbose=arguments.verbose, quiet=arguments.quiet),
    )
    evaluation.command = arguments.command
    _warn(f"skipped: {line}" for line in evaluation.skipped)
    summary: Shown
    if clip is None:
        summary = found = summarize(evaluation.measurements, evaluation.metrics, published, anchor)
        evaluation.failures += found.left_out
    else:
        summary = summarize_clips(evaluation.measurements, evaluation.metrics, arguments.asked, anchor)
    _warn(evaluation.failures)
    if evaluation.measurements and len(evaluation.settings) + len(published) > 1:
        unknown = list(_without_anchor(summary, arguments.asked.get(anchor, (anchor,))))
        evaluation.skipped += unknown
        _warn(f"skipped: {line}" for line in unknown)
    if evaluation.measurements:
        print_tables(summary)
    if out is not None:
        write_results(out, evaluation, summary)
        _time(evaluation, arguments, clip)
        _illustrate(out, evaluation, summary, arguments, clip)
        write_results(out, evaluation, summary)
    return EXIT_LOSSES if evaluation.failures or not evaluation.measurements else 0


def _without_anchor(summary: Shown, anchors: Sequence[str]) -> Iterator[str]:
    """A line for each metric without differences against one of `anchors`."""
    for metric in summary.metrics:
        found = summary.anchors.get(metric)
        if found not in anchors:
            instead = f", so they are taken against {found}" if found else ""
            yield f"differences in {metric}: nothing is known of the anchor {anchors[0]}{instead}"


def _warn(lines: Iterable[str]) -> None:
    for line in lines:
        print(f"nacre evaluate: {line}", file=sys.stderr)


def _time(evaluation: Evaluation, arguments: argparse.Namespace, clip: ClipCoding | None) -> None:
    if not arguments.timing or not evaluation.measurements:
        return
    weights: str | None = arguments.weights
    threaded = [name for name in evaluation.settings if open_any(name, 2, weights, clip).threads > 1]
    try:
        evaluation.timings = time_codecs(evaluation.measurements, threaded, arguments.timing, weights, clip)
    except Exception as error:  # whatever a library raises must not cost the report
        failure = f"timing: {type(error).__name__}: {error}"
        _warn([failure])
        evaluation.failures.append(failure)
    else:
        print_speeds(mean_speeds(evaluation.timings))


def _illustrate(
    out: Path, evaluation: Evaluation, summary: Shown, arguments: argparse.Namespace, clip: ClipCoding | None
) -> None:
    """Plots, report and the tables as Markdown."""
    crops: list[Crop] = []
    plots: dict[str, bytes] = {}
    speeds = mean_speeds(evaluation.timings)
    if evaluation.measurements:
        crops, failures = make_crops(evaluation.measurements, arguments.jobs, arguments.weights, clip)
        _warn(failures)
        evaluation.failures += failures
        try:
            plots = write_plots(out, summary, speeds)
        except InputError as error:
            _warn([f"skipped: plots: {error}"])
            evaluation.skipped.append(f"plots: {error}")
    write_text(out / "report.html", build_report(evaluation, summary, plots, speeds, crops))
    write_text(out / "summary.md", build_markdown(evaluation, summary, plots, speeds))


def main(argv: Sequence[str] | None = None) -> int:
    """The sub-command; returns the exit code. Raises NacreError where nothing can be measured or written."""
    return _run(parse(argv))
