"""Zero-centred conditional distributions of the latent's symbols, given the index of the scale.

Scale levels are sigma_t = exp(a + b t), t = 0..63 (nacre.entropy.tables). A family may learn its shape as a function of
the level, so that at export each level is one stored integer table whatever the family.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from compressai.ops import LowerBound
from numpy.typing import NDArray
from torch import Tensor, nn

from nacre.entropy.scales import LOG_SCALE_MIN, LOG_SCALE_STEP, SCALE_LEVELS
from nacre.models.config import Conditional

LIKELIHOOD_MIN = 1e-9


def _normal_cdf(x: Tensor) -> Tensor:
    return 0.5 * torch.erfc(x * -math.sqrt(0.5))


class _GaussianIntervals(torch.autograd.Function):
    """sum_k w_k(t) (Phi((1/2 - m) / s_k(t)) - Phi((-1/2 - m) / s_k(t))), its gradient written out.

    magnitude m >= 0 and level t (any shape, integers in float); weights and inverse scales 1 / s_k of every level, each
    (K, levels). The gradient of ``level`` is that of a scale exp(LOG_SCALE_MIN + LOG_SCALE_STEP t) times a constant.
    Chained by autograd, the likelihood took a quarter of a training step.
    """

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx, magnitude: Tensor, level: Tensor, weights: Tensor, inverse: Tensor
    ) -> Tensor:
        flat = level.reshape(1, -1).long()
        weight, sharpness = (
            table.gather(1, flat.expand(len(table), -1)).view(-1, *level.shape) for table in (weights, inverse)
        )
        interval = _normal_cdf((0.5 - magnitude) * sharpness) - _normal_cdf((-0.5 - magnitude) * sharpness)
        ctx.save_for_backward(magnitude, flat, weight, sharpness, interval)
        ctx.levels = weights.shape[1]  # type: ignore[attr-defined]
        return (weight * interval).sum(0)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        magnitude, flat, weight, sharpness, interval = ctx.saved_tensors  # type: ignore[attr-defined]
        (grad,) = grads
        upper, lower = 0.5 - magnitude, 0.5 + magnitude
        density_upper, density_lower = ((side * sharpness).square_().mul_(-0.5).exp_() for side in (upper, lower))
        density = weight * (grad * (1.0 / math.sqrt(2 * math.pi)))
        by_magnitude = (density * sharpness * (density_lower - density_upper)).sum(0)
        by_sharpness = density * (density_upper * upper + density_lower * lower)
        by_level = (by_sharpness * sharpness).sum(0) * -LOG_SCALE_STEP
        tables = [
            torch.stack(
                [torch.bincount(flat[0], part.flatten(), ctx.levels) for part in parts]  # type: ignore[attr-defined]
            ).to(grad.dtype)
            for parts in (grad * interval, by_sharpness)
        ]
        return by_magnitude, by_level, tables[0], tables[1]


class _UpperGamma(torch.autograd.Function):
    """Q(a, x) = 1 - P(a, x), differentiable in both: -dQ/dx is the density, dQ/da a central difference."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, a: Tensor, x: Tensor) -> Tensor:
        ctx.save_for_backward(a, x)
        return torch.special.gammaincc(a, x)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *grads: Tensor) -> tuple[Tensor, Tensor]:
        a, x = ctx.saved_tensors  # type: ignore[attr-defined]
        (grad,) = grads
        density = torch.exp((a - 1) * torch.log(x) - x - torch.lgamma(a))
        step = 1e-2
        slope = (torch.special.gammaincc(a + step, x) - torch.special.gammaincc(a - step, x)) / (2 * step)
        return grad * slope, -grad * density


