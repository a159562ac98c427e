"""Convolution layers and their transposes, in one, two and three spatial dimensions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from ..tensor import Tensor
from . import functional as F
from . import init
from .lazy import LazyModuleMixin
from .module import Module
from .parameter import Parameter, blank

PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


class _ConvNd(Module):
    """What convolutions and transposed convolutions share: the arguments, the parameters, their printed form."""

    dimensions: ClassVar[int]
    function: ClassVar[Callable[..., Tensor]]
    transposed: ClassVar[bool] = False

    padding: Any  # one number per dimension, "same" or "valid"
    weight: Parameter
    bias: Parameter | None

    def _set_up(
        self,
        channels: tuple[int, int],
        kernel_size: Any,
        stride: Any,
        padding: Any,
        dilation: Any,
        output_padding: Any,
        groups: int,
        bias: bool,
        padding_mode: str,
        device: Any,
        dtype: Any,
    ) -> None:
        self.in_channels, self.out_channels = channels
        self.kernel_size = self._per_dimension("kernel_size", kernel_size)
        self.stride = self._per_dimension("stride", stride)
        self.padding = padding if isinstance(padding, str) else self._per_dimension("padding", padding)
        self.dilation = self._per_dimension("dilation", dilation)
        self.output_padding = self._per_dimension("output_padding", output_padding)
        self.groups, self.padding_mode = groups, padding_mode
        self._check_arguments()
        self.weight = Parameter(blank(*self._weight_shape(), device=device, dtype=dtype))
        self.register_parameter("bias", Parameter(blank(channels[1], device=device, dtype=dtype)) if bias else None)
        self.reset_parameters()

    def _per_dimension(self, what: str, value: Any) -> tuple[int, ...]:
        sizes = tuple(value) if isinstance(value, Sequence) else (value,)
        if len(sizes) == 1:
            sizes *= self.dimensions
        if len(sizes) != self.dimensions:
            raise ValueError(
                f"{type(self).__name__}: {what} must be one number or {self.dimensions} of them, got {value}"
            )
        return sizes

    def _check_arguments(self) -> None:
        if self.groups <= 0:
            raise ValueError("groups must be a positive integer")
        for what, n in (("in_channels", self.in_channels), ("out_channels", self.out_channels)):
            if n % self.groups:
                raise ValueError(f"{what} must be divisible by groups, got {n} channels and {self.groups} groups")
        if isinstance(self.padding, str):
            if self.transposed or self.padding not in ("same", "valid"):
                wanted = "numbers" if self.transposed else "numbers, 'same' or 'valid'"
                raise ValueError(f"Invalid padding string {self.padding!r}, should be {wanted}")
            if self.padding == "same" and max(self.stride) > 1:
                raise ValueError("padding='same' is not supported for strided convolutions")
        if self.padding_mode not in PADDING_MODES:
            raise ValueError(f"padding_mode must be one of {PADDING_MODES}, but got padding_mode={self.padding_mode!r}")
        if self.transposed and self.padding_mode != "zeros":
            raise ValueError(f'Only "zeros" padding mode is supported for {type(self).__name__}')

    def _weight_shape(self) -> tuple[int, ...]:
        first, second = self.out_channels, self.in_channels
        if self.transposed:
            first, second = second, first
        return first, second // self.groups, *self.kernel_size

    def reset_parameters(self) -> None:
        """Draw weight and bias again, uniform in ±1/sqrt(fan_in), the number of values that an output is made of."""
        fan_in = math.prod(self._weight_shape()[1:])
        if fan_in and self.weight.numel():
            init.kaiming_uniform_(self.weight, a=math.sqrt(5))
            if self.bias is not None:
                init.uniform_(self.bias, -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in))

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        zeros, ones = (0,) * self.dimensions, (1,) * self.dimensions
        usual = {"padding": zeros, "dilation": ones, "output_padding": zeros, "groups": 1}
        text += "".join(f", {name}={getattr(self, name)}" for name, v in usual.items() if getattr(self, name) != v)
        if self.bias is None:
            text += ", bias=False"
        return text if self.padding_mode == "zeros" else f"{text}, padding_mode={self.padding_mode}"


class _Conv(_ConvNd):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        channels = (in_channels, out_channels)
        self._set_up(channels, kernel_size, stride, padding, dilation, 0, groups, bias, padding_mode, device, dtype)

    def forward(self, input: Tensor) -> Tensor:
        padding = self.padding
        if self.padding_mode != "zeros":
            input = F.pad(input, self._sides(), mode=self.padding_mode)
            padding = 0
        return type(self).function(input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)

    def _sides(self) -> tuple[int, ...]:
        """The padding as F.pad takes it: before and after, from the last dimension to the first."""
        total = (0,) * self.dimensions
        if self.padding == "same":
            total = tuple(d * (k - 1) for k, d in zip(self.kernel_size, self.dilation, strict=True))
        elif self.padding != "valid":
            total = tuple(2 * p for p in self.padding)
        return tuple(side for t in reversed(total) for side in (t // 2, t - t // 2))


class Conv1d(_Conv):
    """Inputs (B, C, L) convolved with weight (O, C / groups, K), plus bias (O,); see Conv2d."""

    dimensions, function = 1, F.conv1d


class Conv2d(_Conv):
    """Inputs (B, C, H, W) convolved with weight (O, C / groups, KH, KW), plus bias (O,): (B, O, H', W').

    kernel_size, stride, padding, dilation: one number or one per dimension; padding may be "same" or "valid".
    padding_mode: what stands beyond the border: "zeros", or as in functional.pad "reflect", "replicate" or "circular".
    groups: channels fall into that many groups that do not see each other.
    Weight and bias begin uniform in ±1/sqrt(C / groups KH KW).
    Source: LeCun and others, "Gradient-Based Learning Applied to Document Recognition", 1998.

    Example:
        >>> nn.Conv2d(3, 8, kernel_size=3, stride=2, padding=1)(torch.ones(1, 3, 32, 32)).shape
        torch.Size([1, 8, 16, 16])
    """

    dimensions, function = 2, F.conv2d


class Conv3d(_Conv):
    """Inputs (B, C, D, H, W) convolved with weight (O, C / groups, KD, KH, KW), plus bias (O,); see Conv2d."""

    dimensions, function = 3, F.conv3d


class _ConvTransposeNd(_ConvNd):
    transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        channels = (in_channels, out_channels)
        self._set_up(
            channels, kernel_size, stride, padding, dilation, output_padding, groups, bias, padding_mode, device, dtype
        )

    def forward(self, input: Tensor, output_size: Any = None) -> Tensor:
        """output_size: the spatial size of the result, where the stride leaves a choice; it replaces output_padding."""
        extra = self.output_padding if output_size is None else self._output_padding(input, tuple(output_size))
        return type(self).function(
            input, self.weight, self.bias, self.stride, self.padding, extra, self.groups, self.dilation
        )

    def _output_padding(self, input: Tensor, output_size: tuple[int, ...]) -> tuple[int, ...]:
        n = self.dimensions
        if len(output_size) == input.ndim:
            output_size = output_size[-n:]
        if len(output_size) != n:
            raise ValueError(
                f"{type(self).__name__}: for {input.ndim}D input, output_size must have {n} or {input.ndim} elements "
                f"(got {len(output_size)})"
            )
        each = zip(input.shape[-n:], self.kernel_size, self.stride, self.padding, self.dilation, strict=True)
        smallest = [(m - 1) * s - 2 * p + d * (k - 1) + 1 for m, k, s, p, d in each]
        largest = [least + s - 1 for least, s in zip(smallest, self.stride, strict=True)]
        if any(not a <= m <= b for a, m, b in zip(smallest, output_size, largest, strict=True)):
            raise ValueError(
                f"{type(self).__name__}: requested an output size of {output_size}, but valid sizes range from "
                f"{smallest} to {largest} (for an input of {list(input.shape[-n:])})"
            )
        return tuple(m - a for m, a in zip(output_size, smallest, strict=True))


class ConvTranspose1d(_ConvTransposeNd):
    """Inputs (B, C, L) taken back through weight (C, O / groups, K), plus bias (O,); see ConvTranspose2d."""

    dimensions, function = 1, F.conv_transpose1d


class ConvTranspose2d(_ConvTransposeNd):
    """Inputs (B, C, H, W) taken back through weight (C, O / groups, KH, KW), plus bias (O,): (B, O, H', W').

    It is the transpose of a Conv2d from O to C channels with the same weight; with a stride it makes images larger.
    output_padding: rows and columns added at the end of the result. The call takes output_size instead.
    Weight and bias begin uniform in ±1/sqrt(O / groups KH KW).
    Source: Zeiler, Krishnan, Taylor and Fergus, "Deconvolutional Networks", 2010.

    Example:
        >>> nn.ConvTranspose2d(8, 3, kernel_size=2, stride=2)(torch.ones(1, 8, 16, 16)).shape
        torch.Size([1, 3, 32, 32])
    """

    dimensions, function = 2, F.conv_transpose2d


class ConvTranspose3d(_ConvTransposeNd):
    """Inputs (B, C, D, H, W) taken back through weight (C, O / groups, KD, KH, KW), plus bias; see ConvTranspose2d."""

    dimensions, function = 3, F.conv_transpose3d


class _LazyConv(LazyModuleMixin, _ConvNd):
    """A convolution without in_channels, which it reads off the first input; the other arguments are those of the layer."""

    def __init__(self, out_channels: int, *args: Any, **kwargs: Any) -> None:
        super().__init__(0, out_channels, *args, **kwargs)  # type: ignore[call-arg]  # the layer's, next in order
        self._forget_shapes()

    def reset_parameters(self) -> None:
        """Draw weight and bias again, once the input is known."""
        if self.in_channels:
            super().reset_parameters()

    def initialize_parameters(self, input: Tensor, *args: Any, **kwargs: Any) -> None:
        n = self.dimensions
        if input.ndim not in (n + 1, n + 2):
            raise RuntimeError(
                f"{type(self).__name__}: Expected {n + 1}D (unbatched) or {n + 2}D (batched) input, "
                f"but got input of size: {list(input.shape)}"
            )
        self.in_channels = input.shape[-n - 1]
        self._check_arguments()
        if self.has_uninitialized_params():
            self.weight.materialize(self._weight_shape())
            if self.bias is not None:
                self.bias.materialize((self.out_channels,))
            self.reset_parameters()


class LazyConv1d(_LazyConv, Conv1d):
    """A Conv1d that reads in_channels off its first input."""

    cls_to_become = Conv1d


class LazyConv2d(_LazyConv, Conv2d):
    """A Conv2d that reads in_channels off its first input.

    Example:
        >>> nn.LazyConv2d(8, kernel_size=3)(torch.ones(1, 3, 32, 32)).shape
        torch.Size([1, 8, 30, 30])
    """

    cls_to_become = Conv2d


class LazyConv3d(_LazyConv, Conv3d):
    """A Conv3d that reads in_channels off its first input."""

    cls_to_become = Conv3d


class LazyConvTranspose1d(_LazyConv, ConvTranspose1d):
    """A ConvTranspose1d that reads in_channels off its first input."""

    cls_to_become = ConvTranspose1d


class LazyConvTranspose2d(_LazyConv, ConvTranspose2d):
    """A ConvTranspose2d that reads in_channels off its first input."""

    cls_to_become = ConvTranspose2d


class LazyConvTranspose3d(_LazyConv, ConvTranspose3d):
    """A ConvTranspose3d that reads in_channels off its first input."""

    cls_to_become = ConvTranspose3d
