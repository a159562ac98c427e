"""Checks of GPU kernels without a GPU: each launch runs in minidl.sim, and what its threads did to memory is observed.

    def launches(rng):
        yield launch(2, 32, rng.normal(size=50).astype(np.float32), np.zeros(50, np.float32), most={"reads_per_thread": 1})

    checks = [simulated(lambda x: 2 * x, launches)]

What stops a kernel (an index out of bounds, a barrier that some threads miss) is the learner's exception: a KernelError, which
names line, block and thread.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..sim import ORDERS, KernelError, Report, simulate
from .checks import Check, Observation, Subject, at_least, at_most, equal

FIRST = "reverse"  # with the last threads first, an index beyond the end is seen as far beyond it as it goes

# what may be bounded: attributes of minidl.sim.Report, as observations call them
FIGURES = {
    "reads_per_thread": "reads of global memory by one thread",
    "writes_per_thread": "writes to global memory by one thread",
    "shared_reads_per_thread": "reads of shared memory by one thread",
    "transactions_per_warp": "transactions per warp",
    "bank_conflicts": "words that a bank gives one after the other",
    "atomics": "atomic operations on global memory",
    "shared_atomics": "atomic operations on shared memory",
    "barriers": "barriers",
}


@dataclass
class Launch:
    """One launch of a kernel. `most` and `least` bound figures of its report by their names in FIGURES."""

    grid: Any
    block: Any
    args: tuple[Any, ...]
    note: str
    most: Mapping[str, float] = field(default_factory=dict)
    least: Mapping[str, float] = field(default_factory=dict)


def launch(
    grid: Any,
    block: Any,
    *args: Any,
    note: str = "",
    most: Mapping[str, float] | None = None,
    least: Mapping[str, float] | None = None,
) -> Launch:
    """A launch; the last argument is the array for the results. `note` names the input: "5 elements"."""
    return Launch(grid, block, args, f"{note}, grid {grid}, block {block}".lstrip(", "), most or {}, least or {})


def simulated(
    reference: Callable[..., Any],
    launches: Callable[[np.random.Generator], Iterable[Launch]],
    *,
    rtol: float = 1e-5,
    atol: float = 1e-6,
) -> Check:
    """The first of the exercise's names as a kernel: its races, reads of unset memory, results, and bounded figures.

    reference: takes all arguments but the last and returns what must be in the last one. The results are looked at with the
    threads in three orders, and not at all after a race: then they are luck.
    """

    def observe(subject: Subject, rng: np.random.Generator) -> Iterator[Observation]:
        if not hasattr(subject.main, "py_func"):  # the simulator would run it, a GPU could not
            yield Observation(f"decorator of {subject.names[0]}", "none", "@cuda.jit")
            return
        for one in launches(rng):
            seed = int(rng.integers(1 << 30))
            first, report = _run(subject.main, one, FIRST, seed)
            yield _races(one, report)
            yield _unset(one, report)
            if report.races:
                continue
            expected = np.asarray(reference(*one.args[:-1]), one.args[-1].dtype)
            for order in ORDERS:
                args = first if order == FIRST else _run(subject.main, one, order, seed)[0]
                yield equal(f"results, {one.note}, threads {order}", args[-1], expected, rtol=rtol, atol=atol)
            for i, (before, after) in enumerate(zip(one.args[:-1], first, strict=False)):
                yield equal(f"argument {i + 1} must not be changed, {one.note}", after, before, rtol=0, atol=0)
            for bounds, judged in ((one.most, at_most), (one.least, at_least)):
                for name, bound in bounds.items():
                    yield judged(f"{FIGURES[name]}, {one.note}", getattr(report, name), bound)

    return Check("simulator", observe)


def _run(kernel: Any, one: Launch, order: str, seed: int) -> tuple[tuple[Any, ...], Report]:
    """The arguments after a launch with copies of them, and its report."""
    args = copy.deepcopy(one.args)
    try:
        return args, simulate(kernel, one.grid, one.block, *args, order=order, seed=seed)
    except KernelError as error:
        if isinstance(error.__cause__, NotImplementedError):
            raise error.__cause__ from None  # the stub
        error.add_note(one.note)
        raise


def _races(one: Launch, report: Report) -> Observation:
    # the sentences name lines and variables, which differ from file to file. What two files have in common that make the same
    # mistake: what is done to which memory, what of it stands first in the file, and how often
    alike: Counter[tuple[str, ...]] = Counter()
    for race in report.races:
        acts = sorted(zip((race.first.line, race.second.line), race.kinds, strict=True))
        alike[race.space, race.between, *(kind for _, kind in acts)] += race.count
    text = "; ".join(race.message for race in report.races)
    return Observation(f"races, {one.note}", text or "none", "none", alike=alike)


def _unset(one: Launch, report: Report) -> Observation:
    text = "; ".join(report.uninitialized)
    return Observation(f"reads of unset memory, {one.note}", text or "none", "none", alike=bool(text))
