"""Kernels of matrices in blocks: blocks of any size, widths around those of registers, empty rows, transposed blocks."""

from __future__ import annotations

import numpy as np
import pytest

from minidl.kernels import parallel
from minidl.kernels.block_sparse import block_sddmm, block_spmm

BLOCKS = [(1, 1), (2, 3), (4, 4), (7, 5), (8, 1), (16, 16), (13, 33), (32, 40)]
WIDTHS = [0, 1, 3, 16, 31, 32, 33, 48, 128]


def grid(rng, rows, columns, share):
    """Pointers and columns of a grid of blocks, of which about this share is stored; the second row is empty."""
    stored = rng.random((rows, columns)) < share
    stored[1] = False
    pointers = np.concatenate([[0], np.cumsum(stored.sum(1))])
    return pointers.astype(np.int64), np.nonzero(stored)[1].astype(np.int32)


def normal(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("share", [0.5, 0.0])
@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_products(block, share, rng, compare):
    (R, C), (rows, columns) = block, (4, 5)
    pointers, indices = grid(rng, rows, columns, share)
    values = normal(rng, indices.size, R, C)
    for D in WIDTHS:
        dense, other = normal(rng, columns * C, D), normal(rng, rows * R, D)
        # sums of up to 200 products, added up in another order
        compare(block_spmm, values, dense, pointers, indices, rtol=1e-5, atol=2e-5)
        compare(block_sddmm, other, dense, pointers, indices, block, rtol=1e-5, atol=2e-5)


def test_the_order_of_the_values_and_their_strides(rng, compare):
    pointers, indices = grid(rng, 6, 5, 0.5)
    order = rng.permutation(indices.size)
    dense, other = normal(rng, 40, 35), normal(rng, 18, 35)
    for values in (normal(rng, indices.size, 8, 3).swapaxes(1, 2), np.broadcast_to(normal(rng, 8), (indices.size, 3, 8)),
                   normal(rng, 2 * indices.size, 6, 16)[::2, ::2, ::2]):  # fmt: skip
        compare(block_spmm, values, dense, pointers, indices, order, rtol=1e-5, atol=1e-5)
        compare(block_spmm, values, dense[:, 3:4], pointers, indices, order, rtol=1e-5, atol=1e-5)
    compare(block_sddmm, other, dense, pointers, indices, (3, 8), order, rtol=1e-5, atol=1e-5)


def test_layouts_of_the_dense_matrix(rng, compare):
    pointers, indices = grid(rng, 4, 5, 0.7)
    values, wide = normal(rng, indices.size, 6, 8), normal(rng, 80, 80)
    for x in (wide.T[:40], wide[::2], wide[:40, 5:41], wide[:40, ::3], np.broadcast_to(wide[0], (40, 80))):
        compare(block_spmm, values, x, pointers, indices, rtol=1e-5, atol=2e-5)
        compare(block_sddmm, x[:24], x, pointers, indices, (6, 8), rtol=1e-5, atol=2e-5)


def test_nothing_but_edges(compare):
    none = np.zeros(1, np.int64), np.zeros(0, np.int32)
    compare(block_spmm, np.zeros((0, 2, 3), np.float32), np.ones((6, 4), np.float32), *none)
    compare(block_sddmm, np.ones((0, 4), np.float32), np.ones((6, 4), np.float32), *none, (2, 3))
    nowhere = np.zeros(3, np.int64), np.zeros(0, np.int32)
    compare(block_spmm, np.zeros((0, 2, 3), np.float32), np.ones((0, 4), np.float32), *nowhere)
    compare(block_sddmm, np.ones((4, 5), np.float32), np.ones((0, 5), np.float32), *nowhere, (2, 3))


def test_what_is_not_float32_takes_the_reference(rng, compare):
    pointers, indices = grid(rng, 3, 2, 0.9)
    values, dense = rng.standard_normal((indices.size, 2, 4)), rng.standard_normal((8, 3))
    for cast in (lambda a: a, lambda a: a + 1j, lambda a: (9 * a).astype(np.int64)):
        compare(block_spmm, cast(values), cast(dense), pointers, indices, compiled=False)
        compare(block_sddmm, cast(dense)[:6], cast(dense), pointers, indices, (2, 4), compiled=False)
    half = block_spmm(
        np.ones((1, 1, 5000), np.float16), np.ones((5000, 1), np.float16), np.array([0, 1]), np.zeros(1, np.int32)
    )
    assert half.dtype == np.float16 and half.tolist() == [[5000.0]]  # added up in float16, it would stop at 2048


def test_threads_share_the_rows_of_blocks(rng, compare, monkeypatch):
    monkeypatch.setattr(parallel, "LEAST", 1)
    monkeypatch.setattr(parallel, "get_num_threads", lambda: 3)
    pointers, indices = grid(rng, 7, 5, 0.6)
    values, dense = normal(rng, indices.size, 4, 8), normal(rng, 40, 33)
    compare(block_spmm, values, dense, pointers, indices, rtol=1e-5, atol=1e-5)
    compare(block_sddmm, normal(rng, 28, 33), dense, pointers, indices, (4, 8), rtol=1e-5, atol=1e-5)


def test_against_scipy(rng):
    sparse = pytest.importorskip("scipy.sparse")
    pointers, indices = grid(rng, 12, 10, 0.3)
    values, x = normal(rng, indices.size, 16, 8), normal(rng, 80, 70)
    a = sparse.bsr_array((values, indices, pointers), shape=(192, 80))
    np.testing.assert_allclose(block_spmm(values, x, pointers, indices), a @ x, rtol=1e-5, atol=1e-5)
