"""Choosing which weights go, with the masks of nn.utils.prune.

A pruned parameter is `weight_orig`, which is learned, times `weight_mask`; a hook makes `weight` of the two before every
forward. So what is pruned stays exactly 0 under every optimizer: momentum, Adam's means and weight decay move `weight_orig`
behind the mask and reach nothing. The masks are buffers, so a checkpoint has them; `make_permanent` takes them off.

What is pruned is named by pairs (module, "weight"), as nn.utils.prune.global_unstructured takes them.

Example:
    >>> model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> prune_to(weights(model), 0.75)
    >>> sparsity(weights(model))
    0.75
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from typing import Any

from ..autograd.grad_mode import no_grad
from ..nn.attention import MultiheadAttention, NonDynamicallyQuantizableLinear
from ..nn.conv import _ConvNd
from ..nn.functional import kwinners
from ..nn.linear import Linear
from ..nn.module import Module
from ..nn.utils import prune
from ..nn.utils.weight_norm import find_hook
from ..ops.creation import ones_like
from ..tensor import Tensor

Pairs = list[tuple[Module, str]]


def weights(model: Module) -> Pairs:
    """(layer, "weight") for all linear layers and convolutions of a model.

    The last layer of a MultiheadAttention is left out: it is never called as a module, so its mask would have no effect.
    """
    layers = (m for m in model.modules() if isinstance(m, (Linear, _ConvNd)))
    return [(m, "weight") for m in layers if not isinstance(m, NonDynamicallyQuantizableLinear)]


def mask_of(module: Module, name: str) -> Tensor:
    """The mask of a parameter: its buffer, or ones where it is not pruned."""
    if is_masked(module, name):
        return getattr(module, f"{name}_mask")
    return ones_like(getattr(module, name).detach())


def is_masked(module: Module, name: str) -> bool:
    """Whether this very parameter is pruned."""
    return find_hook(module, prune.BasePruningMethod, name) is not None


def set_mask(module: Module, name: str, mask: Tensor) -> None:
    """Prune a parameter where the mask is 0 and nowhere else, whatever was pruned before."""
    if not is_masked(module, name):
        prune.identity(module, name)
    current = getattr(module, f"{name}_mask")
    if current.shape != mask.shape:
        raise ValueError(f"set_mask: the mask {list(mask.shape)} must have the shape of {name}, {list(current.shape)}")
    with no_grad():
        current.copy_(mask)
    refresh(module, name)


def refresh(module: Module, name: str) -> None:
    """Make the parameter of what is learned and the mask now, as the next forward will."""
    key = find_hook(module, prune.BasePruningMethod, name)
    assert key is not None
    module._forward_pre_hooks[key](module, ())


def sparsity(pairs: Iterable[tuple[Module, str]]) -> float:
    """The share of elements that are 0, over all parameters together; 0.0 for none."""
    tensors = [getattr(module, name).detach() for module, name in pairs]
    total = sum(t.numel() for t in tensors)
    return sum(int((t == 0).sum().item()) for t in tensors) / total if total else 0.0


def prune_to(pairs: Iterable[tuple[Module, str]], amount: float, scope: str = "layer") -> None:
    """Prune the elements nearest to 0 until the share `amount` is pruned: of each parameter, or with scope="global" of all.

    Unlike in nn.utils.prune the share is of the whole, not of what is left; where as much is pruned already nothing happens.
    Raises ValueError for an amount outside [0, 1] and for another scope.
    """
    if not 0 <= amount <= 1:
        raise ValueError(f"prune_to: amount is a share from 0 to 1, got {amount}")
    if scope not in ("layer", "global"):
        raise ValueError(f'prune_to: scope is "layer" or "global", got {scope!r}')
    pairs = list(pairs)
    missing = [_pruned_count(*pair, amount) for pair in pairs]
    if scope == "global":
        size = sum(getattr(module, name).numel() for module, name in pairs)
        pruned = sum(int((mask_of(*pair) == 0).sum().item()) for pair in pairs)
        if round(amount * size) > pruned:
            prune.global_unstructured(pairs, prune.L1Unstructured, amount=round(amount * size) - pruned)
        return
    for (module, name), count in zip(pairs, missing, strict=True):
        if count > 0:
            prune.l1_unstructured(module, name, count)


def _pruned_count(module: Module, name: str, amount: float) -> int:
    """How many elements are still to be pruned."""
    mask = mask_of(module, name)
    return round(amount * mask.numel()) - int((mask == 0).sum().item())


def copy_of(model: Module) -> Module:
    """A deep copy of a model, pruned or not: copy.deepcopy alone refuses a `weight` that was computed in a graph."""
    with no_grad():
        for module, hook in _hooks(model):
            hook(module, ())
    return copy.deepcopy(model)


def _hooks(model: Module) -> Iterator[tuple[Module, prune.BasePruningMethod]]:
    for module in model.modules():
        for hook in list(module._forward_pre_hooks.values()):
            if isinstance(hook, prune.BasePruningMethod):
                yield module, hook


def make_permanent(model: Module) -> Module:
    """Take off all masks of a model: what is pruned is 0, and a parameter like any other. Returns the model."""
    for module, hook in _hooks(model):
        prune.remove(module, hook._tensor_name)
    return model


# ---------------------------------------------------------------------------------------------------------------------
# N:M, blocks and attention heads


class NM(prune.BasePruningMethod):
    """Keeps the n largest of every m neighbours along `dim`; fewer where more of them were pruned before.

    2:4 is the pattern that the sparse tensor cores of NVIDIA's GPUs multiply (Mishra et al., "Accelerating Sparse Deep Neural
    Networks", 2021). dim=1 are the inputs of a linear layer and the input channels of a convolution.
    """

    PRUNING_TYPE = "global"  # the groups are of all elements, not of those that are left

    def __init__(self, n: int, m: int, dim: int = 1) -> None:
        if not 0 < n <= m:
            raise ValueError(f"N:M pruning keeps n of m, 0 < n <= m; got {n}:{m}")
        self.n, self.m, self.dim = n, m, dim

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        if not -t.ndim <= self.dim < t.ndim or t.shape[self.dim] % self.m:
            raise ValueError(
                f"{self.n}:{self.m} pruning: dim {self.dim} must be a multiple of {self.m} long, got shape {list(t.shape)}"
            )
        scores = (t.abs() * default_mask).transpose(self.dim, -1)
        groups = scores.reshape(-1, self.m)
        mask = kwinners(ones_like(groups), self.n, -1, groups).reshape(scores.shape).transpose(self.dim, -1)
        return mask.to(default_mask.dtype) * default_mask


def nm(module: Module, name: str, n: int, m: int, dim: int = 1) -> Module:
    """Keep the n largest of every m neighbours along dim; returns the module, as nn.utils.prune's functions do."""
    NM.apply(module, name, n, m, dim)
    return module


