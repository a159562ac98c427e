"""Data types and the promotion rules between them: PyTorch's names and PyTorch's rules.

A dtype wraps a NumPy dtype. The rules differ from NumPy's in two ways: an integer tensor meets a float tensor at the
float tensor's own precision (int64 + float32 is float32), and a tensor without dimensions, like a Python number,
yields to one with dimensions as long as its category (bool, integer, float, complex) is not higher.
"""

from __future__ import annotations

from typing import Any

import numpy as np


class dtype:
    """The type of a tensor's elements, such as `minidl.float32`. NumPy accepts it wherever it takes a dtype."""

    __slots__ = ("_dtype", "itemsize", "name")

    def __init__(self, name: str, array_dtype: Any) -> None:
        self.name = name
        self._dtype = None if array_dtype is None else np.dtype(array_dtype)
        self.itemsize = 2 if self._dtype is None else self._dtype.itemsize

    @property
    def dtype(self) -> Any:
        """NumPy's dtype; NumPy itself reads the attribute of this name."""
        return self._dtype

    @property
    def is_floating_point(self) -> bool:
        return self._dtype is None or self._dtype.kind in FLOATING

    @property
    def is_complex(self) -> bool:
        return self._dtype is not None and self._dtype.kind == "c"

    @property
    def is_signed(self) -> bool:
        return self._dtype is None or self._dtype.kind in "fciV"

    def __repr__(self) -> str:
        return f"torch.{self.name}"  # PyTorch's text, so that printed output can be compared

    def __reduce__(self) -> tuple[Any, ...]:
        return by_name, (self.name,)


class bfloat16_dtype(dtype):
    """The type whose numbers are the upper halves of float32: eight bits of exponent, eight of precision.

    NumPy does not have it; the package ml_dtypes adds it, and is imported when it is first needed. Its kind is "V" to NumPy.
    """

    __slots__ = ()

    @property
    def dtype(self) -> Any:
        if self._dtype is None:
            try:
                import ml_dtypes
            except ModuleNotFoundError:
                raise ModuleNotFoundError(
                    "bfloat16 needs the package ml_dtypes, which is not installed: pip install ml_dtypes"
                ) from None
            self._dtype = np.dtype(ml_dtypes.bfloat16)
            BY_ARRAY_DTYPE[self._dtype] = self
        return self._dtype


class _ByArrayDtype(dict[np.dtype[Any], dtype]):
    """The dtypes by NumPy's. bfloat16 is added at its first use, which an array that was made elsewhere may be."""

    def __missing__(self, array_dtype: np.dtype[Any]) -> dtype:
        if array_dtype.name == "bfloat16" and array_dtype == bfloat16.dtype:
            return bfloat16
        raise KeyError(array_dtype)


class quantized_dtype(dtype):
    """The type of a quantized tensor's elements: integers that stand for floats, from `low` to `high`.

    `integers` is the dtype of the array that holds them.
    """

    __slots__ = ("high", "integers", "low")

    def __init__(self, name: str, integers: Any, bits: int | None = None) -> None:
        super().__init__(name, None)
        self.integers = np.dtype(integers)
        self.itemsize = self.integers.itemsize
        info = np.iinfo(self.integers)
        self.low: int = int(info.min) if bits is None else 0
        self.high: int = int(info.max) if bits is None else 2**bits - 1

    @property
    def dtype(self) -> Any:
        raise TypeError(
            f"{self!r} is the type of quantized tensors: quantize_per_tensor() makes them, and int_repr() gives their integers"
        )

    @property
    def is_floating_point(self) -> bool:
        return False

    @property
    def is_signed(self) -> bool:
        return self.integers.kind == "i"


uint8 = dtype("uint8", np.uint8)
int8 = dtype("int8", np.int8)
int16 = short = dtype("int16", np.int16)
int32 = dtype("int32", np.int32)
int64 = long = dtype("int64", np.int64)
float16 = half = dtype("float16", np.float16)
float32 = dtype("float32", np.float32)
float64 = double = dtype("float64", np.float64)
complex64 = cfloat = dtype("complex64", np.complex64)
complex128 = cdouble = dtype("complex128", np.complex128)
uint16 = dtype("uint16", np.uint16)
uint32 = dtype("uint32", np.uint32)
uint64 = dtype("uint64", np.uint64)
bool_ = dtype("bool", np.bool_)
bfloat16 = bfloat16_dtype("bfloat16", None)

qint8 = quantized_dtype("qint8", np.int8)
quint8 = quantized_dtype("quint8", np.uint8)
qint32 = quantized_dtype("qint32", np.int32)
quint4x2 = quantized_dtype("quint4x2", np.uint8, bits=4)  # two to a byte in files and in what layers hold

ALL = {d.name: d for d in (uint8, int8, int16, int32, int64, float16, float32, float64, complex64, complex128, bool_)}
ALL |= {d.name: d for d in (uint16, uint32, uint64)}
QUANTIZED = {d.name: d for d in (qint8, quint8, qint32, quint4x2)}
BY_ARRAY_DTYPE = _ByArrayDtype({d.dtype: d for d in ALL.values()})
ALL["bfloat16"] = bfloat16
CATEGORY = {"b": 0, "u": 1, "i": 1, "f": 2, "V": 2, "c": 3}  # by NumPy's kind
FLOATING, INEXACT = "fV", "fVc"  # the kinds of float numbers, and of these and complex ones

_default = float32


