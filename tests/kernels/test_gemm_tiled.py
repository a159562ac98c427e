"""Products in tiles of registers against float64: every remainder, both orders of each matrix, several blocks of k."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("numba")

from minidl.kernels import gemm_tiled, parallel, simd
from minidl.kernels.gemm import gemm, matrix_product

SHAPES = [  # M, K, N
    (32, 40, 32),
    (33, 1, 64),
    (45, 17, 47),
    (64, 513, 80),  # two blocks of k, of 256 and of 257
    (40, 1100, 33),  # three
    (gemm_tiled.FEW + 9, 30, 48),  # b is always packed
]
wide = pytest.mark.skipif(simd.width() != 16, reason="without AVX-512 every product is the BLAS's")


def drawn(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


def orders(a):
    """a with contiguous rows, with contiguous columns, and as a part of a larger matrix full of NaN, in both orders."""
    larger = np.full((a.shape[0] + 5, a.shape[1] + 7), np.nan, np.float32)
    larger[2:-3, 3:-4] = a
    return [a, np.asfortranarray(a), larger[2:-3, 3:-4], np.asfortranarray(larger)[2:-3, 3:-4]]


def close(out, a, b, bias=0):
    """Addition k of K rounds a sum of about √k by up to 2^-24 of it: with random signs that is about K / √6 roundings, and six
    times this is no longer chance."""
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, a.astype(np.float64) @ b + bias, rtol=1e-6, atol=6 * a.shape[1] / 6**0.5 * 2**-24)


@pytest.mark.parametrize("M, K, N", SHAPES)
def test_memory_orders(M, K, N, rng):
    a, b, bias = drawn(rng, M, K), drawn(rng, K, N), drawn(rng, N)
    for left in orders(a):
        for right in orders(b):
            right.flags.writeable = False
            close(gemm_tiled.product(left, right), a, b)
            close(gemm_tiled.product(left, right, bias), a, b, bias)


@pytest.mark.parametrize("M", [1, 2, 4, 7, 12, 13])
@pytest.mark.parametrize("N", [1, 15, 16, 17, 31, 33])
def test_remainders(M, N, rng):
    for K in (1, 5, 16, 30):
        a, b = drawn(rng, M, K), drawn(rng, K, N)
        for right in orders(b):
            close(gemm_tiled.product(a, right), a, b)


def test_rows_in_any_place(rng):
    a, b = drawn(rng, 40, 50), drawn(rng, 50, 64)
    for left in (
        a[::-1],
        a[:, ::-1],
        a[::2, 1::2],
        np.broadcast_to(a[0], (40, 50)),
        np.broadcast_to(a[:, :1], (40, 50)),
    ):
        right = b[: left.shape[1]]
        close(gemm_tiled.product(left, right), left, right)


@pytest.mark.parametrize("M, K, N", [(0, 3, 40), (40, 0, 40), (40, 3, 0), (0, 0, 0)])
def test_nothing_to_multiply(M, K, N):
    bias = np.arange(N, dtype=np.float32)
    out = gemm_tiled.product(np.ones((M, K), np.float32), np.ones((K, N), np.float32), bias)
    np.testing.assert_array_equal(out, np.broadcast_to(bias + K, (M, N)))


def test_nan_and_infinity_stay_in_their_rows_and_columns(rng):
    a, b = drawn(rng, 40, 600), drawn(rng, 600, 45)
    a[7, 3], b[9, 44], b[599, 0] = np.nan, np.inf, -np.inf
    for right in orders(b):
        out = gemm_tiled.product(a, right)
        assert np.isnan(out[7]).all()
        rest = np.delete(out, 7, axis=0)
        np.testing.assert_array_equal(rest[:, 44], np.where(np.delete(a, 7, axis=0)[:, 9] > 0, np.inf, -np.inf))
        np.testing.assert_array_equal(rest[:, 0], np.where(np.delete(a, 7, axis=0)[:, 599] > 0, -np.inf, np.inf))
        assert np.isfinite(rest[:, 1:44]).all()


def test_the_same_bits_every_time(rng):
    a, b, bias = drawn(rng, 70, 700), drawn(rng, 90, 700).T, drawn(rng, 90)
    first = gemm_tiled.product(a, b, bias)
    for _ in range(3):
        np.testing.assert_array_equal(gemm_tiled.product(a, b, bias), first)


@pytest.mark.parametrize("M, N", [(200, 90), (90, 201)])
def test_threads_share_whole_tiles(M, N, rng, monkeypatch):
    a, b, bias = drawn(rng, M, 64), drawn(rng, 64, N), drawn(rng, N)
    alone = gemm_tiled.product(a, b, bias)
    monkeypatch.setattr(parallel, "LEAST", 1000)
    monkeypatch.setattr(parallel, "get_num_threads", lambda: 3)
    parts = []

    def noted(a, b, bias, out):
        parts.append(out.shape)
        multiply(a, b, bias, out)

    multiply = gemm_tiled.multiply
    monkeypatch.setattr(gemm_tiled, "multiply", noted)
    np.testing.assert_allclose(gemm_tiled.product(a, b, bias), alone, rtol=1e-5, atol=1e-5)
    assert len(parts) == 3 and sum(m * n for m, n in parts) == M * N
    assert sum(n % gemm_tiled.EACH > 0 for _, n in parts) <= 1 or M > N


@pytest.mark.parametrize("M, K, N", [(16, 60, 100), (32, 513, 130), (47, 110, 1700), (1, 8, 70)])
def test_few_rows_meet_a_transposed_matrix(M, K, N, rng):
    a, weight, bias = drawn(rng, M, K), drawn(rng, N, K), drawn(rng, N)
    assert gemm_tiled.turns(a, weight.T) is (M > 1), "a register of one row would be idle"
    assert not gemm_tiled.turns(a, np.ascontiguousarray(weight.T)), "nothing is transposed"
    for given in (None, bias):
        out = gemm_tiled.product(a, weight.T, given)
        assert out.flags.c_contiguous
        close(out, a, weight.T, 0 if given is None else given)


@wide
def test_who_computes(rng, compare):
    def pays(a, b, bias=None):
        return gemm_tiled.pays(a, b, bias)

    a, b = drawn(rng, 400, 48), drawn(rng, 48, 80)
    assert all(pays(left, right) is True for left in orders(a) for right in orders(b))
    assert not pays(a[:31], np.tile(b, 10)) and not pays(a, b[:, :15]), "few rows or columns"
    assert not pays(a[:200], b) and pays(a[:200], np.asfortranarray(b)) is True, "little work"
    assert pays(a[:16], np.ascontiguousarray(drawn(rng, 48, 400).T).T) is True, "few rows, but that is turned round"
    assert not pays(a, drawn(rng, 48, 72)) and not pays(a, drawn(rng, 65, 48).T), "8 or 15 of 80 lanes would be idle"
    assert pays(a, drawn(rng, 72, 48).T) is True, "8 are, but a BLAS is slower with what is transposed"
    assert not pays(a.astype(np.float64), b) and not pays(a, b.astype(np.float64))
    assert not pays(a, b, np.zeros(80)), "a bias of float64"
    assert not pays(a[:, ::2], b[::2]) and not pays(a[:, :24], b[::2, ::2]), "neither rows nor columns are contiguous"
    assert not pays(drawn(rng, 8, 1024)[:, :64].T, drawn(rng, 8, 64)), "rows of what is transposed 4096 bytes apart"
    unaligned = np.frombuffer(b"\0" + a.tobytes(), np.uint8)[1:].view(np.float32).reshape(a.shape)
    assert not pays(unaligned, b)
    compare(matrix_product, unaligned, b, None, rtol=1e-5, atol=1e-5, compiled=False)


@pytest.mark.parametrize("shape", [(96, 50), (4, 24, 50)])
def test_a_layer(shape, rng, compare):
    x, weight, bias = drawn(rng, *shape), drawn(rng, 80, 50), drawn(rng, 80)
    compare(gemm, x, weight.T, bias, rtol=1e-5, atol=1e-5)
    rows = x.reshape(96, 50)
    for given in (bias, None):
        compare(matrix_product, rows, weight.T, given, rtol=1e-5, atol=1e-5, compiled=simd.width() == 16)
