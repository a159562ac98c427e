"""Sizes that fill their blocks, that do not, of one element and of none, and more blocks than are needed."""

import numpy as np

from minidl.learn.kernels import launch, simulated


def launches(rng):
    for n, grid in [(64, 2), (50, 2), (33, 2), (1, 1), (0, 1), (5, 3)]:
        x, y = rng.normal(size=(2, n)).astype(np.float32)
        bounds = {"reads_per_thread": 2, "writes_per_thread": 1}
        yield launch(grid, 32, x.copy(), y.copy(), np.full(n, np.nan, np.float32), note=f"{n} elements", most=bounds)


checks = [simulated(lambda x, y: x + y, launches)]
