"""The training steps of the benchmark as CUDA graphs: what `minidl bench --device cuda` measures as [graph]."""

from __future__ import annotations

import numpy as np
import pytest

import minidl as md
from minidl.bench import gpu, workloads

STEPS = {
    "mlp": lambda: workloads._mlp(md, [6, 8, 3], 4, lambda p: md.optim.Adam(p, lr=1e-3)),
    "cnn": lambda: workloads.cnn(md, 2, (3, 4)),
    "resnet": lambda: workloads.resnet(md, 4, 2),
    "lstm": lambda: workloads.char_lstm(md, 6, 5, 2, 7),
    "gpt": lambda: workloads.gpt(md, 8, 2, 2, 6, 2, 7),
}


@pytest.mark.parametrize("name", STEPS)
def test_a_recorded_step_is_the_step(device, name):
    with device:
        steps = [STEPS[name]() for _ in range(2)]
        replay = steps[0].recorded()
        for _ in range(3):
            steps[1]()
        losses = [(replay(), steps[1]()) for _ in range(3)]
    np.testing.assert_allclose(*zip(*losses, strict=True), rtol=1e-4)
    for p, q in zip(*(step.model.parameters() for step in steps), strict=True):
        # Adam divides by the size of gradients, some of which are zero but for rounding
        np.testing.assert_allclose(p.detach().cpu().numpy(), q.detach().cpu().numpy(), rtol=1e-3, atol=1e-3)


def test_what_is_not_recorded_is_a_row_with_the_reason(device):
    with device:
        x = md.ones(2, 2)
        model = md.nn.Sequential(md.nn.Linear(2, 2), md.nn.Dropout(0.5))
        step = workloads.Training(md, model, x, md.tensor([0, 1]), lambda p: md.optim.SGD(p, lr=0.1))
        found = gpu.recorded_results(step, step)
    assert set(found) == {"error"} and "random numbers cannot be recorded" in found["error"]
    line = gpu.one_line({"name": "x", "version": "graph", **found}, {})
    assert line.startswith("x [graph]") and "FAILED" in line
