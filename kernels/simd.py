"""Explicit SIMD: one instruction, several numbers at a time.

A CPU core has registers that hold several float32 side by side: 16 with AVX-512, 8 with AVX2, 4 on every other x86 and on
ARM. Each place is a *lane*. An instruction on such registers works on all lanes at once ("single instruction, multiple
data") in the time that one number would take, so code that does not use them leaves most of the machine idle.

A compiler can find the lanes by itself ("auto-vectorisation"), and for `out[i] = f(x[i])` it does. It gives up silently,
or does it badly, once a loop has an inner sum, a branch, a call, two strides, or values that should stay in registers from
one iteration to the next: a kernel of this kind is often several times slower than it could be, and nothing says so. Hence
the functions here. A value that `load` returns *is* a register of WIDTH lanes; the code is still Python with ordinary
variables, and which register holds what is left to the compiler. y += a * x, and the sum of the result:

    @jit
    def axpy(a, x, y):
        total = splat(0.0)  # WIDTH partial sums: one sum would have to wait for each addition to end
        for i in range(0, x.size, WIDTH):
            some = first(x.size - i)  # which lanes there are: all but at the end
            value = a * load(x, i, some) + load(y, i, some)  # a, a number, goes to all lanes
            store(y, i, value, some)  # the lanes that are not there stay as they are in memory
            total += value  # those lanes are 0 here
        return sum_lanes(total)

(A mask costs a little. Where it counts, loop over the full registers first, without one, then once over the rest.)

    values      a register of float32, of int32, or a mask (one bit a lane, from a comparison)
    operators   + - * / and unary - on floats; + - * & | ^ << >> on ints (>> keeps the sign); < <= > >= == !=; & | ^ ~ on
                masks; abs(). One side may be a number, which goes to all lanes, as in NumPy. a * b + c becomes one fused
                instruction where the CPU has it; nothing else is rearranged.
    functions   below; each one's body is its meaning in NumPy, with an array of WIDTH elements for a register. Those with
                x or a, b, c for values take plain float32 too, so that one formula serves both: see elementary.py.

An address is an array and the flat position of its first lane, counted in elements from the array's first one, as if it
were contiguous. **Nothing is checked**: a position outside of the array reads or overwrites other memory. A file that
uses the names imports them (`from .simd import WIDTH, fma, load`); `simd.load` is not found by `@jit`.

Two compiler options matter with and without explicit SIMD. `error_model="numpy"`, which `@jit` sets: x / 0 is infinity, as
in C; with Python's own rule every division has a branch that raises ZeroDivisionError, and no loop with a branch of that
kind is vectorised. `fastmath={...}`: permissions to differ from what is written. "contract" lets a * b + c round once
instead of twice, "reassoc" lets a sum be split into partial sums, without which a loop that adds up *cannot* be
vectorised; "nnan" and "ninf" promise that there is no NaN or infinity, and then the compiler may remove tests for them. Name
the ones that you can afford; `fastmath=True` is all of them.

MINIDL_SIMD=4, 8 or 16 in the environment sets another WIDTH than the CPU's own, to try what a lesser CPU would run: on x86, all
kernels are then compiled for one without wider registers or their instructions (8: AVX2 and FMA, 16 registers; 4: SSE4.2), unless
NUMBA_CPU_NAME or NUMBA_CPU_FEATURES say for which. It counts if it is set before the process compiles its first kernel.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import numpy as np

from .jit import Lazy, instruction

WIDTHS = (4, 8, 16)
# The x86 of so many lanes: LLVM's name of it, which stands for no make, and what it has besides the oldest 64-bit ones.
X86 = {
    "8": ("x86-64-v3", "+sse3,+ssse3,+sse4.1,+sse4.2,+popcnt,+avx,+avx2,+fma,+f16c,+bmi,+bmi2,+lzcnt,+movbe"),
    "4": ("x86-64-v2", "+sse3,+ssse3,+sse4.1,+sse4.2,+popcnt"),
}


def aim_numba() -> None:
    """Tell Numba, before it compiles anything, for which CPU MINIDL_SIMD wants kernels."""
    if os.environ.get("MINIDL_SIMD", "") not in X86:
        return
    import platform

    if platform.machine() in ("x86_64", "AMD64"):
        from numba import config

        if config.CPU_NAME is None and config.CPU_FEATURES is None:  # type: ignore[attr-defined]  # made at run time
            name, features = X86[os.environ["MINIDL_SIMD"]]
            config.CPU_NAME, config.CPU_FEATURES = name, features  # type: ignore[attr-defined]


@cache
def width() -> int:
    """Lanes of a register, for Python code; kernels write WIDTH.

    Raises: ValueError if the environment variable MINIDL_SIMD is not one of WIDTHS, ImportError without Numba.
    """
    wanted = os.environ.get("MINIDL_SIMD", "")
    if wanted:
        if wanted not in map(str, WIDTHS):
            raise ValueError(f"MINIDL_SIMD={wanted!r}: the number of float32 lanes is one of 4, 8, 16")
        return int(wanted)
    features = cpu_features()
    if "avx512bw" in features:
        return 16
    return 8 if {"avx2", "fma"} <= features else 4


def cpu_features() -> set[str]:
    """What the CPU has for which Numba compiles: MINIDL_SIMD, NUMBA_CPU_FEATURES and NUMBA_ENABLE_AVX count."""
    aim_numba()
    from numba.core.registry import cpu_target

    features = cpu_target.target_context.codegen().magic_tuple()[2]
    return {name[1:] for name in features.split(",") if name.startswith("+")}


class Width(Lazy):
    """Stands for the number of lanes, which takes Numba to find out."""

    def compile(self) -> int:
        return width()


WIDTH: Any = Width()  # in kernels: a constant. In Python code: width()


# Memory


@instruction
def load(x: Any, i: int, mask: Any = True) -> Any:
    """The WIDTH elements of the array x from position i on. Lanes outside of the mask are 0, and not read.

    float32 arrays give floats; int32, and int8 and uint8, which are widened, give ints.
    """
    lanes = np.zeros(width(), np.float32 if x.dtype == np.float32 else np.int32)
    there = x.reshape(-1)[i : i + width()]
    lanes[: there.size] = there
    return np.where(mask, lanes, lanes.dtype.type(0))


@instruction
def store(x: Any, i: int, value: Any, mask: Any = True) -> None:
    """Write the lanes (those in the mask) to the array x from position i on; ints into an int8 or uint8 array by their
    lowest 8 bits."""
    there = x.reshape(-1)[i : i + width()]
    there[:] = np.where(mask, value, np.resize(there, width()))[: there.size].astype(x.dtype)


@instruction
def broadcast(x: Any, i: int) -> Any:
    """Element i of the array x, in every lane."""
    return splat(x.reshape(-1)[i])


@instruction
def collect(x: Any, i: int, table: Any, at: int) -> Any:
    """x[i + table[at + lane]] of a float32 array, for a table of int64: lane by lane, as many loads as there are lanes."""
    return x.reshape(-1)[i + table.reshape(-1)[at : at + width()]]


@instruction
def splat(value: Any) -> Any:
    """A number in every lane: ints if it is an integer (`splat(0)`), else floats (`splat(0.0)`)."""
    return np.full(width(), value, np.int32 if isinstance(value, int | np.integer) else np.float32)


@instruction
def lane_numbers() -> Any:
    """0, 1, ..., WIDTH - 1."""
    return np.arange(width(), dtype=np.int32)


@instruction
def first(n: int) -> Any:
    """The mask of the first n lanes: none if n <= 0, all if n >= WIDTH."""
    return np.arange(width()) < n


# Values, lane by lane; numbers too


@instruction
def fma(a: Any, b: Any, c: Any) -> Any:
    """a * b + c, fused (rounded once) where the CPU can."""
    return (np.multiply(a, b, dtype=np.float64) + c).astype(np.float32)


@instruction
def minimum(a: Any, b: Any) -> Any:
    """a if a < b, else b: with a NaN on either side it is b. One instruction, unlike NumPy's."""
    return np.where(np.less(a, b), a, b)


