// Sees every access to memory of a kernel that runs on the CPU, and says which ones a GPU would not forgive.
//
// With -fsanitize=thread the compiler calls a function before each access; with -fsanitize=bounds,alignment,... one where
// an index leaves the array of its type, an address is not aligned, an integer overflows. Usually these functions are those of
// a library of the compiler's. Here they are ours: at the end of this file.
//
// For every few bytes of the arrays and of shared memory there is a Cell: who wrote it last, who read it. An access is
// compared with those before it. Two accesses of one cell by two threads, one of them a write, are a race, unless
//     both are atomic, or
//     a barrier that both pass lies between: __syncthreads, within a warp __syncwarp of both lanes, grid_barrier, or
//     their blocks met by __threadfence and an atomic operation after it.
// Shuffles and votes exchange registers; they order no memory. This does not depend on the order in which the threads ran.
#pragma once

#ifndef CUDA_WATCH
namespace watch {  // nothing is watched, and all of this vanishes
struct Cells {};
inline void in_thread(bool) {}
inline void begin_grid() {}
inline void begin_block(int) {}
inline void barrier() {}
inline void grid_barrier() {}
inline void syncwarp(unsigned, int) {}
inline void fence() {}
inline void atomic(const void*, int, const void*) {}
inline void reads(const void*, int, const void*) {}
inline void copy_begins(void*, const void*) {}
inline void copy_ends(void*, const void*) {}
inline char* dynamic(size_t bytes) { return (char*)aligned_alloc(16, (bytes + 15) / 16 * 16 + (bytes == 0) * 16); }
inline void release(char* memory) { free(memory); }
inline void save(Cells&) {}
inline void restore(const Cells&) {}
}  // namespace watch
#else
#define UNSEEN WITHOUT_SANITIZER

namespace cpu {
static void wait_in(State state, Place at);
}

extern "C" char _end[] __attribute__((visibility("hidden")));  // where this library ends

