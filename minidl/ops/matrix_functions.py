"""Functions of whole matrices: determinants, powers, the exponential, norms."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from .. import dtypes
from ..autograd.op import Op
from ..kernels import array_module
from ..tensor import Tensor, method
from ..testing.samples import Sample, samples
from .conversion import cast
from .define import result_type
from .extremum import amax, amin
from .joining import cat
from .linalg import diagonal
from .reduction import norm, product_of_others
from .selection import where
from .shape import normalize_dim
from .solving import Inverse, check_matrices, eye_like, inv, inv_ex, transposed
from .spectral import SVD, svdvals

OLD_SLOGDET = result_type("slogdet", "sign", "logabsdet")
SLOGDET = result_type("linalg_slogdet", "sign", "logabsdet")

# ---------------------------------------------------------------------------------------------------------------------
# Determinants


class Det(Op):
    """The determinant. Its gradient is the matrix of cofactors: det(x) x⁻ᵀ, where x has an inverse."""

    def forward(self, x: Any) -> Any:
        return array_module(x).linalg.det(x)

    def backward(self, g: Any, x: Any, out: Any) -> Any:
        if (getattr(out, "array", out) == 0).any():
            return g[..., None, None] * _cofactors(x)
        return (g * out)[..., None, None] * transposed(Inverse.apply(x))


def _cofactors(x: Any) -> Any:
    """The cofactors of matrices that may be singular, from x = U diag(S) Vᵀ: det(U) det(V) U diag(products of others) Vᵀ."""
    U, S, Vt = SVD.apply(x, full_matrices=False)
    det = array_module(x).linalg.det
    signs = det(getattr(U, "array", U)) * det(getattr(Vt, "array", Vt))  # each 1 or -1: constant, whatever x does
    return (U * (product_of_others(S, S.ndim - 1) * signs[..., None])[..., None, :]) @ Vt


class SlogDet(Op):
    """The determinant's sign and the logarithm of its absolute value. Gradient of the latter: x⁻ᵀ."""

    several = True

    def forward(self, x: Any) -> Any:
        return tuple(array_module(x).linalg.slogdet(x))

    def backward(self, g: Any, x: Any) -> Any:
        return None if g[1] is None else g[1][..., None, None] * transposed(Inverse.apply(x))


@samples(Det)
def _(make: Any) -> Any:
    yield Sample(make(3, 3))
    yield Sample(make(2, 2, 2), note="a batch")
    yield Sample(np.diag([2.0, 3.0, 0.0]), note="singular")
    yield Sample(np.diag([2.0, 0.0, 0.0]), note="of rank two less than full", second_order=False)
    yield Sample(make(2, 0, 0), note="matrices of size 0")


@samples(SlogDet)
def _(make: Any) -> Any:
    yield Sample(make(3, 3) + 3 * np.eye(3))
    yield Sample(make(2, 1, 2, 2) - 3 * np.eye(2), note="a batch")


@method()
def det(A: Tensor) -> Tensor:
    """The determinant of each square matrix; its gradient is right for singular matrices too.

    Example:
        >>> minidl.linalg.det(minidl.tensor([[1.0, 2.0], [3.0, 4.0]]))
        tensor(-2.)
    """
    check_matrices("linalg.det", A, square=True)
    return Det.apply(A)


def linalg_slogdet(A: Tensor) -> Any:
    """(sign, logabsdet): the determinant is sign * exp(logabsdet), which neither overflows nor vanishes."""
    check_matrices("linalg.slogdet", A, square=True)
    return SLOGDET(*SlogDet.apply(A))


@method()
def slogdet(input: Tensor) -> Any:
    """(sign, logabsdet): the determinant is sign * exp(logabsdet), which neither overflows nor vanishes."""
    return OLD_SLOGDET(*linalg_slogdet(input))


@method()
def logdet(input: Tensor) -> Tensor:
    """The logarithm of the determinant: -inf where it is zero, NaN where it is negative."""
    sign, logabsdet = slogdet(input)
    return where(sign < 0, math.nan, logabsdet)


# ---------------------------------------------------------------------------------------------------------------------
# Powers and the exponential


