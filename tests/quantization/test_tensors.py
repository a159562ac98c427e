"""Quantized tensors: values against PyTorch's, what runs on them, files, mistakes."""

from __future__ import annotations

import copy
import io
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minidl as md
from minidl import nn
from minidl.quantization import QTensor

VALUES = np.random.default_rng(0).standard_normal((3, 4, 5)).astype(np.float32) * 3


@pytest.mark.parametrize(
    ("dtype", "zero"), [("quint8", 0), ("quint8", 37), ("quint8", 255), ("qint8", -5), ("qint32", 1000)]
)
def test_per_tensor_against_pytorch(dtype, zero):
    torch = pytest.importorskip("torch")
    ours, theirs = (m.quantize_per_tensor(m.tensor(VALUES), 0.0123, zero, getattr(m, dtype)) for m in (md, torch))
    np.testing.assert_array_equal(ours.int_repr().numpy(), theirs.int_repr().numpy())
    np.testing.assert_array_equal(ours.dequantize().numpy(), theirs.dequantize().numpy())
    assert ours.q_zero_point() == theirs.q_zero_point() and np.isclose(ours.q_scale(), theirs.q_scale(), rtol=1e-7)
    assert repr(ours.qscheme()) == repr(theirs.qscheme()) and repr(ours.dtype) == repr(theirs.dtype)
    assert (ours.element_size(), ours.numel(), ours.ndim) == (theirs.element_size(), theirs.numel(), theirs.ndim)
    assert len(ours) == 3 and ours.is_contiguous() and not ours.transpose(0, 1).is_contiguous()
    assert ours.is_quantized and not md.zeros(1).is_quantized


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("kind", [np.int64, np.float32])
def test_per_channel_against_pytorch(axis, kind):
    torch = pytest.importorskip("torch")
    C = VALUES.shape[axis]
    scales, zeros = np.linspace(0.01, 0.1, C).astype(np.float32), np.linspace(3, 90, C).astype(kind)
    ours, theirs = (
        m.quantize_per_channel(m.tensor(VALUES), m.tensor(scales), m.tensor(zeros), axis % 3, m.quint8)
        for m in (md, torch)
    )
    np.testing.assert_array_equal(ours.int_repr().numpy(), theirs.int_repr().numpy())
    np.testing.assert_allclose(ours.dequantize().numpy(), theirs.dequantize().numpy(), rtol=1e-6, atol=1e-6)
    assert repr(ours.qscheme()) == repr(theirs.qscheme()) and ours.q_per_channel_axis() == axis % 3
    np.testing.assert_array_equal(ours.q_per_channel_scales().numpy(), scales)
    np.testing.assert_array_equal(ours.q_per_channel_zero_points().numpy(), zeros)


def test_halves_go_to_the_even_integer_before_the_zero_point():
    """As in ONNX, and in fake quantization everywhere; PyTorch's quantize_per_tensor adds the zero point first."""
    x = md.tensor([0.5, 1.5, 2.5, -0.5])
    for zero in (10, 11):
        assert md.quantize_per_tensor(x, 1.0, zero, md.quint8).int_repr().tolist() == [zero, zero + 2, zero + 2, zero]
        faked = md.fake_quantize_per_tensor_affine(x, 1.0, zero, 0, 255)
        assert faked.tolist() == md.quantize_per_tensor(x, 1.0, zero, md.quint8).dequantize().tolist()


def test_infinity_saturates_and_nan_raises():
    q = md.quantize_per_tensor(md.tensor([np.inf, -np.inf, 1e30]), 0.1, 7, md.quint8)
    assert q.int_repr().tolist() == [255, 0, 255]
    for dtype in (md.quint8, md.qint8):
        with pytest.raises(ValueError, match="NaN"):
            md.quantize_per_tensor(md.tensor([1.0, np.nan]), 0.1, 7, dtype)
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError, match="NaN or infinite"):
            md.quantize_per_tensor_dynamic(md.tensor([1.0, bad]), md.quint8)


FLOATS = st.floats(-1e4, 1e4, width=32)


@settings(max_examples=100, deadline=None)
@given(st.lists(FLOATS, min_size=1, max_size=40), st.booleans())
def test_error_is_at_most_half_a_step_and_zero_is_exact(values, reduce_range):
    x = np.array([*values, 0.0], np.float32)
    for dtype in (md.quint8, md.qint8):
        q = md.quantize_per_tensor_dynamic(md.tensor(x), dtype, reduce_range)
        back, scale = q.dequantize().numpy(), q.q_scale()
        # the zero point is rounded too: at the ends of the range this may cost another half step
        ends = (x <= x.min()) | (x >= x.max())
        assert (np.abs(back - x) <= scale * (0.5 + 0.5 * ends) * (1 + 1e-4)).all()
        assert back[-1] == 0 and q.int_repr().numpy()[-1] == q.q_zero_point()
        levels = q.int_repr().numpy().astype(int)
        assert not reduce_range or levels.max() - levels.min() <= 127


