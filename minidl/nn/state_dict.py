"""What a module saves and loads: its parameters and buffers by dotted path, and the hooks around that."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

from ..autograd.grad_mode import no_grad
from ..autograd.hooks import RemovableHandle
from ..tensor import Tensor
from .parameter import Parameter

EXTRA = "_extra_state"


class IncompatibleKeys(NamedTuple):
    """What load_state_dict did not find in the state, and what it did not expect there."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return f"_IncompatibleKeys(missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys})"


class StateDict:
    """state_dict() and load_state_dict(): the part of Module that says what is saved, and takes what is loaded."""

    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Any]
    _non_persistent_buffers_set: set[str]

    def state_dict(
        self, *, destination: dict[str, Any] | None = None, prefix: str = "", keep_vars: bool = False
    ) -> dict[str, Any]:
        """All parameters and persistent buffers by dotted path, sharing memory; detached unless keep_vars."""
        destination = OrderedDict() if destination is None else destination
        for hook in self._state_hooks("_state_dict_pre_hooks"):
            hook(self, prefix, keep_vars)
        self._save_to_state_dict(destination, prefix, keep_vars)
        for name, module in self._modules.items():
            if module is not None:
                module.state_dict(destination=destination, prefix=f"{prefix}{name}.", keep_vars=keep_vars)
        for hook in self._state_hooks("_state_dict_hooks"):
            replacement = hook(self, destination, prefix, {})
            destination = destination if replacement is None else replacement
        return destination

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        for name, t in self._own_state():
            destination[prefix + name] = t if keep_vars else t.detach()
        if self._has_extra_state():
            destination[prefix + EXTRA] = self.get_extra_state()

    def _own_state(self) -> Iterator[tuple[str, Tensor]]:
        persistent = ((n, b) for n, b in self._buffers.items() if n not in self._non_persistent_buffers_set)
        for name, t in itertools.chain(self._parameters.items(), persistent):
            if t is not None:
                yield name, t

    def get_extra_state(self) -> Any:
        """What the state_dict holds of this module beside tensors, under the key "_extra_state"; subclasses define it."""
        raise RuntimeError(f"{type(self).__name__}: define get_extra_state() together with set_extra_state(state)")

    def set_extra_state(self, state: Any) -> None:
        """Take what get_extra_state gave; subclasses define it."""
        raise RuntimeError(f"{type(self).__name__}: define set_extra_state(state) together with get_extra_state()")

    def _has_extra_state(self) -> bool:
        return type(self).get_extra_state is not StateDict.get_extra_state

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> IncompatibleKeys:
        """Copy a state_dict's values into the parameters and buffers; with `assign` its tensors take their place.

        Raises: RuntimeError that lists every size mismatch and, if `strict`, every missing and unexpected key.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"Expected state_dict to be dict-like, got {type(state_dict)}.")
        keys, errors = IncompatibleKeys([], []), list[str]()
        self._load_module_tree(dict(state_dict), "", {"assign_to_params_buffers": assign}, keys, errors)
        if strict:
            for kind, names in (("Unexpected", keys.unexpected_keys), ("Missing", keys.missing_keys)):
                if names:
                    listing = ", ".join(f'"{name}"' for name in names)
                    errors.insert(0, f"{kind} key(s) in state_dict: {listing}. ")
        if errors:
            raise RuntimeError("\n\t".join([f"Error(s) in loading state_dict for {type(self).__name__}:", *errors]))
        return keys

    def _load_module_tree(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        metadata: dict[str, Any],
        keys: IncompatibleKeys,
        errors: list[str],
    ) -> None:
        """Load this module and all below it."""
        self._load_from_state_dict(state_dict, prefix, metadata, True, *keys, errors)
        for name, module in self._modules.items():
            if module is not None:
                path = f"{prefix}{name}."
                below = {key: value for key, value in state_dict.items() if key.startswith(path)}
                module._load_module_tree(below, path, metadata, keys, errors)
        for hook in self._state_hooks("_load_state_dict_post_hooks"):
            if hook(self, keys) is not None:
                raise AssertionError(
                    "a load_state_dict_post_hook must return nothing: it changes the lists of keys in place"
                )

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Load this module alone. Its arguments are PyTorch's, since layers of users override it."""
        for hook in self._state_hooks("_load_state_dict_pre_hooks"):
            hook(state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)
        own = dict(self._own_state())
        for name, t in own.items():
            key = prefix + name
            if key not in state_dict:
                missing_keys.append(key)
            else:
                self._load_tensor_from(key, name, t, state_dict[key], local_metadata, error_msgs)
        known = set(own)
        if self._has_extra_state():
            known.add(EXTRA)
            if prefix + EXTRA in state_dict:
                self.set_extra_state(state_dict[prefix + EXTRA])
            else:
                missing_keys.append(prefix + EXTRA)
        for key in state_dict:
            if key.startswith(prefix):
                head, dot, _ = key[len(prefix) :].partition(".")
                if head not in (self._modules if dot else known):
                    unexpected_keys.append(key)

    def _load_tensor_from(
        self, key: str, name: str, t: Tensor, value: Any, local_metadata: dict[str, Any], error_msgs: list[str]
    ) -> None:
        if not isinstance(value, Tensor):
            error_msgs.append(
                f'While copying the parameter named "{key}", expected torch.Tensor or Tensor-like object from '
                f"checkpoint but received {type(value)}"
            )
        elif value.shape != t.shape:
            error_msgs.append(
                f"size mismatch for {key}: copying a param with shape {value.shape} from checkpoint, "
                f"the shape in current model is {t.shape}."
            )
        elif local_metadata.get("assign_to_params_buffers"):
            setattr(self, name, Parameter(value, t.requires_grad) if isinstance(t, Parameter) else value)
        else:
            with no_grad():
                t.copy_(value)

    # -- hooks ---------------------------------------------------------------------------------------------------------

    def _state_hooks(self, kind: str) -> list[Any]:
        return list(self.__dict__.get(kind, {}).values())

    def _add_state_hook(self, kind: str, hook: Callable[..., Any]) -> RemovableHandle:
        return RemovableHandle(self.__dict__.setdefault(kind, {}), hook)  # few modules have any: made when needed

    def register_state_dict_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call hook(module, prefix, keep_vars) before the module's tensors go into a state_dict."""
        return self._add_state_hook("_state_dict_pre_hooks", hook)

    def register_state_dict_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call hook(module, state_dict, prefix, local_metadata) when all of the module is in the state_dict."""
        return self._add_state_hook("_state_dict_hooks", hook)

    _register_state_dict_hook = register_state_dict_post_hook  # its name of old

    def register_load_state_dict_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call hook(module, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs) before the
        module is loaded; it may change the state_dict, which is a copy."""
        return self._register_load_state_dict_pre_hook(hook, with_module=True)

    def _register_load_state_dict_pre_hook(
        self, hook: Callable[..., Any], with_module: bool = False
    ) -> RemovableHandle:
        return self._add_state_hook("_load_state_dict_pre_hooks", partial(hook, self) if with_module else hook)

    def register_load_state_dict_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call hook(module, incompatible_keys) when the module and all below are loaded; it may change the lists of keys."""
        return self._add_state_hook("_load_state_dict_post_hooks", hook)
