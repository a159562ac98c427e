"""CUDA C++ kernels on a CPU: g++ compiles a .cu file of kernels/ unchanged, and every CUDA thread runs as a fibre.

    with cuda_on_cpu.running():
        y = softmax.variants["cuda", "cuda"].run(x, -1)      # NumPy arrays in, NumPy arrays out

    cuda_on_cpu.kernel("twice.cu", "twice", 1, 32, x, out, 20)    # a kernel of your own, with every access watched

It is for tests and for learning, not for speed. cuda_cpu.h runs the threads, and refuses barriers that not all of them reach and
warp operations that name absent lanes. With check=True, cuda_watch.h sees every access to memory besides: races whatever the order of
threads, indices out of bounds, shared memory that nothing was written to, asynchronous copies that are still under way, misaligned
and null pointers, overflows; README.md lists what it cannot see. `python -m minidl.testing.cuda_on_cpu SCRIPT` runs a script with every
kernel compiled under AddressSanitizer, which also sees the threads' own arrays and what addresses in memory point to.
"""

from __future__ import annotations

import argparse
import ctypes
import functools
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from ..kernels import cuda
from . import cuda_findings
from .strict_cupy import device as stand_in

HEADER = Path(__file__).with_name("cuda_cpu.h")
HEADERS = (HEADER, HEADER.with_name("cuda_watch.h"), HEADER.with_name("cuda_mma_cpu.h"))
FLAGS = ("-x", "c++", "-std=c++17", "-O1", "-g1", "-fPIC", "-shared", "-fno-strict-aliasing", "-ffp-contract=off",
         "-ftrivial-auto-var-init=pattern",  # a thread's array that is not set is not 0 by chance
         "-Werror=return-type")  # fmt: skip
SANITIZE = ("-fsanitize=address,bounds", "-fno-omit-frame-pointer")
WATCH = ("-DCUDA_WATCH", "-Werror=uninitialized", "-Werror=maybe-uninitialized",
         "-fsanitize=thread,bounds,alignment,null,signed-integer-overflow,integer-divide-by-zero,float-cast-overflow")  # fmt: skip
MOST = 8  # mistakes that one message lists
ORDERS = {"forward": 0, "reverse": 1, "random": 2}
BOUND = re.compile(r"__launch_bounds__\(([^,()]*)[^)]*\)\s*(\w+)\(")
ASKED = "MINIDL_CUDA_SANITIZE"  # set in the process in which AddressSanitizer has been loaded first


class CudaOnCpuError(RuntimeError):
    """A kernel did what a GPU would hang on or get wrong; the message names the file, the line and the remedy."""


def compiler() -> str:
    """g++ or clang++. Raises RuntimeError where there is none."""
    found = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")
    if found is None:
        raise RuntimeError(
            "CUDA kernels run on the CPU through g++ or clang++, and neither is installed: "
            "on Debian and Ubuntu `apt install g++`, on macOS `xcode-select --install`; or set CXX to a compiler"
        )
    return found


def cache_folder() -> Path:
    """Where compiled kernels are kept: MINIDL_CUDA_CACHE, or a folder of this user's among the temporary files."""
    chosen = os.environ.get("MINIDL_CUDA_CACHE")
    return Path(chosen) if chosen else Path(tempfile.gettempdir()) / f"minidl-cuda-on-cpu-{os.getuid()}"


@functools.cache
def library(path: Path, options: tuple[str, ...], names: tuple[str, ...], extra: tuple[str, ...] = ()) -> ctypes.CDLL:
    """A .cu file as a loaded library with a function launch_<name> per kernel."""
    built = build(path, options, names, extra)
    lib = ctypes.CDLL(str(built))
    shared = [v for v in cuda_findings.variables(built) if v.shared]
    places, sizes = (
        (ctypes.c_long * len(shared))(*column) for column in ([v.place for v in shared], [v.nbytes for v in shared])
    )
    lib.set_shared(len(shared), places, sizes)
    return lib


def build(path: Path, options: tuple[str, ...], names: tuple[str, ...], extra: tuple[str, ...] = ()) -> Path:
    """Compile a .cu file, if no like library is kept; where the library is. extra: SANITIZE, WATCH or neither."""
    source = path.read_text()
    bounds = {name: bound for bound, name in BOUND.findall(source)}
    text = f'#include "{HEADER}"\n#include "{path}"\n'
    text += "".join(f"CUDA_ENTRY({name}, {bounds.get(name, 1024)})\n" for name in names)
    flags = (*FLAGS, *(extra or ("-w",)), f"-I{path.parent}", f"-I{cuda.HERE}", *options)
    read = (*HEADERS, *sorted({*cuda.HERE.glob("*.cuh"), *path.parent.glob("*.cuh")}))
    parts = (text, source, repr(flags), compiler(), *(p.read_text() for p in read))
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:20]
    target = cache_folder() / f"{path.stem}-{key}.so"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh = target.with_suffix(f".{os.getpid()}")
        steps = [[*flags, "-", "-o", str(fresh)]]
        if extra == WATCH:  # linked without the sanitizer's library: its functions are ours
            part = fresh.with_suffix(".o")
            steps = [[*flags, "-c", "-", "-o", str(part)], ["-shared", str(part), "-o", str(fresh)]]
        for step in steps:
            done = subprocess.run([compiler(), *step], input=text, text=True, capture_output=True)
            if done.returncode:
                raise CudaOnCpuError(f"{path} does not compile on the CPU:\n{done.stderr}")
        fresh.replace(target)  # at once: another process may be doing the same
    return target


