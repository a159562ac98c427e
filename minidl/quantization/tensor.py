"""QTensor: integers, and the scale and zero point that say which floats they stand for.

    value = (integer - zero_point) * scale

One scale for the whole tensor, or one for each channel of an axis. A *symmetric* scheme has the zero point in the middle of the
integers, an *affine* one puts it where the range of the values needs it; 0 is always an integer, so that zeros, of padding or
after ReLU, are exact.

Sources: Jacob and others, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", 2018;
Krishnamoorthi, "Quantizing deep convolutional networks for efficient inference", 2018.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from .. import devices
from ..autograd.op import SparseOperand, wrap
from ..dtypes import QUANTIZED, qint8, quantized_dtype, quint4x2
from ..kernels import int8
from ..kernels import quantize as kernels
from ..kernels.qlinear import Weights
from ..sparse.tensor import _asking
from ..tensor import Size, Tensor


class qscheme:
    """How scales and zero points are shared and chosen: a name, such as `minidl.per_tensor_affine`."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"torch.{self.name}"

    def __reduce__(self) -> str:
        return self.name  # pickled by reference: there is one object of each


per_tensor_affine = qscheme("per_tensor_affine")
per_tensor_symmetric = qscheme("per_tensor_symmetric")
per_channel_affine = qscheme("per_channel_affine")
per_channel_symmetric = qscheme("per_channel_symmetric")
per_channel_affine_float_qparams = qscheme("per_channel_affine_float_qparams")  # zero points are floats: 0 is not exact


