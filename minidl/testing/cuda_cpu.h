// Runs the CUDA C++ kernels of this project on a CPU, unchanged: g++ compiles this header and the .cu file together.
//
// Every CUDA thread is a fibre: a stack of its own, and a switch back to the scheduler wherever a GPU thread would wait.
// Blocks run one after another, unless they wait for each other (grid_barrier): then they take turns. Within a block each thread
// runs until it waits (at __syncthreads, or at a warp operation such as a shuffle) or ends; when all that it waits for have come,
// it goes on. Shared memory is static variables, filled with 0xFF (NaN in every float type) before each block, so that a missing
// initialisation is seen.
//
// What a GPU lets pass or hangs on is an error here, with the line: threads that leave a barrier or a warp operation
// waiting, threads that wait at different barriers, shuffles from lanes that take no part. Threads run in order, in reverse order
// or shuffled: results that differ show a missing barrier. With CUDA_WATCH every access to memory is seen besides: cuda_watch.h.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <setjmp.h>
#include <ucontext.h>
#include <utility>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#define WITHOUT_SANITIZER __attribute__((no_sanitize("address")))
#elif defined(CUDA_WATCH)
#define WITHOUT_SANITIZER __attribute__((no_sanitize("thread", "undefined")))
#else
#define WITHOUT_SANITIZER
#endif
#define BUILT_IN WITHOUT_SANITIZER __attribute__((noinline)) static  // a function that accesses memory for the kernel's line
#define CALLER __builtin_return_address(0)

#define __global__
#define __device__ static
#define __host__
#define __forceinline__ inline
#define __restrict__ __restrict
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#define __constant__ static
#ifdef CUDA_WATCH
#define __shared__ static __attribute__((aligned(1024)))  // most of them end in a gap
#else
#define __shared__ static
#endif
#define SHARED_DYN(type, name) type* name = (type*)cpu::dynamic_shared

struct uint3 { unsigned x, y, z; };
struct dim3 { unsigned x, y, z; };
struct alignas(8) float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(8) int2 { int x, y; };
struct alignas(16) int4 { int x, y, z, w; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
static inline float2 make_float2(float x, float y) { return {x, y}; }
static inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
static inline int2 make_int2(int x, int y) { return {x, y}; }
static inline int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }
static inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

typedef _Float16 half;
struct half2 { half x, y; };

// The upper half of a float, rounded to the nearest, ties to even.
struct __nv_bfloat16 {
    uint16_t bits;
    __nv_bfloat16() = default;
    __nv_bfloat16(float x) {
        uint32_t whole;
        memcpy(&whole, &x, 4);
        bits = x != x ? 0x7FC0 : (whole + 0x7FFF + (whole >> 16 & 1)) >> 16;
    }
    operator float() const {
        uint32_t whole = (uint32_t)bits << 16;
        float x;
        memcpy(&x, &whole, 4);
        return x;
    }
};
#ifdef TYPE_bfloat16
typedef __nv_bfloat16 mma_half;  // what the tensor cores multiply
#else
typedef half mma_half;
#endif

extern "C" char __ehdr_start[] __attribute__((visibility("hidden")));  // where the linker puts this library

