// Products with a sparse matrix whose entries are grouped by row: those of row i are the numbers e from pointers[i] to
// pointers[i + 1] - 1, and entry e has the value values[e] in column indices[e].
//
//     spmm    out[i] = sum of values[e] * dense[indices[e]] over the entries e of row i;   dense and out have `width` columns
//     sddmm   out[e] = x[row of e] . y[indices[e]]   the derivative of spmm in the values
//
// The derivative of spmm in the dense matrix is spmm with the transpose, whose entries are grouped by column before, once.
//
// A number that was read is multiplied once, so the time is that of reading. An entry takes 8 bytes of the sparse matrix and,
// at a width of 128, 512 bytes of the dense one, from wherever the column says. What can be won is in how these loads are
// shared out ("coalescing": one load instruction of a warp is served at once where its 32 lanes read neighbours, and 32 times
// where they do not), and in who has to wait for whom ("load balance").
//
//   1  spmm_naive   a thread for each number of the result. Neighbours take neighbouring columns, so a wide dense matrix is
//                   read coalesced; but every thread reads all entries of its row by itself, three loads for one product.
//                   And in a narrow matrix the lanes of a warp are in different rows: their entries lie a row apart, and all
//                   wait for the longest row.
//   2  spmm_rows    a warp a row. The lanes read 32 entries with one coalesced load each for values and columns, and hand
//                   them to one another by shuffles, which read no memory. Then an entry costs a lane one load of 16 bytes of
//                   the dense matrix, four of which are under way at a time. Where that matrix is narrower than 32 such loads,
//                   the warp is divided into groups of lanes that take different entries, and the groups' sums are added at the
//                   end; for a vector ("SpMV") each lane is a group, and a row of few entries leaves lanes idle. A wider matrix
//                   is taken in strips of columns, each by a warp of its own.
//   3  spmm_merge   as 2, but each warp gets the same work. A launch of 2 lasts as long as its longest row, and matrices made
//                   by people (who links to whom, who bought what) have rows of a thousand times the mean: one warp works
//                   while the GPU idles. So rows are cut. Write down the entries in order, and behind the last entry of each
//                   row its end: cut that list into pieces of equal length, one for each warp. (Ends count as work because
//                   they are: a row is written. With entries alone, one warp could get a million rows without any.) The list
//                   is what merging the entries with the pointers gives, hence the name, and is never made: piece p begins in
//                   row cuts[p], which a binary search has found once for this matrix, and before it there are cuts[p] ends,
//                   so p * piece - cuts[p] entries. Rows of 2, 0 and 5 entries, with E for an end, in pieces of 4:
//
//                       e0 e1 E0 E1 | e2 e3 e4 e5 | e6 E2        cuts = 0, 2, 2, 3
//
//                   The first warp writes rows 0 and 1, the second no row, the third row 2, as far as it has it.
//      spmm_carry   A row that goes on in the next piece is a sum of sums. Adding these with atomics would give other last bits
//                   at each run; so each piece leaves what it has of its last row in `carry`, and a second, small launch
//                   adds the carries of a row in their order.
//
//   1  sddmm_naive  a thread an entry: the 32 lanes walk along 32 different rows of x and y, and nothing is coalesced.
//   2  sddmm_warps  a warp for 32 entries. Each lane looks up the row of one by binary search; then groups of lanes, as many
//                   as read 128 bytes together, a cache line, take the entries in turn and add up by shuffles. Entries are
//                   shared out, not rows, so that long rows do no harm: nothing is summed over a row here.
//
// Sources: Bell and Garland, "Implementing sparse matrix-vector multiplication on throughput-oriented processors", 2009;
// Merrill and Garland, "Merge-based parallel sparse matrix-vector multiplication", 2016; Yang, Buluc and Owens, "Design
// principles for sparse matrix multiplication on the GPU", 2018.
#include "common.cuh"

// ---- 1 --------------------------------------------------------------------------------------------------------------

extern "C" __global__ void spmm_naive(const T* __restrict__ values, const T* __restrict__ dense,
                                      const long long* __restrict__ pointers, const int* __restrict__ indices,
                                      T* __restrict__ out, int rows, int width) {
    long long i = thread_index();
    if (i >= (long long)rows * width) return;
    long long row = i / width, column = i % width;
    float sum = 0.0f;
    for (long long e = pointers[row]; e < pointers[row + 1]; e++)
        sum += (float)values[e] * (float)dense[(long long)indices[e] * width + column];
    out[i] = (T)sum;
}

// ---- 2 --------------------------------------------------------------------------------------------------------------
// A lane has N neighbouring columns: PACK, or 1 where the width or the addresses do not allow packs.

// A load takes hundreds of cycles and memory is busy only while many are under way, so a lane asks for this many rows of the
// dense matrix before it adds the first.
constexpr int FLIGHT = 4;

template <int N>
struct Numbers {
    float v[N];
};