class SymbolConditional(nn.Module):
    """Probability of the unit interval around a value, for one of three families.

    - ``gaussian``: N(0, sigma_t^2)
    - ``mixture``: w_t N(0, (sigma_t r_t)^2) + (1 - w_t) N(0, (sigma_t s_t)^2), r_t < 1 < s_t
    - ``generalized``: density proportional to exp(-|x / alpha|^beta_t), alpha = sigma_t (the scale level itself)
    """

    def __init__(self, family: Conditional) -> None:
        super().__init__()
        self.family = family
        self.bound = LowerBound(LIKELIHOOD_MIN)
        if family == "mixture":
            start = torch.tensor([0.5, -0.5, -0.5])  # logit of w, log of the widths' offsets
            self.shape = nn.Parameter(start[:, None].repeat(1, SCALE_LEVELS))
        elif family == "generalized":
            self.shape = nn.Parameter(torch.full((1, SCALE_LEVELS), math.log(1.3)))

    def components(self) -> tuple[Tensor, Tensor]:
        """Weights and scale ratios of the Gaussians, each (2, levels), or (1, levels) of ones for ``gaussian``."""
        if self.family == "gaussian":
            ones = torch.ones(1, SCALE_LEVELS, device=self.bound.bound.device)
            return ones, ones
        weight = torch.sigmoid(self.shape[0])
        return torch.stack([weight, 1 - weight]), torch.exp(
            torch.stack([-torch.nn.functional.softplus(self.shape[1]), torch.nn.functional.softplus(self.shape[2])])
        )

    def forward(self, residual: Tensor, index: Tensor) -> Tensor:
        """Likelihood of ``residual`` (any shape, noisy or rounded) under scale index ``index`` (same shape, float)."""
        magnitude = residual.abs()
        if self.family == "generalized":
            sigma = torch.exp(LOG_SCALE_MIN + LOG_SCALE_STEP * index)
            table = torch.exp(self.shape[0]).clamp(0.4, 3.0)[:, None]
            # embedding's backward is far cheaper than that of indexing
            beta = torch.nn.functional.embedding(index.detach().long(), table).squeeze(-1)
            # tails as such, so that small likelihoods keep their digits: |lower| is always the outer bound
            upper = 0.5 - magnitude
            inner, outer = self._upper_tail(upper, sigma, beta), self._upper_tail(-0.5 - magnitude, sigma, beta)
            likelihood = torch.where(upper < 0, inner - outer, 1.0 - inner - outer)
        else:
            levels = torch.arange(SCALE_LEVELS, device=residual.device, dtype=residual.dtype)
            weights, ratios = (part.to(residual.dtype) for part in self.components())
            inverse = torch.exp(-LOG_SCALE_MIN - LOG_SCALE_STEP * levels) / ratios
            likelihood = _GaussianIntervals.apply(magnitude, index, weights, inverse)
        return self.bound(likelihood)

    @staticmethod
    def _upper_tail(x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
        """P(X > |x|) of the generalized Gaussian."""
        return 0.5 * _UpperGamma.apply(1 / beta, (x.abs() / alpha).clamp_min(1e-6) ** beta)

    @torch.no_grad()
    def pmf(self, level: int, radius: int) -> NDArray[np.float64]:
        """Probabilities of -radius..radius at a scale level, (2 radius + 1,); in the parameters' precision."""
        symbols, index = self._line(level, radius)
        return self(symbols, index).double().numpy()

    @torch.no_grad()
    def component_pmfs(self, level: int, radius: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Weights (K,) and probabilities (K, 2 radius + 1) of a mixture's components at a scale level."""
        symbols, _ = self._line(level, radius)
        weights, ratios = self.components()
        sigma = math.exp(LOG_SCALE_MIN + LOG_SCALE_STEP * level) * ratios[:, level, None].double()
        lower, upper = (-symbols.abs() - 0.5) / sigma, (-symbols.abs() + 0.5) / sigma
        return weights[:, level].double().numpy(), (_normal_cdf(upper) - _normal_cdf(lower)).numpy()

    def _line(self, level: int, radius: int) -> tuple[Tensor, Tensor]:
        symbols = torch.arange(-radius, radius + 1, dtype=torch.float64)
        return symbols, torch.full_like(symbols, float(level))
