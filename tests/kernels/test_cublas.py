"""How arrays are described to cuBLAS. The products themselves: tests/devices/test_products.py."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from minidl.kernels import cublas
from minidl.testing.strict_cupy.blas import matrices as columns_first

X = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)


@pytest.mark.parametrize(
    "x",
    [
        X[0, 0], X[0, 0].T, X[0, :, 1], X[0, :, :, 1:3][0], X[0], X[0].swapaxes(1, 2), X[:, 1], X[:, :, 2], X[0, 0, :1],
        X[0, 0, :, :1], X[0, 0, :, 2:3].T, X[0, :, 1:3, :2], np.zeros((4, 3, 2), np.float32)[::2], X, X.swapaxes(2, 3),
        X[:, :1], X[:1, ::2], np.broadcast_to(X[0, 0], (2, 3, 4, 5)),
    ],
    ids=lambda x: f"{x.shape}-{x.strides}",
)  # fmt: skip
def test_operands_describe_what_they_hold(x):
    found = cublas.operand(x)
    rows, columns = x.shape[-2:]
    sizes = (rows, columns) if found.transposed else (columns, rows)  # as the library sees them
    stored = columns_first(found.address, x.dtype, *sizes, found.step, found.between, int(np.prod(x.shape[:-2])))
    seen = stored if found.transposed else stored.swapaxes(1, 2)
    np.testing.assert_array_equal(seen.reshape(x.shape), x)
    assert found.step >= sizes[0]  # cuBLAS demands it


@pytest.mark.parametrize(
    "x",
    [
        X[0, 0, :, ::2], X[0, 0, ::-1], X[0, 0, :, ::-1], np.broadcast_to(X[0, 0, 0], (3, 5)), X.swapaxes(0, 1), X[0, ::-1],
        np.broadcast_to(X[0], (2, 3, 4, 5)),
    ],
    ids=lambda x: f"{x.shape}-{x.strides}",
)  # fmt: skip
def test_other_layouts_are_refused(x):
    assert cublas.operand(x) is None


def test_sizes_beyond_an_int_are_refused():
    wide = np.lib.stride_tricks.as_strided(X, (2, 4), (4 * 2**31, 4))
    assert cublas.operand(wide) is None


@pytest.mark.parametrize(
    ("a", "b"),
    [(X, X.swapaxes(2, 3)), (X, X[0, 0].T), (X, X[0].swapaxes(1, 2)), (X.swapaxes(0, 1), X[0, 0].T), (X[0, 0, 0], X[0, 0].T),
     (X, X[0, 0, 0]), (X[0, 0, 0], X[0, 0, 0]), (X[:, :1], X.swapaxes(2, 3))],
)  # fmt: skip
def test_batches_meet(a, b):
    x, y = cublas.matrices(a, b)
    assert x.shape[:-2] == y.shape[:-2] and np.may_share_memory(x, a) and np.may_share_memory(y, b)
    wanted = np.matmul(a, b)
    assert cublas.result_shape(a.shape, b.shape) == wanted.shape
    np.testing.assert_array_equal((x @ y).reshape(wanted.shape), wanted)


def test_without_cupy_nothing_fits():
    if cublas.library() is None:
        assert not cublas.fits(X[0, 0], X[0, 0].T)


def test_a_refusal_is_an_error():
    with pytest.raises(cublas.CublasError, match="cublasCreate failed with status 3"):
        cublas.check(3, "cublasCreate")
    assert ctypes.sizeof(ctypes.c_int) == 4  # LARGEST is C's int
