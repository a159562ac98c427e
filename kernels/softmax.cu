// Softmax and log-softmax of rows, forward and backward.
//
//     y_i = e^(x_i - m) / sum_j e^(x_j - m),  m = max_j x_j          dx_i = y_i (g_i - sum_j g_j y_j)
//     log y_i = x_i - m - log sum_j e^(x_j - m)                      dx_i = g_i - e^y_i sum_j g_j
//
// The arithmetic is nothing; the time is that of moving the row. The floor is one read and one write, 8 bytes an element in
// float32, and each version comes closer to that than the one before:
//
//   1  softmax_naive   one thread a row. It reads the row three times, and worse: the 32 threads of a warp read 32 rows
//                      at once, so that each load instruction touches 32 places far apart, where neighbours would have
//                      been served together ("coalesced").
//   2  softmax_block   one block a row. Neighbouring threads read neighbouring elements; the maximum and the sum are
//                      reductions over the block. Still three reads, two of which hit the cache if the row is short.
//   3  softmax_online  one block a row, two reads. Maximum and sum are computed in one pass: when a larger maximum turns
//                      up, the sum so far is rescaled by e^(old - new); see online_sums in common.cuh. 16 bytes a load.
//   4  softmax_cached  one block a row of up to 16384 elements. Each thread keeps its share of the row in registers, so
//                      memory is read once. (For the longest it gains nothing over 3, whose second read the cache serves:
//                      see what was measured, minidl/bench/results/README.md.)
//   5  softmax_warp    the same for rows of up to 512 elements, one warp a row: no shared memory and no barrier, and many
//                      rows in flight on each multiprocessor. (With more, a thread's registers would leave room
//                      for too few warps.)
//
// Versions 3 to 5 also exist with the logarithm. The backward passes read two arrays and need one sum over the row: a warp
// a row with both arrays in registers, or a block a row that reads them twice.
//
// Source: Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018.
#include "common.cuh"

// ---- 1 --------------------------------------------------------------------------------------------------------------

extern "C" __global__ void softmax_naive(const T* __restrict__ x, T* __restrict__ out, int count, int width) {
    long long row = thread_index();
    if (row >= count) return;
    x += row * width;
    out += row * width;
    float m = -INFINITE, sum = 0.0f;
    for (int i = 0; i < width; i++) m = fmaxf(m, (float)x[i]);
    for (int i = 0; i < width; i++) sum += expf((float)x[i] - m);
    for (int i = 0; i < width; i++) out[i] = (T)(expf((float)x[i] - m) / sum);
}

// ---- 2 --------------------------------------------------------------------------------------------------------------

extern "C" __global__ void softmax_block(const T* __restrict__ x, T* __restrict__ out, int count, int width) {
    x += blockIdx.x * (long long)width;
    out += blockIdx.x * (long long)width;
    float m = -INFINITE, sum = 0.0f;
    for (int i = threadIdx.x; i < width; i += blockDim.x) m = fmaxf(m, (float)x[i]);
    m = block_max(m);
    for (int i = threadIdx.x; i < width; i += blockDim.x) sum += expf((float)x[i] - m);
    float scale = 1.0f / block_sum(sum);
    for (int i = threadIdx.x; i < width; i += blockDim.x) out[i] = (T)(expf((float)x[i] - m) * scale);
}

// ---- 3 --------------------------------------------------------------------------------------------------------------

// The result of one element, from the row's maximum m and the sum of e^(x - m).
template <bool LOG>
__device__ inline float finish(float x, float m, float sum) {
    return LOG ? (x - m) - logf(sum) : expf(x - m) / sum;  // x - m first: exact near the maximum, where it matters
}

template <bool LOG>
__device__ inline void online(const T* __restrict__ x, T* __restrict__ out, int width) {
    x += blockIdx.x * (long long)width;
    out += blockIdx.x * (long long)width;
    OnlineSums mine = online_sums(x, width, threadIdx.x, blockDim.x);
    float largest = block_max(mine.largest), sum = block_sum(mine.sum * expf(mine.largest - largest));
    int whole = width % PACK == 0 && packed(x) && packed(out) ? width : 0;  // elements that go through packs
    for (int i = threadIdx.x * PACK; i < whole; i += blockDim.x * PACK) {
        Pack pack = load_pack(x + i);
#pragma unroll
        for (int k = 0; k < PACK; k++) pack.v[k] = (T)finish<LOG>((float)pack.v[k], largest, sum);
        store_pack(out + i, pack);
    }
    for (int i = whole + threadIdx.x; i < width; i += blockDim.x) out[i] = (T)finish<LOG>((float)x[i], largest, sum);
}

