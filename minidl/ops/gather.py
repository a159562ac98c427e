"""Functions that pick and place elements along a dimension: gather, scatter, index_select, ..."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import devices, dtypes
from ..autograd.op import Op, wrap
from ..kernels import along as kernels
from ..kernels import array_module
from ..kernels.along import REDUCTIONS
from ..tensor import Tensor, method
from ..testing.samples import Sample, samples
from .arithmetic import div
from .conversion import cast
from .indexing import ALL, IndexPut, Take, check_bounds, check_dtype, check_scalar, is_all, number, split_index
from .selection import where
from .shape import movedim, normalize_dim


class Gather(Op):
    """The elements of x that an index points to along a dimension; see kernels/along.py."""

    complex_rule = True

    def forward(self, x: Any, *, index: Any, dim: int) -> Any:
        self.shape, self.index, self.dim = x.shape, index, dim
        return kernels.take_along(x, index, dim)

    def backward(self, g: Any) -> Any:
        zeros = array_module(_raw(g)).zeros(self.shape, _raw(g).dtype)
        return Scatter.apply(zeros, g, index=self.index, dim=self.dim, reduce="sum")


class Scatter(Op):
    """x with src written, or reduced in, where an index points to along a dimension; see kernels/along.py."""

    complex_rule = True

    def forward(self, x: Any, src: Any, *, index: Any, dim: int, reduce: str | None = None) -> Any:
        self.index, self.dim, self.reduce = index, dim, reduce
        if reduce is None:
            return kernels.put_along(x, src, index, dim)
        return kernels.reduce_along(x, src, index, dim, reduce)

    def backward(self, g: Any) -> Any:
        wants_x, wants_src = self.edges
        dsrc = Gather.apply(g, index=self.index, dim=self.dim) if wants_src else None
        if self.reduce is not None or not wants_x:
            return g if wants_x else None, dsrc
        zeros = array_module(_raw(g)).zeros(self.index.shape, _raw(g).dtype)
        return Scatter.apply(g, zeros, index=self.index, dim=self.dim), dsrc


class ScatterReduce(Op):
    """x with elements of src multiplied in, or the largest or smallest kept, where an index points to along a dimension."""

    def forward(self, x: Any, src: Any, *, index: Any, dim: int, reduce: str) -> Any:
        self.index, self.dim, self.reduce = index, dim, reduce
        return kernels.reduce_along(x, src, index, dim, reduce)

    def backward(self, g: Any, x: Any, src: Any, out: Any) -> Any:
        if self.reduce == "prod":
            return self._without_one(g, x, src)
        # those that equal the result share its gradient
        x_won = _raw(x) == _raw(out)
        src_won = _raw(src) == kernels.take_along(_raw(out), self.index, self.dim)
        shares = self._counted(x_won, src_won, _raw(g).dtype)
        share = where(shares > 0, g, 0.0) / array_module(shares).maximum(shares, 1)
        return where(x_won, share, 0.0), where(src_won, Gather.apply(share, index=self.index, dim=self.dim), 0.0)

    def _without_one(self, g: Any, x: Any, src: Any) -> Any:
        """The gradient of a product: the product of all other factors. Zeros forbid to get it by a division alone."""
        x_zero, src_zero = _raw(x) == 0, _raw(src) == 0
        zeros = self._counted(x_zero, src_zero, _raw(g).dtype)
        x_safe, src_safe = where(x_zero, 1.0, x), where(src_zero, 1.0, src)
        product = g * ScatterReduce.apply(x_safe, src_safe, index=self.index, dim=self.dim, reduce="prod")
        dx = where(zeros - x_zero == 0, product / x_safe, 0.0)
        alone = kernels.take_along(zeros, self.index, self.dim) - src_zero == 0
        return dx, where(alone, Gather.apply(product, index=self.index, dim=self.dim) / src_safe, 0.0)

    def _counted(self, x: Any, src: Any, dtype: Any) -> Any:
        """How many of the masks x and src hold at each place."""
        return kernels.reduce_along(x.astype(dtype), src.astype(dtype), self.index, self.dim, "sum")


def _raw(x: Any) -> Any:
    return x.array if isinstance(x, Tensor) else x


@samples(Gather)
def _(make: Any) -> Any:
    yield Sample(make(2, 4), index=np.array([[0, 2, 2], [1, 1, 1]]), dim=1)
    yield Sample(make(3, 4), index=np.array([[0, 2], [1, 1]]), dim=0, note="smaller in the other dimension")


@samples(Scatter)
def _(make: Any) -> Any:
    at = np.array([[0, 2, 2], [1, 1, 1]])
    yield Sample(make(2, 4), make(2, 3), index=at, dim=1, reduce="sum")
    yield Sample(make(2, 4), make(2, 3), index=np.array([[0, 2, 3], [1, 3, 2]]), dim=1)
    yield Sample(make(3, 4), make(2, 3), index=at, dim=0, reduce="sum", note="smaller in the other dimension")


@samples(ScatterReduce)
def _(make: Any) -> Any:
    at = np.array([[0, 2, 2], [1, 1, 1]])
    for reduce in ("prod", "amax", "amin"):
        yield Sample(make(2, 4), make(2, 3), index=at, dim=1, reduce=reduce)
    zeros = np.array([[1.0, 0.0, 3.0], [0.0, 0.0, 2.0]])
    yield Sample(make(2, 4), zeros, index=at, dim=1, reduce="prod", second_order=False, note="zeros among the factors")
    twice = np.array([0, 0])
    yield Sample(np.zeros(2), np.zeros(2), index=twice, dim=0, reduce="amax", smooth=False, note="equal values")


def index_array(name: str, index: Any, input: Any = None) -> Any:
    """A copy of the array of an index tensor. Raises RuntimeError for other than int64 and int32 or the input's device."""
    array = index.array if isinstance(index, Tensor) else index
    if isinstance(input, Tensor):
        if isinstance(index, Tensor):
            devices.check_same(name, input, index)
        else:  # made by another function, which need not care where the input is
            array = devices.move(array, input.device)
    if array.dtype not in (np.int64, np.int32):
        raise RuntimeError(f"{name}(): Expected dtype int32/int64 for index, got {array.dtype}; convert it with long()")
    return array.copy()


