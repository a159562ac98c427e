"""The engine on its CUDA kernels: a model trained on the stand-in for CuPy, whose kernels run on the CPU, as on the CPU itself."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

import minidl as md
from minidl import nn
from minidl.nn import functional as F

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens, self.norm = nn.Embedding(11, 8), nn.LayerNorm(8)
        self.lstm, self.wide, self.out = nn.LSTM(8, 8), nn.Linear(8, 12), nn.Linear(12, 11)

    def forward(self, x):
        y, _ = self.lstm(self.norm(self.tokens(x)))
        return self.out(F.gelu(F.dropout(self.wide(y), 0.25), approximate="tanh"))


class Images(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.apart = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 8, 3, groups=8)
        self.strided, self.back = nn.Conv2d(8, 16, 3, stride=2), nn.ConvTranspose2d(16, 9, 2)
        self.out = nn.Linear(36, 11)

    def forward(self, x):
        y = F.max_pool2d(F.relu(self.first(x)), 3, 2, 1)
        y = self.back(F.relu(self.strided(self.apart(y))))
        return self.out(F.adaptive_avg_pool2d(F.adaptive_max_pool2d(y, 3), 2).flatten(1))


def losses(device, model=Model, *, x, y=None):
    md.manual_seed(0)
    model = model().to(device)
    optimizer = md.optim.Adam(model.parameters(), lr=0.01)
    x = md.from_numpy(x).to(device)
    y = x if y is None else md.from_numpy(y).to(device)
    found = []
    for _ in range(4):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x).reshape(-1, 11), y.flatten())
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return found


@pytest.mark.parametrize("batch, lstm", [(3, "lstm_sequence"), (65, "lstm_step")])
def test_training_is_that_of_the_cpu(launched, batch, lstm):
    x = np.random.default_rng(0).integers(0, 11, (5, batch))
    np.testing.assert_allclose(losses("cuda", x=x), losses("cpu", x=x), rtol=1e-5)
    assert {"embedding_segments", "layer_norm_backward_fused", lstm, f"{lstm}_backward", "gelu_backward_tanh_packed",
            "dropout_blocks", "cross_entropy_backward_rows", "adam_table"} <= {name for name, _ in launched}  # fmt: skip


def test_training_on_images_is_that_of_the_cpu(launched):
    random = np.random.default_rng(1)
    data = {"x": random.standard_normal((3, 1, 14, 15), dtype=np.float32), "y": random.integers(0, 11, 3)}
    np.testing.assert_allclose(losses("cuda", Images, **data), losses("cpu", Images, **data), rtol=1e-5)
    assert {"conv_tiles", "conv_tiles_input", "conv_tiles_weight", "conv_direct", "conv_direct_input", "conv_direct_weight",
            "max_pool_2d", "max_pool_backward_2d", "adaptive_sum_2d", "adaptive_sum_backward_2d", "adaptive_max_2d",
            "adaptive_max_backward_2d"} <= {name for name, _ in launched}  # fmt: skip


@pytest.mark.parametrize(
    "model, shape, names",
    [
        (lambda: nn.LSTM(4, 6), (5, 2, 4), {"lstm_sequence", "lstm_sequence_backward"}),
        (lambda: nn.LSTM(4, 6, batch_first=True), (2, 5, 4), {"lstm_sequence", "lstm_sequence_backward"}),
        (lambda: nn.LSTM(4, 6, batch_first=True), (65, 5, 4), {"lstm_step", "lstm_step_backward"}),
        (lambda: nn.LSTM(4, 6, proj_size=3), (5, 9, 4), {"lstm_step", "lstm_step_backward"}),
        (lambda: nn.GRU(4, 6), (5, 2, 4), {"gru_sequence", "gru_sequence_backward"}),
        (lambda: nn.GRU(4, 6, batch_first=True), (65, 5, 4), {"gru_step", "gru_step_backward"}),
        (lambda: nn.Conv2d(4, 8, 3, stride=2), (2, 4, 7, 8), {"conv_tiles", "conv_tiles_weight"}),
    ],
)
def test_a_recorded_step_is_the_step(launched, model, shape, names):
    model, x = model().cuda(), md.zeros(shape, device="cuda", requires_grad=True)

    def step():
        model.zero_grad(set_to_none=True)
        out = model(x)
        (out[0] if isinstance(out, tuple) else out).square().sum().backward()
        return [x.grad, *(p.grad for p in model.parameters())]

    step()
    graph, x.grad = md.cuda.CUDAGraph(), None
    with md.cuda.graph(graph):
        found = step()
    x.data.copy_(md.randn(shape))
    graph.replay()
    x.grad = None
    for a, b in zip(found, step(), strict=True):
        np.testing.assert_allclose(a.cpu().numpy(), b.cpu().numpy(), 1e-5, 1e-5)
    assert names <= {name for name, _ in launched}


def test_arrays_of_two_devices_are_refused_as_by_the_reference(launched):
    weight, x = md.ones(4), md.ones(2, 4).cuda()
    with pytest.raises(RuntimeError, match=r"(?s)cpu.*cuda:0|cuda:0.*cpu"):
        F.layer_norm(x, (4,), weight, weight)
