"""Attention layers: several heads, additive and multiplicative scores, and a cache of keys and values."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from typing import Any

from ..ops.joining import cat
from ..ops.linalg import matmul
from ..ops.softmax import softmax
from ..tensor import Tensor
from . import functional as F
from . import init
from .linear import Linear
from .module import Module
from .parameter import Parameter, blank


class NonDynamicallyQuantizableLinear(Linear):
    """The output layer of MultiheadAttention. PyTorch gives it a name of its own, which models print."""


class MultiheadAttention(Module):
    """Attention with several heads that look at different parts of the features (Vaswani et al., 2017).

    query (L, B, E), key (S, B, kdim), value (S, B, vdim); with batch_first the batch comes first; without a batch (L, E).
    Returns the output like query, and the weights (B, L, S), or (B, H, L, S) with average_attn_weights=False.
    add_bias_kv: one more learned key and value; add_zero_attn: one more of zeros.

    Example:
        >>> output, weights = nn.MultiheadAttention(8, 2, batch_first=True)(*[torch.ones(1, 5, 8)] * 3)
        >>> output.shape, weights.shape
        (torch.Size([1, 5, 8]), torch.Size([1, 5, 5]))
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if embed_dim <= 0 or num_heads <= 0:
            raise ValueError(
                f"embed_dim and num_heads must be greater than 0, got embed_dim={embed_dim} and num_heads={num_heads} instead"
            )
        if embed_dim % num_heads:
            raise AssertionError(f"embed_dim must be divisible by num_heads, got {embed_dim} and {num_heads}")
        self.embed_dim, self.num_heads, self.dropout, self.batch_first = embed_dim, num_heads, dropout, batch_first
        self.kdim, self.vdim = kdim or embed_dim, vdim or embed_dim
        self.head_dim, self.add_zero_attn = embed_dim // num_heads, add_zero_attn
        self._qkv_same_embed_dim = self.kdim == embed_dim == self.vdim
        made = {"device": device, "dtype": dtype}
        shapes = {"in_proj_weight": (3 * embed_dim, embed_dim)}
        if not self._qkv_same_embed_dim:
            shapes = {
                f"{n}_proj_weight": (embed_dim, w) for n, w in (("q", embed_dim), ("k", self.kdim), ("v", self.vdim))
            }
        for name in ("q_proj_weight", "k_proj_weight", "v_proj_weight", "in_proj_weight"):
            self.register_parameter(name, Parameter(blank(*shapes[name], **made)) if name in shapes else None)
        self.register_parameter("in_proj_bias", Parameter(blank(3 * embed_dim, **made)) if bias else None)
        self.out_proj = NonDynamicallyQuantizableLinear(embed_dim, embed_dim, bias=bias, **made)
        for name in ("bias_k", "bias_v"):
            self.register_parameter(name, Parameter(blank(1, 1, embed_dim, **made)) if add_bias_kv else None)
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        for weight in (self.in_proj_weight, self.q_proj_weight, self.k_proj_weight, self.v_proj_weight):
            if weight is not None:
                init.xavier_uniform_(weight)
        if self.in_proj_bias is not None:
            init.zeros_(self.in_proj_bias)
            init.zeros_(self.out_proj.bias)
        for extra in (self.bias_k, self.bias_v):
            if extra is not None:
                init.xavier_normal_(extra)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """key_padding_mask (B, S), attn_mask (L, S) or (B H, L, S): bool, True where a key is not to be seen, or float, added.

        is_causal only promises that attn_mask is the causal one.
        """
        return F.multi_head_attention_forward(
            query, key, value, self.embed_dim, self.num_heads, self.in_proj_weight, self.in_proj_bias, self.bias_k,
            self.bias_v, self.add_zero_attn, self.dropout, self.out_proj.weight, self.out_proj.bias, self.training,
            key_padding_mask, need_weights, attn_mask, not self._qkv_same_embed_dim, self.q_proj_weight,
            self.k_proj_weight, self.v_proj_weight, average_attn_weights=average_attn_weights, is_causal=is_causal,
            batch_first=self.batch_first,
        )  # fmt: skip


