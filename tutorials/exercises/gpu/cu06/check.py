"""Blocks that are full, half full and nearly empty. A tree has log2(64) = 6 levels; one thread that adds alone reads 64 numbers."""

import numpy as np

from minidl.learn.kernels import launch, simulated

THREADS = 64


def reference(x):
    blocks = -(-x.size // THREADS)
    padded = np.zeros(blocks * THREADS)
    padded[: x.size] = x
    return padded.reshape(blocks, THREADS) @ np.ones(THREADS)


def launches(rng):
    for n, grid in [(64, 1), (150, 3), (65, 2), (1, 1)]:
        x = rng.normal(size=n).astype(np.float32)
        bounds = {"reads_per_thread": 1, "shared_reads_per_thread": 2 * 6 + 2, "atomics": 0, "shared_atomics": 0}
        yield launch(grid, THREADS, x, np.full(grid, np.nan, np.float32), note=f"{n} elements", most=bounds)


checks = [simulated(reference, launches, atol=1e-5)]
