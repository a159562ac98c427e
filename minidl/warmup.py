"""Compiling the Numba kernels ahead of time: `minidl warmup`.

Numba compiles a kernel for the types of the arrays that it is called with, so what compiles all of them is calling them:
each operation on its own samples, in float32, with its gradient; each optimizer; each workload of the benchmark, at odd sizes too.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np


def calls() -> Iterator[tuple[str, Callable[[], Any]]]:
    """What to run, by name. None of it leaves anything behind but compiled kernels, and a place in the random stream."""
    import minidl

    from . import ops
    from .bench.sizes import SIZES
    from .bench.workloads import WORKLOADS
    from .testing.samples import REGISTRY, samples_of

    for module in pkgutil.iter_modules(ops.__path__):
        importlib.import_module(f"{ops.__name__}.{module.name}")
    for op in sorted(REGISTRY, key=lambda op: op.__name__):
        for i, sample in enumerate(samples_of(op)):
            yield f"{op.__name__} {i}", partial(_forward_and_backward, op, sample)
    for name in minidl.optim.__all__:
        yield name, partial(_optimizer_step, name)
    for name, make in (WORKLOADS | SIZES).items():
        yield name, partial(_one_step, make)
    yield from _more()


def _more() -> Iterator[tuple[str, Callable[[], Any]]]:
    """What neither a sample in float32 nor a workload comes to."""
    import minidl as m

    from .kernels.quantize import windows

    def without_gradient(function: Callable[..., Any], *inputs: Any) -> Any:
        with m.no_grad():
            return function(*inputs)

    functional, x, target = m.nn.functional, m.ones(40, 64), m.zeros(40, dtype=m.int64)
    yield "cross-entropy, forward", lambda: without_gradient(functional.cross_entropy, x, target)
    yield "masked", lambda: (m.where(x > 0, x[None], x[None] + 1), x[None].masked_fill(x > 0, 0.0))
    yield "linear, few columns", lambda: without_gradient(functional.linear, m.ones(2000, 64), x[:10], x[0, :10])
    yield "top 3 of many", lambda: m.ones(10_000).topk(3)
    yield "sum of planes", lambda: m.ones(40, 64, 64).sum(1)
    yield "largest", lambda: (x.amax(0), x.amax(1))
    yield "uniform, float64", lambda: m.rand(3, dtype=m.float64)
    image = np.ones((1, 4, 4, 3), np.uint8)
    yield "windows of bytes", lambda: windows(image, (3, 3), (1, 1), (1, 1), (1, 1), 0, 28)
    blocks = m.ones(8, 8).to_sparse_bsr((4, 4))
    yield "blocks times a vector", lambda: without_gradient(m.matmul, blocks, m.ones(8))
    four = m.ao.quantization.WeightOnlyLinear.from_float(m.nn.Linear(64, 32))
    for rows in (1, 40):
        yield f"weights of four bits, {rows} rows", lambda rows=rows: without_gradient(four, x[:rows])  # type: ignore[misc]
    weight = m.nn.Parameter(m.ones(4, 3))
    weight.grad = m.ones(4, 3)
    yield "Adam, amsgrad", lambda: m.optim.Adam([weight], amsgrad=True).step()


def _one_step(make: Any) -> None:
    import minidl

    make(minidl)()


def _forward_and_backward(op: Any, sample: Any) -> None:
    from .autograd.engine import grad
    from .autograd.op import wrap
    from .testing.checks import tensors_of

    inputs = tensors_of(sample, np.float32, requires_grad=op.differentiable and sample.smooth)
    out = op.apply(*inputs, **sample.params)
    outs = [t for t in (out if isinstance(out, tuple) else (out,)) if t.node is not None]
    leaves = [x for x in inputs if getattr(x, "node", None) is not None]
    if outs and leaves:
        grad(outs, leaves, [wrap(np.ones_like(t.array)) for t in outs], allow_unused=True)


def _optimizer_step(name: str) -> None:
    import minidl

    make: Any = getattr(minidl.optim, name)
    if not isinstance(make, type) or name == "Optimizer":  # modules stand there too
        return
    if name in ("SparseAdam", "LBFGS"):  # one takes sparse gradients only, the other has no kernel of its own
        return
    weight = minidl.nn.Parameter(minidl.ones(4, 3))
    weight.grad = minidl.ones(4, 3)
    make([weight]).step()


def warmup(progress: Callable[[str, int, int], None] | None = None) -> dict[str, Any]:
    """Compile every kernel that is not on disk yet: {"kernels": how many, "seconds": of compiling, "folder": where}.

    "table" has (seconds without callees, name, types) for each function that was compiled, callees of kernels too.
    progress(name, done, total) is called before each call.
    Raises ImportError where Numba is not installed.
    """
    from .kernels._cache import announcer, folders
    from .random import fork_rng

    before = announcer.count, announcer.seconds, len(announcer.table)
    announcer.listening = lambda name: None
    try:
        with fork_rng():
            found = list(calls())
            for i, (name, call) in enumerate(found):
                if progress is not None:
                    progress(name, i, len(found))
                call()
    finally:
        announcer.listening = None
    return {
        "kernels": announcer.count - before[0],
        "seconds": announcer.seconds - before[1],
        "folder": ", ".join(sorted(folders)),
        "table": announcer.table[before[2] :],
    }
