from __future__ import annotations

import numpy as np
import pytest

from minidl.kernels.selection import FEW, top_k, where


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


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize(
    ("rows", "n", "k"),
    [(1, 1, 1), (3, 40, 5), (7, 200, FEW), (2, 9, 9), (0, 5, 2), (3, 300, FEW + 1), (2, 900, 200), (0, 300, 70)],
)
def test_top_k_agrees(rows, n, k, largest, dtype, rng, compare):
    x = rng.integers(0, 30, (rows, n)).astype(dtype)  # equal elements keep their order
    compare(top_k, x, k, largest)
    x.flat[::3] = np.nan
    compare(top_k, x, k, largest)
    x.flat[::5], x.flat[1::7] = np.inf, -np.inf
    compare(top_k, x, k, largest)
    compare(top_k, np.sort(x, 1), k, largest)  # the worst of orders for one of the two


def test_top_k_of_what_takes_the_reference(rng, compare):
    x = rng.standard_normal((4, 300)).astype(np.float32)
    for arguments in ((x, 76, True), (x, 0, True), (x[:, ::2], 3, False), (x.astype(np.float16), 3, True)):
        compare(top_k, *arguments, compiled=False)
    compare(top_k, np.arange(12).reshape(3, 4), 2, True, compiled=False)
