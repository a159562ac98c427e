from __future__ import annotations

import numpy as np
import pytest

from minidl.kernels.along import REDUCTIONS, places, put_along, reduce_along, take_along

# of x, of the index, and the dimension; the last index is smaller in another dimension, which is left to the reference
CASES = [((4, 5, 6), (4, 7, 6), 1), ((9,), (20,), 0), ((3, 8), (3, 1), 1), ((4, 33), (30, 33), 0), ((4, 5), (2, 3), 0)]


def drawn(rng, case):
    x, index, dim = case
    values = rng.standard_normal(x).astype(np.float32), rng.standard_normal(index).astype(np.float32)
    return *values, rng.integers(0, x[dim], index), dim


@pytest.mark.parametrize("case", CASES, ids=str)
def test_variants_agree(case, rng, compare):
    x, src, index, dim = drawn(rng, case)
    compiled = case is not CASES[-1]
    compare(take_along, x, index, dim, compiled=compiled)
    compare(put_along, x, src, index, dim, compiled=compiled)
    for reduce in REDUCTIONS:
        compare(reduce_along, x, src, index, dim, reduce, rtol=1e-5, atol=1e-5, compiled=compiled)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_one_element_after_the_other(case, rng):
    x, src, index, dim = drawn(rng, case)
    steps = {"sum": np.add, "prod": np.multiply, "amax": np.maximum, "amin": np.minimum}
    before = [a.copy() for a in (x, src, index)]
    for reduce, step in steps.items():
        wanted = x.astype(np.float64)
        for at in np.ndindex(index.shape):
            there = (*at[:dim], index[at], *at[dim + 1 :])
            wanted[there] = step(wanted[there], src[at])
        np.testing.assert_allclose(reduce_along(x, src, index, dim, reduce), wanted, rtol=1e-4, atol=1e-5)
    last = x.copy()
    for at in np.ndindex(index.shape):
        last[(*at[:dim], index[at], *at[dim + 1 :])] = src[at]
    np.testing.assert_array_equal(put_along(x, src, index, dim), last)
    np.testing.assert_array_equal(take_along(x, index, dim), x[places(index, dim)])
    for now, then in zip((x, src, index), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_a_missing_number_wins(compare):
    x, src = np.array([1, np.nan, 2, 3], np.float32), np.array([np.nan, 5, 1, np.nan], np.float32)
    for reduce in ("amax", "amin"):
        compare(reduce_along, x, src, np.array([0, 1, 2, 0]), 0, reduce)
        assert np.isnan(reduce_along(x, src, np.array([0, 1, 2, 0]), 0, reduce)).tolist() == [True, True, False, False]
