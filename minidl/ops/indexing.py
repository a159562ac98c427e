"""x[...], read and written.

An index has two parts, and they are applied one after the other. Integers, slices, None and Ellipsis lead to a view.
Masks and integer tensors then pick from that view, which makes a copy; its gradient adds up over elements that were
picked several times.
"""

from __future__ import annotations

from math import isinf, prod
from typing import Any

import numpy as np

from .. import devices
from ..autograd.grad_mode import grad_mode
from ..autograd.inplace import check_writable, in_place, write
from ..autograd.op import Op, wrap
from ..autograd.storage import mark_written, next_seq
from ..kernels import array_module, determinism
from ..kernels.accumulate import put_last
from ..kernels.common import row_major
from ..kernels.embedding import embedding_backward
from ..tensor import Tensor, method
from ..testing.samples import Sample, samples
from .conversion import cast
from .selection import where

ALL = slice(None)
BOUNDS = (int, type(None))


class Slice(Op):
    """The basic part of an index: a view."""

    complex_rule = True
    view = True

    def forward(self, x: Any, *, index: tuple[Any, ...]) -> Any:
        self.shape, self.index = x.shape, index
        return x[index]

    def backward(self, g: Any) -> Any:
        return PutInto.apply(g, shape=self.shape, index=self.index)


class Take(Op):
    """The elements that masks and integer arrays pick: a copy."""

    complex_rule = True

    def forward(self, x: Any, *, index: tuple[Any, ...]) -> Any:
        self.shape, self.index = x.shape, index
        *before, last = index
        if hasattr(last, "dtype") and last.dtype.kind == "i" and all(isinstance(part, slice) for part in before):
            return x[tuple(before)].take(last, len(before))  # faster, and row-major where x[index] is not
        return row_major(x[index])

    def backward(self, g: Any) -> Any:
        return PutInto.apply(g, shape=self.shape, index=self.index)


class PutInto(Op):
    """Zeros of a shape with the elements of g added at an index: the gradient of indexing."""

    complex_rule = True

    def forward(self, g: Any, *, shape: tuple[int, ...], index: tuple[Any, ...]) -> Any:
        self.index = index
        return added_up(g, shape, index)

    def backward(self, g: Any) -> Any:
        return picked(g, self.index)


class IndexPut(Op):
    """x with values written, or added, at an index."""

    complex_rule = True

    def forward(self, x: Any, value: Any, *, index: tuple[Any, ...], accumulate: bool = False) -> Any:
        self.index, self.accumulate = index, accumulate
        if accumulate:
            shape = picked_shape(x, index)
            if value.shape != shape:
                if np.broadcast_shapes(shape, value.shape) != shape:
                    raise _mismatch(value, shape)
                value = array_module(x).broadcast_to(value, shape)
            return x + added_up(value, x.shape, index)
        out = x.copy()
        assign(out, index, value)
        return out

    def backward(self, g: Any) -> Any:
        wants_x, wants_value = self.edges
        dvalue = picked(g, self.index) if wants_value else None
        if self.accumulate or not wants_x:
            return g if wants_x else None, dvalue
        outside = array_module(getattr(g, "array", g)).ones(g.shape, bool)
        outside[self.index] = False
        return where(outside, g, 0.0), dvalue


class Fill(Op):
    """A tensor of one value; nothing of the input remains, so its gradient is zero."""

    complex_rule = True

    def forward(self, x: Any, *, value: Any) -> Any:
        return array_module(x).full_like(x, value)

    def backward(self, g: Any) -> Any:
        return Fill.apply(g, value=0)


class CopyFrom(Op):
    """The second input in the shape of the first."""

    complex_rule = True

    def forward(self, x: Any, y: Any) -> Any:
        try:
            return array_module(x).broadcast_to(y, x.shape).copy()
        except ValueError:
            raise _mismatch(y, x.shape) from None

    def backward(self, g: Any) -> Any:
        return Fill.apply(g, value=0) if self.edges[0] else None, g


