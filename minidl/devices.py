"""Where a tensor's memory is: the CPU (NumPy) or a GPU (CuPy)."""

from __future__ import annotations

from typing import Any


class device:
    """`device("cpu")`, `device("cuda")`, `device("cuda:1")` or `device("cuda", 1)`.

    Raises RuntimeError for a text that names no device.
    """

    __slots__ = ("index", "type")

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


CPU = device("cpu")


def of_array(array: Any) -> device:
    """The device that an array lives on."""
    if type(array).__module__.partition(".")[0] == "cupy":
        return device("cuda", array.device.id)
    return CPU


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
    given = [t for t in tensors if t is not None]
    if any(t.array.__class__ is not given[0].array.__class__ for t in given):
        raise mixed(name, given)


def mixed(name: str, tensors: Any) -> RuntimeError:
    """The error for tensors on several devices, which names two of them."""
    (here, x), (there, y) = list({str(t.device): t for t in tensors}.items())[:2]
    return RuntimeError(
        f"{name}: expected all tensors on one device, found shape {list(x.shape)} on {here} and "
        f"shape {list(y.shape)} on {there}; nothing is moved implicitly: use .to({here!r})"
    )


def move(array: Any, target: device) -> Any:
    """The array on the target device; the array itself if it is there already.

    Raises RuntimeError where CuPy or a GPU is missing, with what to install.
    """
    here = of_array(array)
    if here.type == target.type and target.index in (None, here.index):
        return array
    if target.type == "cpu":
        return array.get()
    try:
        import cupy
    except ImportError:
        raise RuntimeError(
            f"cannot move a tensor to {target}: CuPy is not installed; install the extra cuda12 or cuda13 that matches "
            "the driver (`minidl doctor` says what this machine has)"
        ) from None
    with cupy.cuda.Device(target.index or 0):
        return cupy.asarray(array)
