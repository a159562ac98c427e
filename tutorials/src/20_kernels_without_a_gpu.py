# %% [markdown] lang="en"
# # 20 · Kernels without a GPU, training without a cluster
#
# A GPU runs a program in thousands of threads that see one memory, and nearly everything that goes wrong with it, or goes slowly,
# is about that memory: who writes where, before whom, and how scattered. All of this can be *counted* without a GPU. This
# notebook runs six kernels thread by thread and looks at every access, and then does the same to the two patterns behind training
# on many machines.
#
# **You need** 02 and some Python. No GPU, no driver, no cluster. **Time**: about 75 minutes with the exercises. **You will
# have**: a race found that no test would show, the reason for tiles and for padding in numbers, a ring all-reduce whose bytes are
# counted, and a pipeline's timetable.
#
# **Everything here is simulated, and no time is measured.** The model: 32 threads in a warp, memory in lines of 128 bytes, 32
# banks of shared memory. It says how often memory is touched. How fast a given GPU is with that, only the GPU can say; the
# kernels would run on one as they stand.

# %%
import numpy as np
from numba import cuda, float32, int32

from minidl.learn.show import COLORS, figure, number, picture, predict, present, quote, table
from minidl.sim import ORDERS, KernelError, simulate
from minidl.sim.picture import draw

rng = np.random.default_rng(0)


def random(*shape):
    return rng.standard_normal(shape).astype(np.float32)


# %% [markdown] lang="en"
# ## 1 · A thread an element
#
# A kernel has no loop over the elements; it says what *one* thread does. `cuda.grid(1)` is the thread's number among all of them.
# A launch says how many there are: so many blocks of so many threads.


# %%
@cuda.jit
def scale(x, out):
    i = cuda.grid(1)
    out[i] = 3 * x[i]


x = random(50)
try:
    simulate(scale, 2, 32, x, np.zeros_like(x))
except KernelError as error:
    print(f"line {error.line}: {error.message}")

# %% [markdown] lang="en"
# Blocks are whole: 50 elements need two blocks of 32, and some threads are left over. A GPU would not have said so. It checks no
# index, and the threads beyond the end would have read and written whatever lies there. So nearly every kernel begins with a
# guard:


# %%
@cuda.jit
def scale_guarded(x, out):
    i = cuda.grid(1)
    if i < x.size:
        out[i] = 3 * x[i]


report = simulate(scale_guarded, 2, 32, x, np.zeros_like(x))
number("idle_threads", report.threads - report.global_writes, tolerance=0)
print(report.verdict())
picture(
    draw(report),
    "50 elements of x and of out, each in the colour of the thread that touched it: from dark for the first thread to light for the last, in order.",
)

# %% [markdown] lang="en"
# {idle_threads:.0f} threads do nothing, which costs nearly nothing. *1 transaction per warp* is the best there is: the 32 threads
# of a warp ask for 32 neighbouring floats, which are one line of 128 bytes. It is called **coalesced**.
#
# ## 2 · Threads that exchange numbers
#
# The threads of a block share a small, fast memory. Here each puts its element there, and takes the mean of its own and its right
# neighbour's. Something is missing.


# %%
@cuda.jit
def neighbour_mean(x, out):
    s = cuda.shared.array(64, float32)
    t = cuda.threadIdx.x
    s[t] = x[t]
    right = (t + 1) % 64
    out[t] = (s[t] + s[right]) / 2


x = random(64)
wanted = (x + np.roll(x, -1)) / 2


def wrong_elements(kernel, x, wanted, grid=1, block=64):
    """How many results are wrong with the threads in each order, and the last report."""
    found = {}
    for order in ORDERS:
        out = np.zeros_like(wanted)
        report = simulate(kernel, grid, block, x, out, order=order)
        found[order] = int((~np.isclose(out, wanted, atol=1e-5)).sum())
    return found, report


# %% [markdown] lang="en"
# **Predict.** The threads of a block may come in any order. Let them come one by one, the last one first ("reverse"). How many of
# the 64 results are wrong?

# %%
guess = None
found, report = wrong_elements(neighbour_mean, x, wanted)
predict("wrong results in reverse order", guess, found["reverse"])
table([[order, count] for order, count in found.items()], ["order of the threads", "wrong results of 64"])
number("wrong_reverse", found["reverse"], tolerance=0)
number("wrong_forward", found["forward"], tolerance=0)
print(report.verdict())

