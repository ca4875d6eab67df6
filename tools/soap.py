"""SOAP (Vyas et al. 2024, arXiv 2409.11321): Adam in the slowly rotating eigenbasis of Shampoo's preconditioner.

Made for small convolutional networks on few cores: weights are seen as matrices (outputs, inputs * k * k), sides above
``max_side`` keep the identity, the statistics are updated every ``sample_every`` steps and the basis by one step of
orthogonal iteration every ``refresh_every`` steps; the first moment lives in the eigenbasis. Vectors get plain Adam.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


class Soap(torch.optim.Optimizer):
    """Parameters: ``lr`` step size, ``betas`` of the moments; sides and intervals as above."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 3e-3,
        betas: tuple[float, float] = (0.95, 0.95),
        refresh_every: int = 20,
        sample_every: int = 4,
        max_side: int = 1100,
    ) -> None:
        self.refresh_every, self.sample_every, self.max_side = refresh_every, sample_every, max_side
        super().__init__(params, {"lr": lr, "betas": betas, "eps": 1e-8})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        loss = None if closure is None else closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group)
        return loss

    def _update(self, parameter: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        gradient = parameter.grad.float()  # type: ignore[union-attr]
        matrix = gradient.flatten(1) if gradient.dim() > 1 else gradient[None]
        if not state:
            state["step"] = 0
            state["first"] = torch.zeros_like(matrix)
            state["second"] = torch.zeros_like(matrix)
            # depthwise kernels and anchors of gains, with 9 entries on a side, are not worth a basis
            wide = min(matrix.shape) > 9
            for side, size in enumerate(matrix.shape):
                if wide and size <= self.max_side:
                    state[f"moments{side}"] = torch.zeros(size, size, device=matrix.device)
        beta1, beta2 = group["betas"]
        first_time = state["step"] == 0
        state["step"] += 1
        step: int = state["step"]
        if first_time or step % self.sample_every == 0:
            self._sample(state, matrix, first_time)
        if first_time:
            self._start_basis(state)
            return  # the paper skips the first update: the basis has seen a single gradient
        if step % self.refresh_every == 0:
            self._refresh(state)
        rotated = self._rotate(state, matrix)
        state["first"].mul_(beta1).add_(rotated, alpha=1 - beta1)
        state["second"].mul_(beta2).addcmul_(rotated, rotated, value=1 - beta2)
        correction1, correction2 = 1 - beta1 ** (step - 1), 1 - beta2 ** (step - 1)
        denominator = (state["second"] / correction2).sqrt_().add_(group["eps"])
        update = state["first"] / correction1 / denominator
        # With equal betas Adam's ratio cannot pass 1. Here it could: a refreshed basis turns the first moment exactly,
        # the second only by reordering.
        update = self._rotate_back(state, update.clamp_(-1.0, 1.0))
        parameter.add_(update.view_as(parameter), alpha=-group["lr"])

    def _sample(self, state: dict[str, Any], matrix: Tensor, first_time: bool) -> None:
        beta = 0.0 if first_time else 0.95**self.sample_every
        if "moments0" in state:
            state["moments0"].mul_(beta).addmm_(matrix, matrix.T, alpha=1 - beta)
        if "moments1" in state:
            state["moments1"].mul_(beta).addmm_(matrix.T, matrix, alpha=1 - beta)

    @staticmethod
    def _start_basis(state: dict[str, Any]) -> None:
        for side in (0, 1):
            if f"moments{side}" in state:
                # one batch's moments have low rank: scaled, in double and lifted a little, the solver always converges
                moments = state[f"moments{side}"].double()
                moments = moments / moments.trace().clamp_min(1e-300)
                moments.diagonal().add_(1e-9)
                _, vectors = torch.linalg.eigh(moments)
                state[f"basis{side}"] = vectors.flip(1).to(state["first"].dtype)

    @staticmethod
    def _refresh(state: dict[str, Any]) -> None:
        """One orthogonal iteration of each basis, columns sorted by energy; the moments move with it."""
        first, second = state["first"], state["second"]
        for side in (0, 1):
            if f"basis{side}" not in state:
                continue
            basis = state[f"basis{side}"]
            product = state[f"moments{side}"] @ basis
            order = (basis * product).sum(0).argsort(descending=True)
            renewed, _ = torch.linalg.qr(product[:, order])
            if side == 0:
                first, second = renewed.T @ (basis @ first), second[order]
            else:
                first, second = (first @ basis.T) @ renewed, second[:, order]
            state[f"basis{side}"] = renewed
        state["first"], state["second"] = first, second.contiguous()

    @staticmethod
    def _rotate(state: dict[str, Any], matrix: Tensor) -> Tensor:
        # In single precision: the rounding of half precision, spread over all directions of the basis, is larger than
        # the gradient along those of little energy, which the division by the second moment would make steps of.
        if "basis0" in state:
            matrix = state["basis0"].T @ matrix
        if "basis1" in state:
            matrix = matrix @ state["basis1"]
        return matrix

    @staticmethod
    def _rotate_back(state: dict[str, Any], matrix: Tensor) -> Tensor:
        if "basis0" in state:
            matrix = state["basis0"] @ matrix
        if "basis1" in state:
            matrix = matrix @ state["basis1"].T
        return matrix
