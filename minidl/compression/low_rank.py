"""Low rank: a matrix as the product of two thin ones, by the singular value decomposition, within a budget of error.

Of all matrices of rank r the decomposition cut off after r singular values is the nearest (Eckart & Young, 1936), and its
distance is known beforehand: the root of the sum of the squares of those cut off.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from .. import nn
from ..autograd.grad_mode import no_grad
from ..autograd.op import wrap
from ..nn.module import Module
from ..tensor import Tensor
from .pruning import copy_of, make_permanent


class Factorized(NamedTuple):
    """What became of a layer: its rank, the relative error of its weight, the number of its weights before and after."""

    path: str
    rank: int
    error: float
    before: int
    after: int


def rank_for(singular_values: Tensor, error: float) -> tuple[int, float]:
    """The smallest rank, at least 1, whose relative error in the Frobenius norm is at most `error`, and that error.

    singular_values: (N,), falling. Raises ValueError for an error outside [0, 1].

    Example:
        >>> rank, error = rank_for(minidl.tensor([4.0, 3.0]), 0.6)
        >>> rank, round(error, 6)
        (1, 0.6)
    """
    if not 0 <= error <= 1:
        raise ValueError(f"rank_for: the error is relative, from 0 to 1, got {error}")
    s = singular_values.detach().cpu().numpy().astype(np.float64)
    if not s.size or not s[0]:
        return 1, 0.0
    left = np.sqrt(np.append(np.cumsum((s**2)[::-1])[::-1], 0.0) / (s**2).sum())  # left[r]: the error of rank r
    rank = max(1, int(np.argmax(left <= error * (1 + 1e-6))))  # single precision may put an exact budget a hair above
    return rank, float(left[rank])


@no_grad()
def factorize(layer: Any, error: float = 0.1, rank: int | None = None) -> tuple[nn.Sequential, int, float]:
    """A Linear or Conv2d as two in a row, of the smallest rank within `error`, or of a given one; with rank and error.

    Linear (in, out): Linear(in, rank) without a bias, then Linear(rank, out). Conv2d: `rank` filters of its size, then a
    1 x 1 convolution, as in Zhang et al., "Accelerating Very Deep Convolutional Networks for Classification and Detection", 2016.
    The singular values are shared out between both, which keeps their sizes alike for further training.
    Raises TypeError for another layer, ValueError for a convolution in groups and for a rank that the weight does not have.
    """
    if not isinstance(layer, (nn.Linear, nn.Conv2d)):
        raise TypeError(f"factorize: expected a Linear or a Conv2d, got {type(layer).__name__}")
    if isinstance(layer, nn.Conv2d) and layer.groups != 1:
        raise ValueError(
            f"factorize: a convolution in {layer.groups} groups is no single matrix; only one group is understood"
        )
    weight = layer.weight.detach()
    u, s, vh = np.linalg.svd(weight.cpu().numpy().reshape(weight.shape[0], -1).astype(np.float64), full_matrices=False)
    if rank is not None and not 0 < rank <= s.size:
        raise ValueError(f"factorize: rank must be from 1 to {s.size}, got {rank}")
    found, distance = rank_for(wrap(s), error)
    if rank is not None:
        found, distance = rank, math.sqrt(float((s[rank:] ** 2).sum()) / max(float((s**2).sum()), 1e-300))
    root = np.sqrt(s[:found])
    first, second = thin_layers(layer, found)
    first.weight.copy_(wrap((root[:, None] * vh[:found]).reshape(tuple(first.weight.shape))))
    second.weight.copy_(wrap((u[:, :found] * root).reshape(tuple(second.weight.shape))))
    if layer.bias is not None:
        second.bias.copy_(layer.bias.detach())
    return nn.Sequential(first, second), found, distance


def thin_layers(layer: Any, rank: int) -> tuple[Any, Any]:
    bias, made = layer.bias is not None, {"device": layer.weight.device, "dtype": layer.weight.dtype}
    if isinstance(layer, nn.Linear):
        return nn.Linear(layer.in_features, rank, bias=False, **made), nn.Linear(rank, layer.out_features, bias, **made)
    first = nn.Conv2d(
        layer.in_channels, rank, layer.kernel_size, layer.stride, layer.padding, layer.dilation, bias=False,
        padding_mode=layer.padding_mode, **made,
    )  # fmt: skip
    return first, nn.Conv2d(rank, layer.out_channels, 1, bias=bias, **made)


def low_rank(model: Module, error: float = 0.1) -> tuple[Module, list[Factorized]]:
    """A copy of a model with each Linear and Conv2d factorized within the budget, where that makes it smaller; and which.

    Layers that would not get smaller stay as they are: a rank below in * out / (in + out) is needed. Masks become zeros first.
    error: of each weight, relative, in the Frobenius norm.

    Example:
        >>> small, changes = low_rank(model, error=0.3)
        >>> sum(change.before - change.after for change in changes)
    """
    result, changes = make_permanent(copy_of(model)), list[Factorized]()
    for path, layer in list(result.named_modules()):
        if type(layer) not in (nn.Linear, nn.Conv2d) or getattr(layer, "groups", 1) != 1 or not layer.weight.numel():
            continue
        pair, rank, distance = factorize(layer, error)
        before, after = layer.weight.numel(), pair[0].weight.numel() + pair[1].weight.numel()
        if after >= before:
            continue
        changes.append(Factorized(path, rank, distance, before, after))
        if not path:
            return pair, changes
        result.set_submodule(path, pair)
    return result, changes
