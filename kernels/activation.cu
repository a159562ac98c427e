// Functions of single elements: sigmoid, erf, GELU, and bias + activation, forward and backward.
//
// A GPU computes far faster than it reads. By its data sheet an H100 does 67 TFLOP/s in float32 and moves 3.35 TB/s, 20 operations
// for every byte; here an element, 8 bytes read and written, needs about 20. So the floor is one read and one write, and all
// that counts is to keep memory busy. Bytes under way = rate x time that a load takes (Little's law): if that is half a microsecond,
// 1.7 MB, 13 KB on each of the 132 multiprocessors, and more where loads have to queue.
//
//   1  gelu_naive      one element a thread. Neighbouring threads read neighbouring addresses, so a warp's load is one
//                      request of 128 bytes, coalesced; but each thread has a single load under way: 8 KB for 64 warps.
//   2  gelu_stride     a fixed grid, each thread strides through the array ("grid-stride loop"): fewer blocks to start,
//                      the same one load at a time.
//   3  *_packed        16 bytes a load and four loads before the first use: 2 KB under way for each warp, so that seven
//                      warps would do.
//
// bias_* fuse the addition of a bias, which costs no time: without fusion the sum would be written and read again. Their
// backward passes give the gradient of the bias too, the column sums of what they write, which would have to be read again; and
// they need the result alone, or for GELU compute x + bias again, which is cheaper than keeping it. They are version 3 with the
// same number of bytes under way, along the columns of a matrix.
//
// f(x) is a template argument here, so that the loop is written once and each function is compiled into its own kernel.
#include "common.cuh"

constexpr float ROOT_HALF = 0.70710678f, ROOT_2_OVER_PI = 0.79788456f, CUBIC = 0.044715f, ONE_OVER_ROOT_2_PI = 0.39894228f;

__device__ inline float relu(float x) { return x < 0.0f ? 0.0f : x; }  // NaN stays NaN
__device__ inline float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }
__device__ inline float error_function(float x) { return erff(x); }
__device__ inline float hyperbolic_tangent(float x) { return tanhf(x); }
__device__ inline float gelu(float x) { return 0.5f * x * (1.0f + erff(x * ROOT_HALF)); }
__device__ inline float gelu_tanh(float x) {
    return 0.5f * x * (1.0f + tanhf(ROOT_2_OVER_PI * (x + CUBIC * x * x * x)));
}

// Gradients of x from the gradient g of the result, and from the result y where that is enough.
__device__ inline float relu_backward(float g, float y) { return y <= 0.0f ? 0.0f : g; }
__device__ inline float sigmoid_backward(float g, float y) { return g * y * (1.0f - y); }
__device__ inline float tanh_backward(float g, float y) { return g * (1.0f - y * y); }
__device__ inline float gelu_backward(float g, float x) {
    return g * (0.5f * (1.0f + erff(x * ROOT_HALF)) + x * expf(-0.5f * x * x) * ONE_OVER_ROOT_2_PI);
}
__device__ inline float gelu_tanh_backward(float g, float x) {
    float t = tanhf(ROOT_2_OVER_PI * (x + CUBIC * x * x * x));
    float du = ROOT_2_OVER_PI * (1.0f + 3.0f * CUBIC * x * x);
    return g * (0.5f * (1.0f + t) + 0.5f * x * (1.0f - t * t) * du);
}

// ---- 1 --------------------------------------------------------------------------------------------------------------

extern "C" __global__ void gelu_naive(const T* __restrict__ x, T* __restrict__ out, long long n) {
    long long i = thread_index();
    if (i < n) out[i] = (T)gelu((float)x[i]);
}

// ---- 2 --------------------------------------------------------------------------------------------------------------

extern "C" __global__ void gelu_stride(const T* __restrict__ x, T* __restrict__ out, long long n) {
    for (long long i = thread_index(); i < n; i += thread_count()) out[i] = (T)gelu((float)x[i]);
}

// ---- 3 --------------------------------------------------------------------------------------------------------------

constexpr int IN_FLIGHT = 4;  // packs that a thread has under way

