from __future__ import annotations

import numpy as np
import pytest

from minidl.kernels import blas, parallel, threads
from minidl.kernels.gemm import gemm, product_plus_bias

CASES = [
    ((2, 3), (3, 4)),
    ((1, 1), (1, 1)),
    ((0, 3), (3, 4)),
    ((2, 0), (0, 4)),
    ((5, 1, 2, 3), (4, 3, 2)),
    ((3,), (3, 4)),
]


def normal(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("a, b", CASES)
@pytest.mark.parametrize("with_bias", [False, True])
def test_sums_of_products(a, b, with_bias, rng, compare):
    x, y = normal(rng, *a), normal(rng, *b)
    bias = normal(rng, b[-1]) if with_bias else None
    compare(gemm, x, y, bias, compiled=x.ndim > 1 and y.ndim == 2)
    wanted = np.einsum("...ik,...kj->...ij", np.atleast_2d(x), y).reshape((x @ y).shape)
    np.testing.assert_allclose(gemm(x, y, bias), wanted if bias is None else wanted + bias, rtol=1e-5, atol=1e-6)


def test_transposed_operands(rng, compare):
    compare(gemm, normal(rng, 3, 5).T, normal(rng, 4, 3).T, None)


@pytest.mark.parametrize("rows", [(2,), (3, 5), (200,)])
def test_a_large_transposed_matrix(rows, rng, compare):
    x, weight, bias = normal(rng, *rows, 170), normal(rng, 110, 170), normal(rng, 110)
    compare(gemm, x, weight.T, bias, rtol=1e-5, atol=2e-5)  # sums of 170 products in float32
    out = gemm(x, weight.T, bias)
    assert out.flags.c_contiguous
    np.testing.assert_allclose(out, x.astype(np.float64) @ weight.T + bias, rtol=1e-5, atol=2e-5)
    np.testing.assert_allclose(gemm(x[..., ::-1], weight.T, None), x[..., ::-1] @ weight.T, rtol=1e-5, atol=2e-5)


def test_biases_come_first(rng, compare):
    x, y, bias = normal(rng, 300, 40), normal(rng, 40, 70), normal(rng, 70)
    for a in (x, np.asfortranarray(x)):
        for b in (y, np.asfortranarray(y)):
            compare(product_plus_bias, a, b, bias, rtol=1e-5, atol=1e-5)
    compare(product_plus_bias, x[:, ::2], y[::2], bias, rtol=1e-5, atol=1e-5, compiled=False)
    compare(product_plus_bias, x[:0], y, bias, compiled=False)
    compare(product_plus_bias, x.astype(np.float64), y.astype(np.float64), bias.astype(np.float64), compiled=False)
    np.testing.assert_allclose(gemm(x, y, bias), x.astype(np.float64) @ y + bias, rtol=1e-5, atol=1e-5)


def test_a_batch_that_is_not_contiguous(rng, compare):
    compare(gemm, normal(rng, 4, 2, 3).swapaxes(0, 1), normal(rng, 3, 5), None, compiled=False)


def test_float16_is_summed_in_float32():
    ones = np.ones((1, 4096), np.float16)
    product = gemm(ones, ones.T, None)  # in float16 the sum would stop at 2048
    assert product.dtype == np.float16
    assert product == 4096


def test_integers_stay_integers():
    assert gemm(np.array([[1, 2]]), np.array([[3], [4]]), np.array([5])).tolist() == [[16]]


SHARED = [
    ((200, 90), (90, 70)),  # rows
    ((70, 90), (90, 201)),  # columns
    ((1, 300), (300, 2001)),  # a column has one element
    ((3, 40, 90), (90, 70)),
    ((5, 60, 40), (5, 40, 90)),  # matrices
    ((1, 7, 60, 40), (1, 7, 40, 50)),
]


@pytest.mark.parametrize("a, b", SHARED)
@pytest.mark.parametrize("transposed", [False, True])
def test_threads_share_a_product(a, b, transposed, rng, compare, monkeypatch):
    monkeypatch.setattr(parallel, "LEAST", 1000)
    monkeypatch.setattr(parallel, "get_num_threads", lambda: 3)
    started = []
    monkeypatch.setattr(parallel.workers.Worker, "start", spying(parallel.workers.Worker.start, started))
    x, y = normal(rng, *a), normal(rng, *b)
    if transposed:
        x, y = (np.ascontiguousarray(m.swapaxes(-1, -2)).swapaxes(-1, -2) for m in (x, y))
    made_for = y.ndim > 2 or x.ndim == 2 or not transposed
    compare(gemm, x, y, normal(rng, b[-1]), rtol=1e-5, atol=5e-5, compiled=made_for)  # sums of up to 300 products
    assert len(started) == (2 if made_for else 0)


def spying(function, calls):
    def called(*args):
        calls.append(args)
        return function(*args)

    return called


def test_threads_share_products_of_mixed_types(rng, monkeypatch):
    monkeypatch.setattr(parallel, "LEAST", 1000)
    monkeypatch.setattr(parallel, "get_num_threads", lambda: 2)
    x, y = normal(rng, 90, 80), rng.standard_normal((80, 70))
    out = gemm(x, y, None)
    assert out.dtype == np.float64
    np.testing.assert_allclose(out, x.astype(np.float64) @ y, rtol=1e-12)
    integers = rng.integers(-9, 9, (90, 80)), rng.integers(-9, 9, (80, 70))
    np.testing.assert_array_equal(gemm(*integers, None), integers[0] @ integers[1])


def test_the_blas_keeps_to_one_thread(rng, monkeypatch):
    library = blas.library()
    if library is None or library.set_threads is None:
        pytest.skip("the number of threads of this BLAS cannot be set")
    library.set_threads(2)
    monkeypatch.setattr(threads, "_blas_is_held", False)
    gemm(rng.standard_normal((200, 100)), rng.standard_normal((100, 100)), None)  # of float64: the BLAS computes it
    assert library.get_threads() == 1
