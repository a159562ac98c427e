import numpy as np


def visible(lengths: np.ndarray, L: int, S: int, causal: bool) -> np.ndarray:
    """(B, L, S), bool: which keys each query may see."""
    # TODO
    raise NotImplementedError


def masked_attention(q: np.ndarray, k: np.ndarray, v: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """q (B, L, D), k (B, S, D), v (B, S, E), seen (B, L, S): (B, L, E)."""
    # TODO
    raise NotImplementedError
