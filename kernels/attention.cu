// Attention, softmax(Q K^T scale) V, without the matrix of scores: forward and backward.
//
// The scores of L queries and S keys are L S numbers, for 8192 of each 256 MB a head, written and read several times. Here a
// block keeps a tile of queries and passes over the keys and values, tile by tile. The softmax is built up as it goes: with m
// the largest score so far, l the sum of e^(s - m) and o that sum weighted with the values, a tile with a larger maximum m'
// first multiplies l and o by e^(m - m'). At the end out = o / l, and of the softmax only lse = m + log l is kept.
//
// Backward computes the probabilities again, P = e^(S scale - lse). With G the gradient of out and delta_i = sum_d G_id out_id:
//     dV = P^T G        dP = G V^T        dS = P (dP - delta)        dQ = scale dS K        dK = scale dS^T Q
// One kernel takes a tile of keys and passes over the queries, for dK and dV; another takes a tile of queries and passes over
// the keys, for dQ. That is seven products where five would do if the first added dQ into memory atomically; in return each
// number has one owner, and the result is the same at every run.
//
//   1  attention_naive   one thread a query: the algorithm and nothing else
//   2  *_tiled           float32: 64 queries and 64 keys at a time in shared memory, products of 4 x 4 elements a thread
//   3  *_mma             float16 on the tensor cores (see mma.cuh). A warp owns 16 queries. The scores come out of the tensor
//                        core spread over the lanes in just the layout in which P must go in again as the left factor of P V:
//                        they never leave the registers. K and V come by asynchronous copies, one tile ahead.
//
// q (N, L, D), k and v (N, S, D), N being batch times heads; D is WIDTH. causal: query i sees the keys 0 to i.
//
// Sources: Dao and others, "FlashAttention", 2022, and "FlashAttention-2", 2023; Milakov and Gimelshein 2018 for the softmax.
#include "common.cuh"
#include "mma.cuh"

#ifndef WIDTH
#define WIDTH 64
#endif
constexpr float LOG2_E = 1.44269504f;  // the hardware's exponential is 2^x

__device__ inline bool hidden(int query, int key, int S, int causal) { return key >= S || (causal && key > query); }

// ---- 1 --------------------------------------------------------------------------------------------------------------

extern "C" __global__ void attention_naive(const T* __restrict__ q, const T* __restrict__ k, const T* __restrict__ v, T* out, float* lse,
                                           int L, int S, float scale, int causal) {
    int i = thread_index();
    if (i >= L) return;
    q += ((long long)blockIdx.y * L + i) * WIDTH;
    k += (long long)blockIdx.y * S * WIDTH;
    v += (long long)blockIdx.y * S * WIDTH;
    float query[WIDTH], sum[WIDTH], m = -INFINITE, l = 0.0f;
#pragma unroll
    for (int d = 0; d < WIDTH; d++) query[d] = (float)q[d], sum[d] = 0.0f;
    for (int j = 0; j < (causal ? min(S, i + 1) : S); j++) {
        float score = 0.0f;
#pragma unroll
        for (int d = 0; d < WIDTH; d++) score += query[d] * (float)k[(long long)j * WIDTH + d];
        score *= scale;
        float larger = fmaxf(m, score), shrink = expf(m - larger), p = expf(score - larger);
        l = l * shrink + p;
#pragma unroll
        for (int d = 0; d < WIDTH; d++) sum[d] = sum[d] * shrink + p * (float)v[(long long)j * WIDTH + d];
        m = larger;
    }
#pragma unroll
    for (int d = 0; d < WIDTH; d++) out[((long long)blockIdx.y * L + i) * WIDTH + d] = (T)(sum[d] / l);
    lse[(long long)blockIdx.y * L + i] = m + logf(l);
}

// delta (rows,): the sum over d of g times out, a warp a row.
extern "C" __global__ void attention_delta(const T* __restrict__ g, const T* __restrict__ out, float* __restrict__ delta, int rows) {
    long long row = blockIdx.x * (long long)(blockDim.x / 32) + warp_index();
    if (row >= rows) return;
    float sum = 0.0f;
    for (int d = lane_index(); d < WIDTH; d += 32) sum += (float)g[row * WIDTH + d] * (float)out[row * WIDTH + d];
    sum = warp_sum(sum);
    if (lane_index() == 0) delta[row] = sum;
}

