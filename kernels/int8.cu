// Products of bytes: out (M, N) = scale_x[m] scale_w[n] sum_k x[m][k] w[n][k] + bias[n], the sums exact in int32.
//
// x (M, K) and w (N, K) are signed bytes that stand for x scale_x[m] and w scale_w[n], a scale for each row: both are read along
// K, so that four successive bytes are one register.
//
// As in gemm.cu each number is needed many times, the floor is the arithmetic, and reuse is all. What is won by bytes: a quarter of
// the traffic of floats, and instructions that multiply several at once: by the data sheet of an H100 twice as many a second as of halves.
//
//   1  int8_naive   one element of out a thread, one multiplication at a time. The lanes of a warp read w K bytes apart: nothing is
//                   coalesced.
//   2  int8_dp4a    the instruction dp4a: four multiplications of bytes and their sum in one. Tiles of 64 x 64 in shared memory,
//                   4 x 4 elements a thread, as version 4 of gemm.cu.
//   3  int8_mma     tensor cores: 16 x 8 results of 32 products each with one instruction, and tiles by asynchronous copies, four
//                   deep, as version 7 of gemm.cu (see mma.cuh)
//
// Versions 2 and 3 need K a multiple of 16 and arrays that begin at multiples of 16 bytes.
#include "common.cuh"
#include "mma.cuh"

__device__ inline void finish(float* out, const float* scale_x, const float* scale_w, const float* bias, int sum, int m, int n, int M,
                              int N) {
    if (m < M && n < N) out[(long long)m * N + n] = (float)sum * (scale_x[m] * scale_w[n]) + (bias ? bias[n] : 0.0f);
}

// ---- 1 --------------------------------------------------------------------------------------------------------------

extern "C" __global__ void int8_naive(const signed char* x, const signed char* w, const float* scale_x, const float* scale_w,
                                      const float* bias, float* out, int M, int N, int K) {
    int n = blockIdx.x * blockDim.x + threadIdx.x, m = blockIdx.y * blockDim.y + threadIdx.y, sum = 0;
    if (m >= M || n >= N) return;
    for (int k = 0; k < K; k++) sum += x[(long long)m * K + k] * w[(long long)n * K + k];
    finish(out, scale_x, scale_w, bias, sum, m, n, M, N);
}

// ---- 2 --------------------------------------------------------------------------------------------------------------

constexpr int TILE = 64, DEPTH = 64;  // rows of a tile; bytes of each

extern "C" __global__ void __launch_bounds__(256) int8_dp4a(const signed char* x, const signed char* w, const float* scale_x,
                                                            const float* scale_w, const float* bias, float* out, int M, int N, int K) {
    __shared__ int a[TILE][DEPTH / 4 + 1], b[TILE][DEPTH / 4 + 1];  // + 1: rows begin in different banks
    int top = blockIdx.y * TILE, left = blockIdx.x * TILE, ty = threadIdx.x / 16, tx = threadIdx.x % 16;
    int sum[4][4] = {};
    for (int first = 0; first < K; first += DEPTH) {
        int row = threadIdx.x / 4, piece = threadIdx.x % 4, k = first + piece * 16;  // 16 bytes of each tile a thread
        int4 zero = {0, 0, 0, 0};
        int4 v = top + row < M && k < K ? *reinterpret_cast<const int4*>(x + (long long)(top + row) * K + k) : zero;
        a[row][piece * 4] = v.x, a[row][piece * 4 + 1] = v.y, a[row][piece * 4 + 2] = v.z, a[row][piece * 4 + 3] = v.w;
        v = left + row < N && k < K ? *reinterpret_cast<const int4*>(w + (long long)(left + row) * K + k) : zero;
        b[row][piece * 4] = v.x, b[row][piece * 4 + 1] = v.y, b[row][piece * 4 + 2] = v.z, b[row][piece * 4 + 3] = v.w;
        __syncthreads();
#pragma unroll 4
        for (int q = 0; q < DEPTH / 4; q++) {
            int from_a[4], from_b[4];
#pragma unroll
            for (int i = 0; i < 4; i++) from_a[i] = a[ty + 16 * i][q], from_b[i] = b[tx + 16 * i][q];
#pragma unroll
            for (int i = 0; i < 4; i++)
#pragma unroll
                for (int j = 0; j < 4; j++) sum[i][j] = __dp4a(from_a[i], from_b[j], sum[i][j]);
        }
        __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 4; j++)
            finish(out, scale_x, scale_w, bias, sum[i][j], top + ty + 16 * i, left + tx + 16 * j, M, N);
}

