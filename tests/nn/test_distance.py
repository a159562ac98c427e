from __future__ import annotations

import numpy as np
import pytest

import minidl as md


@pytest.mark.parametrize("make", [lambda m: m.nn.CosineSimilarity(), lambda m: m.nn.CosineSimilarity(0, 1e-4),
                                  lambda m: m.nn.PairwiseDistance(), lambda m: m.nn.PairwiseDistance(1, keepdim=True)])  # fmt: skip
def test_against_pytorch(make):
    torch = pytest.importorskip("torch")
    x, y = np.random.default_rng(0).standard_normal((2, 4, 3)).astype(np.float32)
    results = []
    for m in (torch, md):
        a = m.tensor(x, requires_grad=True)
        layer = make(m)
        out = layer(a, m.tensor(y))
        (out * out).sum().backward()
        results.append((repr(layer), out.detach().numpy(), a.grad.numpy()))
    assert results[0][0] == results[1][0]
    for theirs, ours in zip(results[0][1:], results[1][1:], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
