"""Kernels that are wrong: each error names the kernel, the line, the block and the thread."""

from __future__ import annotations

import math

import numpy as np
import pytest

from minidl.sim import KernelError, cuda, float32, simulate


def refused(kernel, *args, grid=1, block=32, **options):
    with pytest.raises(KernelError) as caught:
        simulate(kernel, grid, block, *args, **options)
    return caught.value


@cuda.jit
def no_guard(x):
    i = cuda.grid(1)
    x[i] = 1


@cuda.jit
def left_neighbour(x, out):
    i = cuda.grid(1)
    if i < x.size:
        out[i] = x[i] - x[i - 1]


@cuda.jit
def tile_edge(x):
    i, j = cuda.grid(2)
    x[i, j] = x[i, j + 1]


@pytest.mark.tiny
@pytest.mark.parametrize("n", [1, 39, 63])
def test_out_of_bounds(n, line_of, order):
    error = refused(no_guard, np.zeros(n), grid=2, order=order)
    assert (error.kind, error.kernel, error.line) == ("bounds", "no_guard", line_of(no_guard, "x[i] = 1"))
    at = 32 * error.block[0] + error.thread[0]
    assert at >= n and (at == n or order != "forward")
    assert str(error) == (
        f"test_sim_errors.py:{error.line}: no_guard: block {error.block[0]} thread {error.thread[0]}: x[{at}] is out of bounds, "
        f"the shape is {n}; a GPU would go on into memory that belongs to others. Guard it: `if i < n:`"
    )


def test_negative_indices_do_not_count_from_the_end(line_of):
    error = refused(left_neighbour, np.zeros(4), np.zeros(4))
    assert (error.line, error.thread) == (line_of(left_neighbour, "out[i]"), (0, 0, 0))
    assert "x[-1] is out of bounds" in error.message and "a GPU reads before the array" in error.message


def test_out_of_bounds_in_two_dimensions():
    error = refused(tile_edge, np.zeros((4, 8)), block=(4, 8))
    assert error.thread == (0, 7, 0) and "x[0, 8] is out of bounds, the shape is (4, 8)" in error.message
    assert "block 0 thread (0, 7)" in str(error)
    assert "2 indices are given" in refused(tile_edge, np.zeros(4), block=1).message


@cuda.jit
def in_a_device_function(x):
    store(x, cuda.grid(1))


@cuda.jit(device=True)
def store(x, i):
    x[i + 1] = 1


def test_an_error_in_a_device_function_names_that(line_of):
    error = refused(in_a_device_function, np.zeros(32))
    assert (error.kernel, error.line, error.thread) == ("store", line_of(store, "x[i + 1]"), (31, 0, 0))


@cuda.jit
def float_index(x):
    x[cuda.grid(1) / 2] = 1


@cuda.jit
def slice_store(x):
    x[:] = 1


@cuda.jit
def array_store(x):
    x[0] = x


@cuda.jit
def loop_over_array(x):
    for v in x:
        x[0] = v


@cuda.jit
def divides(x):
    x[0] = 1.0 / (cuda.grid(1) - 3)


@cuda.jit
def misspelt(x):
    x[0] = undefined_name  # noqa: F821


@pytest.mark.parametrize(
    "kernel, message",
    [
        (float_index, "the index 0.0 of x is no integer; `//` divides integers"),
        (slice_store, "a slice of x is assigned to: write one element per thread"),
        (array_store, "a whole array is stored into one element of x"),
        (loop_over_array, "a loop over the array x: loop over indices"),
        (divides, "division by zero"),
        (misspelt, "NameError: name 'undefined_name' is not defined"),
    ],
)
def test_mistakes_of_python(kernel, message):
    error = refused(kernel, np.zeros(32))
    assert message in error.message and error.line and error.block == (0, 0, 0)


@cuda.jit
def barrier_in_if(x):
    i = cuda.grid(1)
    if i < 20:
        cuda.syncthreads()
    x[i] = 1


@cuda.jit
def early_return(x):
    i = cuda.threadIdx.x
    if i >= x.size:
        return
    x[i] = i
    cuda.syncthreads()


@cuda.jit
def two_barriers(x):
    i = cuda.threadIdx.x
    if i < 16:
        cuda.syncthreads()
    else:
        cuda.syncthreads()