@samples(Slice)
def _(make: Any) -> Any:
    yield Sample(make(3, 4), index=(1, Ellipsis))
    yield Sample(make(3, 4), index=(2, -1, Ellipsis), note="one element")
    yield Sample(make(3, 4), index=(ALL, None, slice(0, 4, 2)))
    yield Sample(make(2, 3, 4), index=(Ellipsis, -1))


@samples(Take)
def _(make: Any) -> Any:
    yield Sample(make(3, 4), index=(np.array([0, 2, 2, -1]),), note="an element taken twice")
    yield Sample(make(3, 4), index=(np.array([[True, False, True, False]] * 3),))
    yield Sample(make(3, 4, 2), index=(ALL, np.array([[0, 1], [3, 3]]), np.array([0, 1])))
    yield Sample(make(3, 4, 2), index=(np.array([[0, 1], [2, 2]]), ALL, np.array([0, 1])), note="separated")
    yield Sample(make(3, 4, 2), index=(ALL, np.array([[True, False], [False, True]] * 2)))
    yield Sample(make(3, 4), index=(np.zeros(0, np.int64),), note="nothing taken")


@samples(PutInto)
def _(make: Any) -> Any:
    yield Sample(make(3), shape=(4,), index=(np.array([0, 2, 2]),))
    yield Sample(make(2, 3), shape=(3, 4), index=(slice(0, 2), slice(1, None)))


@samples(IndexPut)
def _(make: Any) -> Any:
    yield Sample(make(3, 4), make(4), index=(1,))
    yield Sample(make(3, 4), make(2, 1), index=(np.array([0, 2]),), note="a value that is broadcast")
    yield Sample(make(3, 4), make(), index=(np.array([[True, False, True, False]] * 3),))
    yield Sample(make(3, 4), make(2, 4), index=(np.array([0, 0]),), accumulate=True)


@samples(Fill)
def _(make: Any) -> Any:
    yield Sample(make(2, 3), value=2.0)


@samples(CopyFrom)
def _(make: Any) -> Any:
    yield Sample(make(2, 3), make(3))


def added_up(g: Any, shape: tuple[int, ...], index: tuple[Any, ...]) -> Any:
    """Zeros of `shape` with the elements of g added at `index`, in their order: the same at every run."""
    xp = array_module(g)
    if g.size == 0 or not any(hasattr(item, "dtype") and item.dtype.kind != "b" for item in index):
        out = xp.zeros(shape, g.dtype)
        out[index] = g  # no element is named twice
        return out
    dims: list[int] = []  # the dimensions that arrays pick from
    rows: Any = np.int64(0)  # where the picked elements stand, were these dimensions one
    dim = 0
    for item in index:
        if isinstance(item, slice):
            dim += 1
            continue
        for part in item.nonzero() if item.dtype.kind == "b" else (item,):
            size = shape[dim]
            rows = rows * size + xp.where(part < 0, part + size, part)
            dims.append(dim)
            dim += 1
    adjacent = dims[-1] - dims[0] == len(dims) - 1 and _side_by_side(index)
    first, count = dims[0] if adjacent else 0, rows.ndim  # where in g the picked dimensions are
    sizes, rest = [shape[d] for d in dims], [n for d, n in enumerate(shape) if d not in dims]
    columns = xp.moveaxis(g, range(first, first + count), range(count)) if first else g
    rows = xp.ascontiguousarray(rows.reshape(-1))
    out = embedding_backward(xp.ascontiguousarray(columns.reshape(rows.size, prod(rest))), rows, prod(sizes))
    out = out.reshape(*sizes, *rest)
    return out if dims == list(range(len(dims))) else xp.moveaxis(out, range(len(dims)), dims)


def picked_shape(x: Any, index: tuple[Any, ...]) -> tuple[int, ...]:
    """The shape of x[index]; known from the index alone, if it is one integer for each dimension."""
    if len(index) == x.ndim and all(hasattr(item, "dtype") and item.dtype.kind == "i" for item in index):
        return np.broadcast_shapes(*(item.shape for item in index))
    return x[index].shape


