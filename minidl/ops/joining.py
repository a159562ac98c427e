"""Operations that join tensors and take them apart."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from math import prod
from typing import Any

import numpy as np

from ..autograd.op import Op
from ..kernels import array_module
from ..kernels.common import row_major
from ..tensor import Tensor, method
from ..testing.samples import Sample, samples
from .shape import Transpose, expand, normalize_dim, reshape

# ---------------------------------------------------------------------------------------------------------------------
# Parts of one tensor


class Place(Op):
    """Zeros of the given shape, with g in the region `index` (slices and integers): what undoes taking that region."""

    complex_rule = True

    def forward(self, g: Any, *, index: Any, shape: Any) -> Any:
        self.index = index
        out = array_module(g).zeros(shape, g.dtype)
        out[index] = g
        return out

    def backward(self, g: Any) -> Any:
        return g[self.index]


@samples(Place)
def _(make: Any) -> Any:
    yield Sample(make(2), index=(slice(None), 1), shape=(2, 3))


class Select(Op):
    """Entry `index` of dimension `dim`."""

    complex_rule = True
    view = True

    def forward(self, x: Any, *, dim: int, index: int) -> Any:
        self.shape, self.index = x.shape, (*(slice(None),) * dim, index, ...)
        return x[self.index]

    def backward(self, g: Any) -> Any:
        return Place.apply(g, index=self.index, shape=self.shape)


@samples(Select)
def _(make: Any) -> Any:
    yield Sample(make(2, 3, 4), dim=1, index=2)
    yield Sample(make(3), dim=0, index=-1)


class Narrow(Op):
    """The entries start .. start + length of dimension `dim`."""

    complex_rule = True
    view = True

    def forward(self, x: Any, *, dim: int, start: int, length: int) -> Any:
        self.shape, self.index = x.shape, (*(slice(None),) * dim, slice(start, start + length))
        return x[self.index]

    def backward(self, g: Any) -> Any:
        return Place.apply(g, index=self.index, shape=self.shape)


@samples(Narrow)
def _(make: Any) -> Any:
    yield Sample(make(2, 5), dim=1, start=1, length=3)
    yield Sample(make(4), dim=0, start=4, length=0)


def _dim_of(input: Any, dim: int, name: str) -> int:
    if not input.ndim:
        raise IndexError(f"{name}() cannot be applied to a 0-dim tensor; give it a dimension with unsqueeze(0)")
    return normalize_dim(dim, input.ndim, name)


@method()
def select(input: Any, dim: int, index: int) -> Any:
    """A view of entry `index` of dimension `dim`, which disappears: x.select(1, 2) is x[:, 2]."""
    dim, index = _dim_of(input, dim, "select"), int(index)
    n = input.shape[dim]
    if not -n <= index < n:
        raise IndexError(
            f"select(): index {index} out of range for tensor of size {list(input.shape)} at dimension {dim}"
        )
    return Select.apply(input, dim=dim, index=index)


@method()
def narrow(input: Any, dim: int, start: Any, length: int) -> Any:
    """A view of the entries start .. start + length of dimension `dim`."""
    if isinstance(start, Tensor) and (start.array.dtype.kind not in "iu" or start.array.ndim):
        raise RuntimeError(f"narrow: start must be an integer or an integer tensor without dimensions, got {start}")
    dim, start = _dim_of(input, dim, "narrow"), int(start)
    n = input.shape[dim]
    if length < 0:
        raise RuntimeError(f"narrow(): length must be non-negative, got {length}")
    if not -n <= start <= n:
        raise IndexError(f"narrow: start out of range (expected to be in range of [{-n}, {n}], but got {start})")
    start = start + n if start < 0 else start
    if start + length > n:
        raise RuntimeError(f"narrow: start ({start}) + length ({length}) exceeds dimension size ({n})")
    return Narrow.apply(input, dim=dim, start=start, length=length)


class Unbind(Op):
    """The entries of dimension `dim`, one view each."""

    complex_rule = True
    view = True
    several = True

    def forward(self, x: Any, *, dim: int) -> Any:
        self.dim, self.like = dim, _Zeros(x)
        before = (slice(None),) * dim
        return tuple(x[(*before, i, ...)] for i in range(x.shape[dim]))

    def backward(self, g: Any) -> Any:
        shape = next(part.shape for part in g if part is not None)
        whole = consecutive(g, (*shape[: self.dim], len(g), *shape[self.dim :]), self.dim, (1,) * len(g))
        if whole is not None:
            return whole
        return Stack.apply(*(self.like.zeros(shape) if part is None else part for part in g), dim=self.dim)


@samples(Unbind)
def _(make: Any) -> Any:
    yield Sample(make(2, 3, 4), dim=1)
    yield Sample(make(3), dim=0)


class Split(Op):
    """Dimension `dim` cut into consecutive views of the given sizes."""

    complex_rule = True
    view = True
    several = True

    def forward(self, x: Any, *, sizes: Any, dim: int) -> Any:
        self.dim, self.sizes, self.shape, self.like = dim, sizes, x.shape, _Zeros(x)
        before, ends = (slice(None),) * dim, accumulate(sizes)
        return tuple(x[(*before, slice(end - n, end))] for n, end in zip(sizes, ends, strict=True))

    def backward(self, g: Any) -> Any:
        whole = consecutive(g, self.shape, self.dim, self.sizes)
        if whole is not None:
            return whole
        before, after = self.shape[: self.dim], self.shape[self.dim + 1 :]
        parts = zip(g, self.sizes, strict=True)
        return Cat.apply(*(self.like.zeros((*before, n, *after)) if p is None else p for p, n in parts), dim=self.dim)


@samples(Split)
def _(make: Any) -> Any:
    yield Sample(make(5, 2), sizes=(2, 3), dim=0)
    yield Sample(make(2, 4), sizes=(1, 0, 3), dim=1)


def consecutive(parts: Any, shape: tuple[int, ...], dim: int, sizes: tuple[int, ...]) -> Any:
    """The array of which `parts` are consecutive views along `dim`, if they are: joining them then copies nothing.

    A gradient rule may return it. An operation may not: what it returns would change when one of the parts is written to.
    """
    first = parts[0]
    if type(first) is not np.ndarray or first.base is None or len(parts) < 2 or not sizes[0]:
        return None
    if any(type(x) is not np.ndarray or x.base is not first.base or x.dtype != first.dtype for x in parts):
        return None
    addresses = [x.__array_interface__["data"][0] for x in parts]
    step = (addresses[1] - addresses[0]) // sizes[0]
    strides = first.strides if first.ndim == len(shape) else (*first.strides[:dim], step, *first.strides[dim:])
    at = addresses[0]
    for x, address, size in zip(parts, addresses, sizes, strict=True):
        if address != at or x.strides != first.strides:
            return None
        at += size * step
    if step <= 0 or strides[dim] != step:
        return None
    return np.lib.stride_tricks.as_strided(first, shape, strides)


class _Zeros:
    """Makes zeros of an array's dtype on its device, without keeping the array."""

    def __init__(self, x: Any) -> None:
        self.module, self.dtype = array_module(x), x.dtype

    def zeros(self, shape: Any) -> Any:
        return self.module.zeros(shape, self.dtype)


