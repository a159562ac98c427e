// Pooling of planes of H x W numbers over windows of kh x kw: which number of a window is the largest, and sums.
//
// One thread owns one number of the result and looks at its window. Neighbouring threads look at neighbouring windows, which
// overlap or adjoin, so that a warp reads whole lines and the rest comes from the cache. The backward passes turn it around: a
// thread owns a number of the input and adds up the windows that it lies in - of maxima, those which chose it - so that no two
// threads add to the same place, and the order is fixed.
//
// P x Q windows of a plane begin every sh, sw numbers, after a padding of ph, pw; dh, dw is the distance within a window.
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

extern "C" __global__ void max_pool_index_2d(const T* __restrict__ x, long long* __restrict__ index, long long n, int H, int W, int P, int Q,
                                             int kh, int kw, int sh, int sw, int ph, int pw, int dh, int dw) {
    for (long long k = thread_index(); k < n; k += thread_count()) {
        Place at = place(k, P, Q);
        index[k] = largest(x + at.plane * H * W, at, H, W, kh, kw, sh, sw, ph, pw, dh, dw).index;
    }
}

// The numbers too, at once. Where there is none, it is what the index -1 stands for: the last of the plane.
extern "C" __global__ void max_pool_2d(const T* __restrict__ x, T* __restrict__ out, long long* __restrict__ index, long long n, int H, int W,
                                       int P, int Q, int kh, int kw, int sh, int sw, int ph, int pw, int dh, int dw) {
    for (long long k = thread_index(); k < n; k += thread_count()) {
        Place at = place(k, P, Q);
        const T* plane = x + at.plane * H * W;
        Largest best = largest(plane, at, H, W, kh, kw, sh, sw, ph, pw, dh, dw);
        index[k] = best.index;
        out[k] = best.index < 0 ? plane[H * W - 1] : (T)best.value;
    }
}

extern "C" __global__ void max_pool_backward_2d(const T* __restrict__ g, const long long* __restrict__ index, T* __restrict__ dx, long long n,
                                                int H, int W, int P, int Q, int kh, int kw, int sh, int sw, int ph, int pw, int dh,
                                                int dw) {
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

extern "C" __global__ void sum_pool_2d(const T* __restrict__ x, T* __restrict__ out, long long n, int H, int W, int P, int Q, int kh, int kw,
                                       int sh, int sw, int ph, int pw) {
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

extern "C" __global__ void sum_pool_backward_2d(const T* __restrict__ g, T* __restrict__ dx, long long n, int H, int W, int P, int Q, int kh,
                                                int kw, int sh, int sw, int ph, int pw) {
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
