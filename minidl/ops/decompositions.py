"""Factorizations of matrices into triangular and orthogonal ones: Cholesky, LU, QR.

Functions whose older form in PyTorch differs from the one in torch.linalg are called linalg_... here, as inside PyTorch.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd.op import Op, wrap
from ..devices import CPU, move, of_array
from ..kernels import array_module
from ..tensor import Tensor, method
from ..testing.samples import Sample, samples
from .define import result_type
from .joining import cat
from .linalg import Tril, Triu
from .selection import where
from .solving import (
    LinAlgError,
    SolveTriangular,
    adjoint_of,
    check_matrices,
    eye_like,
    first_refused,
    lu_factors,
    matrix_at,
    or_zeros,
    solve_triangular,
    strict,
    transposed,
)

CHOLESKY = result_type("linalg_cholesky_ex", "L", "info")
LU_FACTOR = result_type("linalg_lu_factor", "LU", "pivots")
LU_FACTOR_EX = result_type("linalg_lu_factor_ex", "LU", "pivots", "info")
PLU = result_type("linalg_lu", "P", "L", "U")
QR_ = result_type("linalg_qr", "Q", "R")
GEQRF = result_type("geqrf", "a", "tau")
OLD_QR = result_type("qr", "Q", "R")


def _solve(a: Any, b: Any, upper: bool) -> Any:
    """a⁻¹ b for triangular a."""
    return SolveTriangular.apply(a, b, upper=upper, unit=False)


def _solve_from_right(a: Any, b: Any, upper: bool) -> Any:
    """b a⁻¹ for triangular a."""
    return transposed(_solve(transposed(a), transposed(b), not upper))


def _halved_diagonal(x: Any) -> Any:
    """A constant that halves the diagonal of a square x."""
    raw = getattr(x, "array", x)
    return 1 - eye_like(raw, raw.shape[-1]) / 2


# ---------------------------------------------------------------------------------------------------------------------
# Cholesky


class Cholesky(Op):
    """The lower triangular L with L Lᵀ = x; only the lower triangle of x is read.

    Gradient: Murray 2016, 'Differentiation of the Cholesky decomposition', equation 10. As x is symmetric, so is the gradient.
    """

    def forward(self, x: Any) -> Any:
        factor = array_module(x).linalg.cholesky
        with strict(x):
            try:
                return factor(x)
            except np.linalg.LinAlgError:
                raise LinAlgError(
                    f"linalg.cholesky: {first_refused(factor, x)} is not positive-definite; check that it is symmetric, or "
                    "add a small multiple of the identity"
                ) from None

    def backward(self, g: Any, out: Any) -> Any:
        back = transposed(out)
        middle = Tril.apply(back @ g, diagonal=0) * _halved_diagonal(g)
        half = _solve(back, _solve_from_right(out, middle, upper=False), upper=True)
        return (half + transposed(half)) * 0.5


@samples(Cholesky)
def _(make: Any) -> Any:
    # finite differences along directions that are not symmetric do not see the gradient of a symmetric matrix
    yield Sample(np.array([[4.0, 1.0], [1.0, 3.0]]), smooth=False)
    root = make(2, 3, 3)
    yield Sample(root @ root.swapaxes(1, 2) + np.eye(3), note="a batch", smooth=False)


@method()
def cholesky(A: Tensor, upper: bool = False) -> Tensor:
    """The lower triangular L with L Lᵀ = A for each symmetric positive-definite matrix; with `upper`, U = Lᵀ.

    Only one triangle of A is read. Raises LinAlgError for a matrix that is not positive-definite.

    Example:
        >>> minidl.linalg.cholesky(minidl.tensor([[4.0, 2.0], [2.0, 2.0]]))
        tensor([[2., 0.],
                [1., 1.]])
    """
    check_matrices("linalg.cholesky", A, square=True)
    return adjoint_of(Cholesky.apply(adjoint_of(A))) if upper else Cholesky.apply(A)


def cholesky_ex(A: Tensor, *, upper: bool = False, check_errors: bool = False) -> Any:
    """(L, info): like cholesky(), but a matrix that is not positive-definite gives NaN and info > 0 instead of an error.

    info is the order of the first leading minor that is not positive.
    """
    check_matrices("linalg.cholesky_ex", A, square=True)
    info: Any = np.zeros(A.shape[:-2], np.int32)
    try:
        return CHOLESKY(cholesky(A, upper), wrap(move(info, A.device)))
    except LinAlgError:
        if check_errors:
            raise
    from scipy.linalg.lapack import get_lapack_funcs

    matrices = move(A.array, CPU)
    (potrf,) = get_lapack_funcs(("potrf",), (matrices,))
    for index in np.ndindex(info.shape):
        info[index] = potrf(matrices[index], lower=not upper)[1]
    info = move(info, A.device)
    failed = (info > 0)[..., None, None]
    factors = cholesky(where(failed, eye_like(A, A.shape[-1]), A), upper)
    return CHOLESKY(where(failed, np.nan, factors), wrap(info))


# ---------------------------------------------------------------------------------------------------------------------
# LU


class LUFactor(Op):
    """L and U of each matrix in one array, the row swaps counted from 1, and LAPACK's info.

    Gradient: the square part after de Hoog, Anderssen and Lukas 2011, 'Differentiation of matrix functionals using
    triangular factorization'; columns or rows beyond it are L⁻¹ A or A U⁻¹.
    """

    several = True

    def forward(self, x: Any) -> Any:
        packed, pivots, info = lu_factors(x)
        self.order = row_order(pivots, x.shape[-2])
        return packed, pivots, info

    def backward(self, g: Any, out: Any) -> Any:
        packed, dy = out[0], g[0]
        m, n = packed.shape[-2:]
        k, dtype = min(m, n), getattr(packed, "array", packed).dtype
        square, right, below = packed[..., :k, :k], packed[..., :k, k:], packed[..., k:, :k]
        lower_t = transposed(Tril.apply(square, diagonal=-1) + eye_like(packed, k))
        upper_t = transposed(Triu.apply(square, diagonal=0))
        d_right = _solve(lower_t, dy[..., :k, k:], upper=True)
        d_below = _solve_from_right(upper_t, dy[..., k:, :k], upper=False)
        d_lower = Tril.apply(dy[..., :k, :k] - d_right @ transposed(right), diagonal=-1)
        d_upper = Triu.apply(dy[..., :k, :k] - transposed(below) @ d_below, diagonal=0)
        middle = Tril.apply(lower_t @ d_lower, diagonal=-1) + Triu.apply(d_upper @ upper_t, diagonal=0)
        d_square = _solve_from_right(upper_t, _solve(lower_t, middle, upper=True), upper=False)
        swapped = cat([d_square, d_right], -1) if n > k else cat([d_square, d_below], -2)
        return permutation(self.order, dtype) @ swapped


@samples(LUFactor)
def _(make: Any) -> Any:
    yield Sample(make(3, 3))
    yield Sample(make(2, 2, 3), note="wide")
    yield Sample(make(4, 2), note="tall")
    yield Sample(make(2, 0, 3), note="no rows")


def row_order(pivots: Any, m: int) -> Any:
    """The rows of A in the order in which L U has them, from LAPACK's successive swaps: (..., m), computed on the CPU."""
    order = np.broadcast_to(np.arange(m), (*pivots.shape[:-1], m)).copy()
    swaps = move(pivots, CPU)
    for j in range(pivots.shape[-1]):
        other = swaps[..., j : j + 1] - 1
        moved = np.take_along_axis(order, other, -1)
        np.put_along_axis(order, other, order[..., j : j + 1].copy(), -1)
        order[..., j : j + 1] = moved
    return move(order, of_array(pivots))