namespace watch {
using cpu::fibres;
using cpu::now;

enum Kind { READ, WRITE, UPDATE };  // UPDATE: atomic
constexpr int MOST = 64;            // findings of different places that are kept

struct Mark {  // an access: where, in which device function called from where, when, and by which thread
    const void *pc, *from;
    unsigned tick, block, thread, clock;
};

struct Cell {
    Mark write, update, reads[3];  // the last ones: reads of the last reader, of another one, of one of another warp
    const void* copying;           // where the asynchronous copy was begun that is under way to here
    unsigned block;                // one more than the block that it tells of, in shared memory
};
typedef std::vector<Cell> Cells;

enum Space { ARGUMENT, DYNAMIC, STATIC, OTHER };  // OTHER: variables of this library that are not shared memory

struct Region {  // an array
    char *begin, *end;
    int unit;  // bytes of a cell
    int space;
    Cell* cells;
    bool shared() const { return space == DYNAMIC || space == STATIC; }
};

struct Finding {
    const char* what;
    int region, kinds[2];
    long offset, count;
    int size;
    Mark first, second;
    char detail[160];
};

static std::vector<Region> regions;
static Finding findings[MOST];
static int found;                  // how many of them there are
static Region* recent;             // the one that was accessed last
static char *arena, *arena_end;    // all arguments and the dynamic memory, with gaps between
static char* data;                 // where the variables of this library begin
static char* dynamic_memory;
static bool tables;                // the kernel reads addresses from memory: what is in no region may be right
static bool watching;              // whether a thread of the kernel runs
static bool finer;                 // an access to a part of a cell: run again with cells of one byte
static unsigned ticks, grid_since; // time passes at barriers; the time of the last one of the whole grid
static long turns;                 // accesses since a thread last waited
static std::vector<unsigned> block_since, fenced, acquired;  // for each block: its last barrier, fence, atomic operation

UNSEEN static unsigned block_number() {
    return cpu::block_index.x + cpu::grid_size.x * (cpu::block_index.y + cpu::grid_size.y * cpu::block_index.z);
}
UNSEEN static void in_thread(bool is) { watching = is, turns = 0; }

UNSEEN static Mark mark(const void* pc) {
    const void* from = now->depth > 1 ? now->calls[1] : nullptr;
    return {pc, from, ticks, block_number(), unsigned(now - fibres), now->clock};
}

UNSEEN static void report(const char* what, Region* region, const void* address, int size, Kind a, const Mark& first, Kind b,
                   const Mark& second, const char* detail = "") {
    int number = region ? int(region - regions.data()) : -1;
    for (int i = 0; i < found; i++) {
        Finding& f = findings[i];
        if (!strcmp(f.what, what) && f.region == number && f.second.pc == second.pc && f.first.pc == first.pc &&
            (f.first.block == f.second.block) == (first.block == second.block)) {
            f.count++;
            return;
        }
    }
    if (found == MOST) return;
    long offset = region ? (const char*)address - region->begin : 0;
    findings[found] = {what, number, {a, b}, offset, 1, size, first, second, ""};
    snprintf(findings[found++].detail, sizeof findings->detail, "%s", detail);
}

UNSEEN static void halt() {  // the running thread never goes on
    cpu::stopped = true;
    cpu::wait_in(cpu::DONE, {});
}

// ---- what orders two accesses ---------------------------------------------------------------------------------------

UNSEEN static bool ordered(const Mark& before, const Mark& me) {
    if (before.block == me.block) {
        if (before.thread == me.thread || before.tick < block_since[me.block]) return true;
        return before.thread / 32 == me.thread / 32 && int(before.clock) <= now->seen[before.thread % 32];
    }
    if (before.tick < grid_since) return true;
    return before.tick < fenced[before.block] && fenced[before.block] < acquired[me.block];
}

UNSEEN static void barrier() { block_since[block_number()] = ++ticks; }
UNSEEN static void grid_barrier() { grid_since = ++ticks; }
UNSEEN static void fence() { fenced[block_number()] = ++ticks; }

// The lanes of `mask` of the warp at `base` have met at __syncwarp: each is ordered after what any of them was ordered after.
UNSEEN static void syncwarp(unsigned mask, int base) {
    int joined[32];
    for (int l = 0; l < 32; l++) {
        joined[l] = -1;
        for (int m = 0; m < 32; m++)
            if (mask >> m & 1) joined[l] = std::max(joined[l], fibres[base + m].seen[l]);
    }
    for (int l = 0; l < 32; l++)
        if (mask >> l & 1) joined[l] = fibres[base + l].clock++;
    for (int l = 0; l < 32; l++)
        if (mask >> l & 1) memcpy(fibres[base + l].seen, joined, sizeof joined);
}

// ---- one access -------------------------------------------------------------------------------------------------------

UNSEEN static void compare(Region* r, const void* p, int size, const Mark& before, Kind a, const Mark& me, Kind b) {
    if (before.pc && !ordered(before, me)) report("race", r, p, size, a, before, b, me);
}

UNSEEN static void keep_read(Cell& cell, const Mark& me) {
    Mark* r = cell.reads;
    if (r[0].pc && (r[0].thread != me.thread || r[0].block != me.block)) {
        if (r[0].thread / 32 != me.thread / 32 || r[0].block != me.block) r[2] = r[0];
        r[1] = r[0];
    }
    r[0] = me;
}

UNSEEN static void touch(Region* r, Cell& cell, const void* p, int size, Kind kind, const Mark& me) {
    if (r->shared() && cell.block != me.block + 1) {
        memset(&cell, 0, sizeof cell);
        cell.block = me.block + 1;
    }
    if (cell.copying) {
        Mark copy = me;
        copy.pc = cell.copying;
        report("copying", r, p, size, WRITE, copy, kind, me);
    } else if (r->shared() && kind != WRITE && !cell.write.pc && !cell.update.pc)
        report("unset", r, p, size, kind, me, kind, me);
    compare(r, p, size, cell.write, WRITE, me, kind);
    if (kind != UPDATE) compare(r, p, size, cell.update, UPDATE, me, kind);
    if (kind != READ)
        for (Mark& read : cell.reads) compare(r, p, size, read, READ, me, kind);
    if (kind == READ) keep_read(cell, me);
    else (kind == WRITE ? cell.write : cell.update) = me;
}

UNSEEN static Region* region_of(const char* p) {
    if (recent && recent->begin <= p && p < recent->end) return recent;
    for (Region& r : regions)
        if (r.begin <= p && p < r.end) return recent = &r;
    return nullptr;
}

UNSEEN static Region* nearest(const char* p) {
    Region* found = nullptr;
    size_t least = ~size_t(0);
    for (Region& r : regions) {
        if (r.space == OTHER || (r.space == STATIC) != (p < arena || p >= arena_end)) continue;
        size_t far = p < r.begin ? r.begin - p : p - r.end;
        if (far < least) least = far, found = &r;
    }
    return found;
}

// An access that is in no region: of the thread's own variables, or wrong.
UNSEEN static void stray(const char* p, int size, Kind kind, const Mark& me) {
    if (p >= __ehdr_start && p < data) return;  // constants
    Region* r = (p >= data && p < _end) || (p >= arena && p < arena_end) ? nearest(p) : nullptr;
    if (!r && tables && p > (char*)4096) return;
    report(r ? "bounds" : "stray", r, p, size, kind, me, kind, me);
    halt();
}

constexpr long MOST_TURNS = 50000000;

UNSEEN static void access(const void* address, int size, Kind kind, const void* pc) {
    if (!watching) return;
    watching = false;
    const char* p = (const char*)address;
    if ((p >= now->stack && p < now->stack + cpu::STACK) || (p >= (char*)fibres && p < (char*)(fibres + cpu::MAX_THREADS))) {
        watching = true;
        return;
    }
    Mark me = mark(pc);
    Region* r = region_of(p);
    if (!r) {
        stray(p, size, kind, me);
    } else if (r->space == OTHER) {
    } else if (p + size > r->end) {
        report("bounds", r, p, size, kind, me, kind, me);
        halt();
    } else {
        size_t at = p - r->begin;
        finer |= at % r->unit || size % r->unit;
        for (size_t i = at / r->unit; i <= (at + size - 1) / r->unit; i++) touch(r, r->cells[i], p, size, kind, me);
    }
    if (++turns > MOST_TURNS) report("endless", r, p, size, kind, me, kind, me), halt();
    watching = true;
}

UNSEEN static void reads(const void* p, int size, const void* pc) { access(p, size, READ, pc); }
UNSEEN static void atomic(const void* p, int size, const void* pc) {
    access(p, size, UPDATE, pc);
    acquired[block_number()] = ++ticks;
}

// An asynchronous copy writes at any time from its beginning until it has been waited for.
UNSEEN static void each_cell(void* to, const void* copying) {
    Region* r = region_of((char*)to);
    if (r)
        for (int i = 0; i < 16 / r->unit; i++) r->cells[((char*)to - r->begin) / r->unit + i].copying = copying;
}
UNSEEN static void copy_begins(void* to, const void* pc) {
    access(to, 16, WRITE, pc);
    each_cell(to, pc);
}
UNSEEN static void copy_ends(void* to, const void* pc) {
    each_cell(to, nullptr);
    access(to, 16, WRITE, pc);
}

// ---- the launch -------------------------------------------------------------------------------------------------------

UNSEEN static void begin_grid() {
    unsigned blocks = cpu::grid_size.x * cpu::grid_size.y * cpu::grid_size.z;
    for (auto* v : {&block_since, &fenced, &acquired}) v->assign(blocks, 0);
    grid_since = 0;
    ticks = 1;
}
UNSEEN static void begin_block(int threads) {
    barrier();
    for (int i = 0; i < threads; i++) {
        fibres[i].clock = 0;
        memset(fibres[i].seen, 0xFF, sizeof fibres[i].seen);
    }
}
UNSEEN static char* dynamic(size_t) { return dynamic_memory; }
UNSEEN static void release(char*) {}

// The cells of shared memory, of a block while it is not its turn.
UNSEEN static void save(Cells& cells) {
    cells.clear();
    for (Region& r : regions)
        if (r.shared()) cells.insert(cells.end(), r.cells, r.cells + (r.end - r.begin + r.unit - 1) / r.unit);
}
UNSEEN static void restore(const Cells& cells) {
    const Cell* from = cells.data();
    for (Region& r : regions) {
        size_t n = (r.end - r.begin + r.unit - 1) / r.unit;
        if (r.shared()) memcpy(r.cells, from, n * sizeof(Cell)), from += n;
    }
}

UNSEEN static void tell(FILE* out, const Mark& m) {
    long origin = (long)__ehdr_start;
    fprintf(out, "[%ld, %ld, %u, %u]", m.pc ? (long)m.pc - origin - 1 : 0, m.from ? (long)m.from - origin - 1 : 0, m.block, m.thread);
}
}  // namespace watch