#ifndef T_IS_HALF
// ---- 2 --------------------------------------------------------------------------------------------------------------
// Tiles are SIDE rows of WIDTH numbers, stored PITCH apart: an odd distance puts the same column of successive rows into
// different banks. Of 16 x 16 threads, thread (x, y) owns rows y, y + 16, ... and columns x, x + 16, ... of a result.

constexpr int SIDE = 64, EACH = SIDE / 16, WIDE = WIDTH / 16;
constexpr int PITCH = WIDTH + 1, SQUARE_PITCH = SIDE + 1;

// Rows first .. first + SIDE - 1 of (rows, WIDTH) into a tile, zeros beyond.
__device__ inline void load_tile(float* tile, const float* from, int first, int rows) {
    for (int i = threadIdx.y * 16 + threadIdx.x; i < SIDE * WIDTH; i += 256) {
        int row = i / WIDTH, d = i % WIDTH;
        tile[row * PITCH + d] = first + row < rows ? from[(long long)(first + row) * WIDTH + d] : 0.0f;
    }
}

// sum += A B^T for tiles A and B: the products of their rows.
__device__ inline void rows_by_rows(float (&sum)[EACH][EACH], const float* a, const float* b) {
#pragma unroll 8
    for (int d = 0; d < WIDTH; d++) {
        float x[EACH], y[EACH];
#pragma unroll
        for (int i = 0; i < EACH; i++) {
            x[i] = a[(threadIdx.y + 16 * i) * PITCH + d];
            y[i] = b[(threadIdx.x + 16 * i) * PITCH + d];
        }
#pragma unroll
        for (int i = 0; i < EACH; i++)
#pragma unroll
            for (int j = 0; j < EACH; j++) sum[i][j] += x[i] * y[j];
    }
}

// sum += A B, or A^T B, for a square A and a tile B.
template <bool TRANSPOSED>
__device__ inline void square_by_tile(float (&sum)[EACH][WIDE], const float* a, const float* b) {
#pragma unroll 4
    for (int k = 0; k < SIDE; k++) {
        float x[EACH], y[WIDE];
#pragma unroll
        for (int i = 0; i < EACH; i++) {
            int own = threadIdx.y + 16 * i;
            x[i] = TRANSPOSED ? a[k * SQUARE_PITCH + own] : a[own * SQUARE_PITCH + k];
        }
#pragma unroll
        for (int j = 0; j < WIDE; j++) y[j] = b[k * PITCH + threadIdx.x + 16 * j];
#pragma unroll
        for (int i = 0; i < EACH; i++)
#pragma unroll
            for (int j = 0; j < WIDE; j++) sum[i][j] += x[i] * y[j];
    }
}

__device__ inline void store_square(float* square, const float (&v)[EACH][EACH]) {
#pragma unroll
    for (int i = 0; i < EACH; i++)
#pragma unroll
        for (int j = 0; j < EACH; j++) square[(threadIdx.y + 16 * i) * SQUARE_PITCH + threadIdx.x + 16 * j] = v[i][j];
}

__device__ inline void store_tile(float* to, const float (&v)[EACH][WIDE], int first, int rows, float scale) {
#pragma unroll
    for (int i = 0; i < EACH; i++)
#pragma unroll
        for (int j = 0; j < WIDE; j++) {
            int row = first + threadIdx.y + 16 * i;
            if (row < rows) to[(long long)row * WIDTH + threadIdx.x + 16 * j] = v[i][j] * scale;
        }
}

// The largest, or the sum, over the 16 threads that share a row: lanes 0-15 or 16-31 of a warp.
__device__ inline float row_max16(float v) {
    for (int step = 8; step > 0; step /= 2) v = fmaxf(v, __shfl_xor_sync(ALL_LANES, v, step));
    return v;
}
__device__ inline float row_sum16(float v) {
    for (int step = 8; step > 0; step /= 2) v += __shfl_xor_sync(ALL_LANES, v, step);
    return v;
}

