// Between float and the two-byte types, half and bfloat16 (T): 2 bytes a number on one side, 4 on the other, and no arithmetic
// worth the name. What limits such a kernel is memory alone, with 6 bytes a number as its floor, so the versions differ in how many
// bytes an instruction moves.
//
//   1  *_naive    one number a thread
//   2  *_packed   8 numbers a thread: one load, or store, of 16 bytes on the side of T and two on that of float
//
// A conversion to T rounds to the nearest, ties to even. bfloat16 is the upper half of a float, so that one from it is a shift.
// The arrays of the packed versions begin at multiples of 16 bytes; what is left beyond the last pack goes one by one.
#include "common.cuh"

// ---- 1 --------------------------------------------------------------------------------------------------------------

extern "C" __global__ void widen_naive(const T* x, float* out, long long n) {
    long long i = thread_index();
    if (i < n) out[i] = (float)x[i];
}

extern "C" __global__ void narrow_naive(const float* x, T* out, long long n) {
    long long i = thread_index();
    if (i < n) out[i] = (T)x[i];
}

// ---- 2 --------------------------------------------------------------------------------------------------------------

extern "C" __global__ void widen_packed(const T* __restrict__ x, float* __restrict__ out, long long n) {
    for (long long p = thread_index(); p < n / PACK; p += thread_count()) {
        Pack pack = load_pack(x + p * PACK);
        float4* to = reinterpret_cast<float4*>(out + p * PACK);
#pragma unroll
        for (int k = 0; k < PACK; k += 4)
            to[k / 4] = make_float4((float)pack.v[k], (float)pack.v[k + 1], (float)pack.v[k + 2], (float)pack.v[k + 3]);
    }
    for (long long i = n / PACK * PACK + thread_index(); i < n; i += thread_count()) out[i] = (float)x[i];
}

extern "C" __global__ void narrow_packed(const float* __restrict__ x, T* __restrict__ out, long long n) {
    for (long long p = thread_index(); p < n / PACK; p += thread_count()) {
        Pack pack;
        const float4* from = reinterpret_cast<const float4*>(x + p * PACK);
#pragma unroll
        for (int k = 0; k < PACK; k += 4) {
            float4 four = from[k / 4];
            pack.v[k] = (T)four.x, pack.v[k + 1] = (T)four.y, pack.v[k + 2] = (T)four.z, pack.v[k + 3] = (T)four.w;
        }
        store_pack(out + p * PACK, pack);
    }
    for (long long i = n / PACK * PACK + thread_index(); i < n; i += thread_count()) out[i] = (T)x[i];
}