def by_name(name: str) -> dtype:
    """The dtype of that name, those of quantized tensors among them."""
    return QUANTIZED[name] if name in QUANTIZED else ALL[name]


def get_default_dtype() -> dtype:
    """The dtype of new float tensors: float32 unless `set_default_dtype` changed it."""
    return _default


def set_default_dtype(d: dtype) -> None:
    """Make `d`, a float dtype, the dtype of new float tensors."""
    global _default
    if not isinstance(d, dtype) or not d.is_floating_point:
        raise TypeError(f"set_default_dtype: only floating-point types are supported as the default type, got {d!r}")
    _default = d


def default_complex() -> dtype:
    """The complex dtype whose parts have the default dtype."""
    return complex128 if _default is float64 else complex64


def as_array_dtype(d: Any) -> np.dtype[Any]:
    """The NumPy dtype of a minidl dtype, a Python type (float is the default dtype) or anything NumPy takes."""
    if isinstance(d, dtype):
        return d.dtype
    if d is float:
        return _default.dtype
    if d is complex:
        return default_complex().dtype
    if d is int:
        return int64.dtype
    if d is bool:
        return bool_.dtype
    return np.dtype(d)


def of_array(array_dtype: np.dtype[Any]) -> dtype:
    """The minidl dtype of a NumPy dtype. Raises TypeError for one that tensors cannot have."""
    try:
        return BY_ARRAY_DTYPE[array_dtype]
    except KeyError:
        raise TypeError(
            f"tensors cannot hold NumPy's {array_dtype}; the types are {', '.join(sorted(ALL))}: convert with .astype"
        ) from None


def scalar_array_dtype(value: complex) -> np.dtype[Any]:
    """The dtype that a lone Python number becomes."""
    return as_array_dtype(type(value) if type(value) in (bool, int, float, complex) else float)


def promote_types(a: dtype, b: dtype) -> dtype:
    """The smallest dtype that both can be converted to, by PyTorch's table. Example: int64, float16 -> float16."""
    return of_array(_promote(a.dtype, b.dtype))


def _promote(a: np.dtype[Any], b: np.dtype[Any]) -> np.dtype[Any]:
    if a == b:
        return a
    low, high = sorted((a, b), key=lambda d: CATEGORY[d.kind])
    if {low.kind, high.kind} == {"f", "V"} and low.itemsize == high.itemsize:  # neither of the halves holds the other
        return float32.dtype
    if CATEGORY[low.kind] == CATEGORY[high.kind] or (high.kind == "c" and low.kind == "f"):
        return np.promote_types(a, b)
    return high


def result_dtype(operands: list[Any]) -> np.dtype[Any]:
    """The common dtype of arrays and Python numbers: dimensioned arrays first, then 0-d arrays, then numbers."""
    tiers: list[np.dtype[Any] | None] = [None, None, None]
    for x in operands:
        tier, d = (0 if x.ndim else 1, x.dtype) if hasattr(x, "dtype") else (2, scalar_array_dtype(x))
        known = tiers[tier]
        tiers[tier] = d if known is None else _promote(known, d)
    result = None
    for d in tiers:
        if d is None:
            continue
        if result is None:
            result = d
        elif CATEGORY[d.kind] > CATEGORY[result.kind]:
            # a float32 tensor times a complex number keeps its precision: complex64
            result = np.promote_types(result, np.complex64) if d.kind == "c" and result.kind in FLOATING else d
    assert result is not None
    return result


def result_type(a: Any, b: Any) -> dtype:
    """The dtype of an operation between two tensors or numbers."""
    return of_array(result_dtype([getattr(x, "array", x) for x in (a, b)]))


def can_cast(source: dtype, target: dtype) -> bool:
    """Whether an in-place operation may store `source` values in a `target` tensor (never to a lower category)."""
    return CATEGORY[source.dtype.kind] <= CATEGORY[target.dtype.kind]


class _Info:
    """What finfo and iinfo share: `bits`, `min`, `max`, `dtype`."""

    def __init__(self, d: dtype, info: Any) -> None:
        self.bits, self.min, self.max, self.dtype = info.bits, info.min, info.max, d.name


def _finfo_of(array_dtype: Any) -> Any:
    """NumPy's finfo for bfloat16."""
    import ml_dtypes

    return ml_dtypes.finfo(array_dtype)  # type: ignore[no-untyped-call]


class finfo(_Info):
    """Limits of a float dtype (default: the default dtype): bits, min, max, eps, tiny, resolution."""

    def __init__(self, d: dtype | None = None) -> None:
        d = d or _default
        info = np.finfo(d.dtype) if d is not bfloat16 else _finfo_of(d.dtype)
        super().__init__(d, info)
        self.min, self.max = float(info.min), float(info.max)
        self.eps, self.tiny, self.resolution = float(info.eps), float(info.tiny), float(info.resolution)
        if d is bfloat16:
            self.resolution = 10.0**-info.precision  # ml_dtypes' is rounded to bfloat16
        self.smallest_normal = self.tiny

    def __repr__(self) -> str:
        fields = ("resolution", "min", "max", "eps", "smallest_normal", "tiny")
        return f"finfo({', '.join(f'{name}={getattr(self, name):g}' for name in fields)}, dtype={self.dtype})"


class iinfo(_Info):
    """Limits of an integer dtype: bits, min, max."""

    def __init__(self, d: dtype) -> None:
        super().__init__(d, np.iinfo(d.dtype))
