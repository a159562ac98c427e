"""Signals over time and frequency: windows, the short-time Fourier transform and its inverse.

Letters: B batch, L samples, N window length, F frequencies, T frames.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..tensor import Tensor, method
from .complex import view_as_real
from .creation import _finish, ones
from .padding import pad


def _window(values: Any, window_length: int, periodic: bool, dtype: Any, device: Any, requires_grad: bool) -> Tensor:
    """A window from its values at the places 0 to 1; a periodic one leaves the last out."""
    if window_length < 0:
        raise RuntimeError(f"window requires non-negative window_length, got window_length={window_length}")
    wanted = dtypes.get_default_dtype().dtype if dtype is None else dtypes.as_array_dtype(dtype)
    if wanted.kind not in dtypes.FLOATING:
        raise RuntimeError(f"window expects floating point dtypes, got {dtypes.of_array(wanted)}")
    places = np.arange(window_length) / max(window_length - 1 + periodic, 1)
    array = np.ones(window_length) if window_length <= 1 else values(places)
    return _finish(array.astype(wanted), device, requires_grad)


def hann_window(
    window_length: int, periodic: bool = True, *, dtype: Any = None, device: Any = None, requires_grad: bool = False,
    layout: Any = None, pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """The raised cosine (N,) from 0 over 1 to 0; periodic: one period of it, so that shifted windows add up to a constant.

    Example:
        >>> minidl.hann_window(4)
        tensor([0.0000, 0.5000, 1.0000, 0.5000])
    """
    return hamming_window(window_length, periodic, 0.5, 0.5, dtype=dtype, device=device, requires_grad=requires_grad)


def hamming_window(
    window_length: int, periodic: bool = True, alpha: float = 0.54, beta: float = 0.46, *, dtype: Any = None,
    device: Any = None, requires_grad: bool = False, layout: Any = None, pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """alpha - beta cos: a raised cosine that does not reach 0."""

    def values(t: Any) -> Any:
        return alpha - beta * np.cos(2 * np.pi * t)

    return _window(values, window_length, periodic, dtype, device, requires_grad)


def blackman_window(
    window_length: int, periodic: bool = True, *, dtype: Any = None, device: Any = None, requires_grad: bool = False,
    layout: Any = None, pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """0.42 - 0.5 cos + 0.08 cos of twice the angle: lower side lobes than a raised cosine's, a wider main one."""

    def values(t: Any) -> Any:
        return 0.42 - 0.5 * np.cos(2 * np.pi * t) + 0.08 * np.cos(4 * np.pi * t)

    return _window(values, window_length, periodic, dtype, device, requires_grad)


