"""Discrete Fourier transforms, under the names of `torch.fft` (Cooley and Tukey, 1965).

Each takes lengths (`n`, `s`: the input is cut or filled up with zeros), dimensions, and a `norm` that says which direction
is divided by the number of points: "backward" (default) the inverse, "forward" the transform, "ortho" each by its root.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import dtypes
from .autograd.op import wrap
from .autograd.precision import with_precision
from .ops.conversion import cast
from .ops.fourier import FFT, IRFFT, RFFT
from .ops.padding import ConstantPad
from .ops.rearrange import roll
from .ops.shape import normalize_dim
from .tensor import Tensor

NORMS = ("backward", "ortho", "forward")


def _scale(name: str, norm: str | None, points: int, inverse: bool) -> float:
    """The factor that `norm` puts in front."""
    norm = norm or "backward"
    if norm not in NORMS:
        raise RuntimeError(f"fft.{name}: Invalid normalization mode: {norm!r}; it is one of {', '.join(NORMS)}")
    if norm == "ortho":
        return 1 / math.sqrt(points)
    return 1 / points if (norm == "backward") is inverse else 1.0


def _dims(name: str, x: Tensor, s: Any, dim: Any, last: int | None = None) -> tuple[list[int], list[int | None]]:
    """The dimensions, counted from the front, and the length asked for in each."""
    lengths = None if s is None else [s] if isinstance(s, int) else list(s)
    if dim is None:
        count = x.ndim if lengths is None else len(lengths)
        dim = range(x.ndim - min(count, x.ndim) if last is None else x.ndim - last, x.ndim)
    dims = [normalize_dim(d, x.ndim, f"fft.{name}") for d in ([dim] if isinstance(dim, int) else dim)]
    if x.ndim == 0 or len(set(dims)) != len(dims) or (lengths is not None and len(lengths) != len(dims)):
        raise RuntimeError(
            f"fft.{name}: expected different dimensions of a tensor with dimensions, and one length for each; got dim {dim}, "
            f"lengths {s} and shape {list(x.shape)}"
        )
    return dims, [None if n == -1 else n for n in lengths] if lengths is not None else [None] * len(dims)


def _resized(name: str, x: Tensor, dims: Sequence[int], lengths: Sequence[int | None]) -> Tensor:
    """x cut or filled up with zeros to a length in each dimension."""
    shape = list(x.shape)
    for d, n in zip(dims, lengths, strict=True):
        shape[d] = shape[d] if n is None else n
        if shape[d] < 1:
            raise RuntimeError(f"fft.{name}: Invalid number of data points ({shape[d]}) specified in dimension {d}")
    if shape == list(x.shape):
        return x
    widths = tuple((0, n - size) for n, size in zip(shape, x.shape, strict=True))
    return ConstantPad.apply(x, widths=widths, value=0.0)


def _floating(name: str, x: Tensor, real: bool = False) -> Tensor:
    """x in a dtype that has transforms: of a float type, complex unless `real`."""
    x = with_precision("full on cpu", x)
    if x.array.dtype.itemsize == 2 and x.is_floating_point():
        raise RuntimeError(f"fft.{name}: Unsupported dtype {x.dtype}; use x.float()")
    if real:
        if x.array.dtype.kind == "c":
            raise RuntimeError(f"fft.{name} expects a real input tensor, but got {x.dtype}; use fft.fft")
        return x if x.array.dtype.kind == "f" else cast(x, dtypes.get_default_dtype().dtype)
    kind = x.array.dtype if x.array.dtype.kind in "fc" else dtypes.get_default_dtype().dtype
    return cast(x, np.result_type(kind, np.complex64))


def _complex_transform(name: str, x: Tensor, s: Any, dim: Any, norm: str | None, inverse: bool) -> Tensor:
    dims, lengths = _dims(name, x, s, dim)
    x = _resized(name, _floating(name, x), dims, lengths)
    scale = _scale(name, norm, math.prod(x.shape[d] for d in dims), inverse)
    out = FFT.apply(x, axes=tuple(dims), inverse=inverse)
    return out if scale == 1 else out * scale


def _from_real(name: str, x: Tensor, s: Any, dim: Any, norm: str | None, inverse: bool, last: int | None) -> Tensor:
    """The half spectrum of real numbers; for the inverse (ihfft) its conjugate."""
    dims, lengths = _dims(name, x, s, dim, last)
    x = _resized(name, _floating(name, x, real=True), dims, lengths)
    scale = _scale(name, norm, math.prod(x.shape[d] for d in dims), inverse)
    out = RFFT.apply(x, axis=dims[-1])
    if inverse:
        out = out.conj()
    if dims[:-1]:
        out = FFT.apply(out, axes=tuple(dims[:-1]), inverse=inverse)
    return out if scale == 1 else out * scale


def _to_real(name: str, y: Tensor, s: Any, dim: Any, norm: str | None, inverse: bool, last: int | None) -> Tensor:
    """Real numbers from their half spectrum; for the forward direction (hfft) from its conjugate."""
    dims, lengths = _dims(name, y, s, dim, last)
    n = 2 * (y.shape[dims[-1]] - 1) if lengths[-1] is None else lengths[-1]
    if n < 1:
        raise RuntimeError(f"fft.{name}: Invalid number of data points ({n}) specified")
    y = _resized(name, _floating(name, y), dims, [*lengths[:-1], n // 2 + 1])
    scale = _scale(name, norm, math.prod(y.shape[d] for d in dims[:-1]) * n, inverse)
    if dims[:-1]:
        y = FFT.apply(y, axes=tuple(dims[:-1]), inverse=inverse)
    out = IRFFT.apply(y if inverse else y.conj(), axis=dims[-1], n=n)
    return out if scale == 1 else out * scale


def fft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The transform along one dimension: y_j = sum over k of x_k e^(-2πi jk/n), complex.

    Example:
        >>> minidl.fft.fft(minidl.tensor([1.0, 0.0, 0.0, 0.0]))
        tensor([1.+0.j, 1.+0.j, 1.+0.j, 1.+0.j])
    """
    return _complex_transform("fft", input, n, dim, norm, inverse=False)


