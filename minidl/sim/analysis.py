"""What a log of accesses says: races, transactions for each warp, bank conflicts. Whole columns of the log at a time.

The model: warps of 32 threads; global memory is read in lines of 128 bytes, made of sectors of 32; shared memory lies in 32
banks of 4 bytes, and a bank gives one of its words at a time, to all lanes that want it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .intrinsics import WARP
from .memory import ATOMIC, READ, SIZE_BITS, WRITE, Memory

if TYPE_CHECKING:
    from .rewrite import Program

LINE, SECTOR, BANKS, WORD = 128, 32, 32, 4
Column = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Site:
    """A place in the source that accesses memory: `a[i, j]` of line 7."""

    function: str
    file: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"line {self.line} `{self.text}`"


class Log:
    """The log of a launch as columns, one row an access.

    site: index into `sites`; buffer, offset, kind as logged; size: bytes; block, thread: numbers; who: the thread's number
    in the whole grid; epoch, warp_epoch: barriers passed; array: index into `names`, under which the shared arrays of
    all blocks are one.
    """

    def __init__(self, memory: Memory, program: Program, threads: int) -> None:
        log, count = memory.log, len(memory.log)
        found: dict[tuple[int, int], int] = {}
        keys = [(id(code), instruction) for code, instruction, *_ in log]  # a code's own hash reads all of it
        rows = np.fromiter((found.setdefault(key, len(found)) for key in keys), np.int64, count)
        codes = {id(code): code for code in program.codes}
        every = [site_of(program, codes[code], instruction) for code, instruction in found]
        # Python, as a loop gets hot, stops at other instructions of one and the same expression
        self.sites = list(dict.fromkeys(every))
        self.site = np.array([self.sites.index(site) for site in every] or [0], np.int64)[rows]
        key = np.fromiter((row[2] for row in log), np.int64, count)
        self.buffer, self.size = key >> SIZE_BITS, key & ((1 << SIZE_BITS) - 1)
        self.offset = np.fromiter((row[3] for row in log), np.int64, count)
        self.kind = np.fromiter((row[4] for row in log), np.int64, count)
        segments = np.array(memory.segments, np.int64).reshape(-1, 5)
        lengths = np.diff(segments[:, 0], append=count)
        self.block, self.thread, self.epoch, self.warp_epoch = (np.repeat(c, lengths) for c in segments.T[1:])
        self.who = self.block * threads + self.thread
        self.buffers = memory.buffers
        named = [(buffer.name, buffer.space) for buffer in memory.buffers]
        self.names = list(dict.fromkeys(named))
        self.array = np.array([self.names.index(name) for name in named] or [0], np.int64)[self.buffer]
        self.shared = np.array([buffer.space == "shared" for buffer in memory.buffers] or [False])[self.buffer]


def site_of(program: Program, code: Any, instruction: int) -> Site:
    """The place of an instruction of the rewritten code in the source."""
    function = program.codes[code]
    position = list(code.co_positions())[instruction // 2]
    return Site(function.name, function.file, position[0] or 0, function.excerpt(position))


def groups(*columns: Column) -> Column:
    """A number for each row, equal where the rows are equal in all columns; numbers are in the order of the rows' values."""
    if not columns[0].size:
        return np.zeros(0, np.int64)
    order = np.lexsort(columns[::-1])
    differs = np.zeros(order.size, bool)
    for column in columns:
        differs[1:] |= np.diff(column[order]) != 0
    out = np.empty(order.size, np.int64)
    out[order] = np.cumsum(differs)
    return out


def ranks(group: Column) -> Column:
    """For each row, how many rows of its group stand before it."""
    order = np.argsort(group, kind="stable")
    first = np.zeros(order.size, np.int64)
    new = np.flatnonzero(np.diff(group[order], prepend=-1))
    first[new] = new
    out = np.empty(order.size, np.int64)
    out[order] = np.arange(order.size) - np.maximum.accumulate(first)
    return out


