import numpy as np


def unbroadcast(g: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    axes = tuple(i for i, size in enumerate(shape) if size == 1)
    return g.sum(axis=axes, keepdims=True)
