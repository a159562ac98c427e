import numpy as np


def scaled_dot_product(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    e = np.exp(q @ k.swapaxes(-1, -2) / q.shape[-1] ** 0.5)
    return e / e.sum(-1, keepdims=True) @ v
