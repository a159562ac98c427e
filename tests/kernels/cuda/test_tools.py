"""The tools themselves: what the CPU run refuses and how it says so, and what a launch checks."""

from __future__ import annotations

import shutil
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from minidl import kernels
from minidl.kernels import cuda
from minidl.kernels.softmax import CU, softmax
from minidl.testing import cuda_on_cpu

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")

LESSONS = r"""
#include "common.cuh"
extern "C" __global__ void twice(const T* x, T* out, int n) {
    long long i = thread_index();
    if (i < n) out[i] = (T)(2.0f * (float)x[i]);
}
extern "C" __global__ void divergent(float* x) {
    if (threadIdx.x < 4) __syncthreads();
    x[threadIdx.x] = 1.0f;
}
extern "C" __global__ void two_barriers(float* x) {
    if (threadIdx.x < 4) __syncthreads();
    else __syncthreads();
}
extern "C" __global__ void early_exit(float* x) {
    if (threadIdx.x == 7) return;
    x[threadIdx.x] = warp_sum(1.0f);
}
extern "C" __global__ void half_a_warp(float* x) { x[threadIdx.x] = warp_sum(1.0f); }
extern "C" __global__ void crossed(float* x) {
    if (threadIdx.x < 32) __syncthreads();
    else x[threadIdx.x] = warp_sum(threadIdx.x < 40 ? 1.0f : 0.0f);
}
extern "C" __global__ void uninitialised(float* x) {
    __shared__ float v[32];
    x[blockIdx.x * 32 + threadIdx.x] = v[threadIdx.x];
    v[threadIdx.x] = 1.0f;
}
extern "C" __global__ void missing_barrier(float* x) {
    __shared__ float v[64];
    v[threadIdx.x] = threadIdx.x;
    x[threadIdx.x] = v[63 - threadIdx.x];
}
extern "C" __global__ void votes(int* x) {
    x[threadIdx.x] = __ballot_sync(ALL_LANES, threadIdx.x % 2) + __syncthreads_count(threadIdx.x < 5) * 2;
    if (__any_sync(ALL_LANES, threadIdx.x == 3) && !__all_sync(ALL_LANES, threadIdx.x == 3)) x[threadIdx.x] += 1;
    x[threadIdx.x] += 1000 * __shfl_up_sync(ALL_LANES, (int)threadIdx.x, 1) + 100000 * __shfl_down_sync(ALL_LANES, (int)threadIdx.x, 2);
}
extern "C" __global__ void dynamic(float* x, int n) {
    SHARED_DYN(float, v);
    v[threadIdx.x + n] = x[threadIdx.x];
    __syncthreads();
    x[threadIdx.x] = v[blockDim.x - 1 - threadIdx.x];
}
extern "C" __global__ void neighbours(float* x, float* out, unsigned* arrived) {
    __shared__ float mine[4];
    SHARED_DYN(float, kept);
    mine[threadIdx.x] = kept[threadIdx.x] = blockIdx.x;
    for (int round = 0; round < 2; round++) {
        x[blockIdx.x * 4 + threadIdx.x] = 10 * round + blockIdx.x;
        grid_barrier(arrived, 0);
        float seen = x[(blockIdx.x + 1) % gridDim.x * 4 + threadIdx.x];
        out[blockIdx.x * 4 + threadIdx.x] = 100 * seen + 10 * mine[3 - threadIdx.x] + kept[3 - threadIdx.x];
        grid_barrier(arrived, 0);
    }
}
extern "C" __global__ void not_all_blocks(unsigned* arrived) {
    if (blockIdx.x < 2) grid_barrier(arrived, 0);
}
extern "C" __global__ void not_all_threads(unsigned* arrived) {
    if (threadIdx.x < 2) grid_barrier(arrived, 0);
}
extern "C" __global__ void beyond(const float* x, float* out, int n) {
    out[threadIdx.x] = x[threadIdx.x];
}
#include "mma.cuh"
template <int PIECES>
__device__ void places(int* x) {
    for (int row = 0; row < 64; row++)
        for (int piece = 0; piece < PIECES; piece++) x[row * PIECES + piece] = swizzle<PIECES>(row, piece);
}
extern "C" __global__ void swizzled(int* four, int* eight, int* sixteen) {
    places<4>(four);
    places<8>(eight);
    places<16>(sixteen);
}
"""


