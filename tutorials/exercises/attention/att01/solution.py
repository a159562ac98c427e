import numpy as np


def scaled_dot_product(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    """q (..., L, D), k (..., S, D), v (..., S, E): (..., L, E)."""
    scores = q @ k.swapaxes(-1, -2) / q.shape[-1] ** 0.5
    e = np.exp(scores - scores.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True) @ v
