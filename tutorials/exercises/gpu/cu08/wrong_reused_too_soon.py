import math

from numba import cuda, float32

THREADS = 64


@cuda.jit
def softmax(x, out):
    part = cuda.shared.array(THREADS, float32)
    row, t, width = cuda.blockIdx.x, cuda.threadIdx.x, x.shape[1]
    top = float32(-math.inf)
    for j in range(t, width, THREADS):
        top = max(top, x[row, j])
    part[t] = top
    step = THREADS // 2
    while step > 0:
        cuda.syncthreads()
        if t < step:
            part[t] = max(part[t], part[t + step])
        step //= 2
    cuda.syncthreads()
    top = part[0]
    total = float32(0)
    for j in range(t, width, THREADS):
        total += math.exp(x[row, j] - top)
    part[t] = total
    step = THREADS // 2
    while step > 0:
        cuda.syncthreads()
        if t < step:
            part[t] += part[t + step]
        step //= 2
    cuda.syncthreads()
    for j in range(t, width, THREADS):
        out[row, j] = math.exp(x[row, j] - top) / part[0]
