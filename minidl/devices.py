"""Where a tensor's memory is: the CPU (NumPy) or a GPU (CuPy)."""

from __future__ import annotations

import functools
import importlib.util
from contextvars import ContextVar
from typing import Any, Self

import numpy as np


class device:
    """`device("cpu")`, `device("cuda")`, `device("cuda:1")` or `device("cuda", 1)`. "cuda" alone is the current GPU.

    In a `with` block it is the default device: where functions that make tensors put them unless they are told otherwise.
    Raises RuntimeError for a text that names no device.
    """

    __slots__ = ("_before", "index", "type")

    def __init__(self, type: Any, index: int | None = None) -> None:
        if isinstance(type, device):
            type, index = type.type, type.index if index is None else index
        elif isinstance(type, int):
            type, index = "cuda", type
        elif ":" in type:
            type, _, number = type.partition(":")
            if not number.isdigit() or index is not None:
                raise RuntimeError(f"Invalid device string: {type}:{number!r}; write 'cpu', 'cuda' or 'cuda:0'")
            index = int(number)
        if type not in ("cpu", "cuda"):
            raise RuntimeError(
                f"Expected one of cpu, cuda as the device type at the start of the device string: {type}"
            )
        self.type: str = type
        self.index = index

    def __repr__(self) -> str:
        return f"device(type={self.type!r}" + (f", index={self.index})" if self.index is not None else ")")

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, device) and (self.type, self.index) == (other.type, other.index)

    def __hash__(self) -> int:
        return hash((self.type, self.index))

    def __reduce__(self) -> tuple[Any, ...]:
        return device, (self.type, self.index)

    def __enter__(self) -> Self:
        library(self)  # better here than at the first tensor
        self._before = [*getattr(self, "_before", ()), default_device.get()]
        default_device.set(None if self.type == "cpu" else self)
        return self

    def __exit__(self, *exception: object) -> None:
        default_device.set(self._before.pop())


CPU = device("cpu")
capturing: ContextVar[bool] = ContextVar("capturing", default=False)  # whether work is recorded, see cuda/graphs.py
default_device: ContextVar[device | None] = ContextVar("default_device", default=None)  # None: the CPU


def chosen(wanted: Any) -> device | None:
    """The device that a function means by its argument device=, by default the default device; None: the array stays."""
    return default_device.get() if wanted is None else device(wanted)


# ---------------------------------------------------------------------------------------------------------------------
# CuPy


@functools.cache
def gpus() -> tuple[int, str]:
    """How many GPUs CuPy can use and, if none, the reason and what to do. Looks once."""
    if importlib.util.find_spec("cupy") is None:
        return 0, "CuPy is not installed; install the extra cuda12 or cuda13, whichever matches the driver"
    wheels = [name for name in ("cupy", "cupy-cuda11x", "cupy-cuda12x", "cupy-cuda13x") if _installed(name)]
    if len(wheels) > 1:
        return 0, f"{' and '.join(wheels)} are installed, into one folder; uninstall both, then install one of them"
    try:
        import cupy

        count = int(cupy.cuda.runtime.getDeviceCount())
    except Exception as error:  # of the import, for want of a library, or of the runtime, for want of a driver
        return 0, f"CuPy finds no GPU ({type(error).__name__}: {str(error).partition(chr(10))[0]})"
    return count, "" if count else "CuPy finds no GPU"


def _installed(distribution: str) -> bool:
    import importlib.metadata  # here, for the sake of the time that importing minidl takes

    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def cupy_for(purpose: str) -> Any:
    """CuPy, where there is a GPU for it. Raises RuntimeError that says why there is none."""
    count, why = gpus()
    if not count:
        raise RuntimeError(f"{purpose}: {why}; `minidl doctor` says what this machine has")
    import cupy

    return cupy