def _check_index(name: str, input: Tensor, dim: int, index: Tensor, src: Tensor | None = None) -> tuple[int, Any]:
    """dim counted from the front, and the index array, once it is known to fit input and src."""
    at = index_array(name, index, input)
    dim = normalize_dim(dim, input.array.ndim, name)
    for t, what in ((input, "input"), (src, "src")):
        if t is not None and t.array.ndim != at.ndim:
            raise RuntimeError(
                f"{name}(): Index tensor must have the same number of dimensions as {what} tensor, got shape "
                f"{list(at.shape)} for shape {list(t.shape)}"
            )
    too_large = any(n > m for d, (n, m) in enumerate(zip(at.shape, input.array.shape, strict=True)) if d != dim)
    if too_large or (src is not None and any(n > m for n, m in zip(at.shape, src.array.shape, strict=True))):
        raise RuntimeError(
            f"{name}(): Expected index {list(at.shape)} to be no larger than self {list(input.shape)} apart from "
            f"dimension {dim}" + (f" and to be no larger size than src {list(src.shape)}" if src is not None else "")
        )
    size = input.array.shape[dim]
    if devices.outside(at, 0, size):
        wrong = at.min() if at.min() < 0 else at.max()
        raise RuntimeError(f"{name}(): index {wrong} is out of bounds for dimension {dim} with size {size}")
    return dim, at


@method()
def gather(input: Tensor, dim: int, index: Tensor, *, sparse_grad: bool = False) -> Tensor:
    """out[i][j] = input[index[i][j]][j] for dim=0, input[i][index[i][j]] for dim=1; of the shape of `index`.

    index (int64) has as many dimensions as input and is no larger than it in the others. sparse_grad is not supported.

    Example:
        >>> minidl.tensor([[1, 2], [3, 4]]).gather(1, minidl.tensor([[1], [0]]))
        tensor([[2],
                [3]])
    """
    if sparse_grad:
        raise NotImplementedError("gather: sparse gradients are not supported; leave out sparse_grad")
    if not index.array.size:
        nothing = array_module(input.array).zeros(index.array.shape, np.int64)
        return Take.apply(input.reshape(-1), index=(nothing,))
    if not input.array.ndim or not index.array.ndim:
        return gather(_at_least_1d(input), dim, _at_least_1d(index)).reshape(index.array.shape)
    dim, at = _check_index("gather", input, dim, index)
    return Gather.apply(input, index=at, dim=dim)


def _at_least_1d(x: Any) -> Any:
    return x if not isinstance(x, Tensor) or x.array.ndim else x.reshape(1)


