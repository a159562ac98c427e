"""Adam and AdamW."""

from __future__ import annotations

from typing import Any

from ..kernels.optimizer import adam, adam_many
from ..tensor import Tensor
from .optimizer import (
    Optimizer,
    array_of,
    check_not_negative,
    count_step,
    refuse_differentiable,
    split_by,
    zeros_like,
)


class Adam(Optimizer):
    """Gradient descent with momentum, each element's step divided by the root of its mean squared gradient.

    amsgrad: divide by the largest such root so far. capturable: on a GPU count the steps there, so that a step can be recorded
    into a CUDA graph; lr and the other options stay as they were then. foreach and fused are accepted and change nothing.
    Sources: Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2014; Reddi, Kale and Kumar, "On the
    Convergence of Adam and Beyond", 2018.

    Example:
        >>> optimizer = optim.Adam(model.parameters(), lr=1e-3)
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        check_not_negative("learning rate", lr)
        check_not_negative("epsilon value", eps)
        for i, beta in enumerate(betas):
            if not 0.0 <= beta < 1.0:
                raise ValueError(f"Invalid beta parameter at index {i}: {beta}")
        check_not_negative("weight_decay value", weight_decay)
        refuse_differentiable(differentiable)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
            "fused": fused,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, defaults)

    def update(self, param: Tensor, grad: Any, state: dict[str, Any], group: dict[str, Any]) -> None:
        self._begin(param, state, group)
        if group["capturable"] and param.is_cuda:
            step = self.number_on_gpu(state, "step", param, 0.0)
            step += 1
        else:
            step = count_step(state)
        means = state["exp_avg"].array, state["exp_avg_sq"].array, array_of(state, "max_exp_avg_sq")
        adam(param.array, grad, *means, step, *_options(group))

    def update_group(
        self, params: list[Tensor], grads: list[Any], states: list[dict[str, Any]], group: dict[str, Any]
    ) -> None:
        steps = [count_step(state) for state in states]
        for param, state in zip(params, states, strict=True):
            self._begin(param, state, group)
        for step, some, their_grads, their_states in split_by(steps, params, grads, states):
            adam_many(
                [param.array for param in some],
                their_grads,
                [state["exp_avg"].array for state in their_states],
                [state["exp_avg_sq"].array for state in their_states],
                [state["max_exp_avg_sq"].array for state in their_states] if group["amsgrad"] else None,
                step,
                *_options(group),
            )

    def _begin(self, param: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """Make the state of a parameter at its first step."""
        if self.begins(state, "exp_avg"):
            state["exp_avg"], state["exp_avg_sq"] = zeros_like(param), zeros_like(param)
            if group["amsgrad"]:
                state["max_exp_avg_sq"] = zeros_like(param)


def _options(group: dict[str, Any]) -> tuple[Any, ...]:
    """What the kernels take after the number of steps."""
    decoupled, maximize = group["decoupled_weight_decay"], group["maximize"]
    return (float(group["lr"]), *group["betas"], group["eps"], group["weight_decay"], decoupled, maximize)


class AdamW(Adam):
    """Adam whose weight decay shrinks the parameters directly and does not pass through the gradient's statistics.

    Source: Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2017.

    Example:
        >>> optimizer = optim.AdamW(model.parameters(), lr=3e-4, weight_decay=0.1)
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            foreach=foreach,
            maximize=maximize,
            capturable=capturable,
            differentiable=differentiable,
            fused=fused,
            decoupled_weight_decay=True,
        )
