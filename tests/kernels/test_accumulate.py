"""Largest and smallest values at an index, by integers, as a GPU takes them."""

from __future__ import annotations

import numpy as np
import pytest

from minidl.kernels.accumulate import from_order, in_order

X = [-np.inf, -3.5, -1e-30, -0.0, 0.0, 1e-30, 2.0, 2.0 + 1e-9, np.inf]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["maximum", "minimum"])
def test_integers_stand_in_the_order_of_floats(dtype, name):
    x = np.array(X, dtype)
    keys = in_order(x, name)
    assert keys.itemsize == x.itemsize and (np.diff(keys) >= 0).all()
    np.testing.assert_array_equal(from_order(keys, dtype), x)
    assert (np.signbit(from_order(keys, dtype)) == np.signbit(x)).all()
    nans = in_order(np.array([np.nan, -np.nan], dtype), name)
    assert (nans > keys.max()).all() if name == "maximum" else (nans < keys.min()).all()
    assert np.isnan(from_order(nans, dtype)).all() and in_order(x[0], name).shape == ()
