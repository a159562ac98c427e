// Convolution of x (B, C, H, W) with weight (O, C / G, kh, kw): out (B, O, P, Q); and the way back, from g, the gradient of out,
// to that of x and to that of the weight. The channels fall into G groups, which are convolved each for itself.
//
//   1  conv_direct     one number of the result a thread (of the weight's gradient: a block), as the definition says. For
//                      _input that means: which windows does this number of x lie in? Nothing is reused but through the caches.
//                      Where a group has few channels there is little to reuse, and this is the version to take.
//   2  unfold_2d       the matrix of windows ("im2col"), (B, C kh kw, P Q): a product with the weight as (O, C kh kw) is the
//                      convolution. Each number is copied to up to kh kw places, which takes that much memory and traffic.
//      fold_2d         its transpose: each number of the result adds up the places that it was copied to
//   3  conv_implicit   the same product without the matrix. A block computes a tile of the result as in gemm.cu, and when it
//                      needs a tile of the matrix of windows it fetches those numbers from x, where they stand. What row k of
//                      the matrix is - which channel, which place in the window - is worked out once a step for all threads,
//                      since a division takes some 20 instructions.
//   4  conv_tiles      the same for all three directions, with 8 x 8 results a thread and the next tile on its way while this one
//                      is multiplied, as version 6 of gemm.cu. Each direction is one product, whose right side is fetched from
//                      where it stands:
//
//                          conv_tiles         out (O, B P Q)      = weight (O, C kh kw)    times  windows of x (C kh kw, B P Q)
//                          conv_tiles_input   dx (C, B H W)       = weightT (C, O kh kw)   times  windows of g (O kh kw, B H W)
//                          conv_tiles_weight  dweight (O, C kh kw) = g (O, B P Q)          times  windows of x, transposed
//
//                      The last has few results and long sums, so they are cut into parts, each for a block of its own, which
//                      are added up afterwards in a fixed order. Nothing is added atomically: results are the same at every run.
//
// Windows begin every sh, sw numbers, after a padding of ph, pw; dh, dw is the distance within a window. No array has more than
// 2^30 numbers, so that indices are ints.
// Source: Chetlur and others, "cuDNN: Efficient Primitives for Deep Learning", 2014, for the implicit product.
#include "common.cuh"

// ---- 1 --------------------------------------------------------------------------------------------------------------

__device__ inline bool within(int y, int x, int height, int width) {
    return (unsigned)y < (unsigned)height && (unsigned)x < (unsigned)width;
}

extern "C" __global__ void conv_direct(const T* __restrict__ x, const T* __restrict__ weight, const T* __restrict__ bias,
                                       T* __restrict__ out, int n, int O, int C, int groups, int H, int W, int P, int Q, int kh, int kw,
                                       int sh, int sw, int ph, int pw, int dh, int dw) {
    int each = C / groups;  // channels that a window sees
    for (int at = thread_index(); at < n; at += thread_count()) {
        int q = at % Q, p = at / Q % P, o = at / (P * Q) % O, image = at / (P * Q * O);
        const T* plane = x + (image * C + o / (O / groups) * each) * H * W;
        const T* w = weight + o * each * kh * kw;
        float sum = bias ? (float)bias[o] : 0.0f;
        for (int c = 0; c < each; c++, plane += H * W)
            for (int i = 0; i < kh; i++)
                for (int j = 0; j < kw; j++, w++) {
                    int row = p * sh - ph + i * dh, column = q * sw - pw + j * dw;
                    if (within(row, column, H, W)) sum += (float)plane[row * W + column] * (float)*w;
                }
        out[at] = (T)sum;
    }
}

extern "C" __global__ void conv_direct_input(const T* __restrict__ g, const T* __restrict__ weight, const T* __restrict__ bias,
                                             T* __restrict__ dx, int n, int O, int C, int groups, int H, int W, int P, int Q, int kh,
                                             int kw, int sh, int sw, int ph, int pw, int dh, int dw) {
    int each = C / groups, others = O / groups;
    for (int at = thread_index(); at < n; at += thread_count()) {
        int column = at % W, row = at / W % H, c = at / (H * W) % C, image = at / (H * W * C);
        int first = c / each * others;  // the first channel of g in this group
        float sum = bias ? (float)bias[c] : 0.0f;
        for (int o = first; o < first + others; o++) {
            const T* plane = g + (image * O + o) * P * Q;
            const T* w = weight + (o * each + c % each) * kh * kw;
            for (int i = 0; i < kh; i++)
                for (int j = 0; j < kw; j++, w++) {
                    int down = row + ph - i * dh, right = column + pw - j * dw;  // where its window begins, in the padded plane
                    if (down < 0 || right < 0 || down % sh || right % sw || down / sh >= P || right / sw >= Q) continue;
                    sum += (float)plane[down / sh * Q + right / sw] * (float)*w;
                }
        }
        dx[at] = (T)sum;
    }
}

