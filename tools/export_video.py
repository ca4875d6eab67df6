"""Publish a video leg: ``python -m nacre.tools.export_video RUN FOLDER --data SHOTS --cache MOTION``."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable, Iterator
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nacre.bitstream.errors import NacreError
from nacre.models.complexity import mac_per_luma_sample
from nacre.models.frame_export import export_frame_graphs
from nacre.models.frames import Planes, round_planes, to_patches, to_planes
from nacre.models.loss import bits_per_pixel
from nacre.models.published import load_published_frames
from nacre.models.scale_decoder import prior_of
from nacre.models.tables import symbol_tables
from nacre.models.transforms import PATCH, PIXEL_SCALE
from nacre.models.video import FrameModel
from nacre.tools.export import (
    LIVE_STEP,
    EncoderChoice,
    check_read_back,
    replaced,
    write_weights,
)
from nacre.tools.rollouts import Rollout, Sequence, crop, predict, sequence, stack
from nacre.tools.rounding_offsets import rounding_offsets
from nacre.tools.shots import load_shots
from nacre.tools.train import lambda_to_quality
from nacre.tools.train_video import GOP, MEASURE_LAMBDAS, MINIMUM_SIDE, VideoModel, load_video
from nacre.version import __version__
from nacre.weights import sequence as store
from nacre.weights.store import MANIFEST

PROFILE = "fast"
SHOTS = 2  # of each source of validation shots
FRAMES = 4  # of each shot
CANDIDATE_STRENGTHS = (0.0, 0.2, 0.4)
CANDIDATE_THRESHOLDS = (8, 5, 11)  # strengths are chosen at the first
MOTION_PREFIX = "m."
LIVE_ROW_STEP = 5  # between rows whose live channels are measured


class Coding(NamedTuple):
    """What an encoder does with symbols: of intra and of predicted frames."""

    intra: EncoderChoice
    predicted: EncoderChoice


class Step(NamedTuple):
    """A frame to be coded: patches and the prediction's, None for an intra frame."""

    x: Tensor
    prediction: Tensor | None


@torch.no_grad()
def steps(
    model: VideoModel, rollouts: list[Rollout], coding: Coding | None, quality: float
) -> Iterator[tuple[Step, Any]]:
    """Code rollouts frame by frame, each from the one before as decoded: with what ``code`` gives for it."""
    cpu = torch.device("cpu")
    for rollout in rollouts:
        qualities = torch.full((len(rollout.luma),), quality)
        reference: Planes | None = None
        before: Tensor | None = None
        for time in range(rollout.luma.shape[1]):
            prediction: Tensor | None = None
            if reference is not None:
                prediction = to_patches(predict(reference, rollout.fields[:, time - 1]))
            part = model.intra if prediction is None else model.predicted
            step = Step(to_patches(rollout.planes(time, cpu)), prediction)
            choice = None if coding is None else coding.intra if prediction is None else coding.predicted
            output = part.code(
                step.x,
                prediction,
                qualities,
                hard=True,
                offsets=None if choice is None else choice.offsets,
                skip_threshold=0 if choice is None else choice.skip_threshold,
                before=before,
            )
            yield step, output
            before = None if prediction is None else prior_of(output["symbols"])
            reference = round_planes(to_planes(output["x_hat"]))


def measure(model: VideoModel, rollouts: list[Rollout], coding: Coding | None) -> dict[str, float]:
    """J of intra frames, of predicted frames and of a GOP, in single precision, with an encoder's rounding."""
    totals = {"intra": [0.0, 0], "predicted": [0.0, 0]}
    for lmbda in MEASURE_LAMBDAS:
        for step, output in steps(model, rollouts, coding, lambda_to_quality(lmbda)):
            rate = bits_per_pixel(output["likelihoods"], step.x.shape[2] * step.x.shape[3] * PATCH * PATCH)
            distortion = (output["x_hat"] - step.x).square().mean((1, 2, 3)) * PIXEL_SCALE**2
            cost = rate / math.sqrt(lmbda) + math.sqrt(lmbda) * distortion
            total = totals["intra" if step.prediction is None else "predicted"]
            total[0] += float(cost.sum())
            total[1] += len(cost)
    numbers = {kind: total / max(count, 1) for kind, (total, count) in totals.items()}
    return numbers | {"J": (numbers["intra"] + (GOP - 1) * numbers["predicted"]) / GOP}


def choose_coding(model: VideoModel, rollouts: list[Rollout], report: Callable[[str], None]) -> Coding:
    """The strengths of rounding towards zero, and then the skip threshold of both kinds, that have the least J."""
    tables = [symbol_tables(part.conditional) for part in (model.intra, model.predicted)]

    def coding(strengths: tuple[float, float], threshold: int) -> Coding:
        offsets = (rounding_offsets(*pair) for pair in zip(tables, strengths, strict=True))
        return Coding(*(EncoderChoice(values, threshold) for values in offsets))

    @cache
    def cost(strengths: tuple[float, float], threshold: int) -> float:
        found = measure(model, rollouts, coding(strengths, threshold))["J"]
        report(f"rounding strengths {strengths[0]} and {strengths[1]}, skip threshold {threshold:2d}: J {found:.4f}")
        return found

    first = CANDIDATE_THRESHOLDS[0]
    intra = min(CANDIDATE_STRENGTHS, key=lambda strength: cost((strength, 0.0), first))
    predicted = min(CANDIDATE_STRENGTHS, key=lambda strength: cost((intra, strength), first))
    threshold = min(CANDIDATE_THRESHOLDS, key=lambda threshold: cost((intra, predicted), threshold))
    return coding((intra, predicted), threshold)


