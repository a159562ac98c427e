// Convolution of x (B, C, H, W) with weight (O, C, kh, kw): out (B, O, P, Q).
//
//   1  unfold_2d       the matrix of windows ("im2col"), (B, C kh kw, P Q): a product with the weight as (O, C kh kw) is the
//                      convolution. Each number is copied to up to kh kw places, which takes that much memory and traffic.
//      fold_2d         its transpose: each number of the result adds up the places that it was copied to
//   2  conv_implicit   the same product without the matrix. A block computes a tile of the result as in gemm.cu, and when it
//                      needs a tile of the matrix of windows it fetches those numbers from x, where they stand. What row k of
//                      the matrix is - which channel, which place in the window - is worked out once a step for all threads,
//                      since a division takes some 20 instructions.
//
// Windows begin every sh, sw numbers, after a padding of ph, pw; dh, dw is the distance within a window.
// Source: Chetlur and others, "cuDNN: Efficient Primitives for Deep Learning", 2014, for version 2.
#include "common.cuh"

// ---- 1 --------------------------------------------------------------------------------------------------------------

extern "C" __global__ void unfold_2d(const T* __restrict__ x, T* __restrict__ columns, long long n, int H, int W, int P, int Q, int kh,
                                     int kw, int sh, int sw, int ph, int pw, int dh, int dw) {
    for (long long at = thread_index(); at < n; at += thread_count()) {
        int q = at % Q, p = at / Q % P, j = at / ((long long)P * Q) % kw, i = at / ((long long)P * Q * kw) % kh;
        long long plane = at / ((long long)P * Q * kw * kh);
        int row = p * sh - ph + i * dh, column = q * sw - pw + j * dw;
        bool there = row >= 0 && row < H && column >= 0 && column < W;
        columns[at] = there ? x[(plane * H + row) * W + column] : (T)0.0f;
    }
}

extern "C" __global__ void fold_2d(const T* __restrict__ columns, T* __restrict__ out, long long n, int H, int W, int P, int Q, int kh,
                                   int kw, int sh, int sw, int ph, int pw, int dh, int dw) {
    for (long long at = thread_index(); at < n; at += thread_count()) {
        int column = at % W, row = at / W % H;
        long long plane = at / ((long long)H * W);
        float sum = 0.0f;
        for (int i = 0; i < kh; i++)
            for (int j = 0; j < kw; j++) {
                int down = row + ph - i * dh, right = column + pw - j * dw;
                if (down < 0 || right < 0 || down % sh || right % sw || down / sh >= P || right / sw >= Q) continue;
                sum += (float)columns[(((plane * kh + i) * kw + j) * P + down / sh) * Q + right / sw];
            }
        out[at] = (T)sum;
    }
}

// ---- 2 --------------------------------------------------------------------------------------------------------------

constexpr int TILE = 64, DEPTH = 16;  // channels and positions of a tile; rows of the matrix of windows in a step

extern "C" __global__ void __launch_bounds__(256) conv_implicit(const float* __restrict__ x, const float* __restrict__ weight,
                                                                float* __restrict__ out, int B, int O, int C, int H, int W, int P, int Q,
                                                                int kh, int kw, int sh, int sw, int ph, int pw, int dh, int dw) {
    __shared__ float a[DEPTH][TILE + 1], b[DEPTH][TILE];
    __shared__ int channel[DEPTH], down[DEPTH], right[DEPTH];  // of the rows of this step
    int top = blockIdx.y * TILE, ty = threadIdx.x / 16, tx = threadIdx.x % 16, K = C * kh * kw;
    long long positions = (long long)B * P * Q;
    // this thread brings one position, and every fourth row of the step
    long long mine = blockIdx.x * (long long)TILE + threadIdx.x % TILE;
    bool inside = mine < positions;
    int image = inside ? mine / ((long long)P * Q) : 0, p = inside ? mine / Q % P : 0, q = inside ? mine % Q : 0;
    const float* from = x + (long long)image * C * H * W;
    float sum[4][4] = {};
    for (int first = 0; first < K; first += DEPTH) {
        if (threadIdx.x < DEPTH) {
            int k = first + threadIdx.x;
            channel[threadIdx.x] = k / (kh * kw), down[threadIdx.x] = k / kw % kh * dh, right[threadIdx.x] = k % kw * dw;
        }
        for (int i = threadIdx.x; i < TILE * DEPTH; i += 256) {
            int o = top + i / DEPTH, k = first + i % DEPTH;
            a[i % DEPTH][i / DEPTH] = o < O && k < K ? weight[(long long)o * K + k] : 0.0f;
        }
        __syncthreads();  // the rows are known
        for (int r = threadIdx.x / TILE; r < DEPTH; r += 256 / TILE) {
            int row = p * sh - ph + down[r], column = q * sw - pw + right[r];
            bool there = inside && first + r < K && row >= 0 && row < H && column >= 0 && column < W;
            b[r][threadIdx.x % TILE] = there ? from[((long long)channel[r] * H + row) * W + column] : 0.0f;
        }
        __syncthreads();
#pragma unroll
        for (int k = 0; k < DEPTH; k++) {
            float from_a[4], from_b[4];
#pragma unroll
            for (int i = 0; i < 4; i++) from_a[i] = a[k][ty + 16 * i], from_b[i] = b[k][tx + 16 * i];
#pragma unroll
            for (int i = 0; i < 4; i++)
#pragma unroll
                for (int j = 0; j < 4; j++) sum[i][j] += from_a[i] * from_b[j];
        }
        __syncthreads();
    }
#pragma unroll
    for (int j = 0; j < 4; j++) {
        long long n = blockIdx.x * (long long)TILE + tx + 16 * j;
        if (n >= positions) continue;
        long long batch = n / ((long long)P * Q), place = n % ((long long)P * Q);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            int o = top + ty + 16 * i;
            if (o < O) out[(batch * O + o) * P * Q + place] = sum[i][j];
        }
    }
}
