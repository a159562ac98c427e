import numpy as np


def split_heads(x: np.ndarray, heads: int) -> np.ndarray:
    """x (B, T, C): (B, H, T, D), where D = C / H."""
    # TODO
    raise NotImplementedError


def merge_heads(x: np.ndarray) -> np.ndarray:
    """x (B, H, T, D): (B, T, C), where C = H D."""
    # TODO
    raise NotImplementedError


def multi_head(x: np.ndarray, wq: np.ndarray, wk: np.ndarray, wv: np.ndarray, wo: np.ndarray, heads: int) -> np.ndarray:
    """Self-attention of x (B, T, C) with weights (C, C): (B, T, C)."""
    # TODO
    raise NotImplementedError
