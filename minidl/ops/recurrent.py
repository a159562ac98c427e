"""Recurrent sequences as operations: one layer in one direction.

The kernels know the first derivative. For higher ones each operation stands beside its plain form, step by step in
differentiable operations, and that is what is differentiated then.

Letters: T time, B batch, I input size, H hidden size, P size of the projected state.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd.op import Op, wrap
from ..kernels import array_module
from ..kernels import recurrent as kernels
from ..kernels.recurrent import Sizes
from ..tensor import Tensor
from ..testing.samples import Sample, samples
from .activation import relu as relu_of
from .activation import sigmoid
from .define import differentiated
from .joining import cat, stack
from .linalg import linear
from .trigonometric import tanh


class RNNSequence(Op):
    """x (T, B, I), w_ih (H, I), w_hh (H, H), bias (H,) or None, h0 (B, H) to outputs (T, B, H) and the last states (B, H)."""

    precision = "half"
    several = True

    def forward(
        self, x: Any, w_ih: Any, w_hh: Any, bias: Any, h0: Any, *, sizes: Sizes, reverse: bool, relu: bool
    ) -> Any:
        _check_dtypes(self, x, w_ih, h0)
        self.options = (sizes, reverse, relu)
        out, last, self.seen = kernels.rnn(x, w_ih, w_hh, bias, h0, *self.options)
        return out, last

    def backward(self, g: Any, x: Any, w_ih: Any, w_hh: Any, bias: Any, h0: Any, out: Any) -> Any:
        return kernels.rnn_backward(*_complete(g, out), w_ih, w_hh, out[0], self.seen, *self.options)

    def composite(self, g: Any, x: Tensor, w_ih: Tensor, w_hh: Tensor, bias: Any, h0: Tensor, out: Any) -> Any:
        def plain(x: Tensor, w_ih: Tensor, w_hh: Tensor, bias: Any, h: Tensor) -> Any:
            return _rnn_steps(linear(x, w_ih, bias), w_hh, h, *self.options)

        return differentiated(self, plain, (x, w_ih, w_hh, bias, h0), g)


class LSTMSequence(Op):
    """x (T, B, I), w_ih (4H, I), w_hh (4H, P), bias (4H,) or None, h0 (B, P), c0 (B, H), w_hr (P, H) or None to outputs
    (T, B, P), last h and c."""

    precision = "half"
    several = True

    def forward(
        self, x: Any, w_ih: Any, w_hh: Any, bias: Any, h0: Any, c0: Any, w_hr: Any, *, sizes: Sizes, reverse: bool
    ) -> Any:
        _check_dtypes(self, x, w_ih, h0, c0)
        self.options = (sizes, reverse)
        out, h, c, *self.saved = kernels.lstm(x, w_ih, w_hh, bias, h0, c0, w_hr, *self.options)
        return out, h, c

    def backward(self, g: Any, x: Any, w_ih: Any, w_hh: Any, bias: Any, h0: Any, c0: Any, w_hr: Any, out: Any) -> Any:
        return kernels.lstm_backward(*_complete(g, out), w_ih, w_hh, w_hr, *self.saved, *self.options)

    def composite(
        self, g: Any, x: Tensor, w_ih: Tensor, w_hh: Tensor, bias: Any, h0: Tensor, c0: Tensor, w_hr: Any, out: Any
    ) -> Any:
        def plain(x: Tensor, w_ih: Tensor, w_hh: Tensor, bias: Any, h: Tensor, c: Tensor, w_hr: Any) -> Any:
            return _lstm_steps(linear(x, w_ih, bias), w_hh, h, c, w_hr, *self.options)

        return differentiated(self, plain, (x, w_ih, w_hh, bias, h0, c0, w_hr), g)


class GRUSequence(Op):
    """x (T, B, I), w_ih (3H, I), w_hh (3H, H), b_ih and b_hh (3H,) or None, h0 (B, H) to outputs (T, B, H) and the last
    states (B, H)."""

    precision = "half on cuda"  # on the CPU PyTorch's GRU ends in float32
    several = True

    def forward(
        self, x: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, h0: Any, *, sizes: Sizes, reverse: bool
    ) -> Any:
        _check_dtypes(self, x, w_ih, h0)
        self.options = (sizes, reverse)
        out, last, *self.saved = kernels.gru(x, w_ih, w_hh, b_ih, b_hh, h0, *self.options)
        return out, last

    def backward(self, g: Any, x: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, h0: Any, out: Any) -> Any:
        return kernels.gru_backward(*_complete(g, out), x, w_ih, w_hh, *self.saved, *self.options)

    def composite(
        self, g: Any, x: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Any, b_hh: Any, h0: Tensor, out: Any
    ) -> Any:
        def plain(x: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Any, b_hh: Any, h: Tensor) -> Any:
            return _gru_steps(linear(x, w_ih, b_ih), w_hh, b_hh, h, *self.options)

        return differentiated(self, plain, (x, w_ih, w_hh, b_ih, b_hh, h0), g)


def _check_dtypes(op: Op, x: Any, w_ih: Any, *states: Any) -> None:
    if any(a.dtype != x.dtype for a in (w_ih, *states)):
        found = ", ".join(str(a.dtype) for a in states)
        raise RuntimeError(
            f"{type(op).__name__}: expected the input, the weights and the states to have the same dtype, but got {x.dtype}, "
            f"{w_ih.dtype} and {found}; convert with to()"
        )


def _complete(g: list[Any], out: tuple[Any, ...]) -> list[Any]:
    """The gradients of all results, zeros for those that nothing depends on."""
    return [array_module(o).zeros_like(o) if d is None else d for d, o in zip(g, out, strict=True)]


# ---------------------------------------------------------------------------------------------------------------------
# The plain forms, from inputs that are multiplied with their weights already


def _with_rest(new: Tensor, old: Tensor) -> Tensor:
    """new (n, H) followed by the rows of old (B, H) from n on."""
    n = new.array.shape[0]
    return new if n == old.array.shape[0] else cat([new, old[n:]])


def _in_time(outputs: dict[int, Tensor], B: int) -> Tensor:
    """Outputs (n, H) of each time step, filled up with zeros to B rows, as (T, B, H)."""
    rows = []
    for _, y in sorted(outputs.items()):
        missing = B - y.array.shape[0]
        zeros = wrap(array_module(y.array).zeros((missing, y.array.shape[1]), y.array.dtype))
        rows.append(cat([y, zeros]) if missing else y)
    return stack(rows)


def _rnn_steps(x: Tensor, w_hh: Tensor, h: Tensor, sizes: Sizes, reverse: bool, relu: bool) -> Any:
    outputs = {}
    for t, n in kernels.steps(sizes, reverse):
        a = x[t, :n] + h[:n] @ w_hh.T
        outputs[t] = relu_of(a) if relu else tanh(a)
        h = _with_rest(outputs[t], h)
    return _in_time(outputs, h.array.shape[0]), h


def _lstm_steps(x: Tensor, w_hh: Tensor, h: Tensor, c: Tensor, w_hr: Tensor | None, sizes: Sizes, reverse: bool) -> Any:
    outputs = {}
    for t, n in kernels.steps(sizes, reverse):
        i, f, g, o = (x[t, :n] + h[:n] @ w_hh.T).chunk(4, 1)
        new_c = sigmoid(f) * c[:n] + sigmoid(i) * tanh(g)
        hidden = sigmoid(o) * tanh(new_c)
        outputs[t] = hidden if w_hr is None else hidden @ w_hr.T
        h, c = _with_rest(outputs[t], h), _with_rest(new_c, c)
    return _in_time(outputs, h.array.shape[0]), h, c


def _gru_steps(x: Tensor, w_hh: Tensor, b_hh: Tensor | None, h: Tensor, sizes: Sizes, reverse: bool) -> Any:
    outputs = {}
    for t, n in kernels.steps(sizes, reverse):
        w = h[:n] @ w_hh.T if b_hh is None else h[:n] @ w_hh.T + b_hh
        (xr, xz, xn), (wr, wz, wn) = x[t, :n].chunk(3, 1), w.chunk(3, 1)
        z = sigmoid(xz + wz)
        new = tanh(xn + sigmoid(xr + wr) * wn)
        outputs[t] = (1 - z) * new + z * h[:n]
        h = _with_rest(outputs[t], h)
    return _in_time(outputs, h.array.shape[0]), h


@samples(RNNSequence)
def _(make: Any) -> Any:
    yield Sample(make(3, 2, 3), make(4, 3), make(4, 4), make(4), make(2, 4), sizes=(2, 2, 2), reverse=False, relu=False)
    yield Sample(
        make(3, 3, 2), make(2, 2), make(2, 2), None, make(3, 2), sizes=(3, 2, 1), reverse=True, relu=False,
        note="of three lengths",
    )  # fmt: skip
    positive = [np.abs(make(*shape)) + 0.1 for shape in ((2, 2, 3), (2, 3), (2, 2), (2,), (2, 2))]
    yield Sample(*positive, sizes=(2, 2), reverse=False, relu=True)


@samples(LSTMSequence)
def _(make: Any) -> Any:
    arrays = make(3, 2, 3), make(8, 3), make(8, 2), make(8), make(2, 2), make(2, 2), None
    yield Sample(*arrays, sizes=(2, 2, 2), reverse=False)
    arrays = make(3, 3, 3), make(8, 3), make(8, 2), None, make(3, 2), make(3, 2), None
    yield Sample(*arrays, sizes=(3, 2, 1), reverse=True, note="of three lengths")
    yield Sample(
        make(2, 2, 2), make(12, 2), make(12, 2), make(12), make(2, 2), make(2, 3), make(2, 3), sizes=(2, 1), reverse=False,
        note="projected",
    )  # fmt: skip


@samples(GRUSequence)
def _(make: Any) -> Any:
    arrays = make(3, 2, 3), make(6, 3), make(6, 2), make(6), make(6), make(2, 2)
    yield Sample(*arrays, sizes=(2, 2, 2), reverse=False)
    arrays = make(3, 3, 3), make(6, 3), make(6, 2), None, None, make(3, 2)
    yield Sample(*arrays, sizes=(3, 2, 1), reverse=True, note="of three lengths")