extern "C" __global__ void __launch_bounds__(256) attention_tiled(const float* q, const float* k, const float* v, float* out, float* lse,
                                                                  int L, int S, float scale, int causal) {
    SHARED_DYN(float, memory);
    float *queries = memory, *values = queries + SIDE * PITCH, *keys = values + SIDE * PITCH;
    float* p = keys;  // the probabilities take the place of the keys when the scores are done
    int first = blockIdx.x * SIDE, n = blockIdx.y;
    k += (long long)n * S * WIDTH;
    v += (long long)n * S * WIDTH;
    load_tile(queries, q + (long long)n * L * WIDTH, first, L);
    float sum[EACH][WIDE] = {}, m[EACH], l[EACH] = {};
#pragma unroll
    for (int i = 0; i < EACH; i++) m[i] = -INFINITE;
    int end = causal ? min(S, first + SIDE) : S;
    for (int start = 0; start < end; start += SIDE) {
        __syncthreads();  // all have done with the tiles before
        load_tile(keys, k, start, S);
        load_tile(values, v, start, S);
        __syncthreads();
        float s[EACH][EACH] = {};
        rows_by_rows(s, queries, keys);
        __syncthreads();  // p overwrites the keys
#pragma unroll
        for (int i = 0; i < EACH; i++) {
            float larger = m[i];
#pragma unroll
            for (int j = 0; j < EACH; j++) {
                bool no = hidden(first + threadIdx.y + 16 * i, start + threadIdx.x + 16 * j, S, causal);
                s[i][j] = no ? -INFINITE : s[i][j] * scale;
                larger = fmaxf(larger, s[i][j]);
            }
            larger = row_max16(larger);
            float shrink = expf(m[i] - larger), total = 0.0f;
#pragma unroll
            for (int j = 0; j < EACH; j++) {
                s[i][j] = expf(s[i][j] - larger);
                total += s[i][j];
            }
            l[i] = l[i] * shrink + row_sum16(total);
            m[i] = larger;
#pragma unroll
            for (int j = 0; j < WIDE; j++) sum[i][j] *= shrink;
        }
        store_square(p, s);
        __syncthreads();
        square_by_tile<false>(sum, p, values);
    }
#pragma unroll
    for (int i = 0; i < EACH; i++) {
        int row = first + threadIdx.y + 16 * i;
        if (row >= L) continue;
#pragma unroll
        for (int j = 0; j < WIDE; j++) out[((long long)n * L + row) * WIDTH + threadIdx.x + 16 * j] = sum[i][j] / l[i];
        if (threadIdx.x == 0) lse[(long long)n * L + row] = m[i] + logf(l[i]);
    }
}

// P and dS of a tile of queries (rows) and a tile of keys (columns), from their scores s and the products dp of g and the values.
__device__ inline void probabilities(float (&s)[EACH][EACH], float (&dp)[EACH][EACH], const float* lse, const float* delta, int first,
                                     int L, int start, int S, float scale, int causal) {
#pragma unroll
    for (int i = 0; i < EACH; i++) {
        int query = first + threadIdx.y + 16 * i;
        float row_lse = query < L ? lse[query] : 0.0f, row_delta = query < L ? delta[query] : 0.0f;
#pragma unroll
        for (int j = 0; j < EACH; j++) {
            bool no = query >= L || hidden(query, start + threadIdx.x + 16 * j, S, causal);
            s[i][j] = no ? 0.0f : expf(s[i][j] * scale - row_lse);
            dp[i][j] = s[i][j] * (dp[i][j] - row_delta);
        }
    }
}

extern "C" __global__ void __launch_bounds__(256) attention_backward_kv_tiled(const float* g, const float* q, const float* k,
                                                                              const float* v, const float* lse, const float* delta,
                                                                              float* dk, float* dv, int L, int S, float scale,
                                                                              int causal) {
    SHARED_DYN(float, memory);
    float *keys = memory, *values = keys + SIDE * PITCH, *queries = values + SIDE * PITCH, *gradients = queries + SIDE * PITCH;
    float *p = gradients + SIDE * PITCH, *ds = p + SIDE * SQUARE_PITCH;
    int start = blockIdx.x * SIDE, n = blockIdx.y;
    load_tile(keys, k + (long long)n * S * WIDTH, start, S);
    load_tile(values, v + (long long)n * S * WIDTH, start, S);
    float sum_k[EACH][WIDE] = {}, sum_v[EACH][WIDE] = {};
    for (int first = causal ? start : 0; first < L; first += SIDE) {
        __syncthreads();
        load_tile(queries, q + (long long)n * L * WIDTH, first, L);
        load_tile(gradients, g + (long long)n * L * WIDTH, first, L);
        __syncthreads();
        float s[EACH][EACH] = {}, dp[EACH][EACH] = {};
        rows_by_rows(s, queries, keys);
        rows_by_rows(dp, gradients, values);
        probabilities(s, dp, lse + (long long)n * L, delta + (long long)n * L, first, L, start, S, scale, causal);
        store_square(p, s);
        store_square(ds, dp);
        __syncthreads();
        square_by_tile<true>(sum_v, p, gradients);
        square_by_tile<true>(sum_k, ds, queries);
    }
    store_tile(dk + (long long)n * S * WIDTH, sum_k, start, S, scale);
    store_tile(dv + (long long)n * S * WIDTH, sum_v, start, S, 1.0f);
}

