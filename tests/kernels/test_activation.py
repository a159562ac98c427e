from __future__ import annotations

import numpy as np
import pytest

from minidl.kernels import activation as a

EXTREMES = np.array([[0, -0.0, 1e-30, -1e-30, 0.5, -0.5, 5, -5, 20, -20, 100, -100, 1e15, -1e15]], np.float32)
GELU_BACKWARD_ATOL = 1e-5  # in float32 the reference's 1 - tanh(u)^2 cancels where tanh(u) is almost -1
UNARY = [(a.relu, ()), (a.sigmoid, ()), (a.erf, ()), (a.gelu, ("none",)), (a.gelu, ("tanh",))]
names = [f"{kernel.name}{''.join(options)}" for kernel, options in UNARY]


def normal(rng, *shape):
    return (2 * rng.standard_normal(shape)).astype(np.float32)


@pytest.mark.parametrize("kernel, options", UNARY, ids=names)
@pytest.mark.parametrize("shape", [(), (1,), (7,), (33, 5), (0, 3)])
def test_elementwise_variants_agree(kernel, options, shape, rng, compare):
    compare(kernel, np.asarray(normal(rng, *shape)), *options)


@pytest.mark.parametrize("kernel, options", UNARY, ids=names)
def test_extremes(kernel, options, compare):
    compare(kernel, EXTREMES, *options)
    assert np.isnan(kernel(np.array([np.nan], np.float32), *options)).all()


def test_erf_is_as_accurate_near_zero(compare):
    x = np.geomspace(1e-30, 4, 1000).astype(np.float32)
    compare(a.erf, np.concatenate([x, -x]), rtol=4e-7, atol=0)
    assert a.erf(np.float32([np.inf, -np.inf])).tolist() == [1.0, -1.0]


@pytest.mark.parametrize("kernel, options", UNARY, ids=names)
def test_layouts(kernel, options, rng, compare):
    channels_last = np.moveaxis(normal(rng, 2, 5, 4, 3), -1, 1)
    compare(kernel, channels_last, *options)
    assert kernel(channels_last, *options).strides == channels_last.strides
    compare(kernel, normal(rng, 4, 6)[:, ::2], *options, compiled=False)
    compare(kernel, np.broadcast_to(normal(rng, 1), 5), *options, compiled=False)
    compare(kernel, normal(rng, 4).astype(np.float64), *options, compiled=False)


def test_relu_backward(rng, compare):
    g, out = normal(rng, 9, 5), a.relu(normal(rng, 9, 5))
    compare(a.relu_backward, g, out)
    compare(a.relu_backward, g.T, out.T)
    compare(a.relu_backward, np.asfortranarray(g), out)
    compare(a.relu_backward, np.broadcast_to(g[0], out.shape), out)
    compare(a.relu_backward, g[:, ::2], out[:, ::2], compiled=False)
    compare(a.relu_backward, g.astype(np.float64), out, compiled=False)


def test_relu_backward_at_nan_and_infinity(compare):
    out = np.array([0, 0, np.nan, np.inf], np.float32)
    g = np.array([np.inf, np.nan, 2, 3], np.float32)
    compare(a.relu_backward, g, out)
    assert a.relu_backward(g, out).tolist() == [0, 0, 2, 3]


@pytest.mark.parametrize("approximate", a.APPROXIMATIONS)
def test_gelu_backward(approximate, rng, compare):
    x, g = normal(rng, 9, 5), normal(rng, 9, 5)
    compare(a.gelu_backward, g, x, approximate, atol=GELU_BACKWARD_ATOL)
    compare(a.gelu_backward, np.ones_like(EXTREMES), EXTREMES, approximate, atol=GELU_BACKWARD_ATOL)
    compare(a.gelu_backward, g.T, x.T, approximate, atol=GELU_BACKWARD_ATOL)
    compare(a.gelu_backward, np.asfortranarray(g), x, approximate, atol=GELU_BACKWARD_ATOL, compiled=False)


