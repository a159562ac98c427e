"""Mistakes planted in CUDA kernels: the watched CPU run names each, with the line, the threads and what to do about it."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pytest

from minidl.testing import cuda_on_cpu
from minidl.testing.cuda_findings import local_name

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")

PLANTS = re.sub(
    r"KERNEL\((\w+), ",
    r'extern "C" __global__ void \1(',
    r"""
#include "common.cuh"
#include "mma.cuh"

// ---- out of bounds
KERNEL(reads_beyond, const float* x, float* out, int n) {
    int i = thread_index();
    if (i <= n) out[i % n] = x[i];                                                          // reads_beyond
}
KERNEL(writes_beyond, float* x, int n) { if (thread_index() <= n) x[thread_index()] = 1; }  // writes_beyond
KERNEL(left_neighbour, const float* x, float* out) { out[threadIdx.x] = x[(int)threadIdx.x - 1]; }  // left_neighbour
KERNEL(wild, float* x) { x[threadIdx.x * 4000000000000LL] = 1; }                            // wild
KERNEL(next_row, float* x) {
    __shared__ float tile[8][8];
    int i = threadIdx.y, j = threadIdx.x;
    tile[i][j] = 1;
    __syncthreads();
    x[i * 8 + j] = tile[i][j + 1];                                                          // next_row
}
__device__ inline void fill(float* part, int i) { part[i + 1] = i; }                        // through_a_pointer
KERNEL(through_a_pointer, float* x) {
    __shared__ float s[33], t[33];
    fill(s, threadIdx.x);
    fill(t, threadIdx.x + 1);                                                               // through_a_pointer: call
}
KERNEL(dynamic_too_small, float* x, int n) {
    SHARED_DYN(float, s);
    s[threadIdx.x] = x[threadIdx.x];                                                        // dynamic_too_small
}
KERNEL(own_array, float* x, int n) {
    float last[4];
    for (int i = 0; i <= n; i++) last[i] = x[i];                                            // own_array
    x[0] = last[n - 1];
}
KERNEL(no_test_for_null, const float* bias, float* x) { x[threadIdx.x] += bias[threadIdx.x]; }   // no_test_for_null
KERNEL(misaligned, const float* x, float* out) {
    *reinterpret_cast<float4*>(out) = *reinterpret_cast<const float4*>(x + 1);              // misaligned
}

// ---- races
KERNEL(no_barrier, float* x) {
    __shared__ float s[64];
    s[threadIdx.x] = x[threadIdx.x];                                                        // no_barrier: first
    x[threadIdx.x] = s[63 - threadIdx.x];                                                   // no_barrier
}
KERNEL(reuse, const float* x, float* out, int n) {
    __shared__ float s[64];
    float sum = 0;
    for (int k = 0; k < n; k++) {
        s[threadIdx.x] = x[k * 64 + threadIdx.x];                                           // reuse
        __syncthreads();
        sum += s[63 - threadIdx.x];                                                         // reuse: first
    }
    out[threadIdx.x] = sum;
}
KERNEL(two_buffers, const float* x, float* out, int n) {
    __shared__ float s[2][64];
    float sum = 0;
    s[0][threadIdx.x] = x[threadIdx.x];
    for (int k = 1; k <= n; k++) {
        __syncthreads();
        if (k < n) s[(k + 1) % 2][threadIdx.x] = x[k * 64 + threadIdx.x];                   // two_buffers
        sum += s[(k - 1) % 2][63 - threadIdx.x];                                            // two_buffers: first
    }
    out[threadIdx.x] = sum;
}
KERNEL(no_syncwarp, float* x) {
    __shared__ float s[32];
    s[threadIdx.x] = x[threadIdx.x];
    __syncwarp();
    if (threadIdx.x < 16) s[threadIdx.x] += s[threadIdx.x + 16];                            // no_syncwarp: first
    if (threadIdx.x < 8) s[threadIdx.x] += s[threadIdx.x + 8];                              // no_syncwarp
}
KERNEL(histogram, const int* x, int* counts) { counts[x[threadIdx.x]] += 1; }               // histogram
KERNEL(count_and_read, int* counts, int* out) {
    atomicAdd(counts, 1);                                                                   // count_and_read
    out[threadIdx.x] = counts[0];                                                           // count_and_read: first
}
KERNEL(same_value, int* found) { if (threadIdx.x > 3) found[0] = 1; }                       // same_value
KERNEL(across_blocks, float* x, int n) {
    int i = thread_index();
    x[i] = x[(i + 1) % n];                                                                  // across_blocks
}
__device__ inline bool last_to_come(unsigned* arrived, bool fence) {
    __shared__ bool last;
    if (fence) __threadfence();
    if (threadIdx.x == 0) last = atomicAdd(arrived, 1u) == gridDim.x - 1;
    __syncthreads();
    return last;
}
KERNEL(last_block, const float* x, float* sums, unsigned* arrived, float* out, int fence) {
    float sum = block_sum(x[thread_index()]);
    if (threadIdx.x == 0) sums[blockIdx.x] = sum;                                           // last_block: first
    if (!last_to_come(arrived, fence)) return;
    sum = block_sum(threadIdx.x < gridDim.x ? sums[threadIdx.x] : 0.0f);                    // last_block
    if (threadIdx.x == 0) out[0] = sum;
}

