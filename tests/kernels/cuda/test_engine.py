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


def losses(device):
    md.manual_seed(0)
    model = Model().to(device)
    optimizer = md.optim.Adam(model.parameters(), lr=0.01)
    x = md.from_numpy(np.random.default_rng(0).integers(0, 11, (5, 3))).to(device)
    found = []
    for _ in range(4):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x).flatten(0, 1), x.flatten())
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return found


def test_training_is_that_of_the_cpu(launched):
    np.testing.assert_allclose(losses("cuda"), losses("cpu"), rtol=1e-5)
    assert {"embedding_segments", "layer_norm_backward_fused", "lstm_step_backward", "gelu_backward_tanh_packed",
            "dropout_blocks", "cross_entropy_backward_rows", "adam_table"} <= {name for name, _ in launched}  # fmt: skip


def test_arrays_of_two_devices_are_refused_as_by_the_reference(launched):
    weight, x = md.ones(4), md.ones(2, 4).cuda()
    with pytest.raises(RuntimeError, match=r"(?s)cpu.*cuda:0|cuda:0.*cpu"):
        F.layer_norm(x, (4,), weight, weight)
