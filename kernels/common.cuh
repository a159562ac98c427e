// What the CUDA kernels of this folder share: the element type T, 16-byte packs, reductions over a warp and a block, the sums of
// a softmax, and Philox. Plain CUDA C++ without further headers, so that NVRTC, nvcc and minidl/testing/cuda_cpu.h (a CPU) all
// take it. README.md beside this file says in which order to read the kernels, and how to run them without a GPU.
//
// Words used throughout:
//
//   thread       computes; what it works on is in its *registers*, at most 255. What does not fit is *spilled* to memory, which no
//                kernel here does.
//   warp         32 threads with successive numbers, its *lanes*. It executes one instruction for all of them together; by a
//                *shuffle* (__shfl_...) lanes read each other's registers.
//   block        up to 32 warps on one *multiprocessor*. They share some of its fast *shared memory*, and can wait for each other
//                at a *barrier* (__syncthreads).
//   grid         all blocks of a launch. They start in any order, and none can count on another.
//   memory       without another word is the GPU's large one, "global memory". It moves lines of 128 bytes, through two caches.
//   coalesced    a load (or store) by which the lanes of a warp want neighbours: 32 floats are one line. Were they far apart, as
//                many lines as lanes would move, for 4 bytes of each.
//   floor        the time that must pass: every number that the work needs read once and every result written once, at the rate
//                at which memory is copied; or the operations, at the rate of the arithmetic, if that takes longer.
//   bank         one of the 32 parts of shared memory, each of which serves 4 bytes at a time; word k lies in bank k % 32. Lanes
//                that want different words of one bank wait for each other, a *conflict*; one word goes to all that want it.
//   occupancy    how many warps run at a time on a multiprocessor, of 64 at most (32 or 48 on smaller GPUs): while one waits for
//                memory, others compute. Its 65536 registers and its shared memory are divided among them, so that 64 warps leave
//                32 registers a thread. __launch_bounds__(256, 2): blocks of 256 threads, and the compiler is to spend registers
//                so that two of them fit at a time.
//   __restrict__ as in C: these arrays do not overlap, so that loads may be moved before stores.
//   unrolled     a loop (#pragma unroll) that is written out, so that the arrays which it indexes can be registers, and its loads
//                are all *under way*, or "in flight", before the first is waited for.
#pragma once

#if defined(TYPE_float16)
#ifdef __CUDACC__
#include <cuda_fp16.h>
#endif
typedef half T;
#elif defined(TYPE_bfloat16)
#ifdef __CUDACC__
#include <cuda_bf16.h>
#endif
typedef __nv_bfloat16 T;  // the upper half of a float: its range, with 8 bits of precision
#else
typedef float T;
#endif
#if defined(TYPE_float16) || defined(TYPE_bfloat16)
#define T_IS_HALF 1  // two bytes: what the tensor cores multiply
#endif

typedef unsigned long long u64;

// Dynamic shared memory: its size is an argument of the launch. (On the CPU the macro is defined by cuda_cpu.h.)
#ifndef SHARED_DYN
#define SHARED_DYN(type, name) \
    extern __shared__ __align__(16) unsigned char shared_bytes[]; \
    type* name = reinterpret_cast<type*>(shared_bytes)
#endif

constexpr unsigned ALL_LANES = 0xFFFFFFFFu;
#define INFINITE __int_as_float(0x7F800000)
#define NOT_A_NUMBER __int_as_float(0x7FC00000)
#define LOWEST (-3.402823466e38f)  // the lowest finite float

// ---- indices ------------------------------------------------------------------------------------------------------

__device__ inline long long thread_index() { return blockIdx.x * (long long)blockDim.x + threadIdx.x; }
__device__ inline long long thread_count() { return gridDim.x * (long long)blockDim.x; }
__device__ inline int lane_index() { return threadIdx.x % 32; }
__device__ inline int warp_index() { return threadIdx.x / 32; }
__device__ inline int ceil_div(int a, int b) { return (a + b - 1) / b; }

// ---- 16 bytes at once ---------------------------------------------------------------------------------------------
// A warp that loads 32 packs of 16 bytes asks memory for 512 bytes with one instruction: a quarter of the instructions
// that single floats need. The address must be a multiple of 16.

constexpr int PACK = 16 / sizeof(T);
struct alignas(16) Pack {
    T v[PACK];
};

__device__ inline Pack load_pack(const T* p) { return *reinterpret_cast<const Pack*>(p); }
__device__ inline void store_pack(T* p, Pack pack) { *reinterpret_cast<Pack*>(p) = pack; }
__device__ inline bool packed(const void* p) { return reinterpret_cast<u64>(p) % 16 == 0; }

// ---- reductions ---------------------------------------------------------------------------------------------------
// Within a warp the lanes exchange registers: after the steps 16, 8, 4, 2, 1 every lane has the sum over all of them.
// Across warps the 32 partial results go through shared memory. The order is fixed, so a result is the same at every run.