@pytest.fixture(scope="module")
def lessons(tmp_path_factory):
    path = tmp_path_factory.mktemp("lessons") / "lessons.cu"
    path.write_text(LESSONS)
    return path


@needs_compiler
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_a_kernel_of_ones_own(lessons, dtype):
    x, out = np.arange(20, dtype=dtype), np.zeros(20, dtype)
    cuda_on_cpu.kernel(lessons, "twice", 2, 16, x, out, 20)
    np.testing.assert_array_equal(out, 2 * x)


@needs_compiler
@pytest.mark.parametrize(
    "kernel, threads, message",
    [
        ("divergent", 8, r"thread 0 waits at __syncthreads, but thread 4 has ended: a barrier inside an if"),
        ("two_barriers", 8, r"different barriers: thread 0 at lessons\.cu:12, thread 4 at lessons\.cu:13"),
        ("early_exit", 32, r"waits in a warp operation for thread 7, which has ended: let all lanes"),
        ("half_a_warp", 16, r"names lane 16, but the block ends before it"),
        ("divergent", 2000, r"of 2000 threads .*a block has 1 to 1024 threads"),
    ],
)
def test_what_a_gpu_would_hang_on_is_an_error(lessons, kernel, threads, message):
    x = np.zeros(2048, np.float32)
    with pytest.raises(cuda_on_cpu.CudaOnCpuError, match=message):
        cuda_on_cpu.kernel(lessons, kernel, 1, threads, x)
    cuda_on_cpu.kernel(lessons, "crossed", 1, 32, x)  # and the next launch runs


@needs_compiler
def test_barriers_and_warp_operations_wait_for_each_other(lessons):
    x = np.zeros(64, np.float32)
    with pytest.raises(cuda_on_cpu.CudaOnCpuError, match="waits at __syncthreads, but thread 32 has ended"):
        cuda_on_cpu.kernel(lessons, "crossed", 1, 64, x)
    assert (x[32:] == 8).all()


@needs_compiler
def test_shared_memory_begins_as_nan_in_every_block(lessons):
    x = np.zeros(64, np.float32)
    cuda_on_cpu.kernel(lessons, "uninitialised", 2, 32, x, check=False)
    assert np.isnan(x).all()


@needs_compiler
def test_a_missing_barrier_is_seen(lessons):
    x = np.zeros(64, np.float32)
    cuda_on_cpu.kernel(lessons, "missing_barrier", 1, 64, x, check=False)
    assert np.isnan(x[:32]).all()


@needs_compiler
def test_votes_and_shuffles(lessons):
    x, i = np.zeros(32, np.int32), np.arange(32)
    cuda_on_cpu.kernel(lessons, "votes", 1, 32, x)
    odd = np.array(0xAAAAAAAA, np.uint32).astype(np.int32)
    up, down = np.where(i > 0, i - 1, 0), np.where(i < 30, i + 2, i)
    np.testing.assert_array_equal(x, odd + 5 * 2 + 1 + 1000 * up + 100000 * down)


@needs_compiler
def test_pieces_of_eight_successive_rows_lie_in_different_banks(lessons):
    tiles = [np.zeros((64, pieces), np.int32) for pieces in (4, 8, 16)]
    cuda_on_cpu.kernel(lessons, "swizzled", 1, 1, *tiles)
    for places in tiles:
        np.testing.assert_array_equal(np.sort(places, axis=None), np.arange(places.size))  # each piece has a place
        for eight in places.reshape(8, 8, -1):  # those that one matrix of load_matrices reads: one piece of eight rows
            assert (np.sort(eight % 8, axis=0) == np.arange(8)[:, None]).all()


