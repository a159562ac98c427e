import numpy as np


def roc_auc(y_true: np.ndarray, scores: np.ndarray) -> float:
    """y_true (N,), int: 1 where positive, else 0; scores (N,), float."""
    # TODO
    raise NotImplementedError
