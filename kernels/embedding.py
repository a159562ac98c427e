"""The backward pass of an embedding: rows of the gradient added up by index."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import Kernel, array_module
from .accumulate import add_at
from .common import Array, float32_in_order
from .jit import jit


@Kernel
def embedding_backward(g: Array, index: Array, rows: int) -> Array:
    """Dense gradient (rows, D): row r is the sum of the g[i] (N, D) with index[i] == r, in the order of i.

    index is (N,), integers in [0, rows). Raises IndexError for an index outside, on the CPU.

    Example:
        >>> embedding_backward(np.array([[1.0], [2.0], [4.0]]), np.array([2, 0, 2]), 3)
        array([[2.],
               [0.],
               [5.]])
    """
    xp = array_module(g)
    if xp is np:  # on a GPU a look at them would wait for it
        check_range(index, rows)
    out = xp.zeros((rows, g.shape[1]), dtype=g.dtype)
    add_at(out, (index,), g)
    return out


def check_range(index: Array, rows: int) -> None:
    if index.size and (index.min() < 0 or index.max() >= rows):
        raise IndexError(f"embedding_backward: indices from {index.min()} to {index.max()}, but there are {rows} rows")


def supports(g: Array, index: Array, rows: int) -> bool:
    return float32_in_order(g) and index.dtype == np.int64 and index.flags.c_contiguous


@embedding_backward.variant("numba", device="cpu", supports=supports)
def embedding_backward_numba(g: Array, index: Array, rows: int) -> Array:
    check_range(index, rows)  # the loop below would write outside of the array
    out = np.zeros((rows, g.shape[1]), np.float32)
    add_rows(g, index, out)
    return out


@jit
def add_rows(g: Any, index: Any, out: Any) -> None:
    for i in range(g.shape[0]):
        row = index[i]
        for j in range(g.shape[1]):
            out[row, j] += g[i, j]
