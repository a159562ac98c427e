"""Products with a sparse matrix: the two operations that everything in minidl.sparse is built on besides indexing.

A sparse matrix is given by the values of its entries (nnz,) and a Pattern, which says where they stand. Each of the two is the
other's derivative.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..autograd.op import Op
from ..kernels import array_module
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


def _patterns() -> Iterator[Any]:
    """A 4 x 3 matrix in each layout, with an empty row, an entry stored twice, and a row of several entries."""
    from ..layouts import sparse_coo, sparse_csc, sparse_csr
    from ..sparse.pattern import Pattern

    coordinates = np.array([[3, 0, 3, 2, 3, 3], [1, 2, 0, 2, 2, 1]])
    yield Pattern(sparse_coo, (4, 3), coordinates)
    yield Pattern(sparse_csr, (4, 3), np.array([2, 0, 1, 1, 0]), np.array([0, 1, 1, 2, 5]))
    yield Pattern(sparse_csc, (4, 3), np.array([3, 0, 3, 2, 3]), np.array([0, 1, 3, 5]))


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


__all__: list[str] = []  # what users call is in minidl.sparse
