"""The tiny seeded model of video of the tests: ``python -m nacre.tools.tiny_video FOLDER [PRIOR]``.

Untrained, but complete. PRIOR: channels of the scales' prior, by default none.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from nacre.entropy.motion import MOTION_TABLES
from nacre.entropy.tables import TableSet, quantize_pmf
from nacre.models.frame_start import SAMPLES_PER_PIXEL, intra_from_stills
from nacre.models.frames import Planes, to_patches
from nacre.models.scale_decoder import IntegerConv
from nacre.models.tables import symbol_tables
from nacre.tools import tiny_model
from nacre.tools.export import EncoderChoice
from nacre.tools.export_video import MOTION_PREFIX, Coding, publish_video
from nacre.tools.rounding_offsets import rounding_offsets
from nacre.tools.train_video import VideoModel

SKIP_THRESHOLD = 4
USAGE = "usage: python -m nacre.tools.tiny_video FOLDER [PRIOR]"


def build(prior: int = 0) -> VideoModel:
    """The model: what starts at zero is moved a little, so that tests see it work.

    prior: channels that the scales of predicted frames are given of the frame before, and that move them by much. With
    a prior their hyper-analysis sees magnitudes.
    """
    stills = tiny_model.build()
    torch.manual_seed(21)
    config = tiny_model.CONFIG
    predicted = replace(config, name="predicted", latent_channels=16, scale_prior=prior, hyper_magnitudes=prior > 0)
    model = VideoModel(replace(config, name="intra"), predicted)
    intra_from_stills(model.intra, stills.state_dict())
    noise = 255 * tiny_model.smooth_noise(48, 64)
    frames = to_patches(Planes(noise[:, :1], torch.nn.functional.avg_pool2d(noise[:, 1:], 2)))
    tiny_model.component_start(model.predicted, 0.2 * (frames - frames.flip(0)), SAMPLES_PER_PIXEL)
    with torch.no_grad():
        model.predicted.synthesis.fuse.weight.zero_()
        for name, parameter in model.named_parameters():
            if "project.weight" in name or "predict." in name or "condition.down" in name:
                parameter.add_(0.02 * torch.randn_like(parameter))
            elif name.endswith("log_stretch"):
                parameter.sub_(1.0)
            elif name.endswith("hyper_analysis.third.weight"):
                parameter.mul_(8.0)  # or hyper-latents would be zero
        if prior:
            model.predicted.hyper_analysis.third.weight.mul_(6.0)  # magnitudes are below 1
            last = model.predicted.scale_decoder.layers[-1]
            assert isinstance(last, IntegerConv)
            last.weight[:, config.scale_fine :] *= 4.0
    return model


def motion_tables() -> dict[str, NDArray[np.generic]]:
    """Tables of motion, each as wide as its number says."""
    tables = []
    for number in range(MOTION_TABLES):
        radius = 1 + number % 4
        distance = np.abs(np.arange(-radius, radius + 1))
        tables.append(quantize_pmf(np.append(np.exp(-distance / (1 + number % 3)), 0.05)))
    return {f"{MOTION_PREFIX}{name}": array for name, array in TableSet.stack(tables).to_arrays().items()}


def main(arguments: list[str]) -> int:
    """Command line."""
    folder, *prior = arguments or ("",)
    if not folder or len(prior) > 1 or not all(word.isdecimal() for word in prior):
        print(USAGE, file=sys.stderr)
        return 2
    torch.set_num_threads(1)
    model = build(*map(int, prior)).eval()
    choices = (
        EncoderChoice(rounding_offsets(symbol_tables(part.conditional), 0.3), SKIP_THRESHOLD)
        for part in (model.intra, model.predicted)
    )
    live = [8, 8, 16] + [24] * 8, [4] * 3 + [16] * 8
    publish_video(
        model, Path(folder), profile="tiny", coding=Coding(*choices), live=live, motion=motion_tables(),
        version="0.1.0", notes={"note": "untrained test model"},
    )  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
