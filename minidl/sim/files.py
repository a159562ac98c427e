"""Kernels and their arguments from a file, for the command line and for checkers of exercises."""

from __future__ import annotations

import importlib.util
import itertools
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from .intrinsics import Kernel, cuda

TYPES = {"f16": "float16", "f32": "float32", "f64": "float64", "b": "bool",
         **{f"{kind}{bits}": f"{name}{bits}" for kind, name in (("i", "int"), ("u", "uint")) for bits in (8, 16, 32, 64)}}  # fmt: skip
PATTERN = re.compile(r"(?P<type>\w+):(?P<shape>\d+(x\d+)*)?(=(?P<value>[^=]+))?")
NUMBER = itertools.count()


@contextmanager
def stand_in_for_numba() -> Iterator[None]:
    """Within the block `from numba import cuda, float32` works, with Numba's own where it is installed."""
    if importlib.util.find_spec("numba") is not None:
        yield
        return
    module = ModuleType("numba")
    for name in TYPES.values():
        setattr(module, name, getattr(np, name))
    module.cuda = cuda  # type: ignore[attr-defined]
    sys.modules["numba"] = module
    try:
        yield
    finally:
        del sys.modules["numba"]


def load(path: str | Path) -> ModuleType:
    """Execute a file with kernels and return it as a module. Numba need not be installed, even if the file imports it.

    As with `python FILE`, it can import what lies beside it.
    """
    path = Path(path)
    spec = importlib.util.spec_from_file_location(f"_kernels_{path.stem}_{next(NUMBER)}", path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.absolute().parent))
    try:
        with stand_in_for_numba():
            spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.absolute().parent))
    return module


def kernels_of(module: ModuleType) -> dict[str, Any]:
    """The kernels of a module: what stands under @cuda.jit, whosever it is, and is not a device function."""
    return {name: value for name, value in vars(module).items() if is_kernel(value)}


def is_kernel(value: Any) -> bool:
    if isinstance(value, Kernel):
        return not value.device
    numba = type(value).__module__.startswith("numba") and hasattr(value, "py_func")
    return numba and not getattr(value, "targetoptions", {}).get("device")


def inputs_of(module: ModuleType, kernel: str) -> tuple[Any, ...] | None:
    """What the function `KERNEL_inputs` of the module returns, or `inputs`; None without either."""
    for name in (f"{kernel}_inputs", "inputs"):
        if callable(getattr(module, name, None)):
            return tuple(getattr(module, name)())
    return None


def parse(text: str, rng: np.random.Generator) -> Any:
    """An argument from TYPE:SHAPE=VALUE: "f32:32x32" is random, "f32:1024=0" filled, "i32:=5" a number.

    TYPE is one of TYPES. Random floats are normal, random integers below 10. Raises ValueError.
    """
    found = PATTERN.fullmatch(text)
    if found is None or found["type"] not in TYPES:
        raise ValueError(
            f"{text!r}: write TYPE:SHAPE, such as f32:1024 or i32:4x8, with =VALUE to fill it, or i32:=5 for a number; "
            f"TYPE is one of {', '.join(TYPES)}"
        )
    dtype, value = np.dtype(TYPES[found["type"]]), found["value"]
    if found["shape"] is None:
        if value is None:
            raise ValueError(f"{text!r}: a number needs its value, as in {found['type']}:=5")
        return dtype.type(value).item()
    shape = tuple(int(n) for n in found["shape"].split("x"))
    if value is not None:
        return np.full(shape, dtype.type(value))
    if dtype.kind == "f":
        return rng.standard_normal(shape).astype(dtype)
    return rng.integers(0, 2 if dtype.kind == "b" else 10, shape).astype(dtype)