extern "C" __global__ void conv_direct_weight(const T* __restrict__ g, const T* __restrict__ x, T* __restrict__ dweight, int B, int O,
                                              int C, int groups, int H, int W, int P, int Q, int kh, int kw, int sh, int sw, int ph,
                                              int pw, int dh, int dw) {
    int each = C / groups, at = blockIdx.x;
    int j = at % kw, i = at / kw % kh, o = at / (kh * kw * each);
    int c = o / (O / groups) * each + at / (kh * kw) % each;
    float sum = 0.0f;
    for (int k = threadIdx.x; k < B * P * Q; k += blockDim.x) {
        int q = k % Q, p = k / Q % P, image = k / (P * Q);
        int row = p * sh - ph + i * dh, column = q * sw - pw + j * dw;
        if (within(row, column, H, W))
            sum += (float)g[((image * O + o) * P + p) * Q + q] * (float)x[((image * C + c) * H + row) * W + column];
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) dweight[at] = (T)sum;
}

// ---- 2 --------------------------------------------------------------------------------------------------------------

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

// ---- 3 --------------------------------------------------------------------------------------------------------------

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

// ---- 4 --------------------------------------------------------------------------------------------------------------
// A tile of the product left (rows, terms) times right (terms, columns), where left lies in memory and right is fetched from planes.
// A term says which plane of the image it means and how far down and right, and so does a column: their sums are the place.
// For conv_tiles a column is a window, and a term a channel and a place within the window; for conv_tiles_weight the other way round.

constexpr int ROWS = 64, COLUMNS = 128, STEP = 8, EACH = 8;  // of a tile; terms at a time; EACH x EACH results for each of 128 threads
constexpr int NOWHERE = -(1 << 29);                          // a coordinate outside of any plane, whatever is added

struct alignas(16) Term {
    int left, plane, y, x;  // left: where its numbers begin in `left`, or -1 beyond the last term
};
struct alignas(16) Place {
    int plane, y, x;
};
struct Tiles {  // in shared memory; the 4 keep the rows of a tile, which neighbours write, out of each other's banks
    alignas(16) float a[2][STEP][ROWS + 4], b[2][STEP][COLUMNS + 4];
    Term terms[2][STEP];
    Place places[COLUMNS];
};
struct Operands {
    const T *left, *planes;
    int rows, step;     // rows of left that are there, and how far apart they are
    int height, width;  // of a plane
};
struct Numbers {  // what a thread brings of the next tiles
    float a[ROWS * STEP / 128], b[COLUMNS * STEP / 128];
};

// The results of a thread are in 2 x 2 squares of 4 x 4: a warp, 4 x 8 of them, needs 32 numbers of a and 64 of b at a time.
__device__ inline int row_of(int i) { return warp_index() / 2 * 32 + lane_index() / 8 * 4 + i / 4 * 16 + i % 4; }
__device__ inline int column_of(int j) { return warp_index() % 2 * 64 + lane_index() % 8 * 4 + j / 4 * 32 + j % 4; }

__device__ inline float value(const Operands& from, Term term, Place place) {
    int y = term.y + place.y, x = term.x + place.x;
    return within(y, x, from.height, from.width) ? (float)from.planes[term.plane + place.plane + y * from.width + x] : 0.0f;
}

// SIDEWAYS: whether neighbouring terms, and not neighbouring columns, are neighbours in memory, so that neighbouring threads take those.
template <bool SIDEWAYS>
__device__ inline Numbers fetch(const Operands& from, const Tiles& tiles, int buffer) {
    Numbers out;
    Term mine = tiles.terms[buffer][threadIdx.x % STEP];
#pragma unroll
    for (int i = 0; i < ROWS * STEP / 128; i++) {
        int row = threadIdx.x / STEP + 128 / STEP * i;
        out.a[i] = mine.left >= 0 && row < from.rows ? (float)from.left[mine.left + row * from.step] : 0.0f;
    }
#pragma unroll
    for (int i = 0; i < COLUMNS * STEP / 128; i++)
        out.b[i] = SIDEWAYS ? value(from, mine, tiles.places[threadIdx.x / STEP + 128 / STEP * i])
                            : value(from, tiles.terms[buffer][i], tiles.places[threadIdx.x]);
    return out;
}

