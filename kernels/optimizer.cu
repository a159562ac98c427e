// One step of Adam and of stochastic gradient descent, in place; the formulas are in optimizer.py.
//
// The floor of a step is 28 bytes a parameter in float32 (Adam: read four arrays, write three); the dozen operations with them take
// no time beside that. As array operations, each of which reads and writes memory, they would move 124 bytes: 32 for exp_avg, in
// three operations, 36 for exp_avg_sq in four, 56 for the parameter in six.
//
//   1  *_flat    one array a launch, 16 bytes a load (adam_counted: with the number of the step in memory)
//   2  *_table   all arrays of a model in one launch. A model has hundreds of arrays, most of them small: a launch for each
//                takes the CPU longer than the work takes the GPU. The kernel gets a table of their addresses; each
//                block takes one chunk of one array, which it finds by a search in the table of first chunks.
//
// Source of the table: NVIDIA Apex's multi-tensor optimizers.
#include "common.cuh"

constexpr int CHUNK = 16384;  // elements that one block takes

struct Span {
    int array;
    long long first, last;  // the elements of that array
};

// Which part of which array this block takes; chunks[i] is the number of the first chunk of array i, chunks[count] of all.
__device__ inline Span find_span(const int* chunks, const long long* sizes, int count) {
    int low = 0, high = count - 1;
    while (low < high) {  // the last array whose first chunk is not beyond this block
        int middle = (low + high + 1) / 2;
        if (chunks[middle] <= (int)blockIdx.x) low = middle;
        else high = middle - 1;
    }
    long long first = (long long)((int)blockIdx.x - chunks[low]) * CHUNK;
    return {low, first, min(first + CHUNK, sizes[low])};
}

// ---- Adam -----------------------------------------------------------------------------------------------------------

// largest is exp_avg_sq itself, or for AMSGrad the largest so far, in place.
__device__ inline void adam_element(float& param, float grad, float& exp_avg, float& exp_avg_sq, float* largest, float sign,
                                    float keep, float l2, float rate1, float beta2, float rate2, float step_size, float correction,
                                    float eps) {
    param *= keep;
    float g = sign * grad + l2 * param;
    exp_avg += rate1 * (g - exp_avg);
    exp_avg_sq = beta2 * exp_avg_sq + rate2 * g * g;
    float second = exp_avg_sq;
    if (largest) second = *largest = second > *largest ? second : *largest;
    param -= step_size * exp_avg / (sqrtf(second) / correction + eps);
}

__device__ inline void adam_span(float* __restrict__ param, const float* __restrict__ grad, float* __restrict__ exp_avg,
                                 float* __restrict__ exp_avg_sq, float* __restrict__ largest, long long first, long long last,
                                 float sign, float keep, float l2, float rate1, float beta2, float rate2, float step_size,
                                 float correction, float eps) {
    bool packs = packed(param) && packed(grad) && packed(exp_avg) && packed(exp_avg_sq) && !largest;
    long long whole = packs ? first + (last - first) / 4 * 4 : first;  // first is a multiple of 4
#pragma unroll 2
    for (long long i = first + 4 * threadIdx.x; i < whole; i += 4 * blockDim.x) {
        Pack p = load_pack(param + i), g = load_pack(grad + i), m = load_pack(exp_avg + i), v = load_pack(exp_avg_sq + i);
#pragma unroll
        for (int k = 0; k < 4; k++)
            adam_element(p.v[k], g.v[k], m.v[k], v.v[k], nullptr, sign, keep, l2, rate1, beta2, rate2, step_size, correction, eps);
        store_pack(param + i, p);
        store_pack(exp_avg + i, m);
        store_pack(exp_avg_sq + i, v);
    }
    for (long long i = whole + threadIdx.x; i < last; i += blockDim.x)
        adam_element(param[i], grad[i], exp_avg[i], exp_avg_sq[i], largest ? largest + i : nullptr, sign, keep, l2, rate1, beta2,
                     rate2, step_size, correction, eps);
}

extern "C" __global__ void adam_flat(float* param, const float* grad, float* exp_avg, float* exp_avg_sq, float* largest, long long n,
                                     float sign, float keep, float l2, float rate1, float beta2, float rate2, float step_size,
                                     float correction, float eps) {
    long long first = blockIdx.x * (long long)CHUNK;
    adam_span(param, grad, exp_avg, exp_avg_sq, largest, first, min(first + CHUNK, n), sign, keep, l2, rate1, beta2, rate2, step_size,
              correction, eps);
}

