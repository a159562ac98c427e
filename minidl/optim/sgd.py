"""Stochastic gradient descent."""

from __future__ import annotations

from typing import Any

from ..autograd.sparse_gradient import scatter_add
from ..kernels.optimizer import sgd, sgd_many
from ..tensor import Tensor
from .optimizer import (
    Optimizer,
    check_not_negative,
    refuse_differentiable,
    split_by,
    zeros_like,
)


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
        first = self._begin(param, state, group)
        buffer = state["momentum_buffer"].array if group["momentum"] else None
        sgd(param.array, grad, buffer, *_options(group), first)

    def update_group(
        self, params: list[Tensor], grads: list[Any], states: list[dict[str, Any]], group: dict[str, Any]
    ) -> None:
        if not group["momentum"]:
            sgd_many([param.array for param in params], grads, None, *_options(group), False)
            return
        fresh = [self._begin(param, state, group) for param, state in zip(params, states, strict=True)]
        for first, some, their_grads, their_states in split_by(fresh, params, grads, states):
            buffers = [state["momentum_buffer"].array for state in their_states]
            sgd_many([param.array for param in some], their_grads, buffers, *_options(group), first)

    def _begin(self, param: Tensor, state: dict[str, Any], group: dict[str, Any]) -> bool:
        """Make the state of a parameter, if this is its first step with momentum, and say so."""
        if not group["momentum"] or state.get("momentum_buffer") is not None:
            return False
        self.check_may_begin()
        state["momentum_buffer"] = zeros_like(param)
        return True


def _options(group: dict[str, Any]) -> tuple[Any, ...]:
    """What the kernels take after the arrays."""
    weight_decay, nesterov, maximize = group["weight_decay"], group["nesterov"], group["maximize"]
    return float(group["lr"]), group["momentum"], group["dampening"], weight_decay, nesterov, maximize
