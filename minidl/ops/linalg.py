"""Products of vectors, matrices and batches of matrices, and parts of matrices."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..autograd.engine import sum_to
from ..autograd.op import Op
from ..autograd.precision import holds_bfloat16, in_float32, under_autocast, widened
from ..kernels import array_module
from ..kernels.common import row_major
from ..kernels.gemm import gemm
from ..tensor import Tensor, method
from ..testing.samples import Sample, samples
from .selection import where
from .shape import normalize_dim


def _same_dtype(name: str, *arrays: Any) -> None:
    first = arrays[0].dtype
    for a in arrays:
        if a is not None and a.dtype != first:
            kinds = {a.dtype for a in arrays if a is not None}
            raise RuntimeError(
                f"{name}: expected m1 and m2 to have the same dtype, but got: {' != '.join(sorted(map(str, kinds)))}; "
                "convert one of them with to()"
            )


def product(a: Any, b: Any) -> Any:
    """a @ b in a gradient rule: by the kernel for arrays, as an operation for Tensors."""
    return a @ b if isinstance(a, Tensor) or isinstance(b, Tensor) else gemm(a, b, None)


class MatMul(Op):
    """x @ y: of matrices, of batches of them with broadcasting, of vectors."""

    complex_rule = True
    has_bfloat16_kernel = has_bfloat16_rule = True
    precision = "half"
    kept_for = {"x": "y", "y": "x"}

    def forward(self, x: Any, y: Any) -> Any:
        _same_dtype("matmul", x, y)
        if not x.ndim or not y.ndim:
            raise RuntimeError(f"both arguments to matmul need to be at least 1D, but they are {x.ndim}D and {y.ndim}D")
        if x.shape[-1] != y.shape[-2 if y.ndim > 1 else 0]:
            raise RuntimeError(_mismatch(x.shape, y.shape))
        self.x_ndim, self.y_ndim = x.ndim, y.ndim
        return gemm(x, y, None)

    def backward(self, g: Any, x: Any, y: Any) -> Any:
        wants_x, wants_y = self.edges
        if self.x_ndim == 1 and self.y_ndim == 1:
            if holds_bfloat16(g):  # no matrices: what is multiplied here is so by NumPy or CuPy
                g, x, y = widened((g, x, y))
            return g * y if wants_x else None, g * x if wants_y else None
        if self.x_ndim == 1:  # a row vector: (K,) @ (..., K, N)
            g = g.reshape((*g.shape[:-1], 1, g.shape[-1]))
            dx = product(g, y.swapaxes(-1, -2)).reshape((*g.shape[:-2], y.shape[-2])) if wants_x else None
            return dx, product(x.reshape((-1, 1)), g) if wants_y else None
        if self.y_ndim == 1:  # a column vector: (..., M, K) @ (K,)
            g = g.reshape((*g.shape, 1))
            dy = product(x.swapaxes(-1, -2), g).reshape((*x.shape[:-2], x.shape[-1])) if wants_y else None
            return product(g, y.reshape((1, -1))) if wants_x else None, dy
        if self.y_ndim == 2 and self.x_ndim > 2:  # one product with all rows of the batch, instead of one per matrix
            dx = product(g, y.swapaxes(-1, -2)) if wants_x else None
            dy = None
            if wants_y:
                n = math.prod(g.shape[:-1])  # written out: -1 is ambiguous for empty tensors
                dy = product(x.reshape((n, x.shape[-1])).swapaxes(-1, -2), g.reshape((n, g.shape[-1])))
            return dx, dy
        dx = product(g, y.swapaxes(-1, -2)) if wants_x else None
        return dx, product(x.swapaxes(-1, -2), g) if wants_y else None


def _mismatch(x: tuple[int, ...], y: tuple[int, ...]) -> str:
    if len(x) <= 2 and len(y) <= 2:
        shown = ["x".join(map(str, s)) for s in (x, y)]
        if len(x) == 1 == len(y):
            return f"inconsistent tensor size, expected tensor [{x[0]}] and src [{y[0]}] to have the same number of elements"
        return f"mat1 and mat2 shapes cannot be multiplied ({shown[0]} and {shown[1]})"
    return f"matmul: batches of shape {list(x)} and {list(y)} cannot be multiplied: {x[-1]} columns meet {y[-2]} rows"


@samples(MatMul)
def _(make: Any) -> Any:
    yield Sample(make(2, 3), make(3, 4))
    yield Sample(make(3), make(3), note="vectors")
    yield Sample(make(3), make(2, 3, 4), note="a row vector")
    yield Sample(make(2, 4, 3), make(3), note="a column vector")
    yield Sample(make(5, 1, 2, 3), make(4, 3, 2), note="batches with broadcasting")
    yield Sample(make(5, 2, 3), make(3, 2), note="a batch and a matrix")


class Linear(Op):
    """x @ weight.T + bias, for x (..., I), weight (O, I), bias (O,)."""

    complex_rule = True
    has_bfloat16_kernel = has_bfloat16_rule = True
    precision = "half"
    kept_for = {"x": "weight", "weight": "x"}

    def forward(self, x: Any, weight: Any, bias: Any) -> Any:
        if x.dtype is not weight.dtype or (bias is not None and bias.dtype is not x.dtype):
            _same_dtype("linear", x, weight, bias)
        if not x.ndim or x.shape[-1] != weight.shape[-1]:
            rows = "x".join(map(str, (int(np.prod(x.shape[:-1])), x.shape[-1] if x.ndim else 1)))
            raise RuntimeError(
                f"mat1 and mat2 shapes cannot be multiplied ({rows} and {'x'.join(map(str, weight.shape[::-1]))})"
            )
        return gemm(x, weight.T, bias)

    def backward(self, g: Any, x: Any, weight: Any) -> Any:
        wants_x, wants_weight, wants_bias = self.edges
        rows = g.reshape((-1, g.shape[-1])) if g.ndim != 2 else g
        dx = product(g, weight) if wants_x else None
        dweight = None
        if wants_weight:
            dweight = product(rows.swapaxes(0, 1), x.reshape((-1, x.shape[-1])) if x.ndim != 2 else x)
        return dx, dweight, sum_to(rows, rows.shape[1:]) if wants_bias else None


@samples(Linear)
def _(make: Any) -> Any:
    yield Sample(make(4, 3), make(2, 3), make(2))
    yield Sample(make(2, 4, 3), make(2, 3), None, note="no bias, a batch of sequences")
    yield Sample(make(3), make(2, 3), make(2), note="a vector")


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """input (..., I) @ weight (O, I) transposed + bias (O,): (..., O)."""
    if weight.ndim == 1:
        product = matmul(input, weight)
        return product if bias is None else product + bias
    return Linear.apply(input, weight, bias)


@under_autocast("off")
@in_float32
def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """input1 (..., I) and input2 (..., J) through weight (O, I, J): out[o] = input1 weight[o] input2, plus bias (O,)."""
    out = einsum("...i,oij,...j->...o", input1, weight, input2)
    return out if bias is None else out + bias


@method("matmul", "__matmul__")
def matmul(input: Any, other: Any) -> Any:
    """The matrix product, with PyTorch's rules for vectors and batches."""
    return MatMul.apply(input, other)


