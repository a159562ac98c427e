"""Discrete Fourier transforms as operations: sums over frequencies without any factor in front.

The matrix of the transform is symmetric, F[j, k] = e^(-2πi jk/n), so the rule of each transform is that transform again.
What minidl.fft adds to this are lengths, norms and names.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd.op import Op
from ..kernels import array_module
from ..testing.samples import Sample, samples


def _complex_of(dtype: Any) -> Any:
    return np.result_type(dtype, np.complex64)


def _real_of(dtype: Any) -> Any:
    return np.empty(0, dtype).real.dtype


class FFT(Op):
    """y_j = sum over k of x_k e^(-2πi jk/n) along each of `axes`, of complex x; with + instead of - if `inverse`."""

    complex_rule = True

    def forward(self, x: Any, *, axes: tuple[int, ...], inverse: bool) -> Any:
        self.axes, self.inverse = axes, inverse
        fft = array_module(x).fft
        # norm="forward" puts the 1/n of the pair into the other direction
        out = fft.ifftn(x, axes=axes, norm="forward") if inverse else fft.fftn(x, axes=axes)
        return out.astype(x.dtype, copy=False)

    def backward(self, g: Any) -> Any:
        return FFT.apply(g, axes=self.axes, inverse=self.inverse)


class RFFT(Op):
    """The frequencies 0 to n // 2 of real x along one axis: the others are their conjugates."""

    complex_rule = True

    def forward(self, x: Any, *, axis: int) -> Any:
        self.axis, self.n = axis, x.shape[axis]
        return array_module(x).fft.rfft(x, axis=axis).astype(_complex_of(x.dtype), copy=False)

    def backward(self, g: Any) -> Any:
        # Re(sum over j of g_j e^(-2πi jk/n)): the inverse transform of the spectrum whose halves are both conj(g) / 2
        return IRFFT.apply(_scaled_ends(g.conj(), self.axis, self.n, 0.5), axis=self.axis, n=self.n)


class IRFFT(Op):
    """The n real numbers x_k = sum over all frequencies of y_j e^(2πi jk/n), of which y has those from 0 to n // 2."""

    complex_rule = True

    def forward(self, y: Any, *, axis: int, n: int) -> Any:
        self.axis, self.n = axis, n
        return array_module(y).fft.irfft(y, n, axis=axis, norm="forward").astype(_real_of(y.dtype), copy=False)

    def backward(self, g: Any) -> Any:
        return _scaled_ends(RFFT.apply(g, axis=self.axis).conj(), self.axis, self.n, 2.0)


def _scaled_ends(y: Any, axis: int, n: int, factor: float) -> Any:
    """Half a spectrum with the frequencies that have a conjugate twin (not 0, nor n / 2) multiplied by `factor`."""
    array = getattr(y, "array", y)
    scale = array_module(array).full(array.shape[axis], factor, _real_of(array.dtype))
    scale[0] = 1
    if n % 2 == 0:
        scale[-1] = 1
    return y * scale.reshape([-1 if d == axis % array.ndim else 1 for d in range(array.ndim)])


@samples(FFT)
def _(make: Any) -> Any:
    yield Sample(make.complex(5), axes=(0,), inverse=False)
    yield Sample(make.complex(2, 3, 4), axes=(0, 2), inverse=True)


@samples(RFFT)
def _(make: Any) -> Any:
    yield Sample(make(2, 5), axis=1)
    yield Sample(make(4, 2), axis=0)
    yield Sample(make(1), axis=0, note="one number")


@samples(IRFFT)
def _(make: Any) -> Any:
    yield Sample(make.complex(2, 3), axis=1, n=5)
    yield Sample(make.complex(3, 2), axis=0, n=4)


__all__: list[str] = []  # minidl.fft has the functions
