from numba import cuda


@cuda.jit
def reverse(x, out):
    t, n = cuda.threadIdx.x, x.size
    if t < n:
        out[t] = x[n - 1 - t]