@method()
def matrix_power(A: Tensor, n: int) -> Tensor:
    """Each square matrix to the power n, by repeated squaring; a negative n takes the inverse."""
    check_matrices("linalg.matrix_power", A, square=True, floating=False)
    if n < 0:
        return matrix_power(inv(A), -n)
    result = None
    while n:
        if n % 2:
            result = A if result is None else result @ A
        n //= 2
        if n:
            A = A @ A
    if result is None:  # in the graph, with a gradient of zero
        return A * 0.0 + eye_like(A, A.shape[-1])
    return result


class MatrixExp(Op):
    """The exponential 1 + x + x²/2 + ... of each matrix, in float64: repeated squaring multiplies rounding errors.

    Gradient: Najfeld and Havel 1995: the exponential of [[xᵀ, g], [0, xᵀ]] has it in its upper right block.
    """

    complex_rule = True

    def forward(self, x: Any) -> Any:
        xp, exact = array_module(x), x.astype(np.result_type(x.dtype, np.float64))
        if xp is np:
            from scipy.linalg import expm

            return expm(exact).astype(x.dtype)
        from cupyx.scipy.linalg import expm

        found = xp.empty_like(exact)
        for index in np.ndindex(x.shape[:-2]):  # CuPy's takes one matrix
            found[index] = expm(exact[index])
        return found.astype(x.dtype)

    def backward(self, g: Any, x: Any) -> Any:
        n, back = x.shape[-1], transposed(x)
        block = cat([cat([back, g], -1), cat([back * 0.0, back], -1)], -2)
        return MatrixExp.apply(block)[..., :n, n:]


@samples(MatrixExp)
def _(make: Any) -> Any:
    yield Sample(make(3, 3))
    yield Sample(make(2, 2, 2), note="a batch")


@method()
def matrix_exp(A: Tensor) -> Tensor:
    """The exponential of each square matrix: the sum of Aᵏ / k!."""
    check_matrices("linalg.matrix_exp", A, square=True)
    return MatrixExp.apply(A)


def multi_dot(tensors: Any) -> Tensor:
    """The product of several matrices, in the order that needs the fewest multiplications.

    The first and the last may be vectors. The order is found as in Cormen et al., 'Introduction to Algorithms', 14.2.
    """
    factors = list(tensors)
    if len(factors) < 2:
        raise RuntimeError(f"multi_dot(): expected at least 2 tensors but got {len(factors)}")
    first, last = factors[0].ndim == 1, factors[-1].ndim == 1
    factors[0] = factors[0].unsqueeze(0) if first else factors[0]
    factors[-1] = factors[-1].unsqueeze(1) if last else factors[-1]
    for i, x in enumerate(factors):
        if x.ndim != 2:
            raise RuntimeError(f"multi_dot(): tensor {i} must be 2D (the first and last may be 1D) but got {x.ndim}D")
    sizes = [x.shape[0] for x in factors] + [factors[-1].shape[1]]
    best: dict[tuple[int, int], tuple[int, int]] = {(i, i): (0, i) for i in range(len(factors))}
    for length, start in itertools.product(range(1, len(factors)), range(len(factors))):
        end = start + length
        if end < len(factors):  # the least cost of the product from start to end, and where to split it
            best[start, end] = min(
                (best[start, k][0] + best[k + 1, end][0] + sizes[start] * sizes[k + 1] * sizes[end + 1], k)
                for k in range(start, end)
            )

    def product(start: int, end: int) -> Any:
        if start == end:
            return factors[start]
        k = best[start, end][1]
        return product(start, k) @ product(k + 1, end)

    result = product(0, len(factors) - 1)
    result = result.squeeze(0) if first else result
    return result.squeeze(-1) if last else result


def chain_matmul(*matrices: Any) -> Tensor:
    """The product of several matrices; the older form of linalg.multi_dot."""
    tensors = matrices[0] if len(matrices) == 1 and isinstance(matrices[0], (list, tuple)) else matrices
    return tensors[0] if len(tensors) == 1 else multi_dot(tensors)


# ---------------------------------------------------------------------------------------------------------------------
# Norms, condition


