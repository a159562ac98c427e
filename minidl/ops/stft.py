"""The short-time Fourier transform and its inverse: spectra of overlapping pieces of a signal."""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor, method
from .complex import view_as_complex, view_as_real
from .convolution import fold
from .creation import ones
from .padding import pad


def _window(name: str, window: Tensor | None, n_fft: int, win_length: int | None, like: Tensor) -> Tensor:
    """The window with zeros on both sides up to n_fft points."""
    length = n_fft if win_length is None else win_length
    if not 0 < length <= n_fft or (window is not None and list(window.shape) != [length]):
        raise RuntimeError(
            f"{name}: expected 0 < win_length <= n_fft and a window of win_length points, got win_length={length}, "
            f"n_fft={n_fft} and window {None if window is None else list(window.shape)}"
        )
    values = ones(length, dtype=like.real.dtype, device=like.device) if window is None else window
    left = (n_fft - length) // 2
    return pad(values, (left, n_fft - length - left)) if length < n_fft else values


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
    """The spectra of pieces of n_fft points, hop_length (default n_fft // 4) apart: input (T,) or (B, T) gives (..., F, frames).

    window: win_length (default n_fft) factors for each piece. center: the signal is padded so that piece t is centered at
    t hop_length. onesided: only the n_fft // 2 + 1 frequencies that determine the spectrum of a real signal (its default).
    normalized: divided by sqrt(n_fft). return_complex must be said for real signals; False gives (..., F, frames, 2).

    Example:
        >>> minidl.stft(minidl.zeros(100), 16, window=minidl.hann_window(16), return_complex=True).shape
        torch.Size([9, 26])
    """
    from .. import fft

    complex_result = input.is_complex() or (window is not None and window.is_complex())
    if return_complex is None:
        if not complex_result:
            raise RuntimeError(
                "stft: say return_complex=True for a complex result, or view_as_real of it for real and imaginary parts"
            )
        return_complex = True
    hop = n_fft // 4 if hop_length is None else hop_length
    if input.ndim not in (1, 2) or hop <= 0:
        raise RuntimeError(
            f"stft: expected a signal (T,) or (B, T) and hop_length > 0, got {list(input.shape)} and {hop}"
        )
    x = input if input.ndim == 2 else input.unsqueeze(0)
    if center:
        x = pad(x.unsqueeze(1), (n_fft // 2, n_fft // 2), pad_mode).squeeze(1)
    if not 0 < n_fft <= x.shape[1]:
        raise RuntimeError(f"stft: expected 0 < n_fft <= {x.shape[1]}, the length of the signal, got n_fft={n_fft}")
    pieces = x.unfold(1, n_fft, hop) * _window("stft", window, n_fft, win_length, x)
    if onesided is None:
        onesided = not complex_result
    if onesided and complex_result:
        raise RuntimeError("stft: Cannot have onesided output if window or input is complex")
    transform: Any = fft.rfft if onesided else fft.fft
    out = transform(pieces, dim=-1, norm="ortho" if normalized else None).transpose(1, 2)
    out = out if input.ndim == 2 else out.squeeze(0)
    return out if return_complex else view_as_real(out)


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
    """The signal, of `length` points if given, whose stft with the same arguments is nearest to input (..., F, frames).

    Raises RuntimeError where the windows of the pieces leave out a point of the signal.
    Source: Griffin and Lim, "Signal estimation from modified short-time Fourier transform", 1984.
    """
    from .. import fft

    spectrum = input if input.is_complex() else view_as_complex(input)
    hop = n_fft // 4 if hop_length is None else hop_length
    if spectrum.ndim not in (2, 3) or not spectrum.numel() or not 0 < hop <= (win_length or n_fft):
        raise RuntimeError(
            f"istft: expected spectra (F, frames) or (B, F, frames), not empty, and 0 < hop_length <= win_length; got "
            f"{list(input.shape)}, hop_length={hop} and win_length={win_length or n_fft}"
        )
    F, frames = spectrum.shape[-2:]
    if onesided is None:
        onesided = F != n_fft
    if (n_fft // 2 + 1 if onesided else n_fft) != F or (onesided and return_complex):
        raise RuntimeError(
            f"istft: expected {n_fft // 2 + 1 if onesided else n_fft} frequencies for n_fft={n_fft} and onesided={onesided}, "
            f"which is not for a complex result; got {F} and return_complex={return_complex}"
        )
    factors = _window("istft", window, n_fft, win_length, spectrum.real)
    columns = (spectrum if spectrum.ndim == 3 else spectrum.unsqueeze(0)).transpose(1, 2)
    norm = "ortho" if normalized else None
    if return_complex:
        pieces = fft.ifft(columns, dim=-1, norm=norm)
    else:  # the other half of a real signal's spectrum says nothing new
        pieces = fft.irfft(columns[..., : n_fft // 2 + 1], n_fft, dim=-1, norm=norm)
    total = n_fft + hop * (frames - 1)

    def added_up(x: Tensor) -> Tensor:  # (B, frames, n_fft) as overlapping pieces of (B, T)
        return fold(x.transpose(1, 2), (1, total), (1, n_fft), stride=(1, hop)).reshape(len(x), total)

    signal = added_up(pieces * factors)
    weight = added_up((factors * factors).expand(1, frames, n_fft))
    start = n_fft // 2 if center else 0
    end = min(total, start + length) if length is not None else total - n_fft // 2 if center else total
    signal, weight = signal[:, start:end], weight[:, start:end]
    if not bool((weight.abs() > 1e-11).all()):
        raise RuntimeError(
            "istft: window overlap add min is 0: the windows of the pieces leave out a point of the signal"
        )
    signal = signal / weight
    if length is not None and signal.shape[1] < length:
        signal = pad(signal, (0, length - signal.shape[1]))
    return signal if spectrum.ndim == 3 else signal.squeeze(0)


__all__ = ["istft", "stft"]
