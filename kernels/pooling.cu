// Pooling of planes of H x W numbers over windows of kh x kw: which number of a window is the largest, and sums.
//
// One thread owns one number of the result and looks at its window. Neighbouring threads look at neighbouring windows, which
// overlap or adjoin, so that a warp reads whole lines and the rest comes from the cache. The backward passes turn it around: a
// thread owns a number of the input and adds up the windows that it lies in - of maxima, those which chose it - so that no two
// threads add to the same place, and the order is fixed.
//
// The floor is one read of the plane and one write of the result. A maximum comes with its index of 8 bytes, so that a window of 2 x 2
// float32 reads 16 bytes and writes 12; for float16 the indices alone are as much as what is read.
//
// P x Q windows of a plane begin every sh, sw numbers, after a padding of ph, pw; dh, dw is the distance within a window.
//
// Adaptive windows cover the plane evenly, however many there are: often it is one, of the whole plane. Then a thread for each would
// read far from its neighbours, and a warp takes each window together.
#include "common.cuh"

struct Place {
    long long plane;
    int row, column;
};

__device__ inline Place place(long long n, int height, int width) {
    return {n / ((long long)height * width), (int)(n / width % height), (int)(n % width)};
}

struct Largest {
    long long index;
    float value;
};

// The first of equal numbers wins; a NaN is larger than all, and the last NaN wins; -1 for a window of padding alone.
__device__ inline Largest largest(const T* plane, Place at, int H, int W, int kh, int kw, int sh, int sw, int ph, int pw, int dh, int dw) {
    Largest best = {-1, 0.0f};
    for (int i = 0; i < kh; i++)
        for (int j = 0; j < kw; j++) {
            int row = at.row * sh - ph + i * dh, column = at.column * sw - pw + j * dw;
            if (row < 0 || row >= H || column < 0 || column >= W) continue;
            float v = (float)plane[row * W + column];
            if (best.index < 0 || v > best.value || v != v) best = {row * W + column, v};
        }
    return best;
}

extern "C" __global__ void max_pool_index_2d(const T* __restrict__ x, long long* __restrict__ index, long long n, int H, int W, int P,
                                             int Q, int kh, int kw, int sh, int sw, int ph, int pw, int dh, int dw) {
    for (long long k = thread_index(); k < n; k += thread_count()) {
        Place at = place(k, P, Q);
        index[k] = largest(x + at.plane * H * W, at, H, W, kh, kw, sh, sw, ph, pw, dh, dw).index;
    }
}

// The numbers too, at once. Where there is none, it is what the index -1 stands for: the last of the plane.
extern "C" __global__ void max_pool_2d(const T* __restrict__ x, T* __restrict__ out, long long* __restrict__ index, long long n, int H,
                                       int W, int P, int Q, int kh, int kw, int sh, int sw, int ph, int pw, int dh, int dw) {
    for (long long k = thread_index(); k < n; k += thread_count()) {
        Place at = place(k, P, Q);
        const T* plane = x + at.plane * H * W;
        Largest best = largest(plane, at, H, W, kh, kw, sh, sw, ph, pw, dh, dw);
        index[k] = best.index;
        out[k] = best.index < 0 ? plane[H * W - 1] : (T)best.value;
    }
}

extern "C" __global__ void max_pool_backward_2d(const T* __restrict__ g, const long long* __restrict__ index, T* __restrict__ dx,
                                                long long n, int H, int W, int P, int Q, int kh, int kw, int sh, int sw, int ph, int pw,
                                                int dh, int dw) {
    int high = (kh - 1) * dh + 1, wide = (kw - 1) * dw + 1;  // of a window
    for (long long k = thread_index(); k < n; k += thread_count()) {
        Place at = place(k, H, W);
        long long first = at.plane * P * Q;
        int row = at.row + ph, column = at.column + pw, me = at.row * W + at.column;
        float sum = 0.0f;
        for (int p = row < high ? 0 : (row - high) / sh + 1; p < P && p * sh <= row; p++)
            for (int q = column < wide ? 0 : (column - wide) / sw + 1; q < Q && q * sw <= column; q++)
                if (index[first + p * Q + q] == me) sum += (float)g[first + p * Q + q];
        dx[k] = (T)sum;
    }
}

extern "C" __global__ void sum_pool_2d(const T* __restrict__ x, T* __restrict__ out, long long n, int H, int W, int P, int Q, int kh,
                                       int kw, int sh, int sw, int ph, int pw) {
    for (long long k = thread_index(); k < n; k += thread_count()) {
        Place at = place(k, P, Q);
        const T* plane = x + at.plane * H * W;
        int top = at.row * sh - ph, left = at.column * sw - pw;
        float sum = 0.0f;
        for (int row = max(top, 0); row < min(top + kh, H); row++)
            for (int column = max(left, 0); column < min(left + kw, W); column++) sum += (float)plane[row * W + column];
        out[k] = (T)sum;
    }
}

