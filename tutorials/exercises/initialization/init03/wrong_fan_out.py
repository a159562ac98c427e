import numpy as np


def he_normal(fan_in: int, fan_out: int, rng: np.random.Generator, negative_slope: float = 0.0) -> np.ndarray:
    gain = np.sqrt(2 / (1 + negative_slope**2))
    return rng.normal(scale=gain / np.sqrt(fan_out), size=(fan_in, fan_out))
