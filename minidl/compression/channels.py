"""Whole channels: pruned by masks at first, and then removed, which leaves smaller layers that are faster everywhere.

Both follow a channel through a Sequential: out of a linear layer or a convolution, through batch normalizations and functions of
single elements that leave 0 at 0, into the inputs of the next. Whatever else lies between, such as a layer normalization, which
mixes channels, raises ValueError.

Example:
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> remove_channels(prune_channels(model, 0.5))
    Sequential(
      (0): Linear(in_features=4, out_features=4, bias=True)
      (1): ReLU()
      (2): Linear(in_features=4, out_features=2, bias=True)
    )
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from .. import nn
from ..dtypes import int64
from ..nn.batchnorm import _BatchNorm
from ..nn.module import Module
from ..nn.utils import prune
from ..ops.creation import arange, as_tensor
from ..tensor import Tensor
from .pruning import copy_of, make_permanent

ZERO_STAYS_ZERO = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.RReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish, nn.Tanh,
    nn.Softsign, nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d,
    nn.MaxPool1d, nn.MaxPool2d, nn.AvgPool1d, nn.AvgPool2d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d,
)  # fmt: skip


@dataclass
class Link:
    """A layer, what normalizes its channels, and the layer that reads them: `spread` of its inputs are one channel."""

    path: str
    layer: Any
    following: Any
    norms: list[Any] = field(default_factory=list)
    spread: int = 1


def links(model: Module) -> list[Link]:
    """Every layer of a Sequential whose channels could go; the channels of the last are the result, and stay."""
    found: list[Link] = []
    open_link: Link | None = None
    for path, module in _leaves(model, ""):
        if isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)):
            if getattr(module, "groups", 1) != 1:
                raise ValueError(f"channels: {path} is a convolution in {module.groups} groups; only one is understood")
            if open_link is not None:
                found.append(_closed(open_link, path, module))
            open_link = Link(path, module, None)
        elif open_link is None or isinstance(module, ZERO_STAYS_ZERO):
            pass
        elif isinstance(module, _BatchNorm):
            if not module.affine:
                raise ValueError(f"channels: {path} is a normalization without weights, which makes no channel 0")
            open_link.norms.append(module)
        elif not (isinstance(module, nn.Flatten) and module.start_dim == 1 and module.end_dim == -1):
            raise ValueError(
                f"channels: {path} is a {type(module).__name__}, through which channels cannot be followed; prune single "
                "weights of this model instead"
            )
    return found


def _leaves(module: Module, path: str) -> Iterator[tuple[str, Module]]:
    if not isinstance(module, nn.Sequential):
        raise ValueError(
            f"channels: expected a Sequential, got {type(module).__name__}{f' at {path}' if path else ''}; in which order other "
            "modules call their layers is not known"
        )
    for name, child in module.named_children():
        below = f"{path}.{name}" if path else name
        if isinstance(child, nn.Sequential):
            yield from _leaves(child, below)
        else:
            yield below, child


def _closed(link: Link, path: str, following: Any) -> Link:
    """The link with the layer that reads its channels."""
    outputs, inputs = _outputs(link.layer), following.weight.shape[1]
    into_linear = isinstance(following, nn.Linear) and not isinstance(link.layer, nn.Linear)
    if inputs % outputs if into_linear else inputs != outputs:
        raise ValueError(
            f"channels: {link.path} has {outputs} outputs and {path} {inputs} inputs, which do not belong together"
        )
    link.following, link.spread = following, inputs // outputs
    return link


def _outputs(layer: Any) -> int:
    return int(layer.weight.shape[0])


def prune_channels(model: Module, amount: Any) -> Module:
    """Mask the share (float) or number (int) `amount` of each layer's channels: those whose weights have the smallest norm.

    Bias and batch normalization of a channel go with it, so the channel is 0, and training goes on with the others; the last
    layer keeps all. Returns the model, whose masks are those of nn.utils.prune. Raises ValueError where none would be left.
    Source: Li et al., "Pruning Filters for Efficient ConvNets", 2017, with the L1 norm.
    """
    chain = links(model)
    for link in chain:
        n = round(amount * _outputs(link.layer)) if isinstance(amount, float) else amount
        if not 0 <= n < _outputs(link.layer):
            raise ValueError(
                f"prune_channels: amount {amount} must leave a channel of the {_outputs(link.layer)} of {link.path}"
            )
    for link in chain:
        prune.ln_structured(link.layer, "weight", amount, n=1, dim=0)
        kept = link.layer.weight_mask.flatten(1).amax(1)
        for module in (link.layer, *link.norms):
            for name in ("bias",) if module is link.layer else ("weight", "bias"):
                if getattr(module, name) is not None:
                    prune.custom_from_mask(module, name, kept)
    return model


def remove_channels(model: Module) -> Module:
    """A copy without the channels that are always 0: layers get smaller, results stay the same, masks are gone.

    Channels are 0 because prune_channels masked them, or training made all their weights 0. One of each layer stays.
    Gradients, and with them an optimizer, belong to the old model: make a new optimizer to train on.
    """
    small = make_permanent(copy_of(model))
    alive = {link.path: _alive(link).nonzero().reshape(-1).tolist() for link in links(small)}
    return keep_channels(small, {path: channels or [0] for path, channels in alive.items()})


def keep_channels(model: Module, kept: Mapping[str, Iterable[int]]) -> Module:
    """Leave the layers at these paths only the channels with these numbers, in place, whatever the others are."""
    for link in links(model):
        if link.path in kept:
            channels = as_tensor(list(kept[link.path]), dtype=int64, device=link.layer.weight.device)
            _take(link.layer, 0, channels)
            for norm in link.norms:
                _take(norm, 0, channels)
            inputs = channels.reshape(-1, 1) * link.spread + arange(link.spread, device=channels.device)
            _take(link.following, 1, inputs.reshape(-1))
    return model


def _alive(link: Link) -> Tensor:
    """Which channels are not always 0, (C,) bool."""
    last = link.norms[-1] if link.norms else link.layer
    alive = (last.weight.detach() != 0).flatten(1).any(1) if last is link.layer else last.weight.detach() != 0
    return alive if last.bias is None else alive | (last.bias.detach() != 0)


def _take(module: Any, dim: int, numbers: Tensor) -> None:
    """Leave a layer or a normalization these of its outputs (dim 0), or a layer these of its inputs (dim 1)."""
    names = ("weight", "bias", "running_mean", "running_var") if dim == 0 else ("weight",)
    for name in names:
        t = getattr(module, name, None)
        if t is not None:
            t.data, t.grad = t.detach().index_select(dim, numbers), None
    if isinstance(module, _BatchNorm):
        module.num_features = len(numbers)
    else:
        side, unit = ("out", "in")[dim], "features" if isinstance(module, nn.Linear) else "channels"
        setattr(module, f"{side}_{unit}", len(numbers))
