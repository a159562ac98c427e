"""Recurrent sequences: one layer in one direction, all time steps in one call, with the gradients of the whole sequence.

The inputs come multiplied with their weights already, since that is one product for all time steps; what is left is the loop
over time. `sizes` says how many sequences of the batch, which is sorted by length, are still running at each step: rows from
there on keep their state, and their outputs are 0.

Letters: T time, B batch, H hidden size, P size of the projected state (H without a projection).
"""

from __future__ import annotations

from typing import Any

from . import Kernel, array_module
from .common import Array
from .cuda import Entry, Source, blocks, launchable
from .gemm import gemm

Sizes = tuple[int, ...]


def steps(sizes: Sizes, reverse: bool) -> list[tuple[int, int]]:
    """(time, number of running sequences) in the order of computation."""
    order = list(enumerate(sizes))
    return order[::-1] if reverse else order


def logistic(x: Array) -> Array:
    """1 / (1 + e^-x), by the hyperbolic tangent, which does not overflow."""
    return 0.5 * array_module(x).tanh(0.5 * x) + 0.5


@Kernel
def rnn(x: Array, w_hh: Array, h0: Array, sizes: Sizes, reverse: bool, relu: bool) -> tuple[Array, Array, Array]:
    """h_t = tanh(x_t + W h_{t-1}), or max(0, ...), for x (T, B, H), w_hh (H, H), h0 (B, H).

    Returns the outputs (T, B, H), the last states (B, H), and the states before each step (T, B, H).
    """
    xp = array_module(x)
    out, before, h = xp.zeros_like(x), xp.zeros_like(x), h0.copy()
    for t, n in steps(sizes, reverse):
        before[t, :n] = h[:n]
        a = x[t, :n] + gemm(h[:n], w_hh.T, None)
        out[t, :n] = h[:n] = xp.maximum(a, 0) if relu else xp.tanh(a)
    return out, h, before


@Kernel
def rnn_backward(
    g: Array, g_last: Array, w_hh: Array, out: Array, before: Array, sizes: Sizes, reverse: bool, relu: bool
) -> tuple[Array, Array, Array]:
    """Gradients of x (T, B, H), w_hh and h0 of `rnn`, from those of the outputs and of the last states."""
    dx, dh = array_module(g).zeros_like(out), g_last.copy()
    for t, n in reversed(steps(sizes, reverse)):
        y = out[t, :n]
        dx[t, :n] = (g[t, :n] + dh[:n]) * ((y > 0) if relu else 1 - y * y)
        dh[:n] = gemm(dx[t, :n], w_hh, None)
    return dx, _outer(dx, before), dh


@Kernel
def lstm(
    x: Array, w_hh: Array, h0: Array, c0: Array, w_hr: Array | None, sizes: Sizes, reverse: bool
) -> tuple[Array, ...]:
    """i, f, g, o = x_t + W h_{t-1};  c_t = s(f) c_{t-1} + s(i) tanh(g);  h_t = s(o) tanh(c_t), projected by w_hr if given.

    x (T, B, 4H), w_hh (4H, P), h0 (B, P), c0 (B, H), w_hr (P, H); s is the logistic function.
    Returns the outputs (T, B, P), the last h and c, and for lstm_backward: the h before each step, the gates, the c before
    each step, and s(o) tanh(c_t), which is h_t before its projection.
    Source: Hochreiter & Schmidhuber 1997; the forget gate of Gers, Schmidhuber & Cummins 2000.
    """
    xp, H = array_module(x), c0.shape[1]
    T, B = x.shape[:2]
    out, before = xp.zeros((T, B, h0.shape[1]), x.dtype), xp.zeros((T, B, h0.shape[1]), x.dtype)
    gates, cells, hidden = xp.zeros_like(x), xp.zeros((T, B, H), x.dtype), xp.zeros((T, B, H), x.dtype)
    h, c = h0.copy(), c0.copy()
    for t, n in steps(sizes, reverse):
        before[t, :n], cells[t, :n] = h[:n], c[:n]
        a = x[t, :n] + gemm(h[:n], w_hh.T, None)
        a[:, : 2 * H], a[:, 3 * H :] = logistic(a[:, : 2 * H]), logistic(a[:, 3 * H :])
        a[:, 2 * H : 3 * H] = xp.tanh(a[:, 2 * H : 3 * H])
        i, f, g, o = (a[:, k * H : (k + 1) * H] for k in range(4))
        gates[t, :n] = a
        c[:n] = f * c[:n] + i * g
        hidden[t, :n] = o * xp.tanh(c[:n])
        out[t, :n] = h[:n] = hidden[t, :n] if w_hr is None else gemm(hidden[t, :n], w_hr.T, None)
    return out, h, c, before, gates, cells, hidden


