"""The launchers of recurrent.cu: LSTM, GRU and plain recurrent layers on a GPU.

A time step is one product and one launch; the inputs of all steps are multiplied before. For a batch that is not large and a narrow
state the whole sequence is one launch.

Letters: T time, B batch, I input size, H hidden size, P size of the projected state (H without a projection).
"""

from __future__ import annotations

from typing import Any

from . import array_module, cublas
from .common import FLOAT32, Array
from .cuda import Entry, Source, blocks, limits
from .gemm import gemm
from .recurrent import (
    Sizes,
    begin,
    blank,
    gru,
    gru_backward,
    lstm,
    lstm_backward,
    outer,
    rnn,
    rnn_backward,
    steps,
    weight_gradients,
)

REGISTERS = 176  # of a thread that keeps weights

CU = Source(
    "recurrent.cu",
    Entry("rnn_sequence", "rnn", registers=80, rtol=1e-5),
    Entry("rnn_sequence_backward", "rnn_backward", registers=80, rtol=1e-5),
    Entry("lstm_step", "lstm", registers=48, rtol=1e-5),  # rounding adds up over the steps
    Entry("lstm_step_backward", "lstm_backward", registers=48, rtol=1e-5),
    Entry("gru_step", "gru", registers=48, rtol=1e-5),
    Entry("gru_step_backward", "gru_backward", registers=48, rtol=1e-5),
    Entry("lstm_sequence", "lstm", registers=REGISTERS, rtol=1e-5),
    Entry("lstm_sequence_backward", "lstm_backward", registers=REGISTERS, rtol=1e-5),
    Entry("gru_sequence", "gru", registers=REGISTERS, rtol=1e-5),
    Entry("gru_sequence_backward", "gru_backward", registers=REGISTERS, rtol=1e-5),
)
THREADS = 128  # a step is small: more blocks, more multiprocessors
# Of a sequence in one launch: H at the most, units of the state in a block, rows of the batch in a group of blocks; B, up to which a
# launch is thought to take less than the steps, one by one: judged, not measured
LONGEST, UNITS, FEWEST, LANES, MOST = 512, 4, 8, 32, 64


def supports_cuda(*arguments: Any) -> bool:
    """float32 in any layout: x goes into a product, and what the kernels read themselves is made contiguous."""
    arrays = [a for a in arguments if hasattr(a, "dtype")]
    return all(type(a) is type(arrays[0]) and a.dtype == FLOAT32 and a.size for a in arrays)


def contiguous(*arrays: Array | None) -> list[Any]:
    return [None if a is None else array_module(a).ascontiguousarray(a) for a in arrays]


def one_launch(state: Array, sizes: Sizes, each: int) -> int:
    """How many rows of the batch a group of blocks takes in one launch of a sequence; 0 where that is not possible.

    It is where all of the batch runs all the time, a lane keeps the weights of a state (B, H), and all blocks are on the GPU at
    once, each with room for `each` rows of H numbers for every row of the batch that it has. The more groups the better.
    """
    B, H = state.shape
    if B > MOST or H > LONGEST or not sizes or min(sizes) < B:
        return 0
    gpu = limits(state)
    for groups in range(blocks(B, FEWEST), 0, -1):
        rows = blocks(B, groups)
        fitting = gpu.multiprocessors * gpu.at_once(THREADS, REGISTERS, room(rows, H, each))
        if rows <= LANES and blocks(H, UNITS) * blocks(B, rows) <= fitting:
            return rows
    return 0


def room(rows: int, H: int, each: int) -> int:
    """Bytes of shared memory: rows are filled up to a multiple of 32 numbers."""
    return 4 * rows * each * 32 * blocks(H, 32)


def launch(entry: str, n: int, width: int, *arrays: Array | None) -> None:
    CU.launch(entry, blocks(n * width, THREADS), THREADS, *arrays, n, width)


def launch_sequence(
    entry: str,
    rows: int,
    each: int,
    T: int,
    B: int,
    H: int,
    reverse: bool,
    *arrays: Array | None,
    more: tuple[int, ...] = (),
) -> None:
    groups = blocks(B, rows)
    arrived = array_module(arrays[0]).zeros(groups, "uint32")  # how many blocks of each have come to the barriers
    numbers = (*arrays, arrived, T, B, H, int(reverse), rows, *more)
    CU.launch(entry, (1, blocks(H, UNITS), groups), THREADS, *numbers, shared=room(rows, H, each), together=True)


