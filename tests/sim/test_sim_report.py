"""The trace: planted races are found and named by line, what is right is not, and accesses are counted as a GPU would."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from minidl.sim import cuda, float32, float64, simulate


def one_race(kernel, *launch, **options):
    report = simulate(kernel, *launch, **options)
    assert len(report.races) == 1 and not report.ok, report.verdict()
    return report.races[0]


@cuda.jit
def reverse_without_barrier(x, out):
    s = cuda.shared.array(64, float32)
    i = cuda.threadIdx.x
    s[i] = x[i]
    out[i] = s[63 - i]


@pytest.mark.tiny
def test_a_missing_barrier(line_of, order):
    x = np.arange(64, dtype=np.float32)
    report = simulate(reverse_without_barrier, 1, 64, x, np.zeros_like(x), order=order)
    (race,) = report.races
    assert {race.first.line, race.second.line} == {line_of(reverse_without_barrier, t) for t in ("s[i] =", "s[63")}
    assert (race.space, race.array, race.between, set(race.kinds)) == ("shared", "s", "threads", {"reads", "writes"})
    assert "put cuda.syncthreads() between the two" in race.message and "thread 63" in race.message
    # threads that read before others wrote have read nothing that was set: in every order there are such
    (sentence,) = report.uninitialized
    assert sentence.startswith(f"line {line_of(reverse_without_barrier, 's[63')} `s[63 - i]` reads s[")
    assert "wrong: 1 race(s); 1 read(s) of unset memory" in report.verdict()


@cuda.jit
def histogram(x, counts):
    i = cuda.grid(1)
    if i < x.size:
        counts[x[i]] += 1


@cuda.jit
def histogram_atomic(x, counts):
    i = cuda.grid(1)
    if i < x.size:
        cuda.atomic.add(counts, x[i], 1)


def test_a_histogram_without_atomics(line_of, order):
    x, counts = np.arange(70) % 7, np.zeros(7, np.int32)
    race = one_race(histogram, 3, 32, x, counts, order=order)
    assert counts.tolist() == [10] * 7  # the simulator computes it right: only the trace shows the race
    assert race.first.line == race.second.line == line_of(histogram, "+= 1")
    assert "`counts[x[i]]` belongs to several threads: update it with cuda.atomic.add" in race.message
    report = simulate(histogram_atomic, 3, 32, x, np.zeros(7, np.int32), order=order)
    assert report.ok and report.atomics == 70


@cuda.jit
def scan_in_place(x):
    s = cuda.shared.array(32, float32)
    i = cuda.threadIdx.x
    s[i] = x[i]
    step = 1
    while step < 32:
        cuda.syncthreads()
        if i >= step:
            s[i] += s[i - step]
        step *= 2
    x[i] = s[i]


@cuda.jit
def scan_double_buffer(x):
    s = cuda.shared.array((2, 32), float32)
    i, now = cuda.threadIdx.x, 0
    s[0, i] = x[i]
    step = 1
    while step < 32:
        cuda.syncthreads()
        s[1 - now, i] = s[now, i] + (s[now, i - step] if i >= step else 0)
        now = 1 - now
        step *= 2
    x[i] = s[now, i]


def test_a_scan_in_place(line_of, order):
    race = one_race(scan_in_place, 1, 32, np.ones(32, np.float32), order=order)
    assert race.first.line == race.second.line == line_of(scan_in_place, "s[i] +=")
    assert "read into a variable, cuda.syncthreads(), then write; or write to a second array" in race.message
    x = np.ones(32, np.float32)
    assert simulate(scan_double_buffer, 1, 32, x, order=order).ok
    np.testing.assert_array_equal(x, np.arange(1, 33))


@cuda.jit
def all_write(x):
    x[0] = cuda.grid(1)


@cuda.jit
def counts_then_reads(total, out):
    cuda.atomic.add(total, 0, 1)
    out[cuda.grid(1)] = total[0]


@cuda.jit
def blocks_share(x):
    if cuda.threadIdx.x == 0:
        x[0] = x[0] + 1


@cuda.jit
def neighbour_block(x):
    i = cuda.grid(1)
    x[i] = 1
    cuda.syncthreads()
    if i + 1 < x.size:
        x[i] = x[i + 1]


def test_other_races(line_of, order):
    race = one_race(all_write, 1, 32, np.zeros(1), order=order)
    assert race.kinds == ("writes", "writes") and "let one thread write it" in race.message
    race = one_race(counts_then_reads, 1, 32, np.zeros(1), np.zeros(32), order=order)
    assert set(race.kinds) == {"updates", "reads"} and "between the atomic updates and the other access" in race.message
    race = one_race(blocks_share, 2, 32, np.zeros(1), order=order)
    assert race.between == "blocks" and "blocks run in no order" in race.message and "of block 1" in race.message
    races = simulate(neighbour_block, 2, 32, np.zeros(64), order=order).races
    assert {race.between for race in races} == {"threads", "blocks"}


def make_warp_sum(synchronize):
    @cuda.jit
    def warp_sum(x):
        s = cuda.shared.array(32, float32)
        i = cuda.threadIdx.x
        s[i] = x[i]
        for step in (16, 8, 4, 2, 1):
            if synchronize:
                cuda.syncwarp()
            value = s[i + step] if i < step else float32(0)
            if synchronize:
                cuda.syncwarp()
            s[i] += value
        x[i] = s[i]

    return warp_sum


def test_a_warp_is_in_step_only_after_syncwarp(order):
    x = np.arange(32, dtype=np.float32)
    assert simulate(make_warp_sum(True), 1, 32, x, order=order).ok
    assert x[0] == 496
    assert simulate(make_warp_sum(False), 1, 32, x.copy(), order=order).races


@cuda.jit
def half_set(out):
    s = cuda.shared.array((2, 8), float32)
    buffer = cuda.local.array(4, float64)
    i = cuda.threadIdx.x
    s[0, i] = 1
    cuda.syncthreads()
    out[i] = s[1, i] + buffer[2]


def test_memory_that_was_never_set(line_of):
    out = np.zeros(8)
    report = simulate(half_set, 2, 8, out[:4].repeat(2))
    shared, local = report.uninitialized
    line = line_of(half_set, "out[i] =")
    assert shared.startswith(f"line {line} `s[1, i]` reads s[1, 0] of shared memory, to which no thread has written")
    assert "(thread 0 of block 0, and 15 more)" in shared and "buffer[2] of local memory" in local
    assert not report.races or report.races[0].array == "out"
    assert np.isnan(report.args[0]).all()


@cuda.jit
def atomic_on_unset(out):
    s = cuda.shared.array(1, float32)
    cuda.atomic.add(s, 0, 1)
    cuda.syncthreads()
    out[cuda.threadIdx.x] = s[0]


def test_an_atomic_on_memory_that_was_never_set():
    assert "s[0] of shared memory" in simulate(atomic_on_unset, 1, 4, np.zeros(4)).uninitialized[0]


@cuda.jit
def two_on_a_line(out):
    a, b = cuda.shared.array(2, float32), cuda.shared.array(2, float32)
    a[0], b[0] = 1, 2
    out[0] = a[0]


def test_two_shared_arrays_on_a_line(line_of):
    out = np.zeros(1)
    (warning,) = simulate(two_on_a_line, 1, 1, out).warnings
    assert warning.startswith(f"two_on_a_line:{line_of(two_on_a_line, 'a, b')}: two shared arrays on one line")
    assert out[0] == 1  # here they are two


@cuda.jit
def quantize(x, out):
    i = cuda.grid(1)
    if i < x.size:
        out[i] = x[i] * 100


def test_numbers_that_the_array_does_not_hold(line_of):
    x = np.arange(4, dtype=np.float32)
    for dtype, low, high in ((np.int8, -128, 127), (np.uint8, 0, 255)):
        (warning,) = simulate(quantize, 1, 32, x, np.zeros(4, dtype)).warnings
        assert warning.startswith(
            f"line {line_of(quantize, 'out[i] =')} `out[i]` stores {200 if low else 300}.0 into {np.dtype(dtype)}, which holds {low} to "
            f"{high}{', and 1 more' if low else ''}: limit it before"
        )
    (warning,) = simulate(quantize, 1, 32, np.array([np.nan], np.float32), np.zeros(1, np.int32)).warnings
    assert "stores nan into int32" in warning
    report = simulate(quantize, 1, 32, np.full(1, 2**31), np.zeros(1, np.uint32))  # hashes and random bits go round
    assert report.warnings == [] and report.ok


def test_an_array_that_is_written_in_part(order):
    report = simulate(quantize, 1, 16, np.zeros(20, np.float32), np.zeros((2, 20), np.float32)[0], order=order)
    assert report.ok and report.partly_written == [
        "out: 16 of 20 elements are written, the first that is not is out[16]"
    ]
    assert "partly  out: 16 of 20" in report.verdict() and report.json()["partly_written"]
    x = np.zeros(40, np.float32)
    assert simulate(quantize, 1, 32, x[:20], x[20:]).partly_written == []


def make_transpose(width):
    @cuda.jit
    def transpose(a, out):
        tile = cuda.shared.array((32, width), float32)
        x, y = cuda.threadIdx.x, cuda.threadIdx.y
        tile[y, x] = a[y, x]
        cuda.syncthreads()
        out[y, x] = tile[x, y]

    return transpose


@cuda.jit
def naive_transpose(a, out):
    i, j = cuda.grid(2)
    out[i, j] = a[j, i]


def test_transpose_by_the_numbers(line_of):
    a = np.arange(1024, dtype=np.float32).reshape(32, 32)
    naive = simulate(naive_transpose, 1, (32, 32), a, np.zeros_like(a))
    (load,), (store,) = naive.loads, naive.stores
    assert (load.transactions_per_warp, load.coalesced, load.text) == (1, True, "a[j, i]")
    assert (store.transactions_per_warp, store.coalesced, store.stride, store.sectors_per_warp) == (32, False, 32, 32)
    assert store.line == line_of(naive_transpose, "out[i, j]") and store.array == "out"
    assert naive.transactions_per_warp == 32 and naive.bank_conflicts == 0
    assert (
        "no errors, not fast" in naive.verdict()
        and "32 transactions/warp, 12% of what is moved is used (stride 32 elements)" in naive.verdict()
    )
    for width, ways in ((32, 32), (33, 1)):
        out = np.zeros_like(a)
        report = simulate(make_transpose(width), 1, (32, 32), a, out)
        np.testing.assert_array_equal(out, a.T)
        assert report.transactions_per_warp == 1 and report.bank_conflicts == ways
    assert "accesses coalesced, no bank conflicts" in report.verdict()


def make_load(stride, offset, dtype):
    @cuda.jit
    def load(x, out):
        s = cuda.shared.array(1100, dtype)
        i = cuda.threadIdx.x
        s[i * stride] = x[i * stride + offset]
        out[i] = 0

    return load


@pytest.mark.parametrize(
    "stride, offset, dtype, lines, coalesced, ways",
    [
        (1, 0, np.float32, 1, True, 1),
        (1, 5, np.float32, 2, True, 1),  # one more where it begins within a line
        (2, 0, np.float32, 2, False, 2),
        (8, 0, np.float32, 8, False, 8),
        (32, 0, np.float32, 32, False, 32),
        (33, 0, np.float32, 33, False, 1),
        (0, 3, np.float32, 1, True, 1),  # all lanes want the same word: broadcast
        (1, 0, np.float64, 2, True, 1),  # 256 bytes
        (2, 0, np.float64, 4, False, 2),
        (1, 0, np.float16, 1, True, 1),  # two lanes in a word
        (4, 0, np.int8, 1, False, 1),  # one line, but 4 of its sectors for the bytes of one
    ],
)
def test_lines_and_banks(stride, offset, dtype, lines, coalesced, ways):
    report = simulate(make_load(stride, offset, dtype), 1, 32, np.zeros(1100, dtype), np.zeros(32, np.float32))
    (load,) = report.loads
    shared = next(access for access in report.stores if access.space == "shared")
    assert (load.worst, load.coalesced, shared.bank_conflicts) == (min(lines, 32), coalesced, ways)
    if stride:
        assert load.stride == stride


@cuda.jit
def uneven(x, out):
    i = cuda.grid(1)
    total = float32(0)
    for j in range(i % 4 + 1):
        total += x[j]
    out[i] = total


def test_counts_for_each_thread():
    report = simulate(uneven, 2, 32, np.ones(4, np.float32), np.zeros(64, np.float32))
    assert (report.reads_per_thread, report.writes_per_thread, report.global_reads) == (4, 1, 16 * (1 + 2 + 3 + 4))
    (load,) = report.loads
    assert (load.count, load.per_thread, load.transactions_per_warp) == (160, 4, 1)
    assert report.threads == 64 and report.barriers == 0 and report.shared_reads_per_thread == 0


def test_the_verdict_line_by_line(line_of):
    text = simulate(
        make_transpose(32), 1, (32, 32), np.zeros((32, 32), np.float32), np.zeros((32, 32), np.float32)
    ).verdict()
    first = line_of(make_transpose(32), "tile[y, x]")
    assert text.splitlines() == [
        "transpose  grid 1  block 32,32    simulated; model: 32 threads, 128-byte lines, 32 banks",
        f"loads   a[y, x]     line {first:<4}    1 transaction/warp, coalesced",
        f"stores  tile[y, x]  line {first:<4}shared tile: no bank conflict",
        f"loads   tile[x, y]  line {first + 2:<4}shared tile: 32-way bank conflict (stride 32 elements)",
        f"stores  out[y, x]   line {first + 2:<4}    1 transaction/warp, coalesced",
        "races   none    barriers 1    atomics 0    per thread: 1 reads, 1 writes of global memory",
        f"verdict: no errors, not fast: line {first + 2} waits 32 times for a bank: pad the rows of the tile by one element",
    ]


def test_json_holds_the_same():
    x = np.arange(64, dtype=np.float32)
    report = simulate(reverse_without_barrier, 1, 64, x, np.zeros_like(x))
    found = json.loads(json.dumps(report.json()))
    assert (found["ok"], found["kernel"], found["model"]) == (False, "reverse_without_barrier", "simulated")
    assert found["races"][0]["array"] == "s" and found["accesses"][0]["line"] == report.accesses[0].line


def test_picture(tmp_path):
    x = np.arange(64, dtype=np.float32)
    report = simulate(reverse_without_barrier, 1, 64, x, np.zeros_like(x))
    report.svg(tmp_path / "a.svg")
    root = ET.parse(tmp_path / "a.svg").getroot()
    names = {child.tag.rpartition("}")[2] for child in root.iter()}
    assert root.get("role") == "img" and {"title", "desc", "path", "text"} <= names
    assert root[0].text.startswith("reverse_without_barrier: accesses of 64 threads. 1 races")
    titles = [element.text for element in root.iter("{http://www.w3.org/2000/svg}title")]
    assert "x: read by thread 5" in titles and "bank 3: 1 words" in titles
    report.svg(tmp_path / "b.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_a_picture_of_many_elements_stays_small(tmp_path):
    a = np.zeros((32, 32), np.float32)
    simulate(make_transpose(33), 1, (32, 32), a, np.zeros_like(a)).svg(tmp_path / "a.svg")
    assert (tmp_path / "a.svg").stat().st_size < 150_000
    wide = np.zeros(5000, np.float32)
    simulate(uneven, 40, 64, wide, wide.copy()).svg(tmp_path / "b.svg")
    assert "the first 64 rows and columns" in (tmp_path / "b.svg").read_text()


def test_a_launch_that_touches_nothing(tmp_path):
    @cuda.jit
    def nothing(x):
        if x.size > 99:
            x[0] = 1

    report = simulate(nothing, 2, 32, np.zeros(1))
    assert report.ok and report.loads == report.stores == [] and "verdict: no errors" in report.verdict()
    report.svg(tmp_path / "a.svg")
