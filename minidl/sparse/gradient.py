"""The gradients of tables of which few rows were looked up."""

from __future__ import annotations

from typing import Any

from ..autograd.sparse_gradient import SparseGradient
from ..layouts import sparse_coo
from ..tensor import Tensor
from .pattern import Pattern
from .tensor import SparseTensor


def of_rows(rows: Any, index: Any, shape: tuple[int, ...]) -> SparseGradient | SparseTensor:
    """The gradient that is rows[i] (N, ...) in row index[i] of a table of that shape, added up, and 0 elsewhere."""
    pattern = Pattern(sparse_coo, shape, index.reshape(1, -1))
    return SparseTensor(pattern, rows) if isinstance(rows, Tensor) else SparseGradient(pattern, rows)
