"""NVIDIA's run-time compiler without a GPU: does a .cu file compile for an architecture, and what do its kernels use?

NVRTC comes as a package (nvidia-cuda-nvrtc, and nvidia-cuda-runtime for the header of half precision); neither needs a
driver. It compiles a file in a fraction of a second and reports registers, shared memory and spills for every kernel.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Usage:
    """What one kernel takes of a multiprocessor: registers a thread, static shared bytes a block, bytes in memory a thread.

    spills: bytes of registers that did not fit and are stored to memory; stack: bytes of arrays that are indexed at run time.
    """

    registers: int
    shared: int
    spills: int
    stack: int


class CompileError(RuntimeError):
    """NVRTC refuses a source; the message is its log."""


def packages() -> list[Path]:
    """The folders of NVIDIA's Python packages."""
    spec = importlib.util.find_spec("nvidia")
    return [Path(p) for p in spec.submodule_search_locations or ()] if spec else []


@functools.cache
def library() -> ctypes.CDLL | None:
    """The library, or None where the package is not installed."""
    for folder in packages():
        for path in sorted(folder.glob("*/lib/libnvrtc.so.*")):
            if "alt" not in path.name:
                return ctypes.CDLL(str(path))
    return None


def include_folders() -> list[Path]:
    """Where cuda_fp16.h and the headers that it includes are."""
    return sorted({path.parent for folder in packages() for path in folder.glob("*/include/cuda_fp16.h")})


def compile(source: str, architecture: int, options: tuple[str, ...] = ()) -> dict[str, Usage]:
    """Compile a source for a compute capability such as 90; what each of its kernels uses.

    Raises CompileError with NVRTC's log, RuntimeError where NVRTC is not installed.

    Example:
        >>> compile('extern "C" __global__ void f(float* x) { x[0] = 1; }', 90)["f"].spills
        0
    """
    nvrtc = library()
    if nvrtc is None:
        raise RuntimeError("NVRTC is not installed: pip install nvidia-cuda-nvrtc nvidia-cuda-runtime")
    flags = [f"-arch=sm_{architecture}", "--ptxas-options=-v", *(f"-I{p}" for p in include_folders()), *options]
    program = ctypes.c_void_p()
    nvrtc.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"kernels.cu", 0, None, None)
    try:
        failed = nvrtc.nvrtcCompileProgram(
            program, len(flags), (ctypes.c_char_p * len(flags))(*(f.encode() for f in flags))
        )
        size = ctypes.c_size_t()
        nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
        log = ctypes.create_string_buffer(size.value)
        nvrtc.nvrtcGetProgramLog(program, log)
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    text = log.value.decode()
    if failed:
        raise CompileError(text)
    return usages(text)


def usages(log: str) -> dict[str, Usage]:
    """Each kernel's figures, from the text that ptxas writes about them."""
    found = {}
    for part in log.split("Compiling entry function ")[1:]:
        numbers = {
            what: int(match.group(1)) if (match := re.search(pattern, part)) else 0
            for what, pattern in {
                "registers": r"Used (\d+) registers",
                "shared": r"(\d+) bytes smem",
                "spills": r"(\d+) bytes spill stores",
                "stack": r"(\d+) bytes stack frame",
            }.items()
        }
        found[part.split("'")[1]] = Usage(**numbers)
    return found
