"""Every kind of layer that PyTorch quantizes statically, beside PyTorch's: scales, zero points and integers; and ONNX Runtime's."""

from __future__ import annotations

import copy
import io

import numpy as np
import pytest

import minidl as md
from minidl import nn
from minidl import quantization as Q


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def qconfig(m, q, per_channel=True):
    """Activations of 7 bits, with which PyTorch's kernels are exact."""
    kind = {"dtype": m.qint8, "qscheme": m.per_channel_symmetric if per_channel else m.per_tensor_symmetric}
    weight = (q.PerChannelMinMaxObserver if per_channel else q.MinMaxObserver).with_args(**kind)
    return q.QConfig(q.MinMaxObserver.with_args(dtype=m.quint8, reduce_range=True), weight)


def converted(torch, make, shape, rows=(), per_channel=True):
    """A model of some layers, made by PyTorch and by minidl, calibrated with the same data: float and quantized, both."""
    torch.backends.quantized.engine = "fbgemm"
    torch.manual_seed(0)
    theirs = torch.ao.quantization.QuantWrapper(torch.nn.Sequential(*make(torch.nn)))
    for layer in theirs.modules():
        if getattr(layer, "running_mean", None) is not None:
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.5, 2)
    ours = Q.QuantWrapper(nn.Sequential(*make(nn)))
    ours.load_state_dict({k: md.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
    found = []
    for model, m, q in ((ours, md, Q), (theirs, torch, torch.ao.quantization)):
        fused = q.fuse_modules(model.eval(), [[f"module.{i}" for i in row] for row in rows]) if rows else model.eval()
        fused.qconfig = qconfig(m, q, per_channel)
        prepared = q.prepare(fused)
        for seed in range(3):
            prepared(m.tensor(drawn(*shape, seed=seed)))
        found.append(q.convert(prepared))
    return ours, *found


def number(x):
    """PyTorch's scales are numbers here and tensors there; None for a layer that has none."""
    return None if x is None else float(x.item() if hasattr(x, "item") else x)


def compare(torch, make, shape, rows=(), per_channel=True, seed=9):
    """The same integers in weights, scales and zero points; results at most a step apart, where a sum is near a half."""
    exact, ours, theirs = converted(torch, make, shape, rows, per_channel)
    pairs = list(zip([ours.quant, *ours.module], [theirs.quant, *theirs.module], strict=True))
    last = None
    for mine, other in pairs:
        if hasattr(other, "scale") and getattr(mine, "scale", None) is not None:
            last = number(mine.scale)
            assert np.isclose(last, number(other.scale), rtol=1e-5), type(mine)
            assert number(mine.zero_point) == number(other.zero_point), type(mine)
        if callable(getattr(other, "weight", None)):
            a, b = mine.weight(), other.weight()
            np.testing.assert_array_equal(a.int_repr().numpy(), b.int_repr().numpy())
            assert repr(a.qscheme()) == repr(b.qscheme())
            np.testing.assert_array_equal(mine.bias().numpy(), other.bias().detach().numpy())
    x = drawn(*shape, seed=seed)
    found, wanted = ours(md.tensor(x)).numpy(), theirs(torch.tensor(x)).numpy()
    assert found.shape == wanted.shape
    steps = np.abs(found - wanted) / last
    assert steps.max(initial=0) < 1.01 and (steps > 0.01).mean() < 0.1, steps.max()
    values = exact(md.tensor(x)).detach().numpy()
    assert np.abs(found - values).mean() < 0.1 * np.abs(values).mean()
    return ours


CONVOLUTIONS = {
    "1d": (lambda n: (n.Conv1d(6, 10, 3, stride=2, padding=1), n.BatchNorm1d(10), n.ReLU(), n.Conv1d(10, 5, 4)), (3, 6, 21)),
    "2d": (lambda n: (n.Conv2d(3, 8, (3, 1), padding=(2, 0)), n.BatchNorm2d(8), n.ReLU(), n.Conv2d(8, 6, 2, stride=3)), (2, 3, 9, 8)),
    "3d": (lambda n: (n.Conv3d(2, 7, 3, padding=1), n.BatchNorm3d(7), n.ReLU(), n.Conv3d(7, 3, (1, 3, 2), stride=(2, 1, 1))), (2, 2, 5, 6, 7)),
}  # fmt: skip


@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_convolutions_with_normalization_folded_in(kind):
    torch = pytest.importorskip("torch")
    make, shape = CONVOLUTIONS[kind]
    ours = compare(torch, make, shape, rows=[[0, 1, 2]])
    assert [type(layer).__name__ for layer in ours.module] == [f"Conv{kind}", "Identity", "Identity", f"Conv{kind}"]
    assert repr(ours.module[0]).startswith(f"QuantizedConv{kind}ReLU(")
    compare(torch, lambda n: make(n)[:2], shape, rows=[[0, 1]])
    compare(torch, lambda n: (make(n)[0], n.ReLU()), shape, rows=[[0, 1]])


GROUPED = {
    "depthwise": (lambda n: [n.Conv2d(5, 10, 3, groups=5, padding=1)], (2, 5, 7, 6)),
    "dilated": (lambda n: [n.Conv1d(4, 6, 3, groups=2, dilation=3, padding=4)], (2, 4, 17)),
    "stride above the kernel": (lambda n: [n.Conv2d(3, 5, 2, stride=4)], (2, 3, 11, 10)),
    "volumes in groups": (lambda n: [n.Conv3d(6, 4, 2, groups=2, stride=(1, 3, 2), padding=(1, 0, 1), dilation=(2, 1, 1))], (1, 6, 5, 6, 7)),
    "one pixel": (lambda n: [n.Conv2d(7, 3, 1)], (2, 7, 1, 1)),
}  # fmt: skip


@pytest.mark.parametrize("name", GROUPED)
def test_strides_groups_and_dilation(name):
    compare(pytest.importorskip("torch"), *GROUPED[name])


TRANSPOSED = {
    "cropped on both sides": (lambda n: [n.ConvTranspose1d(3, 2, 2, stride=2, padding=2)], (2, 3, 7)),
    "1d": (lambda n: [n.ConvTranspose1d(6, 5, 4, stride=3, padding=2, output_padding=1)], (2, 6, 9)),
    "2d": (lambda n: [n.ConvTranspose2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 0), groups=2)], (2, 4, 5, 6)),
    "3d": (lambda n: [n.ConvTranspose3d(3, 4, 2, stride=2, dilation=(2, 1, 1))], (1, 3, 3, 4, 5)),
    "padding beyond the kernel": (lambda n: [n.ConvTranspose2d(3, 2, 1, stride=3, padding=1, output_padding=2)], (2, 3, 5, 6)),
}  # fmt: skip


