"""Overwriting a whole tensor: fill_, zero_, copy_."""

from __future__ import annotations

from typing import Any

from ..autograd.inplace import in_place
from ..autograd.op import Op
from ..kernels import array_module
from ..tensor import Tensor, method
from ..testing.samples import Sample, samples
from .arithmetic import cast


class Fill(Op):
    """A tensor of one value; nothing of the input remains, so it gets no gradient."""

    def forward(self, x: Any, *, value: Any) -> Any:
        return array_module(x).full_like(x, value)

    def backward(self, g: Any) -> Any:
        return None


class CopyFrom(Op):
    """The second input in the shape of the first."""

    def forward(self, x: Any, y: Any) -> Any:
        return array_module(x).broadcast_to(y, x.shape).copy()

    def backward(self, g: Any) -> Any:
        return None, g


@samples(Fill)
def _(make: Any) -> Any:
    yield Sample(make(2, 3), value=2.0)


@samples(CopyFrom)
def _(make: Any) -> Any:
    yield Sample(make(2, 3), make(3))


def _fill(input: Tensor, value: Any) -> Any:
    if not isinstance(value, Tensor):
        return Fill.apply(input, value=value)
    if value.array.ndim:
        raise RuntimeError(
            f"fill_ only supports 0-dimension value tensor but got tensor with {value.array.ndim} dimensions; use copy_()"
        )
    return CopyFrom.apply(input, cast(value, input.array.dtype))


def _zero(input: Tensor) -> Any:
    return Fill.apply(input, value=0)


def _copy(input: Tensor, src: Tensor, non_blocking: bool = False) -> Any:
    return CopyFrom.apply(input, cast(src.to(device=input.device), input.array.dtype))


method("fill_")(in_place(_fill, "fill"))
method("zero_")(in_place(_zero, "zero"))
method("copy_")(in_place(_copy, "copy"))