def vector_norm(
    x: Tensor, ord: float = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None
) -> Tensor:  # fmt: skip
    """(sum |x|^ord)^(1/ord) over all elements or along `dim`; ord may be inf, -inf or 0 (how many are not zero)."""
    return norm(x, ord, dim, keepdim, dtype)


def matrix_norm(
    A: Tensor, ord: Any = "fro", dim: Any = (-2, -1), keepdim: bool = False, *, dtype: Any = None
) -> Tensor:  # fmt: skip
    """A norm of each matrix in the dimensions `dim`.

    ord: "fro" (Euclidean); "nuc", 2, -2: the sum, the largest, the smallest of the singular values; 1, -1: the largest,
    the smallest sum of a column; inf, -inf: of a row.
    """
    if dtype is not None:
        A = cast(A, dtypes.as_array_dtype(dtype))
    check_matrices("linalg.matrix_norm", A)
    dims = tuple(normalize_dim(d, A.ndim, "linalg.matrix_norm") for d in dim)
    if len(set(dims)) < 2 or len(dims) > 2:
        raise RuntimeError(f"linalg.matrix_norm: dim must be two different dimensions. Got {tuple(dim)}")
    if ord == "fro":
        return norm(A, 2, dims, keepdim)
    if ord not in ("nuc", 1, -1, 2, -2, math.inf, -math.inf):
        raise RuntimeError(f"linalg.matrix_norm: Order {ord} not supported; use fro, nuc, 1, -1, 2, -2, inf or -inf")
    A = A.movedim(dims, (-2, -1))
    if ord in ("nuc", 2, -2):
        values = svdvals(A)
    else:
        values = A.abs().sum(-2 if ord in (1, -1) else -1)
    if ord == "nuc" or (ord > 0 and not values.shape[-1]):  # the largest of no values is 0
        result = values.sum(-1)
    else:
        result = (amax if ord > 0 else amin)(values, -1)
    if keepdim:
        for d in sorted(dims):
            result = result.unsqueeze(d)
    return result


def linalg_norm(
    A: Tensor, ord: Any = None, dim: Any = None, keepdim: bool = False, *, dtype: Any = None
) -> Tensor:  # fmt: skip
    """vector_norm() along one dimension or of everything, matrix_norm() in two dimensions or, given `ord`, of a matrix."""
    if ord is None:
        return vector_norm(A, 2, dim, keepdim, dtype=dtype)
    if dim is None and A.ndim not in (1, 2):
        raise RuntimeError(
            f"linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. Got {A.ndim}D; give dim"
        )
    dims = tuple(range(A.ndim)) if dim is None else (dim,) if isinstance(dim, int) else tuple(dim)
    if len(dims) == 1 and not isinstance(ord, str):
        return vector_norm(A, ord, dims, keepdim, dtype=dtype)
    return matrix_norm(A, ord, dims, keepdim, dtype=dtype)


def cond(A: Tensor, p: Any = None) -> Tensor:
    """The condition number: how much an error of the input can grow; infinite for a singular matrix.

    p: the norm, as in matrix_norm(); None and 2 divide the largest by the smallest singular value.
    """
    check_matrices("linalg.cond", A, square=p not in (None, 2, -2))
    if not A.numel():
        return svdvals(A).sum(-1)  # 0
    if p in (None, 2, -2):
        s = svdvals(A)
        return s[..., -1] / s[..., 0] if p == -2 else s[..., 0] / s[..., -1]
    inverted, info = inv_ex(A)
    result = matrix_norm(A, p) * matrix_norm(inverted, p)
    return where(info.array > 0, math.inf, result)


# ---------------------------------------------------------------------------------------------------------------------
# Views of matrices


def linalg_diagonal(A: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """The diagonal of each matrix, as a view with it as the last dimension."""
    return diagonal(A, offset, dim1, dim2)


@method()
def adjoint(input: Tensor) -> Tensor:
    """Each matrix transposed and, if complex, conjugated: input.mH."""
    return input.mH


__all__ = ["adjoint", "chain_matmul", "det", "logdet", "matrix_exp", "matrix_power", "slogdet"]
