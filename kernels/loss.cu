// Softmax cross-entropy of logits x (N, V) with integer targets y, forward and backward; the formulas are in loss.py.
//
// The library way makes a matrix of log-probabilities, picks one number a row, and for the gradient writes and reads
// matrices again: five or more passes over N V numbers. Fused, the forward pass reads x once and writes two numbers a row;
// the backward pass reads x and writes dx. Nothing of size N V is kept.
//
//   1  cross_entropy_naive   one thread a row, two passes, uncoalesced
//   2  cross_entropy_warp    one warp a row, maximum and sum in one pass (online_sums in common.cuh): for few classes
//   3  cross_entropy_block   the same with a block a row: for many
//
// log(sum e^x) is kept in float64, one number a row: rounded to float32, 10000 alone would shift every probability by 5e-4.
// With label smoothing there is a second pass for the sum of w (m - x), which the maximum m must precede.
//
// Source of the fusion: Hsu and others, "Liger Kernel", 2024 (there with the gradient written in the forward pass).
#include "common.cuh"

// ---- what the versions share ----------------------------------------------------------------------------------------

// Sum of w (m - x) over the elements first, first + step, ...
__device__ inline float below(const T* x, const T* weight, int width, float m, int first, int step) {
    float sum = 0.0f;
    for (int i = first; i < width; i += step) sum += (weight ? (float)weight[i] : 1.0f) * (m - (float)x[i]);
    return sum;
}

__device__ inline float total_weight(const float* total, int width) { return total ? total[0] : (float)width; }

// The results of one row, written by one thread.
__device__ inline void finish(const T* x, long long y, const T* weight, const float* total, long long ignore, double smoothing,
                              int width, OnlineSums s, float every_below, T* loss, double* lse) {
    double log_total = log((double)s.sum);
    *lse = s.largest + log_total;
    if (y == ignore) {
        *loss = (T)0.0f;
        return;
    }
    bool valid = y >= 0 && y < width;  // reading x[y] elsewhere would read foreign memory; NaN is seen
    double mine = valid ? (s.largest - (float)x[y]) + log_total : NOT_A_NUMBER;
    double value = (valid && weight ? (float)weight[y] : 1.0f) * mine;
    if (smoothing > 0) {
        double every = every_below + total_weight(total, width) * log_total;
        value = (1 - smoothing) * value + smoothing / width * every;
    }
    *loss = (T)(float)value;
}

// ---- 1 --------------------------------------------------------------------------------------------------------------

extern "C" __global__ void cross_entropy_naive(const T* logits, const long long* target, const T* weight, const float* total,
                                               long long ignore, double smoothing, T* losses, double* lse, int count, int width) {
    long long row = thread_index();
    if (row >= count) return;
    const T* x = logits + row * width;
    OnlineSums s = {-INFINITE, 0.0f};
    for (int i = 0; i < width; i++) s.largest = fmaxf(s.largest, (float)x[i]);
    for (int i = 0; i < width; i++) s.sum += expf((float)x[i] - s.largest);
    float every = smoothing > 0 ? below(x, weight, width, s.largest, 0, 1) : 0.0f;
    finish(x, target[row], weight, total, ignore, smoothing, width, s, every, losses + row, lse + row);
}

// ---- 2 --------------------------------------------------------------------------------------------------------------

extern "C" __global__ void cross_entropy_warp(const T* logits, const long long* target, const T* weight, const float* total,
                                              long long ignore, double smoothing, T* losses, double* lse, int count, int width) {
    long long row = blockIdx.x * (long long)(blockDim.x / 32) + warp_index();
    if (row >= count) return;  // the whole warp
    const T* x = logits + row * width;
    OnlineSums s = online_sums(x, width, lane_index(), 32);
    float largest = warp_max(s.largest);
    s.sum = warp_sum(s.sum * expf(s.largest - largest));
    s.largest = largest;
    float every = smoothing > 0 ? warp_sum(below(x, weight, width, largest, lane_index(), 32)) : 0.0f;
    if (lane_index() == 0)
        finish(x, target[row], weight, total, ignore, smoothing, width, s, every, losses + row, lse + row);
}

// ---- 3 --------------------------------------------------------------------------------------------------------------

extern "C" __global__ void cross_entropy_block(const T* logits, const long long* target, const T* weight, const float* total,
                                               long long ignore, double smoothing, T* losses, double* lse, int count, int width) {
    long long row = blockIdx.x;
    const T* x = logits + row * width;
    OnlineSums s = online_sums(x, width, threadIdx.x, blockDim.x);
    float largest = block_max(s.largest);
    s.sum = block_sum(s.sum * expf(s.largest - largest));
    s.largest = largest;
    float every = smoothing > 0 ? block_sum(below(x, weight, width, largest, threadIdx.x, blockDim.x)) : 0.0f;
    if (threadIdx.x == 0)
        finish(x, target[row], weight, total, ignore, smoothing, width, s, every, losses + row, lse + row);
}

// ---- backward -------------------------------------------------------------------------------------------------------
// blockIdx.x is the row; blockIdx.y counts pieces of it, so that few long rows fill the GPU too.

__device__ inline float gradient(float x, float high, float low, float p_part, float flat_part, float hot_part, bool hot) {
    float dx = p_part * expf((x - high) - low) - flat_part;
    return hot ? dx - hot_part : dx;
}

extern "C" __global__ void cross_entropy_backward_rows(const T* g, const T* logits, const long long* target, const T* weight,
                                                       const float* total, long long ignore, double smoothing, const double* lse,
                                                       T* gradients, int width) {
    long long row = blockIdx.x, y = target[row];
    const T* x = logits + row * width;
    T* dx = gradients + row * width;
    bool kept = y != ignore, valid = y >= 0 && y < width;
    float high = (float)lse[row], low = (float)(lse[row] - high);  // near the maximum x - high is exact
    float spread = (float)(smoothing / width), w_y = kept && valid && weight ? (float)weight[y] : 1.0f;
    float hot_part = kept ? (float)g[row] * ((float)(1 - smoothing) * w_y) : 0.0f;
    float p_part = hot_part + (kept ? (float)g[row] * spread * total_weight(total, width) : 0.0f);
    float flat_part = kept ? (float)g[row] * spread : 0.0f;
    int first = blockIdx.y * blockDim.x + threadIdx.x, step = gridDim.y * blockDim.x;
    int whole = width % PACK == 0 && packed(x) && packed(dx) && !weight ? width : 0;
    for (int i = first * PACK; i < whole; i += step * PACK) {
        Pack pack = load_pack(x + i);
#pragma unroll
        for (int k = 0; k < PACK; k++) {
            float value = gradient((float)pack.v[k], high, low, p_part, flat_part, hot_part, i + k == y);
            pack.v[k] = (T)(kept ? value : 0.0f);
        }
        store_pack(dx + i, pack);
    }
    for (int i = whole + first; i < width; i += step) {
        float w = weight ? (float)weight[i] : 1.0f;
        float value = gradient((float)x[i], high, low, p_part, flat_part * w, hot_part, i == y);
        dx[i] = (T)(kept ? value : 0.0f);
    }
}
