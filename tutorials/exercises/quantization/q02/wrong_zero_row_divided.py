import numpy as np


def quantize_weight(w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """w (N, ...): integers (int8) in the shape of w, and scales (N,)."""
    rows = w.reshape(len(w), -1)
    largest = np.abs(rows).max(1)
    scales = largest / 127
    return np.nan_to_num(np.rint(rows / scales[:, None])).astype(np.int8).reshape(w.shape), scales