@needs_compiler
def test_dynamic_shared_memory(lessons):
    x = np.arange(32, dtype=np.float32)
    cuda_on_cpu.kernel(lessons, "dynamic", 1, 32, x, 0, shared=128)
    np.testing.assert_array_equal(x, np.arange(32)[::-1])


@needs_compiler
def test_blocks_that_wait_for_each_other_take_turns(lessons):
    x, out, arrived = np.zeros((3, 4), np.float32), np.zeros((3, 4), np.float32), np.zeros(1, np.uint32)
    cuda_on_cpu.kernel(lessons, "neighbours", 3, 4, x, out, arrived, shared=16)
    block = np.arange(3)
    wanted = 100 * (10 + (block + 1) % 3) + 11 * block
    np.testing.assert_array_equal(out, np.repeat(wanted[:, None], 4, 1))


@needs_compiler
def test_who_misses_the_barrier_of_the_grid_is_named(lessons):
    arrived = np.zeros(1, np.uint32)
    with pytest.raises(
        cuda_on_cpu.CudaOnCpuError, match=r"2 of 3 blocks wait at grid_barrier, but the others have ended"
    ):
        cuda_on_cpu.kernel(lessons, "not_all_blocks", 3, 4, arrived)
    with pytest.raises(cuda_on_cpu.CudaOnCpuError, match=r"thread 0 waits at grid_barrier, but thread 2 has ended"):
        cuda_on_cpu.kernel(lessons, "not_all_threads", 3, 4, arrived)
    x, out = np.zeros((2, 4), np.float32), np.zeros((2, 4), np.float32)
    cuda_on_cpu.kernel(lessons, "neighbours", 2, 4, x, out, arrived, shared=16)  # and the next launch runs
    assert (out[0] == 100 * 11).all()


@needs_compiler
def test_unknown_kernels_and_sources_that_do_not_compile(lessons, tmp_path):
    with pytest.raises(cuda_on_cpu.CudaOnCpuError, match=r"has no kernel 'thrice'.*'twice'"):
        cuda_on_cpu.kernel(lessons, "thrice", 1, 1)
    broken = tmp_path / "broken.cu"
    broken.write_text('extern "C" __global__ void f(float* x) { y[0] = 1; }')
    with pytest.raises(cuda_on_cpu.CudaOnCpuError, match=r"broken\.cu does not compile(.|\n)*broken\.cu:1"):
        cuda_on_cpu.kernel(broken, "f", 1, 1, np.zeros(1, np.float32))


def test_a_missing_compiler_is_named(monkeypatch):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(RuntimeError, match=r"g\+\+ or clang\+\+, and neither is installed: .*apt install g\+\+"):
        cuda_on_cpu.compiler()


SCRIPT = """
    import sys
    import numpy as np
    from minidl.testing import cuda_on_cpu
    x, out = np.zeros(24, np.float32), np.zeros(32, np.float32)
    if sys.argv[2] == "array":
        cuda_on_cpu.kernel(sys.argv[1], "beyond", 1, 32, x, out, 24, check=False)
    elif sys.argv[2] == "shared":
        cuda_on_cpu.kernel(sys.argv[1], "dynamic", 1, 32, out, 2, shared=128, check=False)
    else:
        from minidl.kernels.softmax import softmax
        with cuda_on_cpu.running():
            for name in ("cuda_naive", "cuda_block", "cuda_online", "cuda_cached", "cuda_warp"):
                softmax.variants["cuda", name].run(np.ones((3, 20), np.float32), -1)
    print("fine")
"""


@needs_compiler
@pytest.mark.parametrize("what, line", [("array", "beyond"), ("shared", "dynamic"), ("", "")])
def test_address_sanitizer_names_the_line(lessons, tmp_path, what, line):
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))
    command = [sys.executable, "-m", "minidl.testing.cuda_on_cpu", str(script), str(lessons), what]
    done = subprocess.run(command, text=True, capture_output=True)
    if not what:
        assert done.stdout == "fine\n", done.stderr
        return
    assert done.returncode and "fine" not in done.stdout
    number = 1 + next(i for i, text in enumerate(LESSONS.splitlines()) if f"void {line}(" in text)
    wanted = f"lessons.cu:{number + (1 if what == 'array' else 2)}"
    assert "heap-buffer-overflow" in done.stderr and wanted in done.stderr, done.stderr


