"""Lottery tickets: the weights that survive pruning, back at their first values, learn as well as the whole network did.

    start = snapshot(model)            # before training
    ...                                # train
    prune_to(weights(model), 0.8)
    rewind(model, start)               # masks stay, values are those of the start
    ...                                # train again, with a new optimizer

Source: Frankle & Carbin, "The Lottery Ticket Hypothesis: Finding Sparse, Trainable Neural Networks", 2019; a snapshot after some
steps of training in place of the very first: Frankle et al., "Linear Mode Connectivity and the Lottery Ticket Hypothesis", 2020.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..autograd.grad_mode import no_grad
from ..nn.module import Module
from ..tensor import Tensor
from .pruning import is_masked, refresh


def snapshot(model: Module) -> dict[str, Tensor]:
    """A copy of all parameters and buffers by the names that they have without pruning."""
    return {name: t.detach().clone() for name, (t, _) in _plain(model).items()}


@no_grad()
def rewind(model: Module, state: Mapping[str, Tensor]) -> None:
    """Set the model to a snapshot; masks that it has by now stay.

    Raises KeyError where the snapshot lacks a parameter, RuntimeError for one of another shape: it is of another model.
    """
    for name, (t, module) in _plain(model).items():
        if name not in state:
            raise KeyError(f"rewind: the snapshot has no {name!r}; take it of this model, before it is changed")
        if state[name].shape != t.shape:
            raise RuntimeError(
                f"rewind: {name} is {list(t.shape)} in the model and {list(state[name].shape)} in the snapshot"
            )
        t.copy_(state[name])
        own = name.rpartition(".")[2]
        if is_masked(module, own):
            refresh(module, own)


def _plain(model: Module) -> dict[str, tuple[Tensor, Module]]:
    """All parameters and buffers but the masks, with their modules; `weight_orig` of a pruned layer as `weight`."""
    found = {}
    for path, module in model.named_modules():
        for name, t in module._own_state():
            plain = name.removesuffix("_orig")
            if name.endswith("_mask") and is_masked(module, name.removesuffix("_mask")):
                continue
            found[f"{path}.{plain}" if path else plain] = t, module
    return found
