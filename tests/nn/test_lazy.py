"""Lazy layers: before, at and after their first call."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import minidl
from minidl import nn
from minidl.nn.lazy import LazyModuleMixin

LAYERS = [
    (nn.LazyLinear, (3,), nn.Linear, (5, 3), (2, 5)),
    (nn.LazyConv1d, (4, 3), nn.Conv1d, (2, 4, 3), (1, 2, 6)),
    (nn.LazyConv2d, (4, 3), nn.Conv2d, (2, 4, 3), (2, 6, 6)),
    (nn.LazyConv3d, (4, 2), nn.Conv3d, (2, 4, 2), (1, 2, 3, 3, 3)),
    (nn.LazyConvTranspose1d, (4, 3), nn.ConvTranspose1d, (2, 4, 3), (1, 2, 6)),
    (nn.LazyConvTranspose2d, (4, 3), nn.ConvTranspose2d, (2, 4, 3), (1, 2, 6, 6)),
    (nn.LazyConvTranspose3d, (4, 2), nn.ConvTranspose3d, (2, 4, 2), (1, 2, 3, 3, 3)),
    (nn.LazyBatchNorm1d, (), nn.BatchNorm1d, (5,), (3, 5)),
    (nn.LazyBatchNorm2d, (), nn.BatchNorm2d, (5,), (3, 5, 2, 2)),
    (nn.LazyBatchNorm3d, (), nn.BatchNorm3d, (5,), (3, 5, 2, 2, 2)),
    (nn.LazyInstanceNorm1d, (), nn.InstanceNorm1d, (5, 1e-5, 0.1, True, True), (3, 5, 4)),
    (nn.LazyInstanceNorm2d, (), nn.InstanceNorm2d, (5, 1e-5, 0.1, True, True), (5, 3, 2)),
    (nn.LazyInstanceNorm3d, (), nn.InstanceNorm3d, (5, 1e-5, 0.1, True, True), (3, 5, 2, 2, 2)),
]


@pytest.mark.parametrize(("lazy_class", "args", "ordinary_class", "ordinary_args", "shape"), LAYERS)
def test_the_first_call_makes_the_ordinary_layer(lazy_class, args, ordinary_class, ordinary_args, shape):
    x = minidl.tensor(np.random.default_rng(0).standard_normal(shape).astype(np.float32))
    minidl.manual_seed(1)
    ordinary = ordinary_class(*ordinary_args)
    minidl.manual_seed(1)
    layer = lazy_class(*args)
    weight = layer.weight
    assert layer.has_uninitialized_params() and repr(weight) == "<UninitializedParameter>"
    out = layer(x)
    assert type(layer) is ordinary_class and repr(layer) == repr(ordinary)
    assert layer.weight is weight and type(weight) is nn.Parameter  # an optimizer that has it already keeps it
    assert all(type(b) is minidl.Tensor for b in layer.buffers())
    np.testing.assert_array_equal(out.detach().numpy(), ordinary(x).detach().numpy())
    out.sum().backward()
    assert layer.weight.grad.shape == layer.weight.shape


@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature")
def test_repr_is_pytorchs():
    torch = pytest.importorskip("torch")
    for name, args in (("LazyLinear", (3,)), ("LazyConv2d", (8, 3)), ("LazyBatchNorm2d", ())):
        ours, theirs = getattr(nn, name)(*args), getattr(torch.nn, name)(*args)
        assert repr(ours) == repr(theirs)
        assert list(ours.state_dict()) == list(theirs.state_dict())


@pytest.mark.parametrize("use", [lambda w: w.shape, lambda w: w + 1, lambda w: w.numel(), lambda w: nn.init.ones_(w)])
def test_use_before_the_first_call_raises(use):
    with pytest.raises(RuntimeError, match=r"uninitialized parameter.*Run one batch"):
        use(nn.LazyLinear(3).weight)


def test_conversion_before_the_first_call():
    model = nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d()).double().to("cpu").requires_grad_(True)
    assert model[1].running_mean.dtype is minidl.float64
    out = model(minidl.ones(2, 3, 5, 5).double())
    assert {t.dtype for t in (*model.parameters(), out)} == {minidl.float64}


def test_frozen_before_the_first_call_stays_frozen():
    layer = nn.LazyLinear(3).requires_grad_(False)
    assert not layer(minidl.ones(1, 2)).requires_grad


def test_loading_gives_the_shapes():
    trained, layer = nn.BatchNorm1d(4), nn.LazyBatchNorm1d()
    trained(minidl.ones(3, 4))
    layer.load_state_dict(trained.state_dict())
    assert not layer.has_uninitialized_params()
    layer.eval()(minidl.ones(3, 4))
    assert repr(layer) == repr(trained)
    for name, value in trained.state_dict().items():
        np.testing.assert_array_equal(layer.state_dict()[name].numpy(), value.numpy())


def test_the_state_of_a_lazy_layer_cannot_be_loaded_into_an_ordinary_one():
    with pytest.raises(RuntimeError, match="uninitialized parameter"):
        nn.Linear(2, 3).load_state_dict(nn.LazyLinear(3).state_dict())


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_are_independent(copied):
    layer = nn.LazyBatchNorm1d(dtype=minidl.float64)
    other = copied(layer)
    layer(minidl.ones(3, 4).double())
    assert type(other) is nn.LazyBatchNorm1d and other.weight.dtype is minidl.float64 and other.weight.requires_grad
    other(minidl.ones(3, 2).double())
    assert (layer.num_features, other.num_features) == (4, 2)


@pytest.mark.parametrize(
    ("layer", "x", "error", "message"),
    [
        (nn.LazyConv2d(4, 3), (2, 2), RuntimeError, r"LazyConv2d: Expected 3D \(unbatched\) or 4D"),
        (nn.LazyConv2d(3, 3, groups=3), (1, 2, 4, 4), ValueError, "in_channels must be divisible"),
        (nn.LazyBatchNorm2d(), (4,), ValueError, "expected 4D input"),
    ],
)
def test_inputs_that_do_not_fit(layer, x, error, message):
    with pytest.raises(error, match=message):
        layer(minidl.ones(x))
    assert isinstance(layer, LazyModuleMixin) and layer.has_uninitialized_params()


def test_a_lazy_module_of_ones_own():
    class Scale(LazyModuleMixin):
        def __init__(self):
            super().__init__()
            self.weight = nn.UninitializedParameter()

        def initialize_parameters(self, x):
            self.weight.materialize(x.shape[-1:])
            nn.init.ones_(self.weight)

        def forward(self, x):
            return x * self.weight

    layer = Scale()
    assert layer(minidl.ones(2, 3)).tolist() == layer(minidl.ones(2, 3)).tolist() == [[1.0] * 3] * 2
    with pytest.raises(RuntimeError, match="cannot be broadcast"):
        layer(minidl.ones(2, 4))