// ---- called from Python: see cuda_findings.py ------------------------------------------------------------------------------

// A region begins at an address, or if it is a variable of the library at a place in it.
extern "C" UNSEEN void watch_begin(int count, const long* begins, const long* sizes, const int* units, const int* spaces,
                                   char* arena, long arena_size, char* dynamic, int tables) {
    using namespace watch;
    for (Region& r : regions) free(r.cells);
    regions.clear();
    found = 0, recent = nullptr, finer = false, data = _end;
    for (int i = 0; i < count; i++) {
        char* begin = spaces[i] >= STATIC ? __ehdr_start + begins[i] : (char*)begins[i];
        size_t cells = spaces[i] == OTHER ? 0 : (sizes[i] + units[i] - 1) / units[i];
        regions.push_back({begin, begin + sizes[i], units[i], spaces[i], cells ? (Cell*)calloc(cells, sizeof(Cell)) : nullptr});
        if (spaces[i] >= STATIC) data = std::min(data, begin);
    }
    watch::arena = arena, arena_end = arena + arena_size, dynamic_memory = dynamic, watch::tables = tables;
}

extern "C" UNSEEN int watch_needs_finer() { return watch::finer; }

// Whether the kernel has written to a region.
extern "C" UNSEEN long watch_written(int number, long* first) {
    watch::Region& r = watch::regions[number];
    long written = 0;
    *first = -1;
    for (long i = 0; i < (r.end - r.begin + r.unit - 1) / r.unit; i++) {
        bool is = r.cells[i].write.pc || r.cells[i].update.pc;
        written += is;
        if (!is && *first < 0) *first = i * r.unit;
    }
    return written * r.unit;
}