def _scattered(name: str, input: Tensor, dim: int, index: Tensor, src: Any, op: Any, **params: Any) -> Tensor:
    """What all forms of scatter share: checks, 0-d tensors, and the corner of src that the index covers."""
    if isinstance(src, Tensor) and src.array.dtype != input.array.dtype:
        raise RuntimeError(
            f"{name}(): Expected self.dtype to be equal to src.dtype, got {input.dtype} and {src.dtype}; use to()"
        )
    if not index.array.size:
        return input.clone()
    shape = input.array.shape
    input, index, src = _at_least_1d(input), _at_least_1d(index), _at_least_1d(src)
    if not isinstance(src, Tensor):
        src = number(src, input).expand(index.array.shape)
    dim, at = _check_index(name, input, dim, index, src)
    if src.array.shape != at.shape:
        src = src[tuple(slice(n) for n in at.shape)]
    result = op.apply(input, src, index=at, dim=dim, **params)
    return result if result.array.shape == shape else result.reshape(shape)


@method(inplace=True)
def scatter(
    input: Tensor, dim: int, index: Tensor, src: Any = None, *, value: Any = None, reduce: str | None = None
) -> Tensor:
    """input with out[index[i][j]][j] = src[i][j] for dim=0, out[i][index[i][j]] for dim=1; src may be a number.

    reduce: "add" or "multiply" instead of replacing. Where an index occurs twice without it, the last one stays.

    Example:
        >>> minidl.zeros(2, 3).scatter(1, minidl.tensor([[2], [0]]), 1.0)
        tensor([[0., 0., 1.],
                [1., 0., 0.]])
    """
    if (src is None) == (value is None):
        raise TypeError("scatter: expected one of src (a tensor) and value (a number)")
    src = value if src is None else src
    if reduce is None:
        return _scattered("scatter", input, dim, index, src, Scatter)
    if reduce == "add":
        return _scattered("scatter", input, dim, index, src, Scatter, reduce="sum")
    if reduce == "multiply":
        return _scattered("scatter", input, dim, index, src, ScatterReduce, reduce="prod")
    raise RuntimeError(f"scatter: reduce argument must be either add or multiply, got {reduce!r}")


@method(inplace=True)
def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """input with src[i][j] added to out[index[i][j]][j] for dim=0, to out[i][index[i][j]] for dim=1."""
    return _scattered("scatter_add", input, dim, index, src, Scatter, reduce="sum")


