// The gradient of an embedding: out (rows, D) where out[r] is the sum of the g[i] with index[i] == r, zeros for the others.
//
//   1  embedding_atomic     one thread for each number of g, added to its place atomically. Threads with the same index queue
//                           up, and the order of the additions, hence the last bits, changes from run to run.
//   2  embedding_segments   the indices are sorted before (stably: equal ones stay in order), which brings together what
//                           belongs to one row. Then a block owns a row of the result: it adds up the rows of its segment in
//                           a fixed order and writes once. Rows without an index are written as zeros in passing.
//
// A row with very many indices is one block's work, and slow: natural text has such, but not so many that sorting would not pay.
#include "common.cuh"

extern "C" __global__ void embedding_atomic(const float* __restrict__ g, const long long* __restrict__ index, float* out, long long n,
                                            int rows, int width) {
    long long i = thread_index();
    if (i >= n * width) return;
    long long row = index[i / width];
    if (row >= 0 && row < rows) atomicAdd(out + row * width + i % width, g[i]);
}

// order: the positions of g sorted by index; starts (rows + 1): where in `order` the positions of each row begin.
extern "C" __global__ void embedding_segments(const T* __restrict__ g, const long long* __restrict__ order,
                                              const long long* __restrict__ starts, T* __restrict__ out, int width) {
    long long row = blockIdx.x, first = starts[row], last = starts[row + 1];
    if (width % PACK == 0 && packed(g) && packed(out)) {
        for (int c = threadIdx.x * PACK; c < width; c += blockDim.x * PACK) {
            float sum[PACK] = {};
#pragma unroll 4
            for (long long j = first; j < last; j++) {
                Pack pack = load_pack(g + order[j] * width + c);
#pragma unroll
                for (int k = 0; k < PACK; k++) sum[k] += (float)pack.v[k];
            }
            Pack pack;
#pragma unroll
            for (int k = 0; k < PACK; k++) pack.v[k] = (T)sum[k];
            store_pack(out + row * width + c, pack);
        }
        return;
    }
    for (int c = threadIdx.x; c < width; c += blockDim.x) {
        float sum = 0.0f;
        for (long long j = first; j < last; j++) sum += (float)g[order[j] * width + c];
        out[row * width + c] = (T)sum;
    }
}
