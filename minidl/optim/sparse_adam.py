"""Adam for sparse gradients."""

from __future__ import annotations

import math
from typing import Any

from ..kernels.embedding import adam_rows
from ..tensor import Tensor
from .optimizer import Optimizer, zeros_like


class SparseAdam(Optimizer):
    """Adam that changes, of each parameter, only the rows that have a gradient, and only their averages.

    For tables of which each step looks up few rows: nn.Embedding(..., sparse=True). It is not Adam on the same gradients with
    zeros filled in: there, a row that is not looked up still moves, by its momentum.
    Source: Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2014; which rows change is PyTorch's choice.

    Example:
        >>> optimizer = optim.SparseAdam(embedding.parameters(), lr=1e-3)
    """

    recordable = False

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        maximize: bool = False,
    ) -> None:
        if not lr > 0.0:
            raise ValueError(f"Invalid learning rate: {lr}")
        if not eps > 0.0:
            raise ValueError(f"Invalid epsilon value: {eps}")
        for i, beta in enumerate(betas):
            if not 0.0 <= beta < 1.0:
                raise ValueError(f"Invalid beta parameter at index {i}: {beta}")
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "maximize": maximize})

    def update(self, param: Tensor, grad: Any, state: dict[str, Any], group: dict[str, Any]) -> None:
        raise RuntimeError("SparseAdam does not support dense gradients, please consider Adam instead")

    def update_sparse(self, param: Tensor, grad: Any, state: dict[str, Any], group: dict[str, Any]) -> None:
        grad = grad.detach().coalesce()
        if not state:
            state["step"], state["exp_avg"], state["exp_avg_sq"] = 0, zeros_like(param), zeros_like(param)
        state["step"] += 1
        step, (beta1, beta2) = state["step"], group["betas"]
        g = -grad.entries.array if group["maximize"] else grad.entries.array
        averages = state["exp_avg"].array, state["exp_avg_sq"].array
        size = float(group["lr"]) * math.sqrt(1 - beta2**step) / (1 - beta1**step)
        adam_rows(param.array, *averages, grad.pattern.index(), g, size, beta1, beta2, group["eps"])
