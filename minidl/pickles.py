"""Reading pickles without executing anything in them.

A pickle is a small program: it may name any function of any module and have it called. This reader looks names up in a short
list of harmless ones and refuses every other, or on request puts stand-ins in their place, which keep what they were given
and do nothing. NumPy's arrays are put together here as well: their own way of taking a state trusts it.
"""

from __future__ import annotations

import math
import pickle
from collections import OrderedDict
from typing import Any, BinaryIO

import numpy as np

PLAIN_KINDS = "biufcSU"  # what an array may hold: never references to objects


class UnknownName(ValueError):
    """A pickle names something that is not in the list."""

    def __init__(self, name: str) -> None:
        super().__init__(f"it names {name}, and what that would do is not known")
        self.name = name


class StandIn:
    """In place of an object of an unknown class: its `kind`, the `args` that made it, and the `state` it was given.

    items: what it held, if it was a list or a dict of sorts.
    """

    kind = ""
    args: tuple[Any, ...]
    state: Any
    items: list[Any]

    def __new__(cls, *args: Any, **kwargs: Any) -> StandIn:
        self = object.__new__(cls)
        self.args, self.state, self.items = (*args, *kwargs.items()), None, []
        return self

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def append(self, item: Any) -> None:
        self.items.append(item)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.items.append((key, value))

    def __repr__(self) -> str:
        return f"<stand-in for {self.kind}>"


class _DType:
    """What a pickle says of a NumPy dtype: its name and, as its state, the byte order."""

    def __init__(self, name: str | bytes, align: Any = False, copy: Any = False) -> None:
        self.name = _text(name)
        self.order: Any = "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = _text(state[1]).replace("|", "=")

    def numpy(self) -> np.dtype[Any]:
        dtype = np.dtype(self.name).newbyteorder(self.order)
        if dtype.kind not in PLAIN_KINDS or not dtype.itemsize:
            raise ValueError(f"it holds a NumPy array of {dtype}, which is neither numbers nor text")
        return dtype


class Array(np.ndarray[Any, Any]):
    """A NumPy array out of a pickle, which looks at its state before it takes it."""

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, fortran, data = state
        dtype, data = kind.numpy(), _bytes(data)
        if min(shape, default=0) < 0 or len(data) != math.prod(shape) * dtype.itemsize:
            raise ValueError(f"it holds a NumPy array whose {len(data)} bytes do not fit shape {shape} of {dtype}")
        super().__setstate__((1, tuple(shape), dtype, bool(fortran), data))  # type: ignore[arg-type]


def _text(name: str | bytes) -> str:
    return name.decode("ascii") if isinstance(name, bytes) else name


def _bytes(data: Any) -> bytes:
    """What Python 2 calls a text and Python 3 wrote as one in old protocols."""
    return data.encode("latin-1") if isinstance(data, str) else bytes(memoryview(data))


def _new_array(base: Any, shape: Any, kind: Any) -> Array:
    return np.ndarray.__new__(Array, 0)  # its state comes next


def _array_from_buffer(data: Any, kind: _DType, shape: tuple[int, ...], order: Any) -> Any:
    row = np.frombuffer(data, kind.numpy())
    return row.reshape(shape, order="F" if order == "F" else "C").astype(row.dtype.newbyteorder("="))


def _scalar(kind: _DType, data: Any) -> Any:
    return np.frombuffer(_bytes(data), kind.numpy(), count=1)[0]


HARMLESS: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("_codecs", "encode"): lambda text, encoding: _bytes(text),
    ("numpy", "ndarray"): None,  # only ever the first argument of _reconstruct
    ("numpy", "dtype"): _DType,
}
for _module in ("builtins", "__builtin__"):
    for _kind in (set, frozenset, complex, dict, list, tuple, int, float, str):
        HARMLESS[_module, _kind.__name__] = _kind
    HARMLESS[_module, "bytes"] = lambda: b""
    HARMLESS[_module, "bytearray"] = lambda data=b"", encoding="": bytearray(_bytes(data))
for _module in ("numpy.core", "numpy._core"):
    HARMLESS[f"{_module}.multiarray", "_reconstruct"] = _new_array
    HARMLESS[f"{_module}.multiarray", "scalar"] = _scalar
    HARMLESS[f"{_module}.numeric", "_frombuffer"] = _array_from_buffer


class Reader(pickle.Unpickler):
    """Reads one pickle from a binary file: numbers, texts, containers and NumPy's arrays.

    known: more names, with what stands for them. stand_ins: an unknown name becomes a StandIn; else it raises UnknownName.
    encoding: of texts that Python 2 wrote.
    """

    def __init__(
        self,
        file: BinaryIO,
        known: dict[tuple[str, str], Any] | None = None,
        stand_ins: bool = False,
        encoding: str = "utf-8",
    ) -> None:
        super().__init__(file, encoding=encoding)
        self.known, self.stand_ins = HARMLESS | (known or {}), stand_ins

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.known:
            if not self.stand_ins:
                raise UnknownName(f"{module}.{name}")
            self.known[module, name] = type(name, (StandIn,), {"kind": f"{module}.{name}"})
        return self.known[module, name]
