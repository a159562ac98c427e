"""Static quantization and training for it, beside PyTorch's from the same weights and data; fusion; files; mistakes."""

from __future__ import annotations

import io

import numpy as np
import pytest

import minidl as md
from minidl import nn
from minidl import quantization as Q

ROWS = [["conv1", "bn1", "relu1"], ["conv2", "relu2"], ["fc1", "relu3"]]


def net(m, q):
    """A model with a stub at each end, made from minidl or PyTorch."""

    class Net(m.nn.Module):
        def __init__(self):
            super().__init__()
            nn = m.nn
            self.quant, self.dequant = q.QuantStub(), q.DeQuantStub()
            self.conv1, self.bn1, self.relu1 = nn.Conv2d(3, 8, 3, padding=1, stride=2), nn.BatchNorm2d(8), nn.ReLU()
            self.conv2 = nn.Conv2d(8, 12, 3, groups=2, padding=(1, 0), dilation=(1, 2))
            self.relu2, self.pool = nn.ReLU(), nn.MaxPool2d(2)
            self.fc1, self.relu3, self.fc2 = nn.Linear(96, 17), nn.ReLU(), nn.Linear(17, 5)

        def forward(self, x):
            x = self.relu1(self.bn1(self.conv1(self.quant(x))))
            x = m.flatten(self.pool(self.relu2(self.conv2(x))), 1)
            return self.dequant(self.fc2(self.relu3(self.fc1(x))))

    return Net()


