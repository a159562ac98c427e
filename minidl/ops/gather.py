"""Picking and placing elements by index along a dimension, and by mask."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd.op import Op, wrap
from ..kernels import array_module
from ..tensor import Tensor, method
from ..testing.samples import Sample, samples
from .arithmetic import cast
from .indexing import Take
from .selection import where
from .shape import normalize_dim


def _at(index: Any, dim: int) -> tuple[Any, ...]:
    """The index of NumPy that takes, at each place of `index`, the element it names along `dim`."""
    grid = list(np.ogrid[tuple(slice(n) for n in index.shape)])
    grid[dim] = index
    return tuple(grid)


def _index_array(name: str, index: Any) -> Any:
    array = getattr(index, "array", index)
    if array.dtype.kind not in "iu":
        raise RuntimeError(f"{name}(): Expected dtype int32/int64 for index, got {array.dtype}")
    return array


def _check_range(name: str, index: Any, size: int) -> None:
    if index.size and not (0 <= index.min() and index.max() < size):
        wrong = index.min() if index.min() < 0 else index.max()
        raise RuntimeError(f"{name}(): index {wrong} is out of bounds for dimension with size {size}")


class Gather(Op):
    """The elements along a dimension that an index tensor names."""

    def forward(self, x: Any, *, dim: int, index: Any) -> Any:
        self.dim, self.index, self.shape = dim, index, x.shape
        return array_module(x).take_along_axis(x[tuple(slice(n) for n in _cover(x.shape, index.shape, dim))], index, dim)

    def backward(self, g: Any) -> Any:
        return ScatterAdd.apply(_zeros(g, self.shape), g, dim=self.dim, index=self.index)


def _cover(shape: tuple[int, ...], index_shape: tuple[int, ...], dim: int) -> list[int]:
    return [n if d == dim else m for d, (n, m) in enumerate(zip(shape, index_shape, strict=True))]


def _zeros(like: Any, shape: tuple[int, ...]) -> Any:
    array = getattr(like, "array", like)
    zeros = array_module(array).zeros(shape, array.dtype)
    return wrap(zeros) if isinstance(like, Tensor) else zeros


class ScatterAdd(Op):
    """x with the elements of src added at the places that an index tensor names."""

    def forward(self, x: Any, src: Any, *, dim: int, index: Any) -> Any:
        self.dim, self.index, self.src_shape = dim, index, src.shape
        out = x.copy()
        array_module(x).add.at(out, _at(index, dim), src[tuple(slice(n) for n in index.shape)])
        return out

    def backward(self, g: Any) -> Any:
        wants_src = self.edges[1]
        return g, _padded(Gather.apply(g, dim=self.dim, index=self.index), self.src_shape) if wants_src else None


def _padded(g: Any, shape: tuple[int, ...]) -> Any:
    """g in the corner of zeros of a larger shape: src may be larger than the index."""
    if g.shape == shape:
        return g
    from .indexing import PutInto

    corner = tuple(slice(n) for n in g.shape)
    return PutInto.apply(g, shape=shape, index=corner, accumulate=False)


class Scatter(Op):
    """x with the elements of src written at the places that an index tensor names."""

    def forward(self, x: Any, src: Any, *, dim: int, index: Any) -> Any:
        self.dim, self.index, self.src_shape = dim, index, getattr(src, "shape", None)
        out = x.copy()
        out[_at(index, dim)] = src[tuple(slice(n) for n in index.shape)] if self.src_shape is not None else src
        return out

    def backward(self, g: Any) -> Any:
        wants_x, wants_src = self.edges
        outside = np.ones(g.shape, bool)
        outside[_at(self.index, self.dim)] = False
        dx = where(outside, g, 0.0) if wants_x else None
        return dx, _padded(Gather.apply(g, dim=self.dim, index=self.index), self.src_shape) if wants_src else None  # type: ignore[arg-type]


@samples(Gather)
def _(make: Any) -> Any:
    yield Sample(make(3, 4), dim=1, index=make.ints(4, 3, 2))
    yield Sample(make(3, 4), dim=0, index=make.ints(3, 2, 4))


@samples(ScatterAdd)
def _(make: Any) -> Any:
    yield Sample(make(3, 4), make(3, 4), dim=1, index=make.ints(4, 3, 2), note="an index smaller than src")


@samples(Scatter)
def _(make: Any) -> Any:
    yield Sample(make(3, 4), make(3, 2), dim=1, index=np.array([[0, 2], [1, 3], [3, 0]]))
    yield Sample(make(3, 4), 2.5, dim=0, index=np.array([[0, 2, 1, 0]]))


@method()
def gather(input: Tensor, dim: int, index: Tensor, *, sparse_grad: bool = False) -> Tensor:
    """out[i][j] = input[index[i][j]][j] for dim=0, and so on; of the shape of `index`."""
    at = _index_array("gather", index)
    if not input.array.ndim or not at.ndim:
        return gather(input.reshape(-1), 0, index.reshape(-1)).reshape(tuple(at.shape))  # type: ignore[no-any-return]
    dim = normalize_dim(dim, input.array.ndim, "gather")
    if at.ndim != input.array.ndim:
        raise RuntimeError("Index tensor must have the same number of dimensions as input tensor")
    _check_range("gather", at, input.array.shape[dim])
    return Gather.apply(input, dim=dim, index=at)  # type: ignore[no-any-return]


@method(inplace=True)
def scatter(input: Tensor, dim: int, index: Tensor, src: Any = None, *, value: Any = None, reduce: str | None = None) -> Tensor:
    """input with out[index[i][j]][j] = src[i][j] for dim=0, and so on; src may be a number. reduce="add" adds instead."""
    src = value if src is None else src
    at = _index_array("scatter", index)
    if not input.array.ndim or not at.ndim:
        flat = src.reshape(-1) if isinstance(src, Tensor) else src
        return scatter(input.reshape(-1), 0, index.reshape(-1), flat, reduce=reduce).reshape(input.shape)  # type: ignore[no-any-return]
    dim = normalize_dim(dim, input.array.ndim, "scatter")
    _check_range("scatter", at, input.array.shape[dim])
    if isinstance(src, Tensor) and src.array.dtype != input.array.dtype:
        raise RuntimeError("scatter(): Expected self.dtype to be equal to src.dtype")
    if reduce == "add":
        if not isinstance(src, Tensor):
            src = wrap(np.full(at.shape, src, input.array.dtype))
        return ScatterAdd.apply(input, src, dim=dim, index=at)  # type: ignore[no-any-return]
    if reduce is not None:
        raise RuntimeError(f"scatter: reduce argument must be None or 'add', got {reduce!r}")
    return Scatter.apply(input, src, dim=dim, index=at)  # type: ignore[no-any-return]


@method(inplace=True)
def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """input with src[i][j] added to out[index[i][j]][j] for dim=0, and so on."""
    return scatter(input, dim, index, src, reduce="add")


@method()
def index_select(input: Any, dim: int, index: Any) -> Any:
    """The slices of input along `dim` that a 1-d index names."""
    raw = getattr(input, "array", input)
    at = _index_array("index_select", index).reshape(-1)
    if not raw.ndim:
        return input.reshape(-1)[at].reshape(())
    dim = normalize_dim(dim, raw.ndim, "index_select")
    if at.size and not (-raw.shape[dim] <= at.min() and at.max() < raw.shape[dim]):
        raise IndexError(f"index_select: index out of range in self: {at.min()} to {at.max()}, the size is {raw.shape[dim]}")
    return Take.apply(input, index=(slice(None),) * dim + (at,))


@method(inplace=True)
def index_add(input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: float = 1) -> Tensor:
    """input with alpha * source's slices added to the slices along `dim` that a 1-d index names."""
    from .indexing import IndexPut

    dim = normalize_dim(dim, input.array.ndim, "index_add")
    at = (slice(None),) * dim + (_index_array("index_add", index).reshape(-1),)
    return IndexPut.apply(input, source if alpha == 1 else source * alpha, index=at, accumulate=True)  # type: ignore[no-any-return]


