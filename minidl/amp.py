"""Mixed precision: `autocast`, and `GradScaler` against gradients that are too small for float16."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any, Self

import numpy as np

from . import cuda
from .autograd.storage import mark_written
from .paths import submodule
from .tensor import Tensor

__path__: list[str] = []  # amp.grad_scaler is a path of PyTorch's, see paths.py


class autocast:
    """A context manager and decorator that changes nothing: every operation computes in the dtype of its inputs.

    PyTorch chooses lower precision for some operations inside, to save time on hardware that has units for it. Values in
    float32 are at least as exact, so programs written for autocast run as they are.
    """

    def __init__(
        self, device_type: str = "cuda", dtype: Any = None, enabled: bool = True, cache_enabled: bool | None = None
    ) -> None:
        self.device, self.fast_dtype, self.enabled = device_type, dtype, enabled

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        return None

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

        return wrapped


def is_autocast_available(device_type: str) -> bool:
    """Whether autocast can be used on a device; it changes nothing."""
    return device_type in ("cpu", "cuda")


def is_autocast_enabled(device_type: str = "cuda") -> bool:
    """Always False: operations compute in the dtype of their inputs."""
    return False


def custom_fwd(fwd: Any = None, *, device_type: str = "cuda", cast_inputs: Any = None) -> Any:
    """Decorates a Function's forward; it changes nothing, as autocast does."""
    return fwd if fwd is not None else lambda function: function


def custom_bwd(bwd: Any = None, *, device_type: str = "cuda") -> Any:
    """Decorates a Function's backward; it changes nothing, as autocast does."""
    return bwd if bwd is not None else lambda function: function


class GradScaler:
    """Multiplies the loss so that small gradients survive float16, and divides them again before the step.

    A step whose gradients are infinite or NaN is left out and the scale is halved; after growth_interval good steps it is
    doubled. enabled=False makes all of it transparent, and so does a missing GPU for device="cuda". Source: Micikevicius et al., "Mixed Precision Training", 2018.

    Example:
        >>> scaler = GradScaler()
        >>> scaler.scale(loss).backward()
        >>> scaler.step(optimizer)
        >>> scaler.update()
    """

    def __init__(
        self, device: str = "cuda", init_scale: float = 2.0**16, growth_factor: float = 2.0, backoff_factor: float = 0.5,
        growth_interval: int = 2000, enabled: bool = True,
    ) -> None:  # fmt: skip
        if growth_factor <= 1.0 or not 0 < backoff_factor < 1.0:
            raise ValueError("GradScaler: growth_factor must be larger than 1 and backoff_factor between 0 and 1")
        if enabled and device == "cuda" and not cuda.is_available():
            warnings.warn("GradScaler is enabled, but CUDA is not available. Disabling.", stacklevel=2)
            enabled = False
        self._scale, self._growth, self._backoff = init_scale, growth_factor, backoff_factor
        self._interval, self._good_steps, self._enabled = growth_interval, 0, enabled
        self._found_inf: dict[int, bool] = {}  # by optimizer, once its gradients are divided

    def is_enabled(self) -> bool:
        """Whether it does anything."""
        return self._enabled

    def get_scale(self) -> float:
        """The factor in force."""
        return self._scale if self._enabled else 1.0

    def scale(self, outputs: Any) -> Any:
        """A loss, or several in a list or tuple, times the factor."""
        if not self._enabled:
            return outputs
        if isinstance(outputs, Tensor):
            return outputs * self._scale
        return type(outputs)(self.scale(o) for o in outputs)

    def unscale_(self, optimizer: Any) -> None:
        """Divide the gradients of an optimizer's parameters, for instance to clip them; `step` does it otherwise."""
        if not self._enabled:
            return
        if id(optimizer) in self._found_inf:
            raise RuntimeError("unscale_() has already been called on this optimizer since the last update().")
        bad = False
        for group in optimizer.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.grad.array *= 1.0 / self._scale
                    mark_written(p.grad)
                    bad |= not bool(np.isfinite(p.grad.array).all())
        self._found_inf[id(optimizer)] = bad

    def step(self, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        """Let the optimizer step, unless its gradients are infinite or NaN."""
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if id(optimizer) not in self._found_inf:
            self.unscale_(optimizer)
        return None if self._found_inf[id(optimizer)] else optimizer.step(*args, **kwargs)

    def update(self, new_scale: float | None = None) -> None:
        """Adapt the factor to what the last steps found."""
        if not self._enabled:
            return
        if new_scale is not None:
            self._scale = float(new_scale)
        elif any(self._found_inf.values()):
            self._scale, self._good_steps = self._scale * self._backoff, 0
        else:
            self._good_steps += 1
            if self._good_steps == self._interval:
                self._scale, self._good_steps = self._scale * self._growth, 0
        self._found_inf.clear()

    def state_dict(self) -> dict[str, Any]:
        """The factor and what it depends on."""
        if not self._enabled:
            return {}
        return {
            "scale": self._scale, "growth_factor": self._growth, "backoff_factor": self._backoff,
            "growth_interval": self._interval, "_growth_tracker": self._good_steps,
        }  # fmt: skip

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a state_dict."""
        if self._enabled:
            self._scale, self._growth = state_dict["scale"], state_dict["growth_factor"]
            self._backoff, self._interval = state_dict["backoff_factor"], state_dict["growth_interval"]
            self._good_steps = state_dict["_growth_tracker"]


def __getattr__(name: str) -> Any:
    return submodule(__name__, name)