@pytest.mark.parametrize("name", TRANSPOSED)
def test_transposed_convolutions(name):
    torch = pytest.importorskip("torch")
    make, shape = TRANSPOSED[name]
    ours = compare(torch, make, shape, per_channel=False)
    assert list(ours.module[0].weight().shape) == list(make(nn)[0].weight.shape)


def test_transposed_convolution_with_a_scale_for_each_output():
    """Along axis 1 of the weight, which PyTorch refuses; one output 50 times larger does not spoil the others."""
    layer, x = nn.ConvTranspose2d(4, 3, 3, stride=2), md.tensor(drawn(2, 4, 5, 5))
    with md.no_grad():
        layer.weight[:, 1] *= 50.0
    errors = []
    for per_channel in (True, False):
        model = Q.QuantWrapper(nn.Sequential(layer)).eval()
        model.qconfig = qconfig(md, Q, per_channel)
        prepared = Q.prepare(model)
        wanted = prepared(x)
        quantized = Q.convert(prepared)
        errors.append(np.abs((quantized(x) - wanted).detach().numpy()[:, [0, 2]]).mean())
    assert quantized.module[0].weight().axis is None
    assert errors[0] <= errors[1]
    grouped = Q.QuantWrapper(nn.ConvTranspose1d(4, 4, 3, groups=2)).eval()
    grouped.qconfig = qconfig(md, Q)
    prepared = Q.prepare(grouped)
    prepared(md.ones(1, 4, 5))
    with pytest.raises(NotImplementedError, match="with groups the weights have one scale"):
        Q.convert(prepared)


