"""Measuring: one picture or clip through one codec at one quality, in worker processes, kept as it goes along."""

from __future__ import annotations

import json
import math
import time
import warnings
from collections import deque
from collections.abc import Generator, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

from nacre.bitstream.errors import NacreError
from nacre.tools.clip_metrics import frame_kinds
from nacre.tools.clips import Clip
from nacre.tools.machine import peak_memory, reset_peak_memory
from nacre.tools.metrics import METRICS
from nacre.tools.subjects import ClipCoding, check_decoded, load, samples, warm_codec
from nacre.tools.workers import single_threaded_children, worker_pool


@dataclass(frozen=True, slots=True)
class Task:
    """One measurement to make. key: names picture, codec, settings and quality. weights: nacre's folder.

    picture: a file; of a clip where `clip` says how those are coded.
    """

    picture: str
    codec: str
    quality: float
    metrics: tuple[str, ...]
    key: str
    weights: str | None = None
    clip: ClipCoding | None = None


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one picture or clip gave through one codec at one quality.

    metrics: None where a value is not finite (PSNR of an identical picture). errors: metrics that could not be taken.
    encode_s, decode_s: seconds of one call, other processes running beside it; for timings see nacre.tools.timing.
    peak_memory: bytes of the whole process, library and loaded models included.
    frames: of a clip. kinds: what nacre.tools.clip_metrics.frame_kinds says of them.
    """

    key: str
    picture: str
    width: int
    height: int
    codec: str
    quality: float
    bytes: int
    metrics: Mapping[str, float | None]
    errors: Mapping[str, str]
    encode_s: float
    decode_s: float
    peak_memory: int | None
    frames: int = 1
    kinds: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def bpp(self) -> float:
        """Bits of the whole file per pixel, of all frames."""
        return 8.0 * self.bytes / (self.width * self.height * self.frames)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "bpp": self.bpp}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Measurement:
        """What `to_dict` gave; TypeError where fields are missing."""
        return cls(**{name: value for name, value in values.items() if name in cls.__dataclass_fields__})


def measure(task: Task) -> Measurement:
    """Make one measurement: encode, decode from the bytes alone, check, compare."""
    source = load(task.picture, task.clip)
    codec = warm_codec(task.codec, 1, task.weights, task.clip)
    reset_peak_memory()
    start = time.perf_counter()
    data = codec.encode(source, task.quality)
    middle = time.perf_counter()
    decoded = codec.decode(data)
    end = time.perf_counter()
    memory = peak_memory()
    check_decoded(source, decoded)
    values: dict[str, float | None] = {}
    errors: dict[str, str] = {}
    for name in task.metrics:
        metric = METRICS[name]
        try:
            value = metric.of_clip(source, decoded) if isinstance(source, Clip) else metric(source, decoded)
            values[name] = value if math.isfinite(value) else None
        except NacreError as error:
            errors[name] = str(error)
    height, width = (source.height, source.width) if isinstance(source, Clip) else source.shape[:2]
    measurement = Measurement(
        key=task.key,
        picture=task.picture,
        width=width,
        height=height,
        codec=task.codec,
        quality=task.quality,
        bytes=len(data),
        metrics=values,
        errors=errors,
        encode_s=middle - start,
        decode_s=end - middle,
        peak_memory=memory,
    )
    if task.clip is None:
        return measurement
    frames = samples(source)
    return replace(measurement, frames=len(frames), kinds=frame_kinds(frames, decoded, data.packets, task.clip.gop))


def _attempt(task: Task) -> Measurement | str:
    try:
        return measure(task)
    except Exception as error:  # whatever a library raises on one picture must not end the run
        return f"{type(error).__name__}: {error}"


def _run(queue: deque[Task], jobs: int) -> Generator[tuple[Task, Measurement | str | None], None, None]:
    """Results as they come; None for tasks that were under way when a process died, then the rest stays queued."""
    running: dict[Future[Measurement | str], Task] = {}
    broken = False
    with worker_pool(jobs) as pool:
        while running or (queue and not broken):
            while queue and not broken and len(running) < 2 * jobs:
                try:
                    future = pool.submit(_attempt, queue[0])
                except BrokenProcessPool:
                    broken = True
                else:
                    running[future] = queue.popleft()
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                task = running.pop(future)
                try:
                    result = future.result()
                except BrokenProcessPool:
                    broken = True
                    yield task, None
                else:
                    yield task, result


def measure_all(tasks: Iterable[Task], jobs: int) -> Generator[tuple[Task, Measurement | str], None, None]:
    """Each task with its measurement or with what went wrong, in the order of completion, from `jobs` processes.

    A codec that takes its process down with it, or a process that is killed, costs its own measurement at most:
    whatever was under way is run again, each task in a process of its own, with a UserWarning. Closing the generator
    ends the processes at once.
    """
    queue = deque(tasks)
    with single_threaded_children():
        while queue:
            suspects = []
            with closing(_run(queue, jobs)) as results:
                for task, result in results:
                    if result is None:
                        suspects.append(task)
                    else:
                        yield task, result
            if suspects:
                msg = f"a worker process died: what was under way ({len(suspects)}) is measured again, one by one"
                warnings.warn(msg, UserWarning, stacklevel=2)
            for task in suspects:
                with closing(_run(deque([task]), 1)) as results:
                    for _, result in results:
                        yield task, "its process died" if result is None else result


class Journal:
    """Finished measurements, one JSON object a line, so that an interrupted run is taken up where it stopped."""

    def __init__(self, path: Path) -> None:
        self.kept: dict[str, Measurement] = {}
        for line in path.read_bytes().splitlines() if path.exists() else ():
            try:
                measurement = Measurement.from_dict(json.loads(line))
            except (ValueError, TypeError, AttributeError):
                continue  # the line at which the last run was interrupted
            self._keep(measurement)
        self._file: BinaryIO = path.open("ab")
        if self._file.tell():
            self._file.write(b"\n")

    def add(self, measurement: Measurement) -> None:
        """Keep a measurement, on the disk at once."""
        self._keep(measurement)
        self._file.write(json.dumps(measurement.to_dict()).encode() + b"\n")
        self._file.flush()

    def _keep(self, measurement: Measurement) -> None:
        """Keep a measurement, and of an older one of the same bytes the metrics that it lacks."""
        old = self.kept.get(measurement.key)
        if old is not None and old.bytes == measurement.bytes:
            metrics, errors = {**old.metrics, **measurement.metrics}, {**old.errors, **measurement.errors}
            measurement = replace(measurement, metrics=metrics, errors=errors)
        self.kept[measurement.key] = measurement

    def close(self) -> None:
        """Close the file."""
        self._file.close()
