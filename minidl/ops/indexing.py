"""x[...], read and written: integers, slices, None, Ellipsis, masks, integer tensors, and mixtures of them.

Basic indices (integers, slices, None, Ellipsis) give views. Masks and integer tensors give copies, whose gradient adds up
over elements that were taken several times.
"""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np

from ..autograd.inplace import check_writable, write
from ..autograd.op import Op, next_seq, wrap
from ..kernels import array_module
from ..tensor import Tensor, method
from ..testing.samples import Sample, samples
from .arithmetic import cast
from .selection import where

BASIC = (int, slice, type(None), type(Ellipsis))


class View(Op):
    """Basic indexing: a view."""

    view = True

    def forward(self, x: Any, *, index: Any) -> Any:
        self.shape, self.index = x.shape, index
        return x[index]

    def backward(self, g: Any) -> Any:
        return PutInto.apply(g, shape=self.shape, index=self.index, accumulate=False)


class Take(Op):
    """Indexing with masks and integer arrays: a copy."""

    def forward(self, x: Any, *, index: Any) -> Any:
        self.shape, self.index = x.shape, index
        return x[index]

    def backward(self, g: Any) -> Any:
        return PutInto.apply(g, shape=self.shape, index=self.index, accumulate=True)


class PutInto(Op):
    """Zeros of a shape with values put, or added up, at an index: the gradient of indexing."""

    def forward(self, g: Any, *, shape: tuple[int, ...], index: Any, accumulate: bool) -> Any:
        self.index = index
        xp = array_module(g)
        out = xp.zeros(shape, g.dtype)
        if accumulate:
            xp.add.at(out, index, g)
        else:
            out[index] = g
        return out

    def backward(self, g: Any) -> Any:
        return g[self.index] if not isinstance(g, Tensor) else take(g, self.index)


class IndexPut(Op):
    """x with values written, or added, at an index."""

    def forward(self, x: Any, value: Any, *, index: Any, accumulate: bool) -> Any:
        self.index, self.accumulate = index, accumulate
        out = x.copy()
        if accumulate:
            array_module(x).add.at(out, index, value)
        else:
            out[index] = value
        return out

    def backward(self, g: Any) -> Any:
        wants_x, wants_value = self.edges
        there = g[self.index] if not isinstance(g, Tensor) else take(g, self.index)
        if self.accumulate:
            return g, there if wants_value else None
        return self._outside(g) if wants_x else None, there if wants_value else None

    def _outside(self, g: Any) -> Any:
        outside = array_module(getattr(g, "array", g)).ones(g.shape, bool)
        outside[self.index] = False
        return where(outside, g, 0.0)


@samples(View)
def _(make: Any) -> Any:
    yield Sample(make(3, 4), index=(1,))
    yield Sample(make(3, 4), index=(slice(None), None, slice(0, 4, 2)))
    yield Sample(make(2, 3, 4), index=(Ellipsis, -1))


@samples(Take)
def _(make: Any) -> Any:
    yield Sample(make(3, 4), index=(np.array([0, 2, 2, -1]),), note="an element taken twice")
    yield Sample(make(3, 4), index=(np.array([[True, False, True, False]] * 3),))
    yield Sample(make(3, 4, 2), index=(slice(None), np.array([[0, 1], [3, 3]]), np.array([0, 1])))


@samples(PutInto)
def _(make: Any) -> Any:
    yield Sample(make(3), shape=(4,), index=(np.array([0, 2, 2]),), accumulate=True)


@samples(IndexPut)
def _(make: Any) -> Any:
    yield Sample(make(3, 4), make(4), index=(1,), accumulate=False)
    yield Sample(make(3, 4), make(2, 4), index=(np.array([0, 0]),), accumulate=True)


def take(x: Tensor, index: tuple[Any, ...]) -> Tensor:
    """x[index] for an index that has been checked."""
    op = View if builtins.all(isinstance(i, BASIC) and not isinstance(i, bool) for i in index) else Take
    return op.apply(x, index=index)  # type: ignore[no-any-return]


