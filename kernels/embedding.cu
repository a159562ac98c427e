// The gradient of an embedding: out (rows, D) where out[r] is the sum of the g[i] with index[i] == r, zeros for the others.
//
//   1  embedding_atomic     one thread for each number of g, added to its place atomically. Threads with the same index queue
//                           up, and the order of the additions, hence the last bits, changes from run to run. Where few indices
//                           are the same it is the faster, since nothing is sorted (see minidl/bench/results/README.md).
//   2  embedding_segments   the indices are sorted before (stably: equal ones stay in order), which brings together what
//                           belongs to one row. Then a block owns a row of the result: it adds up the rows of its segment in
//                           a fixed order and writes once. Rows without an index are written as zeros in passing.
//
// The floor: g read once, 4 D bytes for each index in float32, and out written once, 4 D for each row of the table, be it named or not.
//
// And the step of a table of which few rows change: table[index[i]] += scale * rows[i] for every i. Here the floor counts the rows that
// are named alone: one read of `rows`, and a read and a write of each of these rows.
//
//   add_rows   the indices are sorted as above, unless none occurs twice. A warp owns a place in the sorted order; the first
//              place of several with one index does the work of all, in a fixed order, and the others do nothing.
//   adam_rows  Adam on such rows alone, none of them twice: a warp a row, one pass over the row and its two averages.
//
// What remains slow is a row with very many indices, such as that of the commonest word: it is the work of one block, or one warp.
#include "common.cuh"

// ---- 1 --------------------------------------------------------------------------------------------------------------

extern "C" __global__ void embedding_atomic(const float* __restrict__ g, const long long* __restrict__ index, float* out, long long n,
                                            int rows, int width) {
    long long i = thread_index();
    if (i >= n * width) return;
    long long row = index[i / width];
    if (row >= 0 && row < rows) atomicAdd(out + row * width + i % width, g[i]);
}

// ---- 2 --------------------------------------------------------------------------------------------------------------

// The sum of the rows order[first] ... order[last - 1] of g in N columns; without an order of the rows first ... last - 1.
template <int N>
__device__ inline void sum_rows(const T* __restrict__ g, const long long* __restrict__ order, long long first, long long last,
                                int width, int column, float (&sum)[N]) {
#pragma unroll
    for (int k = 0; k < N; k++) sum[k] = 0.0f;
#pragma unroll 4
    for (long long j = first; j < last; j++) {
        const T* from = g + (order ? order[j] : j) * width + column;
        if constexpr (N == 1) {
            sum[0] += (float)from[0];
        } else {
            Pack pack = load_pack(from);
#pragma unroll
            for (int k = 0; k < N; k++) sum[k] += (float)pack.v[k];
        }
    }
}

// order: the positions of g sorted by index; starts (rows + 1): where in `order` the positions of each row begin.
extern "C" __global__ void embedding_segments(const T* __restrict__ g, const long long* __restrict__ order,
                                              const long long* __restrict__ starts, T* __restrict__ out, int width) {
    long long row = blockIdx.x, first = starts[row], last = starts[row + 1];
    if (width % PACK == 0 && packed(g) && packed(out)) {
        for (int c = threadIdx.x * PACK; c < width; c += blockDim.x * PACK) {
            float sum[PACK];
            sum_rows<PACK>(g, order, first, last, width, c, sum);
            Pack pack;
#pragma unroll
            for (int k = 0; k < PACK; k++) pack.v[k] = (T)sum[k];
            store_pack(out + row * width + c, pack);
        }
        return;
    }
    for (int c = threadIdx.x; c < width; c += blockDim.x) {
        float sum[1];
        sum_rows<1>(g, order, first, last, width, c, sum);
        out[row * width + c] = (T)sum[0];
    }
}

// ---- a step on few rows ---------------------------------------------------------------------------------------------

// index: sorted by `order`; or, without an order, as it is, when no index occurs twice.
extern "C" __global__ void add_rows(const T* __restrict__ rows, const long long* __restrict__ index,
                                    const long long* __restrict__ order, T* __restrict__ table, float scale, int count,
                                    int width) {
    long long first = blockIdx.x * (long long)(blockDim.x / 32) + warp_index(), last = first + 1;
    if (first >= count || (first > 0 && index[first - 1] == index[first])) return;
    while (last < count && index[last] == index[first]) last++;
    T* to = table + index[first] * width;
    if (width % PACK == 0 && packed(rows) && packed(table)) {
        for (int c = lane_index() * PACK; c < width; c += 32 * PACK) {
            float sum[PACK];
            sum_rows<PACK>(rows, order, first, last, width, c, sum);
            Pack pack = load_pack(to + c);
#pragma unroll
            for (int k = 0; k < PACK; k++) pack.v[k] = (T)((float)pack.v[k] + scale * sum[k]);
            store_pack(to + c, pack);
        }
        return;
    }
    for (int c = lane_index(); c < width; c += 32) {
        float sum[1];
        sum_rows<1>(rows, order, first, last, width, c, sum);
        to[c] = (T)((float)to[c] + scale * sum[0]);
    }
}

// Rows index[i] of table, exp_avg and exp_avg_sq by row i of g. rate1, rate2: 1 less the two betas, as in optimizer.cu.
extern "C" __global__ void adam_rows(const float* __restrict__ g, const long long* __restrict__ index, float* __restrict__ table,
                                     float* __restrict__ exp_avg, float* __restrict__ exp_avg_sq, float step_size, float rate1,
                                     float rate2, float eps, int count, int width) {
    long long i = blockIdx.x * (long long)(blockDim.x / 32) + warp_index();
    if (i >= count) return;
    g += i * width;
    long long row = index[i] * width;
    for (int c = lane_index(); c < width; c += 32) {
        float m = exp_avg[row + c], v = exp_avg_sq[row + c];
        m += rate1 * (g[c] - m);
        v += rate2 * (g[c] * g[c] - v);
        exp_avg[row + c] = m;
        exp_avg_sq[row + c] = v;
        table[row + c] -= step_size * m / (sqrtf(v) + eps);
    }
}
