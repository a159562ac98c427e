"""Inputs for every CUDA kernel, in C++ or in Numba, the same for the run on a CPU and on a GPU: odd sizes, and values that are hard.

CASES[name](rng) yields the arguments of the kernel of that name, floating-point arrays in float32. The tests of half
precision make float16 of them, but for what is wrapped in `Single`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

Arguments = tuple[Any, ...]
Cases = Callable[[np.random.Generator], Iterator[Arguments]]
CASES: dict[str, Cases] = {}


def cases(*names: str) -> Callable[[Cases], Cases]:
    """Register a generator of argument tuples for the kernels of these names."""

    def register(function: Cases) -> Cases:
        CASES.update(dict.fromkeys(names, function))
        return function

    return register


class Single(np.ndarray[Any, Any]):
    """A view, `x.view(Single)`, of an array that is float32 whatever the element type is: means and the like."""


def normal(rng: np.random.Generator, *shape: int) -> Any:
    return rng.standard_normal(shape).astype(np.float32)


WIDTHS = [(1, 1), (7, 1), (1, 7), (5, 33), (2, 3, 130), (3, 512), (2, 600), (3, 2052), (2, 4099)]


@cases("softmax", "log_softmax")
def softmax_cases(rng: np.random.Generator) -> Iterator[Arguments]:
    for shape in WIDTHS:
        yield 3 * normal(rng, *shape), -1
    inf, nan = np.inf, np.nan
    hard = [[-inf, -inf, -inf], [inf, 0, 1], [inf, inf, 0], [nan, 0, 1], [-inf, 0, 1], [1e30, -1e30, 1e30]]
    yield np.array(hard, np.float32), 1
    yield np.repeat(np.array(hard, np.float32), 200, axis=1), 1
    yield np.repeat(np.array(hard, np.float32), 400, axis=1), 1


@cases("softmax_backward", "log_softmax_backward")
def softmax_backward_cases(rng: np.random.Generator) -> Iterator[Arguments]:
    for shape in WIDTHS:
        x = normal(rng, *shape)
        yield normal(rng, *shape), x - x.max(-1, keepdims=True), -1


@cases("sigmoid", "erf")
def unary_cases(rng: np.random.Generator) -> Iterator[Arguments]:
    for n in (1, 3, 4, 37, 1024, 4097, 9001):
        yield (3 * normal(rng, n),)
    yield (np.array([[-np.inf, np.inf, np.nan, -1000.0, 1000.0, 0.0]], np.float32),)
    yield (normal(rng, 38)[1:],)  # not at a multiple of 16 bytes


@cases("gelu")
def gelu_cases(rng: np.random.Generator) -> Iterator[Arguments]:
    for (x,) in unary_cases(rng):
        for approximate in ("none", "tanh"):
            yield np.where(np.isinf(x), 5, x).astype(np.float32), approximate  # -inf * 0 is NaN, in either sign's limit


@cases("gelu_backward")
def gelu_backward_cases(rng: np.random.Generator) -> Iterator[Arguments]:
    for x, approximate in gelu_cases(rng):
        yield normal(rng, *x.shape), np.clip(x, -9, 9), approximate


@cases("relu")
def relu_cases(rng: np.random.Generator) -> Iterator[Arguments]:
    yield from unary_cases(rng)
    for n in (187, 100_001):
        yield (normal(rng, n),)


@cases("relu_backward")
def relu_backward_cases(rng: np.random.Generator) -> Iterator[Arguments]:
    for (x,) in unary_cases(rng):
        yield normal(rng, *x.shape), np.where(np.isinf(x), 5, np.maximum(x, 0)).astype(np.float32)


@cases("bias_activation")
def bias_cases(rng: np.random.Generator) -> Iterator[Arguments]:
    for shape in ((1, 1), (5, 7), (3, 2, 36), (9, 1028), (2, 4099)):
        for activation in ("relu", "sigmoid", "tanh", "gelu", "gelu_tanh"):
            yield 2 * normal(rng, *shape), normal(rng, shape[-1]), activation
    yield np.array([[np.nan, -1.0, 1.0]], np.float32), np.zeros(3, np.float32), "relu"


@cases("bias_activation_backward")
def bias_backward_cases(rng: np.random.Generator) -> Iterator[Arguments]:
    for x, _, activation in bias_cases(rng):
        if not activation.startswith("gelu"):
            out = np.maximum(x, 0) if activation == "relu" else np.tanh(x)
            yield normal(rng, *x.shape), out.astype(np.float32), activation


@cases("bias_gelu_backward")
def bias_gelu_backward_cases(rng: np.random.Generator) -> Iterator[Arguments]:
    for x, bias, activation in bias_cases(rng):
        if activation.startswith("gelu"):
            yield normal(rng, *x.shape), x, bias, "none" if activation == "gelu" else "tanh"


@cases("sum_axes", "max_axes", "min_axes")
def reduce_cases(rng: np.random.Generator) -> Iterator[Arguments]:
    for shape in ((1, 1), (1, 7), (33, 1), (5, 33), (70, 40), (300, 3), (2, 4099)):
        for axes in ((0, 1), (0,), (1,)):
            yield normal(rng, *shape), axes, False
    for several in ((0,), (1,), (2,), (0, 2), (1, 2), (0, 1, 2)):
        yield normal(rng, 3, 40, 33), several, True
    yield normal(rng, 2, 2, 2051), (0, 2), True
    yield normal(rng, 2, 3, 5, 4).transpose(0, 3, 1, 2), (0, 2, 3), False  # channels-last
    yield normal(rng, 2, 3, 2100), (0, 2), False  # in two steps, rows of more than a warp takes
    yield normal(rng, 110, 40), (0, 1), False
    yield np.array([[1.0, np.nan, 2.0], [-np.inf, 3.0, 0.0]], np.float32), (1,), False
    yield np.array([[1.0, np.nan], [-3.0, 0.0], [5.0, 2.0]], np.float32), (0,), False


@cases("cross_entropy")
def cross_entropy_cases(rng: np.random.Generator) -> Iterator[Arguments]:
    for count, classes in ((1, 1), (5, 10), (3, 37), (4, 1000), (3, 1027), (2, 5004)):
        x, y = 3 * normal(rng, count, classes), rng.integers(0, classes, count)
        weight = rng.uniform(0.5, 2, classes).astype(np.float32)
        yield x, y, None, -100, 0.0
        yield x, np.where(np.arange(count) == 1, -100, y), weight, -100, 0.0
        yield x, np.where(np.arange(count) == 1, 0, y), None, 0, 0.1
        yield x, y, weight, -100, 0.25
    yield normal(rng, 2, 6) + np.float32(1000), np.array([1, 2]), None, -100, 0.0
    yield np.array([[np.inf, 0, 1], [np.nan, 0, 1], [-np.inf, 0, 1]], np.float32), np.array([1, 2, 1]), None, -100, 0.0


@cases("cross_entropy_backward")
def cross_entropy_backward_cases(rng: np.random.Generator) -> Iterator[Arguments]:
    for logits, *rest in list(cross_entropy_cases(rng))[:-2]:
        lse = np.log(np.exp(logits.astype(np.float64)).sum(1))
        yield normal(rng, len(logits)), logits, *rest, lse


@cases("layer_norm")
def layer_norm_cases(rng: np.random.Generator) -> Iterator[Arguments]:
    for shape in ((1, 1), (5, 7), (4, 64), (3, 1000), (2, 4099), (1, 4100)):
        x, weight, bias = normal(rng, *shape), normal(rng, shape[1]), normal(rng, shape[1])
        for w, b in ((weight, bias), (None, None), (weight, None)):
            yield x + np.float32(3), w, b, 1e-3


@cases("layer_norm_backward")
def layer_norm_backward_cases(rng: np.random.Generator) -> Iterator[Arguments]:
    for shape in ((1, 1), (5, 7), (70, 64), (9, 1000), (2, 4099), (1, 8200)):
        x, weight = normal(rng, *shape), normal(rng, shape[1])
        mean, rstd = x.mean(1), 1 / np.sqrt(x.var(1) + 1e-3)
        for w in (weight, None):
            yield normal(rng, *shape), x, *(a.astype(np.float32).view(Single) for a in (mean, rstd)), w


@cases("rms_norm")
def rms_norm_cases(rng: np.random.Generator) -> Iterator[Arguments]:
    for x, weight, _, eps in layer_norm_cases(rng):
        yield x, weight, eps


@cases("rms_norm_backward")
def rms_norm_backward_cases(rng: np.random.Generator) -> Iterator[Arguments]:
    for g, x, _, rstd, weight in layer_norm_backward_cases(rng):
        yield g, x, rstd, weight


@cases("philox")
def philox_cases(rng: np.random.Generator) -> Iterator[Arguments]:
    for n in (1, 3, 4, 37, 1030):
        yield np.zeros(n, np.uint32), 7, 0
    yield np.zeros(17, np.uint32), 2**64 - 1, 2**64 - 2  # the counter's carry


@cases("uniform", "normal")
def fill_cases(rng: np.random.Generator) -> Iterator[Arguments]:
    for n in (1, 3, 4, 37, 1030):
        yield np.zeros(n, np.float32).view(Single), 7, 2**64 - 3


@cases("widen")
def widen_cases(rng: np.random.Generator) -> Iterator[Arguments]:
    for n in (1, 7, 8, 37, 1024, 4099):
        yield (normal(rng, n),)
    yield (normal(rng, 33)[1:],)  # not at a multiple of 16 bytes
    yield (np.array([0, -0.0, np.inf, -np.inf, np.nan, 1e-40], np.float32),)


@cases("narrow")
def narrow_cases(rng: np.random.Generator) -> Iterator[Arguments]:
    like = normal(rng, 1)
    for n in (1, 7, 8, 37, 1024, 4099):
        yield normal(rng, n).view(Single), like
    yield normal(rng, 33)[1:].view(Single), like
    ties = [1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-11, 1 + 3 * 2**-11, 0, -0.0, np.inf, -np.inf, np.nan]
    yield np.array(ties, np.float32).view(Single), like


@cases("dropout")
def dropout_cases(rng: np.random.Generator) -> Iterator[Arguments]:
    for n in (1, 3, 4, 37, 1030):
        for p in (0.0, 0.5, 0.75, 1.0):  # probabilities whose scale float16 holds exactly
            yield normal(rng, n), p, 11, 2**64 - 3
    yield normal(rng, 30)[1:], 0.5, 3, 0


def states(rng: np.random.Generator, n: int) -> list[Any]:
    return [normal(rng, n), normal(rng, n), normal(rng, n), normal(rng, n) ** 2]


ADAM_OPTIONS = [
    (1, 1e-2, 0.9, 0.999, 1e-8, 0.0, False, False),
    (7, 1e-2, 0.9, 0.99, 1e-6, 0.1, False, True),
    (3, 1e-2, 0.8, 0.999, 1e-8, 0.1, True, False),
]
SGD_OPTIONS = [
    (0.1, 0.9, 0.0, 0.0, False, False, True),
    (0.1, 0.9, 0.5, 0.1, False, True, False),
    (0.1, 0.8, 0.0, 0.1, True, False, False),
]


@cases("adam")
def adam_cases(rng: np.random.Generator) -> Iterator[Arguments]:
    for n in (1, 37, 4096, 16385):
        for options in ADAM_OPTIONS:
            yield *states(rng, n), None, *options
            yield *states(rng, n), normal(rng, n) ** 2, *options
        step, *others = ADAM_OPTIONS[-1]
        yield *states(rng, n), None, np.array(step, np.float32), *others


@cases("sgd")
def sgd_cases(rng: np.random.Generator) -> Iterator[Arguments]:
    for n in (1, 37, 4096, 16385):
        for options in SGD_OPTIONS:
            yield normal(rng, n), normal(rng, n), normal(rng, n), *options
        yield normal(rng, n), normal(rng, n), None, 0.1, 0.0, 0.0, 0.1, False, True, True


@cases("adam_many")
def adam_many_cases(rng: np.random.Generator) -> Iterator[Arguments]:
    for sizes in ((5,), (1, 16384, 37), (16385, 3, 4, 20000)):
        lists = [list(arrays) for arrays in zip(*(states(rng, n) for n in sizes), strict=True)]
        yield *lists, None, *ADAM_OPTIONS[1]
        yield *lists, [normal(rng, n) ** 2 for n in sizes], *ADAM_OPTIONS[2]


@cases("sgd_many")
def sgd_many_cases(rng: np.random.Generator) -> Iterator[Arguments]:
    for sizes in ((5,), (1, 16384, 37), (16385, 3, 4, 20000)):
        lists = [[normal(rng, n) for n in sizes] for _ in range(3)]
        yield *lists[:2], None, *SGD_OPTIONS[0]
        yield *lists, *SGD_OPTIONS[1]


@cases("gemm")
def gemm_cases(rng: np.random.Generator) -> Iterator[Arguments]:
    for m, n, k in ((1, 1, 1), (5, 7, 3), (33, 40, 24), (3, 8, 8), (130, 136, 72), (37, 129, 17)):
        a, b = normal(rng, m, k) / np.float32(k**0.5), normal(rng, k, n)
        yield a, b, normal(rng, n)
        yield a, b, None
    yield normal(rng, 2, 3, 16), normal(rng, 16, 24), None


@cases("attention")
def attention_cases(rng: np.random.Generator) -> Iterator[Arguments]:
    for n, queries, keys, width in ((1, 1, 1, 64), (2, 70, 33, 64), (1, 33, 150, 64), (1, 65, 64, 32)):
        for causal in (False, True):
            q, k, v = (normal(rng, 1, n, rows, width) for rows in (queries, keys, keys))
            yield q, k, v, width**-0.5, causal, None, 0.0, 0, 0


@cases("attention_backward")
def attention_backward_cases(rng: np.random.Generator) -> Iterator[Arguments]:
    from ..kernels.attention import attention

    for q, k, v, *options in attention_cases(rng):
        out, lse = attention.reference(q, k, v, *options)
        yield normal(rng, *q.shape), q, k, v, out, lse, *options


@cases("embedding_backward")
def embedding_cases(rng: np.random.Generator) -> Iterator[Arguments]:
    for count, rows, width in ((1, 1, 1), (7, 3, 5), (50, 10, 64), (9, 20, 130)):
        yield normal(rng, count, width), rng.integers(0, rows, count), rows


def sparse_rows(rng: np.random.Generator, columns: int, lengths: list[int]) -> tuple[Any, Any]:
    """Pointers and columns of a matrix with these many entries in its rows, some of them in one place."""
    pointers = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return pointers, rng.integers(0, columns, pointers[-1]).astype(np.int32)


SPARSE: list[tuple[int, list[int]]] = [  # columns, and the number of entries in each row
    (1, [1]),
    (7, [3, 0, 0, 33, 1, 0]),
    (50, [0, 1300, 2]),  # cut into pieces of 128 entries and ends of rows, more than carry into a row at once
    (9, [127, 0, 127, 128, 1, 255]),  # rows that end where pieces do
    (4, [0] * 150),
]


@cases("spmm")
def spmm_cases(rng: np.random.Generator) -> Iterator[Arguments]:
    from ..kernels.sparse import cut

    for columns, lengths in SPARSE:
        pointers, indices = sparse_rows(rng, columns, lengths)
        values, cuts = normal(rng, indices.size), cut(pointers, indices.size)
        yield values, normal(rng, columns), pointers, indices, cuts
        for width in (1, 3, 33, 128, 200):
            yield values, normal(rng, columns, width), pointers, indices, cuts if width in (33, 128) else None
    yield values, normal(rng, columns, 0), pointers, indices, cuts
    pointers, indices = sparse_rows(rng, 3, [2, 4])
    dense = np.array([[np.inf, -np.inf], [np.nan, 1], [2, 3]], np.float32)
    yield np.array([1, 0, 2, -1, 1, 1], np.float32), dense, pointers, np.array([0, 2, 2, 2, 2, 2], np.int32), None
    yield normal(rng, 6), normal(rng, 8, 3).T, pointers, indices, cut(pointers, 6)  # not contiguous
    nothing = np.zeros(0, np.float32), np.zeros((0, 5), np.float32), np.zeros(4, np.int64), np.zeros(0, np.int32)
    yield *nothing, cut(np.zeros(4, np.int64), 0)
    yield nothing[0], nothing[1], np.zeros(1, np.int64), nothing[3], None


@cases("sddmm")
def sddmm_cases(rng: np.random.Generator) -> Iterator[Arguments]:
    for columns, lengths in SPARSE:
        pointers, indices = sparse_rows(rng, columns, lengths)
        yield normal(rng, len(lengths)), normal(rng, columns), pointers, indices
        for width in (0, 1, 3, 33, 128, 200):
            yield normal(rng, len(lengths), width), normal(rng, columns, width), pointers, indices
    pointers, indices = sparse_rows(rng, 3, [2, 4])
    yield normal(rng, 6, 8)[::3], normal(rng, 8, 3).T, pointers, indices  # not contiguous


@cases("add_to_rows")
def add_to_rows_cases(rng: np.random.Generator) -> Iterator[Arguments]:
    for count, rows, width in ((1, 1, 1), (7, 3, 5), (50, 10, 64), (9, 20, 130), (70, 1, 8)):
        yield normal(rng, rows, width), rng.integers(0, rows, count), normal(rng, count, width), -0.5, False
        index = rng.permutation(rows)[:count]
        yield normal(rng, rows, width), index, normal(rng, index.size, width), 2.0, True


@cases("adam_rows")
def adam_rows_cases(rng: np.random.Generator) -> Iterator[Arguments]:
    for count, rows, width in ((1, 1, 1), (0, 3, 4), (7, 20, 5), (10, 10, 130)):
        index = (rng.permutation(rows)[:count],)
        table, mean, square = normal(rng, rows, width), normal(rng, rows, width), normal(rng, rows, width) ** 2
        yield table, mean, square, index, normal(rng, count, width), 0.1, 0.9, 0.999, 1e-8


# sequences that run at each time step; of ALL_RUN there are few, and of MANY_RUN three groups, the last one smaller
THREE_LENGTHS, ALL_RUN, MANY_RUN = (4, 3, 3), (7, 7, 7), (19, 19, 19)


def rnn_inputs(rng: np.random.Generator, H: int, relu: bool, sizes: Any) -> tuple[Any, ...]:
    T, B = len(sizes), sizes[0]
    bias = normal(rng, H) if H != 35 else None
    return (
        normal(rng, T, B, 5),
        normal(rng, H, 5) / 4,
        normal(rng, H, H) / 4,
        bias,
        normal(rng, B, H),
        sizes,
        H == 35,
        relu,
    )


RNNS = (
    (1, False, ALL_RUN),
    (36, True, ALL_RUN),
    (35, False, ALL_RUN),
    (35, True, MANY_RUN),
    (33, False, THREE_LENGTHS),
)


@cases("rnn")
def rnn_cases(rng: np.random.Generator) -> Iterator[Arguments]:
    for arguments in RNNS:
        yield rnn_inputs(rng, *arguments)


@cases("rnn_backward")
def rnn_backward_cases(rng: np.random.Generator) -> Iterator[Arguments]:
    from ..kernels.recurrent import rnn

    for arguments in RNNS:
        x, w_ih, w_hh, bias, h0, sizes, reverse, relu = rnn_inputs(rng, *arguments)
        out, _, seen = rnn.reference(x, w_ih, w_hh, bias, h0, sizes, reverse, relu)
        yield normal(rng, *out.shape), normal(rng, *h0.shape), w_ih, w_hh, out, seen, sizes, reverse, relu


def lstm_inputs(rng: np.random.Generator, H: int, P: int | None, sizes: Any = THREE_LENGTHS) -> tuple[Any, ...]:
    T, B = len(sizes), sizes[0]
    weights = normal(rng, 4 * H, 5) / 4, normal(rng, 4 * H, P or H) / 4, normal(rng, 4 * H) if P else None
    states = normal(rng, B, P or H), normal(rng, B, H)
    reverse = bool(P) or H == 35
    return normal(rng, T, B, 5), *weights, *states, normal(rng, P, H) / 4 if P else None, sizes, reverse


LSTMS = ((1, None), (33, None), (40, 7), (1, None, ALL_RUN), (6, 5, ALL_RUN), (36, None, ALL_RUN), (35, None, ALL_RUN),
         (35, None, MANY_RUN))  # fmt: skip


@cases("lstm")
def lstm_cases(rng: np.random.Generator) -> Iterator[Arguments]:
    for arguments in LSTMS:
        yield lstm_inputs(rng, *arguments)


@cases("lstm_backward")
def lstm_backward_cases(rng: np.random.Generator) -> Iterator[Arguments]:
    from ..kernels.recurrent import lstm

    for arguments in LSTMS:
        x, w_ih, w_hh, bias, h0, c0, w_hr, sizes, reverse = lstm_inputs(rng, *arguments)
        out, _, _, *kept = lstm.reference(x, w_ih, w_hh, bias, h0, c0, w_hr, sizes, reverse)
        gradients = (normal(rng, *out.shape), normal(rng, *h0.shape), normal(rng, *c0.shape))
        yield *gradients, w_ih, w_hh, w_hr, *kept, sizes, reverse


def gru_inputs(rng: np.random.Generator, H: int, reverse: bool, sizes: Any = THREE_LENGTHS) -> tuple[Any, ...]:
    T, B = len(sizes), sizes[0]
    biases = (normal(rng, 3 * H), normal(rng, 3 * H)) if reverse else (None, None)
    weights = normal(rng, 3 * H, 5) / 4, normal(rng, 3 * H, H) / 4
    return normal(rng, T, B, 5), *weights, *biases, normal(rng, B, H), sizes, reverse


GRUS = (
    (1, False),
    (33, False),
    (40, True),
    (1, True, ALL_RUN),
    (36, False, ALL_RUN),
    (35, True, ALL_RUN),
    (35, True, MANY_RUN),
)


@cases("gru")
def gru_cases(rng: np.random.Generator) -> Iterator[Arguments]:
    for arguments in GRUS:
        yield gru_inputs(rng, *arguments)


@cases("gru_backward")
def gru_backward_cases(rng: np.random.Generator) -> Iterator[Arguments]:
    from ..kernels.recurrent import gru

    for arguments in GRUS:
        x, w_ih, w_hh, b_ih, b_hh, h0, sizes, reverse = gru_inputs(rng, *arguments)
        out, _, *kept = gru.reference(x, w_ih, w_hh, b_ih, b_hh, h0, sizes, reverse)
        yield normal(rng, *out.shape), normal(rng, *h0.shape), x, w_ih, w_hh, *kept, sizes, reverse


@cases("gemm_int8")
def gemm_int8_cases(rng: np.random.Generator) -> Iterator[Arguments]:
    for m, n, k in ((1, 1, 1), (5, 7, 33), (3, 9, 16), (130, 70, 144)):
        x, w = (rng.integers(-128, 128, (rows, k), np.int8) for rows in (m, n))
        scales = rng.uniform(0, 0.01, m).astype(np.float32), rng.uniform(0, 0.01, n).astype(np.float32)
        yield x, w, *scales, normal(rng, n)
        yield x, w, *scales, None


PLANES = [  # sizes, kernel, stride, padding, dilation
    ((1, 1), (1, 1), (1, 1), (0, 0), (1, 1)),
    ((7, 9), (3, 2), (2, 1), (1, 0), (1, 2)),
    ((12, 12), (2, 2), (2, 2), (0, 0), (1, 1)),
    ((5, 6), (3, 3), (1, 1), (1, 1), (1, 1)),
    ((11,), (3,), (2,), (1,), (2,)),
]


def windows(size: Any, kernel: Any, stride: Any, padding: Any, dilation: Any) -> tuple[int, ...]:
    each = zip(size, kernel, stride, padding, dilation, strict=True)
    return tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in each)


@cases("max_pool_index", "max_pool")
def max_pool_cases(rng: np.random.Generator) -> Iterator[Arguments]:
    for size, *geometry in PLANES:
        x = np.round(2 * normal(rng, 2, 3, *size))  # with equal values
        yield x, *geometry, windows(size, *geometry)
    x = np.array([[[np.nan, 1, np.nan, 0, -np.inf, -np.inf]]], np.float32)
    yield x, (3,), (3,), (0,), (1,), (2,)
    yield x, (2,), (2,), (1,), (1,), (5,)  # windows that reach beyond the end


@cases("max_pool_backward")
def max_pool_backward_cases(rng: np.random.Generator) -> Iterator[Arguments]:
    from ..kernels.pooling import max_pool_index

    for x, *geometry, positions in list(max_pool_cases(rng))[: len(PLANES)]:
        yield normal(rng, 2, 3, *positions), max_pool_index.reference(x, *geometry, positions), x.shape[2:], *geometry


@cases("sum_pool")
def sum_pool_cases(rng: np.random.Generator) -> Iterator[Arguments]:
    for size, kernel, stride, padding, _ in PLANES:
        yield (
            normal(rng, 2, 3, *size),
            kernel,
            stride,
            padding,
            windows(size, kernel, stride, padding, (1, 1)[: len(size)]),
        )


@cases("sum_pool_backward")
def sum_pool_backward_cases(rng: np.random.Generator) -> Iterator[Arguments]:
    for x, *geometry, positions in sum_pool_cases(rng):
        yield normal(rng, 2, 3, *positions), x.shape[2:], *geometry


ADAPTIVE = [((5, 3), (3, 2)), ((3,), (7,)), ((12, 11), (1, 1)), ((7, 9), (1, 4)), ((40,), (3,)), ((1, 1), (2, 2))]


@cases("adaptive_sum_pool")
def adaptive_sum_cases(rng: np.random.Generator) -> Iterator[Arguments]:
    for size, positions in ADAPTIVE:
        yield normal(rng, 2, 3, *size), positions


@cases("adaptive_max_pool")
def adaptive_max_cases(rng: np.random.Generator) -> Iterator[Arguments]:
    for size, positions in ADAPTIVE:
        yield np.round(2 * normal(rng, 2, 3, *size)), positions  # with equal values
    yield np.array([[[np.nan, 1, np.nan, 0, -np.inf, -np.inf]]], np.float32), (2,)
    yield np.where(rng.random((1, 2, 9, 8)) < 0.1, np.nan, normal(rng, 1, 2, 9, 8)).astype(np.float32), (1, 2)


@cases("adaptive_sum_pool_backward")
def adaptive_sum_backward_cases(rng: np.random.Generator) -> Iterator[Arguments]:
    for size, positions in ADAPTIVE:
        yield normal(rng, 2, 3, *positions), size


@cases("adaptive_max_pool_backward")
def adaptive_max_backward_cases(rng: np.random.Generator) -> Iterator[Arguments]:
    from ..kernels.pooling import adaptive_max_pool

    for size, positions in ADAPTIVE:
        index = adaptive_max_pool.reference(np.round(2 * normal(rng, 2, 3, *size)), positions)[1]
        yield normal(rng, *index.shape), index.astype(np.int64), size


@cases("pick")
def pick_cases(rng: np.random.Generator) -> Iterator[Arguments]:
    yield normal(rng, 2, 3, 4, 5), rng.integers(-1, 20, (2, 3, 3, 2))
    yield normal(rng, 1, 2, 300), rng.integers(0, 300, (1, 2, 70))


@cases("unfold")
def unfold_cases(rng: np.random.Generator) -> Iterator[Arguments]:
    for size, *geometry in PLANES:
        yield normal(rng, 2, 3, *size), *geometry


@cases("fold")
def fold_cases(rng: np.random.Generator) -> Iterator[Arguments]:
    for size, kernel, *geometry in PLANES:
        count = int(np.prod(windows(size, kernel, *geometry)))
        yield normal(rng, 2, 3 * int(np.prod(kernel)), count), size, kernel, *geometry


CONVOLUTIONS = [  # B, C, O, sizes, kernel, stride, padding, dilation, groups
    (2, 3, 5, *PLANES[0], 1),
    (1, 33, 70, (9, 8), (3, 3), (1, 1), (1, 1), (1, 1), 1),
    (2, 3, 9, *PLANES[1], 1),
    (1, 1, 8, (11, 13), (5, 5), (3, 2), (2, 1), (1, 1), 1),  # of a stride of 3 some remainders see one tap, others two
    (3, 16, 24, (7, 6), (3, 2), (2, 2), (1, 1), (2, 3), 2),
    (2, 6, 6, (5, 6), (3, 3), (1, 1), (1, 1), (1, 1), 6),
    (2, 9, 8, (6, 5), (1, 1), (2, 2), (0, 0), (1, 1), 1),  # numbers that no window sees
    (1, 10, 12, *PLANES[4], 2),
]


def convolutions(rng: np.random.Generator) -> Iterator[tuple[Any, Any, Any, Any]]:
    """x, weight, the gradient of the result, and the geometry. Sums of about n products are sums of size 1."""
    for B, C, others, size, kernel, *geometry, groups in CONVOLUTIONS:
        weight = normal(rng, others, C // groups, *kernel) / np.float32((C // groups * np.prod(kernel)) ** 0.5)
        g = normal(rng, B, others, *windows(size, kernel, *geometry))
        yield normal(rng, B, C, *size), weight, g, (*geometry, groups)


@cases("conv_forward")
def conv_cases(rng: np.random.Generator) -> Iterator[Arguments]:
    for x, weight, _, geometry in convolutions(rng):
        yield x, weight, normal(rng, len(weight)) if len(x) > 1 else None, *geometry


@cases("conv_backward_input")
def conv_input_cases(rng: np.random.Generator) -> Iterator[Arguments]:
    for x, weight, g, geometry in convolutions(rng):
        yield g, weight, normal(rng, x.shape[1]) if len(x) > 1 else None, x.shape, *geometry


@cases("conv_backward_weight")
def conv_weight_cases(rng: np.random.Generator) -> Iterator[Arguments]:
    for x, weight, g, geometry in convolutions(rng):
        yield g / np.float32((g.size / len(weight)) ** 0.5), x, weight.shape, *geometry


# of kernels that exist in Numba-CUDA only


@cases("row_major")
def transpose_cases(rng: np.random.Generator) -> Iterator[Arguments]:
    for rows, columns in ((2, 3), (33, 31), (500, 700)):
        yield (normal(rng, rows, columns).T,)


@cases("prefix_sum")
def prefix_sum_cases(rng: np.random.Generator) -> Iterator[Arguments]:
    for n in (1, 65, 64 * 64 + 1, 100_001):
        yield (rng.integers(-9, 9, n).astype(np.float32),)  # exact in any order


@cases("histogram")
def histogram_cases(rng: np.random.Generator) -> Iterator[Arguments]:
    for n, count in ((1, 1), (300, 7), (100_001, 1000)):
        yield rng.integers(0, count, n), count
