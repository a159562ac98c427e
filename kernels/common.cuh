// What the CUDA kernels of this folder share: the element type T, 16-byte packs, reductions over a warp and a block, and
// Philox. Plain CUDA C++ without further headers, so that NVRTC, nvcc and minidl/testing/cuda_cpu.h (a CPU) all take it.
//
// Words used throughout. A *thread* computes; 32 threads with successive numbers form a *warp*, which executes one
// instruction for all its *lanes* together; up to 32 warps form a *block*, which shares the fast memory of one
// multiprocessor and can wait for each other (__syncthreads); all blocks form the *grid*.
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

// ---- Philox4x32-10 ------------------------------------------------------------------------------------------------
// Four random words from the number of their block: a function, so that any thread computes any part of the stream, and
// the stream is bit for bit that of kernels/random.py. Source: Salmon, Moraes, Dror and Shaw, 2011.

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
