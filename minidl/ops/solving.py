"""Linear systems: inverses and solutions."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np

from .. import dtypes
from ..autograd.op import Op, wrap
from ..kernels import array_module
from ..tensor import Tensor, method
from ..testing.samples import Sample, samples
from .define import result_type
from .linalg import Tril, Triu
from .selection import where


class LinAlgError(RuntimeError):
    """A matrix without what was asked of it: an inverse, a Cholesky factor."""


INVERSE = result_type("linalg_inv_ex", "inverse", "info")
SOLUTION = result_type("linalg_solve_ex", "result", "info")
TRIANGULAR = result_type("triangular_solve", "solution", "cloned_coefficient")


# ---------------------------------------------------------------------------------------------------------------------
# What all of linear algebra shares


def transposed(x: Any) -> Any:
    """Each matrix transposed; of arrays and Tensors."""
    return x.swapaxes(-1, -2)


def adjoint_of(x: Any) -> Any:
    """Each matrix transposed and, if complex, conjugated; of arrays and Tensors."""
    return transposed(x.conj())


def eye_like(x: Any, n: int, m: int | None = None) -> Any:
    """The n x m identity (default n x n), an array of the dtype and on the device of an array or Tensor."""
    raw = getattr(x, "array", x)
    return array_module(raw).eye(n, m, dtype=raw.dtype)


def strict(x: Any) -> Any:
    """A block in which solvers raise NumPy's LinAlgError for what they refuse. CuPy's return nonsense without it."""
    if array_module(x) is np:
        return nullcontext()
    import cupyx

    return cupyx.errstate(linalg="raise")


def or_zeros(g: Any, like: Any) -> Any:
    """A gradient, zeros where nothing depends on the result."""
    raw = getattr(like, "array", like)
    return array_module(raw).zeros_like(raw) if g is None else g


def check_matrices(name: str, x: Any, square: bool = False, floating: bool = True) -> None:
    """Raise unless x is a tensor of matrices, (..., M, N): square and of floating point, if need be."""
    if x.ndim < 2:
        raise RuntimeError(
            f"{name}: The input tensor A must have at least 2 dimensions, it has shape {list(x.shape)}; unsqueeze() it"
        )
    if floating and x.array.dtype.kind not in dtypes.INEXACT:
        raise RuntimeError(
            f"{name}: Expected a floating point or complex tensor as input. Got {x.dtype}; use A.float()"
        )
    if x.array.dtype.kind == "V" and name not in ("linalg.matrix_power", "linalg.matrix_exp", "linalg.matrix_norm"):
        raise RuntimeError(f"{name}: Low precision dtypes not supported. Got BFloat16; use A.float()")
    if square and x.shape[-1] != x.shape[-2]:
        raise RuntimeError(
            f"{name}: A must be batches of square matrices, but they are {x.shape[-2]} by {x.shape[-1]} matrices"
        )


def matrix_at(index: Sequence[int]) -> str:
    """Words for one matrix of a batch."""
    return f"the matrix at batch index {tuple(index)}" if index else "the matrix"


def first_refused(routine: Callable[[Any], Any], x: Any) -> str:
    """Words for the first matrix of a batch that a routine of NumPy refuses."""
    for index in np.ndindex(x.shape[:-2]):
        try:
            routine(x[index])
        except np.linalg.LinAlgError:
            return matrix_at(index)
    return "a matrix"


def lu_factors(x: Any) -> tuple[Any, Any, Any]:
    """(packed, pivots, info) of each matrix: L and U in one array, row swaps counted from 1.

    info is 0, or the number of the first diagonal element of U that is exactly zero.
    """
    xp, n = array_module(x), min(x.shape[-2:])
    packed, pivots = x.copy(), xp.zeros((*x.shape[:-2], n), np.int32)
    if not n:
        return packed, pivots, xp.zeros(x.shape[:-2], np.int32)
    factor = _getrf(x)
    for index in np.ndindex(x.shape[:-2]):
        packed[index], pivots[index] = factor(x[index])
    zero = xp.diagonal(packed, 0, -2, -1) == 0
    info = xp.where(zero.any(-1), zero.argmax(-1) + 1, 0).astype(np.int32)
    return packed, pivots + np.int32(1), info


def _getrf(x: Any) -> Callable[[Any], Any]:
    """LAPACK's LU factorization for one matrix of x's dtype, or cuSOLVER's: (packed, pivots from 0)."""
    if array_module(x) is np:
        from scipy.linalg.lapack import get_lapack_funcs

        (getrf,) = get_lapack_funcs(("getrf",), (x,))
        return lambda matrix: getrf(matrix)[:2]
    from cupyx.scipy.linalg import lu_factor

    def factor(matrix: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a singular matrix; `info` says so
            return lu_factor(matrix, check_finite=False)

    return factor


# ---------------------------------------------------------------------------------------------------------------------
# The operations


class Inverse(Op):
    """The inverse of each square matrix. Gradient: Giles 2008, 'Collected matrix derivative results', 2.2.3."""

    complex_rule = True

    def forward(self, x: Any) -> Any:
        inv = array_module(x).linalg.inv
        with strict(x):
            try:
                return inv(x)
            except np.linalg.LinAlgError:
                raise LinAlgError(
                    f"linalg.inv: {first_refused(inv, x)} is singular and has no inverse; use linalg.pinv, or add a small "
                    "multiple of the identity"
                ) from None

    def backward(self, g: Any, out: Any) -> Any:
        back = transposed(out)
        return -(back @ g @ back)


class Solve(Op):
    """x with a x = b, for square matrices a and matrices b of columns. Gradient: Giles 2008, 2.3.1."""

    complex_rule = True

    def forward(self, a: Any, b: Any) -> Any:
        xp = array_module(a)
        if xp is not np:  # CuPy does not broadcast here
            batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
            a, b = (xp.broadcast_to(t, (*batch, *t.shape[-2:])) for t in (a, b))
        with strict(a):
            try:
                return xp.linalg.solve(a, b)
            except np.linalg.LinAlgError:
                which = first_refused(xp.linalg.inv, a)
                raise LinAlgError(
                    f"linalg.solve: {which} is singular, so the solution is not unique; use linalg.lstsq"
                ) from None

    def backward(self, g: Any, a: Any, out: Any) -> Any:
        gb = Solve.apply(transposed(a), g)
        return -(gb @ transposed(out)) if self.edges[0] is not None else None, gb


class SolveTriangular(Op):
    """x with a x = b for triangular a, by substitution: row after row, each from the rows already known."""

    complex_rule = True

    def forward(self, a: Any, b: Any, *, upper: bool, unit: bool) -> Any:
        self.upper, self.unit = upper, unit
        xp, n = array_module(a), a.shape[-1]
        out = xp.empty((*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), *b.shape[-2:]), b.dtype)
        for i in reversed(range(n)) if upper else range(n):
            row, known = slice(i, i + 1), slice(i + 1, n) if upper else slice(0, i)
            out[..., row, :] = b[..., row, :] - a[..., row, known] @ out[..., known, :]
            if not unit:
                out[..., row, :] /= a[..., row, row]
        return out

    def backward(self, g: Any, a: Any, out: Any) -> Any:
        gb = SolveTriangular.apply(transposed(a), g, upper=not self.upper, unit=self.unit)
        if self.edges[0] is None:
            return None, gb
        part, step = (Triu, 1) if self.upper else (Tril, -1)
        return part.apply(-(gb @ transposed(out)), diagonal=step if self.unit else 0), gb


