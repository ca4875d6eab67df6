"""Train an image model within a budget of minutes: ``python -m nacre.tools.train --data FOLDER --out runs/NAME``.

The run state (``state.pt``: parameters, averages, optimizer, random state, clock) is written every few minutes and on
an interrupt, and the same command goes on from it. ``--start`` begins a new leg from other weights with a fresh
optimizer: a run state's averages, or a folder of published weights. The log is ``log.csv``.
"""

from __future__ import annotations

import argparse
import csv
import math
import os
import signal
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from nacre.models.config import LAMBDA_MAX, LAMBDA_MIN, ImageConfig, quality_to_lambda
from nacre.models.image import ImageModel
from nacre.models.initialize import light_start, linear_start
from nacre.models.loss import normalized_cost
from nacre.models.transforms import PATCH, denormalize, normalize
from nacre.tools.data import CropSampler, centre_crops, load_pictures
from nacre.tools.soap import Soap

MEASURE_LAMBDAS = [0.0007 * (0.2 / 0.0007) ** (step / 5) for step in range(6)]
SAVE_SECONDS = 600.0
MAX_STEP_SECONDS = 5.0  # a step during which the process slept is charged no more
WARM_UP_STEPS = 100
HEAVY = {"heavy_blocks": 6, "heavy_latent_blocks": 3}  # of the heavier analysis that --heavy adds where there is none
LIGHT = {"light_blocks": 2}  # of the lighter synthesis that --light adds where there is none


def lambda_to_quality(lmbda: float) -> float:
    """The quality 0..100 of a Lagrangian multiplier."""
    return 100.0 * math.log(lmbda / LAMBDA_MIN) / math.log(LAMBDA_MAX / LAMBDA_MIN)


@dataclass(frozen=True, slots=True)
class Measure:
    """J of DESIGN.md and its parts at the six lambdas."""

    cost: float
    rates: list[float]
    psnrs: list[float]


@torch.no_grad()
def measure(
    model: ImageModel,
    crops: Tensor,
    offsets: Tensor | None = None,
    skip_threshold: int = 0,
    *,
    autocast: bool = False,
    heavy: bool = False,
    light: bool = False,
) -> Measure:
    """J = mean over six lambdas of R / sqrt(lambda) + sqrt(lambda) D, hard-rounded, on crops (N, 3, H, W) uint8.

    ``offsets`` and ``skip_threshold`` as in ``ImageModel.code``; without them every symbol is the nearest integer.
    ``autocast`` computes in bfloat16, as training does, faster and a little worse than what ships. ``heavy``: by the
    heavier analysis, ``light``: by the lighter synthesis.
    """
    device = next(model.parameters()).device
    model.eval()
    costs, rates, psnrs = [], [], []
    for lmbda in MEASURE_LAMBDAS:
        parts = []
        for batch in crops.split(10):
            x = normalize(batch.to(device).float()).contiguous(memory_format=torch.channels_last)
            quality = torch.full((len(x),), lambda_to_quality(lmbda), device=device)
            with torch.autocast(device.type, torch.bfloat16, enabled=autocast):
                output = model.code(
                    x, quality, hard=True, offsets=offsets, skip_threshold=skip_threshold, heavy=heavy, light=light
                )
            output["x_hat"] = normalize(denormalize(output["x_hat"]).clamp(0, 255))
            parts.append(torch.stack(normalized_cost(output, x, torch.full((len(x),), lmbda, device=device)), 1))
        cost, rate, distortion = torch.cat(parts).double().mean(0).tolist()
        costs.append(cost)
        rates.append(rate)
        psnrs.append(10 * math.log10(255**2 / distortion))
    model.train()
    return Measure(sum(costs) / len(costs), rates, psnrs)