def permutation(order: Any, dtype: Any) -> Any:
    """P with A = P L U."""
    return (array_module(order).arange(order.shape[-1])[:, None] == order[..., None, :]).astype(dtype)


def lu_factor_ex(A: Tensor, *, pivot: bool = True, check_errors: bool = False) -> Any:
    """(LU, pivots, info): lu_factor() and, for each matrix, 0 or the first place at which U's diagonal is zero."""
    check_matrices("linalg.lu_factor", A)
    if not pivot:
        raise RuntimeError("linalg.lu_factor: LU without pivoting is not implemented on the CPU; use pivot=True")
    packed, pivots, info = LUFactor.apply(A)
    if check_errors and info.array.any():
        which = matrix_at(np.argwhere(move(info.array, CPU))[0].tolist())
        raise LinAlgError(f"linalg.lu_factor: U of {which} has a zero on its diagonal; check_errors=False allows it")
    return LU_FACTOR_EX(packed, pivots, info)


def lu_factor(A: Tensor, *, pivot: bool = True) -> Any:
    """(LU, pivots): L below the diagonal (its ones left out) and U in one array, and the row swaps counted from 1."""
    return LU_FACTOR(*lu_factor_ex(A, pivot=pivot)[:2])


@method()
def lu(A: Tensor, pivot: bool = True, get_infos: bool = False) -> Any:
    """(LU, pivots), or (LU, pivots, infos): the older form of linalg.lu_factor."""
    packed, pivots, info = lu_factor_ex(A, pivot=pivot)
    return (packed, pivots, info) if get_infos else (packed, pivots)


