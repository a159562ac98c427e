// Matrix products C (M, N) = A (M, K) B (K, N) + bias (N), from the obvious to the tensor cores. M, N, K may be any; bias may
// be absent.
//
// A product does 2 M N K operations on M K + K N + M N numbers: each number of A is needed N times. Read from memory each time,
// 8 bytes for a multiplication and an addition, the numbers would take 80 times as long as the arithmetic of an H100, which does 20
// operations in float32 in the time of a byte (see activation.cu), and hundreds of times as long on its tensor cores. So the
// floor is the arithmetic, and the story of these versions is one of reuse: who keeps what, how close to the arithmetic, how often.
//
//   1  sgemm_naive        one element of C a thread; threadIdx.x counts rows, so that neighbours read and write K or N apart
//   2  sgemm_coalesced    threadIdx.x counts columns: one swap of letters, and a warp reads neighbouring addresses of B
//   3  sgemm_tiled        a block of 32 x 32 threads brings tiles of A and B into shared memory: each number is read from
//                         memory once per tile, not once per thread. Now shared memory is the limit: two loads for each
//                         multiplication.
//   4  sgemm_registers    a thread computes 8 x 8 elements: of 16 numbers read from shared memory it makes 64 multiplications.
//                         But its columns are 8 apart from its neighbour's, so that 16 lanes meet in 4 banks; and each number is
//                         a load of its own.
//   5  sgemm_vectorised   16 bytes a load, from memory and from shared memory; A is stored transposed for that. A thread's eight
//                         columns are two groups of four, beside those of its neighbours: no banks in which they meet.
//   6  sgemm_warps        the 8 x 8 elements of a thread lie so that the 32 lanes of a warp need few distinct numbers, and the
//                         next tile is fetched while this one is multiplied: two buffers, one barrier a step
//   7  hgemm_mma          half precision or bfloat16 on the tensor cores, which take 16 x 8 results at a time; tiles come by
//                         asynchronous copies, four deep: see mma.cuh
//
// The library's (cuBLAS) stays what the engine calls. Sources: Boehm, "How to optimize a CUDA matmul kernel for cuBLAS-like
// performance", 2022, for the ladder; NVIDIA's CUTLASS for versions 6 and 7.
#include "common.cuh"
#include "mma.cuh"

#ifndef T_IS_HALF  // the versions for float32: each element type is compiled for itself
// ---- 1 --------------------------------------------------------------------------------------------------------------

extern "C" __global__ void sgemm_naive(const float* A, const float* B, const float* bias, float* C, int M, int N, int K) {
    int row = blockIdx.x * blockDim.x + threadIdx.x, column = blockIdx.y * blockDim.y + threadIdx.y;
    if (row >= M || column >= N) return;
    float sum = 0.0f;
    for (int k = 0; k < K; k++) sum += A[(long long)row * K + k] * B[(long long)k * N + column];
    C[(long long)row * N + column] = sum + (bias ? bias[column] : 0.0f);
}

// ---- 2 --------------------------------------------------------------------------------------------------------------

extern "C" __global__ void sgemm_coalesced(const float* A, const float* B, const float* bias, float* C, int M, int N, int K) {
    int row = blockIdx.y * blockDim.y + threadIdx.y, column = blockIdx.x * blockDim.x + threadIdx.x;
    if (row >= M || column >= N) return;
    float sum = 0.0f;
    for (int k = 0; k < K; k++) sum += A[(long long)row * K + k] * B[(long long)k * N + column];
    C[(long long)row * N + column] = sum + (bias ? bias[column] : 0.0f);
}

// ---- 3 --------------------------------------------------------------------------------------------------------------

extern "C" __global__ void __launch_bounds__(1024) sgemm_tiled(const float* A, const float* B, const float* bias, float* C, int M, int N,
                                                               int K) {
    __shared__ float a[32][32], b[32][32];
    int row = blockIdx.y * 32 + threadIdx.y, column = blockIdx.x * 32 + threadIdx.x;
    float sum = 0.0f;
    for (int first = 0; first < K; first += 32) {
        int k = first + threadIdx.x;
        a[threadIdx.y][threadIdx.x] = row < M && k < K ? A[(long long)row * K + k] : 0.0f;
        k = first + threadIdx.y;
        b[threadIdx.y][threadIdx.x] = k < K && column < N ? B[(long long)k * N + column] : 0.0f;
        __syncthreads();  // the tiles are complete
        for (int i = 0; i < 32; i++) sum += a[threadIdx.y][i] * b[i][threadIdx.x];
        __syncthreads();  // nobody needs them any more
    }
    if (row < M && column < N) C[(long long)row * N + column] = sum + (bias ? bias[column] : 0.0f);
}