class Trainer:
    """The state of a run and its loop."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.out: Path = options.out
        self.out.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(options.seed)
        self.device = torch.device(options.device)
        if self.device.type == "cpu":
            torch.set_num_threads(options.threads)
        training, validation = load_pictures(options.data, minimum=max(options.crop, 384), limit=options.limit)
        self.sampler = CropSampler(training, options.crop, options.seed)
        self.validation = torch.from_numpy(centre_crops(validation, 384))
        self.elapsed, self.step = 0.0, 0
        self.stopped = False
        state_path = self.out / "state.pt"
        state = torch.load(state_path, map_location="cpu") if state_path.exists() else None
        self.model = self._build(state)
        self.average = ImageModel(self.model.config)
        self.average.load_state_dict(self.model.state_dict())
        for module in (self.average, self.model):
            module.to(self.device).to(memory_format=torch.channels_last)
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(name.startswith(tuple(options.only)))
        self.trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.optimizer = Soap(self.trained, lr=options.lr)
        if state is not None:
            self._restore(state)

    def _build(self, state: dict[str, Any] | None) -> ImageModel:
        options = self.options
        if state is not None:
            model = ImageModel(ImageConfig.from_dict(state["config"]))
            if model.config != replace(model.config, **self._changes()):
                msg = f"{self.out} goes on with {model.config}, the options ask for another network"
                raise ValueError(msg)
            return model
        if options.start is None:
            model = ImageModel(replace(ImageConfig(), **self._changes()))
            linear_start(model, torch.from_numpy(self.sampler.batch(128)).float() / 255.0)
            return model
        model, missing = load_weights(options.start, **self._changes())
        if missing:
            print(
                f"{len(missing)} parameters, {missing[0]} first, are not in {options.start}: as initialized", flush=True
            )
        return model

    def _changes(self) -> dict[str, Any]:
        """What the options change of a configuration."""
        changes = {} if self.options.conditional is None else {"conditional": self.options.conditional}
        changes |= {"step_width": True} if self.options.step_width else {}
        return changes | (HEAVY if self.options.heavy else {}) | (LIGHT if self.options.light else {})

    def _restore(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.elapsed, self.step = state["elapsed"], state["step"]
        torch.set_rng_state(state["torch_random"])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state_all(state["cuda_random"])
        self.sampler.random.bit_generator.state = state["crop_random"]

    def save(self) -> None:
        """Write the run state beside and rename it."""
        state = {
            "config": self.model.config.to_dict(),
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "elapsed": self.elapsed,
            "step": self.step,
            "torch_random": torch.get_rng_state(),
            "cuda_random": torch.cuda.get_rng_state_all() if self.device.type == "cuda" else [],
            "crop_random": self.sampler.random.bit_generator.state,
        }
        temporary = self.out / "state.pt.part"
        torch.save(state, temporary)
        os.replace(temporary, self.out / "state.pt")

    def _log(self, loss: float) -> None:
        options = self.options
        result = measure(self.average, self.validation, autocast=True, heavy=options.heavy, light=options.light)
        path = self.out / "log.csv"
        fresh = not path.exists()
        with path.open("a", newline="") as handle:
            writer = csv.writer(handle)
            if fresh:
                names = [f"{kind}@{lmbda:.4g}" for kind in ("bpp", "psnr") for lmbda in MEASURE_LAMBDAS]
                writer.writerow(["minutes", "step", "loss", "J", *names])
            numbers = [*result.rates, *result.psnrs]
            row = [f"{self.elapsed / 60:.2f}", self.step, f"{loss:.4f}", f"{result.cost:.4f}"]
            writer.writerow(row + [f"{number:.4f}" for number in numbers])
        points = " ".join(f"{r:.3f}/{p:.2f}" for r, p in zip(result.rates, result.psnrs, strict=True))
        print(
            f"{self.elapsed / 60:6.1f} min  step {self.step}  loss {loss:.3f}  J {result.cost:.4f}  {points}",
            flush=True,
        )

    def _training_step(self, progress: float) -> float:
        options = self.options
        pixels = torch.from_numpy(self.sampler.batch(options.batch)).to(self.device)
        x = F.pixel_unshuffle(normalize(pixels.float()), PATCH).contiguous(memory_format=torch.channels_last)
        # one draw per picture, stratified over the batch so that every step sees all rates
        strata = (torch.arange(options.batch) + torch.rand(options.batch)) / options.batch
        quality = strata * 100.0
        lmbda = torch.tensor([quality_to_lambda(value) for value in quality.tolist()], device=self.device)
        warm = min(1.0, (self.step + 1) / WARM_UP_STEPS)
        for group in self.optimizer.param_groups:
            group["lr"] = options.lr * warm * 0.5 * (1 + math.cos(math.pi * progress))
        with torch.autocast(self.device.type, torch.bfloat16):
            hard = options.light or progress > 1 - options.hard_last
            output = self.model.code(x, quality.to(self.device), hard=hard, heavy=options.heavy, light=options.light)
        loss = normalized_cost(output, x, lmbda)[0].mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.trained, options.clip)
        if torch.isfinite(norm):
            self.optimizer.step()
        self.step += 1
        decay = min(options.average, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.model.parameters()), 1 - decay)
        return loss.item()

    def run(self) -> None:
        """Train until the minutes are spent or a signal comes; the state is saved either way."""
        budget = self.options.minutes * 60.0
        saved = self.elapsed
        losses: list[float] = []
        while self.elapsed < budget and not self.stopped:
            started = time.monotonic()
            losses.append(self._training_step(self.elapsed / budget))
            self.elapsed += min(time.monotonic() - started, MAX_STEP_SECONDS)
            if self.elapsed - saved > SAVE_SECONDS:
                self.save()
                self._log(float(np.mean(losses)))
                saved, losses = self.elapsed, []
        self.save()
        if losses:
            self._log(float(np.mean(losses)))

    def stop(self, _signal: int, _frame: FrameType | None) -> None:
        """Signal handler: finish the step, save, end."""
        self.stopped = True


def load_weights(source: Path, **changes: Any) -> tuple[ImageModel, list[str]]:
    """A model from a run state's averages or a folder of published weights, and the parameters not found there.

    ``changes`` replace entries of the configuration; with another conditional, its shape starts afresh.
    """
    if source.is_dir() and not (source / "state.pt").exists():
        from nacre.models.published import read_published

        config, parameters = read_published(source)
    else:
        state = torch.load(source / "state.pt" if source.is_dir() else source, map_location="cpu")
        config, parameters = ImageConfig.from_dict(state["config"]), state["average"]
    model = ImageModel(replace(config, **changes))
    if model.config.conditional != config.conditional:
        parameters = {name: value for name, value in parameters.items() if not name.startswith("conditional.")}
    if model.config.has_heavy_analysis and not any(name.startswith("heavy_analysis.") for name in parameters):
        # further blocks start at zero: the heavier analysis begins as the ordinary one
        parameters |= {f"heavy_{name}": value for name, value in parameters.items() if name.startswith("analysis.")}
    if model.config.has_light_synthesis and not any(name.startswith("light_synthesis.") for name in parameters):
        parameters |= light_start(parameters)
    missing, unexpected = model.load_state_dict(parameters, strict=False)
    if unexpected:
        msg = f"{source} holds parameters that the model lacks: {', '.join(unexpected)}"
        raise ValueError(msg)
    names = {name for name, _ in model.named_parameters()}
    return model, [name for name in missing if name in names]


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(prog="nacre.tools.train", description=__doc__.split("\n", 1)[0])
    parser.add_argument(
        "--data", type=Path, required=True, help="folder of tar shards with manifest.csv, or of pictures"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--minutes", type=float, required=True, help="the schedule ends after so many minutes of steps")
    parser.add_argument("--start", type=Path, help="run folder, state.pt or published weights to begin a new leg from")
    parser.add_argument("--conditional", choices=("gaussian", "mixture", "generalized"))
    parser.add_argument(
        "--only", nargs="*", default=[""], metavar="PREFIX", help="train parameters with these prefixes"
    )
    parser.add_argument(
        "--heavy",
        action="store_true",
        help="train the heavier analysis, which starts as the ordinary one, in its place",
    )
    parser.add_argument(
        "--light",
        action="store_true",
        help="train the lighter synthesis, which starts from the ordinary one, in its place; the rest is frozen",
    )
    parser.add_argument("--step-width", action="store_true", help="predict a step width beside the mean")
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--crop", type=int, default=256)
    parser.add_argument("--clip", type=float, default=50.0, help="largest norm of the gradient")
    parser.add_argument("--average", type=float, default=0.998, help="decay of the parameters' average, per step")
    parser.add_argument(
        "--hard-last", type=float, default=0.0, help="share of the minutes with rounded symbols in the rate"
    )
    parser.add_argument("--limit", type=int, help="at most so many training pictures")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    try:
        trainer = Trainer(parse(arguments))
    except (ValueError, OSError) as error:
        print(f"nacre.tools.train: {error}", file=sys.stderr)
        return 1
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, trainer.stop)
    trainer.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