@method(inplace=True)
def scatter_reduce(
    input: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """input with src's elements reduced into the places along `dim` that `index` names.

    reduce: "sum", "prod", "mean", "amax" or "amin". include_self: whether input's own elements take part.
    """
    if reduce not in ("mean", *REDUCTIONS):
        raise RuntimeError(f"reduce argument must be either sum, prod, mean, amax or amin, got {reduce}")
    name = "scatter_reduce"
    count: Any = None  # how many elements of src arrive at each place
    if reduce == "mean" or not include_self:
        xp = array_module(input.array)
        kind = input.array.dtype if input.array.dtype.kind == "f" and input.array.itemsize > 2 else np.int64
        zeros, ones = wrap(xp.zeros(input.array.shape, kind)), wrap(xp.ones(src.array.shape, kind))
        count = _scattered(name, zeros, dim, index, ones, Scatter, reduce="sum").array
    if not include_self:
        input = where(wrap(count > 0), _identity(reduce, input.array.dtype), input)
    if reduce not in ("sum", "mean"):
        return _scattered(name, input, dim, index, src, ScatterReduce, reduce=reduce)
    total = _scattered(name, input, dim, index, src, Scatter, reduce="sum")
    if reduce == "sum":
        return total
    divisor = wrap(xp.maximum(count + include_self, 1).astype(input.array.dtype))
    return div(total, divisor, rounding_mode=None if input.array.dtype.kind in dtypes.FLOATING else "floor")


def _identity(reduce: str, dtype: np.dtype[Any]) -> Any:
    """The number that changes nothing in a reduction."""
    if reduce in ("amax", "amin"):
        lowest = reduce == "amax"
        if dtype.kind in dtypes.FLOATING:
            return -math.inf if lowest else math.inf
        if dtype.kind == "b":
            return not lowest
        return int(np.iinfo(dtype).min if lowest else np.iinfo(dtype).max)
    return reduce == "prod" if dtype.kind == "b" else int(reduce == "prod")


@method()
def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """gather() with broadcasting, and indices that may be negative; without `dim` from the flattened tensor."""
    if dim is None:
        return take_along_dim(input.reshape(-1), indices.reshape(-1), 0)
    if input.array.ndim != indices.array.ndim:
        raise RuntimeError(
            "take_along_dim(): input and indices should have the same number of dimensions, but got "
            f"{input.array.ndim} dimensions for input, and {indices.array.ndim} dimensions for indices"
        )
    dim = normalize_dim(dim, input.array.ndim, "take_along_dim")
    others = [[1 if d == dim else n for d, n in enumerate(t.array.shape)] for t in (input, indices)]
    shape = list(np.broadcast_shapes(*map(tuple, others)))
    shapes = [[t.array.shape[dim] if d == dim else n for d, n in enumerate(shape)] for t in (input, indices)]
    at = index_array("take_along_dim", indices, input)
    positive = wrap(array_module(at).where(at < 0, at + shapes[0][dim], at))
    return gather(input.expand(shapes[0]), dim, positive.expand(shapes[1]))


# ---------------------------------------------------------------------------------------------------------------------
# Slices along one dimension


@method(inplace=True)
def index_put(input: Tensor, indices: Any, values: Tensor, accumulate: bool = False) -> Tensor:
    """input with values at input[indices] replaced, or with `accumulate` added to: every occurrence counts then."""
    basic, arrays = split_index(input, tuple(indices))
    if not is_all(basic):
        raise IndexError("index_put: indices must be integer or bool tensors with at least one dimension")
    check_dtype("Index put requires the source and destination dtypes match", input, values)
    return IndexPut.apply(input, values, index=arrays, accumulate=accumulate)


def _along(name: str, input: Any, dim: int, index: Any) -> tuple[int, tuple[Any, ...]]:
    """dim counted from the front, and the index of the slices along it that a 1-d (or 0-d) index names."""
    at = index_array(name, index, input)
    if at.ndim > 1:
        raise IndexError(f"{name}(): Index is supposed to be a vector, got shape {list(at.shape)}")
    dim = normalize_dim(dim, input.ndim, name)
    size = input.shape[dim] if input.ndim else 1
    if devices.outside(at, 0, size):
        wrong = at.min() if at.min() < 0 else at.max()
        raise IndexError(f"{name}(): index {wrong} is out of bounds for dimension {dim} with size {size}")
    return dim, (*[ALL] * dim, at.reshape(-1))


@method()
def index_select(input: Any, dim: int, index: Any) -> Any:
    """The slices of input along `dim` that a 1-d index names.

    Example:
        >>> minidl.tensor([[1, 2], [3, 4]]).index_select(1, minidl.tensor([1]))
        tensor([[2],
                [4]])
    """
    _, at = _along("index_select", input, dim, index)
    if not input.ndim:
        if at[0].size != 1:
            raise IndexError(f"index_select(): Index to a 0-d tensor must have one element, got {at[0].size}")
        return input.reshape(-1)[0]
    return Take.apply(input, index=at)


def _check_source(name: str, input: Tensor, dim: int, at: Any, source: Tensor) -> None:
    """source must look like input, but for `dim`, where it has one slice per index."""
    wanted = [at.size if d == dim else n for d, n in enumerate(input.array.shape)]
    if list(source.array.shape) != wanted and not (not wanted and source.array.size == 1 == at.size):
        raise RuntimeError(
            f"{name}(): source of shape {list(source.shape)} does not fit {at.size} slices along dim {dim} of a tensor "
            f"of shape {list(input.shape)}; expected {wanted}"
        )
    check_dtype(f"{name}(): self and source expected to have the same dtype", input, source)


@method(inplace=True)
def index_add(input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: float = 1) -> Tensor:
    """input with alpha * source's slices added to the slices along `dim` that a 1-d index names."""
    dim, at = _along("index_add", input, dim, index)
    _check_source("index_add", input, dim, at[-1], source)
    return _put_slices(input, at, source if alpha == 1 else source * alpha, accumulate=True)


@method(inplace=True)
def index_copy(input: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """input with the slices along `dim` that a 1-d index names replaced by source's."""
    dim, at = _along("index_copy", input, dim, index)
    _check_source("index_copy", input, dim, at[-1], source)
    return _put_slices(input, at, source)


@method(inplace=True)
def index_reduce(
    input: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """input with source's slices reduced ("prod", "mean", "amax", "amin") into those along `dim` that a 1-d index names.

    include_self: whether input's own slices take part.
    """
    if reduce not in ("mean", "prod", "amax", "amin"):
        raise RuntimeError(f"index_reduce(): reduce must be prod, mean, amax or amin, got {reduce!r}; see index_add")
    dim, at = _along("index_reduce", input, dim, index)
    _check_source("index_reduce", input, dim, at[-1], source)
    place = wrap(at[-1].reshape([-1 if d == dim else 1 for d in range(source.array.ndim)]))
    return scatter_reduce(input, dim, place.expand(source.array.shape), source, reduce, include_self=include_self)


@method(inplace=True)
def index_fill(input: Tensor, dim: int, index: Tensor, value: Any) -> Tensor:
    """input with the slices along `dim` that a 1-d index names filled with a number or a 0-d tensor."""
    at = index_array("index_fill", index, input)
    size = input.array.shape[normalize_dim(dim, input.array.ndim, "index_fill")] if input.array.ndim else 1
    # each slice once, so that the gradient of a tensor `value` counts it once
    dim, place = _along(
        "index_fill", input, dim, array_module(at).unique(array_module(at).where(at < 0, at + size, at))
    )
    if isinstance(value, Tensor):
        check_scalar("index_fill_", value)
        value = cast(value, input.array.dtype)
    else:
        value = number(value, input)
    return _put_slices(input, place, value)


def _put_slices(input: Tensor, at: tuple[Any, ...], source: Tensor, accumulate: bool = False) -> Tensor:
    if input.array.ndim:
        return IndexPut.apply(input, source, index=at, accumulate=accumulate)
    flat = source.reshape(-1) if source.array.size == 1 else source
    return IndexPut.apply(input.reshape(1), flat, index=at, accumulate=accumulate).reshape(())


def _flat_index(name: str, input: Tensor, index: Tensor) -> Any:
    at = index_array(name, index, input)
    size = input.array.size
    if devices.outside(at, -size, size):
        wrong = at.min() if at.min() < -size else at.max()
        raise IndexError(f"{name}(): out of range: tried to access index {wrong} on a tensor of {size} elements")
    return at


@method()
def take(input: Tensor, index: Tensor) -> Tensor:
    """The elements of the flattened input that an index of any shape names; of the shape of the index."""
    return Take.apply(input.reshape(-1), index=(_flat_index("take", input, index),))


@method(inplace=True)
def put(input: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """input with source's elements at the places of the flattened input that `index` names, added if `accumulate`."""
    at = _flat_index("put", input, index)
    check_dtype("put(): self and source expected to have the same dtype", input, source)
    if at.size != source.array.size:
        raise IndexError(
            f"put(): Expected source and index to have the same number of elements, but got source of shape "
            f"{list(source.shape)} and index of shape {list(index.shape)}"
        )
    flat = IndexPut.apply(input.reshape(-1), source.reshape(-1), index=(at.reshape(-1),), accumulate=accumulate)
    return flat.reshape(input.array.shape)


def _replaced(name: str, input: Tensor, src: Tensor, index: tuple[Any, ...]) -> Tensor:
    shape = input.array[index].shape
    if src.array.shape != shape:
        raise RuntimeError(
            f"{name}: expected src to have a size equal to the slice of self. src size = {list(src.shape)}, "
            f"slice size = {list(shape)}"
        )
    return IndexPut.apply(input, cast(src, input.array.dtype), index=index)


@method()
def select_scatter(input: Tensor, src: Tensor, dim: int, index: int) -> Tensor:
    """input with its slice `index` along `dim` replaced by src."""
    dim = normalize_dim(dim, input.array.ndim, "select_scatter")
    check_bounds(index, index, dim, input.array.shape)
    return _replaced("select_scatter", input, src, (*[ALL] * dim, index))


@method()
def slice_scatter(
    input: Tensor, src: Tensor, dim: int = 0, start: Any = None, end: Any = None, step: int = 1
) -> Tensor:
    """input with input[start:end:step] along `dim` replaced by src."""
    dim = normalize_dim(dim, input.array.ndim, "slice_scatter")
    if step <= 0:
        raise RuntimeError(f"slice_scatter: slice step must be positive, got {step}")
    return _replaced("slice_scatter", input, src, (*[ALL] * dim, slice(start, end, step)))


@method()
def diagonal_scatter(input: Tensor, src: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """input with the diagonal of its dimensions dim1 and dim2 replaced by src, whose last dimension runs along it."""
    moved = movedim(input, (dim1, dim2), (-2, -1))
    rows, columns = moved.array.shape[-2:]
    along = array_module(moved.array).arange(max(0, min(rows + min(offset, 0), columns - max(offset, 0))))
    at = (*[ALL] * (input.array.ndim - 2), along + max(-offset, 0), along + max(offset, 0))
    return movedim(_replaced("diagonal_scatter", moved, src, at), (-2, -1), (dim1, dim2))


__all__ = [
    "diagonal_scatter", "gather", "index_add", "index_copy", "index_fill", "index_put", "index_reduce", "index_select", "put", "scatter",
    "scatter_add", "scatter_reduce", "select_scatter", "slice_scatter", "take", "take_along_dim",
]  # fmt: skip