// ---- 4 --------------------------------------------------------------------------------------------------------------
// From here on a block of 256 threads computes a tile of TILE x TILE elements in steps of DEPTH along K.

constexpr int TILE = 128, DEPTH = 8, EACH = 8;  // EACH x EACH elements a thread

extern "C" __global__ void __launch_bounds__(256) sgemm_registers(const float* A, const float* B, const float* bias, float* C, int M,
                                                                  int N, int K) {
    __shared__ float a[TILE][DEPTH], b[DEPTH][TILE];
    int top = blockIdx.y * TILE, left = blockIdx.x * TILE;
    int my_row = threadIdx.x / 16 * EACH, my_column = threadIdx.x % 16 * EACH;
    float sum[EACH][EACH] = {};
    for (int first = 0; first < K; first += DEPTH) {
        for (int i = threadIdx.x; i < TILE * DEPTH; i += 256) {
            int row = top + i / DEPTH, k = first + i % DEPTH;
            a[i / DEPTH][i % DEPTH] = row < M && k < K ? A[(long long)row * K + k] : 0.0f;
            int column = left + i % TILE;
            k = first + i / TILE;
            b[i / TILE][i % TILE] = k < K && column < N ? B[(long long)k * N + column] : 0.0f;
        }
        __syncthreads();
#pragma unroll
        for (int k = 0; k < DEPTH; k++) {
            float from_a[EACH], from_b[EACH];
#pragma unroll
            for (int i = 0; i < EACH; i++) from_a[i] = a[my_row + i][k], from_b[i] = b[k][my_column + i];
#pragma unroll
            for (int i = 0; i < EACH; i++)
#pragma unroll
                for (int j = 0; j < EACH; j++) sum[i][j] += from_a[i] * from_b[j];
        }
        __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < EACH; i++)
#pragma unroll
        for (int j = 0; j < EACH; j++) {
            int row = top + my_row + i, column = left + my_column + j;
            if (row < M && column < N) C[(long long)row * N + column] = sum[i][j] + (bias ? bias[column] : 0.0f);
        }
}

// ---- 5 --------------------------------------------------------------------------------------------------------------
// K and N are multiples of 4, and the arrays begin at multiples of 16 bytes.

// What thread i of 256 brings of the next tiles: 4 numbers along K of one row of A, 4 along N of one row of B.
struct Fetched {
    float4 a, b;
};

__device__ inline Fetched fetch(const float* A, const float* B, int M, int N, int K, int top, int left, int first) {
    int i = threadIdx.x, row = top + i / 2, k = first + i % 2 * 4;
    Fetched f = {{0, 0, 0, 0}, {0, 0, 0, 0}};
    if (row < M && k < K) f.a = *reinterpret_cast<const float4*>(A + (long long)row * K + k);
    k = first + i / 32;
    int column = left + i % 32 * 4;
    if (k < K && column < N) f.b = *reinterpret_cast<const float4*>(B + (long long)k * N + column);
    return f;
}

__device__ inline void put(Fetched f, float (&a)[DEPTH][TILE], float (&b)[DEPTH][TILE]) {
    int i = threadIdx.x, row = i / 2, k = i % 2 * 4;
    a[k][row] = f.a.x, a[k + 1][row] = f.a.y, a[k + 2][row] = f.a.z, a[k + 3][row] = f.a.w;  // transposed
    *reinterpret_cast<float4*>(&b[i / 32][i % 32 * 4]) = f.b;
}