def _side_by_side(index: tuple[Any, ...]) -> bool:
    """Whether no slice stands between two arrays of an index."""
    places = [i for i, item in enumerate(index) if not isinstance(item, slice)]
    return places[-1] - places[0] == len(places) - 1


def picked(x: Any, index: tuple[Any, ...]) -> Any:
    """x[index] within the graph."""
    return (Take if any(hasattr(item, "dtype") for item in index) else Slice).apply(x, index=index)


def assign(x: Any, index: tuple[Any, ...], value: Any) -> None:
    """x[index] = value on arrays, with PyTorch's error where the shapes do not fit."""
    try:
        if x.__class__ is np.ndarray or determinism.mode == "default" or not any(hasattr(i, "dtype") for i in index):
            x[index] = value
        else:
            put_last(x, index, value)
    except ValueError:
        raise _mismatch(value, x[index].shape) from None


def _mismatch(value: Any, shape: tuple[int, ...]) -> RuntimeError:
    return RuntimeError(
        f"shape mismatch: value tensor of shape {list(value.shape)} cannot be broadcast to indexing result of shape "
        f"{list(shape)}"
    )


# ---------------------------------------------------------------------------------------------------------------------
# Reading an index


def plain_index(index: Any) -> tuple[Any, ...] | None:
    """An index that means the same to NumPy, so written that it leads to a view even of one element; None for any other."""
    items = index if index.__class__ is tuple else (index,)
    for item in items:
        if item.__class__ is slice:
            if item.step is not None or item.start.__class__ not in BOUNDS or item.stop.__class__ not in BOUNDS:
                return None
        elif item.__class__ is not int and item is not None and item is not Ellipsis:
            return None
    return items if Ellipsis in items else (*items, Ellipsis)