def library(where: device | None) -> Any:
    """NumPy, or for a GPU CuPy. Raises RuntimeError where there is no such GPU."""
    if where is None or where.type == "cpu":
        return np
    cupy = cupy_for(f"cannot use {where}")
    if where.index is not None and where.index >= gpus()[0]:
        raise RuntimeError(f"the device {where}: there {'is' if gpus()[0] == 1 else 'are'} only {gpus()[0]} GPU")
    return cupy


def make(function: str, where: device | None, *args: Any) -> Any:
    """A new array on a device: make("zeros", where, (2, 3), dtype)."""
    if where is None or where.type == "cpu":
        return getattr(np, function)(*args)
    cupy = library(where)
    with cupy.cuda.Device(where.index):
        return getattr(cupy, function)(*args)


# ---------------------------------------------------------------------------------------------------------------------
# Arrays


def is_array(x: Any) -> bool:
    """Whether x is an array of NumPy or CuPy."""
    return isinstance(x, np.ndarray) or type(x).__module__.partition(".")[0] == "cupy"


def of_array(array: Any) -> device:
    """The device that an array lives on."""
    if type(array).__module__.partition(".")[0] == "cupy":
        return device("cuda", array.data.device_id)
    return CPU


def move(array: Any, target: device) -> Any:
    """The array on the target device; the array itself if it is there already.

    Raises RuntimeError where CuPy or a GPU is missing, with what to install.
    """
    here = of_array(array)
    if here.type == target.type and target.index in (None, here.index):
        return array
    if target.type == "cpu":
        return array.get(order="A")
    if capturing.get() and here.type == "cpu":
        raise RuntimeError(
            f"cuda.graph: an array of shape {list(array.shape)} comes from the CPU, and a replay would not copy it again; move it "
            "to the GPU before the recording"
        )
    return make("asarray", target, array)


def may_look(array: Any) -> bool:
    """Whether a check may depend on values: not while the work of a GPU is recorded, as nothing is computed then."""
    return array.__class__ is np.ndarray or not capturing.get()


def outside(index: Any, low: int, high: int) -> bool:
    """Whether an array of integers has one outside of [low, high). On a GPU this waits; while work is recorded it is False.

    NumPy raises for such an index, CuPy takes it modulo the size.
    """
    if not index.size or not may_look(index):
        return False
    if index.__class__ is np.ndarray:
        flat = index.reshape(-1)  # min() and max() take five times as long for a few
        return bool(flat[flat.argmin()] < low or flat[flat.argmax()] >= high)
    return bool(((index < low) | (index >= high)).any())


def same_block(a: Any, b: Any) -> bool:
    """Whether two arrays lie in one block of a GPU's memory. CuPy's as_strided does not name the array it took a view of."""
    return of_array(a).type == of_array(b).type == "cuda" and a.data.mem is b.data.mem


def address(array: Any) -> tuple[int, int]:
    """The addresses of an array's first element and of the memory that it is a view of."""
    if of_array(array).type == "cuda":
        return array.data.ptr, array.data.mem.ptr
    owner = array if array.base is None else array.base
    first = array.__array_interface__["data"][0]
    return first, getattr(owner, "__array_interface__", array.__array_interface__)["data"][0]


def check_same(name: str, *tensors: Any) -> None:
    """Raise RuntimeError where the tensors that an operation reads are not all on one device; None among them is none."""
    kind = None
    for t in tensors:  # a loop costs a third of any(...), and this runs before every call
        if t is not None:
            if kind is None:
                kind = t.array.__class__
            elif t.array.__class__ is not kind:
                raise mixed(name, [t for t in tensors if t is not None])


def mixed(name: str, tensors: Any) -> RuntimeError:
    """The error for tensors on several devices, which names two of them."""
    (here, x), (there, y) = list({str(t.device): t for t in tensors}.items())[:2]
    return RuntimeError(
        f"{name}: expected all tensors on one device, found shape {list(x.shape)} on {here} and "
        f"shape {list(y.shape)} on {there}; nothing is moved implicitly: use .to({here!r})"
    )