extern "C" __global__ void softmax_online(const T* x, T* out, int count, int width) { online<false>(x, out, width); }
extern "C" __global__ void log_softmax_online(const T* x, T* out, int count, int width) { online<true>(x, out, width); }

// ---- 4 --------------------------------------------------------------------------------------------------------------

constexpr int CACHED = 16;  // elements of a row that one thread keeps

// width is a multiple of PACK, at most CACHED * blockDim.x; rows begin at multiples of 16 bytes.
template <bool LOG>
__device__ inline void cached(const T* __restrict__ x, T* __restrict__ out, int width) {
    x += blockIdx.x * (long long)width;
    out += blockIdx.x * (long long)width;
    Pack row[CACHED / PACK];  // indexed by unrolled loops only: an array with a running index would live in memory
    float m = -INFINITE, sum = 0.0f;
#pragma unroll
    for (int j = 0; j < CACHED / PACK; j++) {
        int i = (j * blockDim.x + threadIdx.x) * PACK;
        if (i < width) row[j] = load_pack(x + i);
    }
#pragma unroll
    for (int j = 0; j < CACHED / PACK; j++)
#pragma unroll
        for (int k = 0; k < PACK; k++)
            if ((j * blockDim.x + threadIdx.x) * PACK < width) m = fmaxf(m, (float)row[j].v[k]);
    m = block_max(m);
#pragma unroll
    for (int j = 0; j < CACHED / PACK; j++)
#pragma unroll
        for (int k = 0; k < PACK; k++)
            if ((j * blockDim.x + threadIdx.x) * PACK < width) sum += expf((float)row[j].v[k] - m);
    sum = block_sum(sum);
#pragma unroll
    for (int j = 0; j < CACHED / PACK; j++) {
        int i = (j * blockDim.x + threadIdx.x) * PACK;
        if (i >= width) continue;
#pragma unroll
        for (int k = 0; k < PACK; k++) row[j].v[k] = (T)finish<LOG>((float)row[j].v[k], m, sum);
        store_pack(out + i, row[j]);
    }
}

extern "C" __global__ void __launch_bounds__(1024) softmax_cached(const T* x, T* out, int count, int width) {
    cached<false>(x, out, width);
}
extern "C" __global__ void __launch_bounds__(1024) log_softmax_cached(const T* x, T* out, int count, int width) {
    cached<true>(x, out, width);
}

// ---- 5 --------------------------------------------------------------------------------------------------------------

// One warp per row of at most 32 N elements: N to a lane. The rows of a block are those of its warps.
template <bool LOG, int N>
__device__ inline void warp_row(const T* __restrict__ x, T* __restrict__ out, int width) {
    float v[N], m = -INFINITE, sum = 0.0f;
#pragma unroll
    for (int k = 0; k < N; k++) {
        int i = k * 32 + lane_index();
        v[k] = i < width ? (float)x[i] : -INFINITE;  // e^-inf is 0: the missing elements change nothing
        m = fmaxf(m, v[k]);
    }
    m = warp_max(m);
#pragma unroll
    for (int k = 0; k < N; k++) sum += k * 32 + lane_index() < width ? expf(v[k] - m) : 0.0f;
    sum = warp_sum(sum);
#pragma unroll
    for (int k = 0; k < N; k++) {
        int i = k * 32 + lane_index();
        if (i < width) out[i] = (T)finish<LOG>(v[k], m, sum);
    }
}

template <bool LOG>
__device__ inline void warp_rows(const T* x, T* out, int count, int width) {
    long long row = blockIdx.x * (long long)(blockDim.x / 32) + warp_index();
    if (row >= count) return;  // the whole warp
    x += row * width;
    out += row * width;
    if (width <= 128) warp_row<LOG, 4>(x, out, width);
    else if (width <= 256) warp_row<LOG, 8>(x, out, width);
    else warp_row<LOG, 16>(x, out, width);
}

