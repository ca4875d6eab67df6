"""`nacre evaluate`: pictures through codecs, metrics, mean curves, Bjontegaard differences, a report.

The parts can be used on their own, in a notebook for instance: `evaluate` gives an `Evaluation` that holds every
measurement; `nacre.tools.summary` makes curves and differences of them, `nacre.tools.plot` and `nacre.tools.report`
draw them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from nacre.bitstream.errors import InputError, NacreError
from nacre.tools.arguments import names, positive, tool_parser
from nacre.tools.crops import make_crops
from nacre.tools.curves import Published, load_published
from nacre.tools.measure import Journal, Measurement, Task, measure_all
from nacre.tools.metrics import DEFAULT_METRICS, METRICS
from nacre.tools.peers import NAMES, PictureCodec, fingerprint, open_codec
from nacre.tools.pictures import digest, find_pictures, read_picture
from nacre.tools.plot import write_plots
from nacre.tools.progress import Progress
from nacre.tools.report import build_report
from nacre.tools.results import Evaluation, print_speeds, print_tables, write_results, write_text
from nacre.tools.summary import Summary, summarize
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


def _check_metrics(names: Sequence[str], result: Evaluation) -> None:
    for name in names:
        try:
            METRICS[name].check()
        except NacreError as error:
            result.skipped.append(str(error))
        else:
            result.metrics.append(name)


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
    number. What is not installed, cannot be read or fails is listed in
    the result; the rest goes on. Raises InputError where the journal cannot be written.
    """
    result = Evaluation()
    opened = _open_codecs(codecs, weights, result)
    _check_metrics(metrics, result)
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
                key = f"{identity}/{codec.name}/{fingerprint(codec)}/{quality:g}"
                tasks.append(Task(str(path), codec.name, quality, tuple(result.metrics), key, weights))
    _measure(tasks, jobs, journal, progress, result)
    return result


def _measure(
    tasks: list[Task], jobs: int, journal: Path | None, make_progress: Callable[[int], Progress], result: Evaluation
) -> None:
    try:
        kept = Journal(journal) if journal else None
    except OSError as error:
        msg = f"{journal}: cannot be written: {error.strerror}"
        raise InputError(msg) from error
    found: dict[Task, Measurement] = {}
    for task in tasks:
        old = kept.kept.get(task.key) if kept else None
        if old is not None and all(name in old.metrics or name in old.errors for name in task.metrics):
            found[task] = old
    remaining = [task for task in tasks if task not in found]
    progress = make_progress(len(remaining))
    failures: dict[Task, str] = {}
    try:
        for task, outcome in measure_all(remaining, jobs):
            progress.step(f"{task.codec} {task.quality:g} {Path(task.picture).name}")
            if isinstance(outcome, str):
                failures[task] = outcome
                continue
            found[task] = outcome
            if kept:
                kept.add(outcome)
    finally:
        progress.close()
        if kept:
            kept.close()
    for task in tasks:
        if task in failures:
            result.failures.append(f"{task.picture}: {task.codec} at quality {task.quality:g}: {failures[task]}")
        else:
            result.measurements.append(_as_asked(found[task], task))
    lacking: dict[str, None] = {}
    for measurement in result.measurements:
        lacking.update(dict.fromkeys(f"{measurement.picture}: {reason}" for reason in measurement.errors.values()))
    result.failures += lacking


def _as_asked(measurement: Measurement, task: Task) -> Measurement:
    """A measurement under the name that the picture has now, with the metrics asked for, in their order."""
    values = measurement.to_dict()
    values["picture"] = task.picture
    values["metrics"] = {name: measurement.metrics[name] for name in task.metrics if name in measurement.metrics}
    values["errors"] = {name: measurement.errors[name] for name in task.metrics if name in measurement.errors}
    return Measurement.from_dict(values)


def _quality_list(text: str) -> tuple[str, tuple[float, ...]]:
    codec, separator, values = text.partition("=")
    try:
        numbers = tuple(float(value) for value in values.split(","))
    except ValueError:
        numbers = ()
    if not separator or not numbers:
        msg = f"{text!r} must be CODEC=Q,Q,..."
        raise argparse.ArgumentTypeError(msg)
    return codec, numbers