THROUGH_FLOATS = {
    "Hardswish": (lambda n: [n.Hardswish()], (4, 6)), "ELU": (lambda n: [n.ELU(0.7)], (4, 6)),
    "LeakyReLU": (lambda n: [n.LeakyReLU(0.2)], (4, 6)),
    "Sigmoid": (lambda n: [n.Sigmoid()], (4, 6)),
    "LayerNorm": (lambda n: [n.LayerNorm(6)], (4, 6)), "GroupNorm": (lambda n: [n.GroupNorm(2, 6)], (4, 6, 5)),
    "InstanceNorm1d": (lambda n: [n.InstanceNorm1d(6, affine=True)], (4, 6, 7)),
    "InstanceNorm2d": (lambda n: [n.InstanceNorm2d(6, affine=True)], (4, 6, 7, 3)),
    "InstanceNorm3d": (lambda n: [n.InstanceNorm3d(6, affine=True)], (4, 6, 7, 3, 2)),
    "BatchNorm2d": (lambda n: [n.BatchNorm2d(6)], (4, 6, 5, 2)), "BatchNorm3d": (lambda n: [n.BatchNorm3d(6)], (4, 6, 5, 2, 2)),
}  # fmt: skip


@pytest.mark.parametrize("name", THROUGH_FLOATS)
def test_layers_without_integers(name):
    torch = pytest.importorskip("torch")
    make, shape = THROUGH_FLOATS[name]
    (mine,) = compare(torch, make, shape).module
    assert type(mine) is getattr(Q.quantized, name) and isinstance(mine, getattr(nn, name))
    assert hasattr(torch.ao.nn.quantized, name) and mine._get_name() == f"Quantized{name}"


@pytest.mark.parametrize(
    "layer", [nn.Softmax(1), nn.PReLU(6, 0.3), nn.GELU(), nn.SiLU(), nn.BatchNorm1d(6)], ids=lambda m: type(m).__name__
)
def test_layers_that_pytorch_does_not_run(layer):
    """PyTorch 2.13 fails at softmax and PReLU, and has no integers for the others: beside the float layer, half a step."""
    model = Q.QuantWrapper(nn.Sequential(layer)).eval()
    model.qconfig = Q.default_qconfig
    prepared = Q.prepare(model)
    x = md.tensor(drawn(16, 6))
    prepared(x)
    quantized = Q.convert(prepared)
    integers = quantized.quant(x)
    with md.no_grad():
        found, wanted = quantized.module(integers), layer(integers.dequantize())
    assert np.abs(found.dequantize().numpy() - wanted.numpy()).max() < 0.501 * found.q_scale()
    assert (found.q_scale() == 1 / 256) == isinstance(layer, nn.Softmax)


@pytest.mark.parametrize("name", ["Tanh", "Hardsigmoid", "ReLU6"])
def test_layers_that_pytorch_runs_as_they_are(name):
    """Of tanh and hardsigmoid the scale is known beforehand, ReLU6 keeps that of its input."""
    torch = pytest.importorskip("torch")
    _, ours, theirs = converted(torch, lambda n: [n.Linear(6, 5), getattr(n, name)()], (4, 6))
    x = 8 * drawn(3, 6)
    for m, model in ((md, ours), (torch, theirs)):
        model.dequant = m.nn.Identity()
    found, wanted = ours(md.tensor(x)), theirs(torch.tensor(x))
    assert np.isclose(found.q_scale(), wanted.q_scale()) and found.q_zero_point() == wanted.q_zero_point()
    assert np.abs(found.int_repr().numpy().astype(int) - wanted.int_repr().numpy()).max() <= 1
    for layer, m in ((nn.ReLU6(), md), (torch.nn.ReLU6(), torch)):
        q = m.quantize_per_tensor(m.tensor(x), 0.1, 90, m.quint8)
        kind = (Q if m is md else torch.ao.nn).quantized.ReLU6
        last = kind.from_float(layer)(q).int_repr().numpy() if name == "ReLU6" else None
        assert last is None or (last.min(), last.max()) == (90, 150)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_normalization_and_relu_as_one(dimensions):
    torch = pytest.importorskip("torch")
    make = lambda n: [getattr(n, f"BatchNorm{dimensions}d")(3), n.ReLU()]  # noqa: E731
    ours = compare(torch, make, (2, 3, *(4,) * dimensions), rows=[[0, 1]])
    assert type(ours.module[0]) is getattr(Q.quantized, f"BNReLU{dimensions}d")


