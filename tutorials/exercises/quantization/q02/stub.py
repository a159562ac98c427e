import numpy as np


def quantize_weight(w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """w (N, ...): integers (int8) in the shape of w, and scales (N,)."""
    # TODO
    raise NotImplementedError
