"""Scaled dot-product attention (Vaswani et al., "Attention is all you need", 2017)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..autograd.op import wrap
from ..tensor import Tensor
from .dropout import dropout
from .linalg import matmul
from .softmax import softmax


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """softmax(query key^T scale + mask) value, for query (..., L, D), key (..., S, D), value (..., S, E): (..., L, E).

    attn_mask: bool, True where a key may be seen, or float, added to the scores; broadcast to (..., L, S).
    is_causal: position i sees keys 0 to i. scale: default 1 / sqrt(D). enable_gqa: query heads share key and value heads.
    """
    if is_causal and attn_mask is not None:
        raise RuntimeError("scaled_dot_product_attention: Explicit attn_mask should not be set when is_causal=True")
    if enable_gqa:
        groups = query.array.shape[-3] // key.array.shape[-3]
        key, value = (t.repeat_interleave(groups, -3) for t in (key, value))
    scores: Any = matmul(query, key.transpose(-2, -1)) * (
        1 / math.sqrt(query.array.shape[-1]) if scale is None else scale
    )
    L, S = scores.shape[-2:]
    if is_causal:
        attn_mask = wrap(np.tri(L, S, dtype=bool))
    if attn_mask is not None:
        if attn_mask.array.dtype.kind == "b":
            scores = scores.masked_fill(~attn_mask, -math.inf)
        else:
            scores = scores + attn_mask
    weights = dropout(softmax(scores, -1), dropout_p, dropout_p > 0)
    return matmul(weights, value)
