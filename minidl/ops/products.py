"""Products of vectors and tensors beyond matmul, distances between points, covariance."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from .. import dtypes
from ..autograd.op import Op, wrap
from ..autograd.precision import in_float32, under_autocast
from ..kernels import array_module
from ..kernels.gemm import gemm
from ..tensor import Tensor, method
from ..testing.samples import Sample, samples
from .conversion import cast
from .joining import cat
from .linalg import bmm, diagonal, dot, matmul, mv, outer, product
from .rearrange import roll
from .reduction import norm
from .selection import where
from .shape import broadcast_tensors, normalize_dim
from .solving import transposed

# ---------------------------------------------------------------------------------------------------------------------
# Products


def linalg_cross(input: Tensor, other: Tensor, *, dim: int = -1) -> Tensor:
    """The vector product of 3-vectors that lie along `dim`; the other dimensions broadcast.

    Example:
        >>> minidl.linalg.cross(minidl.tensor([1.0, 0.0, 0.0]), minidl.tensor([0.0, 1.0, 0.0]))
        tensor([0., 0., 1.])
    """
    if input.ndim != other.ndim:
        raise RuntimeError(
            f"linalg.cross: inputs must have the same number of dimensions, got {list(input.shape)} and {list(other.shape)}"
        )
    dim = normalize_dim(dim, input.ndim, "linalg.cross")
    if input.shape[dim] != 3 or other.shape[dim] != 3:
        raise RuntimeError(
            f"linalg.cross: inputs dimension {dim} must have length 3. Got {input.shape[dim]} and {other.shape[dim]}"
        )
    a, b = broadcast_tensors(input, other)
    return roll(a, -1, dim) * roll(b, 1, dim) - roll(a, 1, dim) * roll(b, -1, dim)


@method()
def cross(input: Tensor, other: Tensor, dim: int | None = None) -> Tensor:
    """The vector product along `dim`, by default the first dimension of size 3."""
    if dim is None:
        sizes = [max(m, n) for m, n in zip(input.shape, other.shape, strict=False)]
        if 3 not in sizes:
            raise RuntimeError(f"cross: no dimension of size 3 in input: {list(input.shape)} and {list(other.shape)}")
        dim = sizes.index(3)
    return linalg_cross(input, other, dim=dim)


@under_autocast("half")
@in_float32
def vecdot(x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor:
    """The inner product along `dim`; the other dimensions broadcast. Complex x is conjugated."""
    return (x.conj() * y).sum(dim)


@method()
def vdot(input: Tensor, other: Tensor) -> Tensor:
    """The inner product of two vectors; complex input is conjugated."""
    return dot(input.conj(), other)


@method()
def inner(input: Tensor, other: Tensor) -> Tensor:
    """Inner products over the last dimension: (..., N) and (*, N) give (..., *). A number multiplies."""
    if not input.ndim or not other.ndim:
        return input * other
    if input.shape[-1] != other.shape[-1]:
        raise RuntimeError(
            "inner() the last dimension must match on both input tensors but got shapes "
            f"{list(input.shape)} and {list(other.shape)}"
        )
    return tensordot(input, other, ([-1], [-1]))


@method()
def kron(input: Tensor, other: Tensor) -> Tensor:
    """Kronecker's product: every element of input times all of other, (M, N) and (P, Q) giving (MP, NQ).

    The one with fewer dimensions gets leading dimensions of size 1.
    """
    n = max(input.ndim, other.ndim)
    a, b = ((1,) * (n - x.ndim) + tuple(x.shape) for x in (input, other))
    apart = [tuple(itertools.chain(*pairs)) for pairs in (zip(a, (1,) * n, strict=True), zip((1,) * n, b, strict=True))]
    product = input.reshape(apart[0]) * other.reshape(apart[1])
    return product.reshape(tuple(p * q for p, q in zip(a, b, strict=True)))


def tensordot(a: Tensor, b: Tensor, dims: Any = 2) -> Tensor:
    """Products summed over several dimensions: the last `dims` of a with the first of b, or the pair of lists dims[0], dims[1].

    Example:
        >>> minidl.tensordot(minidl.ones(2, 3), minidl.ones(3, 4), dims=1).shape
        torch.Size([2, 4])
    """
    if isinstance(dims, Tensor):
        dims = dims.tolist()
    if isinstance(dims, int):
        if dims < 0 or dims > min(a.ndim, b.ndim):
            raise RuntimeError(f"tensordot expects 0 <= dims <= {min(a.ndim, b.ndim)}, but got dims={dims}")
        dims = (range(a.ndim - dims, a.ndim), range(dims))
    over_a = [normalize_dim(d, a.ndim, "tensordot") for d in dims[0]]
    over_b = [normalize_dim(d, b.ndim, "tensordot") for d in dims[1]]
    if len(over_a) != len(over_b):
        raise RuntimeError(f"tensordot: both dimension lists should have the same length, got {dims[0]} and {dims[1]}")
    for i, j in zip(over_a, over_b, strict=True):
        if a.shape[i] == 1:  # broadcasts: the other is summed
            b = b.sum(j, keepdim=True)
        elif b.shape[j] == 1:
            a = a.sum(i, keepdim=True)
        elif a.shape[i] != b.shape[j]:
            raise RuntimeError(
                f"tensordot: contracted dimensions need to match, but first has size {a.shape[i]} in dim {i} and second "
                f"has size {b.shape[j]} in dim {j}"
            )
    free_a = [d for d in range(a.ndim) if d not in over_a]
    free_b = [d for d in range(b.ndim) if d not in over_b]
    rows, inside = math.prod(a.shape[d] for d in free_a), math.prod(a.shape[d] for d in over_a)
    columns = math.prod(b.shape[d] for d in free_b)
    left = a.permute(free_a + over_a).reshape(rows, inside)
    right = b.permute(over_b + free_b).reshape(inside, columns)
    return matmul(left, right).reshape(tuple(a.shape[d] for d in free_a) + tuple(b.shape[d] for d in free_b))


def _added(input: Tensor, product: Tensor, beta: float, alpha: float) -> Tensor:
    """beta * input + alpha * product; with beta 0, NaN in input does not count."""
    product = product * alpha if alpha != 1 else product
    return input * beta + product if beta else product


@method(inplace=True)
@under_autocast("half on cuda")
@in_float32
def addmv(input: Tensor, mat: Tensor, vec: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta * input + alpha * mat @ vec."""
    return _added(input, mv(mat, vec), beta, alpha)


