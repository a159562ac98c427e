"""Window functions: factors that let a piece of a signal begin and end softly.

The functions of `torch.signal.windows` take the number of points M and are symmetric, or with sym=False one period of M
points. The older ones of `torch` itself, hann_window and the like, are in ops/signal.py and periodic unless told otherwise.
Source of the cosine sums: Harris, "On the use of windows for harmonic analysis with the discrete Fourier transform", 1978.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..ops.creation import tensor
from ..tensor import Tensor


def _made(name: str, M: int, sym: bool, options: dict[str, Any], values: Any) -> Tensor:
    """values(k, n), for k = 0 ... n - 1 the points of a symmetric window, as a tensor; a period leaves out the last."""
    dtype = options.pop("dtype", None) or dtypes.get_default_dtype()
    unknown = set(options) - {"device", "layout", "requires_grad", "pin_memory"}
    if unknown:
        raise TypeError(f"{name}: unexpected argument {', '.join(sorted(unknown))}")
    if not isinstance(M, (int, np.integer)) or M < 0:
        raise ValueError(f"{name}: the number of points must be a non-negative integer, got {M}")
    if dtype not in (dtypes.float32, dtypes.float64):
        raise ValueError(f"{name} expects float32 or float64 dtypes, got: {dtype}; convert the window with to()")
    layout = options.pop("layout", None)
    if layout is not None and repr(layout) != "torch.strided":
        raise ValueError(f"{name} is implemented for strided tensors only, got: {layout}")
    n = M if sym else M + 1
    points = np.ones(M) if M <= 1 else np.asarray(values(np.arange(n), n), np.float64)[:M]
    return tensor(points, dtype=dtype, **options)


def general_cosine(M: int, *, a: Sequence[float], sym: bool = True, **options: Any) -> Tensor:
    """The sum over i of (-1)^i a_i cos(2πi k / (M - 1))."""
    if not len(a):
        raise ValueError("general_cosine: coefficients `a` must not be empty")
    return _made("general_cosine", M, sym, options, lambda k, n: _cosines(k, n, a))


def _cosines(k: Any, n: int, a: Sequence[float]) -> Any:
    return sum((-1) ** i * c * np.cos(2 * np.pi * i * k / (n - 1)) for i, c in enumerate(a))


def general_hamming(M: int, *, alpha: float = 0.54, sym: bool = True, **options: Any) -> Tensor:
    """alpha - (1 - alpha) cos(2πk / (M - 1))."""
    return _made("general_hamming", M, sym, options, lambda k, n: _cosines(k, n, (alpha, 1 - alpha)))


def hamming(M: int, *, sym: bool = True, **options: Any) -> Tensor:
    """0.54 - 0.46 cos(2πk / (M - 1))."""
    return _made("hamming", M, sym, options, lambda k, n: _cosines(k, n, (0.54, 0.46)))


def hann(M: int, *, sym: bool = True, **options: Any) -> Tensor:
    """(1 - cos(2πk / (M - 1))) / 2.

    Example:
        >>> hann(5)
        tensor([0.0000, 0.5000, 1.0000, 0.5000, 0.0000])
    """
    return _made("hann", M, sym, options, lambda k, n: _cosines(k, n, (0.5, 0.5)))


def blackman(M: int, *, sym: bool = True, **options: Any) -> Tensor:
    """0.42 - 0.5 cos(2πk / (M - 1)) + 0.08 cos(4πk / (M - 1))."""
    return _made("blackman", M, sym, options, lambda k, n: _cosines(k, n, (0.42, 0.5, 0.08)))


def nuttall(M: int, *, sym: bool = True, **options: Any) -> Tensor:
    """The minimum 4-term cosine sum of Nuttall (1981)."""
    a = (0.3635819, 0.4891775, 0.1365995, 0.0106411)
    return _made("nuttall", M, sym, options, lambda k, n: _cosines(k, n, a))


def bartlett(M: int, *, sym: bool = True, **options: Any) -> Tensor:
    """A triangle from 0 to 1 and back."""
    return _made("bartlett", M, sym, options, lambda k, n: 1 - np.abs(2 * k / (n - 1) - 1))


def cosine(M: int, *, sym: bool = True, **options: Any) -> Tensor:
    """sin(π (k + 1/2) / M)."""
    return _made("cosine", M, sym, options, lambda k, n: np.sin(np.pi * (k + 0.5) / n))


def exponential(M: int, *, center: float | None = None, tau: float = 1.0, sym: bool = True, **options: Any) -> Tensor:
    """e^(-|k - center| / tau); the center is given only for sym=False."""
    if tau <= 0 or (sym and center is not None):
        raise ValueError(f"exponential: expected tau > 0, and center only with sym=False; got {tau} and {center}")
    return _made(
        "exponential", M, sym, options,
        lambda k, n: np.exp(-np.abs(k - ((n - 1) / 2 if center is None else center)) / tau),
    )  # fmt: skip


def gaussian(M: int, *, std: float = 1.0, sym: bool = True, **options: Any) -> Tensor:
    """e^(-((k - center) / std)² / 2)."""
    if std <= 0:
        raise ValueError(f"gaussian: std must be positive, got {std}")
    return _made("gaussian", M, sym, options, lambda k, n: np.exp(-0.5 * ((k - (n - 1) / 2) / std) ** 2))


def kaiser(M: int, *, beta: float = 12.0, sym: bool = True, **options: Any) -> Tensor:
    """I0(beta sqrt(1 - x²)) / I0(beta) for x from -1 to 1, with the Bessel function I0."""
    if beta < 0:
        raise ValueError(f"kaiser: beta must not be negative, got {beta}")

    def values(k: Any, n: int) -> Any:
        x = 2 * k / (n - 1) - 1
        return np.i0(beta * np.sqrt(np.maximum(1 - x * x, 0))) / np.i0(beta)

    return _made("kaiser", M, sym, options, values)


__all__ = [
    "bartlett", "blackman", "cosine", "exponential", "gaussian", "general_cosine", "general_hamming", "hamming", "hann",
    "kaiser", "nuttall",
]  # fmt: skip