class AdditiveAttention(Module):
    """Scores v . tanh(W query + U key): a small network compares them (Bahdanau, Cho & Bengio, 2015).

    query (B, L, query_size), key (B, S, key_size), value (B, S, E): outputs (B, L, E) and weights (B, L, S).
    mask: bool, broadcast to (B, L, S), True where a key may be seen.

    Example:
        >>> output, weights = nn.AdditiveAttention(4, 6, 8)(torch.ones(1, 2, 4), torch.ones(1, 3, 6), torch.ones(1, 3, 5))
        >>> output.shape, weights.shape
        (torch.Size([1, 2, 5]), torch.Size([1, 2, 3]))
    """

    def __init__(self, query_size: int, key_size: int, hidden_size: int, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.query_proj = Linear(query_size, hidden_size, bias=False, device=device, dtype=dtype)
        self.key_proj = Linear(key_size, hidden_size, bias=False, device=device, dtype=dtype)
        self.score = Linear(hidden_size, 1, bias=False, device=device, dtype=dtype)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        compared = self.query_proj(query).unsqueeze(-2) + self.key_proj(key).unsqueeze(-3)
        return _mixed(self.score(compared.tanh()).squeeze(-1), value, mask)


class MultiplicativeAttention(Module):
    """Scores query . key ("dot") or query . W key ("general") (Luong, Pham & Manning, 2015).

    query (B, L, query_size), key (B, S, key_size), value (B, S, E): outputs (B, L, E) and weights (B, L, S).
    key_size: None for the dot product, which needs the same width. scale: divide the scores by sqrt(query_size), as
    Vaswani et al. (2017) do. mask: bool, broadcast to (B, L, S), True where a key may be seen.
    """

    def __init__(
        self, query_size: int, key_size: int | None = None, scale: bool = False, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.query_size, self.scale = query_size, scale
        self.key_proj = (
            None if key_size is None else Linear(key_size, query_size, bias=False, device=device, dtype=dtype)
        )

    def forward(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        key = key if self.key_proj is None else self.key_proj(key)
        if query.shape[-1] != key.shape[-1]:
            raise RuntimeError(
                f"MultiplicativeAttention: query and key must be equally wide for a dot product, got {query.shape[-1]} and "
                f"{key.shape[-1]}; give key_size"
            )
        scores = matmul(query, key.transpose(-2, -1))
        return _mixed(scores / math.sqrt(self.query_size) if self.scale else scores, value, mask)

    def extra_repr(self) -> str:
        return f"query_size={self.query_size}, scale={self.scale}"


def _mixed(scores: Tensor, value: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    weights = softmax(scores, -1)
    return matmul(weights, value), weights


class KVCache:
    """The keys and values of all steps so far, so that a decoder computes only those of the newest.

    `update(key, value)` appends (..., S, D) along the time dimension and returns everything; `len` is the number of steps.

    Example:
        >>> cache = nn.KVCache()
        >>> for _ in range(3):
        ...     key, value = cache.update(torch.ones(1, 2, 1, 4), torch.ones(1, 2, 1, 4))
        >>> key.shape
        torch.Size([1, 2, 3, 4])
    """

    def __init__(self) -> None:
        self.key: Tensor | None = None
        self.value: Tensor | None = None

    def __len__(self) -> int:
        return 0 if self.key is None else int(self.key.shape[-2])

    def update(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Append keys and values of new steps; all of them so far."""
        if key.shape[:-1] != value.shape[:-1]:
            raise RuntimeError(
                f"KVCache: keys {list(key.shape)} and values {list(value.shape)} are not of the same steps"
            )
        if self.key is not None and self.value is not None:
            key, value = cat([self.key, key], -2), cat([self.value, value], -2)
        self.key, self.value = key, value
        return key, value

    def reset(self) -> None:
        """Forget everything."""
        self.key = self.value = None


# ---------------------------------------------------------------------------------------------------------------------
# PyTorch's choice between implementations of F.scaled_dot_product_attention


class SDPBackend(Enum):
    """PyTorch's implementations of attention. There is one per device here: `kernels.explain` shows it."""

    ERROR = -1
    MATH = 0
    FLASH_ATTENTION = 1
    EFFICIENT_ATTENTION = 2
    CUDNN_ATTENTION = 3


@contextmanager
def sdpa_kernel(backends: SDPBackend | list[SDPBackend], set_priority: bool = False) -> Iterator[None]:
    """Changes nothing: which implementation computes attention does not depend on it. Raises TypeError for no SDPBackend."""
    for backend in backends if isinstance(backends, (list, tuple)) else [backends]:
        if not isinstance(backend, SDPBackend):
            raise TypeError(f"sdpa_kernel: backends should be SDPBackend or a list of them, got {backend!r}")
    yield
