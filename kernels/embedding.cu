// The gradient of an embedding: out (rows, D) where out[r] is the sum of the g[i] with index[i] == r, zeros for the others.
//
//   1  embedding_atomic     one thread for each number of g, added to its place atomically. Threads with the same index queue
//                           up, and the order of the additions, hence the last bits, changes from run to run.
//   2  embedding_segments   the indices are sorted before (stably: equal ones stay in order), which brings together what
//                           belongs to one row. Then a block owns a row of the result: it adds up the rows of its segment in
//                           a fixed order and writes once. Rows without an index are written as zeros in passing.
//
//
// And the step of a table of which few rows change: table[index[i]] += scale * rows[i] for every i.
//
//   add_rows   the indices are sorted as above, unless none occurs twice. A warp owns a place in the sorted order; the first
//              place of several with one index does the work of all, in a fixed order, and the others do nothing.
//   adam_rows  Adam on such rows alone, none of them twice: a warp a row, one pass over the row and its two averages.
//
// A row with very many indices is one block's or one warp's work, and slow: natural text has such, but not so many that sorting
// would not pay.
#include "common.cuh"

extern "C" __global__ void embedding_atomic(const float* __restrict__ g, const long long* __restrict__ index, float* out, long long n,
                                            int rows, int width) {
    long long i = thread_index();
    if (i >= n * width) return;
    long long row = index[i / width];
    if (row >= 0 && row < rows) atomicAdd(out + row * width + i % width, g[i]);
}

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

// Rows index[i] of table, mean and square by row i of g. decay1, decay2: 1 less the two betas.
extern "C" __global__ void adam_rows(const float* __restrict__ g, const long long* __restrict__ index, float* __restrict__ table,
                                     float* __restrict__ mean, float* __restrict__ square, float size, float decay1, float decay2,
                                     float eps, int count, int width) {
    long long i = blockIdx.x * (long long)(blockDim.x / 32) + warp_index();
    if (i >= count) return;
    g += i * width;
    long long row = index[i] * width;
    for (int c = lane_index(); c < width; c += 32) {
        float m = mean[row + c], v = square[row + c];
        m += decay1 * (g[c] - m);
        v += decay2 * (g[c] * g[c] - v);
        mean[row + c] = m;
        square[row + c] = v;
        table[row + c] -= size * m / (sqrtf(v) + eps);
    }
}