@needs_compiler
def test_address_sanitizer_from_the_command_line(lessons, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))
    command = [sys.executable, "-m", "minidl.testing.cuda_on_cpu", str(script), str(lessons), "array"]
    done = subprocess.run(command, text=True, capture_output=True)
    assert done.returncode and "heap-buffer-overflow" in done.stderr and "lessons.cu:" in done.stderr


@pytest.mark.parametrize("tool", ["cuda_on_cpu", "nvrtc"])
def test_a_file_that_is_not_there_ends_with_one_line(tool):
    command = [sys.executable, "-m", f"minidl.testing.{tool}", "nosuch"]
    done = subprocess.run(command, text=True, capture_output=True)
    assert done.returncode == 2 and done.stderr.splitlines()[-1].endswith("error: there is no file nosuch")


# ---- launches -------------------------------------------------------------------------------------------------------


def test_numpy_arrays_are_refused_without_the_cpu_run():
    with pytest.raises(cuda.LaunchError, match=r"softmax_warp: got NumPy arrays.*cuda_on_cpu\.running"):
        softmax.variants["cuda", "cuda"].run(np.ones((2, 2), np.float32), -1)


def test_arguments_are_checked():
    x = np.ones((2, 2), np.float32)
    with pytest.raises(cuda.LaunchError, match=r"takes 4 arguments \(x, out, count, width\), got 3"):
        CU.launch("softmax_warp", 1, 32, x, x, 2)
    with pytest.raises(
        cuda.LaunchError, match=r"argument out must be a contiguous array of float32, got float64\[2, 2\]"
    ):
        CU.launch("softmax_warp", 1, 32, x, x.astype(np.float64), 2, 2)
    with pytest.raises(cuda.LaunchError, match=r"got float32\[2, 2\], not contiguous"):
        CU.launch("softmax_warp", 1, 32, x, np.ones((2, 4), np.float32)[:, ::2], 2, 2)
    with pytest.raises(
        cuda.LaunchError, match="element type int64; the kernel is made for float32 and float16 and bfloat16"
    ):
        CU.launch("softmax_warp", 1, 32, np.ones(4, np.int64), x, 2, 2)


def test_parameters_are_read_from_the_source():
    text = 'extern "C" __global__ void __launch_bounds__(64) f(const T* __restrict__ x, unsigned long long n,\n float* y) {}'
    assert cuda.signatures(text)["f"].parameters == (
        ("T", "x", True), ("unsigned long long", "n", False), ("float", "y", True)
    )  # fmt: skip
    with pytest.raises(cuda.LaunchError, match=r"parameter 'dim3 n' has a type that launches do not know"):
        cuda.signatures('extern "C" __global__ void f(dim3 n) {}')


def test_without_cupy_or_a_gpu_the_message_says_what_to_install():
    with pytest.raises(cuda.LaunchError, match=r"CuPy is not installed|there is no GPU that CuPy can use"):
        cuda.compiled_module("softmax.cu", ())


def test_importing_the_kernels_needs_neither_cupy_nor_a_compiler():
    code = "import sys; from minidl import kernels; kernels.load_all(); sys.exit('cupy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_cuda_variant_is_explained():
    assert "cuda_naive [cuda]" in kernels.explain("softmax")


@needs_compiler
def test_kernels_for_other_elements_may_be_in_the_file(tmp_path):
    (tmp_path / "two.cu").write_text(
        '#include "common.cuh"\n#ifdef T_IS_HALF\n'
        'extern "C" __global__ void half_only(T* x) { x[0] = (T)1.0f; }\n#else\n'
        'extern "C" __global__ void ones(T* x) { x[threadIdx.x] = (T)1.0f; }\n#endif\n'
    )
    x = np.zeros(4, np.float32)
    assert cuda_on_cpu.kernel(tmp_path / "two.cu", "ones", 1, 4, x) == []
    assert (x == 1).all()
