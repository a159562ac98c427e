"""Stochastic gradient descent."""

from __future__ import annotations

from typing import Any

from ..autograd.sparse_gradient import scatter_add
from ..kernels.optimizer import sgd
from ..tensor import Tensor
from .optimizer import Optimizer, check_may_begin, check_not_negative, refuse_differentiable, zeros_like


class SGD(Optimizer):
    """p -= lr * grad, with momentum, Nesterov's form of it and weight decay as options.

    foreach and fused are accepted and change nothing.
    Source: Sutskever and others, "On the importance of initialization and momentum in deep learning", 2013.

    Example:
        >>> optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        check_not_negative("learning rate", lr)
        check_not_negative("momentum value", momentum)
        check_not_negative("weight_decay value", weight_decay)
        refuse_differentiable(differentiable)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
            "foreach": foreach,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, defaults)

    def update_sparse(self, param: Tensor, grad: Any, state: dict[str, Any], group: dict[str, Any]) -> None:
        """The same, row by row; with momentum the buffer is sparse too, and stores every row that ever had a gradient."""
        if group["weight_decay"] != 0:
            raise RuntimeError(
                "SGD: weight_decay changes every row, so it is not compatible with sparse gradients; leave it out"
            )
        grad = -grad.detach() if group["maximize"] else grad.detach()
        momentum = group["momentum"]
        if momentum != 0:
            if state.get("momentum_buffer") is None:
                state["momentum_buffer"] = grad.clone()
            else:
                state["momentum_buffer"] = state["momentum_buffer"] * momentum + grad * (1 - group["dampening"])
            buffer = state["momentum_buffer"]
            grad = grad + buffer * momentum if group["nesterov"] else buffer
        scatter_add(param.array, grad.pattern, grad.entries.array, -float(group["lr"]))

    def update(self, param: Tensor, grad: Any, state: dict[str, Any], group: dict[str, Any]) -> None:
        buffer, first = None, False
        if group["momentum"] != 0:
            first = state.get("momentum_buffer") is None
            if first:
                check_may_begin("SGD with momentum")
                state["momentum_buffer"] = zeros_like(param)
            buffer = state["momentum_buffer"].array
        sgd(
            param.array,
            grad,
            buffer,
            float(group["lr"]),
            group["momentum"],
            group["dampening"],
            group["weight_decay"],
            group["nesterov"],
            group["maximize"],
            first,
        )
