"""The networks of one frame of video: intra frames, and frames predicted from the motion-compensated one before.

::

                    x --->+-----+   y    entropy model as in image.py, context sees   y_hat   +-----+
                          | g_a |------> what is predicted beside what is decoded ---------->| g_s |---(+)--> x_hat
    prediction ------+--->+-----+                                                         +->+-----+    ^
                     |                                                                    |             |
                     +--------------------------------------------------------------------+-------------+

An intra frame has no prediction: it is coded as a picture is, in patches of YUV 4:2:0. A predicted frame's analysis
sees the residual and the prediction, its synthesis adds to the prediction what it makes of the latent and of the
prediction (conditional residual coding, Brand et al. 2023, arXiv 2307.12864). Nothing but the rounded frame passes from
one frame to the next.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from nacre.models.conditional import SymbolConditional
from nacre.models.config import ImageConfig
from nacre.models.context import ContextDecoder
from nacre.models.frames import PATCH_CHANNELS
from nacre.models.latent import LatentModel
from nacre.models.prior import HyperPrior
from nacre.models.scale_decoder import ScaleDecoder
from nacre.models.transforms import Analysis, HyperAnalysis, Synthesis

CONDITION_HIDDEN = 32  # channels at 1/8 between the prediction and the context decoder's state

INTRA = ImageConfig(name="intra")
PREDICTED = ImageConfig(
    name="predicted",
    latent_channels=320,
    hyper_channels=96,
    hyper_hidden=64,
    hyper_magnitudes=True,
    analysis_width=96,
    analysis_hidden=96,
    analysis_blocks=2,
    analysis_latent_hidden=96,
    analysis_latent_blocks=1,
    synthesis_width=96,
    synthesis_hidden=192,
    synthesis_blocks=3,
    synthesis_latent_hidden=192,
    synthesis_latent_blocks=1,
    context_width=128,
    context_hidden=160,
    scale_hidden=96,
    scale_upsampled=48,
    scale_fine=64,
    scale_prior=48,
)


class FrameAnalysis(Analysis):
    """Patches (B, 96, h, w), h and w even, or 192 with those of the prediction -> gained latent (B, C, h/2, w/2)."""

    def __init__(self, config: ImageConfig, *, predicted: bool) -> None:
        super().__init__(config)
        self.embed = nn.Conv2d(PATCH_CHANNELS * (1 + predicted), config.analysis_width, 1)


class FrameSynthesis(Synthesis):
    """y_hat (B, C, h, w) -> patches (B, 96, 2h, 2w), with a prediction what is added to it."""

    def __init__(self, config: ImageConfig, *, predicted: bool) -> None:
        super().__init__(config)
        self.head = nn.Conv2d(config.synthesis_width, PATCH_CHANNELS, 1)
        if predicted:
            self.fuse = nn.Conv2d(PATCH_CHANNELS, config.synthesis_width, 1)
            nn.init.zeros_(self.fuse.bias)  # type: ignore[arg-type]

    def frame(self, y_hat: Tensor, position: Tensor, prediction: Tensor | None) -> Tensor:
        """Patches of the frame (B, 96, 2h, 2w); prediction of the same shape, or None for an intra frame."""
        known = None if prediction is None else self.fuse(prediction)
        x_hat: Tensor = self.head(self.features(y_hat, position, known))
        return x_hat.float() if prediction is None else prediction + x_hat.float()

    def features(self, y_hat: Tensor, position: Tensor, known: Tensor | None) -> Tensor:
        """What the last layer sees, (B, width, 2h, 2w); known: what ``fuse`` makes of the prediction."""
        h = y_hat * self.gain(position)
        for block in self.latent_blocks:
            h = block(h, position)
        h = self.up(h)
        if known is not None:
            h = h + known
        for block in self.blocks:
            h = block(h, position)
        return h


class Condition(nn.Module):
    """Prediction (B, 96, h, w), h and w multiples of 4 -> what it adds to the context's state (B, width, h/4, w/4)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embed = nn.Conv2d(PATCH_CHANNELS, CONDITION_HIDDEN, 1)
        self.down = nn.Conv2d(CONDITION_HIDDEN, width, 4, stride=4)
        nn.init.zeros_(self.down.weight)
        nn.init.zeros_(self.down.bias)  # type: ignore[arg-type]

    def forward(self, prediction: Tensor) -> Tensor:
        return self.state(self.embed(prediction))

    def state(self, embedded: Tensor) -> Tensor:
        """The same from what the first layer gives."""
        state: Tensor = self.down(torch.relu(embedded))
        return state


class FrameModel(LatentModel):
    """Networks of intra frames, or of predicted ones; all qualities.

    Args:
        config: widths.
        predicted: whether frames come with a prediction.
    """

    def __init__(self, config: ImageConfig, *, predicted: bool) -> None:
        super().__init__()
        self.config, self.predicted = config, predicted
        self.analysis = FrameAnalysis(config, predicted=predicted)
        self.synthesis = FrameSynthesis(config, predicted=predicted)
        self.hyper_analysis = HyperAnalysis(config)
        self.prior = HyperPrior(config)
        self.scale_decoder = ScaleDecoder(config)
        self.context = ContextDecoder(config)
        if predicted:
            self.condition = Condition(config.context_width)
        self.conditional = SymbolConditional(config.conditional)

    def code(
        self,
        x: Tensor,
        prediction: Tensor | None,
        quality: Tensor,
        *,
        hard: bool,
        offsets: Tensor | None = None,
        skip_threshold: int = 0,
        before: Tensor | None = None,
    ) -> dict[str, Any]:
        """x and prediction: patches (B, 96, H/8, W/8), H and W multiples of 64; quality (B,) in 0..100.

        Returns {"x_hat": (B, 96, H/8, W/8) float32, "symbols": (B, C, H/16, W/16), "likelihoods": {"y": ..., "z":
        ...}}; ``hard``, ``offsets``, ``skip_threshold`` and ``before`` as in ``code_latent``.
        """
        position = quality / 100.0
        y = self.analysis(x if prediction is None else torch.cat([x - prediction, prediction], 1), position)
        condition = None if prediction is None else self.condition(prediction)
        y_hat, symbols, likelihoods = self.code_latent(
            y, position, hard=hard, offsets=offsets, skip_threshold=skip_threshold, condition=condition, before=before
        )
        x_hat = self.synthesis.frame(y_hat, position, prediction)
        return {"x_hat": x_hat, "symbols": symbols, "likelihoods": likelihoods}
