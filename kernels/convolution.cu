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
//   5  conv_mma        the same in half precision or bfloat16, with the products on the tensor cores: see mma.cuh. Most of what a thread
//                      does is now to find and fetch the numbers.
//
// Windows begin every sh, sw numbers, after a padding of ph, pw; dh, dw is the distance within a window. No array has more than
// 2^30 numbers, so that indices are ints.
// Source: Chetlur and others, "cuDNN: Efficient Primitives for Deep Learning", 2014, for the implicit product.
#include "common.cuh"
#include "mma.cuh"

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

// ---- 4 and 5 ----------------------------------------------------------------------------------------------------------
// A tile of the product left (rows, terms) times right (terms, columns), where left lies in memory and right is fetched from planes.
// A term says which plane of the image it means and how far down and right, and so does a column: their sums are the place.
// Forward a column is a window, and a term a channel and a place within the window; for the weight's gradient the other way round.
//
// What is different in 4 and 5 stands in Fma and Mma: how many terms are fetched at a time, how the tiles lie in shared memory, and
// which results of the tile a thread has.

constexpr int ROWS = 64, COLUMNS = 128;  // of a tile, for 128 threads
constexpr int NOWHERE = -(1 << 29);      // a coordinate outside of any plane, whatever is added

struct Sizes {
    int B, O, C, groups, H, W, P, Q, kh, kw, sh, sw, ph, pw, dh, dw;
};
struct alignas(16) Term {
    int left, plane, y, x;  // left: where its numbers begin in `left`, or -1 beyond the last term
};
struct alignas(16) Place {
    int plane, y, x;
};
struct Operands {
    const T *left, *planes;
    int rows, step;     // rows of left that are there, and how far apart they are
    int height, width;  // of a plane
};
template <class Tiles>
struct Numbers {  // what a thread brings of the next tiles
    typename Tiles::Element a[ROWS * Tiles::STEP / 128], b[COLUMNS * Tiles::STEP / 128];
};

#ifndef T_IS_HALF

// The 8 x 8 results of a thread are 2 x 2 squares of 4 x 4: a warp, 4 x 8 of them, needs 32 numbers of a and 64 of b at a time.
struct Fma {
    typedef float Element;
    static constexpr int STEP = 8, DOWN = 8, ACROSS = 8;  // terms at a time; results of a thread
    typedef float Sums[DOWN][ACROSS];
    alignas(16) float a[2][STEP][ROWS + 4], b[2][STEP][COLUMNS + 4];  // the 4 keep what neighbours write out of each other's banks
    Term terms[2][STEP];
    Place places[COLUMNS];
};

__device__ inline int row_of(const Fma&, int i) { return warp_index() / 2 * 32 + lane_index() / 8 * 4 + i / 4 * 16 + i % 4; }
__device__ inline int column_of(const Fma&, int j) { return warp_index() % 2 * 64 + lane_index() % 8 * 4 + j / 4 * 32 + j % 4; }
__device__ inline float result(const Fma&, const Fma::Sums& sums, int i, int j) { return sums[i][j]; }

template <bool SIDEWAYS>
__device__ inline void put(const Numbers<Fma>& numbers, Fma& tiles, int buffer) {
    int row = threadIdx.x % Fma::STEP, column = threadIdx.x / Fma::STEP;
#pragma unroll
    for (int i = 0; i < ROWS * Fma::STEP / 128; i++) tiles.a[buffer][row][column + 128 / Fma::STEP * i] = numbers.a[i];
#pragma unroll
    for (int i = 0; i < COLUMNS * Fma::STEP / 128; i++)
        if (SIDEWAYS) tiles.b[buffer][row][column + 128 / Fma::STEP * i] = numbers.b[i];
        else tiles.b[buffer][i][threadIdx.x] = numbers.b[i];
}

