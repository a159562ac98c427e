"""Each operation on registers against its meaning in NumPy, at every width; the example of the module's docstring."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import subprocess
import sys
import textwrap
import types
from pathlib import Path

import numpy as np
import pytest

from minidl.kernels import simd
from minidl.kernels.jit import jit
from minidl.kernels.simd import (
    WIDTH,
    any_lane,
    bits,
    broadcast,
    broadcast4,
    collect,
    dot4,
    first,
    float32,
    floor,
    fma,
    from_bits,
    int32,
    lane_numbers,
    load,
    load4,
    max_lanes,
    maximum,
    minimum,
    rint,
    select,
    splat,
    sqrt,
    store,
    sum_lanes,
    width,
)
from minidl.kernels.tile import add_dots, int_tile, store_tile

numba = pytest.importorskip("numba")
TESTS = Path(__file__)
outer = pytest.mark.skipif("MINIDL_SIMD" in os.environ, reason="this is one of the runs of test_other_widths")
SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 1.5, -1.5, 3e38, 1e-45, 2.0, -7.25, 0.5]


def both(kernel, *args):
    """The kernel compiled and, on copies of args, run by Python with the operations' meanings; all written arrays."""
    meanings = {**vars(simd), "WIDTH": width(), "np": np}
    function = types.FunctionType(kernel.__wrapped__.__code__, meanings)
    copies = [a.copy() if isinstance(a, np.ndarray) else a for a in args]
    with np.errstate(all="ignore"):
        wanted = function(*copies)
    got = kernel(*args)
    return (got, *args), (wanted, *copies)


def same(kernel, *args, rtol=0.0):
    for g, w in zip(*both(kernel, *args), strict=True):
        if w is not None:
            np.testing.assert_allclose(g, w, rtol=rtol, atol=0)


