"""Picking and placing elements along a dimension (gather, scatter) and by mask."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import devices
from ..autograd.op import Op, wrap
from ..kernels import array_module
from ..tensor import Tensor, method
from ..testing.samples import Sample, samples
from .arithmetic import cast
from .indexing import IndexPut, Take, index_array, number
from .selection import where
from .shape import normalize_dim

REDUCTIONS = {"prod": np.multiply, "amax": np.maximum, "amin": np.minimum}


def places(index: Any, dim: int) -> tuple[Any, ...]:
    """The index that names, at each place of `index`, the element it points to along `dim`."""
    grid = list(np.ogrid[tuple(slice(n) for n in index.shape)])
    grid = [devices.move(g, devices.of_array(index)) for g in grid]
    grid[dim] = index
    return tuple(grid)


class ScatterReduce(Op):
    """x with elements of src multiplied in, or the largest or smallest kept, at an index."""

    def forward(self, x: Any, src: Any, *, index: tuple[Any, ...], reduce: str) -> Any:
        self.index, self.reduce = index, reduce
        out = x.copy()
        getattr(array_module(x), REDUCTIONS[reduce].__name__).at(out, index, src)
        return out

    def backward(self, g: Any, x: Any, src: Any, out: Any) -> Any:
        if self.reduce == "prod":
            return self._without_one(g, x, src)
        # those that equal the result share its gradient
        x_won = _raw(x) == _raw(out)
        src_won = _raw(src) == _raw(out)[self.index]
        shares = x_won.astype(g.dtype if not isinstance(g, Tensor) else g.array.dtype)
        np.add.at(shares, self.index, src_won)
        share = where(shares > 0, g, 0.0) / np.maximum(shares, 1)
        return where(x_won, share, 0.0), where(src_won, Take.apply(share, index=self.index), 0.0)

    def _without_one(self, g: Any, x: Any, src: Any) -> Any:
        """The gradient of a product: the product of all other factors, which zeros forbid to get by a division alone."""
        x_zero, src_zero = _raw(x) == 0, _raw(src) == 0
        zeros = x_zero.astype(np.int64)
        np.add.at(zeros, self.index, src_zero)
        x_safe, src_safe = where(x_zero, 1.0, x), where(src_zero, 1.0, src)
        product = g * ScatterReduce.apply(x_safe, src_safe, index=self.index, reduce="prod")
        dx = where(zeros - x_zero == 0, product / x_safe, 0.0)
        return dx, where(zeros[self.index] - src_zero == 0, Take.apply(product, index=self.index) / src_safe, 0.0)


def _raw(x: Any) -> Any:
    return x.array if isinstance(x, Tensor) else x


@samples(ScatterReduce)
def _(make: Any) -> Any:
    at = places(np.array([[0, 2, 2], [1, 1, 1]]), 1)
    for reduce in REDUCTIONS:
        yield Sample(make(2, 4), make(2, 3), index=at, reduce=reduce)
    zeros = np.array([[1.0, 0.0, 3.0], [0.0, 0.0, 2.0]])
    yield Sample(make(2, 4), zeros, index=at, reduce="prod", second_order=False, note="zeros among the factors")
    yield Sample(np.zeros(2), np.zeros(2), index=(np.array([0, 0]),), reduce="amax", smooth=False, note="equal values")


def _check_index(name: str, input: Tensor, dim: int, index: Tensor, src: Tensor | None = None) -> tuple[int, Any]:
    """dim counted from the front, and the index array, once it is known to fit input and src."""
    at = index_array(name, index)
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
            f"{name}(): Expected index {list(at.shape)} to be no larger than self {list(input.shape)} apart from dimension "
            f"{dim}" + (f" and to be no larger size than src {list(src.shape)}" if src is not None else "")
        )
    size = input.array.shape[dim]
    if at.size and not 0 <= at.min() <= at.max() < size:
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
        return Take.apply(input.reshape(-1), index=(index_array("gather", index),))  # type: ignore[no-any-return]
    if not input.array.ndim or not index.array.ndim:
        return gather(_at_least_1d(input), dim, _at_least_1d(index)).reshape(index.array.shape)  # type: ignore[no-any-return]
    dim, at = _check_index("gather", input, dim, index)
    return Take.apply(input, index=places(at, dim))  # type: ignore[no-any-return]


def _at_least_1d(x: Any) -> Any:
    return x if not isinstance(x, Tensor) or x.array.ndim else x.reshape(1)


def _scattered(name: str, input: Tensor, dim: int, index: Tensor, src: Any, op: Any, **params: Any) -> Tensor:
    """What all forms of scatter share: checks, 0-d tensors, and the corner of src that the index covers."""
    if isinstance(src, Tensor) and src.array.dtype != input.array.dtype:
        raise RuntimeError(
            f"{name}(): Expected self.dtype to be equal to src.dtype, got {input.dtype} and {src.dtype}; use to()"
        )
    if not index_array(name, index).size:
        return input.clone()  # type: ignore[no-any-return]
    shape = input.array.shape
    input, index, src = _at_least_1d(input), _at_least_1d(index), _at_least_1d(src)
    if not isinstance(src, Tensor):
        src = number(src, input).expand(index.array.shape)
    dim, at = _check_index(name, input, dim, index, src)
    if src.array.shape != at.shape:
        src = src[tuple(slice(n) for n in at.shape)]
    result = op.apply(input, src, index=places(at, dim), **params)
    return result if result.array.shape == shape else result.reshape(shape)  # type: ignore[no-any-return]


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
        return _scattered("scatter", input, dim, index, src, IndexPut)
    if reduce == "add":
        return _scattered("scatter", input, dim, index, src, IndexPut, accumulate=True)
    if reduce == "multiply":
        return _scattered("scatter", input, dim, index, src, ScatterReduce, reduce="prod")
    raise RuntimeError(f"scatter: reduce argument must be either add or multiply, got {reduce!r}")


@method(inplace=True)
def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """input with src[i][j] added to out[index[i][j]][j] for dim=0, to out[i][index[i][j]] for dim=1."""
    return _scattered("scatter_add", input, dim, index, src, IndexPut, accumulate=True)


@method(inplace=True)
def scatter_reduce(
    input: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """input with src's elements reduced into the places along `dim` that `index` names.

    reduce: "sum", "prod", "mean", "amax" or "amin". include_self: whether input's own elements take part.
    """
    if reduce not in ("sum", "mean", *REDUCTIONS):
        raise RuntimeError(f"reduce argument must be either sum, prod, mean, amax or amin, got {reduce}")
    name = "scatter_reduce"
    count = None
    if reduce == "mean" or not include_self:
        ones = [wrap(np.ones(t.array.shape, np.int64)) for t in (input, src)]
        count = _scattered(name, ones[0] * 0, dim, index, ones[1], IndexPut, accumulate=True).array
        if not include_self:
            input = where(wrap(count > 0), wrap(_identity(reduce, input.array.dtype)), input)
    if reduce in REDUCTIONS:
        return _scattered(name, input, dim, index, src, ScatterReduce, reduce=reduce)
    total = _scattered(name, input, dim, index, src, IndexPut, accumulate=True)
    if reduce == "sum":
        return total
    divisor = wrap(np.maximum(count + include_self, 1).astype(input.array.dtype))
    return total / divisor if input.array.dtype.kind in "fc" else total // divisor  # type: ignore[no-any-return]


def _identity(reduce: str, dtype: np.dtype[Any]) -> Any:
    """The value that changes nothing in a reduction."""
    if reduce in ("amax", "amin"):
        lowest = reduce == "amax"
        if dtype.kind == "f":
            return np.asarray(-np.inf if lowest else np.inf, dtype)
        if dtype.kind == "b":
            return np.asarray(not lowest)
        return np.asarray(np.iinfo(dtype).min if lowest else np.iinfo(dtype).max, dtype)  # type: ignore[type-var]
    return np.asarray(1 if reduce == "prod" else 0, dtype)


@method()
def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """gather() with broadcasting; without `dim` from the flattened tensor."""
    if dim is None:
        return gather(input.reshape(-1), 0, indices.reshape(-1))
    if input.array.ndim != indices.array.ndim:
        raise RuntimeError(
            "take_along_dim(): input and indices should have the same number of dimensions, but got "
            f"{input.array.ndim} dimensions for input, and {indices.array.ndim} dimensions for indices"
        )
    dim = normalize_dim(dim, input.array.ndim, "take_along_dim")
    others = [[1 if d == dim else n for d, n in enumerate(t.array.shape)] for t in (input, indices)]
    shape = list(np.broadcast_shapes(*map(tuple, others)))
    shapes = [[t.array.shape[dim] if d == dim else n for d, n in enumerate(shape)] for t in (input, indices)]
    return gather(input.expand(shapes[0]), dim, indices.expand(shapes[1]))


# ---------------------------------------------------------------------------------------------------------------------
# Masks


def _check_mask(name: str, mask: Tensor) -> None:
    if mask.array.dtype.kind != "b":
        raise RuntimeError(f"{name} only supports boolean masks, but got mask with dtype {mask.dtype}; compare first")


@method(inplace=True)
def masked_fill(input: Tensor, mask: Tensor, value: Any) -> Tensor:
    """input with `value`, a number or a 0-d tensor, where `mask` holds; both are broadcast."""
    _check_mask("masked_fill", mask)
    if not isinstance(value, Tensor):
        value = number(value, input)
    elif value.array.ndim:
        raise RuntimeError(
            "masked_fill only supports a 0-dimensional value tensor, but got tensor with "
            f"{value.array.ndim} dimension(s)."
        )
    return where(mask, cast(value, input.array.dtype), input)  # type: ignore[no-any-return]


@method()
def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """The elements where `mask` holds, as a 1-d tensor; both are broadcast."""
    _check_mask("masked_select", mask)
    shape = np.broadcast_shapes(input.array.shape, mask.array.shape)
    return Take.apply(input.expand(shape), index=(mask.expand(shape).array,))  # type: ignore[no-any-return]


@method(inplace=True)
def masked_scatter(input: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """input with the elements where `mask` holds replaced by those of source, in their order."""
    _check_mask("masked_scatter", mask)
    if source.array.dtype != input.array.dtype:
        raise RuntimeError(
            f"masked_scatter: expected self and source to have same dtypes but got {input.dtype} and {source.dtype}"
        )
    shape = np.broadcast_shapes(input.array.shape, mask.array.shape)
    at = mask.expand(shape).array
    count = int(at.sum())
    if source.array.size < count:
        raise RuntimeError(
            f"masked_scatter: Number of elements of source < number of ones in mask: {source.array.size} < {count}"
        )
    flat = source.reshape(-1)
    flat = flat if flat.array.size == count else flat[:count]
    return IndexPut.apply(input.expand(shape), flat, index=(at,))  # type: ignore[no-any-return]


@method()
def nonzero(input: Tensor, *, as_tuple: bool = False) -> Any:
    """The indices of the elements that are not zero: (N, ndim), or with as_tuple ndim tensors (N,)."""
    xp = array_module(input.array)
    if input.array.ndim or as_tuple:
        found = xp.atleast_1d(input.array).nonzero()
        return tuple(wrap(i) for i in found) if as_tuple else wrap(xp.stack(found, 1))
    return wrap(xp.zeros((int(input.array != 0), 0), np.int64))


@method()
def argwhere(input: Tensor) -> Tensor:
    """The indices of the elements that are not zero: (N, ndim)."""
    return nonzero(input)  # type: ignore[no-any-return]


__all__ = [
    "argwhere", "gather", "masked_fill", "masked_scatter", "masked_select", "nonzero", "scatter", "scatter_add",
    "scatter_reduce", "take_along_dim",
]  # fmt: skip
