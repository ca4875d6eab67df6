"""Where the networks of video begin: intra frames from the stills' weights, predicted frames as a linear codec.

Later a latent may be given more channels, which begin with what the narrower one leaves of frames.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from nacre.entropy.scales import LOG_SCALE_MIN, LOG_SCALE_STEP
from nacre.models.frames import CHROMA_CHANNELS, CHROMA_SCALE, LUMA_CHANNELS, PATCH_CHANNELS
from nacre.models.initialize import principal_components, step_gains, transform_start
from nacre.models.scale_decoder import IntegerConv
from nacre.models.transforms import PATCH, PIXEL_CENTRE, PIXEL_SCALE
from nacre.models.video import FrameModel

# BT.601, limited range (ITU-R BT.601-7): rows R, G, B of Y - 16, U - 128, V - 128, on the 0..255 scale.
_TO_RGB = torch.tensor([[1.164384, 0.0, 1.596027], [1.164384, -0.391762, -0.812968], [1.164384, 2.017232, 0.0]])
_BLACK = torch.tensor([16.0, 128.0, 128.0])
SAMPLES_PER_PIXEL = 1.5
_FURTHER = ("heavy_analysis.", "light_synthesis.")
HEAD_TOLERANCE = 0.1  # of the largest singular value of the last layer: what is smaller is not inverted


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
    half resolution meets networks that have not seen it. What stills have besides, a heavier analysis or a lighter
    synthesis, is left out. Raises RuntimeError where shapes differ.
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
    """Begin as a linear codec of motion-compensated residuals, patches (N, 96, h, w), h and w even."""
    transform_start(model, residuals, SAMPLES_PER_PIXEL)
    model.synthesis.fuse.weight.zero_()


@torch.no_grad()
def widen_latent(model: FrameModel, narrow: FrameModel, features: Tensor, errors: Tensor) -> None:
    """Begin as a trained model of fewer latent channels, whose frames stay as they are but for what new channels add.

    features (N, analysis width, h, w): what the narrow analysis has at 1/8 of the best quality's frames, before it goes
    down to 1/16; errors (N, 96, h, w): what its decoded patches lack. New channels are the principal components of that
    part of the errors that is linear in the features (reduced-rank regression, Izenman 1975). Raises RuntimeError where
    other widths differ.
    """
    old, latent = narrow.config.latent_channels, model.config.latent_channels
    parameters = dict(narrow.named_parameters())
    for name, parameter in model.named_parameters():
        parameter.copy_(_padded(parameters[name], parameter, old, latent))
    flat = [F.pixel_unshuffle(part.float(), 2).permute(0, 2, 3, 1).flatten(0, 2) for part in (features, errors)]
    centred, lacking = (part - part.mean(0) for part in flat)
    ridge = 1e-3 * centred.square().mean() * len(centred) * torch.eye(centred.shape[1])
    linear = torch.linalg.solve(centred.T @ centred + ridge, centred.T @ lacking)  # errors of features
    components, deviation = principal_components(centred @ linear, latent - old)
    down = (linear @ components.T).T
    model.analysis.down.weight[old:] = down.view(latent - old, -1, 2, 2)
    model.analysis.down.bias[old:] = -(down @ flat[0].mean(0))  # type: ignore[index]
    places = components.view(latent - old, PATCH_CHANNELS, 4)
    up = torch.einsum(
        "wc,lcp->lwp", torch.linalg.pinv(model.synthesis.head.weight.flatten(1), rtol=HEAD_TOLERANCE), places
    )
    model.synthesis.up.weight[old:] = up.view(latent - old, -1, 2, 2)
    log_gain = step_gains(model.config.anchors, SAMPLES_PER_PIXEL)[:, None]
    model.analysis.gain.log_gain[:, old:] = log_gain
    model.synthesis.gain.log_gain[:, old:] = -log_gain
    last = model.scale_decoder.layers[-1]
    assert isinstance(last, IntegerConv)
    sigma = torch.exp(log_gain) * deviation
    last.bias[:, old:] = ((sigma.log() - LOG_SCALE_MIN) / LOG_SCALE_STEP).clamp(0.0, 62.0)


def _padded(narrow: Tensor, wide: Tensor, old: int, latent: int) -> Tensor:
    """A narrow model's parameter with zeros where the wide one has further latent channels."""
    padding: list[int] = []
    for before, after in zip(reversed(narrow.shape), reversed(wide.shape), strict=True):
        if before != after and (before, after) != (old, latent):
            msg = f"a parameter is {tuple(narrow.shape)}, in the model to be trained {tuple(wide.shape)}"
            raise RuntimeError(msg)
        padding += [0, after - before]
    return F.pad(narrow, padding)
