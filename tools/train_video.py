"""Train the video model within minutes: ``python -m nacre.tools.train_video --data FOLDER --out runs/NAME``.

Sequences of a few frames are coded one after the other, each frame with a step of its own, each from the frame before
as the decoder has it: rounded, without a gradient; with ``--cascade N``, steps are of N frames, and gradients pass from
frame to frame within them. Intra frames begin as a trained network, predicted frames as a block transform of residuals.
``--only predicted.`` leaves the intra network as it is.
"""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nacre.bitstream.errors import NacreError
from nacre.models.compensation import compensate
from nacre.models.config import ImageConfig, quality_to_lambda
from nacre.models.frame_start import add_prior, intra_from_stills, predicted_start
from nacre.models.frames import Planes, round_planes, to_patches, to_planes
from nacre.models.loss import bits_per_pixel
from nacre.models.published import load_published_frames
from nacre.models.scale_decoder import prior_of
from nacre.models.transforms import PATCH, PIXEL_SCALE
from nacre.models.video import INTRA, PREDICTED, FrameModel
from nacre.tools.data import load_pictures
from nacre.tools.leg import Leg, add_leg_options, prepare, read_state
from nacre.tools.moved_stills import moved_stills
from nacre.tools.rollouts import Rollout, RolloutSampler, Sequence, crop, predict, sequence, stack
from nacre.tools.rounding_offsets import training_offsets
from nacre.tools.shots import load_shots
from nacre.tools.train import lambda_to_quality, load_weights
from nacre.weights.store import MANIFEST

MEASURE_LAMBDAS = (0.002, 0.008, 0.032, 0.128)
MEASURE_FRAMES = 8
GOP = 32  # of which one frame is intra, in J
MINIMUM_SIDE = 256
KINDS = ("intra", "predicted")
MOVED_STILLS = 240  # of 9 frames; a third of all samples beside 150 shots of 24 frames
START_CROPS = 48  # of which networks make their start
INTRA_BONUS = (8.0, 22.0)  # what an intra frame's quality is above that of the others, drawn for each rollout


class Decoded(NamedTuple):
    """What the next frame sees of a frame: planes, and of a predicted one the magnitudes of its symbols."""

    planes: Planes
    prior: Tensor | None

    def moved(self, fields: NDArray[np.int16]) -> Decoded:
        """With planes that predict the next frame; slower where a gradient is to pass."""
        if self.planes.luma.requires_grad:
            return self._replace(planes=compensate(self.planes, torch.from_numpy(fields).to(self.planes.luma.device)))
        return self._replace(planes=predict(self.planes, fields))

    def detached(self) -> Decoded:
        """Without a gradient."""
        return Decoded(Planes(*(plane.detach() for plane in self.planes)), self.prior)


class VideoModel(nn.Module):
    """Networks of intra and of predicted frames, of these widths."""

    def __init__(self, intra: ImageConfig, predicted: ImageConfig) -> None:
        super().__init__()
        self.intra = FrameModel(intra, predicted=False)
        self.predicted = FrameModel(predicted, predicted=True)

    def config(self) -> dict[str, object]:
        """Plain values for a run state."""
        return {"intra": self.intra.config.to_dict(), "predicted": self.predicted.config.to_dict()}

    def code(
        self, frame: Planes, before: Decoded | None, quality: Tensor, lmbda: Tensor, offsets: Tensor, *, hard: bool
    ) -> tuple[Decoded, Tensor, Tensor, Tensor]:
        """One frame, predicted if there is one before: as decoded, and cost, rate (bits per luma sample), D, (B,) each.

        The cost is normalized. before: the frame before with its planes moved. offsets: (64,), how the symbols of
        predicted frames are rounded; those of intra frames are the nearest integers.
        """
        x = to_patches(frame).contiguous(memory_format=torch.channels_last)
        if before is None:
            output = self.intra.code(x, None, quality, hard=hard)
        else:
            known = to_patches(before.planes).contiguous(memory_format=torch.channels_last)
            output = self.predicted.code(x, known, quality, hard=hard, offsets=offsets, before=before.prior)
        rate = bits_per_pixel(output["likelihoods"], x.shape[2] * x.shape[3] * PATCH * PATCH)
        error = output["x_hat"] - x
        distortion = error.square().mean((1, 2, 3)) * PIXEL_SCALE**2
        root = lmbda.sqrt()
        planes = round_planes(to_planes(output["x_hat"]))
        decoded = Decoded(planes, None if before is None else prior_of(output["symbols"]))
        return decoded, rate / root + root * distortion, rate, distortion