def floats(count=3, seed=0):
    """Rows of WIDTH floats in which every special value meets every other somewhere."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(count, width())).astype(np.float32)
    mixed = rng.choice(np.float32(SPECIAL), (count, width()))
    return np.where(rng.random((count, width())) < 0.5, mixed, rows)


def ints(seed=0):
    return np.random.default_rng(seed).integers(-(2**31), 2**31 - 1, (3, width())).astype(np.int32)


@jit
def float_arithmetic(a, b, out):
    x, y = load(a, 0), load(b, 0)
    store(out, 0 * WIDTH, x + y)
    store(out, 1 * WIDTH, x - 2.5)
    store(out, 2 * WIDTH, np.float32(3) * y)
    store(out, 3 * WIDTH, x / y)
    store(out, 4 * WIDTH, -x)
    store(out, 5 * WIDTH, abs(x))
    store(out, 6 * WIDTH, floor(x))
    store(out, 7 * WIDTH, sqrt(y))
    store(out, 8 * WIDTH, minimum(x, y))
    store(out, 9 * WIDTH, maximum(x, 0))
    total = x + 0.0
    total += y
    total *= 0.5
    total -= x
    total /= 3
    store(out, 10 * WIDTH, total)


@jit
def collected(x, table, out):
    store(out, 0, collect(x, 2, table, 1))


def test_lanes_from_anywhere():
    x, table = floats(4).reshape(-1), np.random.default_rng(0).integers(-2, 4 * width() - 2, width() + 1)
    same(collected, x, table, np.zeros(width(), np.float32))


@jit
def comparisons(a, b, out):
    x, y = load(a, 0), load(b, 0)
    store(out, 0 * WIDTH, select(x < y, x, y))
    store(out, 1 * WIDTH, select(x <= y, 1.0, y))
    store(out, 2 * WIDTH, select(x > 0.5, x, -1.0))
    store(out, 3 * WIDTH, select(x >= y, 1.0, 2.0))
    store(out, 4 * WIDTH, select(x == y, 1.0, 2.0))
    store(out, 5 * WIDTH, select(x != x, 1.0, 2.0))
    store(out, 6 * WIDTH, select((x > 0.0) & (y > 0.0), 1.0, 2.0))
    store(out, 7 * WIDTH, select((x > 0.0) | ~(y > 0.0), 1.0, 2.0))
    store(out, 8 * WIDTH, select((x > 0.0) ^ (y > 0.0), 1.0, 2.0))
    return any_lane(x > 1e38), any_lane(x != x), any_lane((x < 0.0) & (x > 0.0))


@jit
def int_arithmetic(a, b, out):
    x, y = load(a, 0), load(b, 0)
    store(out, 0 * WIDTH, x + y)
    store(out, 1 * WIDTH, x - 3)
    store(out, 2 * WIDTH, x * y)
    store(out, 3 * WIDTH, -x)
    store(out, 4 * WIDTH, abs(y))
    store(out, 5 * WIDTH, x & y)
    store(out, 6 * WIDTH, x | 5)
    store(out, 7 * WIDTH, x ^ y)
    store(out, 8 * WIDTH, ~x)
    store(out, 9 * WIDTH, x << 3)
    store(out, 10 * WIDTH, x >> 5)
    store(out, 11 * WIDTH, minimum(x, y))
    store(out, 12 * WIDTH, maximum(x, 0))
    store(out, 13 * WIDTH, select(x > y, x, lane_numbers()))
    store(out, 14 * WIDTH, splat(7) + lane_numbers())
    return sum_lanes(x), max_lanes(x)


@jit
def fused(a, b, c, out):
    store(out, 0, fma(load(a, 0), load(b, 0), load(c, 0)))
    store(out, WIDTH, fma(load(a, 0), 0.75, broadcast(c, 1)))


@jit
def conversions(x, n, out, iout):
    store(iout, 0, int32(load(x, 0)))
    store(iout, WIDTH, bits(load(x, 0)))
    store(out, 0, float32(load(n, 0)))
    store(out, WIDTH, from_bits(bits(load(x, 0)) ^ -(2**31)))


@jit
def lane_sums(x):
    return sum_lanes(load(x, 0)), max_lanes(load(x, 0))


@jit
def numbers(x, y, n):
    x, y = x[0], y[0]
    return (fma(x, 0.5, y), minimum(x, y), maximum(x, y), select(x < y, x, y), sqrt(y), floor(x), int32(x), float32(n),
            bits(x), from_bits(n))  # fmt: skip


def test_floats():
    for seed in range(8):
        a, b, c = floats(3, seed)
        same(float_arithmetic, a, b, np.zeros((11, width()), np.float32), rtol=2e-7)
        same(comparisons, a, b, np.zeros((9, width()), np.float32))
        same(fused, a, b, c, np.zeros((2, width()), np.float32), rtol=1e-6)


def test_float_arithmetic_is_exact():
    a, b = np.random.default_rng(1).normal(size=(2, width())).astype(np.float32)
    out = np.zeros((11, width()), np.float32)
    float_arithmetic(a, b, out)
    np.testing.assert_array_equal(out[:4], [a + b, a - np.float32(2.5), 3 * b, a / b])


def test_minimum_and_maximum_with_nan_give_the_second():
    nan, one = np.full(width(), np.nan, np.float32), np.ones(width(), np.float32)
    out = np.zeros((11, width()), np.float32)
    float_arithmetic(nan, one, out)
    assert (out[8] == 1).all()  # minimum(nan, 1)
    float_arithmetic(one, nan, out)
    assert np.isnan(out[8]).all()  # minimum(1, nan)


def test_ints():
    for seed in range(4):
        a, b, _ = ints(seed)
        same(int_arithmetic, a, b, np.zeros((15, width()), np.int32))
    lowest = np.full(width(), -(2**31), np.int32)
    same(int_arithmetic, lowest, lowest, np.zeros((15, width()), np.int32))


def test_conversions():
    x = np.resize(np.float32([0, -0.9, 1.99, -1e9, 2e9, 0.5]), width())
    same(conversions, x, ints()[0], np.zeros((2, width()), np.float32), np.zeros((2, width()), np.int32))


def test_across_the_lanes():
    x = np.random.default_rng(0).normal(size=width()).astype(np.float32)
    total, largest = lane_sums(x)
    np.testing.assert_allclose(total, x.astype(np.float64).sum(), rtol=1e-6)
    assert largest == x.max()
    for i in range(width()):  # every lane is looked at
        unit = -np.ones(width(), np.float32)
        unit[i] = 5
        assert lane_sums(unit) == (5 - (width() - 1), 5)


def test_the_functions_take_numbers_too():
    pairs = [(-1.25, 2.0), (3.5, 0.25), (1.0, np.inf)]
    for x, y in pairs:
        same(numbers, np.float32([x]), np.float32([y]), 12345)


@jit
def copy(x, i, n, out, o):
    store(out, o, load(x, i, first(n)), first(n))


@jit
def scatter_masked(x, out):
    store(out, 0, load(x, 0, load(x, 0) > 0.0))
    store(out, WIDTH, load(x, 0), load(x, 0) > 0.0)


def test_parts_of_a_register_at_any_position():
    for n in range(-1, width() + 3):
        x = np.arange(1, 2 * width() + 2, dtype=np.float32)
        out = np.full(2 * width() + 2, -1, np.float32)
        copy(x, 1, n, out, 2)
        here = min(max(n, 0), width())
        wanted = np.full_like(out, -1)
        wanted[2 : 2 + here] = x[1 : 1 + here]
        np.testing.assert_array_equal(out, wanted)
    assert np.iinfo(np.int64).max > 2**40
    same(copy, np.ones(width(), np.float32), 0, 2**40, np.zeros(width(), np.float32), 0)


def test_masked_lanes():
    x = np.random.default_rng(3).normal(size=width()).astype(np.float32)
    same(scatter_masked, x, np.full(2 * width(), 7, np.float32))


def test_a_masked_load_does_not_touch_what_lies_behind_a_page():
    mmap = pytest.importorskip("mmap")
    page = mmap.mmap(-1, mmap.PAGESIZE)  # the page behind it may not be mapped; at least the end is really used
    x = np.frombuffer(page, np.float32)
    x[:] = 3
    out = np.zeros(width(), np.float32)
    copy(x, x.size - 1, 1, out, 0)
    assert out.tolist() == [3] + [0] * (width() - 1)
    del x
    page.close()


@jit
def narrow(x, out):
    store(out, 0, load(x, 0) + 1)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32])
def test_small_ints_are_widened_and_cut(dtype):
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    x = np.random.default_rng(0).integers(low, high, width(), dtype=dtype, endpoint=True)
    x[:2] = low, high
    same(narrow, x, np.zeros(width(), dtype))


@jit
def four(u, s, total, out):
    store(out, 0, dot4(load(total, 0), load4(u, 0), load4(s, 0)))
    store(out, WIDTH, dot4(load(total, 0), broadcast4(u, 4), load4(s, 0)))


def test_dot4_is_exact():
    rng = np.random.default_rng(0)
    for u in (rng.integers(0, 256, 4 * width()), np.full(4 * width(), 255)):
        for s in (rng.integers(-128, 128, 4 * width()), np.full(4 * width(), -128), np.full(4 * width(), 127)):
            same(four, u.astype(np.uint8), s.astype(np.int8), ints()[0] // 2, np.zeros((2, width()), np.int32))


def test_rounding_and_tiles_of_ints():
    x = np.resize(np.float32([0.5, 1.5, -2.5, 3.4, -0.2]), width())
    same(whole, x, np.zeros(width(), np.float32))
    rng = np.random.default_rng(0)
    u, s = rng.integers(0, 256, 40).astype(np.uint8), rng.integers(-128, 128, 16 * width()).astype(np.int8)
    out = np.zeros((3, 2 * width()), np.int32)
    dots(u, s, out)
    wanted = np.stack(
        [u[i : i + 8].astype(int) @ s.reshape(2, -1, 4).transpose(0, 2, 1).reshape(8, -1) for i in (0, 8, 16)]
    )
    np.testing.assert_array_equal(out, wanted)


@jit
def whole(x, out):
    store(out, 0, rint(load(x, 0)))


@jit
def dots(u, s, out):
    t = int_tile(3, 2)
    for k in range(0, 8, 4):
        t = add_dots(t, u, k, 8, s, 2 * k * WIDTH)
    store_tile(out, 0, 2 * WIDTH, t, 2 * WIDTH)


def test_dot4_without_the_instruction_is_the_same(monkeypatch):
    from minidl.kernels import _simd

    monkeypatch.setattr(_simd, "FEATURES", set())
    plain = {**vars(_simd), "dot4": numba.extending.intrinsic(_simd.dot4.py_func)}
    shifts = numba.njit(types.FunctionType(four.__wrapped__.__code__, plain))
    rng = np.random.default_rng(1)
    u = rng.integers(0, 256, 4 * width()).astype(np.uint8)
    s = rng.integers(-128, 128, 4 * width()).astype(np.int8)
    out, other = np.zeros((2, 2, width()), np.int32)
    shifts(u, s, ints()[0], out)
    four(u, s, ints()[0], other)
    np.testing.assert_array_equal(out, other)


@jit(cache=False)
def dot(x, y):
    a, b = splat(0.0), splat(0.0)
    for i in range(0, x.size - 2 * WIDTH + 1, 2 * WIDTH):
        a = fma(load(x, i), load(y, i), a)
        b += load(x, i + WIDTH) * load(y, i + WIDTH)
    return sum_lanes(a + b)


def test_the_inner_loop_is_fused_instructions_on_full_registers_and_nothing_else():
    """Both spellings of a * b + c, no test of a bound, no call."""
    x = np.random.default_rng(0).random(64).astype(np.float32)
    np.testing.assert_allclose(dot(x, x), x @ x, rtol=1e-6)
    if "fma" not in simd.cpu_features() or (width() == 16 and "avx512f" not in simd.cpu_features()):
        pytest.skip("looks for x86's fused instructions")
    (assembly,) = dot.inspect_asm().values()
    register = {4: "xmm", 8: "ymm", 16: "zmm"}[width()]
    blocks = [b for b in re.split(r"^\.?\w+:$", assembly, flags=re.MULTILINE) if "vfmadd" in b]
    assert blocks
    for block in blocks:
        body = [line.split()[0] for line in block.splitlines() if line.startswith("\t") and line.split()[0][0] != "."]
        assert len(re.findall(rf"vfmadd\w+ps\s.*%{register}", block)) >= 2, block
        assert not [i for i in body if i.startswith("call")], block
        assert sum(i.startswith("j") for i in body) <= 1, block  # the loop's own


def load_module(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_example_in_the_docstring(tmp_path):
    code = re.search(r"\n((?:    .*\n)*    @jit\n(?:    .*\n)*)", simd.__doc__).group(1)
    names = "WIDTH, first, load, splat, store, sum_lanes"
    head = f"from minidl.kernels.jit import jit\nfrom minidl.kernels.simd import {names}\n\n\n"
    (tmp_path / "example.py").write_text(head + textwrap.dedent(code))
    example = load_module(tmp_path / "example.py")
    rng = np.random.default_rng(0)
    for n in range(2 * width() + 2):
        x, y = rng.random((2, n + 1)).astype(np.float32)
        wanted = 2.0 * x[:n] + y[:n]
        last = y[n]
        total = example.axpy(np.float32(2), x[:n], y[:n])
        np.testing.assert_allclose(y[:n], wanted, rtol=2e-7)
        np.testing.assert_allclose(total, wanted.sum(), rtol=1e-6)
        assert y[n] == last


@jit
def mixed(x, n):
    return sum_lanes(load(x, 0) + load(n, 0))


@jit
def half_an_int(n):
    return sum_lanes(load(n, 0) + 0.5)


@jit
def wrong_store(x, n):
    store(x, 0, load(n, 0))


@jit
def of_doubles(x):
    return sum_lanes(load(x, 0))


def test_what_does_not_go_together_is_said():
    x, n = np.zeros(width(), np.float32), np.zeros(width(), np.int32)
    for kernel, args, message in [
        (mixed, (x, n), r"do not go together; see float32\(\) and int32\(\)"),
        (half_an_int, (n,), r"a number of type float64 does not go together with \d+ x int32"),
        (wrong_store, (x, n), r"store of \d+ x int32 into array\(float32, 1d, C\), which takes \d+ x float32"),
        (of_doubles, (x.astype(np.float64),), r"expected an array of float32, .*got array\(float64"),
    ]:
        with pytest.raises(numba.TypingError, match=message):
            kernel(*args)


def python(code, **environment):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=120)
    return done.stdout or done.stderr.splitlines()[-1]


@outer
def test_where_the_width_comes_from():
    show = "from minidl.kernels import simd; print(simd.width())"
    for features, lanes in [("", 4), ("+avx2", 4), ("+avx2,+fma", 8), ("+avx2,+fma,+avx512f,+avx512bw", 16)]:
        environment = {"MINIDL_SIMD": "", "NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": features}
        assert python(show, **environment) == f"{lanes}\n"
    assert python(show, MINIDL_SIMD="8", NUMBA_CPU_FEATURES="") == "8\n"
    assert "MINIDL_SIMD='5': the number of float32 lanes is one of 4, 8, 16" in python(show, MINIDL_SIMD="5")


@outer
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names of x86 registers")
@pytest.mark.parametrize(
    ("lanes", "absent"), [("8", r"zmm|[xy]mm(1[6-9]|[23]\d)"), ("4", r"[yz]mm|xmm(1[6-9]|[23]\d)")]
)
def test_fewer_lanes_are_of_a_cpu_without_wider_registers(lanes, absent, tmp_path):
    """Of loops that the compiler vectorises itself, too."""
    show = (
        "import re, numpy as np; from minidl.kernels import activation as a; x = np.ones(64, np.float32); a.relu(x); "
        f"text = ''.join(a.relu_loop.inspect_asm().values()); print(len(text) > 500, re.findall({absent!r}, text))"
    )
    environment = {"MINIDL_SIMD": lanes, "NUMBA_CACHE_DIR": str(tmp_path)}
    assert python(show, **environment) == "True []\n"
    told = {**environment, "NUMBA_CPU_NAME": "x86-64-v4", "NUMBA_CPU_FEATURES": "+avx512f"}
    assert python("from minidl.kernels import simd; print(simd.width(), simd.cpu_features())", **told) == (
        f"{lanes} {{'avx512f'}}\n"
    )


@outer
def test_cached_code_of_another_width_is_not_used(tmp_path):
    (tmp_path / "scalar.py").write_text(
        "from minidl.kernels.jit import jit\nfrom minidl.kernels.simd import WIDTH, load, sum_lanes\n\n"
        "@jit\ndef lanes(x):\n    return WIDTH\n\n@jit\ndef total(x):\n    return sum_lanes(load(x, 0))\n"
    )
    show = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import numpy as np, scalar; "
        "x = np.ones(64, np.float32); print(scalar.lanes(x), int(scalar.total(x)))"
    )
    for lanes in ("8", "4", "8"):
        assert python(show, MINIDL_SIMD=lanes) == f"{lanes} {lanes}\n"


@outer
def test_numba_is_not_imported_with_the_names():
    code = "import sys, minidl; from minidl.kernels import simd, blas, elementary; print('numba' in sys.modules)"
    assert python(code) == "False\n"


@outer
@pytest.mark.parametrize("lanes", sorted(set(simd.WIDTHS) - {width()}))
def test_other_widths(lanes):
    """These tests and those of the elementary functions again, in a process with another width."""
    files = [str(TESTS), str(TESTS.with_name("test_elementary.py"))]
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *files]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "MINIDL_SIMD": str(lanes)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300, cwd=TESTS.parents[2])
    assert done.returncode == 0, done.stdout[-3000:]
