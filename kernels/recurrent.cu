// An LSTM, a GRU and a plain recurrent layer, forward and backward. The formulas are in recurrent.py.
//
//   1  lstm_step, gru_step      all of one time step that is not a matrix product. Written with array operations a step of an LSTM is
//                               some fifteen launches, for arrays so small that each takes less time to compute than to launch.
//                               Here it is one: a thread owns an element of the state and computes its gates. The product of the
//                               state with the weights is the library's, and the loop over time is in recurrent_cuda.py.
//   2  lstm_sequence,           all time steps in one launch, for a small batch and a narrow state. There, what a step computes is
//      gru_sequence             little, and what it waits for is the weights: version 1 reads all of them from memory again at each
//                               step. Here they are read once. A warp owns a unit of the state and keeps the unit's row of weights
//                               of each gate in its registers for the whole sequence: H = 512 fits into 128 blocks of 4 units.
//                               What a step hands on to the next, the state, is small, but every block needs all of it, so that
//                               between two steps all blocks wait for each other.
//      rnn_sequence             One gate: a step has little besides its product, and version 1 does not exist for it.
//   3  the same, for batches     Sequences know nothing of each other. So a batch is dealt out to groups of blocks, each with all
//      of up to 64               weights and some rows of the batch, and only the blocks of a group wait for each other: a step takes
//                               what its few rows take, and more multiprocessors have work. How many groups there are follows from
//                               how many blocks are on the GPU at once (recurrent_cuda.py); version 2 is this with one group.
//
// Backward it is the same with columns for rows: a unit's gradient is the product of the gradients of all gates with its column.
//
// Arrays of version 1 are those of one time step: rows of the batch that still run, B of them; a gate k of element j stands at
// k H + j. Arrays of versions 2 and 3 have the time before that: (T, B, .), and all rows run all the time.
// Sources: Appleyard, Kocisky and Blunsom, "Optimizing Performance of Recurrent Neural Networks on GPUs", 2016, for the fusion;
// Diamos and others, "Persistent RNNs: Stashing Recurrent Weights On-Chip", 2016, for version 2.
#include "common.cuh"
#include "mma.cuh"

// By the hyperbolic tangent, as in recurrent.py: e^-x may overflow.
__device__ inline float sigmoid(float x) { return 0.5f * tanhf(0.5f * x) + 0.5f; }

// ---- the gates of an element ------------------------------------------------------------------------------------------------

struct Cell {
    float i, f, u, o, before;  // the gates, and c before the step
};

__device__ inline float after(const Cell& at) { return at.f * at.before + at.i * at.u; }

// x: what the gates get from the input; product: from the state before.
__device__ inline Cell lstm_gates(const float (&x)[4], const float (&product)[4], float c) {
    return {sigmoid(x[0] + product[0]), sigmoid(x[1] + product[1]), tanhf(x[2] + product[2]), sigmoid(x[3] + product[3]), c};
}

// d: the gradients before the gates' functions, from g, that of the state, and dc; dc becomes that of c before the step.
__device__ inline void lstm_gradients(float (&d)[4], float& dc, const Cell& at, float g) {
    float tanh_c = tanhf(after(at)), all = dc + g * at.o * (1.0f - tanh_c * tanh_c);
    d[0] = all * at.u * at.i * (1.0f - at.i);
    d[1] = all * at.before * at.f * (1.0f - at.f);
    d[2] = all * at.i * (1.0f - at.u * at.u);
    d[3] = g * tanh_c * at.o * (1.0f - at.o);
    dc = all * at.f;
}

struct Gru {
    float r, z, u, inner, before;  // the gates, w of the new state, and h before the step
};

__device__ inline float after(const Gru& at) { return (1.0f - at.z) * at.u + at.z * at.before; }

__device__ inline Gru gru_gates(const float (&x)[3], const float (&product)[3], float h) {
    float r = sigmoid(x[0] + product[0]);
    return {r, sigmoid(x[1] + product[1]), tanhf(x[2] + r * product[2]), product[2], h};
}

