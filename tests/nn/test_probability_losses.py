from __future__ import annotations

import numpy as np
import pytest

import minidl


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_binary_cross_entropy_at_certainties(reduction):
    torch = pytest.importorskip("torch")
    p = np.array([0, 1, 0, 1, 0.5, 1e-30, 1 - 1e-7, 0.3], np.float32)
    target = np.array([0, 1, 1, 0, 0.5, 1, 0, 0.9], np.float32)
    results = []
    for m in (minidl, torch):
        x = m.tensor(p, requires_grad=True)
        losses = m.nn.functional.binary_cross_entropy(
            x, m.tensor(target), weight=m.tensor(2 * target), reduction=reduction
        )
        losses.sum().backward()
        results.append((losses.detach().numpy(), x.grad.numpy()))
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_binary_cross_entropy_of_the_target():
    target = minidl.tensor([0.2, 1.0], requires_grad=True)
    minidl.nn.functional.binary_cross_entropy(minidl.tensor([0.25, 0.0]), target, reduction="sum").backward()
    np.testing.assert_allclose(target.grad.numpy(), [np.log(3), 100], rtol=1e-6)
