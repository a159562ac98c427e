"""One tile; then sizes that no tile divides. Each number that is read from global memory has to serve TILE threads."""

import numpy as np

from minidl.learn.kernels import launch, simulated

TILE = 8


def launches(rng):
    for m, k, n in [(8, 8, 8), (9, 10, 11), (3, 17, 5), (1, 1, 1)]:
        a, b = rng.normal(size=(m, k)).astype(np.float32), rng.normal(size=(k, n)).astype(np.float32)
        grid = (-(-n // TILE), -(-m // TILE))
        yield launch(grid, (TILE, TILE), a, b, np.full((m, n), np.nan, np.float32), note=f"({m}, {k}) times ({k}, {n})",
                     most={"reads_per_thread": 2 * -(-k // TILE), "writes_per_thread": 1, "atomics": 0})  # fmt: skip


checks = [simulated(lambda a, b: np.einsum("mk,kn->mn", a, b, dtype=np.float64), launches, atol=1e-5)]