@method("__rmatmul__")
def _rmatmul(input: Any, other: Any) -> Any:
    return MatMul.apply(other, input)


def _of_dims(name: str, x: Any, n: int, y: Any, m: int) -> None:
    if x.ndim != n or y.ndim != m:
        raise RuntimeError(f"{name}: expected a {n}-D and a {m}-D tensor, got {list(x.shape)} and {list(y.shape)}")


@method()
def mm(input: Tensor, mat2: Tensor) -> Tensor:
    """The product of two matrices (N, M) and (M, P)."""
    _of_dims("mm", input, 2, mat2, 2)
    return matmul(input, mat2)


spmm = mm  # its name of old where input is sparse


@method()
def bmm(input: Tensor, mat2: Tensor) -> Tensor:
    """The products of two batches of matrices, (B, N, M) and (B, M, P), pair by pair."""
    _of_dims("bmm", input, 3, mat2, 3)
    if input.array.shape[0] != mat2.array.shape[0]:
        raise RuntimeError(
            f"bmm: the batches have {input.array.shape[0]} and {mat2.array.shape[0]} matrices; expand() one"
        )
    return matmul(input, mat2)


@method()
@under_autocast("off on cpu")
def mv(input: Tensor, vec: Tensor) -> Tensor:
    """The product of a matrix (N, M) and a vector (M,)."""
    _of_dims("mv", input, 2, vec, 1)
    return matmul(input, vec)