// The same where the number of the step is in memory, so that a CUDA graph goes on counting. One thread of a block does the sums.
extern "C" __global__ void adam_counted(float* param, const float* grad, float* exp_avg, float* exp_avg_sq, float* largest,
                                        const float* step, long long n, float sign, float keep, float l2, float rate1, float rate2,
                                        float eps, double lr, double beta1, double beta2) {
    __shared__ float corrections[2];
    if (threadIdx.x == 0) {
        corrections[0] = (float)(lr / (1.0 - pow(beta1, (double)*step)));
        corrections[1] = (float)sqrt(1.0 - pow(beta2, (double)*step));
    }
    __syncthreads();
    long long first = blockIdx.x * (long long)CHUNK;
    adam_span(param, grad, exp_avg, exp_avg_sq, largest, first, min(first + CHUNK, n), sign, keep, l2, rate1, (float)beta2, rate2,
              corrections[0], corrections[1], eps);
}

// table is (5, count): the addresses of the arrays of each kind; those of `largest` are 0 without AMSGrad.
extern "C" __global__ void adam_table(const unsigned long long* table, const int* chunks, const long long* sizes, int count,
                                      float sign, float keep, float l2, float rate1, float beta2, float rate2, float step_size,
                                      float correction, float eps) {
    Span span = find_span(chunks, sizes, count);
    const unsigned long long* address = table + span.array;
    adam_span((float*)address[0], (const float*)address[count], (float*)address[2 * count], (float*)address[3 * count],
              (float*)address[4 * count], span.first, span.last, sign, keep, l2, rate1, beta2, rate2, step_size, correction, eps);
}

// ---- stochastic gradient descent ------------------------------------------------------------------------------------

// With momentum the update is of_grad * g + of_buffer * buffer; without, buffer is null.
__device__ inline void sgd_span(float* __restrict__ param, const float* __restrict__ grad, float* __restrict__ buffer, long long first,
                                long long last, float lr, float decay, float rate, float of_buffer, float of_grad, float weight_decay,
                                float sign) {
    bool packs = packed(param) && packed(grad) && packed(buffer);
    long long whole = packs ? first + (last - first) / 4 * 4 : first;
#pragma unroll 2
    for (long long i = first + 4 * threadIdx.x; i < whole; i += 4 * blockDim.x) {
        Pack p = load_pack(param + i), g = load_pack(grad + i), b = {};
        if (buffer) b = load_pack(buffer + i);
#pragma unroll
        for (int k = 0; k < 4; k++) {
            float d = sign * g.v[k] + weight_decay * p.v[k];
            if (buffer) {
                b.v[k] = decay == 0.0f ? rate * d : decay * b.v[k] + rate * d;  // the first step's buffer holds anything
                d = of_grad * d + of_buffer * b.v[k];
            }
            p.v[k] -= lr * d;
        }
        store_pack(param + i, p);
        if (buffer) store_pack(buffer + i, b);
    }
    for (long long i = whole + threadIdx.x; i < last; i += blockDim.x) {
        float d = sign * grad[i] + weight_decay * param[i];
        if (buffer) {
            buffer[i] = decay == 0.0f ? rate * d : decay * buffer[i] + rate * d;
            d = of_grad * d + of_buffer * buffer[i];
        }
        param[i] -= lr * d;
    }
}

extern "C" __global__ void sgd_flat(float* param, const float* grad, float* buffer, long long n, float lr, float decay, float rate,
                                    float of_buffer, float of_grad, float weight_decay, float sign) {
    long long first = blockIdx.x * (long long)CHUNK;
    sgd_span(param, grad, buffer, first, min(first + CHUNK, n), lr, decay, rate, of_buffer, of_grad, weight_decay, sign);
}

extern "C" __global__ void sgd_table(const unsigned long long* table, const int* chunks, const long long* sizes, int count, float lr,
                                     float decay, float rate, float of_buffer, float of_grad, float weight_decay, float sign) {
    Span span = find_span(chunks, sizes, count);
    const unsigned long long* address = table + span.array;
    sgd_span((float*)address[0], (const float*)address[count], (float*)address[2 * count], span.first, span.last, lr, decay, rate,
             of_buffer, of_grad, weight_decay, sign);
}
