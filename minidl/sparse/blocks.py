"""Tensors of which whole blocks are stored: the layouts sparse_bsr and sparse_bsc.

They are tensors like the other sparse ones, with entries (nnz, R, C) and a BlockPattern: the Pattern of the grid of blocks, and
the size of a block. So what works on entries whatever their shape, and what asks a pattern for the index of its entries, needs
no case of its own for blocks.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..kernels import array_module
from ..layouts import layout as Layout
from ..layouts import sparse_bsc, sparse_bsr, sparse_coo, sparse_csc, sparse_csr
from ..ops.indexing import PutInto, Take
from ..tensor import Tensor
from .pattern import Pattern
from .tensor import SparseTensor

GRID = {sparse_bsr: sparse_csr, sparse_bsc: sparse_csc}  # the layout of the grid of blocks
OF_GRID = {grid: layout for layout, grid in GRID.items()}


class BlockPattern(Pattern):
    """Which blocks of a matrix are stored: those of a grid whose Pattern, sparse_csr or sparse_csc, is `grid`.

    block: their size (R, C). indices, pointers and nnz are those of the grid, shape is that of the matrix. In each row of
    blocks (for sparse_bsc: column) they are in order, and none is there twice.
    """

    __slots__ = ("block", "grid")

    block: tuple[int, int]

    def __init__(self, grid: Pattern, block: tuple[int, int]) -> None:
        self.grid, self.block = grid, (int(block[0]), int(block[1]))
        shape = grid.shape[0] * self.block[0], grid.shape[1] * self.block[1]
        super().__init__(OF_GRID[grid.layout], shape, grid.indices, grid.pointers, True)

    def index(self) -> tuple[Any, ...]:
        """The index of the elements of all blocks: rows (nnz, R, 1) and columns (nnz, 1, C)."""
        arange, (R, C) = array_module(self.indices).arange, self.block
        row, column = (each.reshape(-1, 1, 1) for each in self.grid.coordinates())
        return row * R + arange(R).reshape(R, 1), column * C + arange(C)

    def coordinates(self) -> Any:
        raise RuntimeError(f"not defined for sparse matrices in blocks, got {self!r}; use to_sparse() first")

    def keys(self) -> Any:
        """The places of the elements in row-major order, (nnz, R, C)."""
        row, column = self.index()
        return row * self.shape[1] + column

    def same_as(self, other: Pattern) -> bool:
        return self.block == other.block and super().same_as(other)

    def compressed(self, dim: int) -> tuple[Any, Any, Any, Any]:
        """The blocks grouped by row or column of the grid, as kernels/block_sparse.py takes them."""
        return self.grid.compressed(dim)

    def transposed(self) -> BlockPattern:
        """The transpose, whose blocks are in the same order, each transposed."""
        return BlockPattern(self.grid.transposed(), self.block[::-1])

    def moved(self, device: Any) -> BlockPattern:
        grid = self.grid.moved(device)
        return self if grid is self.grid else BlockPattern(grid, self.block)

    def __reduce__(self) -> tuple[Any, ...]:
        return BlockPattern, (self.grid, self.block)

    def __repr__(self) -> str:
        return f"BlockPattern({self.layout}, shape={list(self.shape)}, block={list(self.block)}, nnz={self.nnz})"


def elements(t: SparseTensor) -> SparseTensor:
    """The elements of all stored blocks with their coordinates, zeros too, block after block."""
    xp, pattern = array_module(t.pattern.indices), t.pattern
    assert pattern.block is not None
    full = (pattern.nnz, *pattern.block)
    coordinates = xp.stack([xp.broadcast_to(each, full).reshape(-1) for each in pattern.index()])
    return SparseTensor(Pattern(sparse_coo, pattern.shape, coordinates), t.entries.reshape(coordinates.shape[1]))


def in_blocks(t: Tensor, layout: Layout, blocksize: Any) -> SparseTensor:
    """A matrix in blocks: those with an element that is not 0, of a dense one, or that is stored, of a sparse one."""
    block = block_of(t, layout, blocksize)
    (R, C), xp = block, array_module(t.entries.array if isinstance(t, SparseTensor) else t.array)
    shape = t.shape[0] // R, t.shape[1] // C
    if not isinstance(t, SparseTensor):
        stored = (t.array != 0).reshape(shape[0], R, shape[1], C).any(axis=(1, 3))
        blocks = Pattern(sparse_coo, shape, xp.stack(stored.nonzero()), coalesced=True)
        pattern = BlockPattern(blocks.in_layout(GRID[layout])[0], block)
        return SparseTensor(pattern, Take.apply(t, index=pattern.index()))
    source = t._in_layout(sparse_coo)
    row, column = source.pattern.coordinates()
    blocks, places = Pattern(sparse_coo, shape, xp.stack([row // R, column // C])).coalesce()
    grid, order = blocks.in_layout(GRID[layout])
    if order is not None:
        number = xp.empty_like(order)
        number[order] = xp.arange(order.size)
        places = number[places]
    entries = PutInto.apply(source.entries, shape=(grid.nnz, R, C), index=(places, row % R, column % C))
    return SparseTensor(BlockPattern(grid, block), entries)


def block_of(t: Tensor, layout: Layout, blocksize: Any) -> tuple[int, int]:
    """The size of the blocks of a matrix. Raises RuntimeError where there is none, or the matrix does not consist of such blocks."""
    name = f"to_{layout.name}"
    if blocksize is None:
        raise RuntimeError(
            f"to_sparse: conversion from {t.layout.title} to {layout.title} without blocksize argument given is not supported; "
            "say blocksize=(R, C)"
        )
    size = (blocksize, blocksize) if isinstance(blocksize, (int, np.integer)) else tuple(int(n) for n in blocksize)
    if len(size) != 2 or min(size) <= 0:
        raise RuntimeError(f"{name}: blocksize needs to be two positive numbers, but got {list(size)}")
    if t.ndim != 2 or (isinstance(t, SparseTensor) and t.dense_dim()):
        raise RuntimeError(f"{name}: blocks are for matrices, got shape {list(t.shape)}")
    if t.shape[0] % size[0] or t.shape[1] % size[1]:
        raise RuntimeError(
            f"{name}: tensor sparse size ({t.shape[0]},{t.shape[1]}) must be divisible by given blocksize ({size[0]},{size[1]})"
        )
    return int(size[0]), int(size[1])
