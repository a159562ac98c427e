"""Windows, short-time Fourier transforms and orthogonal polynomials against PyTorch."""

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


@pytest.mark.parametrize("name", ["hann", "hamming", "blackman", "bartlett", "kaiser"])
def test_older_windows(name):
    for periodic in (True, False):
        ours, theirs = (getattr(m, f"{name}_window")(9, periodic) for m in (md, torch))
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), atol=1e-6)


def test_window_errors():
    with pytest.raises(ValueError, match="float32 or float64"):
        md.hann_window(3, dtype=md.int64)
    with pytest.raises(ValueError, match="non-negative integer"):
        md.signal.windows.hann(-1)
    with pytest.raises(TypeError, match="unexpected argument foo"):
        md.signal.windows.hann(3, foo=1)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"hop_length": 5, "center": False},
        {"win_length": 10, "window": True, "normalized": True},
        {"onesided": False, "pad_mode": "constant"},
    ],
)
def test_stft_and_back(options):
    x = np.random.default_rng(0).standard_normal((2, 60))
    results = []
    for m in (torch, md):
        window = m.hann_window(10, dtype=m.float64) if options.get("window") else None
        if window is None and m is torch:
            window = torch.ones(16, dtype=torch.float64)  # what None means, without PyTorch's warning
        given = {**options, "window": window}
        signal = m.tensor(x, requires_grad=True)
        spectrum = m.stft(signal, 16, return_complex=True, **given)
        (m.view_as_real(spectrum) * m.arange(2.0, dtype=m.float64)).sum().backward()
        given.pop("pad_mode", None)
        back = m.istft(spectrum.detach(), 16, length=60 if given.get("center", True) else None, **given)
        results.append((spectrum.detach().numpy(), signal.grad.numpy(), back.numpy()))
    for ours, theirs in zip(results[1], results[0], strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-10)
    if options.get("center", True):
        np.testing.assert_allclose(results[1][2], x, atol=1e-10)


@pytest.mark.parametrize(
    "call, match",
    [
        (lambda: md.stft(md.ones(50), 16), "return_complex=True"),
        (lambda: md.stft(md.ones(2, 2, 50), 16, return_complex=True), r"\(T,\) or \(B, T\)"),
        (lambda: md.stft(md.ones(50), 16, window=md.ones(3), return_complex=True), "window of win_length points"),
        (lambda: md.stft(md.ones(10), 30, center=False, return_complex=True), "length of the signal"),
        (lambda: md.istft(md.ones(8, 3, dtype=md.complex64), 16, onesided=True), "expected 9 frequencies"),
        (lambda: md.istft(md.ones(9, 3, dtype=md.complex64), 16, window=md.zeros(16)), "leave out a point"),
    ],
)
def test_stft_errors(call, match):
    with pytest.raises(RuntimeError, match=match):
        call()


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