extern "C" __global__ void sum_pool_backward_2d(const T* __restrict__ g, T* __restrict__ dx, long long n, int H, int W, int P, int Q,
                                                int kh, int kw, int sh, int sw, int ph, int pw) {
    for (long long k = thread_index(); k < n; k += thread_count()) {
        Place at = place(k, H, W);
        const T* plane = g + at.plane * P * Q;
        int row = at.row + ph, column = at.column + pw;  // windows p with p sh <= row < p sh + kh
        float sum = 0.0f;
        for (int p = row < kh ? 0 : (row - kh) / sh + 1; p < P && p * sh <= row; p++)
            for (int q = column < kw ? 0 : (column - kw) / sw + 1; q < Q && q * sw <= column; q++) sum += (float)plane[p * Q + q];
        dx[k] = (T)sum;
    }
}

// out[i] is the number of its plane at index[i]; planes are `size` numbers of x and `count` of out.
extern "C" __global__ void pick_2d(const T* __restrict__ x, const long long* __restrict__ index, T* __restrict__ out, long long n, int size,
                                   int count) {
    for (long long k = thread_index(); k < n; k += thread_count()) {
        long long i = index[k];
        out[k] = x[k / count * size + (i < 0 ? i + size : i)];
    }
}

// ---- adaptive windows -------------------------------------------------------------------------------------------------------

struct Span {
    int first, end;
};

// Window i of `count` over `size` numbers.
__device__ inline Span window(int i, int count, int size) {
    return {(int)((long long)i * size / count), (int)(((i + 1LL) * size + count - 1) / count)};
}

// The windows that number i of `size` lies in.
__device__ inline Span windows_of(int i, int count, int size) {
    return {(int)((long long)i * count / size), (int)(((i + 1LL) * count - 1) / size) + 1};
}

extern "C" __global__ void adaptive_sum_2d(const T* __restrict__ x, T* __restrict__ out, long long n, int H, int W, int P, int Q) {
    for (long long k = thread_index() / 32; k < n; k += thread_count() / 32) {
        Place at = place(k, P, Q);
        Span rows = window(at.row, P, H), columns = window(at.column, Q, W);
        int width = columns.end - columns.first, size = (rows.end - rows.first) * width;
        const T* corner = x + at.plane * H * W + rows.first * W + columns.first;
        float sum = 0.0f;
        for (int i = lane_index(); i < size; i += 32) sum += (float)corner[i / width * W + i % width];
        sum = warp_sum(sum);
        if (lane_index() == 0) out[k] = (T)sum;
    }
}

extern "C" __global__ void adaptive_sum_backward_2d(const T* __restrict__ g, T* __restrict__ dx, long long n, int H, int W, int P, int Q) {
    for (long long k = thread_index(); k < n; k += thread_count()) {
        Place at = place(k, H, W);
        Span rows = windows_of(at.row, P, H), columns = windows_of(at.column, Q, W);
        const T* plane = g + at.plane * P * Q;
        float sum = 0.0f;
        for (int p = rows.first; p < rows.end; p++)
            for (int q = columns.first; q < columns.end; q++) sum += (float)plane[p * Q + q];
        dx[k] = (T)sum;
    }
}

// Of two the one that a walk through the window from the first to the last would end with.
__device__ inline Largest larger(Largest a, Largest b) {
    if (a.index < 0) return b;
    if (b.index < 0) return a;
    bool nan_a = a.value != a.value, nan_b = b.value != b.value, a_is_before = a.index < b.index;
    if (nan_a || nan_b) return nan_a && nan_b ? (a_is_before ? b : a) : nan_a ? a : b;
    return a.value > b.value || (a.value == b.value && a_is_before) ? a : b;
}

extern "C" __global__ void adaptive_max_2d(const T* __restrict__ x, T* __restrict__ out, long long* __restrict__ index, long long n, int H,
                                           int W, int P, int Q) {
    for (long long k = thread_index() / 32; k < n; k += thread_count() / 32) {
        Place at = place(k, P, Q);
        Span rows = window(at.row, P, H), columns = window(at.column, Q, W);
        int width = columns.end - columns.first, size = (rows.end - rows.first) * width, first = rows.first * W + columns.first;
        const T* plane = x + at.plane * H * W;
        Largest best = {-1, 0.0f};
        for (int i = lane_index(); i < size; i += 32) {
            int here = first + i / width * W + i % width;
            best = larger(best, {here, (float)plane[here]});
        }
        for (int step = 16; step > 0; step /= 2) {
            int other = __shfl_xor_sync(ALL_LANES, (int)best.index, step);
            best = larger(best, {other, __shfl_xor_sync(ALL_LANES, best.value, step)});
        }
        if (lane_index() == 0) index[k] = best.index, out[k] = (T)best.value;
    }
}

extern "C" __global__ void adaptive_max_backward_2d(const T* __restrict__ g, const long long* __restrict__ index, T* __restrict__ dx,
                                                    long long n, int H, int W, int P, int Q) {
    for (long long k = thread_index(); k < n; k += thread_count()) {
        Place at = place(k, H, W);
        Span rows = windows_of(at.row, P, H), columns = windows_of(at.column, Q, W);
        long long first = at.plane * P * Q;
        int me = at.row * W + at.column;
        float sum = 0.0f;
        for (int p = rows.first; p < rows.end; p++)
            for (int q = columns.first; q < columns.end; q++)
                if (index[first + p * Q + q] == me) sum += (float)g[first + p * Q + q];
        dx[k] = (T)sum;
    }
}