def multiply(a: Array, b: Array, out: Array, add: bool = False) -> None:
    """a @ b into out, or added to it, by cuBLAS where it is: the steps of a sequence take no memory and copy nothing."""
    if cublas.fits(a, b):
        cublas.product(a, b, out, add)
    else:
        out[...] = out + gemm(a, b, None) if add else gemm(a, b, None)


def shift(before: Array, h0: Array, out: Array, reverse: bool) -> None:
    """Write the states before each step: h0 and, one step later, all but the last of out (T, B, H)."""
    first, others, earlier = (-1, slice(0, -1), slice(1, None)) if reverse else (0, slice(1, None), slice(0, -1))
    before[first], before[others] = h0, out[earlier]


def supports_rnn(
    x: Array, w_ih: Array, w_hh: Array, bias: Array | None, h0: Array, sizes: Sizes, reverse: bool, relu: bool
) -> bool:
    return supports_cuda(x, w_ih, w_hh, bias, h0) and one_launch(h0, sizes, 1) > 0


def supports_rnn_backward(
    g: Array, g_last: Array, w_ih: Array, w_hh: Array, out: Array, seen: Array, sizes: Sizes, reverse: bool, relu: bool
) -> bool:
    return supports_cuda(g, g_last, w_ih, w_hh, out, seen) and one_launch(g_last, sizes, 1) > 0


@rnn.variant("cuda", device="cuda", supports=supports_rnn, copies=True)
def rnn_cuda(
    x: Array, w_ih: Array, w_hh: Array, bias: Array | None, h0: Array, sizes: Sizes, reverse: bool, relu: bool
) -> tuple[Array, Array, Array]:
    (T, B, _), H, a = x.shape, h0.shape[1], gemm(x, w_ih.T, bias)
    out, before = blank(T, B, sizes, H, H, xp=array_module(x))
    arrays = (a, *contiguous(w_hh, h0), out)
    launch_sequence("rnn_sequence", one_launch(h0, sizes, 1), 1, T, B, H, reverse, *arrays, more=(int(relu),))
    shift(before, h0, out, reverse)
    return out, out[0 if reverse else -1].copy(), see(x, before, bias)


@rnn_backward.variant("cuda", device="cuda", supports=supports_rnn_backward, copies=True)
def rnn_backward_cuda(
    g: Array, g_last: Array, w_ih: Array, w_hh: Array, out: Array, seen: Array, sizes: Sizes, reverse: bool, relu: bool
) -> tuple[Array | None, ...]:
    da, dh, rows = array_module(g).empty_like(out), g_last.copy(), one_launch(g_last, sizes, 1)
    arrays = (*contiguous(g, w_hh, out), dh, da)
    launch_sequence("rnn_sequence_backward", rows, 1, *out.shape, reverse, *arrays, more=(int(relu),))
    return gemm(da, w_ih, None), *weight_gradients(da, seen, w_ih, w_hh), dh


@lstm.variant("cuda", device="cuda", supports=supports_cuda, copies=True)
def lstm_cuda(
    x: Array, w_ih: Array, w_hh: Array, bias: Array | None, h0: Array, c0: Array, w_hr: Array | None, sizes: Sizes,
    reverse: bool,
) -> tuple[Array, ...]:  # fmt: skip
    rows = 0 if w_hr is not None else one_launch(c0, sizes, 1)
    if not rows:
        return lstm_steps(x, w_ih, w_hh, bias, h0, c0, w_hr, sizes, reverse)
    (T, B, _), H, c, a = x.shape, c0.shape[1], c0.copy(), gemm(x, w_ih.T, bias)
    out, gates, cells, before = blank(T, B, sizes, H, 4 * H, H, H, xp=array_module(x))
    launch_sequence("lstm_sequence", rows, 1, T, B, H, reverse, a, *contiguous(w_hh, h0), c, gates, cells, out)
    shift(before, h0, out, reverse)
    return out, out[0 if reverse else -1].copy(), c, see(x, before, bias), gates, cells, out


