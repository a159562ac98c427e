"""Recurrent sequences: one layer in one direction, all time steps in one call, with the gradients of the whole sequence.

A step is a product of weights with what it sees, the input, the state before it and a one for the bias: W [x_t, h_{t-1}, 1].
Kept for all steps, these rows make the gradient of the weights one product in the end. `sizes` says how many sequences of the
batch, which is sorted by length, are still running at each step: rows from there on keep their state, and their outputs are 0.

Letters: T time, B batch, I input size, H hidden size, P size of the projected state (H without a projection).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import Kernel, array_module
from . import recurrent_loops as loops
from .common import FLOAT32, Array
from .gemm import gemm
from .parallel import share

Sizes = tuple[int, ...]


def steps(sizes: Sizes, reverse: bool) -> list[tuple[int, int]]:
    """(time, number of running sequences) in the order of computation."""
    order = list(enumerate(sizes))
    return order[::-1] if reverse else order


def sigmoid(x: Array) -> Array:
    """1 / (1 + e^-x), by the hyperbolic tangent, which does not overflow."""
    return 0.5 * array_module(x).tanh(0.5 * x) + 0.5


@Kernel
def rnn(
    x: Array, w_ih: Array, w_hh: Array, bias: Array | None, h0: Array, sizes: Sizes, reverse: bool, relu: bool
) -> tuple[Array, Array, Array]:
    """h_t = tanh(W [x_t, h_{t-1}, 1]), or max(0, ...), for x (T, B, I), w_ih (H, I), w_hh (H, H), bias (H,), h0 (B, H).

    Returns the outputs (T, B, H), the last states (B, H), and for rnn_backward what each step has seen.
    Source: Elman, "Finding structure in time", 1990.
    """
    xp, (T, B, known), H = array_module(x), x.shape, h0.shape[1]
    w = side_by_side(w_ih, w_hh, bias)
    out, seen, h = xp.zeros((T, B, H), x.dtype), xp.zeros((T, B, w.shape[1]), x.dtype), h0.copy()
    begin(seen, x, bias)
    for t, n in steps(sizes, reverse):
        seen[t, :n, known : known + H] = h[:n]
        a = gemm(seen[t, :n], w.T, None)
        out[t, :n] = h[:n] = xp.maximum(a, 0) if relu else xp.tanh(a)
    return out, h, seen


@Kernel
def rnn_backward(
    g: Array, g_last: Array, w_ih: Array, w_hh: Array, out: Array, seen: Array, sizes: Sizes, reverse: bool, relu: bool
) -> tuple[Array | None, ...]:
    """Gradients of x, w_ih, w_hh, bias and h0 of `rnn`, from those of the outputs and of the last states."""
    xp = array_module(g)
    dx, da, dh = xp.zeros((*out.shape[:2], w_ih.shape[1]), out.dtype), xp.zeros_like(out), g_last.copy()
    for t, n in reversed(steps(sizes, reverse)):
        y = out[t, :n]
        da[t, :n] = (g[t, :n] + dh[:n]) * ((y > 0) if relu else 1 - y * y)
        dx[t, :n], dh[:n] = gemm(da[t, :n], w_ih, None), gemm(da[t, :n], w_hh, None)
    return dx, *weight_gradients(da, seen, w_ih, w_hh), dh


@Kernel
def lstm(
    x: Array,
    w_ih: Array,
    w_hh: Array,
    bias: Array | None,
    h0: Array,
    c0: Array,
    w_hr: Array | None,
    sizes: Sizes,
    reverse: bool,
) -> tuple[Array, ...]:
    """i, f, g, o = W [x_t, h_{t-1}, 1];  c_t = s(f) c_{t-1} + s(i) tanh(g);  h_t = s(o) tanh(c_t), projected by w_hr if given.

    x (T, B, I), w_ih (4H, I), w_hh (4H, P), bias (4H,), h0 (B, P), c0 (B, H), w_hr (P, H); s is the sigmoid function.
    Returns the outputs (T, B, P), the last h and c, and for lstm_backward: what each step has seen, the gates, the c before
    each step, and s(o) tanh(c_t), which is h_t before its projection.
    Source: Hochreiter & Schmidhuber 1997; the forget gate of Gers, Schmidhuber & Cummins 2000.
    """
    xp, (T, B, known), P, H = array_module(x), x.shape, h0.shape[1], c0.shape[1]
    w = side_by_side(w_ih, w_hh, bias)
    out, seen = xp.zeros((T, B, P), x.dtype), xp.zeros((T, B, w.shape[1]), x.dtype)
    gates, cells, hidden = (xp.zeros((T, B, width), x.dtype) for width in (4 * H, H, H))
    h, c = h0.copy(), c0.copy()
    begin(seen, x, bias)
    for t, n in steps(sizes, reverse):
        seen[t, :n, known : known + P], cells[t, :n] = h[:n], c[:n]
        a = gemm(seen[t, :n], w.T, None)
        a[:, : 2 * H], a[:, 3 * H :] = sigmoid(a[:, : 2 * H]), sigmoid(a[:, 3 * H :])
        a[:, 2 * H : 3 * H] = xp.tanh(a[:, 2 * H : 3 * H])
        i, f, g, o = (a[:, k * H : (k + 1) * H] for k in range(4))
        gates[t, :n] = a
        c[:n] = f * c[:n] + i * g
        hidden[t, :n] = o * xp.tanh(c[:n])
        out[t, :n] = h[:n] = hidden[t, :n] if w_hr is None else gemm(hidden[t, :n], w_hr.T, None)
    return out, h, c, seen, gates, cells, hidden


@Kernel
def lstm_backward(
    g: Array,
    g_h: Array,
    g_c: Array,
    w_ih: Array,
    w_hh: Array,
    w_hr: Array | None,
    seen: Array,
    gates: Array,
    cells: Array,
    hidden: Array,
    sizes: Sizes,
    reverse: bool,
) -> tuple[Array | None, ...]:
    """Gradients of x, w_ih, w_hh, bias, h0, c0 and w_hr of `lstm`, from those of the outputs and of the last h and c."""
    xp, H = array_module(g), cells.shape[2]
    dx, da, dh, dc = xp.zeros((*g.shape[:2], w_ih.shape[1]), g.dtype), xp.zeros_like(gates), g_h.copy(), g_c.copy()
    d_out = xp.zeros_like(g)
    for t, n in reversed(steps(sizes, reverse)):
        i, f, u, o = (gates[t, :n, k * H : (k + 1) * H] for k in range(4))
        d_out[t, :n] = g[t, :n] + dh[:n]
        d_hidden = d_out[t, :n] if w_hr is None else gemm(d_out[t, :n], w_hr, None)
        tanh_c = xp.tanh(f * cells[t, :n] + i * u)
        d = dc[:n] + d_hidden * o * (1 - tanh_c * tanh_c)
        a = da[t, :n]
        a[:, :H] = d * u * i * (1 - i)
        a[:, H : 2 * H] = d * cells[t, :n] * f * (1 - f)
        a[:, 2 * H : 3 * H] = d * i * (1 - u * u)
        a[:, 3 * H :] = d_hidden * tanh_c * o * (1 - o)
        dc[:n] = d * f
        dx[t, :n], dh[:n] = gemm(a, w_ih, None), gemm(a, w_hh, None)
    return dx, *weight_gradients(da, seen, w_ih, w_hh), dh, dc, None if w_hr is None else outer(d_out, hidden)


@Kernel
def gru(
    x: Array,
    w_ih: Array,
    w_hh: Array,
    b_ih: Array | None,
    b_hh: Array | None,
    h0: Array,
    sizes: Sizes,
    reverse: bool,
) -> tuple[Array, ...]:
    """With a = W_ih x_t + b_ih, w = W_hh h_{t-1} + b_hh:  r, z = s(a + w);  n = tanh(a + r w);  h_t = (1 - z) n + z h_{t-1}.

    x (T, B, I), w_ih (3H, I), w_hh (3H, H), b_ih and b_hh (3H,), in the order r, z, n; h0 (B, H); s is the sigmoid function.
    Returns the outputs (T, B, H), the last states, and for gru_backward: the states before each step, r, z and n, and w of n.
    Source: Cho et al. 2014, with the reset gate behind the product, as in cuDNN and PyTorch.
    """
    xp, (T, B), H = array_module(x), x.shape[:2], h0.shape[1]
    a = gemm(x, w_ih.T, b_ih)
    out, before, inner = (xp.zeros((T, B, H), x.dtype) for _ in range(3))
    gates, h = xp.zeros((T, B, 3 * H), x.dtype), h0.copy()
    for t, n in steps(sizes, reverse):
        before[t, :n] = h[:n]
        w = gemm(h[:n], w_hh.T, b_hh)
        r, z = (sigmoid(a[t, :n, k * H : (k + 1) * H] + w[:, k * H : (k + 1) * H]) for k in range(2))
        inner[t, :n] = w[:, 2 * H :]
        u = xp.tanh(a[t, :n, 2 * H :] + r * inner[t, :n])
        gates[t, :n, :H], gates[t, :n, H : 2 * H], gates[t, :n, 2 * H :] = r, z, u
        out[t, :n] = h[:n] = (1 - z) * u + z * h[:n]
    return out, h, before, gates, inner


@Kernel
def gru_backward(
    g: Array,
    g_last: Array,
    x: Array,
    w_ih: Array,
    w_hh: Array,
    before: Array,
    gates: Array,
    inner: Array,
    sizes: Sizes,
    reverse: bool,
) -> tuple[Array, ...]:
    """Gradients of x, w_ih, w_hh, b_ih, b_hh and h0 of `gru`, from those of the outputs and of the last states."""
    xp, H = array_module(g), before.shape[2]
    da, dw, dh = xp.zeros_like(gates), xp.zeros_like(gates), g_last.copy()
    for t, n in reversed(steps(sizes, reverse)):
        r, z, u = (gates[t, :n, k * H : (k + 1) * H] for k in range(3))
        d = g[t, :n] + dh[:n]
        du = d * (1 - z) * (1 - u * u)
        dr = du * inner[t, :n] * r * (1 - r)
        dz = d * (before[t, :n] - u) * z * (1 - z)
        da[t, :n, :H], da[t, :n, H : 2 * H], da[t, :n, 2 * H :] = dr, dz, du
        dw[t, :n, : 2 * H], dw[t, :n, 2 * H :] = da[t, :n, : 2 * H], du * r
        dh[:n] = d * z + gemm(dw[t, :n], w_hh, None)
    return gemm(da, w_ih, None), outer(da, x), outer(dw, before), da.sum(axis=(0, 1)), dw.sum(axis=(0, 1)), dh


def side_by_side(w_ih: Array, w_hh: Array, bias: Array | None) -> Any:
    """The weights of what a step sees."""
    return array_module(w_ih).concatenate([w_ih, w_hh] + ([] if bias is None else [bias[:, None]]), axis=1)


def begin(seen: Array, x: Array, bias: Array | None) -> None:
    """Fill in what is known before the first step."""
    seen[:, :, : x.shape[2]] = x
    if bias is not None:
        seen[:, :, -1] = 1


def weight_gradients(da: Array, seen: Array, w_ih: Array, w_hh: Array) -> tuple[Any, Any, Any]:
    """Gradients of w_ih, w_hh and the bias, which is None if there is none, from those of the products W [x, h, 1]."""
    dw, h, one = outer(da, seen), w_ih.shape[1], w_ih.shape[1] + w_hh.shape[1]
    return dw[:, :h], dw[:, h:one], dw[:, one] if dw.shape[1] > one else None


def outer(d: Array, x: Array) -> Any:
    """The sum over time and batch of d (T, B, M) times x (T, B, N): (M, N)."""
    return gemm(d.reshape(-1, d.shape[2]).T, x.reshape(-1, x.shape[2]), None)


# Numba: all time steps in one compiled loop (recurrent_loops.py), with a part of the batch for each thread.


def all_float32(*arrays: Array | None) -> bool:
    return all(a is None or (a.dtype == FLOAT32 and a.flags.aligned) for a in arrays)


def blank(T: int, B: int, sizes: Sizes, *widths: int, xp: Any = np) -> list[Array]:
    """Arrays (T, B, width): of zeros if some sequences are shorter than others, else to be filled in."""
    make = xp.empty if sizes and min(sizes) == B else xp.zeros
    return [make((T, B, width), FLOAT32) for width in widths]


def blank_like(x: Array, sizes: Sizes, width: int) -> Array:
    """The same, but lying in memory batch first if x (T, B, .) does, so that whoever reads it next need not copy it."""
    T, B = x.shape[:2]
    return blank(B, T, sizes, width)[0].swapaxes(0, 1) if batch_first(x) else blank(T, B, sizes, width)[0]


def batch_first(x: Array) -> bool:
    """Whether x (T, B, N) lies in memory as (B, T, N)."""
    return bool(x.strides[0] < x.strides[1])


def of_inputs(x: Array, w_ih: Array, bias: Array | None, sizes: Sizes) -> Array:
    """W_ih x_t + bias for all steps (T, B, .), zeros where a sequence has ended."""
    a = gemm(np.ascontiguousarray(x), w_ih.T, bias)
    if sizes and min(sizes) < x.shape[1]:
        for t, n in enumerate(sizes):
            a[t, n:] = 0
    return a


def products(
    x: Array, w_ih: Array, w_hh: Array, bias: Array | None, h0: Array, sizes: Sizes
) -> tuple[Array, Array, bool]:
    """What the loop of an RNN or an LSTM multiplies with and adds to: an array (T, B, .), packed weights, and whether the
    products of the inputs are in the array already, so that the weights are those of the states only."""
    T, B = x.shape[:2]
    if T > 1 and B >= MANY:
        row = np.empty((0, len(w_ih)), FLOAT32) if bias is None else bias[None]
        return blank(T, B, sizes, len(w_ih))[0], loops.packed_together(w_ih.T, w_hh.T, row), False
    a = of_inputs(x, w_ih, bias, sizes)
    if T == 1:
        a[0] += gemm(h0, w_hh.T, None)
    return a, packed(w_hh.T, T), True


# Sequences from which on each step multiplies its inputs, too: products of all steps are too many for a near cache, and adding
# to them waits for memory. With fewer sequences a step waits for its weights, which are fewer without W_ih, and many of its rows
# may be left over from the tiles of the product.
MANY = 16


def packed(w: Array, T: int) -> Array:
    """w for the products of T steps; empty for a single one, whose product a BLAS has made before w is packed."""
    return loops.packed(w) if T > 1 else NO_WEIGHTS


NO_WEIGHTS = np.empty((0, 0, 0), FLOAT32)


def contiguous_rows(x: Array) -> Array:
    return x if x.strides[-1] == x.itemsize else np.ascontiguousarray(x)


def supports_rnn(
    x: Array, w_ih: Array, w_hh: Array, bias: Array | None, h0: Array, sizes: Sizes, reverse: bool, relu: bool
) -> bool:
    return all_float32(x, w_ih, w_hh, bias, h0)


@rnn.variant("numba", device="cpu", supports=supports_rnn)
def rnn_numba(
    x: Array, w_ih: Array, w_hh: Array, bias: Array | None, h0: Array, sizes: Sizes, reverse: bool, relu: bool
) -> tuple[Array, ...]:
    (T, B, x_width), H, h = x.shape, len(w_ih), h0.copy()
    out, (seen,) = blank_like(x, sizes, H), blank(T, B, sizes, x_width + H + (bias is not None))
    begin(seen, x, bias)
    a, w, known = products(x, w_ih, w_hh, bias, h, sizes)
    share(B, loops.rnn, B * T * w_hh.size, np.array(sizes, np.int64), reverse, relu, a, w, known, x_width, h, out, seen)
    return out, h, seen


def supports_rnn_backward(
    g: Array, g_last: Array, w_ih: Array, w_hh: Array, out: Array, seen: Array, sizes: Sizes, reverse: bool, relu: bool
) -> bool:
    return all_float32(g, g_last, w_ih, w_hh, out)


@rnn_backward.variant("numba", device="cpu", supports=supports_rnn_backward)
def rnn_backward_numba(
    g: Array, g_last: Array, w_ih: Array, w_hh: Array, out: Array, seen: Array, sizes: Sizes, reverse: bool, relu: bool
) -> tuple[Array | None, ...]:
    (T, B, H), dh, running = out.shape, g_last.copy(), np.array(sizes, np.int64)
    (da,) = blank(T, B, sizes, H)
    arrays = packed(w_hh, T), contiguous_rows(g), out, dh, da
    share(B, loops.rnn_backward, B * T * w_hh.size, running, reverse, relu, *arrays)
    if T == 1:
        dh[: sizes[0]] = gemm(da[0, : sizes[0]], w_hh, None)
    return gemm(da, w_ih, None), *weight_gradients(da, seen, w_ih, w_hh), dh


def supports_lstm(
    x: Array, w_ih: Array, w_hh: Array, bias: Array | None, h0: Array, c0: Array, w_hr: Array | None, sizes: Sizes,
    reverse: bool,
) -> bool:  # fmt: skip
    return w_hr is None and all_float32(x, w_ih, w_hh, bias, h0, c0)


@lstm.variant("numba", device="cpu", supports=supports_lstm)
def lstm_numba(
    x: Array, w_ih: Array, w_hh: Array, bias: Array | None, h0: Array, c0: Array, w_hr: Array | None, sizes: Sizes,
    reverse: bool,
) -> tuple[Array, ...]:  # fmt: skip
    (T, B, x_width), H, h, c = x.shape, c0.shape[1], h0.copy(), c0.copy()
    out, (seen, cells) = blank_like(x, sizes, H), blank(T, B, sizes, x_width + H + (bias is not None), H)
    begin(seen, x, bias)
    gates, w, known = products(x, w_ih, w_hh, bias, h, sizes)
    arrays = gates, w, known, x_width, h, c, out, seen, cells
    share(B, loops.lstm, B * T * w_hh.size, np.array(sizes, np.int64), reverse, *arrays)
    return out, h, c, seen, gates, cells, out  # which is what is hidden where nothing is projected


def supports_lstm_backward(
    g: Array, g_h: Array, g_c: Array, w_ih: Array, w_hh: Array, w_hr: Array | None, seen: Array, gates: Array,
    cells: Array, hidden: Array, sizes: Sizes, reverse: bool,
) -> bool:  # fmt: skip
    return w_hr is None and all_float32(g, g_h, g_c, w_ih, w_hh, gates)


@lstm_backward.variant("numba", device="cpu", supports=supports_lstm_backward)
def lstm_backward_numba(
    g: Array, g_h: Array, g_c: Array, w_ih: Array, w_hh: Array, w_hr: Array | None, seen: Array, gates: Array,
    cells: Array, hidden: Array, sizes: Sizes, reverse: bool,
) -> tuple[Array | None, ...]:  # fmt: skip
    (T, B, H), dh, dc, running = cells.shape, g_h.copy(), g_c.copy(), np.array(sizes, np.int64)
    (da,) = blank(T, B, sizes, 4 * H)
    arrays = packed(w_hh, T), contiguous_rows(g), gates, cells, dh, dc, da
    share(B, loops.lstm_backward, B * T * w_hh.size, running, reverse, *arrays)
    if T == 1:
        dh[: sizes[0]] = gemm(da[0, : sizes[0]], w_hh, None)
    return gemm(da, w_ih, None), *weight_gradients(da, seen, w_ih, w_hh), dh, dc, None


def supports_gru(
    x: Array, w_ih: Array, w_hh: Array, b_ih: Array | None, b_hh: Array | None, h0: Array, sizes: Sizes, reverse: bool
) -> bool:
    return all_float32(x, w_ih, w_hh, b_ih, b_hh, h0)


@gru.variant("numba", device="cpu", supports=supports_gru)
def gru_numba(
    x: Array, w_ih: Array, w_hh: Array, b_ih: Array | None, b_hh: Array | None, h0: Array, sizes: Sizes, reverse: bool
) -> tuple[Array, ...]:
    (T, B), H, h, running = x.shape[:2], h0.shape[1], h0.copy(), np.array(sizes, np.int64)
    out, (before, inner) = blank_like(x, sizes, H), blank(T, B, sizes, H, H)
    gates = of_inputs(x, w_ih, b_ih, sizes)
    w = gemm(h, w_hh.T, None) if T == 1 else np.empty((B, 3 * H), FLOAT32)
    bias = np.zeros(3 * H, FLOAT32) if b_hh is None else np.ascontiguousarray(b_hh)
    arrays = w, packed(w_hh.T, T), bias, h, out, before, gates, inner
    share(B, loops.gru, B * T * w_hh.size, running, reverse, *arrays)
    return out, h, before, gates, inner


def supports_gru_backward(
    g: Array, g_last: Array, x: Array, w_ih: Array, w_hh: Array, before: Array, gates: Array, inner: Array, sizes: Sizes,
    reverse: bool,
) -> bool:  # fmt: skip
    return all_float32(g, g_last, x, w_ih, w_hh, gates)


@gru_backward.variant("numba", device="cpu", supports=supports_gru_backward)
def gru_backward_numba(
    g: Array, g_last: Array, x: Array, w_ih: Array, w_hh: Array, before: Array, gates: Array, inner: Array, sizes: Sizes,
    reverse: bool,
) -> tuple[Array, ...]:  # fmt: skip
    (T, B, H), dh, running = before.shape, g_last.copy(), np.array(sizes, np.int64)
    da, dw = blank(T, B, sizes, 3 * H, 3 * H)
    arrays = packed(w_hh, T), contiguous_rows(g), before, gates, inner, dh, da, dw
    share(B, loops.gru_backward, B * T * w_hh.size, running, reverse, *arrays)
    if T == 1:
        dh[: sizes[0]] += gemm(dw[0, : sizes[0]], w_hh, None)
    return gemm(da, w_ih, None), outer(da, x), outer(dw, before), da.sum(axis=(0, 1)), dw.sum(axis=(0, 1)), dh


from . import recurrent_cuda as recurrent_cuda  # noqa: E402  # its variants need the kernels, which stand above
