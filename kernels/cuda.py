"""CUDA C++ kernels: kernels/<family>.cu, compiled at the first launch for the GPU at hand, launched on CuPy's current stream.

    CU = Source("softmax.cu", Entry("softmax_warp", of="softmax", registers=40))

    @softmax.variant("cuda", device="cuda", supports=...)
    def softmax_cuda(x, axis):
        out = array_module(x).empty_like(x)
        CU.launch("softmax_warp", grid, block, x, out, count, width)
        return out

A `.cu` file is read twice: by the compiler, and by `Source`, which takes from it the parameters of every kernel. A launch
checks its arguments against them, since a wrong type would not fail on a GPU but compute nonsense. `T` in a kernel is the
element type; it is that of the arrays of the call, and each type is a compilation of its own.

Where `on_cpu` is set, which `minidl.testing.cuda_on_cpu` does, launches go there: they run on the CPU, without a GPU.
"""

from __future__ import annotations

import functools
import importlib.util
import re
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .common import Array

HERE = Path(__file__).resolve().parent
ARCHITECTURES = (75, 80, 90)  # compute capabilities that every kernel is compiled for in the tests
SCALARS: dict[str, Callable[[Any], Any]] = {
    "int": np.int32, "unsigned": np.uint32, "long long": np.int64, "unsigned long long": np.uint64,
    "float": np.float32, "double": np.float64,
}  # fmt: skip
POINTEES = {
    "float": "float32", "double": "float64", "half": "float16", "int": "int32", "unsigned": "uint32",
    "long long": "int64", "unsigned long long": "uint64", "unsigned char": "uint8", "signed char": "int8",
}  # fmt: skip
NAMES = {np.dtype(name): name for name in POINTEES.values()}  # a look-up is much faster than a dtype's own name
ELEMENTS = ("float32", "float16", "bfloat16")  # what T can be
HALVES = ELEMENTS[1:]
TALL = 8  # rows at a time of a block that adds up columns, (32, TALL) threads: as in common.cuh
LARGE_SHARED = 48 * 1024  # bytes of dynamic shared memory beyond which a kernel must ask for them
NULL = np.uint64(0)

SOURCES: dict[str, Source] = {}
on_cpu: Callable[..., None] | None = None


def name_of(dtype: np.dtype[Any]) -> str:
    """A dtype's name. That of bfloat16 becomes known when the package that defines it has been imported, by others."""
    return NAMES.get(dtype) or NAMES.setdefault(dtype, dtype.name)


class LaunchError(RuntimeError):
    """A CUDA kernel cannot be compiled or launched; the message names the file, the kernel and what to do."""


class Entry(NamedTuple):
    """One `__global__` function: what it computes and what it may use on any architecture of ARCHITECTURES.

    of: the name of the Kernel whose reference it must agree with, within rtol (relative, float32).
    registers: per thread; shared: static bytes per block; stack: bytes of memory per thread for what is indexed at run
    time. A kernel never spills registers to memory.
    """

    name: str
    of: str
    registers: int
    shared: int = 0
    stack: int = 0
    rtol: float = 2e-6
    types: tuple[str, ...] = ("float32",)
    since: int = 75  # the first compute capability that has its instructions


class Signature(NamedTuple):
    """The parameters of one kernel as its source declares them: (type, name), a pointer's type without const and *."""

    kernel: str
    parameters: tuple[tuple[str, str, bool], ...]  # type, name, whether it is a pointer

    def element(self, args: tuple[Any, ...]) -> str:
        """The dtype of the arrays that are passed as T; without T, float32."""
        for (ctype, _, pointer), value in zip(self.parameters, args, strict=False):
            if ctype == "T" and pointer and value is not None:
                return name_of(value.dtype)
        return "float32"

    def check(self, args: tuple[Any, ...], element: str) -> list[Any]:
        """The arguments as they are handed to the driver. Raises LaunchError where one does not fit its parameter."""
        if len(args) != len(self.parameters):
            names = ", ".join(name for _, name, _ in self.parameters)
            raise LaunchError(f"{self.kernel}: takes {len(self.parameters)} arguments ({names}), got {len(args)}")
        if element not in ELEMENTS:
            raise LaunchError(f"{self.kernel}: element type {element}; the kernel is made for {' and '.join(ELEMENTS)}")
        out = []
        for (ctype, name, pointer), value in zip(self.parameters, args, strict=True):
            if not pointer:
                value = SCALARS[ctype](value)
            elif value is None:
                value = NULL
            else:
                wanted = element if ctype == "T" else POINTEES[ctype]
                if name_of(value.dtype) != wanted or not value.flags.c_contiguous:
                    layout = "" if value.flags.c_contiguous else ", not contiguous"
                    raise LaunchError(
                        f"{self.kernel}: argument {name} must be a contiguous array of {wanted}, "
                        f"got {value.dtype}{list(value.shape)}{layout}"
                    )
            out.append(value)
        return out