def load_video(source: Path) -> VideoModel:
    """The averaged model of a run folder, or that of published weights.

    Raises ValueError where there is neither, WeightsError where published weights cannot be read.
    """
    state = read_state(source)
    if state is not None:
        model = VideoModel(*(ImageConfig.from_dict(state["config"][kind]) for kind in KINDS))
        model.load_state_dict(state["average"])
        return model
    if not (source / MANIFEST).exists():
        msg = f"{source} holds neither a run state nor published weights"
        raise ValueError(msg)
    intra, predicted = (load_published_frames(source / kind, predicted=kind == KINDS[1]) for kind in KINDS)
    model = VideoModel(intra.config, predicted.config)
    model.intra, model.predicted = intra, predicted
    return model


class VideoLeg(Leg[VideoModel]):
    """Rollouts over training shots."""

    def __init__(self, options: argparse.Namespace) -> None:
        prepare(options)
        training, validation = load_shots(options.data, minimum=MINIMUM_SIDE, limit=options.limit)
        cache = options.motion or options.out / "motion"
        if options.moving is not None:
            pictures, _ = load_pictures(options.moving, minimum=MINIMUM_SIDE)
            training = training + moved_stills(pictures, MOVED_STILLS, options.seed)
        self.sampler = RolloutSampler([sequence(shot, cache) for shot in training], options.crop, options.seed)
        self.validation = [self._centre(sequence(shot, cache)) for shot in validation]
        model = VideoModel(INTRA, PREDICTED)
        if read_state(options.out) is None:
            self._start(model, options)
        super().__init__(options, model.config(), model, self.sampler.random)
        self.offsets = training_offsets(options.rounding).to(self.device)
        self.trains_intra = any(parameter.requires_grad for parameter in self.model.intra.parameters())
        self.rollout: Rollout | None = None
        self.time = 0
        self.reference: Decoded | None = None

    @staticmethod
    def _centre(shot: Sequence) -> Rollout:
        height, width = shot.luma.shape[1:]
        top, left = (height - MINIMUM_SIDE) // 32 * 16, (width - MINIMUM_SIDE) // 32 * 16
        return crop(shot, 0, MEASURE_FRAMES, top, left, MINIMUM_SIDE)

    def _start(self, model: VideoModel, options: argparse.Namespace) -> None:
        if options.start is not None:
            start = load_video(options.start)
            predicted = replace(start.predicted.config, scale_prior=model.predicted.config.scale_prior)
            if (start.intra.config, predicted) != (model.intra.config, model.predicted.config):
                msg = f"{options.start} has networks of other widths: {start.config()}"
                raise ValueError(msg)
            model.intra.load_state_dict(start.intra.state_dict())
            add_prior(model.predicted, start.predicted)
            return
        if options.intra is not None:
            model.intra.load_state_dict(load_video(options.intra).intra.state_dict())
        else:
            stills, _ = load_weights(options.stills)
            intra_from_stills(model.intra, stills.state_dict())
        rollout = self.sampler.batch(START_CROPS, 2)
        cpu = torch.device("cpu")
        frame, before = rollout.planes(1, cpu), rollout.planes(0, cpu)
        residuals = to_patches(frame) - to_patches(predict(before, rollout.fields[:, 0]))
        # what a reference loses in coding is there to be coded as well
        predicted_start(model.predicted, residuals + 0.05 * (to_patches(frame) - to_patches(frame).mean()))

    def loss(self, progress: float) -> Tensor:
        """Of the next frame of the rollout; a new one begins where the last has ended."""
        options = self.options
        if self.rollout is None or self.time == self.rollout.luma.shape[1]:
            length = 2 + int(progress * (options.frames - 1))
            self.rollout, self.time, self.reference = self.sampler.batch(options.batch, length), 0, None
            strata = (torch.arange(options.batch) + torch.rand(options.batch)) / options.batch
            self.quality = (strata * 100.0).to(self.device)
            bonus = torch.empty(options.batch).uniform_(*INTRA_BONUS).to(self.device)
            self.intra_quality = (self.quality + bonus).clamp_max(100.0)
        if self.reference is None and not self.trains_intra:
            with torch.no_grad():
                self._code(hard=True)
        last = min(self.time + options.cascade, self.rollout.luma.shape[1])
        costs = [self._code(hard=False).mean() for _ in range(self.time, last)]
        assert self.reference is not None
        self.reference = self.reference.detached()
        return torch.stack(costs).mean()

    def _code(self, *, hard: bool) -> Tensor:
        assert self.rollout is not None
        frame = self.rollout.planes(self.time, self.device)
        before = self.reference and self.reference.moved(self.rollout.fields[:, self.time - 1])
        quality = self.intra_quality if before is None else self.quality
        lmbda = torch.tensor([quality_to_lambda(value) for value in quality.tolist()], device=self.device)
        with torch.autocast(self.device.type, torch.bfloat16):
            self.reference, cost, _, _ = self.model.code(frame, before, quality, lmbda, self.offsets, hard=hard)
        self.time += 1
        return cost

    @torch.no_grad()
    def measure(self) -> tuple[dict[str, float], str]:
        """J of intra and predicted frames and of a GOP, on the centre of the validation shots, rounded symbols.

        Intra frames have a better quality than lambda asks for, as an encoder gives them.
        """
        self.average.eval()
        numbers: dict[str, float] = {}
        totals = {"intra": 0.0, "predicted": 0.0}
        points = []
        for lmbda in MEASURE_LAMBDAS:
            rows = []
            for first in range(0, len(self.validation), 10):
                rollout = stack(self.validation[first : first + 10])
                count = len(rollout.luma)
                quality = torch.full((count,), lambda_to_quality(lmbda), device=self.device)
                intra_quality = (quality + sum(INTRA_BONUS) / 2).clamp_max(100.0)
                lambdas = torch.full((count,), lmbda, device=self.device)
                reference: Decoded | None = None
                for time in range(MEASURE_FRAMES):
                    before = reference and reference.moved(rollout.fields[:, time - 1])
                    with torch.autocast(self.device.type, torch.bfloat16):
                        reference, cost, rate, error = self.average.code(
                            rollout.planes(time, self.device),
                            before,
                            intra_quality if before is None else quality,
                            lambdas,
                            self.offsets,
                            hard=True,
                        )
                    rows.append((time > 0, torch.stack([cost, rate, error]).double().mean(1)))
            for kind, predicted in (("intra", False), ("predicted", True)):
                cost, rate, error = torch.stack([row for is_predicted, row in rows if is_predicted is predicted]).mean(
                    0
                )
                totals[kind] += cost.item() / len(MEASURE_LAMBDAS)
                numbers[f"{kind} bpp@{lmbda}"] = rate.item()
                numbers[f"{kind} psnr@{lmbda}"] = 10 * math.log10(255**2 / error.item())
                points.append(f"{kind[0]} {rate.item():.4f}/{numbers[f'{kind} psnr@{lmbda}']:.2f}")
        self.average.train()
        mean = (totals["intra"] + (GOP - 1) * totals["predicted"]) / GOP
        numbers = {"J": mean, "J intra": totals["intra"], "J predicted": totals["predicted"]} | numbers
        line = f"J {mean:.4f} intra {totals['intra']:.4f} predicted {totals['predicted']:.4f}  {' '.join(points)}"
        return numbers, line


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(prog="nacre.tools.train_video", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of tar shards of shots with manifest.csv")
    parser.add_argument("--stills", type=Path, help="run folder or published weights of stills that intra begins with")
    parser.add_argument("--intra", type=Path, help="run folder or published weights of video that intra begins with")
    parser.add_argument("--moving", type=Path, help="folder of pictures, or of shards of them, that are set in motion")
    parser.add_argument("--start", type=Path, help="run folder or published weights of video to begin a new leg from")
    parser.add_argument("--motion", type=Path, help="folder where searched motion is kept (default: OUT/motion)")
    parser.add_argument("--frames", type=int, default=6, help="frames of a rollout at the end, 2 at the beginning")
    parser.add_argument(
        "--cascade", type=int, default=1, metavar="N", help="frames of a step, with gradients between them"
    )
    parser.add_argument("--limit", type=int, help="at most so many training shots")
    add_leg_options(parser, batch=4, lr=1.5e-3, rounding=0.3)
    options = parser.parse_args(arguments)
    starts = [options.stills, options.intra, options.start]
    if starts.count(None) != len(starts) - 1 and read_state(options.out) is None:
        parser.error("a new run needs --stills, --intra or --start, one of them")
    return options


def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    try:
        leg = VideoLeg(parse(arguments))
    except (ValueError, OSError, NacreError) as error:
        print(f"nacre.tools.train_video: {error}", file=sys.stderr)
        return 1
    leg.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
