import numpy as np


def quantize_weight(w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """w (N, ...): integers (int8) in the shape of w, and scales (N,)."""
    rows = w.reshape(len(w), -1)
    largest = np.abs(rows).max(1)
    scales = np.where(largest == 0, 1.0, largest / 127)
    return (rows / scales[:, None]).astype(np.int8).reshape(w.shape), scales
