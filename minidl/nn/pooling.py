"""Pooling layers: minidl.nn.functional's functions with their arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from ..tensor import Tensor
from . import functional as F
from .module import Module


class _MaxPoolNd(Module):
    function: ClassVar[Callable[..., Any]]

    def __init__(
        self, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.dilation = padding, dilation
        self.return_indices, self.ceil_mode = return_indices, ceil_mode

    def forward(self, input: Tensor) -> Any:
        return type(self).function(
            input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices
        )

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, dilation={self.dilation}, "
            f"ceil_mode={self.ceil_mode}"
        )


class MaxPool1d(_MaxPoolNd):
    """The largest value of each window of inputs (B, C, L); see MaxPool2d."""

    function = F.max_pool1d


class MaxPool2d(_MaxPoolNd):
    """The largest value of each window of inputs (B, C, H, W): (B, C, H', W').

    stride: by default the window's size. return_indices: also where the values were, for MaxUnpool2d.

    Example:
        >>> nn.MaxPool2d(2)(torch.ones(1, 3, 8, 8)).shape
        torch.Size([1, 3, 4, 4])
    """

    function = F.max_pool2d


class MaxPool3d(_MaxPoolNd):
    """The largest value of each window of inputs (B, C, D, H, W); see MaxPool2d."""

    function = F.max_pool3d


class _MaxUnpoolNd(Module):
    function: ClassVar[Callable[..., Tensor]]
    dimensions: ClassVar[int]

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0) -> None:
        super().__init__()
        self.kernel_size, self.stride, self.padding = (
            v if isinstance(v, tuple) else (v,) * self.dimensions
            for v in (kernel_size, kernel_size if stride is None else stride, padding)
        )

    def forward(self, input: Tensor, indices: Tensor, output_size: Any = None) -> Tensor:
        return type(self).function(input, indices, self.kernel_size, self.stride, self.padding, output_size)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(_MaxUnpoolNd):
    """Values put back where MaxPool1d found them, zeros elsewhere."""

    dimensions, function = 1, F.max_unpool1d


class MaxUnpool2d(_MaxUnpoolNd):
    """Values put back where MaxPool2d found them, zeros elsewhere."""

    dimensions, function = 2, F.max_unpool2d


class MaxUnpool3d(_MaxUnpoolNd):
    """Values put back where MaxPool3d found them, zeros elsewhere."""

    dimensions, function = 3, F.max_unpool3d


class AvgPool1d(Module):
    """The mean of each window of inputs (B, C, L); see AvgPool2d."""

    def __init__(
        self, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        self.kernel_size, self.stride, self.padding = (
            v if isinstance(v, tuple) else (v,)
            for v in (kernel_size, kernel_size if stride is None else stride, padding)
        )
        self.ceil_mode, self.count_include_pad = ceil_mode, count_include_pad

    def forward(self, input: Tensor) -> Tensor:
        return F.avg_pool1d(input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class _AvgPoolNd(Module):
    function: ClassVar[Callable[..., Tensor]]

    def __init__(
        self, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
        count_include_pad: bool = True, divisor_override: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.ceil_mode = padding, ceil_mode
        self.count_include_pad, self.divisor_override = count_include_pad, divisor_override

    def forward(self, input: Tensor) -> Tensor:
        return type(self).function(
            input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad,
            self.divisor_override,
        )  # fmt: skip

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool2d(_AvgPoolNd):
    """The mean of each window of inputs (B, C, H, W): (B, C, H', W').

    count_include_pad: whether the zeros around the input count. divisor_override: divide the sums by this instead.
    """

    function = F.avg_pool2d


class AvgPool3d(_AvgPoolNd):
    """The mean of each window of inputs (B, C, D, H, W); see AvgPool2d."""

    function = F.avg_pool3d


class _LPPoolNd(Module):
    function: ClassVar[Callable[..., Tensor]]

    def __init__(self, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> None:
        super().__init__()
        self.norm_type, self.kernel_size, self.stride, self.ceil_mode = norm_type, kernel_size, stride, ceil_mode

    def forward(self, input: Tensor) -> Tensor:
        return type(self).function(input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode)

    def extra_repr(self) -> str:
        return (
            f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"ceil_mode={self.ceil_mode}"
        )


class LPPool1d(_LPPoolNd):
    """The p-norm of each window of inputs (B, C, L), for p = norm_type."""

    function = F.lp_pool1d


class LPPool2d(_LPPoolNd):
    """The p-norm of each window of inputs (B, C, H, W), for p = norm_type."""

    function = F.lp_pool2d


class LPPool3d(_LPPoolNd):
    """The p-norm of each window of inputs (B, C, D, H, W), for p = norm_type."""

    function = F.lp_pool3d


class _AdaptiveAvgPoolNd(Module):
    function: ClassVar[Callable[..., Tensor]]

    def __init__(self, output_size: Any) -> None:
        super().__init__()
        self.output_size = output_size

    def forward(self, input: Tensor) -> Tensor:
        return type(self).function(input, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(_AdaptiveAvgPoolNd):
    """The means of `output_size` windows that cover inputs (B, C, L) evenly."""

    function = F.adaptive_avg_pool1d


class AdaptiveAvgPool2d(_AdaptiveAvgPoolNd):
    """The means of H' x W' windows that cover inputs (B, C, H, W) evenly; AdaptiveAvgPool2d(1) is the global mean."""

    function = F.adaptive_avg_pool2d


class AdaptiveAvgPool3d(_AdaptiveAvgPoolNd):
    """The means of D' x H' x W' windows that cover inputs (B, C, D, H, W) evenly."""

    function = F.adaptive_avg_pool3d