# %% [markdown] lang="en"
# In reverse, the right neighbour has nearly always been there already, and {wrong_reverse:.0f} result is wrong; forward it is
# {wrong_forward:.0f}. The kernel did not change. This is a **race**: two threads touch one element, one of them writes, and
# nothing says who comes first. The simulator does not need the wrong result to find it. It looks at who accessed what between two
# barriers. (The line "unset" is the same mistake seen from the reader: where the neighbour had not been yet, there was nothing.)
#
# The cure is a barrier, `cuda.syncthreads()`: no thread goes on before all of the block have come.


# %%
@cuda.jit
def neighbour_mean_right(x, out):
    s = cuda.shared.array(64, float32)
    t = cuda.threadIdx.x
    s[t] = x[t]
    cuda.syncthreads()
    right = (t + 1) % 64
    out[t] = (s[t] + s[right]) / 2


found, report = wrong_elements(neighbour_mean_right, x, wanted)
assert report.ok and not any(found.values())
print(report.verdict())
picture(
    draw(report),
    "x, the shared array s and out, 64 elements each, in the colours of their threads; every element of s is read by two threads, marked by a bar. "
    "Below: each of the 32 banks gives one word.",
)

# %% [markdown] lang="en"
# The barrier has to stand where *all* threads of the block come by. Inside of an `if` that some do not enter, a GPU hangs, or
# goes on without them; exercises cu04 and cu06 are about that.
#
# ## 3 · The race that no test finds
#
# Counting: each thread adds 1 to the place of its value.


# %%
@cuda.jit
def histogram(values, counts):
    i = cuda.grid(1)
    if i < values.size:
        counts[values[i]] += 1


values = rng.integers(0, 4, 64).astype(np.int32)
wanted = np.bincount(values, minlength=4).astype(np.int32)

# %% [markdown] lang="en"
# **Predict.** Run it with the threads in three orders and compare with NumPy. In how many of the three is the result wrong?

# %%
guess = None
found, report = wrong_elements(histogram, values, wanted)
bad = sum(count > 0 for count in found.values())
predict("orders with a wrong result", guess, bad)
number("bad_orders", bad, tolerance=0)
number("histogram_races", len(report.races), tolerance=0)
for race in report.races:
    print(race.message)

# %% [markdown] lang="en"
# Wrong in {bad_orders:.0f} of three: here a thread is not interrupted between its read and its write, so every test passes. On a
# GPU two threads read the same old count, both add 1, both write, and one is lost: sometimes. Only the accesses show it. An
# addition that cannot be interrupted is called atomic:


# %%
@cuda.jit
def histogram_atomic(values, counts):
    i = cuda.grid(1)
    if i < values.size:
        cuda.atomic.add(counts, values[i], int32(1))


found, report = wrong_elements(histogram_atomic, values, wanted)
assert report.ok and not any(found.values())
number("histogram_atomics", report.atomics, tolerance=0)
picture(
    draw(report),
    "values: 64 elements, each read by a thread of its own. counts: four elements, each with a bar, since many threads update it.",
)

# %% [markdown] lang="en"
# Right, with {histogram_atomics:.0f} atomic additions to four places, which wait for one another.
#
# ## 4 · Transposing: it is all about lines
#
# `out[j, i] = a[i, j]` computes nothing. The engine's plain kernel, and what it does to memory:

# %%
from minidl.kernels.numba_cuda import transpose as engine

quote(engine.transpose)
a = random(32, 32)
naive = simulate(engine.transpose, (1, 1), (32, 32), a, np.zeros_like(a))

# %% [markdown] lang="en"
# **Predict.** A warp is 32 threads that differ in x. Reading `a[y, x]`, they ask for one line of memory. How many lines do they
# touch when they write `out[x, y]`?

# %%
guess = None
predict("lines per warp of the write", guess, naive.stores[0].transactions_per_warp)
number("naive_lines", naive.stores[0].transactions_per_warp, tolerance=0)
print(naive.verdict())
picture(
    draw(naive),
    "Two squares of 32 by 32 elements. In a, read, the colours change from row to row: a warp reads along a row. In out, written, they change from "
    "column to column: a warp writes down a column.",
)

# %% [markdown] lang="en"
# Each of the {naive_lines:.0f} lines is 128 bytes, of which the warp wants 4. Shared memory has no lines: read a tile by rows,
# write it by rows, and turn it there. But it has 32 **banks**, word k in bank k mod 32, and a bank gives one word at a time.
# Reading down a column of a tile with 32 words a row asks one bank for everything. The cure is odd and famous: rows of 33, of
# which one word is never used.