// dx, dw: the gradients of what the input and the state before give; dh comes with all of it, and leaves with what goes on through z.
__device__ inline void gru_gradients(float (&dx)[3], float (&dw)[3], float& dh, const Gru& at) {
    float du = dh * (1.0f - at.z) * (1.0f - at.u * at.u);
    dx[0] = dw[0] = du * at.inner * at.r * (1.0f - at.r);
    dx[1] = dw[1] = dh * (at.before - at.u) * at.z * (1.0f - at.z);
    dx[2] = du;
    dw[2] = du * at.r;
    dh *= at.z;
}

template <int N>
__device__ inline void load(float (&values)[N], const float* from, long long at, int H) {
#pragma unroll
    for (int k = 0; k < N; k++) values[k] = from[at + k * H];
}

template <int N>
__device__ inline void store(float* to, long long at, int H, const float (&values)[N]) {
#pragma unroll
    for (int k = 0; k < N; k++) to[at + k * H] = values[k];
}

// ---- 1 --------------------------------------------------------------------------------------------------------------

// h, c: the state, in place. out and before are null with a projection, whose product follows; then h is left alone too.
extern "C" __global__ void lstm_step(const float* __restrict__ x, const float* __restrict__ product, float* __restrict__ gates, float* c,
                                     float* __restrict__ cells, float* __restrict__ hidden, float* h, float* __restrict__ before,
                                     float* __restrict__ out, int B, int H) {
    int n = thread_index();
    if (n >= B * H) return;
    long long at = (long long)(n / H) * 4 * H + n % H;
    float from_x[4], from_h[4];
    load(from_x, x, at, H);
    load(from_h, product, at, H);
    Cell cell = lstm_gates(from_x, from_h, c[n]);
    store(gates, at, H, {cell.i, cell.f, cell.u, cell.o});
    cells[n] = cell.before;
    c[n] = after(cell);
    float state = cell.o * tanhf(after(cell));
    hidden[n] = state;
    if (out) {
        before[n] = h[n];
        out[n] = h[n] = state;
    }
}

// The gradient of the state is g + dh, with a projection g alone; dc in place. dx (B, 4 H) is the gradient before the gates' functions.
extern "C" __global__ void lstm_step_backward(const float* __restrict__ g, const float* __restrict__ dh, const float* __restrict__ gates,
                                              const float* __restrict__ cells, float* dc, float* __restrict__ dx, int B, int H) {
    int n = thread_index();
    if (n >= B * H) return;
    long long at = (long long)(n / H) * 4 * H + n % H;
    float of[4], d[4];
    load(of, gates, at, H);
    lstm_gradients(d, dc[n], {of[0], of[1], of[2], of[3], cells[n]}, g[n] + (dh ? dh[n] : 0.0f));
    store(dx, at, H, d);
}

extern "C" __global__ void gru_step(const float* __restrict__ x, const float* __restrict__ product, const float* __restrict__ bias,
                                    float* __restrict__ gates, float* __restrict__ inner, float* h, float* __restrict__ before,
                                    float* __restrict__ out, int B, int H) {
    int n = thread_index();
    if (n >= B * H) return;
    long long at = (long long)(n / H) * 3 * H + n % H;
    float from_x[3], from_h[3];
    load(from_x, x, at, H);
    load(from_h, product, at, H);
    if (bias)
        for (int k = 0; k < 3; k++) from_h[k] += bias[k * H + n % H];
    Gru gru = gru_gates(from_x, from_h, h[n]);
    store(gates, at, H, {gru.r, gru.z, gru.u});
    inner[n] = gru.inner;
    before[n] = gru.before;
    out[n] = h[n] = after(gru);
}

