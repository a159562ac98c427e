import numpy as np


def unbroadcast(g: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    lead = g.ndim - len(shape)
    repeated = [lead + i for i, size in enumerate(shape) if size == 1]
    return g.sum(axis=(*range(lead), *repeated))
