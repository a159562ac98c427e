"""Numbers as a GPU computes them: casts that cut off, and the functions of `math` without exceptions.

What is not simulated: Numba computes float32 with a float64 constant in float64, here such a sum stays float32, as in
NumPy; and integers have no largest value until they are stored or cast.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .memory import wrapped


@functools.cache
def cast(dtype: np.dtype[Any]) -> Callable[..., Any]:
    """The function that a call of a type is in a kernel: uint32(-1) is 4294967295, float32(0.1) is rounded."""
    if dtype.kind in "iu":
        return lambda value=0: wrapped(int(value), dtype)
    if dtype.kind == "b":
        return lambda value=False: bool(value)
    return dtype.type


def quiet(name: str) -> Callable[..., Any]:
    """A function of math that gives NaN or infinity where Python raises, and float32 for float32."""
    function, ufunc = getattr(math, name), getattr(np, UFUNCS.get(name, name), None)

    def call(*values: Any) -> Any:
        try:
            out = function(*values)
        except (OverflowError, ValueError):
            out = float(ufunc(*map(np.float64, values))) if ufunc is not None else math.nan
        single = values[0].__class__
        return single(out) if single in (np.float32, np.float16) and isinstance(out, float) else out

    return call


UFUNCS = {"pow": "power", "acos": "arccos", "asin": "arcsin", "atan": "arctan", "acosh": "arccosh", "asinh": "arcsinh",
          "atanh": "arctanh", "atan2": "arctan2"}  # fmt: skip
MATH = {
    name: quiet(name)
    for name in (
        "acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "ceil", "copysign", "cos", "cosh", "erf", "erfc", "exp",
        "expm1", "fabs", "floor", "fmod", "frexp", "gamma", "hypot", "isfinite", "isinf", "isnan", "ldexp", "lgamma", "log",
        "log10", "log1p", "log2", "modf", "pow", "radians", "degrees", "sin", "sinh", "sqrt", "tan", "tanh", "trunc",
    )
}  # fmt: skip
