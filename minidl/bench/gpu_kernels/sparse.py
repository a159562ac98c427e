"""Products with a sparse matrix, and steps that change a few rows of a table."""

from __future__ import annotations

import importlib
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...kernels.embedding import adam_rows, add_to_rows, embedding_backward
from ...kernels.sparse import cuts_where_uneven, sddmm, spmm
from .registry import Machine, Work, versions, workload


@dataclass
class SparseMatrix:
    """A square matrix of random values at random places, grouped by row; the same for PyTorch and for cuSPARSE."""

    m: Machine
    size: int
    stored: float | None  # the share of its elements, or None for a power law: the row of rank r gets size / r of them

    def __post_init__(self) -> None:
        m, xp = self.m, self.m.xp
        self.size = size = m.many(self.size, 300)
        if self.stored is None:
            ends = xp.cumsum(size // (1 + xp.argsort(m.random.random(size))))
            rows = xp.searchsorted(ends, xp.arange(int(ends[-1])), side="right")
            places = rows * size + m.random.integers(0, size, rows.size)
        else:
            places = m.random.integers(0, size * size, int(self.stored * size * size))
        places = xp.unique(places)
        self.pointers = xp.searchsorted(places, xp.arange(size + 1) * size)
        self.indices, self.values = (places % size).astype(xp.int32), m.normal(places.size)
        self.cuts = cuts_where_uneven(self.pointers, places.size)
        self.bytes = self.values.nbytes + self.indices.nbytes + self.pointers.nbytes

    def cusparse(self) -> Any:
        """The matrix for cuSPARSE, through CuPy; on a CPU for SciPy."""
        module = importlib.import_module("scipy.sparse" if self.m.xp is np else "cupyx.scipy.sparse")
        return module.csr_matrix((self.values, self.indices, self.pointers), (self.size, self.size))

    def torch(self) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it is in beta
            parts = (self.m.tensor(a) for a in (self.pointers, self.indices.astype(self.m.xp.int64), self.values))
            return self.m.torch.sparse_csr_tensor(*parts, (self.size, self.size))


@workload("sparse 16384^2, 1 % stored, times 128 columns", 0.01, 128)
@workload("sparse 16384^2, 5 % stored, times 128 columns", 0.05, 128)
@workload("sparse 16384^2, 10 % stored, times 128 columns", 0.1, 128)
@workload("sparse 16384^2, 1 % stored, times a vector", 0.01, 1)
@workload("sparse 2^18 rows by a power law, times 128 columns", None, 128)
@workload("sparse 2^18 rows by a power law, times a vector", None, 1)
def _spmm(m: Machine, stored: float | None, width: int) -> Work:
    a = SparseMatrix(m, 2**18 if stored is None else 2**14, stored)
    dense = m.normal(a.size, width) if width > 1 else m.normal(a.size)
    named = versions(spmm, a.values, dense, a.pointers, a.indices, a.cuts, reference=False)
    theirs, matrix = a.torch() if m.torch else None, a.cusparse()
    t = m.tensor(dense)
    twin = m.torch and (lambda: theirs @ t)
    # the dense matrix counts once: reading its rows again is left to the caches
    return Work({**named, "cusparse": lambda: matrix @ dense}, twin, a.bytes + 2 * dense.nbytes)


@workload("sampled product at 1 % of 16384^2, width 128", 0.01)
@workload("sampled product at the power law's places, width 128", None)
def _sddmm(m: Machine, stored: float | None) -> Work:
    a = SparseMatrix(m, 2**18 if stored is None else 2**14, stored)
    x, y = m.normal(a.size, 128), m.normal(a.size, 128)
    named = versions(sddmm, x, y, a.pointers, a.indices, reference=False)
    theirs, t, u = a.torch() if m.torch else None, m.tensor(x), m.tensor(y)
    twin = m.torch and (lambda: m.torch.sparse.sampled_addmm(theirs, t, u.T, beta=0.0).values())
    return Work(named, twin, a.bytes + 2 * x.nbytes, tolerance=1e-5)


@workload("rows added to a table, 32768 of 50257 x 768", False)
@workload("rows added to a table, 32768 of 50257 x 768, all different", True)
def _add_to_rows(m: Machine, distinct: bool) -> Work:
    count, rows, width = m.many(32768, 40), m.many(50257, 50), m.many(768, 64)
    index = m.random.integers(0, rows, count)
    index = m.xp.argsort(m.random.random(rows))[:count] if distinct else index
    table, g = m.normal(rows, width), m.normal(count, width)
    t, i, u = m.tensor(table.copy()), m.tensor(index), m.tensor(g)
    twin = m.torch and (lambda: t.index_add_(0, i, u, alpha=-0.1))
    named = versions(add_to_rows, table, index, g, -0.1, distinct)
    return Work(named, twin, 3 * g.nbytes, check=False)


@workload("SparseAdam, 32768 of 50257 x 768")
def _adam_rows(m: Machine) -> Work:
    count, rows, width = m.many(32768, 40), m.many(50257, 50), m.many(768, 64)
    table, mean, g = m.normal(rows, width), m.normal(rows, width), m.normal(count, width)
    index = m.xp.argsort(m.random.random(rows))[:count]
    twin = None
    if m.torch:
        parameter = m.tensor(table.copy()).requires_grad_()
        at, u = m.tensor(index)[None], m.tensor(g)
        parameter.grad = m.torch.sparse_coo_tensor(at, u, (rows, width), check_invariants=False, is_coalesced=True)
        twin = m.torch.optim.SparseAdam([parameter]).step
    named = versions(adam_rows, table, mean, mean * mean, (index,), g, 1e-3, 0.9, 0.999, 1e-8)
    return Work(named, twin, 7 * g.nbytes, check=False)


@workload("embedding backward, 32768 of 50257 x 768")
def _embedding(m: Machine) -> Work:
    count, rows, width = m.many(32768, 40), m.many(50257, 20), m.many(768, 64)
    g, index = m.normal(count, width), m.random.integers(0, rows, count)
    u, i = m.tensor(g), m.tensor(index)
    twin = m.torch and (lambda: m.torch.ops.aten.embedding_dense_backward(u, i, rows, -1, False))
    return Work(versions(embedding_backward, g, index, rows), twin, g.nbytes + 4 * rows * width)
