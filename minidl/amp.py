"""Mixed precision: `autocast`, and `GradScaler` against gradients that are too small for float16."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterable
from typing import Any, Self

import numpy as np

from . import cuda, dtypes
from .autograd.precision import half_of, rounded, widened
from .autograd.storage import mark_written
from .kernels import array_module
from .paths import submodule
from .tensor import Tensor

__path__: list[str] = []  # amp.grad_scaler is a path of PyTorch's, see paths.py


class autocast:
    """A context manager and decorator in which operations choose their precision, as PyTorch's do.

    device_type: "cuda" or "cpu": the tensors on the other device are left alone. dtype: float16 on a GPU and bfloat16 on the
    CPU unless given, or the other of the two.

    Products are matmul and what is made of it, linear, convolutions, attention, recurrent layers and prelu: their float inputs
    are cast to `dtype`, and so is their result. Losses, prod and some more compute in float32; on a GPU also softmax, layer
    normalization, sums, norms, powers, exponentials and logarithms. Everything else computes in the dtype of its inputs. float64
    is left alone. Gradients come in the dtypes of the forward pass.

    Source: Micikevicius et al., "Mixed Precision Training", 2018.

    Example:
        >>> with minidl.autocast("cpu", dtype=minidl.bfloat16):
        ...     loss = F.cross_entropy(model(x), y)
    """

    def __init__(
        self, device_type: str = "cuda", dtype: Any = None, enabled: bool = True, cache_enabled: bool | None = None
    ) -> None:
        if not is_autocast_available(device_type):
            raise RuntimeError(f"autocast: device_type must be 'cpu' or 'cuda', got {device_type!r}")
        if dtype not in (None, dtypes.float16, dtypes.bfloat16, dtypes.float32):
            raise RuntimeError(f"autocast: dtype must be float16 or bfloat16, got {dtype!r}")
        self.device, self.enabled = device_type, enabled
        self.fast_dtype = dtype or (dtypes.float16 if device_type == "cuda" else dtypes.bfloat16)
        self._before: list[Any] = []

    def __enter__(self) -> Self:
        before = half_of.get()
        self._before.append(before)
        chosen = {device: half for device, half in (before or {}).items() if device != self.device}
        if self.enabled and self.fast_dtype is not dtypes.float32:
            chosen[self.device] = self.fast_dtype.dtype
        half_of.set(chosen or None)
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
    """Whether there is autocast for a type of device."""
    return device_type in ("cpu", "cuda")


def is_autocast_enabled(device_type: str = "cuda") -> bool:
    """Whether products of tensors on a device of this type are computed in lower precision here."""
    return device_type in (half_of.get() or {})


def get_autocast_dtype(device_type: str) -> dtypes.dtype:
    """The dtype of products under autocast, in force or by default."""
    half = (half_of.get() or {}).get(device_type)
    return (dtypes.float16 if device_type == "cuda" else dtypes.bfloat16) if half is None else dtypes.of_array(half)


def custom_fwd(fwd: Any = None, *, device_type: str = "cuda", cast_inputs: Any = None) -> Any:
    """Decorates a Function's forward, so that custom_bwd finds the autocast that it ran under.

    cast_inputs: under autocast, cast the float tensors among the arguments to this dtype, and run without autocast.
    """
    if fwd is None:
        return functools.partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs)

    @functools.wraps(fwd)
    def wrapped(ctx: Any, *args: Any, **kwargs: Any) -> Any:
        ctx._half = None if cast_inputs is not None else half_of.get()
        if cast_inputs is None or not is_autocast_enabled(device_type):
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
    doubled, unless it would become infinite. enabled=False makes all of it transparent, and so does a missing GPU for
    device="cuda". Source: Micikevicius et al., "Mixed Precision Training", 2018.

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
        self._stepped: set[int] = set()  # the optimizers that have stepped since the last update

    def is_enabled(self) -> bool:
        """Whether it does anything."""
        return self._enabled

    def get_scale(self) -> float:
        """The factor in force."""
        return self._scale if self._enabled else 1.0

    def get_growth_factor(self) -> float:
        """What the factor is multiplied with after growth_interval good steps."""
        return self._growth

    def get_backoff_factor(self) -> float:
        """What the factor is multiplied with after a step that was left out."""
        return self._backoff

    def get_growth_interval(self) -> int:
        """After how many good steps the factor grows."""
        return self._interval

    def scale(self, outputs: Any) -> Any:
        """A loss, or several in a list or tuple, times the factor. Raises ValueError for anything else."""
        if not self._enabled:
            return outputs
        if isinstance(outputs, Tensor):
            return outputs * self._scale
        if not isinstance(outputs, Iterable):
            raise ValueError("outputs must be a Tensor or an iterable of Tensors")
        scaled = map(self.scale, outputs)
        return type(outputs)(scaled) if isinstance(outputs, (list, tuple)) else scaled

    def unscale_(self, optimizer: Any) -> None:
        """Divide the gradients of an optimizer's parameters, for instance to clip them; `step` does it otherwise."""
        if not self._enabled:
            return
        if id(optimizer) in self._found_inf:
            stepped = id(optimizer) in self._stepped
            raise RuntimeError(
                "unscale_() is being called after step()."
                if stepped
                else "unscale_() has already been called on this optimizer since the last update()."
            )
        inverse = float(np.float32(1.0 / self._scale))
        bad: Any = None
        for group in optimizer.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    grad = p.grad.entries
                    if grad.array.dtype == np.float16:
                        raise ValueError(
                            "GradScaler.unscale_: Attempting to unscale FP16 gradients; keep the weights in float32, and "
                            "compute under autocast"
                        )
                    wide = widened(grad.array)
                    wide *= inverse
                    if wide is not grad.array:
                        grad.array[...] = rounded(wide)
                    mark_written(grad)
                    infinite = ~array_module(wide).isfinite(wide).all()
                    bad = infinite if bad is None else bad | infinite
        self._found_inf[id(optimizer)] = bad

    def step(self, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        """Let the optimizer step, unless its gradients are infinite or NaN."""
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if "closure" in kwargs:
            raise RuntimeError("Closure use is not currently supported if GradScaler is enabled.")
        if id(optimizer) in self._stepped:
            raise RuntimeError("step() has already been called since the last update().")
        if id(optimizer) not in self._found_inf:
            self.unscale_(optimizer)
        if self._found_inf[id(optimizer)] is None:
            raise AssertionError(
                "No inf checks were recorded for this optimizer: none of its parameters has a gradient."
            )
        self._stepped.add(id(optimizer))
        # the one look at a value on the GPU, whatever the number of parameters
        self._found_inf[id(optimizer)] = bad = bool(self._found_inf[id(optimizer)])
        return None if bad else optimizer.step(*args, **kwargs)

    def update(self, new_scale: float | None = None) -> None:
        """Adapt the factor to what the last steps found."""
        if not self._enabled:
            return
        if new_scale is not None:
            self._scale = float(new_scale)
        elif not self._found_inf:
            raise AssertionError("No inf checks were recorded prior to update: call step(), or unscale_(), before.")
        elif any(self._found_inf.values()):
            self._scale, self._good_steps = self._scale * self._backoff, 0
        else:
            self._good_steps += 1
            if self._good_steps == self._interval:
                grown = self._scale * self._growth
                self._scale, self._good_steps = grown if np.isfinite(np.float32(grown)) else self._scale, 0
        self._found_inf.clear()
        self._stepped.clear()

    def state_dict(self) -> dict[str, Any]:
        """The factor and what it depends on."""
        if not self._enabled:
            return {}
        return {
            "scale": self._scale, "growth_factor": self._growth, "backoff_factor": self._backoff,
            "growth_interval": self._interval, "_growth_tracker": self._good_steps,
        }  # fmt: skip

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a state_dict. Raises RuntimeError for that of a disabled one."""
        if self._enabled:
            if not state_dict:
                raise RuntimeError(
                    "The source state dict is empty, possibly because it was saved from a disabled instance of GradScaler."
                )
            self._scale, self._growth = state_dict["scale"], state_dict["growth_factor"]
            self._backoff, self._interval = state_dict["backoff_factor"], state_dict["growth_interval"]
            self._good_steps = state_dict["_growth_tracker"]


def __getattr__(name: str) -> Any:
    return submodule(__name__, name)