class QTensor(Tensor):
    """A quantized tensor: `integers`, an array, with `scale` and `zero_point`, arrays without dimensions or, with `axis`, (C,).

    It is no part of any graph. Operations that do not look at values (reshape, transpose, indexing), ReLU and pooling run on
    it, and linear() and embedding() with quantized weights; every other raises TypeError until dequantize() is called.

    Example:
        >>> q = minidl.quantize_per_tensor(minidl.tensor([-1.0, 0.0, 2.0]), 0.1, 10, minidl.quint8)
        >>> q.int_repr(), q.dequantize()
        (tensor([ 0, 10, 30], dtype=torch.uint8), tensor([-1.,  0.,  2.]))
    """

    __slots__ = ("axis", "integers", "kind", "packed", "scale", "zero_point")

    axis: int | None  # of the channels
    integers: Any
    kind: quantized_dtype
    packed: Weights | int8.Weights | None  # what `weights` made, or on a GPU `weights_on_gpu`
    scale: Any
    zero_point: Any

    def __new__(
        cls, integers: Any, scale: Any, zero_point: Any, kind: quantized_dtype, axis: int | None = None
    ) -> QTensor:
        t: Any = super().__new__(cls)
        t.integers, t.kind, t.axis = integers, kind, axis
        t.scale = np.asarray(scale, np.float32)
        zero_point = np.asarray(zero_point)
        t.zero_point = zero_point.astype(np.float32 if zero_point.dtype.kind == "f" else np.int32)
        t.packed = None
        return t

    def __init__(self, *parts: Any, **named: Any) -> None:
        """Made by minidl.quantize_per_tensor and the like, which check what they are given."""

    # -- what it is ----------------------------------------------------------------------------------------------------

    @property
    def array(self) -> NoReturn:
        raise SparseOperand(
            f"{_asking()}: not defined for quantized tensors, got {self.dtype} of shape {list(self.shape)}; use dequantize() "
            "first, or a layer of minidl.quantization that takes them"
        )

    @array.setter
    def array(self, value: Any) -> NoReturn:
        raise SparseOperand("a quantized tensor has no array of values that could be replaced; quantize anew")

    @property
    def is_quantized(self) -> bool:
        return True

    @property
    def dtype(self) -> quantized_dtype:
        return self.kind

    @property
    def shape(self) -> Size:
        return Size(self.integers.shape)

    @property
    def ndim(self) -> int:
        return int(self.integers.ndim)

    @property
    def device(self) -> devices.device:
        return devices.of_array(self.integers)

    @property
    def nbytes(self) -> int:
        return int(self.integers.nbytes)

    @property
    def itemsize(self) -> int:
        return int(self.integers.itemsize)

    def dim(self) -> int:
        """The number of dimensions."""
        return self.ndim

    ndimension = dim

    def numel(self) -> int:
        """The number of elements."""
        return int(self.integers.size)

    nelement = numel

    def element_size(self) -> int:
        """Bytes per element."""
        return self.itemsize

    def __len__(self) -> int:
        return len(self.integers)

    def is_contiguous(self, memory_format: Any = None) -> bool:
        """Whether the integers lie in memory in row-major order without gaps."""
        return bool(self.integers.flags.c_contiguous)

    def is_floating_point(self) -> bool:
        return False

    def is_complex(self) -> bool:
        return False

    def qscheme(self) -> qscheme:
        """How the scales are shared: per_tensor_affine or one of the per_channel schemes."""
        if self.axis is None:
            return per_tensor_affine
        return per_channel_affine_float_qparams if self.zero_point.dtype.kind == "f" else per_channel_affine

    # -- integers and values -------------------------------------------------------------------------------------------

    def int_repr(self) -> Tensor:
        """The integers, as an ordinary tensor on the same memory; those of quint4x2 in a row, as bytes of two each."""
        return wrap(pack_pairs(self.integers.reshape(-1)) if self.kind is quint4x2 else self.integers)

    def dequantize(self) -> Tensor:
        """The values as float32: (integers - zero_point) * scale."""
        if self.device.type == "cuda":
            return self.to("cpu").dequantize().to(self.device)
        scale, zero = (self._along_axis(v) for v in (self.scale, self.zero_point))
        return wrap(np.asarray((self.integers.astype(np.float32) - zero.astype(np.float32)) * scale))

    def _along_axis(self, v: Any) -> Any:
        """v, one number or one for each channel, so that it broadcasts against the integers."""
        return v if self.axis is None else v.reshape([-1 if d == self.axis else 1 for d in range(self.ndim)])

    def q_scale(self) -> float:
        """The scale of a tensor that has one."""
        return float(self._of_tensor("q_scale", self.scale))

    def q_zero_point(self) -> int:
        """The integer that stands for 0, of a tensor that has one."""
        return int(self._of_tensor("q_zero_point", self.zero_point))

    def _of_tensor(self, name: str, value: Any) -> Any:
        if self.axis is not None:
            raise RuntimeError(
                f"{name}: expected a tensor quantized per tensor, got one per channel; see q_per_channel_scales"
            )
        return value

    def q_per_channel_scales(self) -> Tensor:
        """The scales (C,) of a tensor that has one for each channel."""
        return wrap(self._of_channels("q_per_channel_scales", self.scale))

    def q_per_channel_zero_points(self) -> Tensor:
        """The zero points (C,)."""
        return wrap(self._of_channels("q_per_channel_zero_points", self.zero_point))

    def q_per_channel_axis(self) -> int:
        """The axis of the channels."""
        return int(self._of_channels("q_per_channel_axis", self.axis))

    def _of_channels(self, name: str, value: Any) -> Any:
        if self.axis is None:
            raise RuntimeError(
                f"{name}: expected a tensor quantized per channel, got one with a single scale; see q_scale"
            )
        return value

    def like(self, integers: Any) -> QTensor:
        """Other integers with the same scale, which must be one for the whole tensor."""
        if self.axis is not None:
            raise RuntimeError(
                "a tensor quantized per channel keeps its shape: which scales would be those of another? dequantize()"
            )
        return QTensor(integers, self.scale, self.zero_point, self.kind)

    def of_integers(self, function: Callable[[Tensor], Tensor]) -> QTensor:
        """A function that keeps the order of numbers, of the integers in float32, where they are exact: a maximum."""
        found = function(wrap(self.integers.astype(np.float32)))
        return self.like(found.array.astype(self.integers.dtype))

    def of_values(self, function: Callable[[Tensor], Tensor]) -> QTensor:
        """A function of the values, whose result is rounded to the same scale: a mean."""
        return quantize_per_tensor(function(self.dequantize()), self.q_scale(), self.q_zero_point(), self.kind)

    def weights(self) -> Weights:
        """The matrix (N, K), or filters (O, C, *K) as (O, K C), as the kernels take it. It is packed once.

        Raises RuntimeError for what is not int8 with zero points of 0, per tensor or per row.
        """
        if self.packed is None:
            self._check_weights()
            rows = np.moveaxis(self.integers, 1, -1)  # of filters, as `windows` has them
            self.packed = Weights(rows.reshape(len(rows), -1), self.scale)
        return self.packed  # type: ignore[return-value]

    def _check_weights(self) -> None:
        if self.kind is not qint8 or self.axis not in (None, 0) or self.zero_point.any():
            raise RuntimeError(
                f"the weights of a quantized layer are qint8 and symmetric, with one scale or one for each output; got "
                f"{self.dtype}, {self.qscheme()}"
            )

    def weights_on_gpu(self) -> int8.Weights:
        """The matrix (N, K), on a GPU, as gemm_int8 takes it. It is made once. Raises as `weights`."""
        if self.packed is None:
            self._check_weights()
            self.packed = int8.weights(self.integers, self.scale)
        return self.packed  # type: ignore[return-value]  # the device of a tensor does not change

    # -- copies, files, text -------------------------------------------------------------------------------------------

    def __getitem__(self, index: Any) -> QTensor:
        parts = index if isinstance(index, tuple) else (index,)
        return self.like(np.asarray(self.integers[tuple(p.array if isinstance(p, Tensor) else p for p in parts)]))

    def view(self, *shape: Any) -> QTensor:
        """The same integers under another shape."""
        return self.reshape(*shape)

    def contiguous(self, memory_format: Any = None) -> QTensor:
        """The tensor with its integers in row-major order."""
        return self if self.integers.flags.c_contiguous else self._copy(np.ascontiguousarray(self.integers))

    def _copy(self, integers: Any) -> QTensor:
        return QTensor(integers, self.scale, self.zero_point, self.kind, self.axis)

    def detach(self) -> QTensor:
        """The tensor itself: it is in no graph."""
        return self

    def clone(self, memory_format: Any = None) -> QTensor:
        """A copy."""
        return self._copy(self.integers.copy())

    def to(self, *args: Any, **kwargs: Any) -> QTensor:
        """The tensor itself, or a qint8 one, as weights are, on another device. Raises RuntimeError for another dtype or kind.

        On a GPU it is what a linear layer with float inputs multiplies with, and nothing else.
        """
        target = self.device
        for arg in (*args, *kwargs.values()):
            if arg in (self.kind, None) or isinstance(arg, bool):
                continue
            place = devices.device(arg) if isinstance(arg, (str, devices.device)) else None
            if place is None or (place.type != "cpu" and self.kind is not qint8):
                raise RuntimeError(
                    f"to: quantized tensors stay {self.dtype} on the CPU, got {arg!r}; use dequantize() first"
                )
            target = place
        return self if target == self.device else self._copy(devices.move(self.integers, target))

    def copy_(self, other: Tensor, non_blocking: bool = False) -> QTensor:
        """Take over integers, scale and zero point of another quantized tensor of the same shape and dtype."""
        if not isinstance(other, QTensor) or (other.shape, other.kind) != (self.shape, self.kind):
            raise RuntimeError(
                f"copy_: expected {self.dtype} of shape {list(self.shape)}, got {other.dtype} of {list(other.shape)}; "
                "quantize it in the same way first"
            )
        for name in ("integers", "scale", "zero_point", "axis"):
            setattr(self, name, getattr(other, name))
        self.packed = None
        return self

    def parts(self) -> dict[str, Any]:
        """What a file holds of it, and of_parts takes."""
        return {
            "integers": wrap(self.integers), "scale": wrap(self.scale), "zero_point": wrap(self.zero_point), "dtype": self.kind,
            "axis": self.axis,
        }  # fmt: skip

    def __repr__(self) -> str:
        scale = (
            f"scale={self.q_scale():.6g}, zero_point={self.q_zero_point()}"
            if self.axis is None
            else f"axis={self.axis}"
        )
        text = f"{self.dequantize()!r}"[:-1]
        return f"{text}, size={tuple(self.shape)}, dtype={self.dtype}, quantization_scheme={self.qscheme()}, {scale})"

    def __format__(self, spec: str) -> str:
        return object.__format__(self, spec)

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return QTensor, (self.integers, self.scale, self.zero_point, self.kind, self.axis)

    def __deepcopy__(self, memo: dict[int, Any]) -> QTensor:
        memo[id(self)] = result = self.clone()
        return result


