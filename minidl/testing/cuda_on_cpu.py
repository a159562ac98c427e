"""CUDA C++ kernels on a CPU: g++ compiles a .cu file of kernels/ unchanged, and every CUDA thread runs as a fibre.

    with cuda_on_cpu.running():
        y = softmax.variants["cuda", "cuda"].run(x, -1)      # NumPy arrays in, NumPy arrays out

It is for tests and for learning, not for speed. See cuda_cpu.h for what it checks: barriers that not all threads reach, warp
operations that name absent lanes, shared memory that nothing was written to. `python -m minidl.testing.cuda_on_cpu
SCRIPT` runs a script with every kernel compiled under AddressSanitizer, which names the line that leaves an array.
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
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..kernels import cuda
from .strict_cupy import device as stand_in

HEADER = Path(__file__).with_name("cuda_cpu.h")
FLAGS = ("-x", "c++", "-std=c++17", "-O1", "-g1", "-fPIC", "-shared", "-fno-strict-aliasing", "-ffp-contract=off",
         "-w", "-Werror=return-type")  # fmt: skip
SANITIZE = ("-fsanitize=address,bounds", "-fsanitize-sections=cuda_shared", "-fno-omit-frame-pointer")
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
def library(path: Path, options: tuple[str, ...], names: tuple[str, ...], sanitize: bool) -> ctypes.CDLL:
    """A .cu file as a loaded library with a function launch_<name> per kernel."""
    return ctypes.CDLL(str(build(path, options, names, sanitize)))


def build(path: Path, options: tuple[str, ...], names: tuple[str, ...], sanitize: bool = False) -> Path:
    """Compile a .cu file, if no like library is kept; where the library is."""
    text = f'#include "{HEADER}"\n#include "{path}"\n' + "".join(f"CUDA_ENTRY({name})\n" for name in names)
    flags = (*FLAGS, *(SANITIZE if sanitize else ()), f"-I{path.parent}", f"-I{cuda.HERE}", *options)
    parts = (text, repr(flags), compiler(), *(p.read_text() for p in (HEADER, path, *sorted(cuda.HERE.glob("*.cuh")))))
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:20]
    target = cache_folder() / f"{path.stem}-{key}.so"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh = target.with_suffix(f".{os.getpid()}")
        done = subprocess.run([compiler(), *flags, "-", "-o", str(fresh)], input=text, text=True, capture_output=True)
        if done.returncode:
            raise CudaOnCpuError(f"{path} does not compile on the CPU:\n{done.stderr}")
        fresh.replace(target)  # at once: another process may be doing the same
    return target


def call(
    path: Path,
    entry: str,
    grid: tuple[int, ...],
    block: tuple[int, ...],
    values: list[Any],
    shared: int,
    options: tuple[str, ...],
    names: tuple[str, ...],
    reverse: bool = False,
) -> None:
    """Launch one kernel of a file on NumPy arrays and scalars. Raises CudaOnCpuError."""
    lib = library(path, options, names, bool(os.environ.get(ASKED)))
    run = getattr(lib, f"launch_{entry}")
    run.restype = ctypes.c_char_p
    boxes: list[Any] = []
    for value in values:
        value = getattr(value, "host", value)  # of an array of the strict stand-in for CuPy
        if isinstance(value, np.ndarray):
            boxes.append(ctypes.c_void_p(value.ctypes.data))
        else:
            boxes.append(np.ctypeslib.as_ctypes(np.array(value)))
    pointers = (ctypes.c_void_p * len(boxes))(*(ctypes.addressof(box) for box in boxes))
    wrong = run((ctypes.c_uint * 6)(*grid, *block), ctypes.c_size_t(shared), pointers, int(reverse))
    if wrong:
        raise CudaOnCpuError(f"{path.name}: {entry}: {wrong.decode()}")


@contextmanager
def running(reverse: bool = False, launched: set[tuple[str, str]] | None = None) -> Iterator[None]:
    """Within the block, CUDA kernels that are given NumPy arrays run on the CPU.

    reverse: threads run from the last to the first, which gives another result where a barrier is missing.
    launched: collects (kernel, element type) of what is launched.
    """

    def launch(
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
        run = partial(
            call, source.path, entry, grid, block, values, shared, options, names_for(source, element), reverse
        )
        if any(hasattr(value, "host") for value in values):
            stand_in.do(run)  # at once, or at every replay of the graph that is being recorded
        else:
            run()

    before, cuda.on_cpu = cuda.on_cpu, launch
    try:
        yield
    finally:
        cuda.on_cpu = before


def build_all() -> None:
    """Compile all kernels as the tests use them, two files at a time: a compiler is a process of one thread."""
    work = [
        (source.path, cuda.macros(element, {}), names_for(source, element))
        for source in cuda.SOURCES.values()
        for element in sorted({element for entry in source.entries.values() for element in entry.types})
    ]
    with ThreadPoolExecutor(2) as pool:
        for built in [pool.submit(build, *arguments) for arguments in work]:
            built.result()


def names_for(source: cuda.Source, element: str) -> tuple[str, ...]:
    """The kernels of a file that exist for an element type."""
    return tuple(entry.name for entry in source.entries.values() if element in entry.types)


def kernel(path: str | Path, entry: str, grid: Any, block: Any, *args: Any, shared: int = 0, **defines: Any) -> None:
    """Run a kernel of a .cu file of your own on NumPy arrays.

    Example:
        >>> cuda_on_cpu.kernel("twice.cu", "twice", 1, 32, x, y, 20)
    """
    path = Path(path).resolve()
    found = cuda.signatures(path.read_text())
    if entry not in found:
        raise CudaOnCpuError(f'{path.name} has no kernel {entry!r}; with extern "C" __global__ it has {sorted(found)}')
    element = found[entry].element(args)
    options = cuda.macros(element, defines)
    values = found[entry].check(args, element)
    call(path, entry, cuda.three(grid), cuda.three(block), values, shared, options, tuple(found))


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
