"""The functions of the stand-in: NumPy's and SciPy's, with the names, parameters and data types that CuPy has."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from . import device
from .array import API, SCALARS, call, deliver, ndarray, to_host, uploaded, wrap

KIND = {bool: 0, int: 1, float: 2, complex: 3, "b": 0, "u": 1, "i": 1, "f": 2, "c": 3}
ATOMIC = {"add": "iIlLqQefd", "maximum": "iIlLqQfd", "minimum": "iIlLqQfd", "subtract": "iI"}  # dtypes of `at`
FLOAT_EXTREMA = {"maximum": "fmax", "minimum": "fmin"}
# results that stay on the host in CuPy, too
ON_HOST = {"iscomplexobj", "isrealobj", "isscalar", "isfortran", "may_share_memory", "shares_memory", "ndim", "size",
           "shape", "result_type", "can_cast", "common_type", "min_scalar_type"}  # fmt: skip
# wait for the device, because the size of the result or an argument of a kernel depends on values
SYNCHRONIZING = {"nonzero", "argwhere", "flatnonzero", "unique", "bincount", "extract", "compress", "union1d",
                 "setdiff1d", "intersect1d", "unique_all", "unique_values"}  # fmt: skip


# Whose loops for bfloat16 are counted on. CuPy has many more where ml_dtypes is installed: an operation of several would be rounded
# after each, and float32 is better.
BFLOAT16 = {"add", "subtract", "multiply", "negative"}
PRODUCTS = {"matmul", "dot", "vdot", "inner", "tensordot", "einsum"}  # by cuBLAS, for floats


class ufunc:
    """An element-wise function on device arrays, numbers and NumPy's scalars, with CuPy's choice of data types."""

    def __init__(self, name: str, host: Callable[..., Any], facts: dict[str, Any]) -> None:
        self.__name__ = self.name = name
        self.host, self.nin, self.casting, self.has_at = host, facts["nin"], facts["casting"], facts["at"]
        # E is bfloat16, of which only what BFLOAT16 names is counted on
        self.loops = [tuple(t.split("->")) for t in facts["types"].split() if "E" not in t]
        self.nout = len(self.loops[0][1])

    def __repr__(self) -> str:
        return f"<ufunc 'cupy_{self.name}'>"

    def __call__(self, *args: Any, out: Any = None, dtype: Any = None, casting: Any = None) -> Any:
        if not self.nin <= len(args) <= self.nin + self.nout:
            raise TypeError(f"Wrong number of arguments for {self.name!r}: {len(args)}")
        inputs, outs = args[: self.nin], args[self.nin :]
        outs = outs or (out if isinstance(out, tuple) else () if out is None else (out,))
        for x in inputs:
            if not isinstance(x, (ndarray, *SCALARS)):
                raise TypeError(f"Unsupported type {type(x)}")
        ins, results = self._loop(inputs, dtype)

        def compute(*values: Any) -> Any:
            cast = [np.asarray(v).astype(t, copy=False) if hasattr(v, "dtype") else np.asarray(v, t)
                    for v, t in zip(values, ins, strict=True)]  # fmt: skip
            found = self.host(*cast)
            found = found if isinstance(found, tuple) else (found,)
            found = tuple(np.asarray(r, order="C").astype(t, copy=False) for r, t in zip(found, results, strict=True))
            return found if len(found) > 1 else found[0]

        made = call(compute, inputs)
        if not outs:
            return made
        given = [
            o if o is None else deliver(o, r) for o, r in zip(outs, made if self.nout > 1 else (made,), strict=True)
        ]
        return given[0] if self.nout == 1 else tuple(given)

    def _loop(self, inputs: Any, dtype: Any) -> tuple[Any, Any]:
        """The first loop that the inputs fit into without loss; Python's numbers fit wherever their kind does."""
        if dtype is not None:
            for ins, outs in self.loops:
                if all(np.dtype(t) == dtype for t in outs):
                    return ins, outs
            raise TypeError(f"Wrong type ({dtype}) of arguments for {self.name}")
        weak = [type(x) if type(x) in (int, float, complex) else None for x in inputs]
        types = [np.dtype(bool if w is None and isinstance(x, bool) else w) if not hasattr(x, "dtype") else x.dtype
                 for x, w in zip(inputs, weak, strict=True)]  # fmt: skip
        if any(getattr(t, "kind", "") == "V" for t in types):
            if self.name in BFLOAT16 and len(set(types)) == 1:
                return (types[0],) * self.nin, (types[0],) * self.nout
            raise TypeError(f"{self.name}: no arithmetic of bfloat16 is counted on; compute in float32")
        kinds = [KIND[t.kind] for t, w in zip(types, weak, strict=True) if w is None]
        scalar_kinds = [KIND[w] for w in weak if w is not None]
        if not kinds or not scalar_kinds or max(kinds) < max(scalar_kinds):
            weak = [None] * len(weak)
        for ins, outs in self.loops:
            if all(np.can_cast(t, i) or (w is not None and np.result_type(w(0), np.dtype(i)) == np.dtype(i))
                   for t, w, i in zip(types, weak, ins, strict=True)):  # fmt: skip
                return ins, outs
        raise TypeError(f"Wrong type ({types}) of arguments for {self.name}")

    def outer(self, a: Any, b: Any) -> Any:
        a, b = uploaded(a), uploaded(b)
        return self(a.reshape(a.shape + (1,) * b.ndim), b.reshape((1,) * a.ndim + b.shape))

    def at(self, a: Any, indices: Any, b: Any = None) -> Any:
        if not self.has_at:
            raise NotImplementedError(f"`cupy_{self.name}.at` is not supported yet")
        if a.dtype.char not in ATOMIC.get(self.name, "iIlLqQ"):
            raise TypeError(f"cupy.{self.name}.at does not support {a.dtype} as data type")
        index = to_host(indices if isinstance(indices, tuple) else (indices,), [])
        value = b.host if isinstance(b, ndarray) else np.asarray(b, a.dtype)
        extremum = a.dtype.kind == "f" and self.name in FLOAT_EXTREMA
        ufunc_at = getattr(np, FLOAT_EXTREMA[self.name] if extremum else self.name).at

        def add() -> None:
            given = value.astype(a.dtype, copy=False)
            if extremum:  # C's fmaxf, which rounds float64 to float32 and prefers any number to NaN
                a.host[index] = a.host[index].astype(np.float32)
                given = given.astype(np.float32).astype(a.dtype)
            ufunc_at(a.host, index, given)

        device.do(add)

    def _only(self, method: str, functions: dict[str, str], *args: Any, **kwargs: Any) -> Any:
        if self.name not in functions:
            raise NotImplementedError(f"`cupy_{self.name}.{method}` is not supported yet")
        return getattr(sys.modules["cupy"], functions[self.name])(*args, **kwargs)

    def reduce(self, array: Any, axis: Any = 0, dtype: Any = None, out: Any = None, keepdims: bool = False) -> Any:
        return self._only("reduce", {"add": "sum", "multiply": "prod"}, array, axis, dtype, out, keepdims)

    def accumulate(self, array: Any, axis: Any = 0, dtype: Any = None, out: Any = None) -> Any:
        return self._only("accumulate", {"add": "cumsum", "multiply": "cumprod"}, array, axis, dtype, out)


