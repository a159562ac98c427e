"""Modules as functions of their parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from ...tensor import Tensor
from ..module import Module


def functional_call(
    module: Module,
    parameter_and_buffer_dicts: Mapping[str, Tensor] | Sequence[Mapping[str, Tensor]],
    args: Any = None,
    kwargs: dict[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """module(*args, **kwargs) with other tensors in the place of its parameters and buffers, whose dotted paths are the keys.

    args: the arguments, or the only one. tie_weights: a tensor that the module has under several paths is replaced under all of
    them. strict: raise RuntimeError unless all parameters and buffers are given, and nothing else. The module is left as it was.

    Example:
        >>> layer = nn.Linear(2, 1)
        >>> weights = {"weight": torch.tensor([[1.0, 2.0]]), "bias": torch.tensor([3.0])}
        >>> torch.func.functional_call(layer, weights, torch.tensor([1.0, 1.0]))
        tensor([6.])
    """
    dicts = parameter_and_buffer_dicts
    given: dict[str, Tensor] = {}
    for part in [dicts] if isinstance(dicts, Mapping) else dicts:
        repeated = set(part) & set(given)
        if repeated:
            raise ValueError(f"functional_call: {sorted(repeated)} appeared in multiple dictionaries")
        given.update(part)
    positional = args if isinstance(args, tuple) else () if args is None else (args,)
    with _replaced(module, given, tie_weights, strict):
        return module(*positional, **(kwargs or {}))


@contextmanager
def _replaced(module: Module, given: Mapping[str, Tensor], tie_weights: bool, strict: bool) -> Iterator[None]:
    """Inside the block, the module holds the given tensors."""
    places: dict[str, tuple[dict[str, Any], str]] = {  # where each tensor is held, by path
        f"{path}.{name}" if path else name: (holder, name)
        for path, owner in module.named_modules(remove_duplicate=False)
        for holder in (owner._parameters, owner._buffers)
        for name, t in holder.items()
        if t is not None
    }
    before = {path: holder[name] for path, (holder, name) in places.items()}
    unknown, missing = sorted(set(given) - set(places)), sorted(set(places) - set(given))
    new = dict(given)
    if tie_weights:
        by_tensor = {id(before[path]): t for path, t in given.items() if path in before}
        new.update((path, by_tensor[id(t)]) for path, t in before.items() if path not in given and id(t) in by_tensor)
        missing = [path for path in missing if path not in new]
    if strict and (unknown or missing):
        raise RuntimeError(f"functional_call: Error(s): Unexpected key(s): {unknown}. Missing key(s): {missing}.")
    if unknown:
        raise KeyError(f"functional_call: the module has no parameter or buffer {unknown}")
    try:
        for path, t in new.items():
            holder, name = places[path]
            holder[name] = t
        yield
    finally:
        for path, (holder, name) in places.items():
            holder[name] = before[path]
