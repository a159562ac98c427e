import numpy as np


def dropout(x: np.ndarray, p: float, training: bool, rng: np.random.Generator) -> np.ndarray:
    if not training:
        return x
    kept = rng.random(x.shape) < p
    return x * kept / p
