from __future__ import annotations

import itertools

import numpy as np
import pytest

from minidl.kernels import parallel
from minidl.kernels.layout import empty_channels_last, is_channels_last
from minidl.kernels.pooling import (
    adaptive_max_pool,
    adaptive_max_pool_backward,
    adaptive_sum_pool,
    adaptive_sum_pool_backward,
    fractional_max_index,
    max_pool,
    max_pool_backward,
    max_pool_index,
    pick,
    spill,
    sum_pool,
    sum_pool_backward,
)

# shape of x, kernel, stride, padding, dilation, positions
CASES = [
    ((2, 3, 7), (3,), (2,), (0,), (1,), (3,)),
    ((1, 2, 6, 5), (3, 2), (2, 1), (1, 1), (1, 1), (3, 6)),
    ((2, 2, 7, 6), (2, 3), (1, 2), (1, 0), (2, 2), (7, 1)),
    ((1, 1, 5, 4), (2, 2), (3, 3), (0, 0), (1, 1), (2, 2)),  # the last windows reach over the end
    ((1, 2, 3, 4, 3), (2, 2, 3), (1, 2, 1), (1, 0, 1), (1, 1, 1), (4, 2, 3)),
    ((0, 2, 4), (2,), (1,), (0,), (1,), (3,)),
]


def windows_of(size, kernel, stride, padding, dilation, positions):
    """Each position, and the places of the input that its window sees."""
    for position in itertools.product(*map(range, positions)):
        axes = [
            [p * s - pad + i * d for i in range(k) if 0 <= p * s - pad + i * d < n]
            for p, n, k, s, pad, d in zip(position, size, kernel, stride, padding, dilation, strict=True)
        ]
        yield position, np.ravel_multi_index(np.ix_(*axes), size).ravel()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_windows_are_the_definition(case, rng):
    shape, kernel, stride, padding, dilation, positions = case
    x = rng.integers(-3, 4, shape).astype(np.float64)  # with equal values
    flat = x.reshape(*shape[:2], np.prod(shape[2:]))
    index = max_pool_index(x, kernel, stride, padding, dilation, positions)
    assert index.dtype == np.int64 and index.shape == (*shape[:2], *positions)
    for position, places in windows_of(shape[2:], *case[1:]):
        np.testing.assert_array_equal(index[:, :, *position], places[flat[:, :, places].argmax(-1)])
    if max(dilation) == 1:
        sums = sum_pool(x, kernel, stride, padding, positions)
        for position, places in windows_of(shape[2:], *case[1:]):
            np.testing.assert_array_equal(sums[:, :, *position], flat[:, :, places].sum(-1))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_way_back_is_the_transpose(case, rng):
    shape, kernel, stride, padding, dilation, positions = case
    x, g = rng.standard_normal(shape), rng.standard_normal((*shape[:2], *positions))
    index = max_pool_index(x, kernel, stride, padding, dilation, positions)
    np.testing.assert_allclose(np.vdot(pick(x, index), g), np.vdot(x, spill(g, index, shape[2:])), atol=1e-12)
    if max(dilation) == 1:
        back = sum_pool_backward(g, shape[2:], kernel, stride, padding)
        assert back.shape == shape
        np.testing.assert_allclose(np.vdot(sum_pool(x, kernel, stride, padding, positions), g), np.vdot(x, back))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_variants_agree(case, rng, compare):
    shape, *geometry, positions = case
    kernel, stride, padding, _ = geometry
    x = rng.standard_normal(shape).astype(np.float32)
    some = x.size > 0  # empty arrays are left to the reference
    compare(max_pool_index, x, *geometry, positions)
    compare(max_pool, x, *geometry, positions, compiled=some)
    compare(sum_pool, x, kernel, stride, padding, positions, compiled=some)
    g = rng.standard_normal((*shape[:2], *positions)).astype(np.float32)
    compare(sum_pool_backward, g, shape[2:], kernel, stride, padding, compiled=some)
    index = max_pool_index(x, *geometry, positions)
    compare(pick, x, index)
    compare(spill, g, index, shape[2:])
    compare(max_pool_backward, g, index.astype(np.int32), shape[2:], *geometry, compiled=some)


MORE_CASES = [
    ((2, 37, 9, 8), (2, 2), (2, 2), (0, 0), (1, 1), (4, 4)),
    ((2, 16, 9, 8), (3, 3), (2, 2), (1, 1), (1, 1), (5, 4)),
    ((1, 5, 7, 30), (2, 3), (1, 4), (1, 0), (2, 2), (7, 7)),
    ((2, 20, 4, 5, 6), (2, 1, 3), (1, 1, 2), (1, 0, 1), (1, 1, 1), (5, 5, 3)),
    ((3, 3, 11), (4,), (1,), (2,), (1,), (12,)),
]