template <float (*f)(float)>
__device__ inline void unary(const T* __restrict__ x, T* __restrict__ out, long long n) {
    long long first = blockIdx.x * (long long)(blockDim.x * IN_FLIGHT) + threadIdx.x;
    long long whole = packed(x) && packed(out) ? n / PACK : 0;  // packs; elements behind them go one by one
    Pack packs[IN_FLIGHT];
#pragma unroll
    for (int j = 0; j < IN_FLIGHT; j++) {
        long long i = first + j * blockDim.x;
        if (i < whole) packs[j] = load_pack(x + i * PACK);
    }
#pragma unroll
    for (int j = 0; j < IN_FLIGHT; j++) {
        long long i = first + j * blockDim.x;
        if (i >= whole) continue;
#pragma unroll
        for (int k = 0; k < PACK; k++) packs[j].v[k] = (T)f((float)packs[j].v[k]);
        store_pack(out + i * PACK, packs[j]);
    }
    for (long long i = whole * PACK + thread_index(); i < n; i += thread_count()) out[i] = (T)f((float)x[i]);
}

template <float (*f)(float, float)>
__device__ inline void binary(const T* __restrict__ g, const T* __restrict__ x, T* __restrict__ dx, long long n) {
    constexpr int PAIRS = IN_FLIGHT / 2;  // two arrays are read: the same number of loads
    long long first = blockIdx.x * (long long)(blockDim.x * PAIRS) + threadIdx.x;
    long long whole = packed(g) && packed(x) && packed(dx) ? n / PACK : 0;
    Pack gs[PAIRS], xs[PAIRS];
#pragma unroll
    for (int j = 0; j < PAIRS; j++) {
        long long i = first + j * blockDim.x;
        if (i < whole) gs[j] = load_pack(g + i * PACK), xs[j] = load_pack(x + i * PACK);
    }
#pragma unroll
    for (int j = 0; j < PAIRS; j++) {
        long long i = first + j * blockDim.x;
        if (i >= whole) continue;
#pragma unroll
        for (int k = 0; k < PACK; k++) gs[j].v[k] = (T)f((float)gs[j].v[k], (float)xs[j].v[k]);
        store_pack(dx + i * PACK, gs[j]);
    }
    for (long long i = whole * PACK + thread_index(); i < n; i += thread_count()) dx[i] = (T)f((float)g[i], (float)x[i]);
}

extern "C" __global__ void sigmoid_packed(const T* x, T* out, long long n) { unary<sigmoid>(x, out, n); }
extern "C" __global__ void relu_packed(const T* x, T* out, long long n) { unary<relu>(x, out, n); }
extern "C" __global__ void erf_packed(const T* x, T* out, long long n) { unary<error_function>(x, out, n); }
extern "C" __global__ void gelu_none_packed(const T* x, T* out, long long n) { unary<gelu>(x, out, n); }
extern "C" __global__ void gelu_tanh_packed(const T* x, T* out, long long n) { unary<gelu_tanh>(x, out, n); }
extern "C" __global__ void relu_backward_packed(const T* g, const T* y, T* dx, long long n) {
    binary<relu_backward>(g, y, dx, n);
}
extern "C" __global__ void gelu_backward_none_packed(const T* g, const T* x, T* dx, long long n) {
    binary<gelu_backward>(g, x, dx, n);
}
extern "C" __global__ void gelu_backward_tanh_packed(const T* g, const T* x, T* dx, long long n) {
    binary<gelu_tanh_backward>(g, x, dx, n);
}

// ---- bias + activation ----------------------------------------------------------------------------------------------
// A thread owns a pack of columns, whose bias it keeps, and walks down the rows: blockIdx.x counts column blocks and
// blockIdx.y groups of rows.

template <float (*f)(float)>
__device__ inline void bias_rows(const T* __restrict__ x, const T* __restrict__ bias, T* __restrict__ out, int rows, int width) {
    if (width % PACK == 0 && packed(x) && packed(bias) && packed(out)) {
        int column = thread_index() * PACK;
        if (column >= width) return;
        Pack b = load_pack(bias + column);
#pragma unroll 4
        for (int row = blockIdx.y; row < rows; row += gridDim.y) {
            Pack pack = load_pack(x + (long long)row * width + column);
#pragma unroll
            for (int k = 0; k < PACK; k++) pack.v[k] = (T)f((float)pack.v[k] + (float)b.v[k]);
            store_pack(out + (long long)row * width + column, pack);
        }
    } else {
        for (int column = thread_index(); column < width; column += thread_count())
            for (int row = blockIdx.y; row < rows; row += gridDim.y) {
                long long i = (long long)row * width + column;
                out[i] = (T)f((float)x[i] + (float)bias[column]);
            }
    }
}

