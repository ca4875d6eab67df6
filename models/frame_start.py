"""Where the networks of video begin: intra frames from the stills' weights, predicted frames as a block transform."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from nacre.models.frames import CHROMA_CHANNELS, CHROMA_SCALE, LUMA_CHANNELS, PATCH_CHANNELS
from nacre.models.initialize import cosines, set_transform
from nacre.models.transforms import PATCH, PIXEL_CENTRE, PIXEL_SCALE
from nacre.models.video import FrameModel

# BT.601, limited range (ITU-R BT.601-7): rows R, G, B of Y - 16, U - 128, V - 128, on the 0..255 scale.
_TO_RGB = torch.tensor([[1.164384, 0.0, 1.596027], [1.164384, -0.391762, -0.812968], [1.164384, 2.017232, 0.0]])
_BLACK = torch.tensor([16.0, 128.0, 128.0])
SAMPLES_PER_PIXEL = 1.5
LUMA_BLOCK = 4  # of the transform of residuals
_FURTHER = ("heavy_analysis.",)


def _rgb_of_frame_patches() -> tuple[Tensor, Tensor]:
    """Matrix (192, 96) and offset (192,): normalized RGB patches of those of YUV 4:2:0, chroma repeated."""
    inverse_scale = torch.tensor([1.0, 1 / CHROMA_SCALE, 1 / CHROMA_SCALE])
    matrix = torch.zeros(3, PATCH, PATCH, PATCH_CHANNELS)
    for row in range(PATCH):
        for column in range(PATCH):
            matrix[:, row, column, row * PATCH + column] = _TO_RGB[:, 0] * inverse_scale[0]
            chroma = LUMA_CHANNELS + (row // 2) * (PATCH // 2) + column // 2
            for plane in (0, 1):
                matrix[:, row, column, chroma + plane * CHROMA_CHANNELS] = (
                    _TO_RGB[:, 1 + plane] * inverse_scale[1 + plane]
                )
    offset = (_TO_RGB @ (PIXEL_CENTRE - _BLACK) - PIXEL_CENTRE) / PIXEL_SCALE
    return matrix.view(-1, PATCH_CHANNELS), offset.repeat_interleave(PATCH * PATCH)


@torch.no_grad()
def intra_from_stills(model: FrameModel, stills: dict[str, Tensor]) -> None:
    """Give a model of intra frames the parameters of an image model of the same widths.

    The first and last layers are multiplied by the change between RGB and YUV 4:2:0; what remains is that chroma of
    half resolution meets networks that have not seen it. What stills have besides, a heavier analysis, is
    left out. Raises RuntimeError where shapes differ.
    """
    to_rgb, offset = _rgb_of_frame_patches()
    to_frame = torch.linalg.pinv(to_rgb)
    embed, head = "analysis.embed.weight", "synthesis.head.weight"
    changed = {name: value for name, value in stills.items() if not name.startswith(_FURTHER)}
    first, last = stills[embed].flatten(1), stills[head].flatten(1)
    changed[embed] = (first @ to_rgb)[:, :, None, None]
    changed["analysis.embed.bias"] = stills["analysis.embed.bias"] + first @ offset
    changed[head] = (to_frame @ last)[:, :, None, None]
    changed["synthesis.head.bias"] = to_frame @ (stills["synthesis.head.bias"] - offset)
    model.load_state_dict(changed)


@torch.no_grad()
def predicted_start(model: FrameModel, residuals: Tensor) -> None:
    """Begin as a block transform of motion-compensated residuals, patches (N, 96, h, w), h and w even."""
    chroma = cosines(PATCH // 2, PATCH // 2)
    rows = torch.block_diag(cosines(LUMA_BLOCK, PATCH), chroma, chroma)
    set_transform(model, rows, residuals, SAMPLES_PER_PIXEL)
    model.synthesis.fuse.weight.zero_()


@torch.no_grad()
def add_prior(model: FrameModel, start: FrameModel) -> None:
    """Begin as a trained model of the same widths, whose scales may be independent of the frame before."""
    parameters = start.state_dict()
    last = f"scale_decoder.layers.{len(model.scale_decoder.layers) - 1}.weight"
    further = model.config.scale_prior - start.config.scale_prior
    parameters[last] = F.pad(parameters[last], (0, 0, 0, 0, 0, further))
    own = {name: value for name, value in model.state_dict().items() if name.startswith("scale_decoder.prior.")}
    model.load_state_dict(own | parameters)
