"""Arithmetic, powers, exponentials, trigonometry, rounding, comparison and selection, element by element.

Every rule is the derivative that one finds in a table, times the incoming gradient `g`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import dtypes
from ..autograd import op as _op
from ..autograd.op import Op
from ..kernels import array_module
from ..tensor import Tensor, method
from ..testing.samples import Sample, samples
from .define import public
from .elementwise import floor, log, trunc
from .selection import where

# ---------------------------------------------------------------------------------------------------------------------
# Types


class Cast(Op):
    """The same values in another dtype."""

    def forward(self, x: Any, *, dtype: Any) -> Any:
        self.dtype = x.dtype
        if x.dtype.kind == "c" and dtype.kind != "c":
            x = x.real
        return x.astype(dtype)

    def backward(self, g: Any) -> Any:
        return cast(g, self.dtype)


@samples(Cast)
def _(make: Any) -> Any:
    yield Sample(make(2, 3), dtype=np.dtype(np.float64))


def cast(x: Any, dtype: Any) -> Any:
    """x in a dtype (NumPy's), itself if it has it already."""
    array = x.array if isinstance(x, Tensor) else x
    return x if array.dtype == dtype else Cast.apply(x, dtype=np.dtype(dtype))


_op._cast = cast


class Move(Op):
    """The same values on another device."""

    def forward(self, x: Any, *, device: Any) -> Any:
        from ..devices import move, of_array

        self.device = of_array(x)
        return move(x, device)

    def backward(self, g: Any) -> Any:
        return Move.apply(g, device=self.device)


@samples(Move)
def _(make: Any) -> Any:
    from ..devices import CPU

    yield Sample(make(2, 3), device=CPU)


@method()
def to(input: Tensor, *args: Any, dtype: Any = None, device: Any = None, copy: bool = False, **ignored: Any) -> Tensor:
    """The tensor with another dtype and on another device: x.to(float64), x.to("cuda"), x.to(other). Itself if it is so."""
    from .. import devices

    unknown = set(ignored) - {"non_blocking", "memory_format"}
    if unknown:
        raise TypeError(f"to: unexpected argument {', '.join(sorted(unknown))}")
    for argument in args:
        if isinstance(argument, Tensor):
            dtype, device = argument.dtype, argument.device
        elif isinstance(argument, (str, int, devices.device)) and not isinstance(argument, bool):
            device = argument
        elif isinstance(argument, dtypes.dtype) or argument in (float, int, bool, complex):
            dtype = argument
        elif not isinstance(argument, bool) and argument is not None:
            raise TypeError(f"to: expected a dtype, a device or a tensor, got {argument!r}")
    result = input
    if device is not None and devices.move(input.array, devices.device(device)) is not input.array:
        result = Move.apply(result, device=devices.device(device))
    if dtype is not None:
        result = cast(result, dtypes.as_array_dtype(dtype))
    return result.clone() if copy and result is input else result


def _conversion(name: str, target: dtypes.dtype | None) -> None:
    @method(name)
    def convert(input: Tensor, memory_format: Any = None) -> Tensor:
        return to(input, target)

    convert.__name__ = name
    convert.__doc__ = f"The tensor in {target!r}."


for _name, _target in (
    ("float", dtypes.float32), ("double", dtypes.float64), ("half", dtypes.float16), ("int", dtypes.int32),
    ("long", dtypes.int64), ("short", dtypes.int16), ("char", dtypes.int8), ("byte", dtypes.uint8),
    ("bool", dtypes.bool_),
):  # fmt: skip
    _conversion(_name, _target)


@method("type")
def _type(input: Tensor, dtype: Any = None, non_blocking: bool = False) -> Any:
    """Without an argument the name of the tensor's type ("torch.FloatTensor"), else the tensor in that type."""
    names = {"float32": "Float", "float64": "Double", "float16": "Half", "int64": "Long", "int32": "Int",
             "int16": "Short", "int8": "Char", "uint8": "Byte", "bool": "Bool"}  # fmt: skip
    if dtype is None:
        return f"torch.{names.get(input.dtype.name, input.dtype.name)}Tensor"
    if isinstance(dtype, str):
        by_name = {v: k for k, v in names.items()}
        dtype = dtypes.ALL[by_name[dtype.rpartition(".")[2].removesuffix("Tensor")]]
    return to(input, getattr(dtype, "dtype_of_legacy_type", dtype))


@method()
def type_as(input: Tensor, other: Tensor) -> Tensor:
    """The tensor in the dtype of another."""
    return to(input, other.dtype)


@method()
def cpu(input: Tensor) -> Tensor:
    """The tensor in the CPU's memory."""
    return to(input, device="cpu")


@method()
def cuda(input: Tensor, device: Any = None, non_blocking: bool = False) -> Tensor:
    """The tensor on a GPU. Raises RuntimeError where there is none."""
    return to(input, device="cuda" if device is None else device)


# ---------------------------------------------------------------------------------------------------------------------
# The four operations and powers


class Add(Op):
    """x + y."""

    promotion = "common"
    forward = np.add

    def backward(self, g: Any) -> Any:
        return g, g


class Sub(Op):
    """x - y."""

    promotion = "common"
    forward = np.subtract

    def backward(self, g: Any) -> Any:
        _, wants_y = self.edges
        return g, -g if wants_y else None


class Mul(Op):
    """x y."""

    promotion = "common"
    kept_for = {"x": "y", "y": "x"}
    forward = np.multiply

    def backward(self, g: Any, x: Any, y: Any) -> Any:
        wants_x, wants_y = self.edges
        return g * y if wants_x else None, g * x if wants_y else None


class Div(Op):
    """x / y."""

    promotion = "float"
    kept_for = {"x": "y"}
    forward = np.true_divide

    def backward(self, g: Any, x: Any, y: Any) -> Any:
        wants_x, wants_y = self.edges
        return g / y if wants_x else None, -g * ((x / y) / y) if wants_y else None


class Pow(Op):
    """x to the power y."""

    promotion = "common"

    @staticmethod
    def forward(x: Any, y: Any) -> Any:
        return array_module(x if hasattr(x, "dtype") else y).power(x, y)

    def backward(self, g: Any, x: Any, y: Any) -> Any:
        wants_x, wants_y = self.edges
        dx = dy = None
        if wants_x and not hasattr(y, "shape"):
            dx = g * (y * pow(x, y - 1)) if y else g * 0
        elif wants_x:
            dx = where(y == 0, 0.0, g * y * pow(x, y - 1))
        if wants_y and not hasattr(x, "shape"):
            dy = g * pow(x, y) * _log_of(x)
        elif wants_y:
            dy = where((x == 0) & (y >= 0), 0.0, g * pow(x, y) * log(x))
        return dx, dy


def _log_of(x: float) -> float:
    return math.log(x) if x > 0 else 0.0 if x == 0 else math.nan


for _op_class in (Add, Sub, Mul):

    @samples(_op_class)
    def _(make: Any) -> Any:
        yield Sample(make(2, 3), make(2, 3))
        yield Sample(make(4, 1, 3), make(2, 1), note="broadcasting")
        yield Sample(make(), make(3), note="without dimensions")
        yield Sample(make(2, 3), 2.5, note="a number")


@samples(Div)
def _(make: Any) -> Any:
    yield Sample(make(2, 3), make(2, 3, low=0.5))
    yield Sample(make(4, 1, 3), make(2, 1, low=-2, high=-0.5), note="broadcasting")
    yield Sample(1.0, make(3, low=0.5), note="a number over a tensor")


@samples(Pow)
def _(make: Any) -> Any:
    yield Sample(make(2, 3, low=0.5), make(2, 3))
    yield Sample(make(2, 3), 3.0, note="a number as exponent")
    yield Sample(2.0, make(2, 3), note="a number as base")
    yield Sample(make(2, 3), 0.0, note="exponent 0")


_add, _sub = Add.apply, Sub.apply
mul = public(Mul, "mul", "input * other, element by element, with broadcasting.", "multiply", "__mul__", "__rmul__")
pow = public(Pow, "pow", "input to the power `exponent`, element by element.", "__pow__")
multiply = mul
method("__add__", "__radd__")(_add)
method("__sub__")(_sub)
method("__truediv__")(Div.apply)


def _check_bool_minus(x: Any, y: Any) -> None:
    if any(isinstance(t, Tensor) and t.array.dtype.kind == "b" for t in (x, y)):
        raise RuntimeError(
            "sub: subtraction with a bool tensor is not supported; use logical_xor, or `~` to invert a mask"
        )


@method("add", inplace=True)
def add(input: Any, other: Any, *, alpha: float = 1) -> Tensor:
    """input + alpha * other, element by element, with broadcasting."""
    return _add(input, other if alpha == 1 else mul(other, alpha))


@method("sub", "subtract", inplace=True)
def sub(input: Any, other: Any, *, alpha: float = 1) -> Tensor:
    """input - alpha * other, element by element, with broadcasting."""
    _check_bool_minus(input, other)
    return _sub(input, other if alpha == 1 else mul(other, alpha))


subtract = sub


@method("rsub", "__rsub__")
def rsub(input: Any, other: Any, *, alpha: float = 1) -> Tensor:
    """other - alpha * input."""
    return sub(other, input, alpha=alpha)


@method("__rtruediv__")
def _rdiv(input: Any, other: Any) -> Any:
    return Div.apply(other, input)


@method("__rpow__")
def _rpow(input: Any, other: Any) -> Any:
    return pow(other, input)


@method("div", "divide", "true_divide", inplace=True)
def div(input: Any, other: Any, *, rounding_mode: str | None = None) -> Tensor:
    """input / other; rounding_mode "trunc" rounds towards zero, "floor" down (as Python's //)."""
    if rounding_mode is None:
        return Div.apply(input, other)
    if rounding_mode == "floor":
        return floor_divide(input, other)
    if rounding_mode == "trunc":
        return TruncDivide.apply(input, other)
    raise RuntimeError(f"div expected rounding_mode to be one of None, 'trunc', or 'floor' but found {rounding_mode!r}")


divide = true_divide = div


class FloorDivide(Op):
    """The largest whole number not above x / y; its derivative is 0 everywhere."""

    promotion = "common"

    @staticmethod
    def forward(x: Any, y: Any) -> Any:
        _check_integer_division(x, y)
        quotient = np.floor_divide(x, y)
        if getattr(quotient, "dtype", None) is not None and quotient.dtype.kind == "f":
            exact = np.true_divide(x, y)  # x / 0 is an infinity, where NumPy's floor_divide says NaN or warns
            quotient = np.where(np.isfinite(exact), quotient, exact).astype(quotient.dtype)
        return quotient

    def backward(self, g: Any) -> Any:
        return g * 0.0, g * 0.0


class TruncDivide(Op):
    """x / y rounded towards zero; its derivative is 0 everywhere."""

    promotion = "common"

    @staticmethod
    def forward(x: Any, y: Any) -> Any:
        _check_integer_division(x, y)
        kind = np.result_type(x, y).kind
        if kind == "f":
            return np.trunc(np.true_divide(x, y))
        quotient = np.floor_divide(x, y)
        return quotient + ((np.remainder(x, y) != 0) & ((np.less(x, 0)) != np.less(y, 0)))

    def backward(self, g: Any) -> Any:
        return g * 0.0, g * 0.0


def _check_integer_division(x: Any, y: Any) -> None:
    if np.result_type(x, y).kind in "iu" and np.any(np.equal(y, 0)):
        raise RuntimeError("ZeroDivisionError: an integer tensor was divided by zero; convert it to a float one first")


class Remainder(Op):
    """x - y floor(x / y): the sign is that of y, as for Python's %."""

    promotion = "common"

    @staticmethod
    def forward(x: Any, y: Any) -> Any:
        _check_integer_division(x, y)
        return np.remainder(x, y)

    def backward(self, g: Any, x: Any, y: Any) -> Any:
        _, wants_y = self.edges
        return g, -g * floor(x / y) if wants_y else None


class Fmod(Op):
    """x - y trunc(x / y): the sign is that of x, as for C's fmod."""

    promotion = "common"

    @staticmethod
    def forward(x: Any, y: Any) -> Any:
        _check_integer_division(x, y)
        return np.fmod(x, y)

    def backward(self, g: Any, x: Any, y: Any) -> Any:
        _, wants_y = self.edges
        return g, -g * trunc(x / y) if wants_y else None


for _op_class in (FloorDivide, TruncDivide, Remainder, Fmod):

    @samples(_op_class)
    def _(make: Any) -> Any:
        yield Sample(np.array([5.3, -5.3, 7.1]), np.array([2.0, 2.0, -2.5]))
        yield Sample(np.array([5.3, -5.3, 7.1]), 2.0, note="a number")


floor_divide = public(FloorDivide, "floor_divide", "input / other rounded down, as Python's //.", "__floordiv__")
remainder = public(Remainder, "remainder", "The rest of input / other with the sign of other.", "__mod__")
fmod = public(Fmod, "fmod", "The rest of input / other with the sign of input, as C's fmod.")


@method("__rfloordiv__")
def _rfloordiv(input: Any, other: Any) -> Any:
    return floor_divide(other, input)


@method("__rmod__")
def _rmod(input: Any, other: Any) -> Any:
    return remainder(other, input)


@method(inplace=True)
def addcmul(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:
    """input + value * tensor1 * tensor2."""
    return _add(input, mul(mul(tensor1, tensor2), value) if value != 1 else mul(tensor1, tensor2))


@method(inplace=True)
def addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:
    """input + value * tensor1 / tensor2."""
    if tensor1.array.dtype.kind in "iub" and tensor2.array.dtype.kind in "iub":
        raise RuntimeError("addcdiv: integer division is not supported; convert one of the tensors to a float type")
    quotient = Div.apply(tensor1, tensor2)
    return _add(input, mul(quotient, value) if value != 1 else quotient)


@method(inplace=True)
def lerp(input: Tensor, end: Tensor, weight: Any) -> Tensor:
    """input + weight * (end - input): from `input` (weight 0) to `end` (weight 1)."""
    return _add(input, mul(weight, _sub(end, input)))


__all__ = [
    "add", "addcdiv", "addcmul", "div", "divide", "floor_divide", "fmod", "lerp", "mul", "multiply", "pow",
    "remainder", "rsub", "sub", "subtract", "true_divide",
]  # fmt: skip
