from __future__ import annotations

import numpy as np
import pytest

import minidl
from minidl.kernels.layernorm import layer_norm, layer_norm_backward, rms_norm, rms_norm_backward

EPS = 1e-5
SHAPES = [(1, 1), (7, 1), (1, 7), (5, 33), (64, 40), (2, 16), (3, 100), (1, 1000)]


def case(rng, n, d, affine=True):
    x, g = (rng.standard_normal((n, d)).astype(np.float32) for _ in range(2))
    weight, bias = (rng.standard_normal(d).astype(np.float32) if affine else None for _ in range(2))
    return x, g, weight, bias


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("n, d", SHAPES)
def test_variants_agree(n, d, affine, rng, compare):
    x, g, weight, bias = case(rng, n, d, affine)
    compare(layer_norm, x, weight, bias, EPS, rtol=1e-5)
    _, mean, rstd = layer_norm(x, weight, bias, EPS)
    compare(layer_norm_backward, g, x, mean, rstd, weight, rtol=2e-5, atol=1e-5)  # gradients summed over up to 64 rows


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("n, d", SHAPES)
def test_rms_variants_agree(n, d, affine, rng, compare):
    x, g, weight, _ = case(rng, n, d, affine)
    x += np.float32(3)  # a mean that must not be subtracted
    compare(rms_norm, x, weight, EPS, rtol=1e-5)
    _, rstd = rms_norm(x, weight, EPS)
    compare(rms_norm_backward, g, x, rstd, weight, rtol=2e-5, atol=1e-5)


def test_weight_without_bias(rng, compare):
    x, _, weight, bias = case(rng, 3, 8)
    compare(layer_norm, x, weight, None, EPS, rtol=1e-5)
    compare(layer_norm, x, None, bias, EPS, rtol=1e-5)


def test_large_mean(rng, compare):
    x, _, weight, bias = case(rng, 4, 100)
    # The sum, 100000, has steps of 0.008 in float32: the mean is off by a few 1e-4. From a mean of squares minus a
    # squared mean, the variance, 1, would be off by 0.1.
    compare(layer_norm, x + np.float32(1000), weight, bias, EPS, rtol=1e-4, atol=1e-3)


def test_large_values(rng, compare):
    x, _, weight, bias = case(rng, 4, 10)
    compare(layer_norm, x * np.float32(1e15), weight, bias, EPS, rtol=1e-5)


@pytest.mark.parametrize("shape", [(0, 5), (5, 0)])
def test_empty(shape, rng, compare):
    x, g, weight, bias = case(rng, *shape)
    compare(layer_norm, x, weight, bias, EPS, rtol=1e-5, compiled=False)
    _, mean, rstd = layer_norm(x, weight, bias, EPS)
    compare(layer_norm_backward, g, x, mean, rstd, weight, compiled=False)


def test_other_layouts_take_the_reference(rng, compare):
    x, g, weight, bias = case(rng, 8, 8)
    compare(layer_norm, x.T, weight, bias, EPS, rtol=1e-5, compiled=False)
    compare(layer_norm, x, weight[::-1], bias, EPS, rtol=1e-5, compiled=False)
    compare(layer_norm, x.astype(np.float64), None, None, EPS, compiled=False)
    _, mean, rstd = layer_norm(x, weight, bias, EPS)
    compare(layer_norm_backward, g.T, x, mean, rstd, weight, rtol=2e-5, atol=1e-5, compiled=False)
    compare(rms_norm, x.T, weight, EPS, rtol=1e-5, compiled=False)
    compare(rms_norm_backward, g.T, x, rstd, weight, rtol=2e-5, atol=1e-5, compiled=False)


def test_float16_squares_do_not_overflow():
    out, mean, rstd = layer_norm(np.float16([[300.0, -300.0]]), None, None, EPS)
    assert out.tolist() == [[1.0, -1.0]]
    assert (out.dtype, mean.dtype, rstd.dtype) == (np.float16, np.float32, np.float32)


@pytest.mark.parametrize("affine", [True, False])
def test_against_pytorch(affine, rng):
    torch = pytest.importorskip("torch")
    x, g, weight, bias = (None if v is None else v.astype(np.float64) for v in case(rng, 6, 9, affine))
    inputs = [torch.tensor(v, requires_grad=True) for v in (x, weight, bias) if v is not None]
    wanted = torch.nn.functional.layer_norm(inputs[0], (9,), *inputs[1:], eps=EPS)
    gradients = torch.autograd.grad(wanted, inputs, torch.tensor(g))
    out, mean, rstd = layer_norm(x, weight, bias, EPS)
    np.testing.assert_allclose(out, wanted.detach(), rtol=1e-11, atol=1e-13)
    ours = layer_norm_backward(g, x, mean, rstd, weight)
    for mine, theirs in zip(ours, gradients, strict=False):  # without weight and bias there is dx alone to compare
        np.testing.assert_allclose(mine, theirs, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("shape", [(6, 9), (2, 3, 4)])
@pytest.mark.parametrize("affine", [True, False])
def test_rms_against_pytorch(affine, shape, rng):
    torch = pytest.importorskip("torch")
    arrays = [rng.standard_normal(shape), rng.standard_normal(shape[1:])][: 1 + affine]
    theirs = [torch.tensor(a, requires_grad=True) for a in arrays]
    ours = [minidl.tensor(a, requires_grad=True) for a in arrays]
    wanted = torch.nn.functional.rms_norm(theirs[0], shape[1:], *theirs[1:])
    got = minidl.nn.functional.rms_norm(ours[0], shape[1:], *ours[1:])
    np.testing.assert_allclose(got.numpy(force=True), wanted.detach(), rtol=1e-11)
    g = rng.standard_normal(shape)
    for mine, other in zip(
        minidl.autograd.grad(got, ours, minidl.tensor(g)),
        torch.autograd.grad(wanted, theirs, torch.tensor(g)),
        strict=True,
    ):
        np.testing.assert_allclose(mine.numpy(), other, rtol=1e-10, atol=1e-13)
