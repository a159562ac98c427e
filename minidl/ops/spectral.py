"""Eigenvalues and singular values, and what they give: pseudo-inverses, least squares, rank.

Eigenvectors and singular vectors are defined up to their sign, and up to a rotation where values are equal. A gradient
through them means something only for functions that do not depend on that choice, such as V f(λ) Vᵀ; where values are
equal it is infinite or NaN, as in PyTorch. Functions of the values alone are not affected.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd.op import Op, as_array, wrap
from ..kernels import array_module
from ..tensor import Tensor, method
from ..testing.samples import Sample, samples
from .conversion import cast
from .decompositions import linalg_qr
from .define import result_type
from .random import randn
from .selection import where
from .solving import Inverse, adjoint_of, check_matrices, eye_like, is_vector, or_zeros, transposed

EIG = result_type("linalg_eig", "eigenvalues", "eigenvectors")
EIGH = result_type("linalg_eigh", "eigenvalues", "eigenvectors")
SVD_ = result_type("linalg_svd", "U", "S", "Vh")
OLD_SVD = result_type("svd", "U", "S", "V")
LSTSQ = result_type("linalg_lstsq", "solution", "residuals", "rank", "singular_values")


# ---------------------------------------------------------------------------------------------------------------------
# Eigenvalues


class Eigh(Op):
    """Eigenvalues in ascending order and eigenvectors of symmetric matrices; only one triangle of x is read.

    Gradient: Giles 2008, 'Collected matrix derivative results', 3.1.
    """

    several = True

    def forward(self, x: Any, *, upper: bool) -> Any:
        return tuple(array_module(x).linalg.eigh(x, "U" if upper else "L"))

    def backward(self, g: Any, out: Any) -> Any:
        (values, V), (d_values, dV) = out, g
        if dV is None:
            return V * d_values[..., None, :] @ transposed(V)
        eye = eye_like(V, V.shape[-1])
        gaps = values[..., None, :] - values[..., :, None] + eye
        middle = (transposed(V) @ dV) * (1 - eye) / gaps
        if d_values is not None:
            middle = middle + d_values[..., None, :] * eye
        return V @ middle @ transposed(V)


@samples(Eigh)
def _(make: Any) -> Any:
    # finite differences along directions that are not symmetric do not see the gradient of a symmetric matrix
    yield Sample(np.array([[2.0, 1.0], [1.0, -1.0]]), upper=False, smooth=False, unique=False)
    yield Sample(
        make(2, 3, 3), upper=True, note="a batch, of which the upper triangles are read", smooth=False, unique=False
    )


class Eig(Op):
    """Eigenvalues and eigenvectors (of length 1) of general matrices: complex.

    With P = V⁻¹ dx V the values move by diag(P), and the vectors by V (F P) with F_ij = 1 / (λ_j - λ_i), less what would change
    their length. Gradient: Boeddeker et al. 2017, 'On the computation of complex-valued gradients ...', 4.
    """

    several = True
    complex_rule = True

    def forward(self, x: Any) -> Any:
        self.dtype = x.dtype
        values, vectors = array_module(x).linalg.eig(x)
        dtype = np.result_type(x.dtype, np.complex64)
        return values.astype(dtype), vectors.astype(dtype)

    def backward(self, g: Any, out: Any) -> Any:
        (values, V), (d_values, dV) = out, g
        eye = array_module(getattr(V, "array", V)).eye(V.shape[-1], dtype=getattr(V, "array", V).real.dtype)
        dP = 0.0 if d_values is None else d_values[..., None, :] * eye
        if dV is not None:
            gaps = values[..., None, :] - values[..., :, None] + eye
            overlap = transposed(V) @ dV
            longer = (overlap * eye).sum(-2).real[..., None, :]
            dP = dP + (overlap - transposed(V) @ V.conj() * longer) * (1 - eye) / gaps
        return cast(transposed(Inverse.apply(V)) @ dP @ transposed(V), self.dtype)


@samples(Eig)
def _(make: Any) -> Any:
    # finite differences see the free phases of the vectors; functions without them are checked in tests/test_linalg.py
    yield Sample(np.array([[0.0, -1.0], [1.0, 0.0]]), note="a rotation", smooth=False, unique=False)
    yield Sample(make(2, 3, 3), note="a batch", smooth=False, unique=False)


def eigh(A: Tensor, UPLO: str = "L") -> Any:
    """(eigenvalues, eigenvectors) of each symmetric matrix, in ascending order: A = V diag(λ) Vᵀ.

    Only one triangle of A is read, the lower by default. The gradient through eigenvectors needs distinct eigenvalues and a
    function that their signs do not change.

    Example:
        >>> minidl.linalg.eigh(minidl.tensor([[0.0, 1.0], [1.0, 0.0]])).eigenvalues
        tensor([-1.,  1.])
    """
    if UPLO not in ("L", "U", "l", "u"):
        raise RuntimeError(f"linalg.eigh: Expected UPLO argument to be 'L' or 'U', but got {UPLO!r}")
    check_matrices("linalg.eigh", A, square=True)
    return EIGH(*Eigh.apply(A, upper=UPLO in "Uu"))


def eigvalsh(A: Tensor, UPLO: str = "L") -> Tensor:
    """The eigenvalues of each symmetric matrix, in ascending order."""
    return eigh(A, UPLO).eigenvalues


def eig(A: Tensor) -> Any:
    """(eigenvalues, eigenvectors) of each square matrix, both complex, each vector of length 1.

    The gradient needs distinct eigenvalues and a function that the phases of the vectors do not change.
    """
    check_matrices("linalg.eig", A, square=True)
    return EIG(*Eig.apply(A))


def eigvals(A: Tensor) -> Tensor:
    """The eigenvalues of each square matrix, complex."""
    return eig(A).eigenvalues


# ---------------------------------------------------------------------------------------------------------------------
# Singular values


class SVD(Op):
    """U, S, Vᵀ with U diag(S) Vᵀ = x. Gradient: Townsend 2016, 'Differentiating the singular value decomposition'."""

    several = True

    def forward(self, x: Any, *, full_matrices: bool) -> Any:
        return tuple(array_module(x).linalg.svd(x, full_matrices))

    def backward(self, g: Any, out: Any) -> Any:
        k = out[1].shape[-1]  # of full matrices, only the first k vectors belong to singular values
        U, S, Vt = out[0][..., :k], out[1], out[2][..., :k, :]
        dU, dS, dVt = (or_zeros(d, like) for d, like in zip(g, out, strict=True))
        dS = dS[..., None, :]
        if g[0] is None and g[2] is None:
            return (U * dS) @ Vt
        dU, dVt, row, column = dU[..., :k], dVt[..., :k, :], S[..., None, :], S[..., :, None]
        eye = eye_like(S, k)
        gaps = (row - column) * (row + column) + eye
        from_u, from_v = transposed(U) @ dU, Vt @ transposed(dVt)
        middle = (from_u - transposed(from_u)) / gaps * row + column * (from_v - transposed(from_v)) / gaps + dS * eye
        result = U @ middle @ Vt
        if U.shape[-2] > k:
            result = result + ((dU - U @ from_u) / row) @ Vt
        if Vt.shape[-1] > k:
            result = result + U @ ((dVt - transposed(from_v) @ Vt) / column)
        return result


@samples(SVD)
def _(make: Any) -> Any:
    yield Sample(make(3, 3), full_matrices=False, unique=False)
    yield Sample(make(2, 4, 2), full_matrices=False, note="tall", unique=False)
    yield Sample(make(2, 3), full_matrices=True, note="the last rows of Vh are arbitrary", smooth=False, unique=False)
    yield Sample(make(0, 3), full_matrices=False, note="no rows", unique=False)


def linalg_svd(A: Tensor, full_matrices: bool = True, *, driver: str | None = None) -> Any:
    """(U, S, Vh) with A = U diag(S) Vh, the singular values S in descending order; see the note on signs in this file.

    A is (..., M, N), U (..., M, M) and Vh (..., N, N), or without `full_matrices` (..., M, K) and (..., K, N), K = min(M, N).
    The gradient of full matrices is that of their first K vectors. `driver` chooses a routine on a GPU; here it changes nothing.
    """
    check_matrices("linalg.svd", A)
    return SVD_(*SVD.apply(A, full_matrices=full_matrices))


@method()
def svd(input: Tensor, some: bool = True, compute_uv: bool = True) -> Any:
    """(U, S, V) with input = U diag(S) Vᵀ; the older form of linalg.svd: V, not its transpose, reduced by default."""
    U, S, Vh = linalg_svd(input, not some)
    if compute_uv:
        return OLD_SVD(U, S, adjoint_of(Vh))
    zeros = array_module(input.array).zeros
    left, right = (wrap(zeros((*S.shape[:-1], size, size), input.array.dtype)) for size in input.shape[-2:])
    return OLD_SVD(left, S, right)


def svdvals(A: Tensor, *, driver: str | None = None) -> Tensor:
    """The singular values of each matrix, in descending order."""
    return linalg_svd(A, full_matrices=False).S


# ---------------------------------------------------------------------------------------------------------------------
# Pseudo-inverses, least squares, rank


class Pinv(Op):
    """The Moore-Penrose inverse: singular values up to the cutoff count as zero.

    Gradient: Golub and Pereyra 1973, 'The differentiation of pseudo-inverses ...'; the rank is taken to stay what it is.
    """

    def forward(self, x: Any, *, atol: Any, rtol: Any, hermitian: bool) -> Any:
        xp = array_module(x)
        if hermitian:
            x = xp.tril(x) + adjoint_of(xp.tril(x, -1))
        u, s, vh = xp.linalg.svd(x, full_matrices=False)
        inverted = (s > cutoff(s, x.shape, atol, rtol)) / where(s == 0, 1.0, s)
        return (adjoint_of(vh) * inverted[..., None, :]) @ adjoint_of(u)

    def backward(self, g: Any, x: Any, out: Any) -> Any:
        pt, gt = transposed(out), transposed(g)
        g_pt = gt @ out @ pt  # gᵀ P Pᵀ, with P = out
        p_gt = pt @ out @ gt  # Pᵀ P gᵀ
        return -(pt @ g @ pt) + (g_pt - x @ out @ g_pt) + (p_gt - p_gt @ out @ x)


@samples(Pinv)
def _(make: Any) -> Any:
    yield Sample(make(4, 3), atol=None, rtol=None, hermitian=False)
    yield Sample(make(2, 2, 3), atol=None, rtol=None, hermitian=False, note="wide")
    yield Sample(np.diag([2.0, 1.0, 0.0]), atol=0.1, rtol=None, hermitian=True, note="singular", smooth=False)


def cutoff(s: Any, shape: tuple[int, ...], atol: Any, rtol: Any) -> Any:
    """The value from which a singular value counts as nonzero: max(atol, rtol * the largest), shape (..., 1)."""
    xp = array_module(s)
    atol, rtol = (None if t is None else xp.asarray(getattr(t, "array", t)) for t in (atol, rtol))
    if rtol is None:
        usual = max(shape[-2:]) * np.finfo(s.dtype).eps
        rtol = xp.asarray(usual) if atol is None else xp.where(atol > 0, 0.0, usual)
    largest = s.max(axis=-1) if s.shape[-1] else xp.zeros(s.shape[:-1], s.dtype)
    limit = rtol * largest if atol is None else xp.maximum(atol, rtol * largest)
    return limit[..., None]


def pinv(
    A: Tensor, rcond: Any = None, hermitian: bool = False, *, atol: Any = None, rtol: Any = None
) -> Tensor:  # fmt: skip
    """The Moore-Penrose inverse (..., N, M) of each matrix of A (..., M, N).

    Singular values up to max(atol, rtol * the largest) count as zero; rtol is max(M, N) * eps unless atol is given.
    `hermitian`: A is symmetric, and only its lower triangle is read.
    """
    check_matrices("linalg.pinv", A, square=hermitian)
    return Pinv.apply(A, atol=atol, rtol=rtol if rcond is None else rcond, hermitian=hermitian)


@method()
def pinverse(input: Tensor, rcond: float = 1e-15) -> Tensor:
    """The Moore-Penrose inverse; singular values up to rcond * the largest count as zero. See linalg.pinv."""
    return pinv(input, rcond)


def lstsq(A: Tensor, B: Tensor, rcond: float | None = None, *, driver: str | None = None) -> Any:
    """(solution, residuals, rank, singular_values): the X (..., N, K) of least norm that minimises |A X - B|.

    A is (..., M, N), B (..., M, K) or (..., M). As in PyTorch, which of the others are not empty depends on `driver`
    ("gelsy", the default, "gels", "gelsd", "gelss"); the numbers are computed in the same way for all of them.
    """
    check_matrices("linalg.lstsq", A)
    driver = driver or "gelsy"
    if driver not in ("gels", "gelsy", "gelsd", "gelss"):
        raise RuntimeError(f"linalg.lstsq: driver must be one of gels, gelsy, gelsd, gelss, got {driver!r}")
    if is_vector(A, B):
        solution, *others = lstsq(A, B.unsqueeze(-1), rcond, driver=driver)
        return LSTSQ(solution.squeeze(-1), *others)
    if A.array.dtype != B.array.dtype or B.ndim < 2 or A.shape[-2] != B.shape[-2]:
        raise RuntimeError(
            f"linalg.lstsq: input.size(-2) should match other.size(-2), with one dtype; got {list(A.shape)} ({A.dtype}) "
            f"and {list(B.shape)} ({B.dtype})"
        )
    solution = pinv(A, rcond) @ B
    xp = array_module(A.array)
    s = xp.linalg.svd(A.array, compute_uv=False)
    rank = (s > cutoff(s, A.shape, None, rcond)).sum(-1)
    residuals = wrap(xp.zeros(0, s.dtype))
    if A.shape[-2] > A.shape[-1] and driver != "gelsy" and (rank == A.shape[-1]).all():
        residuals = ((A @ solution - B) ** 2).sum(-2)
    no_rank, no_values = xp.zeros(0, np.int64), xp.zeros(0, s.dtype)
    return LSTSQ(
        solution, residuals, wrap(no_rank if driver == "gels" else as_array(rank)),
        wrap(s if driver in ("gelsd", "gelss") else no_values),
    )  # fmt: skip


def matrix_rank(
    A: Tensor, tol: Any = None, hermitian: bool = False, *, atol: Any = None, rtol: Any = None
) -> Tensor:  # fmt: skip
    """How many singular values exceed max(atol, rtol * the largest); rtol is max(M, N) * eps unless atol is given."""
    check_matrices("linalg.matrix_rank", A, square=hermitian)
    raw = A.array
    s = abs(eigvalsh(A.detach()).array) if hermitian else array_module(raw).linalg.svd(raw, compute_uv=False)
    atol, rtol = (tol, 0.0) if tol is not None else (atol, rtol)
    return wrap(as_array((s > cutoff(s, A.shape, atol, rtol)).sum(-1)))


def svd_lowrank(A: Tensor, q: int | None = 6, niter: int | None = 2, M: Tensor | None = None) -> Any:
    """(U, S, V) with U diag(S) Vᵀ near A - M of rank q, for A (..., M, N) and a broadcastable M; faster than svd for small q.

    niter: how often the products with A are repeated, which makes the larger singular values stand out.
    Source: Halko, Martinsson and Tropp, "Finding structure with randomness", 2011, algorithms 4.4 and 5.1.
    """
    check_matrices("svd_lowrank", A)
    rank, rows, columns = 6 if q is None else q, A.shape[-2], A.shape[-1]
    if not 0 <= rank <= min(rows, columns):
        raise ValueError(
            f"svd_lowrank: q(={q}) must be a non-negative integer and not greater than min{(rows, columns)}"
        )
    x = A if M is None else A - M
    x = x if rows >= columns else adjoint_of(x)
    draws = randn(x.shape[-1], rank, dtype=x.real.dtype, device=x.device).to(x.dtype)
    Q = linalg_qr(x @ draws).Q
    for _ in range(niter or 0):
        Q = linalg_qr(x @ linalg_qr(adjoint_of(x) @ Q).Q).Q
    U, S, Vh = linalg_svd(adjoint_of(Q) @ x, full_matrices=False)
    U, V = Q @ U, adjoint_of(Vh)
    return (U, S, V) if rows >= columns else (V, S, U)


def pca_lowrank(A: Tensor, q: int | None = None, center: bool = True, niter: int = 2) -> Any:
    """(U, S, V) of svd_lowrank for rows of data A (..., M, N) less their mean; the columns of V are the principal directions.

    q: how many, by default min(6, M, N). The data in these directions are A @ V.
    """
    check_matrices("pca_lowrank", A)
    rank = min(6, *A.shape[-2:]) if q is None else q
    if not 0 <= rank <= min(A.shape[-2:]) or niter < 0:
        raise ValueError(
            f"pca_lowrank: q(={rank}) and niter(={niter}) must not be negative, nor q greater than min{tuple(A.shape[-2:])}"
        )
    return svd_lowrank(A - A.mean(-2, keepdim=True) if center else A, rank, niter)


__all__ = ["pca_lowrank", "pinverse", "svd", "svd_lowrank"]
