import numpy as np


def precision_recall_f1(y_true: np.ndarray, y_pred: np.ndarray) -> tuple[float, float, float]:
    """y_true and y_pred (N,), int: 1 where positive, else 0."""
    found, said, there = (y_true & y_pred).sum(), y_pred.sum(), y_true.sum()
    precision, recall = share(found, said), share(found, there)
    return precision, recall, (precision + recall) / 2


def share(part: int, whole: int) -> float:
    return float(part / whole) if whole else 0.0
