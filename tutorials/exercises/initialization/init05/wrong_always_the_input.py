import numpy as np


def sizes(weights: list[np.ndarray], x: np.ndarray, activation) -> list[float]:
    return [float(np.sqrt(np.mean(activation(x @ w) ** 2))) for w in weights if w.shape[0] == x.shape[1]]
