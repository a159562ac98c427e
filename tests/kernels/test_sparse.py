"""Kernels of sparse matrices: odd widths, empty rows, a full row, nothing stored, layouts they are not made for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidl import kernels
from minidl.kernels.sparse import group, in_lines, sddmm, spmm

WIDTHS = [1, 7, 16, 31, 32, 33, 64, 100, 128, 129, 300]  # registers hold 4, 8 or 16 numbers, strips 2 or 8 registers


def random_rows(rng, N, M, lengths):
    """Pointers and columns of a matrix (N, M) whose rows have these many entries; the rest of the rows is empty."""
    pointers = np.zeros(N + 1, np.int64)
    pointers[1:] = np.cumsum(np.r_[lengths, np.zeros(N - len(lengths), np.int64)])
    return pointers, rng.integers(0, M, pointers[-1]).astype(np.int32)


@pytest.mark.parametrize("D", WIDTHS)
@pytest.mark.parametrize("lengths", [[3, 0, 40, 1, 0], [0], [400, 300]], ids=str)
def test_products(D, lengths, rng, compare):
    N, M = 6, 9
    pointers, indices = random_rows(rng, N, M, lengths)
    values = rng.standard_normal(indices.size).astype(np.float32)
    dense, other = rng.standard_normal((M, D)).astype(np.float32), rng.standard_normal((N, D)).astype(np.float32)
    # sums of up to 400 products, added up in another order
    compare(spmm, values, dense, pointers, indices, rtol=1e-5, atol=2e-5)
    compare(sddmm, other, dense, pointers, indices, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("N", [0, 1, 5])
def test_vectors(N, rng, compare):
    pointers, indices = random_rows(rng, N, 4, [2, 0, 5, 9][:N])
    values, v = rng.standard_normal(indices.size).astype(np.float32), rng.standard_normal(4).astype(np.float32)
    compare(spmm, values, v, pointers, indices)
    compare(sddmm, rng.standard_normal(N).astype(np.float32), v, pointers, indices)


def test_sizes_of_zero(compare):
    nothing = np.zeros(0, np.float32), np.zeros(0, np.int32)
    compare(spmm, nothing[0], np.ones((0, 3), np.float32), np.zeros(3, np.int64), nothing[1])
    compare(spmm, nothing[0], np.ones((3, 0), np.float32), np.zeros(3, np.int64), nothing[1])
    compare(sddmm, np.ones((2, 0), np.float32), np.ones((1, 0), np.float32), np.array([0, 1, 1]), np.zeros(1, np.int32))


def test_layouts_of_the_dense_matrix(rng, compare):
    pointers, indices = random_rows(rng, 5, 8, [60, 0, 80, 30, 5])
    values = rng.standard_normal(2 * indices.size).astype(np.float32)[::2]
    wide = rng.standard_normal((40, 16)).astype(np.float32)
    for dense in (wide.T[:8], wide[::5], wide[:8, 3:], np.broadcast_to(wide[0], (8, 16))):
        compare(spmm, values, dense, pointers, indices, rtol=1e-5, atol=1e-5)
        compare(sddmm, dense[:5], dense, pointers, indices, rtol=1e-5, atol=1e-5)


def test_what_is_not_float32_takes_the_reference(rng, compare):
    pointers, indices = random_rows(rng, 3, 4, [2, 1, 4])
    values, dense = rng.standard_normal(7), rng.standard_normal((4, 3))
    compare(spmm, values, dense, pointers, indices, compiled=False)
    compare(sddmm, dense[:3], dense, pointers, indices, compiled=False)
    compare(spmm, values + 1j, dense.astype(complex), pointers, indices, compiled=False)
    compare(spmm, np.arange(7), np.arange(12).reshape(4, 3), pointers, indices, compiled=False)
    ones = np.ones(5000, np.float16)
    total = spmm(ones, np.ones((1, 1), np.float16), np.array([0, 5000]), np.zeros(5000, np.int32))
    assert total.dtype == np.float16 and total.tolist() == [[5000.0]]  # added up in float16, it would stop at 2048


@pytest.mark.parametrize("D", [1, 15, 16, 17, 100])
def test_rows_begin_where_cache_lines_do(D, rng):
    x = rng.standard_normal((7, D)).astype(np.float32)
    lines = in_lines(x, 7 * 16)
    assert lines.ctypes.data % 64 == 0 and lines.strides[0] % 64 == 0
    np.testing.assert_array_equal(lines[:, :D], x)
    assert in_lines(x, 7 * 16 - 1) is x


@given(st.lists(st.integers(0, 6), max_size=40))
@settings(deadline=None)  # the first call compiles
def test_groups(keys):
    array = np.array(keys, np.int64)
    for variant in ("numpy", "numba"):
        with kernels.use(group=variant):
            pointers, members = group(array, 7)
        for k in range(7):
            assert members[pointers[k] : pointers[k + 1]].tolist() == [i for i, key in enumerate(keys) if key == k]


def test_against_scipy(rng):
    sparse = pytest.importorskip("scipy.sparse")
    a = sparse.random(200, 150, 0.1, format="csr", dtype=np.float32, random_state=0)
    x = rng.standard_normal((150, 70)).astype(np.float32)
    np.testing.assert_allclose(spmm(a.data, x, a.indptr, a.indices), a @ x, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(spmm(a.data, x[:, 0].copy(), a.indptr, a.indices), a @ x[:, 0], rtol=1e-5, atol=1e-5)
