"""The gradients of convolutions as functions: by the input, and by the weight."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..autograd.engine import grad
from ..autograd.grad_mode import enable_grad
from ..ops.convolution import conv1d, conv2d, conv3d
from ..tensor import Tensor


def _by_input(conv: Callable[..., Tensor], name: str) -> Callable[..., Tensor]:
    def function(
        input_size: Any, weight: Tensor, grad_output: Tensor, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
        groups: int = 1,
    ) -> Tensor:  # fmt: skip
        with enable_grad():
            x = weight.new_zeros(tuple(input_size)).requires_grad_()
            out = conv(x, weight, None, stride, padding, dilation, groups)
            return grad(out, x, grad_output, create_graph=weight.requires_grad or grad_output.requires_grad)[0]

    function.__name__ = function.__qualname__ = name
    function.__doc__ = "The gradient by the input, which had the shape input_size, for that of the result, grad_output."
    return function


def _by_weight(conv: Callable[..., Tensor], name: str) -> Callable[..., Tensor]:
    def function(
        input: Tensor, weight_size: Any, grad_output: Tensor, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
        groups: int = 1,
    ) -> Tensor:  # fmt: skip
        with enable_grad():
            w = input.new_zeros(tuple(weight_size)).requires_grad_()
            out = conv(input, w, None, stride, padding, dilation, groups)
            return grad(out, w, grad_output, create_graph=input.requires_grad or grad_output.requires_grad)[0]

    function.__name__ = function.__qualname__ = name
    function.__doc__ = (
        "The gradient by the weight, which had the shape weight_size, for that of the result, grad_output."
    )
    return function


conv1d_input, conv2d_input, conv3d_input = (
    _by_input(conv, f"{conv.__name__}_input") for conv in (conv1d, conv2d, conv3d)
)
conv1d_weight, conv2d_weight, conv3d_weight = (
    _by_weight(conv, f"{conv.__name__}_weight") for conv in (conv1d, conv2d, conv3d)
)

__all__ = ["conv1d_input", "conv1d_weight", "conv2d_input", "conv2d_weight", "conv3d_input", "conv3d_weight"]
