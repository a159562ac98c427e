from numba import cuda, float32

THREADS = 64  # of a block


@cuda.jit
def softmax(x, out):
    part = cuda.shared.array(THREADS, float32)
    # TODO
    raise NotImplementedError