// g: the gradient of out; dh in place: it comes with the state's, and leaves with the part of it that goes on through z.
extern "C" __global__ void gru_step_backward(const float* __restrict__ g, const float* __restrict__ gates,
                                             const float* __restrict__ inner, const float* __restrict__ before, float* dh,
                                             float* __restrict__ dx, float* __restrict__ dw, int B, int H) {
    int n = thread_index();
    if (n >= B * H) return;
    long long at = (long long)(n / H) * 3 * H + n % H;
    float of[3], to_x[3], to_w[3], d = dh[n] + g[n];
    load(of, gates, at, H);
    gru_gradients(to_x, to_w, d, {of[0], of[1], of[2], inner[n], before[n]});
    store(dx, at, H, to_x);
    store(dw, at, H, to_w);
    dh[n] = d;
}

// ---- 2 and 3 --------------------------------------------------------------------------------------------------------
// Blocks of 4 warps, numbered along y, a warp for a unit j; groups along z, each with `rows` rows of the batch. A block waits for
// the others of its group in the middle of its work, so all of them must be on the GPU at once: the launch is "cooperative", which
// the driver refuses where they do not fit.

constexpr int LONGEST = 512, PARTS = LONGEST / 32, UNITS = 4;  // of H; numbers of a row that a lane keeps; of a block

// The rows of the batch that a block's group has: what lane b ends up with is of row first + b, so that there are 32 at most.
struct Rows {
    int first, count;
};

__device__ inline Rows rows_of_group(int B, int rows) {
    int first = blockIdx.z * rows;
    return {first, min(rows, B - first)};
}

#ifndef grid_barrier  // on the CPU, where blocks take turns, it is defined by cuda_cpu.h
// Wait until all blocks of the group are here. `arrived` counts those that have come, over all barriers of a launch; goal: how many
// there are then.
__device__ inline void grid_barrier(unsigned* arrived, unsigned goal) {
    __syncthreads();
    if (threadIdx.x == 0) {
        __threadfence();  // what this block has written is seen by who sees that it has come
        atomicAdd(arrived, 1u);
        while (*(volatile unsigned*)arrived < goal) {}
        __threadfence();
    }
    __syncthreads();
}
#endif

// Rows of H numbers in shared memory take `padded` each, a multiple of 32, with zeros behind them.
__device__ inline int padded(int H) { return ceil_div(H, 32) * 32; }

// Bring `rows` rows of H numbers, which other blocks have written: past the first cache, which belongs to one multiprocessor and may hold
// what was there before. All copies are under way together: each takes long, and many take hardly longer.
__device__ inline void bring(float* to, const float* from, int rows, int H) {
    int width = padded(H);
#ifdef HAS_MMA
    if (H % 4 == 0 && packed(from)) {
        for (int r = 0; r < rows; r++)
            for (int n = 4 * threadIdx.x; n < width; n += 4 * blockDim.x) {
                bool there = n < H;
                copy_async(to + r * width + n, there ? from + (long long)r * H + n : from, there);
            }
        copies_commit();
        copies_wait<0>();
        __syncthreads();
        return;
    }
#endif
    for (int n = threadIdx.x; n < width; n += blockDim.x)
#pragma unroll 8
        for (int r = 0; r < rows; r++) to[r * width + n] = n < H ? __ldcg(from + (long long)r * H + n) : 0.0f;
    __syncthreads();
}

// What a lane keeps of unit j: of each gate every 32nd number of row j (step 1), or of column j (step H), of its H x H weights.
template <int GATES>
__device__ inline void keep(float (&kept)[GATES][PARTS], const float* w, int H, int j, bool column) {
#pragma unroll
    for (int k = 0; k < GATES; k++)
#pragma unroll
        for (int i = 0; i < PARTS; i++) {
            int n = 32 * i + lane_index();
            long long at = column ? (long long)(k * H + n) * H + j : (long long)(k * H + j) * H + n;
            kept[k][i] = n < H && j < H ? w[at] : 0.0f;
        }
}