def both(torch):
    """The same model twice, PyTorch's and ours."""
    import torch.ao.quantization as theirs_of

    torch.backends.quantized.engine = "fbgemm"
    torch.manual_seed(0)
    theirs = net(torch, theirs_of)
    theirs.bn1.running_mean.normal_()
    theirs.bn1.running_var.uniform_(0.5, 2)
    ours = net(md, Q)
    ours.load_state_dict({k: md.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
    return ours, theirs, theirs_of


def qconfig(q, m, fake=False):
    """Inputs of 7 bits, with which PyTorch's kernels are exact, weights per channel."""
    weight = {"dtype": m.qint8, "qscheme": m.per_channel_symmetric}
    if fake:
        return q.QConfig(
            q.FakeQuantize.with_args(
                observer=q.MovingAverageMinMaxObserver, dtype=m.quint8, quant_min=0, quant_max=127
            ),
            q.FakeQuantize.with_args(
                observer=q.MovingAveragePerChannelMinMaxObserver, quant_min=-128, quant_max=127, **weight
            ),
        )
    activation = q.MinMaxObserver.with_args(dtype=m.quint8, reduce_range=True)
    return q.QConfig(activation, q.PerChannelMinMaxObserver.with_args(**weight))


def images(count=4, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((4, 3, 16, 16)).astype(np.float32) for _ in range(count)]


def calibrated(model, q, m, rows=ROWS):
    model = q.fuse_modules(model.eval(), rows)
    model.qconfig = qconfig(q, m)
    model = q.prepare(model)
    for x in images():
        model(m.tensor(x))
    return q.convert(model)


def test_static_against_pytorch():
    torch = pytest.importorskip("torch")
    ours, theirs, theirs_of = both(torch)
    mine, other = calibrated(ours, Q, md), calibrated(theirs, theirs_of, torch)
    for name in ("conv1", "conv2", "fc1", "fc2"):
        a, b = getattr(mine, name), getattr(other, name)
        np.testing.assert_array_equal(a.weight().int_repr().numpy(), b.weight().int_repr().numpy(), err_msg=name)
        assert np.isclose(a.scale.item(), b.scale, rtol=1e-5) and a.zero_point.item() == b.zero_point
    x = images(1, seed=9)[0]
    found, wanted = mine(md.tensor(x)).numpy(), other(torch.tensor(x)).numpy()
    steps = np.abs(found - wanted) / mine.fc2.scale.item()  # a sum near a half may go either way: then it is one step
    assert steps.max() < 1.01 and (steps > 0.01).mean() < 0.1
    exact = ours.eval()(md.tensor(x)).detach().numpy()
    assert np.abs(found - exact).max() < 0.05 * np.abs(exact).max()


def test_training_against_pytorch():
    torch = pytest.importorskip("torch")
    ours, theirs, theirs_of = both(torch)
    trained = []
    for model, q, m in ((ours, Q, md), (theirs, theirs_of, torch)):
        model = q.fuse_modules_qat(model.train(), ROWS)
        model.qconfig = qconfig(q, m, fake=True)
        model = q.prepare_qat(model)
        optimizer, losses = m.optim.SGD(model.parameters(), lr=0.05), []
        for x in images() * 2:
            optimizer.zero_grad()
            loss = m.nn.functional.cross_entropy(model(m.tensor(x)), m.tensor(np.arange(4)))
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
        trained.append((model, losses))
    (mine, losses), (other, wanted) = trained
    np.testing.assert_allclose(losses, wanted, rtol=1e-4)
    assert losses[-1] < losses[0]
    x = images(1)[0]
    with md.no_grad():
        faked = mine.eval()(md.tensor(x)).numpy()
    quantized, others = Q.convert(mine), theirs_of.convert(other.eval())
    found = quantized(md.tensor(x)).numpy()
    # integers do what was trained, and what PyTorch's do, to two steps of the last rounding
    step = quantized.fc2.scale.item()
    assert (
        np.abs(found - faked).max() < 2.01 * step
        and np.abs(found - others(torch.tensor(x)).numpy()).max() < 2.01 * step
    )
    assert not list(quantized.parameters())


def test_convolution_is_its_integers():
    conv = nn.Conv2d(3, 6, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 2), groups=3)
    model = Q.QuantWrapper(nn.Sequential(conv)).eval()
    model.qconfig = Q.default_per_channel_qconfig
    model = Q.prepare(model)
    x = images(1)[0]
    model(md.tensor(x))
    quantized = Q.convert(model)
    q = quantized.quant(md.tensor(x))
    layer, inner = quantized.module[0], md.tensor(q.int_repr().numpy().astype(np.float64) - q.q_zero_point())
    weight = layer.weight()
    sums = nn.functional.conv2d(
        inner, weight.int_repr().double(), None, (2, 1), (1, 2), (1, 2), 3
    ).numpy()  # whole numbers, exact in float64
    units = np.float32(q.q_scale()) * weight.q_per_channel_scales().numpy()
    sums += np.rint(conv.bias.detach().numpy() / units)[:, None, None]
    wanted = np.rint(sums.astype(np.float32) * (units / layer.scale.numpy())[:, None, None]) + layer.zero_point.item()
    np.testing.assert_array_equal(layer(q).int_repr().numpy(), np.clip(wanted, 0, 255))


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_padding_by_name(padding):
    model = Q.QuantWrapper(nn.Conv2d(3, 2, 3, padding=padding)).eval()
    model.qconfig = Q.default_qconfig
    prepared = Q.prepare(model)
    x = md.tensor(images(1)[0])
    wanted = prepared(x).detach().numpy()
    np.testing.assert_allclose(Q.convert(prepared)(x).numpy(), wanted, atol=0.05)


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.act, self.sum = (
            nn.Conv2d(3, 3, 3, padding=1),
            nn.BatchNorm2d(3),
            nn.SiLU(),
            Q.FloatFunctional(),
        )
        self.join, self.scale, self.drop = Q.FloatFunctional(), Q.FloatFunctional(), nn.Dropout(0.5)

    def forward(self, x):
        y = self.sum.add_relu(x, self.act(self.norm(self.conv(x))))
        return self.scale.mul_scalar(self.join.cat([x, self.drop(y)], 1), 0.5)


def test_sums_and_layers_without_integers():
    model = Q.QuantWrapper(Residual()).eval()
    model.qconfig = Q.get_default_qconfig()
    prepared = Q.prepare(model)
    for x in images():
        prepared(md.tensor(x))
    quantized = Q.convert(prepared)
    x = md.tensor(images(1)[0])
    wanted, found = model(x).detach().numpy(), quantized(x).numpy()
    assert np.abs(found - wanted).max() < 0.1 and np.abs(found - wanted).mean() < 0.02
    with pytest.raises(RuntimeError, match="QFunctional is not called"):
        quantized.module.sum(x)
    assert type(quantized.module.act) is Q.quantized.SiLU and type(quantized.module.norm) is Q.quantized.BatchNorm2d


def test_parts_stay_float():
    """qconfig = None on a layer keeps it float: it needs stubs of its own."""
    model = nn.Sequential(Q.QuantStub(), nn.Linear(4, 4), Q.DeQuantStub(), nn.Linear(4, 2)).eval()
    model.qconfig = Q.default_qconfig
    model[3].qconfig = None
    prepared = Q.prepare(model)
    prepared(md.ones(1, 4))
    quantized = Q.convert(prepared)
    assert type(quantized[1]) is Q.quantized.Linear and type(quantized[3]) is nn.Linear
    assert quantized(md.ones(1, 4)).shape == (1, 2)


def test_in_one_call():
    def run(model, data):
        for x in data:
            model(md.tensor(x))

    model = Q.QuantWrapper(nn.Conv2d(3, 2, 3)).eval()
    model.qconfig = Q.default_qconfig
    assert type(Q.quantize(model, run, [images()]).module) is Q.quantized.Conv2d
    model.qconfig = Q.default_qat_qconfig
    assert type(Q.quantize_qat(model, run, [images()]).module) is Q.quantized.Conv2d
    Q.default_eval_fn(model, [(md.tensor(images(1)[0]), None)])


def test_fused_layers():
    torch = pytest.importorskip("torch")
    ours, _, _ = both(torch)
    x = md.tensor(images(1)[0])
    ours.eval()
    fused = Q.fuse_modules(ours, ROWS)
    np.testing.assert_allclose(fused(x).detach().numpy(), ours(x).detach().numpy(), rtol=1e-4, atol=1e-5)
    assert type(fused.conv1) is Q.intrinsic.ConvReLU2d and type(fused.bn1) is nn.Identity
    pair = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU()).eval()
    y = md.tensor(images(1)[0][:, 0, 0, :3])
    np.testing.assert_allclose(
        Q.fuse_modules(pair, ["0", "1"])(y).detach().numpy(), pair(y).detach().numpy(), rtol=1e-4, atol=1e-5
    )
    with pytest.raises(
        NotImplementedError, match=r"cannot fuse ReLU \+ Linear \(2, 0\); it takes .*Conv2d \+ BatchNorm2d"
    ):
        Q.fuse_modules(pair, ["2", "0"])
    with pytest.raises(AssertionError, match=r"in evaluation: call model.eval"):
        Q.fuse_modules(pair.train(), ["0", "1"])
    with pytest.raises(AssertionError, match=r"in training: call model.train\(\), or use fuse_modules"):
        Q.fuse_modules_qat(ours, ROWS)


