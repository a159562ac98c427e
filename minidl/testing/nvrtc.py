"""NVIDIA's run-time compiler without a GPU: does a .cu file compile for an architecture, and what do its kernels use?

    python -m minidl.testing.nvrtc kernels/softmax.cu --only warp --type float32

NVRTC comes as a package (nvidia-cuda-nvrtc, and nvidia-cuda-runtime for the header of half precision); neither needs a
driver. It compiles a file in a fraction of a second and reports registers, shared memory and spills for every kernel.
"""

from __future__ import annotations

import argparse
import ctypes
import functools
import importlib.util
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from ..kernels import cuda, load_all

INSTALL = "the extra cuda-compile has it: pip install nvidia-cuda-nvrtc nvidia-cuda-runtime"


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
        raise RuntimeError(f"NVRTC is not installed; {INSTALL}")
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


def compile_file(path: Path, architecture: int, element: str, **defines: object) -> dict[str, Usage]:
    """Compile a .cu file as a launch would: with the headers of kernels/, for an element type, with macros of the source."""
    options = cuda.compile_options(cuda.macros(element, defines))
    return compile(f'#include "{path.name}"\n', architecture, (f"-I{path.resolve().parent}", *options))


def excess(used: Usage, entry: cuda.Entry) -> str:
    """What a kernel uses beyond what its Entry allows; nothing may spill."""
    may = {"registers": entry.registers, "shared": entry.shared, "stack": entry.stack, "spills": 0}
    return ", ".join(
        f"{what}: {vars(used)[what]}, allowed {most}" for what, most in may.items() if vars(used)[what] > most
    )


def rows(path: Path, architectures: list[int], elements: list[str], only: str) -> list[tuple[object, ...]]:
    """A row for every kernel, element type and architecture: what it uses, and what of that is more than it may."""
    source = next((s for s in cuda.SOURCES.values() if s.path == path.resolve()), None)
    entries = source.entries if source else {}
    found: list[tuple[object, ...]] = []
    for element in elements or sorted({t for entry in entries.values() for t in entry.types}) or ["float32"]:
        for architecture in architectures:
            for name, used in compile_file(path, architecture, element).items():
                entry = entries.get(name)
                if not re.search(only, name) or (entry and (element not in entry.types or architecture < entry.since)):
                    continue
                over = excess(used, entry) if entry else ""
                found.append((name, element, architecture, used.registers, used.shared, used.stack, used.spills, over))
    order = list(entries)
    return sorted(found, key=lambda row: (order.index(str(row[0])) if order else 0, row[:3]))


def main() -> int:
    """The command: a table of what the kernels of a .cu file use. 1 if one uses more than its Entry allows, 2 if it fails."""
    parser = argparse.ArgumentParser(
        prog="python -m minidl.testing.nvrtc", description="Compile a .cu file for GPUs that need not be there."
    )
    parser.add_argument("file", type=Path, help="kernels/softmax.cu, or a file of your own")
    parser.add_argument("--arch", type=int, nargs="+", default=list(cuda.ARCHITECTURES), metavar="N",
                        help="compute capabilities without the point (default: 75 80 90)")  # fmt: skip
    parser.add_argument(
        "--type", nargs="+", default=[], choices=cuda.ELEMENTS, help="what T is (default: all that it can be)"
    )
    parser.add_argument("--only", default="", help="kernels that match this regular expression")
    options = parser.parse_args()
    if not options.file.is_file():
        parser.error(f"there is no file {options.file}")
    load_all()
    try:
        found = rows(options.file, options.arch, options.type, options.only)
    except RuntimeError as error:
        parser.error(str(error))
    print(f"{'kernel':<32} {'type':<9} {'arch':>5} {'registers':>9} {'shared':>7} {'stack':>6} {'spills':>6}")
    for name, element, architecture, registers, shared, stack, spills, over in found:
        print(
            f"{name:<32} {element:<9} sm_{architecture:<3}{registers:>8} {shared:>7} {stack:>6} {spills:>6}  {over}".rstrip()
        )
    return int(any(row[-1] for row in found))


if __name__ == "__main__":
    sys.exit(main())