template <int N>
__device__ inline Numbers<N> load_numbers(const T* __restrict__ from) {
    Numbers<N> numbers;
    if constexpr (N == 1) {
        numbers.v[0] = (float)from[0];
    } else {
        Pack pack = load_pack(from);
#pragma unroll
        for (int k = 0; k < N; k++) numbers.v[k] = (float)pack.v[k];
    }
    return numbers;
}

template <int N>
__device__ inline void store_numbers(const float (&sum)[N], T* to) {
    if constexpr (N == 1) {
        to[0] = (T)sum[0];
    } else {
        Pack pack;
#pragma unroll
        for (int k = 0; k < N; k++) pack.v[k] = (T)sum[k];
        store_pack(to, pack);
    }
}

// What a lane does: `lanes` lanes, a power of 2, cover a strip of columns, N each, and 32 / lanes groups of lanes take
// different entries.
struct Share {
    int column, group, groups;
    bool inside;  // whether it has columns
};

template <int N>
__device__ inline Share share_of_lane(int width, int lanes) {
    int column = (blockIdx.y * lanes + lane_index() % lanes) * N;
    return {column, lane_index() / lanes, 32 / lanes, column < width};
}

// The sum of the entries first ... last - 1, in the columns of the lane: to be called by the whole warp, which all has it then.
template <int N>
__device__ inline void sum_entries(const T* __restrict__ values, const T* __restrict__ dense, const int* __restrict__ indices,
                                   long long first, long long last, int width, Share mine, float (&sum)[N]) {
#pragma unroll
    for (int k = 0; k < N; k++) sum[k] = 0.0f;
    for (long long begin = first; begin < last; begin += 32) {
        int count = (int)min(32LL, last - begin), at = 0;
        float value = 0.0f;
        if (lane_index() < count) {
            value = (float)values[begin + lane_index()];
            at = indices[begin + lane_index()];
        }
        for (int j = mine.group; j - mine.group < count; j += FLIGHT * mine.groups) {
            Numbers<N> numbers[FLIGHT];
            float factor[FLIGHT];
            bool there[FLIGHT];  // beyond the end nothing is added; a factor of 0 would not do, since 0 times infinity is not 0
#pragma unroll
            for (int u = 0; u < FLIGHT; u++) {
                int entry = j + u * mine.groups;  // from 32 on the shuffles begin again with lane 0
                factor[u] = __shfl_sync(ALL_LANES, value, entry);
                long long row = __shfl_sync(ALL_LANES, at, entry);
                there[u] = entry < count && mine.inside;
                if (there[u]) numbers[u] = load_numbers<N>(dense + row * width + mine.column);
            }
#pragma unroll
            for (int u = 0; u < FLIGHT; u++)
                if (there[u])
#pragma unroll
                    for (int k = 0; k < N; k++) sum[k] += factor[u] * numbers[u].v[k];
        }
    }
    for (int step = 32 / mine.groups; step < 32; step *= 2)
#pragma unroll
        for (int k = 0; k < N; k++) sum[k] += __shfl_xor_sync(ALL_LANES, sum[k], step);
}

template <int N>
__device__ inline void warp_row(const T* values, const T* dense, const long long* pointers, const int* indices, T* out,
                                long long row, int width, int lanes) {
    Share mine = share_of_lane<N>(width, lanes);
    float sum[N];
    sum_entries<N>(values, dense, indices, pointers[row], pointers[row + 1], width, mine, sum);
    if (mine.group == 0 && mine.inside) store_numbers<N>(sum, out + row * width + mine.column);
}

// packs: whether lanes take packs of columns.
extern "C" __global__ void spmm_rows(const T* __restrict__ values, const T* __restrict__ dense,
                                     const long long* __restrict__ pointers, const int* __restrict__ indices,
                                     T* __restrict__ out, int rows, int width, int packs, int lanes) {
    long long row = blockIdx.x * (long long)(blockDim.x / 32) + warp_index();
    if (row >= rows) return;  // the whole warp
    if (packs) warp_row<PACK>(values, dense, pointers, indices, out, row, width, lanes);
    else warp_row<1>(values, dense, pointers, indices, out, row, width, lanes);
}

// ---- 3 --------------------------------------------------------------------------------------------------------------

// Piece p: from row cuts[p] on, whose first entries may be in the piece before, to the part of row cuts[p + 1] that is in p.
template <int N>
__device__ inline void warp_piece(const T* values, const T* dense, const long long* pointers, const int* indices,
                                  const long long* cuts, T* out, float* carry, long long p, int rows, int width, int piece,
                                  int lanes) {
    Share mine = share_of_lane<N>(width, lanes);
    float sum[N];
    bool writes = mine.group == 0 && mine.inside;
    long long row = cuts[p], row_after = cuts[p + 1], items = rows + pointers[rows];
    long long first = p * piece - row, last = min((p + 1) * piece, items) - row_after;
    for (; row < row_after; row++) {  // the rows that end in this piece
        long long end = pointers[row + 1];
        sum_entries<N>(values, dense, indices, first, end, width, mine, sum);
        if (writes) store_numbers<N>(sum, out + row * width + mine.column);
        first = end;
    }
    sum_entries<N>(values, dense, indices, first, last, width, mine, sum);
    if (!writes) return;
#pragma unroll
    for (int k = 0; k < N; k++) carry[p * width + mine.column + k] = sum[k];
}

