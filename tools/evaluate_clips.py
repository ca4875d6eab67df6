"""Clips through codecs: the measurements of `nacre evaluate` where its sources are clips.

`evaluate_clips` gives an `Evaluation` as nacre.tools.evaluate.evaluate does for pictures; nacre.tools.clip_summary
makes curves and differences of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from nacre.bitstream.errors import InputError, NacreError
from nacre.tools.clip_metrics import mean_psnr
from nacre.tools.clips import find_clips, read_clip
from nacre.tools.measure import Task
from nacre.tools.metrics import DEFAULT_CLIP_METRICS
from nacre.tools.peers import check_qualities, fingerprint
from nacre.tools.progress import Progress
from nacre.tools.rates import INTERVAL, WANTED, next_qualities, rates_inside
from nacre.tools.results import Evaluation
from nacre.tools.runs import Outcomes, check_metrics, note, run_tasks
from nacre.tools.subjects import ClipCoding
from nacre.tools.video_peers import DEFAULT_GOP, VideoCodec, open_video_codec, variants

_DBS = f"{INTERVAL[0]:g} and {INTERVAL[1]:g} dB"


def evaluate_clips(
    clips: Iterable[str],
    codecs: Sequence[str],
    metrics: Sequence[str] = DEFAULT_CLIP_METRICS,
    *,
    gop: int = DEFAULT_GOP,
    frames: int | None = None,
    qualities: Mapping[str, tuple[float, ...]] | None = None,
    weights: str | None = None,
    jobs: int = 1,
    journal: Path | None = None,
    progress: Callable[[int], Progress] = Progress,
) -> Evaluation:
    """Measure every clip with every codec, in `jobs` processes of one thread each.

    Every codec is tried at a few qualities, then at those between them that are wanting for six rates between 30 and
    42 dB of 6:1:1 PSNR; `qualities`, by codec, are tried instead. clips: files and folders. codecs: names of
    nacre.tools.video_peers; x264 and x265 stand for two each. gop: distance of I frames. frames: how many of each clip,
    all by default. The rest is as of nacre.tools.evaluate.evaluate.
    """
    result = Evaluation()
    opened = _open_codecs(codecs, gop, weights, result)
    given = {variant: values for name, values in (qualities or {}).items() for variant in variants(name)}
    for name, codec in opened.items():
        check_qualities(name, given.get(name, ()), codec.bounds, codec.step)
    check_metrics(metrics, result, clips=True)
    paths, missing = find_clips(clips)
    result.failures += missing
    digests: dict[str, str] = {}
    for path in paths:
        try:
            digests[str(path)] = read_clip(path, frames).digest()
        except InputError as error:
            result.failures.append(str(error))
    pairs = [(path, name) for path in digests for name in opened]

    def task(path: str, name: str, quality: float) -> Task:
        key = f"{digests[path]}/{name}/{fingerprint(opened[name].settings)}/{gop}/{quality:g}"
        return Task(path, name, quality, tuple(result.metrics), key, weights, ClipCoding(gop, frames))

    tried: dict[tuple[str, str], Outcomes] = {pair: {} for pair in pairs}
    wanted = {pair: given.get(pair[1], opened[pair[1]].qualities) for pair in pairs}
    while any(wanted.values()):
        tasks = [task(*pair, quality) for pair in pairs for quality in wanted[pair]]
        for done, outcome in run_tasks(tasks, jobs, journal, progress).items():
            tried[done.picture, done.codec][done] = outcome
        wanted = {pair: () if pair[1] in given else _more(tried[pair], opened[pair[1]].step) for pair in pairs}
    for pair in pairs:
        step = opened[pair[1]].step
        note(dict(sorted(tried[pair].items(), key=lambda item: item[0].quality / step)), result)
        count = rates_inside(_found(tried[pair]))
        if pair[1] not in given and count < WANTED:
            result.failures.append(f"{pair[0]}: {pair[1]}: {count} rates between {_DBS}, {WANTED} are wanted")
    return result


def _open_codecs(names: Sequence[str], gop: int, weights: str | None, result: Evaluation) -> dict[str, VideoCodec]:
    codecs: dict[str, VideoCodec] = {}
    for variant in dict.fromkeys(variant for name in names for variant in variants(name)):
        try:
            codecs[variant] = open_video_codec(variant, gop, weights=weights)
        except NacreError as error:
            result.skipped.append(f"{variant}: {error}")
        else:
            result.settings[variant] = dict(codecs[variant].settings)
    return codecs


def _found(outcomes: Outcomes) -> dict[float, float]:
    """6:1:1 PSNR by quality, dB."""
    return {m.quality: mean_psnr(m.kinds) for m in outcomes.values() if not isinstance(m, str)}


def _more(outcomes: Outcomes, step: float) -> tuple[float, ...]:
    tried = {task.quality for task in outcomes}
    return tuple(quality for quality in next_qualities(_found(outcomes), step) if quality not in tried)
