"""Correct kernels: what they compute, in three orders of threads, without a false alarm."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest

from minidl.sim import KernelError, cuda, float32, int32, simulate, uint8, uint32

FULL = 0xFFFFFFFF
TABLE = np.array([2.0, 3.0, 5.0], np.float32)


@cuda.jit
def add_one(x, out):
    """A docstring is no string in the kernel's code."""
    i = cuda.grid(1)
    if i < x.size:
        out[i] = x[i] + 1


@pytest.mark.tiny
@pytest.mark.parametrize("n", [1, 31, 32, 70])
def test_map_with_a_guard(run, n):
    x, out = np.arange(n, dtype=np.float32), np.zeros(n, np.float32)
    report = run(add_one, (n + 31) // 32, 32, x, out)
    np.testing.assert_array_equal(out, x + 1)
    assert report.args[1] is out
    assert (report.reads_per_thread, report.writes_per_thread, report.global_reads) == (1, 1, n)


def test_an_empty_array_is_not_touched(run):
    assert run(add_one, 1, 32, np.zeros(0, np.float32), np.zeros(0, np.float32)).global_reads == 0


@cuda.jit
def grid_stride(x, out):
    row, column = cuda.grid(2)
    rows, columns = cuda.gridsize(2)
    for i in range(row, x.shape[0], rows):
        for j in range(column, x.shape[1], columns):
            out[i, j] = 2 * x[i, j]


@pytest.mark.parametrize("grid", [(1, 1), (7, 3)])
def test_grid_stride_loop_on_any_grid(run, grid):
    x, out = np.random.default_rng(0).random((33, 29), np.float32), np.zeros((33, 29), np.float32)
    run(grid_stride, grid, (4, 8), x, out)
    np.testing.assert_array_equal(out, 2 * x)


@cuda.jit
def block_sum(x, out):
    s = cuda.shared.array(64, float32)
    t, i = cuda.threadIdx.x, cuda.grid(1)
    s[t] = x[i] if i < x.size else float32(0)
    cuda.syncthreads()
    step = 32
    while step > 0:
        if t < step:
            s[t] += s[t + step]
        cuda.syncthreads()
        step //= 2
    if t == 0:
        cuda.atomic.add(out, 0, s[0])


def test_tree_reduction(run):
    x, out = np.arange(150, dtype=np.float32), np.zeros(1, np.float32)
    report = run(block_sum, 3, 64, x, out)
    assert out[0] == x.sum()
    assert report.barriers == 7 and report.atomics == 3 and report.shared_bytes == 256


@cuda.jit(device=True)
def warp_total(value):
    step = 16
    while step > 0:
        value += cuda.shfl_down_sync(FULL, value, step)
        step >>= 1
    return value


@cuda.jit(device=True)
def block_total(value, scratch):
    value = warp_total(value)
    if cuda.laneid == 0:
        scratch[cuda.threadIdx.x // 32] = value
    cuda.syncthreads()
    value = scratch[cuda.threadIdx.x] if cuda.threadIdx.x < cuda.blockDim.x // 32 else 0.0
    return warp_total(value)


@cuda.jit
def sum_by_warps(x, out):
    scratch = cuda.shared.array(32, float32)
    total = block_total(x[cuda.grid(1)], scratch)
    if cuda.threadIdx.x == 0:
        out[cuda.blockIdx.x] = total


def test_device_functions_with_barriers_and_shuffles(run):
    x, out = np.arange(128, dtype=np.float32), np.zeros(2, np.float32)
    run(sum_by_warps, 2, 64, x, out)
    np.testing.assert_array_equal(out, [x[:64].sum(), x[64:].sum()])


@cuda.jit
def warp_operations(out):
    i = cuda.laneid
    out[0, i] = cuda.shfl_sync(FULL, i, 3)
    out[1, i] = cuda.shfl_up_sync(FULL, i, 2)
    out[2, i] = cuda.shfl_xor_sync(FULL, i, 1)
    out[3, i] = cuda.ballot_sync(FULL, i % 2)
    out[4, i] = cuda.all_sync(FULL, i < 32)
    out[5, i] = cuda.any_sync(FULL, i > 31)
    out[6, i] = cuda.match_any_sync(FULL, i // 16)
    out[7, i] = cuda.match_all_sync(FULL, i)[0]
    out[8, i] = cuda.eq_sync(FULL, i >= 0)
    if i < 16:
        out[9, i] = cuda.shfl_down_sync(0xFFFF, i, 1) if i < 15 else cuda.shfl_down_sync(0xFFFF, i, 0)
    out[10, i] = cuda.lanemask_lt()


@cuda.jit
def half_a_warp(out):
    i = cuda.laneid
    if i < 16:
        out[i] = cuda.shfl_xor_sync(0xFFFF, i, 1)


def test_warp_operations(run):
    out = np.full((11, 32), -1, np.int64)
    lane = np.arange(32)
    with pytest.raises(Exception, match="all lanes of a mask execute the same line"):
        run(warp_operations, 1, 32, out)  # row 9: two lines of shuffles, one mask
    expected = [
        3,
        np.maximum(lane - 2, 0) + (lane == 1),
        lane ^ 1,
        0xAAAAAAAA,
        1,
        0,
        np.where(lane < 16, 0xFFFF, 0xFFFF0000),
        0,
        1,
    ]
    for row, wanted in zip(out, expected, strict=False):
        np.testing.assert_array_equal(row, wanted)
    half = np.zeros(16, np.int32)
    run(half_a_warp, 1, 32, half)
    np.testing.assert_array_equal(half, lane[:16] ^ 1)


@cuda.jit
def votes(x, out):
    i = cuda.threadIdx.x
    count, every, some = cuda.syncthreads_count(x[i]), cuda.syncthreads_and(x[i]), cuda.syncthreads_or(x[i])
    if i == 0:
        out[0], out[1], out[2] = count, every, some


def test_votes_of_a_block(run):
    out = np.zeros(3, np.int32)
    assert run(votes, 1, 64, np.arange(64) % 4, out).barriers == 3
    assert out.tolist() == [48, 0, 1]


@cuda.jit
def atomics(x, seen):
    i = cuda.grid(1)
    cuda.atomic.add(x, 0, i)
    cuda.atomic.sub(x, 1, 1)
    cuda.atomic.max(x, 2, i)
    cuda.atomic.min(x, 3, i)
    cuda.atomic.or_(x, 4, 1 << (i % 8))
    cuda.atomic.and_(x, 5, ~(1 << (i % 4)))
    cuda.atomic.xor(x, 6, 3)
    cuda.atomic.inc(x, 7, 9)
    cuda.atomic.dec(x, 8, 9)
    cuda.atomic.cas(x, 9, 0, 7)
    seen[cuda.atomic.exch(x, 10, i + 1)] = 1


def test_atomics(run):
    x, seen = np.array([0, 0, -1, 99, 0, 15, 0, 0, 0, 0, 0], np.int32), np.zeros(33, np.int32)
    run(atomics, 2, 16, x, seen)
    assert x[:10].tolist() == [496, -32, 31, 0, 255, 0, 0, 2, 8, 7]
    assert seen.sum() == 32  # every value but the last one was taken out by exactly one thread


@cuda.jit
def lock(x, mutex):
    while cuda.atomic.cas(mutex, 0, 0, 1) != 0:
        pass
    cuda.atomic.add(x, 0, cuda.atomic.add(x, 0, 0) + 1)
    cuda.threadfence()
    cuda.atomic.exch(mutex, 0, 0)


def test_a_thread_that_spins_lets_the_others_run(run):
    x = np.zeros(1, np.int64)
    run(lock, 1, 8, x, np.zeros(1, np.int32))
    assert x[0] == 255


@cuda.jit
def two_in_dynamic_memory(x, out):
    n = cuda.blockDim.x
    whole = cuda.shared.array(0, float32)
    a = whole[:n]
    b = whole[n:]
    i = cuda.threadIdx.x
    a[i] = x[i]
    b[i] = 10 * x[i]
    cuda.syncthreads()
    out[i] = a[n - 1 - i] + b[n - 1 - i]


def test_dynamic_shared_memory_in_slices(run):
    x, out = np.arange(40, dtype=np.float32), np.zeros(40, np.float32)
    report = run(two_in_dynamic_memory, 1, 40, x, out, shared=320)
    np.testing.assert_array_equal(out, 11 * x[::-1])
    assert report.shared_bytes == 320 and {a.array for a in report.loads} == {"x", "whole"}


@cuda.jit
def local_and_constant(x, out):
    i = cuda.grid(1)
    best = cuda.local.array((2, 2), float32)
    weights = cuda.const.array_like(TABLE)
    for j in range(2):
        for k in range(2):
            best[j, k] = x[i] + j
    out[i] = best[1, 0] * weights[1] + TABLE[2]


def test_local_and_constant_memory(run):
    x, out = np.arange(4, dtype=np.float32), np.zeros(4, np.float32)
    report = run(local_and_constant, 2, 2, x, out)
    np.testing.assert_array_equal(out, (x + 1) * 3 + 5)
    assert report.global_reads == 16  # of x; neither local nor constant memory is global memory


def make_scaled(factor):
    @cuda.jit
    def scaled(x, power=2):
        i = cuda.grid(1)
        x[i] = factor * x[i] ** power

    return scaled


def test_closures_and_defaults(run):
    x = np.arange(4, dtype=np.float32)
    run(make_scaled(3), 1, 4, x)
    np.testing.assert_array_equal(x, [0, 3, 12, 27])


@cuda.jit
def numbers(f, i8, u32, half, i64):
    f[0] = math.exp(f[0])
    f[1] = math.log(f[1])
    f[2] = math.sqrt(f[2])
    i8[0] = i8[0] * 3
    i8[1] = 3.9
    u32[0] = uint32(-1)
    u32[1] = uint32(4000000000 * 3) ^ uint8(257)
    half[0] = half[0] + half[0]
    i64[0] = i8[2] * i8[2]
    i64[1] = cuda.popc(0xFF) + cuda.clz(1) + cuda.ffs(8)
    i64[2] = cuda.brev(1)
    f[3] = cuda.fma(f[3], f[3], 1.0)
    f[4] = cuda.selp(f[4] > 0, 1, 2)
    f[5] = int32(2.9)
    f[6] = f[6] / f[7]


def test_numbers_are_those_of_the_arrays(run):
    f = np.array([1000, 0, -1, 3, 4, 0, 1, 0], np.float32)
    i8, u32, half, i64 = (
        np.array([100, 0, 100], np.int8),
        np.zeros(2, np.uint32),
        np.full(1, 40000, np.float16),
        np.zeros(3, np.int64),
    )
    run(numbers, 1, 1, f, i8, u32, half, i64)
    np.testing.assert_array_equal(f, np.array([np.inf, -np.inf, np.nan, 10, 1, 2, np.inf, 0], np.float32))
    assert i8.tolist() == [300 - 256, 3, 100]
    assert u32.tolist() == [2**32 - 1, 12000000000 % 2**32 ^ 1]
    assert half[0] == np.inf
    assert i64.tolist() == [10000, 8 + 31 + 4, 1 << 31]


def test_strided_and_overlapping_arguments(run):
    whole = np.arange(64, dtype=np.float32)
    run(add_one, 1, 32, whole[::2], whole[1::2])
    np.testing.assert_array_equal(whole[1::2], whole[::2] + 1)
    report = simulate(add_one, 1, 32, whole[:32], whole[1:33])
    assert len(report.races) == 1  # x and out are parts of one array


def test_brackets_launch_as_in_numba():
    x, out = np.zeros(3, np.float32), np.zeros(3, np.float32)
    assert add_one[1, 3](x, out).threads == 3
    assert two_in_dynamic_memory[1, 3, 0, 24](x, out).shared_bytes == 24
    with pytest.raises(TypeError, match=r"launch it as add_one\[grid, block\]"):
        add_one(x, out)
    with pytest.raises(AttributeError, match="in a kernel only"):
        _ = cuda.threadIdx


def test_kernels_of_numba_are_simulated_too():
    numba_cuda = pytest.importorskip("numba.cuda")
    from numba import float32

    @numba_cuda.jit(device=True)
    def twice(x):
        return x + x

    @numba_cuda.jit
    def kernel(x):
        s = numba_cuda.shared.array(4, float32)
        i = numba_cuda.threadIdx.x
        s[i] = twice(x[i])
        numba_cuda.syncthreads()
        x[i] = s[3 - i]

    x = np.arange(4, dtype=np.float32)
    assert simulate(kernel, 1, 4, x).ok
    np.testing.assert_array_equal(x, [6, 4, 2, 0])


def test_cuda_as_an_attribute_of_numba():
    numba = pytest.importorskip("numba")
    pytest.importorskip("numba.cuda")

    @numba.cuda.jit
    def kernel(x):
        s = numba.cuda.shared.array(shape=(2, 2), dtype=numba.float32)
        i = numba.cuda.threadIdx.x
        s[1, i] = numba.float32(x[i])
        numba.cuda.syncthreads()
        x[i] = s[1, 1 - i]

    x = np.arange(2.0)
    report = simulate(kernel, 1, 2, x)
    assert x.tolist() == [1, 0] and report.ok and report.barriers == 1


def test_no_numba_no_environment_variable_no_heavy_import(tmp_path):
    (tmp_path / "file.py").write_text(
        "from numba import cuda, float32\n\n@cuda.jit\ndef k(x):\n    s = cuda.shared.array(2, float32)\n"
        "    s[cuda.threadIdx.x] = 1\n    cuda.syncthreads()\n    x[cuda.threadIdx.x] = s[0]\n"
    )
    code = (
        "import sys, importlib.util, numpy as np\n"
        "real = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *a: None if name == 'numba' else real(name, *a)\n"
        "sys.modules['numba'] = None\n"
        "from minidl.sim import load, simulate\n"
        "del sys.modules['numba']\n"
        f"k = load({str(tmp_path / 'file.py')!r}).k\n"
        "assert 'numba' not in sys.modules\n"
        "x = np.zeros(2, np.float32); report = simulate(k, 1, 2, x)\n"
        "print(x.tolist(), report.races[0:], [m for m in ('numba', 'scipy', 'matplotlib') if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "[1.0, 1.0] [] []\n", done.stderr


def test_a_thousand_threads_meet_at_a_hundred_barriers(run):
    """With a thread of the operating system each this takes minutes; no time is asserted."""

    @cuda.jit
    def kernel(x):
        i = cuda.threadIdx.x
        for _ in range(100):
            cuda.syncthreads()
        x[i] = i

    x = np.zeros(1000)
    assert run(kernel, 1, 1000, x).barriers == 100
    assert x[999] == 999


def test_a_docstring_that_is_not_indented_and_letters_of_two_bytes():
    if True:

        @cuda.jit
        def kernel(x):
            """First line,
            second line at the margin."""
            größe = 2; x[0] = größe; x[1] = x[0]  # fmt: skip  # noqa: E702

    report = simulate(kernel, 1, 1, np.zeros(2))
    assert [access.text for access in report.accesses] == ["x[0]", "x[0]", "x[1]"]
    with pytest.raises(KernelError, match="a function made by `def`"):
        simulate(cuda.jit(lambda x: None), 1, 1, np.zeros(2))
