"""Complex numbers: parts, conjugates and angles.

What a rule gets and gives is g with dL = Re(sum of g dz), the conjugate of the gradient that users see (autograd/engine.py).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..autograd.op import Op
from ..kernels import array_module
from ..tensor import Tensor, method
from ..testing.samples import Sample, samples
from .conversion import cast
from .define import FloatOp, public
from .selection import where


class Real(Op):
    """The real part of a complex array: a view."""

    view = True
    complex_rule = True

    def forward(self, x: Any) -> Any:
        self.dtype = x.dtype
        return x.real

    def backward(self, g: Any) -> Any:
        return cast(g, self.dtype)


class Imag(Op):
    """The imaginary part of a complex array: a view."""

    view = True
    complex_rule = True

    def forward(self, x: Any) -> Any:
        self.dtype = x.dtype
        return x.imag

    def backward(self, g: Any) -> Any:
        return cast(g, self.dtype) * -1j


class ViewAsReal(Op):
    """A complex array as a real one with a last dimension of size 2: a view."""

    view = True
    complex_rule = True

    def forward(self, x: Any) -> Any:
        # not reshape(*x.shape, 2) of the view: for strided x that would copy
        return x[..., None].view(x.real.dtype)

    def backward(self, g: Any) -> Any:
        return ViewAsComplex.apply(g).conj()


class ViewAsComplex(Op):
    """A real array whose last dimension is (real part, imaginary part) as a complex one: a view if these lie side by side."""

    view = True
    complex_rule = True

    def forward(self, x: Any) -> Any:
        xp = array_module(x)
        if x.strides[-1] != x.itemsize or any(s % (2 * x.itemsize) for s in x.strides[:-1]):
            x = xp.ascontiguousarray(x)
        return x.view(np.result_type(x.dtype, np.complex64))[..., 0]

    def backward(self, g: Any) -> Any:
        return ViewAsReal.apply(g.conj())


class Conjugate(Op):
    complex_rule = True
    forward = np.conjugate

    def backward(self, g: Any) -> Any:
        return g.conj()


class Complex(Op):
    """x + iy."""

    complex_rule = True

    def forward(self, x: Any, y: Any) -> Any:
        xp = array_module(x)
        out = xp.empty(np.broadcast_shapes(x.shape, y.shape), np.result_type(x, np.complex64))
        out.real, out.imag = x, y
        return out

    def backward(self, g: Any) -> Any:
        return g.real, -g.imag


@samples(Real)
def _(make: Any) -> Any:
    yield Sample(make.complex(2, 3))


@samples(Imag)
def _(make: Any) -> Any:
    yield Sample(make.complex(2, 3))


@samples(ViewAsReal)
def _(make: Any) -> Any:
    yield Sample(make.complex(2, 3))
    yield Sample(make.complex(), note="without dimensions")


@samples(ViewAsComplex)
def _(make: Any) -> Any:
    yield Sample(make(3, 2))
    yield Sample(make(2), note="one number")


@samples(Conjugate)
def _(make: Any) -> Any:
    yield Sample(make.complex(2, 3))


@samples(Complex)
def _(make: Any) -> Any:
    yield Sample(make(2, 3), make(2, 3))
    yield Sample(make(2, 1), make(3), note="broadcasting")


class IsReal(Op):
    forward = staticmethod(np.isreal)  # a Python function: it would be bound


class Angle(FloatOp):
    """The angle of a complex number; of a real one 0, or pi if it is negative."""

    complex_rule = True

    @staticmethod
    def forward(x: Any) -> Any:
        xp = array_module(x)
        if x.dtype.kind == "c":
            return xp.angle(x)
        return xp.where(xp.isnan(x), x, math.pi * (x < 0)).astype(x.dtype)

    def backward(self, g: Any, x: Any) -> Any:
        if (x.array if isinstance(x, Tensor) else x).dtype.kind != "c":
            return g * 0.0
        square = (x * x.conj()).real  # the angle grows by dy = Im(conj(z) dz) / |z|^2
        return x.conj() * -1j * where(square == 0, 0.0, g / square)


@samples(Angle)
def _(make: Any) -> Any:
    yield Sample(np.array([-1.5, 0.5, 2.0]))
    yield Sample(make.complex(2, 3))


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


def view_as_complex(input: Tensor) -> Tensor:
    """A view of a real tensor (*, 2) of real and imaginary parts as a complex one (*).

    Raises RuntimeError where the last dimension is not of size 2 or the pairs do not lie side by side in memory.
    """
    a = input.array
    if a.dtype.kind != "f" or a.ndim == 0 or a.shape[-1] != 2:
        raise RuntimeError(
            f"view_as_complex: expected a float tensor whose last dimension is of size 2, got {input.dtype} of shape "
            f"{list(input.shape)}"
        )
    if a.strides[-1] != a.itemsize or any(s % (2 * a.itemsize) for s in a.strides[:-1]):
        raise RuntimeError(
            "view_as_complex: the last dimension must have stride 1 and the others strides divisible by 2, got "
            f"{input.stride()}; use input.contiguous()"
        )
    return ViewAsComplex.apply(input)


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


def complex(real: Tensor, imag: Tensor) -> Tensor:
    """The complex tensor real + i * imag, of two float tensors of one dtype.

    Example:
        >>> minidl.complex(minidl.tensor([1.0]), minidl.tensor([2.0]))
        tensor([1.+2.j])
    """
    _check_parts("complex", real, imag)
    return Complex.apply(real, imag)


def polar(abs: Tensor, angle: Tensor) -> Tensor:
    """The complex tensor abs * e^(i * angle), of two float tensors of one dtype."""
    _check_parts("polar", abs, angle)
    return Complex.apply(abs * angle.cos(), abs * angle.sin())


def _check_parts(name: str, x: Tensor, y: Tensor) -> None:
    if x.array.dtype != y.array.dtype or x.array.dtype not in (np.float32, np.float64):
        raise RuntimeError(f"{name}: expected two float32 or two float64 tensors, got {x.dtype} and {y.dtype}")


__all__ = [
    "angle", "complex", "conj", "conj_physical", "imag", "isreal", "polar", "real", "resolve_conj", "resolve_neg",
    "view_as_complex", "view_as_real",
]  # fmt: skip
