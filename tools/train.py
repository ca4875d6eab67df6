"""Train an image model within a budget of minutes: ``python -m nacre.tools.train --data FOLDER --out runs/NAME``.

``--start`` begins a new leg from other weights with a fresh optimizer: a run state's averages, or a folder of published
weights. The run state is that of leg.py, the log is ``log.csv``.
"""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from nacre.models.config import LAMBDA_MAX, LAMBDA_MIN, ImageConfig, quality_to_lambda
from nacre.models.image import ImageModel
from nacre.models.initialize import linear_start
from nacre.models.loss import normalized_cost
from nacre.models.transforms import PATCH, denormalize, normalize
from nacre.tools.data import CropSampler, centre_crops, load_pictures
from nacre.tools.leg import Leg, add_leg_options, prepare, read_state
from nacre.tools.rounding_offsets import training_offsets

MEASURE_LAMBDAS = [0.0007 * (0.2 / 0.0007) ** (step / 5) for step in range(6)]
_FORMER = "light_synthesis."  # parameters that run states of versions before have
HEAVY = {"heavy_blocks": 6, "heavy_latent_blocks": 3}  # of the heavier analysis that --heavy adds where there is none


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
) -> Measure:
    """J = mean over six lambdas of R / sqrt(lambda) + sqrt(lambda) D, hard-rounded, on crops (N, 3, H, W) uint8.

    ``offsets`` and ``skip_threshold`` as in ``ImageModel.code``; without them every symbol is the nearest integer.
    ``autocast`` computes in bfloat16, as training does, faster and a little worse than what ships. ``heavy``: by the
    heavier analysis.
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
                output = model.code(x, quality, hard=True, offsets=offsets, skip_threshold=skip_threshold, heavy=heavy)
            output["x_hat"] = normalize(denormalize(output["x_hat"]).clamp(0, 255))
            parts.append(torch.stack(normalized_cost(output, x, torch.full((len(x),), lmbda, device=device)), 1))
        cost, rate, distortion = torch.cat(parts).double().mean(0).tolist()
        costs.append(cost)
        rates.append(rate)
        psnrs.append(10 * math.log10(255**2 / distortion))
    model.train()
    return Measure(sum(costs) / len(costs), rates, psnrs)


class ImageLeg(Leg[ImageModel]):
    """Crops of pictures."""

    def __init__(self, options: argparse.Namespace) -> None:
        prepare(options)
        training, validation = load_pictures(options.data, minimum=max(options.crop, 384), limit=options.limit)
        self.sampler = CropSampler(training, options.crop, options.seed)
        self.validation = torch.from_numpy(centre_crops(validation, 384))
        model = self._build(options)
        super().__init__(options, model.config.to_dict(), model, self.sampler.random)
        self.offsets = training_offsets(options.rounding).to(self.device)

    def _build(self, options: argparse.Namespace) -> ImageModel:
        changes = {} if options.conditional is None else {"conditional": options.conditional}
        changes |= {"step_width": True} if options.step_width else {}
        changes |= HEAVY if options.heavy else {}
        state = read_state(options.out)
        if state is not None:
            # widths are those of the run, what the options ask for is compared with them
            return ImageModel(replace(ImageConfig.from_dict(state["config"]), **changes))
        if options.start is None:
            model = ImageModel(replace(ImageConfig(), **changes))
            linear_start(model, torch.from_numpy(self.sampler.batch(128)).float() / 255.0)
            return model
        model, missing = load_weights(options.start, **changes)
        if missing:
            print(
                f"{len(missing)} parameters, {missing[0]} first, are not in {options.start}: as initialized", flush=True
            )
        return model

    def loss(self, progress: float) -> Tensor:
        """Of the next batch of crops."""
        options = self.options
        pixels = torch.from_numpy(self.sampler.batch(options.batch)).to(self.device)
        x = F.pixel_unshuffle(normalize(pixels.float()), PATCH).contiguous(memory_format=torch.channels_last)
        # one draw per picture, stratified over the batch so that every step sees all rates
        strata = (torch.arange(options.batch) + torch.rand(options.batch)) / options.batch
        quality = strata * 100.0
        lmbda = torch.tensor([quality_to_lambda(value) for value in quality.tolist()], device=self.device)
        with torch.autocast(self.device.type, torch.bfloat16):
            hard = progress > 1 - options.hard_last
            output = self.model.code(x, quality.to(self.device), hard=hard, offsets=self.offsets, heavy=options.heavy)
        return normalized_cost(output, x, lmbda)[0].mean()

    def measure(self) -> tuple[dict[str, float], str]:
        """J of the averages and its parts at the six lambdas."""
        options = self.options
        result = measure(self.average, self.validation, self.offsets, autocast=True, heavy=options.heavy)
        numbers = {"J": result.cost}
        for kind, values in (("bpp", result.rates), ("psnr", result.psnrs)):
            numbers |= {f"{kind}@{lmbda:.4g}": value for lmbda, value in zip(MEASURE_LAMBDAS, values, strict=True)}
        points = " ".join(f"{r:.3f}/{p:.2f}" for r, p in zip(result.rates, result.psnrs, strict=True))
        return numbers, f"J {result.cost:.4f}  {points}"


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
    parameters = {name: value for name, value in parameters.items() if not name.startswith(_FORMER)}
    model = ImageModel(replace(config, **changes))
    if model.config.conditional != config.conditional:
        parameters = {name: value for name, value in parameters.items() if not name.startswith("conditional.")}
    if model.config.has_heavy_analysis and not any(name.startswith("heavy_analysis.") for name in parameters):
        # further blocks start at zero: the heavier analysis begins as the ordinary one
        parameters |= {f"heavy_{name}": value for name, value in parameters.items() if name.startswith("analysis.")}
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
    parser.add_argument("--start", type=Path, help="run folder, state.pt or published weights to begin a new leg from")
    parser.add_argument("--conditional", choices=("gaussian", "mixture", "generalized"))
    parser.add_argument(
        "--heavy",
        action="store_true",
        help="train the heavier analysis, which starts as the ordinary one, in its place",
    )
    parser.add_argument("--step-width", action="store_true", help="predict a step width beside the mean")
    parser.add_argument(
        "--hard-last", type=float, default=0.0, help="share of the minutes with rounded symbols in the rate"
    )
    parser.add_argument("--limit", type=int, help="at most so many training pictures")
    add_leg_options(parser, batch=8, lr=2e-3, rounding=0.4)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    try:
        leg = ImageLeg(parse(arguments))
    except (ValueError, OSError) as error:
        print(f"nacre.tools.train: {error}", file=sys.stderr)
        return 1
    leg.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
