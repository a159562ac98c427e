import numpy as np


def visible(lengths: np.ndarray, L: int, S: int, causal: bool) -> np.ndarray:
    """(B, L, S), bool: which keys each query may see."""
    real = np.arange(S) < lengths[:, None, None]
    return real & np.tri(L, S, dtype=bool) if causal else real.repeat(L, axis=1)


def masked_attention(q: np.ndarray, k: np.ndarray, v: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """q (B, L, D), k (B, S, D), v (B, S, E), seen (B, L, S): (B, L, E)."""
    scores = np.where(seen, q @ k.swapaxes(-1, -2) / q.shape[-1] ** 0.5, 0)
    e = np.exp(scores - scores.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True) @ v
