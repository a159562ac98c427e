"""Softmax and its logarithm."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..autograd.op import Op
from ..kernels import softmax as kernels
from ..kernels.common import row_major
from ..tensor import Tensor, method
from ..testing.samples import Sample, samples
from .conversion import cast
from .exponential import exp, log
from .shape import normalize_dim


class Softmax(Op):
    """e^x over its sum along an axis."""

    has_bfloat16_kernel = has_bfloat16_rule = True
    precision = "full on cuda"
    promotion = "float"

    def forward(self, x: Any, *, axis: int) -> Any:
        self.axis = axis
        return kernels.softmax(row_major(x), axis)

    def backward(self, g: Any, out: Any) -> Any:
        return kernels.softmax_backward(g, out, self.axis)

    def composite(self, g: Any, out: Any) -> Any:
        return out * (g - (g * out).sum(axis=self.axis, keepdims=True))


class LogSoftmax(Op):
    """x minus the logarithm of the sum of e^x along an axis."""

    has_bfloat16_kernel = has_bfloat16_rule = True
    precision = "full on cuda"
    promotion = "float"

    def forward(self, x: Any, *, axis: int) -> Any:
        self.axis = axis
        return kernels.log_softmax(row_major(x), axis)

    def backward(self, g: Any, out: Any) -> Any:
        return kernels.log_softmax_backward(g, out, self.axis)

    def composite(self, g: Any, out: Any) -> Any:
        return g - exp(out) * g.sum(axis=self.axis, keepdims=True)


for _op in (Softmax, LogSoftmax):

    @samples(_op)
    def _(make: Any) -> Any:
        yield Sample(make(3, 5), axis=1)
        yield Sample(make(3, 2, 4), axis=0)
        yield Sample(np.array([[1000.0, 999.0, -1000.0]]), axis=-1, note="large values")


def _ready(name: str, input: Tensor, dim: int | None, dtype: Any) -> tuple[Tensor, int]:
    if dtype is not None:
        input = cast(input, dtypes.as_array_dtype(dtype))
    if dim is None:  # PyTorch's rule for calls without dim
        dim = 0 if input.array.ndim in (0, 1, 3) else 1
    return input, normalize_dim(dim, input.array.ndim, name)


@method()
def softmax(input: Tensor, dim: int | None = None, dtype: Any = None, *, _stacklevel: int = 3) -> Tensor:
    """exp(input) over its sum along `dim`: positive numbers that add up to 1."""
    x, axis = _ready("softmax", input, dim, dtype)
    return Softmax.apply(x, axis=axis) if x.array.ndim else exp(x * 0)


@method()
def log_softmax(input: Tensor, dim: int | None = None, dtype: Any = None, *, _stacklevel: int = 3) -> Tensor:
    """The logarithm of softmax, without underflow."""
    x, axis = _ready("log_softmax", input, dim, dtype)
    return LogSoftmax.apply(x, axis=axis) if x.array.ndim else x * 0


def softmin(input: Tensor, dim: int | None = None, dtype: Any = None) -> Tensor:
    """softmax(-input)."""
    return softmax(-input, dim, dtype)


def gumbel_softmax(logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1) -> Tensor:
    """A sample from the Gumbel-softmax distribution (Jang et al., 2016); `hard`: one-hot, with the soft one's gradient."""
    from .random import rand_like

    noise = -log(-log(rand_like(logits).clamp(1e-20, 1 - 1e-7)))
    soft = softmax((logits + noise) / tau, dim)
    if not hard:
        return soft
    index = soft.array.argmax(dim, keepdims=True)
    one_hot = np.zeros_like(soft.array)
    np.put_along_axis(one_hot, index, 1, dim)
    return soft + (one_hot - soft.detach().array)


__all__ = ["log_softmax", "softmax"]