def function(name: str, parameters: str, host: Callable[..., Any]) -> Callable[..., Any]:
    """A function of the host with CuPy's parameters: whatever else CuPy lacks is refused."""
    check = eval(f"lambda {parameters}: None")

    def on_device(*args: Any, **kwargs: Any) -> Any:
        check(*args, **kwargs)
        if name in SYNCHRONIZING:
            device.transferring("D2H")
        if name in PRODUCTS and any(isinstance(a, ndarray) and a.dtype.kind in "fc" for a in args):
            device.using_library("cuBLAS")
        out = kwargs.pop("out", None)
        result = call(host, args, out, kwargs)
        if isinstance(result, bool) and name not in ON_HOST:
            return wrap(np.asarray(result))  # allclose and array_equal stay on the device
        return result

    on_device.__name__ = on_device.__qualname__ = name
    on_device.__module__ = "cupy"
    return on_device


# ---------------------------------------------------------------------------------------------------------------------
# Where CuPy differs from NumPy in more than its parameters


def array(obj: Any, dtype: Any = None, copy: Any = True, order: Any = "K", subok: bool = False, ndmin: int = 0, *,
          blocking: bool = False) -> Any:  # fmt: skip
    """To the device: of a NumPy array, of numbers, of device arrays."""
    if isinstance(obj, ndarray):
        if copy is not True and (dtype is None or np.dtype(dtype) == obj.dtype) and ndmin <= obj.ndim:
            same = call(lambda a: np.asarray(a, order=order), (obj,))
            return obj if same.host is obj.host else same
        return call(lambda a: np.array(a, dtype, order=order, ndmin=ndmin), (obj,))
    if isinstance(obj, (list, tuple)):
        obj = [o.host if isinstance(o, ndarray) else o for o in obj]
    host = np.array(obj, dtype, order=order, ndmin=ndmin)
    if (host.dtype.kind not in "biufc" and host.dtype.name != "bfloat16") or host.dtype.char in "gG":
        raise ValueError(f"Unsupported dtype {host.dtype}")
    device.transferring("H2D")
    return wrap(host)


