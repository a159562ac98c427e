"""Gradient clipping (Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks", 2013)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from ...autograd.op import wrap
from ...autograd.storage import mark_written
from ...kernels import array_module
from ...tensor import Tensor


def _tensors(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    return [parameters] if isinstance(parameters, Tensor) else list(parameters)


def get_total_norm(
    tensors: Tensor | Iterable[Tensor],
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """The norm of all tensors together, as if they were one vector."""
    arrays = [(t.coalesce().entries if t.is_sparse else t).array for t in _tensors(tensors)]
    if not arrays:
        return Tensor([0.0]).reshape(())
    xp, p = array_module(arrays[0]), float(norm_type)
    norms = xp.stack([xp.linalg.norm(a.reshape(-1), ord=p) for a in arrays])
    total = wrap(xp.asarray(xp.linalg.norm(norms, ord=p) if p else xp.count_nonzero(norms), dtype=arrays[0].dtype))
    if error_if_nonfinite and not math.isfinite(total.item()):
        raise RuntimeError(
            f"The total norm of order {p} for gradients from `parameters` is non-finite, so it cannot be clipped. "
            "To disable this error and scale the gradients by the non-finite norm anyway, set error_if_nonfinite=False"
        )
    return total


def clip_grads_with_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: float, total_norm: Tensor, foreach: bool | None = None
) -> None:
    """Scale all gradients by max_norm / total_norm, if that is less than 1."""
    xp = array_module(total_norm.array)
    if xp is np:
        scale: Any = float(max_norm) / (total_norm.item() + 1e-6)
        if scale >= 1.0:
            return
    else:  # without a look at the norm, which would wait for the GPU
        scale = xp.minimum(float(max_norm) / (total_norm.array + 1e-6), 1.0)
    for grad in [p.grad for p in _tensors(parameters) if p.grad is not None]:
        grad.entries.array *= scale
        mark_written(grad.entries)


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scale all gradients together, in place, so that their common norm is at most max_norm; return the norm before.

    Example:
        >>> nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    """
    parameters = _tensors(parameters)
    grads = [p.grad for p in parameters if p.grad is not None]
    total = get_total_norm(grads, norm_type, error_if_nonfinite)
    clip_grads_with_norm_(parameters, max_norm, total)
    return total


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float, foreach: bool | None = None) -> None:
    """Cut every element of every gradient to [-clip_value, clip_value], in place."""
    bound = float(clip_value)
    for p in _tensors(parameters):
        if p.grad is not None:
            p.grad = p.grad.coalesce() if p.grad.is_sparse else p.grad
            a: Any = p.grad.entries.array
            array_module(a).clip(a, -bound, bound, out=a)
            mark_written(p.grad.entries)


clip_grad_norm = clip_grad_norm_  # its name of old
