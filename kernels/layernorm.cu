// Layer normalization and RMS normalization of the rows of x (N, D), forward and backward; the formulas are in layernorm.py.
// The floor is that of moving the rows: forward one read and one write, backward two reads, of g and x, and one write.
//
//   1  layer_norm_naive    one thread a row: three passes over it, uncoalesced
//   2  layer_norm_block    one block a row: mean, then mean square of x - mean, then the result, reading the row three times
//   3  layer_norm_cached   the same with the row in registers, read once; rows of up to 16384 elements in packs
//
// The variance is computed from x - mean. The textbook's E[x^2] - E[x]^2 needs a single pass, but where the mean is large
// against the spread it subtracts two nearly equal numbers; with the row in registers a second pass costs nothing.
//
// Backward, dx needs two sums over the row, of h = g w and of h xhat; dweight and dbias need sums over all rows, column by
// column. Many threads adding into the same D numbers would queue up, so there are partial sums:
//
//   1  *_backward_rows and *_backward_columns   two kernels, each of which reads g and x: 5 streams where 3 would do
//   2  *_backward_fused    a block takes many rows, one after another. Each thread owns one pack of columns, keeps their
//                          weights, computes dx, and adds to its columns' sums in registers: g and x are read once.
//   In both, `sum_columns_finish` of reduce.cu adds the partial sums, (chunks, D), in a fixed order.
//
// RMS is a template argument: then the mean is 0 and there is no bias (Zhang and Sennrich, "Root Mean Square Layer
// Normalization", 2019).
#include "common.cuh"

// ---- 1 --------------------------------------------------------------------------------------------------------------

extern "C" __global__ void layer_norm_naive(const T* __restrict__ x, const T* weight, const T* bias, float eps, T* __restrict__ out,
                                            float* means, float* rstds, int count, int width) {
    long long row = thread_index();
    if (row >= count) return;
    x += row * width;
    out += row * width;
    float mean = 0.0f, squares = 0.0f;
    for (int i = 0; i < width; i++) mean += (float)x[i];
    mean /= width;
    for (int i = 0; i < width; i++) squares += ((float)x[i] - mean) * ((float)x[i] - mean);
    float rstd = 1.0f / sqrtf(squares / width + eps);
    for (int i = 0; i < width; i++) {
        float v = ((float)x[i] - mean) * rstd;
        out[i] = (T)(v * (weight ? (float)weight[i] : 1.0f) + (bias ? (float)bias[i] : 0.0f));
    }
    means[row] = mean;
    rstds[row] = rstd;
}

// ---- 2 --------------------------------------------------------------------------------------------------------------

template <bool RMS>
__device__ inline void norm_block(const T* x, const T* weight, const T* bias, float eps, T* out, float* means, float* rstds, int width) {
    x += blockIdx.x * (long long)width;
    out += blockIdx.x * (long long)width;
    float mean = 0.0f, squares = 0.0f;
    if (!RMS) {
        for (int i = threadIdx.x; i < width; i += blockDim.x) mean += (float)x[i];
        mean = block_sum(mean) / width;
    }
    for (int i = threadIdx.x; i < width; i += blockDim.x) squares += ((float)x[i] - mean) * ((float)x[i] - mean);
    float rstd = 1.0f / sqrtf(block_sum(squares) / width + eps);
    for (int i = threadIdx.x; i < width; i += blockDim.x) {
        float v = ((float)x[i] - mean) * rstd;
        out[i] = (T)(v * (weight ? (float)weight[i] : 1.0f) + (bias ? (float)bias[i] : 0.0f));
    }
    if (threadIdx.x == 0) {
        if (!RMS) means[blockIdx.x] = mean;
        rstds[blockIdx.x] = rstd;
    }
}

extern "C" __global__ void layer_norm_block(const T* x, const T* weight, const T* bias, float eps, T* out, float* means,
                                            float* rstds, int count, int width) {
    norm_block<false>(x, weight, bias, eps, out, means, rstds, width);
}
extern "C" __global__ void rms_norm_block(const T* x, const T* weight, float eps, T* out, float* rstds, int count, int width) {
    norm_block<true>(x, weight, nullptr, eps, out, nullptr, rstds, width);
}

// ---- 3 --------------------------------------------------------------------------------------------------------------

constexpr int CACHED = 16;  // elements of a row that one thread keeps