# %%
@cuda.jit
def transpose_unpadded(a, out):
    tile = cuda.shared.array((32, 32), float32)
    x, y = cuda.threadIdx.x, cuda.threadIdx.y
    for k in range(y, 32, 8):
        tile[k, x] = a[k, x]
    cuda.syncthreads()
    for k in range(y, 32, 8):
        out[k, x] = tile[x, k]


out = np.zeros_like(a)
unpadded = simulate(transpose_unpadded, 1, (32, 8), a, out)
assert unpadded.ok and np.array_equal(out, a.T)
out = np.zeros_like(a)
padded = simulate(engine.transpose_tiled, 1, (32, 8), a, out)
assert padded.ok and np.array_equal(out, a.T)
number("conflicts_unpadded", unpadded.bank_conflicts, tolerance=0)
number("conflicts_padded", padded.bank_conflicts, tolerance=0)

names, reports = ["naive", "tile 32 × 32", "tile 32 × 33"], [naive, unpadded, padded]
reads = [max(access.transactions_per_warp for access in r.loads) for r in reports]
writes = [max(access.transactions_per_warp for access in r.stores) for r in reports]
banks = [r.bank_conflicts for r in reports]
drawn, axes = figure(8, 3, panels=2)
places = np.arange(3)
axes[0].bar(places - 0.2, reads, 0.4, label="reads", color=COLORS[0])
axes[0].bar(places + 0.2, writes, 0.4, label="writes", color=COLORS[1], hatch="//")
axes[0].set(title="lines of global memory per warp", xticks=places, xticklabels=names, ylim=(0, 36))
axes[0].legend()
axes[1].bar(places, banks, 0.5, color=COLORS[2])
axes[1].set(title="words wanted of one bank at once", xticks=places, xticklabels=names, ylim=(0, 36))
present(
    drawn,
    "Left: the naive transpose reads 1 line per warp and writes 32; both tiled ones read and write 1. Right: the square tile asks one bank for 32 words, "
    "the padded one for 1; the naive kernel uses no shared memory.",
    {"kernel": names, "lines, reads": reads, "lines, writes": writes, "words of a bank": banks},
)

# %% [markdown] lang="en"
# The same picture, bank by bank: with rows of 32 the column lies in one bank ({conflicts_unpadded:.0f} words after one another),
# with rows of 33 in all of them ({conflicts_padded:.0f} each).

# %%
picture(
    draw(unpadded),
    "The tiled transpose without padding: a is read, and tile and out are written, along rows; the tile is read down columns. Of the banks, the write "
    "to the tile uses all 32 for one word each, the read from it a single one for 32 words.",
)

# %% [markdown] lang="en"
# ## 5 · A matrix product: read once, use often
#
# Every element of a product of 32 × 32 matrices needs 32 numbers of a and 32 of b. The accesses of the plain kernel are well
# ordered; there are only too many of them.

# %%
from minidl.kernels.numba_cuda.gemm import gemm, gemm_tiled

a, b, out = random(32, 32), random(32, 32), np.zeros((32, 32), np.float32)
plain = simulate(gemm, (2, 2), (16, 16), a, b, out)
assert plain.ok and np.allclose(out, a @ b, atol=1e-4)
quote(gemm_tiled)

# %% [markdown] lang="en"
# **Predict.** With tiles of 16 × 16: by what factor does the number of reads from global memory go down?

# %%
out = np.zeros((32, 32), np.float32)
tiled = simulate(gemm_tiled, (2, 2), (16, 16), a, b, out)
assert tiled.ok and np.allclose(out, a @ b, atol=1e-4)
guess = None
predict("factor of reads", guess, plain.global_reads / tiled.global_reads)
number("reads_plain", plain.reads_per_thread, tolerance=0)
number("reads_tiled", tiled.reads_per_thread, tolerance=0)
number("fewer_reads", plain.global_reads / tiled.global_reads, tolerance=0)
number("gemm_barriers", tiled.barriers, tolerance=0)

