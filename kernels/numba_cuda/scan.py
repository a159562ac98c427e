"""Prefix sums: out[i] = x[0] + ... + x[i]. Each result seems to need the one before it; log2(N) steps of all threads are enough.

    1. scan_block   the method of Hillis and Steele: in step s = 1, 2, 4, ... every element adds the one s places before it. In place
                    that would be a race, one thread reads what another overwrites: so two buffers take turns
    2. add_totals   for more than a block: the last sum of each block goes to `totals`, these are scanned in turn (by the same kernel),
                    and each block then adds the total of all blocks before it

Source: Hillis and Steele, "Data parallel algorithms", 1986. It adds N log N times; Blelloch's tree needs 2 N additions and
more steps.
"""

import numpy as np
from numba import cuda, float32

THREADS = 64


@cuda.jit
def scan_block(x, out, totals):
    buffer = cuda.shared.array((2, THREADS), float32)
    t, i = cuda.threadIdx.x, cuda.grid(1)
    now = 0
    buffer[0, t] = x[i] if i < x.size else float32(0)
    step = 1
    while step < THREADS:
        cuda.syncthreads()
        before = buffer[now, t - step] if t >= step else float32(0)
        buffer[1 - now, t] = buffer[now, t] + before
        now = 1 - now
        step *= 2
    if i < x.size:
        out[i] = buffer[now, t]  # written by this thread: no barrier is needed
    if t == THREADS - 1:
        totals[cuda.blockIdx.x] = buffer[now, t]


@cuda.jit
def add_totals(out, scanned):
    """scanned: the prefix sums of the blocks' totals; block 0 has nothing before it."""
    i = cuda.grid(1)
    if i < out.size and cuda.blockIdx.x > 0:
        out[i] += scanned[cuda.blockIdx.x - 1]


def scan_block_inputs():
    return np.ones(100, np.float32), np.zeros(100, np.float32), np.zeros(2, np.float32)


def add_totals_inputs():
    return np.ones(100, np.float32), np.full(2, 64, np.float32)
