"""Attention: values mixed by how well their keys agree with a query (Vaswani et al., "Attention is all you need", 2017).

Letters: B batch, H heads, L queries, S keys, E model width, D width of a head.
"""

from __future__ import annotations

import math
from typing import Any

from ..autograd.op import wrap
from ..devices import may_look
from ..kernels import array_module
from ..tensor import Tensor
from .dropout import dropout
from .joining import cat
from .linalg import linear, matmul
from .shape import broadcast_to
from .softmax import softmax


def attention_weights(
    query: Tensor, key: Tensor, mask: Tensor | None, dropout_p: float = 0.0, scale: float | None = None
) -> Tensor:
    """softmax(query key^T scale + mask) (..., L, S), with a share `dropout_p` of the weights dropped.

    A query that may see no key at all gives no weight to any; softmax alone would make NaN of it.
    """
    if scale is None:
        scale = 1 / math.sqrt(max(query.array.shape[-1], 1))
    scores: Any = matmul(query, key.transpose(-2, -1)) * scale
    if mask is None:
        return dropout(softmax(scores, -1), dropout_p, dropout_p > 0)
    if mask.array.dtype.kind == "b":
        hidden: Any = ~mask
        scores = scores.masked_fill(hidden, -math.inf)
    else:
        hidden = mask == -math.inf
        scores = scores + mask
    blind = hidden.all(-1, keepdim=True)
    if not may_look(blind.array) or blind.array.any():
        weights = softmax(scores.masked_fill(blind, 0), -1).masked_fill(blind, 0)
    else:
        weights = softmax(scores, -1)
    return dropout(weights, dropout_p, dropout_p > 0)


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
    _check_operands(query, key, value, attn_mask)
    if enable_gqa:
        heads, shared = query.array.shape[-3], key.array.shape[-3]
        if heads % shared:
            raise RuntimeError(
                f"scaled_dot_product_attention: enable_gqa needs query heads that are a multiple of the key heads, got "
                f"{heads} and {shared}"
            )
        key, value = (t.repeat_interleave(heads // shared, -3) for t in (key, value))
    if is_causal:
        if attn_mask is not None:
            raise RuntimeError("scaled_dot_product_attention: Explicit attn_mask should not be set when is_causal=True")
        attn_mask = wrap(array_module(query.array).tri(query.array.shape[-2], key.array.shape[-2], dtype=bool))
    return matmul(attention_weights(query, key, attn_mask, dropout_p, scale), value)


def _check_operands(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> None:
    q, k, v = query.array, key.array, value.array
    if min(q.ndim, k.ndim, v.ndim) < 2:
        raise RuntimeError(
            "scaled_dot_product_attention: Expected query, key, and value to be at least 2 dimensional, but got "
            f"{q.ndim}, {k.ndim} and {v.ndim} dimensions"
        )
    if not q.dtype == k.dtype == v.dtype or q.dtype.kind != "f":
        raise RuntimeError(
            "scaled_dot_product_attention: Expected query, key, and value to have the same float dtype, but got "
            f"{query.dtype}, {key.dtype} and {value.dtype}; convert with to()"
        )
    if q.shape[-1] != k.shape[-1] or k.shape[-2] != v.shape[-2]:
        raise RuntimeError(
            "scaled_dot_product_attention: Expected query (..., L, D), key (..., S, D) and value (..., S, E), but got "
            f"{list(q.shape)}, {list(k.shape)} and {list(v.shape)}"
        )
    if mask is not None and mask.array.dtype != q.dtype and mask.array.dtype.kind != "b":
        raise RuntimeError(
            "scaled_dot_product_attention: Expected attn_mask dtype to be bool or to match query dtype, but got "
            f"{mask.dtype} and {query.dtype}"
        )


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
    _check_inputs(query, key, value, embed_dim_to_check, num_heads)
    if not batched:
        query, key, value = (t.unsqueeze(1) for t in (query, key, value))
        key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
    L, B, E = query.shape
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
    # (., B, E) to (B, H, ., D)
    q, k, v = (_in_heads(t, num_heads) for t in (q, k, v))
    k = k if static_k is None else static_k.reshape(B, num_heads, -1, E // num_heads)
    v = v if static_v is None else static_v.reshape(B, num_heads, -1, E // num_heads)
    S = k.shape[2]
    if bias_k is not None and bias_v is not None:
        if static_k is not None or static_v is not None:
            raise RuntimeError(
                "multi_head_attention_forward: bias_k and bias_v cannot be added to static_k or static_v"
            )
        extras = (_in_heads(broadcast_to(t, (1, B, E)), num_heads) for t in (bias_k, bias_v))
        k, v = (cat([t, extra], 2) for t, extra in zip((k, v), extras, strict=True))
    if add_zero_attn:
        k, v = (cat([t, t[:, :, :1] * 0], 2) for t in (k, v))
    mask = _joined_mask(attn_mask, key_padding_mask, (B, num_heads, L, S), k.shape[2] - S, query.array)
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


def _in_heads(t: Tensor, heads: int) -> Tensor:
    """(S, B, E) as (B, H, S, D)."""
    S, B, E = t.shape
    return t.reshape(S, B, heads, E // heads).permute(1, 2, 0, 3)


def _check_inputs(query: Tensor, key: Tensor, value: Tensor, E: int, heads: int) -> None:
    name, sizes = "multi_head_attention_forward", [list(t.shape) for t in (query, key, value)]
    if query.ndim not in (2, 3) or not query.ndim == key.ndim == value.ndim:
        raise RuntimeError(
            f"{name}: expected query, key and value all batched, with 3 dimensions, or all unbatched, with 2, got {sizes}"
        )
    if query.shape[-1] != E:
        raise RuntimeError(f"{name}: was expecting embedding dimension of {E}, but got {query.shape[-1]}")
    if E % heads:
        raise RuntimeError(f"{name}: embed_dim {E} not divisible by num_heads {heads}")
    if key.shape[:-1] != value.shape[:-1] or query.shape[1:-1] != key.shape[1:-1]:
        raise RuntimeError(
            f"{name}: expected query (L, B, E), and key and value of one sequence length S and the batch B, got {sizes}"
        )


def _joined_mask(
    attn_mask: Tensor | None, padding: Tensor | None, shape: tuple[int, ...], extra: int, like: Any
) -> Tensor | None:
    """Both masks as one that is added to the scores (B, H, L, S + extra); the extra keys, added at the end, are seen."""
    B, H, L, S = shape
    xp, total = array_module(like), None
    for what, mask, allowed in (
        ("attn_mask", attn_mask, [(L, S), (B * H, L, S)]),
        ("key_padding_mask", padding, [(B, S)]),
    ):
        if mask is None:
            continue
        if tuple(mask.shape) not in allowed:
            raise RuntimeError(
                f"multi_head_attention_forward: The shape of the {what} is {tuple(mask.shape)}, but should be "
                + " or ".join(map(str, allowed))
            )
        if mask.array.dtype.kind not in "bf":
            raise RuntimeError(
                f"multi_head_attention_forward: only bool and floating types of {what} are supported, got {mask.dtype}"
            )
        if mask.array.dtype.kind == "b":
            mask = wrap(xp.where(mask.array, -math.inf, 0.0).astype(like.dtype))
        if extra:
            mask = cat([mask, wrap(xp.zeros((*mask.shape[:-1], extra), like.dtype))], -1)
        if what == "key_padding_mask":
            mask = mask.reshape(B, 1, 1, S + extra)
        elif mask.ndim == 3:
            mask = mask.reshape(B, H, L, S + extra)
        total = mask if total is None else total + mask
    return total