@Kernel
def lstm_backward(
    g: Array,
    g_h: Array,
    g_c: Array,
    w_hh: Array,
    w_hr: Array | None,
    before: Array,
    gates: Array,
    cells: Array,
    hidden: Array,
    sizes: Sizes,
    reverse: bool,
) -> tuple[Array, Array, Array, Array, Array | None]:
    """Gradients of x, w_hh, h0, c0 and w_hr of `lstm`, from those of the outputs and of the last h and c."""
    xp, H = array_module(g), cells.shape[2]
    dx, dh, dc = xp.zeros_like(gates), g_h.copy(), g_c.copy()
    d_out = xp.zeros_like(g)
    for t, n in reversed(steps(sizes, reverse)):
        i, f, u, o = (gates[t, :n, k * H : (k + 1) * H] for k in range(4))
        d_out[t, :n] = g[t, :n] + dh[:n]
        d_hidden = d_out[t, :n] if w_hr is None else gemm(d_out[t, :n], w_hr, None)
        tanh_c = xp.tanh(f * cells[t, :n] + i * u)
        d = dc[:n] + d_hidden * o * (1 - tanh_c * tanh_c)
        a = dx[t, :n]
        a[:, :H] = d * u * i * (1 - i)
        a[:, H : 2 * H] = d * cells[t, :n] * f * (1 - f)
        a[:, 2 * H : 3 * H] = d * i * (1 - u * u)
        a[:, 3 * H :] = d_hidden * tanh_c * o * (1 - o)
        dc[:n] = d * f
        dh[:n] = gemm(a, w_hh, None)
    return dx, _outer(dx, before), dh, dc, None if w_hr is None else _outer(d_out, hidden)


@Kernel
def gru(x: Array, w_hh: Array, b_hh: Array | None, h0: Array, sizes: Sizes, reverse: bool) -> tuple[Array, ...]:
    """r, z = s(x_t + W h_{t-1} + b);  n = tanh(x_t + r (W h_{t-1} + b));  h_t = (1 - z) n + z h_{t-1}.

    x (T, B, 3H) in the order r, z, n; w_hh (3H, H), b_hh (3H,), h0 (B, H). Returns the outputs (T, B, H), the last states,
    and for gru_backward: the states before each step, r, z and n, and W h_{t-1} + b of n.
    Source: Cho et al. 2014, with the reset gate behind the product, as in cuDNN and PyTorch.
    """
    xp, H = array_module(x), h0.shape[1]
    out, before = xp.zeros((*x.shape[:2], H), x.dtype), xp.zeros((*x.shape[:2], H), x.dtype)
    gates, inner = xp.zeros_like(x), xp.zeros_like(out)
    h = h0.copy()
    for t, n in steps(sizes, reverse):
        before[t, :n] = h[:n]
        w = gemm(h[:n], w_hh.T, b_hh)
        r, z = (logistic(x[t, :n, k * H : (k + 1) * H] + w[:, k * H : (k + 1) * H]) for k in range(2))
        inner[t, :n] = w[:, 2 * H :]
        u = xp.tanh(x[t, :n, 2 * H :] + r * inner[t, :n])
        gates[t, :n, :H], gates[t, :n, H : 2 * H], gates[t, :n, 2 * H :] = r, z, u
        out[t, :n] = h[:n] = (1 - z) * u + z * h[:n]
    return out, h, before, gates, inner


@Kernel
def gru_backward(
    g: Array, g_last: Array, w_hh: Array, before: Array, gates: Array, inner: Array, sizes: Sizes, reverse: bool
) -> tuple[Array, Array, Array, Array]:
    """Gradients of x, w_hh, b_hh and h0 of `gru`, from those of the outputs and of the last states."""
    xp, H = array_module(g), before.shape[2]
    dx, dw, dh = xp.zeros_like(gates), xp.zeros_like(gates), g_last.copy()
    for t, n in reversed(steps(sizes, reverse)):
        r, z, u = (gates[t, :n, k * H : (k + 1) * H] for k in range(3))
        d = g[t, :n] + dh[:n]
        du = d * (1 - z) * (1 - u * u)
        dr = du * inner[t, :n] * r * (1 - r)
        dz = d * (before[t, :n] - u) * z * (1 - z)
        dx[t, :n, :H], dx[t, :n, H : 2 * H], dx[t, :n, 2 * H :] = dr, dz, du
        dw[t, :n, : 2 * H], dw[t, :n, 2 * H :] = dx[t, :n, : 2 * H], du * r
        dh[:n] = d * z + gemm(dw[t, :n], w_hh, None)
    return dx, _outer(dw, before), dw.sum(axis=(0, 1)), dh


def _outer(d: Array, before: Array) -> Any:
    """The sum over time and batch of d (T, B, M) times before (T, B, N): (M, N)."""
    return gemm(d.reshape(-1, d.shape[2]).T, before.reshape(-1, before.shape[2]), None)


