"""Attention: values mixed by how well their keys agree with a query (Vaswani et al., "Attention is all you need", 2017).

Letters: B batch, H heads, L queries, S keys, E model width, D width of a head.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..autograd.op import wrap
from ..tensor import Tensor
from .dropout import dropout
from .joining import cat
from .linalg import linear, matmul
from .shape import broadcast_to
from .softmax import softmax


def causal_mask(L: int, S: int) -> Tensor:
    """(L, S) bool: True where query i may see key j, that is j <= i."""
    return wrap(np.tri(L, S, dtype=bool))


def attention_weights(
    query: Tensor, key: Tensor, mask: Tensor | None, dropout_p: float = 0.0, scale: float | None = None
) -> Tensor:
    """softmax(query key^T scale + mask) (..., L, S), with a share `dropout_p` of the weights dropped."""
    scores: Any = matmul(query, key.transpose(-2, -1)) * (
        1 / math.sqrt(query.array.shape[-1]) if scale is None else scale
    )
    if mask is not None and mask.array.dtype.kind == "b":
        scores = scores.masked_fill(~mask, -math.inf)
    elif mask is not None:
        scores = scores + mask
    return dropout(softmax(scores, -1), dropout_p, dropout_p > 0)


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
    is_causal: query i sees keys 0 to i. scale: default 1 / sqrt(D). enable_gqa: groups of query heads share the heads of key
        and value (Ainslie et al., "GQA", 2023).

    Example:
        >>> q, k, v = minidl.randn(3, 1, 4, 8).unbind()
        >>> F.scaled_dot_product_attention(q, k, v, is_causal=True).shape
        torch.Size([1, 4, 8])
    """
    if is_causal and attn_mask is not None:
        raise RuntimeError("scaled_dot_product_attention: Explicit attn_mask should not be set when is_causal=True")
    if enable_gqa:
        heads, shared = query.array.shape[-3], key.array.shape[-3]
        if heads % shared:
            raise RuntimeError(
                f"scaled_dot_product_attention: enable_gqa needs query heads that are a multiple of the key heads, got "
                f"{heads} and {shared}"
            )
        key, value = (t.repeat_interleave(heads // shared, -3) for t in (key, value))
    if is_causal:
        attn_mask = causal_mask(query.array.shape[-2], key.array.shape[-2])
    return matmul(attention_weights(query, key, attn_mask, dropout_p, scale), value)


def multi_head_attention_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Attention with several heads: (output, weights), for query (L, B, E), key and value (S, B, .); without B too.

    query, key and value are multiplied with their weights and split into heads; each head attends on its own; the heads side
    by side are multiplied with out_proj_weight. key_padding_mask (B, S) and attn_mask (L, S) or (B H, L, S): bool, True where
    a key is NOT to be seen, or float, added to the scores. Weights: (B, L, S), or (B, H, L, S) if not averaged.
    static_k, static_v (B H, S, D): keys and values that are projected already.
    """
    batched = query.ndim == 3
    if not batched:
        query, key, value = (t.unsqueeze(1) for t in (query, key, value))
        key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
    L, B, E = query.shape
    _check_widths(query, key, value, embed_dim_to_check, num_heads)
    if is_causal and attn_mask is None:
        raise RuntimeError("Need attn_mask if specifying the is_causal hint.")
    weights: Any
    if use_separate_proj_weight:
        weights = (q_proj_weight, k_proj_weight, v_proj_weight)
    else:
        assert in_proj_weight is not None
        weights = in_proj_weight.chunk(3)
    biases = (None, None, None) if in_proj_bias is None else in_proj_bias.chunk(3)
    q, k, v = (linear(x, w, b) for x, w, b in zip((query, key, value), weights, biases, strict=True))
    if bias_k is not None and bias_v is not None:
        k, v = (cat([t, broadcast_to(extra, (1, B, E))]) for t, extra in ((k, bias_k), (v, bias_v)))
    # (., B, E) to (B, H, ., D)
    q, k, v = (t.reshape(t.shape[0], B, num_heads, E // num_heads).permute(1, 2, 0, 3) for t in (q, k, v))
    if static_k is not None:
        k = static_k.reshape(B, num_heads, -1, E // num_heads)
    if static_v is not None:
        v = static_v.reshape(B, num_heads, -1, E // num_heads)
    if add_zero_attn:
        k, v = (cat([t, t[:, :, :1] * 0], 2) for t in (k, v))
    mask = _joined_mask(attn_mask, key_padding_mask, (B, num_heads, L, k.shape[2]), query)
    p = dropout_p if training else 0.0
    if need_weights:
        found = attention_weights(q, k, mask, p)
        mixed = matmul(found, v)
    else:
        found, mixed = None, scaled_dot_product_attention(q, k, v, mask, p)
    output = linear(mixed.permute(2, 0, 1, 3).reshape(L, B, E), out_proj_weight, out_proj_bias)
    if found is not None and average_attn_weights:
        found = found.mean(1)
    if not batched:
        output, found = output.squeeze(1), None if found is None else found.squeeze(0)
    return output, found


def _check_widths(query: Tensor, key: Tensor, value: Tensor, E: int, heads: int) -> None:
    if query.shape[-1] != E:
        raise RuntimeError(f"was expecting embedding dimension of {E}, but got {query.shape[-1]}")
    if E % heads:
        raise RuntimeError(f"embed_dim {E} not divisible by num_heads {heads}")
    if key.shape[:2] != value.shape[:2]:
        raise RuntimeError(f"key's sequence and batch dims {key.shape[:2]} do not match value's {value.shape[:2]}")


def _joined_mask(
    attn_mask: Tensor | None, padding: Tensor | None, shape: tuple[int, ...], like: Tensor
) -> Tensor | None:
    """Both masks as one that is added to the scores (B, H, L, S); keys beyond a mask's end are seen."""
    B, H, L, S = shape
    total: Any = None
    for mask, what, viewed in ((attn_mask, "attn_mask", True), (padding, "key_padding_mask", False)):
        if mask is None:
            continue
        given = tuple(mask.shape)
        sizes = mask.shape[:-1]
        wanted = [(L,), (B * H, L)] if viewed else [(B,)]
        if sizes not in wanted or mask.shape[-1] > S:
            raise RuntimeError(
                f"The shape of the {what} is {given}, which does not fit {L} queries, {S} keys, batch {B}"
            )
        if mask.array.dtype.kind == "b":
            mask = wrap(np.where(mask.array, -np.inf, 0).astype(like.array.dtype))
        if mask.shape[-1] < S:
            hidden = wrap(np.zeros((*sizes, S - mask.shape[-1]), mask.array.dtype))
            mask = cat([mask, hidden], -1)
        if not viewed:
            mask = mask.reshape(B, 1, 1, S)
        elif mask.ndim == 3:
            mask = mask.reshape(B, H, L, S)
        total = mask if total is None else total + mask
    return total