@method(inplace=True)
@under_autocast("half on cuda")
@in_float32
def addr(input: Tensor, vec1: Tensor, vec2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta * input + alpha * the outer product of vec1 and vec2."""
    return _added(input, outer(vec1, vec2), beta, alpha)


@method(inplace=True)
@under_autocast("half")
@in_float32
def addbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta * input + alpha * the sum of the products of batch1 (B, N, M) and batch2 (B, M, P), pair by pair."""
    return _added(input, bmm(batch1, batch2).sum(0), beta, alpha)


def linalg_vander(x: Tensor, N: int | None = None) -> Tensor:
    """The powers 0, ..., N - 1 of each element of x (..., M): (..., M, N). N is M by default."""
    if N is not None and N <= 1:
        raise RuntimeError(f"linalg.vander: N must be greater than 1, got {N}")
    x = x if x.ndim else x.reshape(1)
    powers = x.unsqueeze(-1).expand(*x.shape, (x.shape[-1] if N is None else N) - 1).cumprod(-1)
    return cat([wrap(array_module(powers.array).ones((*x.shape, 1), powers.array.dtype)), powers], -1)


def vander(x: Tensor, N: int | None = None, increasing: bool = False) -> Tensor:
    """The powers of each element of a vector, from N - 1 down to 0, or the other way round with `increasing`."""
    if x.ndim != 1:
        raise RuntimeError(f"vander: x must be a one-dimensional tensor, got {x.ndim} dimensions")
    count = x.shape[0] if N is None else N
    exponents = np.arange(count) if increasing else np.arange(count)[::-1].copy()
    return linalg_vander(x, max(count, 2))[:, exponents]


# ---------------------------------------------------------------------------------------------------------------------
# Distances between points


class EuclideanDistances(Op):
    """Distances between the points (rows) of x (..., P, D) and of y (..., R, D): (..., P, R); gradient 0 at distance 0.

    For many points by |x|² + |y|² - 2 x·y, which needs no array of size P R D but loses digits where points nearly coincide.
    """

    def forward(self, x: Any, y: Any) -> Any:
        xp = array_module(x)
        if max(x.shape[-2], y.shape[-2]) <= 25:
            apart = x[..., :, None, :] - y[..., None, :, :]
            return xp.sqrt((apart * apart).sum(axis=-1))
        squares = (x * x).sum(axis=-1)[..., :, None] + (y * y).sum(axis=-1)[..., None, :]
        return xp.sqrt(xp.maximum(squares - 2 * gemm(x, transposed(y), None), 0))

    def backward(self, g: Any, x: Any, y: Any, out: Any) -> Any:
        weights = where(out == 0, 0.0, g / out)  # of x - y, for each pair
        dx = x * weights.sum(axis=-1, keepdims=True) - product(weights, y)
        turned = transposed(weights)
        return dx, y * turned.sum(axis=-1, keepdims=True) - product(turned, x)


@samples(EuclideanDistances)
def _(make: Any) -> Any:
    yield Sample(make(3, 2), make(4, 2))
    yield Sample(make(2, 1, 3, 2), make(3, 2, 2), note="batches with broadcasting")
    yield Sample(make(26, 3), make(2, 3), note="by products")
    yield Sample(np.ones((2, 3)), np.ones((2, 3)), note="distance 0", smooth=False)


@under_autocast("full")
@in_float32
def cdist(
    x1: Tensor, x2: Tensor, p: float = 2.0, compute_mode: str = "use_mm_for_euclid_dist_if_necessary"
) -> Tensor:  # fmt: skip
    """The p-norm distance of each row of x1 (..., P, D) from each of x2 (..., R, D): (..., P, R); gradient 0 at distance 0.

    Example:
        >>> minidl.cdist(minidl.tensor([[0.0, 0.0]]), minidl.tensor([[3.0, 4.0], [0.0, 1.0]]))
        tensor([[5., 1.]])
    """
    if x1.ndim < 2 or x2.ndim < 2 or x1.shape[-1] != x2.shape[-1]:
        raise RuntimeError(
            "cdist: X1 and X2 must be at least 2-D and have the same number of columns, got "
            f"{list(x1.shape)} and {list(x2.shape)}"
        )
    if p < 0:
        raise RuntimeError(f"cdist only supports non-negative p values, got {p}")
    if p == 2 or not x1.shape[-1]:  # without coordinates all distances are 0
        return EuclideanDistances.apply(x1, x2)
    return norm(x1.unsqueeze(-2) - x2.unsqueeze(-3), p, -1)


def pdist(input: Tensor, p: float = 2.0) -> Tensor:
    """The p-norm distances between all pairs of rows of input (N, D): those of (0, 1), (0, 2), ..., N (N - 1) / 2 in all."""
    if input.ndim != 2:
        raise RuntimeError(f"pdist only supports 2D tensors, got: {input.ndim}D")
    first, second = np.triu_indices(input.shape[0], 1)
    return norm(input[first] - input[second], p, -1)


# ---------------------------------------------------------------------------------------------------------------------
# Covariance


@method()
def cov(
    input: Tensor, *, correction: int = 1, fweights: Tensor | None = None, aweights: Tensor | None = None
) -> Tensor:  # fmt: skip
    """The covariances of the rows of input (variables, N): N observations, one a column.

    fweights: how often each observation occurs (integers); aweights: its importance.
    """
    if input.ndim > 2:
        raise RuntimeError(
            f"cov(): expected input to have two or fewer dimensions but got an input with {input.ndim} dimensions"
        )
    x = input.reshape(1, -1) if input.ndim < 2 else input
    x = cast(x, dtypes.get_default_dtype().dtype) if x.array.dtype.kind in "biu" else x
    count: Any = float(x.shape[1])
    weights: Any = None
    for w, name, kinds in ((fweights, "fweights", "iu"), (aweights, "aweights", dtypes.FLOATING)):
        if w is not None:
            if w.ndim > 1 or w.numel() != x.shape[1] or w.array.dtype.kind not in kinds or (w.array < 0).any():
                raise RuntimeError(
                    f"cov(): expected {name} to be {x.shape[1]} non-negative {'integers' if kinds == 'iu' else 'floats'}, "
                    f"got shape {list(w.shape)} and {w.dtype}"
                )
            weights = w if weights is None else weights * w
    if weights is not None:
        count = weights.sum()
    x = x - (x if weights is None else x * weights).sum(1, keepdim=True) / count
    lost = correction if aweights is None else correction * (weights * aweights).sum() / count
    freedom = count - lost
    freedom = freedom.clamp(min=0) if isinstance(freedom, Tensor) else max(freedom, 0.0)
    return ((x if weights is None else x * weights) @ x.mH / freedom).squeeze()


@method()
def corrcoef(input: Tensor) -> Tensor:
    """Pearson's correlation coefficients of the rows of input (variables, N)."""
    c = cov(input)
    if not c.ndim:
        return c / c
    scale = diagonal(c).sqrt()
    return (c / scale.unsqueeze(1) / scale.unsqueeze(0)).clamp(-1, 1)


__all__ = [
    "addbmm", "addmv", "addr", "cdist", "corrcoef", "cov", "cross", "inner", "kron", "pdist", "tensordot", "vander", "vdot",
]  # fmt: skip
