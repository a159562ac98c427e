"""What a watched kernel did wrong, in sentences: the array, the element, the lines of the source, the threads, the remedy.

cuda_watch.h sees the accesses and hands over numbers; here they get their names. Variables in shared memory are found in the
symbols of the compiled library (`nm`), lines in its debugging information (`addr2line`): both come with g++.
"""

from __future__ import annotations

import ctypes
import functools
import json
import linecache
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

GAP = 1 << 20  # bytes between two arrays at least: an index that is wrong by less does not meet the next one
WIDTH = 70  # of a line of source in a message
MOST = 8  # findings that a message lists


class Region(NamedTuple):
    """An array that a kernel accesses. place: 0 an argument, 1 dynamic shared memory, 2 a __shared__ variable of the library."""

    name: str
    begin: int
    nbytes: int
    unit: int
    place: int
    shape: tuple[int, ...] = ()
    itemsize: int = 0


@functools.cache
def shared_variables(library: Path) -> tuple[tuple[str, int, int], ...]:
    """(name, place from the library's beginning, bytes) of its __shared__ variables."""
    text = subprocess.run(["nm", "-S", "-C", "--defined-only", str(library)], text=True, capture_output=True, check=True).stdout
    rows = [line.split(None, 3) for line in text.splitlines()]
    marks = {row[-1]: int(row[0], 16) for row in rows if len(row) == 3}
    begin, end = (marks.get(f"__{side}_cuda_shared", 0) for side in ("start", "stop"))
    origin = marks.get("__ehdr_start", 0)
    found = [(row[3], int(row[0], 16), int(row[1], 16)) for row in rows if len(row) == 4]
    return tuple((short(name), at - origin, size) for name, at, size in found if begin <= at < end)


def short(name: str) -> str:
    """block_sum(float)::partial as partial."""
    return name.rpartition("::")[2].partition("[")[0]


