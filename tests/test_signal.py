"""Windows and short-time Fourier transforms, against PyTorch and back again."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import minidl as md
from minidl.autograd import gradcheck

rng = np.random.default_rng(0)


@pytest.mark.parametrize("name", ["hann", "hamming", "blackman", "bartlett", "kaiser"])
def test_windows_against_pytorch(name):
    torch = pytest.importorskip("torch")
    theirs, ours = getattr(torch, f"{name}_window"), getattr(md, f"{name}_window")
    for n, periodic in itertools.product((0, 1, 2, 7, 400), (True, False)):
        expected = theirs(n, periodic, dtype=torch.float64)
        got = ours(n, periodic, dtype=md.float64)
        assert got.shape == expected.shape
        np.testing.assert_allclose(got.numpy(), expected.numpy(), atol=1e-12)
    assert ours(5).dtype is md.float32 and ours(5, requires_grad=True).requires_grad


def test_windows_with_parameters():
    torch = pytest.importorskip("torch")
    for options in ((True, 0.6, 0.3), (False, 0.5)):
        expected = torch.hamming_window(9, *options).numpy()
        np.testing.assert_allclose(md.hamming_window(9, *options).numpy(), expected, atol=1e-6)
    expected = torch.kaiser_window(9, False, 3.0).numpy()
    np.testing.assert_allclose(md.kaiser_window(9, False, 3.0).numpy(), expected, atol=1e-6)


CASES = [
    {"n_fft": 16},
    {"n_fft": 15, "hop_length": 4},
    {"n_fft": 16, "hop_length": 5, "win_length": 11, "center": False},
    {"n_fft": 16, "normalized": True, "pad_mode": "constant"},
    {"n_fft": 8, "onesided": False},
]


@pytest.mark.filterwarnings("ignore:A window was not provided", "ignore:stft with return_complex=False")  # PyTorch's
@pytest.mark.parametrize("options", CASES)
@pytest.mark.parametrize("shape", [(50,), (3, 50)])
def test_stft_against_pytorch(options, shape):
    torch = pytest.importorskip("torch")
    x, window = rng.standard_normal(shape), rng.uniform(0.2, 1, options.get("win_length", options["n_fft"]))
    for w in (None, window):
        sides = []
        for m in (torch, md):
            a = m.tensor(x, requires_grad=True)
            out = m.stft(a, window=None if w is None else m.tensor(w), return_complex=True, **options)
            pairs = m.stft(a, window=None if w is None else m.tensor(w), return_complex=False, **options)
            (pairs * pairs.detach().cos()).sum().backward()
            sides.append([t.detach().numpy() for t in (out, pairs, a.grad)])
        for theirs, ours in zip(*sides, strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-12)


def test_complex_signals():
    torch = pytest.importorskip("torch")
    x = rng.standard_normal(40) + 1j * rng.standard_normal(40)
    expected = torch.stft(torch.tensor(x), 8, window=torch.ones(8, dtype=torch.float64)).numpy()
    spectrum = md.stft(md.tensor(x), 8)
    np.testing.assert_allclose(spectrum.numpy(), expected, atol=1e-12)
    np.testing.assert_allclose(md.istft(spectrum, 8, return_complex=True).numpy(), x, atol=1e-12)


@pytest.mark.parametrize(
    "options", [{}, {"hop_length": 5}, {"normalized": True}, {"win_length": 12}, {"onesided": False}]
)
def test_there_and_back(options):
    x = md.tensor(rng.standard_normal((2, 64)))
    window = md.hann_window(options.get("win_length", 16), dtype=md.float64)
    spectrum = md.stft(x, 16, window=window, return_complex=True, **options)
    back = md.istft(spectrum, 16, window=window, length=64, **options)
    reached = 16 // 2 + options.get("hop_length", 4) * (spectrum.shape[-1] - 1)  # later samples are nearly outside
    np.testing.assert_allclose(back[:, :60].numpy(), x[:, :60].numpy(), atol=1e-10)
    assert back.shape == (2, 64) and reached >= 60


@pytest.mark.filterwarnings("ignore:The length of signal is shorter")  # PyTorch's
def test_istft_against_pytorch():
    torch = pytest.importorskip("torch")
    z = rng.standard_normal((9, 12)) + 1j * rng.standard_normal((9, 12))  # no signal has this spectrum
    for options in ({}, {"length": 30}, {"length": 60}, {"win_length": 14, "hop_length": 3}, {"normalized": True}):
        window = rng.uniform(0.2, 1, options.get("win_length", 16))
        expected = torch.istft(torch.tensor(z), 16, window=torch.tensor(window), **options).numpy()
        got = md.istft(md.tensor(z), 16, window=md.tensor(window), **options)
        np.testing.assert_allclose(got.numpy(), expected, atol=1e-12)


def test_gradients():
    x, w = md.tensor(rng.standard_normal(20), requires_grad=True), md.tensor(rng.uniform(0.5, 1, 8), requires_grad=True)
    assert gradcheck(lambda x, w: md.stft(x, 8, window=w, return_complex=True).abs() ** 2, (x, w))
    z = md.tensor(rng.standard_normal((5, 4)) + 1j * rng.standard_normal((5, 4)), requires_grad=True)
    assert gradcheck(lambda z: md.istft(z, 8), (z,))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: md.hann_window(-1), "window_length=-1"),
        (lambda: md.hann_window(4, dtype=md.int64), "floating point"),
        (lambda: md.stft(md.ones(9), 4), "return_complex"),
        (lambda: md.stft(md.ones(3), 4, center=False, return_complex=True), "0 < n_fft <= 3"),
        (lambda: md.stft(md.ones(9), 4, win_length=5, return_complex=True), "win_length=5"),
        (lambda: md.stft(md.ones(9), 4, window=md.ones(3), return_complex=True), "window tensor of size 4"),
        (lambda: md.stft(md.ones(1, 1, 9), 4, return_complex=True), "1D or 2D"),
        (lambda: md.istft(md.ones(3, 4), 4), "complex tensor"),
        (lambda: md.istft(md.ones(5, 4, dtype=md.complex64), 4), r"\(..., 3, T\)"),
        (lambda: md.istft(md.ones(3, 4, dtype=md.complex64), 4, return_complex=True), "onesided"),
        (lambda: md.istft(md.ones(5, 3, dtype=md.complex64), 8, hop_length=9, window=md.hann_window(8)), "gap"),
    ],
)
def test_errors(call, message):
    with pytest.raises(RuntimeError, match=message):
        call()