def asarray(a: Any, dtype: Any = None, order: Any = None, *, copy: Any = None, blocking: bool = False) -> Any:
    return array(a, dtype, copy, order or "K")


def ascontiguousarray(a: Any, dtype: Any = None) -> Any:
    return array(a, dtype, None, "C", ndmin=1)


def asnumpy(a: Any, stream: Any = None, order: Any = "C", out: Any = None, *, blocking: bool = True) -> Any:
    return a.get() if isinstance(a, ndarray) else np.asarray(a)


def get_array_module(*args: Any) -> Any:
    return sys.modules["cupy"] if any(isinstance(a, ndarray) for a in args) else np


def empty(shape: Any, dtype: Any = float, order: Any = "C") -> Any:
    return ndarray(shape, dtype, order=order)


def empty_like(prototype: Any, dtype: Any = None, order: Any = "K", subok: None = None, shape: Any = None) -> Any:
    return call(lambda a: device.poisoned(np.empty_like(a, dtype, order, shape=shape)), (prototype,))


def where(condition: Any, x: Any = None, y: Any = None) -> Any:
    if (x is None) != (y is None):
        raise ValueError("Must provide both 'x' and 'y' or neither.")
    if x is None:
        return condition.nonzero()
    return _where(condition.astype("?", copy=False), x, y)  # a Python bool has no astype: CuPy fails there, too


_where = ufunc("where", np.where, {
    "nin": 3, "casting": "same_kind", "at": False,
    "types": "???->? ?bb->b ?BB->B ?hh->h ?HH->H ?ii->i ?II->I ?ll->l ?LL->L ?qq->q ?QQ->Q ?ee->e ?ff->f ?dd->d ?FF->F ?DD->D",
})  # fmt: skip


def searchsorted(a: Any, v: Any, side: Any = "left", sorter: Any = None) -> Any:
    if not isinstance(a, ndarray):
        raise NotImplementedError("Only int or ndarray are supported for a")
    return call(lambda a, v: np.searchsorted(a, v, side), (a, v))


def take(a: Any, indices: Any, axis: Any = None, out: Any = None) -> Any:
    return a.take(indices, axis, out)


def take_along_axis(a: Any, indices: Any, axis: Any) -> Any:
    if indices.dtype.kind not in "iu":
        raise IndexError("`indices` must be an integer array")
    size = a.size if axis is None else a.shape[axis]
    return call(lambda a, i: np.take_along_axis(a, i % size if size else i, axis), (a, indices))


def concatenate(tup: Any, axis: Any = 0, out: Any = None, *, dtype: Any = None, casting: Any = "same_kind") -> Any:
    if any(not isinstance(a, ndarray) for a in tup):
        raise TypeError("Only cupy arrays can be concatenated")
    return call(lambda *a: np.concatenate(a, axis, dtype=dtype, casting=casting), tuple(tup), out)


def unique(
    ar: Any, return_index: bool = False, return_inverse: bool = False, return_counts: bool = False, axis: Any = None, *,
    equal_nan: bool = True,
) -> Any:  # fmt: skip
    device.transferring("D2H")
    if axis is not None and ar.dtype.kind == "b":
        raise TypeError("unique along an axis takes differences, which bools have none of")  # in subtract()
    options: Any = {"return_index": return_index, "return_inverse": return_inverse, "return_counts": return_counts}
    return call(lambda a: np.unique(a, axis=axis, equal_nan=equal_nan, **options), (ar,))


def sort(a: Any, axis: Any = -1, kind: Any = None) -> Any:
    result = a.copy() if axis is not None else a.ravel().copy()
    result.sort(-1 if axis is None else axis, kind)
    return result


def argsort(a: Any, axis: Any = -1, kind: Any = None) -> Any:
    return a.argsort(axis, kind)


def nonzero(a: Any) -> Any:
    return a.nonzero()


def polygamma(n: Any, x: Any) -> Any:
    import scipy.special

    if not isinstance(n, ndarray):
        raise AttributeError("'bool' object has no attribute 'astype'")  # n == 0, in a where()
    return call(scipy.special.polygamma, (n, x))


def diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    made = call(lambda a: a.diagonal(offset, axis1, axis2), (a,))
    made.host.flags.writeable = True  # nothing is read-only in CuPy
    return made


def as_strided(x: Any, shape: Any = None, strides: Any = None) -> Any:
    made = call(lambda a: np.lib.stride_tricks.as_strided(a, shape, strides), (x,))
    made.base = None  # the array says that it owns the memory
    return made