// product[k] of lane b: of gate k's row with row b of the batch.
template <int GATES>
__device__ inline void row_products(float (&product)[GATES], const float (&kept)[GATES][PARTS], const float* h, int B, int H) {
#pragma unroll 4
    for (int b = 0; b < B; b++) {
        float sum[GATES] = {};
#pragma unroll
        for (int i = 0; i < PARTS; i++)
            if (32 * i < H) {
                float v = h[b * padded(H) + 32 * i + lane_index()];
#pragma unroll
                for (int k = 0; k < GATES; k++) sum[k] += kept[k][i] * v;
            }
#pragma unroll
        for (int k = 0; k < GATES; k++) {
            sum[k] = warp_sum(sum[k]);
            if (lane_index() == b) product[k] = sum[k];
        }
    }
}

// Of lane b: the product of the column with the GATES H numbers of row b.
template <int GATES>
__device__ inline float column_product(const float (&kept)[GATES][PARTS], const float* d, int B, int H) {
    float product = 0.0f;
#pragma unroll 4
    for (int b = 0; b < B; b++) {
        float sum = 0.0f;
#pragma unroll
        for (int k = 0; k < GATES; k++)
#pragma unroll
            for (int i = 0; i < PARTS; i++)
                if (32 * i < H) sum += kept[k][i] * d[(b * GATES + k) * padded(H) + 32 * i + lane_index()];
        sum = warp_sum(sum);
        if (lane_index() == b) product = sum;
    }
    return product;
}

// x (T, B, H): what the input gives, with the bias; w (H, H); h (B, H): the state before; out (T, B, H). relu: for tanh.
extern "C" __global__ void __launch_bounds__(128, 1) rnn_sequence(const float* __restrict__ x, const float* __restrict__ w,
                                                                  const float* h, float* out, unsigned* arrived, int T, int B, int H,
                                                                  int reverse, int rows, int relu) {
    SHARED_DYN(float, state);
    int j = blockIdx.y * UNITS + warp_index(), lane = lane_index();
    Rows own = rows_of_group(B, rows);
    bool mine = lane < own.count && j < H;
    float kept[1][PARTS];
    keep(kept, w, H, j, false);
    for (int step = 0; step < T; step++) {
        int t = reverse ? T - 1 - step : step;
        long long n = ((long long)t * B + own.first + lane) * H + j;
        float from_x = mine ? x[n] : 0.0f, from_h[1] = {};
        if (step) grid_barrier(arrived + blockIdx.z, step * gridDim.y);
        bring(state, step ? out + ((long long)(reverse ? t + 1 : t - 1) * B + own.first) * H : h + own.first * H, own.count, H);
        row_products(from_h, kept, state, own.count, H);
        float sum = from_x + from_h[0];
        if (mine) out[n] = !relu ? tanhf(sum) : sum < 0.0f ? 0.0f : sum;  // NaN stays NaN
    }
}

// g (T, B, H): of out; dh (B, H): of the last state, in place; d (T, B, H): before the tanh.
extern "C" __global__ void __launch_bounds__(128, 1) rnn_sequence_backward(const float* __restrict__ g, const float* __restrict__ w,
                                                                           const float* __restrict__ out, float* dh, float* d,
                                                                           unsigned* arrived, int T, int B, int H, int reverse, int rows,
                                                                           int relu) {
    SHARED_DYN(float, given);
    int j = blockIdx.y * UNITS + warp_index(), lane = lane_index();
    Rows own = rows_of_group(B, rows);
    int b = own.first + lane;
    bool mine = lane < own.count && j < H;
    float kept[1][PARTS], from_h = mine ? dh[b * H + j] : 0.0f;
    keep(kept, w, H, j, true);
    for (int step = 0; step <= T; step++) {
        int t = reverse ? step : T - 1 - step;
        long long n = ((long long)t * B + b) * H + j;
        bool now = mine && step < T;
        float grad = now ? g[n] : 0.0f, y = now ? out[n] : 0.0f;
        if (step) {
            grid_barrier(arrived + blockIdx.z, step * gridDim.y);
            bring(given, d + ((long long)(reverse ? t - 1 : t + 1) * B + own.first) * H, own.count, H);
            from_h = column_product(kept, given, own.count, H);
        }
        if (now) d[n] = (grad + from_h) * (relu ? (y > 0.0f ? 1.0f : 0.0f) : 1.0f - y * y);
    }
    if (mine) dh[b * H + j] = from_h;
}

