"""Optimizers for matrices: Adafactor and Muon."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..autograd.op import wrap
from ..dtypes import bfloat16
from ..kernels import array_module
from ..kernels.cast import astype
from ..tensor import Tensor
from .optimizer import Optimizer, check_not_negative, count_step, zeros_like


class Adafactor(Optimizer):
    """Adam's mean square kept as one number per row and column of a matrix; steps relative to the size of the parameter.

    eps: what keeps divisions finite (None for the dtype's), and the smallest size of a parameter. d: the largest root mean
    square of a step. Source: Shazeer & Stern, "Adafactor: Adaptive Learning Rates with Sublinear Memory Cost", 2018.
    """

    recordable = False

    def __init__(
        self, params: Any, lr: float | Tensor = 1e-2, beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3), d: float = 1.0, weight_decay: float = 0.0, *,
        foreach: bool | None = None, maximize: bool = False,
    ) -> None:  # fmt: skip
        check_not_negative("learning rate", lr)
        if beta2_decay > 0:
            raise ValueError(f"beta2_decay should be <= 0 but is: {beta2_decay}")
        check_not_negative("epsilon1", 0.0 if eps[0] is None else eps[0])
        check_not_negative("epsilon2", eps[1])
        if d < 1:
            raise ValueError(f"Clipping threshold d should be >= 1 but is: {d}")
        check_not_negative("weight_decay", weight_decay)
        defaults = {
            "lr": lr, "beta2_decay": beta2_decay, "eps": eps, "d": d, "weight_decay": weight_decay, "foreach": foreach,
            "maximize": maximize,
        }  # fmt: skip
        super().__init__(params, defaults)

    def update(self, param: Tensor, grad: Any, state: dict[str, Any], group: dict[str, Any]) -> None:
        xp, matrix, lr = array_module(grad), grad.ndim > 1, float(group["lr"])
        if "step" not in state:
            if matrix:
                state["row_var"] = wrap(xp.zeros((*grad.shape[:-1], 1), grad.dtype))
                state["col_var"] = wrap(xp.zeros((*grad.shape[:-2], 1, grad.shape[-1]), grad.dtype))
            else:
                state["variance"] = zeros_like(param)
        step, g = count_step(state), -grad if group["maximize"] else grad
        floor = group["eps"][0] if group["eps"][0] is not None else float(np.finfo(param.array.dtype).eps)
        share = step ** group["beta2_decay"]
        size = max(group["eps"][1], float(xp.sqrt((param.array**2).mean())))
        param.array *= 1 - lr * group["weight_decay"]
        if matrix:
            rows, columns = state["row_var"].array, state["col_var"].array
            rows += share * ((g * g).mean(-1, keepdims=True) - rows)
            columns += share * ((g * g).mean(-2, keepdims=True) - columns)
            squares = (rows @ columns) / xp.maximum(rows.mean(-2, keepdims=True), floor)
        else:
            squares = state["variance"].array
            squares += share * (g * g - squares)
        move = g / xp.sqrt(xp.maximum(squares, floor * floor))
        too_large = max(1.0, float(xp.sqrt((move**2).mean())) / group["d"])
        param.array -= size * min(lr, 1 / math.sqrt(step)) / too_large * move


class Muon(Optimizer):
    """Momentum whose step for a matrix is made orthogonal, so that all directions move alike. Two-dimensional parameters only.

    ns_steps, ns_coefficients: of the Newton-Schulz iteration, which runs in bfloat16, for a rough result will do.
    adjust_lr_fn: "original" scales the step by sqrt(max(1, rows / columns)), "match_rms_adamw" by 0.2 sqrt(max(rows, columns)).
    Source: Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024.
    """

    recordable = False

    def __init__(
        self, params: Any, lr: float = 1e-3, weight_decay: float = 0.1, momentum: float = 0.95, nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.775, 2.0315), eps: float = 1e-7, ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ) -> None:  # fmt: skip
        check_not_negative("learning rate", lr)
        check_not_negative("momentum", momentum)
        check_not_negative("weight decay", weight_decay)
        if adjust_lr_fn not in (None, "original", "match_rms_adamw"):
            raise ValueError(f"Adjust learning rate function {adjust_lr_fn} is not supported")
        if ns_steps >= 100 or len(ns_coefficients) != 3:
            raise ValueError("Muon: ns_steps must be less than 100, and there are three ns_coefficients")
        defaults = {
            "lr": lr, "weight_decay": weight_decay, "momentum": momentum, "nesterov": nesterov,
            "ns_coefficients": ns_coefficients, "eps": eps, "ns_steps": ns_steps, "adjust_lr_fn": adjust_lr_fn,
        }  # fmt: skip
        super().__init__(params, defaults)
        for group in self.param_groups:
            for p in group["params"]:
                if p.ndim != 2:
                    raise ValueError(
                        f"Muon only supports 2D parameters whereas we found a parameter with size: {p.shape}"
                    )

    def update(self, param: Tensor, grad: Any, state: dict[str, Any], group: dict[str, Any]) -> None:
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = zeros_like(param)
        buffer, momentum, lr = state["momentum_buffer"].array, group["momentum"], float(group["lr"])
        buffer += (1 - momentum) * (grad - buffer)
        direction = grad + momentum * (buffer - grad) if group["nesterov"] else buffer
        move = orthogonal(direction, group["ns_coefficients"], group["ns_steps"], group["eps"])
        rows, columns = param.shape
        if group["adjust_lr_fn"] == "match_rms_adamw":
            scale = 0.2 * math.sqrt(max(rows, columns))
        else:
            scale = math.sqrt(max(1, rows / columns))
        param.array *= 1 - lr * group["weight_decay"]
        param.array -= lr * scale * move


def orthogonal(x: Any, coefficients: tuple[float, float, float], steps: int, eps: float) -> Any:
    """A matrix with the singular vectors of x and singular values near 1: p(X) = a X + b (X Xᵀ) X + c (X Xᵀ)² X, repeated.

    Every result is rounded to bfloat16, as PyTorch does it; sums are taken in x's dtype, float32 at least.
    """
    xp, (a, b, c), tall = array_module(x), coefficients, x.shape[0] > x.shape[1]
    X = nearest((x.T if tall else x).astype(np.result_type(x, np.float32), copy=False))
    norm = nearest(xp.sqrt((X * X).sum(keepdims=True)))
    X = nearest(X / xp.maximum(norm, eps))
    for _ in range(steps):
        gram = nearest(X @ X.T)
        X = nearest(a * X + nearest(b * gram + c * (gram @ gram)) @ X)
    return (X.T if tall else X).astype(x.dtype, copy=False)


def nearest(x: Any) -> Any:
    """The nearest numbers of bfloat16, in x's dtype."""
    return astype(astype(x, bfloat16.dtype), x.dtype)