drawn, axes = figure(8, 2.8, panels=2)
kernels, two = ["plain", "tiles of 16"], [plain, tiled]
global_reads, shared_reads = [r.reads_per_thread for r in two], [r.shared_reads_per_thread for r in two]
lines = [r.transactions_per_warp for r in two]
axes[0].bar(np.arange(2) - 0.2, global_reads, 0.4, label="global memory", color=COLORS[0])
axes[0].bar(np.arange(2) + 0.2, shared_reads, 0.4, label="shared memory", color=COLORS[5], hatch="//")
axes[0].set(title="reads by one thread", xticks=[0, 1], xticklabels=kernels, ylim=(0, 85))
axes[0].legend(loc="upper center", ncols=2)
axes[1].bar(np.arange(2), lines, 0.5, color=COLORS[1])
axes[1].set(title="lines per warp, worst access", xticks=[0, 1], xticklabels=kernels, ylim=(0, 3))
present(
    drawn,
    "Left: a thread of the plain kernel reads 64 numbers of global memory; with tiles it reads 4, and 64 of shared memory. Right: the worst access of "
    "both touches 2 lines per warp, since a warp is two rows of 16 threads.",
    {"kernel": kernels, "global reads": global_reads, "shared reads": shared_reads, "lines": lines},
)

# %% [markdown] lang="en"
# {reads_plain:.0f} reads became {reads_tiled:.0f}: {fewer_reads:.0f} times fewer, the side of a tile, because each number that
# was fetched serves a whole row or column of threads. The price is {gemm_barriers:.0f} barriers: before a tile is used, and
# before the next one overwrites it.
#
# ## 6 · One number from many
#
# A sum has to bring all threads together. Three ways of the engine, over 256 elements in two blocks of 128: every thread adds
# atomically to the result; a tree in shared memory; shuffles, which read a neighbour's register within a warp.

# %%
from minidl.kernels.numba_cuda import reduce

x = random(256)
rows = []
for kernel in (reduce.sum_atomic, reduce.sum_tree, reduce.sum_warps):
    out = np.zeros(1, np.float32)
    report = simulate(kernel, 2, reduce.THREADS, x, out)
    assert report.ok and np.isclose(out[0], x.sum(), atol=1e-4)
    rows.append([kernel.__name__, report.atomics, report.barriers, report.shared_reads_per_thread])
    number(f"atomics_{kernel.__name__}", report.atomics, tolerance=0)
table(rows, ["kernel", "atomic additions", "barriers", "shared reads by one thread"])

# %% [markdown] lang="en"
# {atomics_sum_atomic:.0f} additions that wait for one another become {atomics_sum_tree:.0f}, one per block.
#
# ## The same in the engine
#
# Every routine of the engine is first a plain reference, which says what is right. Beside it stand fast variants that must agree
# with it. Softmax, in NumPy (or in CuPy, by the same lines):

# %%
from minidl.kernels.numba_cuda.softmax import softmax_block
from minidl.kernels.softmax import softmax

quote(softmax, docs=False)

# %% [markdown] lang="en"
# And its twin in Numba, a block for each row: two trees like that of the sum, one for the largest, one for the total (they are
# `block_max` and `block_sum` in the same file). `running()` lets it run here.

# %%
from minidl.sim import running

quote(softmax_block)
x, reports = random(6, 100), []
with running(reports=reports):
    twin = softmax.variants["cuda", "numba_cuda"].run(x, -1)
assert reports[0].ok
number("twin_difference", np.abs(twin - softmax(x, -1)).max(), tolerance=1000)
assert np.allclose(twin, softmax(x, -1), atol=1e-6)
print(reports[0].verdict())

# %% [markdown] lang="en"
# They agree but for rounding. On a machine with a GPU, the same file is compiled: `minidl.kernels.use(softmax="numba_cuda")`, and
# the network runs on it. By default the engine takes CUDA C++ there (`kernels/softmax.cu`).
#
# ## Your turn
#
# Reverse x, of 1 to 64 elements, through shared memory, with one block of 64 threads. Where does the barrier stand?

# %%
from minidl.learn import check

THREADS = 64


@cuda.jit
def reverse(x, out):
    raise NotImplementedError


check("cu04", reverse)

# %% [markdown] lang="en"
# ## Many machines: the ring
#
# In data parallel training each of N workers computes the gradient of its share of the batch, and all need the **mean** of the N
# gradients. (The mean, and weighted by their rows if the shares are unequal: `minidl demo shard-gradients`.) Let the gradient
# have S bytes. If one worker collects all and sends the result back, S (N − 1) bytes come in at that one and as many go out: with
# twice as many workers twice as many.
#
# In a ring each sends to its right neighbour only, and only a piece, 1/N of the gradient, at a time. First N − 1 rounds in which
# sums travel on and grow; then each worker has one complete piece, and N − 1 more rounds hand the complete ones around.


