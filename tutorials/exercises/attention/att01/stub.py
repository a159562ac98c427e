import numpy as np


def scaled_dot_product(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    """q (..., L, D), k (..., S, D), v (..., S, E): (..., L, E)."""
    # TODO
    raise NotImplementedError