DECLARATION = (  # compiled where it is used: importing minidl needs none
    r'extern "C" __global__ void\s*(?:__launch_bounds__\([^)]*\))?\s*(\w+)\(([^)]*)\)'
)


def signatures(text: str) -> dict[str, Signature]:
    """The kernels that a source defines, by name."""
    found = {}
    for name, inside in re.findall(DECLARATION, text):
        parameters = []
        for part in filter(None, (p.strip() for p in re.sub(r"//[^\n]*", "", inside).split(","))):
            pointer = "*" in part
            *words, last = part.replace("*", " ").replace("__restrict__", " ").split()
            ctype = " ".join(w for w in words if w != "const")
            if ctype not in (POINTEES if pointer else SCALARS) and not (ctype == "T" and pointer):
                raise LaunchError(f"{name}: parameter {part!r} has a type that launches do not know")
            parameters.append((ctype, last, pointer))
        found[name] = Signature(name, tuple(parameters))
    return found


class Source:
    """One .cu file of this folder and the entries that it defines."""

    def __init__(self, file: str, *entries: Entry) -> None:
        self.path = HERE / file
        self.entries = {entry.name: entry for entry in entries}
        SOURCES[file] = self

    @functools.cached_property
    def signatures(self) -> dict[str, Signature]:
        found = signatures(self.path.read_text())
        if set(found) != set(self.entries):
            raise LaunchError(
                f"{self.path.name} defines {sorted(set(found) - set(self.entries)) or 'nothing more'} that its Source "
                f"does not list, and lacks {sorted(set(self.entries) - set(found)) or 'nothing'}"
            )
        return found

    @functools.cached_property
    def stamp(self) -> str:
        """Changes when the file or a header changes. CuPy's disk cache looks at the options, not at what is included."""
        files = (*sorted(HERE.glob("*.cuh")), self.path)
        return f"{zlib.crc32(b''.join(file.read_bytes() for file in files)):08x}"

    def launch(
        self, entry: str, grid: Any, block: Any, *args: Any, shared: int = 0, together: bool = False, **defines: Any
    ) -> None:
        """Run one kernel over `grid` blocks of `block` threads (a number, or a tuple of up to three).

        shared: bytes of dynamic shared memory; defines: macros of the source, such as a tile size. together: the blocks wait
        for each other, so that all must be on the GPU at once (a "cooperative" launch); number them along y, since a grid
        that does not fit is refused there, where CuPy cuts one along x to what fits.
        Raises LaunchError for arguments that do not fit, a source that does not compile, a missing CuPy or GPU.
        """
        signature = self.signatures[entry]
        element = signature.element(args)
        values = signature.check(args, element)
        grid, block = three(grid), three(block)
        if not all(grid):
            return  # nothing to do, and the driver refuses an empty grid
        options = macros(element, defines)
        if on_cpu is not None:
            on_cpu(self, entry, grid, block, values, shared, options)
            return
        if any(type(value) is np.ndarray for value in values):
            raise LaunchError(
                f"{entry}: got NumPy arrays; CUDA kernels take CuPy's. Without a GPU, "
                "`with minidl.testing.cuda_on_cpu.running():` runs them on the CPU"
            )
        kernel = compiled(self.path.name, entry, options, together)
        if shared > LARGE_SHARED:
            kernel.max_dynamic_shared_size_bytes = shared
        kernel(grid, block, tuple(values), shared_mem=shared)


def macros(element: str, defines: dict[str, Any]) -> tuple[str, ...]:
    """The compiler's options for an element type and macros of the source."""
    return (f"-DTYPE_{element}", *(f"-D{name}={value}" for name, value in sorted(defines.items())))


@functools.cache
def compiled(file: str, entry: str, options: tuple[str, ...], together: bool = False) -> Any:
    """One kernel of a file as a cupy.RawKernel; CuPy keeps it on disk, and in memory for each GPU."""
    module = compiled_module(file, options, together)
    return module.get_function(entry)


