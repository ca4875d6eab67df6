"""The commands that turn pictures and clips into streams and back: encode and decode, of one input or of many."""

from __future__ import annotations

import os
import threading
from argparse import Namespace
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from nacre.arguments import STANDARD
from nacre.batch import Failure, Stopped, Task, plan, run_batch
from nacre.bitstream.errors import InputError
from nacre.console import Console
from nacre.endpoints import peeked
from nacre.exits import Exit
from nacre.formats import CLIP_FORMATS, STREAM_SUFFIX, is_picture_name, is_video_name, output_format
from nacre.image import ImageCodec
from nacre.kinds import HEAD_BYTES, is_clip, is_sequence
from nacre.pictureconversion import decode_picture, encode_picture
from nacre.sources import Source, naming, source_name
from nacre.stopwatch import Stopwatch
from nacre.work import Outcome, Steps

Work = Callable[[Task, Stopwatch, Steps], Outcome]

# Options that are for one kind of input alone
_FOR_PICTURES = ("bpp", "size", "psnr", "effort", "strip", "region", "light")
_FOR_CLIPS = ("bitrate", "maxrate", "bufsize", "gop", "low_delay", "fps", "start", "duration", "no_audio")
_OTHER = {"pictures": "clip", "clips": "picture"}


def encode(options: Namespace, console: Console) -> int:
    """nacre encode IN OUT, nacre encode IN... --out-dir FOLDER."""
    codec = _codec(options, options.profile)

    def work(task: Task, stopwatch: Stopwatch, steps: Steps) -> Outcome:
        with peeked(task.source, HEAD_BYTES) as (start, source):
            if not is_clip(task.source, start):
                _refuse(_FOR_CLIPS, "clips", options, source)
                return encode_picture(codec, source, task.target, options, stopwatch, steps)
            _refuse(_FOR_PICTURES, "pictures", options, source)
            from nacre.clipconversion import encode_clip

            with console.about(source_name(source) or task.source):
                return encode_clip(source, task.target, options, _threads(options), stopwatch, steps)

    if options.out_dir is None:
        target = options.paths[1]
        if is_picture_name(target) or is_video_name(target):
            kind = "video" if is_video_name(target) else "another picture format"
            msg = f"{target}: the name is that of {kind}, encode writes nacre streams ({STREAM_SUFFIX})"
            raise InputError(msg)
    return _run(work, STREAM_SUFFIX, options, console)


def decode(options: Namespace, console: Console) -> int:
    """nacre decode IN OUT, nacre decode IN... --out-dir FOLDER."""
    codec = _codec(options)
    many = options.out_dir is not None
    chosen = (options.format or "").lower().removeprefix(".")
    if many and chosen not in CLIP_FORMATS:
        output_format(STANDARD, options.format)

    def work(task: Task, stopwatch: Stopwatch, steps: Steps) -> Outcome:
        with peeked(task.source, HEAD_BYTES) as (start, source):
            if not is_sequence(start):
                _refuse(_FOR_CLIPS, "clips", options, source)
                return decode_picture(codec, source, task.target, options, stopwatch, steps)
            _refuse(_FOR_PICTURES if many else (*_FOR_PICTURES, "format"), "pictures", options, source)
            if many and chosen and chosen not in CLIP_FORMATS:
                msg = f"format is '{options.format}', must be one of {', '.join(CLIP_FORMATS)} for a clip"
                raise InputError(msg)
            from nacre.clipconversion import decode_clip

            with console.about(source_name(source) or task.source):
                return decode_clip(source, task.target, options, _threads(options), stopwatch, steps)

    def suffix(name: str) -> str:
        if chosen or not os.path.isfile(name):  # a pipe cannot be asked now
            return f".{chosen or 'png'}"
        with peeked(name, HEAD_BYTES) as (start, _):
            return f".{CLIP_FORMATS[0] if is_sequence(start) else 'png'}"

    return _run(work, suffix, options, console)


def _refuse(names: Iterable[str], kind: str, options: Namespace, source: Source) -> None:
    """InputError where one of the options, which are for inputs of another kind, is given."""
    for name in names:
        if getattr(options, name, None) not in (None, False):
            with naming(source_name(source)):
                msg = f"--{name.replace('_', '-')} is for {kind} alone, this is a {_OTHER[kind]}"
                raise InputError(msg)


def _codec(options: Namespace, profile: str | None = None) -> ImageCodec:
    return ImageCodec(profile, _threads(options), options.weights, options.max_pixels)


def _threads(options: Namespace) -> int | None:
    return 1 if options.threads is None and (options.jobs or 1) > 1 else options.threads


def _run(work: Work, suffix: str | Callable[[str], str], options: Namespace, console: Console) -> int:
    if options.out_dir is None:
        return _run_one(work, Task(*options.paths), options, console)
    return _run_many(work, plan(options.paths, options.out_dir, suffix), options, console)


def _run_one(work: Work, task: Task, options: Namespace, console: Console) -> int:
    """One input, whose errors are the command's."""
    stopwatch = Stopwatch()
    with console.progress(1) as progress:
        steps = Steps(partial(progress.tiles, 0), partial(progress.frames, 0))
        outcome = work(task, stopwatch, steps)
    if task.target != STANDARD or options.verbose:
        console.say(_line(outcome, stopwatch, options), beside=task.target == STANDARD)
    with console.about(task.source):
        for loss in outcome.losses:
            console.complain(loss)
    return Exit.LOSSES if outcome.losses else Exit.DONE


def _run_many(work: Work, tasks: Sequence[Task], options: Namespace, console: Console) -> int:
    """Many inputs, one that fails not stopping the rest."""
    stop = threading.Event()
    failed = lossy = 0

    def check() -> None:
        if stop.is_set():
            raise Stopped

    def run(task: Task) -> tuple[Outcome, str]:
        def tiles(done: int, total: int) -> None:
            check()
            progress.tiles(id(task), done, total)

        def frames(done: int, total: int | None) -> None:
            check()
            progress.frames(id(task), done, total)

        with console.about(task.source):
            stopwatch = Stopwatch()
            outcome = work(task, stopwatch, Steps(tiles, frames))
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
