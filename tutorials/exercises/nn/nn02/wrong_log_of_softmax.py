import numpy as np


def cross_entropy(logits: np.ndarray, target: np.ndarray, ignore_index: int = -100) -> float:
    rows = np.flatnonzero(target != ignore_index)
    return -log_softmax(logits)[rows, target[rows]].mean()


def cross_entropy_backward(g: float, logits: np.ndarray, target: np.ndarray, ignore_index: int = -100) -> np.ndarray:
    rows = np.flatnonzero(target != ignore_index)
    result = np.zeros_like(logits)
    result[rows] = np.exp(log_softmax(logits[rows]))
    result[rows, target[rows]] -= 1
    return result * (g / len(rows))


def log_softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return np.log(e / e.sum(axis=1, keepdims=True))