class Blocks(prune.BasePruningMethod):
    """Prunes blocks (R, C) of a matrix, an int how many or a float which share, by the sum of the magnitudes in them.

    Blocks that were pruned before count. What is left is stored and multiplied block by block by to_bsr's layers.
    Source: Narang, Undersander & Diamos, "Block-Sparse Recurrent Neural Networks", 2017, who go by the largest magnitude.
    """

    PRUNING_TYPE = "global"  # as above

    def __init__(self, amount: int | float, block: tuple[int, int] = (16, 16)) -> None:
        if min(block) < 1 or amount < 0 or (isinstance(amount, float) and amount > 1):
            raise ValueError(
                f"block pruning: amount is a number of blocks or a share from 0.0 to 1.0 and block two positive sizes, got "
                f"{amount} and {block}"
            )
        self.amount, self.block = amount, block

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        R, C = self.block
        if t.ndim != 2 or t.shape[0] % R or t.shape[1] % C:
            raise ValueError(f"block pruning: a matrix of blocks {self.block} is wanted, got shape {list(t.shape)}")
        rows, columns = t.shape[0] // R, t.shape[1] // C
        scores = (t.abs() * default_mask).reshape(rows, R, columns, C).sum((1, 3)).reshape(rows * columns)
        count = round(self.amount * len(scores)) if isinstance(self.amount, float) else self.amount
        if count > len(scores):
            raise ValueError(f"block pruning: {count} blocks are to be pruned, and there are {len(scores)}")
        kept = kwinners(ones_like(scores), len(scores) - count, -1, scores).reshape(rows, 1, columns, 1)
        return kept.expand(rows, R, columns, C).reshape(t.shape).to(default_mask.dtype) * default_mask


def blocks(module: Module, name: str, amount: int | float, block: tuple[int, int] = (16, 16)) -> Module:
    """Prune the blocks of a matrix nearest to 0, an int how many or a float which share; returns the module."""
    Blocks.apply(module, name, amount, block)
    return module


def heads(attention: MultiheadAttention, amount: Any) -> MultiheadAttention:
    """Prune whole heads, an int how many or a float which share: their queries, keys and values are 0, and so is what they add.

    A head counts by the norm of the matrix that it multiplies values with in all, output times value projection: no scale
    that one of the two has and the other takes back matters. The layer keeps its shapes.
    Raises ValueError where no head would be left. Source: Michel, Levy & Neubig, "Are Sixteen Heads Really Better than One?",
    2019, who score heads by gradients.
    """
    E, H, d = attention.embed_dim, attention.num_heads, attention.head_dim
    n = round(amount * H) if isinstance(amount, float) else amount
    if not 0 <= n < H:
        raise ValueError(f"heads: amount must leave at least one of {H} heads, got {amount}")
    with no_grad():
        projection = attention.v_proj_weight if attention.in_proj_weight is None else attention.in_proj_weight[2 * E :]
        out = attention.out_proj.weight.reshape(E, H, d).permute(1, 0, 2)  # (H, E, d)
        norms = (out @ projection.reshape(H, d, -1)).pow(2).sum([1, 2])
        kept = kwinners(ones_like(norms), H - n, 0, norms)
        mask = kept.reshape(H, 1).expand(H, d).reshape(E)
    for name in (
        "in_proj_weight",
        "q_proj_weight",
        "k_proj_weight",
        "v_proj_weight",
        "in_proj_bias",
        "bias_k",
        "bias_v",
    ):
        parameter = getattr(attention, name)
        if parameter is not None:
            rows = mask.repeat(3) if name.startswith("in_proj") else mask
            shape = [-1] + [1] * (parameter.ndim - 1) if not name.startswith("bias") else [1, 1, -1]
            prune.custom_from_mask(attention, name, rows.reshape(shape).expand(parameter.shape).clone())
    return attention
