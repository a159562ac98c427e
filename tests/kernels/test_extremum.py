from __future__ import annotations

import itertools

import numpy as np
import pytest

from minidl.kernels.extremum import extreme_at
from minidl.kernels.reduce import max_axes, min_axes

SHAPES = [(1,), (7,), (300,), (3, 5), (257, 3), (2, 33, 70), (1, 4, 1, 70)]


@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_variants_agree(shape, largest, rng, compare):
    x = rng.integers(-9, 9, shape).astype(np.float32)  # equal elements: the first one counts
    every_second = np.where(rng.random(shape) < 0.5, x, np.float32(np.nan))
    endless = np.where(rng.random(shape) < 0.3, np.float32(np.inf), np.where(x < 0, np.float32(-np.inf), x))
    for values in (x, every_second, endless, np.full(shape, -np.inf, np.float32), np.full(shape, np.inf, np.float32)):
        for axis in range(len(shape)):
            compare(extreme_at, values, axis, largest)
        for start, stop in itertools.combinations(range(len(shape) + 1), 2):
            compare(max_axes if largest else min_axes, values, tuple(range(start, stop)), bool(start % 2))


def test_a_single_nan_at_any_place(compare):
    for place in range(70):
        x = np.arange(140, dtype=np.float32).reshape(2, 70)
        x[1, place] = -np.nan
        for largest in (True, False):
            compare(max_axes if largest else min_axes, x, (1,), True)
            compare(extreme_at, x, 1, largest)
            compare(extreme_at, x.T.copy(), 0, largest)


def test_axes_apart_and_other_orders_in_memory(rng, compare):
    x = rng.standard_normal((6, 8, 3)).astype(np.float32)
    for axes in ((0, 2), (), (0, 1, 2), (1,)):
        for array in (x, x.transpose(2, 0, 1)):
            for keepdim in (True, False):
                compare(min_axes, array, axes, keepdim)


def test_what_takes_the_reference(rng, compare):
    x = rng.standard_normal((6, 8, 3)).astype(np.float32)
    for array in (x[:, ::2], x.astype(np.float64), x.astype(np.float16), x[:0]):
        compare(max_axes, array, (1,), True, compiled=False)
        compare(extreme_at, array, 1, False, compiled=False)
    compare(extreme_at, x.transpose(2, 0, 1), 1, False, compiled=False)
    compare(extreme_at, rng.integers(0, 9, (4, 5)), 1, True, compiled=False)
