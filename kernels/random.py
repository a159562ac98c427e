"""Random numbers from a counter: Philox4x32-10, and uniform, normal and dropout on top of it.

Philox is a function, not a state: block number `counter` of the stream `key` is four 32-bit words, each scrambled from
the number of the block in ten rounds. Any block can be computed alone, in any order and on any device, so that the same
seed gives the same numbers everywhere, and dropout computes its mask twice instead of storing it.

Every function here takes `key`, 0 <= key < 2^64 (the seed), and `counter`, 0 <= counter < 2^128, the number of the
first block that it uses. A call for n elements consumes `blocks(n, words per element)` blocks: the next call starts
after them.

Source: Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", 2011.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from . import Kernel, array_module
from .common import FLOAT32, Array, float32_in_order
from .cuda import ELEMENTS, Entry, Source, launchable
from .cuda import blocks as blocks_for
from .jit import jit
from .parallel import ELEMENTARY, share

ROUNDS = 10
MULTIPLIER_0, MULTIPLIER_2 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
WEYL_0, WEYL_1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)  # added to the key in every round: golden ratio, sqrt 3
LOW, SHIFT_32, SHIFT_11 = np.uint64(0xFFFFFFFF), np.uint64(32), np.uint64(11)
ZERO, ONE = np.uint64(0), np.uint64(1)
WORDS = {np.dtype(np.float32): 1, np.dtype(np.float64): 2}  # random words per element


def blocks(n: int, words_per_element: int) -> int:
    """How many blocks of four words n elements consume.

    Example:
        >>> blocks(9, 1)
        3
    """
    return -(-n * words_per_element // 4)


@Kernel
def philox(out: Array, key: int, counter: int) -> None:
    """Fill the uint32 array `out`, in C order, with the words of the blocks from `counter` on.

    Consumes blocks(out.size, 1).

    Example:
        >>> words = np.empty(4, np.uint32)
        >>> philox(words, 0, 0)
        >>> words
        array([1713891541, 3781805453, 3159862348, 2600524760], dtype=uint32)
    """
    if out.dtype != np.uint32:
        raise TypeError(f"philox: dtype {out.dtype}; the words need a uint32 array")
    out[...] = words(array_module(out), out.size, key, counter).astype(np.uint32).reshape(out.shape)


@Kernel
def uniform(out: Array, key: int, counter: int) -> None:
    """Fill `out`, float32 or float64, with numbers spread evenly over [0, 1).

    float32: the upper 24 bits of a word over 2^24. float64: the upper 53 bits of two words over 2^53. Either division
    is exact, so that all variants agree to the bit. Consumes blocks(out.size, 1 or 2).

    Example:
        >>> u = np.empty(1000, np.float32)
        >>> uniform(u, 0, 0)
        >>> bool(0 <= u.min() and u.max() < 1)
        True
    """
    per_element = words_per_element("uniform", out)
    w = words(array_module(out), out.size * per_element, key, counter)
    values = (w >> np.uint64(8)) * 2.0**-24 if per_element == 1 else fraction_53(w[0::2], w[1::2])
    out[...] = values.reshape(out.shape)


@Kernel
def normal(out: Array, key: int, counter: int) -> None:
    """Fill `out`, float32 or float64, with numbers from the normal distribution of mean 0 and standard deviation 1.

    The Box-Muller transform makes two of two uniform numbers: r cos(a) and r sin(a), r = sqrt(-2 log u1), a = 2 pi u2.
    It is computed in float64 for float32 too. Variants whose sine or logarithm differ in the last bit of float64 then
    give the same float32, save about one in 10^8, which differs in its last bit. Consumes blocks(out.size, 1 or 2).

    Source: Box and Muller, "A Note on the Generation of Random Normal Deviates", 1958.
    """
    xp = array_module(out)
    per_element = words_per_element("normal", out)
    w = words(xp, blocks(out.size, per_element) * 4, key, counter)
    if per_element == 1:
        u1, u2 = (w[0::2] + np.uint64(1)) * 2.0**-32, w[1::2] * 2.0**-32
    else:
        u1, u2 = fraction_53(w[0::4], w[1::4]) + 2.0**-53, fraction_53(w[2::4], w[3::4])
    r, angle = xp.sqrt(-2 * xp.log(u1)), 2 * math.pi * u2
    pairs = xp.stack((r * xp.cos(angle), r * xp.sin(angle)), axis=1)
    out[...] = pairs.reshape(-1)[: out.size].reshape(out.shape)


@Kernel
def dropout(x: Array, p: float, key: int, counter: int) -> Array:
    """x * keep / (1 - p), with each element kept with probability 1 - p; the backward pass is the same call on g.

    Element i in C order is kept if word i is at least p * 2^32. Nothing is stored, and the layout of x does not matter.
    Consumes blocks(x.size, 1).

    Source: Srivastava and others, "Dropout: A Simple Way to Prevent Neural Networks from Overfitting", 2014.
    """
    xp = array_module(x)
    threshold, scale = threshold_and_scale(p)
    keep = words(xp, x.size, key, counter).reshape(x.shape) >= threshold
    return x * xp.where(keep, scale, 0).astype(x.dtype)


def threshold_and_scale(p: float) -> tuple[np.uint64, float]:
    if not 0 <= p <= 1:
        raise ValueError(f"dropout: p={p}, but a probability lies in [0, 1]")
    return np.uint64(round(p * 2**32)), 1 / (1 - p) if p < 1 else 0.0


def words_per_element(kernel: str, out: Array) -> int:
    if out.dtype not in WORDS:
        raise TypeError(f"{kernel}: dtype {out.dtype}; fill a float32 or float64 array and convert it")
    return WORDS[out.dtype]


def fraction_53(high: Array, low: Array) -> Array:
    """The upper 53 bits of a pair of words, as a float64 in [0, 1)."""
    return (((high << SHIFT_32) | low) >> SHIFT_11) * 2.0**-53


def words(xp: Any, n: int, key: int, counter: int) -> Array:
    """The first n words from the block `counter` on, as uint64: a product of two words then keeps all its bits."""
    low, high, key64 = as_uint64(key, counter)
    block = xp.arange(blocks(n, 1), dtype=np.uint64) + low  # wraps around at 2^64, and `high` takes the carry
    c0, c1 = block & LOW, block >> SHIFT_32
    c2 = high + (block < low)
    c2, c3 = c2 & LOW, c2 >> SHIFT_32
    k0, k1 = key64 & LOW, key64 >> SHIFT_32
    for _ in range(ROUNDS):
        product_0, product_2 = MULTIPLIER_0 * c0, MULTIPLIER_2 * c2
        c0, c1 = (product_2 >> SHIFT_32) ^ c1 ^ k0, product_2 & LOW
        c2, c3 = (product_0 >> SHIFT_32) ^ c3 ^ k1, product_0 & LOW
        k0, k1 = (k0 + WEYL_0) & LOW, (k1 + WEYL_1) & LOW
    return xp.stack((c0, c1, c2, c3), axis=1).reshape(-1)[:n]


def as_uint64(key: int, counter: int) -> tuple[np.uint64, np.uint64, np.uint64]:
    """The lower and upper half of a block number, and the key."""
    if not (0 <= key < 2**64 and 0 <= counter < 2**128):
        raise ValueError(f"philox: key {key} must lie in [0, 2^64), counter {counter} in [0, 2^128)")
    return np.uint64(counter & 0xFFFFFFFFFFFFFFFF), np.uint64(counter >> 64), np.uint64(key)


# Numba: BATCH blocks at a time, whose words stay in the first-level cache until they are used. A loop that does nothing but
# compute words, each kind into an array of its own, is one that the compiler turns into SIMD instructions.

BATCH = 64
SQRT_2, LN_2 = math.sqrt(2), math.log(2)


def supports_words(out: Array, key: int, counter: int) -> bool:
    return bool(out.dtype == np.uint32 and out.flags.c_contiguous)


def supports_fill(out: Array, key: int, counter: int) -> bool:
    return float32_in_order(out)


def supports_uniform(out: Array, key: int, counter: int) -> bool:
    return out.dtype in WORDS and bool(out.flags.c_contiguous)


def supports_dropout(x: Array, p: float, key: int, counter: int) -> bool:
    return bool(x.dtype == FLOAT32)


@philox.variant("numba", device="cpu", supports=supports_words)
def philox_numba(out: Array, key: int, counter: int) -> None:
    share_stream(philox_loop, 4, key, counter, (out.reshape(-1),))


@uniform.variant("numba", device="cpu", supports=supports_uniform)
def uniform_numba(out: Array, key: int, counter: int) -> None:
    if out.dtype == FLOAT32:
        share_stream(uniform_loop, 4, key, counter, (out.reshape(-1),))
    else:
        share_stream(uniform_64_loop, 2, key, counter, (out.reshape(-1),))


@normal.variant("numba", device="cpu", supports=supports_fill)
def normal_numba(out: Array, key: int, counter: int) -> None:
    share_stream(normal_loop, 4, key, counter, (out.reshape(-1),))


@dropout.variant("numba", device="cpu", supports=supports_dropout)
def dropout_numba(x: Array, p: float, key: int, counter: int) -> Array:
    out = np.empty(x.shape, np.float32)
    share_stream(dropout_loop, 4, key, counter, (x.reshape(-1), out.reshape(-1)), *threshold_and_scale(p))
    return out


def share_stream(
    loop: Callable[..., None], each: int, key: int, counter: int, arrays: tuple[Array, ...], *others: Any
) -> None:
    """Call loop(*arrays, low, high, key, *others), or the same for parts of the stream and of the arrays in each thread.

    each: how many elements a block of the stream is for.
    """
    size = arrays[0].size
    blocks_needed = (size + each - 1) // each
    share(blocks_needed, some_of_stream, ELEMENTARY * size, loop, each, key, counter, arrays, others)


def some_of_stream(
    begin: int, end: int, loop: Callable[..., None], each: int, key: int, counter: int, arrays: tuple[Array, ...],
    others: tuple[Any, ...],
) -> None:  # fmt: skip
    block = (counter + begin) % 2**128 if begin else counter
    loop(*[a[each * begin : each * end] for a in arrays], *as_uint64(key, block), *others)


@jit
def some_blocks(out: Any, start: int, count: int, low: Any, high: Any, key: Any) -> None:
    """The words of the blocks start, start + 1, ... after high * 2^64 + low: word i of each to out[i], uint32 (4, BATCH)."""
    out0, out1, out2, out3 = out[0], out[1], out[2], out[3]
    for b in range(count):
        block = low + np.uint64(start + b)
        upper = high + (ONE if block < low else ZERO)
        c0, c1, c2, c3 = block & LOW, block >> SHIFT_32, upper & LOW, upper >> SHIFT_32
        k0, k1 = key & LOW, key >> SHIFT_32
        for _ in range(ROUNDS):
            product_0, product_2 = MULTIPLIER_0 * c0, MULTIPLIER_2 * c2
            c0, c1 = (product_2 >> SHIFT_32) ^ c1 ^ k0, product_2 & LOW
            c2, c3 = (product_0 >> SHIFT_32) ^ c3 ^ k1, product_0 & LOW
            k0, k1 = (k0 + WEYL_0) & LOW, (k1 + WEYL_1) & LOW
        out0[b], out1[b], out2[b], out3[b] = c0, c1, c2, c3


@jit(nogil=True)
def philox_loop(out: Any, low: Any, high: Any, key: Any) -> None:
    w = np.empty((4, BATCH), np.uint32)
    for start in range(0, out.size, 4 * BATCH):
        n = min(4 * BATCH, out.size - start)
        some_blocks(w, start // 4, (n + 3) // 4, low, high, key)
        for i in range(n):
            out[start + i] = w[i % 4, i // 4]


@jit(forceinline=True)
def upper_24_bits(word: Any) -> Any:
    return np.float32(np.int32(word >> np.uint32(8))) * np.float32(2**-24)


@jit(nogil=True)
def uniform_loop(out: Any, low: Any, high: Any, key: Any) -> None:
    w = np.empty((4, BATCH), np.uint32)
    for start in range(0, out.size, 4 * BATCH):
        n = min(4 * BATCH, out.size - start)
        some_blocks(w, start // 4, (n + 3) // 4, low, high, key)
        for i in range(n):
            out[start + i] = upper_24_bits(w[i % 4, i // 4])


@jit(nogil=True)
def uniform_64_loop(out: Any, low: Any, high: Any, key: Any) -> None:
    w = np.empty((4, BATCH), np.uint32)
    for start in range(0, out.size, 2 * BATCH):
        n = min(2 * BATCH, out.size - start)
        some_blocks(w, start // 2, (n + 1) // 2, low, high, key)
        for i in range(n):
            first, second = np.uint64(w[2 * (i % 2), i // 2]), np.uint64(w[2 * (i % 2) + 1, i // 2])
            out[start + i] = np.float64(((first << SHIFT_32) | second) >> SHIFT_11) * 2.0**-53


# The logarithm, sine and cosine of Box and Muller, without branches or calls, so that a loop over them becomes SIMD.

QUARTER, HALF_QUARTER = np.int64(1 << 30), np.int64(1 << 29)  # of a turn, which is 2^32
EXPONENT_ONE, FRACTION, EXPONENT_SHIFT = np.int64(1023 << 52), np.int64((1 << 52) - 1), np.int64(52)
ATANH = tuple(2.0 / n for n in range(21, 1, -2))  # 2 atanh(s) = s (2 + 2/3 s^2 + 2/5 s^4 + ...), the last terms first
SINE = tuple((-1.0) ** n / math.factorial(2 * n + 1) for n in range(7, 0, -1))
COSINE = tuple((-1.0) ** n / math.factorial(2 * n) for n in range(8, 0, -1))


@jit(fastmath={"contract"}, forceinline=True)
def polynomial(coefficients: Any, z: float) -> float:
    """z (c_n + z (c_(n-1) + ...)), for the coefficients from the last to the first."""
    total = 0.0
    for c in coefficients:
        total = total * z + c
    return total * z


@jit(fastmath={"contract"}, forceinline=True)
def log_64(x: float) -> float:
    """log(x) for 0 < x <= 1, and not too small: x = 2^k m with 1/sqrt(2) < m <= sqrt(2), s = (m - 1) / (m + 1)."""
    pattern = np.float64(x).view(np.int64)
    m = np.int64((pattern & FRACTION) | EXPONENT_ONE).view(np.float64)
    k = np.float64(np.int64((pattern - EXPONENT_ONE) >> EXPONENT_SHIFT))
    large = m > SQRT_2
    m, k = 0.5 * m if large else m, k + 1.0 if large else k
    s = (m - 1.0) / (m + 1.0)
    return k * LN_2 + s * (2.0 + polynomial(ATANH, s * s))


@jit(fastmath={"contract"}, forceinline=True)
def box_muller(word1: Any, word2: Any) -> Any:
    """The angle is reduced to an eighth of a turn to either side, where few terms of the series do; quarters exchange
    sine and cosine, and change signs."""
    r = math.sqrt(-2 * log_64((np.float64(word1) + 1) * 2.0**-32))
    quarters = (np.int64(word2) + HALF_QUARTER) // QUARTER
    angle = np.float64(np.int64(word2) - quarters * QUARTER) * (2 * math.pi * 2.0**-32)
    z = angle * angle
    sine, cosine = angle + angle * polynomial(SINE, z), 1.0 + polynomial(COSINE, z)
    swapped = quarters & np.int64(1) != 0
    x, y = sine if swapped else cosine, cosine if swapped else sine
    x = -x if (quarters + np.int64(1)) & np.int64(2) != 0 else x
    y = -y if quarters & np.int64(2) != 0 else y
    return np.float32(r * x), np.float32(r * y)


@jit(nogil=True)
def normal_loop(out: Any, low: Any, high: Any, key: Any) -> None:
    w, numbers = np.empty((4, BATCH), np.uint32), np.empty((4, BATCH), np.float32)
    w0, w1, w2, w3 = w[0], w[1], w[2], w[3]
    n0, n1, n2, n3 = numbers[0], numbers[1], numbers[2], numbers[3]
    for start in range(0, out.size, 4 * BATCH):
        n = min(4 * BATCH, out.size - start)
        count = (n + 3) // 4
        some_blocks(w, start // 4, count, low, high, key)
        for b in range(count):
            n0[b], n1[b] = box_muller(w0[b], w1[b])
        for b in range(count):
            n2[b], n3[b] = box_muller(w2[b], w3[b])
        for i in range(n):
            out[start + i] = numbers[i % 4, i // 4]


@jit(nogil=True)
def dropout_loop(x: Any, out: Any, low: Any, high: Any, key: Any, threshold: Any, scale: float) -> None:
    kept, dropped = np.float32(scale), np.float32(0)
    w = np.empty((4, BATCH), np.uint32)
    w0, w1, w2, w3 = w[0], w[1], w[2], w[3]
    for start in range(0, x.size, 4 * BATCH):
        n = min(4 * BATCH, x.size - start)
        some_blocks(w, start // 4, (n + 3) // 4, low, high, key)
        for b in range(n // 4):
            i = start + 4 * b
            out[i] = x[i] * (kept if w0[b] >= threshold else dropped)
            out[i + 1] = x[i + 1] * (kept if w1[b] >= threshold else dropped)
            out[i + 2] = x[i + 2] * (kept if w2[b] >= threshold else dropped)
            out[i + 3] = x[i + 3] * (kept if w3[b] >= threshold else dropped)
        for i in range(n - n % 4, n):
            out[start + i] = x[start + i] * (kept if w[i % 4, i // 4] >= threshold else dropped)


# CUDA: see random.cu. A thread computes one block of the stream, four elements.

CU = Source(
    "random.cu",
    Entry("philox_blocks", "philox", registers=32, rtol=0),
    Entry("uniform_blocks", "uniform", registers=32, rtol=0),
    # rtol: one unit in the last place, rarely; the stack is that of CUDA's cosine of large angles, which do not occur
    Entry("normal_blocks", "normal", registers=48, stack=40, rtol=1e-7),
    Entry("dropout_naive", "dropout", registers=32, rtol=0, types=ELEMENTS),
    Entry("dropout_blocks", "dropout", registers=32, rtol=0, types=ELEMENTS),
)
THREADS = 256


def supports_words_cuda(out: Array, key: int, counter: int) -> bool:
    return launchable(out, types=("uint32",))


def supports_fill_cuda(out: Array, key: int, counter: int) -> bool:
    return launchable(out)


def supports_dropout_cuda(x: Array, p: float, key: int, counter: int) -> bool:
    return launchable(x, types=ELEMENTS)


def fill(entry: str, out: Array, key: int, counter: int) -> None:
    CU.launch(entry, blocks_for(out.size, 4 * THREADS), THREADS, out, out.size, *as_uint64(key, counter))


@philox.variant("cuda", device="cuda", supports=supports_words_cuda)
def philox_cuda(out: Array, key: int, counter: int) -> None:
    fill("philox_blocks", out, key, counter)


@uniform.variant("cuda", device="cuda", supports=supports_fill_cuda)
def uniform_cuda(out: Array, key: int, counter: int) -> None:
    fill("uniform_blocks", out, key, counter)


@normal.variant("cuda", device="cuda", supports=supports_fill_cuda)
def normal_cuda(out: Array, key: int, counter: int) -> None:
    fill("normal_blocks", out, key, counter)


@dropout.variant("cuda", device="cuda", supports=supports_dropout_cuda, copies=True)
def dropout_cuda(x: Array, p: float, key: int, counter: int) -> Array:
    out, numbers = array_module(x).empty_like(x), (*threshold_and_scale(p), *as_uint64(key, counter))
    CU.launch("dropout_blocks", blocks_for(x.size, 4 * THREADS), THREADS, x, out, x.size, *numbers)
    return out


@dropout.variant("cuda_naive", device="cuda", supports=supports_dropout_cuda)
def dropout_naive(x: Array, p: float, key: int, counter: int) -> Array:
    out, numbers = array_module(x).empty_like(x), (*threshold_and_scale(p), *as_uint64(key, counter))
    CU.launch("dropout_naive", blocks_for(x.size, THREADS), THREADS, x, out, x.size, *numbers)
    return out
