"""Optimizer: groups of parameters with their options, and the state that an algorithm keeps for each parameter."""

from __future__ import annotations

import copy
import functools
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..autograd.grad_mode import enable_grad
from ..autograd.hooks import RemovableHandle
from ..autograd.op import wrap
from ..autograd.precision import holds_bfloat16, in_dtype, widened
from ..autograd.storage import mark_written, next_seq
from ..devices import capturing, make, of_array
from ..dtypes import bfloat16
from ..kernels import array_module
from ..nn.module import clear_grad
from ..tensor import Tensor


class Optimizer:
    """The base class. A subclass passes its default options here and defines `update`, for one parameter, or
    `update_group`, for all of a group at once, or a `step` of its own.

    params: an iterable of tensors, or of dicts {"params": tensors, option: value, ...}, one a group.
    """

    param_groups: list[dict[str, Any]]
    state: defaultdict[Tensor, dict[str, Any]]
    recordable = True  # whether a CUDA graph may hold a step; of those with the option capturable, only with it

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        # every class has a step of its own, as in PyTorch: tools wrap Adam.step and mean Adam alone
        own = cls.__dict__.get("step")
        cls.step = cls.step if own is None else _with_hooks(own)  # type: ignore[method-assign]

    def __init__(self, params: Any, defaults: dict[str, Any]) -> None:
        if isinstance(params, Tensor):
            raise TypeError(
                "params argument given to the optimizer should be an iterable of Tensors or dicts, but got a Tensor; "
                "write [tensor]"
            )
        self.defaults = defaults
        self.state = defaultdict(dict)
        self.param_groups = []
        self._pre_hooks: dict[int, Callable[..., Any]] = {}
        self._post_hooks: dict[int, Callable[..., Any]] = {}
        self._stepped = False  # learning-rate schedulers warn when they come first
        groups = list(params)
        if not groups:
            raise ValueError("optimizer got an empty parameter list")
        for group in groups if isinstance(groups[0], dict) else [{"params": groups}]:
            self.add_param_group(group)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with options of their own, for instance when layers are unfrozen during training."""
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group)}")
        params = param_group["params"]
        if isinstance(params, set):
            raise TypeError(
                "optimizer parameters need to be organized in ordered collections, but the ordering of tensors in sets "
                "will change between runs. Please use a list instead."
            )
        params = [params] if isinstance(params, Tensor) else list(params)
        for p in params:
            if not isinstance(p, Tensor):
                raise TypeError(f"optimizer can only optimize Tensors, but one of the params is {type(p).__name__}")
            if not p.is_leaf:
                raise ValueError("can't optimize a non-leaf Tensor")
        known = {p for group in self.param_groups for p in group["params"]}
        if len({*params}) < len(params) or not known.isdisjoint(params):
            raise ValueError("some parameters appear in more than one parameter group")
        self.param_groups.append({**param_group, "params": params, **_missing(self.defaults, param_group)})

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients of all parameters, or fill them with zeros."""
        for group in self.param_groups:
            for p in group["params"]:
                clear_grad(p, set_to_none)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change every parameter that has a gradient; return what `closure`, which computes the loss anew, gives."""
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        for group in self.param_groups:
            params, grads, states = [], [], []
            on_gpus: list[Tensor] = []
            for p in group["params"]:
                grad = p.grad
                if grad is None:
                    continue
                if grad.is_sparse:
                    self.update_sparse(p, grad, self.state[p], group)
                    mark_written(p)
                elif bfloat16._dtype is not None and holds_bfloat16(p):
                    self._update_rounded(p, grad.array, self.state[p], group)
                    mark_written(p)
                elif grad.array.__class__ is np.ndarray:
                    params.append(p)
                    grads.append(grad.array)
                    states.append(self.state[p])
                else:
                    on_gpus.append(p)
            if on_gpus:
                self.update_on_gpus(on_gpus, group)
            if params:
                self.update_group(params, grads, states, group)
                now = next_seq()
                for p in params:
                    mark_written(p, now)
        return loss

    def _update_rounded(self, param: Tensor, grad: Any, state: dict[str, Any], group: dict[str, Any]) -> None:
        """Change a bfloat16 parameter: the step is computed in float32, then the parameter and its state are rounded.

        PyTorch's fused optimizers do so too; its others round after every operation.
        """
        wide = wrap(widened(param.array))
        values = {key: wrap(widened(x.array)) if isinstance(x, Tensor) else x for key, x in state.items()}
        if grad.__class__ is np.ndarray:
            self.update_group([wide], [widened(grad)], [values], group)
        else:
            self.update(wide, widened(grad), values, group)
        param.array[...] = in_dtype(wide.array, bfloat16.dtype)
        for key, x in values.items():
            if not isinstance(x, Tensor) or key == "step":
                state[key] = x
            elif key in state:
                state[key].array[...] = in_dtype(x.array, state[key].array.dtype)
            else:
                state[key] = wrap(in_dtype(x.array, bfloat16.dtype) if x.is_floating_point() else x.array)

    def update_group(
        self, params: list[Tensor], grads: list[Any], states: list[dict[str, Any]], group: dict[str, Any]
    ) -> None:
        """Change parameters of a group that are on one device by their gradients, arrays, in place."""
        for param, grad, state in zip(params, grads, states, strict=True):
            self.update(param, grad, state, group)

    def update_on_gpus(self, params: list[Tensor], group: dict[str, Any]) -> None:
        """Change those parameters of a group that are on GPUs: all of a GPU at once, or one by one for a CUDA graph.

        A kernel for many arrays reads a table of them that comes from the CPU at every step, which a graph cannot record.
        """
        if capturing.get() or group.get("capturable"):
            for p in params:
                self.update(p, grad_of(p), self.state[p], group)
        else:
            of_gpu: defaultdict[int, list[Tensor]] = defaultdict(list)
            for p in params:
                of_gpu[p.array.device.id].append(p)
            for some in of_gpu.values():
                self.update_group(some, [grad_of(p) for p in some], [self.state[p] for p in some], group)
        now = next_seq()
        for p in params:
            mark_written(p, now)

    def update(self, param: Tensor, grad: Any, state: dict[str, Any], group: dict[str, Any]) -> None:
        """Change one parameter by its gradient, in place."""
        raise NotImplementedError(f"{type(self).__name__} must define update(), update_group() or step()")

    def update_sparse(self, param: Tensor, grad: Any, state: dict[str, Any], group: dict[str, Any]) -> None:
        """Change one parameter by its gradient, a sparse_coo tensor, in place. Raises RuntimeError where nothing else is defined."""
        raise RuntimeError(
            f"{type(self).__name__} does not support sparse gradients, please consider SparseAdam, SGD or Adagrad instead; or "
            "look rows up without sparse=True"
        )

    # -- CUDA graphs ---------------------------------------------------------------------------------------------------

    def check_recordable(self) -> None:
        """Raise RuntimeError where a graph that is being recorded would not do at every replay what a step does."""
        name = type(self).__name__
        if not self.recordable:
            raise RuntimeError(
                f"cuda.graph: a step of {name} cannot be recorded, as it depends on values on the CPU; record the passes, and let "
                "the optimizer step outside"
            )
        if any(group.get("capturable") is False for group in self.param_groups):
            raise RuntimeError(
                f"cuda.graph: {name} counts its steps on the CPU, and a replay would repeat the one that was recorded; make it "
                "with capturable=True, or record the passes, and let the optimizer step outside"
            )

    def begins(self, state: dict[str, Any], key: str) -> bool:
        """Whether the state of a parameter, of which `key` is one, is still to be made. Raises within a recording."""
        if key in state:
            return False
        self.check_may_begin()
        return True

    def check_may_begin(self) -> None:
        """Raise where a state would begin within a recording: every replay would begin it again."""
        if capturing.get():
            raise RuntimeError(
                f"cuda.graph: this is the first step of {type(self).__name__}; take one before the recording, which makes "
                "its state"
            )

    def next_step(self, state: dict[str, Any], param: Tensor, group: dict[str, Any]) -> Any:
        """Count a step. Its number; with capturable=True on a GPU as an array without dimensions, in which a replay counts on.

        The array is float64: in float32 the digits of 1 - beta^step would be lost.
        """
        if not (group["capturable"] and param.is_cuda):
            return count_step(state)
        count = self.number_on_gpu(state, "step", param, 0.0)
        count += 1
        return count.astype(np.float64)

    def number_on_gpu(self, state: dict[str, Any], key: str, param: Tensor, start: float) -> Any:
        """A number of the state as an array without dimensions on the GPU of its parameter; at first it is `start`."""
        value = state.get(key, start)
        if not getattr(value, "is_cuda", False):
            self.check_may_begin()
            state[key] = wrap(make("full", of_array(param.array), (), float(value), np.float32))
        return state[key].array

    # -- hooks ---------------------------------------------------------------------------------------------------------

    def register_step_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call hook(optimizer, args, kwargs) before each step; a pair that it returns replaces args and kwargs."""
        return RemovableHandle(self._pre_hooks, hook)

    def register_step_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call hook(optimizer, args, kwargs) after each step."""
        return RemovableHandle(self._post_hooks, hook)

    # -- state ---------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """{"state": {i: state of parameter i}, "param_groups": options, with the numbers i as "params"}."""
        number: dict[Tensor, int] = {}
        groups = []
        for group in self.param_groups:
            indices = [number.setdefault(p, len(number)) for p in group["params"]]
            groups.append({**{k: v for k, v in group.items() if k != "params"}, "params": indices})
        return {"state": {number.get(p, p): s for p, s in self.state.items() if s}, "param_groups": groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a state_dict; values are copied, with the dtype and device of their parameters.

        Raises: ValueError where the groups do not agree with this optimizer's.
        """
        saved = state_dict["param_groups"]
        if len(saved) != len(self.param_groups):
            raise ValueError("loaded state dict has a different number of parameter groups")
        if any(len(s["params"]) != len(g["params"]) for s, g in zip(saved, self.param_groups, strict=True)):
            raise ValueError(
                "loaded state dict contains a parameter group that doesn't match the size of optimizer's group"
            )
        param_of: dict[int, Tensor] = {}
        for new, group in zip(saved, self.param_groups, strict=True):
            param_of.update(zip(new["params"], group["params"], strict=True))
            group.update(copy.deepcopy({k: v for k, v in new.items() if k != "params"}))
        self.state = defaultdict(dict)
        for index, values in state_dict["state"].items():
            p = param_of.get(index, index)
            self.state[p] = {key: _adopt(key, value, p) for key, value in values.items()}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pre_hooks": {}, "_post_hooks": {}}

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for i, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {i}")
            lines += [f"    {key}: {group[key]}" for key in sorted(group) if key != "params"]
            lines.append("")
        return "\n".join(lines)[:-1] + "\n)"