class CholeskySolve(Op):
    """x with l lᵀ x = b for l = lower. Gradient: that of Solve for a = l lᵀ, carried on to l."""

    def forward(self, b: Any, lower: Any) -> Any:
        half = SolveTriangular.apply(lower, b, upper=False, unit=False)
        return SolveTriangular.apply(adjoint_of(lower), half, upper=True, unit=False)

    def backward(self, g: Any, lower: Any, out: Any) -> Any:
        gb = CholeskySolve.apply(g, lower)
        if self.edges[1] is None:
            return gb, None
        ga = gb @ transposed(out)
        return gb, -((ga + transposed(ga)) @ lower)


@samples(Inverse)
def _(make: Any) -> Any:
    yield Sample(make(3, 3) + 3 * np.eye(3))
    yield Sample(make(2, 1, 2, 2) + 3 * np.eye(2), note="a batch")
    yield Sample(make(2, 0, 0), note="matrices of size 0")


@samples(Solve)
def _(make: Any) -> Any:
    yield Sample(make(3, 3) + 3 * np.eye(3), make(3, 2))
    yield Sample(make(2, 1, 3, 3) + 3 * np.eye(3), make(4, 3, 1), note="batches with broadcasting")


@samples(SolveTriangular)
def _(make: Any) -> Any:
    yield Sample(make(3, 3) + 3 * np.eye(3), make(3, 2), upper=False, unit=False)
    yield Sample(make(2, 3, 3, low=0.5), make(4, 1, 3, 2), upper=True, unit=False, note="batches with broadcasting")
    yield Sample(make(3, 3), make(3, 2), upper=True, unit=True, note="ones on the diagonal")