def lu_unpack(LU_data: Tensor, LU_pivots: Tensor, unpack_data: bool = True, unpack_pivots: bool = True) -> Any:
    """(P, L, U) with A = P L U, from what lu_factor() returned; empty tensors for what is not asked for."""
    m, n = LU_data.shape[-2:]
    k, dtype = min(m, n), LU_data.array.dtype
    P = L = U = wrap(array_module(LU_data.array).zeros(0, dtype))
    if unpack_pivots:
        P = wrap(permutation(row_order(LU_pivots.array, m), dtype))
    if unpack_data:
        L = LU_data[..., :, :k].tril(-1) + eye_like(LU_data, m, k)
        U = LU_data[..., :k, :].triu()
    return PLU(P, L, U)


def linalg_lu(A: Tensor, *, pivot: bool = True) -> Any:
    """(P, L, U) with A = P L U: a permutation, a lower triangle with ones on its diagonal, an upper triangle.

    Example:
        >>> P, L, U = minidl.linalg.lu(A)
        >>> minidl.allclose(P @ L @ U, A)
        True
    """
    return lu_unpack(*lu_factor(A, pivot=pivot))


def linalg_lu_solve(LU: Tensor, pivots: Tensor, B: Tensor, *, left: bool = True, adjoint: bool = False) -> Tensor:
    """X with A X = B (left) or X A = B, for A given by lu_factor(); with `adjoint`, Aᴴ in A's place."""
    check_matrices("linalg.lu_solve", LU, square=True)
    if not left:
        return adjoint_of(linalg_lu_solve(LU, pivots, adjoint_of(B), adjoint=not adjoint))
    P = permutation(row_order(pivots.array, LU.shape[-1]), LU.array.dtype)
    if not adjoint:
        y = solve_triangular(LU, wrap(P.swapaxes(-1, -2)) @ B, upper=False, unitriangular=True)
        return solve_triangular(LU, y, upper=True)
    y = solve_triangular(adjoint_of(LU), B, upper=False)
    return wrap(P) @ solve_triangular(adjoint_of(LU), y, upper=True, unitriangular=True)


@method()
def lu_solve(b: Tensor, LU_data: Tensor, LU_pivots: Tensor) -> Tensor:
    """X with A X = b, for A given by lu_factor(); the older form of linalg.lu_solve."""
    return linalg_lu_solve(LU_data, LU_pivots, b)


# ---------------------------------------------------------------------------------------------------------------------
# QR


class QR(Op):
    """Q with orthonormal columns and the upper triangle R with Q R = x.

    Gradient: Walter and Lehmann 2012, 'Algorithmic differentiation of linear algebra functions'; columns beyond the square
    part of R are Qᵀ A.
    """

    several = True

    def forward(self, x: Any, *, complete: bool) -> Any:
        self.unique = not complete or x.shape[-2] <= x.shape[-1]
        return tuple(array_module(x).linalg.qr(x, "complete" if complete else "reduced"))

    def backward(self, g: Any, out: Any) -> Any:
        if not self.unique:
            raise RuntimeError(
                "linalg.qr: the complete decomposition of a matrix with more rows than columns is not differentiable, as the "
                "last columns of Q are arbitrary; use mode='reduced'"
            )
        (Q, R), dQ, dR = out, or_zeros(g[0], out[0]), or_zeros(g[1], out[1])
        k = R.shape[-2]
        d_right = dR[..., :, k:]
        dQ = dQ + Q @ R[..., :, k:] @ transposed(d_right)
        square, d_square = R[..., :, :k], dR[..., :, :k]
        upper = Triu.apply(d_square @ transposed(square) - transposed(Q) @ dQ, diagonal=0) * _halved_diagonal(square)
        left = _solve_from_right(transposed(square), dQ + Q @ (upper + transposed(upper)), upper=False)
        return cat([left, Q @ d_right], -1)


