"""An L1 penalty that makes zeros.

Following the gradient of lambda |w| moves a weight towards 0, past it and back: it hardly ever is 0. The proximal step minimizes
penalty and distance together: it moves the weight by lr lambda towards 0 and stops there.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..autograd.grad_mode import no_grad
from ..autograd.hooks import RemovableHandle
from ..nn.functional import softshrink
from ..optim.optimizer import Optimizer
from ..tensor import Tensor


@no_grad()
def soft_threshold_(t: Tensor, threshold: float) -> Tensor:
    """sign(t) max(|t| - threshold, 0), in place: the proximal step of threshold times the L1 norm.

    Example:
        >>> soft_threshold_(minidl.tensor([-2.0, 0.5, 3.0]), 1.0)
        tensor([-1.,  0.,  2.])
    """
    return t.copy_(softshrink(t, threshold))


def proximal_l1(optimizer: Optimizer, weight: float, params: Iterable[Tensor] | None = None) -> RemovableHandle:
    """From now on a proximal step of `weight` |w| follows each step of the optimizer; remove() of what it returns ends that.

    params: those that are penalized (default: all with more than one dimension, which leaves out biases and norms).
    With plain SGD on all data at once this is ISTA, which for a convex loss and a small lr finds the minimum of loss and penalty
    (Daubechies, Defrise & De Mol, 2004; Beck & Teboulle, "A Fast Iterative Shrinkage-Thresholding Algorithm for Linear Inverse
    Problems", 2009). With Adam, whose steps have another length for each weight, the threshold lr * weight is the same for all:
    there are zeros all the same, but of another penalty.
    Raises ValueError for a negative weight and for parameters that the optimizer does not have.

    Example:
        >>> handle = proximal_l1(optimizer, 1e-4)
    """
    if not weight >= 0:
        raise ValueError(f"proximal_l1: weight must not be negative, got {weight}")
    owned = {p for group in optimizer.param_groups for p in group["params"]}
    chosen = {p for p in owned if p.ndim > 1} if params is None else set(params)
    if not chosen <= owned:
        raise ValueError(f"proximal_l1: {len(chosen - owned)} of params are no parameters of the optimizer")

    def shrink(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        for group in optimizer.param_groups:
            for p in group["params"]:
                if p in chosen:
                    soft_threshold_(p, float(group["lr"]) * weight)

    return optimizer.register_step_post_hook(shrink)