@instruction
def maximum(a: Any, b: Any) -> Any:
    """a if a > b, else b: with a NaN on either side it is b, so maximum(0, x) keeps those in x."""
    return np.where(np.greater(a, b), a, b)


@instruction
def select(mask: Any, a: Any, b: Any) -> Any:
    """a where the mask is set, b elsewhere. Both are computed."""
    return np.where(mask, a, b)


@instruction
def sqrt(x: Any) -> Any:
    return np.sqrt(x)


@instruction
def floor(x: Any) -> Any:
    """The largest whole number that is not above x, as a float."""
    return np.floor(x)


@instruction
def rint(x: Any) -> Any:
    """The nearest whole number, of two the even one, as a float."""
    return np.rint(x)


@instruction
def int32(x: Any) -> Any:
    """A float to an int, towards zero; undefined where it does not fit."""
    return np.asarray(x).astype(np.int32)


@instruction
def float32(x: Any) -> Any:
    """An int to the nearest float."""
    return np.asarray(x).astype(np.float32)


@instruction
def bits(x: Any) -> Any:
    """The 32 bits of a float as an int: 1 of sign, 8 of exponent + 127, 23 of fraction."""
    return np.asarray(x, np.float32).view(np.int32)


@instruction
def from_bits(x: Any) -> Any:
    """The float that has these 32 bits."""
    return np.asarray(x, np.int32).view(np.float32)


# Across the lanes: several instructions each, so once after a loop and not inside it


@instruction
def sum_lanes(value: Any) -> Any:
    """The sum of all lanes, as a number."""
    return value.sum(dtype=value.dtype)


@instruction
def max_lanes(value: Any) -> Any:
    """The largest lane, as a number; with a NaN in some lanes, any of the others or NaN."""
    return value.max()


@instruction
def any_lane(mask: Any) -> bool:
    """Whether the mask is set in any lane."""
    return bool(mask.any())


# Bytes, four to a lane, for int8 matrix products


@instruction
def load4(x: Any, i: int) -> Any:
    """Bytes i, i + 1, ... of an int8 or uint8 array, four in each int lane, just as they are in memory."""
    return x.reshape(-1)[i : i + 4 * width()].view(np.int32)


@instruction
def broadcast4(x: Any, i: int) -> Any:
    """The four bytes i ... i + 3 of an int8 or uint8 array, in every lane."""
    return np.repeat(np.ascontiguousarray(x.reshape(-1)[i : i + 4]).view(np.int32), width())


@instruction
def dot4(total: Any, u: Any, s: Any) -> Any:
    """total + u0 s0 + u1 s1 + u2 s2 + u3 s3: the four bytes of u without sign times those of s with sign, exactly.

    One instruction (vpdpbusd) with AVX-512 VNNI or AVX-VNNI, eight on other x86, more elsewhere; the result is the same.
    """
    products = u.view(np.uint8).astype(np.int32) * s.view(np.int8).astype(np.int32)
    return total + products.reshape(-1, 4).sum(1, dtype=np.int32)
