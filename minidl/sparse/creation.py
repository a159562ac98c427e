"""Functions that make sparse tensors, and check what they are given: every index is looked at, whatever check_invariants says."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import devices, layouts
from ..kernels import array_module
from ..layouts import BLOCKED, sparse_bsc, sparse_bsr, sparse_coo, sparse_csc, sparse_csr
from ..layouts import layout as Layout
from ..ops.creation import as_tensor
from ..ops.indexing import Take
from ..tensor import Tensor
from .blocks import GRID, BlockPattern, in_blocks
from .pattern import Pattern
from .tensor import SparseTensor


def sparse_coo_tensor(
    indices: Any = None,
    values: Any = None,
    size: Any = None,
    *,
    dtype: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
    check_invariants: bool | None = None,
    is_coalesced: bool | None = None,
) -> SparseTensor:
    """A tensor with values[e] at the place indices[:, e], and 0 elsewhere; what is given for one place twice adds up.

    indices: (S, nnz) integers. values: (nnz,), or (nnz, ...) for a hybrid tensor, whose last dimensions are dense; gradients
    reach a tensor given here. size: of S dimensions and the dense ones; by default the smallest that holds all indices.
    is_coalesced: the places are in row-major order, each once. sparse_coo_tensor(size) has nothing stored.
    Raises RuntimeError where these do not agree, or an index is outside of size.

    Example:
        >>> minidl.sparse_coo_tensor([[0, 1, 1], [2, 0, 2]], [3.0, 4.0, 5.0], (2, 3)).to_dense()
        tensor([[0., 0., 3.],
                [4., 0., 5.]])
    """
    if values is None:
        size = indices if size is None else size
        indices, values = np.zeros((len(size), 0), np.int64), np.zeros(0, np.float32)
        dtype = float if dtype is None else dtype
    entries = _entries(values, dtype, device, requires_grad)
    coordinates = _index_array("sparse_coo_tensor", "indices", indices, 2).astype(np.int64)
    if not entries.ndim or coordinates.shape[1] != entries.shape[0]:
        raise RuntimeError(
            f"indices and values must have same nnz, but got nnz from indices: {coordinates.shape[1]}, nnz from values: "
            f"{entries.shape[0] if entries.ndim else 'none, they have no dimension'}"
        )
    shape = _coo_shape(coordinates, tuple(entries.shape[1:]), size)
    pattern = Pattern(sparse_coo, shape, coordinates, coalesced=bool(is_coalesced)).moved(entries.device)
    keys = pattern.keys() if is_coalesced else None
    if keys is not None and not bool((keys[1:] > keys[:-1]).all()):
        raise RuntimeError(
            "cannot set is_coalesced to true if indices correspond to uncoalesced COO tensor: leave it out and call coalesce()"
        )
    return SparseTensor(pattern, entries)


def zeros(shape: tuple[int, ...], layout: Layout, dtype: Any, device: Any, requires_grad: bool) -> SparseTensor:
    """A tensor of which nothing is stored: minidl.zeros(shape, layout=...)."""
    if layout in BLOCKED:
        raise RuntimeError(
            f"zeros: {layout} says nothing of the size of a block; use zeros(...).to_{layout.name}(blocksize)"
        )
    nothing = sparse_coo_tensor(size=shape, dtype=dtype, device=device).to_sparse(layout=layout)
    return nothing.requires_grad_() if requires_grad else nothing


def _coo_shape(coordinates: Any, dense_shape: tuple[int, ...], size: Any) -> tuple[int, ...]:
    """The shape of a sparse_coo tensor: given and checked, or inferred."""
    sparse_dim, nnz = coordinates.shape
    low = coordinates.min(axis=1).tolist() if nnz else [0] * sparse_dim
    high = coordinates.max(axis=1).tolist() if nnz else [-1] * sparse_dim
    for dim, index in enumerate(low):
        if index < 0:
            raise RuntimeError(f"found negative index {index} for dim {dim}")
    if size is None:
        return (*(index + 1 for index in high), *dense_shape)
    shape = tuple(int(n) for n in size)
    if any(n < 0 for n in shape):
        raise RuntimeError(f"sparse_coo_tensor: negative dimension in size {list(shape)}")
    if len(shape) != sparse_dim + len(dense_shape):
        raise RuntimeError(
            f"'len(size) == sparse_dim + dense_dim' is not satisfied: len(size) = {len(shape)}, sparse_dim = {sparse_dim}, "
            f"dense_dim = {len(dense_shape)}"
        )
    for dim, index in enumerate(high):
        if index >= shape[dim]:
            raise RuntimeError(
                f"size is inconsistent with indices: for dim {dim}, size is {shape[dim]} but found index {index}"
            )
    if shape[sparse_dim:] != dense_shape:
        raise RuntimeError(
            f"values has incorrect size, expected {[nnz, *shape[sparse_dim:]]}, got {[nnz, *dense_shape]}"
        )
    return shape


def sparse_compressed_tensor(
    compressed_indices: Any,
    plain_indices: Any,
    values: Any,
    size: Any = None,
    *,
    dtype: Any = None,
    layout: Layout | None = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
    check_invariants: bool | None = None,
) -> SparseTensor:
    """What sparse_csr_tensor, sparse_csc_tensor, sparse_bsr_tensor or sparse_bsc_tensor makes, whichever `layout` says."""
    if layout not in (sparse_csr, sparse_csc, *BLOCKED):
        got = "none" if layout is None else getattr(layout, "title", repr(layout))
        raise RuntimeError(
            f"sparse_compressed_tensor expected sparse compressed tensor layout but got {got}; layout= is sparse_csr, "
            "sparse_csc, sparse_bsr or sparse_bsc"
        )
    assert layout is not None
    by_row, blocked = layout in (sparse_csr, sparse_bsr), layout in BLOCKED
    name, pointer_name = f"{layout.name}_tensor", "crow_indices" if by_row else "ccol_indices"
    plain_name = "col_indices" if by_row else "row_indices"
    entries = _entries(values, dtype, device, requires_grad)
    pointers = _index_array(name, pointer_name, compressed_indices, 1)
    plain = _index_array(name, plain_name, plain_indices, 1)
    common = np.result_type(pointers.dtype, plain.dtype)
    pointers, plain = pointers.astype(common), plain.astype(common)
    if entries.ndim != 1 + 2 * blocked or entries.shape[0] != plain.size or 0 in entries.shape[1:]:
        what = "block (R, C)" if blocked else "number"
        raise RuntimeError(
            f"{name}: values must be one {what} for each of the {plain.size} {plain_name}, got shape {list(entries.shape)}; "
            "batches are not supported"
        )
    block = tuple(entries.shape[1:]) if blocked else (1, 1)
    rows, least = pointers.size - 1, int(plain.max()) + 1 if plain.size else 0
    grid = _grid_shape(name, (rows, least) if by_row else (least, rows), block, size)
    of_groups, inside = grid if by_row else grid[::-1]
    groups = ("row" if by_row else "column") + (" blocks" if blocked else "s")
    _check_groups(pointer_name, pointers, plain.size, of_groups, groups)
    if plain.size and not 0 <= int(plain.min()) <= int(plain.max()) < inside:
        raise RuntimeError(
            f"`0 <= {plain_name} < {inside}` is not satisfied: they go from {plain.min()} to {plain.max()}"
        )
    pattern = Pattern(GRID.get(layout, layout), grid, plain, pointers).moved(entries.device)
    if (check_invariants or blocked) and not pattern.coalesced:
        raise RuntimeError(f"{name}: {plain_name} must be sorted and distinct between two {pointer_name}")
    return SparseTensor(BlockPattern(pattern, (block[0], block[1])) if blocked else pattern, entries)


def _grid_shape(name: str, least: tuple[int, int], block: tuple[int, ...], size: Any) -> tuple[int, int]:
    """How many blocks a matrix of that size has in each dimension, which without a size are the least."""
    shape = (least[0] * block[0], least[1] * block[1]) if size is None else tuple(int(n) for n in size)
    if len(shape) != 2 or min(shape) < 0:
        raise RuntimeError(f"{name}: size must be that of a matrix, got {list(shape)}")
    for dim in (0, 1):
        if shape[dim] % block[dim]:
            raise RuntimeError(
                f"{name}: tensor shape[{dim}] (={shape[dim]}) must be divisible with blocksize[{dim}] (={block[dim]}) as defined "
                "by values shape"
            )
    return shape[0] // block[0], shape[1] // block[1]


def sparse_csr_tensor(
    crow_indices: Any, col_indices: Any, values: Any, size: Any = None, **options: Any
) -> SparseTensor:
    """A matrix row by row: values[e] in column col_indices[e] of row i for crow_indices[i] <= e < crow_indices[i + 1].

    crow_indices (N + 1,) and col_indices (nnz,) are integers, values (nnz,). size: by default N and the smallest number of columns.
    options: dtype, device, requires_grad; check_invariants=True also asks for columns in order, none twice in a row.
    Raises RuntimeError for pointers that do not rise from 0 to nnz, columns outside of size, other lengths.

    Example:
        >>> minidl.sparse_csr_tensor([0, 1, 3], [2, 0, 2], [3.0, 4.0, 5.0]).to_dense()
        tensor([[0., 0., 3.],
                [4., 0., 5.]])
    """
    _same_layout("sparse_csr_tensor", sparse_csr, options)
    return sparse_compressed_tensor(crow_indices, col_indices, values, size, layout=sparse_csr, **options)


def sparse_csc_tensor(
    ccol_indices: Any, row_indices: Any, values: Any, size: Any = None, **options: Any
) -> SparseTensor:
    """A matrix column by column: values[e] in row row_indices[e] of column j for ccol_indices[j] <= e < ccol_indices[j + 1]."""
    _same_layout("sparse_csc_tensor", sparse_csc, options)
    return sparse_compressed_tensor(ccol_indices, row_indices, values, size, layout=sparse_csc, **options)


def sparse_bsr_tensor(
    crow_indices: Any, col_indices: Any, values: Any, size: Any = None, **options: Any
) -> SparseTensor:
    """A matrix in blocks, row by row: values[e] (R, C) is block col_indices[e] of the row b of blocks, crow_indices[b] <= e.

    crow_indices (N / R + 1,) and col_indices (nnz,) are integers that count blocks, values (nnz, R, C). size (N, M): by default
    the smallest. options: as those of sparse_csr_tensor; the columns of a row must be in order, none twice, in any case.
    Raises RuntimeError for what sparse_csr_tensor refuses, and for a size that is not a multiple of the blocks' own.

    Example:
        >>> minidl.sparse_bsr_tensor([0, 1], [1], [[[1.0, 2.0], [3.0, 4.0]]], (2, 4)).to_dense()
        tensor([[0., 0., 1., 2.],
                [0., 0., 3., 4.]])
    """
    _same_layout("sparse_bsr_tensor", sparse_bsr, options)
    return sparse_compressed_tensor(crow_indices, col_indices, values, size, layout=sparse_bsr, **options)


def sparse_bsc_tensor(
    ccol_indices: Any, row_indices: Any, values: Any, size: Any = None, **options: Any
) -> SparseTensor:
    """A matrix in blocks, column by column: values[e] (R, C) is block row_indices[e] of a column of blocks, as in sparse_csc_tensor."""
    _same_layout("sparse_bsc_tensor", sparse_bsc, options)
    return sparse_compressed_tensor(ccol_indices, row_indices, values, size, layout=sparse_bsc, **options)


def _same_layout(name: str, layout: Layout, options: dict[str, Any]) -> None:
    given = options.pop("layout", None)
    if given not in (None, layout):
        raise RuntimeError(f"{name}: layout must be {layout}, got {given}")


def _check_groups(name: str, pointers: Any, nnz: int, groups: int, of: str) -> None:
    """Raise unless the pointers cut nnz entries into that many groups."""
    if pointers.size != groups + 1:
        raise RuntimeError(
            f"{name}.shape[-1] must be equal to the number of {of} + 1 (={groups + 1}), but got {pointers.size}"
        )
    if pointers[0] != 0:
        raise RuntimeError(f"`{name}[..., 0] == 0` is not satisfied: it is {pointers[0]}")
    if pointers[-1] != nnz:
        raise RuntimeError(f"`{name}[..., -1] == nnz` is not satisfied: it is {pointers[-1]}, and nnz is {nnz}")
    if bool((pointers[1:] < pointers[:-1]).any()):
        raise RuntimeError(
            f"`0 <= {name}[..., 1:] - {name}[..., :-1]` is not satisfied: a group would end before it begins"
        )


def _index_array(name: str, what: str, indices: Any, ndim: int) -> Any:
    """A copy of an index array: a pattern relies on its own never being written to."""
    array = indices.array if isinstance(indices, Tensor) else np.asarray(indices)
    if not array.size:
        array = array.astype(np.int64)  # an empty list has no type
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name}: {what} must be integers, got {array.dtype}; convert them with long()")
    if array.ndim != ndim:
        raise RuntimeError(
            f"{name}: {what} must have {ndim} dimension{'s' * (ndim > 1)}, got shape {list(array.shape)}"
        )
    return array.astype(np.int32 if array.dtype == np.int32 else np.int64, order="C")


def _entries(values: Any, dtype: Any, device: Any, requires_grad: bool) -> Tensor:
    """Values as a dense tensor of their own place in the graph, on the memory of a tensor that is given."""
    given = as_tensor(values, dtype=dtype, device=device)
    entries = given.view(given.shape) if given.requires_grad else given.detach()
    return entries.requires_grad_() if requires_grad else entries


def of_parts(
    layout: str, shape: tuple[int, ...], coalesced: bool, indices: Tensor, pointers: Tensor | None, values: Tensor
) -> SparseTensor:  # fmt: skip
    """A sparse tensor from what a file says of it, checked like any other."""
    if pointers is None:
        made = sparse_coo_tensor(indices, values.detach(), shape, is_coalesced=coalesced)
    else:
        made = sparse_compressed_tensor(pointers, indices, values.detach(), shape, layout=layouts.ALL[layout])
    return made.requires_grad_(values.requires_grad)


def from_dense(input: Tensor, sparse_dim: int | None, layout: Layout, blocksize: Any = None) -> SparseTensor:
    """A sparse tensor of the elements that are not 0; with sparse_dim < ndim of the blocks that have one such element."""
    if layout in BLOCKED:
        return in_blocks(input, layout, blocksize)
    if blocksize is not None:
        raise RuntimeError(
            f"to_sparse: conversion from Strided to {layout.title} with blocksize argument given is not supported"
        )
    n = input.ndim if sparse_dim is None else sparse_dim
    if not min(input.ndim, 1) <= n <= input.ndim:
        raise RuntimeError(
            f"to_sparse: sparse_dim argument must be in [{min(input.ndim, 1)},{input.ndim}] range, but {n} is given"
        )
    if layout is not sparse_coo and (input.ndim != 2 or n != 2):
        raise RuntimeError(
            f"to_sparse: {layout} is for matrices, got shape {list(input.shape)}; leave out layout for sparse_coo"
        )
    xp, x = array_module(input.array), input.array
    stored = x != 0
    if n < x.ndim:
        stored = stored.any(axis=tuple(range(n, x.ndim)))
    coordinates = xp.stack(stored.nonzero()) if n else xp.zeros((0, int(stored)), np.int64)
    pattern = Pattern(sparse_coo, x.shape, coordinates, coalesced=True)
    entries = Take.apply(input, index=pattern.index()) if n else input.reshape(1)[: int(stored)]
    return SparseTensor(pattern, entries)._in_layout(layout)


def _legacy(name: str) -> Any:
    def create(*arguments: Any) -> SparseTensor:
        if all(isinstance(n, (int, np.integer)) for n in arguments):
            return sparse_coo_tensor(size=arguments)
        indices, values, *size = arguments
        return sparse_coo_tensor(indices, values, *size, device=devices.CPU)

    create.__name__ = create.__qualname__ = name
    create.__doc__ = (
        f"{name}(indices, values, size) is sparse_coo_tensor, and {name}(2, 3) an empty one: PyTorch's names of old."
    )
    return create


FloatTensor, DoubleTensor, HalfTensor, LongTensor, IntTensor, ShortTensor, CharTensor, ByteTensor = map(
    _legacy,
    ("FloatTensor", "DoubleTensor", "HalfTensor", "LongTensor", "IntTensor", "ShortTensor", "CharTensor", "ByteTensor"),
)
