"""The commands that turn pictures into streams and back: encode and decode, of one picture or of many."""

from __future__ import annotations

import threading
from argparse import Namespace
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

from nacre.arguments import STANDARD
from nacre.batch import Failure, Stopped, Task, plan, run_batch
from nacre.bitstream.errors import InputError
from nacre.console import Console
from nacre.endpoints import open_output, rewindable, source
from nacre.exits import Exit
from nacre.image import ImageCodec
from nacre.inspection import QUALITY_STEPS
from nacre.media import STREAM_SUFFIX, is_picture_name, is_video_name, open_sink, output_format
from nacre.stopwatch import Stopwatch

Step = Callable[[int, int], None]
"""Called with the number of tiles that are done and of all."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a picture: a line that says so, and what of it was lost."""

    line: str
    losses: Sequence[str] = ()


Work = Callable[[Task, Stopwatch, Step], Outcome]


def encode(options: Namespace, console: Console) -> int:
    """nacre encode IN OUT, nacre encode IN... --out-dir FOLDER."""
    codec = _codec(options, options.profile)
    searches = options.bpp is not None or options.size is not None or options.psnr is not None

    def work(task: Task, stopwatch: Stopwatch, step: Step) -> Outcome:
        with (
            open_output(task.target, clobber=not options.no_clobber) as file,
            rewindable(task.source) if searches else nullcontext(source(task.source)) as picture,
        ):
            made = codec.encode_to(
                picture,
                file,
                options.quality,
                stopwatch,
                bpp=options.bpp,
                size=options.size,
                psnr=options.psnr,
                effort=options.effort,
                strip=options.strip,
                progress=step,
            )
        header = made.header
        line = f"{task.target}: {header.width} x {header.height}, {made.size} bytes"
        line += f", {made.size * 8 / (header.width * header.height):.3f} bpp"
        if searches:
            line += f", quality {header.quality / QUALITY_STEPS:g}"
        return Outcome(line)

    if options.out_dir is None:
        target = options.paths[1]
        if is_picture_name(target) or is_video_name(target):
            kind = "video" if is_video_name(target) else "another picture format"
            msg = f"{target}: the name is that of {kind}, encode writes nacre streams ({STREAM_SUFFIX}) of pictures"
            raise InputError(msg)
    return _run(work, STREAM_SUFFIX, options, console)


def decode(options: Namespace, console: Console) -> int:
    """nacre decode IN OUT, nacre decode IN... --out-dir FOLDER."""
    codec = _codec(options)
    form = output_format(STANDARD if options.out_dir is not None else options.paths[1], options.format)

    def work(task: Task, stopwatch: Stopwatch, step: Step) -> Outcome:
        with (
            open_output(task.target, clobber=not options.no_clobber) as file,
            open_sink(file, form) as sink,
        ):
            decoded = codec.decode_rows(
                source(task.source),
                sink,
                stopwatch,
                region=options.region,
                keep_going=options.keep_going,
                light=options.light,
                progress=step,
            )
        made = decoded.form
        kind = ("grey" if made.grey else "RGB") + (" with alpha" if made.alpha else "")
        return Outcome(f"{task.target}: {made.width} x {made.height} {kind}, {form.name}", decoded.losses)

    return _run(work, f".{(options.format or 'png').lower().removeprefix('.')}", options, console)


def _codec(options: Namespace, profile: str | None = None) -> ImageCodec:
    threads = options.threads
    if threads is None and (options.jobs or 1) > 1:
        threads = 1
    return ImageCodec(profile, threads, options.weights, options.max_pixels)


def _run(work: Work, suffix: str, options: Namespace, console: Console) -> int:
    if options.out_dir is None:
        return _run_one(work, Task(*options.paths), options, console)
    return _run_many(work, plan(options.paths, options.out_dir, suffix), options, console)


def _run_one(work: Work, task: Task, options: Namespace, console: Console) -> int:
    """One picture, whose errors are the command's."""
    stopwatch = Stopwatch()
    with console.progress(1) as progress:
        outcome = work(task, stopwatch, lambda done, total: progress.tiles(0, done, total))
    if task.target != STANDARD or options.verbose:
        console.say(_line(outcome, stopwatch, options), beside=task.target == STANDARD)
    with console.about(task.source):
        for loss in outcome.losses:
            console.complain(loss)
    return Exit.LOSSES if outcome.losses else Exit.DONE


def _run_many(work: Work, tasks: Sequence[Task], options: Namespace, console: Console) -> int:
    """Many pictures, one that fails not stopping the rest."""
    stop = threading.Event()
    failed = lossy = 0

    def run(task: Task) -> tuple[Outcome, str]:
        def step(done: int, total: int) -> None:
            if stop.is_set():
                raise Stopped
            progress.tiles(id(task), done, total)

        with console.about(task.source):
            stopwatch = Stopwatch()
            outcome = work(task, stopwatch, step)
            return outcome, _line(outcome, stopwatch, options)

    def done(task: Task, result: tuple[Outcome, str] | Failure) -> None:
        nonlocal failed, lossy
        progress.finish(id(task))
        with console.about(task.source):
            if isinstance(result, Failure):
                failed += 1
                console.complain(result.reason, "error")
                return
            outcome, line = result
            lossy += bool(outcome.losses)
            console.say(line)
            for loss in outcome.losses:
                console.complain(loss)

    with console.progress(len(tasks)) as progress:
        run_batch(run, tasks, options.jobs or 1, done, stop)
    if failed == len(tasks):
        return Exit.ERROR
    return Exit.LOSSES if failed or lossy else Exit.DONE


def _line(outcome: Outcome, stopwatch: Stopwatch, options: Namespace) -> str:
    if not options.verbose:
        return outcome.line
    parts = [f", {part} {seconds * 1000:.1f} ms" for part, seconds in stopwatch.seconds.items() if seconds]
    return outcome.line + "".join(parts)
