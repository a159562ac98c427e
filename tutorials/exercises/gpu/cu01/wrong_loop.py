from numba import cuda


@cuda.jit
def double(x, out):
    for i in range(x.size):
        out[i] = 2 * x[i]
