"""Complex numbers: parts, conjugates and angles. They have no gradients in this engine; real tensors keep theirs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..autograd.grad_mode import grad_mode
from ..autograd.op import Op
from ..kernels import array_module
from ..tensor import Tensor, method
from ..testing.samples import Sample, samples
from .define import FloatOp, public
from .indexing import Fill


class Real(Op):
    """The real part of a complex array: a view."""

    view = True

    def forward(self, x: Any) -> Any:
        return x.real


class Imag(Op):
    """The imaginary part of a complex array: a view."""

    view = True

    def forward(self, x: Any) -> Any:
        return x.imag


class ViewAsReal(Op):
    """A complex array as a real one with a last dimension of size 2: a view."""

    view = True

    def forward(self, x: Any) -> Any:
        return x.view(x.real.dtype).reshape(*x.shape, 2)


class Conjugate(Op):
    forward = np.conjugate


class IsReal(Op):
    forward = np.isreal


class Angle(FloatOp):
    """The angle of a complex number; of a real one 0, or pi if it is negative."""

    @staticmethod
    def forward(x: Any) -> Any:
        xp = array_module(x)
        if x.dtype.kind == "c":
            return xp.angle(x)
        return xp.where(xp.isnan(x), x, math.pi * (x < 0)).astype(x.dtype)

    def backward(self, g: Any) -> Any:
        return Fill.apply(g, value=0)


@samples(Angle)
def _(make: Any) -> Any:
    yield Sample(np.array([-1.5, 0.5, 2.0]))


isreal = public(IsReal, "isreal", "Where the imaginary part is zero: everywhere, for a real tensor.", inplace=False)
angle = public(Angle, "angle", "The angle in radians of complex numbers; of real ones 0, or pi below 0.", inplace=False)


def real(input: Tensor) -> Tensor:
    """The real part, a view; a real tensor itself."""
    return Real.apply(input) if input.is_complex() else input


def imag(input: Tensor) -> Tensor:
    """The imaginary part of a complex tensor, a view."""
    if not input.is_complex():
        raise RuntimeError(f"imag is not implemented for tensors with non-complex dtypes, got {input.dtype}")
    return Imag.apply(input)


Tensor.real = property(real)  # type: ignore[attr-defined]
Tensor.imag = property(imag)  # type: ignore[attr-defined]


def view_as_real(input: Tensor) -> Tensor:
    """A view of a complex tensor (*) as a real one (*, 2) of real and imaginary parts."""
    if not input.is_complex():
        raise RuntimeError(f"view_as_real is only supported for complex tensors, got {input.dtype}")
    return ViewAsReal.apply(input)


@method()
def conj(input: Tensor) -> Tensor:
    """The complex conjugate; a real tensor itself."""
    return Conjugate.apply(input) if input.is_complex() else input


@method()
def conj_physical(input: Tensor) -> Tensor:
    """The complex conjugate; a copy of a real tensor."""
    return Conjugate.apply(input) if input.is_complex() else input.clone()


@method("resolve_conj", "resolve_neg")
def resolve_conj(input: Tensor) -> Tensor:
    """The tensor itself: here a conjugation or a negation is never put off."""
    return input


resolve_neg = resolve_conj


def _adjoint(input: Tensor) -> Tensor:
    """The conjugate of each matrix of a batch, transposed."""
    return conj(input).mT


def _matrix_adjoint(input: Tensor) -> Tensor:
    """The conjugate of a matrix, transposed."""
    if input.array.ndim not in (0, 2):
        raise RuntimeError(f"tensor.H is only supported on matrices (2-D tensors), got {input.ndim}-D tensor; use .mH")
    return conj(input).T


Tensor.mH = property(_adjoint)  # type: ignore[attr-defined]
Tensor.H = property(_matrix_adjoint)  # type: ignore[attr-defined]


class Complex(Op):
    """x + iy."""

    @staticmethod
    def forward(x: Any, y: Any) -> Any:
        xp = array_module(x)
        out = xp.empty(np.broadcast_shapes(x.shape, y.shape), np.result_type(x, np.complex64))
        out.real, out.imag = x, y
        return out


def complex(real: Tensor, imag: Tensor) -> Tensor:
    """The complex tensor real + i * imag, of two float tensors of one dtype. Raises if one of them requires grad.

    Example:
        >>> minidl.complex(minidl.tensor([1.0]), minidl.tensor([2.0]))
        tensor([1.+2.j])
    """
    _check_parts("complex", real, imag)
    return Complex.apply(real, imag)


def polar(abs: Tensor, angle: Tensor) -> Tensor:
    """The complex tensor abs * e^(i * angle). Raises if one of them requires grad."""
    _check_parts("polar", abs, angle)
    return Complex.apply(abs * angle.cos(), abs * angle.sin())


def _check_parts(name: str, x: Tensor, y: Tensor) -> None:
    if x.array.dtype != y.array.dtype or x.array.dtype not in (np.float32, np.float64):
        raise RuntimeError(f"{name}: expected two float32 or two float64 tensors, got {x.dtype} and {y.dtype}")
    if grad_mode.get() and (x.requires_grad or y.requires_grad):
        raise RuntimeError(
            f"{name}: the gradient of a complex result is not defined in this engine; work on real and imaginary parts, "
            "or call it under no_grad()"
        )


__all__ = [
    "angle", "complex", "conj", "conj_physical", "imag", "isreal", "polar", "real", "resolve_conj", "resolve_neg",
    "view_as_real",
]  # fmt: skip
