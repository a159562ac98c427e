"""The four operations, powers, remainders, and their combinations, element by element."""

from __future__ import annotations

import cmath
import math
from typing import Any

import numpy as np

from .. import dtypes
from ..autograd.op import Op
from ..autograd.precision import in_float32
from ..devices import may_look
from ..kernels import array_module
from ..tensor import Tensor, method
from ..testing.samples import Sample, samples
from .conversion import cast
from .define import public
from .exponential import log
from .indexing import Fill
from .rounding import floor, trunc
from .selection import where


class Add(Op):
    """x + y."""

    complex_rule = True
    has_bfloat16_kernel = has_bfloat16_rule = True  # CuPy's
    promotion = "common"
    forward = np.add

    def backward(self, g: Any) -> Any:
        return g, g


class Sub(Op):
    """x - y."""

    complex_rule = True
    has_bfloat16_kernel = has_bfloat16_rule = True  # CuPy's
    promotion = "common"
    forward = np.subtract

    def backward(self, g: Any) -> Any:
        _, wants_y = self.edges
        return g, -g if wants_y else None


class Mul(Op):
    """x y."""

    complex_rule = keeps_numbers = True
    has_bfloat16_kernel = has_bfloat16_rule = True  # CuPy's
    promotion = "common"
    kept_for = {"x": "y", "y": "x"}
    forward = np.multiply

    def backward(self, g: Any, x: Any, y: Any) -> Any:
        wants_x, wants_y = self.edges
        return g * y if wants_x else None, g * x if wants_y else None


class Div(Op):
    """x / y."""

    complex_rule = keeps_numbers = True
    promotion = "float"
    kept_for = {"x": "y"}
    forward = np.true_divide

    def backward(self, g: Any, x: Any, y: Any) -> Any:
        wants_x, wants_y = self.edges
        return g / y if wants_x else None, -g * ((x / y) / y) if wants_y else None


class Pow(Op):
    """x to the power y."""

    precision = "full on cuda"
    complex_rule = True
    promotion = "common"

    @staticmethod
    def forward(x: Any, y: Any) -> Any:
        if y.__class__ in (int, float) and y in (2, 3) and x.dtype.kind == "f":
            return x * x if y == 2 else x * x * x  # power() takes a hundred times as long for negative x
        return _module_of(x, y).power(x, y)

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


def _log_of(x: Any) -> Any:
    if isinstance(x, complex):
        return cmath.log(x) if x else 0.0
    return math.log(x) if x > 0 else 0.0 if x == 0 else math.nan


_op: type[Op]
for _op in (Add, Sub, Mul):

    @samples(_op)
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
mul = public(
    Mul,
    "mul",
    "input * other, element by element, with broadcasting.",
    "multiply",
    "__mul__",
    "__rmul__",
    inplace=np.multiply,
)
pow = public(Pow, "pow", "input to the power `exponent`, element by element.", "__pow__")
multiply = mul
method("__add__", "__radd__")(_add)
method("__sub__")(_sub)
method("__truediv__")(Div.apply)


def _check_bool_minus(x: Any, y: Any) -> None:
    for t in (x, y):
        if isinstance(t, Tensor) and t.dtype is dtypes.bool_:
            raise RuntimeError(
                "sub: subtraction with a bool tensor is not supported; use logical_xor, or `~` to invert a mask"
            )


@method("add", inplace=np.add)
def add(input: Any, other: Any, *, alpha: float = 1) -> Tensor:
    """input + alpha * other, element by element, with broadcasting."""
    return _add(input, other if alpha == 1 else mul(other, alpha))


@method("sub", "subtract", inplace=np.subtract)
def sub(input: Any, other: Any, *, alpha: float = 1) -> Tensor:
    """input - alpha * other, element by element, with broadcasting."""
    _check_bool_minus(input, other)
    return _sub(input, other if alpha == 1 else mul(other, alpha))


subtract = sub


@method("__rsub__")
def rsub(input: Any, other: Any, *, alpha: float = 1) -> Tensor:
    """other - alpha * input."""
    return sub(other, input, alpha=alpha)


@method("__rtruediv__", "__rdiv__")
def _rdiv(input: Any, other: Any) -> Any:
    return Div.apply(other, input)


@method("__rpow__")
def _rpow(input: Any, other: Any) -> Any:
    return pow(other, input)