extern "C" __global__ void softmax_warp(const T* x, T* out, int count, int width) {
    warp_rows<false>(x, out, count, width);
}
extern "C" __global__ void log_softmax_warp(const T* x, T* out, int count, int width) {
    warp_rows<true>(x, out, count, width);
}

// ---- backward -------------------------------------------------------------------------------------------------------

// What of one element goes into the row's sum, and the gradient with that sum.
template <bool LOG>
__device__ inline float summand(float g, float y) { return LOG ? g : g * y; }
template <bool LOG>
__device__ inline float slope(float g, float y, float sum) { return LOG ? g - expf(y) * sum : y * (g - sum); }

template <bool LOG, int N>
__device__ inline void warp_row_backward(const T* __restrict__ g, const T* __restrict__ out, T* __restrict__ dx, int width) {
    float gs[N], ys[N], sum = 0.0f;
#pragma unroll
    for (int k = 0; k < N; k++) {
        int i = k * 32 + lane_index();
        gs[k] = i < width ? (float)g[i] : 0.0f;
        ys[k] = i < width ? (float)out[i] : 0.0f;
    }
#pragma unroll
    for (int k = 0; k < N; k++) sum += summand<LOG>(gs[k], ys[k]);
    sum = warp_sum(sum);
#pragma unroll
    for (int k = 0; k < N; k++) {
        int i = k * 32 + lane_index();
        if (i < width) dx[i] = (T)slope<LOG>(gs[k], ys[k], sum);
    }
}

template <bool LOG>
__device__ inline void warp_rows_backward(const T* g, const T* out, T* dx, int count, int width) {
    long long row = blockIdx.x * (long long)(blockDim.x / 32) + warp_index();
    if (row >= count) return;
    g += row * width;
    out += row * width;
    dx += row * width;
    if (width <= 128) warp_row_backward<LOG, 4>(g, out, dx, width);
    else if (width <= 256) warp_row_backward<LOG, 8>(g, out, dx, width);
    else warp_row_backward<LOG, 16>(g, out, dx, width);
}

extern "C" __global__ void softmax_backward_warp(const T* g, const T* out, T* dx, int count, int width) {
    warp_rows_backward<false>(g, out, dx, count, width);
}
extern "C" __global__ void log_softmax_backward_warp(const T* g, const T* out, T* dx, int count, int width) {
    warp_rows_backward<true>(g, out, dx, count, width);
}

template <bool LOG>
__device__ inline void block_backward(const T* __restrict__ g, const T* __restrict__ out, T* __restrict__ dx, int width) {
    g += blockIdx.x * (long long)width;
    out += blockIdx.x * (long long)width;
    dx += blockIdx.x * (long long)width;
    int whole = width % PACK == 0 && packed(g) && packed(out) && packed(dx) ? width : 0;
    float sum = 0.0f;
    for (int i = threadIdx.x * PACK; i < whole; i += blockDim.x * PACK) {
        Pack gs = load_pack(g + i), ys = load_pack(out + i);
#pragma unroll
        for (int k = 0; k < PACK; k++) sum += summand<LOG>((float)gs.v[k], (float)ys.v[k]);
    }
    for (int i = whole + threadIdx.x; i < width; i += blockDim.x) sum += summand<LOG>((float)g[i], (float)out[i]);
    sum = block_sum(sum);
    for (int i = threadIdx.x * PACK; i < whole; i += blockDim.x * PACK) {
        Pack gs = load_pack(g + i), ys = load_pack(out + i);
#pragma unroll
        for (int k = 0; k < PACK; k++) gs.v[k] = (T)slope<LOG>((float)gs.v[k], (float)ys.v[k], sum);
        store_pack(dx + i, gs);
    }
    for (int i = whole + threadIdx.x; i < width; i += blockDim.x)
        dx[i] = (T)slope<LOG>((float)g[i], (float)out[i], sum);
}

extern "C" __global__ void softmax_backward_block(const T* g, const T* out, T* dx, int count, int width) {
    block_backward<false>(g, out, dx, width);
}
extern "C" __global__ void log_softmax_backward_block(const T* g, const T* out, T* dx, int count, int width) {
    block_backward<true>(g, out, dx, width);
}