def bartlett_window(
    window_length: int, periodic: bool = True, *, dtype: Any = None, device: Any = None, requires_grad: bool = False,
    layout: Any = None, pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """A triangle from 0 over 1 to 0."""
    return _window(lambda t: 1 - np.abs(2 * t - 1), window_length, periodic, dtype, device, requires_grad)


def kaiser_window(
    window_length: int, periodic: bool = True, beta: float = 12.0, *, dtype: Any = None, device: Any = None,
    requires_grad: bool = False, layout: Any = None, pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """Nearly the window with the least energy outside its main lobe, whose width beta sets (Kaiser, 1974)."""

    def values(t: Any) -> Any:
        return np.i0(beta * np.sqrt(np.maximum(1 - (2 * t - 1) ** 2, 0))) / np.i0(beta)

    return _window(values, window_length, periodic, dtype, device, requires_grad)


def _full_window(name: str, window: Tensor | None, n_fft: int, win_length: int | None, like: Tensor) -> Tensor:
    """The window (n_fft,): the one given, or ones, in the middle of zeros."""
    length = n_fft if win_length is None else win_length
    if not 0 < length <= n_fft:
        raise RuntimeError(f"{name}: expected 0 < win_length <= n_fft, but got win_length={length}")
    if window is None:
        window = ones(length, dtype=dtypes.of_array(np.dtype(like.array.real.dtype)), device=like.device)
    if window.shape != (length,):
        raise RuntimeError(
            f"{name}: expected a 1D window tensor of size {length}, but got window of size {window.shape}"
        )
    left = (n_fft - length) // 2
    return window if length == n_fft else pad(window, (left, n_fft - length - left))


@method()
def stft(
    input: Tensor,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Tensor | None = None,
    center: bool = True,
    pad_mode: str = "reflect",
    normalized: bool = False,
    onesided: bool | None = None,
    return_complex: bool | None = None,
) -> Tensor:
    """The spectra of overlapping parts of a signal (L,) or (B, L): (..., F, T).

    hop_length: the step from part to part (default n_fft // 4). window: what a part is multiplied with, of `win_length`
    (default n_fft) samples. center: part t is around sample t * hop_length, for which the signal is padded at both ends by
    `pad_mode`; else it begins there. normalized: divided by the root of n_fft. onesided: the n_fft // 2 + 1 frequencies from 0
    on, which is all there is to a real signal. return_complex=False: real and imaginary parts in a last dimension of 2.
    Raises RuntimeError for arguments that do not fit the signal.

    Example:
        >>> minidl.stft(minidl.ones(16), 8, return_complex=True).shape
        torch.Size([5, 9])
    """
    from ..fft import fft, rfft

    is_complex, hop = input.is_complex(), n_fft // 4 if hop_length is None else hop_length
    if return_complex is None and not is_complex and (window is None or not window.is_complex()):
        raise RuntimeError("stft requires the return_complex parameter be given for real inputs.")
    onesided = not is_complex if onesided is None else onesided
    if onesided and is_complex:
        raise RuntimeError("stft: Cannot have onesided output if window or input is complex")
    if input.ndim not in (1, 2) or hop <= 0:
        raise RuntimeError(f"stft: expected a 1D or 2D tensor and hop_length > 0, got {list(input.shape)} and {hop}")
    x = input if input.ndim == 2 else input.unsqueeze(0)
    if center:
        x = pad(x.unsqueeze(1), (n_fft // 2, n_fft // 2), pad_mode).squeeze(1)
    if not 0 < n_fft <= x.shape[1]:
        raise RuntimeError(f"stft: expected 0 < n_fft <= {x.shape[1]}, the length of the signal, but got n_fft={n_fft}")
    parts = x.unfold(1, n_fft, hop) * _full_window("stft", window, n_fft, win_length, input)  # (B, T, N)
    spectra = (rfft if onesided else fft)(parts, norm="ortho" if normalized else None).transpose(1, 2)
    spectra = spectra if input.ndim == 2 else spectra.squeeze(0)
    return view_as_real(spectra) if return_complex is False else spectra


@method()
def istft(
    input: Tensor,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Tensor | None = None,
    center: bool = True,
    normalized: bool = False,
    onesided: bool | None = None,
    length: int | None = None,
    return_complex: bool = False,
) -> Tensor:
    """The signal (..., L) whose stft this is, (..., F, T), or the nearest to it in the sense of least squares.

    The parts are multiplied with the window once more, added up where they overlap, and divided by what the squared windows
    add up to. onesided: by default, if there are not all n_fft frequencies. length: of the signal, cut off or filled up with
    zeros. The other arguments are those of stft.
    Raises RuntimeError where the windows leave a gap, which nothing can fill.
    Source: Griffin & Lim, "Signal estimation from modified short-time Fourier transform" (1984).
    """
    from ..fft import ifft, irfft
    from ..nn.functional import fold

    hop = n_fft // 4 if hop_length is None else hop_length
    if onesided is None:
        onesided = input.ndim > 1 and input.shape[-2] != n_fft
    wanted = n_fft // 2 + 1 if onesided else n_fft
    if not input.is_complex() or input.ndim not in (2, 3) or input.shape[-2] != wanted:
        raise RuntimeError(
            f"istft: expected a complex tensor (..., {wanted}, T) for n_fft={n_fft}, got {input.dtype} {list(input.shape)}"
        )
    if onesided and return_complex:
        raise RuntimeError(
            "istft: Cannot have onesided input and a complex result; a complex signal has all frequencies"
        )
    full = _full_window("istft", window, n_fft, win_length, input)
    spectra = (input if input.ndim == 3 else input.unsqueeze(0)).transpose(1, 2)  # (B, T, F)
    norm = "ortho" if normalized else None
    # the other half of the frequencies of a real signal says nothing new
    parts = ifft(spectra, norm=norm) if return_complex else irfft(spectra[..., : n_fft // 2 + 1], n_fft, norm=norm)
    T = parts.shape[1]
    L = n_fft + hop * (T - 1)

    def added_up(rows: Tensor) -> Tensor:  # (B, T, N) to (B, L)
        return fold(rows.transpose(1, 2), (1, L), (1, n_fft), stride=(1, hop)).reshape(-1, L)

    start = n_fft // 2 if center else 0
    end = L - start if length is None else min(start + length, L)
    signal = added_up(parts * full)[:, start:end]
    weight = added_up((full * full).expand(1, T, n_fft))[:, start:end]
    if not float(abs(weight).min() if weight.numel() else 1) > 1e-11:
        raise RuntimeError("istft: window overlap add min: 0, the windows leave a gap; take a smaller hop_length")
    signal = signal / weight
    if length is not None and length > end - start:
        signal = pad(signal, (0, length - (end - start)))
    return signal if input.ndim == 3 else signal.squeeze(0)


__all__ = ["bartlett_window", "blackman_window", "hamming_window", "hann_window", "istft", "kaiser_window", "stft"]
