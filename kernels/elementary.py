"""exp, expm1, log, log1p, tanh, sigmoid and erf in float32 arithmetic, and the largest of a row.

Each function takes one number or a register of them (simd.py): `exp32(x[i])`, `exp32(load(x, i))`. `math.exp` inside of a
loop is a call into the C library for each element. The functions here are additions, multiplications and bit operations
only. They are small enough to be inlined, do not branch, pass NaN through and saturate like the C library's.

`fastmath={"contract"}` allows a * b + c to become one fused instruction. Nothing else is allowed: reordering would
cancel the rounding constant in `_split` and lose the low part of ln 2. The constants are np.float32: a plain 0.5 beside a
number would make it float64.

Errors in units in the last place, measured by tests/kernels/test_elementary.py: exp, expm1 and log1p below 2, log below 1,
tanh and sigmoid below 4, erf below 8 (3e-7 relative, near zero too). Where e^-x overflows, below -88.7, sigmoid is 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .jit import jit
from .simd import bits, float32, from_bits, int32, maximum, minimum, select

ZERO, HALF, ONE, TWO, FOUR, TEN = (np.float32(n) for n in (0, 0.5, 1, 2, 4, 10))
INFINITY, NAN = np.float32(np.inf), np.float32(np.nan)

LOG2_E = np.float32(1.4426950408889634)
LN2_HIGH = np.float32(0.693359375)  # few bits, so that n * LN2_HIGH is exact
LN2_LOW = np.float32(-2.12194440e-4)  # ln 2 - LN2_HIGH
ROUND = np.float32(1.5 * 2**23)  # a float32 this large has no fraction bits: x + ROUND - ROUND rounds x
ROUND_BITS = np.int32(ROUND.view(np.int32))
EXP_LOW, EXP_HIGH = np.float32(-104), np.float32(89)  # beyond these e^x is 0 and infinity
LOW_31_BITS, SMALLEST_INT32 = np.int32(0x7FFFFFFF), np.int32(-(2**31))
BIAS, FRACTION_BITS, ONE_BIT = np.int32(127), np.int32(23), np.int32(1)
SMALLEST_NORMAL = np.float32(2.0**-126)  # below it, fewer and fewer bits: log32 multiplies by 2^25 there
TWO_25, F_25 = np.float32(2.0**25), np.float32(25)
ROOT_2_LESS_1, LN2 = np.float32(np.sqrt(2) - 1), np.float32(np.log(2))
ROOT_HALF_BITS = np.int32(np.float32(np.sqrt(0.5)).view(np.int32))

# Taylor coefficients 1/k! of e^r. On |r| <= ln(2)/2 the first one left out, r^8 / 8!, is below 6e-9.
C2, C3, C4, C5, C6, C7 = (np.float32(1 / k) for k in (2, 6, 24, 120, 720, 5040))
L3, L5, L7, L9 = (np.float32(2 / k) for k in (3, 5, 7, 9))  # of 2 atanh(s); |s| < 0.172, so 2 s^10 / 11 is below 5e-9

# erf(x) = x * P(x^2) / Q(x^2) on |x| <= 4, to 3e-8 relative: a least-squares fit at Chebyshev points, which
# tests/kernels/test_elementary.py computes again. Beyond 4 erf(x) is 1 in float32.
ERF_P = (1.128379159, 0.1916702469, 0.05285225655, 0.003803307769, 0.0002828315759, 2.001509564e-06)
ERF_Q = (1, 0.5031962294, 0.1145738272, 0.01504592252, 0.001166348784, 3.748329465e-05)
P0, P1, P2, P3, P4, P5 = (np.float32(c) for c in ERF_P)
Q0, Q1, Q2, Q3, Q4, Q5 = (np.float32(c) for c in ERF_Q)


@jit(fastmath={"contract"}, forceinline=True)
def _split(x: Any) -> Any:
    """(n, e^r - 1) with x = n ln 2 + r, n an integer and |r| <= ln(2) / 2."""
    shifted = x * LOG2_E + ROUND
    n = int32(bits(shifted) - ROUND_BITS)  # the integer stands in the low bits of `shifted`
    whole = shifted - ROUND
    r = (x - whole * LN2_HIGH) - whole * LN2_LOW
    q = C2 + r * (C3 + r * (C4 + r * (C5 + r * (C6 + r * C7))))
    return n, r + r * r * q


@jit(forceinline=True)
def _power_of_two(n: Any) -> Any:
    """2^n for -126 <= n <= 127: the exponent bits of a float32, set directly."""
    return from_bits((n + BIAS) << FRACTION_BITS)


@jit(fastmath={"contract"}, forceinline=True)
def exp32(x: Any) -> Any:
    """e^x."""
    x = minimum(EXP_HIGH, maximum(EXP_LOW, x))  # in this order NaN stays NaN
    n, q = _split(x)
    half = int32(n >> ONE_BIT)  # 2^n in two factors, for n beyond the exponents of float32
    return (q * _power_of_two(half) + _power_of_two(half)) * _power_of_two(n - half)


@jit(fastmath={"contract"}, forceinline=True)
def expm1_32(x: Any) -> Any:
    """e^x - 1 for x <= 88, accurate near zero too."""
    n, q = _split(maximum(EXP_LOW, x))
    half = int32(n >> ONE_BIT)
    scale = _power_of_two(half) * _power_of_two(n - half)
    return q * scale + (scale - ONE)


@jit(fastmath={"contract"}, forceinline=True)
def log32(x: Any) -> Any:
    """The natural logarithm: log(x) = k ln 2 + log(m), 1/sqrt(2) <= m < sqrt(2).

    With s = f / (2 + f), log(1 + f) = 2 atanh(s) = f - f^2/2 + s (f^2/2 + R), R = 2 s^2/3 + 2 s^4/5 + ...: the large terms
    are exact or nearly so (Sun Microsystems, fdlibm, 1993).
    """
    subnormal = x < SMALLEST_NORMAL
    scaled = select(subnormal, x * TWO_25, x)
    k = int32(int32(bits(scaled) - ROOT_HALF_BITS) >> FRACTION_BITS)
    f = from_bits(bits(scaled) - (k << FRACTION_BITS)) - ONE
    power = float32(k) - select(subnormal, F_25, ZERO)
    s = f / (TWO + f)
    z = s * s
    tail = z * (L3 + z * (L5 + z * (L7 + z * L9)))
    half_square = HALF * f * f
    y = power * LN2_HIGH - ((half_square - (s * (half_square + tail) + power * LN2_LOW)) - f)
    y = select(x < INFINITY, y, x)  # infinity and NaN
    y = select(x == ZERO, -INFINITY, y)
    return select(x < ZERO, NAN, y)


@jit(fastmath={"contract"}, forceinline=True)
def log1p32(f: Any) -> Any:
    """log(1 + f) for 0 <= f <= 1, accurate near zero too: as log32, of 1 + f or, where that is above sqrt(2), its half."""
    above = f > ROOT_2_LESS_1
    f = select(above, HALF * (f - ONE), f)
    s = f / (TWO + f)
    z = s * s
    half_square = HALF * f * f
    y = f - (half_square - s * (half_square + z * (L3 + z * (L5 + z * (L7 + z * L9)))))
    return y + select(above, LN2, ZERO)


@jit(fastmath={"contract"}, forceinline=True)
def tanh32(x: Any) -> Any:
    """tanh(x) = (e^2x - 1) / (e^2x + 1), without the cancellation near zero."""
    e = expm1_32(TWO * minimum(TEN, x))  # tanh(10) is 1 in float32
    return e / (e + TWO)


@jit(fastmath={"contract"}, forceinline=True)
def sigmoid32(x: Any) -> Any:
    """1 / (1 + e^-x)."""
    return ONE / (ONE + exp32(-x))


@jit(fastmath={"contract"}, forceinline=True)
def erf32(x: Any) -> Any:
    """erf(x). Near zero the error is as small relative to erf(x) as elsewhere."""
    x = minimum(FOUR, maximum(-FOUR, x))
    z = x * x
    p = P0 + z * (P1 + z * (P2 + z * (P3 + z * (P4 + z * P5))))
    q = Q0 + z * (Q1 + z * (Q2 + z * (Q3 + z * (Q4 + z * Q5))))
    y = minimum(ONE, maximum(-ONE, x * p / q))
    return select(x == FOUR, ONE, select(x == -FOUR, -ONE, y))


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