@samples(CholeskySolve)
def _(make: Any) -> Any:
    yield Sample(make(2, 3, 2), make(3, 3) + 3 * np.eye(3), note="a gradient of the whole of l", smooth=False)


# ---------------------------------------------------------------------------------------------------------------------
# Inverses


@method("inverse")
def inv(A: Tensor) -> Tensor:
    """The inverse of each matrix of A (..., N, N). Raises LinAlgError if one is singular.

    Example:
        >>> minidl.linalg.inv(minidl.tensor([[2.0, 0.0], [0.0, 4.0]]))
        tensor([[0.5000, 0.0000],
                [0.0000, 0.2500]])
    """
    check_matrices("linalg.inv", A, square=True)
    return Inverse.apply(A)


inverse = inv


def _regular(A: Tensor) -> tuple[Tensor, Any, Any]:
    """A with its singular matrices replaced by the identity; where they are, (..., 1, 1); and LAPACK's info."""
    info = lu_factors(A.array)[2]
    singular = (info > 0)[..., None, None]
    return (where(singular, eye_like(A, A.shape[-1]), A) if singular.any() else A), singular, info


def _no_info(A: Tensor) -> Tensor:
    return wrap(array_module(A.array).zeros(A.shape[:-2], np.int32))


def inv_ex(A: Tensor, *, check_errors: bool = False) -> Any:
    """(inverse, info): like inv(), but a singular matrix gives NaN and a positive info instead of an error."""
    check_matrices("linalg.inv_ex", A, square=True)
    if check_errors:
        return INVERSE(inv(A), _no_info(A))
    regular, singular, info = _regular(A)
    result = Inverse.apply(regular)
    return INVERSE(where(singular, math.nan, result) if singular.any() else result, wrap(info))


def tensorinv(A: Tensor, ind: int = 2) -> Tensor:
    """The inverse of A as a linear map from its last dimensions to its first `ind`: tensordot(result, A, ind) is the identity."""
    if ind <= 0:
        raise RuntimeError(f"linalg.tensorinv: Expected a strictly positive integer for 'ind', got {ind}")
    rows, columns = tuple(A.shape[:ind]), tuple(A.shape[ind:])
    if math.prod(rows) != math.prod(columns):
        raise RuntimeError(
            f"linalg.tensorinv: the product of the sizes {list(rows)} before and {list(columns)} after dimension "
            f"{ind} must be equal"
        )
    return inv(A.reshape(math.prod(rows), math.prod(columns))).reshape(columns + rows)


# ---------------------------------------------------------------------------------------------------------------------
# Solutions


def is_vector(A: Tensor, B: Tensor) -> bool:
    """Whether B is a batch of vectors rather than of matrices: PyTorch's rule."""
    return B.ndim == 1 or (A.ndim - 1 == B.ndim and tuple(B.shape) == tuple(A.shape[:-1]))


def _check_sides(name: str, A: Tensor, B: Tensor, left: bool) -> None:
    """Raise unless B is a float tensor of A's dtype whose rows (left) or columns fit the square matrices A."""
    if A.array.dtype != B.array.dtype:
        raise RuntimeError(
            f"{name}: Expected A and B to have the same dtype, but found {A.dtype} and {B.dtype}; convert one"
        )
    if B.ndim < 2 or B.shape[-2 if left else -1] != A.shape[-1]:
        equation = "AX = B" if left else "XA = B"
        raise RuntimeError(
            f"{name}: Incompatible shapes of A and B for the equation {equation}: {list(A.shape)} and {list(B.shape)}"
        )


def _solved(op: Callable[[Tensor, Tensor], Tensor], A: Tensor, B: Tensor, left: bool) -> Tensor:
    """The solution of A X = B, or of X A = B, which is the first with everything transposed."""
    return op(A, B) if left else transposed(op(transposed(A), transposed(B)))


