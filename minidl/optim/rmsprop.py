"""RMSprop."""

from __future__ import annotations

from typing import Any

from ..kernels.optimizer import rmsprop
from ..tensor import Tensor
from .optimizer import Optimizer, array_of, check_not_negative, refuse_differentiable, zeros_like


class RMSprop(Optimizer):
    """Each element's step divided by the root of a moving average of its squared gradient.

    centered: divide by the root of the variance instead. capturable: as for Adam.
    foreach is accepted and changes nothing.
    Source: Tieleman and Hinton, lecture 6.5 of "Neural Networks for Machine Learning", 2012.

    Example:
        >>> optimizer = optim.RMSprop(model.parameters(), lr=1e-2)
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_not_negative("learning rate", lr)
        check_not_negative("epsilon value", eps)
        check_not_negative("momentum value", momentum)
        check_not_negative("weight_decay value", weight_decay)
        check_not_negative("alpha value", alpha)
        refuse_differentiable(differentiable)
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "alpha": alpha,
            "eps": eps,
            "centered": centered,
            "weight_decay": weight_decay,
            "capturable": capturable,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def update(self, param: Tensor, grad: Any, state: dict[str, Any], group: dict[str, Any]) -> None:
        if self.begins(state, "square_avg"):
            state["square_avg"] = zeros_like(param)
            if group["momentum"] > 0:
                state["momentum_buffer"] = zeros_like(param)
            if group["centered"]:
                state["grad_avg"] = zeros_like(param)
        self.next_step(state, param, group)
        rmsprop(
            param.array,
            grad,
            state["square_avg"].array,
            array_of(state, "grad_avg"),
            array_of(state, "momentum_buffer"),
            float(group["lr"]),
            group["alpha"],
            group["eps"],
            group["weight_decay"],
            group["momentum"],
            group["maximize"],
        )
