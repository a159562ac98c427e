import numpy as np


def precision_recall_f1(y_true: np.ndarray, y_pred: np.ndarray) -> tuple[float, float, float]:
    """y_true and y_pred (N,), int: 1 where positive, else 0."""
    found, said, there = (y_true & y_pred).sum(), y_pred.sum(), y_true.sum()
    accuracy, recall = share((y_true == y_pred).sum(), len(y_true)), share(found, there)
    return share(found, said), recall, share(2 * accuracy * recall, accuracy + recall)


def share(part: int, whole: int) -> float:
    return float(part / whole) if whole else 0.0
