"""Dropout without a mask: which elements are dropped follows from the generator's seed and position alone."""

from __future__ import annotations

import math
from typing import Any

from .. import dtypes
from ..autograd.inplace import in_place
from ..autograd.op import Op, wrap
from ..kernels import array_module
from ..kernels import random as kernels
from ..random import default_generator
from ..tensor import Tensor
from ..testing.samples import Sample, samples


class Dropout(Op):
    """x with each element dropped with probability p and the others divided by 1 - p (Srivastava et al., 2014)."""

    has_bfloat16_kernel = has_bfloat16_rule = True

    def forward(self, x: Any, *, p: float, key: int, counter: int) -> Any:
        self.p, self.key, self.counter = p, key, counter
        return kernels.dropout(x, p, key, counter)

    def backward(self, g: Any) -> Any:
        return Dropout.apply(g, p=self.p, key=self.key, counter=self.counter)


@samples(Dropout)
def _(make: Any) -> Any:
    yield Sample(make(3, 4), p=0.4, key=1, counter=0)


def _check(name: str, input: Tensor, p: float) -> None:
    if not 0 <= p <= 1:
        raise ValueError(f"{name}: dropout probability has to be between 0 and 1, but got {p}")
    if input.array.dtype.kind not in dtypes.FLOATING:
        raise RuntimeError(f"{name}: expected a float tensor, got {input.dtype}; convert it with float()")


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """input with each element dropped with probability p, the others divided by 1 - p; unchanged if not training."""
    if not training and 0 <= p <= 1:
        return input  # of whatever type
    _check("dropout", input, p)
    if p == 0:
        return input
    if inplace:
        return in_place(dropout, "dropout")(input, p)
    if p == 1:
        return input * 0.0
    key, counter = default_generator.take(kernels.blocks(input.array.size, 1))
    return Dropout.apply(input, p=p, key=key, counter=counter)


def _mask(input: Tensor, shape: tuple[int, ...], p: float) -> Tensor:
    """1 / (1 - p) for what stays and 0 for what is dropped, of a shape."""
    ones = array_module(input.array).ones(shape, input.array.dtype)
    if p == 1:
        return wrap(ones * 0)
    key, counter = default_generator.take(kernels.blocks(ones.size, 1))
    return wrap(kernels.dropout(ones, p, key, counter))


def _channels(name: str, input: Tensor, p: float, training: bool, inplace: bool, batched: int) -> Tensor:
    """Whole channels dropped: of (B, C, ...), or of (C, ...) without a batch."""
    _check(name, input, p)
    if not training or p == 0:
        return input
    lead = 2 if input.array.ndim >= batched else 1
    mask = _mask(input, input.array.shape[:lead] + (1,) * (input.array.ndim - lead), p)
    return input.mul_(mask) if inplace else input * mask


def dropout1d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Dropout of whole channels of (B, C, T) or (C, T)."""
    return _channels("dropout1d", input, p, training, inplace, 3)


def dropout2d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Dropout of whole channels of (B, C, H, W)."""
    return _channels("dropout2d", input, p, training, inplace, 3)


def dropout3d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Dropout of whole channels of (B, C, D, H, W) or (C, D, H, W)."""
    return _channels("dropout3d", input, p, training, inplace, 5)


ALPHA = -1.7580993408473766  # SELU's value far below zero: what a dropped unit is set to


def alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """Dropout that keeps mean and variance of self-normalizing networks (Klambauer et al., 2017)."""
    return _alpha(input, p, training, inplace, tuple(input.shape))


def feature_alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """alpha_dropout of whole channels of (B, C, ...)."""
    return _alpha(input, p, training, inplace, input.array.shape[:2] + (1,) * (input.array.ndim - 2))


def _alpha(input: Tensor, p: float, training: bool, inplace: bool, shape: tuple[int, ...]) -> Tensor:
    _check("alpha_dropout", input, p)
    if not training or p == 0:
        return input
    if p == 1:
        return input * 0.0
    stays = _mask(input, shape, p) * (1 - p)
    scale = 1 / math.sqrt((1 - p) * (1 + p * ALPHA**2))
    result = (input * stays + ALPHA * (1 - stays)) * scale - ALPHA * p * scale
    return input.copy_(result) if inplace else result


__all__ = ["alpha_dropout", "dropout", "feature_alpha_dropout"]