@method()
def unbind(input: Any, dim: int = 0) -> Any:
    """The entries of dimension `dim` as a tuple of views."""
    return Unbind.apply(input, dim=_dim_of(input, dim, "unbind"))


@method("split", "unsafe_split")
def split(tensor: Any, split_size: Any, dim: int = 0) -> Any:
    """Dimension `dim` in pieces of split_size entries, the last one smaller if need be; or in pieces of given sizes.

    Example:
        >>> [part.tolist() for part in minidl.arange(5).split(2)]
        [[0, 1], [2, 3], [4]]
    """
    if isinstance(split_size, Sequence):
        return split_with_sizes(tensor, split_size, dim)
    dim, size = _dim_of(tensor, dim, "split"), int(split_size)
    n = tensor.shape[dim]
    if size < 0 or (size == 0 and n):
        raise RuntimeError(f"split expects split_size be positive (0 only for an empty dimension), but got {size}")
    sizes = tuple(min(size, n - start) for start in range(0, n, size)) if n else (0,)
    return Split.apply(tensor, sizes=sizes, dim=dim)


@method("split_with_sizes", "unsafe_split_with_sizes")
def split_with_sizes(input: Any, split_sizes: Any, dim: int = 0) -> Any:
    """Dimension `dim` in consecutive views of the given sizes, which must add up to it."""
    dim, sizes = _dim_of(input, dim, "split_with_sizes"), tuple(int(n) for n in split_sizes)
    if sum(sizes) != input.shape[dim] or any(n < 0 for n in sizes):
        raise RuntimeError(
            f"split_with_sizes expects split_sizes to sum exactly to {input.shape[dim]} (the input's size at dimension "
            f"{dim}) and to be non-negative, but got split_sizes={list(sizes)}"
        )
    return Split.apply(input, sizes=sizes, dim=dim)


