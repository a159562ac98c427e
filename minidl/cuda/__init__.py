"""What programs ask of `torch.cuda`. A GPU is reached through CuPy; without it, or without a GPU, nothing is available."""

from __future__ import annotations

import functools
import importlib.util
from typing import Any

from ..devices import device as Device
from ..paths import submodule
from ..random import manual_seed


@functools.cache
def device_count() -> int:
    """How many GPUs CuPy can use; 0 where it is not installed."""
    if importlib.util.find_spec("cupy") is None:
        return 0
    import cupy

    try:
        return int(cupy.cuda.runtime.getDeviceCount())
    except cupy.cuda.runtime.CUDARuntimeError:  # CuPy without a driver or a GPU
        return 0


def is_available() -> bool:
    """Whether tensors can be moved to a GPU."""
    return device_count() > 0


def _cupy() -> Any:
    if not is_available():
        raise RuntimeError(
            "cuda: there is no GPU that CuPy can use; `minidl doctor` says what this machine has. "
            "Ask cuda.is_available() first"
        )
    import cupy

    return cupy


def current_device() -> int:
    """The number of the GPU in use."""
    return int(_cupy().cuda.Device().id)


def set_device(device: Any) -> None:
    """Use that GPU from now on."""
    chosen = Device(device)
    _cupy().cuda.Device(chosen.index or 0).use()


def get_device_name(device: Any = None) -> str:
    """The model name of a GPU, by default of the one in use."""
    number = current_device() if device is None else Device(device).index or 0
    return str(_cupy().cuda.runtime.getDeviceProperties(number)["name"].decode())


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """Always False: there are no tensors of bfloat16."""
    return False


def synchronize(device: Any = None) -> None:
    """Wait until the GPU has done everything it was given. Needed before reading a clock."""
    _cupy().cuda.Device(current_device() if device is None else Device(device).index or 0).synchronize()


def empty_cache() -> None:
    """Give memory that is kept for later back to the GPU. Does nothing without one."""
    if is_available():
        _cupy().get_default_memory_pool().free_all_blocks()


def memory_allocated(device: Any = None) -> int:
    """Bytes of GPU memory that arrays hold."""
    return int(_cupy().get_default_memory_pool().used_bytes()) if is_available() else 0


def manual_seed_all(seed: int) -> None:
    """Seed every device: they share one stream of random numbers, so this is minidl.manual_seed."""
    manual_seed(seed)


def __getattr__(name: str) -> Any:
    """cuda.amp, which imports this module, when it is asked for; FloatTensor and the like on a GPU."""
    if name.endswith("Tensor"):
        from ..ops.legacy import ON_GPU

        if name in ON_GPU:
            return ON_GPU[name]
    return submodule(__name__, name)


__all__ = [
    "current_device", "device_count", "empty_cache", "get_device_name", "is_available", "is_bf16_supported",
    "manual_seed", "manual_seed_all", "memory_allocated", "set_device", "synchronize",
]  # fmt: skip
