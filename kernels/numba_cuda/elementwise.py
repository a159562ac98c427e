"""Element by element: the result at i needs the inputs at i and nothing else, so every element gets a thread.

What limits it is memory: an element is read, changed by one instruction, and written. Neighbouring threads take neighbouring
elements, so that the 32 threads of a warp read one line of 128 bytes together ("coalesced").

    1. relu             a thread an element, and a guard: the grid is a whole number of blocks, the array is not
    2. relu_stride      a grid of any size: each thread goes on by as many elements as there are threads
    3. bias_relu        two operations in one kernel: the sum x + bias never goes to memory ("fusion")
"""

import numpy as np
from numba import cuda, float32

THREADS = 128


@cuda.jit
def relu(x, out):
    i = cuda.grid(1)  # blockIdx.x * blockDim.x + threadIdx.x
    if i < x.size:
        out[i] = x[i] if x[i] != x[i] else max(x[i], float32(0))  # NaN stays NaN


@cuda.jit
def relu_stride(x, out):
    for i in range(cuda.grid(1), x.size, cuda.gridsize(1)):
        value = x[i]  # read once: each x[i] in the source is a load
        out[i] = value if value != value else max(value, float32(0))


@cuda.jit
def bias_relu(x, bias, out):
    """x and out (N, D), bias (D,): the x axis of the grid runs along D, so that a warp stays in one row."""
    column, row = cuda.grid(2)
    if row < x.shape[0] and column < x.shape[1]:
        value = x[row, column] + bias[column]
        out[row, column] = value if value != value else max(value, float32(0))


def relu_inputs():
    return np.linspace(-1, 1, 100, dtype=np.float32), np.zeros(100, np.float32)


relu_stride_inputs = relu_inputs


def bias_relu_inputs():
    x = np.random.default_rng(0).standard_normal((5, 70)).astype(np.float32)
    return x, x[0].copy(), np.zeros_like(x)