def live_channels(model: VideoModel, rollouts: list[Rollout], coding: Coding) -> tuple[list[int], list[int]]:
    """For each entropy row, how many leading latent channels hold symbols, in intra and in predicted frames.

    Some rows are measured, always the last one; the others have as many as the next one that is. More quality never has
    fewer channels.
    """
    last = model.intra.config.rows - 1
    parts = (model.intra, model.predicted)
    highest = [1, 1]
    counts: tuple[list[int], list[int]] = ([], [])

    def keep(context: nn.Module, _inputs: object, output: tuple[Tensor, Tensor]) -> None:
        alive = torch.nonzero((output[0] != 0).any(0).flatten(1).any(1)).flatten()
        kind = int(context is model.predicted.context)
        highest[kind] = max(highest[kind], *(alive[-1:] + 1).tolist(), 1)

    handles = [part.context.register_forward_hook(keep) for part in parts]
    for row in sorted({last, *range(0, last, LIVE_ROW_STEP)}):
        for _ in steps(model, rollouts, coding, 100.0 * row / last):
            pass
        for count, channels, part in zip(counts, highest, parts, strict=True):
            rounded = min(-(-channels // LIVE_STEP) * LIVE_STEP, part.config.latent_channels)
            count += [rounded] * (row + 1 - len(count))
    for handle in handles:
        handle.remove()
    return counts


def publish_video(
    model: VideoModel,
    folder: Path,
    *,
    profile: str,
    coding: Coding,
    live: tuple[list[int], list[int]],
    motion: dict[str, NDArray[Any]],
    version: str,
    notes: dict[str, Any],
) -> int:
    """Write the folder of published weights of sequences, replacing it as a whole; returns its bytes."""
    size = 0
    with replaced(folder) as temporary:
        digests = []
        for kind, choice, channels in zip((store.INTRA, store.PREDICTED), coding, live, strict=True):
            part: FrameModel = getattr(model, kind)
            place = temporary / kind
            place.mkdir()
            manifest = write_weights(
                part, place, export_frame_graphs(part), choice=choice, live=channels, version=version, notes=notes,
                macs=mac_per_luma_sample(part), tables=motion if part.predicted else None,
            )  # fmt: skip
            check_read_back(part, load_published_frames(place, predicted=part.predicted), place)
            digests.append(bytes.fromhex(manifest["digest"]))
            size += sum(entry["bytes"] for entry in manifest["files"].values())
        (temporary / MANIFEST).write_text(store.manifest(profile, version, digests[0], digests[1], notes))
    return size


def motion_tables(source: Path) -> dict[str, NDArray[Any]]:
    """The motion tables of a file of tools/motion_tables or of published weights; ValueError where there are none."""
    path = source / store.PREDICTED / "entropy.npz" if source.is_dir() else source
    with np.load(path, allow_pickle=False) as archive:
        tables = {name: archive[name] for name in archive.files if name.startswith(MOTION_PREFIX)}
    if not tables:
        msg = f"{path} holds no motion tables"
        raise ValueError(msg)
    return tables


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(prog="nacre.tools.export_video", description=__doc__)
    parser.add_argument("run", type=Path, help="run folder, or published weights to write again")
    parser.add_argument("folder", type=Path, help="folder of the weights, for instance weights/fast-video")
    parser.add_argument("--data", type=Path, required=True, help="training shots: the validation shots choose")
    parser.add_argument("--motion", type=Path, help="tables of tools/motion_tables (default: the installed ones)")
    parser.add_argument("--cache", type=Path, required=True, help="folder where searched motion is kept")
    parser.add_argument("--version", default=__version__)
    parser.add_argument("--note", default="", help="one line for the manifest: data, hardware, minutes")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    options = parse(arguments)
    torch.set_num_threads(options.threads)
    try:
        if options.folder.exists() and not (options.folder / MANIFEST).exists():
            msg = f"{options.folder} exists and holds no published weights: it is not replaced"
            raise ValueError(msg)
        motion = motion_tables(options.motion or store.load_sequence(PROFILE).folder)
        model = load_video(options.run).eval()
        _, validation = load_shots(options.data, minimum=MINIMUM_SIDE, limit=1)
        by_source = sorted(validation, key=lambda shot: shot.source)
        groups = (list(group)[:SHOTS] for _, group in groupby(by_source, lambda shot: shot.source))
        rollouts = [_centre(sequence(shot, options.cache)) for group in groups for shot in group]
        coding = choose_coding(model, rollouts, print)
        live = live_channels(model, rollouts, coding)
        size = publish_video(
            model, options.folder, profile=PROFILE, coding=coding, live=live, motion=motion, version=options.version,
            notes={"note": options.note},
        )  # fmt: skip
        shipped = measure(load_video(options.folder), rollouts, coding)
    except (ValueError, OSError, NacreError) as error:
        print(f"nacre.tools.export_video: {error}", file=sys.stderr)
        return 1
    print(
        f"{options.folder}: {size / 1e6:.2f} MB; live channels {live[0][0]}..{live[0][-1]}, {live[1][0]}..{live[1][-1]}"
    )
    print("as shipped: " + ", ".join(f"{name} {value:.4f}" for name, value in shipped.items()))
    return 0


def _centre(shot: Sequence) -> Rollout:
    height, width = shot.luma.shape[1:]
    top, left = (height - MINIMUM_SIDE) // 32 * 16, (width - MINIMUM_SIDE) // 32 * 16
    return stack([crop(shot, 0, FRAMES, top, left, MINIMUM_SIDE)])


if __name__ == "__main__":
    sys.exit(main())