template <bool SIDEWAYS>
__device__ inline void put(const Numbers& numbers, Tiles& tiles, int buffer) {
    int row = threadIdx.x % STEP, column = threadIdx.x / STEP;
#pragma unroll
    for (int i = 0; i < ROWS * STEP / 128; i++) tiles.a[buffer][row][column + 128 / STEP * i] = numbers.a[i];
#pragma unroll
    for (int i = 0; i < COLUMNS * STEP / 128; i++)
        if (SIDEWAYS) tiles.b[buffer][row][column + 128 / STEP * i] = numbers.b[i];
        else tiles.b[buffer][i][threadIdx.x] = numbers.b[i];
}

__device__ inline void multiply(float (&sum)[EACH][EACH], const Tiles& tiles, int buffer) {
#pragma unroll
    for (int k = 0; k < STEP; k++) {
        float4 a[2], b[2];
#pragma unroll
        for (int h = 0; h < 2; h++) {
            a[h] = *reinterpret_cast<const float4*>(&tiles.a[buffer][k][row_of(4 * h)]);
            b[h] = *reinterpret_cast<const float4*>(&tiles.b[buffer][k][column_of(4 * h)]);
        }
        float from_a[EACH] = {a[0].x, a[0].y, a[0].z, a[0].w, a[1].x, a[1].y, a[1].z, a[1].w};
        float from_b[EACH] = {b[0].x, b[0].y, b[0].z, b[0].w, b[1].x, b[1].y, b[1].z, b[1].w};
#pragma unroll
        for (int i = 0; i < EACH; i++)
#pragma unroll
            for (int j = 0; j < EACH; j++) sum[i][j] += from_a[i] * from_b[j];
    }
}

// The terms begin ... end - 1 of the tile whose first column is `column` of `columns`.
template <bool SIDEWAYS, class TermOf, class PlaceOf>
__device__ inline void tile_product(float (&sum)[EACH][EACH], Tiles& tiles, const Operands& from, int begin, int end, TermOf term_of,
                                    int column, int columns, PlaceOf place_of) {
    auto prepare = [&](int first, int buffer) {
        int k = first + threadIdx.x;
        if (threadIdx.x < STEP) tiles.terms[buffer][threadIdx.x] = k < end ? term_of(k) : Term{-1, 0, NOWHERE, NOWHERE};
    };
    int mine = column + threadIdx.x;
    tiles.places[threadIdx.x] = mine < columns ? place_of(mine) : Place{0, NOWHERE, NOWHERE};
    prepare(begin, 0);
    __syncthreads();
    put<SIDEWAYS>(fetch<SIDEWAYS>(from, tiles, 0), tiles, 0);
    prepare(begin + STEP, 1);
    __syncthreads();
    int now = 0;
    for (int first = begin; first < end; first += STEP) {
        Numbers next = fetch<SIDEWAYS>(from, tiles, 1 - now);  // under way while this tile is multiplied
        multiply(sum, tiles, now);
        put<SIDEWAYS>(next, tiles, 1 - now);  // nobody reads that buffer: the barrier of the step before stands in between
        prepare(first + 2 * STEP, now);
        __syncthreads();
        now = 1 - now;
    }
}

extern "C" __global__ void __launch_bounds__(128, 3) conv_tiles(const T* __restrict__ x, const T* __restrict__ weight,
                                                                const T* __restrict__ bias, T* __restrict__ out, int B, int O, int C,
                                                                int groups, int H, int W, int P, int Q, int kh, int kw, int sh, int sw,
                                                                int ph, int pw, int dh, int dw) {
    __shared__ Tiles tiles;
    int each = C / groups, rows = O / groups, K = each * kh * kw, windows = B * P * Q;
    int top = blockIdx.y * ROWS, first = blockIdx.z * rows + top, column = blockIdx.x * COLUMNS;
    Operands from = {weight + first * K, x + blockIdx.z * each * H * W, rows - top, K, H, W};
    float sum[EACH][EACH] = {};
    tile_product<false>(
        sum, tiles, from, 0, K, [=](int k) { return Term{k, k / (kh * kw) * H * W, k / kw % kh * dh, k % kw * dw}; },
        column, windows, [=](int n) { return Place{n / (P * Q) * C * H * W, n / Q % P * sh - ph, n % Q * sw - pw}; });
#pragma unroll
    for (int j = 0; j < EACH; j++) {
        int n = column + column_of(j);
        if (n >= windows) continue;
        T* to = out + (n / (P * Q) * O + first) * P * Q + n % (P * Q);
#pragma unroll
        for (int i = 0; i < EACH; i++)
            if (top + row_of(i) < rows) to[row_of(i) * P * Q] = (T)(sum[i][j] + (bias ? (float)bias[first + row_of(i)] : 0.0f));
    }
}

// Of a line of n numbers, those that lie every s numbers see the same taps of their windows, every `step` of them, and the windows
// that they are in are neighbours. So the way back through a convolution of stride s is s of stride 1, one for each remainder f;
// without that, all but one in s of the taps would be looked at for nothing.
struct Phase {
    int first, count;       // the numbers first, first + s, ..., as many as count
    int tap, taps, step;    // what they see: tap, tap + step, ...
    int window, back;       // in which window `first` lies by `tap`; how far back the window of the next tap is
};

