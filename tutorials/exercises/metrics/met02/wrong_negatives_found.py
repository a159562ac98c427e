import numpy as np


def precision_recall_f1(y_true: np.ndarray, y_pred: np.ndarray) -> tuple[float, float, float]:
    """y_true and y_pred (N,), int: 1 where positive, else 0."""
    found, said, there = ((y_true == 0) & (y_pred == 0)).sum(), (y_pred == 0).sum(), (y_true == 0).sum()
    return share(found, said), share(found, there), share(2 * found, said + there)


def share(part: int, whole: int) -> float:
    return float(part / whole) if whole else 0.0
