import math

from numba import cuda, float32

THREADS = 64


@cuda.jit
def softmax(x, out):
    part = cuda.shared.array(THREADS, float32)
    row, t, width = cuda.blockIdx.x, cuda.threadIdx.x, x.shape[1]
    value = x[row, t] if t < width else float32(-math.inf)
    part[t] = value
    step = THREADS // 2
    while step > 0:
        cuda.syncthreads()
        if t < step:
            part[t] = max(part[t], part[t + step])
        step //= 2
    cuda.syncthreads()
    e = math.exp(value - part[0])
    cuda.syncthreads()
    part[t] = e
    step = THREADS // 2
    while step > 0:
        cuda.syncthreads()
        if t < step:
            part[t] += part[t + step]
        step //= 2
    cuda.syncthreads()
    if t < width:
        out[row, t] = e / part[0]