def _missing(defaults: dict[str, Any], group: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in defaults.items() if key not in group}


def _adopt(key: str, value: Any, param: Tensor) -> Any:
    """A loaded value of the state of `param`, as a copy of its own."""
    if not isinstance(value, Tensor):
        return copy.deepcopy(value)
    value = value.detach().clone()
    if key == "step":
        return value
    return value.to(param.device).to(param.dtype) if param.is_floating_point() else value.to(param.device)


def _with_hooks(step: Callable[..., Any]) -> Callable[..., Any]:
    """The step with the hooks that are registered for it."""

    @functools.wraps(step)
    def wrapped(self: Optimizer, *args: Any, **kwargs: Any) -> Any:
        self._stepped = True
        if capturing.get():
            self.check_recordable()
        if self._pre_hooks:
            for hook in tuple(self._pre_hooks.values()):
                changed = hook(self, args, kwargs)
                if changed is not None:
                    args, kwargs = changed
        result = step(self, *args, **kwargs)
        if self._post_hooks:
            for hook in tuple(self._post_hooks.values()):
                hook(self, args, kwargs)
        return result

    return wrapped


Optimizer.step = _with_hooks(Optimizer.step)  # type: ignore[method-assign]


def check_not_negative(what: str, value: Any) -> None:
    """Raise ValueError, in PyTorch's words, for an option below 0."""
    if not value >= 0.0:
        raise ValueError(f"Invalid {what}: {value}")


