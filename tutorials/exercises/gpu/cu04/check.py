"""A full block, then sizes that leave threads over: those must still come to the barrier."""

import numpy as np

from minidl.learn.kernels import launch, simulated

THREADS = 64


def launches(rng):
    for n in (64, 50, 33, 1):
        x = rng.normal(size=n).astype(np.float32)
        yield launch(1, THREADS, x, np.full_like(x, np.nan), note=f"{n} elements",
                     most={"reads_per_thread": 1}, least={"shared_reads_per_thread": 1})  # fmt: skip


checks = [simulated(lambda x: x[::-1], launches)]