class Network:
    """Two models with sums of branches, for minidl and for PyTorch."""

    @staticmethod
    def residual(m, q):
        class Net(m.nn.Module):
            def __init__(self):
                super().__init__()
                self.quant, self.dequant, self.sum, self.join = q.QuantStub(), q.DeQuantStub(), *functional(m, q, 2)
                self.first, self.second = m.nn.Conv1d(4, 4, 3, padding=1), m.nn.Conv1d(4, 4, 1)
                self.act, self.norm, self.last = m.nn.Hardswish(), m.nn.LayerNorm(8), m.nn.Linear(8, 3)

            def forward(self, x):
                x = self.quant(x)
                y = self.sum.add(x, self.act(self.first(x)))
                return self.dequant(self.last(self.norm(self.join.cat([y, self.second(y)], 1))))

        return Net()

    @staticmethod
    def text(m, q):
        class Net(m.nn.Module):
            def __init__(self):
                super().__init__()
                self.table, self.bag = m.nn.Embedding(20, 6), m.nn.EmbeddingBag(20, 6, mode="sum")
                self.quant, self.dequant, self.mix = q.QuantStub(), q.DeQuantStub(), *functional(m, q, 1)
                self.last = m.nn.Linear(6, 4)
                self.table.qconfig = self.bag.qconfig = q.float_qparams_weight_only_qconfig

            def forward(self, index):
                return self.dequant(
                    self.last(self.mix.mul(*map(self.quant, (self.table(index[:, 0].contiguous()), self.bag(index)))))
                )

        return Net()


def functional(m, q, count):
    kind = q.FloatFunctional if m is md else m.ao.nn.quantized.FloatFunctional
    return [kind() for _ in range(count)]


