"""Rows as wide as a block, narrower and wider; logits of which no exponential can be held, and rows far below 0."""

import numpy as np
from scipy.special import softmax as reference

from minidl.learn.kernels import launch, simulated

THREADS = 64


def launches(rng):
    rows = [rng.normal(size=shape) * 3 for shape in [(1, 64), (3, 5), (1, 100), (1, 1)]]
    rows += [np.array([[1e4, 0.0, -1e4], [-1e4, -1e4 + 1, -1e4]])]
    for x in rows:
        passes = -(-x.shape[1] // THREADS)
        # the row is read for the largest, for the sum and for the result; once more is let pass
        yield launch(len(x), THREADS, x.astype(np.float32), np.full(x.shape, np.nan, np.float32),
                     note=f"{len(x)} rows of {x.shape[1]}" + (", to ±1e4" if abs(x).max() >= 1e4 else ""),
                     most={"reads_per_thread": 4 * passes, "atomics": 0})  # fmt: skip


checks = [simulated(lambda x: reference(x.astype(np.float64), 1), launches, atol=1e-6)]