@lstm.variant("cuda_steps", device="cuda", supports=supports_cuda)
def lstm_steps(
    x: Array, w_ih: Array, w_hh: Array, bias: Array | None, h0: Array, c0: Array, w_hr: Array | None, sizes: Sizes,
    reverse: bool,
) -> tuple[Array, ...]:  # fmt: skip
    xp, (T, B, _), P, H = array_module(x), x.shape, h0.shape[1], c0.shape[1]
    out, before, gates, cells, hidden = blank(T, B, sizes, P, P, 4 * H, H, H, xp=xp)
    h, c, weight, a = h0.copy(), c0.copy(), w_hh.T, gemm(x, w_ih.T, bias)
    product = xp.empty((B, 4 * H), x.dtype)
    for t, n in steps(sizes, reverse):
        multiply(h[:n], weight, product[:n])
        inner = (a[t], product, gates[t], c, cells[t], hidden[t])
        if w_hr is None:
            launch("lstm_step", n, H, *inner, h, before[t], out[t])
        else:
            before[t, :n] = h[:n]
            launch("lstm_step", n, H, *inner, None, None, None)
            multiply(hidden[t, :n], w_hr.T, h[:n])
            out[t, :n] = h[:n]
    return out, h, c, see(x, before, bias), gates, cells, hidden


def see(x: Array, before: Array, bias: Array | None) -> Array:
    """What each step has seen: x (T, B, I), the states before (T, B, P), and a one for the bias."""
    (T, B, known), P = x.shape, before.shape[2]
    seen = array_module(x).empty((T, B, known + P + (bias is not None)), x.dtype)
    begin(seen, x, bias)
    seen[:, :, known : known + P] = before
    return seen


@lstm_backward.variant("cuda", device="cuda", supports=supports_cuda, copies=True)
def lstm_backward_cuda(
    g: Array, g_h: Array, g_c: Array, w_ih: Array, w_hh: Array, w_hr: Array | None, seen: Array, gates: Array,
    cells: Array, hidden: Array, sizes: Sizes, reverse: bool,
) -> tuple[Array | None, ...]:  # fmt: skip
    rows = 0 if w_hr is not None else one_launch(g_c, sizes, 4)
    if not rows:
        return lstm_steps_backward(g, g_h, g_c, w_ih, w_hh, w_hr, seen, gates, cells, hidden, sizes, reverse)
    da, dh, dc = array_module(g).empty_like(gates), g_h.copy(), g_c.copy()
    arrays = (*contiguous(g, w_hh), gates, cells, dh, dc, da)
    launch_sequence("lstm_sequence_backward", rows, 4, *cells.shape, reverse, *arrays)
    return gemm(da, w_ih, None), *weight_gradients(da, seen, w_ih, w_hh), dh, dc, None


@lstm_backward.variant("cuda_steps", device="cuda", supports=supports_cuda)
def lstm_steps_backward(
    g: Array, g_h: Array, g_c: Array, w_ih: Array, w_hh: Array, w_hr: Array | None, seen: Array, gates: Array,
    cells: Array, hidden: Array, sizes: Sizes, reverse: bool,
) -> tuple[Array | None, ...]:  # fmt: skip
    xp, (T, B, H), P, (g,) = array_module(g), cells.shape, g.shape[2], contiguous(g)
    (da,), dh, dc = blank(T, B, sizes, 4 * H, xp=xp), g_h.copy(), g_c.copy()
    if w_hr is not None:
        (d_out,), d_hidden = blank(T, B, sizes, P, xp=xp), xp.empty((B, H), g.dtype)
    for t, n in reversed(steps(sizes, reverse)):
        if w_hr is None:
            launch("lstm_step_backward", n, H, g[t], dh, gates[t], cells[t], dc, da[t])
        else:
            xp.add(g[t, :n], dh[:n], out=d_out[t, :n])
            multiply(d_out[t, :n], w_hr, d_hidden[:n])
            launch("lstm_step_backward", n, H, d_hidden, None, gates[t], cells[t], dc, da[t])
        multiply(da[t, :n], w_hh, dh[:n])
    d_hr = None if w_hr is None else outer(d_out, hidden)
    return gemm(da, w_ih, None), *weight_gradients(da, seen, w_ih, w_hh), dh, dc, d_hr


