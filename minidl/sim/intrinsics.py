"""What `cuda` is: in the file of a kernel the decorator `cuda.jit`, in a kernel that runs the whole simulated device."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from .errors import Fault
from .memory import Array, Memory, dtype_of

WARP = 32
MAX_SHARED = 48 * 1024  # bytes that a block can have without asking for more
FULL_MASK = 0xFFFFFFFF

# What makes a thread wait: name -> fewest and most arguments. A warp's take a mask first.
BLOCK_WAITS = {
    "syncthreads": (0, 0), "syncthreads_count": (1, 1), "syncthreads_and": (1, 1), "syncthreads_or": (1, 1),
}  # fmt: skip
WARP_WAITS = {
    "syncwarp": (0, 1), "shfl_sync": (3, 3), "shfl_up_sync": (3, 3), "shfl_down_sync": (3, 3), "shfl_xor_sync": (3, 3),
    "ballot_sync": (2, 2), "all_sync": (2, 2), "any_sync": (2, 2), "eq_sync": (2, 2),
    "match_any_sync": (2, 2), "match_all_sync": (2, 2),
}  # fmt: skip
WAITING = BLOCK_WAITS | WARP_WAITS


INDICES = {"threadIdx", "blockIdx", "blockDim", "gridDim", "laneid", "warpsize"}


class Dim3(NamedTuple):
    """A size or index in three dimensions."""

    x: int
    y: int
    z: int


class Host:
    """`cuda` outside of kernels: `@cuda.jit` marks them, `kernel[grid, block](*args)` runs one.

    The options of Numba's decorator are accepted and mean nothing here.
    """

    def jit(self, function: Any = None, device: bool = False, **options: Any) -> Any:
        """Mark a function as a kernel, or with device=True as a function that kernels call."""
        if callable(function):
            return Kernel(function, device)
        return lambda function: Kernel(function, device)  # @cuda.jit(device=True), or a signature as its argument

    def __getattr__(self, name: str) -> Any:
        if name in INDICES or name in {known.partition(".")[0] for known in NAMES}:
            raise AttributeError(f"cuda.{name} exists in a kernel only; launch the kernel as kernel[grid, block](...)")
        raise AttributeError(f"minidl.sim.cuda has no {name!r}")


class Kernel:
    """A function under `@cuda.jit` of the simulator: run it as kernel[grid, block](*args), or with `simulate`."""

    def __init__(self, function: Callable[..., Any], device: bool = False) -> None:
        self.py_func, self.device = function, device
        self.__name__, self.__doc__, self.__wrapped__ = function.__name__, function.__doc__, function
        self.__module__ = function.__module__

    def __getitem__(self, launch: tuple[Any, ...]) -> Callable[..., Any]:
        """[grid, block], [grid, block, stream] or [grid, block, stream, bytes of shared memory], as in Numba."""
        from .run import simulate

        grid, block, _, shared = (*launch, 0, 0)[:4] if len(launch) < 4 else launch
        return lambda *args: simulate(self, grid, block, *args, shared=shared)

    def __call__(self, *args: Any) -> Any:
        if self.device:
            raise TypeError(f"{self.__name__} is a device function: only kernels call it")
        raise TypeError(f"{self.__name__} is a kernel: launch it as {self.__name__}[grid, block](...)")


class Device:
    """`cuda` inside of a kernel. The scheduler sets threadIdx, blockIdx and laneid whenever another thread goes on."""

    warpsize = WARP

    def __init__(self, memory: Memory, grid: Dim3, block: Dim3, dynamic: int) -> None:
        self.memory = memory
        self.gridDim, self.blockDim, self.dynamic = grid, block, dynamic
        self.threadIdx, self.blockIdx, self.laneid = Dim3(0, 0, 0), Dim3(0, 0, 0), 0
        self.shared = SimpleNamespace(array=self.shared_array)
        self.local = SimpleNamespace(array=self.local_array)
        self.const = SimpleNamespace(array_like=self.array_like)
        self.atomic = Atomic()
        self.allocations: dict[Any, Array] = {}  # of the block that runs

    def __getattr__(self, name: str) -> Any:
        if name in WAITING:
            raise Fault("unsupported", f"cuda.{name} under another name: write cuda.{name}() where it is called")
        raise Fault("unsupported", f"cuda.{name}: the simulator does not have it; `help(minidl.sim)` lists what it has")

    def begin_block(self, index: Dim3) -> None:
        self.blockIdx = index
        self.allocations = {}

    def grid(self, ndim: int) -> Any:
        index = tuple(b * n + t for b, n, t in zip(self.blockIdx, self.blockDim, self.threadIdx, strict=True))
        return index[0] if ndim == 1 else index[:ndim]

    def gridsize(self, ndim: int) -> Any:
        size = tuple(g * b for g, b in zip(self.gridDim, self.blockDim, strict=True))
        return size[0] if ndim == 1 else size[:ndim]

    def shared_array(self, shape: Any, dtype: Any, name: str = "shared array", **options: Any) -> Array:
        """The block's array of this line, made by the thread that comes first."""
        wanted = dtype_of(dtype)
        if shape == 0:
            return self.dynamic_array(wanted, name)
        frame = sys._getframe(1)
        place = id(frame.f_code), frame.f_lasti
        if place not in self.allocations:
            used = self.dynamic + sum(a.buffer.nbytes for key, a in self.allocations.items() if key != "dynamic")
            size = shape if isinstance(shape, tuple) else (shape,)
            more = int(np.prod(size)) * wanted.itemsize
            if used + more > MAX_SHARED:
                raise Fault(
                    "memory",
                    f"{name} brings the shared memory of a block to {used + more} bytes, and it can have {MAX_SHARED}: "
                    "take smaller tiles, or a smaller type",
                )
            self.allocations[place] = self.memory.new(name, "shared", size, wanted)
        return self.allocations[place]

    def dynamic_array(self, dtype: np.dtype[Any], name: str) -> Array:
        """All of the shared memory given at the launch, from its beginning, as elements of one type."""
        if self.dynamic < dtype.itemsize:
            raise Fault("memory", f"{name} has the size given at the launch, which is 0: launch with shared=bytes")
        if "dynamic" not in self.allocations:
            self.allocations["dynamic"] = self.memory.new(name, "shared", (self.dynamic,), np.dtype(np.uint8))
            whole = self.allocations["dynamic"].buffer
            count = self.dynamic // dtype.itemsize
            whole.shape, whole.strides, whole.itemsize = (count,), (dtype.itemsize,), dtype.itemsize
        raw = self.allocations["dynamic"]
        data = raw.data[: self.dynamic // dtype.itemsize * dtype.itemsize].view(dtype)
        if dtype.kind == "f" and raw.written is not None and not any(raw.written):
            data.fill(np.nan)
        return Array(self.memory, raw.buffer, data, 0)

    def local_array(self, shape: Any, dtype: Any, name: str = "local array", **options: Any) -> Array:
        size = shape if isinstance(shape, tuple) else (shape,)
        return self.memory.new(name, "local", size, dtype_of(dtype))

    def array_like(self, array: Any, name: str = "constant array") -> Array:
        data = array.data if isinstance(array, Array) else np.asarray(array)
        return Array(
            self.memory, self.memory.buffer(name, "const", data.nbytes, tracked=False), data, 0, writable=False
        )

    def lanemask_lt(self) -> int:
        return (1 << self.laneid) - 1

    def threadfence(self) -> None:
        """Nothing to do: a write is seen by all at once."""

    threadfence_block = threadfence_system = threadfence

    def nanosleep(self, ns: int) -> None:
        """Nothing to do: the others run when this thread waits."""

    def popc(self, x: int) -> int:
        return (x & width_mask(x)).bit_count()

    def clz(self, x: int) -> int:
        return width_mask(x).bit_length() - (x & width_mask(x)).bit_length()

    def brev(self, x: int) -> int:
        width = width_mask(x).bit_length()
        return int(f"{x & width_mask(x):0{width}b}"[::-1], 2)

    def ffs(self, x: int) -> int:
        return (x & -x).bit_length()

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        """a * b + c with one rounding, as far as float64 holds a * b."""
        kind = np.result_type(a, b, c)
        return kind.type(float(a) * float(b) + float(c)) if kind.kind == "f" else a * b + c

    def cbrt(self, x: Any) -> Any:
        return np.cbrt(x)

    def selp(self, condition: Any, a: Any, b: Any) -> Any:
        return a if condition else b


def width_mask(x: int) -> int:
    """The bits of a 32-bit integer, or of a 64-bit one if it needs them: a Python int does not say which it is."""
    return FULL_MASK if -(1 << 31) <= x <= FULL_MASK else (1 << 64) - 1


class Atomic:
    """cuda.atomic: (array, index, value) -> what was there before."""

    def add(self, array: Array, index: Any, value: Any) -> Any:
        return array.atomic(index, lambda old: old + value)

    def sub(self, array: Array, index: Any, value: Any) -> Any:
        return array.atomic(index, lambda old: old - value)

    def max(self, array: Array, index: Any, value: Any) -> Any:
        return array.atomic(index, lambda old: value if value > old or old != old else old)

    def min(self, array: Array, index: Any, value: Any) -> Any:
        return array.atomic(index, lambda old: value if value < old or old != old else old)

    nanmax, nanmin = max, min

    def exch(self, array: Array, index: Any, value: Any) -> Any:
        return array.atomic(index, lambda old: value)

    def and_(self, array: Array, index: Any, value: Any) -> Any:
        return array.atomic(index, lambda old: old & value)

    def or_(self, array: Array, index: Any, value: Any) -> Any:
        return array.atomic(index, lambda old: old | value)

    def xor(self, array: Array, index: Any, value: Any) -> Any:
        return array.atomic(index, lambda old: old ^ value)

    def inc(self, array: Array, index: Any, limit: Any) -> Any:
        return array.atomic(index, lambda old: 0 if old >= limit else old + 1)

    def dec(self, array: Array, index: Any, limit: Any) -> Any:
        return array.atomic(index, lambda old: limit if old == 0 or old > limit else old - 1)

    def cas(self, array: Array, index: Any, old: Any, value: Any) -> Any:
        return array.atomic(index, lambda found: value if found == old else found)

    def compare_and_swap(self, array: Array, old: Any, value: Any) -> Any:
        return array.atomic(0, lambda found: value if found == old else found)


NAMES = {
    *WAITING, "grid", "gridsize", "shared.array", "local.array", "const.array_like", "lanemask_lt", "threadfence",
    "threadfence_block", "threadfence_system", "nanosleep", "popc", "clz", "brev", "ffs", "fma", "cbrt", "selp",
    *(f"atomic.{name}" for name in vars(Atomic) if not name.startswith("__")),
}  # fmt: skip

cuda = Host()