class Launch(NamedTuple):
    """A kernel of a file, how it is compiled, and what it is launched with."""

    path: Path
    signature: cuda.Signature
    grid: tuple[int, ...]
    block: tuple[int, ...]
    values: list[Any]
    shared: int
    options: tuple[str, ...]
    names: tuple[str, ...]  # of the kernels that are compiled
    order: int = 0

    def run(self, check: bool = False) -> list[str]:
        """Launch it on NumPy arrays and scalars. check: watched, which gives remarks, see `kernel`. Raises CudaOnCpuError."""
        if check:
            return self.watched(unit=4)
        wrong = self.enter(library(self.path, self.options, self.names, SANITIZE if os.environ.get(ASKED) else ()))
        if wrong:
            raise CudaOnCpuError(f"{self.path.name}: {self.signature.kernel}: {wrong}")
        return []

    def arrays(self) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
        for (_, name, _), value in zip(self.signature.parameters, self.values, strict=True):
            value = getattr(value, "host", value)  # of an array of the strict stand-in for CuPy
            if isinstance(value, np.ndarray):
                yield name, value

    def enter(self, lib: ctypes.CDLL, places: Mapping[int, int] = MappingProxyType({})) -> str:
        """What the launch says. places: where arrays are that have been moved."""
        run = getattr(lib, f"launch_{self.signature.kernel}")
        run.restype = ctypes.c_char_p
        boxes: list[Any] = []
        for value in self.values:
            value = getattr(value, "host", value)
            if isinstance(value, np.ndarray):
                boxes.append(ctypes.c_void_p(places.get(id(value), value.ctypes.data)))
            else:
                boxes.append(np.ctypeslib.as_ctypes(np.array(value)))
        pointers = (ctypes.c_void_p * len(boxes))(*(ctypes.addressof(box) for box in boxes))
        sizes = (ctypes.c_uint * 6)(*self.grid, *self.block)
        return (run(sizes, ctypes.c_size_t(self.shared), pointers, ctypes.c_uint(self.order)) or b"").decode()

    def watched(self, unit: int) -> list[str]:
        """Launch it on copies of its arrays and raise CudaOnCpuError for all that it does wrong, each in a sentence."""
        built = build(self.path, self.options, self.names, WATCH)
        lib = library(self.path, self.options, self.names, WATCH)
        arena = cuda_findings.Arena(self.arrays(), self.shared, unit)
        tables = any(ctype == "unsigned long long" and pointer for ctype, _, pointer in self.signature.parameters)
        regions = cuda_findings.begin(lib, cuda_findings.variables(built), arena, unit, tables)
        wrong = self.enter(lib, arena.address)
        if unit > 1 and lib.watch_needs_finer():
            return self.watched(unit=1)  # an access to a part of a cell: all cells are bytes now
        arena.back()
        kernel = self.signature.kernel
        tell = cuda_findings.Teller(self.grid, self.block, self.shared)
        found = [wrong] if wrong else []
        found += cuda_findings.aliases(self.path.read_text(), kernel, regions, lib)
        found += [tell.sentence(f) for f in cuda_findings.findings(lib, built, regions)]
        if found:
            found[MOST:] = [f"and {len(found) - MOST} more"] if len(found) > MOST else []
            raise CudaOnCpuError("\n".join(f"{self.path.name}: {kernel}: {sentence}" for sentence in found))
        return cuda_findings.unwritten(lib, regions)


@contextmanager
def running(
    order: str = "forward", check: bool = False, launched: set[tuple[str, str]] | None = None
) -> Iterator[None]:
    """Within the block, CUDA kernels that are given NumPy arrays run on the CPU.

    order: of the threads between barriers, forward, reverse or random: a missing barrier gives another result. check: see `kernel`.
    launched: collects (kernel, element type) of what is launched.
    """

    def start(
        source: cuda.Source,
        entry: str,
        grid: tuple[int, int, int],
        block: tuple[int, int, int],
        values: list[Any],
        shared: int,
        options: tuple[str, ...],
    ) -> None:
        element = next(o.removeprefix("-DTYPE_") for o in options if o.startswith("-DTYPE_"))
        if launched is not None:
            launched.add((entry, element))
        names, signature = names_for(source, element), source.signatures[entry]
        launch = Launch(source.path, signature, grid, block, values, shared, options, names, turn)

        def run() -> None:
            launch.run(check)

        if any(hasattr(value, "host") for value in values):
            stand_in.do(run)  # at once, or at every replay of the graph that is being recorded
        else:
            run()

    turn = ORDERS[order]
    before, cuda.on_cpu = cuda.on_cpu, start
    try:
        yield
    finally:
        cuda.on_cpu = before


