from __future__ import annotations

import itertools

import numpy as np
import pytest

from minidl.kernels.reduce import sum_axes

SHAPES = [(7,), (300,), (5000,), (3, 5), (257, 3), (2, 600, 33), (1, 4, 1, 70)]


@pytest.mark.parametrize("shape", SHAPES)
def test_all_axes_in_all_orders(shape, rng, compare):
    x = rng.random(shape, np.float32)  # no cancellation, so that relative errors say something
    for order in itertools.permutations(range(x.ndim)):
        for count in range(x.ndim + 1):
            for axes in itertools.combinations(range(x.ndim), count):
                compare(sum_axes, x.transpose(order), axes, bool(count % 2))
                assert sum_axes(x.transpose(order), axes, False).flags.c_contiguous


@pytest.mark.parametrize("shape, axis", [((1, 2**20), 1), ((2**20, 3), 0), ((4, 2**18, 2), 1), ((2**19, 1, 2), 0)])
def test_long_sums_are_exact(shape, axis, rng):
    x = rng.random(shape, np.float32)
    np.testing.assert_allclose(sum_axes(x, (axis,), False), x.sum(axis, dtype=np.float64), rtol=2e-7)


def test_what_takes_the_reference(rng, compare):
    x = rng.standard_normal((6, 8)).astype(np.float32)
    for strided in (x[:, ::2], x[::2], x[:, ::-1], np.broadcast_to(x[:, :1], (6, 8)), x.astype(np.float64), x[:0]):
        compare(sum_axes, strided, (0,), False, rtol=1e-5, compiled=False)


def test_infinities(compare):
    x = np.ones((9, 20), np.float32)
    x[2, 3], x[4, 5], x[6, 5], x[7, 8] = np.inf, np.inf, -np.inf, np.nan
    for axes in ((0,), (1,), (0, 1)):
        compare(sum_axes, x, axes, False)
