from __future__ import annotations

import numpy as np
import pytest

from minidl.kernels.gemm import gemm

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
    compare(gemm, x, y, bias)
    wanted = np.einsum("...ik,...kj->...ij", np.atleast_2d(x), y).reshape((x @ y).shape)
    np.testing.assert_allclose(gemm(x, y, bias), wanted if bias is None else wanted + bias, rtol=1e-5, atol=1e-6)


def test_transposed_operands(rng, compare):
    compare(gemm, normal(rng, 3, 5).T, normal(rng, 4, 3).T, None)


def test_float16_is_summed_in_float32():
    ones = np.ones((1, 4096), np.float16)
    product = gemm(ones, ones.T, None)  # in float16 the sum would stop at 2048
    assert product.dtype == np.float16
    assert product == 4096


def test_integers_stay_integers():
    assert gemm(np.array([[1, 2]]), np.array([[3], [4]]), np.array([5])).tolist() == [[16]]