@dataclass
class Access:
    """All executions of one place in the source, on one array.

    kind: "read", "write" or "atomic". space: "global" or "shared".
    count: single accesses of all threads. per_thread: the most of one thread.
    transactions_per_warp: 128-byte lines that a warp-wide access touches, on average; worst: the most. Global memory only.
    sectors_per_warp: the same in units of 32 bytes, which is what is moved.
    efficiency: which part of the bytes that are moved, sectors of 32, is used. Global memory only.
    coalesced: no access touches more lines and sectors than its bytes fill, but for one more where it begins within one.
    bank_conflicts: the most words that one bank has to give for one access: 1 is without conflict. Shared memory only.
    stride: elements between neighbouring lanes where that is the same for all, else None.
    """

    site: Site
    array: str
    space: str
    kind: str
    dtype_size: int
    count: int = 0
    per_thread: int = 0
    transactions_per_warp: float = 0.0
    worst: int = 0
    sectors_per_warp: float = 0.0
    efficiency: float = 1.0
    coalesced: bool = True
    bank_conflicts: int = 0
    stride: int | None = None

    @property
    def line(self) -> int:
        return self.site.line

    @property
    def text(self) -> str:
        return self.site.text


def accesses(log: Log) -> list[Access]:
    """The accesses of a launch by place, in the order of the source, within a line in that of its execution."""
    if not log.site.size:
        return []
    one = groups(log.site, log.array, log.kind)
    # what the lanes of a warp do together: the same place, as often since the last barrier
    when = groups(log.epoch, log.warp_epoch)
    instance = groups(log.block, log.thread // WARP, one, when, ranks(groups(log.who, one, when)))
    found: list[tuple[int, Access]] = []
    for number in range(int(one.max()) + 1):
        rows = np.flatnonzero(one == number)
        at = rows[0]
        name, space = log.names[log.array[at]]
        kind = ("read", "write", "atomic")[log.kind[at]]
        access = Access(log.sites[log.site[at]], name, space, kind, int(log.size[at]), count=rows.size)
        access.per_thread = int(np.bincount(groups(log.who[rows])).max())
        access.stride = stride_of(log, rows, instance[rows])
        if space == "shared":
            access.bank_conflicts = conflicts(log, rows, instance[rows])
        else:
            measure_transactions(access, log, rows, instance[rows])
        found.append((int(at), access))
    return [access for _, access in sorted(found, key=lambda pair: (pair[1].site.file, pair[1].line, pair[0]))]


def distinct(instance: Column, *what: Column) -> tuple[Column, Column]:
    """For each warp-wide access: its first row's group number, and how many different values `what` has in it."""
    pairs = groups(instance, *what)
    _, first = np.unique(pairs, return_index=True)
    owners, counts = np.unique(instance[first], return_counts=True)
    return owners, counts


def measure_transactions(access: Access, log: Log, rows: Column, instance: Column) -> None:
    # which line of memory does not depend on the array: two arguments may lie in one buffer
    _, lines = distinct(instance, log.buffer[rows], log.offset[rows] // LINE)
    _, sectors = distinct(instance, log.buffer[rows], log.offset[rows] // SECTOR)
    _, cells = distinct(instance, log.buffer[rows], log.offset[rows])
    filled, filled_sectors = (-(-cells * access.dtype_size // unit) for unit in (LINE, SECTOR))
    access.transactions_per_warp, access.worst = round(float(lines.mean()), 2), int(lines.max())
    access.sectors_per_warp = round(float(sectors.mean()), 2)
    access.efficiency = round(float(cells.sum() * access.dtype_size / (sectors.sum() * SECTOR)), 3)
    access.coalesced = bool(((lines <= filled + 1) & (sectors <= filled_sectors + 1)).all())


def conflicts(log: Log, rows: Column, instance: Column) -> int:
    """The most different words of one bank that a warp-wide access wants; of 8-byte elements, half a warp at a time."""
    lanes_at_once = max(WARP * WORD // max(int(log.size[rows[0]]), WORD), 1)
    instance = groups(instance, log.thread[rows] % WARP // lanes_at_once)
    word = log.offset[rows] // WORD
    _, first = np.unique(groups(instance, word), return_index=True)
    _, counts = np.unique(groups(instance[first], word[first] % BANKS), return_counts=True)
    return int(counts.max())


def stride_of(log: Log, rows: Column, instance: Column) -> int | None:
    """The elements between neighbouring lanes in the access of most lanes, if they are always the same."""
    biggest = rows[instance == np.bincount(instance - instance.min()).argmax() + instance.min()]
    biggest = biggest[np.argsort(log.thread[biggest], kind="stable")]
    steps = np.unique(np.diff(log.offset[biggest]))
    return int(steps[0]) // int(log.size[biggest[0]]) if steps.size == 1 else None


@dataclass
class Race:
    """Two threads that access one element, at least one of them writing, with nothing that says who comes first.

    array, space: what it is about; element: the first such element, as `s[3]`. between: "threads" of one block, or "blocks".
    first, second: the places; kinds: what they do, such as ("write", "read"). threads: the two, as (block, thread) numbers.
    count: how often, over all elements and intervals between barriers. message: a sentence with the remedy.
    """

    array: str
    space: str
    element: str
    between: str
    first: Site
    second: Site
    kinds: tuple[str, str]
    threads: tuple[tuple[int, int], tuple[int, int]]
    count: int = 1
    message: str = ""


KINDS = {READ: "reads", WRITE: "writes", ATOMIC: "updates"}


def races(log: Log) -> list[Race]:
    """The races of a launch, one for each pair of places and array: between threads of a block if there are such."""
    found: dict[Any, Race] = {}
    if not log.site.size:
        return []
    for between, columns in (
        ("threads", (log.buffer, log.offset, log.block, log.epoch)),
        ("blocks", (log.buffer, log.offset)),
    ):
        cell = groups(*columns)
        actor = log.who if between == "threads" else log.block
        for rows in suspects(log, cell, actor):
            search(log, rows, between, found)
    return list(found.values())


def suspects(log: Log, cell: Column, actor: Column) -> list[Column]:
    """The rows of each cell that several actors access, not all reading and not all updating atomically."""
    order = np.lexsort((actor, cell))
    starts = np.flatnonzero(np.diff(cell[order], prepend=-1))
    kinds, actors = log.kind[order], actor[order]
    ends = np.append(starts[1:], order.size)
    several = actors[starts] != actors[ends - 1]
    low, high = np.minimum.reduceat(kinds, starts), np.maximum.reduceat(kinds, starts)
    mixed = (high > READ) & ~((low == ATOMIC) & (high == ATOMIC))
    return [np.sort(order[a:b]) for a, b in zip(starts[several & mixed], ends[several & mixed], strict=True)]


def search(log: Log, rows: Column, between: str, found: dict[Any, Race]) -> None:
    """Add the races within the rows of one cell to `found`."""
    columns = (log.site, log.kind, log.who, log.warp_epoch, log.block, log.thread)
    unique = list(dict.fromkeys(zip(*(column[rows].tolist() for column in columns), strict=True)))
    places: dict[tuple[int, int], list[tuple[int, ...]]] = {}
    for row in unique:
        places.setdefault(row[:2], []).append(row)
    keys = list(places)
    for i, a in enumerate(keys):
        for b in keys[i:]:
            if a[1] == b[1] and a[1] != WRITE:
                continue
            pair = next(((x, y) for x in places[a] for y in places[b] if unordered(x, y, between)), None)
            if pair is None:
                continue
            at = rows[0]
            key = (int(log.array[at]), *sorted((a[0], b[0])))
            if key in found:
                found[key].count += 1
                continue
            name, space = log.names[log.array[at]]
            element = log.buffers[log.buffer[at]].element(int(log.offset[at]))
            x, y = pair
            found[key] = Race(
                name, space, element, between, log.sites[a[0]], log.sites[b[0]], (KINDS[a[1]], KINDS[b[1]]),
                ((x[4], x[5]), (y[4], y[5])),
            )  # fmt: skip


def unordered(x: tuple[int, ...], y: tuple[int, ...], between: str) -> bool:
    """Whether nothing orders two accesses of one cell: rows of `search`, in one epoch if of one block."""
    if between == "blocks":
        return x[4] != y[4]
    return x[2] != y[2] and (x[5] // WARP != y[5] // WARP or x[3] == y[3])
