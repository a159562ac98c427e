"""exp, tanh, sigmoid and erf of one float32 and the largest of a row, in arithmetic that LLVM turns into SIMD code.

`math.exp` inside a Numba loop is a call into the C library for each element, and a loop with a call in it is not
vectorised. The functions here are additions, multiplications and bit operations only, so a loop over them is.
They are small enough to be inlined, do not branch, pass NaN through and saturate like the C library's.

`fastmath={"contract"}` allows a * b + c to become one fused instruction. Nothing else is allowed: reordering would
cancel the rounding constant in `_split` and lose the low part of ln 2.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .jit import jit

ONE, TWO, FOUR = np.float32(1), np.float32(2), np.float32(4)

LOG2_E = np.float32(1.4426950408889634)
LN2_HIGH = np.float32(0.693359375)  # few bits, so that n * LN2_HIGH is exact
LN2_LOW = np.float32(-2.12194440e-4)  # ln 2 - LN2_HIGH
ROUND = np.float32(1.5 * 2**23)  # a float32 this large has no fraction bits: x + ROUND - ROUND rounds x
ROUND_BITS = np.int32(ROUND.view(np.int32))
EXP_LOW, EXP_HIGH = np.float32(-104), np.float32(89)  # beyond these e^x is 0 and infinity
LOW_31_BITS, SMALLEST_INT32 = np.int32(0x7FFFFFFF), np.int32(-(2**31))
BIAS, MANTISSA_BITS = np.int32(127), np.int32(23)

# Taylor coefficients 1/k! of e^r. On |r| <= ln(2)/2 the first one left out, r^8 / 8!, is below 6e-9.
C2, C3, C4, C5, C6, C7 = (np.float32(1 / k) for k in (2, 6, 24, 120, 720, 5040))

# erf(x) = x * P(x^2) / Q(x^2) on |x| <= 4, to 3e-8 relative: a least-squares fit at Chebyshev points, which
# tests/kernels/test_elementary.py computes again. Beyond 4 erf(x) is 1 in float32.
ERF_P = (1.128379159, 0.1916702469, 0.05285225655, 0.003803307769, 0.0002828315759, 2.001509564e-06)
ERF_Q = (1, 0.5031962294, 0.1145738272, 0.01504592252, 0.001166348784, 3.748329465e-05)
P0, P1, P2, P3, P4, P5 = (np.float32(c) for c in ERF_P)
Q0, Q1, Q2, Q3, Q4, Q5 = (np.float32(c) for c in ERF_Q)


@jit(fastmath={"contract"}, forceinline=True)
def _split(x: Any) -> Any:
    """(n, e^r - 1) with x = n ln 2 + r, n an integer and |r| <= ln(2) / 2."""
    shifted = np.float32(x * LOG2_E + ROUND)
    n = np.int32(shifted.view(np.int32) - ROUND_BITS)  # the integer stands in the low bits of `shifted`
    whole = shifted - ROUND
    r = (x - whole * LN2_HIGH) - whole * LN2_LOW
    q = C2 + r * (C3 + r * (C4 + r * (C5 + r * (C6 + r * C7))))
    return n, r + r * r * q


@jit(forceinline=True)
def _power_of_two(n: Any) -> Any:
    """2^n for -126 <= n <= 127: the exponent bits of a float32, set directly."""
    return np.int32((n + BIAS) << MANTISSA_BITS).view(np.float32)


@jit(fastmath={"contract"}, forceinline=True)
def exp32(x: Any) -> Any:
    """e^x."""
    x = EXP_LOW if x < EXP_LOW else x  # written so that NaN stays NaN
    x = EXP_HIGH if x > EXP_HIGH else x
    n, q = _split(x)
    half = np.int32(n >> np.int32(1))  # 2^n in two factors, for n beyond the exponents of float32
    return (q * _power_of_two(half) + _power_of_two(half)) * _power_of_two(np.int32(n - half))


@jit(fastmath={"contract"}, forceinline=True)
def expm1_32(x: Any) -> Any:
    """e^x - 1 for x <= 88, accurate near zero too."""
    x = EXP_LOW if x < EXP_LOW else x
    n, q = _split(x)
    half = np.int32(n >> np.int32(1))
    rest = _power_of_two(np.int32(n - half))
    scale = _power_of_two(half) * rest
    return q * scale + (scale - ONE)


@jit(fastmath={"contract"}, forceinline=True)
def tanh32(x: Any) -> Any:
    """tanh(x) = (e^2x - 1) / (e^2x + 1), without the cancellation near zero."""
    x = np.float32(10) if x > np.float32(10) else x  # tanh(10) is 1 in float32
    e = expm1_32(TWO * x)
    return e / (e + TWO)


@jit(fastmath={"contract"}, forceinline=True)
def sigmoid32(x: Any) -> Any:
    """1 / (1 + e^-x)."""
    return ONE / (ONE + exp32(-x))


@jit(fastmath={"contract"}, forceinline=True)
def erf32(x: Any) -> Any:
    """erf(x). Near zero the error is as small relative to erf(x) as elsewhere."""
    x = -FOUR if x < -FOUR else x
    x = FOUR if x > FOUR else x
    z = x * x
    p = P0 + z * (P1 + z * (P2 + z * (P3 + z * (P4 + z * P5))))
    q = Q0 + z * (Q1 + z * (Q2 + z * (Q3 + z * (Q4 + z * Q5))))
    y = x * p / q
    y = -ONE if x == -FOUR or y < -ONE else y
    return ONE if x == FOUR or y > ONE else y


@jit(forceinline=True)
def _ordered(bits: Any) -> Any:
    """The bits of a float32 as an int32 that compares as the float does; applied twice, the bits again.

    Bits of positive floats are in order already. Those of negative ones run backwards, so all but the sign are flipped.
    """
    return np.int32(bits ^ ((bits >> np.int32(31)) & LOW_31_BITS))


@jit
def row_max(x: Any, i: int) -> Any:
    """Largest entry of row i of x.

    Compared as integers, since LLVM has SIMD maxima for those, and for floats only under a promise that no NaN occurs.
    A NaN counts as larger or smaller than everything, by its sign.
    """
    largest = SMALLEST_INT32
    for j in range(x.shape[1]):
        largest = max(largest, _ordered(np.float32(x[i, j]).view(np.int32)))
    return np.int32(_ordered(largest)).view(np.float32)


@jit(fastmath={"reassoc", "contract"})  # reassoc: several partial sums side by side
def sum_exp(x: Any, i: int, m: Any) -> Any:
    """Sum of e^(x - m) over row i of x."""
    total = np.float32(0)
    for j in range(x.shape[1]):
        total += exp32(x[i, j] - m)
    return total
