"""A tile: a small part of a matrix product, held in registers while it adds up.

A product of matrices adds up a[i, k] * b[k, j] for each (i, j). Done one (i, j) at a time, every multiplication takes two
numbers from memory, and a core multiplies much faster than it loads. So a few rows and a few registers of columns of the
result are worked on together:

                b[k, 0:16]   b[k, 16:32]    Step k loads 2 registers of b and 8 numbers of a, each into all lanes of a
    a[0, k]     t[0, 0:16]   t[0, 16:32]    register, and does 8 x 2 multiply-adds with them. The 16 registers t are the
    a[1, k]     t[1, 0:16]   t[1, 16:32]    tile: they stay where they are until k has come to its end, and the cost of
    ...         ...          ...            loading is spread over 16 multiply-adds, which are 256 multiplications.
    a[7, k]     t[7, 0:16]   t[7, 16:32]

The result of a multiply-add can be used four cycles after it has begun, but one or two begin in every cycle: a tile of
fewer than about eight registers waits for itself. A tile of more registers than the CPU has is moved to memory and back in
every step. ROWS x 2 registers, and one for a and two for b, fit.

The rows of a need not lie at equal distances: each has its own position, in a table. So a can be a matrix that is nowhere
stored, like the windows of an image (convolution_direct.py). out = a @ b:

    @jit
    def product(a, b, out):  # (M, K), (K, N), (M, N); M a multiple of ROWS, N of WIDTH
        for j in range(0, b.shape[1], WIDTH):
            for i in range(0, a.shape[0], ROWS):
                t = tile(ROWS, 1)
                for k in range(a.shape[1]):
                    t = add_products(t, a, i * a.shape[1] + k, a.shape[1], b, k * b.shape[1] + j)
                store_tile(out, i * b.shape[1] + j, b.shape[1], t, WIDTH)

The functions are for kernels; each one's body is its meaning in NumPy, with an array (rows, columns * WIDTH) for a tile.
Positions are flat, as in simd.py, and **nothing is checked**. `starts` says where the rows of a tile begin, counted from
`place`: entries of a table, or one number, which all rows are apart. The numbers of rows and columns are constants: a kernel
is compiled for each size of tile that it is called with.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .jit import Lazy, instruction
from .simd import width


class Rows(Lazy):
    """Stands for the number of rows of a tile, which depends on how many registers there are."""

    def compile(self) -> int:
        return rows()


def rows() -> int:
    """Rows of a tile, for Python code; kernels write ROWS. With AVX-512 there are 32 registers, else there may be 16."""
    return 8 if width() == 16 else 6


ROWS: Any = Rows()


@instruction
def entries(table: Any, i: int, count: int) -> Any:
    """Entries i ... i + count - 1 of a table of int64, each in a register."""
    return table[i : i + count].copy()


def places(starts: Any, t: Any) -> Any:
    """Where each row of a tile begins, as a column."""
    return (starts * np.arange(len(t)) if isinstance(starts, int) else starts)[:, None]


@instruction
def tile(rows: int, columns: int) -> Any:
    """Zeros: `rows` rows of `columns` registers."""
    return np.zeros((rows, columns * width()), np.float32)


@instruction
def int_tile(rows: int, columns: int) -> Any:
    """Zeros: `rows` rows of `columns` registers of int32, which add_dots adds to and store_tile writes."""
    return np.zeros((rows, columns * width()), np.int32)


@instruction
def load_tile(size: Any, x: Any, place: int, starts: Any) -> Any:
    """x[place + starts[r] + j], as many rows and columns as the tile `size` has."""
    return x.reshape(-1)[place + places(starts, size) + np.arange(size.shape[1])]


@instruction
def store_tile(x: Any, place: int, starts: Any, t: Any, lanes: int) -> None:
    """x[place + starts[r] + j] = t[r, j] for the j below `lanes`."""
    some = np.arange(min(lanes, t.shape[1]))
    x.reshape(-1)[place + places(starts, t) + some] = t[:, some]


@instruction
def add_tile(x: Any, place: int, starts: Any, t: Any, lanes: int) -> None:
    """x[place + starts[r] + j] += t[r, j] for the j below `lanes`."""
    some = np.arange(min(lanes, t.shape[1]))
    x.reshape(-1)[place + places(starts, t) + some] += t[:, some]


@instruction
def add_products(t: Any, x: Any, place: int, starts: Any, w: Any, position: int) -> Any:
    """t[r, j] + x[place + starts[r]] * w[position + j]: a number for a row, times registers of w that all rows share."""
    return t + x.reshape(-1)[place + places(starts, t)] * w.reshape(-1)[position : position + t.shape[1]]


@instruction
def add_dots(t: Any, x: Any, place: int, starts: Any, w: Any, position: int) -> Any:
    """t[r, j] + x0 w0 + x1 w1 + x2 w2 + x3 w3, the bytes at x[place + starts[r]] and at w[position + 4 j]; see dot4."""
    four = np.arange(4)
    u = x.reshape(-1)[place + places(starts, t) + four].astype(np.int32)
    s = w.reshape(-1)[position : position + 4 * t.shape[1]].reshape(-1, 4).astype(np.int32)
    return t + u @ s.T


@instruction
def add_lanewise(t: Any, x: Any, place: int, starts: Any, w: Any, position: int) -> Any:
    """t[r, j] + x[place + starts[r] + j] * w[position + j]: registers for a row, times registers of w that all rows share."""
    lanes = np.arange(t.shape[1])
    return t + x.reshape(-1)[place + places(starts, t) + lanes] * w.reshape(-1)[position + lanes]


@instruction
def add_row(t: Any, x: Any, position: int) -> Any:
    """t[r, j] + x[position + j]: the same registers to all rows."""
    return t + x.reshape(-1)[position : position + t.shape[1]]


@instruction
def registers(t: Any) -> Any:
    """The rows of a tile of one column as a tuple of registers, for `f(*registers(t))`."""
    return tuple(t)


@instruction
def stacked(values: Any) -> Any:
    """A tile of one column whose rows are the registers of a tuple."""
    return np.stack(values)


@instruction
def transposed(t: Any) -> Any:
    """t[j, r] of a tile of WIDTH rows and one column."""
    return t.T.copy()