@pytest.mark.parametrize("case", MORE_CASES, ids=str)
@pytest.mark.parametrize("last", [True, False])
def test_compiled_loops_are_the_reference(case, last, rng, compare):
    shape, *geometry, positions = case
    kernel, stride, padding, dilation = geometry

    def laid_out(a):
        out = empty_channels_last(a.shape, a.dtype) if last else np.empty_like(a)
        out[...] = a
        return out

    x = laid_out(rng.integers(-3, 4, shape).astype(np.float32))  # with equal values
    compare(max_pool, x, *geometry, positions)
    out, index = max_pool(x, *geometry, positions)
    assert is_channels_last(out) and is_channels_last(index)
    g = laid_out(rng.standard_normal(out.shape).astype(np.float32))
    compare(max_pool_backward, g, index, shape[2:], *geometry)
    if max(dilation) == 1:
        compare(sum_pool, x, kernel, stride, padding, positions)
        compare(sum_pool_backward, g, shape[2:], kernel, stride, padding)
    compare(adaptive_max_pool, x, positions)
    index = adaptive_max_pool(x, positions)[1]
    compare(adaptive_max_pool_backward, g, index, shape[2:])
    compare(adaptive_sum_pool, x, positions)
    compare(adaptive_sum_pool_backward, g, shape[2:])
    compare(adaptive_sum_pool, x, (1,) * len(positions), rtol=1e-5)


@pytest.mark.parametrize("case", [((2, 3, 7), (4,)), ((1, 2, 5, 6), (3, 8)), ((2, 1, 3, 4, 2), (2, 3, 2))], ids=str)
def test_adaptive_sums_and_their_transpose(case, rng):
    shape, positions = case
    x, g = rng.standard_normal(shape), rng.standard_normal((*shape[:2], *positions))
    sums = adaptive_sum_pool(x, positions)
    for position in itertools.product(*map(range, positions)):
        each = zip(position, positions, shape[2:], strict=True)
        window = tuple(slice(i * n // m, -(-(i + 1) * n // m)) for i, m, n in each)
        np.testing.assert_allclose(sums[:, :, *position], x[:, :, *window].sum(tuple(range(2, x.ndim))))
    np.testing.assert_allclose(np.vdot(sums, g), np.vdot(x, adaptive_sum_pool_backward(g, shape[2:])), rtol=1e-10)


def test_threads_share_the_work(rng, monkeypatch, compare):
    monkeypatch.setattr(parallel, "LEAST", 1)
    monkeypatch.setattr(parallel, "get_num_threads", lambda: 3)
    x = rng.standard_normal((4, 17, 10, 10)).astype(np.float32)
    compare(max_pool, x, (2, 2), (2, 2), (0, 0), (1, 1), (5, 5))
    compare(sum_pool, x, (3, 3), (2, 2), (1, 1), (5, 5))


def test_nan_is_the_largest_and_padding_never():
    nan, inf = np.nan, np.inf
    x = np.array([[[-inf, -inf, nan, 5.0, nan, nan, 1.0]]])
    index = max_pool_index(x, (3,), (2,), (1,), (1,), (4,))
    assert index.tolist() == [[[0, 2, 5, 5]]]
    for dtype in (np.float32, np.float64):
        out, index = max_pool(x.astype(dtype), (3,), (2,), (1,), (1,), (4,))
        assert index.tolist() == [[[0, 2, 5, 5]]] and index.dtype == np.int32
        np.testing.assert_array_equal(out, [[[-inf, nan, nan, nan]]])
        assert adaptive_max_pool(x.astype(dtype), (2,))[1].tolist() == [[[2, 5]]]
    # a dilation that steps over the whole input
    assert max_pool_index(np.ones((1, 1, 1)), (2,), (1,), (1,), (2,), (1,)).tolist() == [[[-1]]]


def test_integers_and_their_smallest_value():
    x = np.full((1, 1, 3), np.iinfo(np.int8).min, np.int8)
    assert max_pool_index(x, (2,), (1,), (1,), (1,), (4,)).tolist() == [[[0, 0, 1, 2]]]
    assert sum_pool(np.full((1, 1, 3), 2**60 + 1), (1,), (1,), (0,), (3,)).tolist() == [[[2**60 + 1] * 3]]


@pytest.mark.parametrize(("shape", "positions"), [((2, 3, 7), (4,)), ((1, 2, 5, 6), (3, 8)), ((0, 2, 5), (2,))])
def test_adaptive_windows_cover_the_input(shape, positions, rng):
    x = rng.integers(-3, 4, shape).astype(np.float64)
    index = adaptive_max_pool(x, positions)[1]
    assert index.shape == (*shape[:2], *positions)
    flat = x.reshape(*shape[:2], np.prod(shape[2:]))
    for position in itertools.product(*map(range, positions)):
        each = zip(position, positions, shape[2:], strict=True)
        axes = [range(int(np.floor(i * n / m)), int(np.ceil((i + 1) * n / m))) for i, m, n in each]
        places = np.ravel_multi_index(np.ix_(*axes), shape[2:]).ravel()
        np.testing.assert_array_equal(index[:, :, *position], places[flat[:, :, places].argmax(-1)])


def test_fractional_windows_begin_where_they_are_told(rng):
    x = rng.standard_normal((2, 1, 5, 6))
    rows, columns = np.array([[[0, 3]], [[1, 2]]]), np.array([[[0, 2, 4]], [[1, 3, 3]]])
    index = fractional_max_index(x, [rows, columns], (2, 2))
    assert index.shape == (2, 1, 2, 3)
    for b, i, j in itertools.product(range(2), range(2), range(3)):
        r, c = rows[b, 0, i], columns[b, 0, j]
        assert x[b, 0].ravel()[index[b, 0, i, j]] == x[b, 0, r : r + 2, c : c + 2].max()
