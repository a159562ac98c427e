"""A stand-in for CuPy on the CPU that is as strict as CuPy, so that code for a GPU can be tested without one.

    with strict_cupy.installed():
        x = minidl.ones(3, device="cuda")
        x.numpy()                       # raises, as on a GPU

Its arrays are NumPy arrays behind CuPy's interface. What CuPy refuses fails here, too: NumPy arrays among device arrays,
implicit conversion, functions and arguments that it lacks. And what only differs, differs here: reductions and elements are
arrays without dimensions, results lie in C order, indices out of range wrap around, solvers do not raise for singular
matrices, new memory holds nonsense, 64-bit results of float16 come where CuPy has no loop for float16.

Names, parameters and data types stand in api.json, taken from the real CuPy by record.py. What is not here: RawKernel and the
other ways to compile, random, sparse, fuse; rounding, speed, and errors of the compiler and the driver.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec

from ... import devices, kernels
from ...kernels import cublas
from .blas import Cublas
from .functions import modules


@contextmanager
def installed() -> Iterator[None]:
    """Within the block `import cupy` gives the stand-in, and the device "cuda" is there.

    Kernels run their references, but for products of matrices, which go to a stand-in for cuBLAS.
    """
    before = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in ("cupy", "cupyx")}
    order, library, stand_in = kernels.DEFAULT_ORDER["cuda"], cublas.library, Cublas()
    for name in before:
        del sys.modules[name]
    for name, module in modules().items():
        module.__spec__ = ModuleSpec(name, None)
        sys.modules[name] = module
    kernels.DEFAULT_ORDER["cuda"] = ("cublas", "cupy")
    cublas.library = lambda: stand_in  # type: ignore[assignment]
    cublas.handle_of.cache_clear()
    devices.gpus.cache_clear()
    try:
        yield
    finally:
        for name in [n for n in sys.modules if n.partition(".")[0] in ("cupy", "cupyx")]:
            del sys.modules[name]
        sys.modules.update(before)
        kernels.DEFAULT_ORDER["cuda"], cublas.library = order, library
        cublas.handle_of.cache_clear()
        devices.gpus.cache_clear()
        importlib.invalidate_caches()


__all__ = ["installed"]
