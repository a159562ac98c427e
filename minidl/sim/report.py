"""The report of a simulated launch: what its threads did to memory, in figures, in words and as a picture."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .analysis import Access, Log, Race, Site, accesses, races, site_of
from .errors import coordinates
from .intrinsics import Dim3
from .memory import ATOMIC, READ, WRITE, Memory

if TYPE_CHECKING:
    from .rewrite import Program

MODEL = "simulated; model: 32 threads, 128-byte lines, 32 banks"


class Report:
    """What `simulate` returns. All of it counts accesses of the simulated threads; nothing is a time.

    kernel, grid, block, order: what was launched. args: the arrays it was given, which hold the results.
    barriers: the most barriers that a block has passed.
    warnings: sentences about what may be meant, such as two shared arrays on one line, or a number that its array cannot hold.
    """

    def __init__(
        self, program: Program, memory: Memory, grid: Dim3, block: Dim3, order: str, args: list[Any], barriers: int
    ) -> None:
        self.kernel, self.file = program.main.name, program.main.file
        self.grid, self.block, self.order, self.args, self.barriers = grid, block, order, args, barriers
        self.warnings = list(program.warnings) + [cut_off(program, *row) for row in memory.cut.values()]
        self.memory, self.program = memory, program
        self.threads_per_block = block.x * block.y * block.z
        self.threads = self.threads_per_block * grid.x * grid.y * grid.z

    @functools.cached_property
    def log(self) -> Log:
        """The log as columns, for analyses of your own: see minidl.sim.analysis.Log."""
        return Log(self.memory, self.program, self.threads_per_block)

    @functools.cached_property
    def accesses(self) -> list[Access]:
        """One Access for each place in the source and array, in the order of the source."""
        return accesses(self.log)

    @property
    def loads(self) -> list[Access]:
        """The reads of global and shared memory."""
        return [access for access in self.accesses if access.kind == "read"]

    @property
    def stores(self) -> list[Access]:
        """The writes to global and shared memory."""
        return [access for access in self.accesses if access.kind == "write"]

    @property
    def atomics(self) -> int:
        """Atomic operations on global memory, of all threads together."""
        return self.count(ATOMIC, shared=False)

    @property
    def shared_atomics(self) -> int:
        """Atomic operations on shared memory, of all threads together."""
        return self.count(ATOMIC, shared=True)

    @property
    def global_reads(self) -> int:
        """Reads of global memory, of all threads together."""
        return self.count(READ, shared=False)

    @property
    def global_writes(self) -> int:
        """Writes to global memory, of all threads together."""
        return self.count(WRITE, shared=False)

    @property
    def reads_per_thread(self) -> int:
        """Reads of global memory by the thread that reads most."""
        return self.most(READ, shared=False)

    @property
    def writes_per_thread(self) -> int:
        """Writes to global memory by the thread that writes most."""
        return self.most(WRITE, shared=False)

    @property
    def shared_reads_per_thread(self) -> int:
        """Reads of shared memory by the thread that reads most."""
        return self.most(READ, shared=True)

    @property
    def bank_conflicts(self) -> int:
        """The worst n-way bank conflict of all accesses of shared memory: 1 is none, 0 is no access."""
        return max((access.bank_conflicts for access in self.accesses), default=0)

    @property
    def transactions_per_warp(self) -> float:
        """The transactions per warp-wide access of the worst place that accesses global memory; 0 without any."""
        return max((access.transactions_per_warp for access in self.accesses), default=0.0)

    @property
    def shared_bytes(self) -> int:
        """Shared memory of one block."""
        per_block = [buffer.nbytes for buffer in self.memory.buffers if buffer.space == "shared"]
        return sum(per_block) // (self.grid.x * self.grid.y * self.grid.z)

    @functools.cached_property
    def races(self) -> list[Race]:
        """Accesses of one element by two threads with nothing that orders them: see Race."""
        found = races(self.log)
        for race in found:
            race.message = self.explain(race)
        return found

    @functools.cached_property
    def uninitialized(self) -> list[str]:
        """A sentence for each place that reads shared or local memory to which nothing was written."""
        reads: dict[tuple[Site, str], list[Any]] = {}
        for read in self.memory.unwritten.values():
            site = site_of(self.program, read.code, read.instruction)
            reads.setdefault((site, read.buffer.name), []).append(read)
        sentences = []
        for (site, _), found in reads.items():
            first, more = found[0], sum(read.count for read in found) - 1
            sentences.append(
                f"{site} reads {first.buffer.element(first.offset)} of {first.buffer.space} memory, to which no thread has "
                f"written ({self.place_of(first.block, first.thread.number)}{f', and {more} more' if more else ''}): a GPU "
                "gives what happens to be there"
            )
        return sentences

    @functools.cached_property
    def partly_written(self) -> list[str]:
        """A sentence for each array of global memory that was written to, but not all of it: meant so, or a missing tail?"""
        sentences = []
        for number, buffer in enumerate(self.memory.buffers):
            rows = (self.log.buffer == number) & (self.log.kind != READ)
            if buffer.space == "global" and rows.any():
                places = buffer.places()
                missing = np.flatnonzero(~np.isin(places, self.log.offset[rows]))
                if 0 < missing.size < places.size:
                    sentences.append(
                        f"{buffer.name}: {places.size - missing.size} of {places.size} elements are written, the first that is not is "
                        f"{buffer.element(int(places[missing[0]]))}"
                    )
        return sentences

    @property
    def ok(self) -> bool:
        """Whether there are neither races nor reads of memory that nothing was written to."""
        return not self.races and not self.uninitialized

    def count(self, kind: int, shared: bool) -> int:
        return int(((self.log.kind == kind) & (self.log.shared == shared)).sum())

    def most(self, kind: int, shared: bool) -> int:
        chosen = (self.log.kind == kind) & (self.log.shared == shared)
        return int(np.bincount(self.log.who[chosen]).max(initial=0))

    def place_of(self, block: int, thread: int) -> str:
        """ "thread 3" or "thread (3, 1) of block 2" from the numbers in a log."""
        x, y, _ = self.block
        text = f"thread {coordinates((thread % x, thread // x % y, thread // (x * y)))}"
        if self.threads == self.threads_per_block:
            return text
        x, y, _ = self.grid
        return f"{text} of block {coordinates((block % x, block // x % y, block // (x * y)))}"

    def explain(self, race: Race) -> str:
        """A race in one sentence, with what would remove it."""
        one, other = (self.place_of(*who) for who in race.threads)
        update = race.first.line == race.second.line and race.first.text == race.second.text
        if race.between == "blocks":
            remedy = "blocks run in no order: give each its own elements, use cuda.atomic, or split the kernel in two"
        elif "updates" in race.kinds:
            remedy = "put cuda.syncthreads() between the atomic updates and the other access"
        elif update and race.kinds == ("writes", "writes"):
            remedy = "let one thread write it, or make it cuda.atomic"
        elif update:
            remedy = f"`{race.first.text}` belongs to several threads: update it with cuda.atomic.add or the like"
        elif race.first.line == race.second.line:
            remedy = "read into a variable, cuda.syncthreads(), then write; or write to a second array"
        else:
            remedy = "put cuda.syncthreads() between the two"
        more = f" ({race.count} times)" if race.count > 1 else ""
        return (
            f"{race.space} {race.element}: {one} {race.kinds[0]} at {race.first}, {other} {race.kinds[1]} at "
            f"{race.second}, and nothing orders them{more}; {remedy}"
        )

    def findings(self) -> list[str]:
        """Everything that is wrong, a sentence each."""
        return [race.message for race in self.races] + self.uninitialized

    def verdict(self) -> str:
        """The report in words, a line a place in the source, then races, then one line that sums it up."""
        from .words import verdict

        return verdict(self)

    def json(self) -> dict[str, Any]:
        """The report as numbers, strings, lists and dicts."""
        from .words import as_json

        return as_json(self)

    def svg(self, path: str | Path) -> None:
        """Draw which thread accesses which element of each array, and the bank conflicts, into an SVG file."""
        from .picture import draw

        Path(path).write_text(draw(self), encoding="utf-8")

    def __repr__(self) -> str:
        wrong = f"{len(self.races)} races, {len(self.uninitialized)} uninitialized reads"
        return f"<Report of {self.kernel}: {self.threads} threads, {self.barriers} barriers, {wrong}>"


def cut_off(program: Program, code: Any, instruction: int, value: Any, dtype: Any, count: int) -> str:
    """The sentence about a number that was stored into a type that cannot hold it."""
    more = f", and {count - 1} more" if count > 1 else ""
    limits = np.iinfo(dtype)
    return (
        f"{site_of(program, code, instruction)} stores {value} into {dtype}, which holds {limits.min} to {limits.max}{more}: "
        f"limit it before, max({limits.min}, min({limits.max}, x))"
    )


__all__ = ["MODEL", "Access", "Race", "Report", "Site"]