# %%
def ring_mean(gradients):
    """The mean of N arrays of one length, for each worker, the bytes each has sent, and who held how many summands when."""
    n = len(gradients)
    pieces = [np.array_split(g.astype(np.float64), n) for g in gradients]
    summands = np.ones((n, n), int)  # [worker, piece]: how many gradients are in the sum that it holds
    sent, history = np.zeros(n), [summands.copy()]
    for step in range(2 * (n - 1)):
        gathering = step < n - 1
        # all send at once: what goes out is fixed before anything arrives
        number_of = [(w - step) % n if gathering else (w + 1 - (step - n + 1)) % n for w in range(n)]
        messages = [pieces[w][number_of[w]].copy() for w in range(n)]
        counts = [summands[w, number_of[w]] for w in range(n)]
        for w in range(n):
            right, piece = (w + 1) % n, number_of[w]
            sent[w] += messages[w].nbytes
            if gathering:
                pieces[right][piece] += messages[w]
                summands[right, piece] += counts[w]
            else:
                pieces[right][piece], summands[right, piece] = messages[w], counts[w]
        history.append(summands.copy())
    return [np.concatenate(p) / n for p in pieces], sent, history


gradients = rng.standard_normal((4, 1000))
means, sent, history = ring_mean(gradients)
assert all(np.allclose(mean, gradients.mean(0), atol=1e-14) for mean in means)
drawn, axes = figure(8.5, 2.2, panels=len(history), sharey=True)
for step, (panel, held) in enumerate(zip(axes, history, strict=True)):
    panel.imshow(held, cmap="cividis", vmin=0, vmax=4)
    for (w, piece), count in np.ndenumerate(held):
        panel.text(piece, w, count, ha="center", va="center", color="black" if count > 2 else "white")
    panel.set(xticks=range(4), yticks=range(4), title="start" if step == 0 else f"round {step}", xlabel="piece")
axes[0].set_ylabel("worker")
present(
    drawn,
    "Seven squares, before and after each of 6 rounds with 4 workers and 4 pieces: how many gradients are summed in each piece of each worker. In three "
    "rounds the numbers grow from 1 to 4 along diagonals; in three more the fours spread, until all are 4.",
    {"round": list(range(7)), "complete pieces": [int((held == 4).sum()) for held in history]},
)

# %% [markdown] lang="en"
# **Predict.** With N = 8 workers, how many bytes does each of them send, as a multiple of the size of the gradient?

# %%
ns = [2, 4, 8, 16, 32]
ring = []
for n in ns:
    gradients = rng.standard_normal((n, 3200))
    means, sent, _ = ring_mean(gradients)
    assert np.allclose(means[0], gradients.mean(0), atol=1e-13) and np.ptp(sent) == 0
    ring.append(sent[0] / gradients[0].nbytes)
guess = None
predict("bytes sent, in sizes of the gradient, N = 8", guess, ring[2])
number("ring_8", ring[2], tolerance=0)
number("ring_32", ring[-1], tolerance=0)
centre = [n - 1 for n in ns]
drawn, axes = figure(6, 3)
axes.plot(ns, centre, label="one worker collects and returns")
axes.plot(ns, ring, label="ring")
axes.set(xscale="log", yscale="log", ylim=(0.9, 36), xticks=ns, xticklabels=ns, yticks=[1, *ns], yticklabels=[1, *ns],
         xlabel="workers N", ylabel="sizes of the gradient",
         title="bytes sent by the busiest worker")  # fmt: skip
axes.minorticks_off()
axes.legend()
present(
    drawn,
    "The bytes sent by the busiest worker, in sizes of the gradient: N − 1 where one worker collects, rising to 31; in the ring it stays below 2.",
    {"N": ns, "collecting": centre, "ring, counted": ring, "2(N − 1)/N": [2 * (n - 1) / n for n in ns]},
)

