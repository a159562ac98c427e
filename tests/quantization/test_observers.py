"""Observers against PyTorch's, on data with outliers; fake quantization: values and gradient."""

from __future__ import annotations

import numpy as np
import pytest

import minidl as md
from minidl import quantization as Q

SCHEMES = ["per_tensor_affine", "per_tensor_symmetric"]


def batches(count=4, seed=0):
    rng = np.random.default_rng(seed)
    return [(rng.standard_normal((6, 5)) * (1 + i)).astype(np.float32) for i in range(count)]


def same_qparams(ours, theirs):
    for mine, wanted in zip(ours.calculate_qparams(), theirs.calculate_qparams(), strict=True):
        assert mine.shape == tuple(wanted.shape) or mine.numel() == wanted.numel() == 1
        np.testing.assert_allclose(mine.numpy(), wanted.numpy().reshape(mine.shape), rtol=1e-6)


@pytest.mark.parametrize("dtype", ["qint8", "quint8"])
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("reduce_range", [False, True])
@pytest.mark.parametrize("name", ["MinMaxObserver", "MovingAverageMinMaxObserver"])
def test_per_tensor_against_pytorch(name, reduce_range, scheme, dtype):
    torch = pytest.importorskip("torch")
    import torch.ao.quantization as theirs_of

    if reduce_range and scheme == "per_tensor_symmetric" and dtype == "quint8":
        pytest.skip("PyTorch does not do this")
    ours, theirs = (
        getattr(q, name)(dtype=getattr(m, dtype), qscheme=getattr(m, scheme), reduce_range=reduce_range)
        for q, m in ((Q, md), (theirs_of, torch))
    )
    for shift in (0.0, 4.0, -9.0):  # also where all values lie on one side of 0
        for x in batches():
            ours(md.tensor(x + shift)), theirs(torch.tensor(x + shift))
        same_qparams(ours, theirs)


@pytest.mark.parametrize("scheme", ["per_channel_affine", "per_channel_symmetric", "per_channel_affine_float_qparams"])
@pytest.mark.parametrize("name", ["PerChannelMinMaxObserver", "MovingAveragePerChannelMinMaxObserver"])
def test_per_channel_against_pytorch(name, scheme):
    torch = pytest.importorskip("torch")
    import torch.ao.quantization as theirs_of

    for axis in (0, 1):
        ours, theirs = (
            getattr(q, name)(ch_axis=axis, dtype=m.quint8, qscheme=getattr(m, scheme))
            for q, m in ((Q, md), (theirs_of, torch))
        )
        for x in batches():
            ours(md.tensor(x)), theirs(torch.tensor(x))
        same_qparams(ours, theirs)


def test_custom_integers_and_a_constant():
    observer = Q.MinMaxObserver(dtype=md.qint8, qscheme=md.per_tensor_symmetric, quant_min=-2, quant_max=1)
    observer(md.tensor([-3.0, 1.0]))
    assert [t.item() for t in observer.calculate_qparams()] == [2.0, 0]
    for value in (0.0, 5.0, -5.0):
        for kind in (Q.MinMaxObserver, Q.HistogramObserver, Q.EntropyObserver, Q.PercentileObserver, Q.MSEObserver):
            observer = kind()
            observer(md.full((3,), value))
            scale, zero = observer.calculate_qparams()
            back = md.quantize_per_tensor(md.full((1,), value), scale, zero, md.quint8).dequantize()
            assert np.isclose(back.item(), value, rtol=1e-2), kind