__device__ inline void multiply(Fma::Sums& sums, const Fma& tiles, int buffer) {
#pragma unroll
    for (int k = 0; k < Fma::STEP; k++) {
        float4 a[2], b[2];
#pragma unroll
        for (int h = 0; h < 2; h++) {
            a[h] = *reinterpret_cast<const float4*>(&tiles.a[buffer][k][row_of(tiles, 4 * h)]);
            b[h] = *reinterpret_cast<const float4*>(&tiles.b[buffer][k][column_of(tiles, 4 * h)]);
        }
        float from_a[8] = {a[0].x, a[0].y, a[0].z, a[0].w, a[1].x, a[1].y, a[1].z, a[1].w};
        float from_b[8] = {b[0].x, b[0].y, b[0].z, b[0].w, b[1].x, b[1].y, b[1].z, b[1].w};
#pragma unroll
        for (int i = 0; i < 8; i++)
#pragma unroll
            for (int j = 0; j < 8; j++) sums[i][j] += from_a[i] * from_b[j];
    }
}

#elif defined(HAS_MMA)

// A warp has 32 x 64 results, 2 x 8 of the tensor cores'. Both tiles lie with their terms side by side, in rows of 48 bytes: the eight
// rows that load_matrices fetches at once begin in different banks.
struct Mma {
    typedef T Element;
    static constexpr int STEP = 16, PITCH = 24, DOWN = 4, ACROSS = 16;
    typedef float Sums[2][8][4];
    alignas(16) T a[2][ROWS][PITCH], b[2][COLUMNS][PITCH];
    Term terms[2][STEP];
    Place places[COLUMNS];
};

__device__ inline int row_of(const Mma&, int i) { return warp_index() / 2 * 32 + i * 8 + lane_index() / 4; }
__device__ inline int column_of(const Mma&, int j) { return warp_index() % 2 * 64 + j / 2 * 8 + lane_index() % 4 * 2 + j % 2; }
__device__ inline float result(const Mma&, const Mma::Sums& sums, int i, int j) { return sums[i / 2][j / 2][i % 2 * 2 + j % 2]; }

template <bool SIDEWAYS>
__device__ inline void put(const Numbers<Mma>& numbers, Mma& tiles, int buffer) {
    int term = threadIdx.x % Mma::STEP, first = threadIdx.x / Mma::STEP;
#pragma unroll
    for (int i = 0; i < ROWS * Mma::STEP / 128; i++) tiles.a[buffer][first + 128 / Mma::STEP * i][term] = numbers.a[i];
#pragma unroll
    for (int i = 0; i < COLUMNS * Mma::STEP / 128; i++)
        if (SIDEWAYS) {
            tiles.b[buffer][first + 128 / Mma::STEP * i][term] = numbers.b[i];
        } else if (i % PACK == 0) {
            Pack pack;
#pragma unroll
            for (int k = 0; k < PACK; k++) pack.v[k] = numbers.b[i + k];
            store_pack(&tiles.b[buffer][threadIdx.x][i], pack);
        }
}

__device__ inline void multiply(Mma::Sums& sums, const Mma& tiles, int buffer) {
    int lane = lane_index(), top = warp_index() / 2 * 32, left = warp_index() % 2 * 64;
#pragma unroll
    for (int k = 0; k < Mma::STEP; k += 16) {
        unsigned from_a[2][4];
#pragma unroll
        for (int i = 0; i < 2; i++) load_matrices(from_a[i], &tiles.a[buffer][top + i * 16 + lane % 16][k + lane / 16 * 8]);
#pragma unroll
        for (int j = 0; j < 8; j += 2) {
            unsigned from_b[4];  // of two results: both halves of the terms for the first, then for the second
            load_matrices(from_b, &tiles.b[buffer][left + j * 8 + lane / 16 * 8 + lane % 8][k + lane / 8 % 2 * 8]);
#pragma unroll
            for (int h = 0; h < 2; h++) {
                unsigned pair[2] = {from_b[2 * h], from_b[2 * h + 1]};
#pragma unroll
                for (int i = 0; i < 2; i++) mma_halves(sums[i][j + h], from_a[i], pair);
            }
        }
    }
}