# CUDA: see recurrent.cu. A time step is one product and one launch.

CU = Source(
    "recurrent.cu",
    Entry("lstm_step", "lstm", registers=48, rtol=1e-5),  # rounding adds up over the steps
    Entry("lstm_step_backward", "lstm_backward", registers=48, rtol=1e-5),
    Entry("gru_step", "gru", registers=48, rtol=1e-5),
    Entry("gru_step_backward", "gru_backward", registers=48, rtol=1e-5),
)
THREADS = 128  # a step is small: more blocks, more multiprocessors


def supports_cuda(*arguments: Any) -> bool:
    arrays = [a for a in arguments if hasattr(a, "dtype")]
    return launchable(*arrays) and all(a.size for a in arrays)


def launch(entry: str, n: int, width: int, *arrays: Array | None) -> None:
    CU.launch(entry, blocks(n * width, THREADS), THREADS, *arrays, n, width)


@lstm.variant("cuda", device="cuda", supports=supports_cuda)
def lstm_cuda(
    x: Array, w_hh: Array, h0: Array, c0: Array, w_hr: Array | None, sizes: Sizes, reverse: bool
) -> tuple[Array, ...]:
    xp, H, (T, B) = array_module(x), c0.shape[1], x.shape[:2]
    out, before = xp.zeros((T, B, h0.shape[1]), x.dtype), xp.zeros((T, B, h0.shape[1]), x.dtype)
    gates, cells, hidden = xp.zeros_like(x), xp.zeros((T, B, H), x.dtype), xp.zeros((T, B, H), x.dtype)
    h, c, weight = h0.copy(), c0.copy(), w_hh.T
    for t, n in steps(sizes, reverse):
        product = gemm(h[:n], weight, None)
        inner = (x[t], product, gates[t], c, cells[t], hidden[t])
        if w_hr is None:
            launch("lstm_step", n, H, *inner, h, before[t], out[t])
        else:
            before[t, :n] = h[:n]
            launch("lstm_step", n, H, *inner, None, None, None)
            out[t, :n] = h[:n] = gemm(hidden[t, :n], w_hr.T, None)
    return out, h, c, before, gates, cells, hidden


@lstm_backward.variant("cuda", device="cuda", supports=supports_cuda)
def lstm_backward_cuda(
    g: Array,
    g_h: Array,
    g_c: Array,
    w_hh: Array,
    w_hr: Array | None,
    before: Array,
    gates: Array,
    cells: Array,
    hidden: Array,
    sizes: Sizes,
    reverse: bool,
) -> tuple[Array, Array, Array, Array, Array | None]:
    xp, H = array_module(g), cells.shape[2]
    dx, dh, dc, d_out = xp.zeros_like(gates), g_h.copy(), g_c.copy(), xp.zeros_like(g)
    for t, n in reversed(steps(sizes, reverse)):
        xp.add(g[t, :n], dh[:n], out=d_out[t, :n])
        d_hidden = d_out[t] if w_hr is None else gemm(d_out[t, :n], w_hr, None)
        launch("lstm_step_backward", n, H, d_hidden, gates[t], cells[t], dc, dx[t])
        dh[:n] = gemm(dx[t, :n], w_hh, None)
    return dx, _outer(dx, before), dh, dc, None if w_hr is None else _outer(d_out, hidden)


@gru.variant("cuda", device="cuda", supports=supports_cuda)
def gru_cuda(x: Array, w_hh: Array, b_hh: Array | None, h0: Array, sizes: Sizes, reverse: bool) -> tuple[Array, ...]:
    xp, H = array_module(x), h0.shape[1]
    out, before = xp.zeros((*x.shape[:2], H), x.dtype), xp.zeros((*x.shape[:2], H), x.dtype)
    gates, inner, h, weight = xp.zeros_like(x), xp.zeros_like(out), h0.copy(), w_hh.T
    for t, n in steps(sizes, reverse):
        product = gemm(h[:n], weight, b_hh)
        launch("gru_step", n, H, x[t], product, gates[t], inner[t], h, before[t], out[t])
    return out, h, before, gates, inner


@gru_backward.variant("cuda", device="cuda", supports=supports_cuda)
def gru_backward_cuda(
    g: Array, g_last: Array, w_hh: Array, before: Array, gates: Array, inner: Array, sizes: Sizes, reverse: bool
) -> tuple[Array, Array, Array, Array]:
    xp, H = array_module(g), before.shape[2]
    dx, dw, dh = xp.zeros_like(gates), xp.zeros_like(gates), g_last.copy()
    for t, n in reversed(steps(sizes, reverse)):
        launch("gru_step_backward", n, H, g[t], gates[t], inner[t], before[t], dh, dx[t], dw[t])
        dh[:n] += gemm(dw[t, :n], w_hh, None)
    return dx, _outer(dw, before), dw.sum(axis=(0, 1)), dh
