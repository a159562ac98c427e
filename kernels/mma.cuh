// Tensor cores and asynchronous copies: the PTX instructions behind plain functions. (On the CPU cuda_mma_cpu.h defines the same
// functions from the layouts that the PTX manual documents, so that what surrounds them is tested there too.)
//
// A tensor core multiplies two small matrices at once. The 32 lanes of a warp hold them together, each lane a few elements,
// by a fixed layout. With g = lane / 4 and t = lane % 4, for D (16, 8) += A (16, 16) B (16, 8):
//
//     a[0]: A[g][2t, 2t+1]   a[1]: A[g+8][2t, 2t+1]   a[2]: A[g][2t+8, 2t+9]   a[3]: A[g+8][2t+8, 2t+9]
//     b[0]: B[2t, 2t+1][g]   b[1]: B[2t+8, 2t+9][g]
//     d[0], d[1]: D[g][2t, 2t+1]                      d[2], d[3]: D[g+8][2t, 2t+1]
//
// (Two halves that stand together in brackets share a register: A takes four of a lane's registers, B two, D four floats.)
//
// load_matrices, the instruction ldmatrix, fetches four 8 x 8 matrices of halves from shared memory in just that layout: lane l
// passes the address of row l % 8 of matrix l / 8, and receives of each matrix the two elements [g][2t, 2t+1] (or, transposed,
// [2t, 2t+1][g]). A row of such a matrix is a "piece" of 16 bytes, and the eight rows of one are served at once if they lie in
// different banks; see swizzle below.
//
// copy_async, the instruction cp.async, is what brings the tiles there: see its comment. Source: NVIDIA, "Parallel Thread Execution
// ISA", the sections on mma.m16n8k16, ldmatrix and cp.async. On GPUs before 8.0 they do not exist: HAS_MMA is not defined, the kernels
// that need them are empty, and their Entry says since=80.
#pragma once

// Where piece `piece` of row `row` stands in a tile whose rows are PIECES pieces, 4 or a multiple of 8. The 32 banks hold eight
// pieces side by side. Were the rows simply one behind the other, the same piece of eight successive rows would lie in one place
// (8 pieces a row or more) or in two (4 pieces), and be read one after the other. So in each row the pieces change places: the
// number of the row, exclusive-or'ed to that of the piece, moves it on. Row by row, what stands where for 4 pieces a row:
//
//     row 0, 1   0 1 2 3   0 1 2 3          row 4, 5   2 3 0 1   2 3 0 1
//     row 2, 3   1 0 3 2   1 0 3 2          row 6, 7   3 2 1 0   3 2 1 0
template <int PIECES>
__device__ inline int swizzle(int row, int piece) {
    static_assert(PIECES == 4 || PIECES % 8 == 0, "eight rows would meet in some bank");
    return row * PIECES + (piece ^ (PIECES == 4 ? row / 2 & 3 : row & 7));
}

#ifdef __CUDACC__
#include <cuda_fp16.h>
#ifdef TYPE_bfloat16
#include <cuda_bf16.h>
#define MMA_TYPES "bf16.bf16"
#else
#define MMA_TYPES "f16.f16"
#endif

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
#define HAS_MMA 1

// Of halves, or of bfloat16 where that is T.
__device__ inline void mma_halves(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32." MMA_TYPES ".f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// D (16, 8) += A (16, 32) B (32, 8) of signed bytes: four of them in each register, k = 4t .. 4t+3 and those + 16.
__device__ inline void mma_s8(int (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

__device__ inline unsigned shared_address(const void* p) { return (unsigned)__cvta_generic_to_shared(p); }

__device__ inline void load_matrices(unsigned (&r)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(shared_address(row)));
}

__device__ inline void load_matrices_transposed(unsigned (&r)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(shared_address(row)));
}

// Copy 16 bytes from global to shared memory without passing through registers; zeros where `there` is false. The thread goes
// on at once. Copies are grouped by copies_commit; copies_wait<n> waits until at most the last n groups are under way.
__device__ inline void copy_async(void* to, const void* from, bool there) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from), "r"(there ? 16 : 0));
}
__device__ inline void copies_commit() { asm volatile("cp.async.commit_group;"); }
template <int N>
__device__ inline void copies_wait() { asm volatile("cp.async.wait_group %0;" ::"n"(N)); }
#endif

__device__ inline unsigned pack_halves(float low, float high) {
#ifdef TYPE_bfloat16
    __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
#else
    half2 pair = __floats2half2_rn(low, high);
#endif
    return *reinterpret_cast<unsigned*>(&pair);
}
#else
#define HAS_MMA 1
#endif
