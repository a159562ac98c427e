import numpy as np


def precision_recall_f1(y_true: np.ndarray, y_pred: np.ndarray) -> tuple[float, float, float]:
    """y_true and y_pred (N,), int: 1 where positive, else 0."""
    # TODO
    raise NotImplementedError