@pytest.mark.parametrize("name", ["residual", "text"])
def test_whole_models(name):
    torch = pytest.importorskip("torch")
    torch.backends.quantized.engine = "fbgemm"
    theirs, ours = getattr(Network, name)(torch, torch.ao.quantization), getattr(Network, name)(md, Q)
    ours.load_state_dict({k: md.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
    inputs = [
        np.random.default_rng(i).integers(0, 20, (5, 3)) if name == "text" else drawn(2, 4, 8, seed=i) for i in range(4)
    ]
    found = []
    for model, m, q in ((ours, md, Q), (theirs, torch, torch.ao.quantization)):
        model.eval().qconfig = qconfig(m, q)
        prepared = q.prepare(model)
        for x in inputs[1:]:
            prepared(m.tensor(x))
        found.append(q.convert(prepared))
    mine, other = found
    for path, layer in other.named_modules():
        if hasattr(layer, "scale") and path:
            own = mine.get_submodule(path)
            assert np.isclose(number(own.scale), number(layer.scale), rtol=1e-4), path
            assert number(own.zero_point) == number(layer.zero_point), path
    a, b = mine(md.tensor(inputs[0])).numpy(), other(torch.tensor(inputs[0])).numpy()
    assert np.abs(a - b).max() / number(mine.last.scale) < 2.01  # a step here and there on the way, and one at the end
    assert np.abs(a - ours(md.tensor(inputs[0])).detach().numpy()).max() < 0.1


@pytest.mark.parametrize("padding_mode", ["zeros", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("padding", [(2, 1), "same"])
def test_padding(padding_mode, padding):
    """Also wider on one side, as "same" is for even kernels."""
    conv = nn.Conv2d(3, 4, (4, 2), padding=padding, padding_mode=padding_mode, bias=False)
    model = Q.QuantWrapper(conv).eval()
    model.qconfig = qconfig(md, Q)
    prepared = Q.prepare(model)
    x = md.tensor(drawn(2, 3, 6, 7))
    wanted = prepared(x).detach().numpy()
    layer = Q.convert(prepared)
    integers = layer.quant(x)
    found = layer.module(integers)
    weight = layer.module.weight().dequantize()
    again = copy.deepcopy(conv)
    with md.no_grad():
        again.weight.copy_(weight)
        exact = again(integers.dequantize())
    assert np.abs(found.dequantize().numpy() - exact.numpy()).max() < 0.501 * found.q_scale() + 1e-6
    assert np.abs(found.dequantize().numpy() - wanted).max() < 0.1


def test_training_in_one_and_three_dimensions():
    torch = pytest.importorskip("torch")
    for make, shape in (CONVOLUTIONS["1d"], CONVOLUTIONS["3d"]):
        theirs = torch.ao.quantization.QuantWrapper(torch.nn.Sequential(*make(torch.nn)))
        ours = Q.QuantWrapper(nn.Sequential(*make(nn)))
        ours.load_state_dict({k: md.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
        losses = []
        for model, m, q in ((ours, md, Q), (theirs, torch, torch.ao.quantization)):
            rows = [["module.0", "module.1", "module.2"]]
            model = q.fuse_modules_qat(model.train(), rows)
            model.qconfig = q.QConfig(
                q.FakeQuantize.with_args(observer=q.MovingAverageMinMaxObserver, dtype=m.quint8, quant_min=0, quant_max=127),
                q.FakeQuantize.with_args(
                    observer=q.MovingAveragePerChannelMinMaxObserver, quant_min=-128, quant_max=127, dtype=m.qint8,
                    qscheme=m.per_channel_symmetric,
                ),
            )  # fmt: skip
            if m is torch and len(shape) == 3:
                model.module[3].qconfig = None  # PyTorch trains a Conv1d alone as it is
            elif len(shape) == 3:
                model.module[3].qconfig = None
            model = q.prepare_qat(model)
            optimizer, of_model = m.optim.SGD(model.parameters(), lr=0.05), []
            for seed in range(4):
                optimizer.zero_grad()
                loss = (model(m.tensor(drawn(*shape, seed=seed))) ** 2).mean()
                loss.backward()
                optimizer.step()
                of_model.append(float(loss.detach()))
            losses.append(of_model)
        np.testing.assert_allclose(*losses, rtol=1e-4)


def test_normalization_without_weights_trains():
    model = nn.Sequential(Q.QuantStub(), nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, affine=False), Q.DeQuantStub()).train()
    model = Q.fuse_modules_qat(model, ["1", "2"])
    model.qconfig = Q.default_qat_qconfig
    model = Q.prepare_qat(model)
    x = md.tensor(drawn(4, 3, 6, 6))
    model(x).sum().backward()
    quantized = Q.convert(model.eval())
    assert quantized(x).shape == (4, 4, 4, 4)


def test_files_and_copies():
    model = Q.QuantWrapper(
        nn.Sequential(nn.ConvTranspose1d(4, 6, 3), nn.LayerNorm(9), nn.Conv1d(6, 2, 3, groups=2), nn.Sigmoid())
    ).eval()
    model.qconfig = qconfig(md, Q)
    made = []
    for seed in range(2):
        prepared = Q.prepare(model)
        prepared(md.tensor(drawn(2, 4, 7, seed=seed) * (1 + seed)))
        made.append(Q.convert(prepared))
        with md.no_grad():
            for parameter in model.parameters():
                parameter += 0.1
    first, second = made
    x = md.tensor(drawn(3, 4, 7))
    wanted = first(x).numpy()
    assert (second(x).numpy() != wanted).any()
    file = io.BytesIO()
    md.save(first.state_dict(), file)
    file.seek(0)
    second.load_state_dict(md.load(file))
    for again in (second, copy.deepcopy(first)):
        np.testing.assert_array_equal(again(x).numpy(), wanted)
