from numba import cuda, float32

THREADS = 64  # of the one block


@cuda.jit
def reverse(x, out):
    s = cuda.shared.array(THREADS, float32)
    # TODO
    raise NotImplementedError