def test_barriers_that_not_all_threads_reach(line_of, order):
    error = refused(barrier_in_if, np.zeros(32), order=order)
    assert (error.kind, error.line) == ("barrier", line_of(barrier_in_if, "syncthreads"))
    assert "only 20 of 32 threads reach this cuda.syncthreads()" in error.message
    error = refused(early_return, np.zeros(20), order=order)
    assert error.line == line_of(early_return, "syncthreads") and "have ended" in error.message
    error = refused(two_barriers, np.zeros(32), order=order)
    first = line_of(two_barriers, "syncthreads")
    assert {error.line, int(error.message.split("of line ")[1].split(".")[0])} == {first, first + 2}


@cuda.jit
def shuffle_after_return(x):
    i = cuda.laneid
    if i == 31:
        return
    x[i] = cuda.shfl_down_sync(0xFFFFFFFF, i, 1)


@cuda.jit
def shuffle_and_barrier(x):
    i = cuda.laneid
    if i < 16:
        x[i] = cuda.shfl_xor_sync(0xFFFFFFFF, i, 1)
    else:
        cuda.syncthreads()


@cuda.jit
def wrong_mask(x):
    i = cuda.laneid
    x[i] = cuda.shfl_sync(0xFF, i, 0)


@cuda.jit
def waits_for_ever(x):
    while x[0] == 0:
        pass


def test_warp_operations_without_a_partner(line_of, order):
    error = refused(shuffle_after_return, np.zeros(32), order=order)
    assert error.kind == "warp" and error.thread == (30, 0, 0) and error.line == line_of(shuffle_after_return, "shfl")
    assert "reads from lane 31, which does not take part: it has ended" in error.message
    error = refused(shuffle_after_return, np.zeros(16), block=16, order=order)
    assert error.thread == (15, 0, 0) and "reads from lane 16" in error.message
    error = refused(shuffle_and_barrier, np.zeros(32), order=order)
    assert (
        "waits for lane 16" in error.message
        and f"of line {line_of(shuffle_and_barrier, 'syncthreads')}" in error.message
    )
    assert "the mask 0xff does not name lane" in refused(wrong_mask, np.zeros(32), order=order).message


def test_a_loop_without_end(monkeypatch):
    monkeypatch.setattr("minidl.sim.run.MAX_TURNS", 50)
    error = refused(waits_for_ever, np.zeros(1))
    assert error.kind == "barrier" and "does it wait for what no thread does?" in error.message and error.line


BIG = 64 * 64


@cuda.jit
def too_much_shared(x):
    a = cuda.shared.array((64, 64), float32)
    b = cuda.shared.array((64, 129), float32)
    a[0, 0] = b[0, 0] = x[0]


@cuda.jit
def size_of_an_argument(x, n):
    a = cuda.shared.array(n, float32)
    a[0] = x[0]


@cuda.jit
def size_is_an_expression(x):
    a = cuda.local.array((2, BIG + 1), float32)
    a[0, 0] = x[0]


@cuda.jit
def needs_dynamic(x):
    a = cuda.shared.array(0, float32)
    a[0] = x[0]


def test_shared_memory(line_of):
    error = refused(too_much_shared, np.zeros(1))
    assert (error.kind, error.line) == ("memory", line_of(too_much_shared, "b ="))
    assert "to 49408 bytes, and it can have 49152" in error.message
    assert "depends on 'n'" in refused(size_of_an_argument, np.zeros(1), 4).message
    assert "takes no expression as a size; give BIG + 1 a name" in refused(size_is_an_expression, np.zeros(1)).message
    assert "launch with shared=bytes" in refused(needs_dynamic, np.zeros(1)).message
    assert "0 to 49152" in refused(needs_dynamic, np.zeros(1), shared=50000).message


@pytest.mark.parametrize(
    "grid, block, message",
    [
        (1, 1025, "block 1025: x is 1025, and must be from 1 to 1024"),
        (1, (32, 33), "a block of 32 x 33 x 1 threads: 1024 is the most"),
        (1, (1, 1, 65), "z is 65, and must be from 1 to 64"),
        (0, 32, "grid 0: x is 0"),
        ((1, 70000), 32, "y is 70000, and must be from 1 to 65535"),
        (1.5, 32, "grid 1.5: it is an int or up to three of them"),
        ((1, 1, 1, 1), 32, "it is an int or up to three of them"),
    ],
)
def test_launch_sizes(grid, block, message):
    error = refused(no_guard, np.zeros(1), grid=grid, block=block)
    assert error.kind == "launch" and message in str(error)