namespace cpu {

enum State { READY, AT_BARRIER, AT_GRID, AT_WARP, DONE };
enum Outcome { FAILED, SUSPENDED, ENDED };  // of a block's turn

constexpr int MAX_THREADS = 1024;
constexpr int EXCHANGE = 32;  // bytes that a lane can hand over in one warp operation
constexpr int COPIES = 128;   // asynchronous copies of a thread that can be under way
constexpr size_t STACK = 64 * 1024;

struct Place {
    const char* file;
    int line;
};
#define HERE_ (cpu::Place{__FILE__, __LINE__})

struct Copy {  // of copy_async: 16 bytes, written when the thread waits for their group
    void* to;
    const void* from;
    const void* at;  // the instruction that began it
    int group;
    bool there;
};

struct Fibre {
    jmp_buf jump;                 // where it waits
    char* stack;
    bool alive;                   // whether it has been entered
    dim3 index;
    int state;
    Place at;                     // the barrier or warp operation where it waits
    unsigned mask;                // the lanes that take part in the warp operation
    int bytes;                    // what it hands over, at most EXCHANGE
    char gives[EXCHANGE];
    char sees[32 * EXCHANGE];     // what the 32 lanes handed over
    int votes;                    // __syncthreads_count and its kin
    Copy copies[COPIES];          // under way
    int copy_count, copy_groups;
    bool orders;                  // whether it waits at __syncwarp, which orders memory as well
    unsigned clock;               // how many of these it has passed
    int seen[32];                 // the clock of each lane that it comes after, or -1
    const void* calls[8];         // where the functions that it is in were called
    int depth;
};

static Fibre* fibres;
static Fibre* now;
static dim3 block_index, block_size, grid_size;
static char* dynamic_shared;
static int vote_count;
static void (*body)(void**);
static void** arguments;
static char message[512];
struct Span { char* begin; size_t size; };
static std::vector<Span> shared_variables;  // from Python, which reads the symbols of this library
static bool stopped;  // a thread has made a mistake after which nothing can go on

}  // namespace cpu
#include "cuda_watch.h"
namespace cpu {

// ---- switching --------------------------------------------------------------------------------------------------------
// A fibre is entered once through makecontext, which gives it its stack. Every later switch is a _longjmp to where the
// other side stands in _setjmp: unlike swapcontext it makes no system call, and a block of threads that exchange values
// switches thousands of times.

static jmp_buf scheduler;
static const void* home_stack;  // the scheduler's own stack, for AddressSanitizer
static size_t home_size;

static void announce_switch(void** fake, const void* stack, size_t size) {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(fake, stack, size);
#endif
}

static void announce_arrival(void* fake, const void** from, size_t* size) {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(fake, from, size);
#endif
}

// Called by a thread: back to the scheduler until it resumes this thread.
WITHOUT_SANITIZER static void wait_in(State state, Place at) {
    void* fake = nullptr;
    now->state = state;
    now->at = at;
    announce_switch(&fake, home_stack, home_size);
    if (!_setjmp(now->jump)) _longjmp(scheduler, 1);
    announce_arrival(fake, nullptr, nullptr);
}

static void live() {
    announce_arrival(nullptr, &home_stack, &home_size);
    for (;;) {  // one round for each block
        now->depth = 0;
        body(arguments);
        wait_in(DONE, {});
    }
}

// Called by the scheduler: run the thread `now` until it waits or ends.
WITHOUT_SANITIZER static void resume() {
    void* fake = nullptr;
    watch::in_thread(true);
    announce_switch(&fake, now->stack, STACK);
    if (!_setjmp(scheduler)) {
        if (now->alive) _longjmp(now->jump, 1);
        now->alive = true;
        ucontext_t context;
        getcontext(&context);
        context.uc_stack.ss_sp = now->stack;
        context.uc_stack.ss_size = STACK;
        context.uc_link = nullptr;
        makecontext(&context, live, 0);
        setcontext(&context);
    }
    announce_arrival(fake, nullptr, nullptr);
    watch::in_thread(false);
}

template <class... V>
static bool fail(const char* format, V... values) {
    int n = snprintf(message, sizeof message, "block (%u, %u, %u): ", block_index.x, block_index.y, block_index.z);
    snprintf(message + n, sizeof message - n, format, values...);
    return false;
}

static const char* name_of(Place at) {  // the file without its folders
    const char* slash = strrchr(at.file, '/');
    return slash ? slash + 1 : at.file;
}

// ---- waiting: called by the threads ---------------------------------------------------------------------------------

static void barrier(int vote, Place at) {
    now->votes = vote;
    wait_in(AT_BARRIER, at);
}

static void grid_wait(Place at) { wait_in(AT_GRID, at); }

// Hand over `value`, wait for the lanes of `mask`, and return what each lane has handed over.
template <class V>
static const char* exchange(unsigned mask, const V& value, Place at) {
    static_assert(sizeof(V) <= EXCHANGE, "too much for one warp operation");
    memcpy(now->gives, &value, sizeof(V));
    now->bytes = sizeof(V);
    now->mask = mask;
    wait_in(AT_WARP, at);
    return now->sees;
}

// Called by a thread that cannot go on: the launch fails with this message.
template <class... V>
static void stop(const char* format, V... values) {
    fail(format, values...);
    stopped = true;
    wait_in(DONE, {});
}

template <class V>
static V from_lane(const char* seen, int lane) {
    V value;
    memcpy(&value, seen + lane * sizeof(V), sizeof(V));
    return value;
}

static int lane() { return (now - fibres) % 32; }

// ---- the scheduler ----------------------------------------------------------------------------------------------------

static bool same(Place a, Place b) { return a.line == b.line && !strcmp(a.file, b.file); }

// Whether the group of lanes that lane `first` of the warp at `base` waits for is complete; then it goes on.
static bool release_group(int base, int first, int count, bool* released) {
    Fibre* waiting = fibres + base + first;
    const char* file = name_of(waiting->at);
    int line = waiting->at.line;
    if (!(waiting->mask >> first & 1))
        return fail("%s:%d: thread %d calls a warp operation with the mask 0x%x, which does not name its own lane %d: name all "
                    "lanes that call", file, line, base + first, waiting->mask, first);
    for (int l = 0; l < 32; l++) {
        if (!(waiting->mask >> l & 1)) continue;
        if (base + l >= count)
            return fail("%s:%d: a warp operation names lane %d, but the block ends before it: make the block whole warps, "
                        "or name only lanes that exist", file, line, l);
        Fibre* other = fibres + base + l;
        if (other->state == DONE)
            return fail("%s:%d: thread %d waits in a warp operation for thread %d, which has ended: let all lanes of the "
                        "mask reach it", file, line, base + first, base + l);
        if (other->state != AT_WARP || other->mask != waiting->mask || !same(other->at, waiting->at)) return true;
    }
    for (int l = 0; l < 32; l++) {
        if (!(waiting->mask >> l & 1)) continue;
        Fibre* reader = fibres + base + l;
        for (int s = 0; s < 32; s++)
            if (waiting->mask >> s & 1) memcpy(reader->sees + s * waiting->bytes, fibres[base + s].gives, waiting->bytes);
        reader->state = READY;
    }
    if (waiting->orders) watch::syncwarp(waiting->mask, base);
    *released = true;
    return true;
}

static bool release_warps(int count, bool* released) {
    for (int base = 0; base < count; base += 32)
        for (int l = 0; l < 32 && base + l < count; l++)
            if (fibres[base + l].state == AT_WARP && !release_group(base, l, count, released)) return false;
    return true;
}

// All threads wait and no warp operation is complete: they must all be at one barrier.
static bool release_barrier(int count) {
    Fibre *at = nullptr, *gone = nullptr, *other = nullptr;  // the first of each kind
    for (int i = 0; i < count; i++) {
        Fibre* f = fibres + i;
        if (f->state == DONE) gone = gone ? gone : f;
        else if (f->state == AT_WARP) other = other ? other : f;
        else if (!at) at = f;
        else if (!same(at->at, f->at))
            return fail("threads wait at different barriers: thread %d at %s:%d, thread %d at %s:%d: a barrier must be "
                        "reached by the whole block together", int(at - fibres), name_of(at->at), at->at.line, i,
                        name_of(f->at), f->at.line);
    }
    if (other)
        return fail("%s:%d: thread %d waits in a warp operation for lanes that wait elsewhere%s: all lanes of the mask must "
                    "reach the same operation", name_of(other->at), other->at.line, int(other - fibres),
                    at ? ", some at __syncthreads" : "");
    if (gone)
        return fail("%s:%d: thread %d waits at %s, but thread %d has ended: a barrier inside an if or behind a return must be "
                    "reached by all threads or by none", name_of(at->at), at->at.line, int(at - fibres),
                    at->state == AT_GRID ? "grid_barrier" : "__syncthreads", int(gone - fibres));
    vote_count = 0;
    for (int i = 0; i < count; i++) {
        vote_count += fibres[i].votes;
        fibres[i].state = READY;
    }
    watch::barrier();
    return true;
}

WITHOUT_SANITIZER static void poison_shared() {  // byte by byte: memset itself would be checked
    for (Span v : shared_variables)
        for (volatile char* p = v.begin; p < v.begin + v.size; p++) *p = (char)0xFF;
}

static void begin_block(int count, size_t shared) {
    poison_shared();
    memset(dynamic_shared, 0xFF, shared);
    for (int i = 0; i < count; i++) {
        Fibre* f = fibres + i;
        f->index = {i % block_size.x, i / block_size.x % block_size.y, i / (block_size.x * block_size.y)};
        f->state = READY;
        f->copy_count = f->copy_groups = 0;
        if (!f->stack) f->stack = (char*)malloc(STACK);
    }
    watch::begin_block(count);
}

enum Order { FORWARD, REVERSE };  // and from 2 on shuffled, each number in its own way

// The turns of the threads of a block: `turn` gets their numbers in the order in which they run.
static void deal(int* turn, int count, unsigned order) {
    static unsigned random;
    for (int i = 0; i < count; i++) turn[i] = order == REVERSE ? count - 1 - i : i;
    for (int i = count - 1; order > REVERSE && i > 0; i--) {
        random = (random + order) * 1664525u + 1013904223u;
        std::swap(turn[i], turn[(random >> 8) % (i + 1)]);
    }
}

// Until all its threads have ended, or all wait for the other blocks.
static Outcome run_block(int count, unsigned order) {
    int turn[MAX_THREADS];
    for (;;) {
        deal(turn, count, order);
        bool ran = false;
        int done = 0;
        for (int i = 0; i < count; i++) {
            now = fibres + turn[i];
            if (now->state == READY) {
                resume();
                if (stopped) return FAILED;
                ran = true;
            }
            done += now->state == DONE;
        }
        if (done == count) return ENDED;
        bool released = false, grid = fibres->state == AT_GRID;
        if (!release_warps(count, &released)) return FAILED;
        if (released || ran) continue;
        if (!release_barrier(count)) return FAILED;
        if (grid) return SUSPENDED;
    }
}

// A block that waits for the others: its threads, and its shared memory while it is not its turn.
struct Block {
    dim3 index;
    Fibre* fibres;
    std::vector<char> shared, dynamic;
    watch::Cells cells;
};
static std::vector<Fibre*> pools;  // threads for as many blocks as have ever waited for each other

WITHOUT_SANITIZER static void copy(char* to, const char* from, size_t n) {  // as poison_shared
    for (volatile char* p = to; n; n--) *p++ = *from++;
}

static void suspend(Block& block, size_t shared) {
    block.shared.clear(), block.dynamic.resize(shared);
    for (Span v : shared_variables) {
        block.shared.resize(block.shared.size() + v.size);
        copy(&block.shared.back() + 1 - v.size, v.begin, v.size);
    }
    copy(block.dynamic.data(), dynamic_shared, shared);
    watch::save(block.cells);
}

static void restore(const Block& block) {
    block_index = block.index, fibres = block.fibres;
    const char* kept = block.shared.data();
    for (Span v : shared_variables) copy(v.begin, kept, v.size), kept += v.size;
    copy(dynamic_shared, block.dynamic.data(), block.dynamic.size());
    watch::restore(block.cells);
}

static bool run_grid(int count, size_t shared, unsigned order) {
    unsigned blocks = grid_size.x * grid_size.y * grid_size.z;
    std::vector<Block> waiting;
    for (unsigned b = 0; b < blocks; b++) {
        block_index = {b % grid_size.x, b / grid_size.x % grid_size.y, b / (grid_size.x * grid_size.y)};
        if (waiting.size() == pools.size()) pools.push_back((Fibre*)calloc(MAX_THREADS, sizeof(Fibre)));
        fibres = pools[waiting.size()];
        begin_block(count, shared);
        Outcome outcome = run_block(count, order);
        if (outcome == FAILED) return false;
        if (outcome == ENDED) continue;
        waiting.push_back({block_index, fibres, {}, {}, {}});
        suspend(waiting.back(), shared);
    }
    for (unsigned met = waiting.size(); met;) {
        if (met < blocks)
            return fail("%u of %u blocks wait at grid_barrier, but the others have ended: it must be reached by all", met, blocks);
        met = 0;
        watch::grid_barrier();
        for (unsigned b = 0; b < blocks; b++) {
            Block& block = waiting[order == REVERSE ? blocks - 1 - b : b];
            restore(block);
            Outcome outcome = run_block(count, order);
            if (outcome == FAILED) return false;
            if (outcome == SUSPENDED) suspend(block, shared), met++;
        }
    }
    return true;
}

// Run a grid; null, or what went wrong.
static const char* launch(void (*kernel)(void**), unsigned bound, const unsigned* sizes, size_t shared, void** args, unsigned order) {
    body = kernel;
    arguments = args;
    grid_size = {sizes[0], sizes[1], sizes[2]};
    block_size = {sizes[3], sizes[4], sizes[5]};
    unsigned count = block_size.x * block_size.y * block_size.z;
    if (count == 0 || count > MAX_THREADS || grid_size.y > 65535 || grid_size.z > 65535 || shared > 227 * 1024) {
        snprintf(message, sizeof message, "a launch of %u x %u x %u blocks of %u threads with %zu bytes of dynamic shared "
                 "memory: a block has 1 to 1024 threads, a grid at most 65535 blocks along y and z, a block at most "
                 "232448 bytes", sizes[0], sizes[1], sizes[2], count, shared);
        return message;
    }
    if (count > bound) {
        snprintf(message, sizeof message, "a block of %u threads: the kernel is compiled for at most %u, by __launch_bounds__, and a "
                 "GPU refuses more", count, bound);
        return message;
    }
    stopped = false;
    message[0] = 0;
    watch::begin_grid();
    dynamic_shared = watch::dynamic(shared);
    bool fine = run_grid(count, shared, order);
    watch::release(dynamic_shared);
    if (!fine)
        for (Fibre* pool : pools)
            for (int i = 0; i < MAX_THREADS; i++) pool[i].alive = false;  // some are stuck in the middle: begin anew
    return fine ? nullptr : message;
}

extern "C" void set_shared(int count, const long* places, const long* sizes) {
    shared_variables.clear();
    for (int i = 0; i < count; i++) shared_variables.push_back({__ehdr_start + places[i], (size_t)sizes[i]});
}

// The arguments come as the driver's launch takes them: an array of pointers to the values.
template <class... P, size_t... I>
WITHOUT_SANITIZER static void unpack(void (*kernel)(P...), void** args, std::index_sequence<I...>) {
    kernel(*(P*)args[I]...);
}
template <class... P>
WITHOUT_SANITIZER static void call(void (*kernel)(P...), void** args) {
    unpack(kernel, args, std::index_sequence_for<P...>());
}
}  // namespace cpu