def _parser() -> argparse.ArgumentParser:
    parser = tool_parser(
        "evaluate",
        "Measure picture codecs side by side: real files, metrics, Bjontegaard differences, a report.",
        "Exit codes: 0 done, 1 error, 2 usage, 3 done, but something named on stderr is missing from it.",
    )
    parser.add_argument("pictures", nargs="+", metavar="PICTURE", help="files and folders")
    parser.add_argument("--codecs", type=names, required=True, metavar="NAME,...", help=", ".join(NAMES))
    parser.add_argument("--metrics", type=names, default=DEFAULT_METRICS, metavar="NAME,...", help=", ".join(METRICS))
    parser.add_argument(
        "--qualities",
        type=_quality_list,
        action="append",
        default=[],
        metavar="CODEC=Q,...",
        help="other qualities than a codec's own; may be repeated",
    )
    parser.add_argument(
        "--anchor",
        metavar="NAME",
        help="what differences are taken against: a codec, the first by default, or FILE.json:NAME",
    )
    parser.add_argument(
        "--published",
        action="append",
        default=[],
        metavar="FILE.json:NAME",
        help="a published curve to draw and compare; may be repeated",
    )
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="results, plots and report; a run there is taken up again"
    )
    parser.add_argument("--jobs", type=positive, default=1, metavar="N", help="processes, of one thread each (1)")
    parser.add_argument(
        "--timing",
        type=int,
        default=3,
        metavar="RUNS",
        help="with --out, time the codecs in a pass of its own, medians of RUNS runs; 0 leaves it out (3)",
    )
    parser.add_argument("--weights", metavar="FOLDER", help="where to look for nacre's weights")
    return parser


def _check_arguments(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    for name in arguments.codecs:
        if name not in NAMES and (name.partition(":")[0] != "nacre" or not name.partition(":")[2]):
            parser.error(f"codec {name!r} is unknown, must be one of {', '.join(NAMES)}")
    for name in arguments.metrics:
        if name not in METRICS:
            parser.error(f"metric {name!r} is unknown, must be one of {', '.join(METRICS)}")
    for name, _ in arguments.qualities:
        if name not in arguments.codecs:
            parser.error(f"--qualities: {name!r} is not among the codecs")
    if arguments.anchor and ".json:" not in arguments.anchor and arguments.anchor not in arguments.codecs:
        parser.error(f"--anchor: {arguments.anchor!r} is neither among the codecs nor FILE.json:NAME")
    if arguments.timing < 0:
        parser.error(f"--timing is {arguments.timing}, must be at least 0")


def _published(arguments: argparse.Namespace) -> tuple[list[Published], str]:
    """The published curves to show, and the anchor's name in the tables."""
    references = list(arguments.published)
    anchor: str = arguments.anchor or arguments.codecs[0]
    if ".json:" in anchor:
        references = list(dict.fromkeys([anchor, *references]))
        return [load_published(reference) for reference in references], load_published(anchor).label
    return [load_published(reference) for reference in references], anchor


def _run(arguments: argparse.Namespace) -> int:
    published, anchor = _published(arguments)
    out: Path | None = arguments.out
    if out is not None:
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            msg = f"{out}: cannot be made: {error.strerror}"
            raise InputError(msg) from error
    evaluation = evaluate(
        arguments.pictures,
        arguments.codecs,
        arguments.metrics,
        qualities=dict(arguments.qualities),
        weights=arguments.weights,
        jobs=arguments.jobs,
        journal=out / "measurements.jsonl" if out is not None else None,
        progress=partial(Progress, verbose=arguments.verbose, quiet=arguments.quiet),
    )
    _warn(f"skipped: {line}" for line in evaluation.skipped)
    summary = summarize(evaluation.measurements, evaluation.metrics, published, anchor)
    evaluation.failures += summary.left_out
    _warn(evaluation.failures)
    if evaluation.measurements:
        print_tables(summary)
        if out is not None:
            write_results(out, evaluation, summary)
            _time(evaluation, arguments)
            _illustrate(out, evaluation, summary, arguments)
            write_results(out, evaluation, summary)
    return EXIT_LOSSES if evaluation.failures else 0


def _warn(lines: Iterable[str]) -> None:
    for line in lines:
        print(f"nacre evaluate: {line}", file=sys.stderr)


def _time(evaluation: Evaluation, arguments: argparse.Namespace) -> None:
    if not arguments.timing:
        return
    threaded = [name for name in evaluation.settings if open_codec(name, 2, arguments.weights).threads > 1]
    try:
        evaluation.timings = time_codecs(evaluation.measurements, threaded, arguments.timing, arguments.weights)
    except Exception as error:  # whatever a library raises must not cost the report
        failure = f"timing: {type(error).__name__}: {error}"
        _warn([failure])
        evaluation.failures.append(failure)
    else:
        print_speeds(mean_speeds(evaluation.timings))


def _illustrate(out: Path, evaluation: Evaluation, summary: Summary, arguments: argparse.Namespace) -> None:
    """Plots and report."""
    crops, failures = make_crops(evaluation.measurements, arguments.jobs, arguments.weights)
    _warn(failures)
    evaluation.failures += failures
    speeds = mean_speeds(evaluation.timings)
    try:
        plots = write_plots(out, summary, speeds)
    except InputError as error:
        _warn([f"skipped: plots: {error}"])
        evaluation.skipped.append(f"plots: {error}")
        plots = {}
    write_text(out / "report.html", build_report(evaluation, summary, plots, speeds, crops))


def main(argv: Sequence[str] | None = None) -> int:
    """The sub-command; returns the exit code. Raises NacreError where nothing can be measured or written."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    _check_arguments(parser, arguments)
    return _run(arguments)