def test_arguments():
    assert "takes 1 arguments (x), got 2" in refused(no_guard, np.zeros(1), 2).message
    assert "x is list: a kernel takes NumPy arrays and numbers" in refused(no_guard, [1]).message
    assert "expected a kernel" in refused(3).message
    with pytest.raises(ValueError, match="order 'backward'; it is one of forward, reverse, random"):
        simulate(no_guard, 1, 1, np.zeros(1), order="backward")


def plain(x):
    return x


@cuda.jit
def calls_plain(x):
    x[0] = plain(x[0])


@cuda.jit
def calls_numpy(x):
    x[0] = np.exp(x[0])


@cuda.jit
def comprehension(x):
    x[0] = max([v for v in (1, 2)])


@cuda.jit
def calls_sum(x):
    i = 0
    x[i] = sum((1, 2))


@cuda.jit
def has_dict(x):
    d = {1: 2}
    x[0] = d[1]


@cuda.jit
def has_list(x):
    d = [1, 2]
    x[0] = d[1]


@cuda.jit
def has_string(x):
    name = "a"
    x[0] = len(name)


@cuda.jit
def f_string(x):
    print(f"{x[0]}")


@cuda.jit
def tries(x):
    try:
        x[0] = 1
    except Exception:
        pass


@cuda.jit
def inner(x):
    def f(y):
        return y

    x[0] = f(1)


@cuda.jit
def returns(x):
    return x[0]


@cuda.jit
def imports(x):
    import math

    x[0] = math.pi


@cuda.jit
def unknown(x):
    x[0] = cuda.clock64()


@cuda.jit
def misspelt_barrier(x):
    cuda.syncthread()


@cuda.jit(device=True)
def factorial(n):
    return n * factorial(n - 1) if n > 1 else 1


@cuda.jit
def recursive(x):
    x[0] = factorial(4)


@cuda.jit
def alias(x):
    sync = cuda.syncthreads
    sync()


@cuda.jit
def comb(x):
    x[0] = math.comb(4, 2)


@pytest.mark.parametrize(
    "kernel, text, message",
    [
        (calls_plain, "= plain(x", r"plain\(\) is a plain Python function: put @cuda.jit\(device=True\) above it"),
        (calls_numpy, "np.exp", r"np.exp\(\): a kernel computes single numbers"),
        (comprehension, "[v for", "a list comprehension"),
        (calls_sum, "sum((1", r"sum\(\): CUDA has no such function; add up in a loop"),
        (has_dict, "{1: 2}", "a dict"),
        (has_list, "[1, 2]", "a list: use cuda.local.array"),
        (has_string, '"a"', "a string"),
        (f_string, "print", "an f-string"),
        (tries, "try:", "try: CUDA has no exceptions"),
        (inner, "def f", "a function inside of a kernel"),
        (returns, "return x", "a kernel returns nothing"),
        (imports, "import math", "an import inside of a kernel"),
        (unknown, "clock64", r"cuda.clock64: the simulator does not have it; `help\(minidl.sim\)` lists what it has"),
        (misspelt_barrier, "syncthread()", r"cuda.syncthread: .* does not have it; nearest: syncthreads"),
        (comb, "comb(4", "math.comb: CUDA has no such function"),
    ],
)
def test_python_that_cuda_does_not_have(kernel, text, message, line_of):
    with pytest.raises(KernelError, match=message) as caught:
        simulate(kernel, 1, 1, np.zeros(2))
    assert (caught.value.kind, caught.value.line) == ("unsupported", line_of(kernel, text))


def test_other_names_and_recursion(line_of):
    error = refused(recursive, np.zeros(1))
    assert (error.kernel, error.line) == ("factorial", line_of(factorial, "@cuda")) and "calls itself" in error.message
    error = refused(alias, np.zeros(1))
    assert error.line == line_of(alias, "sync =") and "write cuda.syncthreads() where it is called" in error.message


def test_names_imported_out_of_numba_cuda():
    numba_cuda = pytest.importorskip("numba.cuda")
    threadIdx = numba_cuda.threadIdx

    @numba_cuda.jit
    def kernel(x):
        x[threadIdx.x] = 1

    with pytest.raises(
        KernelError, match=r"threadIdx: import cuda alone, `from numba import cuda`, and write cuda.threadIdx"
    ):
        simulate(kernel, 1, 1, np.zeros(1))


def test_a_kernel_without_a_source():
    scope = {"cuda": cuda}
    exec("@cuda.jit\ndef k(x):\n    x[0] = 1\n", scope)
    with pytest.raises(KernelError, match="its source cannot be read: write it to a file"):
        simulate(scope["k"], 1, 1, np.zeros(1))