extern "C" UNSEEN const char* watch_findings() {  // as JSON
    static char* text;
    static size_t size;
    free(text);
    FILE* out = open_memstream(&text, &size);
    for (int i = 0; i < watch::found; i++) {
        watch::Finding& f = watch::findings[i];
        fprintf(out, "%c[\"%s\", %d, %ld, %d, %ld, %d, %d, ", i ? ',' : '[', f.what, f.region, f.offset, f.size, f.count, f.kinds[0],
                f.kinds[1]);
        watch::tell(out, f.first);
        fprintf(out, ", ");
        watch::tell(out, f.second);
        fprintf(out, ", \"%s\"]", f.detail);
    }
    fprintf(out, watch::found ? "]" : "[]");
    fclose(out);
    return text;
}

// ---- called by the compiled code --------------------------------------------------------------------------------------

#define SEES(n) \
    extern "C" UNSEEN void __tsan_read##n(void* p) { watch::access(p, n, watch::READ, CALLER); } \
    extern "C" UNSEEN void __tsan_write##n(void* p) { watch::access(p, n, watch::WRITE, CALLER); } \
    extern "C" UNSEEN void __tsan_unaligned_read##n(void* p) { watch::access(p, n, watch::READ, CALLER); } \
    extern "C" UNSEEN void __tsan_unaligned_write##n(void* p) { watch::access(p, n, watch::WRITE, CALLER); }