@method("chunk", "unsafe_chunk")
def chunk(input: Any, chunks: int, dim: int = 0) -> Any:
    """Dimension `dim` in at most `chunks` pieces of equal size, the last one smaller if need be."""
    dim = _dim_of(input, dim, "chunk")
    if chunks <= 0:
        raise RuntimeError(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
    n = input.shape[dim]
    return split(input, -(-n // chunks), dim) if n else Split.apply(input, sizes=(0,) * chunks, dim=dim)


@method()
def tensor_split(input: Any, indices_or_sections: Any, dim: int = 0) -> Any:
    """Dimension `dim` in n views whose sizes differ by at most 1; or cut before each of the given indices."""
    dim = _dim_of(input, dim, "tensor_split")
    n, where = input.shape[dim], indices_or_sections
    where = where.tolist() if isinstance(where, Tensor) else where
    if isinstance(where, Sequence):
        cuts = [slice(a, b).indices(n) for a, b in zip((None, *where), (*where, None), strict=True)]
        return tuple(Narrow.apply(input, dim=dim, start=a, length=max(b - a, 0)) for a, b, _ in cuts)
    if where <= 0:
        raise RuntimeError(f"tensor_split: number of sections must be larger than 0, got {where}")
    ends = [i * (n // where) + min(i, n % where) for i in range(where + 1)]
    return tuple(Narrow.apply(input, dim=dim, start=a, length=b - a) for a, b in pairwise(ends))


def _split_along(input: Any, indices_or_sections: Any, dim: int, least: int, name: str) -> Any:
    if input.ndim < least:
        raise RuntimeError(f"{name} requires a tensor with at least {least} dimension(s), but got {input.ndim}")
    if isinstance(indices_or_sections, int) and (indices_or_sections <= 0 or input.shape[dim] % indices_or_sections):
        raise RuntimeError(
            f"{name} attempted to split along dimension {dim}, but the size of the dimension {input.shape[dim]} is not "
            f"divisible by the split_size {indices_or_sections}; tensor_split allows unequal parts"
        )
    return tensor_split(input, indices_or_sections, dim)


@method()
def hsplit(input: Any, indices_or_sections: Any) -> Any:
    """Cut along the columns: dimension 1, or 0 of a vector. The inverse of hstack."""
    return _split_along(input, indices_or_sections, 1 if input.ndim > 1 else 0, 1, "hsplit")


@method()
def vsplit(input: Any, indices_or_sections: Any) -> Any:
    """Cut along the rows, dimension 0. The inverse of vstack."""
    return _split_along(input, indices_or_sections, 0, 2, "vsplit")


@method()
def dsplit(input: Any, indices_or_sections: Any) -> Any:
    """Cut along dimension 2. The inverse of dstack."""
    return _split_along(input, indices_or_sections, 2, 3, "dsplit")


# ---------------------------------------------------------------------------------------------------------------------
# Several tensors in one


class Cat(Op):
    """Tensors one after the other along dimension `dim`; vectors of size 0 among other tensors are skipped."""

    complex_rule = True
    promotion = "common"

    def forward(self, *xs: Any, dim: int) -> Any:
        self.dim = dim
        try:
            return row_major(array_module(xs[0]).concatenate(xs, axis=dim))
        except ValueError:
            used = [x for x in xs if x.shape != (0,)]
            if 0 < len(used) < len(xs):
                return self.forward(*used, dim=dim)
            first = xs[0].shape[:dim] + xs[0].shape[dim + 1 :]
            wrong = [x.ndim != xs[0].ndim or x.shape[:dim] + x.shape[dim + 1 :] != first for x in xs]
            if not any(wrong):
                raise
            i = wrong.index(True)
            raise RuntimeError(
                f"cat: sizes of tensors must match except in dimension {dim}. Expected {list(xs[0].shape)} but "
                f"got {list(xs[i].shape)} for tensor number {i} in the list"
            ) from None

    def backward(self, g: Any) -> Any:
        gradients: list[Any] = []
        start, ndim = 0, g.ndim
        for shape, edge in zip(self.shapes, self.edges, strict=True):  # type: ignore[arg-type]
            skipped = len(shape) < ndim  # a vector of size 0
            n = 0 if skipped else shape[self.dim]
            if edge is None:
                gradients.append(None)
            elif skipped:
                gradients.append(Narrow.apply(g.reshape(-1), dim=0, start=0, length=0))
            else:
                gradients.append(Narrow.apply(g, dim=self.dim, start=start, length=n))
            start += n
        return tuple(gradients)


@samples(Cat)
def _(make: Any) -> Any:
    yield Sample(make(2, 3), make(2, 1), make(2, 0), dim=1)
    yield Sample(make(2), make(3), dim=0)
    yield Sample(make(0), make(2, 3), dim=1, note="a vector of size 0 is skipped")


class Stack(Op):
    """Tensors of one shape, side by side along a new dimension `dim`."""

    complex_rule = True
    promotion = "common"

    def forward(self, *xs: Any, dim: int) -> Any:
        self.dim = dim
        shape = xs[0].shape
        for i, x in enumerate(xs):
            if x.shape != shape:
                raise RuntimeError(
                    f"stack expects each tensor to be equal size, but got {list(shape)} at entry 0 and "
                    f"{list(x.shape)} at entry {i}"
                )
        # concatenate alone takes a third of the time of NumPy's stack, which is made of it
        parts = [x.reshape((*shape[:dim], 1, *shape[dim:])) for x in xs]
        return row_major(array_module(parts[0]).concatenate(parts, axis=dim))

    def backward(self, g: Any) -> Any:
        edges = enumerate(self.edges)
        return tuple(None if edge is None else Select.apply(g, dim=self.dim, index=i) for i, edge in edges)


@samples(Stack)
def _(make: Any) -> Any:
    yield Sample(make(2, 3), make(2, 3), dim=1)
    yield Sample(make(), make(), dim=0)


def _checked(tensors: Any, name: str) -> tuple[Any, ...]:
    """A sequence of tensors as a tuple. Raises for anything else and for none at all."""
    if isinstance(tensors, (Tensor, np.ndarray)):
        raise TypeError(f"{name}(): argument 'tensors' must be tuple of Tensors, not a {type(tensors).__name__}")
    found = tuple(tensors)
    if not found:
        raise RuntimeError(f"{name}: expected a non-empty list of Tensors")
    for i, x in enumerate(found):
        if not isinstance(x, Tensor) and not hasattr(x, "ndim"):
            raise TypeError(f"{name}: expected Tensor as element {i}, but got {type(x).__name__}; wrap it in tensor()")
    return found


def cat(tensors: Any, dim: int = 0) -> Any:
    """The tensors one after the other along dimension `dim`; all other sizes must agree.

    Example:
        >>> minidl.cat([minidl.zeros(2, 3), minidl.ones(1, 3)]).shape
        torch.Size([3, 3])
    """
    tensors = _checked(tensors, "cat")
    ndims = [x.ndim for x in tensors]
    if 0 in ndims:
        i = ndims.index(0)
        raise RuntimeError(f"cat: zero-dimensional tensor (at position {i}) cannot be concatenated; use stack")
    return Cat.apply(*tensors, dim=normalize_dim(dim, max(ndims), "cat"))


concat = concatenate = cat


def stack(tensors: Any, dim: int = 0) -> Any:
    """Tensors of one shape side by side along a new dimension `dim`.

    Example:
        >>> minidl.stack([minidl.zeros(3), minidl.ones(3)], dim=1).shape
        torch.Size([3, 2])
    """
    tensors = _checked(tensors, "stack")
    return Stack.apply(*tensors, dim=normalize_dim(dim, tensors[0].ndim + 1, "stack"))


def _each(function: Any, tensors: tuple[Any, ...]) -> Any:
    tensors = tuple(tensors[0]) if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)) else tensors
    results = [function(x) for x in tensors]
    return results[0] if len(results) == 1 else tuple(results)


def atleast_1d(*tensors: Any) -> Any:
    """Each tensor with at least one dimension."""
    return _each(lambda x: x if x.ndim else reshape(x, 1), tensors)


def atleast_2d(*tensors: Any) -> Any:
    """Each tensor with at least two dimensions; a vector becomes a row."""
    return _each(
        lambda x: x if x.ndim >= 2 else reshape(x, 1, -1) if x.ndim == 0 else reshape(x, 1, x.shape[0]), tensors
    )


def atleast_3d(*tensors: Any) -> Any:
    """Each tensor with at least three dimensions: (N) -> (1, N, 1), (M, N) -> (M, N, 1)."""

    def three(x: Any) -> Any:
        if x.ndim >= 3:
            return x
        return reshape(x, *x.shape, 1) if x.ndim == 2 else reshape(x, 1, *(x.shape or (1,)), 1)

    return _each(three, tensors)


def hstack(tensors: Any) -> Any:
    """The tensors side by side: along dimension 1, vectors along 0."""
    parts = [atleast_1d(x) for x in _checked(tensors, "hstack")]
    return cat(parts, 0 if parts[0].ndim == 1 else 1)


def vstack(tensors: Any) -> Any:
    """The tensors one below the other, along dimension 0; vectors are rows."""
    return cat([atleast_2d(x) for x in _checked(tensors, "vstack")])


row_stack = vstack


def dstack(tensors: Any) -> Any:
    """The tensors behind each other, along dimension 2."""
    return cat([atleast_3d(x) for x in _checked(tensors, "dstack")], 2)


def column_stack(tensors: Any) -> Any:
    """The tensors side by side along dimension 1; vectors are columns."""
    return cat([x if x.ndim > 1 else reshape(x, -1, 1) for x in _checked(tensors, "column_stack")], 1)


def block_diag(*tensors: Any) -> Any:
    """A matrix with the given matrices along its diagonal and zeros elsewhere; a vector counts as one row."""
    blocks = [atleast_2d(x) for x in tensors]
    if any(x.ndim > 2 for x in blocks):
        raise RuntimeError(f"block_diag: tensors must have 2 or fewer dimensions, got {[x.ndim for x in blocks]}")
    width, start, rows = sum(x.shape[1] for x in blocks), 0, []
    for x in blocks:
        end = start + x.shape[1]
        like = _Zeros(x.array)
        rows.append(cat([like.zeros((x.shape[0], start)), x, like.zeros((x.shape[0], width - end))], 1))
        start = end
    return cat(rows)


# ---------------------------------------------------------------------------------------------------------------------
# Grids and combinations


def meshgrid(*tensors: Any, indexing: str = "ij") -> tuple[Any, ...]:
    """Coordinate grids of vectors: result i holds vector i, varying along dimension i (with "xy": 0 and 1 swapped)."""
    tensors = tuple(tensors[0]) if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)) else tensors
    if indexing not in ("ij", "xy"):
        raise RuntimeError(f"meshgrid: indexing must be one of 'xy' or 'ij', but received: {indexing!r}")
    if not tensors or any(x.ndim > 1 for x in tensors):
        raise RuntimeError(
            f"meshgrid: expected scalar or 1D tensors, got the shapes {[list(x.shape) for x in tensors]}"
        )
    n = len(tensors)
    shape = [prod(x.shape) for x in tensors]
    grids = [expand(reshape(x, [-1 if i == d else 1 for d in range(n)]), shape) for i, x in enumerate(tensors)]
    if indexing == "xy" and n > 1:
        grids = [Transpose.apply(grid, dim0=0, dim1=1) for grid in grids]
    return tuple(grids)


def cartesian_prod(*tensors: Any) -> Any:
    """Every choice of one element from each vector, in a row each: (n0 * n1 * ..., number of vectors)."""
    if len(tensors) == 1:
        return tensors[0]
    return stack([reshape(grid, -1) for grid in meshgrid(*tensors)], 1)


@method()
def combinations(input: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:
    """Every choice of r elements of a vector, in a row each, in the order of itertools.combinations."""
    import itertools

    from .gather import index_select

    if input.ndim != 1 or r < 0:
        raise RuntimeError(f"combinations: expected a 1D vector and r >= 0, got shape {list(input.shape)} and r={r}")
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    rows = np.array(list(choose(range(input.numel()), r)), dtype=np.int64)
    if r == 0:
        return narrow(input, 0, 0, 0)
    return reshape(index_select(input, 0, rows.reshape(-1)), -1 if rows.size else 0, r)


__all__ = [
    "atleast_1d", "atleast_2d", "atleast_3d", "block_diag", "cartesian_prod", "cat", "chunk", "column_stack",
    "combinations", "concat", "concatenate", "dsplit", "dstack", "hsplit", "hstack", "meshgrid", "narrow", "row_stack",
    "select", "split", "split_with_sizes", "stack", "tensor_split", "unbind", "vsplit", "vstack",
]  # fmt: skip
