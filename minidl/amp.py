"""Mixed precision: `autocast`, and `GradScaler` against gradients that are too small for float16."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any, Self

import numpy as np

from . import cuda, dtypes
from .autograd.op import half_of
from .autograd.storage import mark_written
from .kernels import array_module
from .paths import submodule
from .tensor import Tensor

__path__: list[str] = []  # amp.grad_scaler is a path of PyTorch's, see paths.py


class autocast:
    """A context manager and decorator in which products of tensors on a GPU are computed in float16, and what needs it in
    float32.

    Products are matmul and what is made of it, linear, convolutions and recurrent layers: their float32 inputs are cast to
    `dtype`, and so is their result. Softmax, layer normalization, sums, norms and losses cast float16 to float32. Everything
    else computes in the dtype of its inputs; PyTorch also takes powers, exponentials and logarithms to float32. Gradients come
    in the dtypes of the forward pass. On the CPU nothing changes, as NumPy has no fast half precision; nor does
    anything for dtype=bfloat16, which there are no tensors of: results are then more exact than asked for.

    Source: Micikevicius et al., "Mixed Precision Training", 2018.

    Example:
        >>> with minidl.autocast("cuda"):
        ...     loss = F.cross_entropy(model(x), y)
    """

    def __init__(
        self, device_type: str = "cuda", dtype: Any = None, enabled: bool = True, cache_enabled: bool | None = None
    ) -> None:
        if dtype not in (None, dtypes.float16, dtypes.bfloat16, dtypes.float32):
            raise RuntimeError(f"autocast: dtype must be float16 or bfloat16, got {dtype!r}")
        self.device, self.enabled = device_type, enabled
        self.fast_dtype = dtype or (dtypes.float16 if device_type == "cuda" else dtypes.bfloat16)
        self._before: list[Any] = []

    def __enter__(self) -> Self:
        self._before.append(half_of.get())
        if self.device == "cuda":
            half_of.set(np.dtype(np.float16) if self.enabled and self.fast_dtype is dtypes.float16 else None)
        return self

    def __exit__(self, *exception: object) -> None:
        half_of.set(self._before.pop())

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with self:
                return function(*args, **kwargs)

        return wrapped


def is_autocast_available(device_type: str) -> bool:
    """Whether autocast is known on a device; it casts on a GPU only."""
    return device_type in ("cpu", "cuda")


def is_autocast_enabled(device_type: str = "cuda") -> bool:
    """Whether products of tensors on a GPU are computed in lower precision here."""
    return device_type == "cuda" and half_of.get() is not None


def custom_fwd(fwd: Any = None, *, device_type: str = "cuda", cast_inputs: Any = None) -> Any:
    """Decorates a Function's forward, so that custom_bwd finds the autocast that it ran under.

    cast_inputs: under autocast, cast the float tensors among the arguments to this dtype, and run without autocast.
    """
    if fwd is None:
        return functools.partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs)

    @functools.wraps(fwd)
    def wrapped(ctx: Any, *args: Any, **kwargs: Any) -> Any:
        ctx._half = None if cast_inputs is not None else half_of.get()
        if cast_inputs is None or half_of.get() is None:
            return fwd(ctx, *args, **kwargs)
        cast = [a.to(cast_inputs) if isinstance(a, Tensor) and a.is_floating_point() else a for a in args]
        with autocast(device_type, enabled=False):
            return fwd(ctx, *cast, **kwargs)

    return wrapped


def custom_bwd(bwd: Any = None, *, device_type: str = "cuda") -> Any:
    """Decorates a Function's backward, which then runs under the autocast that its forward ran under."""
    if bwd is None:
        return functools.partial(custom_bwd, device_type=device_type)

    @functools.wraps(bwd)
    def wrapped(ctx: Any, *args: Any) -> Any:
        before = half_of.set(ctx._half)
        try:
            return bwd(ctx, *args)
        finally:
            half_of.reset(before)

    return wrapped


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
        self._found_inf: dict[int, Any] = {}  # by optimizer, once its gradients are divided; on a GPU an array there

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
        bad: Any = False
        for group in optimizer.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    grad = p.grad.entries
                    if grad.array.dtype == np.float16:
                        raise ValueError(
                            "GradScaler.unscale_: Attempting to unscale FP16 gradients; keep the weights in float32, and "
                            "compute under autocast"
                        )
                    grad.array *= 1.0 / self._scale
                    mark_written(grad)
                    bad = bad | ~array_module(grad.array).isfinite(grad.array).all()
        self._found_inf[id(optimizer)] = bad

    def step(self, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        """Let the optimizer step, unless its gradients are infinite or NaN."""
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if id(optimizer) not in self._found_inf:
            self.unscale_(optimizer)
        # the one look at a value on the GPU, whatever the number of parameters
        self._found_inf[id(optimizer)] = bad = bool(self._found_inf[id(optimizer)])
        return None if bad else optimizer.step(*args, **kwargs)

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
