from numba import cuda, float32

THREADS = 64


@cuda.jit
def block_sum(x, out):
    part = cuda.shared.array(THREADS, float32)
    t, i = cuda.threadIdx.x, cuda.grid(1)
    part[t] = x[i] if i < x.size else float32(0)
    cuda.syncthreads()
    if t == 0:
        total = float32(0)
        for j in range(THREADS):
            total += part[j]
        out[cuda.blockIdx.x] = total
