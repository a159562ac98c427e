// Sums, maxima and minima of x: of all of it, of each row, of each column. In memory any tensor that is reduced along any
// axes is one of these, perhaps several times; columns come in layers, (layers, rows, width).
//
// Adding is sequential by nature; the art is to let thousands of threads add parts, and to bring the parts together with
// little waiting. Every version here but the first adds in a fixed order, so that the result is the same at every run.
//
//   1  sum_atomic      every thread adds its element to one number in memory. The additions queue up there, and their
//                      order differs from run to run, so that the last bits do too.
//   2  sum_tree        each block adds 256 elements as a tree in shared memory: half of the threads add the other half's,
//                      then a quarter, ... One partial sum a block; `sum_all_finish` adds those.
//   3  sum_all         each thread first adds a few hundred elements into a register, 16 bytes a load; only then come
//                      shuffles within the warp and one step through shared memory. Few blocks, few partial sums.
//                      The floor is to read x once.
//   *_rows_warp, *_rows_block   one warp, or one block, to a row.
//   *_columns          a warp reads 32 neighbouring columns of a row at once. A block of 32 x 8 threads walks down the
//                      rows, eight at a time; its eight partial sums of a column meet in shared memory. Few columns would
//                      give few blocks, so the rows are cut into chunks too: (chunks, width) partial sums of each layer,
//                      added by `*_columns_finish`.
//
// Source: Harris, "Optimizing Parallel Reduction in CUDA", 2007, for versions 2 and 3.
#include "common.cuh"

// ---- 1 --------------------------------------------------------------------------------------------------------------

extern "C" __global__ void sum_atomic(const T* __restrict__ x, float* __restrict__ out, long long n) {
    long long i = thread_index();
    if (i < n) atomicAdd(out, (float)x[i]);
}

// ---- 2 --------------------------------------------------------------------------------------------------------------

extern "C" __global__ void __launch_bounds__(256) sum_tree(const T* __restrict__ x, float* __restrict__ partial, long long n) {
    __shared__ float v[256];
    long long i = thread_index();
    v[threadIdx.x] = i < n ? (float)x[i] : 0.0f;
    for (int half_size = 128; half_size > 0; half_size /= 2) {
        __syncthreads();
        if (threadIdx.x < half_size) v[threadIdx.x] += v[threadIdx.x + half_size];
    }
    if (threadIdx.x == 0) partial[blockIdx.x] = v[0];
}

// ---- 3 --------------------------------------------------------------------------------------------------------------

enum Kind { SUM, MAX, MIN };

// Two partial results as one. A NaN wins, which fmaxf and fminf would lose: hence not warp_max and block_max of common.cuh.
template <Kind KIND>
__device__ inline float combine(float a, float b) {
    if (KIND == SUM) return a + b;
    return (KIND == MAX ? a > b : a < b) || a != a ? a : b;
}

template <Kind KIND>
__device__ inline float nothing() { return KIND == SUM ? 0.0f : KIND == MAX ? -INFINITE : INFINITE; }

template <Kind KIND>
__device__ inline float combine_warp(float v) {
    for (int step = 16; step > 0; step /= 2) v = combine<KIND>(v, __shfl_xor_sync(ALL_LANES, v, step));
    return v;
}

template <Kind KIND>
__device__ inline float combine_block(float v) {
    __shared__ float partial[32];
    v = combine_warp<KIND>(v);
    if (lane_index() == 0) partial[warp_index()] = v;
    __syncthreads();
    return combine_warp<KIND>(lane_index() < blockDim.x / 32 ? partial[lane_index()] : nothing<KIND>());
}

// What thread `first` of `step` threads combines of n elements, of which it takes packs where it can.
template <Kind KIND>
__device__ inline float combine_strided(const T* __restrict__ x, long long n, long long first, long long step) {
    float v = nothing<KIND>();
    long long whole = packed(x) ? n / PACK : 0;
#pragma unroll 4
    for (long long i = first; i < whole; i += step) {
        Pack pack = load_pack(x + i * PACK);
#pragma unroll
        for (int k = 0; k < PACK; k++) v = combine<KIND>(v, (float)pack.v[k]);
    }
    for (long long i = whole * PACK + first; i < n; i += step) v = combine<KIND>(v, (float)x[i]);
    return v;
}

template <Kind KIND>
__device__ inline void all(const T* x, float* partial, long long n) {
    float v = combine_block<KIND>(combine_strided<KIND>(x, n, thread_index(), thread_count()));
    if (threadIdx.x == 0) partial[blockIdx.x] = v;
}

template <Kind KIND>
__device__ inline void all_finish(const float* partial, T* out, int count) {
    float v = nothing<KIND>();
    for (int i = threadIdx.x; i < count; i += blockDim.x) v = combine<KIND>(v, partial[i]);
    v = combine_block<KIND>(v);
    if (threadIdx.x == 0) out[0] = (T)v;
}