@gru.variant("cuda", device="cuda", supports=supports_cuda, copies=True)
def gru_cuda(
    x: Array, w_ih: Array, w_hh: Array, b_ih: Array | None, b_hh: Array | None, h0: Array, sizes: Sizes, reverse: bool
) -> tuple[Array, ...]:
    rows = one_launch(h0, sizes, 1)
    if not rows:
        return gru_steps(x, w_ih, w_hh, b_ih, b_hh, h0, sizes, reverse)
    (T, B), H, a = x.shape[:2], h0.shape[1], gemm(x, w_ih.T, b_ih)
    out, before, inner, gates = blank(T, B, sizes, H, H, H, 3 * H, xp=array_module(x))
    arrays = (a, *contiguous(w_hh, b_hh, h0), gates, inner, before, out)
    launch_sequence("gru_sequence", rows, 1, T, B, H, reverse, *arrays)
    return out, out[0 if reverse else -1].copy(), before, gates, inner


@gru.variant("cuda_steps", device="cuda", supports=supports_cuda)
def gru_steps(
    x: Array, w_ih: Array, w_hh: Array, b_ih: Array | None, b_hh: Array | None, h0: Array, sizes: Sizes, reverse: bool
) -> tuple[Array, ...]:
    xp, (T, B), H = array_module(x), x.shape[:2], h0.shape[1]
    out, before, inner, gates = blank(T, B, sizes, H, H, H, 3 * H, xp=xp)
    h, weight, a, product = h0.copy(), w_hh.T, gemm(x, w_ih.T, b_ih), xp.empty((B, 3 * H), x.dtype)
    (b_hh,) = contiguous(b_hh)
    for t, n in steps(sizes, reverse):
        multiply(h[:n], weight, product[:n])
        launch("gru_step", n, H, a[t], product, b_hh, gates[t], inner[t], h, before[t], out[t])
    return out, h, before, gates, inner


@gru_backward.variant("cuda", device="cuda", supports=supports_cuda, copies=True)
def gru_backward_cuda(
    g: Array, g_last: Array, x: Array, w_ih: Array, w_hh: Array, before: Array, gates: Array, inner: Array, sizes: Sizes,
    reverse: bool,
) -> tuple[Array, ...]:  # fmt: skip
    rows = one_launch(g_last, sizes, 3)
    if not rows:
        return gru_steps_backward(g, g_last, x, w_ih, w_hh, before, gates, inner, sizes, reverse)
    xp, dh = array_module(g), g_last.copy()
    da, dw = xp.empty_like(gates), xp.empty_like(gates)
    (g, w_hh), shape = contiguous(g, w_hh), before.shape
    launch_sequence("gru_sequence_backward", rows, 3, *shape, reverse, g, w_hh, gates, inner, before, dh, da, dw)
    return gemm(da, w_ih, None), outer(da, x), outer(dw, before), da.sum(axis=(0, 1)), dw.sum(axis=(0, 1)), dh


@gru_backward.variant("cuda_steps", device="cuda", supports=supports_cuda)
def gru_steps_backward(
    g: Array, g_last: Array, x: Array, w_ih: Array, w_hh: Array, before: Array, gates: Array, inner: Array, sizes: Sizes,
    reverse: bool,
) -> tuple[Array, ...]:  # fmt: skip
    xp, (T, B, H), dh, (g,) = array_module(g), before.shape, g_last.copy(), contiguous(g)
    da, dw = blank(T, B, sizes, 3 * H, 3 * H, xp=xp)
    for t, n in reversed(steps(sizes, reverse)):
        launch("gru_step_backward", n, H, g[t], gates[t], inner[t], before[t], dh, da[t], dw[t])
        multiply(dw[t, :n], w_hh, dh[:n], add=True)
    return gemm(da, w_ih, None), outer(da, x), outer(dw, before), da.sum(axis=(0, 1)), dw.sum(axis=(0, 1)), dh