// With the sums of each column over the rows of this block, for a second kernel to add. kept: the result, or without it x + bias.
template <float (*f)(float, float)>
__device__ inline void bias_rows_backward(const T* __restrict__ g, const T* __restrict__ kept, const T* __restrict__ bias,
                                          T* __restrict__ dx, float* __restrict__ partial, int rows, int width) {
    float* sums = partial + (long long)blockIdx.y * width;
    if (width % PACK == 0 && packed(g) && packed(kept) && packed(dx) && (!bias || packed(bias))) {
        int column = thread_index() * PACK;
        if (column >= width) return;
        float b[PACK] = {}, sum[PACK] = {};
        if (bias) {
            Pack pack = load_pack(bias + column);
#pragma unroll
            for (int k = 0; k < PACK; k++) b[k] = (float)pack.v[k];
        }
#pragma unroll 2
        for (int row = blockIdx.y; row < rows; row += gridDim.y) {
            long long i = (long long)row * width + column;
            Pack gs = load_pack(g + i), ys = load_pack(kept + i);
#pragma unroll
            for (int k = 0; k < PACK; k++) {
                float d = f((float)gs.v[k], (float)ys.v[k] + b[k]);
                sum[k] += d;
                gs.v[k] = (T)d;
            }
            store_pack(dx + i, gs);
        }
#pragma unroll
        for (int k = 0; k < PACK; k++) sums[column + k] = sum[k];
    } else {
        for (int column = thread_index(); column < width; column += thread_count()) {
            float b = bias ? (float)bias[column] : 0.0f, sum = 0.0f;
            for (int row = blockIdx.y; row < rows; row += gridDim.y) {
                long long i = (long long)row * width + column;
                float d = f((float)g[i], (float)kept[i] + b);
                sum += d;
                dx[i] = (T)d;
            }
            sums[column] = sum;
        }
    }
}

extern "C" __global__ void bias_relu(const T* x, const T* bias, T* out, int rows, int width) {
    bias_rows<relu>(x, bias, out, rows, width);
}
extern "C" __global__ void bias_sigmoid(const T* x, const T* bias, T* out, int rows, int width) {
    bias_rows<sigmoid>(x, bias, out, rows, width);
}
extern "C" __global__ void bias_tanh(const T* x, const T* bias, T* out, int rows, int width) {
    bias_rows<hyperbolic_tangent>(x, bias, out, rows, width);
}
extern "C" __global__ void bias_gelu(const T* x, const T* bias, T* out, int rows, int width) {
    bias_rows<gelu>(x, bias, out, rows, width);
}
extern "C" __global__ void bias_gelu_tanh(const T* x, const T* bias, T* out, int rows, int width) {
    bias_rows<gelu_tanh>(x, bias, out, rows, width);
}
extern "C" __global__ void bias_relu_backward(const T* g, const T* y, T* dx, float* partial, int rows, int width) {
    bias_rows_backward<relu_backward>(g, y, nullptr, dx, partial, rows, width);
}
extern "C" __global__ void bias_sigmoid_backward(const T* g, const T* y, T* dx, float* partial, int rows, int width) {
    bias_rows_backward<sigmoid_backward>(g, y, nullptr, dx, partial, rows, width);
}
extern "C" __global__ void bias_tanh_backward(const T* g, const T* y, T* dx, float* partial, int rows, int width) {
    bias_rows_backward<tanh_backward>(g, y, nullptr, dx, partial, rows, width);
}
extern "C" __global__ void bias_gelu_none_backward(const T* g, const T* x, const T* bias, T* dx, float* partial, int rows, int width) {
    bias_rows_backward<gelu_backward>(g, x, bias, dx, partial, rows, width);
}
extern "C" __global__ void bias_gelu_tanh_backward(const T* g, const T* x, const T* bias, T* dx, float* partial, int rows, int width) {
    bias_rows_backward<gelu_tanh_backward>(g, x, bias, dx, partial, rows, width);
}
