import numpy as np


def he_normal(fan_in: int, fan_out: int, rng: np.random.Generator, negative_slope: float = 0.0) -> np.ndarray:
    return rng.normal(scale=np.sqrt(1 / fan_in), size=(fan_in, fan_out))