@samples(QR)
def _(make: Any) -> Any:
    yield Sample(make(4, 3), complete=False, unique=False)
    yield Sample(make(2, 3, 3), complete=True, note="square", unique=False)
    yield Sample(make(2, 4), complete=False, note="wide", unique=False)
    yield Sample(make(3, 0), complete=True, note="no columns", smooth=False, unique=False)


def linalg_qr(A: Tensor, mode: str = "reduced") -> Any:
    """(Q, R) with Q R = A, Q (..., M, K) orthonormal, R (..., K, N) upper triangular, K = min(M, N).

    mode: "complete" makes Q square; "r" leaves Q empty.
    """
    if mode not in ("reduced", "complete", "r"):
        raise RuntimeError(f"linalg.qr: mode must be 'reduced', 'complete' or 'r', got {mode!r}")
    check_matrices("linalg.qr", A)
    Q, R = QR.apply(A, complete=mode == "complete")
    return QR_(wrap(array_module(A.array).zeros(0, A.array.dtype)) if mode == "r" else Q, R)


@method()
def qr(input: Tensor, some: bool = True) -> Any:
    """(Q, R), reduced or, without `some`, complete; the older form of linalg.qr."""
    return OLD_QR(*linalg_qr(input, "reduced" if some else "complete"))


@method("orgqr")
def householder_product(A: Tensor, tau: Tensor) -> Tensor:
    """The first N columns of H_1 H_2 ..., for H_i = 1 - tau_i v vᵀ with v the i-th column of A (..., M, N) below a 1.

    A and tau (..., K) are what LAPACK's QR leaves: the product is Q.
    """
    check_matrices("linalg.householder_product", A)
    m, n = A.shape[-2:]
    if n > m or tau.shape[-1] > n:
        raise RuntimeError(
            f"linalg.householder_product: A needs at least as many rows as columns, and tau at most as many elements as "
            f"A has columns; got {list(A.shape)} and {list(tau.shape)}"
        )
    eye = eye_like(A, m, n)
    vectors = A.tril(-1) + eye
    product = A * 0.0 + eye  # in the graph of A even where there is no reflection
    for i in reversed(range(tau.shape[-1])):
        v = vectors[..., i : i + 1]
        product = product - tau[..., i : i + 1].unsqueeze(-1) * v @ (adjoint_of(v) @ product)
    return product


orgqr = householder_product


@method()
def geqrf(input: Tensor) -> Any:
    """(a, tau): R on and above the diagonal of a (..., M, N), and below it the vectors whose householder_product is Q.

    LAPACK's form of the QR decomposition; it has no gradient, use linalg.qr for one.
    """
    check_matrices("geqrf", input)
    a, tau = array_module(input.array).linalg.qr(input.array, mode="raw")
    return GEQRF(wrap(transposed(a)), wrap(tau))


@method()
def ormqr(input: Tensor, tau: Tensor, other: Tensor, left: bool = True, transpose: bool = False) -> Tensor:
    """Q other, or other Q without `left`, for the square Q that geqrf describes by `input` (..., M, K) and `tau`."""
    check_matrices("ormqr", input)
    m, k = input.shape[-2], tau.shape[-1]
    if k > min(input.shape[-2:]) or other.shape[-2 if left else -1] != m:
        raise RuntimeError(
            f"ormqr: expected input (..., M, N), tau (..., K) with K at most M and N, and other with M "
            f"{'rows' if left else 'columns'}; got {list(input.shape)}, {list(tau.shape)} and {list(other.shape)}"
        )
    vectors = input[..., :k]
    Q = householder_product(cat([vectors, vectors.new_zeros(*input.shape[:-1], m - k)], -1), tau)
    Q = adjoint_of(Q) if transpose else Q
    return Q @ other if left else other @ Q


__all__ = ["cholesky", "geqrf", "lu", "lu_solve", "lu_unpack", "orgqr", "ormqr", "qr"]
