import numpy as np


def split_heads(x: np.ndarray, heads: int) -> np.ndarray:
    """x (B, T, C): (B, H, T, D), where D = C / H."""
    B, T, C = x.shape
    if C % heads:
        raise ValueError(f"a width of {C} cannot be split into {heads} heads")
    return x.reshape(B, T, heads, C // heads).transpose(0, 2, 1, 3)


def merge_heads(x: np.ndarray) -> np.ndarray:
    """x (B, H, T, D): (B, T, C), where C = H D."""
    B, H, T, D = x.shape
    return x.transpose(0, 2, 1, 3).reshape(B, T, H * D)


def multi_head(x: np.ndarray, wq: np.ndarray, wk: np.ndarray, wv: np.ndarray, wo: np.ndarray, heads: int) -> np.ndarray:
    """Self-attention of x (B, T, C) with weights (C, C): (B, T, C)."""
    q, k, v = (split_heads(x @ w, heads) for w in (wq, wk, wv))
    scores = q @ k.swapaxes(-1, -2) / q.shape[-1] ** 0.5
    e = np.exp(scores - scores.max(-1, keepdims=True))
    return merge_heads(e / e.sum(-1, keepdims=True) @ v) @ wo