@pytest.mark.parametrize("activation", a.ACTIVATIONS)
@pytest.mark.parametrize("shape", [(1, 1), (7,), (33, 5), (2, 3, 4), (0, 4), (4, 0)])
def test_bias_activation(activation, shape, rng, compare):
    x, g, bias = normal(rng, *shape), normal(rng, *shape), normal(rng, shape[-1])
    compare(a.bias_activation, x, bias, activation)
    compare(a.bias_activation, x[..., ::-1], bias, activation, compiled=x[..., ::-1].flags.c_contiguous)
    compare(a.bias_activation, x.astype(np.float64), bias.astype(np.float64), activation, compiled=False)
    if activation in a.FROM_RESULT:
        compare(a.bias_activation_backward, g, a.bias_activation(x, bias, activation), activation, atol=1e-6)
        compare(a.bias_activation_backward, g.astype(np.float64), x.astype(np.float64), activation, compiled=False)
    else:
        approximate = "none" if activation == "gelu" else "tanh"
        compare(a.bias_gelu_backward, g, x, bias, approximate, atol=GELU_BACKWARD_ATOL)


@pytest.mark.parametrize("activation", a.ACTIVATIONS)
def test_bias_activation_at_extremes_and_nan(activation, compare):
    x = np.append(EXTREMES, np.float32([[np.nan]]), axis=1)
    bias = np.zeros(x.shape[1], np.float32)
    compare(a.bias_activation, x, bias, activation)
    out = a.bias_activation(x, bias, activation)
    assert np.isnan(out[0, -1])
    if activation in a.FROM_RESULT:
        compare(a.bias_activation_backward, np.ones_like(x), out, activation)
    else:
        compare(a.bias_gelu_backward, np.ones_like(x), x, bias, "none" if activation == "gelu" else "tanh")


def test_unknown_names_are_refused(rng):
    x = normal(rng, 2, 3)
    with pytest.raises(ValueError, match=r"gelu: approximate='erf' is unknown; it is one of none, tanh"):
        a.gelu(x, "erf")
    with pytest.raises(ValueError, match=r"bias_activation: activation='selu' is unknown; it is one of relu, sigmoid"):
        a.bias_activation(x, x[0], "selu")


def test_against_pytorch(rng):
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    x, g = 3 * rng.standard_normal((2, 5, 4))
    bias = rng.standard_normal(4)
    t = torch.tensor(x, requires_grad=True)

    def check(value, gradient, wanted):
        (wanted_gradient,) = torch.autograd.grad(wanted, t, torch.tensor(g))
        np.testing.assert_allclose(value, wanted.detach(), rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(gradient, wanted_gradient, rtol=1e-11, atol=1e-14)

    for approximate in a.APPROXIMATIONS:
        wanted = functional.gelu(t, approximate=approximate)
        check(a.gelu(x, approximate), a.gelu_backward(g, x, approximate), wanted)
    functions = (
        torch.relu,
        torch.sigmoid,
        torch.tanh,
        functional.gelu,
        lambda z: functional.gelu(z, approximate="tanh"),
    )
    for activation, function in zip(a.ACTIVATIONS, functions, strict=True):
        out = a.bias_activation(x, bias, activation)
        if activation in a.FROM_RESULT:
            dx, dbias = a.bias_activation_backward(g, out, activation)
        else:
            dx, dbias = a.bias_gelu_backward(g, x, bias, "none" if activation == "gelu" else "tanh")
        added = torch.tensor(bias, requires_grad=True)
        check(out, dx, function(t + added.detach()))
        (wanted,) = torch.autograd.grad(function(t + added), added, torch.tensor(g))
        np.testing.assert_allclose(dbias, wanted, rtol=1e-11, atol=1e-14)
    check(a.relu(x), a.relu_backward(g, a.relu(x)), torch.relu(t))
    np.testing.assert_allclose(a.erf(x), torch.erf(t).detach(), rtol=1e-14)
    np.testing.assert_allclose(a.sigmoid(x), torch.sigmoid(t).detach(), rtol=1e-14)
