"""Convolution in one, two and three spatial dimensions, its transpose, and the windows that it looks through.

The numbers of a convolution y of x with a weight w, and a gradient g of the shape of y, make one form that is linear
in each of the three:

    <g, y> = sum of g[o, p] w[o, c, k] x[c, stride p + dilation k - padding]    over every o, c, p and k

Leave out g, and the sum is the convolution; leave out x, and it is the transposed convolution; leave out w, and it is
the gradient of the weight. So the derivative of each of these three operations is made of the other two, at every order.

Letters: B batch, C and O channels of x and y, G groups, S spatial sizes of x, K of the weight, P of y, L windows.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

from ..autograd.engine import sum_along
from ..autograd.op import Op
from ..kernels import convolution as kernels
from ..tensor import Tensor
from ..testing.samples import Sample, samples
from .padding import ConstantPad

Sizes = tuple[int, ...]


class Geometry(NamedTuple):
    """How the windows lie: three tuples of one number per spatial dimension, and the number of groups of channels."""

    stride: Sizes
    padding: Sizes
    dilation: Sizes
    groups: int


class Convolution(Op):
    """x (B, C, *S) convolved with weight (O, C / G, *K), plus bias (O,): (B, O, *P)."""

    complex_rule = True
    has_bfloat16_kernel = has_bfloat16_rule = True
    precision = "half"
    kept_for = {"x": "weight", "weight": "x"}

    def forward(self, x: Any, weight: Any, bias: Any, *, geometry: Geometry) -> Any:
        self.shape, self.kernel, self.geometry = x.shape, weight.shape, geometry
        return kernels.conv_forward(x, weight, bias, *geometry)

    def backward(self, g: Any, x: Any, weight: Any) -> Any:
        wants_x, wants_weight, wants_bias = self.edges
        dx = kernels.conv_backward_input(g, weight, None, self.shape, *self.geometry) if wants_x else None
        if not wants_weight:
            return dx, None, _bias_gradient(g) if wants_bias else None
        return dx, *kernels.conv_backward_weight(g, x, self.kernel, *self.geometry)

    def composite(self, g: Any, x: Any, weight: Any) -> Any:
        wants_x, wants_weight, wants_bias = self.edges
        return (
            TransposedConvolution.apply(g, weight, None, size=self.shape[2:], geometry=self.geometry)
            if wants_x
            else None,
            WeightGradient.apply(x, g, kernel=self.kernel[2:], geometry=self.geometry) if wants_weight else None,
            _bias_gradient(g) if wants_bias else None,
        )


class TransposedConvolution(Op):
    """y (B, O, *P) taken back through weight (O, C / G, *K), plus bias (C,): (B, C, *size)."""

    complex_rule = True
    has_bfloat16_kernel = has_bfloat16_rule = True
    precision = "half"
    kept_for = {"y": "weight", "weight": "y"}

    def forward(self, y: Any, weight: Any, bias: Any, *, size: Sizes, geometry: Geometry) -> Any:
        self.kernel, self.geometry = weight.shape[2:], geometry
        shape = (y.shape[0], weight.shape[1] * geometry.groups, *size)
        return kernels.conv_backward_input(y, weight, bias, shape, *geometry)

    def backward(self, g: Any, y: Any, weight: Any) -> Any:
        wants_y, wants_weight, wants_bias = self.edges
        return (
            Convolution.apply(g, weight, None, geometry=self.geometry) if wants_y else None,
            WeightGradient.apply(g, y, kernel=self.kernel, geometry=self.geometry) if wants_weight else None,
            _bias_gradient(g) if wants_bias else None,
        )


class WeightGradient(Op):
    """What x (B, C, *S) and y (B, O, *P) have in common, tap by tap: (O, C / G, *kernel)."""

    complex_rule = True
    has_bfloat16_kernel = has_bfloat16_rule = True
    kept_for = {"x": "y", "y": "x"}

    def forward(self, x: Any, y: Any, *, kernel: Sizes, geometry: Geometry) -> Any:
        self.size, self.geometry = x.shape[2:], geometry
        shape = (y.shape[1], x.shape[1] // geometry.groups, *kernel)
        return kernels.conv_backward_weight(y, x, shape, *geometry)[0]

    def backward(self, g: Any, x: Any, y: Any) -> Any:
        wants_x, wants_y = self.edges
        return (
            TransposedConvolution.apply(y, g, None, size=self.size, geometry=self.geometry) if wants_x else None,
            Convolution.apply(x, g, None, geometry=self.geometry) if wants_y else None,
        )


def _bias_gradient(g: Any) -> Any:
    return sum_along(g, (0, *range(2, g.ndim)), False)


PLAIN = Geometry((1, 1), (0, 0), (1, 1), 1)
SPREAD = Geometry((2, 1), (1, 2), (1, 2), 1)
GROUPED = Geometry((1,), (1,), (1,), 2)


@samples(Convolution)
def _(make: Any) -> Any:
    yield Sample(make(2, 3, 5, 4), make(2, 3, 3, 2), make(2), geometry=PLAIN)
    yield Sample(make(1, 2, 6, 5), make(3, 2, 3, 2), None, geometry=SPREAD, note="the last row is in no window")
    yield Sample(make(2, 4, 5), make(6, 2, 3), make(6), geometry=GROUPED, note="groups")
    yield Sample(make(1, 2, 2, 3, 3), make(1, 2, 2, 1, 2), None, geometry=Geometry((1,) * 3, (0,) * 3, (1,) * 3, 1))
    yield Sample(make(0, 3, 4, 4), make(2, 3, 3, 3), make(2), geometry=PLAIN, note="no batch")


@samples(TransposedConvolution)
def _(make: Any) -> Any:
    yield Sample(make(2, 2, 3, 3), make(2, 3, 3, 2), make(3), size=(5, 4), geometry=PLAIN)
    yield Sample(make(1, 3, 3, 7), make(3, 2, 3, 2), None, size=(6, 5), geometry=SPREAD, note="zeros in the last row")
    yield Sample(make(2, 6, 5), make(6, 2, 3), make(4), size=(5,), geometry=GROUPED, note="groups")
    yield Sample(make(0, 2, 2, 2), make(2, 3, 3, 3), make(3), size=(4, 4), geometry=PLAIN, note="no batch")


@samples(WeightGradient)
def _(make: Any) -> Any:
    yield Sample(make(2, 3, 5, 4), make(2, 2, 3, 3), kernel=(3, 2), geometry=PLAIN)
    yield Sample(make(1, 2, 6, 5), make(1, 3, 3, 7), kernel=(3, 2), geometry=SPREAD)
    yield Sample(make(2, 4, 5), make(2, 6, 5), kernel=(3,), geometry=GROUPED, note="groups")
    yield Sample(make(0, 3, 4, 4), make(0, 2, 2, 2), kernel=(3, 3), geometry=PLAIN, note="no batch: zeros")


class Unfold(Op):
    """The windows of x (B, C, *S) as columns (B, C K, L)."""

    complex_rule = True

    def forward(self, x: Any, *, windows: Any) -> Any:
        self.size, self.windows = x.shape[2:], windows
        return kernels.unfold(x, *windows)

    def backward(self, g: Any) -> Any:
        return Fold.apply(g, size=self.size, windows=self.windows)


class Fold(Op):
    """Columns (B, C K, L) added up where the windows overlap: (B, C, *size)."""

    complex_rule = True

    def forward(self, x: Any, *, size: Sizes, windows: Any) -> Any:
        self.windows = windows
        return kernels.fold(x, size, *windows)

    def backward(self, g: Any) -> Any:
        return Unfold.apply(g, windows=self.windows)


@samples(Unfold)
def _(make: Any) -> Any:
    yield Sample(make(2, 3, 4, 5), windows=((2, 3), (1, 1), (0, 0), (1, 1)))
    yield Sample(make(1, 2, 5, 5), windows=((2, 2), (2, 1), (1, 0), (1, 2)), note="stride, padding and dilation")
    yield Sample(make(0, 2, 3, 3), windows=((2, 2), (1, 1), (0, 0), (1, 1)), note="no batch")


@samples(Fold)
def _(make: Any) -> Any:
    yield Sample(make(2, 18, 9), size=(4, 5), windows=((2, 3), (1, 1), (0, 0), (1, 1)))
    yield Sample(make(1, 8, 9), size=(5, 5), windows=((2, 2), (2, 1), (1, 0), (1, 2)))


# ---------------------------------------------------------------------------------------------------------------------
# Arguments


def per_dimension(name: str, what: str, value: Any, n: int) -> Sizes:
    """One number for all spatial dimensions, or one for each."""
    if value.__class__ is int:
        return (value,) * n
    if not isinstance(value, Sequence):
        return (int(value),) * n
    sizes = tuple(int(v) for v in value)
    if len(sizes) not in (1, n):
        raise RuntimeError(
            f"{name}: expected {what} to be a single integer value or a list of {n} values to match the {n} spatial "
            f"dimensions, but got {what}={list(sizes)}"
        )
    return sizes * n if len(sizes) == 1 else sizes


def at_least(name: str, least: int, **arguments: Sizes) -> None:
    kind = "negative" if least == 0 else "non-positive"
    for what, sizes in arguments.items():
        if min(sizes) < least:
            raise RuntimeError(f"{name}: {kind} {what} is not supported, got {sizes}")


def _check_operands(name: str, n: int, input: Tensor, weight: Tensor, bias: Tensor | None) -> None:
    """The numbers of dimensions and the dtypes."""
    if input.ndim not in (n + 1, n + 2):
        raise RuntimeError(
            f"{name}: Expected {n + 1}D (unbatched) or {n + 2}D (batched) input to {name}, but got input of size: "
            f"{list(input.shape)}"
        )
    if weight.ndim != n + 2:
        raise RuntimeError(
            f"{name}: expected a weight with {n + 2} dimensions, two for channels and {n} for the kernel, "
            f"but got weight of size {list(weight.shape)}"
        )
    at_least(name, 1, kernel_size=tuple(weight.shape[2:]))
    for what, other in (("weight", weight), ("bias", bias)):
        if other is not None and other.array.dtype != input.array.dtype:
            raise RuntimeError(
                f"{name}: Input type ({input.dtype}) and {what} type ({other.dtype}) should be the same; "
                "convert one of them with to()"
            )


def _check_channels(
    name: str, weight: Tensor, bias: Tensor | None, groups: int, channels: int, wanted: int, out_channels: int
) -> None:
    """`groups` divides the weight; the input has the channels `wanted`, the bias the `out_channels`."""
    size = list(weight.shape)
    if groups <= 0:
        raise RuntimeError(f"{name}: non-positive groups is not supported, got {groups}")
    if size[0] < groups or size[0] % groups:
        raise RuntimeError(
            f"{name}: Given groups={groups}, expected weight to be divisible by {groups} at dimension 0 and not empty, "
            f"but got weight of size {size} instead"
        )
    if channels != wanted:
        raise RuntimeError(
            f"{name}: Given groups={groups}, weight of size {size}, expected input to have {wanted} channels, "
            f"but got {channels} channels instead"
        )
    if bias is not None and tuple(bias.shape) != (out_channels,):
        raise RuntimeError(
            f"{name}: Given weight of size {size}, expected bias to be 1-dimensional with {out_channels} elements, "
            f"but got bias of size {list(bias.shape)} instead"
        )


def batched(x: Tensor, n: int) -> Tensor:
    """x with a batch dimension before its channels and n others."""
    return x if x.ndim == n + 2 else x.reshape(1, *x.shape)


def like(out: Tensor, input: Tensor) -> Tensor:
    """out without the batch dimension, if the input had none."""
    return out.reshape(out.shape[1:]) if input.ndim < out.ndim else out


# ---------------------------------------------------------------------------------------------------------------------
# Convolutions


def _convolve(
    name: str, n: int, input: Tensor, weight: Tensor, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int
) -> Tensor:
    _check_operands(name, n, input, weight, bias)
    out_channels, group_channels = weight.shape[:2]
    _check_channels(name, weight, bias, groups, input.shape[-n - 1], group_channels * groups, out_channels)
    kernel = tuple(weight.shape[2:])
    stride = per_dimension(name, "stride", stride, n)
    dilation = per_dimension(name, "dilation", dilation, n)
    at_least(name, 1, stride=stride, dilation=dilation)
    x = batched(input, n)
    if isinstance(padding, str):
        x, padding = _named_padding(name, x, padding, kernel, stride, dilation)
    padding = per_dimension(name, "padding", padding, n)
    at_least(name, 0, padding=padding)
    if min(kernels.output_size(x.shape[2:], kernel, stride, padding, dilation)) < 1:
        padded = [size + 2 * p for size, p in zip(x.shape[2:], padding, strict=True)]
        reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
        raise RuntimeError(
            f"{name}: Calculated padded input size per channel: ({times(padded)}). Kernel size: ({times(reach)}). "
            "Kernel size can't be greater than actual input size"
        )
    return like(Convolution.apply(x, weight, bias, geometry=Geometry(stride, padding, dilation, groups)), input)


def _named_padding(name: str, x: Tensor, padding: str, kernel: Sizes, stride: Sizes, dilation: Sizes) -> Any:
    """x and the padding that "valid" or "same" stands for; where the two sides differ, x with the difference added."""
    if padding == "valid":
        return x, 0
    if padding != "same":
        raise RuntimeError(f"{name}: Invalid padding string: {padding!r}; write 'same', 'valid' or a number")
    if max(stride) > 1:
        raise RuntimeError(f"{name}: padding='same' is not supported for strided convolutions, got stride={stride}")
    total = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    if any(t % 2 for t in total):
        x = ConstantPad.apply(x, widths=((0, 0), (0, 0), *((0, t % 2) for t in total)), value=0.0)
    return x, tuple(t // 2 for t in total)


def times(sizes: Sequence[int]) -> str:
    return " x ".join(map(str, sizes))


def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """input (B, C, L) convolved with weight (O, C / groups, K), plus bias (O,); see conv2d."""
    return _convolve("conv1d", 1, input, weight, bias, stride, padding, dilation, groups)


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """input (B, C, H, W) convolved with weight (O, C / groups, KH, KW), plus bias (O,): (B, O, H', W').

    Each output is the sum over a window of the input of its products with the weight, which is not flipped.
    stride: from one window to the next; dilation: from one tap of the weight to the next. padding: zeros added on both
        sides, "valid" for none, "same" for an output of the input's size. Each is one number or one per dimension.
    groups: channels fall into that many groups that do not see each other.
    An input without the batch dimension gives an output without it.
    Raises RuntimeError for sizes and dtypes that do not fit.

    Example:
        >>> conv2d(minidl.ones(1, 3, 8, 8), minidl.ones(5, 3, 3, 3), padding=1).shape
        torch.Size([1, 5, 8, 8])
    """
    return _convolve("conv2d", 2, input, weight, bias, stride, padding, dilation, groups)


def conv3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """input (B, C, D, H, W) convolved with weight (O, C / groups, KD, KH, KW), plus bias (O,); see conv2d."""
    return _convolve("conv3d", 3, input, weight, bias, stride, padding, dilation, groups)


def _convolve_back(
    name: str,
    n: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: int,
    dilation: Any,
) -> Tensor:
    _check_operands(name, n, input, weight, bias)
    in_channels, group_channels = weight.shape[:2]
    _check_channels(name, weight, bias, groups, input.shape[-n - 1], in_channels, group_channels * groups)
    stride, padding, extra, dilation = (
        per_dimension(name, what, value, n)
        for what, value in (
            ("stride", stride),
            ("padding", padding),
            ("output_padding", output_padding),
            ("dilation", dilation),
        )
    )
    at_least(name, 1, stride=stride, dilation=dilation)
    at_least(name, 0, padding=padding, output_padding=extra)
    if any(e >= max(s, d) for e, s, d in zip(extra, stride, dilation, strict=True)):
        raise RuntimeError(
            f"{name}: output padding must be smaller than either stride or dilation, but got "
            f"output_padding={extra}, stride={stride}, dilation={dilation}"
        )
    y = batched(input, n)
    if not all(y.shape[2:]):
        raise RuntimeError(
            f"{name}: Only zero batch or zero channel inputs are supported, but got input shape: {list(y.shape)}"
        )
    each = zip(y.shape[2:], weight.shape[2:], stride, padding, extra, dilation, strict=True)
    size = tuple((m - 1) * s - 2 * p + d * (k - 1) + e + 1 for m, k, s, p, e, d in each)
    if min(size) < 1:
        raise RuntimeError(
            f"{name}: Given input size per channel: ({times(y.shape[2:])}). Calculated output size per channel: "
            f"({times(size)}). Output size is too small"
        )
    if any(e >= s for e, s in zip(extra, stride, strict=True)):  # room for further windows: they hold zeros
        widths = ((0, 0), (0, 0), *((0, e // s) for e, s in zip(extra, stride, strict=True)))
        y = ConstantPad.apply(y, widths=widths, value=0.0)
    geometry = Geometry(stride, padding, dilation, groups)
    return like(TransposedConvolution.apply(y, weight, bias, size=size, geometry=geometry), input)


def conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """input (B, C, L) taken back through weight (C, O / groups, K), plus bias (O,); see conv_transpose2d."""
    return _convolve_back("conv_transpose1d", 1, input, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """input (B, C, H, W) taken back through weight (C, O / groups, KH, KW), plus bias (O,): (B, O, H', W').

    It is the transpose of conv2d with the same weight and arguments, from outputs to inputs: every value is multiplied
    with the weight and added to the window that it stands for. With a stride it makes images larger.
    padding: cut off on both sides. output_padding: rows and columns added at the end; with a stride, conv2d gives
        outputs of one size for inputs of several, and without it the smallest of them is taken.
    Raises RuntimeError for sizes and dtypes that do not fit.
    Source: Zeiler, Krishnan, Taylor and Fergus, "Deconvolutional Networks", 2010.

    Example:
        >>> conv_transpose2d(minidl.ones(1, 3, 4, 4), minidl.ones(3, 5, 2, 2), stride=2).shape
        torch.Size([1, 5, 8, 8])
    """
    return _convolve_back("conv_transpose2d", 2, input, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """input (B, C, D, H, W) taken back through weight (C, O / groups, KD, KH, KW), plus bias; see conv_transpose2d."""
    return _convolve_back("conv_transpose3d", 3, input, weight, bias, stride, padding, output_padding, groups, dilation)


# ---------------------------------------------------------------------------------------------------------------------
# Windows


def _window_arguments(name: str, kernel_size: Any, dilation: Any, padding: Any, stride: Any) -> tuple[Sizes, ...]:
    """(kernel, stride, padding, dilation), checked, each with two numbers."""
    kernel = per_dimension(name, "kernel_size", kernel_size, 2)
    stride = per_dimension(name, "stride", stride, 2)
    padding = per_dimension(name, "padding", padding, 2)
    dilation = per_dimension(name, "dilation", dilation, 2)
    at_least(name, 1, kernel_size=kernel, stride=stride, dilation=dilation)
    at_least(name, 0, padding=padding)
    return kernel, stride, padding, dilation


def _shown(windows: tuple[Sizes, ...]) -> str:
    return ", ".join(
        f"{what}={value}" for what, value in zip(("kernel_size", *Geometry._fields), windows, strict=False)
    )


def unfold(input: Tensor, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Tensor:
    """The windows of images (B, C, H, W) as columns (B, C KH KW, L), the L windows in row-major order.

    A convolution is a matrix product with these columns. Raises RuntimeError for sizes that do not fit.

    Example:
        >>> minidl.nn.functional.unfold(minidl.ones(1, 3, 5, 5), 3).shape
        torch.Size([1, 27, 9])
    """
    windows = _window_arguments("unfold", kernel_size, dilation, padding, stride)
    if input.ndim not in (3, 4) or not all(input.shape[-3:]):
        raise RuntimeError(
            "unfold: Expected 3D or 4D (batch mode) tensor with possibly 0 batch size and other non-zero dimensions for "
            f"input, but got: {list(input.shape)}"
        )
    x = batched(input, 2)
    positions = kernels.output_size(tuple(x.shape[2:]), *windows)
    if min(positions) < 1:
        raise RuntimeError(
            f"unfold: Given input with spatial size {tuple(x.shape[2:])}, {_shown(windows)}, calculated shape of the "
            f"array of sliding blocks as {positions}, but its components must be at least one"
        )
    out = Unfold.apply(x, windows=windows)
    return out if x is input else out.reshape(out.shape[1:])


def fold(
    input: Tensor, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Tensor:
    """Columns (B, C KH KW, L) added up as windows of images (B, C, H, W), of output_size (H, W): unfold's transpose.

    Values that overlap are added: fold(unfold(x)) is x times the number of windows that each value lies in.
    Raises RuntimeError for sizes that do not fit.

    Example:
        >>> minidl.nn.functional.fold(minidl.ones(1, 12, 9), (4, 4), 2).shape
        torch.Size([1, 3, 4, 4])
    """
    windows = _window_arguments("fold", kernel_size, dilation, padding, stride)
    size = per_dimension("fold", "output_size", output_size, 2)
    if input.ndim not in (2, 3) or not all(input.shape[-2:]):
        raise RuntimeError(
            "fold: Expected 2D or 3D (batch mode) tensor for input with possibly 0 batch size and non-zero dimensions, "
            f"but got: {list(input.shape)}"
        )
    rows, count = input.shape[-2:]
    if rows % prod(windows[0]):
        raise RuntimeError(
            f"fold: Expected size of input's dimension 1 to be divisible by the product of kernel_size, but got "
            f"input.size(1)={rows} and kernel_size={windows[0]}"
        )
    positions = kernels.output_size(size, *windows)
    if min(positions) < 1 or prod(positions) != count:
        raise RuntimeError(
            f"fold: Given output_size={size}, {_shown(windows)}, expected size of input's dimension 2 to match the "
            f"calculated number of sliding blocks {times(positions)} = {prod(positions)}, but got input.size(2)={count}"
        )
    x = input if input.ndim == 3 else input.reshape(1, *input.shape)
    out = Fold.apply(x, size=size, windows=windows)
    return out if x is input else out.reshape(out.shape[1:])


__all__ = ["conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"]
