"""SparseTensor: a pattern, and a dense tensor of the values at its places."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from .. import devices, dtypes, printing
from ..autograd import engine
from ..autograd.grad_mode import grad_mode
from ..autograd.hooks import RemovableHandle
from ..autograd.op import Op, SparseOperand, wrap
from ..autograd.storage import Storage, mark_written
from ..kernels import array_module
from ..layouts import BLOCKED, sparse_bsc, sparse_bsr, sparse_coo, sparse_csc, sparse_csr
from ..layouts import layout as Layout
from ..ops.indexing import PutInto, Take
from ..ops.selection import where
from ..tensor import Size, Tensor
from .pattern import Pattern

PACKAGE = __name__.partition(".")[0] + "."


class SparseTensor(Tensor):
    """A tensor of which only the entries at the places of `pattern` are stored: `entries` (nnz, ...), a dense tensor.

    Its place in the graph is that of `entries`, so its gradient is that of the stored values, and has the same pattern.
    Operations that have a sparse form run it, whichever way they are called; every other raises TypeError, for nothing here is
    computed on all elements unless to_dense() asks for it.

    Example:
        >>> minidl.sparse_coo_tensor([[0, 1], [2, 0]], [3.0, 4.0], (2, 3)).to_dense()
        tensor([[0., 0., 3.],
                [4., 0., 0.]])
    """

    __slots__ = ("entries", "pattern")

    pattern: Pattern
    entries: Tensor

    def __new__(cls, pattern: Pattern, entries: Tensor) -> SparseTensor:
        t = object.__new__(cls)
        t.pattern, t.entries = pattern, entries
        return t

    def __init__(self, pattern: Pattern, entries: Tensor) -> None:
        """Made by minidl.sparse_coo_tensor and the like, which check what they are given."""

    def like(self, entries: Tensor) -> SparseTensor:
        """Other values at the same places."""
        return SparseTensor(self.pattern, entries)

    # -- what a dense tensor has and this has not ----------------------------------------------------------------------

    @property
    def array(self) -> NoReturn:
        raise SparseOperand(
            f"{_asking()}: not defined for sparse tensors, got {self.layout} of shape {list(self.shape)}; use to_dense() first"
        )

    @array.setter
    def array(self, value: Any) -> NoReturn:
        raise SparseOperand("a sparse tensor has no array that could be replaced; make a new one")

    # -- its place in the graph: that of the entries -------------------------------------------------------------------

    @property
    def node(self) -> Op | None:
        return self.entries.node

    @node.setter
    def node(self, value: Op | None) -> None:
        self.entries.node = value

    @property
    def storage(self) -> Storage | None:  # type: ignore[override]
        return self.entries.storage

    @property
    def base(self) -> None:  # type: ignore[override]
        return None

    @property
    def grad(self) -> SparseTensor | None:
        return None if self.entries.grad is None else self.like(self.entries.grad)

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        self.entries.grad = None if value is None else self.sampled(value)

    def requires_grad_(self, requires_grad: bool = True) -> SparseTensor:
        """Say whether gradients of this leaf are wanted. Raises for integer tensors and for non-leaves."""
        self.entries.requires_grad_(requires_grad)
        return self

    @property
    def data(self) -> Tensor:
        """The same memory outside the graph."""
        return self.like(self.entries.data)

    @data.setter
    def data(self, other: Any) -> None:
        self.pattern, self.entries.data = other.pattern, other.entries

    def detach(self) -> SparseTensor:
        """A tensor on the same memory that is no part of the graph."""
        return self.like(self.entries.detach())

    def detach_(self) -> SparseTensor:
        """Take this tensor out of the graph."""
        self.entries = self.entries.detach()
        return self

    def backward(
        self,
        gradient: Tensor | None = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        inputs: Any = None,
    ) -> None:
        """Add the gradient of this tensor to `.grad` of every leaf it was computed from.

        gradient: of the same shape, sparse or dense; only its values at the places of this tensor count.
        """
        engine.backward(self, gradient, retain_graph, create_graph, inputs)

    def retain_grad(self) -> None:
        """Keep the gradient of this non-leaf tensor in `.grad` too."""
        self.entries.retain_grad()

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> RemovableHandle:
        """Call hook(grad), with a sparse tensor, when the gradient is complete; a tensor that it returns replaces it."""

        def on_entries(g: Tensor) -> Tensor | None:
            changed = hook(self.like(g))
            return None if changed is None else self.sampled(changed)

        return self.entries.register_hook(on_entries)

    def register_post_accumulate_grad_hook(self, hook: Callable[[Tensor], None]) -> RemovableHandle:
        """Call hook(tensor) after a gradient has been added to `.grad` of this leaf."""
        return self.entries.register_post_accumulate_grad_hook(lambda _: hook(self))

    # -- what it is ----------------------------------------------------------------------------------------------------

    @property
    def layout(self) -> Layout:
        return self.pattern.layout

    @property
    def is_sparse(self) -> bool:
        return self.pattern.layout is sparse_coo

    @property
    def is_sparse_csr(self) -> bool:
        return self.pattern.layout is sparse_csr

    @property
    def shape(self) -> Size:
        return Size(self.pattern.shape)

    @property
    def ndim(self) -> int:
        return len(self.pattern.shape)

    @property
    def dtype(self) -> dtypes.dtype:
        return self.entries.dtype

    @property
    def device(self) -> devices.device:
        return self.entries.device

    @property
    def itemsize(self) -> int:
        return self.entries.itemsize

    def dim(self) -> int:
        """The number of dimensions."""
        return self.ndim

    ndimension = dim

    def numel(self) -> int:
        """The number of elements, stored or not."""
        return self.shape.numel()

    nelement = numel

    def element_size(self) -> int:
        """Bytes per element."""
        return self.entries.itemsize

    def is_floating_point(self) -> bool:
        return self.entries.is_floating_point()

    def is_complex(self) -> bool:
        return self.entries.is_complex()

    def is_contiguous(self, memory_format: Any = None) -> bool:
        """False: the elements do not lie in memory one after another."""
        return False

    def __len__(self) -> int:
        if not self.ndim:
            raise TypeError("len() of a 0-d tensor")
        return self.shape[0]

    # -- its parts -----------------------------------------------------------------------------------------------------

    def sparse_dim(self) -> int:
        """How many of the leading dimensions are sparse."""
        return self.pattern.sparse_dim

    def dense_dim(self) -> int:
        """How many dimensions each entry has: 0 but in hybrid tensors."""
        return self.ndim - self.pattern.sparse_dim

    def _nnz(self) -> int:
        """The number of stored entries."""
        return self.pattern.nnz

    def _needs(self, name: str, *layouts: Layout, kind: str = "sparse coordinate tensor") -> None:
        if self.layout not in layouts:
            raise RuntimeError(f"{name} expected {kind} layout but got {self.layout.title}")

    def is_coalesced(self) -> bool:
        """Whether the entries are in row-major order, each once."""
        self._needs("is_coalesced", sparse_coo)
        return self.pattern.coalesced

    def _indices(self) -> Tensor:
        """The coordinates of the entries (S, nnz), which must not be written to."""
        self._needs("_indices", sparse_coo)
        return _read_only(self.pattern.indices)

    def _values(self) -> Tensor:
        """The values of the entries (nnz, ...), outside of the graph."""
        self._needs("_values", sparse_coo)
        return self.entries.detach()

    def indices(self) -> Tensor:
        """The coordinates of the entries (S, nnz), which must not be written to. Raises for a tensor that is not coalesced."""
        self._needs("indices", sparse_coo)
        if not self.pattern.coalesced:
            raise RuntimeError("Cannot get indices on an uncoalesced tensor, please call .coalesce() first")
        return _read_only(self.pattern.indices)

    def values(self) -> Tensor:
        """The values of the entries (nnz, ...), for blocks (nnz, R, C). Raises for a sparse_coo tensor that is not coalesced."""
        if self.is_sparse and not self.pattern.coalesced:
            raise RuntimeError("Cannot get values on an uncoalesced tensor, please call .coalesce() first")
        return self.entries

    def crow_indices(self) -> Tensor:
        """Where each row, or row of blocks, begins among the entries (N + 1,)."""
        self._needs("crow_indices", sparse_csr, sparse_bsr, kind="sparse row compressed tensor")
        return _read_only(self.pattern.pointers)

    def col_indices(self) -> Tensor:
        """The column of each entry (nnz,), counted in blocks where the entries are blocks."""
        self._needs("col_indices", sparse_csr, sparse_bsr, kind="sparse row compressed tensor")
        return _read_only(self.pattern.indices)

    def ccol_indices(self) -> Tensor:
        """Where each column, or column of blocks, begins among the entries (M + 1,)."""
        self._needs("ccol_indices", sparse_csc, sparse_bsc, kind="sparse column compressed tensor")
        return _read_only(self.pattern.pointers)

    def row_indices(self) -> Tensor:
        """The row of each entry (nnz,), counted in blocks where the entries are blocks."""
        self._needs("row_indices", sparse_csc, sparse_bsc, kind="sparse column compressed tensor")
        return _read_only(self.pattern.indices)

    # -- other forms of it ---------------------------------------------------------------------------------------------

    def to_dense(self, dtype: Any = None, *, masked_grad: bool | None = None) -> Tensor:
        """The dense tensor of the same shape: entries at one place add up, every other element is 0."""
        entries = self.entries if dtype is None else self.entries.to(dtype)
        if entries.dtype is dtypes.bool_:
            return self.like(entries.to(dtypes.int64)).to_dense() != 0
        if not self.pattern.sparse_dim:
            return entries.sum(0)
        return PutInto.apply(entries, shape=self.pattern.shape, index=self.pattern.index())

    def coalesce(self) -> SparseTensor:
        """The entries in row-major order, those at one place added up; itself if it is so already."""
        self._needs("coalesce", sparse_coo)
        return self.distinct()

    def distinct(self) -> SparseTensor:
        """Itself if no place is stored twice, else the coalesced sparse_coo tensor."""
        if self.pattern.coalesced:
            return self
        pattern, places = self.pattern.coalesce()
        return SparseTensor(pattern, summed(self.entries, places, pattern.nnz))

    def _in_layout(self, wanted: Layout, blocksize: Any = None) -> SparseTensor:
        if wanted in BLOCKED or self.pattern.block is not None:
            return self._blocks_in_layout(wanted, blocksize)
        if blocksize is not None:
            raise RuntimeError(
                f"to_sparse: conversion from {self.layout.title} to {wanted.title} with blocksize argument given is not supported"
            )
        if wanted is self.layout:
            return self
        source = self if wanted is sparse_coo else self.distinct()
        if wanted is not sparse_coo and (source.ndim != 2 or source.sparse_dim() != 2):
            raise RuntimeError(
                f"to_sparse: {wanted} is for matrices, got shape {list(self.shape)} with {self.sparse_dim()} sparse dimensions"
            )
        pattern, order = source.pattern.in_layout(wanted)
        return SparseTensor(pattern, source.entries if order is None else Take.apply(source.entries, index=(order,)))

    def _blocks_in_layout(self, wanted: Layout, blocksize: Any) -> SparseTensor:
        from .blocks import block_of, elements, in_blocks

        if wanted in BLOCKED and wanted is self.layout and block_of(self, wanted, blocksize) == self.pattern.block:
            return self
        source = self if self.pattern.block is None else elements(self)
        return in_blocks(source, wanted, blocksize) if wanted in BLOCKED else source._in_layout(wanted, blocksize)

    def to_sparse(
        self, sparse_dim: int | None = None, *, layout: Layout | None = None, blocksize: Any = None
    ) -> SparseTensor:
        """The same entries in another layout, sparse_coo by default; blocksize (R, C) is for sparse_bsr and sparse_bsc."""
        if sparse_dim is not None and sparse_dim != self.sparse_dim():
            raise RuntimeError(f"to_sparse: the tensor has {self.sparse_dim()} sparse dimensions, not {sparse_dim}")
        return self._in_layout(sparse_coo if layout is None else layout, blocksize)

    def to_sparse_coo(self) -> SparseTensor:
        """The same entries with their coordinates."""
        return self._in_layout(sparse_coo)

    def to_sparse_csr(self) -> SparseTensor:
        """The same matrix row by row."""
        return self._in_layout(sparse_csr)

    def to_sparse_csc(self) -> SparseTensor:
        """The same matrix column by column."""
        return self._in_layout(sparse_csc)

    def to_sparse_bsr(self, blocksize: Any) -> SparseTensor:
        """The same matrix row by row in blocks (R, C), of which those are stored that have a stored element."""
        return self._in_layout(sparse_bsr, blocksize)

    def to_sparse_bsc(self, blocksize: Any) -> SparseTensor:
        """The same matrix column by column in blocks (R, C), of which those are stored that have a stored element."""
        return self._in_layout(sparse_bsc, blocksize)

    def to(self, *args: Any, **kwargs: Any) -> SparseTensor:
        """The tensor with another dtype and on another device. Itself if it is so."""
        entries = self.entries.to(*args, **kwargs)
        if entries is self.entries:
            return self
        return SparseTensor(self.pattern.moved(entries.device), entries)

    def sampled(self, other: Tensor) -> Tensor:
        """The values that a tensor of the same shape, sparse or dense, has at the places of this one (nnz, ...)."""
        if tuple(other.shape) != self.pattern.shape:
            raise RuntimeError(
                f"expected a tensor of shape {list(self.shape)} or sparse like it, got {list(other.shape)}"
            )
        if isinstance(other, SparseTensor):
            if self.pattern.same_as(other.pattern):
                return other.entries
            if self.pattern.sparse_dim == other.pattern.sparse_dim:
                return other._looked_up(self.pattern)
            other = other.to_dense()
        return Take.apply(other, index=self.pattern.index()) if self.pattern.sparse_dim else other.reshape(1)

    def _looked_up(self, pattern: Pattern) -> Tensor:
        """The values at the places of another pattern, by binary search among the places of this tensor; 0 elsewhere."""
        source = self._in_layout(sparse_coo).coalesce()
        known, wanted = source.pattern.keys(), pattern.keys()
        if not known.size:
            return wrap(array_module(known).zeros((*wanted.shape, *source.entries.shape[1:]), self.entries.array.dtype))
        at = array_module(known).searchsorted(known, wanted).clip(0, known.size - 1)
        found = (known[at] == wanted).reshape(*wanted.shape, *(1,) * self.dense_dim())
        return where(wrap(found), Take.apply(source.entries, index=(at,)), 0)

    # -- writing, copies, text -----------------------------------------------------------------------------------------

    def copy_(self, other: Tensor, non_blocking: bool = False) -> SparseTensor:
        """Take over the entries of another sparse tensor of the same shape and layout."""
        if not isinstance(other, SparseTensor) or (other.layout, other.shape) != (self.layout, self.shape):
            raise RuntimeError(
                f"copy_: expected {self.layout} of shape {list(self.shape)}, got {other.layout} of {list(other.shape)}; "
                "convert it with to_sparse(layout=...)"
            )
        self._replace("copy_", other.pattern, other.entries.detach().to(self.dtype).clone())
        return self

    def zero_(self) -> SparseTensor:
        """Make every value 0: in sparse_coo by storing none."""
        pattern, array = self.pattern, self.entries.array
        if self.is_sparse:
            pattern, array = Pattern(sparse_coo, self.shape, pattern.indices[:, :0], coalesced=True), array[:0]
        self._replace("zero_", pattern, wrap(array_module(array).zeros_like(array)))
        return self

    def _replace(self, name: str, pattern: Pattern, entries: Tensor) -> None:
        if self.node is not None and grad_mode.get():
            raise RuntimeError(f"{name}: a sparse tensor that requires grad cannot be changed in place; use no_grad()")
        entries = entries.requires_grad_() if self.requires_grad else entries
        self.pattern, self.entries = pattern, entries
        mark_written(entries)

    def __repr__(self) -> str:
        pattern, entries = self.pattern.moved(devices.CPU), devices.move(self.entries.array, devices.CPU)
        by_row = self.layout in (sparse_csr, sparse_bsr)
        parts = {
            "indices" if self.is_sparse else "col_indices" if by_row else "row_indices": pattern.indices,
            "values": entries,
        }
        if pattern.pointers is not None:
            parts = {"crow_indices" if by_row else "ccol_indices": pattern.pointers, **parts}
        usual = (dtypes.get_default_dtype(), dtypes.int64, dtypes.bool_, dtypes.default_complex())
        return printing.format_sparse(
            parts,
            self.pattern.shape,
            repr(self.layout),
            dtype_suffix=None if self.dtype in usual else repr(self.dtype),
            requires_grad=self.requires_grad and self.is_leaf,
            grad_fn_name=None if self.grad_fn is None else self.grad_fn.name(),
            device=str(self.device) if self.is_cuda else None,
        )

    def __format__(self, spec: str) -> str:
        return object.__format__(self, spec)

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return _rebuild, (self.pattern.moved(devices.CPU), self.entries)

    def __deepcopy__(self, memo: dict[int, Any]) -> SparseTensor:
        memo[id(self)] = result = self.like(copy.deepcopy(self.entries, memo))
        return result


def _asking() -> str:
    """The function of this package that someone outside of it called, and that came to ask for an array."""
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_back.f_globals.get("__name__", "").startswith(PACKAGE):
        frame = frame.f_back
    return frame.f_code.co_qualname.removesuffix(".__init__").rpartition("<locals>.")[2].removeprefix("Tensor.")


def _rebuild(pattern: Pattern, entries: Tensor) -> SparseTensor:
    """A sparse tensor from its parts: what pickle calls."""
    return SparseTensor(pattern.moved(entries.device), entries)


def _read_only(array: Any) -> Tensor:
    """An array of a pattern as a tensor: the pattern relies on it, so it cannot be written to."""
    shown = array.view()
    if isinstance(shown, np.ndarray):
        shown.flags.writeable = False
    return wrap(shown)


def summed(entries: Tensor, places: Any, count: int) -> Tensor:
    """Entries added up by place: (nnz, ...) to (count, ...). Of bools, whether any is true."""
    if entries.dtype is dtypes.bool_:
        return summed(entries.to(dtypes.int64), places, count) != 0
    return PutInto.apply(entries, shape=(count, *entries.shape[1:]), index=(places,))
