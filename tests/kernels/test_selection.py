from __future__ import annotations

import numpy as np
import pytest

from minidl.kernels.selection import where


@pytest.mark.parametrize("shape", [(1,), (17,), (3, 5), (2, 3, 40, 5)])
def test_variants_agree(shape, rng, compare):
    x, y = (rng.standard_normal(shape).astype(np.float32) for _ in range(2))
    x.flat[0] = np.nan
    for start in range(len(shape)):  # conditions without the leading axes, or with ones in their place
        mask = rng.random(shape[start:]) < 0.5
        for condition in (mask, mask.reshape((1,) * start + mask.shape)):
            compare(where, condition, x, y)
            compare(where, condition, x, -np.inf)
            compare(where, condition, np.array(3, np.float32), y)
            compare(where, condition, 1, y)


def test_what_takes_the_reference(rng, compare):
    x, condition = rng.standard_normal((4, 6)).astype(np.float32), rng.random((4, 6)) < 0.5
    for arguments in (
        (condition, x.astype(np.float64), 0.0),
        (condition, np.array(0.0), x),
        (condition, np.float64(0), x),
        (condition, x[:1], x),
        (condition, x[:1], 0.0),
        (condition[:, :1], x, 0.0),
        (condition[:, ::2], x[:, ::2], 0.0),
        (condition, 1.0, 2.0),
        (condition[:0], x[:0], 0.0),
    ):
        compare(where, *arguments, compiled=False)
