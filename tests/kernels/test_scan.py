from __future__ import annotations

import numpy as np
import pytest

from minidl.kernels.scan import running_sum


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("shape", [(1,), (1000,), (3, 5), (9, 17), (2, 3, 4), (6, 1, 5)])
def test_running_sums_agree_along_each_axis(shape, reverse, rng, compare):
    x = rng.standard_normal(shape).astype(np.float32)
    for axis in range(len(shape)):
        compare(running_sum, x, axis, reverse, atol=1e-5)  # the reference adds up to 1000 numbers in float32


def test_what_takes_the_reference(rng, compare):
    x = rng.standard_normal((4, 6)).astype(np.float32)
    for array in (x.astype(np.float64), x.T, x[:, :0], np.arange(6).reshape(2, 3)):
        compare(running_sum, array, 1, False, compiled=False)


def test_a_million_terms_keep_their_digits(rng):
    x = rng.random(1_000_000).astype(np.float32)
    found, wanted = running_sum(x, 0, False), np.cumsum(x.astype(np.float64))
    assert np.abs(found / wanted - 1).max() < 1e-7  # float32's own rounding: the sums were kept in float64
