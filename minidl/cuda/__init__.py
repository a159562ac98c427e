"""What programs ask of `torch.cuda`. A GPU is reached through CuPy; without it, or without a GPU, nothing is available.

Work for a GPU is put into a queue, its stream, and done later: `synchronize` waits for it, and so does whatever brings a value
to the CPU. Memory comes from CuPy's pool, which keeps what arrays give back.
"""

from __future__ import annotations

from typing import Any, Self

from .. import random
from ..devices import cupy_for, gpus
from ..devices import device as Device
from ..paths import submodule
from ..random import initial_seed, manual_seed, seed
from .graphs import CUDAGraph, graph, is_current_stream_capturing, make_graphed_callables
from .memory import (
    empty_cache,
    max_memory_allocated,
    max_memory_reserved,
    mem_get_info,
    memory_allocated,
    memory_reserved,
    memory_summary,
    reset_peak_memory_stats,
)
from .streams import Event, Stream, current_stream, default_stream, set_stream, stream


def device_count() -> int:
    """How many GPUs CuPy can use; 0 where it is not installed."""
    return gpus()[0]


def is_available() -> bool:
    """Whether tensors can be moved to a GPU. Looks once, and not through Numba, whose simulator counts as a GPU."""
    return gpus()[0] > 0


def is_initialized() -> bool:
    """Whether there is a GPU: nothing has to be initialized for it."""
    return is_available()


def init() -> None:
    """Raise RuntimeError where there is no GPU; there is nothing else to do."""
    cupy_for("cuda.init")


def number_of(which: Any) -> int:
    """The number of a GPU that was given as a device, a text or a number; by default that of the current one."""
    index = None if which is None else Device(which).index
    return current_device() if index is None else index


def current_device() -> int:
    """The number of the GPU in use."""
    return int(cupy_for("cuda").cuda.Device().id)


def set_device(device: Any) -> None:
    """Use that GPU from now on."""
    cupy_for("cuda").cuda.Device(number_of(device)).use()


class device:
    """A block in which the GPU of that number is the current one.

    Example:
        >>> with minidl.cuda.device(0):
        ...     x = minidl.zeros(3, device="cuda")
    """

    def __init__(self, device: Any) -> None:
        self.raw = cupy_for("cuda").cuda.Device(number_of(device))

    def __enter__(self) -> Self:
        self.raw.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self.raw.__exit__(*exception)


class DeviceProperties:
    """What the runtime says of a GPU: name, major, minor (its architecture), total_memory, multi_processor_count, ..."""

    def __init__(self, raw: dict[str, Any]) -> None:
        self.name = raw["name"].decode()
        self.major, self.minor = raw["major"], raw["minor"]
        self.total_memory, self.multi_processor_count = raw["totalGlobalMem"], raw["multiProcessorCount"]
        self.warp_size, self.L2_cache_size = raw["warpSize"], raw["l2CacheSize"]
        self.max_threads_per_multi_processor = raw["maxThreadsPerMultiProcessor"]
        self.regs_per_multiprocessor = raw["regsPerMultiprocessor"]
        self.shared_memory_per_block, self.is_integrated = raw["sharedMemPerBlock"], raw["integrated"]

    def __repr__(self) -> str:
        return (
            f"DeviceProperties(name={self.name!r}, major={self.major}, minor={self.minor}, "
            f"total_memory={self.total_memory // 2**20}MB, multi_processor_count={self.multi_processor_count})"
        )


def get_device_properties(device: Any = None) -> DeviceProperties:
    """What the runtime says of a GPU, by default of the one in use."""
    return DeviceProperties(cupy_for("cuda").cuda.runtime.getDeviceProperties(number_of(device)))


def get_device_name(device: Any = None) -> str:
    """The model name of a GPU, by default of the one in use."""
    return get_device_properties(device).name


def get_device_capability(device: Any = None) -> tuple[int, int]:
    """The architecture of a GPU, (9, 0) for an H100; by default of the one in use."""
    properties = get_device_properties(device)
    return properties.major, properties.minor


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """Whether the GPU in use computes with bfloat16: its tensor cores do since compute capability 8.0, and others in float32."""
    return is_available() and (including_emulation or get_device_capability() >= (8, 0))


def synchronize(device: Any = None) -> None:
    """Wait until the GPU has done everything it was given. Needed before reading a clock."""
    cupy_for("cuda").cuda.Device(number_of(device)).synchronize()


def manual_seed_all(seed: int) -> None:
    """Seed every device: they share one stream of random numbers, so this is minidl.manual_seed."""
    manual_seed(seed)


def get_rng_state(device: Any = "cuda") -> Any:
    """The state of the one generator of all devices."""
    return random.get_rng_state()


def set_rng_state(new_state: Any, device: Any = "cuda") -> None:
    """Set the state of the one generator of all devices."""
    random.set_rng_state(new_state)


seed_all = seed


def __getattr__(name: str) -> Any:
    """cuda.amp, which imports this module, when it is asked for; FloatTensor and the like on a GPU."""
    if name.endswith("Tensor"):
        from ..ops.legacy import ON_GPU

        if name in ON_GPU:
            return ON_GPU[name]
    return submodule(__name__, name)


__all__ = [
    "CUDAGraph", "Event", "Stream", "current_device", "current_stream", "default_stream", "device", "device_count",
    "empty_cache", "get_device_capability", "get_device_name", "get_device_properties", "get_rng_state", "graph", "init",
    "initial_seed", "is_available", "is_bf16_supported", "is_current_stream_capturing", "is_initialized",
    "make_graphed_callables", "manual_seed", "manual_seed_all", "max_memory_allocated", "max_memory_reserved",
    "mem_get_info", "memory_allocated", "memory_reserved", "memory_summary", "reset_peak_memory_stats", "seed", "seed_all",
    "set_device", "set_rng_state", "set_stream", "stream", "synchronize",
]  # fmt: skip
