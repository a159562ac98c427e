"""Do zeros make a matrix product faster, and smaller?

A matrix (1024, 1024) with a share of zeros times a dense one (1024, 256). Dense code multiplies by zeros as by anything else, so
its time does not depend on them. The format CSR keeps, for each element that is not zero, its value and its column, and is
multiplied in that many steps; but each step looks up a row, where dense code runs along rows in blocks that fit the cache and
fill the vector units. So a step of CSR takes longer, and so many elements must be zero before it is quicker. Where the two
meet depends on the machine and on both programs: times are printed and held to wide bands only, counts of multiplications and
bytes are exact. (Here a value takes 4 bytes and a column 8, so CSR is the larger one until two thirds are zero.)
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import minidl as md
from minidl.compression import BreakEven

from .demo import Demo, Figure, Measured, Track
from .plots import lines

N, COLUMNS = 1024, 256
ZEROS = (0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99)


def quickest(first: Callable[[], Any], second: Callable[[], Any], runs: int = 7) -> list[float]:
    """Seconds of the quickest of several runs of both, in turn, after one that does not count."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(runs + 1):
        for work, taken in zip((first, second), times, strict=True):
            begin = time.perf_counter()
            work()
            taken.append(time.perf_counter() - begin)
    return [min(taken[1:]) for taken in times]


def size(a: Any) -> int:
    """Bytes of a CSR matrix: values, columns, and where each row begins."""
    return sum(part.numel() * part.element_size() for part in (a.values(), a.col_indices(), a.crow_indices()))


def measure(seed: int, track: Track) -> Measured:
    full, b = md.randn(N, N), md.randn(N, COLUMNS)
    place = md.rand(N, N)
    times, multiplications, sizes, error = [], [], [], 0.0
    for zeros in track(ZEROS):
        a = full * (place >= zeros)
        csr = a.to_sparse_csr()
        times.append(quickest(partial(md.matmul, a, b), partial(md.matmul, csr, b)))
        error = max(error, float((csr @ b - a @ b).abs().max()))
        multiplications.append(csr.values().numel() / N**2)
        sizes.append(size(csr) / (N * N * 4))
    dense, sparse = ([row[way] for row in times] for way in (0, 1))
    figures = {
        "csr.multiplications.90": multiplications[ZEROS.index(0.9)],
        "csr.bytes.50": sizes[ZEROS.index(0.5)],
        "csr.bytes.90": sizes[ZEROS.index(0.9)],
        "dense.gain.99": dense[0] / dense[-1],
        "break.even": BreakEven(N, N, COLUMNS, list(ZEROS), dense, sparse).crossing or 1.0,
        "error": error,
    }
    notes = [f"{zeros:4.0%} zeros: dense {1e3 * d:6.2f} ms, CSR {1e3 * s:6.2f} ms"
             for zeros, d, s in zip(ZEROS, dense, sparse, strict=True)]  # fmt: skip
    return figures, {"dense": dense, "csr": sparse, "notes": notes}


def draw(ax: Any, figures: dict[str, float], shown: dict[str, Any]) -> None:
    density = [1 - zeros for zeros in ZEROS]
    lines(ax, {name: (density, [1e3 * t for t in shown[name]]) for name in ("dense", "csr")})
    ax.set(xscale="log", yscale="log", xlabel="share of elements that are not zero", ylabel="ms for a product")


DEMO = Demo(
    name="sparsity-break-even",
    title="A matrix product with zeros, dense and as CSR",
    statement="Sparsity reduces computation and so speeds up training and inference.",
    verdict="refutes",
    because="Zeros alone save nothing: dense code multiplies by them. A sparse format saves bytes and time from a share of "
    "zeros on, and costs more below it.",
    figures=(
        Figure("csr.multiplications.90", 0.098, 0.102, "multiplications of CSR at 90 % zeros, of dense ones"),
        Figure("csr.bytes.50", 1.4, 1.6, "bytes of CSR at 50 % zeros, of dense ones"),
        Figure("csr.bytes.90", 0.29, 0.31, "bytes of CSR at 90 % zeros, of dense ones"),
        Figure("dense.gain.99", 0.25, 4, "how many times as quick dense code is at 99 % zeros as at none"),
        Figure("break.even", 0.1, 1, "share of zeros from which on CSR is quicker here; 1: never"),
        Figure("error", 0, 1e-3, "largest difference of the two products"),
    ),
    seeds=20,
    measure=measure,
    draw=draw,
    picture="Time of a product over the share of elements that are not zero, both on logarithmic scales: level for dense code, "
    "falling with the share for CSR, which crosses it at a small share.",
    topics=(6, 7, 12, 23, 33, 43),
    sources=(
        "Gale, Zaharia, Young & Elsen, Sparse GPU kernels for deep learning, 2020",
        "Hoefler et al., Sparsity in deep learning, 2021",
    ),
    seconds=2,
)
