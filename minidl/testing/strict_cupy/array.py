"""The array of the stand-in: a NumPy array behind CuPy's interface, from which nothing leaves by itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from . import device

API = json.loads(Path(__file__).with_name("api.json").read_text())


class ndarray:
    """An array in the "memory of the device". `ndarray(shape, dtype)` is uninitialised: NaN, or the bytes 0xCD."""

    __array_priority__ = 100
    __slots__ = ("__weakref__", "base", "block", "host")
    __hash__ = None  # type: ignore[assignment]

    host: Any  # the NumPy array
    base: ndarray | None  # the array that owns the memory, if this one does not
    block: device.Block  # the memory that was allocated for it or its base

    def __new__(cls, shape: Any, dtype: Any = float, memptr: Any = None, strides: Any = None, order: str = "C") -> Any:
        return wrap(device.poisoned(np.empty(shape, dtype, order)))  # type: ignore[call-overload]

    # -- what may be asked without a transfer --------------------------------------------------------------------------

    @property
    def shape(self) -> Any:
        return self.host.shape

    @shape.setter
    def shape(self, shape: Any) -> None:
        self.host.shape = shape

    dtype = property(lambda self: self.host.dtype)
    ndim = property(lambda self: self.host.ndim)
    size = property(lambda self: self.host.size)
    itemsize = property(lambda self: self.host.itemsize)
    nbytes = property(lambda self: self.host.nbytes)
    strides = property(lambda self: self.host.strides)
    flags = property(lambda self: Flags(self))
    device = property(lambda self: device.Device(0))
    data = property(lambda self: device.MemoryPointer(self.block, self.host.ctypes.data))
    T = property(lambda self: call(lambda a: a.T, (self,)))
    mT = property(lambda self: call(lambda a: a.mT, (self,)))
    flat = property(lambda self: _absent("flat", "an iterator over a device array"))

    @property
    def real(self) -> Any:
        return call(lambda a: a.real, (self,)) if self.dtype.kind == "c" else self

    @real.setter
    def real(self, value: Any) -> None:
        self.real[...] = value

    @property
    def imag(self) -> Any:
        return call(lambda a: a.imag if a.dtype.kind == "c" else np.zeros_like(a), (self,))

    @imag.setter
    def imag(self, value: Any) -> None:
        self.imag[...] = value

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        strides = None if self.host.flags.c_contiguous else self.strides
        return {"shape": self.shape, "typestr": self.dtype.str, "descr": self.dtype.descr, "stream": 1, "version": 3,
                "strides": strides, "data": (self.host.ctypes.data, False)}  # fmt: skip

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, 0

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of unsized object")
        return int(self.shape[0])

    def __iter__(self) -> Iterator[Any]:
        if not self.shape:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(len(self)))

    # -- transfers to the host: each of these waits for the device -----------------------------------------------------

    def get(self, stream: Any = None, order: str = "C", out: Any = None, blocking: bool = True) -> Any:
        device.transferring("D2H")
        if out is None:
            return np.array(self.host, order=order)  # type: ignore[call-overload]
        out[...] = self.host
        return out

    def set(self, arr: Any, stream: Any = None) -> None:
        if not isinstance(arr, np.ndarray) or arr.dtype != self.dtype or arr.shape != self.shape:
            raise TypeError("Only a numpy.ndarray of the same dtype and shape can be set to cupy.ndarray")
        self.host[...] = arr

    def item(self) -> Any:
        if self.size != 1:
            raise ValueError("can only convert an array of size 1 to a Python scalar")
        return self.get().item()

    def tolist(self) -> Any:
        return self.get().tolist()

    def tobytes(self, order: str = "C") -> bytes:
        return bytes(self.get().tobytes(order))

    def __bool__(self) -> bool:
        if self.size == 0:
            raise TypeError("the truth value of an empty array: CuPy warns, and warnings are errors here")
        if self.size > 1:
            raise ValueError(
                "The truth value of an array with more than one element is ambiguous. Use a.any() or a.all()"
            )
        return bool(self.get().item())

    def __int__(self) -> int:
        return int(self.get())

    def __float__(self) -> float:
        return float(self.get())

    def __complex__(self) -> complex:
        return complex(self.get())

    def __repr__(self) -> str:
        return repr(self.get())

    def __str__(self) -> str:
        return str(self.get())

    def __format__(self, spec: str) -> str:
        return format(self.get(), spec)

    def __reduce__(self) -> Any:
        return _unpickled, (self.get(order="A"),)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct a NumPy array "
            "explicitly."
        )

    # -- copies, views, elements ---------------------------------------------------------------------------------------

    def copy(self, order: str = "C") -> Any:
        return call(lambda a: a.copy(order), (self,))

    def __copy__(self) -> Any:
        return self.copy()

    def __deepcopy__(self, memo: Any) -> Any:
        return self.copy()

    def astype(self, dtype: Any, order: str = "K", casting: Any = None, subok: Any = None, copy: bool = True) -> Any:
        if casting is not None or subok is not None:
            raise TypeError("casting and subok are not supported yet")
        if self.dtype.kind == "c" and np.dtype(dtype).kind not in "bc":
            raise TypeError("CuPy warns when a complex array loses its imaginary part, and warnings are errors here")
        if "V" in {self.dtype.kind, np.dtype(dtype).kind} and self.dtype != np.dtype(dtype):
            raise TypeError(f"no conversion from {self.dtype} to {np.dtype(dtype)} is counted on: use kernels.cast")
        return call(lambda a: a.astype(dtype, order, copy=copy), (self,))

    def view(self, dtype: Any = None, type: Any = None) -> Any:
        return call(lambda a: a.view() if dtype is None else a.view(dtype), (self,))

    def fill(self, value: Any) -> None:
        value = value.host if isinstance(value, ndarray) else np.asarray(value, self.dtype)
        if value.shape != ():
            raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
        write(self, ..., value)

    def sort(self, axis: int = -1, kind: Any = None) -> None:
        _check_kind(kind)
        write(self, ..., np.sort(self.host, axis, kind="stable"))

    def argsort(self, axis: Any = -1, kind: Any = None) -> Any:
        _check_kind(kind)
        return call(lambda a: a.argsort(axis, kind="stable"), (self,))

    def nonzero(self) -> Any:
        if not self.ndim:
            raise ValueError(
                "Calling nonzero on 0d arrays is not allowed. Use cp.atleast_1d(scalar).nonzero() instead."
            )
        device.transferring("D2H")
        return call(lambda a: a.nonzero(), (self,))

    def take(self, indices: Any, axis: Any = None, out: Any = None) -> Any:
        return call(lambda a, i: a.take(i, axis, mode="wrap"), (self, uploaded(indices)), out)

    def squeeze(self, axis: Any = None) -> Any:
        return call(lambda a: a.squeeze(axis), (self,))

    def __getitem__(self, index: Any) -> Any:
        _, masks = _host_index(self, index)
        if masks:
            device.transferring("D2H")  # of the number of elements
        return call(lambda a: a[_host_index(self, index)[0]], (self,))

    def __setitem__(self, index: Any, value: Any) -> None:
        if isinstance(value, ndarray):
            value = value.host
        elif not _has_arrays(
            index
        ):  # CuPy fills such a region with a number; an array would have to be moved there first
            value = np.asarray(value, self.dtype)
            if value.shape != ():
                raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
        write(self, index, value)

    # -- operators -----------------------------------------------------------------------------------------------------

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        import cupy
        import cupyx.scipy.special

        if "out" in kwargs:
            (kwargs["out"],) = kwargs["out"]
        function = getattr(cupy, ufunc.__name__, None) or getattr(cupyx.scipy.special, ufunc.__name__, None)
        if function is not None and method != "__call__":
            function = getattr(function, method, None)
        if function is None or not all(isinstance(x, (ndarray, np.ndarray, *SCALARS)) for x in inputs):
            return NotImplemented
        return function(*inputs, **kwargs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        import cupy

        module: Any = cupy
        for part in function.__module__.split(".")[1:]:
            module = getattr(module, part, None)
        ours = getattr(module, function.__name__, None)
        if ours is None or ours is function or not all(issubclass(t, (ndarray, np.ndarray)) for t in types):
            return NotImplemented
        return ours(*args, **kwargs)

    def __pos__(self) -> Any:
        return _ufunc("positive")(self)

    def __neg__(self) -> Any:
        return _ufunc("negative")(self)

    def __abs__(self) -> Any:
        return _ufunc("absolute")(self)

    def __invert__(self) -> Any:
        return _ufunc("invert")(self)

    def __eq__(self, other: Any) -> Any:
        return call(lambda a: np.zeros(a.shape, bool), (self,)) if other is None else _compare("equal", self, other)

    def __ne__(self, other: Any) -> Any:
        return call(lambda a: np.ones(a.shape, bool), (self,)) if other is None else _compare("not_equal", self, other)

    def __lt__(self, other: Any) -> Any:
        return _compare("less", self, other)

    def __le__(self, other: Any) -> Any:
        return _compare("less_equal", self, other)

    def __gt__(self, other: Any) -> Any:
        return _compare("greater", self, other)

    def __ge__(self, other: Any) -> Any:
        return _compare("greater_equal", self, other)


ndarray.__module__ = "cupy"  # by which minidl, as everybody, knows an array of CuPy
SCALARS = (bool, int, float, complex, np.generic)
OPERATORS = {
    "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "divide", "floordiv": "floor_divide",
    "mod": "remainder", "pow": "power", "matmul": "matmul", "and": "bitwise_and", "or": "bitwise_or",
    "xor": "bitwise_xor", "lshift": "left_shift", "rshift": "right_shift", "divmod": "divmod",
}  # fmt: skip


class Flags:
    """What CuPy knows of the layout: there is no `writeable`."""

    def __init__(self, array: ndarray) -> None:
        flags = array.host.flags
        self.c_contiguous, self.f_contiguous, self.owndata = flags.c_contiguous, flags.f_contiguous, array.base is None
        self.fnc, self.forc = flags.fnc, flags.forc

    def __getitem__(self, name: str) -> bool:
        return {"C_CONTIGUOUS": self.c_contiguous, "F_CONTIGUOUS": self.f_contiguous, "OWNDATA": self.owndata}[name]


def wrap(host: Any, sources: Any = ()) -> ndarray:
    """A device array around a NumPy array that lies in the memory of the first of the sources that it overlaps with."""
    array: ndarray = object.__new__(ndarray)
    array.host, array.base = host, None
    for source in sources:
        if host is source.host:
            return source  # the function gave its input back
        if np.may_share_memory(host, source.host):
            array.base, array.block = source if source.base is None else source.base, source.block
            break
    else:
        array.block = device.Block(host)
        device.hold(host)
    return array


def call(function: Callable[..., Any], args: Any, out: Any = None, kwargs: Any = None) -> Any:
    """A NumPy function on device arrays; its arrays and scalars come back as device arrays, the latter without dimensions.

    Refuses NumPy arrays among the arguments, as CuPy does.
    """
    sources: list[ndarray] = []
    host_args = [to_host(a, sources) for a in args]
    host_kwargs = {name: to_host(value, sources) for name, value in (kwargs or {}).items()}

    def compute() -> Any:
        with np.errstate(all="ignore"):  # a device does not warn
            return function(*host_args, **host_kwargs)

    result = to_device(compute(), sources)
    device.record(compute, result)
    return result if out is None else deliver(out, result)


def to_host(x: Any, sources: list[ndarray]) -> Any:
    if isinstance(x, ndarray):
        sources.append(x)
        return x.host
    if isinstance(x, np.ndarray):
        raise TypeError("Unsupported type <class 'numpy.ndarray'>")
    if isinstance(x, (list, tuple)) and any(isinstance(y, (ndarray, np.ndarray, list, tuple)) for y in x):
        return type(x)(to_host(y, sources) for y in x)
    return x


def to_device(x: Any, sources: Any = ()) -> Any:
    if isinstance(x, np.ndarray):
        return wrap(x, sources)
    if isinstance(x, np.generic):
        return wrap(np.asarray(x))
    if isinstance(x, (list, tuple)):
        parts = [to_device(y, sources) for y in x]
        return parts if isinstance(x, list) else tuple(parts)
    return x


def deliver(out: Any, result: Any) -> Any:
    """Write a result into the array that was given for it."""
    if not isinstance(out, ndarray):
        raise TypeError("Output arguments type must be cupy.ndarray")
    if out.shape != result.shape:
        raise ValueError("Out shape is mismatched")
    if not np.can_cast(result.dtype, out.dtype, "same_kind"):
        raise TypeError(f"output (typecode '{result.dtype.char}') could not be coerced to '{out.dtype.char}'")
    write(out, ..., result.host)
    return out


def write(array: ndarray, index: Any, value: Any) -> None:
    """Assign to elements. Raises where one element gets two different values, one of which a device would choose."""

    def assign() -> Any:
        with np.errstate(all="ignore"):
            array.host[_host_index(array, index)[0]] = value

    device.do(assign)
    if _has_arrays(index) and device.current_stream().captured is None:
        with np.errstate(all="ignore"):
            wanted = np.asarray(value).astype(array.dtype)
        got = np.asarray(array.host[_host_index(array, index)[0]])
        stored = np.array_equal(got, np.broadcast_to(wanted, got.shape), equal_nan=array.dtype.kind in "fc")
        assert stored or _overlapping(array, value), "an element is assigned to twice: the result is undefined in CuPy"


def _overlapping(array: ndarray, value: Any) -> bool:
    return isinstance(value, np.ndarray) and np.may_share_memory(array.host, value)


def uploaded(x: Any) -> Any:
    """A device array of anything; indices and other small things are moved implicitly by CuPy, too."""
    return x if isinstance(x, ndarray) else wrap(np.array(x))


def _has_arrays(index: Any) -> bool:
    return any(
        isinstance(i, (ndarray, np.ndarray, list, bool)) for i in (index if isinstance(index, tuple) else (index,))
    )


def _host_index(array: ndarray, index: Any) -> tuple[Any, bool]:
    """An index in NumPy's terms, and whether it has a mask. Integers out of range wrap around, as they do in CuPy."""
    parts = list(index) if isinstance(index, tuple) else [index]
    masks = False
    for i, part in enumerate(parts):
        if isinstance(part, slice):
            if any(isinstance(bound, ndarray) for bound in (part.start, part.stop, part.step)):
                raise TypeError(f"slice.start, stop and step must be int or None or have __index__ method: {part}")
            continue
        if part is None or part is ... or (isinstance(part, (int, np.integer)) and not isinstance(part, bool)):
            continue
        host = part.host if isinstance(part, ndarray) else np.array(part)
        if isinstance(part, (list, tuple)) and not host.size:
            host = host.astype(np.int32)
        if host.dtype.kind not in "biu":
            raise IndexError(f"arrays used as indices must be of integer or boolean type. (actual: {host.dtype.type})")
        masks = masks or host.dtype.kind == "b"
        parts[i] = host
    consumed = [p.ndim if isinstance(p, np.ndarray) and p.dtype.kind == "b" else int(p is not None and p is not ...)
                for p in parts]  # fmt: skip
    axis = 0
    for i, part in enumerate(parts):
        if part is ...:
            axis = array.ndim - sum(consumed[i:])
        elif isinstance(part, np.ndarray) and part.dtype.kind != "b" and axis < array.ndim and array.shape[axis]:
            parts[i] = part % array.shape[axis]
        axis += consumed[i]
    return tuple(parts), masks