// width is a multiple of PACK, at most CACHED * blockDim.x; all rows begin at multiples of 16 bytes.
template <bool RMS>
__device__ inline void norm_cached(const T* __restrict__ x, const T* __restrict__ weight, const T* __restrict__ bias, float eps,
                                   T* __restrict__ out, float* means, float* rstds, int width) {
    x += blockIdx.x * (long long)width;
    out += blockIdx.x * (long long)width;
    Pack row[CACHED / PACK];
    float mean = 0.0f, squares = 0.0f;
#pragma unroll
    for (int j = 0; j < CACHED / PACK; j++) {
        int i = (j * blockDim.x + threadIdx.x) * PACK;
        if (i < width) row[j] = load_pack(x + i);
    }
    if (!RMS) {
#pragma unroll
        for (int j = 0; j < CACHED / PACK; j++)
#pragma unroll
            for (int k = 0; k < PACK; k++)
                if ((j * blockDim.x + threadIdx.x) * PACK < width) mean += (float)row[j].v[k];
        mean = block_sum(mean) / width;
    }
#pragma unroll
    for (int j = 0; j < CACHED / PACK; j++)
#pragma unroll
        for (int k = 0; k < PACK; k++) {
            float centred = (float)row[j].v[k] - mean;
            if ((j * blockDim.x + threadIdx.x) * PACK < width) squares += centred * centred;
        }
    float rstd = 1.0f / sqrtf(block_sum(squares) / width + eps);
#pragma unroll
    for (int j = 0; j < CACHED / PACK; j++) {
        int i = (j * blockDim.x + threadIdx.x) * PACK;
        if (i >= width) continue;
        Pack w, b;
        if (weight) w = load_pack(weight + i);
        if (bias) b = load_pack(bias + i);
#pragma unroll
        for (int k = 0; k < PACK; k++) {
            float v = ((float)row[j].v[k] - mean) * rstd;
            row[j].v[k] = (T)(v * (weight ? (float)w.v[k] : 1.0f) + (bias ? (float)b.v[k] : 0.0f));
        }
        store_pack(out + i, row[j]);
    }
    if (threadIdx.x == 0) {
        if (!RMS) means[blockIdx.x] = mean;
        rstds[blockIdx.x] = rstd;
    }
}

extern "C" __global__ void __launch_bounds__(1024) layer_norm_cached(const T* x, const T* weight, const T* bias, float eps, T* out,
                                                                     float* means, float* rstds, int count, int width) {
    norm_cached<false>(x, weight, bias, eps, out, means, rstds, width);
}
extern "C" __global__ void __launch_bounds__(1024) rms_norm_cached(const T* x, const T* weight, float eps, T* out, float* rstds,
                                                                   int count, int width) {
    norm_cached<true>(x, weight, nullptr, eps, out, nullptr, rstds, width);
}

// ---- backward, 1 ----------------------------------------------------------------------------------------------------

template <bool RMS>
__device__ inline void backward_rows(const T* g, const T* x, const float* means, const float* rstds, const T* weight, T* dx, int width) {
    long long row = blockIdx.x;
    g += row * width;
    x += row * width;
    dx += row * width;
    float mean = RMS ? 0.0f : means[row], rstd = rstds[row], sum = 0.0f, sum_xhat = 0.0f;
    for (int i = threadIdx.x; i < width; i += blockDim.x) {
        float h = (float)g[i] * (weight ? (float)weight[i] : 1.0f);
        sum += h;
        sum_xhat += h * ((float)x[i] - mean) * rstd;
    }
    sum = RMS ? 0.0f : block_sum(sum) / width;
    sum_xhat = block_sum(sum_xhat) / width;
    for (int i = threadIdx.x; i < width; i += blockDim.x) {
        float h = (float)g[i] * (weight ? (float)weight[i] : 1.0f), xhat = ((float)x[i] - mean) * rstd;
        dx[i] = (T)(rstd * (h - sum - xhat * sum_xhat));
    }
}

// Partial sums over rows blockIdx.y * chunk and following into row blockIdx.y of the results.
template <bool RMS>
__device__ inline void backward_columns(const T* __restrict__ g, const T* __restrict__ x, const float* means, const float* rstds,
                                        float* dweights, float* dbiases, int count, int width, int chunk) {
    int column = blockIdx.x * 32 + threadIdx.x;
    int first = blockIdx.y * chunk, last = min(count, first + chunk);
    float dweight = 0.0f, dbias = 0.0f;
    if (column < width) {
        for (int row = first + threadIdx.y; row < last; row += TALL) {
            float v = (float)g[(long long)row * width + column];
            dweight += v * ((float)x[(long long)row * width + column] - (RMS ? 0.0f : means[row])) * rstds[row];
            dbias += v;
        }
    }
    dweight = column_sum(dweight);
    dbias = column_sum(dbias);
    if (threadIdx.y > 0 || column >= width) return;
    dweights[(long long)blockIdx.y * width + column] = dweight;
    if (!RMS) dbiases[(long long)blockIdx.y * width + column] = dbias;
}

