import numpy as np


def xavier_normal(fan_in: int, fan_out: int, rng: np.random.Generator) -> np.ndarray:
    std = np.sqrt(2 / fan_in)
    return rng.normal(scale=std, size=(fan_in, fan_out))
