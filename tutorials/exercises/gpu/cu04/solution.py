from numba import cuda, float32

THREADS = 64  # of the one block


@cuda.jit
def reverse(x, out):
    s = cuda.shared.array(THREADS, float32)
    t, n = cuda.threadIdx.x, x.size
    if t < n:
        s[t] = x[t]
    cuda.syncthreads()
    if t < n:
        out[t] = s[n - 1 - t]