def of_parts(integers: Tensor, scale: Tensor, zero_point: Tensor, dtype: Any, axis: int | None) -> QTensor:
    """A quantized tensor from what `parts` gave, out of a file. Raises ValueError where it does not fit together."""
    if (
        not isinstance(dtype, quantized_dtype)
        or integers.array.dtype != dtype.integers
        or scale.shape != zero_point.shape
    ):
        raise ValueError(
            f"a quantized tensor of {dtype} with integers of {integers.dtype} and scales {list(scale.shape)}"
        )
    if tuple(scale.shape) != (() if axis is None else (integers.shape[axis],)):
        raise ValueError(
            f"a quantized tensor of shape {list(integers.shape)} with axis {axis} and scales {list(scale.shape)}"
        )
    return QTensor(integers.array, scale.array, zero_point.array, dtype, axis)


# ---------------------------------------------------------------------------------------------------------------------
# From floats


SMALLEST = np.finfo(np.float32).tiny  # below it 1 / scale may be infinite


def quantize_per_tensor(input: Tensor, scale: Any, zero_point: Any, dtype: quantized_dtype) -> QTensor:
    """round(input / scale) + zero_point in integers of `dtype` (qint8, quint8, qint32); what does not fit saturates.

    Halves are rounded to the even integer. Infinities saturate; ValueError for NaN, which has no integer.
    Raises RuntimeError for a scale that is not positive and finite, or a zero point that is not an integer of the dtype.
    """
    return quantized(input, scale, zero_point, dtype, None, "quantize_per_tensor")