// bound: that of its __launch_bounds__, or 1024.
#define CUDA_ENTRY(name, bound) \
    WITHOUT_SANITIZER static void body_of_##name(void** args) { cpu::call(name, args); } \
    extern "C" const char* launch_##name(const unsigned* sizes, size_t shared, void** args, unsigned order) { \
        return cpu::launch(body_of_##name, bound, sizes, shared, args, order); \
    }

// ---- what CUDA C++ has built in -----------------------------------------------------------------------------------------

#define threadIdx (cpu::now->index)
#define blockIdx (cpu::block_index)
#define blockDim (cpu::block_size)
#define gridDim (cpu::grid_size)
constexpr int warpSize = 32;

#define __syncthreads() cpu::barrier(0, HERE_)
#define __syncthreads_count(vote) (cpu::barrier((vote) != 0, HERE_), cpu::vote_count)
#define __syncthreads_or(vote) (cpu::barrier((vote) != 0, HERE_), cpu::vote_count > 0)
#define grid_barrier(arrived, goal) cpu::grid_wait(HERE_)
#define __syncwarp(...) cpu::sync_warp(HERE_ __VA_OPT__(,) __VA_ARGS__)
#define __shfl_sync(mask, value, ...) cpu::shuffle(mask, value, cpu::source(__VA_ARGS__), HERE_)
#define __shfl_xor_sync(mask, value, step) cpu::shuffle(mask, value, cpu::lane() ^ (step), HERE_)
#define __shfl_down_sync(mask, value, step) cpu::shuffle(mask, value, cpu::stay_below(cpu::lane() + (step)), HERE_)
#define __shfl_up_sync(mask, value, step) cpu::shuffle(mask, value, cpu::stay_above(cpu::lane() - (step)), HERE_)
#define __ballot_sync(mask, vote) cpu::ballot(mask, (vote) != 0, HERE_)
#define __any_sync(mask, vote) (cpu::ballot(mask, (vote) != 0, HERE_) != 0)
#define __all_sync(mask, vote) (cpu::ballot(mask, (vote) == 0, HERE_) == 0)