@functools.cache
def compiled_module(file: str, options: tuple[str, ...], together: bool = False) -> Any:
    if importlib.util.find_spec("cupy") is None:
        raise LaunchError(f"{file}: CuPy is not installed; install the extra cuda12 or cuda13 that matches the driver")
    import cupy

    if not cupy.cuda.is_available():
        raise LaunchError(f"{file}: there is no GPU that CuPy can use; `minidl doctor` says what this machine has")
    source = SOURCES[file]
    flags = (*compile_options(options), f"-DSTAMP_{source.stamp}")
    code = f'#include "{file}"\n'
    module = cupy.RawModule(code=code, options=flags, backend="nvrtc", enable_cooperative_groups=together)
    try:
        module.compile()
    except cupy.cuda.compiler.CompileException as error:
        capability = cupy.cuda.Device().compute_capability
        raise LaunchError(f"{source.path} does not compile for compute capability {capability}:\n{error}") from None
    return module


def compile_options(options: tuple[str, ...]) -> tuple[str, ...]:
    """What every compilation of a .cu file is given, besides the architecture. CuPy adds -ftz=true: in arithmetic a float below 2^-126
    is 0, which it is not where a kernel runs on the CPU."""
    return ("-std=c++17", f"-I{HERE}", *options)


def three(size: Any) -> tuple[int, int, int]:
    """A grid or block size as the three numbers that a launch takes."""
    sizes = tuple(size) if isinstance(size, tuple) else (size,)
    return (*sizes, *(1,) * (3 - len(sizes)))


def blocks(n: int, per_block: int, most: int = 1 << 30) -> int:
    """How many blocks cover n elements, at most `most` where the kernel strides over the rest."""
    return min(-(-n // per_block), most)


class Limits(NamedTuple):
    """What a device can do: its compute capability, 90 for 9.0, the shared memory that a block may have, in bytes; how many
    multiprocessors there are; and what the blocks share that run on one of them at once: memory in bytes, registers, threads."""

    capability: int
    shared: int
    multiprocessors: int
    shared_by_all: int
    registers: int
    threads: int

    def at_once(self, threads: int, registers: int, shared: int) -> int:
        """How many blocks a multiprocessor has room for: of so many threads with so many registers, and so much shared memory."""
        if shared > self.shared:
            return 0
        # a warp gets its registers in units of 256, from one of four parts; beside its own memory a block takes 1 KB for the system
        warps = 4 * (self.registers // 4 // (256 * blocks(32 * registers, 256)))
        of_block = 1024 * (blocks(shared, 1024) + 1)
        return min(self.threads // threads, warps // blocks(threads, 32), self.shared_by_all // of_block)


H100 = Limits(90, 232448, 132, 233472, 65536, 2048)  # what the CPU run imitates


def limits(a: Array) -> Limits:
    """The limits of the device that an array is on."""
    return H100 if on_cpu is not None or type(a) is np.ndarray else _limits(a.device.id)


@functools.cache
def _limits(device: int) -> Limits:
    import cupy

    gpu = cupy.cuda.Device(device)
    has = gpu.attributes
    names = (
        "MaxSharedMemoryPerBlockOptin", "MultiProcessorCount", "MaxSharedMemoryPerMultiprocessor",
        "MaxRegistersPerMultiprocessor", "MaxThreadsPerMultiProcessor",
    )  # fmt: skip
    return Limits(int(gpu.compute_capability), *(int(has[name]) for name in names))


def launchable(*arrays: Array | None, types: tuple[str, ...] = ("float32",)) -> bool:
    """Whether the arrays, leaving out None, are contiguous and of one element type among `types`, all NumPy's or all CuPy's."""
    first = None
    for a in arrays:
        if a is None:
            continue
        if first is None:
            first = a
        if a.dtype != first.dtype or type(a) is not type(first) or not a.flags.c_contiguous:
            return False
    return first is not None and name_of(first.dtype) in types


def capturing(a: Array) -> bool:
    """Whether work on the device of an array is being recorded as a graph, in which nothing may wait: sorting does."""
    return type(a) is not np.ndarray and bool(sys.modules["cupy"].cuda.get_current_stream().is_capturing())


def address(a: Array) -> int:
    """Where an array begins in the memory of its device."""
    return a.ctypes.data if type(a) is np.ndarray else a.data.ptr


def aligned(*arrays: Array) -> bool:
    """Whether the arrays begin at multiples of 16 bytes, as loads of 16 bytes need it. (Views may begin anywhere.)"""
    return all(address(a) % 16 == 0 for a in arrays)