# %% [markdown] lang="en"
# {ring_8:g} at 8 workers and {ring_32:.4g} at 32: counted, and equal to 2(N − 1)/N, which never reaches 2 (Patarasuk and Yuan
# 2009, who also show that less is not possible). What does grow is the number of rounds, 2(N − 1), each with its delay: for small
# arrays trees are better.
#
# ## Many machines: the pipeline
#
# If the network does not fit into one machine, cut it into p stages. Now nothing is summed: activations go forward from stage to
# stage, gradients go back. With a single batch all stages but one wait. So the batch is cut into m microbatches (Huang and others
# 2019, GPipe). Let each stage need one slot of time for a microbatch forward, and one backward; a slot is a unit of the timetable
# and no measured time.


# %%
def timetable(stages, microbatches):
    """(stage, slot, microbatch, direction) of each piece of work, each as early as what it needs allows. All forward work comes first."""
    free, done, work = [0] * stages, {}, []
    for direction in ("forward", "backward"):
        order = range(stages) if direction == "forward" else range(stages - 1, -1, -1)
        if direction == "backward":
            last = max(done.values())  # the gradients start when the last microbatch has come through
            free = [max(slot, last) for slot in free]
        for m in range(microbatches):
            before = 0
            for stage in order:
                start = max(free[stage], before)
                before = free[stage] = start + 1
                done[direction, m, stage] = start + 1
                work.append((stage, start, m, direction))
    return work


def idle_share(stages, microbatches):
    work = timetable(stages, microbatches)
    slots = max(start for _, start, _, _ in work) + 1
    return 1 - len(work) / (slots * stages)


# %% [markdown] lang="en"
# **Predict.** Four stages, eight microbatches. What share of the machines' time is idle?

# %%
guess = None
predict("idle share, p = 4, m = 8", guess, idle_share(4, 8))
number("bubble", idle_share(4, 8), tolerance=0)
number("bubble_one", idle_share(4, 1), tolerance=0)
number("bubble_many", idle_share(4, 32), tolerance=0)
drawn, axes = figure(8.5, 2.4)
for stage, start, m, direction in timetable(4, 8):
    forward = direction == "forward"
    axes.barh(
        stage,
        1,
        left=start,
        height=0.9,
        color=COLORS[4] if forward else COLORS[5],
        edgecolor="white",
        hatch="" if forward else "//",
    )
    axes.text(start + 0.5, stage, m + 1, ha="center", va="center")
axes.set(yticks=range(4), yticklabels=[f"stage {s + 1}" for s in range(4)], xlabel="slot", ylim=(3.6, -0.6),
         title="microbatches forward (plain) and backward (hatched); empty: idle")  # fmt: skip
present(
    drawn,
    "A timetable of 4 stages over 22 slots. Forward, stage by stage each begins one slot later, in stairs; backward, the stairs go from the last "
    "stage to the first. Empty corners at start, middle and end are the bubble.",
    {"stage": [1, 2, 3, 4], "busy slots": [16] * 4, "idle slots": [22 - 16] * 4},
)

# %%
ms = [1, 2, 4, 8, 16, 32]
drawn, axes = figure(6, 3)
for p in (2, 4, 8):
    counted = [idle_share(p, m) for m in ms]
    assert np.allclose(counted, [(p - 1) / (m + p - 1) for m in ms])
    axes.plot(ms, counted, label=f"{p} stages")
axes.set(
    xscale="log",
    xticks=ms,
    xticklabels=ms,
    xlabel="microbatches m",
    ylabel="idle share",
    ylim=(0, 1),
    title="the bubble",
)
axes.minorticks_off()
axes.legend()
present(
    drawn,
    "The idle share falls with the number of microbatches and rises with the number of stages.",
    {"m": ms} | {f"p = {p}": [idle_share(p, m) for m in ms] for p in (2, 4, 8)},
)

# %% [markdown] lang="en"
# {bubble:.0%} with eight microbatches, {bubble_one:.0%} with one, {bubble_many:.0%} with 32. The timetable, which knows nothing
# but who waits for whom, agrees with (p − 1)/(m + p − 1) at every point. More microbatches cost memory: their activations are
# kept until they come back.
#
# More kernels to write: `cu01` (a map), `cu02` (the guard), `cu06` (a block's sum), `cu08` (softmax), `cu10` (a matrix product in
# tiles).
#
# ## Questions that interviewers ask here
#
# - A kernel gives the right result in every test. Why may it still have a race?
# - Why does a tile have 33 columns?
# - What is averaged in data parallel training, when, and what does it cost with N workers?
# - Model parallel: what travels between the machines, and why are they idle?
#
# `minidl quiz --topic distributed` and `minidl quiz --topic speed` ask them.