// The thread's elements are two groups of four rows and two of four columns, `rows` and `columns` apart.
__device__ inline void multiply(float (&sum)[EACH][EACH], const float (&a)[DEPTH][TILE], const float (&b)[DEPTH][TILE], int my_row,
                                int rows, int my_column, int columns) {
#pragma unroll
    for (int k = 0; k < DEPTH; k++) {
        float from_a[EACH], from_b[EACH];
#pragma unroll
        for (int half_tile = 0; half_tile < 2; half_tile++) {
            float4 v = *reinterpret_cast<const float4*>(&a[k][my_row + half_tile * rows]);
            float4 w = *reinterpret_cast<const float4*>(&b[k][my_column + half_tile * columns]);
            int j = half_tile * 4;
            from_a[j] = v.x, from_a[j + 1] = v.y, from_a[j + 2] = v.z, from_a[j + 3] = v.w;
            from_b[j] = w.x, from_b[j + 1] = w.y, from_b[j + 2] = w.z, from_b[j + 3] = w.w;
        }
#pragma unroll
        for (int i = 0; i < EACH; i++)
#pragma unroll
            for (int j = 0; j < EACH; j++) sum[i][j] += from_a[i] * from_b[j];
    }
}

__device__ inline void store(const float (&sum)[EACH][EACH], const float* bias, float* C, int M, int N, int row, int rows, int column,
                             int columns) {
#pragma unroll
    for (int i = 0; i < EACH; i++)
#pragma unroll
        for (int half_tile = 0; half_tile < 2; half_tile++) {
            int r = row + i / 4 * rows + i % 4, c = column + half_tile * columns, j = half_tile * 4;
            if (r >= M || c >= N) continue;
            float4 v = {sum[i][j], sum[i][j + 1], sum[i][j + 2], sum[i][j + 3]};
            if (bias) v.x += bias[c], v.y += bias[c + 1], v.z += bias[c + 2], v.w += bias[c + 3];
            *reinterpret_cast<float4*>(C + (long long)r * N + c) = v;
        }
}

extern "C" __global__ void __launch_bounds__(256) sgemm_vectorised(const float* A, const float* B, const float* bias, float* C, int M,
                                                                   int N, int K) {
    __shared__ __align__(16) float a[DEPTH][TILE];
    __shared__ __align__(16) float b[DEPTH][TILE];
    int top = blockIdx.y * TILE, left = blockIdx.x * TILE;
    int my_row = threadIdx.x / 16 * 4, my_column = threadIdx.x % 16 * 4;  // and those 64 further
    float sum[EACH][EACH] = {};
    for (int first = 0; first < K; first += DEPTH) {
        put(fetch(A, B, M, N, K, top, left, first), a, b);
        __syncthreads();
        multiply(sum, a, b, my_row, 64, my_column, 64);
        __syncthreads();
    }
    store(sum, bias, C, M, N, top + my_row, 64, left + my_column, 64);
}

// ---- 6 --------------------------------------------------------------------------------------------------------------
// The eight warps are 2 x 4 over the tile, 64 x 32 elements each; their lanes are 8 x 4. In one step a warp reads 64 numbers
// of A and 32 of B, of which its lanes share most: shared memory serves equal addresses of a warp at once.

extern "C" __global__ void __launch_bounds__(256, 2) sgemm_warps(const float* A, const float* B, const float* bias, float* C, int M,
                                                                 int N, int K) {
    __shared__ __align__(16) float a[2][DEPTH][TILE];
    __shared__ __align__(16) float b[2][DEPTH][TILE];
    int top = blockIdx.y * TILE, left = blockIdx.x * TILE;
    int my_row = warp_index() / 4 * 64 + lane_index() / 4 * 4;      // and those 32 further
    int my_column = warp_index() % 4 * 32 + lane_index() % 4 * 4;   // and those 16 further
    float sum[EACH][EACH] = {};
    put(fetch(A, B, M, N, K, top, left, 0), a[0], b[0]);
    __syncthreads();
    int now = 0;
    for (int first = 0; first < K; first += DEPTH) {
        Fetched next = fetch(A, B, M, N, K, top, left, first + DEPTH);  // under way while this tile is multiplied
        multiply(sum, a[now], b[now], my_row, 32, my_column, 16);
        put(next, a[1 - now], b[1 - now]);  // nobody reads that buffer: the barrier of the step before stands in between
        __syncthreads();
        now = 1 - now;
    }
    store(sum, bias, C, M, N, top + my_row, 32, left + my_column, 16);
}

#else  // float16 and bfloat16
// ---- 7 --------------------------------------------------------------------------------------------------------------
// K and N are multiples of 8, the arrays begin at multiples of 16 bytes. A block of eight warps computes 128 x 128, a warp
// 64 x 32: 4 x 4 results of the tensor cores. STAGES tiles are in shared memory at a time, all but one still on their way.
//
// A row of the tile of A is 4 pieces of 16 bytes and one of B 16, in the places that swizzle gives them.

