"""Products with a packed matrix, against NumPy: every remainder of rows and columns, in every memory order."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("numba")

from minidl.kernels import packed, simd

ROWS = [1, 2, 3, 4, 5, 8, 9, 13]
COLUMNS = sorted({n for w in (4, 8, 16) for n in (1, w - 1, w, w + 1, 2 * w, 2 * w + 3)})


def drawn(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


def orders(a):
    """a in its own order, transposed in memory, and with gaps between rows and columns."""
    gaps = np.full((2 * a.shape[0], 3 * a.shape[1]), np.nan, np.float32)
    gaps[::2, ::3] = a
    return [a, np.asfortranarray(a), gaps[::2, ::3]]


@pytest.mark.parametrize("columns", COLUMNS)
def test_product(columns, rng):
    for rows in ROWS:
        a, b = drawn(rng, rows, 7), drawn(rng, 7, columns)
        room = packed.room(7, columns)
        packed.pack(b, 1.0, room, 0)
        wide = np.full((rows, columns + 3), 5, np.float32)
        out = wide[:, 1:-2]
        packed.product(a, room, out, False)
        np.testing.assert_allclose(out, a @ b, rtol=1e-5, atol=1e-5)
        packed.product(a, room, out, True)
        np.testing.assert_allclose(out, 2 * (a @ b), rtol=1e-5, atol=1e-5)
        assert (wide[:, :1] == 5).all() and (wide[:, -2:] == 5).all()


def test_memory_orders(rng):
    a, b = drawn(rng, 11, 6), drawn(rng, 6, 2 * simd.width() + 5)
    for left in orders(a):
        for right in orders(b):
            right.flags.writeable = False
            room, out = packed.room(*b.shape), np.empty((11, b.shape[1]), np.float32)
            packed.pack(right, 0.5, room, 0)
            packed.product(left, room, out, False)
            np.testing.assert_allclose(out, 0.5 * (a @ b), rtol=1e-5, atol=1e-5)


def test_a_part_of_the_packed_matrix(rng):
    """Fewer rows and columns than were packed: those of the keys that a query sees, for instance."""
    a, b, n = drawn(rng, 9, 12), drawn(rng, 20, 70), 33
    room = packed.room(*b.shape)
    packed.pack(b, 1.0, room, 0)
    out = np.empty((9, n), np.float32)
    packed.product(a, room, out, False)
    np.testing.assert_allclose(out, a @ b[:12, :n], rtol=1e-5, atol=1e-5)


def test_packing_in_pieces(rng):
    a, b = drawn(rng, 5, 10), drawn(rng, 10, 21)
    room, out = packed.room(*b.shape), np.empty((5, 21), np.float32)
    packed.pack(np.asfortranarray(b[:4]), 1.0, room, 0)
    packed.pack(b[4:9], 1.0, room, 4)
    packed.pack(b[9:], 1.0, room, 9)
    packed.product(a, room, out, False)
    np.testing.assert_allclose(out, a @ b, rtol=1e-5, atol=1e-5)


def test_nothing_to_multiply_is_zero():
    room, out = packed.room(0, 5), np.ones((3, 5), np.float32)
    packed.pack(np.empty((0, 5), np.float32), 1.0, room, 0)
    packed.product(np.empty((3, 0), np.float32), room, out, False)
    assert not out.any()
