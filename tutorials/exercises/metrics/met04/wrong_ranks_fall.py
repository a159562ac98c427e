import numpy as np


def roc_auc(y_true: np.ndarray, scores: np.ndarray) -> float:
    """y_true (N,), int: 1 where positive, else 0; scores (N,), float."""
    positive = y_true == 1
    n, m = np.sum(positive), np.sum(~positive)
    if n == 0 or m == 0:
        raise ValueError("without both classes nothing can be ranked above the other")
    _, group, sizes = np.unique(-scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(sizes) - (sizes - 1) / 2)[group]
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * m))