constexpr int STAGES = 4, HDEPTH = 32;
constexpr int A_ROW = HDEPTH / 8, B_ROW = 128 / 8;                // pieces of 16 bytes in a row
constexpr int A_PIECES = 128 * A_ROW, B_PIECES = HDEPTH * B_ROW;  // and in a tile

#ifdef HAS_MMA
__device__ inline void fetch_tiles(uint4* a, uint4* b, const T* A, const T* B, int M, int N, int K, int top, int left, int first) {
    for (int i = threadIdx.x; i < A_PIECES; i += 256) {
        int row = i / A_ROW, piece = i % A_ROW, k = first + piece * 8;
        bool there = top + row < M && k < K;
        copy_async(a + swizzle<A_ROW>(row, piece), there ? A + (long long)(top + row) * K + k : A, there);
        row = i / B_ROW, piece = i % B_ROW, k = first + row;
        there = k < K && left + piece * 8 < N;
        copy_async(b + swizzle<B_ROW>(row, piece), there ? B + (long long)k * N + left + piece * 8 : B, there);
    }
    copies_commit();
}
#endif

extern "C" __global__ void __launch_bounds__(256, 2) hgemm_mma(const T* A, const T* B, const T* bias, T* C, int M, int N,
                                                               int K) {
#ifdef HAS_MMA
    SHARED_DYN(uint4, tiles);
    int top = blockIdx.y * 128, left = blockIdx.x * 128;
    int my_row = warp_index() / 4 * 64, my_column = warp_index() % 4 * 32;
    float sum[4][4][4] = {};
    int steps = ceil_div(K, HDEPTH);
    for (int s = 0; s < STAGES - 1; s++) {
        uint4* a = tiles + s * (A_PIECES + B_PIECES);
        fetch_tiles(a, a + A_PIECES, A, B, M, N, K, top, left, s * HDEPTH);  // beyond K: zeros
    }
    for (int step = 0; step < steps; step++) {
        copies_wait<STAGES - 2>();
        __syncthreads();  // this tile has come for all threads, and all have done with the one that is fetched next
        uint4* next = tiles + (step + STAGES - 1) % STAGES * (A_PIECES + B_PIECES);
        fetch_tiles(next, next + A_PIECES, A, B, M, N, K, top, left, (step + STAGES - 1) * HDEPTH);
        const uint4* a = tiles + step % STAGES * (A_PIECES + B_PIECES);
        const uint4* b = a + A_PIECES;
#pragma unroll
        for (int k = 0; k < HDEPTH; k += 16) {
            unsigned from_a[4][4], from_b[2][4];
#pragma unroll
            for (int i = 0; i < 4; i++)
                load_matrices(from_a[i], a + swizzle<A_ROW>(my_row + i * 16 + lane_index() % 16, k / 8 + lane_index() / 16));
#pragma unroll
            for (int j = 0; j < 2; j++)
                load_matrices_transposed(from_b[j], b + swizzle<B_ROW>(k + lane_index() % 16, my_column / 8 + j * 2 + lane_index() / 16));
#pragma unroll
            for (int i = 0; i < 4; i++)
#pragma unroll
                for (int j = 0; j < 4; j++) {
                    unsigned pair[2] = {from_b[j / 2][j % 2 * 2], from_b[j / 2][j % 2 * 2 + 1]};
                    mma_halves(sum[i][j], from_a[i], pair);
                }
        }
    }
    copies_wait<0>();
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) {
            int row = top + my_row + i * 16 + lane_index() / 4, column = left + my_column + j * 8 + lane_index() % 4 * 2;
            if (column >= N) continue;
            float b0 = bias ? (float)bias[column] : 0.0f, b1 = bias ? (float)bias[column + 1] : 0.0f;
            for (int h = 0; h < 2; h++)
                if (row + h * 8 < M)
                    *reinterpret_cast<unsigned*>(C + (long long)(row + h * 8) * N + column) =
                        pack_halves(sum[i][j][2 * h] + b0, sum[i][j][2 * h + 1] + b1);
        }
#endif
}
#endif  // float16 and bfloat16
