"""Pruning: a parameter becomes `weight_orig`, which is learned, times `weight_mask`, a buffer of zeros and ones.

A hook of the module makes `weight` of the two before every forward. Pruned again, what is left is pruned further.

Example:
    >>> layer = prune.l1_unstructured(nn.Linear(4, 4), "weight", amount=0.5)
    >>> int((layer.weight == 0).sum())
    8
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from numbers import Integral, Real
from typing import Any, Self

from ...ops.creation import arange, ones_like
from ...ops.random import rand, rand_like
from ...ops.reduction import norm
from ...tensor import Tensor
from ..module import Module
from .convert import parameters_to_vector
from .weight_norm import find_hook


class BasePruningMethod(ABC):
    """A way to choose what is pruned. Subclasses define `compute_mask`, and PRUNING_TYPE.

    PRUNING_TYPE: what compute_mask sees of a tensor that is pruned already: "unstructured" the elements that are left,
    "structured" the slices along `self.dim` in which anything is left, "global" all of it.
    """

    PRUNING_TYPE: str
    _tensor_name: str

    @abstractmethod
    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """The mask for a tensor of importance scores, with nothing kept that `default_mask` prunes."""

    def __call__(self, module: Module, inputs: Any) -> None:
        setattr(module, self._tensor_name, self.apply_mask(module))

    def apply_mask(self, module: Module) -> Tensor:
        """The original times the mask."""
        original = getattr(module, f"{self._tensor_name}_orig")
        return getattr(module, f"{self._tensor_name}_mask").to(dtype=original.dtype) * original

    @classmethod
    def apply(
        cls, module: Module, name: str, *args: Any, importance_scores: Tensor | None = None, **kwargs: Any
    ) -> Self:
        """Prune a parameter of the module by this method, made of the other arguments; returns the hook.

        importance_scores: what is looked at in the parameter's place, of its shape.
        """
        method: Any = cls(*args, **kwargs)
        method._tensor_name = name
        current = getattr(module, name)
        scores = _checked_scores(importance_scores, current)
        key = find_hook(module, BasePruningMethod, name)
        if key is None:
            mask = method.compute_mask(scores, default_mask=ones_like(current))
            del module._parameters[name]
            module.register_parameter(f"{name}_orig", current)
        else:
            before = module._forward_pre_hooks[key]
            method = PruningContainer(*(before if isinstance(before, PruningContainer) else [before]), method)
            mask = method.compute_mask(scores, getattr(module, f"{name}_mask").detach().clone())
            del module._forward_pre_hooks[key]
        module.register_buffer(f"{name}_mask", mask)
        method(module, ())
        module.register_forward_pre_hook(method)
        return method

    def prune(self, t: Tensor, default_mask: Tensor | None = None, importance_scores: Tensor | None = None) -> Tensor:
        """The tensor times its mask, without any module."""
        scores = _checked_scores(importance_scores, t)
        return t * self.compute_mask(scores, default_mask=ones_like(t) if default_mask is None else default_mask)

    def remove(self, module: Module) -> None:
        """Make what is left of the tensor an ordinary parameter again."""
        original, pruned = module._parameters[f"{self._tensor_name}_orig"], self.apply_mask(module).detach()
        assert original is not None
        for attribute in (self._tensor_name, f"{self._tensor_name}_orig", f"{self._tensor_name}_mask"):
            delattr(module, attribute)
        original.data = pruned
        module.register_parameter(self._tensor_name, original)


def _checked_scores(importance_scores: Tensor | None, t: Tensor) -> Tensor:
    if importance_scores is None:
        return t.detach()
    if importance_scores.shape != t.shape:
        raise AssertionError(
            f"importance_scores should have the same shape as the tensor, got {list(importance_scores.shape)} vs "
            f"{list(t.shape)}"
        )
    return importance_scores.detach()


class PruningContainer(BasePruningMethod):
    """Methods that prune one tensor one after the other."""

    def __init__(self, *methods: BasePruningMethod) -> None:
        self._pruning_methods: tuple[BasePruningMethod, ...] = ()
        if methods:
            self._tensor_name = methods[0]._tensor_name
        for method in methods:
            self.add_pruning_method(method)

    def add_pruning_method(self, method: BasePruningMethod) -> None:
        """Add one more."""
        if not isinstance(method, BasePruningMethod):
            raise TypeError(f"{type(method)} is not a BasePruningMethod subclass")
        if self._tensor_name != method._tensor_name:
            raise ValueError(
                f"Can only add pruning methods acting on the parameter named '{self._tensor_name}' to this PruningContainer. "
                f"Found '{method._tensor_name}'"
            )
        self._pruning_methods += (method,)

    def __len__(self) -> int:
        return len(self._pruning_methods)

    def __iter__(self) -> Iterator[BasePruningMethod]:
        return iter(self._pruning_methods)

    def __getitem__(self, index: Any) -> Any:
        return self._pruning_methods[index]

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """The default mask with what the latest method prunes of the rest."""
        method = self._pruning_methods[-1]
        kind, at = method.PRUNING_TYPE, [slice(None)] * t.ndim
        if kind == "structured":
            dim = _checked_dim(t, method.dim)  # type: ignore[attr-defined]  # structured methods have one
            at[dim] = default_mask.sum([d for d in range(t.ndim) if d != dim]) != 0
        elif kind not in ("unstructured", "global"):
            raise ValueError(f"Unrecognized PRUNING_TYPE {kind}")
        index = default_mask == 1 if kind == "unstructured" else tuple(at)
        mask = default_mask.to(dtype=t.dtype, copy=True)
        mask[index] = method.compute_mask(t[index], default_mask=mask[index]).to(dtype=t.dtype)
        return mask


# ---------------------------------------------------------------------------------------------------------------------
# Methods


class Identity(BasePruningMethod):
    """Prunes nothing."""

    PRUNING_TYPE = "unstructured"

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        return default_mask


class _ByAmount(BasePruningMethod):
    """amount: how many to prune, as an int, or which share, as a float from 0 to 1."""

    def __init__(self, amount: Any) -> None:
        if not isinstance(amount, Real):
            raise TypeError(f"Invalid type for amount: {amount}. Must be int or float.")
        if float(amount) < 0 or (not isinstance(amount, Integral) and float(amount) > 1):
            raise ValueError(f"amount={amount} should either be a float in the range [0, 1] or a non-negative integer")
        self.amount = amount

    def count(self, size: int) -> int:
        """How many of `size` are pruned."""
        n = int(self.amount) if isinstance(self.amount, Integral) else round(float(self.amount) * size)
        if n > size:
            raise ValueError(f"amount={n} should be smaller than the number of parameters to prune={size}")
        return n


class _Unstructured(_ByAmount):
    """Single elements, those of the lowest score."""

    PRUNING_TYPE = "unstructured"

    def score(self, t: Tensor) -> Tensor:
        raise NotImplementedError

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        pruned = self.score(t).reshape(-1).topk(self.count(t.numel()), largest=False).indices
        mask = default_mask.reshape(-1).clone()
        mask[pruned] = 0
        return mask.reshape(t.shape)


class RandomUnstructured(_Unstructured):
    """Prunes elements at random."""

    def score(self, t: Tensor) -> Tensor:
        return rand_like(t)


class L1Unstructured(_Unstructured):
    """Prunes the elements nearest to zero."""

    def score(self, t: Tensor) -> Tensor:
        return t.abs()


class _Structured(_ByAmount):
    """Whole slices along `dim`, those of the lowest score."""

    PRUNING_TYPE = "structured"

    def __init__(self, amount: Any, dim: int = -1) -> None:
        super().__init__(amount)
        self.dim = dim

    def score(self, t: Tensor, dim: int) -> Tensor:
        raise NotImplementedError

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        if t.ndim < 2:
            raise ValueError(
                "Structured pruning can only be applied to multidimensional tensors. Found tensor of shape "
                f"{list(t.shape)} with {t.ndim} dims"
            )
        dim = _checked_dim(t, self.dim)
        N = t.shape[dim]
        pruned = self.score(t, dim).topk(self.count(N), largest=False).indices
        kept = (arange(N, device=t.device).unsqueeze(1) != pruned).all(1)
        return default_mask * kept.to(dtype=default_mask.dtype).reshape([N if d == dim else 1 for d in range(t.ndim)])


class RandomStructured(_Structured):
    """Prunes slices at random."""

    def score(self, t: Tensor, dim: int) -> Tensor:
        return rand(t.shape[dim], device=t.device)


class LnStructured(_Structured):
    """Prunes the slices whose n-norm is lowest; n as in norm(): a number, inf, -inf, "fro" or "nuc"."""

    def __init__(self, amount: Any, n: Any, dim: int = -1) -> None:
        super().__init__(amount, dim)
        self.n = n

    def score(self, t: Tensor, dim: int) -> Tensor:
        return norm(t, self.n, [d for d in range(t.ndim) if d != dim])


class CustomFromMask(BasePruningMethod):
    """Prunes what a given mask says."""

    PRUNING_TYPE = "global"

    def __init__(self, mask: Tensor) -> None:
        self.mask = mask

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        if default_mask.shape != self.mask.shape:
            raise AssertionError(f"the mask {list(self.mask.shape)} must have the tensor's shape, {list(t.shape)}")
        return default_mask * self.mask.to(dtype=default_mask.dtype)


def _checked_dim(t: Tensor, dim: int) -> int:
    if not -t.ndim <= dim < t.ndim:
        raise IndexError(f"Invalid index {dim} for tensor of size {list(t.shape)}")
    return dim % t.ndim


# ---------------------------------------------------------------------------------------------------------------------
# The methods as functions of a module and the name of its parameter; all return the module


def identity(module: Module, name: str) -> Module:
    """Prune nothing, but have the mask."""
    Identity.apply(module, name)
    return module


def random_unstructured(module: Module, name: str, amount: Any) -> Module:
    """Prune elements at random; amount: how many, or as a float which share."""
    RandomUnstructured.apply(module, name, amount)
    return module


def l1_unstructured(module: Module, name: str, amount: Any, importance_scores: Tensor | None = None) -> Module:
    """Prune the elements nearest to zero; amount: how many, or as a float which share."""
    L1Unstructured.apply(module, name, amount, importance_scores=importance_scores)
    return module


def random_structured(module: Module, name: str, amount: Any, dim: int) -> Module:
    """Prune slices along `dim` at random; amount: how many, or as a float which share."""
    RandomStructured.apply(module, name, amount, dim)
    return module


def ln_structured(
    module: Module, name: str, amount: Any, n: Any, dim: int, importance_scores: Tensor | None = None
) -> Module:
    """Prune the slices along `dim` of the lowest n-norm; amount: how many, or as a float which share."""
    LnStructured.apply(module, name, amount, n, dim, importance_scores=importance_scores)
    return module


def custom_from_mask(module: Module, name: str, mask: Tensor) -> Module:
    """Prune where the mask is 0."""
    CustomFromMask.apply(module, name, mask)
    return module


def global_unstructured(
    parameters: Iterable[tuple[Module, str]],
    pruning_method: type[BasePruningMethod],
    importance_scores: dict[tuple[Module, str], Tensor] | None = None,
    **kwargs: Any,
) -> None:
    """Prune elements of several parameters as if they were one vector; parameters: pairs of a module and a name.

    Raises TypeError for a method that is not unstructured.
    """
    if not isinstance(parameters, Iterable):
        raise TypeError("global_unstructured(): parameters is not an Iterable")
    if importance_scores is not None and not isinstance(importance_scores, dict):
        raise TypeError("global_unstructured(): importance_scores must be of type dict")
    pairs, given = list(parameters), importance_scores or {}
    method: Any = pruning_method(**kwargs)
    if method.PRUNING_TYPE != "unstructured":
        raise TypeError(
            f'Only "unstructured" PRUNING_TYPE supported for the `pruning_method`. Found method {pruning_method} of type '
            f"{method.PRUNING_TYPE}"
        )
    tensors = [getattr(module, name) for module, name in pairs]
    scores = [given.get(pair, t) for pair, t in zip(pairs, tensors, strict=True)]
    masks = [getattr(m, f"{name}_mask", ones_like(t)) for (m, name), t in zip(pairs, tensors, strict=True)]
    method._tensor_name = "all parameters"
    mask = PruningContainer(method).compute_mask(parameters_to_vector(scores).detach(), parameters_to_vector(masks))
    parts = mask.split([t.numel() for t in tensors])
    for (module, name), t, part in zip(pairs, tensors, parts, strict=True):
        custom_from_mask(module, name, part.reshape(t.shape))


def remove(module: Module, name: str) -> Module:
    """Make a pruned tensor an ordinary parameter again: what was pruned is 0 for good. Raises ValueError if it was not pruned."""
    key = find_hook(module, BasePruningMethod, name)
    if key is None:
        raise ValueError(f"Parameter '{name}' of module {module} has to be pruned before pruning can be removed")
    module._forward_pre_hooks.pop(key).remove(module)
    return module


def is_pruned(module: Module) -> bool:
    """Whether a tensor of the module, or of one below it, is pruned."""
    return any(isinstance(h, BasePruningMethod) for m in module.modules() for h in m._forward_pre_hooks.values())
