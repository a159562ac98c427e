"""Products with a sparse matrix: the two operations that everything in minidl.sparse is built on besides indexing.

A sparse matrix is given by the values of its entries (nnz,) and a Pattern, which says where they stand. Each of the two is the
other's derivative. Both are there once more for matrices in blocks, (nnz, R, C) with a BlockPattern; sparse_mm and sampled_mm
take those that the pattern asks for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..autograd.op import Op
from ..kernels import array_module
from ..kernels.block_sparse import block_sddmm, block_spmm
from ..kernels.sparse import sddmm, spmm
from ..testing.samples import Sample, samples


class SparseMM(Op):
    """The sparse matrix (N, M) with `values` at the places of `pattern` times dense (M, D) or (M,)."""

    complex_rule = True
    kept_for = {"values": "dense", "dense": "values"}

    def forward(self, values: Any, dense: Any, *, pattern: Any) -> Any:
        self.pattern = pattern
        pointers, indices, order, cuts = pattern.compressed(0)
        return spmm(values if order is None else values[order], dense, pointers, indices, cuts)

    def backward(self, g: Any, values: Any, dense: Any) -> Any:
        wants_values, wants_dense = self.edges
        dvalues = SampledMM.apply(g, dense, pattern=self.pattern) if wants_values else None
        return dvalues, SparseMM.apply(values, g, pattern=self.pattern.transposed()) if wants_dense else None


class SampledMM(Op):
    """The elements of x @ y.T at the places of `pattern`: x (N, D) and y (M, D), or both without D, give (nnz,)."""

    complex_rule = True
    kept_for = {"x": "y", "y": "x"}

    def forward(self, x: Any, y: Any, *, pattern: Any) -> Any:
        self.pattern = pattern
        pointers, indices, order, _ = pattern.compressed(0)
        sampled = sddmm(x, y, pointers, indices)
        if order is None:
            return sampled
        out = array_module(x).empty_like(sampled)
        out[order] = sampled
        return out

    def backward(self, g: Any, x: Any, y: Any) -> Any:
        wants_x, wants_y = self.edges
        dx = SparseMM.apply(g, y, pattern=self.pattern) if wants_x else None
        return dx, SparseMM.apply(g, x, pattern=self.pattern.transposed()) if wants_y else None


class BlockMM(Op):
    """The matrix (N, M) with the blocks `values` (nnz, R, C) at the places of `pattern` times dense (M, D)."""

    complex_rule = True
    kept_for = {"values": "dense", "dense": "values"}

    def forward(self, values: Any, dense: Any, *, pattern: Any) -> Any:
        self.pattern = pattern
        pointers, indices, order, _ = pattern.compressed(0)
        return block_spmm(values, dense, pointers, indices, order)

    def backward(self, g: Any, values: Any, dense: Any) -> Any:
        wants_values, wants_dense = self.edges
        dvalues = SampledBlockMM.apply(g, dense, pattern=self.pattern) if wants_values else None
        return dvalues, _transposed_product(values, g, self.pattern) if wants_dense else None


class SampledBlockMM(Op):
    """The elements of x @ y.T at the places of `pattern`: x (N, D) and y (M, D) give (nnz, R, C)."""

    complex_rule = True
    kept_for = {"x": "y", "y": "x"}

    def forward(self, x: Any, y: Any, *, pattern: Any) -> Any:
        self.pattern = pattern
        pointers, indices, order, _ = pattern.compressed(0)
        return block_sddmm(x, y, pointers, indices, pattern.block, order)

    def backward(self, g: Any, x: Any, y: Any) -> Any:
        wants_x, wants_y = self.edges
        dx = BlockMM.apply(g, y, pattern=self.pattern) if wants_x else None
        return dx, _transposed_product(g, x, self.pattern) if wants_y else None


def _transposed_product(values: Any, dense: Any, pattern: Any) -> Any:
    return BlockMM.apply(values.swapaxes(1, 2), dense, pattern=pattern.transposed())


def sparse_mm(values: Any, dense: Any, pattern: Any) -> Any:
    """The sparse matrix (N, M), in blocks or not, times dense (M, D) or (M,)."""
    if pattern.block is None:
        return SparseMM.apply(values, dense, pattern=pattern)
    if dense.ndim == 1:
        return BlockMM.apply(values, dense.unsqueeze(1), pattern=pattern).squeeze(1)
    return BlockMM.apply(values, dense, pattern=pattern)


def sampled_mm(x: Any, y: Any, pattern: Any) -> Any:
    """The elements of x @ y.T at the places of a pattern, in blocks or not, of x (N, D) and y (M, D)."""
    return (SampledMM if pattern.block is None else SampledBlockMM).apply(x, y, pattern=pattern)


def _patterns() -> Iterator[Any]:
    """A 4 x 3 matrix in each layout, with an empty row, an entry stored twice, and a row of several entries."""
    from ..layouts import sparse_coo, sparse_csc, sparse_csr
    from ..sparse.pattern import Pattern

    coordinates = np.array([[3, 0, 3, 2, 3, 3], [1, 2, 0, 2, 2, 1]])
    yield Pattern(sparse_coo, (4, 3), coordinates)
    yield Pattern(sparse_csr, (4, 3), np.array([2, 0, 1, 1, 0]), np.array([0, 1, 1, 2, 5]))
    yield Pattern(sparse_csc, (4, 3), np.array([3, 0, 3, 2, 3]), np.array([0, 1, 3, 5]))


def _block_patterns() -> Iterator[Any]:
    """A 6 x 6 matrix in blocks of 2 x 3 and one of 3 x 2, with an empty row of blocks, in each layout."""
    from ..layouts import sparse_csc, sparse_csr
    from ..sparse.blocks import BlockPattern
    from ..sparse.pattern import Pattern

    yield BlockPattern(Pattern(sparse_csr, (3, 2), np.array([1, 0, 1]), np.array([0, 1, 1, 3])), (2, 3))
    yield BlockPattern(Pattern(sparse_csc, (2, 3), np.array([1, 0, 1]), np.array([0, 1, 1, 3])), (3, 2))


@samples(SparseMM)
def _(make: Any) -> Any:
    for pattern in _patterns():
        yield Sample(make(pattern.nnz), make(3, 2), pattern=pattern, note=f"{pattern.layout}")
        yield Sample(make(pattern.nnz), make(3), pattern=pattern, note="a vector")
        yield Sample(make(pattern.nnz), make(4, 0), pattern=pattern.transposed(), note="transposed, without columns")


@samples(SampledMM)
def _(make: Any) -> Any:
    for pattern in _patterns():
        yield Sample(make(4, 2), make(3, 2), pattern=pattern, note=f"{pattern.layout}")
        yield Sample(make(3), make(4), pattern=pattern.transposed(), note="vectors, transposed")


@samples(BlockMM)
def _(make: Any) -> Any:
    for pattern in _block_patterns():
        yield Sample(make(3, *pattern.block), make(6, 2), pattern=pattern, note=f"{pattern.layout}")
        yield Sample(make(3, *pattern.block), make(6, 0), pattern=pattern, note="without columns")


@samples(SampledBlockMM)
def _(make: Any) -> Any:
    for pattern in _block_patterns():
        yield Sample(make(6, 2), make(6, 2), pattern=pattern, note=f"{pattern.layout}")


__all__: list[str] = []  # what users call is in minidl.sparse