def split_index(x: Tensor, index: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """An index as its basic part, which ends in a view, and the arrays that pick from that view; () if there are none.

    Raises IndexError, in PyTorch's words, for whatever does not exist in x.
    """
    plain = plain_index(index)
    if plain is not None:
        try:
            x.array[plain]
            return plain, ()
        except IndexError:
            pass  # what is wrong with it will be found below
    if isinstance(index, list) and any(not isinstance(i, (bool, int, float, np.generic)) for i in index):
        raise IndexError(
            "a list that holds more than numbers is no index, since it could mean two things: use x[tuple(index)] for "
            "one index per dimension, or x[tensor(index)] for an index tensor"
        )
    items = [_item(i, x) for i in (index if isinstance(index, tuple) else (index,))]
    shape = x.array.shape
    taken = _count(items, len(shape))
    basic: list[Any] = []
    arrays: list[Any] = []
    dim = 0
    for item in items:
        if item is None:
            basic.append(None)
            arrays.append(ALL)
        elif item is Ellipsis:
            basic.append(Ellipsis)
            arrays += [ALL] * (len(shape) - taken)
            dim += len(shape) - taken
        elif isinstance(item, int):
            check_bounds(item, item, dim, shape)
            basic.append(item)
        elif isinstance(item, slice):
            basic.append(item)
            arrays.append(ALL)
        elif item.dtype.kind == "b" and not item.ndim:  # one more dimension, of size 1 or 0
            basic.append(None)
            arrays.append(np.zeros(int(item), np.int64))
        else:
            _check_array(item, dim, shape)
            basic += [ALL] * _dims_of(item)
            arrays.append(item)
        dim += 0 if item is Ellipsis else _dims_of(item)
    if Ellipsis not in basic:
        basic.append(Ellipsis)  # with it, NumPy gives a view even of a single element
    kinds = {i.__class__ for i in arrays} - {slice}
    if not kinds:
        return tuple(basic), ()
    if x.array.__class__ is np.ndarray and kinds != {np.ndarray}:
        raise RuntimeError(f"indices should be on the device of the indexed tensor ({x.device}) or the CPU; use .cpu()")
    # copied, because the gradient rule needs them as they are now
    return tuple(basic), tuple([i if isinstance(i, slice) else devices.move(i, x.device).copy() for i in arrays])


def _dims_of(item: Any) -> int:
    """How many dimensions of the indexed tensor an item speaks of."""
    if item is None or item is Ellipsis:
        return 0
    return item.ndim if hasattr(item, "dtype") and item.dtype.kind == "b" else 1


def _item(item: Any, x: Tensor) -> Any:
    """One item of an index as an int, slice, None, Ellipsis, integer array or mask. Raises for anything else."""
    if item is None or item is Ellipsis or item.__class__ is int:
        return item
    if isinstance(item, slice):
        result = slice(*(None if n is None else n.__index__() for n in (item.start, item.stop, item.step)))
        if result.step is not None and result.step <= 0:
            raise ValueError("slice step must be greater than zero; flip() reverses a dimension")
        return result
    if isinstance(item, (list, tuple, range)):
        item = np.asarray([devices.move(i.array, devices.CPU) if isinstance(i, Tensor) else i for i in item])
        item = item if item.size else item.astype(np.int64)
    elif isinstance(item, bool):
        return np.asarray(item)
    array = item.array if isinstance(item, Tensor) else item
    if hasattr(array, "ndim") and not isinstance(array, np.generic):
        if array.dtype.char == "B":  # uint8; comparing with NumPy's types makes a dtype each time
            array = array != 0
        if array.dtype.kind == "b" or (array.dtype.kind == "i" and array.dtype.itemsize >= 4):
            return array if array.ndim or array.dtype.kind == "b" else int(array)
        raise IndexError(f"tensors used as indices must be long, int, byte or bool tensors, not {array.dtype}")
    if not hasattr(item, "__index__"):
        raise IndexError(
            "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid indices "
            f"(got {type(item).__name__})"
        )
    return item.__index__()


def _count(items: list[Any], ndim: int) -> int:
    """How many dimensions an index speaks of. Raises for more than there are, and for two ellipses."""
    taken = ellipses = 0
    for item in items:
        taken += _dims_of(item)
        ellipses += item is Ellipsis
    if taken > ndim:
        if not ndim:
            raise IndexError(
                "invalid index of a 0-dim tensor. Use `tensor.item()` in Python to convert a 0-dim tensor to a number"
            )
        raise IndexError(f"too many indices for tensor of dimension {ndim}: got {taken}")
    if ellipses > 1:
        raise IndexError("an index can only have a single ellipsis ('...')")
    return taken


def _check_array(item: Any, dim: int, shape: tuple[int, ...]) -> None:
    if item.dtype.kind == "b":
        if item.shape != shape[dim : dim + item.ndim]:
            raise IndexError(
                f"The shape of the mask {list(item.shape)} at index {dim} does not match the shape of the indexed "
                f"tensor {list(shape)} at index {dim}"
            )
    elif devices.outside(item, -shape[dim], shape[dim]):
        check_bounds(int(item.min()), int(item.max()), dim, shape)


def check_bounds(low: int, high: int, dim: int, shape: tuple[int, ...]) -> None:
    n = shape[dim]
    if not -n <= low <= high < n:
        raise IndexError(f"index {low if low < -n else high} is out of bounds for dimension {dim} with size {n}")


# ---------------------------------------------------------------------------------------------------------------------
# x[...] and x[...] = value


@method("__getitem__")
def getitem(input: Tensor, index: Any) -> Tensor:
    """input[index]: a view for integers, slices, None and Ellipsis; a copy for masks and integer tensors."""
    plain = plain_index(index)
    if plain is not None:
        try:
            return Slice.apply(input, index=plain)
        except IndexError:
            pass  # split_index says it in PyTorch's words
    basic, arrays = split_index(input, index)
    part = input if arrays and is_all(basic) else Slice.apply(input, index=basic)
    return Take.apply(part, index=arrays) if arrays else part


def is_all(basic: tuple[Any, ...]) -> bool:
    return all(i is Ellipsis or i == ALL for i in basic)


@method("__setitem__")
def setitem(input: Tensor, index: Any, value: Any) -> None:
    """input[index] = value, a number or a tensor, with broadcasting; within a graph, with gradients.

    The value is converted to input's dtype, but for masks and integer tensors it must have that dtype already.
    """
    basic, arrays = split_index(input, index)
    if isinstance(value, Tensor):
        devices.check_same("index_put", input, value)
        if arrays and value.array.ndim:
            check_dtype("Index put requires the source and destination dtypes match", input, value)
        value = cast(value, input.array.dtype)
    else:
        value = number(value, input)
    owner = input if input.base is None else input.base.root
    in_graph = grad_mode.get() and not (input.node is value.node is owner.node is None)
    part = Slice.apply(input, index=basic) if in_graph else wrap(input.array[basic])
    if value.array.ndim and value.array.shape[0] == 1:
        leading = value.array.ndim - (part.array[arrays] if arrays else part.array).ndim
        if leading > 0 and set(value.array.shape[:leading]) == {1}:
            value = value.reshape(value.array.shape[leading:])
    check_writable(part, "index_put")
    before = next_seq()
    if not in_graph:
        assign(part.array, arrays or (Ellipsis,), value.array)
        mark_written(input)
    elif arrays:
        write(part, IndexPut.apply(part, value, index=arrays), "index_put", before)
    else:
        write(part, CopyFrom.apply(part, value), "copy", before)


def number(value: Any, like: Tensor) -> Tensor:
    """A Python number as a 0-d tensor of another's dtype and device. Raises where that dtype cannot hold it."""
    if not isinstance(value, (bool, int, float, complex, np.number, np.bool_)):
        raise TypeError(f"can't assign a {type(value).__name__} to a tensor of {like.dtype}; make it a tensor first")
    dtype = like.array.dtype
    try:
        if dtype.kind in "iu":
            whole, limits = int(value), np.iinfo(dtype)  # type: ignore[arg-type]
            fits = min(limits.min, -limits.max) <= whole <= limits.max
            result = np.array(whole).astype(dtype)
        elif dtype.kind == "f" and value.__class__ in (float, int):
            result = np.array(value, dtype)
            fits = not isinf(result) or isinf(value)
        else:
            result = np.asarray(value).astype(dtype)
            fits = (dtype.kind == "c" or not np.iscomplexobj(value)) and bool(np.isinf(result) <= np.isinf(value))
    except (OverflowError, ValueError, TypeError):
        fits = False
    if not fits:
        raise RuntimeError(f"value cannot be converted to type {like.dtype} without overflow: {value!r}")
    # where it is wanted, by a kernel that takes it as an argument: a copy from the CPU would wait
    return wrap(
        result if like.array.__class__ is np.ndarray else devices.make("full", like.device, (), result[()], dtype)
    )


def check_dtype(what: str, input: Tensor, other: Tensor) -> None:
    if input.array.dtype != other.array.dtype:
        raise RuntimeError(f"{what}, got {input.dtype} for the destination and {other.dtype} for the source; use to()")


@method(inplace=True)
def fill(input: Tensor, value: Any) -> Tensor:
    """A tensor like input that holds `value`, a number or a 0-d tensor, everywhere."""
    if isinstance(value, Tensor):
        check_scalar("fill_", value)
        return CopyFrom.apply(input, cast(value, input.array.dtype))
    return Fill.apply(input, value=number(value, input).array)


def check_scalar(name: str, value: Tensor) -> None:
    if value.array.ndim:
        raise RuntimeError(
            f"{name} only supports a 0-dimensional value tensor, but got tensor with {value.array.ndim} dimension(s)."
        )


def _zero(input: Tensor) -> Tensor:
    return Fill.apply(input, value=0)


def _copy(input: Tensor, src: Tensor, non_blocking: bool = False) -> Tensor:
    return CopyFrom.apply(input, cast(src.to(device=input.device), input.array.dtype))


Tensor.zero_ = in_place(_zero, "zero")  # type: ignore[attr-defined]
Tensor.copy_ = in_place(_copy, "copy")  # type: ignore[attr-defined]


__all__ = ["fill"]