def test_what_runs_on_them():
    x = md.tensor(VALUES)
    q = md.quantize_per_tensor(x, 0.05, 100, md.quint8)
    back = q.dequantize()
    for run in (
        lambda t: t.reshape(12, 5), lambda t: t.view(-1), lambda t: t.transpose(0, 2), lambda t: t.permute(2, 0, 1), lambda t: t[1],
        lambda t: t[:, 1:3], lambda t: t.flatten(1), lambda t: t.unsqueeze(0), lambda t: nn.ReLU()(t), lambda t: t.chunk(2, 1)[1],
        lambda t: nn.functional.max_pool2d(t, 2, padding=1), lambda t: nn.Flatten()(t), lambda t: t.clone(), lambda t: t.contiguous(), lambda t: nn.Identity()(t), lambda t: t.detach(), lambda t: t.to("cpu"),
        lambda t: nn.Dropout(0.5).eval()(t),
    ):  # fmt: skip
        found = run(q)
        assert isinstance(found, QTensor)
        np.testing.assert_array_equal(found.dequantize().numpy(), run(back).numpy())
    for run in (lambda t: nn.functional.avg_pool2d(t, 2), lambda t: nn.AdaptiveAvgPool2d(1)(t)):
        found, wanted = run(q), run(back).numpy()
        assert found.q_scale() == q.q_scale() and (np.abs(found.dequantize().numpy() - wanted) <= 0.025001).all()


def test_what_does_not_says_so():
    q = md.quantize_per_tensor(md.tensor(VALUES), 0.05, 100, md.quint8)
    for run in (
        lambda: q + 1,
        lambda: q @ q,
        lambda: q.exp(),
        lambda: q.sum(),
        lambda: q.numpy(),
        lambda: md.softmax(q, -1),
    ):
        with pytest.raises(TypeError, match=r"not defined for quantized tensors, got torch.quint8.*use dequantize\(\)"):
            run()
    weights = md.quantize_per_channel(md.tensor(VALUES), md.ones(3), md.zeros(3, dtype=md.int64), 0, md.qint8)
    with pytest.raises(RuntimeError, match="per channel keeps its shape"):
        weights.reshape(-1)
    with pytest.raises(RuntimeError, match="quantized per tensor, got one per channel"):
        weights.q_scale()
    with pytest.raises(RuntimeError, match="quantized per channel, got one with a single scale"):
        q.q_per_channel_scales()
    with pytest.raises(TypeError, match=r"only the layer quantization.quantized.Linear knows the scale"):
        nn.Linear(5, 2)(q)
    with pytest.raises(RuntimeError, match="qint8 and symmetric"):
        nn.functional.linear(md.zeros(1, 5), md.quantize_per_tensor(md.ones(2, 5), 0.1, 3, md.quint8))
    with pytest.raises(TypeError, match=r"quantize_per_tensor\(\) makes them"):
        md.zeros(2, dtype=md.qint8)
    with pytest.raises(RuntimeError, match=r"expected a quantized tensor, got torch.float32"):
        md.int_repr(md.zeros(1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.0, 0, md.quint8), "scales are positive"), ((-1.0, 0, md.quint8), "scales are positive"),
        ((np.nan, 0, md.quint8), "scales are positive"), ((1.0, 256, md.quint8), "from 0 to 255, got"),
        ((1.0, -1, md.quint8), "from 0 to 255"), ((1.0, 0.5, md.quint8), "integer zero point"), ((1.0, 0, md.uint8), "as dtype, got"),
    ],
)  # fmt: skip
def test_mistakes(arguments, message):
    with pytest.raises(RuntimeError, match=message):
        md.quantize_per_tensor(md.ones(2), *arguments)
    if isinstance(arguments[1], float):
        return  # floats are the zero points of float_qparams there
    with pytest.raises(RuntimeError, match=message):
        md.quantize_per_channel(
            md.ones(2), md.tensor([1.0, arguments[0]]), md.tensor([0, arguments[1]]), 0, arguments[2]
        )


def test_more_mistakes():
    with pytest.raises(RuntimeError, match=r"expected a tensor of floats, got torch.int64"):
        md.quantize_per_tensor(md.arange(3), 1.0, 0, md.quint8)
    with pytest.raises(RuntimeError, match="expected 3 scales and zero points along axis 0"):
        md.quantize_per_channel(md.ones(3, 2), md.ones(2), md.zeros(2, dtype=md.int64), 0, md.qint8)
    q = md.quantize_per_tensor(md.ones(2), 1.0, 0, md.quint8)
    with pytest.raises(RuntimeError, match=r"copy_: expected torch.quint8 of shape \[2\], got torch.float32"):
        q.copy_(md.ones(2))
    with pytest.raises(RuntimeError, match=r"stay torch.quint8 on the CPU"):
        q.to(md.float64)


@pytest.mark.parametrize("dtype", ["qint8", "quint8", "qint32"])
def test_files_and_copies(dtype):
    kind = getattr(md, dtype)
    q = md.quantize_per_channel(md.tensor(VALUES), md.tensor([0.1, 0.2, 0.3]), md.zeros(3, dtype=md.int64), 0, kind)
    file = io.BytesIO()
    md.save({"a": q, "b": [kind]}, file)
    file.seek(0)
    loaded = md.load(file)
    assert loaded["b"] == [kind]
    for other in (loaded["a"], copy.deepcopy(q), pickle.loads(pickle.dumps(q)), q.clone()):
        assert isinstance(other, QTensor) and other.dtype is kind and other.q_per_channel_axis() == 0
        np.testing.assert_array_equal(other.dequantize().numpy(), q.dequantize().numpy())
    assert (
        pickle.loads(pickle.dumps(md.per_tensor_affine)) is md.per_tensor_affine
        and pickle.loads(pickle.dumps(kind)) is kind
    )


def test_text():
    q = md.quantize_per_tensor(md.tensor([-1.0, 0.0, 2.0]), 0.1, 10, md.quint8)
    assert repr(q) == (
        "tensor([-1.,  0.,  2.], size=(3,), dtype=torch.quint8, quantization_scheme=torch.per_tensor_affine, scale=0.1, zero_point=10)"
    )
