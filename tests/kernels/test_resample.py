from __future__ import annotations

import numpy as np
import pytest

from minidl.kernels import parallel
from minidl.kernels.layout import channels_last_copy, is_channels_last
from minidl.kernels.resample import Table, resample
from minidl.ops.interpolation import _cubic, _linear, _nearest


def some(rng, new, old, taps):
    """A table with zeros, and with old positions that occur twice for a new one."""
    return Table(
        rng.integers(0, old, (taps, new)), rng.standard_normal((taps, new)) * rng.choice([0, 1, 1], (taps, new)), old
    )


@pytest.mark.parametrize("new, old, taps", [(5, 3, 2), (3, 40, 4), (40, 3, 1), (1, 1, 3), (2, 7, 1)])
def test_the_transpose_of_a_table_is_that_of_its_matrix(new, old, taps, rng):
    table = some(rng, new, old, taps)
    np.testing.assert_allclose(table.T.matrix(), table.matrix().T, rtol=1e-12)
    np.testing.assert_allclose(Table.of(table.matrix()).matrix(), table.matrix(), rtol=1e-12)
    assert len(Table.of(np.eye(9)).index) == 1


SIZES = [((2, 3, 7, 9), (5, 20)), ((4, 9), (40,)), ((1, 17, 4, 5, 6), (3, 9, 11)), ((2, 17, 14, 14), (28, 28)),
         ((2, 40, 33), (3,)), ((3, 1, 1, 1), (4, 5)), ((2, 3, 7, 9), (7, 4)), ((2, 3, 7, 9), (9, 9))]  # fmt: skip


@pytest.mark.parametrize(("shape", "new"), SIZES, ids=str)
@pytest.mark.parametrize("order", ["row-major", "channels-last", "turned"])
def test_every_layout_is_the_product_with_the_matrices(shape, new, order, rng):
    tables = tuple(some(rng, m, n, 3) for m, n in zip(new, shape[-len(new) :], strict=True))
    x = rng.standard_normal(shape).astype(np.float32)
    wanted = x.astype(np.float64)
    for axis, table in enumerate(tables, x.ndim - len(tables)):
        wanted = np.moveaxis(np.moveaxis(wanted, axis, -1) @ table.matrix().T, -1, axis)
    np.testing.assert_allclose(resample.reference(x.astype(np.float64), tables), wanted, atol=1e-12)
    if order == "turned":
        x = np.asfortranarray(x)
    elif order == "channels-last" and x.ndim == len(new) + 2:
        x = channels_last_copy(x)
    out = resample(x, tables)
    assert out.dtype == np.float32 and is_channels_last(out) == (is_channels_last(x) and out[:, 0].size > 1)
    np.testing.assert_allclose(out, wanted, atol=1e-5)  # three dimensions of three terms, of some size


def test_what_has_no_weight_takes_no_part():
    table = Table(np.array([[0, 1, 2], [1, 0, 0]]), np.array([[1.0, 1.0, 0.0], [0.0, 0.5, 0.0]]), 3)
    for x in (np.array([1.0, 2.0, np.nan], np.float32), np.array([[1.0], [2.0], [np.inf]], np.float32).repeat(20, 1)):
        out = resample(x.reshape(1, 3, -1) if x.ndim > 1 else x, (table, *[Table.of(np.eye(20))] * (x.ndim - 1)))
        np.testing.assert_allclose(out.reshape(3, -1)[:, 0], [1.0, 2.5, 0.0])


def test_values_that_are_picked_stay_as_they_are():
    table = _nearest(2, 5, None, 0.0)
    for x in (np.array([True, False]), np.array([2**62 + 1, -7]), np.array([1e300, -0.0])):
        out = resample(x, (table,))
        assert out.dtype == x.dtype and out.tobytes() == x[[0, 0, 0, 1, 1]].tobytes()


def test_long_signals_take_no_matrix():
    for table in (_linear(200_000, 400_000, None, False), _cubic(200_000, 400_000, None, False)):
        assert table.index.shape[0] <= 4 and table.T.index.shape[0] <= 9


def test_threads_share_the_rows(rng, monkeypatch):
    monkeypatch.setattr(parallel, "LEAST", 1)
    monkeypatch.setattr(parallel, "get_num_threads", lambda: 3)
    x, tables = rng.standard_normal((2, 3, 5, 6)).astype(np.float32), (some(rng, 7, 5, 2), some(rng, 20, 6, 2))
    np.testing.assert_allclose(resample(x, tables), resample.reference(x, tables), atol=1e-5)