def ifft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The inverse of fft."""
    return _complex_transform("ifft", input, n, dim, norm, inverse=True)


def fft2(input: Tensor, s: Any = None, dim: Any = (-2, -1), norm: str | None = None) -> Tensor:
    """The transform along two dimensions."""
    return _complex_transform("fft2", input, s, dim, norm, inverse=False)


def ifft2(input: Tensor, s: Any = None, dim: Any = (-2, -1), norm: str | None = None) -> Tensor:
    """The inverse of fft2."""
    return _complex_transform("ifft2", input, s, dim, norm, inverse=True)


def fftn(input: Tensor, s: Any = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """The transform along several dimensions, by default all (or the last len(s))."""
    return _complex_transform("fftn", input, s, dim, norm, inverse=False)


def ifftn(input: Tensor, s: Any = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """The inverse of fftn."""
    return _complex_transform("ifftn", input, s, dim, norm, inverse=True)


def rfft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The frequencies 0 to n // 2 of fft, which for a real input say all."""
    return _from_real("rfft", input, n, dim, norm, inverse=False, last=1)


def irfft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The inverse of rfft: n real numbers, by default 2 (size - 1)."""
    return _to_real("irfft", input, n, dim, norm, inverse=True, last=1)


def rfft2(input: Tensor, s: Any = None, dim: Any = (-2, -1), norm: str | None = None) -> Tensor:
    """rfft along the last of two dimensions, fft along the other."""
    return _from_real("rfft2", input, s, dim, norm, inverse=False, last=2)


def irfft2(input: Tensor, s: Any = None, dim: Any = (-2, -1), norm: str | None = None) -> Tensor:
    """The inverse of rfft2."""
    return _to_real("irfft2", input, s, dim, norm, inverse=True, last=2)


def rfftn(input: Tensor, s: Any = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """rfft along the last of several dimensions, fft along the others."""
    return _from_real("rfftn", input, s, dim, norm, inverse=False, last=None)


def irfftn(input: Tensor, s: Any = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """The inverse of rfftn."""
    return _to_real("irfftn", input, s, dim, norm, inverse=True, last=None)


def hfft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The transform, real, of a signal of which half is given, the rest being its conjugates."""
    return _to_real("hfft", input, n, dim, norm, inverse=False, last=1)


def ihfft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The inverse of hfft."""
    return _from_real("ihfft", input, n, dim, norm, inverse=True, last=1)


def hfft2(input: Tensor, s: Any = None, dim: Any = (-2, -1), norm: str | None = None) -> Tensor:
    """hfft along the last of two dimensions, fft along the other."""
    return _to_real("hfft2", input, s, dim, norm, inverse=False, last=2)


def ihfft2(input: Tensor, s: Any = None, dim: Any = (-2, -1), norm: str | None = None) -> Tensor:
    """The inverse of hfft2."""
    return _from_real("ihfft2", input, s, dim, norm, inverse=True, last=2)


def hfftn(input: Tensor, s: Any = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """hfft along the last of several dimensions, fft along the others."""
    return _to_real("hfftn", input, s, dim, norm, inverse=False, last=None)


def ihfftn(input: Tensor, s: Any = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """The inverse of hfftn."""
    return _from_real("ihfftn", input, s, dim, norm, inverse=True, last=None)


def fftshift(input: Tensor, dim: Any = None) -> Tensor:
    """The frequencies in ascending order, zero in the middle."""
    dims = _all_dims(input, dim)
    return roll(input, [input.shape[d] // 2 for d in dims], dims)


def ifftshift(input: Tensor, dim: Any = None) -> Tensor:
    """The inverse of fftshift."""
    dims = _all_dims(input, dim)
    return roll(input, [-(input.shape[d] // 2) for d in dims], dims)


def _all_dims(input: Tensor, dim: Any) -> list[int]:
    return list(range(input.ndim)) if dim is None else [dim] if isinstance(dim, int) else list(dim)


def fftfreq(n: int, d: float = 1.0, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """The frequencies of fft's results, for samples d apart."""
    return _frequencies(np.fft.fftfreq(n, d), dtype, device, requires_grad)


def rfftfreq(n: int, d: float = 1.0, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """The frequencies of rfft's results, for samples d apart."""
    return _frequencies(np.fft.rfftfreq(n, d), dtype, device, requires_grad)


def _frequencies(values: Any, dtype: Any, device: Any, requires_grad: bool) -> Tensor:
    dtype = dtypes.get_default_dtype() if dtype is None else dtype
    t = wrap(values.astype(dtypes.as_array_dtype(dtype)))
    return t.to(device or "cpu").requires_grad_(requires_grad)