__device__ inline Phase phase(int f, int n, int kernel, int s, int pad, int dilation) {
    Phase out = {(f + s - pad % s) % s, 0, 0, 0, 1, 0, 0};
    if (out.first < n) out.count = (n - 1 - out.first) / s + 1;
    while (out.tap < kernel && out.tap * dilation % s != f) out.tap++;
    while (out.step * dilation % s) out.step++;
    if (out.tap < kernel) out.taps = (kernel - 1 - out.tap) / out.step + 1;
    out.window = (out.first + pad - out.tap * dilation) / s;
    out.back = out.step * dilation / s;
    return out;
}

extern "C" __global__ void __launch_bounds__(128, 3) conv_tiles_input(const T* __restrict__ g, const T* __restrict__ weight,
                                                                      const T* __restrict__ bias, T* __restrict__ dx, int B, int O,
                                                                      int C, int groups, int H, int W, int P, int Q, int kh, int kw,
                                                                      int sh, int sw, int ph, int pw, int dh, int dw) {
    __shared__ Tiles tiles;
    int group = blockIdx.z / (sh * sw), each = O / groups, rows = C / groups, taps = kh * kw;
    Phase v = phase(blockIdx.z / sw % sh, H, kh, sh, ph, dh), h = phase(blockIdx.z % sw, W, kw, sw, pw, dw);
    int columns = B * v.count * h.count, column = blockIdx.x * COLUMNS;
    if (column >= columns) return;  // this remainder has fewer numbers than others
    int top = blockIdx.y * ROWS, first = group * rows + top;
    Operands from = {weight + (group * each * rows + top) * taps, g + group * each * P * Q, rows - top, taps, P, Q};
    float sum[EACH][EACH] = {};
    tile_product<false>(
        sum, tiles, from, 0, each * v.taps * h.taps,
        [=](int k) {
            int o = k / (v.taps * h.taps), i = k / h.taps % v.taps, j = k % h.taps;
            int tap = (v.tap + i * v.step) * kw + h.tap + j * h.step;
            return Term{o * rows * taps + tap, o * P * Q, -i * v.back, -j * h.back};
        },
        column, columns,
        [=](int n) {
            int image = n / (v.count * h.count), row = n / h.count % v.count;
            return Place{image * O * P * Q, v.window + row, h.window + n % h.count};
        });
#pragma unroll
    for (int j = 0; j < EACH; j++) {
        int n = column + column_of(j);
        if (n >= columns) continue;
        int row = v.first + n / h.count % v.count * sh, place = row * W + h.first + n % h.count * sw;
        T* to = dx + (n / (v.count * h.count) * C + first) * H * W + place;
#pragma unroll
        for (int i = 0; i < EACH; i++)
            if (top + row_of(i) < rows) to[row_of(i) * H * W] = (T)(sum[i][j] + (bias ? (float)bias[first + row_of(i)] : 0.0f));
    }
}

// partial (parts, O, C / G kh kw): part s sums over `many` of the B P Q windows.
extern "C" __global__ void __launch_bounds__(128, 3) conv_tiles_weight(const T* __restrict__ g, const T* __restrict__ x,
                                                                       float* __restrict__ partial, int many, int B, int O, int C,
                                                                       int groups, int H, int W, int P, int Q, int kh, int kw, int sh,
                                                                       int sw, int ph, int pw, int dh, int dw) {
    __shared__ Tiles tiles;
    int group = blockIdx.z % groups, part = blockIdx.z / groups;
    int each = C / groups, rows = O / groups, K = each * kh * kw;
    int top = blockIdx.y * ROWS, first = group * rows + top, column = blockIdx.x * COLUMNS;
    Operands from = {g + first * P * Q, x + group * each * H * W, rows - top, P * Q, H, W};
    float sum[EACH][EACH] = {};
    tile_product<true>(
        sum, tiles, from, part * many, min(part * many + many, B * P * Q),
        [=](int n) {
            int image = n / (P * Q), place = n % (P * Q);
            return Term{image * O * P * Q + place, image * C * H * W, place / Q * sh - ph, place % Q * sw - pw};
        },
        column, K, [=](int k) { return Place{k / (kh * kw) * H * W, k / kw % kh * dh, k % kw * dw}; });
#pragma unroll
    for (int j = 0; j < EACH; j++)
#pragma unroll
        for (int i = 0; i < EACH; i++)
            if (top + row_of(i) < rows && column + column_of(j) < K)
                partial[(part * O + first + row_of(i)) * K + column + column_of(j)] = sum[i][j];
}
