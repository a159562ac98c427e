// Random numbers and dropout from Philox4x32-10, bit for bit the numbers of kernels/random.py.
//
// The usual generator is a state that every draw changes; with thousands of threads each needs a state of its own, kept in
// memory. Philox is a function of the position in the stream instead: thread i computes block i and no state exists. So
// the same seed gives the same numbers whatever the grid, and on the CPU.
//
//   1  dropout_naive   one element a thread: three of the four words that Philox gives are thrown away
//   2  *_blocks        one block of four words a thread, and one store of four elements
//
// Dropout keeps no mask: the backward pass is the same call on the gradient. The floor is one read and one write, for random
// numbers one write. Ten rounds of two wide multiplications, two exclusive-ors of three words and two additions, some 60 instructions,
// make four words: dropout hides them behind the memory traffic. Normal numbers it does not hide: a logarithm, a root, a sine and a
// cosine in double precision for two of them are what `normal_blocks` takes its time for.
#include "common.cuh"

struct alignas(4 * sizeof(T)) Four {
    T v[4];
};

// Store up to four values of block b of an array of n elements.
__device__ inline void store_four(T* out, long long b, long long n, Four four) {
    if (4 * b + 4 <= n && packed(out)) {
        *reinterpret_cast<Four*>(out + 4 * b) = four;
        return;
    }
#pragma unroll
    for (int k = 0; k < 4; k++)
        if (4 * b + k < n) out[4 * b + k] = four.v[k];
}

extern "C" __global__ void philox_blocks(unsigned* __restrict__ out, long long n, unsigned long long low, unsigned long long high,
                                         unsigned long long key) {
    long long b = thread_index();
    if (4 * b >= n) return;
    uint4 w = philox(b, low, high, key);
    if (4 * b + 4 <= n && packed(out)) {
        reinterpret_cast<uint4*>(out)[b] = w;
        return;
    }
    out[4 * b] = w.x;
    if (4 * b + 1 < n) out[4 * b + 1] = w.y;
    if (4 * b + 2 < n) out[4 * b + 2] = w.z;
    if (4 * b + 3 < n) out[4 * b + 3] = w.w;
}

// The upper 24 bits as a number in [0, 1): both steps are exact.
__device__ inline T upper_24_bits(unsigned word) { return (T)((float)(int)(word >> 8) * 5.9604644775390625e-08f); }  // 2^-24

extern "C" __global__ void uniform_blocks(T* __restrict__ out, long long n, unsigned long long low, unsigned long long high,
                                          unsigned long long key) {
    long long b = thread_index();
    if (4 * b >= n) return;
    uint4 w = philox(b, low, high, key);
    store_four(out, b, n, {{upper_24_bits(w.x), upper_24_bits(w.y), upper_24_bits(w.z), upper_24_bits(w.w)}});
}

// In double precision, as the reference is: another library's last bit then almost never shows in a float.
__device__ inline void box_muller(unsigned word1, unsigned word2, T* out) {
    double r = sqrt(-2.0 * log((word1 + 1.0) * 2.3283064365386963e-10));  // 2^-32
    double angle = 6.283185307179586 * (word2 * 2.3283064365386963e-10);
    out[0] = (T)(float)(r * cos(angle));
    out[1] = (T)(float)(r * sin(angle));
}

extern "C" __global__ void normal_blocks(T* __restrict__ out, long long n, unsigned long long low, unsigned long long high,
                                         unsigned long long key) {
    long long b = thread_index();
    if (4 * b >= n) return;
    uint4 w = philox(b, low, high, key);
    Four four;
    box_muller(w.x, w.y, four.v);
    box_muller(w.z, w.w, four.v + 2);
    store_four(out, b, n, four);
}

// ---- dropout --------------------------------------------------------------------------------------------------------
// threshold is a number of 33 bits: p = 1 drops every word.

extern "C" __global__ void dropout_naive(const T* __restrict__ x, T* __restrict__ out, long long n, unsigned long long threshold,
                                         float scale, unsigned long long low, unsigned long long high, unsigned long long key) {
    long long i = thread_index();
    if (i >= n) return;
    uint4 w = philox(i / 4, low, high, key);
    unsigned word = i % 4 == 0 ? w.x : i % 4 == 1 ? w.y : i % 4 == 2 ? w.z : w.w;
    out[i] = (T)((float)x[i] * (word >= threshold ? scale : 0.0f));
}

extern "C" __global__ void dropout_blocks(const T* __restrict__ x, T* __restrict__ out, long long n, unsigned long long threshold,
                                          float scale, unsigned long long low, unsigned long long high, unsigned long long key) {
    long long b = thread_index();
    if (4 * b >= n) return;
    Four four;
    if (4 * b + 4 <= n && packed(x)) {
        four = *reinterpret_cast<const Four*>(x + 4 * b);  // under way while Philox is computed
    } else {
#pragma unroll
        for (int k = 0; k < 4; k++) four.v[k] = x[min(4 * b + k, n - 1)];
    }
    uint4 w = philox(b, low, high, key);
    four.v[0] = (T)((float)four.v[0] * (w.x >= threshold ? scale : 0.0f));
    four.v[1] = (T)((float)four.v[1] * (w.y >= threshold ? scale : 0.0f));
    four.v[2] = (T)((float)four.v[2] * (w.z >= threshold ? scale : 0.0f));
    four.v[3] = (T)((float)four.v[3] * (w.w >= threshold ? scale : 0.0f));
    store_four(out, b, n, four);
}
