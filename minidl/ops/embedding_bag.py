"""Rows of a table looked up and reduced bag by bag, without the looked-up rows as a result in between."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..autograd.op import wrap
from ..autograd.precision import in_float32
from ..kernels import array_module
from ..tensor import Tensor
from .creation import full
from .embedding import EmbeddingGrad, embedding
from .joining import cat
from .selection import where


def _bags(input: Tensor, offsets: Tensor | None, include_last_offset: bool) -> tuple[Any, int]:
    """For each index in `input` the number of its bag, and how many bags there are. Raises for offsets that make none."""
    index, xp = input.array, array_module(input.array)
    if index.ndim == 2:
        if offsets is not None:
            raise ValueError("embedding_bag: with input (B, N), each row is a bag; leave offsets out")
        return xp.repeat(xp.arange(index.shape[0]), index.shape[1]), index.shape[0]
    if index.ndim != 1:
        raise ValueError(f"embedding_bag: input has to be 1D or 2D Tensor, got {index.ndim}D")
    if offsets is None or offsets.array.ndim != 1:
        raise ValueError(
            "embedding_bag: offsets has to be a 1D Tensor of where each bag begins in input (N,), got "
            f"{'none' if offsets is None else list(offsets.shape)}"
        )
    starts = offsets.array
    if starts.dtype not in (np.int64, np.int32):
        raise RuntimeError(
            f"embedding_bag: expected offsets of dtype int32 or int64, got {offsets.dtype}; use x.long()"
        )
    if include_last_offset and not starts.size:
        raise RuntimeError("embedding_bag: include_last_offset: number of offsets should be at least 1")
    ends = xp.append(starts[1:], index.size)
    if starts.size and starts[0]:
        raise RuntimeError(f"embedding_bag: offsets[0] has to be 0, the first bag's beginning, got {int(starts[0])}")
    if starts.size and (ends < starts).any():
        raise RuntimeError(
            f"embedding_bag: offsets must not fall, nor exceed input's length of {index.size}, got {starts.tolist()}"
        )
    if include_last_offset:  # the last one is the end of the last bag
        starts, ends = starts[:-1], ends[:-1]
    bags = xp.repeat(xp.arange(starts.size), (ends - starts).tolist())
    return xp.append(bags, xp.full(index.size - bags.size, starts.size)), starts.size


def _largest(rows: Tensor, bags: Any, count: Any) -> Tensor:
    """The largest value per bag and column, 0 for empty bags; bags are in order, `count` says how many rows are in each."""
    xp, N = array_module(bags), bags.size
    table = xp.full(
        (count.size, max(1, int(count.max()) if count.size else 0)), N
    )  # the rows of each bag, filled up with row N
    table[bags, xp.arange(N) - (count.cumsum() - count)[bags]] = xp.arange(N)
    filler = full((1, rows.shape[1]), -math.inf, dtype=rows.dtype, device=rows.device)
    largest = cat([rows, filler])[wrap(table)].max(1).values
    return where(wrap(count[:, None] > 0), largest, 0.0)


@in_float32
def embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """Rows of `weight` (V, D) at the numbers in `input`, their "sum", "mean" or "max" per bag: (B, D). Empty bags give 0.

    input: (B, N), a bag a row; or (N,) with `offsets` (B,), where each bag begins. include_last_offset: offsets (B + 1,)
    end with the end of the last bag. per_sample_weights: factors of the rows, of input's shape, for "sum" only.
    padding_idx: a number that counts as not there. max_norm, norm_type and scale_grad_by_freq as in embedding().
    Raises ValueError for shapes and modes that do not fit, IndexError for a number outside [0, V).

    Example:
        >>> table = minidl.tensor([[1.0, 2.0], [3.0, 4.0]])
        >>> F.embedding_bag(minidl.tensor([0, 1, 1]), table, minidl.tensor([0, 2]), mode="sum")
        tensor([[4., 6.],
                [3., 4.]])
    """
    if mode not in ("sum", "mean", "max"):
        raise ValueError(f"embedding_bag: mode has to be one of sum, mean or max, got {mode!r}")
    if mode == "max" and (scale_grad_by_freq or sparse):
        raise ValueError(
            "embedding_bag: max mode does not support scaling the gradient by the frequency, nor sparse weights"
        )
    if per_sample_weights is not None:
        if mode != "sum":
            raise NotImplementedError(
                f"embedding_bag: per_sample_weights was given, which only mode='sum' takes, got {mode!r}"
            )
        if per_sample_weights.shape != input.shape:
            raise ValueError(
                f"embedding_bag: per_sample_weights {list(per_sample_weights.shape)} must have input's shape, "
                f"{list(input.shape)}"
            )
    bags, B = _bags(input, offsets, include_last_offset)
    index, xp = input.array.reshape(-1), array_module(input.array)
    V = weight.shape[0]
    if padding_idx is not None and not -V <= padding_idx < V:
        raise RuntimeError(
            f"embedding_bag: padding_idx must be within the number of embeddings, {V}, got {padding_idx}"
        )
    counted = bags < B  # entries after the last offset belong to no bag
    if padding_idx is not None:
        counted &= index != padding_idx % V
    bags, factors = bags[counted], per_sample_weights
    rows = embedding(wrap(index[counted]), weight, None, max_norm, norm_type, scale_grad_by_freq, sparse)
    count = xp.bincount(bags, minlength=B)
    if mode == "max":
        return _largest(rows, bags, count)
    if factors is not None:
        rows = rows * factors.reshape(-1)[wrap(counted)].unsqueeze(1)
    total = EmbeddingGrad.apply(rows, index=bags, rows=B)
    return total / wrap(xp.maximum(count, 1)[:, None].astype(total.array.dtype)) if mode == "mean" else total


__all__ = ["embedding_bag"]
