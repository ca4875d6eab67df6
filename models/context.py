"""The context decoder: mean (and step width) of the latent in four steps over a 2x2 grid, applied after parsing."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nacre.models.config import ImageConfig
from nacre.models.rounding import round_ste

# Positions of the 2x2 grid as 2 * dy + dx in the order in which they are decoded: (0,0), (1,1), (0,1), (1,0).
STEP_ORDER = (0, 3, 1, 2)
NOT_CODED = -1e9  # rounding offset of latents that a stream does not hold


class ContextDecoder(nn.Module):
    """Mean, and with ``step_width`` the width, of every latent from the hyper-latent and the steps before.

    Each step works on its own quarter of the latent grid, that is at 1/32 resolution:

        z_hat -> 3x3 -> 1x1 -> depth-to-space 2 -> state (B, C, h/2, w/2)
        step k: mean, width = 1x1(relu(1x1(depthwise 3x3(state)))); state += 1x1(y_hat of step k)
    """

    def __init__(self, config: ImageConfig) -> None:
        super().__init__()
        width, latent = config.context_width, config.latent_channels
        self.step_width = config.step_width
        self.hyper = nn.Conv2d(config.hyper_channels, config.context_hidden, 3, padding=1)
        self.hyper_up = nn.Conv2d(config.context_hidden, 4 * width, 1)
        self.spatial = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1, groups=width) for _ in STEP_ORDER)
        self.mix = nn.ModuleList(nn.Conv2d(width, width, 1) for _ in STEP_ORDER)
        outputs = 2 * latent if config.step_width else latent
        self.predict = nn.ModuleList(nn.Conv2d(width, outputs, 1) for _ in STEP_ORDER)
        self.absorb = nn.ModuleList(nn.Conv2d(latent, width, 1) for _ in STEP_ORDER[1:])
        for parameter in self.predict.parameters():
            nn.init.zeros_(parameter)

    def forward(
        self,
        target: Tensor,
        z_hat: Tensor,
        rounding: Tensor | None = None,
        encoding: Tensor | float = 1.0,
        condition: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Residual (target - mean) / width, symbols and reconstruction y_hat, (B, latent_channels, h, w), h and w even.

        ``encoding`` 1: target is y, the symbols are the rounded residual. ``encoding`` 0: target holds the symbols
        already, so that one graph serves both ends. ``rounding`` (same shape) is added to the residual's magnitude
        before it is cut down to an integer: 0.5 rounds to the nearest, less widens the zone of every smaller symbol,
        ``NOT_CODED`` makes the symbol zero. Without it symbols are the nearest integers. The gradient passes straight
        through the rounding. ``condition`` (B, context_width, h/2, w/2): what else the decoder knows, added to the
        first state.
        """
        state = F.pixel_shuffle(self.hyper_up(torch.relu(self.hyper(z_hat))), 2)
        if condition is not None:
            state = state + condition
        batch, channels, height, width = target.shape
        grid = F.pixel_unshuffle(target, 2).view(batch, channels, 4, height // 2, width // 2)
        if rounding is not None:
            rounding = F.pixel_unshuffle(rounding, 2).view(batch, channels, 4, height // 2, width // 2)
        residuals: list[Tensor] = [target] * 4
        symbols: list[Tensor] = [target] * 4
        decoded: list[Tensor] = [target] * 4
        for step, place in enumerate(STEP_ORDER):
            parameters = self.predict[step](torch.relu(self.mix[step](self.spatial[step](state)))).float()
            mean = parameters[:, :channels]
            residual = grid[:, :, place] - encoding * mean
            if self.step_width:
                step_size = torch.exp(0.5 * torch.tanh(parameters[:, channels:]))
                residual = residual * (encoding / step_size + (1.0 - encoding))
            if rounding is None:
                symbol = round_ste(residual)
            else:
                magnitude = torch.floor(residual.abs() + rounding[:, :, place]).clamp_min(0.0)
                symbol = residual + (torch.sign(residual) * magnitude - residual).detach()
            y_hat = mean + (symbol * step_size if self.step_width else symbol)
            residuals[place], symbols[place], decoded[place] = residual, symbol, y_hat
            if step < len(self.absorb):
                state = state + self.absorb[step](y_hat)
        return self._interleave(residuals), self._interleave(symbols), self._interleave(decoded)

    @staticmethod
    def _interleave(parts: list[Tensor]) -> Tensor:
        stacked = torch.stack(parts, 2)
        return F.pixel_shuffle(stacked.flatten(1, 2), 2)