extern "C" __global__ void __launch_bounds__(256) attention_backward_q_tiled(const float* g, const float* q, const float* k, const float* v,
                                                                             const float* lse, const float* delta, float* dq, int L, int S,
                                                                             float scale, int causal) {
    SHARED_DYN(float, memory);
    float *keys = memory, *values = keys + SIDE * PITCH, *queries = values + SIDE * PITCH, *gradients = queries + SIDE * PITCH;
    float* ds = gradients + SIDE * PITCH;
    int first = blockIdx.x * SIDE, n = blockIdx.y;
    load_tile(queries, q + (long long)n * L * WIDTH, first, L);
    load_tile(gradients, g + (long long)n * L * WIDTH, first, L);
    float sum[EACH][WIDE] = {};
    int end = causal ? min(S, first + SIDE) : S;
    for (int start = 0; start < end; start += SIDE) {
        __syncthreads();
        load_tile(keys, k + (long long)n * S * WIDTH, start, S);
        load_tile(values, v + (long long)n * S * WIDTH, start, S);
        __syncthreads();
        float s[EACH][EACH] = {}, dp[EACH][EACH] = {};
        rows_by_rows(s, queries, keys);
        rows_by_rows(dp, gradients, values);
        probabilities(s, dp, lse + (long long)n * L, delta + (long long)n * L, first, L, start, S, scale, causal);
        store_square(ds, dp);
        __syncthreads();
        square_by_tile<false>(sum, ds, keys);
    }
    store_tile(dq + (long long)n * L * WIDTH, sum, first, L, scale);
}

#else  // float16 and bfloat16
// ---- 3 --------------------------------------------------------------------------------------------------------------
// Four warps, each with 16 rows of a tile of 64 ("own" rows: queries, or in the kernel for dK and dV keys), against tiles of
// KEYS or OTHERS "other" rows. A tile is stored in pieces of 16 bytes, in the places that swizzle of mma.cuh gives them.

constexpr int OWN = 64, PIECES = WIDTH / 8, STEPS = WIDTH / 16;  // pieces in a row; steps of 16 along it

#ifdef HAS_MMA
// Rows first .. first + ROWS - 1 of (rows, WIDTH) into a tile, zeros beyond; the caller commits.
template <int ROWS>
__device__ inline void fetch_rows(uint4* tile, const T* from, int first, int rows) {
    for (int i = threadIdx.x; i < ROWS * PIECES; i += 128) {
        int row = i / PIECES, piece = i % PIECES;
        bool there = first + row < rows;
        copy_async(tile + swizzle<PIECES>(row, piece), there ? from + (long long)(first + row) * WIDTH + piece * 8 : from, there);
    }
}

// The left factor: the warp's 16 rows, columns 16 step to 16 step + 15.
__device__ inline void own_rows(unsigned (&a)[4], const uint4* tile, int step) {
    load_matrices(a, tile + swizzle<PIECES>(warp_index() * 16 + lane_index() % 16, step * 2 + lane_index() / 16));
}

// sum (16, 8 TILES) += own rows times the transposed `tile` of other rows.
template <int TILES>
__device__ inline void own_by_rows(float (&sum)[TILES][4], const uint4* own, const uint4* tile) {
#pragma unroll
    for (int step = 0; step < STEPS; step++) {
        unsigned a[4];
        own_rows(a, own, step);
#pragma unroll
        for (int j = 0; j < TILES; j += 2) {
            unsigned b[4];
            int row = j * 8 + lane_index() % 8 + lane_index() / 16 * 8;
            load_matrices(b, tile + swizzle<PIECES>(row, step * 2 + lane_index() / 8 % 2));
            unsigned b0[2] = {b[0], b[1]}, b1[2] = {b[2], b[3]};
            mma_halves(sum[j], a, b0);
            mma_halves(sum[j + 1], a, b1);
        }
    }
}

