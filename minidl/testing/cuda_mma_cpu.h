// Tensor cores and asynchronous copies on a CPU: the functions that kernels/mma.cuh declares, from the layouts in the PTX manual.
// A copy is made when its thread waits for it, so that one that is not waited for is not there. Included by cuda_cpu.h.
#pragma once

static inline unsigned pack_halves(float low, float high) {
    mma_half pair[2] = {(mma_half)low, (mma_half)high};
    unsigned packed;
    memcpy(&packed, pair, 4);
    return packed;
}

namespace cpu {
struct Fragments { unsigned a[4], b[2]; };

// Element k, counted within the row, of the part of a fragment that lane 4 * group + ... holds: PER elements a register.
template <class E, int PER>
static E element(const unsigned* registers, int part, int k) {
    E all[PER];
    memcpy(all, registers + part, 4);
    return all[k];
}

// D += A B for PER elements a register: A is (16, 8 PER), B is (8 PER, 8).
template <class E, int PER, class D>
static void mma(D (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], Place at) {
    Fragments mine;
    memcpy(mine.a, a, sizeof a);
    memcpy(mine.b, b, sizeof b);
    const char* seen = exchange(0xFFFFFFFFu, mine, at);
    Fragments all[32];
    for (int l = 0; l < 32; l++) all[l] = from_lane<Fragments>(seen, l);
    int g = lane() / 4, t = lane() % 4;
    for (int i = 0; i < 4; i++) {
        int row_part = i / 2, column = 2 * t + i % 2;  // rows g and g + 8
        D sum = d[i];
        for (int k = 0; k < 8 * PER; k++) {
            int from = k / PER % 4, part = k / (4 * PER);  // which of the four lanes of a group, and which half of k
            E x = element<E, PER>(all[4 * g + from].a, part * 2 + row_part, k % PER);
            E y = element<E, PER>(all[4 * column + from].b, part, k % PER);
            sum += (D)x * (D)y;
        }
        d[i] = sum;
    }
}

BUILT_IN void matrices(unsigned (&r)[4], const void* row, bool transposed, Place at) {
    watch::reads(row, 16, CALLER);
    const char* seen = exchange(0xFFFFFFFFu, row, at);
    int g = lane() / 4, t = lane() % 4;
    for (int m = 0; m < 4; m++) {
        uint16_t pair[2];
        for (int i = 0; i < 2; i++) {
            int r8 = transposed ? 2 * t + i : g, c8 = transposed ? g : 2 * t + i;
            pair[i] = ((const uint16_t*)from_lane<const void*>(seen, 8 * m + r8))[c8];
        }
        memcpy(&r[m], pair, 4);
    }
    exchange(0xFFFFFFFFu, 0, at);  // nobody overwrites the rows before all have read them
}
}  // namespace cpu

#define mma_halves(d, a, b) cpu::mma<mma_half, 2>(d, a, b, HERE_)
#define mma_s8(d, a, b) cpu::mma<int8_t, 4>(d, a, b, HERE_)
#define load_matrices(r, row) cpu::matrices(r, row, false, HERE_)
#define load_matrices_transposed(r, row) cpu::matrices(r, row, true, HERE_)

namespace cpu {
BUILT_IN void begin_copy(void* to, const void* from, bool there) {
    if (now->copy_count == COPIES) stop("more than %d asynchronous copies of one thread are under way", COPIES);
    if (there) watch::reads(from, 16, CALLER);
    watch::copy_begins(to, CALLER);
    now->copies[now->copy_count++] = {to, from, CALLER, now->copy_groups, there};
}

WITHOUT_SANITIZER static void wait_for_copies(int groups_left) {
    int kept = 0;
    for (int i = 0; i < now->copy_count; i++) {
        Copy c = now->copies[i];
        if (c.group >= now->copy_groups - groups_left) {
            now->copies[kept++] = c;
            continue;
        }
        for (int b = 0; b < 16; b++) ((char*)c.to)[b] = c.there ? ((const char*)c.from)[b] : 0;
        watch::copy_ends(c.to, c.at);
    }
    now->copy_count = kept;
}
}  // namespace cpu

#define copy_async(to, from, there) cpu::begin_copy(to, from, there)
static inline void copies_commit() { cpu::now->copy_groups++; }
template <int N>
static inline void copies_wait() { cpu::wait_for_copies(N); }