// x (T, B, 4 H): what the input gives; w (4 H, H); h, c (B, H): the state, c in place. cells, out (T, B, H).
extern "C" __global__ void __launch_bounds__(128, 1) lstm_sequence(const float* __restrict__ x, const float* __restrict__ w,
                                                                   const float* h, float* c, float* __restrict__ gates,
                                                                   float* __restrict__ cells, float* out, unsigned* arrived, int T, int B,
                                                                   int H, int reverse, int rows) {
    SHARED_DYN(float, state);
    int j = blockIdx.y * UNITS + warp_index(), lane = lane_index();
    Rows own = rows_of_group(B, rows);
    int b = own.first + lane;
    bool mine = lane < own.count && j < H;
    float kept[4][PARTS], cell = mine ? c[b * H + j] : 0.0f;
    keep(kept, w, H, j, false);
    for (int step = 0; step < T; step++) {
        int t = reverse ? T - 1 - step : step;
        long long n = ((long long)t * B + b) * H + j, at = ((long long)t * B + b) * 4 * H + j;
        float from_x[4] = {}, from_h[4] = {};
        if (mine) load(from_x, x, at, H);  // on its way while the others are waited for
        if (step) grid_barrier(arrived + blockIdx.z, step * gridDim.y);
        bring(state, step ? out + ((long long)(reverse ? t + 1 : t - 1) * B + own.first) * H : h + own.first * H, own.count, H);
        row_products(from_h, kept, state, own.count, H);
        if (mine) {
            Cell now = lstm_gates(from_x, from_h, cell);
            store(gates, at, H, {now.i, now.f, now.u, now.o});
            cells[n] = cell;
            cell = after(now);
            out[n] = now.o * tanhf(cell);
        }
    }
    if (mine) c[b * H + j] = cell;
}

// g (T, B, H): of out; dh, dc (B, H): of the last state, in place; d (T, B, 4 H): before the gates' functions.
extern "C" __global__ void __launch_bounds__(128, 1) lstm_sequence_backward(const float* __restrict__ g, const float* __restrict__ w,
                                                                            const float* __restrict__ gates,
                                                                            const float* __restrict__ cells, float* dh, float* dc,
                                                                            float* d, unsigned* arrived, int T, int B, int H,
                                                                            int reverse, int rows) {
    SHARED_DYN(float, given);
    int j = blockIdx.y * UNITS + warp_index(), lane = lane_index();
    Rows own = rows_of_group(B, rows);
    int b = own.first + lane;
    bool mine = lane < own.count && j < H;
    float kept[4][PARTS], from_h = mine ? dh[b * H + j] : 0.0f, from_c = mine ? dc[b * H + j] : 0.0f;
    keep(kept, w, H, j, true);
    for (int step = 0; step <= T; step++) {
        int t = reverse ? step : T - 1 - step;
        long long n = ((long long)t * B + b) * H + j, at = ((long long)t * B + b) * 4 * H + j;
        float of[4] = {}, grad = 0.0f, cell = 0.0f;
        if (mine && step < T) {
            load(of, gates, at, H);
            grad = g[n], cell = cells[n];
        }
        if (step) {
            grid_barrier(arrived + blockIdx.z, step * gridDim.y);
            bring(given, d + ((long long)(reverse ? t - 1 : t + 1) * B + own.first) * 4 * H, 4 * own.count, H);
            from_h = column_product(kept, given, own.count, H);
        }
        if (mine && step < T) {
            float now[4];
            lstm_gradients(now, from_c, {of[0], of[1], of[2], of[3], cell}, grad + from_h);
            store(d, at, H, now);
        }
    }
    if (mine) dh[b * H + j] = from_h, dc[b * H + j] = from_c;
}