extern "C" __global__ void sum_all(const T* x, float* partial, long long n) { all<SUM>(x, partial, n); }
extern "C" __global__ void max_all(const T* x, float* partial, long long n) { all<MAX>(x, partial, n); }
extern "C" __global__ void min_all(const T* x, float* partial, long long n) { all<MIN>(x, partial, n); }
extern "C" __global__ void sum_all_finish(const float* partial, T* out, int count) { all_finish<SUM>(partial, out, count); }
extern "C" __global__ void max_all_finish(const float* partial, T* out, int count) { all_finish<MAX>(partial, out, count); }
extern "C" __global__ void min_all_finish(const float* partial, T* out, int count) { all_finish<MIN>(partial, out, count); }

// ---- rows -----------------------------------------------------------------------------------------------------------

template <Kind KIND, class To>
__device__ inline void rows_warp(const T* x, To* out, int rows, int width) {
    long long row = blockIdx.x * (long long)(blockDim.x / 32) + warp_index();
    if (row >= rows) return;  // the whole warp
    float v = combine_warp<KIND>(combine_strided<KIND>(x + row * width, width, lane_index(), 32));
    if (lane_index() == 0) out[row] = (To)v;
}

template <Kind KIND, class To>
__device__ inline void rows_block(const T* x, To* out, int width) {
    float v = combine_block<KIND>(combine_strided<KIND>(x + blockIdx.x * (long long)width, width, threadIdx.x, blockDim.x));
    if (threadIdx.x == 0) out[blockIdx.x] = (To)v;
}

// *_wide: the sums of two-byte floats that are to be added up further stay float
extern "C" __global__ void sum_rows_warp_wide(const T* x, float* out, int rows, int width) { rows_warp<SUM>(x, out, rows, width); }
extern "C" __global__ void sum_rows_block_wide(const T* x, float* out, int rows, int width) { rows_block<SUM>(x, out, width); }
extern "C" __global__ void sum_rows_warp(const T* x, T* out, int rows, int width) { rows_warp<SUM>(x, out, rows, width); }
extern "C" __global__ void max_rows_warp(const T* x, T* out, int rows, int width) { rows_warp<MAX>(x, out, rows, width); }
extern "C" __global__ void min_rows_warp(const T* x, T* out, int rows, int width) { rows_warp<MIN>(x, out, rows, width); }
extern "C" __global__ void sum_rows_block(const T* x, T* out, int rows, int width) { rows_block<SUM>(x, out, width); }
extern "C" __global__ void max_rows_block(const T* x, T* out, int rows, int width) { rows_block<MAX>(x, out, width); }
extern "C" __global__ void min_rows_block(const T* x, T* out, int rows, int width) { rows_block<MIN>(x, out, width); }

// ---- columns --------------------------------------------------------------------------------------------------------

// Of layer blockIdx.z, rows blockIdx.y * chunk and following, at most `chunk` of them, into row blockIdx.y of out.
template <Kind KIND, class From, class To>
__device__ inline void columns(const From* __restrict__ x, To* __restrict__ out, int rows, int width, int chunk) {
    __shared__ float partial[TALL][32];
    int column = blockIdx.x * 32 + threadIdx.x;
    int first = blockIdx.y * chunk, last = min(rows, first + chunk);
    x += (long long)blockIdx.z * rows * width;
    out += (long long)blockIdx.z * gridDim.y * width;
    float v = nothing<KIND>();
    if (column < width) {
#pragma unroll 8
        for (int row = first + threadIdx.y; row < last; row += TALL)
            v = combine<KIND>(v, (float)x[(long long)row * width + column]);
    }
    partial[threadIdx.y][threadIdx.x] = v;
    __syncthreads();
    if (threadIdx.y > 0 || column >= width) return;
    for (int k = 1; k < TALL; k++) v = combine<KIND>(v, partial[k][threadIdx.x]);
    out[(long long)blockIdx.y * width + column] = (To)v;
}

extern "C" __global__ void sum_columns(const T* x, float* partial, int rows, int width, int chunk) {
    columns<SUM>(x, partial, rows, width, chunk);
}
extern "C" __global__ void max_columns(const T* x, float* partial, int rows, int width, int chunk) {
    columns<MAX>(x, partial, rows, width, chunk);
}
extern "C" __global__ void min_columns(const T* x, float* partial, int rows, int width, int chunk) {
    columns<MIN>(x, partial, rows, width, chunk);
}
extern "C" __global__ void sum_columns_finish(const float* partial, T* out, int chunks, int width) {
    columns<SUM>(partial, out, chunks, width, chunks);
}
extern "C" __global__ void max_columns_finish(const float* partial, T* out, int chunks, int width) {
    columns<MAX>(partial, out, chunks, width, chunks);
}
extern "C" __global__ void min_columns_finish(const float* partial, T* out, int chunks, int width) {
    columns<MIN>(partial, out, chunks, width, chunks);
}
