"""Parameters as functions of others: `module.weight` becomes what a chain of modules makes of the tensor that is learned.

The learned tensor moves to `module.parametrizations.weight.original`, and the module's class to one of the same name with
"Parametrized" before it, whose instances compute the attribute when it is asked for.

Example:
    >>> class Symmetric(nn.Module):
    ...     def forward(self, x):
    ...         return x.triu() + x.triu(1).mT
    >>> layer = parametrize.register_parametrization(nn.Linear(3, 3), "weight", Symmetric())
    >>> torch.equal(layer.weight, layer.weight.T)
    True
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ...autograd.grad_mode import no_grad
from ...tensor import Tensor
from ..container import ModuleDict, ModuleList
from ..module import Module
from ..parameter import Parameter

_cache: dict[tuple[int, str], Tensor] = {}
_caching = 0  # how many `cached()` blocks are open


@contextmanager
def cached() -> Iterator[None]:
    """Inside the block every parametrized tensor is computed once: for weights that a forward pass uses several times."""
    global _caching
    _caching += 1
    try:
        yield
    finally:
        _caching -= 1
        if not _caching:
            _cache.clear()


class ParametrizationList(ModuleList):
    """The chain of one tensor: what `module.parametrizations.weight` is. Calling it computes the tensor.

    It holds what is learned as `original`, or as `original0`, `original1`, ... where the right_inverse of the first
    parametrization returns several tensors.
    """

    def __init__(self, modules: Sequence[Module], original: Tensor, unsafe: bool = False) -> None:
        super().__init__(modules)
        self.unsafe = unsafe
        with no_grad():
            value = self._inverse(original, needed=False)
        self.is_tensor = isinstance(value, Tensor)
        values = [value] if self.is_tensor else value
        if not isinstance(values, Sequence) or not all(isinstance(v, Tensor) for v in values):
            raise ValueError(
                "'right_inverse' must return a Tensor or a Sequence of tensors (list, tuple...). "
                f"Got {type(value).__name__}"
            )
        self.ntensors = len(values)
        learned = isinstance(original, Parameter)
        if self.is_tensor:
            _check_like("right_inverse", original, value, shape=False)
            original.data = value
            _register(self, "original", original)
        for i, v in enumerate(() if self.is_tensor else values):
            _register(self, f"original{i}", Parameter(v, original.requires_grad) if learned else v)

    def _originals(self) -> list[Tensor]:
        if self.is_tensor:
            return [self.original]
        return [getattr(self, f"original{i}") for i in range(self.ntensors)]

    def _inverse(self, value: Any, needed: bool) -> Any:
        """What the originals must be for the tensor to be `value`. A parametrization without right_inverse counts as identity
        unless it is `needed`."""
        for module in reversed(list(self)):
            if hasattr(module, "right_inverse"):
                try:
                    value = module.right_inverse(value)
                except NotImplementedError:
                    if needed:
                        raise
            elif needed:
                raise RuntimeError(f"parametrization {type(module).__name__} does not implement right_inverse.")
        return value

    def right_inverse(self, value: Tensor) -> None:
        """Set the originals so that the tensor becomes `value`: what assigning to the attribute does."""
        with no_grad():
            value = self._inverse(value, needed=True)
            values = [value] if isinstance(value, Tensor) else list(value)
            if len(values) != self.ntensors:
                raise ValueError(
                    f"'right_inverse' must return a sequence of tensors of length {self.ntensors}. "
                    f"Got a sequence of length {len(values)}."
                )
            for original, new in zip(self._originals(), values, strict=True):
                _check_like("right_inverse", original, new, shape=False)
                original.data = new

    def forward(self) -> Tensor:
        first, *others = self
        value = first(*self._originals())
        for module in others:
            value = module(value)
        return value


class _Parametrized(Module):
    """Put before a module's class: looks up the attributes that are parametrized."""

    def __getattr__(self, name: str) -> Any:
        chains = self.__dict__.get("_modules", {}).get("parametrizations", ())
        if name not in chains:
            return super().__getattr__(name)
        if not _caching:
            return chains[name]()
        key = id(self), name
        if key not in _cache:
            _cache[key] = chains[name]()
        return _cache[key]

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.__dict__.get("_modules", {}).get("parametrizations", ()):
            self.parametrizations[name].right_inverse(value)
        else:
            super().__setattr__(name, value)


