import numpy as np


def sizes(weights: list[np.ndarray], x: np.ndarray, activation) -> list[float]:
    found = []
    for w in weights:
        x = x @ w
        found.append(float(np.sqrt(np.mean(x**2))))
        x = activation(x)
    return found
