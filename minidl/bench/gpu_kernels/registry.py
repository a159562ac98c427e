"""What a workload is, and the registry of them."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from ...kernels import Kernel

Call = Callable[[], Any]


@dataclass
class Work:
    """One piece of work: its versions by name, PyTorch's, and what it needs at the least."""

    versions: Mapping[str, Call]
    twin: Call | None = None
    bytes: float = 0
    flops: float = 0
    half: bool = False  # whether `flops` count against the ceiling of half precision
    check: bool = True  # whether the first result of a version and the twin's are the same numbers
    tolerance: float = 1e-5


@dataclass
class Machine:
    """Where a workload runs: NumPy or CuPy, PyTorch or None, and the sizes that fit."""

    xp: Any
    torch: Any
    small: bool = False
    random: Any = field(init=False)

    def __post_init__(self) -> None:
        self.random = self.xp.random.default_rng(0)

    def many(self, n: int, least: int = 3) -> int:
        """n, or a few of whatever it counts."""
        return min(n, least) if self.small else n

    def normal(self, *shape: int, half: bool = False) -> Any:
        values = self.random.standard_normal(shape, dtype=self.xp.float32)
        return values.astype(self.xp.float16) if half else values

    def tensor(self, array: Any) -> Any:
        """The same memory as a tensor of PyTorch, or None without PyTorch."""
        return None if self.torch is None else self.torch.from_dlpack(array)


END = 1 << 20  # elements of each end of a large result that are compared
NUMBA_CUDA = importlib.util.find_spec("numba_cuda") is not None
WORKLOADS: dict[str, Callable[[Machine], Work]] = {}


def workload(name: str, *args: Any) -> Callable[[Callable[..., Work]], Callable[..., Work]]:
    """Register a function of the machine and `args` under a name; may be repeated."""

    def register(function: Callable[..., Work]) -> Callable[..., Work]:
        WORKLOADS[name] = lambda machine: function(machine, *args)
        return function

    return register


def versions(kernel: Kernel, *args: Any, reference: bool = True) -> dict[str, Call]:
    """The CUDA versions of a kernel that are made for these arguments, the one in force first, and CuPy's reference.

    Those in Numba-CUDA are among them on a GPU, where the package numba-cuda is installed.
    """
    found: dict[str, Call] = {}
    kinds = ("cuda", "numba_cuda") if NUMBA_CUDA and not isinstance(args[0], np.ndarray) else ("cuda",)
    for (device, name), variant in kernel.variants.items():
        if device == "cuda" and name.startswith(kinds) and (variant.supports is None or variant.supports(*args)):
            found[name] = partial(variant.run, *args)
    if reference:
        found["cupy"] = partial(kernel.reference, *args)
    return dict(sorted(found.items(), key=lambda item: item[0] != "cuda"))


def first(result: Any) -> Any:
    """The first array of a result in float64: all of it, or of a large one its two ends, which is enough to compare."""
    while isinstance(result, (tuple, list)):
        result = result[0]
    flat = result.reshape(-1)
    return np.concatenate([host(flat[:END]), host(flat[END:][-END:])])


def host(array: Any) -> Any:
    """An array or a tensor as NumPy in float64."""
    if hasattr(array, "detach"):
        array = array.detach().cpu().numpy()
    return np.asarray(array.get() if hasattr(array, "get") else array, np.float64)
