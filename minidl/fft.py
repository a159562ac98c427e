"""Discrete Fourier transforms, under the names of `torch.fft`: values only, since complex tensors have no gradients here."""

from __future__ import annotations

from typing import Any

import numpy as np

from .autograd.op import wrap
from .kernels import array_module
from .ops.rearrange import roll
from .tensor import Tensor


def _transform(name: str, input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    if input.requires_grad:
        raise RuntimeError(f"fft.{name}: complex tensors have no gradients here; use input.detach()")
    x = input.array
    out = getattr(array_module(x).fft, name)(x, *args, **kwargs)
    single = x.dtype in (np.float32, np.complex64)
    if single and out.dtype.kind in "cf":
        out = out.astype(np.complex64 if out.dtype.kind == "c" else np.float32)
    return wrap(out)


def fft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The transform along one dimension, cut or filled up with zeros to length n (Cooley & Tukey, 1965)."""
    return _transform("fft", input, n, dim, norm)


def ifft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The inverse of fft."""
    return _transform("ifft", input, n, dim, norm)


def rfft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The half of fft that a real input needs."""
    return _transform("rfft", input, n, dim, norm)


def irfft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The inverse of rfft: real."""
    return _transform("irfft", input, n, dim, norm)


def fft2(input: Tensor, s: Any = None, dim: Any = (-2, -1), norm: str | None = None) -> Tensor:
    """The transform along two dimensions."""
    return _transform("fft2", input, s, dim, norm)


def ifft2(input: Tensor, s: Any = None, dim: Any = (-2, -1), norm: str | None = None) -> Tensor:
    """The inverse of fft2."""
    return _transform("ifft2", input, s, dim, norm)


def fftn(input: Tensor, s: Any = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """The transform along several dimensions, by default all."""
    return _transform("fftn", input, s, dim, norm)


def ifftn(input: Tensor, s: Any = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """The inverse of fftn."""
    return _transform("ifftn", input, s, dim, norm)


def fftshift(input: Tensor, dim: Any = None) -> Tensor:
    """The frequencies in ascending order, zero in the middle."""
    dims = _dims(input, dim)
    return roll(input, [input.shape[d] // 2 for d in dims], dims)


def ifftshift(input: Tensor, dim: Any = None) -> Tensor:
    """The inverse of fftshift."""
    dims = _dims(input, dim)
    return roll(input, [-(input.shape[d] // 2) for d in dims], dims)


def _dims(input: Tensor, dim: Any) -> list[int]:
    return list(range(input.ndim)) if dim is None else [dim] if isinstance(dim, int) else list(dim)


def fftfreq(n: int, d: float = 1.0) -> Tensor:
    """The frequencies of fft's results, for samples d apart."""
    return wrap(np.fft.fftfreq(n, d).astype(np.float32))


def rfftfreq(n: int, d: float = 1.0) -> Tensor:
    """The frequencies of rfft's results, for samples d apart."""
    return wrap(np.fft.rfftfreq(n, d).astype(np.float32))
