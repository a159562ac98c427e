"""What stands for the device: its memory pool, streams, events and graphs, as far as programs can tell them apart.

Everything runs at once on the host. A stream that is being captured notes what runs, so that a graph can run it again on the
same memory; what would wait for the device during a capture raises, as it does there.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from types import ModuleType, SimpleNamespace
from typing import Any, Self

import numpy as np

UNIT = 512  # bytes; what CuPy's pool rounds a request up to
TOTAL = 8 * 2**30


class CUDARuntimeError(RuntimeError):
    """What the runtime raises."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(f"{name}: {text}")


class _State:
    """The one device."""

    used = 0  # bytes that arrays hold
    kept = 0  # bytes that the pool has taken from the device
    hooks: list[Any] = []
    streams: list[Any] = []  # those of the `with` blocks that the program is in; the last one is current


state = _State()


class Block:
    """Memory that an array got from the pool, and that goes back there after its last array."""

    def __init__(self, host: Any) -> None:
        self.size = -(-host.nbytes // UNIT) * UNIT
        self.ptr = host.ctypes.data if host.base is None else getattr(host.base, "ctypes", host.ctypes).data
        state.used += self.size
        state.kept = max(state.kept, state.used)
        for hook in state.hooks:
            hook.malloc_postprocess(device_id=0, size=host.nbytes, mem_size=self.size, mem_ptr=self.ptr, pmem_id=0)

    def __del__(self) -> None:
        state.used -= self.size
        for hook in state.hooks:
            hook.free_postprocess(device_id=0, mem_size=self.size, mem_ptr=self.ptr, pmem_id=0)


class MemoryHook:
    """Told of every block that the pool hands out and gets back, between __enter__ and __exit__."""

    name = "MemoryHook"

    def __enter__(self) -> Self:
        state.hooks.append(self)
        return self

    def __exit__(self, *exception: object) -> None:
        state.hooks.remove(self)

    def malloc_postprocess(self, **facts: Any) -> None:
        pass

    def free_postprocess(self, **facts: Any) -> None:
        pass


def synchronizing(what: str) -> None:
    """Say that the program waits for the device. Raises during a capture."""
    if current_stream().captured is not None:
        raise CUDARuntimeError(
            "cudaErrorStreamCaptureUnsupported", f"operation not permitted when stream is capturing ({what})"
        )


def transferring(direction: str) -> None:
    """Say that the program copies, "D2H" or "H2D". Raises during a capture, in CuPy's words."""
    if current_stream().captured is not None:
        raise RuntimeError(f"the current stream is capturing, so {direction} transfers are disallowed")


def using_library(name: str) -> None:
    """Say that the program calls one of CUDA's libraries. CuPy refuses that during a capture."""
    if current_stream().captured is not None:
        raise NotImplementedError(f"calling {name} API during stream capture is currently unsupported")


def hold(host: Any) -> None:
    """During a capture: keep what was allocated for the graph, whose memory is its own."""
    captured = current_stream().captured
    if captured is not None:
        captured.append(lambda: (host, None)[1])


def do(step: Callable[[], None]) -> None:
    """Change memory; during a capture only note how, as nothing is done then."""
    captured = current_stream().captured
    if captured is None:
        step()
    else:
        captured.append(step)


def record(compute: Callable[[], Any], result: Any) -> None:
    """During a capture: note how `result` was computed, to compute it again into the same memory, and spoil it."""
    captured = current_stream().captured
    if captured is None:
        return

    def again() -> None:
        value = compute()
        for array, new in zip(_parts(result), _parts(value), strict=True):
            if hasattr(array, "host") and array.base is None:
                array.host[...] = new

    captured.append(again)
    for array in _parts(result):
        if hasattr(array, "host") and array.base is None:
            poisoned(array.host)


def poisoned(host: Any) -> Any:
    """The array with values that no correct program uses: what uninitialised memory may hold."""
    host[...] = np.nan if host.dtype.kind in "fcV" else host.dtype.kind == "b" or 0xCD & np.iinfo(host.dtype).max
    return host


def _parts(x: Any) -> list[Any]:
    return list(x) if isinstance(x, (list, tuple)) else [x]


class MemoryPointer:
    """An address in a block of memory."""

    def __init__(self, mem: Block, ptr: int) -> None:
        self.mem, self.ptr = mem, ptr
        self.device, self.device_id = Device(0), 0


def alloc(size: int) -> MemoryPointer:
    """Memory without an array."""
    host = np.empty(size + UNIT, np.uint8)
    pointer = MemoryPointer(Block(host), -(-host.ctypes.data // UNIT) * UNIT)
    pointer.host = host  # type: ignore[attr-defined]  # what keeps it
    hold(host)
    return pointer


class Device:
    """The device number 0; there is no other."""

    compute_capability = "90"

    def __init__(self, device: Any = None) -> None:
        self.id = 0 if device is None else int(getattr(device, "id", device))
        if self.id != 0:
            raise CUDARuntimeError("cudaErrorInvalidDevice", "invalid device ordinal")

    def __int__(self) -> int:
        return self.id

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device)

    def __hash__(self) -> int:
        return 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        return None

    def use(self) -> Self:
        return self

    def synchronize(self) -> None:
        synchronizing("Device.synchronize()")

    @property
    def mem_info(self) -> tuple[int, int]:
        return TOTAL - state.kept, TOTAL


class Event:
    """A moment in a stream."""

    def __init__(self, block: bool = False, disable_timing: bool = False, interprocess: bool = False) -> None:
        self.when: float | None = None
        self.timing = not disable_timing

    done = property(lambda self: True)

    def record(self, stream: Any = None) -> None:
        self.when = time.perf_counter()

    def synchronize(self) -> None:
        synchronizing("Event.synchronize()")


def get_elapsed_time(start: Event, end: Event) -> float:
    """Milliseconds between two events."""
    if start.when is None or end.when is None or not (start.timing and end.timing):
        raise CUDARuntimeError("cudaErrorInvalidResourceHandle", "invalid resource handle")
    return (end.when - start.when) * 1e3


class Stream:
    """A queue of work, which is done at once. Current within its `with` block, or after use()."""

    null: Stream

    def __init__(
        self, null: bool = False, non_blocking: bool = False, ptds: bool = False, priority: int | None = None
    ) -> None:
        self.ptr = 0 if null else id(self)
        self.captured: list[Callable[[], None]] | None = None

    done = property(lambda self: True)

    def __enter__(self) -> Self:
        state.streams.append(self)
        return self

    def __exit__(self, *exception: object) -> None:
        state.streams.pop()

    def use(self) -> Self:
        state.streams[:] = [self]
        return self

    def synchronize(self) -> None:
        synchronizing("Stream.synchronize()")

    def record(self, event: Event | None = None) -> Event:
        event = event or Event()
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        pass

    def begin_capture(self, mode: Any = None) -> None:
        if self.ptr == 0:
            raise RuntimeError("cannot capture on the default (legacy) stream")
        self.captured = []

    def is_capturing(self) -> bool:
        return self.captured is not None

    def end_capture(self) -> Graph:
        if self.captured is None:
            raise CUDARuntimeError("cudaErrorIllegalState", "the operation cannot be performed in the present state")
        steps, self.captured = self.captured, None
        return Graph(steps)


class Graph:
    """The work that was captured."""

    def __init__(self, steps: list[Callable[[], None]]) -> None:
        self.steps = steps

    def launch(self, stream: Any = None) -> None:
        for step in self.steps:
            step()


Stream.null = Stream(null=True)


def current_stream() -> Any:
    """The stream that work goes to."""
    return state.streams[-1] if state.streams else Stream.null


class MemoryPool:
    """Memory that was used and is kept for the next array."""

    def malloc(self, size: int) -> Any:
        raise NotImplementedError("the stand-in allocates by itself")

    def used_bytes(self) -> int:
        return state.used

    def total_bytes(self) -> int:
        return state.kept

    def free_bytes(self) -> int:
        return state.kept - state.used

    def free_all_blocks(self, stream: Any = None) -> None:
        state.kept = state.used

    def n_free_blocks(self) -> int:
        return 0

    def get_limit(self) -> int:
        return 0


POOL = MemoryPool()


def properties(device: int) -> dict[str, Any]:
    """What the runtime says of the device."""
    Device(device)
    return {"name": b"stand-in", "totalGlobalMem": TOTAL, "major": 9, "minor": 0, "multiProcessorCount": 132,
            "warpSize": 32, "maxThreadsPerBlock": 1024, "sharedMemPerBlock": 49152, "l2CacheSize": 52428800,
            "regsPerMultiprocessor": 65536, "maxThreadsPerMultiProcessor": 2048, "sharedMemPerMultiprocessor": 233472,
            "integrated": 0, "isMultiGpuBoard": 0, "pciBusID": 0, "pciDeviceID": 0, "pciDomainID": 0,
            "sharedMemPerBlockOptin": 232448}  # fmt: skip


def module() -> ModuleType:
    """cupy.cuda."""
    cuda = ModuleType("cupy.cuda")
    runtime = SimpleNamespace(
        CUDARuntimeError=CUDARuntimeError, getDeviceCount=lambda: 1, getDeviceProperties=properties, getDevice=lambda: 0,
        setDevice=Device, deviceSynchronize=lambda: synchronizing("deviceSynchronize()"), is_hip=False,
        memGetInfo=lambda: Device(0).mem_info, runtimeGetVersion=lambda: 13000, driverGetVersion=lambda: 13000,
    )  # fmt: skip
    vars(cuda).update(
        runtime=runtime, MemoryHook=MemoryHook, using_allocator=lambda malloc: nullcontext(), Device=Device, Event=Event,
        Stream=Stream, Graph=Graph, MemoryPool=MemoryPool,
        MemoryPointer=MemoryPointer, get_current_stream=lambda device_id=-1: current_stream(),
        get_elapsed_time=get_elapsed_time, alloc=alloc, is_available=lambda: True, get_device_id=lambda: 0,
    )  # fmt: skip
    return cuda
