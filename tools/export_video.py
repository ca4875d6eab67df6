"""Publish a video leg: ``python -m nacre.tools.export_video RUN FOLDER --data SHOTS --motion motion.npz``."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nacre.bitstream.errors import NacreError
from nacre.models.complexity import mac_per_luma_sample
from nacre.models.context import NOT_CODED
from nacre.models.frame_export import export_frame_graphs
from nacre.models.frames import round_planes, to_patches, to_planes
from nacre.models.loss import bits_per_pixel
from nacre.models.published import load_published_frames
from nacre.models.scale_decoder import Z_MAX
from nacre.models.tables import symbol_tables
from nacre.models.transforms import PATCH, PIXEL_SCALE
from nacre.models.video import FrameModel
from nacre.tools.export import (
    CANDIDATE_THRESHOLDS,
    LIVE_STEP,
    EncoderChoice,
    check_read_back,
    replaced,
    rounding_offsets,
    write_weights,
)
from nacre.tools.rollouts import Rollout, crop, predict, sequence
from nacre.tools.shots import load_shots
from nacre.tools.train import lambda_to_quality
from nacre.tools.train_video import GOP, MEASURE_LAMBDAS, MINIMUM_SIDE, VideoModel, load_video
from nacre.version import __version__
from nacre.weights import sequence as store
from nacre.weights.store import MANIFEST

PROFILE = "fast"
FRAMES = 4  # of each validation shot
CANDIDATE_STRENGTHS = {"intra": (0.0, 0.2, 0.4), "predicted": (0.0, 0.3, 0.6, 0.9)}
MOTION_PREFIX = "m."
MEASURED_ROWS = 5


class Coding(NamedTuple):
    """What an encoder does with symbols: of intra and of predicted frames."""

    intra: EncoderChoice
    predicted: EncoderChoice


class Step(NamedTuple):
    """One frame on its way: its model, patches, prediction (None: intra), quality (B,), and what to tell of it."""

    model: FrameModel
    x: Tensor
    prediction: Tensor | None
    quality: Tensor


@torch.no_grad()
def steps(
    model: VideoModel, rollouts: list[Rollout], coding: Coding | None, quality: float
) -> Iterator[tuple[Step, Any]]:
    """Code rollouts frame by frame, each from the one before as decoded; every step with what ``code`` gives for it."""
    cpu = torch.device("cpu")
    for rollout in rollouts:
        qualities = torch.full((len(rollout.luma),), quality)
        reference = None
        for time in range(rollout.luma.shape[1]):
            prediction = None if reference is None else to_patches(predict(reference, rollout.fields[:, time - 1]))
            part = model.intra if prediction is None else model.predicted
            step = Step(part, to_patches(rollout.planes(time, cpu)), prediction, qualities)
            choice = None if coding is None else coding.intra if prediction is None else coding.predicted
            output = part.code(
                step.x,
                prediction,
                qualities,
                hard=True,
                offsets=None if choice is None else choice.offsets,
                skip_threshold=0 if choice is None else choice.skip_threshold,
            )
            yield step, output
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
    tables = {kind: symbol_tables(getattr(model, kind).conditional) for kind in ("intra", "predicted")}

    def coding(strengths: dict[str, float], threshold: int) -> Coding:
        choices = (EncoderChoice(rounding_offsets(tables[kind], strengths[kind]), threshold) for kind in tables)
        return Coding(*choices)

    def cost(strengths: dict[str, float], threshold: int) -> float:
        found = measure(model, rollouts, coding(strengths, threshold))["J"]
        report(f"rounding strengths {strengths}, skip threshold {threshold:2d}: J {found:.4f}")
        return found

    strengths = {"intra": 0.2, "predicted": 0.3}
    for kind, candidates in CANDIDATE_STRENGTHS.items():
        tried = [(cost(strengths | {kind: strength}, CANDIDATE_THRESHOLDS[0]), strength) for strength in candidates]
        strengths[kind] = min(tried)[1]
    threshold = min((cost(strengths, threshold), threshold) for threshold in CANDIDATE_THRESHOLDS)[1]
    return coding(strengths, threshold)


@torch.no_grad()
def live_channels(model: VideoModel, rollouts: list[Rollout], coding: Coding) -> tuple[list[int], list[int]]:
    """For each entropy row, how many leading latent channels hold symbols, in intra and in predicted frames.

    Measured at every fifth row; those between have the count of the next one.
    """
    rows = model.intra.config.rows
    counts: dict[bool, list[int]] = {False: [], True: []}
    for row in (0, *range(MEASURED_ROWS, rows - 1, MEASURED_ROWS), rows - 1):
        highest = {False: 1, True: 1}
        for step, _ in steps(model, rollouts, coding, 100.0 * row / (rows - 1)):
            predicted = step.prediction is not None
            choice = coding.predicted if predicted else coding.intra
            symbols = _symbols(step, choice)
            alive = torch.nonzero((symbols != 0).any(0).flatten(1).any(1)).flatten()
            highest[predicted] = max(highest[predicted], int(alive.max()) + 1 if len(alive) else 1)
        for predicted, part in ((False, model.intra), (True, model.predicted)):
            rounded = -(-highest[predicted] // LIVE_STEP) * LIVE_STEP
            most = max(counts[predicted], default=0)  # more quality never has fewer channels
            count = max(min(rounded, part.config.latent_channels), most)
            counts[predicted] += [count] * (row + 1 - len(counts[predicted]))
    return counts[False], counts[True]


def _symbols(step: Step, choice: EncoderChoice) -> Tensor:
    model, position = step.model, step.quality / 100.0
    known = step.prediction
    y = model.analysis(step.x if known is None else torch.cat([step.x - known, known], 1), position)
    z_hat = torch.round(model.hyper_analysis(y)).clamp(-Z_MAX, Z_MAX)
    index = model.scale_decoder(z_hat, model.row_position(position))
    rounding = torch.where(index >= choice.skip_threshold, choice.offsets[index.long()], NOT_CODED)
    condition = None if known is None else model.condition(known)
    symbols: Tensor = model.context(y, z_hat, rounding, condition=condition)[0]
    return symbols


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
        (temporary / MANIFEST).write_text(store.manifest(profile, version, *digests, notes))
    return size


def motion_tables(source: Path) -> dict[str, NDArray[Any]]:
    """The motion tables of a file of tools/motion_tables or of published weights; ValueError where there are none."""
    path = source / store.PREDICTED / "entropy.npz" if source.is_dir() else source
    with np.load(path, allow_pickle=False) as archive:
        tables = {name: archive[name] for name in archive.files if name.startswith(MOTION_PREFIX)}
    if not tables:
        msg = f"{path} holds no tables of motion"
        raise ValueError(msg)
    return tables


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(prog="nacre.tools.export_video", description=__doc__)
    parser.add_argument("run", type=Path, help="run folder, or published weights to write again")
    parser.add_argument("folder", type=Path, help="folder of the weights, for instance weights/fast-video")
    parser.add_argument("--data", type=Path, required=True, help="training shots: the validation shots choose")
    parser.add_argument("--motion", type=Path, help="tables of tools/motion_tables (default: those of FOLDER)")
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
        motion = motion_tables(options.motion or options.folder)
        model = load_video(options.run).eval()
        _, validation = load_shots(options.data, minimum=MINIMUM_SIDE, limit=1)
        rollouts = [_centre(sequence(shot, options.cache)) for shot in validation]
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


def _centre(shot: Any) -> Rollout:
    height, width = shot.luma.shape[1:]
    top, left = (height - MINIMUM_SIDE) // 32 * 16, (width - MINIMUM_SIDE) // 32 * 16
    whole = crop(shot, 0, FRAMES, top, left, MINIMUM_SIDE)
    return Rollout(*(np.ascontiguousarray(part[np.newaxis]) for part in whole))


if __name__ == "__main__":
    sys.exit(main())