// ---- memory that was not set, copies that are on their way
KERNEL(half_set, float* x) {
    __shared__ float s[64];
    if (threadIdx.x < 40) s[threadIdx.x] = 1;
    __syncthreads();
    x[threadIdx.x] = s[threadIdx.x];                                                        // half_set
}
template <int N>
__device__ inline float of_a_template(int i) {
    __shared__ float s[N];
    float v = s[i];                                                                         // in_a_template
    s[i] = 1;
    return v;
}
KERNEL(in_a_template, float* x) { x[threadIdx.x] = of_a_template<32>(threadIdx.x); }        // in_a_template: call
KERNEL(copies, const float* x, float* out, int commit, int wait, int barrier) {
    SHARED_DYN(float4, s);
    copy_async(s + threadIdx.x, x + 4 * threadIdx.x, true);                                 // copies: first
    if (commit) copies_commit();
    if (wait) copies_wait<0>();
    if (barrier) __syncthreads();
    out[threadIdx.x] = s[31 - threadIdx.x].x;                                               // copies
}
KERNEL(shared_input, const float* __restrict__ x, float* out) { out[threadIdx.x] = x[threadIdx.x]; }

// ---- barriers and warp operations
KERNEL(barrier_in_if, float* x) {
    if (threadIdx.x < 40) __syncthreads();                                                  // barrier_in_if
    x[threadIdx.x] = 1;
}
KERNEL(return_before_barrier, float* x, int n) {
    if (threadIdx.x >= n) return;
    __syncthreads();                                                                        // return_before_barrier
    x[threadIdx.x] = 1;
}
KERNEL(lane_not_named, int* x) { x[threadIdx.x] = __shfl_sync(0xFFFFu, x[threadIdx.x], 3); }    // lane_not_named
KERNEL(source_not_named, int* x) {
    if (threadIdx.x < 16) x[threadIdx.x] = __shfl_sync(0xFFFFu, x[threadIdx.x], 16);        // source_not_named
}
KERNEL(part_of_a_warp, float* x) { x[threadIdx.x] = __shfl_xor_sync(ALL_LANES, x[threadIdx.x], 1); }  // part_of_a_warp

// ---- numbers
KERNEL(flat_index, float* x, int rows, int width) {
    int at = rows * width;                                                                  // flat_index
    if (at == 0) x[0] = 1;
}
KERNEL(to_int8, const float* x, signed char* out) { out[threadIdx.x] = (signed char)x[threadIdx.x]; }  // to_int8
KERNEL(no_width, int* x, int width) { x[threadIdx.x] = threadIdx.x / width; }               // no_width
KERNEL(waits, int* flag) { while (*(volatile int*)flag == 0) {} }                           // waits