def copyto(dst: Any, src: Any, casting: Any = "same_kind", where: Any = None) -> None:
    if isinstance(src, np.ndarray):
        raise TypeError("Unsupported type <class 'numpy.ndarray'>")
    value = src.host if isinstance(src, ndarray) else src

    def copy() -> None:
        np.copyto(dst.host, value, casting, True if where is None else where.host)

    device.do(copy)


class errstate:
    """cupyx.errstate: within errstate(linalg="raise") solvers look at their status, which waits for the device."""

    raising = False

    def __init__(self, *, linalg: str) -> None:
        self.wanted = linalg == "raise"

    def __enter__(self) -> None:
        self.before, errstate.raising = errstate.raising, self.wanted

    def __exit__(self, *exception: object) -> None:
        errstate.raising = self.before


def solver(name: str, solve: Callable[..., Any]) -> Callable[..., Any]:
    """A solver of the host that does what CuPy's does: no error for singular matrices, no broadcasting of batches."""

    def on_device(*args: Any) -> Any:
        if name == "solve" and args[1].ndim > 1 and args[0].shape[:-1] != args[1].shape[:-1]:
            raise ValueError("a must have (..., M, M) shape and b must have (..., M, K) for multidimensional b")
        device.using_library("cuSOLVER")
        try:
            return solve(*args)
        except np.linalg.LinAlgError as error:
            if errstate.raising or not ("ingular" in str(error) or "positive definite" in str(error)):
                raise
            return np.full(args[-1].shape, np.nan, args[0].dtype)

    return on_device


def floor_divide(x: Any, y: Any) -> Any:
    """CuPy rounds the quotient of floats before it takes the floor."""
    return np.floor(x / y) if x.dtype.kind == "f" else np.floor_divide(x, y)


HOST = {"floor_divide": floor_divide, "remainder": lambda x, y: x - floor_divide(x, y) * y}
SPECIAL_CASES = {f.__name__: f for f in (
    array, asarray, ascontiguousarray, asnumpy, get_array_module, empty, empty_like, where, searchsorted, take,
    take_along_axis, concatenate, diagonal, sort, argsort, nonzero, copyto, unique,
)}  # fmt: skip


def _fill(module: ModuleType, host: Any) -> None:
    """All that CuPy's module of this name has, made from the host's."""
    for name, facts in API["ufuncs"].get(module.__name__, {}).items():
        if hasattr(host, name):
            setattr(module, name, ufunc(name, HOST.get(name) or getattr(host, name), facts))
    for name, parameters in API["functions"].get(module.__name__, {}).items():
        if hasattr(host, name):
            found = getattr(host, name)
            if module.__name__ == "cupy.linalg" and name in ("cholesky", "inv", "solve"):
                found = solver(name, found)
            setattr(module, name, function(name, parameters, found))


def modules() -> dict[str, ModuleType]:
    """The modules by name: cupy, cupyx and what is in them."""
    import scipy.linalg
    import scipy.special

    names = ("cupy", "cupy.linalg", "cupy.fft", "cupy.lib", "cupy.lib.stride_tricks", "cupyx", "cupyx.scipy",
             "cupyx.scipy.special", "cupyx.scipy.linalg")  # fmt: skip
    made = {name: ModuleType(name) for name in names}
    made["cupy.cuda"] = device.module()
    for name, module in made.items():
        parent, _, last = name.rpartition(".")
        if parent:
            setattr(made[parent], last, module)
    cupy = made["cupy"]
    for name in API["from numpy"]:
        setattr(cupy, name, getattr(np, name))
    _fill(cupy, np)
    for name, host in (("cupy.linalg", np.linalg), ("cupy.fft", np.fft), ("cupyx.scipy.special", scipy.special),
                       ("cupyx.scipy.linalg", scipy.linalg)):  # fmt: skip
        _fill(made[name], host)
    vars(cupy).update(
        SPECIAL_CASES, ndarray=ndarray, ufunc=ufunc, __version__=API["version"],
        get_default_memory_pool=lambda: device.POOL, is_available=lambda: True, conj=cupy.conjugate,
    )  # fmt: skip
    made["cupy.lib.stride_tricks"].as_strided = as_strided  # type: ignore[attr-defined]
    made["cupyx.scipy.special"].polygamma = polygamma  # type: ignore[attr-defined]
    made["cupyx"].errstate = errstate  # type: ignore[attr-defined]
    made["cupy.linalg"].LinAlgError = np.linalg.LinAlgError  # type: ignore[attr-defined]
    return made
