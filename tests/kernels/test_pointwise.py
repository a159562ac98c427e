"""Activations and losses of one formula: values, layouts, extremes, and slopes against finite differences."""

from __future__ import annotations

import numpy as np
import pytest

from minidl.kernels import pointwise as p

EXTREMES = np.array([0, -0.0, 1e-30, -1e-30, 0.5, -0.5, 3, -3, 5, -5, 20, -20, 80, -80], np.float32)
UNARY = {
    "silu": (p.silu, p.silu_backward, ()),
    "softplus": (p.softplus, p.softplus_backward, (1.5, 20.0)),
    "softplus without threshold": (p.softplus, p.softplus_backward, (1.0, np.inf)),
    "mish": (p.mish, p.mish_backward, ()),
    "leaky_relu": (p.leaky_relu, p.leaky_relu_backward, (0.1,)),
    "hard_swish": (p.hard_swish, p.hard_swish_backward, ()),
    "hard_tanh": (p.hard_tanh, p.hard_tanh_backward, (-1.0, 1.25)),
    "elu": (p.elu, p.elu_backward, (1.5, 1.1, 0.8)),
}
PAIRED = {
    "logit_loss": (p.logit_loss, p.logit_loss_backward, ()),
    "huber": (p.huber, p.huber_backward, (0.7,)),
}
unary = pytest.mark.parametrize(("value", "slope", "parameters"), UNARY.values(), ids=UNARY)
paired = pytest.mark.parametrize(("value", "slope", "parameters"), PAIRED.values(), ids=PAIRED)


def normal(rng, *shape):
    return (2 * rng.standard_normal(shape)).astype(np.float32)


@unary
@pytest.mark.parametrize("shape", [(), (1,), (7,), (33, 5), (0, 3)])
def test_variants_agree(value, slope, parameters, shape, rng, compare):
    x, g = np.asarray(normal(rng, *shape)), np.asarray(normal(rng, *shape))
    compare(value, x, *parameters, rtol=4e-6)
    compare(slope, g, x, *parameters, rtol=4e-6)


@paired
@pytest.mark.parametrize("shape", [(), (7,), (33, 5), (0, 3)])
def test_paired_variants_agree(value, slope, parameters, shape, rng, compare):
    x, y, g = (np.asarray(normal(rng, *shape)) for _ in range(3))
    compare(value, x, y, *parameters, rtol=4e-6)
    compare(slope, g, x, y, *parameters, rtol=4e-6)


@unary
def test_extremes(value, slope, parameters, compare):
    compare(value, EXTREMES, *parameters, rtol=4e-6, atol=1e-40)
    compare(slope, np.ones_like(EXTREMES), EXTREMES, *parameters, rtol=4e-6)
    not_a_number = np.array([np.nan], np.float32)
    assert np.isnan(value(not_a_number, *parameters)).all()


def test_losses_at_extremes(compare):
    x, y = (a.ravel() for a in np.meshgrid(EXTREMES, np.array([0, 0.3, 1], np.float32)))
    compare(
        p.logit_loss, x, y, rtol=4e-6, atol=2e-5
    )  # at |x| = 80 max(x, 0) - x y cancels: a unit in the last place is 8e-6
    compare(p.huber, x, y, 1.0)


@unary
def test_slopes_are_those_of_the_values(value, slope, parameters):
    x = np.random.default_rng(1).uniform(-4, 4, 50)
    h = 1e-6
    wanted = (value.reference(x + h, *parameters) - value.reference(x - h, *parameters)) / (2 * h)
    np.testing.assert_allclose(slope.reference(np.ones_like(x), x, *parameters), wanted, rtol=1e-6, atol=1e-8)


@unary
def test_layouts(value, slope, parameters, rng, compare):
    x, g = np.moveaxis(normal(rng, 2, 5, 4, 3), -1, 1), normal(rng, 2, 3, 5, 4)
    compare(value, x, *parameters, rtol=4e-6)
    compare(slope, g, x, *parameters, rtol=4e-6)
    compare(slope, np.broadcast_to(g[:1, :1, :1, :1], x.shape), x, *parameters, rtol=4e-6)
    compare(value, x[..., ::2], *parameters, compiled=False, rtol=4e-6)
    compare(slope, g[..., ::2], x[..., ::2], *parameters, compiled=False, rtol=4e-6)
    compare(value, x.astype(np.float64), *parameters, compiled=False)


@paired
def test_pairs_of_unlike_layouts(value, slope, parameters, rng, compare):
    x, y = normal(rng, 4, 6), normal(rng, 6, 4).T
    compare(value, x, y, *parameters, compiled=False, rtol=4e-6)
    compare(value, x.T, x.T, *parameters, rtol=4e-6)
    compare(slope, y, x, x, *parameters, rtol=4e-6)
    compare(value, x, y[:1], *parameters, compiled=False, rtol=4e-6)
