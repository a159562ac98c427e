from __future__ import annotations

import numpy as np
import pytest

from minidl.kernels.softmax import log_softmax, log_softmax_backward, softmax, softmax_backward

SHAPES = [(1, 1), (7, 1), (1, 7), (5, 33), (2, 3, 17), (40,)]


def normal(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kernel", [softmax, log_softmax], ids=lambda k: k.name)
def test_forward_variants_agree(kernel, shape, rng, compare):
    compare(kernel, 3 * normal(rng, *shape), -1)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("forward, backward", [(softmax, softmax_backward), (log_softmax, log_softmax_backward)])
def test_backward_variants_agree(forward, backward, shape, rng, compare):
    out = forward(normal(rng, *shape), -1)
    compare(backward, normal(rng, *shape), out, -1)


@pytest.mark.parametrize("kernel", [softmax, log_softmax], ids=lambda k: k.name)
def test_other_axes_and_layouts_take_the_reference(kernel, rng, compare):
    x = normal(rng, 6, 8)
    compare(kernel, x, 0, compiled=False)
    compare(kernel, x.T, -1, compiled=False)
    compare(kernel, x[:, ::2], 1, compiled=False)
    compare(kernel, x.astype(np.float64), 1, compiled=False)
    compare(kernel, np.zeros((3, 0), np.float32), 1, compiled=False)
    compare(kernel, np.zeros((0, 3), np.float32), 1, compiled=False)


@pytest.mark.parametrize("kernel", [softmax, log_softmax], ids=lambda k: k.name)
def test_large_values(kernel, compare):
    x = np.array([[1e30, -1e30, 1e30], [10000.0, 10001.0, 9990.0], [-np.inf, 0.0, 1.0]], np.float32)
    compare(kernel, x, 1)


def test_large_offset_keeps_small_differences(rng, compare):
    compare(log_softmax, normal(rng, 4, 50) + np.float32(10000), 1)  # x - (max + log sum) would be off by 1e-3


@pytest.mark.parametrize("kernel", [softmax, log_softmax], ids=lambda k: k.name)
def test_rows_of_infinities_and_nan(kernel, compare):
    inf, nan = np.inf, np.nan
    x = np.array([[-inf, -inf, -inf], [inf, 0, 1], [inf, inf, 0], [nan, 0, 1], [0, -nan, 1], [0, 1, nan]], np.float32)
    compare(kernel, x, 1)
    assert np.isnan(kernel(x, 1)).all()


def test_float16_is_summed_in_float32():
    y = softmax(np.zeros((1, 4096), np.float16), 1)
    assert y.dtype == np.float16
    assert y[0, 0] == np.float16(1 / 4096)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_against_pytorch(axis, rng):
    torch = pytest.importorskip("torch")
    x, g = rng.standard_normal((2, 4, 6))
    t = torch.tensor(x, requires_grad=True)
    for ours, ours_backward, theirs in (
        (softmax, softmax_backward, torch.softmax),
        (log_softmax, log_softmax_backward, torch.log_softmax),
    ):
        wanted = theirs(t, axis)
        (gradient,) = torch.autograd.grad(wanted, t, torch.tensor(g))
        out = ours(x, axis)
        np.testing.assert_allclose(out, wanted.detach(), rtol=1e-12)
        np.testing.assert_allclose(ours_backward(g, out, axis), gradient, rtol=1e-10, atol=1e-14)