// sum (16, WIDTH) += p (16, 8 TILES) times `tile` (8 TILES, WIDTH). The registers of p as a result are those of p as a left
// factor: two neighbouring results of the tensor core, 8 columns each, are one left factor of 16.
template <int TILES>
__device__ inline void square_by_rows(float (&sum)[PIECES][4], const float (&p)[TILES][4], const uint4* tile) {
#pragma unroll
    for (int j = 0; j < TILES; j += 2) {
        unsigned a[4] = {pack_halves(p[j][0], p[j][1]), pack_halves(p[j][2], p[j][3]), pack_halves(p[j + 1][0], p[j + 1][1]),
                         pack_halves(p[j + 1][2], p[j + 1][3])};
#pragma unroll
        for (int d = 0; d < PIECES; d += 2) {
            unsigned b[4];
            load_matrices_transposed(b, tile + swizzle<PIECES>(j * 8 + lane_index() % 16, d + lane_index() / 16));
            unsigned b0[2] = {b[0], b[1]}, b1[2] = {b[2], b[3]};
            mma_halves(sum[d], a, b0);
            mma_halves(sum[d + 1], a, b1);
        }
    }
}

// The warp's 16 rows of a result to rows first + ... of (rows, WIDTH), each times a factor: of row g, and of row g + 8.
__device__ inline void store_rows(T* to, const float (&sum)[PIECES][4], int first, int rows, float low, float high) {
    int row = first + warp_index() * 16 + lane_index() / 4;
#pragma unroll
    for (int d = 0; d < PIECES; d++) {
        int column = d * 8 + lane_index() % 4 * 2;
        if (row < rows)
            *reinterpret_cast<unsigned*>(to + (long long)row * WIDTH + column) = pack_halves(sum[d][0] * low, sum[d][1] * low);
        if (row + 8 < rows)
            *reinterpret_cast<unsigned*>(to + (long long)(row + 8) * WIDTH + column) = pack_halves(sum[d][2] * high, sum[d][3] * high);
    }
}

// The largest, or the sum, over the four lanes that hold a row.
__device__ inline float row_max4(float v) {
    v = fmaxf(v, __shfl_xor_sync(ALL_LANES, v, 1));
    return fmaxf(v, __shfl_xor_sync(ALL_LANES, v, 2));
}
__device__ inline float row_sum4(float v) {
    v += __shfl_xor_sync(ALL_LANES, v, 1);
    return v + __shfl_xor_sync(ALL_LANES, v, 2);
}
#endif

constexpr int KEYS = 64;  // other rows at a time in the forward pass

