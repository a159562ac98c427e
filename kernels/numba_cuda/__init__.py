"""The teaching kernels once more, in Python: compiled by Numba for a GPU, or run thread by thread without one.

CUDA C++ (kernels/*.cu) is what runs by default and what is fast. These kernels are for reading: the same ideas with less around
them. Each file stands on its own, from the obvious version to the better one, and says what each step changes. The words are those of
kernels/common.cuh; kernels/README.md has the order in which to read these files and those in CUDA C++.

    elementwise.py   a thread an element; a grid that is smaller than the array
    reduce.py        many threads, one sum: atomics, a tree in shared memory, shuffles within a warp
    transpose.py     coalesced reads and writes through a tile; why its rows are padded
    gemm.py          tiles that are read once and used many times
    softmax.py       a block a row
    layernorm.py     two sums over a row, one after the other, and why not both in one pass
    scan.py          prefix sums: a block, then blocks of blocks
    histogram.py     atomics, and fewer of them
    sparse.py        rows of unequal length: a thread a row, a warp a row; entries handed round by shuffles
    int8.py          bytes in, 32-bit sums, floats out
    attention.py     softmax and a weighted sum in one pass, without the row of scores

See what a kernel does to memory, without a GPU:

    minidl trace kernels/numba_cuda/transpose.py:transpose_tiled --grid 2,2 --block 16,16

They are the variants "numba_cuda" (and "numba_cuda_naive" and so on) of the kernels beside whose references they stand,
never the default. On a GPU they take CuPy arrays: `kernels.use(softmax="numba_cuda")`. `minidl.sim.running()` lets
them run on NumPy arrays.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from ..cuda import LaunchError, three

FILES = ("elementwise", "reduce", "transpose", "gemm", "softmax", "layernorm", "scan", "histogram", "sparse", "int8",
         "attention")  # fmt: skip

on_cpu: Callable[..., None] | None = None  # minidl.sim.running() puts the simulator here


def launch(name: str, grid: Any, block: Any, *args: Any) -> None:
    """Launch the kernel "file.function" on CuPy's current stream. Numba is imported here, at the first launch.

    Raises: LaunchError for arrays that are not on a GPU, unless they are to be simulated.
    """
    file, _, function = name.partition(".")
    kernel = getattr(importlib.import_module(f"{__name__}.{file}"), function)
    if on_cpu is not None:
        on_cpu(kernel, three(grid), three(block), *args)
        return
    if any(isinstance(a, np.ndarray) for a in args):
        raise LaunchError(f"{name}: its arrays are NumPy's; move them to a GPU, or run it within minidl.sim.running()")
    import cupy
    from numba import cuda

    stream = cuda.external_stream(cupy.cuda.get_current_stream().ptr)
    # the arrays are of this stream, for which Numba would otherwise wait once for each of them
    handed = [cuda.as_cuda_array(a, sync=False) if hasattr(a, "__cuda_array_interface__") else a for a in args]
    kernel[three(grid), three(block), stream](*handed)


from . import variants as variants  # noqa: E402  # they need launch, which stands above