// bias (3 H) may be null; inner, before, out (T, B, H).
extern "C" __global__ void __launch_bounds__(128, 1) gru_sequence(const float* __restrict__ x, const float* __restrict__ w,
                                                                  const float* __restrict__ bias, const float* h,
                                                                  float* __restrict__ gates, float* __restrict__ inner,
                                                                  float* __restrict__ before, float* out, unsigned* arrived, int T, int B,
                                                                  int H, int reverse, int rows) {
    SHARED_DYN(float, state);
    int j = blockIdx.y * UNITS + warp_index(), lane = lane_index();
    Rows own = rows_of_group(B, rows);
    int b = own.first + lane;
    bool mine = lane < own.count && j < H;
    float kept[3][PARTS], shift[3] = {}, old = mine ? h[b * H + j] : 0.0f;
    keep(kept, w, H, j, false);
    if (mine && bias) load(shift, bias, j, H);
    for (int step = 0; step < T; step++) {
        int t = reverse ? T - 1 - step : step;
        long long n = ((long long)t * B + b) * H + j, at = ((long long)t * B + b) * 3 * H + j;
        float from_x[3] = {}, from_h[3] = {};
        if (mine) load(from_x, x, at, H);
        if (step) grid_barrier(arrived + blockIdx.z, step * gridDim.y);
        bring(state, step ? out + ((long long)(reverse ? t + 1 : t - 1) * B + own.first) * H : h + own.first * H, own.count, H);
        row_products(from_h, kept, state, own.count, H);
        if (mine) {
#pragma unroll
            for (int k = 0; k < 3; k++) from_h[k] += shift[k];
            Gru now = gru_gates(from_x, from_h, old);
            store(gates, at, H, {now.r, now.z, now.u});
            inner[n] = now.inner;
            before[n] = old;
            out[n] = old = after(now);
        }
    }
}

// dh (B, H): of the last state, in place; dx, dw (T, B, 3 H): of what the input and the state before give.
extern "C" __global__ void __launch_bounds__(128, 1) gru_sequence_backward(const float* __restrict__ g, const float* __restrict__ w,
                                                                           const float* __restrict__ gates,
                                                                           const float* __restrict__ inner,
                                                                           const float* __restrict__ before, float* dh,
                                                                           float* __restrict__ dx, float* dw, unsigned* arrived, int T,
                                                                           int B, int H, int reverse, int rows) {
    SHARED_DYN(float, given);
    int j = blockIdx.y * UNITS + warp_index(), lane = lane_index();
    Rows own = rows_of_group(B, rows);
    int b = own.first + lane;
    bool mine = lane < own.count && j < H;
    float kept[3][PARTS], from_h = mine ? dh[b * H + j] : 0.0f;
    keep(kept, w, H, j, true);
    for (int step = 0; step <= T; step++) {
        int t = reverse ? step : T - 1 - step;
        long long n = ((long long)t * B + b) * H + j, at = ((long long)t * B + b) * 3 * H + j;
        float of[3] = {}, grad = 0.0f;
        Gru now = {};
        if (mine && step < T) {
            load(of, gates, at, H);
            grad = g[n];
            now = {of[0], of[1], of[2], inner[n], before[n]};
        }
        if (step) {
            grid_barrier(arrived + blockIdx.z, step * gridDim.y);
            bring(given, dw + ((long long)(reverse ? t - 1 : t + 1) * B + own.first) * 3 * H, 3 * own.count, H);
            from_h += column_product(kept, given, own.count, H);
        }
        if (mine && step < T) {
            float to_x[3], to_w[3];
            from_h += grad;
            gru_gradients(to_x, to_w, from_h, now);
            store(dx, at, H, to_x);
            store(dw, at, H, to_w);
        }
    }
    if (mine) dh[b * H + j] = from_h;
}