def test_files():
    torch = pytest.importorskip("torch")
    ours, _, _ = both(torch)
    quantized = calibrated(ours, Q, md)
    file = io.BytesIO()
    md.save(quantized.state_dict(), file)
    file.seek(0)
    skeleton = net(md, Q).eval()
    with md.no_grad():
        for p in skeleton.parameters():
            p.zero_()
    skeleton = Q.fuse_modules(skeleton, ROWS)
    skeleton.qconfig = qconfig(Q, md)
    skeleton = Q.prepare(skeleton)
    skeleton(md.zeros(1, 3, 16, 16))  # any input: its scales are replaced
    skeleton = Q.convert(skeleton)
    skeleton.load_state_dict(md.load(file))
    x = md.tensor(images(1)[0])
    np.testing.assert_array_equal(skeleton(x).numpy(), quantized(x).numpy())
    assert not list(quantized.parameters())


def test_mistakes():
    wrapped = Q.QuantWrapper(nn.Linear(4, 2))
    with pytest.raises(AssertionError, match=r"prepare: the model is in training; call model.eval\(\) first"):
        Q.prepare(wrapped)
    with pytest.raises(ValueError, match=r"nothing to observe: set model.qconfig"):
        Q.prepare(wrapped.eval())
    with pytest.raises(AssertionError, match="only works on models in training mode"):
        Q.prepare_qat(wrapped)
    with pytest.raises(ValueError, match="convert: the model has no observers"):
        Q.convert(wrapped)
    wrapped.qconfig = Q.default_qconfig
    with pytest.raises(
        RuntimeError, match=r"nothing was observed yet.*run some batches of data through the prepared model"
    ):
        Q.convert(Q.prepare(wrapped))
    prepared = Q.prepare(wrapped)
    with pytest.raises(ValueError, match="NaN or infinite"):
        prepared(md.tensor([[np.nan, 1, 1, 1]]))
    prepared(md.ones(3, 4))
    quantized = Q.convert(prepared)
    with pytest.raises(
        TypeError, match=r"quantized.Linear: expected a quantized tensor, got torch.float32; put a QuantStub"
    ):
        quantized.module(md.ones(1, 4))
    with pytest.raises(TypeError, match=r"DeQuantize: expected a quantized tensor, got torch.float32"):
        quantized.dequant(md.ones(1, 4))
    with pytest.raises(RuntimeError, match=r"quantize_per_tensor: expected a tensor of floats, got torch.int64"):
        quantized(md.ones(1, 4).long())
    with pytest.raises(ValueError, match="NaN"):
        quantized(md.tensor([[np.nan, 1, 1, 1]]))
    with pytest.raises(RuntimeError, match=r"expected inputs of 4 features, got shape \[1, 3\]"):
        quantized(md.ones(1, 3))
    assert np.isfinite(
        quantized(md.tensor([[np.inf, 1, 1, 1]])).numpy()
    ).all()  # saturates, as every value beyond the range
    with pytest.raises(TypeError, match=r"expected an input of quint8 or qint8, got torch.qint32"):
        quantized.module(md.quantize_per_tensor(md.ones(1, 4), 0.1, 0, md.qint32))
    with pytest.raises(RuntimeError, match="FloatFunctional is not called"):
        Q.FloatFunctional()(md.ones(1))


def test_signed_inputs():
    layer = Q.QuantWrapper(nn.Linear(4, 2)).eval()
    layer.qconfig = Q.default_qconfig
    prepared = Q.prepare(layer)
    x = md.tensor([[0.5, -1.0, 0.25, 1.0]])
    prepared(x)
    linear = Q.convert(prepared).module
    signed, unsigned = md.quantize_per_tensor(x, 0.01, -20, md.qint8), md.quantize_per_tensor(x, 0.01, 108, md.quint8)
    np.testing.assert_array_equal(linear(signed).int_repr().numpy(), linear(unsigned).int_repr().numpy())