// ---- launches
extern "C" __global__ void __launch_bounds__(64, 2) at_most_64(float* x) { x[thread_index()] = 1; }
KERNEL(no_stride, float* x, int n) { if (thread_index() < n) x[thread_index()] = 1; }
""",
)


@pytest.fixture(scope="module")
def plants(tmp_path_factory):
    path = tmp_path_factory.mktemp("plants") / "plants.cu"
    path.write_text(PLANTS)
    return path


def line(mark):
    """The number of the line that ends in a comment."""
    return 1 + next(i for i, text in enumerate(PLANTS.splitlines()) if text.endswith(f"// {mark}"))


def floats(*shape):
    return np.zeros(shape, np.float32)


ROWS = np.arange(3, dtype=np.int32).repeat(16)  # 48 numbers, the same in neighbouring threads
CASES = [  # kernel, block, arguments, options, what is said, with the lines that carry the comments
    ("reads_beyond", 32, (floats(20), floats(20), 20), {},
     "out of bounds: thread 20 at {here} reads x[20], and x has 20 elements; guard it"),
    ("writes_beyond", 32, (floats(4, 5), 20), {}, "thread 20 at {here} writes x[20], and x has 20 elements [4, 5]; guard it"),
    ("left_neighbour", 32, (floats(32), floats(32)), {}, "thread 0 at {here} reads x[-1], and x has 32 elements; test the index"),
    ("wild", 32, (floats(32),), {}, "thread 1 at {here} writes an address that is in no array; print the index"),
    ("next_row", (8, 8), (floats(64),), {},
     "thread (7, 0) at {here}: index 8 of float [8]; each index must stay in its own dimension"),
    ("through_a_pointer", 32, (floats(1),), {}, "thread 31 at {here} called at {call} writes shared t[33], and t has 33 elements"),
    ("dynamic_too_small", 32, (floats(32), 32), {"shared": 100},
     "thread 25 at {here} writes byte 100 of dynamic shared memory, and the launch gave it 100 bytes; launch with more, shared=bytes"),
    ("own_array", 1, (floats(8), 4), {}, "thread 0 at {here}: index 4 of float [4]"),
    ("no_test_for_null", 32, (None, floats(32)), {}, "null pointer: thread 0 at {here} uses one to const float; test for nullptr"),
    ("misaligned", 1, (floats(8), floats(4)), {}, "misaligned: thread 0 at {here} accesses memory as const struct float4, which needs a "
     "multiple of 16 bytes, and this is 4 beyond one: a GPU stops there; test the alignment"),
    ("no_barrier", 64, (floats(64),), {}, "race: shared s[32]: thread 31 reads at {here}, thread 32 writes at {first}, and nothing orders "
     "them (64 times); put __syncthreads() between the two"),
    ("reuse", 64, (floats(128), floats(64), 2), {},
     "race: shared s[31]: thread 31 writes at {here}, thread 32 reads at {first}, and nothing orders them"),
    ("two_buffers", 64, (floats(192), floats(64), 3), {}, "shared s[32]: thread 31 reads at {first}, thread 32 writes at {here}, and nothing"),
    ("no_syncwarp", 32, (floats(32),), {}, "shared s[8]: thread 0 reads at {here}, thread 8 writes at {first}, and nothing orders them "
     "(8 times); put __syncthreads() between the two, or if only lanes of one warp share it __syncwarp(): a warp is not in step"),
    ("histogram", 48, (ROWS, np.zeros(3, np.int32)), {}, "race: counts[0]: thread 0 writes at {here}, thread 1 reads at {here}, and "
     "nothing orders them (135 times); update it with atomicAdd or the like"),
    ("count_and_read", 8, (np.zeros(1, np.int32), np.zeros(8, np.int32)), {}, "race: counts[0]: thread 0 reads at {first}, thread 1 "
     "updates at {here}, and nothing orders them (13 times); put __syncthreads() between the atomic updates"),
    ("same_value", 8, (np.zeros(1, np.int32),), {}, "race: found[0]: thread 4 writes at {here}, thread 5 writes at {here}, and nothing "
     "orders them (3 times); let one thread write it, or use an atomic function"),
    ("across_blocks", 32, (floats(64), 64), {"grid": 2}, "x[32]: thread 31 of block 0 reads at {here}, thread 0 of block 1 writes at {here}, "
     "and nothing orders them (2 times); blocks run in no order: give each its own elements"),
    ("last_block", 32, (floats(96), floats(3), np.zeros(1, np.uint32), floats(1), 0), {"grid": 3}, "sums[0]: thread 0 of block 0 writes at "
     "{first}, thread 0 of block 2 reads at {here}, and nothing orders them (8 times); blocks run in no order"),
    ("half_set", 64, (floats(64),), {}, "not set: thread 40 at {here} reads shared s[40], to which no thread of the block has written: a GPU "
     "gives what happens to be there (24 times); set all of it first"),
    ("in_a_template", 32, (floats(32),), {}, "not set: thread 0 at {here} called at {call} reads shared s[0]"),
    ("copies", 32, (floats(128), floats(32), 0, 1, 1), {"shared": 512}, "not there yet: thread 0 at {here} reads byte 496 of dynamic shared "
     "memory, and the asynchronous copy to it, begun at {first}, is under way (32 times); after the copies copies_commit()"),
    ("copies", 32, (floats(128), floats(32), 1, 0, 1), {"shared": 512}, "and before their data are used copies_wait<n>()"),
    ("copies", 32, (floats(128), floats(32), 1, 1, 0), {"shared": 512},
     "race: byte 256 of dynamic shared memory: thread 15 reads at {here}, thread 16 writes at {first}"),
    ("barrier_in_if", 64, (floats(64),), {}, "{here}: thread 0 waits at __syncthreads, but thread 40 has ended: a barrier inside an if"),
    ("return_before_barrier", 64, (floats(64), 60), {}, "{here}: thread 0 waits at __syncthreads, but thread 60 has ended"),
    ("lane_not_named", 32, (np.zeros(32, np.int32),), {}, "{here}: thread 16 calls a warp operation with the mask 0xffff, which does not "
     "name its own lane 16: name all lanes that call"),
    ("source_not_named", 32, (np.zeros(32, np.int32),), {}, "{here}: thread 0 reads from lane 16, which the mask 0xffff does not name"),
    ("part_of_a_warp", 48, (floats(48),), {}, "{here}: a warp operation names lane 16, but the block ends before it"),
    ("flat_index", 1, (floats(1), 70000, 40000), {}, "overflow: thread 0 at {here}: 70000 * 40000 in int is too large; compute it in long long"),
    ("to_int8", 1, (np.full(1, 300, np.float32), np.zeros(1, np.int8)), {},
     "out of range: thread 0 at {here}: a conversion from float to signed char; limit the value"),
    ("no_width", 32, (np.zeros(32, np.int32), 0), {}, "division by zero: thread 0 at {here}: a GPU goes on with a meaningless integer"),
    ("waits", 1, (np.zeros(1, np.int32),), {}, "endless: thread 0 at {here} is in a loop that does not end"),
    ("at_most_64", 65, (floats(65),), {}, "a block of 65 threads: the kernel is compiled for at most 64, by __launch_bounds__"),
    ("no_stride", 1025, (floats(9), 9), {}, "1025 threads with 0 bytes of dynamic shared memory: a block has 1 to 1024 threads"),
]  # fmt: skip


@pytest.mark.parametrize("kernel, block, args, options, said", CASES, ids=lambda v: v if isinstance(v, str) else "")
def test_a_mistake_is_named(plants, kernel, block, args, options, said):
    grid = options.get("grid", 1)
    args = tuple(a.copy() if isinstance(a, np.ndarray) else a for a in args)
    with pytest.raises(cuda_on_cpu.CudaOnCpuError) as caught:
        cuda_on_cpu.kernel(plants, kernel, grid, block, *args, shared=options.get("shared", 0))
    message = re.sub(r" `.*?`(?= |,|:|;|$)", "", str(caught.value))  # without the source of the lines
    marks = {"here": kernel, "first": f"{kernel}: first", "call": f"{kernel}: call"}
    said = said.format(**{name: f"plants.cu:{line(mark)}" for name, mark in marks.items() if f"// {mark}\n" in PLANTS})
    assert f"plants.cu: {kernel}: " in message and said in message, f"{message}\n\n{said}"


@pytest.mark.parametrize("order", cuda_on_cpu.ORDERS)
@pytest.mark.parametrize("kernel, block, args, options", [
    ("last_block", 32, (np.ones(96, np.float32), floats(3), np.zeros(1, np.uint32), floats(1), 1), {"grid": 3}),
    ("copies", 32, (floats(128), floats(32), 1, 1, 1), {"shared": 512}),
    ("at_most_64", 64, (floats(64),), {}),
    ("dynamic_too_small", 32, (floats(32), 32), {"shared": 128}),
    ("flat_index", 1, (floats(1), 40000, 40000), {}),
], ids=lambda v: v if isinstance(v, str) else "")  # fmt: skip
def test_what_is_right_passes(plants, kernel, block, args, options, order):
    args = tuple(a.copy() if isinstance(a, np.ndarray) else a for a in args)
    grid, shared = options.get("grid", 1), options.get("shared", 0)
    assert cuda_on_cpu.kernel(plants, kernel, grid, block, *args, shared=shared, order=order) == []


@pytest.mark.parametrize("kernel, block, args", [
    ("no_barrier", 64, (floats(64),)),
    ("reuse", 64, (floats(128), floats(64), 2)),
    ("two_buffers", 64, (floats(192), floats(64), 3)),
    ("histogram", 48, (ROWS, np.zeros(3, np.int32))),
], ids=lambda v: v if isinstance(v, str) else "")  # fmt: skip
@pytest.mark.parametrize("order", cuda_on_cpu.ORDERS)
def test_a_race_is_seen_in_every_order(plants, kernel, block, args, order):
    with pytest.raises(cuda_on_cpu.CudaOnCpuError, match=r"race: .*nothing orders them"):
        cuda_on_cpu.kernel(plants, kernel, 1, block, *args, order=order)


def test_an_array_that_is_written_in_part_is_a_remark(plants):
    x = floats(2, 20)
    assert cuda_on_cpu.kernel(plants, "no_stride", 1, 32, x, 40) == [
        "x: 32 of 40 elements are written, the first that is not is x[1, 12]"
    ]
    assert (x.reshape(-1)[:32] == 1).all()


def test_restrict_and_an_alias(plants):
    x = np.arange(64, dtype=np.float32)
    with pytest.raises(
        cuda_on_cpu.CudaOnCpuError, match="alias: x is const and __restrict__, and the launch gives out the same memory"
    ):
        cuda_on_cpu.kernel(plants, "shared_input", 1, 32, x[:32], x[1:33])
    cuda_on_cpu.kernel(plants, "shared_input", 1, 32, x[:32], x[32:])
    np.testing.assert_array_equal(x[32:], x[:32])


@pytest.mark.parametrize("line, message", [
    ("float sum; for (int i = 0; i < threadIdx.x; i++) sum += x[i]; x[0] = sum;", r"uninitialised\.cu:2:\d+: error: .sum. may be used uninit"),
    ("float sum; sum += x[0]; x[0] = sum;", r"uninitialised\.cu:2:\d+: error: .sum. is used uninitialized"),
])  # fmt: skip
def test_a_variable_that_is_not_set_does_not_compile(tmp_path, line, message):
    path = tmp_path / "uninitialised.cu"
    path.write_text(f'#include "common.cuh"\nextern "C" __global__ void f(float* x) {{ {line} }}\n')
    with pytest.raises(cuda_on_cpu.CudaOnCpuError, match=message):
        cuda_on_cpu.kernel(path, "f", 1, 32, floats(1))


def test_an_order_that_is_none(plants):
    with pytest.raises(ValueError, match=r"order 'backward'; it is one of forward, reverse, random"):
        cuda_on_cpu.kernel(plants, "no_stride", 1, 1, floats(1), 1, order="backward")


def test_names_of_shared_variables_in_symbols():
    assert local_name("_ZZ8sum_treeE1v") == local_name("_ZZ3fooILi32EEffiE1v_0") == "v"
    assert local_name("_ZZL13combine_blockIL4Kind0EEffE7partial") == "partial"
    assert local_name("_ZN3cpuL3nowE") == local_name("twice") == ""
