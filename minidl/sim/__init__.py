"""A GPU that is not there: CUDA kernels written in Python run thread by thread, and every access is seen.

    from minidl.sim import cuda, float32, simulate          # or `from numba import cuda, float32`: the same kernel

    @cuda.jit
    def reverse(x, out):
        s = cuda.shared.array(32, float32)
        i = cuda.threadIdx.x
        s[i] = x[i]
        cuda.syncthreads()
        out[i] = s[31 - i]

    x, out = np.arange(32, dtype=np.float32), np.zeros(32, np.float32)
    report = simulate(reverse, 1, 32, x, out)                # the results are in `out`
    print(report.verdict())
    assert report.ok and not report.races

**The kernel** is that of Numba-CUDA, and a file that says `from numba import cuda` runs on a GPU unchanged. Numba itself
is not needed here, nor a driver, nor an environment variable. Supported: grid, gridsize, threadIdx and its like, laneid,
warpsize; shared.array (of constant size, or 0 for that of the launch), local.array, const.array_like; syncthreads,
syncthreads_count, _and, _or; syncwarp, shfl_sync, shfl_up_sync, shfl_down_sync, shfl_xor_sync, ballot_sync, all_sync, any_sync,
eq_sync, match_any_sync, match_all_sync; atomic.add, sub, max, min, exch, and_, or_, xor, inc, dec, cas, compare_and_swap;
threadfence; popc, clz, brev, ffs, fma, cbrt, selp; `math`; device functions.

**What stops a kernel** raises KernelError, which names line, block and thread: an index out of bounds, a negative one too; a
barrier that not all threads reach; a shuffle from a lane that has ended; too much shared memory; launch sizes that no GPU has;
Python that CUDA does not have (lists, strings, try, sum, ...).

**What is only seen in the trace** is in the Report: `races`, `uninitialized`; `loads` and `stores`, each an Access with the line
of the source, `transactions_per_warp` (global memory) and `bank_conflicts` (shared memory); `reads_per_thread`, `atomics`,
`barriers`; `partly_written`, arrays of which some elements were written; `warnings`, such as numbers that an integer array cannot
hold; `verdict()` in words, `svg(path)` as a picture. Races are found whatever the order of the threads was; the
order (`order="forward"`, "reverse", "random" with a `seed`) shows what they do to the result.

**The model**: 32 threads in a warp, memory in lines of 128 bytes and sectors of 32, 32 banks of 4 bytes. It counts, and
measures no time. Two accesses are ordered by a barrier of the block, within a warp also by syncwarp of the whole warp; by nothing
else: that a block waits for another through atomics and fences is reported as a race between blocks. A thread runs from
barrier to barrier without interruption, but for `while` loops, each turn of which lets the others run.

**Numbers**: what is stored takes the array's type, integers lose their high bits as in C. Between, integers are unlimited,
where Numba's have 64 bits; float32 with a Python float stays float32, where Numba computes in float64.

Files: rewrite.py turns a kernel into a generator, run.py schedules, memory.py logs, analysis.py counts, report.py tells.
"""

from __future__ import annotations

from numpy import bool_, float16, float32, float64, int8, int16, int32, int64, uint8, uint16, uint32, uint64

from .analysis import Access, Race, Site
from .errors import KernelError
from .files import load
from .intrinsics import cuda
from .report import Report
from .run import ORDERS, running, simulate

__all__ = ["ORDERS", "Access", "KernelError", "Race", "Report", "Site", "bool_", "cuda", "float16", "float32", "float64", "int8",
           "int16", "int32", "int64", "load", "running", "simulate", "uint8", "uint16", "uint32", "uint64"]  # fmt: skip