def _unpickled(host: Any) -> ndarray:
    return wrap(host.copy())


def _check_kind(kind: Any) -> None:
    if kind not in (None, "stable"):
        raise ValueError("kind can only be None or 'stable'")


def _absent(name: str, what: str) -> Any:
    raise NotImplementedError(f"{name}: {what} is slow on a device, and not in the stand-in")


def _ufunc(name: str) -> Any:
    import cupy

    return getattr(cupy, name)


def _defers(x: Any, other: Any) -> bool:
    """Whether an operator leaves the work to the other operand, such as a Tensor."""
    if hasattr(other, "__array_ufunc__"):
        return other.__array_ufunc__ is None
    return x.__array_priority__ < getattr(other, "__array_priority__", 0)


def _compare(name: str, x: Any, y: Any) -> Any:
    return NotImplemented if _defers(x, y) else _ufunc(name)(x, y)


def _operator(name: str, ufunc: str) -> None:
    def forwards(self: Any, other: Any) -> Any:
        return NotImplemented if _defers(self, other) else _ufunc(ufunc)(self, other)

    def backwards(self: Any, other: Any) -> Any:
        return _ufunc(ufunc)(other, self)

    def in_place(self: Any, other: Any) -> Any:
        return _ufunc(ufunc)(self, other, self)

    setattr(ndarray, f"__{name}__", forwards)
    setattr(ndarray, f"__r{name}__", backwards)
    if name not in ("matmul", "divmod"):  # CuPy has no @=
        setattr(ndarray, f"__i{name}__", in_place)


for _name, _function in OPERATORS.items():
    _operator(_name, _function)


def _method(name: str, parameters: str) -> None:
    """A method that is the function of the same name, with the parameters that CuPy's method has."""
    check = eval(f"lambda {parameters}: None")

    def method(self: ndarray, *args: Any, **kwargs: Any) -> Any:
        check(*args, **kwargs)
        if name in ("reshape", "transpose") and (len(args) > 1 or (args and not isinstance(args[0], (tuple, list)))):
            args = () if args == (None,) else (args,)
        return _ufunc(name)(self, *args, **kwargs)

    setattr(ndarray, name, method)


for _name, _parameters in API["array methods"].items():
    if not hasattr(ndarray, _name) and (_name in API["functions"]["cupy"] or _name in ("conj", "conjugate")):
        _method(_name, _parameters)
