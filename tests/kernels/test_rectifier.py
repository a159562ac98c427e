from __future__ import annotations

import numpy as np
import pytest

from minidl.kernels import rectifier as r

EXTREMES = np.array(
    [[0, -0.0, 1e-30, -1e-30, 0.5, -0.5, 5, -5, 20, -20, 80, -80, 1e15, -1e15, np.inf, -np.inf]], np.float32
)
FORWARD = [
    (r.leaky_relu, (0.1,)), (r.elu, (1.5, 1.1, 0.8)), (r.softplus, (1.0, 20.0)), (r.softplus, (0.5, np.inf)),
]  # fmt: skip
BACKWARD = [
    (r.leaky_relu_backward, (0.1,)), (r.elu_backward, (1.5, 1.1, 0.8)), (r.softplus_backward, (1.0, 20.0)),
    (r.softplus_backward, (0.5, np.inf)), (r.silu_backward, ()),
]  # fmt: skip


def normal(rng, *shape):
    return (2 * rng.standard_normal(shape)).astype(np.float32)


@pytest.mark.parametrize("kernel, parameters", FORWARD)
@pytest.mark.parametrize("shape", [(), (1,), (7,), (33, 5), (0, 3)])
def test_values_agree(kernel, parameters, shape, rng, compare):
    compare(kernel, np.asarray(normal(rng, *shape)), *parameters)


@pytest.mark.parametrize("kernel, parameters", FORWARD)
def test_extremes_and_layouts(kernel, parameters, rng, compare):
    compare(kernel, EXTREMES, *parameters)
    assert np.isnan(kernel(np.array([np.nan], np.float32), *parameters)).all()
    compare(kernel, np.moveaxis(normal(rng, 2, 5, 4, 3), -1, 1), *parameters)
    compare(kernel, normal(rng, 4, 6)[:, ::2], *parameters, compiled=False)
    compare(kernel, normal(rng, 4).astype(np.float64), *parameters, compiled=False)


@pytest.mark.parametrize("kernel, parameters", BACKWARD)
def test_gradients_agree(kernel, parameters, rng, compare):
    x, g = normal(rng, 9, 5), normal(rng, 9, 5)
    compare(kernel, g, x, *parameters)
    compare(kernel, g.T, x.T, *parameters)
    compare(kernel, np.asfortranarray(g), x, *parameters)
    compare(kernel, np.broadcast_to(g[0], x.shape), x, *parameters)
    compare(kernel, np.ones_like(EXTREMES[:, :-2]), EXTREMES[:, :-2], *parameters)
    assert np.isnan(kernel(np.ones(1, np.float32), np.array([np.nan], np.float32), *parameters)).all() or (
        kernel is r.leaky_relu_backward
    )
    compare(kernel, g[:, ::2], x[:, ::2], *parameters, compiled=False)
    compare(kernel, g.astype(np.float64), x.astype(np.float64), *parameters, compiled=False)


def test_softplus_keeps_the_digits_of_small_values(compare):
    compare(r.softplus, -np.linspace(0, 87, 500, dtype=np.float32), 1.0, 20.0, rtol=1e-6, atol=0)
