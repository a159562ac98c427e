"""Switches that programs set once, at their beginning. Most ask for what this engine does anyway."""

from __future__ import annotations

import functools
from typing import Any

from . import devices, dtypes
from .kernels import determinism


class memory_format:
    """A name for a layout in memory. Layouts are the engine's own business here, so these are accepted and ignored."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"torch.{self.name}"


contiguous_format = memory_format("contiguous_format")
preserve_format = memory_format("preserve_format")
channels_last = memory_format("channels_last")
channels_last_3d = memory_format("channels_last_3d")


def with_out(function: Any) -> Any:
    """A function that takes out=, a tensor that the result is written into, outside of any graph."""

    @functools.wraps(function)
    def called(*args: Any, out: Any = None, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        if out is None:
            return result
        if out.requires_grad or tuple(out.shape) != tuple(result.shape):
            raise RuntimeError(
                f"{function.__name__}(): out= must be a tensor of shape {list(result.shape)} that requires no gradient, got "
                f"shape {list(out.shape)}; use the returned tensor instead"
            )
        return out.copy_(result.detach())

    return called


def compile(model: Any = None, **options: Any) -> Any:
    """The model or function itself: there is nothing to compile, kernels are compiled at their first call.

    Without a model a decorator, as in PyTorch; the options are ignored.
    """
    return model if model is not None else lambda function: function


def get_num_threads() -> int:
    """How many threads one operation may use, in its matrix products and in its kernels."""
    from .kernels import threads

    return threads.get_num_threads()


def set_num_threads(threads: int) -> None:
    """Let one operation use that many threads, from now on. Raises RuntimeError for a number below 1.

    Without it: OMP_NUM_THREADS, else as many as the process has cores. NumPy's BLAS is held to one thread: minidl shares its
    own products out among its threads.
    """
    from .kernels import threads as settings

    settings.set_num_threads(threads)


def get_num_interop_threads() -> int:
    """Always 1: operations run one after the other."""
    return 1


def set_num_interop_threads(threads: int) -> None:
    """Does nothing: operations run one after the other. Raises RuntimeError for a number below 1."""
    if threads < 1:
        raise RuntimeError(f"set_num_interop_threads expects a positive integer, got {threads!r}")


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Let operations on a GPU give the same bits at every run, or raise RuntimeError; on the CPU they always do.

    Adding by an index, running sums and assigning to an element twice then take other, slower paths; a histogram with
    weights and adding by an index within a CUDA graph raise, or warn if `warn_only`. kernels/determinism.py says why.

    Example:
        >>> minidl.use_deterministic_algorithms(True)
    """
    determinism.set_mode("default" if not mode else "warn" if warn_only else "error")


def are_deterministic_algorithms_enabled() -> bool:
    """Whether operations on a GPU must give the same bits at every run."""
    return determinism.mode != "default"


def is_deterministic_algorithms_warn_only_enabled() -> bool:
    """Whether those that cannot only warn."""
    return determinism.mode == "warn"


def set_deterministic_debug_mode(debug_mode: int | str) -> None:
    """The same switch by name or number: "default" (0), "warn" (1) or "error" (2). Raises RuntimeError for any other."""
    if isinstance(debug_mode, int) and 0 <= debug_mode < len(determinism.MODES):
        debug_mode = determinism.MODES[debug_mode]
    if debug_mode not in determinism.MODES:
        raise RuntimeError(
            f"set_deterministic_debug_mode: expected 0, 1, 2, default, warn or error, got {debug_mode!r}"
        )
    determinism.set_mode(str(debug_mode))


def get_deterministic_debug_mode() -> int:
    """The switch as a number, as set_deterministic_debug_mode takes it."""
    return determinism.MODES.index(determinism.mode)


def set_float32_matmul_precision(precision: str) -> None:
    """Does nothing: float32 products are computed in float32. Raises RuntimeError for a precision that does not exist."""
    if precision not in ("highest", "high", "medium"):
        raise RuntimeError(
            f"set_float32_matmul_precision: precision is 'highest', 'high' or 'medium', got {precision!r}"
        )


def get_float32_matmul_precision() -> str:
    """Always "highest"."""
    return "highest"


def set_flush_denormal(mode: bool) -> bool:
    """False: numbers near zero keep their precision."""
    return False


def set_warn_always(b: bool) -> None:
    """Does nothing: Python's own filters say how often a warning is shown."""


def get_default_device() -> devices.device:
    """Where new tensors are made unless device= says otherwise."""
    return devices.default_device.get() or devices.CPU


def set_default_device(device: Any) -> None:
    """Make new tensors on that device unless device= says otherwise; None is the CPU. Raises where there is no such device.

    What has a device already keeps it: from_numpy, the *_like functions, as_tensor of a tensor, results of operations.
    """
    where = devices.CPU if device is None else devices.device(device)
    devices.library(where)
    devices.default_device.set(None if where.type == "cpu" else where)


def set_default_tensor_type(t: Any) -> None:
    """Make FloatTensor or DoubleTensor, or its name, decide the dtype of new float tensors."""
    name = t if isinstance(t, str) else getattr(t, "__name__", str(t))
    kinds = {"FloatTensor": dtypes.float32, "DoubleTensor": dtypes.float64, "HalfTensor": dtypes.float16}
    kind = name.rpartition(".")[2]
    if kind not in kinds:
        raise TypeError(f"set_default_tensor_type: expected one of {', '.join(kinds)}, got {name}")
    dtypes.set_default_dtype(kinds[kind])


__all__ = [
    "are_deterministic_algorithms_enabled", "channels_last", "channels_last_3d", "compile", "contiguous_format",
    "get_default_device", "get_deterministic_debug_mode", "get_float32_matmul_precision", "get_num_interop_threads", "get_num_threads",
    "is_deterministic_algorithms_warn_only_enabled", "memory_format",
    "preserve_format", "set_default_device", "set_default_tensor_type", "set_deterministic_debug_mode", "set_float32_matmul_precision",
    "set_flush_denormal", "set_num_interop_threads", "set_num_threads", "set_warn_always",
    "use_deterministic_algorithms",
]  # fmt: skip