@method("div", "divide", "true_divide", inplace=np.true_divide)
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
        if np.result_type(x, y).kind != "f":
            return np.floor_divide(x, y)
        xp = _module_of(x, y)
        quotient = np.floor_divide(x, y) if xp is np else xp.rint((x - _rest(x, y)) / y)
        exact = np.true_divide(x, y)  # x / 0 is an infinity, where NumPy's floor_divide says NaN or warns
        return xp.where(xp.isfinite(exact), quotient, exact)

    def backward(self, g: Any) -> Any:
        return Fill.apply(g, value=0), Fill.apply(g, value=0)


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
        return Fill.apply(g, value=0), Fill.apply(g, value=0)


def _check_integer_division(x: Any, y: Any) -> None:
    if np.result_type(x, y).kind in "iu" and may_look(y) and np.any(np.equal(y, 0)):
        raise RuntimeError("ZeroDivisionError: an integer tensor was divided by zero; convert it to a float one first")


def _module_of(x: Any, y: Any) -> Any:
    return array_module(x if hasattr(x, "dtype") else y)


def _rest(x: Any, y: Any) -> Any:
    """x - y floor(x / y), exactly. CuPy computes it by this formula, where a rounded quotient leaves a wrong rest."""
    xp = _module_of(x, y)
    if xp is np or xp.result_type(x, y).kind != "f":
        return np.remainder(x, y)
    rest = xp.fmod(x, y)
    return xp.where((rest != 0) & ((rest < 0) != xp.less(y, 0)), rest + y, rest)


class Remainder(Op):
    """x - y floor(x / y): the sign is that of y, as for Python's %."""

    promotion = "common"

    @staticmethod
    def forward(x: Any, y: Any) -> Any:
        _check_integer_division(x, y)
        return _rest(x, y)

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


for _op in (FloorDivide, TruncDivide, Remainder, Fmod):

    @samples(_op)
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


class Gcd(Op):
    """The greatest common divisor of integers, never negative."""

    promotion = "common"
    forward = np.gcd


class Lcm(Op):
    """The least common multiple of integers, never negative."""

    promotion = "common"
    forward = np.lcm


gcd = public(Gcd, "gcd", "The greatest common divisor of two integer tensors, element by element.")
lcm = public(Lcm, "lcm", "The least common multiple of two integer tensors, element by element.")


@method(inplace=True)
def ldexp(input: Tensor, other: Tensor) -> Tensor:
    """input * 2^other."""
    return mul(input, pow(2.0, other))


@method(inplace=True)
def float_power(input: Any, exponent: Any) -> Tensor:
    """input to the power `exponent`, computed in float64."""
    return pow(*(_as_double(x) for x in (input, exponent)))


def _as_double(x: Any) -> Any:
    if not isinstance(x, Tensor):
        return x if isinstance(x, complex) else float(x)
    return cast(x, np.dtype(np.complex128 if x.array.dtype.kind == "c" else np.float64))


@method(inplace=True)
@in_float32
def addcmul(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:
    """input + value * tensor1 * tensor2."""
    return _add(input, mul(mul(tensor1, tensor2), value) if value != 1 else mul(tensor1, tensor2))


@method(inplace=True)
@in_float32
def addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:
    """input + value * tensor1 / tensor2."""
    if tensor1.array.dtype.kind in "iub" and tensor2.array.dtype.kind in "iub":
        raise RuntimeError("addcdiv: integer division is not supported; convert one of the tensors to a float type")
    quotient = Div.apply(tensor1, tensor2)
    return _add(input, mul(quotient, value) if value != 1 else quotient)


@method(inplace=True)
@in_float32
def lerp(input: Tensor, end: Tensor, weight: Any) -> Tensor:
    """input + weight * (end - input): from `input` (weight 0) to `end` (weight 1)."""
    return _add(input, mul(weight, _sub(end, input)))


# x += y and the like write into x
for _operator, _method in {
    "add": "add_", "sub": "sub_", "mul": "mul_", "truediv": "div_", "floordiv": "floor_divide_", "mod": "remainder_",
    "pow": "pow_", "and": "bitwise_and_", "or": "bitwise_or_", "xor": "bitwise_xor_", "lshift": "bitwise_left_shift_",
    "rshift": "bitwise_right_shift_",
}.items():  # fmt: skip
    setattr(Tensor, f"__i{_operator}__", getattr(Tensor, _method))

__all__ = [
    "add", "addcdiv", "addcmul", "div", "divide", "float_power", "floor_divide", "fmod", "gcd", "lcm", "ldexp", "lerp",
    "mul", "multiply", "pow",
    "remainder", "rsub", "sub", "subtract", "true_divide",
]  # fmt: skip
