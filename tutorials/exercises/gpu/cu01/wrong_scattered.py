from numba import cuda


@cuda.jit
def double(x, out):
    i = cuda.threadIdx.x * cuda.gridDim.x + cuda.blockIdx.x
    out[i] = 2 * x[i]
