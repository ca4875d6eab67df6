"""One leg of a training: a budget of minutes, a schedule that anneals within it, a run state that resumes exactly.

The run state (``state.pt``: parameters, averages, optimizer, random state, clock) is written every few minutes and on
an interrupt, and the same command goes on from it.
"""

from __future__ import annotations

import argparse
import copy
import csv
import math
import os
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from nacre.tools.soap import Soap

Networks = TypeVar("Networks", bound=nn.Module)

SAVE_SECONDS = 600.0
MAX_STEP_SECONDS = 5.0  # a step during which the process slept is charged no more
WARM_UP_STEPS = 100


class Leg(ABC, Generic[Networks]):
    """The state of a leg and its loop. Subclasses say what a step's loss is and what is measured.

    Args:
        options: of ``add_leg_options``.
        config: what the networks are, kept in the run state; another one than the state's raises ValueError.
        model: the networks that are trained.
        random: generator of the training data, whose state is kept.
    """

    def __init__(
        self, options: argparse.Namespace, config: Mapping[str, Any], model: Networks, random: np.random.Generator
    ) -> None:
        self.options = options
        self.out: Path = options.out
        self.config, self.random = dict(config), random
        self.device = torch.device(options.device)
        self.elapsed, self.step = 0.0, 0
        self.stopped = False
        self.model = model
        self.average = copy.deepcopy(model)
        for module in (self.average, self.model):
            module.to(self.device).to(memory_format=torch.channels_last)
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(name.startswith(tuple(options.only)))
        self.trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.optimizer = Soap(self.trained, lr=options.lr)
        state = read_state(self.out)
        if state is not None:
            self._restore(state)

    @abstractmethod
    def loss(self, progress: float) -> Tensor:
        """The loss of the next step, a number with a gradient; progress is 0..1."""

    @abstractmethod
    def measure(self) -> tuple[dict[str, float], str]:
        """What the averages reach on the validation data: numbers for the log, and a line for the console."""

    def _restore(self, state: dict[str, Any]) -> None:
        if state["config"] != self.config:
            msg = f"{self.out} goes on with {state['config']}, the options ask for another network"
            raise ValueError(msg)
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.elapsed, self.step = state["elapsed"], state["step"]
        torch.set_rng_state(state["torch_random"])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state_all(state["cuda_random"])
        self.random.bit_generator.state = state["data_random"]

    def save(self) -> None:
        """Write the run state beside and rename it."""
        state = {
            "config": self.config,
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "elapsed": self.elapsed,
            "step": self.step,
            "torch_random": torch.get_rng_state(),
            "cuda_random": torch.cuda.get_rng_state_all() if self.device.type == "cuda" else [],
            "data_random": self.random.bit_generator.state,
        }
        self.out.mkdir(parents=True, exist_ok=True)
        temporary = self.out / "state.pt.part"
        torch.save(state, temporary)
        os.replace(temporary, self.out / "state.pt")

    def _log(self, loss: float) -> None:
        numbers, line = self.measure()
        path = self.out / "log.csv"
        fresh = not path.exists()
        with path.open("a", newline="") as handle:
            writer = csv.writer(handle)
            if fresh:
                writer.writerow(["minutes", "step", "loss", *numbers])
            row = [f"{self.elapsed / 60:.2f}", self.step, f"{loss:.4f}"]
            writer.writerow(row + [f"{number:.4f}" for number in numbers.values()])
        print(f"{self.elapsed / 60:6.1f} min  step {self.step}  loss {loss:.3f}  {line}", flush=True)

    def _training_step(self, progress: float) -> float:
        options = self.options
        warm = min(1.0, (self.step + 1) / WARM_UP_STEPS)
        for group in self.optimizer.param_groups:
            group["lr"] = options.lr * warm * 0.5 * (1 + math.cos(math.pi * progress))
        loss = self.loss(progress)
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
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self.stop)
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


def prepare(options: argparse.Namespace) -> None:
    """Seed and threads, before anything of a leg is made."""
    torch.manual_seed(options.seed)
    if options.device == "cpu":
        torch.set_num_threads(options.threads)


def read_state(folder: Path) -> dict[str, Any] | None:
    """The run state of a folder, None where there is none."""
    path = folder / "state.pt"
    state: dict[str, Any] | None = torch.load(path, map_location="cpu") if path.exists() else None
    return state


def add_leg_options(parser: argparse.ArgumentParser, *, batch: int, lr: float, rounding: float) -> None:
    """Options that every leg has, with the defaults of one kind of network."""
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--minutes", type=float, required=True, help="the schedule ends after so many minutes of steps")
    parser.add_argument(
        "--only", nargs="*", default=[""], metavar="PREFIX", help="train parameters with these prefixes"
    )
    parser.add_argument("--lr", type=float, default=lr)
    parser.add_argument("--batch", type=int, default=batch)
    parser.add_argument("--crop", type=int, default=256)
    parser.add_argument("--clip", type=float, default=50.0, help="largest norm of the gradient")
    parser.add_argument("--average", type=float, default=0.998, help="decay of the parameters' average, per step")
    parser.add_argument(
        "--rounding", type=float, default=rounding, metavar="S", help="strength of rounding towards zero, 0 for nearest"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