__device__ inline float warp_sum(float v) {
    for (int step = 16; step > 0; step /= 2) v += __shfl_xor_sync(ALL_LANES, v, step);
    return v;
}

__device__ inline float warp_max(float v) {
    for (int step = 16; step > 0; step /= 2) v = fmaxf(v, __shfl_xor_sync(ALL_LANES, v, step));
    return v;
}

// Sum over the block, in every thread. All threads must call it, and the block must consist of whole warps.
__device__ inline float block_sum(float v) {
    __shared__ float partial[32];
    v = warp_sum(v);
    __syncthreads();  // whoever still reads the partial sums of a call before this one
    if (lane_index() == 0) partial[warp_index()] = v;
    __syncthreads();
    v = lane_index() < blockDim.x / 32 ? partial[lane_index()] : 0.0f;
    return warp_sum(v);
}

__device__ inline float block_max(float v) {
    __shared__ float partial[32];
    v = warp_max(v);
    __syncthreads();
    if (lane_index() == 0) partial[warp_index()] = v;
    __syncthreads();
    v = lane_index() < blockDim.x / 32 ? partial[lane_index()] : -INFINITE;
    return warp_max(v);
}

// A block of (32, TALL) threads has 32 columns side by side, and TALL rows of them at a time.
constexpr int TALL = 8;

// Sum of v over the TALL threads of a column, in the first of them; in the others anything.
__device__ inline float column_sum(float v) {
    __shared__ float partial[TALL][32];
    __syncthreads();
    partial[threadIdx.y][threadIdx.x] = v;
    __syncthreads();
    if (threadIdx.y > 0) return v;
    for (int k = 1; k < TALL; k++) v += partial[k][threadIdx.x];
    return v;
}

// ---- the sums of a softmax ----------------------------------------------------------------------------------------
// sum e^(x - m) needs the largest m first; "online" it needs one pass: when a larger m turns up, the sum so far is multiplied by
// e^(old m - new m), as if it had been the new one all along. Source: Milakov and Gimelshein, 2018.

struct OnlineSums {
    float largest, sum;  // of e^(x - largest)
};

// Take N more elements. `largest` begins at the lowest finite number and not at -inf, since -inf - -inf is not a number. (A row of
// only -inf still gives NaN: its sum stays 0.)
template <int N>
__device__ inline void take(OnlineSums& s, const float (&v)[N]) {
    float larger = s.largest;
#pragma unroll
    for (int i = 0; i < N; i++) larger = fmaxf(larger, v[i]);
    s.sum *= expf(s.largest - larger);
#pragma unroll
    for (int i = 0; i < N; i++) s.sum += expf(v[i] - larger);
    s.largest = larger;
}

// What thread `first` of `step` threads takes of a row: packs where they can be.
__device__ inline OnlineSums online_sums(const T* __restrict__ x, int width, int first, int step) {
    OnlineSums s = {LOWEST, 0.0f};
    int whole = width % PACK == 0 && packed(x) ? width : 0;  // elements that go through packs
    for (int i = first * PACK; i < whole; i += step * PACK) {
        Pack pack = load_pack(x + i);
        float v[PACK];
#pragma unroll
        for (int k = 0; k < PACK; k++) v[k] = (float)pack.v[k];
        take(s, v);
    }
    for (int i = whole + first; i < width; i += step) {
        float v[1] = {(float)x[i]};
        take(s, v);
    }
    return s;
}

// ---- Philox4x32-10 ------------------------------------------------------------------------------------------------
// Four random words from the number of their block: a function, so that any thread computes any part of the stream, and
// the stream is bit for bit that of kernels/random.py. The constants are the paper's: two multipliers, and what the key grows by in
// each round, the fractions of the golden ratio and of the root of 3. Source: Salmon, Moraes, Dror and Shaw, 2011.

__device__ inline uint4 philox(u64 block, u64 low, u64 high, u64 key) {
    block += low;
    if (block < low) high += 1;  // the carry of a 128-bit sum
    unsigned c0 = (unsigned)block, c1 = (unsigned)(block >> 32), c2 = (unsigned)high, c3 = (unsigned)(high >> 32);
    unsigned k0 = (unsigned)key, k1 = (unsigned)(key >> 32);
#pragma unroll
    for (int round = 0; round < 10; round++) {
        unsigned high0 = __umulhi(0xD2511F53u, c0), low0 = 0xD2511F53u * c0;
        unsigned high2 = __umulhi(0xCD9E8D57u, c2), low2 = 0xCD9E8D57u * c2;
        c0 = high2 ^ c1 ^ k0;
        c1 = low2;
        c2 = high0 ^ c3 ^ k1;
        c3 = low0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return make_uint4(c0, c1, c2, c3);
}