extern "C" __global__ void __launch_bounds__(128) attention_mma(const T* q, const T* k, const T* v, T* out, float* lse, int L,
                                                                int S, float scale, int causal) {
#ifdef HAS_MMA
    SHARED_DYN(uint4, memory);
    uint4* queries = memory;
    uint4* tiles = memory + OWN * PIECES;  // keys and values, twice
    int first = (gridDim.x - 1 - blockIdx.x) * OWN, n = blockIdx.y;  // long rows of a causal mask first
    k += (long long)n * S * WIDTH;
    v += (long long)n * S * WIDTH;
    int end = causal ? min(S, first + OWN) : S;
    fetch_rows<OWN>(queries, q + (long long)n * L * WIDTH, first, L);
    fetch_rows<KEYS>(tiles, k, 0, S);
    fetch_rows<KEYS>(tiles + KEYS * PIECES, v, 0, S);
    copies_commit();
    float sum[PIECES][4] = {}, m[2] = {-INFINITE, -INFINITE}, l[2] = {};  // of rows g and g + 8
    int g = lane_index() / 4, t = lane_index() % 4, row = first + warp_index() * 16 + g;
    float scale2 = scale * LOG2_E;
    for (int start = 0; start < end; start += KEYS) {
        copies_wait<0>();
        __syncthreads();  // this tile is there for all, and all have done with the other
        uint4* keys = tiles + start / KEYS % 2 * (2 * KEYS * PIECES);
        if (start + KEYS < end) {
            uint4* next = tiles + (start / KEYS + 1) % 2 * (2 * KEYS * PIECES);
            fetch_rows<KEYS>(next, k, start + KEYS, S);
            fetch_rows<KEYS>(next + KEYS * PIECES, v, start + KEYS, S);
            copies_commit();
        }
        float s[KEYS / 8][4] = {};
        own_by_rows(s, queries, keys);
        if (start + KEYS > S || (causal && start + KEYS > first)) {
#pragma unroll
            for (int j = 0; j < KEYS / 8; j++)
#pragma unroll
                for (int i = 0; i < 4; i++)
                    if (hidden(row + i / 2 * 8, start + j * 8 + 2 * t + i % 2, S, causal)) s[j][i] = -INFINITE;
        }
#pragma unroll
        for (int h = 0; h < 2; h++) {
            float larger = m[h], total = 0.0f;
#pragma unroll
            for (int j = 0; j < KEYS / 8; j++) larger = fmaxf(larger, fmaxf(s[j][2 * h], s[j][2 * h + 1]));
            larger = row_max4(larger);
            float shrink = exp2f((m[h] - larger) * scale2), shift = larger * scale2;
#pragma unroll
            for (int j = 0; j < KEYS / 8; j++)
#pragma unroll
                for (int i = 2 * h; i < 2 * h + 2; i++) {
                    s[j][i] = exp2f(s[j][i] * scale2 - shift);
                    total += s[j][i];
                }
            l[h] = l[h] * shrink + total;  // over the four lanes at the end
            m[h] = larger;
#pragma unroll
            for (int d = 0; d < PIECES; d++) sum[d][2 * h] *= shrink, sum[d][2 * h + 1] *= shrink;
        }
        square_by_rows(sum, s, keys + KEYS * PIECES);
    }
    l[0] = row_sum4(l[0]);
    l[1] = row_sum4(l[1]);
    store_rows(out + (long long)n * L * WIDTH, sum, first, L, 1.0f / l[0], 1.0f / l[1]);
    if (t == 0)
        for (int h = 0; h < 2; h++)
            if (row + 8 * h < L) lse[(long long)n * L + row + 8 * h] = m[h] * scale + logf(l[h]);
#endif
}

constexpr int OTHERS = 32;  // other rows at a time in the backward pass: two squares of results are in registers there

// The warp owns 16 keys; the squares are keys (rows) by queries (columns).
extern "C" __global__ void __launch_bounds__(128) attention_backward_kv_mma(const T* g, const T* q, const T* k, const T* v,
                                                                            const float* lse, const float* delta, T* dk, T* dv,
                                                                            int L, int S, float scale, int causal) {
#ifdef HAS_MMA
    SHARED_DYN(uint4, memory);
    uint4 *keys = memory, *values = keys + OWN * PIECES;
    uint4* tiles = values + OWN * PIECES;  // queries and gradients, twice
    int start = blockIdx.x * OWN, n = blockIdx.y, t = lane_index() % 4;
    q += (long long)n * L * WIDTH;
    g += (long long)n * L * WIDTH;
    lse += (long long)n * L;
    delta += (long long)n * L;
    int begin = causal ? start : 0, key = start + warp_index() * 16 + lane_index() / 4;
    fetch_rows<OWN>(keys, k + (long long)n * S * WIDTH, start, S);
    fetch_rows<OWN>(values, v + (long long)n * S * WIDTH, start, S);
    fetch_rows<OTHERS>(tiles, q, begin, L);
    fetch_rows<OTHERS>(tiles + OTHERS * PIECES, g, begin, L);
    copies_commit();
    float sum_k[PIECES][4] = {}, sum_v[PIECES][4] = {};
    for (int first = begin; first < L; first += OTHERS) {
        copies_wait<0>();
        __syncthreads();
        uint4* queries = tiles + (first - begin) / OTHERS % 2 * (2 * OTHERS * PIECES);
        uint4* gradients = queries + OTHERS * PIECES;
        if (first + OTHERS < L) {
            uint4* next = tiles + ((first - begin) / OTHERS + 1) % 2 * (2 * OTHERS * PIECES);
            fetch_rows<OTHERS>(next, q, first + OTHERS, L);
            fetch_rows<OTHERS>(next + OTHERS * PIECES, g, first + OTHERS, L);
            copies_commit();
        }
        float p[OTHERS / 8][4] = {}, ds[OTHERS / 8][4] = {};
        own_by_rows(p, keys, queries);
        own_by_rows(ds, values, gradients);
#pragma unroll
        for (int j = 0; j < OTHERS / 8; j++)
#pragma unroll
            for (int i = 0; i < 4; i++) {
                int query = first + j * 8 + 2 * t + i % 2;
                bool no = query >= L || hidden(query, key + i / 2 * 8, S, causal);
                p[j][i] = no ? 0.0f : exp2f((p[j][i] * scale - lse[query]) * LOG2_E);
                ds[j][i] = no ? 0.0f : p[j][i] * (ds[j][i] - delta[query]);
            }
        square_by_rows(sum_v, p, gradients);
        square_by_rows(sum_k, ds, queries);
    }
    copies_wait<0>();
    store_rows(dk + (long long)n * S * WIDTH, sum_k, start, S, scale, scale);
    store_rows(dv + (long long)n * S * WIDTH, sum_v, start, S, 1.0f, 1.0f);
#endif
}