namespace cpu {
static inline void sync_warp(Place at, unsigned mask = 0xFFFFFFFFu) {
    now->orders = true;
    exchange(mask, 0, at);
    now->orders = false;
}
static inline int source(int from, int width = 32) { return (lane() & ~(width - 1)) | (from & (width - 1)); }
static inline int stay_below(int from) { return from < 32 ? from : lane(); }
static inline int stay_above(int from) { return from >= 0 ? from : lane(); }
template <class V>
static V shuffle(unsigned mask, V value, int from, Place at) {
    if (!(mask >> (from & 31) & 1))
        stop("%s:%d: thread %d reads from lane %d, which the mask 0x%x does not name: what it gets is undefined", name_of(at), at.line,
             int(now - fibres), from & 31, mask);
    return from_lane<V>(exchange(mask, value, at), from & 31);
}
static inline unsigned ballot(unsigned mask, int vote, Place at) {
    const char* seen = exchange(mask, vote, at);
    unsigned votes = 0;
    for (int l = 0; l < 32; l++)
        if (mask >> l & 1 && from_lane<int>(seen, l)) votes |= 1u << l;
    return votes;
}
}  // namespace cpu

template <class V> static inline V min(V a, V b) { return b < a ? b : a; }
template <class V> static inline V max(V a, V b) { return a < b ? b : a; }
template <class V, class F>
WITHOUT_SANITIZER static inline V atomically(V* p, const void* caller, F change) {
    watch::atomic(p, sizeof(V), caller);
    V old = *p;
    *p = change(old);
    return old;
}
template <class V> BUILT_IN V atomicAdd(V* p, V v) { return atomically(p, CALLER, [=](V old) { return old + v; }); }
template <class V> BUILT_IN V atomicMax(V* p, V v) { return atomically(p, CALLER, [=](V old) { return v > old ? v : old; }); }
template <class V> BUILT_IN V atomicMin(V* p, V v) { return atomically(p, CALLER, [=](V old) { return v < old ? v : old; }); }
template <class V> BUILT_IN V atomicExch(V* p, V v) { return atomically(p, CALLER, [=](V) { return v; }); }
template <class V> BUILT_IN V atomicCAS(V* p, V expected, V v) {
    return atomically(p, CALLER, [=](V old) { return old == expected ? v : old; });
}
template <class V> BUILT_IN V __ldg(const V* p) { return watch::reads(p, sizeof(V), CALLER), *p; }
template <class V> BUILT_IN V __ldcg(const V* p) { return watch::reads(p, sizeof(V), CALLER), *p; }
static inline void __threadfence() { watch::fence(); }
static inline void __threadfence_block() {}
static inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
static inline float __fdividef(float a, float b) { return a / b; }
static inline unsigned __umulhi(unsigned a, unsigned b) { return (uint64_t)a * b >> 32; }
static inline int __popc(unsigned x) { return __builtin_popcount(x); }
static inline int __ffs(int x) { return __builtin_ffs(x); }
static inline int __float_as_int(float x) { int i; memcpy(&i, &x, 4); return i; }
static inline float __int_as_float(int i) { float x; memcpy(&x, &i, 4); return x; }
static inline unsigned __float_as_uint(float x) { return (unsigned)__float_as_int(x); }
static inline float __half2float(half x) { return (float)x; }
static inline half __float2half(float x) { return (half)x; }
static inline half2 __floats2half2_rn(float x, float y) { return {(half)x, (half)y}; }
static inline int __dp4a(int a, int b, int c) {
    for (int i = 0; i < 32; i += 8) c += (int8_t)(a >> i) * (int8_t)(b >> i);
    return c;
}

#include "cuda_mma_cpu.h"
