"""Against ONNX Runtime: graphs of one quantized operator each, with its definitions of rounding, saturation and zero points."""

from __future__ import annotations

import numpy as np
import pytest

import minidl as md
from minidl import nn
from minidl import quantization as Q
from minidl.quantization.tensor import QTensor

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")


def run(operator, inputs, attributes=None):
    """The result of one operator on arrays by name, in the order of its inputs."""
    from onnx import TensorProto, helper

    node = helper.make_node(operator, list(inputs), ["out"], **(attributes or {}))
    kinds = {name: helper.np_dtype_to_tensor_dtype(x.dtype) for name, x in inputs.items()}
    values = [helper.make_tensor_value_info(name, kinds[name], x.shape) for name, x in inputs.items()]
    out_kind = {
        "QuantizeLinear": TensorProto.UINT8,
        "DequantizeLinear": TensorProto.FLOAT,
        "MatMulInteger": TensorProto.INT32,
    }
    kind = kinds["zero"] if operator == "QuantizeLinear" else out_kind.get(operator, TensorProto.UINT8)
    graph = helper.make_graph([node], "one", values, [helper.make_tensor_value_info("out", kind, None)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, inputs)[0]


def scalar(value, dtype=np.float32):
    return np.array(value, dtype)


HARD = np.array([0.0, -0.0, 0.5, 1.5, 2.5, -0.5, -1.5, 1e9, -1e9, np.inf, -np.inf, 63.75, -32.25], np.float32)


@pytest.mark.parametrize(
    ("kind", "zero"), [("quint8", 0), ("quint8", 37), ("quint8", 255), ("qint8", 0), ("qint8", -128)]
)
def test_quantize_and_back(kind, zero):
    x = np.concatenate([HARD, np.random.default_rng(0).standard_normal(1000).astype(np.float32) * 40])
    dtype = getattr(md, kind)
    # a power of two: PyTorch and minidl multiply by 1 / scale, ONNX divides, and both are exact then
    scale, zeros = scalar(0.25), scalar(zero, dtype.integers)
    q = md.quantize_per_tensor(md.tensor(x), 0.25, zero, dtype)
    finite = np.isfinite(x)
    integers = run("QuantizeLinear", {"x": x[finite], "scale": scale, "zero": zeros})
    np.testing.assert_array_equal(q.int_repr().numpy()[finite], integers)
    back = run("DequantizeLinear", {"x": integers, "scale": scale, "zero": zeros})
    np.testing.assert_array_equal(q.dequantize().numpy()[finite], back)


def test_any_scale_differs_at_most_where_rounding_is_a_matter_of_the_last_bit():
    x = np.random.default_rng(0).standard_normal(100_000).astype(np.float32) * 4
    q = md.quantize_per_tensor(md.tensor(x), 0.0371, 101, md.quint8).int_repr().numpy()
    wanted = run("QuantizeLinear", {"x": x, "scale": scalar(0.0371), "zero": scalar(101, np.uint8)})
    differs = q != wanted
    assert differs.mean() < 1e-4 and np.abs(q.astype(int) - wanted)[differs].max(initial=0) <= 1


def test_per_channel():
    x = np.random.default_rng(1).standard_normal((3, 4, 5)).astype(np.float32) * 10
    scales, zeros = np.float32([0.5, 0.25, 0.125, 1]), np.array([0, 7, -9, 127], np.int8)
    q = md.quantize_per_channel(md.tensor(x), md.tensor(scales), md.tensor(zeros.astype(np.int64)), 1, md.qint8)
    inputs = {"x": x, "scale": scales, "zero": zeros}
    integers = run("QuantizeLinear", inputs, {"axis": 1})
    np.testing.assert_array_equal(q.int_repr().numpy(), integers)
    np.testing.assert_array_equal(
        q.dequantize().numpy(), run("DequantizeLinear", inputs | {"x": integers}, {"axis": 1})
    )


def products(M, K, N, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (M, K)).astype(np.uint8), rng.integers(-127, 128, (N, K)).astype(np.int8)


@pytest.mark.parametrize("size", [(1, 3, 5), (7, 64, 33), (13, 130, 70)], ids=str)
def test_integer_products(size):
    from minidl.kernels.qlinear import Weights, qlinear

    x, w = products(*size)
    wanted = run("MatMulInteger", {"x": x, "w": np.ascontiguousarray(w.T), "zero": scalar(113, np.uint8)})
    np.testing.assert_array_equal(qlinear(x, 1.0, 113, Weights(w, np.float32(1)), None, False), wanted)


@pytest.mark.parametrize("size", [(1, 3, 5), (7, 64, 33), (13, 130, 70)], ids=str)
def test_quantized_linear(size):
    x, w = products(*size)
    out_scale, out_zero = np.float32(0.5 * size[1] ** 0.5), 121  # some saturate
    layer = Q.quantized.Linear(QTensor(w, 0.0625, 0, md.qint8), None, False, out_scale, out_zero)
    found = layer(QTensor(x, 0.125, 113, md.quint8)).int_repr().numpy()
    wanted = run("QLinearMatMul", {
        "x": x, "sx": scalar(0.125), "zx": scalar(113, np.uint8), "w": np.ascontiguousarray(w.T), "sw": scalar(0.0625),
        "zw": scalar(0, np.int8), "so": scalar(out_scale), "zo": scalar(out_zero, np.uint8),
    })  # fmt: skip
    np.testing.assert_array_equal(found, wanted)
    assert wanted.min() == 0 or wanted.max() == 255 or size[0] == 1


@pytest.mark.parametrize("groups", [1, 2])
def test_quantized_convolution(groups):
    rng = np.random.default_rng(2)
    x, w = (
        rng.integers(0, 256, (2, 4, 9, 8)).astype(np.uint8),
        rng.integers(-127, 128, (6, 4 // groups, 3, 2)).astype(np.int8),
    )
    scales, bias = np.float32([0.5, 0.25, 0.125, 0.0625, 1, 2]), rng.integers(-500, 500, 6).astype(np.int32)
    conv = nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=1, dilation=(1, 2), groups=groups)
    weight = QTensor(w, scales, np.zeros(6, np.int32), md.qint8, 0)
    layer = Q.quantized.Conv2d._like(
        conv, weight, md.tensor(bias * np.float32(0.125) * scales), False, np.float32(40), 128
    )
    found = layer(QTensor(x, 0.125, 99, md.quint8)).int_repr().numpy()
    wanted = run(
        "QLinearConv",
        {"x": x, "sx": scalar(0.125), "zx": scalar(99, np.uint8), "w": w, "sw": scales, "zw": np.zeros(6, np.int8),
         "so": scalar(40), "zo": scalar(128, np.uint8), "b": bias},
        {"strides": [2, 1], "pads": [1, 1, 1, 1], "dilations": [1, 2], "group": groups},
    )  # fmt: skip
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("dimensions", [1, 3])
def test_quantized_convolution_of_signals_and_volumes(dimensions):
    rng = np.random.default_rng(3)
    size, kernel, stride, padding, dilation = ((9, 7, 8), (3, 2, 2), (2, 1, 3), (1, 0, 1), (1, 2, 1))
    size, kernel, stride, padding, dilation = (v[:dimensions] for v in (size, kernel, stride, padding, dilation))
    x = rng.integers(0, 256, (2, 4, *size)).astype(np.uint8)
    w = rng.integers(-127, 128, (6, 2, *kernel)).astype(np.int8)
    scales, bias = np.float32([0.5, 0.25, 0.125, 0.0625, 1, 2]), rng.integers(-500, 500, 6).astype(np.int32)
    kind = f"Conv{dimensions}d"
    conv = getattr(nn, kind)(4, 6, kernel, stride, padding, dilation, 2)
    weight = QTensor(w, scales, np.zeros(6, np.int32), md.qint8, 0)
    layer = getattr(Q.quantized, kind)._like(
        conv, weight, md.tensor(bias * np.float32(0.125) * scales), False, np.float32(40), 128
    )
    found = layer(QTensor(x, 0.125, 99, md.quint8)).int_repr().numpy()
    wanted = run(
        "QLinearConv",
        {"x": x, "sx": scalar(0.125), "zx": scalar(99, np.uint8), "w": w, "sw": scales, "zw": np.zeros(6, np.int8),
         "so": scalar(40), "zo": scalar(128, np.uint8), "b": bias},
        {"strides": stride, "pads": [*padding, *padding], "dilations": dilation, "group": 2},
    )  # fmt: skip
    np.testing.assert_array_equal(found, wanted)