#endif

template <class Element>
__device__ inline Element value(const Operands& from, Term term, Place place) {
    int y = term.y + place.y, x = term.x + place.x;
    return within(y, x, from.height, from.width) ? (Element)from.planes[term.plane + place.plane + y * from.width + x] : (Element)0.0f;
}

// SIDEWAYS: whether neighbouring terms, and not neighbouring columns, are neighbours in memory, so that neighbouring threads take those.
template <bool SIDEWAYS, class Tiles>
__device__ inline Numbers<Tiles> fetch(const Operands& from, const Tiles& tiles, int buffer) {
    typedef typename Tiles::Element Element;
    constexpr int STEP = Tiles::STEP, APART = 128 / STEP;
    Numbers<Tiles> out;
    Term mine = tiles.terms[buffer][threadIdx.x % STEP];
#pragma unroll
    for (int i = 0; i < ROWS / APART; i++) {
        int row = threadIdx.x / STEP + APART * i;
        out.a[i] = mine.left >= 0 && row < from.rows ? (Element)from.left[mine.left + row * from.step] : (Element)0.0f;
    }
#pragma unroll
    for (int i = 0; i < COLUMNS / APART; i++)
        out.b[i] = SIDEWAYS ? value<Element>(from, mine, tiles.places[threadIdx.x / STEP + APART * i])
                            : value<Element>(from, tiles.terms[buffer][i], tiles.places[threadIdx.x]);
    return out;
}

// The terms begin ... end - 1 of the tile whose first column is `column` of `columns`.
template <bool SIDEWAYS, class Tiles, class TermOf, class PlaceOf>
__device__ inline void tile_product(typename Tiles::Sums& sums, Tiles& tiles, const Operands& from, int begin, int end, TermOf term_of,
                                    int column, int columns, PlaceOf place_of) {
    constexpr int STEP = Tiles::STEP;
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
        Numbers<Tiles> next = fetch<SIDEWAYS>(from, tiles, 1 - now);  // under way while this tile is multiplied
        multiply(sums, tiles, now);
        put<SIDEWAYS>(next, tiles, 1 - now);  // nobody reads that buffer: the barrier of the step before stands in between
        prepare(first + 2 * STEP, now);
        __syncthreads();
        now = 1 - now;
    }
}

template <class Tiles>
__device__ inline void forward(Tiles& tiles, const T* x, const T* weight, const T* bias, T* out, Sizes s) {
    int each = s.C / s.groups, rows = s.O / s.groups, K = each * s.kh * s.kw, positions = s.P * s.Q, windows = s.B * positions;
    int top = blockIdx.y * ROWS, first = blockIdx.z * rows + top, column = blockIdx.x * COLUMNS;
    Operands from = {weight + first * K, x + blockIdx.z * each * s.H * s.W, rows - top, K, s.H, s.W};
    typename Tiles::Sums sums = {};
    tile_product<false>(
        sums, tiles, from, 0, K,
        [=](int k) { return Term{k, k / (s.kh * s.kw) * s.H * s.W, k / s.kw % s.kh * s.dh, k % s.kw * s.dw}; }, column, windows,
        [=](int n) { return Place{n / positions * s.C * s.H * s.W, n / s.Q % s.P * s.sh - s.ph, n % s.Q * s.sw - s.pw}; });
#pragma unroll
    for (int j = 0; j < Tiles::ACROSS; j++) {
        int n = column + column_of(tiles, j);
        if (n >= windows) continue;
        T* to = out + (n / positions * s.O + first) * positions + n % positions;
#pragma unroll
        for (int i = 0; i < Tiles::DOWN; i++) {
            int row = row_of(tiles, i);
            if (top + row < rows) to[row * positions] = (T)(result(tiles, sums, i, j) + (bias ? (float)bias[first + row] : 0.0f));
        }
    }
}