@pytest.mark.parametrize("kind", [Q.HistogramObserver, Q.EntropyObserver, Q.PercentileObserver, Q.MSEObserver])
def test_outliers_do_not_decide(kind):
    """5,000 values around 0 and one at 30: all but the smallest and largest leave it out, and err less on the others."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal(5001).astype(np.float32)
    x[17] = 30
    arguments = {"percentile": 99.9} if kind is Q.PercentileObserver else {}
    # with four bits the steps are wide enough that a range of 30 is not worth one exact value
    observers = (
        kind(dtype=md.quint8, quant_min=0, quant_max=15, **arguments),
        Q.MinMaxObserver(quant_min=0, quant_max=15),
    )
    errors = []
    for observer in observers:
        for part in np.array_split(x, 7):
            assert observer(md.tensor(part)).shape == part.shape
        scale, zero = observer.calculate_qparams()
        back = md.fake_quantize_per_tensor_affine(md.tensor(x), scale, zero, 0, 15).numpy()
        errors.append(np.abs(back - x)[np.abs(x) < 3].mean())
    assert errors[0] < 0.5 * errors[1], errors
    assert float(observers[1].max_val.item()) == 30


def test_histograms_are_as_good_as_pytorchs():
    torch = pytest.importorskip("torch")
    import torch.ao.quantization as theirs_of

    rng = np.random.default_rng(1)
    data = [np.maximum(rng.standard_normal(2000) * (1 + i), -0.5).astype(np.float32) for i in range(4)]
    ours, theirs = Q.HistogramObserver(), theirs_of.HistogramObserver()
    for x in data:
        ours(md.tensor(x)), theirs(torch.tensor(x))
    x = md.tensor(np.concatenate(data))
    errors = []
    for observer in (ours, theirs):
        scale, zero = (float(v) for v in observer.calculate_qparams())
        errors.append(float(((md.fake_quantize_per_tensor_affine(x, scale, int(zero), 0, 255) - x) ** 2).mean()))
    assert errors[0] < 1.05 * errors[1]
    # counts are kept when the range grows
    assert ours.histogram.sum().item() == 8000


def test_percentile():
    observer = Q.PercentileObserver(percentile=90.0)
    observer(md.arange(0.0, 1001.0))
    scale, _ = observer.calculate_qparams()
    assert np.isclose(scale.item() * 255, 900, rtol=0.01)
    with pytest.raises(ValueError, match="percentile must be above 50"):
        Q.PercentileObserver(percentile=20)


def test_mistakes():
    with pytest.raises(RuntimeError, match=r"MinMaxObserver: nothing was observed yet"):
        Q.MinMaxObserver().calculate_qparams()
    with pytest.raises(RuntimeError, match=r"HistogramObserver: nothing was observed yet"):
        Q.HistogramObserver().calculate_qparams()
    with pytest.raises(ValueError, match=r"dtype is one of torch.qint8"):
        Q.MinMaxObserver(dtype=md.int8)
    with pytest.raises(ValueError, match="given together"):
        Q.MinMaxObserver(quant_min=0)
    with pytest.raises(ValueError, match="expected 0 <= quant_min < quant_max <= 255"):
        Q.MinMaxObserver(quant_min=-1, quant_max=3)
    with pytest.raises(NotImplementedError, match="qscheme is one of"):
        Q.MinMaxObserver(qscheme=md.per_channel_affine)
    for kind in (Q.MinMaxObserver, Q.HistogramObserver, Q.PerChannelMinMaxObserver):
        for bad in (np.nan, np.inf):
            with pytest.raises(ValueError, match="NaN or infinite"):
                kind()(md.tensor([[1.0, bad]]))
    with pytest.raises(AssertionError, match="backend is one of"):
        Q.get_default_qconfig("tpu")
    assert Q.MinMaxObserver()(md.zeros(0, 3)).shape == (0, 3)


def test_state_of_observers():
    first, second = Q.PerChannelMinMaxObserver(), Q.PerChannelMinMaxObserver()
    first(md.tensor(batches()[0]))
    second.load_state_dict(first.state_dict())
    assert all((a == b).all() for a, b in zip(first.calculate_qparams(), second.calculate_qparams(), strict=True))


# ---------------------------------------------------------------------------------------------------------------------
# Fake quantization


@pytest.mark.parametrize("ends", [(0, 255), (-128, 127), (0, 15), (-2, 1)])
def test_fake_quantize_against_pytorch(ends):
    torch = pytest.importorskip("torch")
    x = (np.random.default_rng(0).standard_normal((4, 7)) * 3).astype(np.float32)
    x[0, :3] = [np.inf, -np.inf, 0.0]
    g = np.random.default_rng(1).standard_normal((4, 7)).astype(np.float32)
    found = []
    for m in (md, torch):
        t = m.tensor(x, requires_grad=True)
        y = m.fake_quantize_per_tensor_affine(t, 0.3, ends[0] + 1, *ends)
        y.backward(m.tensor(g))
        scales, zeros = m.tensor(np.float32([0.1, 0.5, 1.0, 0.03])), m.tensor(np.int32([ends[0], 0, ends[1], 0]))
        u = m.tensor(np.clip(x, -99, 99), requires_grad=True)  # PyTorch's per channel takes infinity for the lower end
        z = m.fake_quantize_per_channel_affine(u, scales, zeros, 0, *ends)
        z.backward(m.tensor(g))
        found.append([t.detach().numpy() for t in (y, t.grad, z, u.grad)])
    for mine, wanted in zip(*found, strict=True):
        np.testing.assert_allclose(mine, wanted, rtol=1e-6, atol=1e-7)


def test_straight_through():
    """The gradient is that of the identity where nothing saturates, and 0 where something does; NaN stays NaN."""
    x = md.tensor([-3.0, -1.0, 0.1, 0.9, 1.1, 3.0, np.nan], requires_grad=True)
    y = md.fake_quantize_per_tensor_affine(x, 0.5, 0, -2, 2)
    assert y[:6].tolist() == [-1.0, -1.0, 0.0, 1.0, 1.0, 1.0] and np.isnan(y[6].item())
    y[:6].sum().backward()
    assert x.grad.tolist() == [0, 1, 1, 1, 1, 0, 0]


def test_fake_quantize_mistakes():
    x = md.ones(3, 2)
    for arguments, message in [
        ((0.1, 0, 5, 1), "`quant_min` should be less"), ((0.1, 9, 0, 7), "`zero_point` must be between"),
        ((0.0, 0, 0, 7), "scales are positive"), ((md.ones(2), 0, 0, 7), "expected one scale"),
    ]:  # fmt: skip
        with pytest.raises(RuntimeError, match=message):
            md.fake_quantize_per_tensor_affine(x, *arguments)
    zeros = md.zeros(2, dtype=md.int32)
    with pytest.raises(RuntimeError, match=r"must be \[3\], as input.shape\[0\], got \[2\] and \[2\]"):
        md.fake_quantize_per_channel_affine(x, md.ones(2), zeros, 0, 0, 7)
    with pytest.raises(RuntimeError, match="`axis` must be between"):
        md.fake_quantize_per_channel_affine(x, md.ones(2), zeros, 2, 0, 7)


def test_fake_quantize_layer():
    fake = Q.FakeQuantize(Q.MovingAverageMinMaxObserver, 0, 15, dtype=md.quint8, averaging_constant=1.0)
    x = md.tensor([0.0, 0.31, 3.0])
    np.testing.assert_allclose(fake(x).numpy(), [0, 0.4, 3.0], rtol=1e-6)
    fake.apply(Q.disable_observer)
    np.testing.assert_allclose(fake(md.tensor([30.0])).numpy(), [3.0], rtol=1e-6)
    fake.apply(Q.disable_fake_quant)
    assert fake(md.tensor([30.0])).item() == 30
    fake.apply(Q.enable_observer), fake.apply(Q.enable_fake_quant)
    assert fake(md.tensor([30.0])).item() == 30 and np.isclose(fake.scale.item(), 2)
    other = Q.FakeQuantize(Q.MovingAverageMinMaxObserver, 0, 15)
    other.load_state_dict(fake.state_dict())
    assert other.scale.item() == fake.scale.item()
