"""Convolution and its gradients, unfold and fold."""

from __future__ import annotations

from typing import Any

from ...kernels.convolution import conv_backward_input, conv_backward_weight, conv_forward, fold, unfold
from .registry import Machine, Work, versions, workload


def _images(m: Machine, batch: int, channels: int, size: int, groups: int, half: bool) -> tuple[Any, Any, Any]:
    """x, a weight of 3 x 3 and the gradient of the result; padding is 1."""
    batch, channels, size = m.many(batch, 2), m.many(channels, 9), m.many(size, 9)
    x, g = (m.normal(batch, channels, size, size, half=half) for _ in range(2))
    each = channels // min(groups, channels)
    return x, (m.normal(channels, each, 3, 3) / (9 * each) ** 0.5).astype(x.dtype), g


CONVOLUTIONS = {
    "128 x 64 x 56 x 56, 64 of 3 x 3": (128, 64, 56, 1, False),
    "128 x 64 x 56 x 56, 64 of 3 x 3, float16": (128, 64, 56, 1, True),
    "32 x 512 x 14 x 14, 512 of 3 x 3": (32, 512, 14, 1, False),
    "64 x 256 x 28 x 28, 3 x 3 in 256 groups": (64, 256, 28, 256, False),
}


def _convolution(m: Machine, direction: str, batch: int, channels: int, size: int, groups: int, half: bool) -> Work:
    x, w, g = _images(m, batch, channels, size, groups, half)
    groups, around = len(w) // w.shape[1], ((1, 1), (1, 1), (1, 1))
    t, u, v = (m.tensor(a) for a in (x, w, g))
    flops, options = 2 * x.size * w[0].size, {"padding": 1, "groups": groups}
    if direction == "":
        named = versions(conv_forward, x, w, None, *around, groups)
        twin = m.torch and (lambda: m.torch.nn.functional.conv2d(t, u, **options))
    elif direction == " backward, input":
        named = versions(conv_backward_input, g, w, None, x.shape, *around, groups)
        twin = m.torch and (lambda: m.torch.nn.grad.conv2d_input(x.shape, u, v, **options))
    else:
        named = versions(conv_backward_weight, g, x, w.shape, *around, groups)
        twin = m.torch and (lambda: m.torch.nn.grad.conv2d_weight(t, w.shape, v, **options))
    return Work(named, twin, flops=flops, half=half, tolerance=1e-2)  # PyTorch may use tf32


for _direction in ("", " backward, input", " backward, weight"):
    for _sizes, _arguments in CONVOLUTIONS.items():
        workload(f"convolution{_direction} {_sizes}", _direction, *_arguments)(_convolution)


@workload("unfold 32 x 64 x 56 x 56, 3 x 3")
def _unfold(m: Machine) -> Work:
    x = m.normal(m.many(32), m.many(64, 5), m.many(56, 9), m.many(56, 9))
    t, geometry = m.tensor(x), ((3, 3), (1, 1), (1, 1), (1, 1))
    twin = m.torch and (lambda: m.torch.nn.functional.unfold(t, 3, padding=1))
    return Work(versions(unfold, x, *geometry), twin, 10 * x.nbytes)


@workload("fold 32 x 64 x 56 x 56, 3 x 3")
def _fold(m: Machine) -> Work:
    size = m.many(56, 9)
    columns = m.normal(m.many(32), m.many(64, 5) * 9, size * size)
    t, geometry = m.tensor(columns), ((size, size), (3, 3), (1, 1), (1, 1), (1, 1))
    twin = m.torch and (lambda: m.torch.nn.functional.fold(t, (size, size), 3, padding=1))
    return Work(versions(fold, columns, *geometry), twin, columns.nbytes * 10 / 9)