extern "C" __global__ void layer_norm_backward_rows(const T* g, const T* x, const float* means, const float* rstds, const T* weight,
                                                    T* dx, int width) {
    backward_rows<false>(g, x, means, rstds, weight, dx, width);
}
extern "C" __global__ void rms_norm_backward_rows(const T* g, const T* x, const float* rstds, const T* weight, T* dx, int width) {
    backward_rows<true>(g, x, nullptr, rstds, weight, dx, width);
}
extern "C" __global__ void layer_norm_backward_columns(const T* g, const T* x, const float* means, const float* rstds, float* dweights,
                                                       float* dbiases, int count, int width, int chunk) {
    backward_columns<false>(g, x, means, rstds, dweights, dbiases, count, width, chunk);
}
extern "C" __global__ void rms_norm_backward_columns(const T* g, const T* x, const float* rstds, float* dweights, int count, int width,
                                                     int chunk) {
    backward_columns<true>(g, x, nullptr, rstds, dweights, nullptr, count, width, chunk);
}

// ---- backward, 2 ----------------------------------------------------------------------------------------------------

// Two sums over the block with one round through shared memory.
__device__ inline void block_sum_pair(float& a, float& b) {
    __shared__ float partial[2][32];
    a = warp_sum(a);
    b = warp_sum(b);
    __syncthreads();
    if (lane_index() == 0) {
        partial[0][warp_index()] = a;
        partial[1][warp_index()] = b;
    }
    __syncthreads();
    bool there = lane_index() < blockDim.x / 32;
    a = warp_sum(there ? partial[0][lane_index()] : 0.0f);
    b = warp_sum(there ? partial[1][lane_index()] : 0.0f);
}

// Rows blockIdx.x * chunk and following. width is a multiple of PACK, at most PACK * blockDim.x; everything is aligned.
template <bool RMS>
__device__ inline void backward_fused(const T* __restrict__ g, const T* __restrict__ x, const float* means, const float* rstds,
                                      const T* __restrict__ weight, T* __restrict__ dx, float* dweights, float* dbiases, int count,
                                      int width, int chunk) {
    int i = threadIdx.x * PACK;
    bool mine = i < width;  // the last warp may reach beyond the row
    float dweight[PACK] = {}, dbias[PACK] = {};
    Pack w;  // as T: in float32 the weights of two-byte types would take twice the registers
#pragma unroll
    for (int k = 0; k < PACK; k++) w.v[k] = (T)1.0f;
    if (mine && weight) w = load_pack(weight + i);
    int first = blockIdx.x * chunk, last = min(count, first + chunk);
    for (int row = first; row < last; row++) {
        long long start = (long long)row * width + i;
        float mean = RMS ? 0.0f : means[row], rstd = rstds[row], sum = 0.0f, sum_xhat = 0.0f;
        float v[PACK], xhat[PACK];
        Pack gs, xs;
        if (mine) gs = load_pack(g + start), xs = load_pack(x + start);
#pragma unroll
        for (int k = 0; k < PACK; k++) {
            v[k] = mine ? (float)gs.v[k] : 0.0f;
            xhat[k] = mine ? ((float)xs.v[k] - mean) * rstd : 0.0f;
            sum += v[k] * (float)w.v[k];
            sum_xhat += v[k] * (float)w.v[k] * xhat[k];
            dweight[k] += v[k] * xhat[k];
            dbias[k] += v[k];
        }
        block_sum_pair(sum, sum_xhat);
        sum = RMS ? 0.0f : sum / width;
        sum_xhat /= width;
        if (!mine) continue;
#pragma unroll
        for (int k = 0; k < PACK; k++) gs.v[k] = (T)(rstd * (v[k] * (float)w.v[k] - sum - xhat[k] * sum_xhat));
        store_pack(dx + start, gs);
    }
    if (!mine) return;
    for (int k = 0; k < PACK; k++) {
        dweights[blockIdx.x * (long long)width + i + k] = dweight[k];
        if (!RMS) dbiases[blockIdx.x * (long long)width + i + k] = dbias[k];
    }
}

extern "C" __global__ void __launch_bounds__(1024) layer_norm_backward_fused(const T* g, const T* x, const float* means,
                                                                             const float* rstds, const T* weight, T* dx, float* dweights,
                                                                             float* dbiases, int count, int width, int chunk) {
    backward_fused<false>(g, x, means, rstds, weight, dx, dweights, dbiases, count, width, chunk);
}
extern "C" __global__ void __launch_bounds__(1024) rms_norm_backward_fused(const T* g, const T* x, const float* rstds, const T* weight,
                                                                           T* dx, float* dweights, int count, int width, int chunk) {
    backward_fused<true>(g, x, nullptr, rstds, weight, dx, dweights, nullptr, count, width, chunk);
}