def refuse_differentiable(differentiable: bool) -> None:
    """Raise for differentiable=True: steps here run on arrays, outside of any graph."""
    if differentiable:
        raise RuntimeError(
            "differentiable=True is not supported: write the update with tensors, p - lr * grad, instead"
        )


def zeros_like(param: Tensor) -> Tensor:
    """The state that most algorithms begin with, in the parameter's own memory layout."""
    return wrap(array_module(param.array).zeros_like(param.array))


def full_like(param: Tensor, value: float) -> Tensor:
    """State of the parameter's shape with one value everywhere."""
    return wrap(array_module(param.array).full_like(param.array, value))


def count_step(state: dict[str, Any]) -> int:
    """Add 1 to the number of steps in the state, a float32 tensor as in PyTorch, and return it."""
    if capturing.get():
        raise RuntimeError("cuda.graph: a step on parameters on the CPU cannot be recorded; move them to the GPU")
    if "step" not in state:
        state["step"] = wrap(np.zeros((), np.float32))
    count = state["step"].array
    step = int(count.item()) + 1  # through Python's integers: NumPy's += takes ten times as long
    count[()] = step
    return step


def of_dtype(number: Any, array: Any) -> Any:
    """A number that was computed from next_step(), for arithmetic with an array: if it is an array itself, of its dtype."""
    return number.astype(array.dtype) if hasattr(number, "dtype") else number


def grad_of(param: Tensor) -> Any:
    """The array of the gradient of a parameter that has one."""
    grad = param.grad
    assert grad is not None
    return grad.array


def array_of(state: dict[str, Any], key: str) -> Any:
    """The array of a tensor in the state, None where the state has none."""
    return state[key].array if key in state else None


def split_by(keys: list[Any], *lists: list[Any]) -> Iterator[Any]:
    """(key, the elements of each list that have it) for each key: what one kernel call can take.

    The key is the number of steps or the like, which differs only where gradients were missing: almost always there is one.
    """
    if len({*keys}) == 1:
        yield keys[0], *lists
        return
    for key in dict.fromkeys(keys):
        yield key, *([x for x, k in zip(column, keys, strict=True) if k == key] for column in lists)