extern "C" __global__ void spmm_merge(const T* __restrict__ values, const T* __restrict__ dense,
                                      const long long* __restrict__ pointers, const int* __restrict__ indices,
                                      const long long* __restrict__ cuts, T* __restrict__ out, float* __restrict__ carry,
                                      int rows, int pieces, int piece, int width, int packs, int lanes) {
    long long p = blockIdx.x * (long long)(blockDim.x / 32) + warp_index();
    if (p >= pieces) return;  // the whole warp
    if (packs) warp_piece<PACK>(values, dense, pointers, indices, cuts, out, carry, p, rows, width, piece, lanes);
    else warp_piece<1>(values, dense, pointers, indices, cuts, out, carry, p, rows, width, piece, lanes);
}

// The block of the first piece that carries into a row adds the carries of all to what the piece with the row's end wrote. (In
// half precision such a row is rounded twice.)
extern "C" __global__ void __launch_bounds__(32 * TALL) spmm_carry(
    const float* __restrict__ carry, const long long* __restrict__ pointers, const long long* __restrict__ cuts,
    T* __restrict__ out, int rows, int piece, int width) {
    long long p = blockIdx.x, row = cuts[p + 1];
    if (row >= rows || (p > 0 && cuts[p] == row)) return;  // the whole block
    long long end = (pointers[row + 1] + row) / piece;     // the piece in which the row ends
    int column = blockIdx.y * 32 + threadIdx.x;
    float sum = 0.0f;
    if (column < width) {
#pragma unroll 8
        for (long long q = p + threadIdx.y; q < end; q += TALL) sum += carry[q * width + column];
    }
    sum = column_sum(sum);
    if (threadIdx.y > 0 || column >= width) return;
    T* to = out + row * width + column;
    *to = (T)((float)*to + sum);
}

// ---- sddmm ----------------------------------------------------------------------------------------------------------

// The row that entry e is in: the first that ends behind it. (Rows without entries end before.)
__device__ inline int row_of(long long e, const long long* __restrict__ pointers, int rows) {
    int low = 0, high = rows - 1;
    while (low < high) {
        int middle = low + (high - low) / 2;
        if (pointers[middle + 1] > e) high = middle;
        else low = middle + 1;
    }
    return low;
}

extern "C" __global__ void sddmm_naive(const T* __restrict__ x, const T* __restrict__ y, const long long* __restrict__ pointers,
                                       const int* __restrict__ indices, T* __restrict__ out, int count, int rows, int width) {
    long long e = thread_index();
    if (e >= count) return;
    x += (long long)row_of(e, pointers, rows) * width;
    y += (long long)indices[e] * width;
    float sum = 0.0f;
    for (int i = 0; i < width; i++) sum += (float)x[i] * (float)y[i];
    out[e] = (T)sum;
}

// What a lane adds up of the product of two rows, of which it takes every lanes-th pack or element.
template <int N>
__device__ inline float part_of_dot(const T* __restrict__ x, const T* __restrict__ y, int width, int lanes) {
    float sum = 0.0f;
#pragma unroll 4
    for (int i = lane_index() % lanes * N; i < width; i += lanes * N) {
        if constexpr (N == 1) {
            sum += (float)x[i] * (float)y[i];
        } else {
            Pack a = load_pack(x + i), b = load_pack(y + i);
#pragma unroll
            for (int k = 0; k < N; k++) sum += (float)a.v[k] * (float)b.v[k];
        }
    }
    return sum;
}

extern "C" __global__ void sddmm_warps(const T* __restrict__ x, const T* __restrict__ y, const long long* __restrict__ pointers,
                                       const int* __restrict__ indices, T* __restrict__ out, int count, int rows, int width,
                                       int packs, int lanes) {
    long long first = (blockIdx.x * (long long)(blockDim.x / 32) + warp_index()) * 32;
    if (first >= count) return;  // the whole warp
    int entries = (int)min(32LL, count - first), row = 0, at = 0;
    if (lane_index() < entries) {
        row = row_of(first + lane_index(), pointers, rows);
        at = indices[first + lane_index()];
    }
    for (int j = 0; j < entries; j += 32 / lanes) {
        int entry = j + lane_index() / lanes;
        const T* a = x + (long long)__shfl_sync(ALL_LANES, row, entry) * width;
        const T* b = y + (long long)__shfl_sync(ALL_LANES, at, entry) * width;
        float sum = 0.0f;
        if (entry < entries) sum = packs ? part_of_dot<PACK>(a, b, width, lanes) : part_of_dot<1>(a, b, width, lanes);
        for (int step = lanes / 2; step > 0; step /= 2) sum += __shfl_xor_sync(ALL_LANES, sum, step);
        if (entry < entries && lane_index() % lanes == 0) out[first + entry] = (T)sum;
    }
}
