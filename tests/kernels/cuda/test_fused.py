"""A linear layer and its activation are one kernel on a GPU, and two where somebody looks between them."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

import minidl as md
from minidl import nn
from minidl.nn import functional as F

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")


def names(launched):
    return {entry for entry, _ in launched}


def values(model, x):
    """The result of a model, and all gradients, of its input too, on the device of x."""
    x = x.detach().requires_grad_()
    y = model(x)
    y.backward((y.detach() * 0.5).contiguous())
    return [t.detach().cpu().float().numpy() for t in (y, x.grad, *(p.grad for p in model.parameters()))]


def both(make, *shape):
    """The values of the same model on the device and on the CPU."""
    found = []
    for device in ("cuda", "cpu"):
        md.manual_seed(0)
        model = make()
        found.append(values(model.to(device), md.randn(*shape).to(device)))
    return found


def compare(make, *shape):
    for ours, wanted in zip(*both(make, *shape), strict=True):
        np.testing.assert_allclose(ours, wanted, 1e-4, 1e-5)


@pytest.mark.parametrize("activation", ["relu", "gelu", F.gelu, nn.GELU("tanh")])
@pytest.mark.parametrize("layer", [nn.TransformerEncoderLayer, nn.TransformerDecoderLayer])
def test_feed_forward_networks_of_transformers(launched, layer, activation):
    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer(8, 2, 12, dropout=0.0, activation=activation, batch_first=True)

        def forward(self, x):
            return self.layer(x, x) if layer is nn.TransformerDecoderLayer else self.layer(x)

    compare(Layer, 2, 5, 8)
    wanted = (
        "bias_relu" if activation == "relu" else "bias_gelu_tanh" if isinstance(activation, nn.GELU) else "bias_gelu"
    )
    assert wanted in names(launched)


def test_layers_in_any_order(launched):
    def make():
        linear, plain = nn.Linear(4, 4), nn.Linear(4, 4, bias=False)
        return nn.Sequential(nn.ReLU(), linear, nn.Linear(4, 4), nn.GELU(), plain, nn.Tanh(), linear, nn.Linear(4, 4))

    compare(make, 3, 4)
    assert names(launched) & {"bias_gelu", "bias_tanh", "bias_relu"} == {"bias_gelu"}


@pytest.mark.parametrize("kind", ["hook", "pre-hook", "full backward", "own forward", "subclass"])
@pytest.mark.parametrize("watched", [0, 1])
def test_who_looks_between_the_layers_sees_what_is_there(launched, kind, watched):
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU()).cuda()
    seen = []
    layer = model[watched]
    if kind == "hook":
        layer.register_forward_hook(lambda module, args, out: seen.append(1))
    elif kind == "pre-hook":
        layer.register_forward_pre_hook(lambda module, args: seen.append(1))
    elif kind == "full backward":
        layer.register_full_backward_hook(lambda module, inputs, outputs: seen.append(1))
    elif kind == "own forward":
        inner = layer.forward
        layer.forward = lambda x: (seen.append(1), inner(x))[1]
    else:

        class Seeing(type(layer)):
            def forward(self, x):
                seen.append(1)
                return super().forward(x)

        layer.__class__ = Seeing
    model(md.ones(2, 4).cuda()).sum().backward()
    assert seen == [1] and "bias_relu" not in names(launched)


def test_second_derivatives(launched):
    for activation in (nn.Tanh(), nn.GELU()):
        found = []
        for device in ("cuda", "cpu"):
            md.manual_seed(1)
            model = nn.Sequential(nn.Linear(3, 4), activation, nn.Linear(4, 1)).to(device)
            x = md.randn(5, 3).to(device).requires_grad_()
            (slope,) = md.autograd.grad(model(x).sum(), x, create_graph=True)
            (slope * slope).sum().backward()
            found.append([x.grad.cpu().numpy(), *(p.grad.cpu().numpy() for p in list(model.parameters())[:-1])])
        for ours, wanted in zip(*found, strict=True):
            np.testing.assert_allclose(ours, wanted, 1e-4, 1e-5)


@pytest.mark.parametrize("half", [md.float16, md.bfloat16])
def test_under_autocast_in_halves(launched, half):
    md.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.GELU()).cuda()
    x = md.randn(6, 8).cuda()
    with md.autocast("cuda", dtype=half):
        y = model(x)
    assert y.dtype is half
    y.float().sum().backward()
    wanted = F.gelu(F.linear(x.cpu(), model[0].weight.detach().cpu(), model[0].bias.detach().cpu()))
    close = 4e-3 if half is md.float16 else 3e-2  # three roundings to 11 or to 8 bits
    np.testing.assert_allclose(y.detach().cpu().float().numpy(), wanted.numpy(), close, close)
    name = "float16" if half is md.float16 else "bfloat16"
    assert {("bias_gelu", name), ("bias_gelu_none_backward", name)} <= launched
    assert model[0].bias.grad.dtype is md.float32


def test_what_does_not_fit_is_refused(device):
    from minidl.ops.activation import BiasActivation, BiasGELU

    with pytest.raises(RuntimeError, match=r"BiasActivation: expected a bias of float32\[3\].* got float32\[4\]"):
        BiasActivation.apply(md.ones(2, 3, device=device), md.ones(4, device=device), activation="relu")
    with pytest.raises(RuntimeError, match=r"BiasGELU: expected a bias of float32\[3\].* got float64\[3\]"):
        BiasGELU.apply(md.ones(2, 3, device=device), md.ones(3, device=device).double(), approximate="none")
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU()).to(device)
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        model(md.ones(2, 4, device=device))


def test_on_the_cpu_they_stay_two_operations():
    y = nn.Sequential(nn.Linear(3, 3), nn.ReLU())(md.ones(2, 3))
    assert y.grad_fn.name() == "ReLUBackward0" and y.grad_fn.next_functions[0][0].name() == "LinearBackward0"