// Of a line of n numbers, those that lie every s numbers see the same taps of their windows, every `step` of them, and the windows
// that they are in are neighbours. So the way back through a convolution of stride s is s of stride 1, one for each remainder f;
// without that, all but one in s of the taps would be looked at for nothing.
struct Phase {
    int first, count;     // the numbers first, first + s, ..., as many as count
    int tap, taps, step;  // what they see: tap, tap + step, ...
    int window, back;     // in which window `first` lies by `tap`; how far back the window of the next tap is
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

template <class Tiles>
__device__ inline void backward_input(Tiles& tiles, const T* g, const T* weight, const T* bias, T* dx, Sizes s) {
    int group = blockIdx.z / (s.sh * s.sw), each = s.O / s.groups, rows = s.C / s.groups, all = s.kh * s.kw, positions = s.P * s.Q;
    Phase v = phase(blockIdx.z / s.sw % s.sh, s.H, s.kh, s.sh, s.ph, s.dh), h = phase(blockIdx.z % s.sw, s.W, s.kw, s.sw, s.pw, s.dw);
    int numbers = v.count * h.count, taps = v.taps * h.taps, columns = s.B * numbers, column = blockIdx.x * COLUMNS;
    if (column >= columns) return;  // this remainder has fewer numbers than others
    int top = blockIdx.y * ROWS, first = group * rows + top;
    Operands from = {weight + (group * each * rows + top) * all, g + group * each * positions, rows - top, all, s.P, s.Q};
    typename Tiles::Sums sums = {};
    tile_product<false>(
        sums, tiles, from, 0, each * taps,
        [=](int k) {
            int o = k / taps, i = k / h.taps % v.taps, j = k % h.taps, tap = (v.tap + i * v.step) * s.kw + h.tap + j * h.step;
            return Term{o * rows * all + tap, o * positions, -i * v.back, -j * h.back};
        },
        column, columns,
        [=](int n) { return Place{n / numbers * s.O * positions, v.window + n / h.count % v.count, h.window + n % h.count}; });
#pragma unroll
    for (int j = 0; j < Tiles::ACROSS; j++) {
        int n = column + column_of(tiles, j);
        if (n >= columns) continue;
        int place = (v.first + n / h.count % v.count * s.sh) * s.W + h.first + n % h.count * s.sw;
        T* to = dx + (n / numbers * s.C + first) * s.H * s.W + place;
#pragma unroll
        for (int i = 0; i < Tiles::DOWN; i++) {
            int row = row_of(tiles, i);
            if (top + row < rows) to[row * s.H * s.W] = (T)(result(tiles, sums, i, j) + (bias ? (float)bias[first + row] : 0.0f));
        }
    }
}

// partial (parts, O, C / G kh kw): part s sums over `many` of the B P Q windows.
template <class Tiles>
__device__ inline void backward_weight(Tiles& tiles, const T* g, const T* x, float* partial, int many, Sizes s) {
    int group = blockIdx.z % s.groups, part = blockIdx.z / s.groups, positions = s.P * s.Q;
    int each = s.C / s.groups, rows = s.O / s.groups, K = each * s.kh * s.kw;
    int top = blockIdx.y * ROWS, first = group * rows + top, column = blockIdx.x * COLUMNS;
    Operands from = {g + first * positions, x + group * each * s.H * s.W, rows - top, positions, s.H, s.W};
    typename Tiles::Sums sums = {};
    tile_product<true>(
        sums, tiles, from, part * many, min(part * many + many, s.B * positions),
        [=](int n) {
            int image = n / positions, place = n % positions;
            return Term{image * s.O * positions + place, image * s.C * s.H * s.W, place / s.Q * s.sh - s.ph, place % s.Q * s.sw - s.pw};
        },
        column, K, [=](int k) { return Place{k / (s.kh * s.kw) * s.H * s.W, k / s.kw % s.kh * s.dh, k % s.kw * s.dw}; });
#pragma unroll
    for (int i = 0; i < Tiles::DOWN; i++)
#pragma unroll
        for (int j = 0; j < Tiles::ACROSS; j++) {
            int row = row_of(tiles, i), k = column + column_of(tiles, j);
            if (top + row < rows && k < K) partial[(part * s.O + first + row) * K + k] = result(tiles, sums, i, j);
        }
}

#ifndef T_IS_HALF
extern "C" __global__ void __launch_bounds__(128, 3) conv_tiles(const T* __restrict__ x, const T* __restrict__ weight,
                                                                const T* __restrict__ bias, T* __restrict__ out, int B, int O, int C,
                                                                int groups, int H, int W, int P, int Q, int kh, int kw, int sh, int sw,
                                                                int ph, int pw, int dh, int dw) {
    __shared__ Fma tiles;
    forward(tiles, x, weight, bias, out, {B, O, C, groups, H, W, P, Q, kh, kw, sh, sw, ph, pw, dh, dw});
}

extern "C" __global__ void __launch_bounds__(128, 3) conv_tiles_input(const T* __restrict__ g, const T* __restrict__ weight,
                                                                      const T* __restrict__ bias, T* __restrict__ dx, int B, int O, int C,
                                                                      int groups, int H, int W, int P, int Q, int kh, int kw, int sh,
                                                                      int sw, int ph, int pw, int dh, int dw) {
    __shared__ Fma tiles;
    backward_input(tiles, g, weight, bias, dx, {B, O, C, groups, H, W, P, Q, kh, kw, sh, sw, ph, pw, dh, dw});
}

extern "C" __global__ void __launch_bounds__(128, 3) conv_tiles_weight(const T* __restrict__ g, const T* __restrict__ x,
                                                                       float* __restrict__ partial, int many, int B, int O, int C,
                                                                       int groups, int H, int W, int P, int Q, int kh, int kw, int sh,
                                                                       int sw, int ph, int pw, int dh, int dw) {
    __shared__ Fma tiles;
    backward_weight(tiles, g, x, partial, many, {B, O, C, groups, H, W, P, Q, kh, kw, sh, sw, ph, pw, dh, dw});
}

#elif defined(HAS_MMA)
extern "C" __global__ void __launch_bounds__(128, 3) conv_mma(const T* __restrict__ x, const T* __restrict__ weight,
                                                              const T* __restrict__ bias, T* __restrict__ out, int B, int O, int C,
                                                              int groups, int H, int W, int P, int Q, int kh, int kw, int sh, int sw,
                                                              int ph, int pw, int dh, int dw) {
    __shared__ Mma tiles;
    forward(tiles, x, weight, bias, out, {B, O, C, groups, H, W, P, Q, kh, kw, sh, sw, ph, pw, dh, dw});
}

extern "C" __global__ void __launch_bounds__(128, 3) conv_mma_input(const T* __restrict__ g, const T* __restrict__ weight,
                                                                    const T* __restrict__ bias, T* __restrict__ dx, int B, int O, int C,
                                                                    int groups, int H, int W, int P, int Q, int kh, int kw, int sh,
                                                                    int sw, int ph, int pw, int dh, int dw) {
    __shared__ Mma tiles;
    backward_input(tiles, g, weight, bias, dx, {B, O, C, groups, H, W, P, Q, kh, kw, sh, sw, ph, pw, dh, dw});
}

extern "C" __global__ void __launch_bounds__(128, 3) conv_mma_weight(const T* __restrict__ g, const T* __restrict__ x,
                                                                     float* __restrict__ partial, int many, int B, int O, int C,
                                                                     int groups, int H, int W, int P, int Q, int kh, int kw, int sh,
                                                                     int sw, int ph, int pw, int dh, int dw) {
    __shared__ Mma tiles;
    backward_weight(tiles, g, x, partial, many, {B, O, C, groups, H, W, P, Q, kh, kw, sh, sw, ph, pw, dh, dw});
}
#endif
