"""Dynamic quantization on a GPU: products of bytes that agree with the CPU's."""

from __future__ import annotations

import numpy as np
import pytest

import minidl as md
from minidl import nn, quantization
from minidl.kernels import cuda, int8


def pair(make, device):
    """A quantized layer on the CPU, and on the device."""
    md.manual_seed(0)
    ours = quantization.quantize_dynamic(make(), {nn.Linear})
    md.manual_seed(0)
    return ours, quantization.quantize_dynamic(make(), {nn.Linear}).to(device)


@pytest.mark.parametrize("shape", [(5, 37), (2, 3, 37), (37,), (0, 37)])
@pytest.mark.parametrize("bias", [True, False])
def test_agrees_with_the_cpu(device, shape, bias):
    here, there = pair(lambda: nn.Linear(37, 9, bias), device)
    for x in (md.randn(shape), md.rand(shape) + 3, md.zeros(shape), -md.rand(shape)):
        wanted = here(x).numpy()
        got = there(x.to(device))
        assert got.is_cuda and got.shape == wanted.shape
        np.testing.assert_allclose(got.cpu().numpy(), wanted, rtol=1e-5, atol=1e-5)
    assert there.weight().is_cuda and there.weight().dequantize().is_cuda
    np.testing.assert_array_equal(there.weight().dequantize().cpu().numpy(), here.weight().dequantize().numpy())


def test_what_does_not_fit_is_refused(device):
    _, layer = pair(lambda: nn.Linear(4, 2), device)
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError, match="NaN or infinite"):
            layer(md.tensor([[1.0, bad, 0, 0]]).to(device))
    with pytest.raises(
        RuntimeError, match=r"expected a float32 input on cuda:0, where the weights are, got float32 on cpu"
    ):
        layer(md.ones(1, 4))
    with pytest.raises(RuntimeError, match=r"expected inputs of 4 features, got shape \[1, 3\]"):
        layer(md.ones(1, 3).to(device))
    recurrent = quantization.quantize_dynamic(nn.LSTM(4, 2), {nn.LSTM}).to(device)
    with pytest.raises(RuntimeError, match=r"LSTM: recurrent layers in bytes are for the CPU, got an input on cuda:0"):
        recurrent(md.ones(3, 1, 4).to(device))
    with pytest.raises(RuntimeError, match=r"stay torch.quint8 on the CPU"):
        md.quantize_per_tensor(md.ones(2), 0.1, 0, md.quint8).to(device)


def test_older_gpus_take_the_version_without_tensor_cores(monkeypatch):
    asked = []
    monkeypatch.setattr(int8, "launch", lambda entry, *args: asked.append(entry))
    x, scale = np.ones((2, 16), np.int8), np.ones(2, np.float32)
    for capability in (75, 80):
        monkeypatch.setattr(cuda, "H100", cuda.H100._replace(capability=capability))
        int8.gemm_int8_mma(x, x, scale, scale, None)
    assert asked == ["int8_dp4a", "int8_mma"]
