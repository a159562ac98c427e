"""Windows, orthogonal polynomials and low-rank decompositions against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

import minidl as md

torch = pytest.importorskip("torch")

WINDOWS = {
    "bartlett": {}, "blackman": {}, "cosine": {}, "exponential": {"tau": 3.0}, "gaussian": {"std": 2.0},
    "general_cosine": {"a": [0.5, 0.3, 0.2]}, "general_hamming": {"alpha": 0.6}, "hamming": {}, "hann": {},
    "kaiser": {"beta": 8.0}, "nuttall": {},
}  # fmt: skip


@pytest.mark.parametrize("name", WINDOWS)
@pytest.mark.parametrize("M", [0, 1, 2, 7, 8])
@pytest.mark.parametrize("sym", [True, False])
def test_windows(name, M, sym):
    options = {"sym": sym, **WINDOWS[name]}
    ours = getattr(md.signal.windows, name)(M, dtype=md.float64, **options)
    theirs = getattr(torch.signal.windows, name)(M, dtype=torch.float64, **options)
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), atol=1e-12)


def test_window_errors():
    with pytest.raises(ValueError, match="float32 or float64"):
        md.signal.windows.hann(3, dtype=md.int64)
    with pytest.raises(ValueError, match="non-negative integer"):
        md.signal.windows.hann(-1)
    with pytest.raises(TypeError, match="unexpected argument foo"):
        md.signal.windows.hann(3, foo=1)


POLYNOMIALS = [
    name for name in dir(md.special) if "_polynomial_" in name
]  # fmt: skip


@pytest.mark.parametrize("name", POLYNOMIALS)
def test_polynomials(name):
    x = np.linspace(0.05, 0.95, 7)
    for n in (-1, 0, 1, 2, 5):
        ours = getattr(md.special, name)(md.tensor(x), md.tensor(float(n), dtype=md.float64))
        theirs = getattr(torch.special, name)(torch.tensor(x), torch.tensor(float(n), dtype=torch.float64))
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-9, atol=1e-9)


def test_low_rank():
    rng = np.random.default_rng(0)
    low = rng.standard_normal((20, 3)) @ rng.standard_normal((3, 12))
    for A in (low, low.T):
        U, S, V = md.svd_lowrank(md.tensor(A), q=4)
        np.testing.assert_allclose((U * S @ V.mT).numpy(), A, atol=1e-10)
        np.testing.assert_allclose(S.numpy()[:3], np.linalg.svd(A)[1][:3], rtol=1e-10)
    V = md.pca_lowrank(md.tensor(low + 5), q=3)[2].numpy()
    centred = low - low.mean(0)
    np.testing.assert_allclose(centred @ V @ V.T, centred, atol=1e-10)
    with pytest.raises(ValueError, match="not greater than"):
        md.svd_lowrank(md.ones(3, 2), q=3)
    with pytest.raises(ValueError, match="must not be negative"):
        md.pca_lowrank(md.ones(3, 2), q=-1)