def build_all(names: set[str]) -> None:
    """Compile what kernels of these names launch, as the tests use it, two files at a time: a compiler is a process of one thread."""
    work = [
        (source.path, cuda.macros(element, {}), names_for(source, element), extra)
        for source in cuda.SOURCES.values()
        if any(entry.of in names for entry in source.entries.values())
        for element in sorted({element for entry in source.entries.values() for element in entry.types})
        for extra in ((), WATCH)[: 2 if element == "float32" else 1]
    ]
    with ThreadPoolExecutor(2) as pool:
        for built in [pool.submit(build, *arguments) for arguments in work]:
            built.result()


def names_for(source: cuda.Source, element: str) -> tuple[str, ...]:
    """The kernels of a file that exist for an element type."""
    return tuple(entry.name for entry in source.entries.values() if element in entry.types)


def kernel(
    path: str | Path,
    entry: str,
    grid: Any,
    block: Any,
    *args: Any,
    shared: int = 0,
    check: bool = True,
    order: str = "forward",
    **defines: Any,
) -> list[str]:
    """Run a kernel of a .cu file of your own on NumPy arrays.

    shared: bytes of dynamic shared memory. check: see every access to memory, and raise for races, indices out of bounds, shared
    memory that was never set, misaligned and null pointers, integers that overflow, whatever the order of the threads is.
    order: in which the threads run between barriers: forward, reverse or random. defines: macros of the source.
    Returns remarks: arrays that were written to in part, which may be meant so.
    Raises CudaOnCpuError, with a sentence for each mistake: kernel, line, threads, what to do.

    Example:
        >>> cuda_on_cpu.kernel("twice.cu", "twice", 1, 32, x, y, 20)
    """
    if order not in ORDERS:
        raise ValueError(f"cuda_on_cpu.kernel: order {order!r}; it is one of {', '.join(ORDERS)}")
    path = Path(path).resolve()
    text = path.read_text()
    found = cuda.signatures(text)
    if entry not in found:
        raise CudaOnCpuError(f'{path.name} has no kernel {entry!r}; with extern "C" __global__ it has {sorted(found)}')
    element = found[entry].element(args)
    options = cuda.macros(element, defines)
    values = found[entry].check(args, element)
    names = (entry,) if "#if" in text else tuple(found)  # under #if there may be kernels for other element types only
    launch = Launch(
        path, found[entry], cuda.three(grid), cuda.three(block), values, shared, options, names, ORDERS[order]
    )
    return launch.run(check)


def sanitized(script: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a Python script in a process of its own, with every kernel under AddressSanitizer."""
    asan = subprocess.run([compiler(), "-print-file-name=libasan.so"], text=True, capture_output=True).stdout.strip()
    if not Path(asan).is_absolute():
        raise RuntimeError(f"{compiler()} has no AddressSanitizer (libasan.so): on Debian `apt install libgcc-12-dev`")
    environment = {
        **os.environ,
        "LD_PRELOAD": asan,  # it must be there before Python is
        "ASAN_OPTIONS": "detect_leaks=0:detect_odr_violation=0",
        ASKED: "1",
    }
    return subprocess.run([sys.executable, str(script), *arguments], text=True, capture_output=True, env=environment)


def report(stderr: str) -> str:
    """What of AddressSanitizer's output says where: its headline and the lines of .cu files."""
    lines = [line for line in stderr.splitlines() if "ERROR: AddressSanitizer" in line or "runtime error" in line]
    return "\n".join(lines + re.findall(r"^ *#\d+ .*\.cuh?:\d+.*$", stderr, re.MULTILINE))


def main() -> int:
    """The command: a script with its own arguments, under AddressSanitizer. The exit code is that of the script."""
    parser = argparse.ArgumentParser(
        prog="python -m minidl.testing.cuda_on_cpu",
        description="Run a script with every CUDA kernel on the CPU, under AddressSanitizer, which names the line that leaves an array.",
    )
    parser.add_argument("script", type=Path, help="a Python program that runs kernels by minidl.testing.cuda_on_cpu")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="its own arguments")
    options = parser.parse_args()
    if not options.script.is_file():
        parser.error(f"there is no file {options.script}")
    try:
        done = sanitized(options.script, *options.arguments)
    except RuntimeError as error:
        parser.error(str(error))
    print(done.stdout, end="")
    if done.stderr:
        print(report(done.stderr) or done.stderr, file=sys.stderr)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
