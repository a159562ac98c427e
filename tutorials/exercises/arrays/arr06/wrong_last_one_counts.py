import numpy as np


def scatter_add(x: np.ndarray, index: np.ndarray, rows: np.ndarray) -> np.ndarray:
    result = x.copy()
    result[index] += rows
    return result
