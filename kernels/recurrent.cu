// One time step of an LSTM and of a GRU, forward and backward: all that is not a matrix product. The formulas, and the loop over
// time with its products, are in recurrent.py.
//
// Written with array operations a step of an LSTM is some fifteen launches, for arrays so small that each takes less time to
// compute than to launch. Here it is one: a thread owns an element of the state and computes its four gates.
//
// Arrays are those of one time step: rows of the batch that still run, B of them; a gate k of element j stands at k H + j.
// Source of the fusion: Appleyard, Kocisky and Blunsom, "Optimizing Performance of Recurrent Neural Networks on GPUs", 2016.
#include "common.cuh"

__device__ inline float logistic(float x) { return 0.5f * tanhf(0.5f * x) + 0.5f; }

// h, c: the state, in place. out and before are null with a projection, whose product follows; then h is left alone too.
extern "C" __global__ void lstm_step(const float* __restrict__ x, const float* __restrict__ product, float* __restrict__ gates, float* c,
                                     float* __restrict__ cells, float* __restrict__ hidden, float* h, float* __restrict__ before,
                                     float* __restrict__ out, int B, int H) {
    int n = thread_index();
    if (n >= B * H) return;
    int row = n / H, j = n % H;
    long long at = (long long)row * 4 * H + j;
    float i = logistic(x[at] + product[at]), f = logistic(x[at + H] + product[at + H]);
    float u = tanhf(x[at + 2 * H] + product[at + 2 * H]), o = logistic(x[at + 3 * H] + product[at + 3 * H]);
    gates[at] = i, gates[at + H] = f, gates[at + 2 * H] = u, gates[at + 3 * H] = o;
    float cell = c[n];
    cells[n] = cell;
    c[n] = cell = f * cell + i * u;
    float state = o * tanhf(cell);
    hidden[n] = state;
    if (out) {
        before[n] = h[n];
        out[n] = h[n] = state;
    }
}

// d_hidden: the gradient of hidden; dc in place. dx (B, 4 H) is the gradient before the gates' functions.
extern "C" __global__ void lstm_step_backward(const float* __restrict__ d_hidden, const float* __restrict__ gates,
                                              const float* __restrict__ cells, float* dc, float* __restrict__ dx, int B, int H) {
    int n = thread_index();
    if (n >= B * H) return;
    int row = n / H, j = n % H;
    long long at = (long long)row * 4 * H + j;
    float i = gates[at], f = gates[at + H], u = gates[at + 2 * H], o = gates[at + 3 * H], cell = cells[n];
    float tanh_c = tanhf(f * cell + i * u), g = d_hidden[n];
    float d = dc[n] + g * o * (1.0f - tanh_c * tanh_c);
    dx[at] = d * u * i * (1.0f - i);
    dx[at + H] = d * cell * f * (1.0f - f);
    dx[at + 2 * H] = d * i * (1.0f - u * u);
    dx[at + 3 * H] = g * tanh_c * o * (1.0f - o);
    dc[n] = d * f;
}

extern "C" __global__ void gru_step(const float* __restrict__ x, const float* __restrict__ product, float* __restrict__ gates,
                                    float* __restrict__ inner, float* h, float* __restrict__ before, float* __restrict__ out, int B,
                                    int H) {
    int n = thread_index();
    if (n >= B * H) return;
    int row = n / H, j = n % H;
    long long at = (long long)row * 3 * H + j;
    float r = logistic(x[at] + product[at]), z = logistic(x[at + H] + product[at + H]), w = product[at + 2 * H];
    float u = tanhf(x[at + 2 * H] + r * w), old = h[n];
    gates[at] = r, gates[at + H] = z, gates[at + 2 * H] = u;
    inner[n] = w;
    before[n] = old;
    out[n] = h[n] = (1.0f - z) * u + z * old;
}

// g: the gradient of out; dh in place: it comes with the state's, and leaves with the part of it that goes on through z.
extern "C" __global__ void gru_step_backward(const float* __restrict__ g, const float* __restrict__ gates,
                                             const float* __restrict__ inner, const float* __restrict__ before, float* dh,
                                             float* __restrict__ dx, float* __restrict__ dw, int B, int H) {
    int n = thread_index();
    if (n >= B * H) return;
    int row = n / H, j = n % H;
    long long at = (long long)row * 3 * H + j;
    float r = gates[at], z = gates[at + H], u = gates[at + 2 * H], d = g[n] + dh[n];
    float du = d * (1.0f - z) * (1.0f - u * u);
    dx[at] = dw[at] = du * inner[n] * r * (1.0f - r);
    dx[at + H] = dw[at + H] = d * (before[n] - u) * z * (1.0f - z);
    dx[at + 2 * H] = du;
    dw[at + 2 * H] = du * r;
    dh[n] = d * z;
}