@functools.cache
def _parametrized(cls: Any) -> type[Module]:
    return type(f"Parametrized{cls.__name__}", (_Parametrized, cls), {"__module__": cls.__module__, "_plain": cls})


def type_before_parametrizations(module: Module) -> type[Module]:
    """The class that the module had before any of its tensors was parametrized."""
    return getattr(type(module), "_plain", type(module))


def register_parametrization(
    module: Module, tensor_name: str, parametrization: Module, *, unsafe: bool = False
) -> Module:
    """Make a parameter or buffer a function of what it was: parametrization(original). Returns the module.

    Registered again, parametrizations are applied one after the other. One with a method `right_inverse` can be assigned to:
    then `module.weight = value` works, and the tensor keeps its value when the parametrization is registered first.
    unsafe: do not check that shape and dtype stay as they are.
    Raises ValueError for a name that is no tensor of the module, and for a parametrization that changes shape or dtype.
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        chain = module.parametrizations[tensor_name]
        if not unsafe:
            _check_step(module, tensor_name, parametrization)
        chain.append(parametrization)
        chain.unsafe |= unsafe
        return module
    original = {**module._parameters, **module._buffers}.get(tensor_name)
    if original is None:
        raise ValueError(
            f"Module '{module}' does not have a parameter, a buffer, or a parametrized element with name '{tensor_name}'"
        )
    before = original.detach()
    chain = ParametrizationList([parametrization], original, unsafe)
    if not unsafe:
        try:
            with no_grad():
                _check_like("parametrization", before, chain(), shape=True)
        except Exception:
            original.data = before
            raise
    delattr(module, tensor_name)
    if not is_parametrized(module):
        plain: Any = type(module)
        module.__class__ = _parametrized(plain)
        module.parametrizations = ModuleDict()
    module.parametrizations[tensor_name] = chain
    return module


def _check_step(module: Module, tensor_name: str, parametrization: Module) -> None:
    """Raise where one more parametrization would change the tensor's shape or dtype."""
    with no_grad():
        before = getattr(module, tensor_name)
        after = parametrization(before)
        _check_like("parametrization", before, after, shape=True)
        if hasattr(parametrization, "right_inverse"):
            _check_like("right_inverse", before, parametrization.right_inverse(after), shape=True)


def _check_like(what: str, before: Tensor, after: Any, shape: bool) -> None:
    if not isinstance(after, Tensor):
        raise ValueError(f"A {what} must return a tensor. Got {type(after).__name__}.")
    for kind in ("dtype", "device", "shape") if shape else ("dtype", "device"):
        if getattr(before, kind) != getattr(after, kind):
            raise ValueError(
                f"A {what} may not change the {kind} of the tensor, unless the `unsafe` flag is enabled: "
                f"it was {getattr(before, kind)}, it became {getattr(after, kind)}"
            )


def _register(module: Module, name: str, t: Tensor) -> None:
    if isinstance(t, Parameter):
        module.register_parameter(name, t)
    else:
        module.register_buffer(name, t)


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Whether a tensor of the module, or any of them, is parametrized."""
    chains = module._modules.get("parametrizations")
    if not isinstance(chains, ModuleDict):
        return False
    return bool(len(chains)) if tensor_name is None else tensor_name in chains


def remove_parametrizations(module: Module, tensor_name: str, leave_parametrized: bool = True) -> Module:
    """Make a parametrized tensor an ordinary one again, with the value it had, or else with that of its original.

    Raises ValueError for a tensor that is not parametrized, and without leave_parametrized for one of several originals.
    """
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"Module {module} does not have a parametrization on {tensor_name}")
    chain = module.parametrizations[tensor_name]
    if not (leave_parametrized or chain.is_tensor):
        raise ValueError(
            "Cannot leave unparametrized (`leave_parametrized=False`) a tensor that is parametrized in terms of a sequence of "
            "tensors."
        )
    result = chain._originals()[0]
    if leave_parametrized:
        with no_grad():
            value = getattr(module, tensor_name)
        if chain.is_tensor:
            result.data = value
        else:
            result = Parameter(value, result.requires_grad) if isinstance(result, Parameter) else value
    del module.parametrizations[tensor_name]
    if not len(module.parametrizations):
        del module.parametrizations
        module.__class__ = type_before_parametrizations(module)
    _register(module, tensor_name, result)
    return module