class Arena:
    """Copies of a launch's arrays with gaps between them, in which every access is an error.

    Arrays that overlap stay as they are to each other. `back` copies what the kernel wrote.
    """

    def __init__(self, arrays: Iterable[tuple[str, np.ndarray[Any, Any]]], shared: int, unit: int) -> None:
        self.regions: list[Region] = []
        self.moved: list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]] = []
        self.address: dict[int, int] = {}
        spans: list[list[Any]] = []  # begin, end, names and arrays of what overlaps
        for name, a in sorted(arrays, key=lambda pair: pair[1].ctypes.data):
            begin, end = a.ctypes.data, a.ctypes.data + a.nbytes
            if spans and begin < spans[-1][1]:
                spans[-1][1] = max(end, spans[-1][1])
                spans[-1][2].append((name, a))
            else:
                spans.append([begin, end, [(name, a)]])
        gap = max([GAP, *(end - begin for begin, end, _ in spans)]) // 256 * 256 + 256
        total = gap + sum(end - begin + 512 + gap for begin, end, _ in spans) + shared + gap
        self.memory = np.empty(total, np.uint8)  # what is not touched takes no memory
        self.begin = self.memory.ctypes.data
        at = self.begin + gap
        for begin, end, members in spans:
            at += (begin - at) % 256  # aligned as before
            for name, a in members:
                self.address[id(a)] = at + a.ctypes.data - begin
                self.moved.append((a, self.view(self.address[id(a)], a)))
                self.moved[-1][1][...] = a
            name, a = max(members, key=lambda pair: pair[1].nbytes)
            names = " = ".join(dict.fromkeys(name for name, _ in members))
            cell = min([unit, *(member.itemsize for _, member in members)])
            self.regions.append(Region(names, at, end - begin, cell, 0, a.shape, a.itemsize))
            at += end - begin + gap
        self.dynamic = at + -at % 256
        self.regions.append(Region("dynamic shared memory", self.dynamic, shared, unit, 1))

    def view(self, address: int, like: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        start = address - self.begin
        return self.memory[start : start + like.nbytes].view(like.dtype).reshape(like.shape)

    def back(self) -> None:
        for a, copy in self.moved:
            if a.flags.writeable:
                a[...] = copy


def begin(library: ctypes.CDLL, path: Path, arena: Arena, unit: int, tables: bool) -> list[Region]:
    """Tell the library where the arrays of the launch to come lie."""
    static = [Region(name, at, size, unit, 2) for name, at, size in shared_variables(path)]
    regions = [*arena.regions, *static]
    columns = [
        (kind * len(regions))(*(getattr(region, name) for region in regions))
        for kind, name in (
            (ctypes.c_long, "begin"),
            (ctypes.c_long, "nbytes"),
            (ctypes.c_int, "unit"),
            (ctypes.c_int, "place"),
        )
    ]
    size = ctypes.c_long(arena.memory.nbytes)
    first, dynamic = ctypes.c_void_p(arena.begin), ctypes.c_void_p(arena.dynamic)
    library.watch_begin(len(regions), *columns, first, size, dynamic, int(tables))
    return regions


class Place(NamedTuple):
    """A line of source and the function that it is in."""

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        text = linecache.getline(self.file, self.line).strip()
        text = text if len(text) <= WIDTH else text[: WIDTH - 3] + "..."
        return f"{Path(self.file).name}:{self.line} `{text}`"


class Actor(NamedTuple):
    """A thread at an access: the places from the innermost function out to the kernel."""

    places: tuple[Place, ...]
    block: int
    thread: int

    def where(self, kernel: str) -> str:
        """The line, and where it is in a function that the kernel calls, from where."""
        here, outer = self.places[0], self.places[-1]
        if here.function == kernel or here == outer:
            return str(here)
        return f"{here} in {here.function}, called at {Path(outer.file).name}:{outer.line}"


class Finding(NamedTuple):
    """Something that a GPU would not forgive, as cuda_watch.h found it."""

    what: str
    region: Region | None
    offset: int
    size: int
    count: int
    kinds: tuple[int, int]
    first: Actor
    second: Actor
    detail: str

    def element(self) -> str:
        """x[2, 3] of an argument; of shared memory the number of the element, counted in its size."""
        assert self.region is not None
        size = self.region.itemsize or self.size
        number = self.offset // size
        if len(self.region.shape) > 1 and 0 <= self.offset < self.region.nbytes:
            return f"{self.region.name}[{', '.join(str(i) for i in np.unravel_index(number, self.region.shape))}]"
        if self.region.place == 1:
            return f"byte {self.offset} of {self.region.name}"
        return f"{self.region.name}[{number}]"


def findings(library: ctypes.CDLL, path: Path, regions: list[Region]) -> list[Finding]:
    """What the last launch did wrong, one for each pair of lines and array."""
    library.watch_findings.restype = ctypes.c_char_p
    rows = json.loads(library.watch_findings().decode())
    addresses = sorted({address for row in rows for actor in row[7:9] for address in actor[:2] if address})
    places = lines_of(path, addresses)

    def actor(pc: int, called: int, block: int, thread: int) -> Actor:
        inner = places.get(pc, [Place("?", 0, "?")])
        return Actor((*inner, *places.get(called, [])), block, thread)

    found: dict[Any, Finding] = {}
    for what, number, offset, size, count, one, other, first, second, detail in rows:
        region = regions[number] if number >= 0 else None
        new = Finding(what, region, offset, size, count, (one, other), actor(*first), actor(*second), detail)
        key = (what, number, *sorted((new.first.places[0][:2], new.second.places[0][:2])))
        found[key] = found[key]._replace(count=found[key].count + count) if key in found else new
    return list(found.values())


def lines_of(library: Path, addresses: list[int]) -> dict[int, list[Place]]:
    """The places of instructions in the source, each from the innermost inlined function out."""
    if not addresses:
        return {}
    command = ["addr2line", "-e", str(library), "-a", "-f", "-i", "-C", *map(hex, addresses)]
    text = subprocess.run(command, text=True, capture_output=True, check=True).stdout.splitlines()
    found: dict[int, list[Place]] = {}
    at = 0
    for line in range(len(text)):
        if text[line].startswith("0x"):
            at = int(text[line], 16)
            found[at] = []
            names: list[str] = []
        elif len(names) % 2 == 0:
            names.append(text[line])
        else:
            file, _, number = text[line].partition(" (")[0].rpartition(":")
            function = names[-1].partition("(")[0].rpartition(" ")[2]
            found[at].append(Place(file, int(number) if number.isdigit() else 0, function))
            names.append("")
    return found


VERBS = ("reads", "writes", "updates")


class Teller:
    """Findings of one launch as sentences."""

    def __init__(self, kernel: str, grid: tuple[int, ...], block: tuple[int, ...], shared: int) -> None:
        self.kernel, self.grid, self.block, self.shared = kernel, grid, block, shared

    def who(self, actor: Actor) -> str:
        """ "thread 3", or "thread (3, 1) of block 2"."""
        text = f"thread {index(actor.thread, self.block)}"
        return text if np.prod(self.grid) == 1 else f"{text} of block {index(actor.block, self.grid)}"

    def sentence(self, f: Finding) -> str:
        more = f" ({f.count} times)" if f.count > 1 else ""
        text: str = getattr(self, f.what)(f, f"{self.who(f.second)} at {f.second.where(self.kernel)}")
        head, _, remedy = text.partition("; ")
        return f"{head}{more}; {remedy}" if remedy else head + more

    def race(self, f: Finding, at: str) -> str:
        shared = f.region is not None and f.region.place > 0
        same = f.first.places[0][:2] == f.second.places[0][:2]
        if f.first.block != f.second.block:
            remedy = (
                "blocks run in no order: give each its own elements, use atomicAdd or the like, or split the kernel in two"
            )
        elif 2 in f.kinds:
            remedy = "put __syncthreads() between the atomic updates and the other access"
        elif same and f.kinds == (1, 1):
            remedy = "let one thread write it, or use an atomic function"
        elif same:
            remedy = "update it with atomicAdd or the like, or read into a variable, __syncthreads(), then write"
        elif f.first.thread // 32 == f.second.thread // 32:
            remedy = "put __syncwarp() between the two (a warp is not in step by itself), or __syncthreads()"
        else:
            remedy = "put __syncthreads() between the two"
        first = f"{self.who(f.first)} {VERBS[f.kinds[0]]} at {f.first.where(self.kernel)}"
        second = f"{self.who(f.second)} {VERBS[f.kinds[1]]} at {f.second.where(self.kernel)}"
        space = "shared " if shared else ""
        return f"race: {space}{f.element()}: {first}, {second}, and nothing orders them; {remedy}"

    def bounds(self, f: Finding, at: str) -> str:
        assert f.region is not None
        verb, region = VERBS[f.kinds[1]], f.region
        if region.place == 1:
            return (
                f"out of bounds: {at} {verb} {f.element()}, and the launch gave it {self.shared} bytes; launch with more, "
                "shared=bytes, or correct the index"
            )
        size = region.itemsize or f.size
        what = f"{'shared ' if region.place else ''}{region.name}[{f.offset // size}]"
        extent = f"{region.nbytes // size} elements" + (f" {list(region.shape)}" if len(region.shape) > 1 else "")
        remedy = "test the index, `if (i >= 0)`" if f.offset < 0 else "guard it, `if (i < n)`"
        return f"out of bounds: {at} {verb} {what}, and {region.name} has {extent}; {remedy}"

    def unset(self, f: Finding, at: str) -> str:
        return (
            f"not set: {at} {VERBS[f.kinds[1]]} shared {f.element()}, to which no thread of the block has written: a GPU gives "
            "what happens to be there; set all of it first, then __syncthreads()"
        )

    def copying(self, f: Finding, at: str) -> str:
        return (
            f"not there yet: {at} {VERBS[f.kinds[1]]} shared {f.element()}, and the asynchronous copy to it, begun at "
            f"{f.first.places[-1] if f.first.places[0].function != self.kernel else f.first.places[0]}, is under way; "
            "copies_commit() after it, and copies_wait<n>() then __syncthreads() before its data are used"
        )

    def stray(self, f: Finding, at: str) -> str:
        return f"out of bounds: {at} {VERBS[f.kinds[1]]} an address that is in no array; look at how the index is computed"

    def endless(self, f: Finding, at: str) -> str:
        return (
            f"endless: {at} is in a loop that does not end: it waits for what no other thread does, since here a thread runs "
            "until it waits at a barrier; on a GPU such a loop needs all blocks to run at once: see grid_barrier"
        )

    def index(self, f: Finding, at: str) -> str:
        return f"out of bounds: {at}: {f.detail.replace(chr(39), '')}; each index must stay in its own dimension"

    def null(self, f: Finding, at: str) -> str:
        return f"null pointer: {at} uses one of type {f.detail}; test for nullptr what may be left out"

    def aligned(self, f: Finding, at: str) -> str:
        return (
            f"misaligned: {at} accesses an address as {f.detail}; a GPU stops there: test the alignment, and access single "
            "elements otherwise"
        )

    def overflow(self, f: Finding, at: str) -> str:
        return f"overflow: {at}: {f.detail} is too large; compute it in long long"

    def divide(self, f: Finding, at: str) -> str:
        return f"division by zero: {at}; a GPU goes on with a meaningless integer"

    def cast(self, f: Finding, at: str) -> str:
        return f"out of range: {at}: a conversion from {f.detail}; limit the value to the type's range before"


def index(number: int, sizes: tuple[int, ...]) -> str:
    """A number as the index that CUDA gives it: "3", or "(3, 1)" where there are several along y."""
    x, y, z = (*sizes, 1, 1)[:3]
    whole = (number % x, number // x % y, number // (x * y))
    used = 3 if z > 1 else 2 if y > 1 else 1
    return str(whole[0]) if used == 1 else f"({', '.join(map(str, whole[:used]))})"