@method(inplace=True)
def masked_fill(input: Tensor, mask: Tensor, value: Any) -> Tensor:
    """input with `value`, a number or a 0-d tensor, where `mask` holds."""
    if mask.array.dtype.kind != "b":
        raise RuntimeError(f"masked_fill_ only supports boolean masks, but got mask with dtype {mask.dtype}")
    if isinstance(value, Tensor):
        if value.array.ndim:
            raise RuntimeError(
                f"masked_fill only supports a 0-dimensional value tensor, but got tensor with {value.array.ndim} dimension(s)."
            )
        value = cast(value, input.array.dtype)
    else:
        value = wrap(np.asarray(value, input.array.dtype))
    return where(mask, value, input)  # type: ignore[no-any-return]


@method()
def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """The elements where `mask` holds, as a 1-d tensor; both are broadcast."""
    shape = np.broadcast_shapes(input.array.shape, mask.array.shape)
    return input.expand(shape)[mask.expand(shape)]  # type: ignore[no-any-return]


@method()
def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """gather() with broadcasting; without `dim` from the flattened tensor."""
    if dim is None:
        return gather(input.reshape(-1), 0, indices.reshape(-1))
    dim = normalize_dim(dim, input.array.ndim, "take_along_dim")
    shape = list(np.broadcast_shapes(
        tuple(1 if d == dim else n for d, n in enumerate(input.array.shape)),
        tuple(1 if d == dim else n for d, n in enumerate(indices.array.shape)),
    ))  # fmt: skip
    of_input, of_index = list(shape), list(shape)
    of_input[dim], of_index[dim] = input.array.shape[dim], indices.array.shape[dim]
    return gather(input.expand(tuple(of_input)), dim, indices.expand(tuple(of_index)))