// The warp owns 16 queries; the squares are queries (rows) by keys (columns).
extern "C" __global__ void __launch_bounds__(128) attention_backward_q_mma(const T* g, const T* q, const T* k, const T* v,
                                                                           const float* lse, const float* delta, T* dq, int L, int S,
                                                                           float scale, int causal) {
#ifdef HAS_MMA
    SHARED_DYN(uint4, memory);
    uint4 *queries = memory, *gradients = queries + OWN * PIECES;
    uint4* tiles = gradients + OWN * PIECES;  // keys and values, twice
    int first = (gridDim.x - 1 - blockIdx.x) * OWN, n = blockIdx.y, t = lane_index() % 4;
    k += (long long)n * S * WIDTH;
    v += (long long)n * S * WIDTH;
    int end = causal ? min(S, first + OWN) : S, row = first + warp_index() * 16 + lane_index() / 4;
    fetch_rows<OWN>(queries, q + (long long)n * L * WIDTH, first, L);
    fetch_rows<OWN>(gradients, g + (long long)n * L * WIDTH, first, L);
    fetch_rows<OTHERS>(tiles, k, 0, S);
    fetch_rows<OTHERS>(tiles + OTHERS * PIECES, v, 0, S);
    copies_commit();
    float sum[PIECES][4] = {}, my_lse[2], my_delta[2];
#pragma unroll
    for (int h = 0; h < 2; h++) {
        bool there = row + 8 * h < L;
        my_lse[h] = there ? lse[(long long)n * L + row + 8 * h] * LOG2_E : 0.0f;
        my_delta[h] = there ? delta[(long long)n * L + row + 8 * h] : 0.0f;
    }
    for (int start = 0; start < end; start += OTHERS) {
        copies_wait<0>();
        __syncthreads();
        uint4* keys = tiles + start / OTHERS % 2 * (2 * OTHERS * PIECES);
        if (start + OTHERS < end) {
            uint4* next = tiles + (start / OTHERS + 1) % 2 * (2 * OTHERS * PIECES);
            fetch_rows<OTHERS>(next, k, start + OTHERS, S);
            fetch_rows<OTHERS>(next + OTHERS * PIECES, v, start + OTHERS, S);
            copies_commit();
        }
        float s[OTHERS / 8][4] = {}, ds[OTHERS / 8][4] = {};
        own_by_rows(s, queries, keys);
        own_by_rows(ds, gradients, keys + OTHERS * PIECES);
#pragma unroll
        for (int j = 0; j < OTHERS / 8; j++)
#pragma unroll
            for (int i = 0; i < 4; i++) {
                bool no = hidden(row + i / 2 * 8, start + j * 8 + 2 * t + i % 2, S, causal);
                float p = no ? 0.0f : exp2f(s[j][i] * scale * LOG2_E - my_lse[i / 2]);
                ds[j][i] = p * (ds[j][i] - my_delta[i / 2]);
            }
        square_by_rows(sum, ds, keys);
    }
    store_rows(dq + (long long)n * L * WIDTH, sum, first, L, scale, scale);
#endif
}
#endif  // float16 and bfloat16
