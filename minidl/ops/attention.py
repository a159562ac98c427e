"""Attention: values mixed by how well their keys agree with a query (Vaswani et al., "Attention is all you need", 2017).

Letters: B batch, H heads, L queries, S keys, E model width, D width of a head.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import dtypes
from ..autograd.grad_mode import grad_mode
from ..autograd.op import Op, wrap
from ..devices import may_look
from ..kernels import array_module
from ..kernels import attention as kernels
from ..kernels.random import blocks
from ..random import default_generator
from ..tensor import Tensor
from ..testing.samples import Sample, samples
from .define import differentiated
from .dropout import Dropout, dropout
from .joining import cat
from .linalg import linear, matmul
from .shape import broadcast_to
from .softmax import softmax


class Attention(Op):
    """softmax(q k^T scale + mask) v for q (B, H, L, D), k (B, G, S, D), v (B, G, S, E), mask None or of the size of the scores
    or 1 in each dimension: (B, H, L, E).

    H / G heads of queries share a head of keys and values. causal: query i sees keys 0 to i. p, key, counter: of the dropout.
    """

    has_bfloat16_kernel = has_bfloat16_rule = True
    precision = "half"

    def forward(
        self, q: Any, k: Any, v: Any, mask: Any, *, scale: float, causal: bool, p: float, key: int, counter: int
    ) -> Any:
        self.scale, self.causal, self.dropout = scale, causal, (p, key, counter)
        out, self.lse = kernels.attention(q, k, v, scale, causal, mask, *self.dropout)
        return out

    def backward(self, g: Any, q: Any, k: Any, v: Any, mask: Any, out: Any) -> Any:
        how = self.scale, self.causal, mask, *self.dropout
        return *kernels.attention_backward(g, q, k, v, out, self.lse, *how), None

    def composite(self, g: Any, q: Tensor, k: Tensor, v: Tensor, mask: Any, out: Any) -> Any:
        def plain(q: Tensor, k: Tensor, v: Tensor, mask: Any) -> Any:
            shared = q.array.shape[1] // k.array.shape[1]
            k, v = (t.repeat_interleave(shared, 1) for t in (k, v))
            seen = _causal_mask(q, k) if self.causal else None
            weights = attention_weights(q, k, mask, self.scale, seen)
            p, key, counter = self.dropout
            if p:
                weights = Dropout.apply(weights, p=p, key=key, counter=counter)
            return (matmul(weights, v),)

        return differentiated(self, plain, (q, k, v, mask), [g])


@samples(Attention)
def _(make: Any) -> Any:
    q, k, v = make(2, 2, 3, 4), make(2, 2, 5, 4), make(2, 2, 5, 3)
    yield Sample(q, k, v, None, scale=0.5, causal=False, p=0.0, key=0, counter=0)
    q, k, v = make(1, 4, 3, 2), make(1, 2, 3, 2), make(1, 2, 3, 2)
    yield Sample(q, k, v, None, scale=0.7, causal=True, p=0.4, key=1, counter=3, note="heads shared, dropout")
    mask = np.zeros((1, 1, 3, 4))
    mask[..., 1, :], mask[..., 2, :2] = -np.inf, -np.inf
    q, k, v = make(2, 1, 3, 2), make(2, 1, 4, 2), make(2, 1, 4, 2)
    yield Sample(q, k, v, mask, scale=1.0, causal=False, p=0.0, key=0, counter=0, note="a query that sees nothing")


def attention_weights(query: Tensor, key: Tensor, mask: Tensor | None, scale: float, seen: Tensor | None) -> Tensor:
    """softmax(query key^T scale + mask) (..., L, S), of the keys that are `seen`: the matrix that the kernel does not keep.

    A query that may see no key at all gives no weight to any; softmax alone would make NaN of it.
    """
    scores: Any = matmul(query * scale, key.transpose(-2, -1))
    if seen is not None:
        scores = scores.masked_fill(~seen, -math.inf)
    if mask is None:
        return softmax(scores, -1)
    blind: Any = (mask == -math.inf).all(-1, keepdim=True)
    if may_look(blind.array) and not blind.array.any():
        return softmax(scores + mask, -1)
    return softmax((scores + mask).masked_fill(blind, 0), -1).masked_fill(blind, 0)


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
        and value (Ainslie et al., "GQA", 2023). The matrix of scores is not kept (Dao et al., "FlashAttention", 2022).

    Example:
        >>> q, k, v = minidl.randn(3, 1, 4, 8).unbind()
        >>> F.scaled_dot_product_attention(q, k, v, is_causal=True).shape
        torch.Size([1, 4, 8])
    """
    _check_operands(query, key, value, attn_mask)
    if is_causal and attn_mask is not None:
        raise RuntimeError("scaled_dot_product_attention: Explicit attn_mask should not be set when is_causal=True")
    if not 0 <= dropout_p <= 1:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {dropout_p}")
    if scale is None:
        scale = 1 / math.sqrt(max(query.array.shape[-1], 1))
    lead, (q, k, v) = _in_heads_of_a_batch(query, key, value, enable_gqa)
    mask = None if attn_mask is None else _added(attn_mask, (*lead, query.array.shape[-2], key.array.shape[-2]), q)
    if mask is not None and mask.node is not None and grad_mode.get():  # the kernel knows no gradient of it
        k, v = (t.repeat_interleave(q.array.shape[1] // t.array.shape[1], 1) for t in (k, v))
        out = matmul(dropout(attention_weights(q, k, mask, scale, None), dropout_p), v)
    else:
        place = (0, 0)
        if dropout_p:
            B, H, L, _ = q.array.shape
            place = default_generator.take(blocks(B * H * L * k.array.shape[2], 1))
        out = Attention.apply(q, k, v, mask, scale=scale, causal=is_causal, p=dropout_p, key=place[0], counter=place[1])
    return out if query.array.ndim == len(lead) + 2 == 4 else out.reshape((*lead, *out.shape[2:]))


def _in_heads_of_a_batch(query: Tensor, key: Tensor, value: Tensor, enable_gqa: bool) -> Any:
    """The leading dimensions of the result, heads included, and the operands as (B, H, L, D), (B, G, S, D), (B, G, S, E)."""
    shapes = [t.array.shape for t in (query, key, value)]
    if len(shapes[0]) == 4 and shapes[0][:2] == shapes[1][:2] == shapes[2][:2]:
        return shapes[0][:2], (query, key, value)
    heads, *shared = [shape[-3] if len(shape) > 2 else 1 for shape in shapes]
    if enable_gqa:
        if any(heads % n for n in shared):
            raise RuntimeError(
                "scaled_dot_product_attention: enable_gqa needs query heads that are a multiple of the key heads, got "
                f"{heads} and {shared[0]}" + ("" if shared[0] == shared[1] else f", and {shared[1]} of values")
            )
        every = heads
    else:
        (every,) = _broadcast([(heads,), *((n,) for n in shared)], shapes)
    batch = _broadcast([shape[:-3] for shape in shapes], shapes)
    lead = (*batch, every) if max(map(len, shapes)) > 2 else ()
    # heads of keys that all queries share stay one; anything else that differs is repeated
    of_keys = shared[0] if shared[0] == shared[1] and every % shared[0] == 0 else every
    operands = []
    for t, n, wanted in zip((query, key, value), (heads, *shared), (every, of_keys, of_keys), strict=True):
        if n != wanted and n > 1:
            t = t.repeat_interleave(wanted // n, -3)
        shape = (*batch, wanted, *t.array.shape[-2:])
        if lead and t.array.shape != shape:
            t = broadcast_to(t, shape)
        operands.append(t if len(batch) == 1 else t.reshape((math.prod(batch), *shape[-3:])))
    return lead, operands


def _broadcast(parts: list[tuple[int, ...]], shapes: list[tuple[int, ...]]) -> tuple[int, ...]:
    try:
        return np.broadcast_shapes(*parts)
    except ValueError:
        raise RuntimeError(
            "scaled_dot_product_attention: the leading dimensions of query, key and value must match, or be broadcast to each "
            f"other, but got {', '.join(str(list(shape)) for shape in shapes)}; enable_gqa=True lets heads share keys"
        ) from None


def _added(mask: Tensor, shape: tuple[int, ...], like: Tensor) -> Tensor:
    """attn_mask as one that is added to scores (B, H, L, S), its sizes these or 1."""
    xp, a = array_module(mask.array), mask.array
    if a.ndim > len(shape) or any(n not in (1, m) for n, m in zip(a.shape[::-1], shape[::-1], strict=False)):
        raise RuntimeError(
            f"scaled_dot_product_attention: attn_mask must be broadcast to the scores {list(shape)}, but got {list(a.shape)}"
        )
    if a.dtype.kind == "b":
        mask = wrap(xp.where(a, 0.0, -math.inf).astype(like.array.dtype))
    if len(shape) > 4:  # several dimensions become the one of the batch
        mask = broadcast_to(mask, shape)
        return mask.reshape((math.prod(shape[:-3]), *shape[-3:]))
    return mask if a.ndim == 4 else mask.reshape((1,) * (4 - a.ndim) + a.shape)


def _causal_mask(query: Tensor, key: Tensor) -> Tensor:
    """True where a key is not behind the query (L, S)."""
    return wrap(array_module(query.array).tri(query.array.shape[-2], key.array.shape[-2], dtype=bool))


def _check_operands(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> None:
    q, k, v = query.array, key.array, value.array
    if min(q.ndim, k.ndim, v.ndim) < 2:
        raise RuntimeError(
            "scaled_dot_product_attention: Expected query, key, and value to be at least 2 dimensional, but got "
            f"{q.ndim}, {k.ndim} and {v.ndim} dimensions"
        )
    if not q.dtype == k.dtype == v.dtype or q.dtype.kind not in dtypes.FLOATING:
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
    batch_first: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Attention with several heads: (output, weights), for query (L, B, E), key and value (S, B, .); without B too.

    query, key and value are multiplied with their weights and split into heads; each head attends on its own; the heads side
    by side are multiplied with out_proj_weight. key_padding_mask (B, S) and attn_mask (L, S) or (B H, L, S): bool, True where
    a key is NOT to be seen, or float, added to the scores. Weights: (B, L, S), or (B, H, L, S) if not averaged.
    static_k, static_v (B H, S, D): keys and values that are projected already. batch_first: query (B, L, E), key and value
    (B, S, .), and the output like the query. It is not PyTorch's, whose layer turns them instead.
    """
    batched = query.ndim == 3
    _check_inputs(query, key, value, embed_dim_to_check, num_heads, batch_first)
    if not batched:
        query, key, value = (t.unsqueeze(0 if batch_first else 1) for t in (query, key, value))
        key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
    shape = query.array.shape
    (B, L, E) = shape if batch_first else (shape[1], shape[0], shape[2])
    if is_causal and attn_mask is None:
        raise RuntimeError("Need attn_mask if specifying the is_causal hint.")
    if query is key is value and in_proj_weight is not None and not use_separate_proj_weight:
        together = _projected(query, in_proj_weight, in_proj_bias)  # one product for all three
        q, k, v = _in_heads(together, 3, num_heads, batch_first)
    else:
        weights: Any = (q_proj_weight, k_proj_weight, v_proj_weight)
        if not use_separate_proj_weight:
            assert in_proj_weight is not None
            weights = in_proj_weight.chunk(3)
        biases = (None, None, None) if in_proj_bias is None else in_proj_bias.chunk(3)
        q, k, v = (
            _in_heads(_projected(x, w, b), 1, num_heads, batch_first)[0]
            for x, w, b in zip((query, key, value), weights, biases, strict=True)
        )
    k = k if static_k is None else static_k.reshape(B, num_heads, -1, E // num_heads)
    v = v if static_v is None else static_v.reshape(B, num_heads, -1, E // num_heads)
    S = k.shape[2]
    if bias_k is not None and bias_v is not None:
        if static_k is not None or static_v is not None:
            raise RuntimeError(
                "multi_head_attention_forward: bias_k and bias_v cannot be added to static_k or static_v"
            )
        extras = (_in_heads(broadcast_to(t, (1, B, E)), 1, num_heads, False)[0] for t in (bias_k, bias_v))
        k, v = (cat([t, extra], 2) for t, extra in zip((k, v), extras, strict=True))
    if add_zero_attn:
        k, v = (cat([t, t[:, :, :1] * 0], 2) for t in (k, v))
    p = dropout_p if training else 0.0
    if is_causal and key_padding_mask is None and not need_weights and k.shape[2] == S:
        attn_mask = None  # the flag says all
    else:
        is_causal = False
    mask = _joined_mask(attn_mask, key_padding_mask, (B, num_heads, L, S), k.shape[2] - S, query.array)
    if need_weights:
        found = dropout(attention_weights(q, k, mask, 1 / math.sqrt(E // num_heads), None), p, p > 0)
        mixed = matmul(found, v)
    else:
        found, mixed = None, scaled_dot_product_attention(q, k, v, mask, p, is_causal)
    beside = mixed.transpose(1, 2) if batch_first else mixed.permute(2, 0, 1, 3)
    output = _projected(beside.reshape(shape), out_proj_weight, out_proj_bias)
    if found is not None and average_attn_weights:
        found = found.mean(1)
    if not batched:
        output, found = output.squeeze(0 if batch_first else 1), None if found is None else found.squeeze(0)
    return output, found


def _projected(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """linear() of x (S, B, E), which may be a view of (B, S, E), or the other way: of rows side by side it is one product."""
    if x.array.strides[0] < x.array.strides[1]:
        return linear(x.transpose(0, 1), weight, bias).transpose(0, 1)
    return linear(x, weight, bias)


def _in_heads(t: Tensor, count: int, heads: int, batch_first: bool) -> tuple[Tensor, ...]:
    """`count` tensors (B, H, S, D) that lie side by side in (S, B, count H D), or (B, S, count H D)."""
    *lead, E = t.array.shape
    if count == 1:
        t = t.reshape(*lead, heads, E // heads)
        return (t.transpose(1, 2) if batch_first else t.permute(1, 2, 0, 3),)
    t = t.reshape(*lead, count, heads, E // count // heads)
    return t.permute((2, 0, 3, 1, 4) if batch_first else (2, 1, 3, 0, 4)).unbind()


def _check_inputs(query: Tensor, key: Tensor, value: Tensor, E: int, heads: int, batch_first: bool) -> None:
    name, sizes = "multi_head_attention_forward", [list(t.array.shape) for t in (query, key, value)]
    if query.ndim not in (2, 3) or not query.ndim == key.ndim == value.ndim:
        raise RuntimeError(
            f"{name}: expected query, key and value all batched, with 3 dimensions, or all unbatched, with 2, got {sizes}"
        )
    if query.shape[-1] != E:
        raise RuntimeError(f"{name}: was expecting embedding dimension of {E}, but got {query.shape[-1]}")
    if E % heads:
        raise RuntimeError(f"{name}: embed_dim {E} not divisible by num_heads {heads}")
    at = 0 if batch_first else 1
    if key.shape[:-1] != value.shape[:-1] or (query.ndim == 3 and query.shape[at] != key.shape[at]):
        raise RuntimeError(
            f"{name}: expected query {'(B, L, E)' if batch_first else '(L, B, E)'}, and key and value of one sequence length S "
            f"and the batch B, got {sizes}"
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
        if mask.array.dtype.kind not in "b" + dtypes.FLOATING:
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