@method()
@under_autocast("off")
def dot(input: Tensor, tensor: Tensor) -> Tensor:
    """The inner product of two vectors."""
    _of_dims("dot", input, 1, tensor, 1)
    return matmul(input, tensor)


@method("outer", "ger")
def outer(input: Tensor, vec2: Tensor) -> Tensor:
    """The outer product of two vectors: (N,) and (M,) give (N, M)."""
    _of_dims("outer", input, 1, vec2, 1)
    return input.reshape(-1, 1) * vec2


ger = outer


@method(inplace=True)
@under_autocast("half")
@in_float32
def addmm(input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta * input + alpha * mat1 @ mat2."""
    return input * beta + mm(mat1, mat2) * alpha if beta else mm(mat1, mat2) * alpha


@method(inplace=True)
@under_autocast("half")
@in_float32
def baddbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta * input + alpha * batch1 @ batch2, pair by pair."""
    return input * beta + bmm(batch1, batch2) * alpha if beta else bmm(batch1, batch2) * alpha


# ---------------------------------------------------------------------------------------------------------------------
# Parts of matrices


class _Triangle(Op):
    complex_rule = True

    def forward(self, x: Any, *, diagonal: int) -> Any:
        if x.ndim < 2:
            raise RuntimeError(f"{type(self).__name__.lower()}: input tensor must have at least 2 dimensions")
        self.diagonal = diagonal
        return getattr(array_module(x), type(self).__name__.lower())(row_major(x), diagonal)

    def backward(self, g: Any) -> Any:
        return type(self).apply(g, diagonal=self.diagonal)


class Tril(_Triangle):
    """The part on and below a diagonal; zeros elsewhere."""


class Triu(_Triangle):
    """The part on and above a diagonal; zeros elsewhere."""


for _op in (Tril, Triu):

    @samples(_op)
    def _(make: Any) -> Any:
        yield Sample(make(3, 4), diagonal=0)
        yield Sample(make(2, 3, 3), diagonal=-1)


@method(inplace=True)
def tril(input: Tensor, diagonal: int = 0) -> Tensor:
    """The part on and below a diagonal; zeros elsewhere."""
    return Tril.apply(input, diagonal=diagonal)


@method(inplace=True)
def triu(input: Tensor, diagonal: int = 0) -> Tensor:
    """The part on and above a diagonal; zeros elsewhere."""
    return Triu.apply(input, diagonal=diagonal)


class Diagonal(Op):
    """A diagonal of each matrix, as a view with the diagonal last."""

    complex_rule = True
    view = True

    def forward(self, x: Any, *, offset: int, dim1: int, dim2: int) -> Any:
        self.shape, self.params = x.shape, {"offset": offset, "dim1": dim1, "dim2": dim2}
        return _diagonal_view(x, offset, dim1, dim2)

    def backward(self, g: Any) -> Any:
        return FromDiagonal.apply(g, shape=self.shape, **self.params)


def _diagonal_view(x: Any, offset: int, dim1: int, dim2: int) -> Any:
    out = x.diagonal(offset, dim1, dim2)
    if isinstance(out, np.ndarray):  # NumPy forbids to write to it; CuPy does not
        out.flags.writeable = x.flags.writeable
    return out


class FromDiagonal(Op):
    """Zeros of a shape with a diagonal filled in."""

    complex_rule = True

    def forward(self, g: Any, *, shape: tuple[int, ...], offset: int, dim1: int, dim2: int) -> Any:
        self.params = {"offset": offset, "dim1": dim1, "dim2": dim2}
        out = array_module(g).zeros(shape, g.dtype)
        _diagonal_view(out, offset, dim1, dim2)[...] = g
        return out

    def backward(self, g: Any) -> Any:
        return Diagonal.apply(g, **self.params)


@samples(Diagonal)
def _(make: Any) -> Any:
    yield Sample(make(3, 4), offset=1, dim1=0, dim2=1)


@samples(FromDiagonal)
def _(make: Any) -> Any:
    yield Sample(make(3), shape=(3, 4), offset=0, dim1=0, dim2=1)


@method()
def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """The diagonal over two dimensions, as a view with it as the last dimension."""
    n = input.array.ndim
    first, second = normalize_dim(dim1, n, "diagonal"), normalize_dim(dim2, n, "diagonal")
    if first == second:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    return Diagonal.apply(input, offset=offset, dim1=first, dim2=second)


@method()
def diag_embed(input: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Matrices in the dimensions dim1 and dim2 with input's last dimension on their diagonal: N elements in N + |offset|."""
    n, rank = input.array.shape[-1] + abs(offset), input.array.ndim + 1
    dim1, dim2 = normalize_dim(dim1, rank, "diag_embed"), normalize_dim(dim2, rank, "diag_embed")
    if dim1 == dim2:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    others = iter(input.array.shape[:-1])
    shape = tuple(n if d in (dim1, dim2) else next(others) for d in range(rank))
    return FromDiagonal.apply(input, shape=shape, offset=offset, dim1=dim1, dim2=dim2)


@method()
def diag(input: Tensor, diagonal: int = 0) -> Tensor:
    """The matrix with a vector on its diagonal, or the diagonal of a matrix, as a copy."""
    if input.array.ndim == 1:
        return diag_embed(input, diagonal)
    if input.array.ndim != 2:
        raise RuntimeError(f"diag(): Supports 1D or 2D tensors. Got {input.array.ndim}D")
    return Diagonal.apply(input, offset=diagonal, dim1=0, dim2=1).clone()


@method()
def diagflat(input: Tensor, offset: int = 0) -> Tensor:
    """The matrix with all elements of input on a diagonal."""
    return diag_embed(input.reshape(-1), offset)


@method()
@under_autocast("full on cpu")
def trace(input: Tensor) -> Tensor:
    """The sum of a matrix's diagonal."""
    if input.array.ndim != 2:
        raise RuntimeError(f"trace: expected a matrix, but got tensor with dim {input.array.ndim}")
    return diagonal(input).sum()


# ---------------------------------------------------------------------------------------------------------------------
# Einstein's summation


class Einsum(Op):
    """Products of tensors summed over shared letters; the subscripts are explicit, `ab,bc->ac`."""

    complex_rule = True
    precision = "half"

    def forward(self, *operands: Any, subscripts: str) -> Any:
        self.inputs, _, self.output = subscripts.replace(" ", "").partition("->")
        self.shapes_of = [x.shape for x in operands]
        if any(type(x) is not type(operands[0]) for x in operands):  # CuPy would move them
            raise TypeError("the operands are not on one device")
        if len(operands) == 2:
            a, b = self.inputs.split(",")
            made = _as_matrix_product(a, b, self.output, *operands)
            if made is not None:
                return made
        return array_module(operands[0]).einsum(subscripts, *operands, optimize=len(operands) > 1)

    def backward(self, g: Any, operands: Any) -> Any:  # `operands`: all of them, as a list
        terms = self.inputs.split(",")
        gradients: list[Any] = []
        for i, (term, edge) in enumerate(zip(terms, self.edges, strict=True)):
            if edge is None:
                gradients.append(None)
                continue
            others = [(t, x) for j, (t, x) in enumerate(zip(terms, operands, strict=True)) if j != i]
            gradients.append(self._one(g, term, self.shapes_of[i], others))
        return tuple(gradients)

    def _one(self, g: Any, term: str, shape: tuple[int, ...], others: list[tuple[str, Any]]) -> Any:
        """The gradient of one operand: the others times g, with letters that occur nowhere else repeated."""
        letters = list(dict.fromkeys(term))  # a repeated letter means a diagonal
        known = set(self.output).union(*(t for t, _ in others))
        kept = [c for c in letters if c in known]
        result = einsum(
            ",".join([self.output, *(t for t, _ in others)]) + "->" + "".join(kept), g, *(x for _, x in others)
        )
        sizes = {c: shape[term.index(c)] for c in letters}
        if len(kept) < len(letters):
            result = result.reshape(tuple(sizes[c] if c in kept else 1 for c in letters))
            result = result * _ones(result, tuple(sizes[c] for c in letters))
        if len(letters) == len(term):
            return result
        return _onto_diagonals(result, term, letters, sizes)


def _as_matrix_product(a: str, b: str, out: str, x: Any, y: Any) -> Any:
    """einsum of two arrays as one product of matrices, for letters that each operand has once; None for other subscripts."""
    batch, summed = ([c for c in a if c in b and (c in out) is kept] for kept in (True, False))
    rows, columns = [c for c in a if c not in b], [c for c in b if c not in a]
    sizes = dict(zip(a, x.shape, strict=True)) | dict(zip(b, y.shape, strict=True))
    plain = all(len({*t}) == len(t) for t in (a, b, out)) and set(out) == {*batch, *rows, *columns}
    if not plain or x.dtype != y.dtype or any(sizes[c] != n for c, n in zip(a, x.shape, strict=True)):
        return None

    def lay(array: Any, term: str, *groups: list[str]) -> Any:
        order = array.transpose([term.index(c) for c in batch + groups[0] + groups[1]])
        return order.reshape([sizes[c] for c in batch] + [math.prod(sizes[c] for c in group) for group in groups])

    left, right = lay(x, a, rows, summed), lay(y, b, summed, columns)
    made = gemm(left, right, None) if summed else left * right
    letters = batch + rows + columns
    return made.reshape([sizes[c] for c in letters]).transpose([letters.index(c) for c in out])


def _ones(like: Any, shape: tuple[int, ...]) -> Any:
    raw = getattr(like, "array", like)
    return array_module(raw).ones(shape, raw.dtype)


def _onto_diagonals(g: Any, term: str, letters: list[str], sizes: dict[str, int]) -> Any:
    """g over distinct letters, placed where equal letters of `term` have equal indices."""
    xp = array_module(getattr(g, "array", g))
    mask = xp.ones((1,) * len(term), bool)
    for c in letters:
        places = [i for i, d in enumerate(term) if d == c]
        for p, q in zip(places, places[1:], strict=False):
            shape_p, shape_q = [1] * len(term), [1] * len(term)
            shape_p[p] = shape_q[q] = sizes[c]
            mask = mask & (xp.arange(sizes[c]).reshape(shape_p) == xp.arange(sizes[c]).reshape(shape_q))
    shape = [sizes[c] if term.index(c) == i else 1 for i, c in enumerate(term)]
    order = sorted(range(len(letters)), key=lambda k: term.index(letters[k]))
    assert order == list(range(len(letters)))
    return where(xp.broadcast_to(mask, tuple(sizes[c] for c in term)), g.reshape(tuple(shape)), 0.0)


@samples(Einsum)
def _(make: Any) -> Any:
    yield Sample(make(2, 3), make(3, 4), subscripts="ab,bc->ac")
    yield Sample(make(2, 3), make(2, 3), make(3), subscripts="ab,ab,b->a")
    yield Sample(make(3, 3), subscripts="aa->a", note="a diagonal")
    yield Sample(make(2, 3), subscripts="ab->b", note="a sum")


def einsum(equation: str, *operands: Any) -> Any:
    """Einstein's summation: einsum("bij,bjk->bik", x, y). Ellipsis and an implied result work as in NumPy."""
    if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
        operands = tuple(operands[0])
    arrays = [getattr(x, "array", x) for x in operands]
    return Einsum.apply(*operands, subscripts=_explicit(equation, arrays))


def _explicit(equation: str, arrays: list[Any]) -> str:
    """The subscripts with the ellipsis spelled out and the result written down."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(arrays):
        raise RuntimeError(f"einsum(): {len(terms)} subscripts in {equation!r} for {len(arrays)} operands")
    used = set(left + right)
    spare = [c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz" if c not in used]
    lengths = [a.ndim - len(t.replace("...", "")) for t, a in zip(terms, arrays, strict=True)]
    for term, n, a in zip(terms, lengths, arrays, strict=True):
        if n < 0 or (n and "..." not in term):
            raise RuntimeError(f"einsum(): the subscript {term!r} does not match an operand of shape {list(a.shape)}")
    longest = max([n for t, n in zip(terms, lengths, strict=True) if "..." in t], default=0)
    dots = "".join(spare[:longest])
    terms = [t.replace("...", dots[longest - n :]) for t, n in zip(terms, lengths, strict=True)]
    if arrow:
        right = right.replace("...", dots)
    else:
        letters = [c for c in "".join(terms) if c not in dots]
        right = dots + "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
    return ",".join(terms) + "->" + right


__all__ = [
    "addmm", "baddbmm", "bilinear", "bmm", "diag", "diag_embed", "diagflat", "diagonal", "dot", "einsum", "ger", "matmul", "mm", "mv", "outer",
    "spmm", "trace", "tril", "triu",
]  # fmt: skip
