"""Functions that speak of a tensor's memory: as_strided, and the change of its size in place."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from ..autograd.op import Op, wrap
from ..autograd.storage import live_views, mark_written
from ..devices import move, of_array
from ..kernels import array_module
from ..tensor import Tensor, method
from ..testing.samples import Sample, samples
from .creation import arange, zeros
from .indexing import PutInto
from .rearrange import strided
from .shape import sizes_of


class AsStrided(Op):
    """Element (i, j, ...) is the one at offset + i stride[0] + j stride[1] + ... of the flattened x."""

    complex_rule = True
    view = True

    def forward(self, x: Any, *, size: Any, stride: Any, offset: int) -> Any:
        self.size, self.stride, self.offset, self.shape = size, stride, offset, x.shape
        flat = x.reshape(-1)[offset:]
        return strided(flat, size, tuple(s * flat.strides[0] for s in stride))

    def backward(self, g: Any) -> Any:
        grid = np.ogrid[tuple(slice(n) for n in self.size)]
        places = self.offset + sum(s * i for s, i in zip(self.stride, grid, strict=True))
        index = move(np.broadcast_to(places, self.size).astype(np.int64), of_array(getattr(g, "array", g)))
        return PutInto.apply(g, shape=(prod(self.shape),), index=(index,)).reshape(self.shape)


@samples(AsStrided)
def _(make: Any) -> Any:
    yield Sample(make(3, 4), size=(2, 3), stride=(4, 1), offset=5)
    yield Sample(make(5), size=(3, 3), stride=(1, 1), offset=0, note="elements seen several times")
    yield Sample(make(5), size=(), stride=(), offset=2)


@method()
def as_strided(input: Tensor, size: Any, stride: Any, storage_offset: int | None = None) -> Tensor:
    """A view that steps through the memory of a contiguous tensor on its own terms; strides and offset count elements.

    Raises RuntimeError where that would leave the memory of `input`.

    Example:
        >>> minidl.arange(4).as_strided((3, 2), (1, 1))
        tensor([[0, 1],
                [1, 2],
                [2, 3]])
    """
    size, stride, offset = tuple(size), tuple(stride), storage_offset or 0
    if len(size) != len(stride):
        raise RuntimeError(f"as_strided: mismatch in length of strides and shape: {list(stride)} for {list(size)}")
    if not input.is_contiguous():
        raise RuntimeError(
            f"as_strided: a tensor of shape {list(input.shape)} with strides {list(input.stride())} is not contiguous, so "
            "strides would not count its elements; take it of input.contiguous()"
        )
    last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
    if min(stride, default=0) < 0 or offset < 0 or (prod(size) and last >= input.array.size):
        raise RuntimeError(
            f"as_strided: sizes {list(size)}, strides {list(stride)} and offset {offset} lead outside of the "
            f"{input.array.size} elements of the tensor (negative strides are not supported)"
        )
    return AsStrided.apply(input, size=size, stride=stride, offset=offset)


@method()
def as_strided_scatter(input: Tensor, src: Tensor, size: Any, stride: Any, storage_offset: int | None = None) -> Tensor:
    """A copy of input in which the view as_strided(size, stride, storage_offset) has the values of `src`."""
    places = arange(input.numel(), device=input.device).as_strided(size, stride, storage_offset)
    if src.shape != places.shape:
        raise RuntimeError(f"as_strided_scatter: expected src of shape {list(places.shape)}, got {list(src.shape)}")
    return input.reshape(-1).index_put((places.reshape(-1),), src.reshape(-1)).reshape(input.shape)


def empty_strided(
    size: Any, stride: Any, *, dtype: Any = None, layout: Any = None, device: Any = None, requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """A tensor of that size whose steps in memory are `stride`, counted in elements; it holds zeros."""
    size, stride = tuple(size), tuple(stride)
    if len(size) != len(stride) or min((*size, *stride), default=0) < 0:
        raise RuntimeError(
            f"empty_strided: expected as many strides as sizes, none negative; got {list(size)} and {list(stride)}"
        )
    count = 1 + sum((n - 1) * s for n, s in zip(size, stride, strict=True)) if prod(size) else 0
    memory = zeros(count, dtype=dtype, device=device)
    view = strided(memory.array, size, tuple(s * memory.array.itemsize for s in stride))
    return wrap(view).requires_grad_(requires_grad)


def empty_permuted(size: Any, physical_layout: Any, **options: Any) -> Tensor:
    """A tensor of that size whose dimensions lie in memory in the order `physical_layout`; it holds zeros."""
    if sorted(physical_layout) != list(range(len(size))):
        raise RuntimeError(
            f"empty_permuted: physical_layout must name each of {len(size)} dimensions once, got {list(physical_layout)}"
        )
    steps, step = [0] * len(size), 1
    for d in reversed(tuple(physical_layout)):
        steps[d], step = step, step * max(size[d], 1)
    return empty_strided(size, steps, **options)


@method()
def new_empty_strided(input: Tensor, size: Any, stride: Any, **options: Any) -> Tensor:
    """empty_strided with the dtype and device of input unless given."""
    return empty_strided(size, stride, **{"dtype": input.dtype, "device": input.device, **options})


@method()
def resize_(input: Tensor, *sizes: Any, memory_format: Any = None) -> Tensor:
    """Give the tensor another size in place: its first elements in row-major order stay, further ones are zero.

    Raises RuntimeError for a tensor that requires grad, is a view or has views.
    """
    if input.requires_grad:
        raise RuntimeError("cannot resize variables that require grad; use reshape() or pad()")
    if input.base is not None or live_views(input):
        raise RuntimeError("resize_: the tensor shares its memory with a view; resize a clone()")
    shape = sizes_of(sizes)
    flat, n = input.array.reshape(-1), prod(shape)
    if n > flat.size:
        xp = array_module(flat)
        flat = xp.concatenate([flat, xp.zeros(n - flat.size, flat.dtype)])
    input.array = flat[:n].reshape(shape)
    mark_written(input)
    return input


@method()
def resize_as_(input: Tensor, the_template: Tensor, memory_format: Any = None) -> Tensor:
    """resize_(the_template.shape)."""
    return resize_(input, tuple(the_template.shape))


__all__ = ["as_strided", "as_strided_scatter", "empty_permuted", "empty_strided"]