def solve(A: Tensor, B: Tensor, *, left: bool = True) -> Tensor:
    """X with A X = B (left) or X A = B, for A (..., N, N), B (..., N, K) or (..., N). Raises LinAlgError if A is singular.

    Example:
        >>> minidl.linalg.solve(minidl.tensor([[2.0, 0.0], [0.0, 4.0]]), minidl.tensor([1.0, 1.0]))
        tensor([0.5000, 0.2500])
    """
    check_matrices("linalg.solve", A, square=True)
    if is_vector(A, B):
        if not left:
            raise RuntimeError(
                "linalg.solve: Vector broadcasting of the left hand side is not supported for left=False"
            )
        return solve(A, B.unsqueeze(-1)).squeeze(-1)
    _check_sides("linalg.solve", A, B, left)
    return _solved(Solve.apply, A, B, left)


def solve_ex(A: Tensor, B: Tensor, *, left: bool = True, check_errors: bool = False) -> Any:
    """(result, info): like solve(), but a singular matrix gives NaN and a positive info instead of an error."""
    check_matrices("linalg.solve_ex", A, square=True)
    if check_errors:
        return SOLUTION(solve(A, B, left=left), _no_info(A))
    regular, singular, info = _regular(A)
    result = solve(regular, B, left=left)
    if singular.any():
        result = where(singular[..., 0] if is_vector(A, B) else singular, math.nan, result)
    return SOLUTION(result, wrap(info))


def solve_triangular(
    A: Tensor, B: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False
) -> Tensor:  # fmt: skip
    """X with A X = B (left) or X A = B for triangular A; the other triangle of A is not read.

    `unitriangular`: the diagonal is taken to be ones. A zero on the diagonal gives infinities, not an error.
    """
    check_matrices("linalg.solve_triangular", A, square=True)
    _check_sides("linalg.solve_triangular", A, B, left)

    def solved(a: Tensor, b: Tensor) -> Tensor:
        return SolveTriangular.apply(a, b, upper=upper == left, unit=unitriangular)

    return _solved(solved, A, B, left)


@method()
def triangular_solve(
    b: Tensor, A: Tensor, upper: bool = True, transpose: bool = False, unitriangular: bool = False
) -> Any:  # fmt: skip
    """(solution, copy of A) of A X = b, or of its transpose; the older form of linalg.solve_triangular."""
    if transpose:
        solution = solve_triangular(transposed(A), b, upper=not upper, unitriangular=unitriangular)
    else:
        solution = solve_triangular(A, b, upper=upper, unitriangular=unitriangular)
    return TRIANGULAR(solution, A.clone())


@method()
def cholesky_solve(B: Tensor, L: Tensor, upper: bool = False) -> Tensor:
    """X with A X = B, for A = L Lᵀ (or Lᵀ L with `upper`) given by its Cholesky factor L.

    As in PyTorch, the gradient of L is that of A = L Lᵀ for any L, and so not zero in the triangle that is not read.
    """
    check_matrices("cholesky_solve", L, square=True)
    _check_sides("cholesky_solve", L, B, left=True)
    return CholeskySolve.apply(B, adjoint_of(L) if upper else L)


@method()
def cholesky_inverse(L: Tensor, upper: bool = False) -> Tensor:
    """The inverse of A = L Lᵀ (or Lᵀ L with `upper`), given by its Cholesky factor L."""
    check_matrices("cholesky_inverse", L, square=True)
    return cholesky_solve(wrap(eye_like(L, L.shape[-1])), L, upper)


def tensorsolve(A: Tensor, B: Tensor, dims: Any = None) -> Tensor:
    """X with tensordot(A, X, X.ndim) == B; the dimensions `dims` of A are moved to its end first."""
    if dims is not None:
        A = A.movedim(tuple(dims), tuple(range(A.ndim - len(dims), A.ndim)))
    shape = tuple(A.shape[B.ndim :])
    if math.prod(shape) != math.prod(A.shape[: B.ndim]):
        raise RuntimeError(
            f"linalg.tensorsolve: expected A of shape {list(A.shape)} to be square: the first {B.ndim} sizes and the "
            "others must have equal products"
        )
    return solve(A.reshape(-1, math.prod(shape)), B.reshape(-1)).reshape(shape)


__all__ = ["cholesky_inverse", "cholesky_solve", "inverse", "triangular_solve"]
