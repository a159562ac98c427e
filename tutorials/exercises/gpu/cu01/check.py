"""One block, then several; as many threads as elements. A warp must find its 32 elements in one line of memory."""

import numpy as np

from minidl.learn.kernels import launch, simulated


def launches(rng):
    for grid, block in [(1, 32), (3, 32), (2, 64)]:
        x = rng.normal(size=grid * block).astype(np.float32)
        bounds = {"reads_per_thread": 1, "writes_per_thread": 1, "transactions_per_warp": 1}
        yield launch(grid, block, x, np.full_like(x, np.nan), note=f"{x.size} elements", most=bounds)


checks = [simulated(lambda x: x + x, launches)]
