"""The image model: one network for all qualities."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nacre.models.conditional import SymbolConditional
from nacre.models.config import ImageConfig
from nacre.models.context import ContextDecoder
from nacre.models.latent import LatentModel
from nacre.models.prior import HyperPrior
from nacre.models.scale_decoder import ScaleDecoder
from nacre.models.transforms import Analysis, HyperAnalysis, Synthesis, denormalize, normalize


class ImageModel(LatentModel):
    """Hyperprior image codec whose scales come from integers alone.

    ::

              +-----+    y     +-----+   z   +---+  z_hat   +-------+
        x --> | g_a |---+----->| h_a |------>| Q |----+---->|scale_d|--> index of scale (integers)
              +-----+   |      +-----+       +---+    |     +-------+          |
                        |                             |                        v
                        |      +-------------------+  |            p(symbol | index), one pass
                        +----->| context, 4 steps  |<-+
                               | symbol = round(y  |
                               |          - mean)  |---- y_hat --> g_s --> x_hat
                               +-------------------+

    Args:
        config: widths and switches.
    """

    def __init__(self, config: ImageConfig | None = None) -> None:
        super().__init__()
        self.config = config or ImageConfig()
        self.analysis = Analysis(self.config)
        if self.config.has_heavy_analysis:
            self.heavy_analysis = Analysis(self.config, heavy=True)
        self.synthesis = Synthesis(self.config)
        self.hyper_analysis = HyperAnalysis(self.config)
        self.prior = HyperPrior(self.config)
        self.scale_decoder = ScaleDecoder(self.config)
        self.context = ContextDecoder(self.config)
        self.conditional = SymbolConditional(self.config.conditional)

    def forward(self, x: Tensor, quality: Tensor | float = 50.0) -> dict[str, Any]:
        """x (B, 3, H, W) in 0..1, sides multiples of 64; quality 0..100, a number or (B,).

        Returns {"x_hat": (B, 3, H, W), "likelihoods": {"y": (B, C, H/16, W/16), "z": (B, Cz, H/64, W/64)}}:
        with uniform noise in the likelihoods in training mode, with rounded symbols, as a stream would hold them, in
        evaluation mode.
        """
        if not isinstance(quality, Tensor):
            quality = torch.full((x.shape[0],), float(quality), device=x.device)
        output = self.code(normalize(x * 255.0), quality, hard=not self.training)
        output["x_hat"] = denormalize(output["x_hat"]) * (1.0 / 255.0)
        return output

    def code(
        self,
        x: Tensor,
        quality: Tensor,
        *,
        hard: bool,
        offsets: Tensor | None = None,
        skip_threshold: int = 0,
        heavy: bool = False,
    ) -> dict[str, Any]:
        """As ``forward`` between normalized pixels (see transforms.py), or their 8x8 patches, quality (B,).

        Given patches ``F.pixel_unshuffle(x, 8)``, (B, 192, H/8, W/8), ``x_hat`` is patches too: moving pixels about
        took a tenth of a training step on a CPU.

        ``hard``, ``offsets`` and ``skip_threshold`` as in ``code_latent``. ``heavy``: by the heavier analysis, which
        the configuration must have.
        """
        position = quality / 100.0
        y = (self.heavy_analysis if heavy else self.analysis)(x, position)
        y_hat, _, likelihoods = self.code_latent(y, position, hard=hard, offsets=offsets, skip_threshold=skip_threshold)
        synthesis = self.synthesis
        x_hat = synthesis(y_hat, position) if x.shape[1] == 3 else synthesis.patches(y_hat, position).float()
        return {"x_hat": x_hat, "likelihoods": likelihoods}
