"""The compiled loops of recurrent.py: all time steps of some rows of the batch, forward and backward.

A step is a product with weights that are packed once for the whole sequence, and then one pass over the result, in which
registers (simd.py) go through the gates of a row. Both find in the nearest caches what the other has left there. If `known`,
the products of the inputs of all steps have been made before, and a step adds those of its states to them; if not, it multiplies
all that it sees. Where the weights are empty, for a single step, the caller has made its product.

Arrays with a time axis are (T, B, width). `sizes` is (T,), the rows that are running at each step; the functions work on those
of the rows `begin` to `end`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .elementary import sigmoid32, tanh32
from .jit import jit
from .layernorm import put
from .packed import MATRIX, pack, product, room
from .simd import WIDTH, first, load, maximum, select

ZERO, ONE = np.float32(0), np.float32(1)
# Explicit types, so that each function is compiled once. What is given may not be written to, and may lie in memory batch first,
# as may what is made: only the rows are contiguous.
GIVEN, MADE = "Array(float32, 3, 'A', readonly=True)", "float32[:,:,:]"
BIAS = "Array(float32, 1, 'C', readonly=True)"
KEPT, STATE, PACKED = "float32[:,:,::1]", "float32[:,::1]", "float32[:,:,::1]"
HOW = "int64, int64, int64[::1], boolean"


@jit(signature=f"float32[:,:,::1]({MATRIX})")
def packed(w: Any) -> Any:
    """w (K, N) as `product` wants it."""
    out = room(*w.shape)
    pack(w, ONE, out, 0)
    return out


@jit(signature=f"float32[:,:,::1]({MATRIX}, {MATRIX}, {MATRIX})")
def packed_together(w_ih: Any, w_hh: Any, bias: Any) -> Any:
    """The same for w_ih (I, N), w_hh (H, N) and bias (1, N), or (0, N) if there is none, one below the other."""
    I, H = len(w_ih), len(w_hh)  # noqa: E741  # the letters of the shapes
    out = room(I + H + len(bias), w_ih.shape[1])
    pack(w_ih, ONE, out, 0)
    pack(w_hh, ONE, out, I)
    pack(bias, ONE, out, I + H)
    return out


@jit(forceinline=True)
def time(s: int, T: int, reverse: bool) -> int:
    """The time of step s."""
    return T - 1 - s if reverse else s


@jit(forceinline=True)
def row(x: Any, b: int) -> int:
    """The position of row b of a matrix."""
    return b * (x.strides[0] // x.itemsize)


@jit
def put_state(h: Any, begin: int, end: int, seen: Any, column: int) -> None:
    for b in range(begin, end):
        for j in range(h.shape[1]):
            seen[b, column + j] = h[b, j]


@jit
def put_products(seen: Any, w: Any, x_width: int, known: bool, out: Any) -> None:
    """Weights times what a step sees, or only times the state in it, added to what is known."""
    if w.size:
        first = x_width if known else 0
        product(seen[:, first : first + w.shape[1]], w, out, known)


@jit(signature=f"void({HOW}, boolean, {KEPT}, {PACKED}, boolean, int64, {STATE}, {MADE}, {KEPT})", nogil=True)
def rnn(
    begin: int, end: int, sizes: Any, reverse: bool, relu: bool, a: Any, w: Any, known: bool, x_width: int, h: Any, out: Any,
    seen: Any,
) -> None:  # fmt: skip
    for s in range(len(sizes)):
        t = time(s, len(sizes), reverse)
        n = min(sizes[t], end)
        if n > begin:
            put_state(h, begin, n, seen[t], x_width)
            products = a[t, begin:n] if known else h[begin:n]
            put_products(seen[t, begin:n], w, x_width, known, products)
            rnn_step(relu, products, h[begin:n], out[t, begin:n])


@jit(fastmath={"contract"})
def rnn_step(relu: bool, a: Any, h: Any, out: Any) -> None:
    H = h.shape[1]
    for b in range(h.shape[0]):
        for j in range(0, H, WIDTH):
            some = first(H - j)
            x = load(a, row(a, b) + j, some)
            y = maximum(ZERO, x) if relu else tanh32(x)
            put(h, row(h, b) + j, y, H - j)
            put(out, row(out, b) + j, y, H - j)


@jit(signature=f"void({HOW}, boolean, {PACKED}, {GIVEN}, {GIVEN}, {STATE}, {KEPT})", nogil=True)
def rnn_backward(
    begin: int, end: int, sizes: Any, reverse: bool, relu: bool, w_hh: Any, g: Any, out: Any, dh: Any, da: Any
) -> None:
    for s in range(len(sizes)):
        t = time(s, len(sizes), not reverse)
        n = min(sizes[t], end)
        if n > begin:
            rnn_gradients(relu, g[t, begin:n], out[t, begin:n], dh[begin:n], da[t, begin:n])
            if w_hh.size:
                product(da[t, begin:n], w_hh, dh[begin:n], False)


@jit(fastmath={"contract"})
def rnn_gradients(relu: bool, g: Any, out: Any, dh: Any, da: Any) -> None:
    H = g.shape[1]
    for b in range(g.shape[0]):
        for j in range(0, H, WIDTH):
            some = first(H - j)
            y = load(out, row(out, b) + j, some)
            d = load(g, row(g, b) + j, some) + load(dh, row(dh, b) + j, some)
            slope = select(y > ZERO, ONE, ZERO) if relu else ONE - y * y
            put(da, row(da, b) + j, d * slope, H - j)


@jit(signature=f"void({HOW}, {KEPT}, {PACKED}, boolean, int64, {STATE}, {STATE}, {MADE}, {KEPT}, {KEPT})", nogil=True)
def lstm(
    begin: int, end: int, sizes: Any, reverse: bool, gates: Any, w: Any, known: bool, x_width: int, h: Any, c: Any, out: Any,
    seen: Any, cells: Any,
) -> None:  # fmt: skip
    near = np.empty((0 if known else end - begin, gates.shape[2]), np.float32)  # stays in the cache, unlike all gates
    for s in range(len(sizes)):
        t = time(s, len(sizes), reverse)
        n = min(sizes[t], end)
        if n > begin:
            put_state(h, begin, n, seen[t], x_width)
            a = gates[t, begin:n] if known else near[: n - begin]
            put_products(seen[t, begin:n], w, x_width, known, a)
            lstm_step(a, gates[t, begin:n], h[begin:n], c[begin:n], out[t, begin:n], cells[t, begin:n])


@jit(fastmath={"contract"})
def lstm_step(a: Any, gates: Any, h: Any, c: Any, out: Any, cells: Any) -> None:
    """The gates may take the place of the products a."""
    H = h.shape[1]
    for b in range(h.shape[0]):
        for j in range(0, H, WIDTH):
            some, by, at = first(H - j), row(a, b) + j, row(gates, b) + j
            i = sigmoid32(load(a, by, some))
            f = sigmoid32(load(a, by + H, some))
            u = tanh32(load(a, by + 2 * H, some))
            o = sigmoid32(load(a, by + 3 * H, some))
            before = load(c, row(c, b) + j, some)
            after = f * before + i * u
            y = o * tanh32(after)
            put(gates, at, i, H - j)
            put(gates, at + H, f, H - j)
            put(gates, at + 2 * H, u, H - j)
            put(gates, at + 3 * H, o, H - j)
            put(cells, row(cells, b) + j, before, H - j)
            put(c, row(c, b) + j, after, H - j)
            put(h, row(h, b) + j, y, H - j)
            put(out, row(out, b) + j, y, H - j)


@jit(signature=f"void({HOW}, {PACKED}, {GIVEN}, {KEPT}, {KEPT}, {STATE}, {STATE}, {KEPT})", nogil=True)
def lstm_backward(
    begin: int,
    end: int,
    sizes: Any,
    reverse: bool,
    w_hh: Any,
    g: Any,
    gates: Any,
    cells: Any,
    dh: Any,
    dc: Any,
    da: Any,
) -> None:
    for s in range(len(sizes)):
        t = time(s, len(sizes), not reverse)
        n = min(sizes[t], end)
        if n > begin:
            lstm_gradients(
                g[t, begin:n], gates[t, begin:n], cells[t, begin:n], dh[begin:n], dc[begin:n], da[t, begin:n]
            )
            if w_hh.size:
                product(da[t, begin:n], w_hh, dh[begin:n], False)


@jit(fastmath={"contract"})
def lstm_gradients(g: Any, gates: Any, cells: Any, dh: Any, dc: Any, da: Any) -> None:
    H = g.shape[1]
    for b in range(g.shape[0]):
        for j in range(0, H, WIDTH):
            some, at, to = first(H - j), row(gates, b) + j, row(da, b) + j
            i, f = load(gates, at, some), load(gates, at + H, some)
            u, o = load(gates, at + 2 * H, some), load(gates, at + 3 * H, some)
            before = load(cells, row(cells, b) + j, some)
            tanh_c = tanh32(f * before + i * u)
            d_h = load(g, row(g, b) + j, some) + load(dh, row(dh, b) + j, some)
            d_c = load(dc, row(dc, b) + j, some) + d_h * o * (ONE - tanh_c * tanh_c)
            put(da, to, d_c * u * i * (ONE - i), H - j)
            put(da, to + H, d_c * before * f * (ONE - f), H - j)
            put(da, to + 2 * H, d_c * i * (ONE - u * u), H - j)
            put(da, to + 3 * H, d_h * tanh_c * o * (ONE - o), H - j)
            put(dc, row(dc, b) + j, d_c * f, H - j)


@jit(signature=f"void({HOW}, {STATE}, {PACKED}, {BIAS}, {STATE}, {MADE}, {KEPT}, {KEPT}, {KEPT})", nogil=True)
def gru(
    begin: int, end: int, sizes: Any, reverse: bool, w: Any, w_hh: Any, b_hh: Any, h: Any, out: Any, before: Any, gates: Any,
    inner: Any,
) -> None:  # fmt: skip
    for s in range(len(sizes)):
        t = time(s, len(sizes), reverse)
        n = min(sizes[t], end)
        if n > begin:
            put_state(h, begin, n, before[t], 0)
            if w_hh.size:
                product(h[begin:n], w_hh, w[begin:n], False)
            gru_step(gates[t, begin:n], w[begin:n], b_hh, h[begin:n], out[t, begin:n], inner[t, begin:n])


@jit(fastmath={"contract"})
def gru_step(gates: Any, w: Any, b_hh: Any, h: Any, out: Any, inner: Any) -> None:
    """The gates take the place of the products of the inputs."""
    H = h.shape[1]
    for b in range(h.shape[0]):
        for j in range(0, H, WIDTH):
            some, at, by = first(H - j), row(gates, b) + j, row(w, b) + j
            r = sigmoid32(load(gates, at, some) + load(w, by, some) + load(b_hh, j, some))
            z = sigmoid32(load(gates, at + H, some) + load(w, by + H, some) + load(b_hh, j + H, some))
            from_h = load(w, by + 2 * H, some) + load(b_hh, j + 2 * H, some)
            u = tanh32(load(gates, at + 2 * H, some) + r * from_h)
            y = (ONE - z) * u + z * load(h, row(h, b) + j, some)
            put(gates, at, r, H - j)
            put(gates, at + H, z, H - j)
            put(gates, at + 2 * H, u, H - j)
            put(inner, row(inner, b) + j, from_h, H - j)
            put(h, row(h, b) + j, y, H - j)
            put(out, row(out, b) + j, y, H - j)


@jit(signature=f"void({HOW}, {PACKED}, {GIVEN}, {KEPT}, {KEPT}, {KEPT}, {STATE}, {KEPT}, {KEPT})", nogil=True)
def gru_backward(
    begin: int, end: int, sizes: Any, reverse: bool, w_hh: Any, g: Any, before: Any, gates: Any, inner: Any, dh: Any, da: Any,
    dw: Any,
) -> None:  # fmt: skip
    for s in range(len(sizes)):
        t = time(s, len(sizes), not reverse)
        n = min(sizes[t], end)
        if n > begin:
            gru_gradients(
                g[t, begin:n], before[t, begin:n], gates[t, begin:n], inner[t, begin:n], dh[begin:n], da[t, begin:n],
                dw[t, begin:n],
            )  # fmt: skip
            if w_hh.size:
                product(dw[t, begin:n], w_hh, dh[begin:n], True)


@jit(fastmath={"contract"})
def gru_gradients(g: Any, before: Any, gates: Any, inner: Any, dh: Any, da: Any, dw: Any) -> None:
    """dh becomes what passes through z; the part that passes through the gates is added by the caller."""
    H = g.shape[1]
    for b in range(g.shape[0]):
        for j in range(0, H, WIDTH):
            some, at = first(H - j), row(gates, b) + j
            r, z, u = load(gates, at, some), load(gates, at + H, some), load(gates, at + 2 * H, some)
            d = load(g, row(g, b) + j, some) + load(dh, row(dh, b) + j, some)
            du = d * (ONE - z) * (ONE - u * u)
            dr = du * load(inner, row(inner, b) + j, some) * r * (ONE - r)
            dz = d * (load(before, row(before, b) + j, some) - u) * z * (ONE - z)
            put(da, row(da, b) + j, dr, H - j)
            put(da, row(da, b) + H + j, dz, H - j)
            put(da, row(da, b) + 2 * H + j, du, H - j)
            put(dw, row(dw, b) + j, dr, H - j)
            put(dw, row(dw, b) + H + j, dz, H - j)
            put(dw, row(dw, b) + 2 * H + j, du * r, H - j)
            put(dh, row(dh, b) + j, d * z, H - j)