class _AdaptiveMaxPoolNd(Module):
    function: ClassVar[Callable[..., Any]]

    def __init__(self, output_size: Any, return_indices: bool = False) -> None:
        super().__init__()
        self.output_size, self.return_indices = output_size, return_indices

    def forward(self, input: Tensor) -> Any:
        return type(self).function(input, self.output_size, self.return_indices)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveMaxPool1d(_AdaptiveMaxPoolNd):
    """The largest values of `output_size` windows that cover inputs (B, C, L) evenly."""

    function = F.adaptive_max_pool1d


class AdaptiveMaxPool2d(_AdaptiveMaxPoolNd):
    """The largest values of H' x W' windows that cover inputs (B, C, H, W) evenly."""

    function = F.adaptive_max_pool2d


class AdaptiveMaxPool3d(_AdaptiveMaxPoolNd):
    """The largest values of D' x H' x W' windows that cover inputs (B, C, D, H, W) evenly."""

    function = F.adaptive_max_pool3d


class _FractionalMaxPool(Module):
    function: ClassVar[Callable[..., Any]]

    def __init__(
        self, kernel_size: Any, output_size: Any = None, output_ratio: Any = None, return_indices: bool = False,
        _random_samples: Tensor | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        if (output_size is None) == (output_ratio is None):
            raise ValueError(f"{type(self).__name__} requires specifying either an output size, or a pooling ratio")
        ratios = output_ratio if isinstance(output_ratio, tuple) else (output_ratio,)
        if output_ratio is not None and not all(0 < r < 1 for r in ratios):
            raise ValueError(f"output_ratio must be between 0 and 1 (got {output_ratio})")
        self.kernel_size, self.output_size, self.output_ratio = kernel_size, output_size, output_ratio
        self.return_indices = return_indices
        self.register_buffer("_random_samples", _random_samples)

    def forward(self, input: Tensor) -> Any:
        return type(self).function(
            input, self.kernel_size, self.output_size, self.output_ratio, self.return_indices, self._random_samples
        )


class FractionalMaxPool2d(_FractionalMaxPool):
    """The largest values of windows of inputs (B, C, H, W) at random steps, `output_size` of them (Graham, 2014)."""

    function = F.fractional_max_pool2d


class FractionalMaxPool3d(_FractionalMaxPool):
    """The largest values of windows of inputs (B, C, D, H, W) at random steps; see FractionalMaxPool2d."""

    function = F.fractional_max_pool3d
