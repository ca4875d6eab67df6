"""Making measurements: those that are kept are taken, the others made, what fails is named."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from nacre.bitstream.errors import InputError, NacreError
from nacre.tools.measure import Journal, Measurement, Task, measure_all
from nacre.tools.metrics import METRICS
from nacre.tools.progress import Progress
from nacre.tools.results import Evaluation

Outcomes = dict[Task, Measurement | str]  # measurements, or what went wrong


def check_metrics(names: Sequence[str], result: Evaluation, *, clips: bool = False) -> None:
    """Note in the result which metrics can be computed here, of pictures or of clips, and which cannot."""
    for name in names:
        try:
            METRICS[name].check(clips=clips)
        except NacreError as error:
            result.skipped.append(str(error))
        else:
            result.metrics.append(name)


def run_tasks(
    tasks: Sequence[Task], jobs: int, journal: Path | None, make_progress: Callable[[int], Progress]
) -> Outcomes:
    """The outcome of each task, in their order, made in `jobs` processes and kept in the journal.

    Raises InputError where the journal cannot be written.
    """
    try:
        kept = Journal(journal) if journal else None
    except OSError as error:
        msg = f"{journal}: cannot be written: {error.strerror}"
        raise InputError(msg) from error
    found: Outcomes = {}
    for task in tasks:
        old = kept.kept.get(task.key) if kept else None
        if old is not None and all(name in old.metrics or name in old.errors for name in task.metrics):
            found[task] = old
    remaining = [task for task in tasks if task not in found]
    progress = make_progress(len(remaining))
    try:
        with closing(measure_all(remaining, jobs)) as outcomes:
            for task, outcome in outcomes:
                progress.step(f"{task.codec} {task.quality:g} {Path(task.picture).name}")
                found[task] = outcome
                if kept and not isinstance(outcome, str):
                    kept.add(outcome)
    finally:
        progress.close()
        if kept:
            kept.close()
    return {task: outcome if isinstance(outcome := found[task], str) else _as_asked(outcome, task) for task in tasks}


def note(outcomes: Mapping[Task, Measurement | str], result: Evaluation) -> None:
    """Add measurements, failures and metrics that could not be taken to a result."""
    for task, outcome in outcomes.items():
        if isinstance(outcome, str):
            result.failures.append(f"{task.picture}: {task.codec} at quality {task.quality:g}: {outcome}")
        else:
            result.measurements.append(outcome)
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