SEES(1) SEES(2) SEES(4) SEES(8) SEES(16)
extern "C" UNSEEN void __tsan_read_range(void* p, size_t n) { watch::access(p, n, watch::READ, CALLER); }
extern "C" UNSEEN void __tsan_write_range(void* p, size_t n) { watch::access(p, n, watch::WRITE, CALLER); }
extern "C" UNSEEN void __tsan_init() {}
extern "C" UNSEEN void __tsan_func_entry(void* caller) {
    if (!watch::watching) return;
    if (cpu::now->depth < 8) cpu::now->calls[cpu::now->depth] = caller;
    cpu::now->depth++;
}
extern "C" UNSEEN void __tsan_func_exit() {
    if (watch::watching) cpu::now->depth--;
}

namespace watch {
struct Source { const char* file; unsigned line, column; };
struct Type { uint16_t kind, info; char name[1]; };

UNSEEN static bool heard() {  // whether a thread of the kernel complains; then what we do is not seen until `complain`
    bool is = watching;
    watching = false;
    return is;
}
template <class... V>
UNSEEN static void complain(const char* what, const void* pc, bool stop, const char* format, V... values) {
    char detail[160];
    snprintf(detail, sizeof detail, format, values...);
    Mark me = mark(pc);
    report(what, nullptr, nullptr, 0, READ, me, READ, me, detail);
    if (stop) halt();
    watching = true;
}
UNSEEN static long number(Type* type, unsigned long value) {  // an integer, as the sanitizer hands it over
    int bits = 1 << (type->info >> 1);
    bool is_signed = type->info & 1;
    return is_signed && bits < 64 ? (long)(value << (64 - bits)) >> (64 - bits) : (long)value;
}
}  // namespace watch

extern "C" UNSEEN void __ubsan_handle_out_of_bounds(void* data, unsigned long index) {
    if (!watch::heard()) return;
    struct Data { watch::Source at; watch::Type *array, *index; }* d = (Data*)data;
    watch::complain("index", CALLER, true, "index %ld of %s", watch::number(d->index, index), d->array->name);
}
extern "C" UNSEEN void __ubsan_handle_type_mismatch_v1(void* data, unsigned long address) {
    if (!watch::heard()) return;
    struct Data { watch::Source at; watch::Type* type; unsigned char log_align, kind; }* d = (Data*)data;
    unsigned long align = 1ul << d->log_align;
    if (address < 4096) watch::complain("null", CALLER, true, "%s", d->type->name);
    watch::complain("aligned", CALLER, true, "%s, which needs a multiple of %lu bytes, and this is %lu beyond one", d->type->name, align,
                    address % align);
}
#define OVERFLOWS(what, sign) \
    extern "C" UNSEEN void __ubsan_handle_##what##_overflow(void* data, unsigned long a, unsigned long b) { \
        if (!watch::heard()) return; \
        struct Data { watch::Source at; watch::Type* type; }* d = (Data*)data; \
        watch::complain("overflow", CALLER, false, "%ld " sign " %ld in %s", watch::number(d->type, a), watch::number(d->type, b), \
                        d->type->name); \
    }
OVERFLOWS(add, "+") OVERFLOWS(sub, "-") OVERFLOWS(mul, "*")
extern "C" UNSEEN void __ubsan_handle_negate_overflow(void*, unsigned long) {
    if (watch::heard()) watch::complain("overflow", CALLER, false, "-x of the lowest x");
}
extern "C" UNSEEN void __ubsan_handle_divrem_overflow(void*, unsigned long, unsigned long) {
    if (watch::heard()) watch::complain("divide", CALLER, true, "");
}
extern "C" UNSEEN void __ubsan_handle_float_cast_overflow(void* data, unsigned long) {
    if (!watch::heard()) return;
    struct Data { watch::Source at; watch::Type *from, *to; }* d = (Data*)data;
    watch::complain("cast", CALLER, false, "%s to %s", d->from->name, d->to->name);
}
#endif