def checked_index(x: Tensor, index: Any) -> tuple[Any, ...]:
    """The index as a tuple that NumPy understands as PyTorch does. Raises IndexError in PyTorch's words."""
    items = index if isinstance(index, tuple) else (index,)
    result: list[Any] = []
    for item in items:
        if isinstance(item, Tensor):
            item = item.array
        if isinstance(item, np.generic):
            item = item.item()
        if isinstance(item, (list, range)) or (isinstance(item, tuple)):
            item = _sequence(item)
        if isinstance(item, np.ndarray) or (hasattr(item, "dtype") and hasattr(item, "shape")):
            item = _array_index(item)
        elif isinstance(item, slice):
            item = slice(*(None if part is None else int(part) for part in (item.start, item.stop, item.step)))
            if item.step is not None and item.step <= 0:
                raise ValueError("slice step must be positive; flip() reverses a dimension")
        elif isinstance(item, bool):
            item = np.asarray(item)
        elif not isinstance(item, BASIC):
            if not hasattr(item, "__index__"):
                raise IndexError(
                    "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid indices "
                    f"(got {type(item).__name__})"
                )
            item = int(item)
        result.append(item)
    _check_bounds(x, result)
    return tuple(result)


def _sequence(item: Any) -> Any:
    values = np.asarray([i.array if isinstance(i, Tensor) else i for i in item])
    return values.astype(np.int64) if not values.size else values


def _array_index(item: Any) -> Any:
    if item.dtype.kind == "u" and item.dtype.itemsize == 1:
        return item != 0
    if item.dtype.kind == "b":
        return item
    if item.dtype.kind not in "iu":
        raise IndexError(f"tensors used as indices must be long, int, byte or bool tensors, not {item.dtype}")
    return item


def _check_bounds(x: Tensor, index: list[Any]) -> None:
    """Every integer must exist in the dimension it speaks of."""
    shape = x.array.shape
    used = [1 if not (hasattr(i, "dtype") and i.dtype.kind == "b") else i.ndim for i in index]
    taken = builtins.sum(n for i, n in zip(index, used, strict=True) if i is not None and i is not Ellipsis)
    if taken > len(shape):
        if not shape:
            raise IndexError(
                "invalid index of a 0-dim tensor. Use `tensor.item()` in Python to convert a 0-dim tensor to a number"
            )
        raise IndexError(f"too many indices for tensor of dimension {len(shape)}: got {taken}")
    if builtins.sum(i is Ellipsis for i in index) > 1:
        raise IndexError("an index can only have a single ellipsis ('...')")
    dim = 0
    for item, n in zip(index, used, strict=True):
        if item is None:
            continue
        if item is Ellipsis:
            dim += len(shape) - taken
            continue
        if isinstance(item, int):
            if not -shape[dim] <= item < shape[dim]:
                raise IndexError(f"index {item} is out of bounds for dimension {dim} with size {shape[dim]}")
        elif hasattr(item, "dtype") and item.dtype.kind == "b":
            if item.shape != shape[dim : dim + n]:
                raise IndexError(
                    f"The shape of the mask {list(item.shape)} at index {dim} does not match the shape of the indexed tensor "
                    f"{list(shape)} at index {dim}"
                )
        elif hasattr(item, "dtype") and item.size and not -shape[dim] <= item.min() <= item.max() < shape[dim]:
            wrong = item.min() if item.min() < -shape[dim] else item.max()
            raise IndexError(f"index {wrong} is out of bounds for dimension {dim} with size {shape[dim]}")
        dim += n


@method("__getitem__")
def getitem(input: Tensor, index: Any) -> Tensor:
    """input[index]: a view for integers, slices, None and Ellipsis; a copy for masks and integer tensors."""
    if index.__class__ is int and input.array.shape and -input.array.shape[0] <= index < input.array.shape[0]:
        return View.apply(input, index=(index,))  # type: ignore[no-any-return]
    return take(input, checked_index(input, index))


@method("__setitem__")
def setitem(input: Tensor, index: Any, value: Any) -> None:
    """input[index] = value, with broadcasting and conversion to input's dtype; within a graph, with gradients."""
    at = checked_index(input, index)
    if not isinstance(value, Tensor):
        value = wrap(np.asarray(value, input.array.dtype))
    value = cast(value, input.array.dtype)
    target = input.array[at].shape
    extra = value.array.ndim - len(target)
    if extra > 0 and builtins.all(n == 1 for n in value.array.shape[:extra]):
        value = value.reshape(value.array.shape[extra:])
    try:
        np.broadcast_shapes(value.array.shape, target)
        fits = np.broadcast_shapes(value.array.shape, target) == target
    except ValueError:
        fits = False
    if not fits:
        raise RuntimeError(
            f"shape mismatch: value tensor of shape {list(value.shape)} cannot be broadcast to indexing result of shape "
            f"{list(target)}"
        )
    check_writable(input, "index_put")
    before = next_seq()
    if input.node is None and value.node is None and (input.base is None or input.base.root.node is None):
        input.array[at] = value.array
        input.version[0] += 1
        return
    write(input, IndexPut.apply(input, value, index=at, accumulate=False), "index_put", before)