@method()
def nonzero(input: Tensor, *, as_tuple: bool = False) -> Any:
    """The indices of elements that are not zero: (N, ndim), or a tuple of ndim tensors (N,)."""
    found = np.nonzero(np.atleast_1d(input.array)) if not input.array.ndim else input.array.nonzero()
    if as_tuple:
        return tuple(wrap(i) for i in found)
    if not input.array.ndim:
        return wrap(np.zeros((len(found[0]), 0), np.int64))
    return wrap(np.stack(found, 1))


argwhere = nonzero


class Fill(Op):
    """A tensor of one value; nothing of the input remains."""

    def forward(self, x: Any, *, value: Any) -> Any:
        return array_module(x).full_like(x, value)

    def backward(self, g: Any) -> Any:
        return None


@samples(Fill)
def _(make: Any) -> Any:
    yield Sample(make(2, 3), value=2.0)


class CopyFrom(Op):
    """The second input in the shape of the first."""

    def forward(self, x: Any, y: Any) -> Any:
        return array_module(x).broadcast_to(y, x.shape).copy()

    def backward(self, g: Any) -> Any:
        return None, g


@samples(CopyFrom)
def _(make: Any) -> Any:
    yield Sample(make(2, 3), make(3))


def _fill(input: Tensor, value: Any) -> Any:
    if isinstance(value, Tensor):
        if value.array.ndim:
            raise RuntimeError(f"fill_ only supports 0-dimension value tensor but got tensor with {value.array.ndim} dimensions.")
        return CopyFrom.apply(input, cast(value, input.array.dtype))
    return Fill.apply(input, value=value)


def _copy(input: Tensor, src: Any, non_blocking: bool = False) -> Any:
    return CopyFrom.apply(input, cast(src.to(device=input.device), input.array.dtype))


def _install() -> None:
    from ..autograd.inplace import in_place

    for name, function in (("fill", _fill), ("zero", lambda x: Fill.apply(x, value=0)), ("copy", _copy)):
        attached = in_place(function, name)
        setattr(Tensor, f"{name}_", attached)


_install()

__all__ = [
    "argwhere", "gather", "index_add", "index_select", "masked_fill", "masked_select", "nonzero", "scatter", "scatter_add",
    "take_along_dim",
]  # fmt: skip
