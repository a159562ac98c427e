"""Comparing tensors in tests, and random tensors to compare."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .. import devices, dtypes
from ..ops.creation import as_tensor, tensor
from ..random import default_generator
from ..tensor import Tensor

TOLERANCE = {  # rtol and atol by dtype: PyTorch's
    dtypes.float16: (1e-3, 1e-5), dtypes.bfloat16: (1.6e-2, 1e-5), dtypes.float32: (1.3e-6, 1e-5),
    dtypes.float64: (1e-7, 1e-7), dtypes.complex64: (1.3e-6, 1e-5), dtypes.complex128: (1e-7, 1e-7),
}  # fmt: skip


def assert_close(
    actual: Any,
    expected: Any,
    *,
    allow_subclasses: bool = True,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = False,
    check_device: bool = True,
    check_dtype: bool = True,
    check_layout: bool = True,
    check_stride: bool = False,
    msg: str | Callable[[str], str] | None = None,
) -> None:
    """Raise AssertionError unless |actual - expected| <= atol + rtol |expected| for every element, with the same shape and dtype.

    Numbers, and sequences and mappings of tensors, are compared too. rtol, atol: both or neither; without them they follow
    from the dtype. msg: a text in the place of the message, or a function of it.

    Example:
        >>> assert_close(minidl.tensor([1.0, 2.0]), minidl.tensor([1.0, 2.0000001]))
    """
    if (rtol is None) != (atol is None):
        raise ValueError(f"assert_close: rtol and atol must both be specified or both left out, got {rtol} and {atol}")
    options = {"check_device": check_device, "check_dtype": check_dtype, "check_stride": check_stride}
    why = _difference(actual, expected, "", rtol, atol, equal_nan, options)
    if why:
        raise AssertionError(why if msg is None else msg(why) if callable(msg) else msg)


def _difference(
    a: Any, b: Any, place: str, rtol: Any, atol: Any, equal_nan: bool, options: dict[str, bool]
) -> str | None:
    """What is different, or None. place: where the two are in what is compared."""
    if isinstance(a, (str, bytes)) or isinstance(b, (str, bytes)):
        raise TypeError(f"assert_close: cannot compare {type(a).__name__} and {type(b).__name__}")
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        if set(a) != set(b):
            return f"The keys of the mappings do not match: {sorted(map(str, a))} and {sorted(map(str, b))}"
        pairs = [(f"[{key!r}]", a[key], b[key]) for key in b]
    elif isinstance(a, Sequence) and isinstance(b, Sequence):
        if len(a) != len(b):
            return f"The length of the sequences mismatch: {len(a)} != {len(b)}"
        pairs = [(f"[{i}]", x, y) for i, (x, y) in enumerate(zip(a, b, strict=True))]
    else:
        why = _difference_of_tensors(a, b, rtol, atol, equal_nan, options)
        return f"{why}\n\nThe failure occurred for item {place}" if why and place else why
    found = (_difference(x, y, place + at, rtol, atol, equal_nan, options) for at, x, y in pairs)
    return next(filter(None, found), None)


def _difference_of_tensors(
    a: Any, b: Any, rtol: Any, atol: Any, equal_nan: bool, options: dict[str, bool]
) -> str | None:
    numbers = not isinstance(a, Tensor) and not isinstance(b, Tensor)
    x, y = (as_tensor(np.asarray(v) if isinstance(v, (int, float, complex)) else v) for v in (a, b))
    for kind in ("shape", "dtype", "device", "stride"):
        mine, theirs = (t.stride() if kind == "stride" else getattr(t, kind) for t in (x, y))
        if mine != theirs and options.get(f"check_{kind}", True):
            return f"The values for attribute '{kind}' do not match: {mine} != {theirs}."
    tolerances = [TOLERANCE.get(t.dtype, (0.0, 0.0)) for t in (x, y)]
    r = max(t[0] for t in tolerances) if rtol is None else rtol
    absolute = max(t[1] for t in tolerances) if atol is None else atol
    p, q = (devices.move(t.array, devices.CPU) for t in (x, y))
    good = np.isclose(p, q, r, absolute, equal_nan)
    if good.all():
        return None
    with np.errstate(all="ignore"):
        apart = np.abs(np.subtract(p, q, dtype=np.result_type(p, q, np.float64)))
        relative = apart / np.abs(q)
    wrong = np.where(good, -1.0, np.nan_to_num(apart, nan=np.inf))
    at = [int(i) for i in np.unravel_index(wrong.argmax(), wrong.shape)]
    bad, size = int((~good).sum()), good.size
    return (
        f"{'Scalars' if numbers and size == 1 else 'Tensor-likes'} are not close!\n\n"
        f"Mismatched elements: {bad} / {size} ({bad / size:.1%})\n"
        f"Greatest absolute difference: {apart[tuple(at)]} at index {tuple(at)} (up to {absolute} allowed)\n"
        f"Greatest relative difference: {np.nanmax(np.where(good, 0, relative))} (up to {r} allowed)"
    )


def make_tensor(
    *shape: Any,
    dtype: Any,
    device: Any = "cpu",
    low: float | None = None,
    high: float | None = None,
    requires_grad: bool = False,
    noncontiguous: bool = False,
    exclude_zero: bool = False,
) -> Tensor:
    """A tensor of values drawn evenly from [low, high), by default [-9, 9), or the part of it that the dtype has.

    noncontiguous: with gaps in its memory. exclude_zero: with 1 where a zero was drawn.
    """
    sizes = shape[0] if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
    kind = dtypes.as_array_dtype(dtype)
    least, most = (0, 2) if kind.kind == "b" else (0 if kind.kind == "u" else -9, 10 if kind.kind in "iu" else 9)
    bounds: tuple[Any, Any] = least if low is None else low, most if high is None else high
    drawn = np.random.default_rng(default_generator.take(1))
    wide = (*sizes[:-1], 2 * sizes[-1]) if noncontiguous and sizes else tuple(sizes)
    values: Any = (
        drawn.integers(int(bounds[0]), int(bounds[1]), wide) if kind.kind in "biu" else drawn.uniform(*bounds, wide)
    )
    if kind.kind == "c":
        values = values + 1j * drawn.uniform(*bounds, wide)
    if exclude_zero:
        values = np.where(values == 0, 1, values)
    made = tensor(values, dtype=dtype, device=device)
    return (made[..., ::2] if wide != tuple(sizes) else made).detach().requires_grad_(requires_grad)


__all__ = ["assert_close", "make_tensor"]
