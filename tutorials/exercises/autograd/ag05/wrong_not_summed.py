import numpy as np


def matmul_backward(g: np.ndarray, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return g @ b.swapaxes(-1, -2), a.swapaxes(-1, -2) @ g
