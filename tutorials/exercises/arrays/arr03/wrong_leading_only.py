import numpy as np


def unbroadcast(g: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return g.sum(axis=tuple(range(g.ndim - len(shape))))