// ---- 3 --------------------------------------------------------------------------------------------------------------
// A block of eight warps computes 128 x 128, a warp 64 x 32; steps of 64 bytes along K, four stages as in hgemm_mma. The four
// 8 x 8 matrices of halves that load_matrices fetches are here 8 x 16 matrices of bytes.

constexpr int STAGES = 4, BYTES = 64, PIECES = BYTES / 16, SIDE_PIECES = 128 * PIECES;

#ifdef HAS_MMA
__device__ inline void fetch_tiles(uint4* a, uint4* b, const signed char* x, const signed char* w, int M, int N, int K, int top, int left,
                                   int first) {
    for (int i = threadIdx.x; i < SIDE_PIECES; i += 256) {
        int row = i / PIECES, piece = i % PIECES, k = first + piece * 16;
        bool there = top + row < M && k < K;
        copy_async(a + swizzle<PIECES>(row, piece), there ? x + (long long)(top + row) * K + k : x, there);
        there = left + row < N && k < K;
        copy_async(b + swizzle<PIECES>(row, piece), there ? w + (long long)(left + row) * K + k : w, there);
    }
    copies_commit();
}
#endif

extern "C" __global__ void __launch_bounds__(256, 2) int8_mma(const signed char* x, const signed char* w, const float* scale_x,
                                                              const float* scale_w, const float* bias, float* out, int M, int N, int K) {
#ifdef HAS_MMA
    SHARED_DYN(uint4, tiles);
    int top = blockIdx.y * 128, left = blockIdx.x * 128, lane = lane_index();
    int my_row = warp_index() / 4 * 64, my_column = warp_index() % 4 * 32;
    int sum[4][4][4] = {};
    int steps = ceil_div(K, BYTES);
    for (int s = 0; s < STAGES - 1; s++) {
        uint4* a = tiles + s * 2 * SIDE_PIECES;
        fetch_tiles(a, a + SIDE_PIECES, x, w, M, N, K, top, left, s * BYTES);
    }
    for (int step = 0; step < steps; step++) {
        copies_wait<STAGES - 2>();
        __syncthreads();
        uint4* next = tiles + (step + STAGES - 1) % STAGES * 2 * SIDE_PIECES;
        fetch_tiles(next, next + SIDE_PIECES, x, w, M, N, K, top, left, (step + STAGES - 1) * BYTES);
        const uint4* a = tiles + step % STAGES * 2 * SIDE_PIECES;
        const uint4* b = a + SIDE_PIECES;
#pragma unroll
        for (int piece = 0; piece < PIECES; piece += 2) {  // 32 bytes along K
            unsigned from_a[4][4], from_b[2][4];
#pragma unroll
            for (int i = 0; i < 4; i++) load_matrices(from_a[i], a + swizzle<PIECES>(my_row + i * 16 + lane % 16, piece + lane / 16));
#pragma unroll
            for (int j = 0; j < 2; j++)
                load_matrices(from_b[j], b + swizzle<PIECES>(my_column + j * 16 + lane % 8 + lane / 16 * 8, piece + lane / 8 % 2));
#pragma unroll
            for (int i = 0; i < 4; i++)
#pragma unroll
                for (int j = 0; j < 4; j++) {
                    unsigned pair[2] = {from_b[j / 2][j % 2 * 2], from_b[j / 2][j % 2 * 2 + 1]};
                    mma_s8(sum[i][j], from_a[i], pair);
                }
        }
    }
    copies_wait<0>();
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 4; j++)
#pragma unroll
            for (int r = 0; r < 4; r++)
                finish(out, scale_x, scale_w, bias, sum[i][j][r], top + my_row + i * 16 + lane / 4 + r / 2 * 8,
                       left + my_column + j * 8 + lane % 4 * 2 + r % 2, M, N);
#endif
}
