"""What image and frame models share: the way from a latent to symbols, their likelihoods, and the latent as decoded."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nacre.models.conditional import SymbolConditional
from nacre.models.config import ImageConfig
from nacre.models.context import NOT_CODED, ContextDecoder
from nacre.models.prior import HyperPrior
from nacre.models.rounding import round_ste
from nacre.models.scale_decoder import Z_MAX, ScaleDecoder
from nacre.models.transforms import HyperAnalysis


class LatentModel(nn.Module):
    """A model with a hyper-latent, integer scales and a context decoder; subclasses make these parts."""

    config: ImageConfig
    hyper_analysis: HyperAnalysis
    prior: HyperPrior
    scale_decoder: ScaleDecoder
    context: ContextDecoder
    conditional: SymbolConditional

    def row_position(self, position: Tensor) -> Tensor:
        """The quality position (B,) in 0..1 rounded to the entropy row that the bitstream would use."""
        last = self.config.rows - 1
        return torch.floor(position * last + 0.5) / last

    def code_latent(
        self,
        y: Tensor,
        position: Tensor,
        *,
        hard: bool,
        offsets: Tensor | None = None,
        skip_threshold: int = 0,
        condition: Tensor | None = None,
        before: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """y_hat, the symbols, both (B, C, h, w), and the likelihoods {"y": the same, "z": (B, Cz, h/4, w/4)} of y.

        position (B,) in 0..1. ``hard``: likelihoods of the rounded symbols instead of noisy residuals. With ``offsets``
        (64,), the rounding offset of each scale index, symbols are those that an encoder would write: rounded so, and
        where the index is below ``skip_threshold``, zero, and free if ``hard``. ``condition`` as in ``ContextDecoder``,
        ``before`` as in ``ScaleDecoder``.
        """
        row = self.row_position(position)
        z = self.hyper_analysis(y)
        z_hat = round_ste(z).clamp(-Z_MAX, Z_MAX)
        index = self.scale_decoder(z_hat, row, before)
        rounding = coded = None
        if offsets is not None:
            coded = index >= skip_threshold
            rounding = torch.where(coded, offsets[index.long()], NOT_CODED)
        residual, symbols, y_hat = self.context(y, z_hat, rounding, condition=condition)
        with torch.autocast(y.device.type, enabled=False):
            if hard:
                likelihood_y = self.conditional(symbols, index)
                likelihood_y = likelihood_y if coded is None else torch.where(coded, likelihood_y, 1.0)
                likelihood_z = self.prior(z_hat, row)
            else:
                likelihood_y = self.conditional(residual + torch.rand_like(residual) - 0.5, index)
                likelihood_z = self.prior(z + torch.rand_like(z) - 0.5, row)
        return y_hat, symbols, {"y": likelihood_y, "z": likelihood_z}
