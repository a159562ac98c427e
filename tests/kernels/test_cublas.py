"""How arrays are described to cuBLAS, read back with NumPy; the products themselves need a GPU."""

from __future__ import annotations

import numpy as np
import pytest

from minidl.kernels import cublas

X = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)


def read(described):
    """What cuBLAS would read: columns first, the leading dimension between columns, transposed if asked to be."""
    x, transposed, step, between = described
    rows, columns = x.shape[-2:]
    count = x.shape[0] if x.ndim == 3 else 1
    lines, length = (columns, rows) if transposed else (rows, columns)  # contiguous lines
    item = x.itemsize
    stored = np.lib.stride_tricks.as_strided(x, (count, lines, length), (between * item, step * item, item))
    found = stored.swapaxes(1, 2) if transposed else stored
    return found.reshape(x.shape)


@pytest.mark.parametrize(
    "x",
    [
        X[0, 0], X[0, 0].T, X[0, :, 1], X[0, :, :, 1:3][0], X[0], X[0].swapaxes(1, 2), X[:, 1], X[:, :, 2], X[0, 0, :1],
        X[0, 0, :, :1], X[0, 0, :, 2:3].T, X[0, :, 1:3, :2], np.zeros((4, 3, 2), np.float32)[::2],
    ],
    ids=str,
)  # fmt: skip
def test_operands_describe_what_they_hold(x):
    described = cublas.operand(x)
    assert described is not None
    np.testing.assert_array_equal(read(described), x)
    assert described[2] >= (x.shape[-2] if described[1] else x.shape[-1])  # cuBLAS demands it


@pytest.mark.parametrize("x", [X[0, 0, :, ::2], X[0, 0, ::-1], X[0, 0, :, ::-1], np.broadcast_to(X[0, 0, 0], (3, 5))])
def test_other_layouts_are_refused(x):
    assert cublas.operand(x) is None


def test_batches():
    a, b = X, X.swapaxes(2, 3)
    x, y = cublas.matrices(a, b)
    np.testing.assert_array_equal((x @ y).reshape(2, 3, 4, 4), a @ b)
    rows, weight = cublas.matrices(X, X[0, 0].T)
    np.testing.assert_array_equal((rows @ weight).reshape(2, 3, 4, 4), X @ X[0, 0].T)
    assert cublas.matrices(X.swapaxes(0, 1), X.swapaxes(0, 1).swapaxes(2, 3)) is None  # would have to be copied
    assert cublas.matrices(X, X[0].swapaxes(1, 2)) is None  # broadcasting is left to the reference
    assert cublas.matrices(X.swapaxes(1, 2), X[0, 0].T) is None


def test_without_cupy_nothing_fits():
    if cublas.library() is None:
        assert not cublas.fits(X[0, 0], X[0, 0].T)