def quantize_per_channel(
    input: Tensor, scales: Tensor, zero_points: Tensor, axis: int, dtype: quantized_dtype
) -> QTensor:
    """quantize_per_tensor with a scale and a zero point (C,) for each slice along `axis`.

    Zero points may be floats (per_channel_affine_float_qparams): they are added before rounding, and 0 is not exact then.
    """
    return quantized(input, scales, zero_points, dtype, axis, "quantize_per_channel")


def quantize_per_tensor_dynamic(input: Tensor, dtype: quantized_dtype, reduce_range: bool = False) -> QTensor:
    """quantize_per_tensor with the scale that the smallest and the largest element need.

    reduce_range: use half of the integers. Raises ValueError for NaN or infinity.
    """
    low, high = limits(dtype, reduce_range)
    smallest, largest = kernels.finite_range(input.array)
    scale, zero_point = affine(smallest, largest, low, high)
    return quantized(input, scale, zero_point, dtype, None, "quantize_per_tensor_dynamic", low, high)


def limits(dtype: quantized_dtype, reduce_range: bool = False) -> tuple[int, int]:
    """The smallest and the largest integer of a dtype, or of half of it."""
    return (dtype.low // 2, dtype.high // 2) if reduce_range else (dtype.low, dtype.high)


def affine(low: float, high: float, first: int, last: int) -> tuple[Any, Any]:
    """Scale and zero point by which the range from low <= 0 to high >= 0 covers the integers from first to last."""
    scale = np.float32((high - low) / (last - first))
    if scale < np.finfo(np.float32).tiny:  # all is 0, or as good as 0
        scale = np.float32(1)
    return scale, np.int32(min(max(first - round(low / float(scale)), first), last))


def quantized(
    input: Tensor, scale: Any, zero_point: Any, dtype: Any, axis: int | None, name: str, low: int | None = None,
    high: int | None = None,
) -> QTensor:  # fmt: skip
    """A tensor in integers from low to high (default: all of the dtype), after a look at the arguments."""
    if not isinstance(dtype, quantized_dtype):
        raise RuntimeError(
            f"{name}: expected one of {', '.join(map(repr, QUANTIZED.values()))} as dtype, got {dtype!r}"
        )
    if not isinstance(input, Tensor) or input.is_quantized or input.array.dtype.kind != "f":
        got = input.dtype if isinstance(input, Tensor) else type(input).__name__
        raise RuntimeError(f"{name}: expected a tensor of floats, got {got}")
    if input.is_cuda:
        raise RuntimeError(f"{name}: quantized tensors are on the CPU, got one on {input.device}; use cpu() first")
    first, last = limits(dtype)
    scale, zero = (
        np.asarray(getattr(scale, "array", scale), np.float32),
        np.asarray(getattr(zero_point, "array", zero_point)),
    )
    if not (np.isfinite(scale) & (scale >= SMALLEST)).all():
        raise RuntimeError(
            f"{name}: scales are positive and finite, from {SMALLEST} on, got {scale.min()} to {scale.max()}"
        )
    if zero.dtype.kind != "f" and ((zero < first) | (zero > last)).any():
        raise RuntimeError(
            f"{name}: zero points of {dtype} are from {first} to {last}, got {zero.min()} to {zero.max()}"
        )
    zero = zero.astype(np.float32 if zero.dtype.kind == "f" else np.int32)
    if axis is not None:
        axis = axis % input.ndim if -input.ndim <= axis < input.ndim else axis
        if not 0 <= axis < input.ndim or not scale.shape == zero.shape == (input.shape[axis],):
            raise RuntimeError(
                f"{name}: expected {input.shape[axis] if axis < input.ndim else 'an axis for'} scales and zero points along axis "
                f"{axis} of {list(input.shape)}, got {list(scale.shape)} and {list(zero.shape)}"
            )
    elif scale.size != 1 or zero.size != 1 or zero.dtype.kind == "f":
        raise RuntimeError(f"{name}: expected one scale and an integer zero point, got {scale} and {zero}")
    else:
        scale, zero = scale.reshape(()), zero.reshape(())
    low, high = first if low is None else low, last if high is None else high
    return QTensor(integers_of(input.array, scale, zero, axis, low, high, dtype.integers), scale, zero, dtype, axis)


def integers_of(x: Any, scale: Any, zero: Any, axis: int | None, low: int, high: int, dtype: Any) -> Any:
    """The integers of an array, of its shape."""
    if axis is None:
        rows = np.ascontiguousarray(x).reshape(1, -1)
        return kernels.quantize(rows, scale, zero, low, high, dtype, rows.shape[1]).reshape(x.shape)
    moved = np.moveaxis(x, axis, 0)
    rows = moved.reshape(len(moved), -1)
    q = kernels.quantize(rows, scale[:, None], zero[:, None], low, high, dtype, rows.shape[1])
    return np.ascontiguousarray(np.moveaxis(q.reshape(moved.shape), 0, axis))


def pack_pairs(integers: Any) -> Any:
    """Integers from 0 to 15 (*, D) in bytes (*, D / 2), rounded up: the first of two in the low half."""
    even, odd = integers[..., ::2], integers[..., 1::2]
    packed = even.copy()
    packed[..., : odd.shape[-1]] |= odd << 4
    return packed


def unpack_pairs(packed: Any, count: int) -> Any:
    """The integers (*, count) of such bytes."""
    pairs = np.stack([packed & 15, packed >> 4], -1)
    return pairs.reshape(*packed.shape[:-1], -1)[..., :count]


# ---------------------------------------------------------------------------------------------------------------------
# The methods of quantized tensors as functions


def of_quantized(name: str) -> Callable[[Any], Any]:
    """The function that calls a method of quantized tensors, and refuses others."""

    def function(input: Any) -> Any:
        if not isinstance(input, QTensor):
            raise RuntimeError(
                f"{name}: expected a quantized tensor, got {getattr(input, 'dtype', type(input).__name__)}"
            )
        return getattr(input, name)()

    function.__name__ = function.__qualname__ = name
    function.__doc__ = getattr(QTensor, name).__doc__
    return function


int_repr, q_scale, q_zero_point = map(of_quantized, ("int_repr", "q_scale", "q_zero_point"))
q_per_channel_scales, q_per_channel_zero_points, q_per_channel_axis = map(
    of_quantized, ("q_per_channel_scales", "q_per_channel_zero_points", "q_per_channel_axis")
)


def dequantize(input: Any) -> Any:
    """The values of a quantized tensor as float32, or of each of several."""
    if isinstance(input, (list, tuple)):
        return tuple(dequantize(t) for t in input)
    return of_quantized("dequantize")(input)
