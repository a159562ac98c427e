"""Rprop and ASGD."""

from __future__ import annotations

from typing import Any

from ..kernels import array_module
from ..tensor import Tensor
from .adaptive import decayed
from .optimizer import Optimizer, check_not_negative, full_like, of_dtype, refuse_differentiable, zeros_like


class Rprop(Optimizer):
    """Steps by the sign of the gradient: larger while the sign stays, smaller when it turns. For full batches.

    etas: the factors for a turn and for none. step_sizes: the smallest and largest step.
    Source: Riedmiller & Braun, "A direct adaptive method for faster backpropagation learning: the RPROP algorithm", 1993.
    """

    def __init__(
        self, params: Any, lr: float | Tensor = 1e-2, etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50), *, capturable: bool = False, foreach: bool | None = None,
        maximize: bool = False, differentiable: bool = False,
    ) -> None:  # fmt: skip
        check_not_negative("learning rate", lr)
        if not 0.0 < etas[0] < 1.0 < etas[1]:
            raise ValueError(f"Invalid eta values: {etas[0]}, {etas[1]}")
        refuse_differentiable(differentiable)
        defaults = {
            "lr": lr, "etas": etas, "step_sizes": step_sizes, "foreach": foreach, "maximize": maximize,
            "differentiable": differentiable, "capturable": capturable,
        }  # fmt: skip
        super().__init__(params, defaults)

    def update(self, param: Tensor, grad: Any, state: dict[str, Any], group: dict[str, Any]) -> None:
        if self.begins(state, "prev"):
            state["prev"], state["step_size"] = zeros_like(param), full_like(param, float(group["lr"]))
        self.next_step(state, param, group)
        xp, (down, up), (low, high) = array_module(grad), group["etas"], group["step_sizes"]
        g = -grad if group["maximize"] else grad
        agreement, sizes = g * state["prev"].array, state["step_size"].array
        factor = xp.where(agreement > 0, up, xp.where(agreement < 0, down, 1.0)).astype(g.dtype)
        xp.clip(sizes * factor, low, high, out=sizes)
        g = xp.where(agreement < 0, 0, g)  # after a turn the step is left out
        param.array -= xp.sign(g) * sizes
        state["prev"].array[...] = g


class ASGD(Optimizer):
    """Gradient descent whose averaged parameters, kept in state["ax"], are the result (Polyak & Juditsky, 1992).

    lambd: weight decay that also sets how the step falls; alpha: the power of that; t0: the step at which averaging begins.
    """

    def __init__(
        self, params: Any, lr: float | Tensor = 1e-2, lambd: float = 1e-4, alpha: float = 0.75, t0: float = 1e6,
        weight_decay: float = 0, foreach: bool | None = None, maximize: bool = False, differentiable: bool = False,
        capturable: bool = False,
    ) -> None:  # fmt: skip
        check_not_negative("learning rate", lr)
        check_not_negative("weight_decay value", weight_decay)
        refuse_differentiable(differentiable)
        defaults = {
            "lr": lr, "lambd": lambd, "alpha": alpha, "t0": t0, "weight_decay": weight_decay, "foreach": foreach,
            "maximize": maximize, "differentiable": differentiable, "capturable": capturable,
        }  # fmt: skip
        super().__init__(params, defaults)

    def update(self, param: Tensor, grad: Any, state: dict[str, Any], group: dict[str, Any]) -> None:
        xp, lr, lambd = array_module(grad), float(group["lr"]), group["lambd"]
        if self.begins(state, "ax"):
            state["ax"], state["eta"], state["mu"] = zeros_like(param), lr, 1.0
        step, g, average = self.next_step(state, param, group), decayed(param.array, grad, group), state["ax"].array
        counted = hasattr(step, "dtype")  # by the GPU
        eta: Any = self.number_on_gpu(state, "eta", param, lr) if counted else float(state["eta"])
        mu: Any = self.number_on_gpu(state, "mu", param, 1.0) if counted else float(state["mu"])
        param.array *= of_dtype(1 - lambd * eta, param.array)
        param.array -= of_dtype(eta, param.array) * g
        average += of_dtype(mu, average) * (param.array - average)
        new_eta, late = lr / (1 + lambd * lr * step) ** group["alpha"], step - group["t0"]
        if counted:
            eta[...], mu[...] = new_eta, 1 / xp.maximum(1, late)
        else:
            state["eta"], state["mu"] = new_eta, 1 / max(1, late)
