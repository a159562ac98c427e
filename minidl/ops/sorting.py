"""Order: sort, topk, unique values, positions in a sorted sequence, counts."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .. import devices, dtypes
from ..autograd.op import Op, as_array, wrap
from ..kernels import array_module, determinism
from ..kernels.accumulate import add_at
from ..kernels.common import row_major
from ..kernels.selection import top_k
from ..tensor import Tensor, method
from .gather import Gather, gather
from .shape import normalize_dim


class Sort(NamedTuple):
    """Values in order, and where each stood."""

    values: Tensor
    indices: Tensor

    def __repr__(self) -> str:
        return f"torch.return_types.{type(self).__name__.lower()}(\nvalues={self.values!r},\nindices={self.indices!r})"


class TopK(Sort):
    """The k largest or smallest values, and where each stood."""

    __slots__ = ()


class KthValue(Sort):
    """One value by its rank, and where it stood."""

    __slots__ = ()


class Median(Sort):
    """The middle values, and where each stood."""

    __slots__ = ()


class TopIndices(Op):
    """The indices of the k largest or smallest elements along a dimension, in order."""

    def forward(self, x: Any, *, k: int, dim: int, largest: bool) -> Any:
        xp = array_module(x)
        if not x.ndim:
            return xp.zeros((), np.int64)
        last = x.swapaxes(dim, -1)
        index = top_k(row_major(last).reshape(-1, x.shape[dim]), k, largest)
        return row_major(index.reshape(*last.shape[:-1], k).swapaxes(dim, -1))


class ArgSort(Op):
    """The indices that sort along a dimension; equal elements keep their order, NaN counts as the largest."""

    def forward(self, x: Any, *, dim: int, descending: bool) -> Any:
        xp = array_module(x)
        if not x.ndim:
            return xp.zeros((), np.int64)
        if not descending:
            return xp.argsort(x, axis=dim, kind="stable")
        # stable and descending: sort the reversed sequence upwards and read it backwards
        n = x.shape[dim]
        return xp.flip(n - 1 - xp.argsort(xp.flip(x, dim), axis=dim, kind="stable"), dim).copy()


@method()
def argsort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> Tensor:
    """The indices that sort input along `dim`; equal elements always keep their order."""
    dim = normalize_dim(dim, input.array.ndim, "argsort")
    return ArgSort.apply(input, dim=dim, descending=descending)


def _found(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """The elements at indices along `dim` that exist, as gather() without its checks."""
    if not input.array.ndim:
        return input.clone()
    return Gather.apply(input, index=index.array.copy(), dim=normalize_dim(dim, input.array.ndim, "sort"))


@method()
def sort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool | None = None) -> Sort:
    """(values, indices) with the values in order along `dim`; equal elements always keep their order."""
    index = argsort(input, dim, descending)
    return Sort(_found(input, dim, index), index)


@method()
def msort(input: Tensor) -> Tensor:
    """input sorted along its first dimension."""
    return sort(input, 0).values


@method()
def topk(input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> TopK:
    """The k largest (or smallest) values along `dim`, in order, and their indices."""
    along = normalize_dim(dim, input.array.ndim, "topk")
    n = input.array.shape[along] if input.array.ndim else 1
    if not 0 <= k <= n:
        raise RuntimeError(f"topk: selected index k out of range: k is {k}, dimension {dim} has {n} elements")
    index = TopIndices.apply(input, k=k, dim=along, largest=largest)
    return TopK(_found(input, along, index), index)


@method()
def kthvalue(input: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> KthValue:
    """The k-th smallest value along `dim` (counted from 1) and its index."""
    along = normalize_dim(dim, input.array.ndim, "kthvalue")
    n = input.array.shape[along] if input.array.ndim else 1
    if not 1 <= k <= n:
        raise RuntimeError(f"kthvalue(): selected number k out of range for dimension {dim}: k is {k}, there are {n}")
    return KthValue(*_picked(input, argsort(input, along), k - 1, along, keepdim))


def _picked(input: Tensor, order: Tensor, rank: int, dim: int, keepdim: bool) -> tuple[Tensor, Tensor]:
    """The element at a rank of an ordering along `dim`, and its index."""
    if not input.array.ndim:
        return input.clone(), order
    index = order.narrow(dim, rank, 1)
    values = _found(input, dim, index)
    return (values, index) if keepdim else (values.squeeze(dim), index.squeeze(dim))


@method()
def median(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The middle value, the lower of two; NaN if there is one. With `dim`, (values, indices) along it."""
    if dim is None:
        flat = input.reshape(-1)
        if not flat.numel():
            return flat.sum() * np.nan if input.is_floating_point() else flat.sum()
        return median(flat, 0).values
    along = normalize_dim(dim, input.array.ndim, "median")
    if not input.array.ndim:
        return Median(input.clone(), argsort(input))
    raw, xp = input.array, array_module(input.array)
    order = argsort(input, along)
    n = raw.shape[along]
    rank = xp.full([1 if d == along else m for d, m in enumerate(raw.shape)], (n - 1) // 2)
    if raw.dtype.kind in dtypes.FLOATING:  # NaN sorts last, and one is enough
        found = xp.isnan(raw).sum(along, keepdims=True)
        rank = xp.where(found > 0, n - found, rank)
    index = wrap(xp.take_along_axis(order.array, rank, along))
    values = gather(input, along, index)
    return Median(values, index) if keepdim else Median(values.squeeze(along), index.squeeze(along))


@method()
def unique(
    input: Tensor,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """The different values (or slices along `dim`) in order; also, on request, where each element is found and counts."""
    # CuPy compares slices pair by pair, each time from Python: the CPU is faster
    x = input.array if dim is None else devices.move(input.array, devices.CPU)
    values, inverse, counts = array_module(x).unique(x, return_inverse=True, return_counts=True, axis=dim)
    shape = x.shape if dim is None else (x.shape[dim],)
    found = [values]
    if return_inverse:
        found.append(inverse.reshape(shape).astype(np.int64))
    if return_counts:
        found.append(counts.astype(np.int64))
    result = [wrap(devices.move(array, input.device)) for array in found]
    return result[0] if len(result) == 1 else tuple(result)


@method()
def unique_consecutive(
    input: Tensor, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """The values with runs of equal neighbours reduced to one; also, on request, inverse and lengths of the runs."""
    xp = array_module(input.array)
    x = input.array.reshape(-1) if dim is None else xp.moveaxis(input.array, dim, 0)
    rows = x.reshape(len(x), -1)
    starts = xp.ones(len(x), bool)
    starts[1:] = (rows[1:] != rows[:-1]).any(1)
    values = x[starts] if dim is None else xp.moveaxis(x[starts], 0, dim)
    result = [wrap(xp.ascontiguousarray(values))]
    if return_inverse:
        run = xp.cumsum(starts) - 1
        result.append(wrap(run.reshape(input.array.shape) if dim is None else run))
    if return_counts:
        result.append(wrap(xp.diff(xp.append(xp.nonzero(starts)[0], len(x)))))
    return result[0] if len(result) == 1 else tuple(result)


def searchsorted(
    sorted_sequence: Tensor,
    input: Any,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Tensor | None = None,
) -> Tensor:
    """Where each value of input would go to keep the last dimension of sorted_sequence in order."""
    if side is not None and right and side != "right":
        raise RuntimeError("torch.searchsorted(): side and right can't be set to opposites")
    side = side or ("right" if right else "left")
    edges, xp = sorted_sequence.array, array_module(sorted_sequence.array)
    if sorter is not None:
        edges = xp.take_along_axis(edges, sorter.array, -1)
    if isinstance(input, Tensor):
        devices.check_same("searchsorted", sorted_sequence, input)
    values = input.array if isinstance(input, Tensor) else xp.asarray(input)
    if edges.ndim == 1:
        found: Any = as_array(xp.searchsorted(edges, values, side))
    else:
        if edges.shape[:-1] != values.shape[:-1]:
            raise RuntimeError(
                "searchsorted: boundaries tensor should be 1 dimension or the first N-1 dimensions of boundaries tensor and "
                f"input value tensor must match, but we got {list(edges.shape)} and {list(values.shape)}"
            )
        lines = zip(edges.reshape(-1, edges.shape[-1]), values.reshape(-1, values.shape[-1]), strict=True)
        rows = [xp.searchsorted(e, v, side) for e, v in lines]
        found = (xp.stack(rows) if rows else xp.zeros(0)).reshape(values.shape)
    return wrap(found.astype(np.int32 if out_int32 else np.int64))


def bucketize(input: Any, boundaries: Tensor, *, out_int32: bool = False, right: bool = False) -> Tensor:
    """The bucket between `boundaries` that each value falls into."""
    return searchsorted(boundaries, input, out_int32=out_int32, right=right)


@method()
def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """How often (or with what total weight) each number 0, 1, ... occurs in a 1-d integer tensor."""
    if input.array.ndim != 1 or input.array.dtype.kind not in "iu" or (input.array < 0).any():
        raise RuntimeError("bincount only supports 1-d non-negative integral inputs.")
    devices.check_same("bincount", input, weights)
    if weights is not None and input.array.size and determinism.required(weights.array):
        xp = array_module(input.array)
        out = xp.zeros(max(minlength, int(input.array.max()) + 1), np.float64)
        add_at(out, (input.array,), weights.array)
        return wrap(out)
    return wrap(array_module(input.array).bincount(input.array, None if weights is None else weights.array, minlength))


def isin(elements: Any, test_elements: Any, *, assume_unique: bool = False, invert: bool = False) -> Tensor:
    """Where an element occurs among the test elements."""
    array, test_array = (getattr(x, "array", x) for x in (elements, test_elements))
    xp = array_module(array if hasattr(array, "dtype") else test_array)
    found = xp.isin(xp.asarray(array), xp.asarray(test_array), assume_unique=assume_unique, invert=invert)
    return wrap(as_array(found))


__all__ = [
    "argsort", "bincount", "bucketize", "isin", "kthvalue", "median", "msort", "searchsorted", "sort", "topk",
    "unique", "unique_consecutive",
]  # fmt: skip
