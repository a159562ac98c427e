"""What a watched kernel did wrong, in sentences: the array, the element, the lines of the source, the threads, the remedy.

cuda_watch.h sees the accesses and hands over numbers; here they get their names. Lines are found in the debugging information of
the compiled library by `addr2line`, which comes with g++.
"""

from __future__ import annotations

import ctypes
import functools
import json
import linecache
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

GAP = 1 << 20  # bytes between two arrays at least: an index that is wrong by less does not meet the next one
WIDTH = 70  # of a line of source in a message


ARGUMENT, DYNAMIC, STATIC, OTHER = range(4)  # as in cuda_watch.h


class Region(NamedTuple):
    """An array that a kernel accesses. space: ARGUMENT and so on; unit: the bytes that are watched together."""

    name: str
    begin: int
    nbytes: int
    unit: int
    space: int
    shape: tuple[int, ...] = ()
    itemsize: int = 0

    def title(self) -> str:
        return f"shared {self.name}" if self.space == STATIC else self.name


class Variable(NamedTuple):
    """A variable of a compiled library, at a place from its beginning. shared: one under __shared__."""

    name: str
    place: int
    nbytes: int
    shared: bool


OURS = re.compile(
    r"_ZZ(14watch_findings|NK?(3cpu|5watch|S|9__gnu))"
)  # functions of the headers and of the standard library
LOCAL = re.compile(r"E(\d+)(\w+)$")  # how the name of a variable within a function ends, mangled


@functools.cache
def variables(library: Path) -> tuple[Variable, ...]:
    """The variables of a library. Those within functions of a kernel's file are its shared memory: CUDA has no others."""
    text = subprocess.run(
        ["nm", "-S", "--defined-only", str(library)], text=True, capture_output=True, check=True
    ).stdout
    found = []
    for row in (line.split() for line in text.splitlines()):
        if len(row) == 4 and row[2] in "bBdDu":
            inner = not OURS.match(row[3]) and local_name(row[3])
            found.append(Variable(inner or row[3], int(row[0], 16), int(row[1], 16), bool(inner)))
    return tuple(found)


def local_name(mangled: str) -> str:
    """v of _ZZ8sum_treeE1v, a variable within a function; "" for others."""
    if not mangled.startswith("_ZZ"):
        return ""
    for at in range(3, len(mangled)):
        found = LOCAL.match(mangled, at)
        if found and re.fullmatch(r"(_\d+)?", found[2][int(found[1]) :]) and len(found[2]) >= int(found[1]):
            return found[2][: int(found[1])]
    return ""


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
            for _, a in members:
                self.address[id(a)] = at + a.ctypes.data - begin
                self.moved.append((a, self.view(self.address[id(a)], a)))
                self.moved[-1][1][...] = a
            name, a = max(members, key=lambda pair: pair[1].nbytes)
            names = " = ".join(dict.fromkeys(name for name, _ in members))
            cell = min([unit, *(member.itemsize for _, member in members)])
            self.regions.append(Region(names, at, end - begin, cell, ARGUMENT, a.shape, a.itemsize))
            at += end - begin + gap
        self.dynamic = at + -at % 256
        self.regions.append(Region("dynamic shared memory", self.dynamic, shared, unit, DYNAMIC))

    def view(self, address: int, like: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        start = address - self.begin
        return self.memory[start : start + like.nbytes].view(like.dtype).reshape(like.shape)

    def back(self) -> None:
        for a, copy in self.moved:
            if a.flags.writeable:
                a[...] = copy


def begin(library: ctypes.CDLL, variables: Iterable[Variable], arena: Arena, unit: int, tables: bool) -> list[Region]:
    """Tell the library where the arrays of the launch to come lie."""
    static = [Region(v.name, v.place, v.nbytes, unit, STATIC if v.shared else OTHER) for v in variables]
    regions = [*arena.regions, *static]
    columns = [
        (kind * len(regions))(*(getattr(region, name) for region in regions))
        for kind, name in (
            (ctypes.c_long, "begin"),
            (ctypes.c_long, "nbytes"),
            (ctypes.c_int, "unit"),
            (ctypes.c_int, "space"),
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

    def where(self) -> str:
        """The line, and if it is in a function that the kernel calls, from where."""
        here, outer = self.places[0], self.places[-1]
        return str(here) if here == outer else f"{here} called at {Path(outer.file).name}:{outer.line}"


class Finding(NamedTuple):
    """Something that a GPU would not forgive, as cuda_watch.h found it."""

    what: str
    region: Region | None
    offset: int
    size: int
    times: int
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
            return f"{self.region.title()}[{', '.join(str(i) for i in np.unravel_index(number, self.region.shape))}]"
        if self.region.space == DYNAMIC:
            return f"byte {self.offset} of {self.region.name}"
        return f"{self.region.title()}[{number}]"


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
        new = Finding(
            what, region, offset, size, count, (one, other), actor(*first), actor(*second), detail.replace("'", "")
        )
        key = (
            what,
            number,
            *sorted((new.first.places[0][:2], new.second.places[0][:2])),
            new.first.block == new.second.block,
        )
        found[key] = found[key]._replace(times=found[key].times + count) if key in found else new
    racing = {(key[1], place) for key in found if key[0] == "race" for place in key[2:4]}
    # what is not set because another thread has yet to set it is a race already
    return [f for key, f in found.items() if key[0] != "unset" or (key[1], key[2]) not in racing]


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
            function = re.split(r"[<(]", names[-1])[0].rpartition(" ")[2]
            found[at].append(Place(file, int(number) if number.isdigit() else 0, function))
            names.append("")
    return found


VERBS = ("reads", "writes", "updates")


class Teller:
    """Findings of one launch as sentences."""

    def __init__(self, grid: tuple[int, ...], block: tuple[int, ...], shared: int) -> None:
        self.grid, self.block, self.shared = grid, block, shared

    def who(self, actor: Actor) -> str:
        """ "thread 3", or "thread (3, 1) of block 2"."""
        text = f"thread {index(actor.thread, self.block)}"
        return text if np.prod(self.grid) == 1 else f"{text} of block {index(actor.block, self.grid)}"

    def sentence(self, f: Finding) -> str:
        """What is wrong, how often, and what to do."""
        told, remedy = getattr(self, f.what)(f, f"{self.who(f.second)} at {f.second.where()}")
        return f"{told}{f' ({f.times} times)' if f.times > 1 else ''}; {remedy}"

    def race(self, f: Finding, at: str) -> tuple[str, str]:
        same = f.first.places[0][:2] == f.second.places[0][:2]
        if f.first.block != f.second.block:
            remedy = "blocks run in no order: give each its own elements, use atomicAdd or the like, or split the kernel in two"
        elif 2 in f.kinds:
            remedy = "put __syncthreads() between the atomic updates and the other access"
        elif same and f.kinds == (1, 1):
            remedy = "let one thread write it, or use an atomic function"
        elif same:
            remedy = "update it with atomicAdd or the like, or read into a variable, __syncthreads(), then write"
        elif f.first.thread // 32 == f.second.thread // 32:
            remedy = "put __syncthreads() between the two, or if only lanes of one warp share it __syncwarp(): a warp is not in step"
        else:
            remedy = "put __syncthreads() between the two"
        first = f"{self.who(f.first)} {VERBS[f.kinds[0]]} at {f.first.where()}"
        second = f"{self.who(f.second)} {VERBS[f.kinds[1]]} at {f.second.where()}"
        return f"race: {f.element()}: {first}, {second}, and nothing orders them", remedy

    def bounds(self, f: Finding, at: str) -> tuple[str, str]:
        assert f.region is not None
        access, region = f"out of bounds: {at} {VERBS[f.kinds[1]]}", f.region
        if region.space == DYNAMIC:
            given = f"{f.element()}, and the launch gave it {self.shared} bytes"
            return f"{access} {given}", "launch with more, shared=bytes, or correct the index"
        size = region.itemsize or f.size
        extent = f"{region.nbytes // size} elements" + (f" {list(region.shape)}" if len(region.shape) > 1 else "")
        remedy = "test the index, `if (i >= 0)`" if f.offset < 0 else "guard it, `if (i < n)`"
        return f"{access} {region.title()}[{f.offset // size}], and {region.name} has {extent}", remedy

    def unset(self, f: Finding, at: str) -> tuple[str, str]:
        return (
            f"not set: {at} {VERBS[f.kinds[1]]} {f.element()}, to which no thread of the block has written: a GPU gives what "
            "happens to be there",
            "set all of it first, then __syncthreads()",
        )

    def copying(self, f: Finding, at: str) -> tuple[str, str]:
        return (
            f"not there yet: {at} {VERBS[f.kinds[1]]} {f.element()}, and the asynchronous copy to it, begun at "
            f"{f.first.where()}, is under way",
            "after the copies copies_commit(), and before their data are used copies_wait<n>(), then __syncthreads()",
        )

    def stray(self, f: Finding, at: str) -> tuple[str, str]:
        return (
            f"out of bounds: {at} {VERBS[f.kinds[1]]} an address that is in no array",
            "print the index: is it negative, too large, or an overflow?",
        )

    def endless(self, f: Finding, at: str) -> tuple[str, str]:
        return (
            f"endless: {at} is in a loop that does not end, since here a thread runs until it waits at a barrier",
            "check its condition; if it waits for another block, all must run at once: see grid_barrier",
        )

    def index(self, f: Finding, at: str) -> tuple[str, str]:
        return f"out of bounds: {at}: {f.detail}", "each index must stay in its own dimension"

    def null(self, f: Finding, at: str) -> tuple[str, str]:
        return f"null pointer: {at} uses one to {f.detail}", "test for nullptr what may be left out"

    def aligned(self, f: Finding, at: str) -> tuple[str, str]:
        return (
            f"misaligned: {at} accesses memory as {f.detail}: a GPU stops there",
            "test the alignment, as packed() does, and access single elements otherwise",
        )

    def overflow(self, f: Finding, at: str) -> tuple[str, str]:
        return f"overflow: {at}: {f.detail} is too large", "compute it in long long"

    def divide(self, f: Finding, at: str) -> tuple[str, str]:
        return f"division by zero: {at}: a GPU goes on with a meaningless integer", "test the divisor"

    def cast(self, f: Finding, at: str) -> tuple[str, str]:
        return f"out of range: {at}: a conversion from {f.detail}", "limit the value to the range of the type before"


def aliases(source: str, kernel: str, regions: list[Region], library: ctypes.CDLL) -> list[str]:
    """A sentence for each `const T* __restrict__ x` of a kernel that has been written to through another argument."""
    found = []
    for inside in re.findall(rf"\b{kernel}\(([^)]*)\)\s*\{{", source):
        for name in re.findall(r"const\s[^,]*\*\s*__restrict__\s+(\w+)", inside):
            for number, region in enumerate(regions):
                names = region.name.split(" = ")
                if len(names) > 1 and name in names and written(library, number)[0]:
                    found.append(
                        f"alias: {name} is const and __restrict__, and the launch gives {' and '.join(n for n in names if n != name)} "
                        f"the same memory and writes to it: a GPU may read {name} through a cache that does not see the writes; give it "
                        "memory of its own, or drop __restrict__"
                    )
    return found


def written(library: ctypes.CDLL, region: int) -> tuple[int, int]:
    """How many bytes of a region have been written to, and the first that has not, or -1."""
    first = ctypes.c_long()
    library.watch_written.restype = ctypes.c_long
    return library.watch_written(region, ctypes.byref(first)), first.value


def unwritten(library: ctypes.CDLL, regions: list[Region]) -> list[str]:
    """A sentence for each argument that has been written to in part."""
    found = []
    for number, region in enumerate(regions):
        if region.space == ARGUMENT:
            done, first = written(library, number)
            if 0 < done < region.nbytes:
                of, at = region.nbytes // region.itemsize, first // region.itemsize
                element = ", ".join(str(i) for i in np.unravel_index(at, region.shape))
                found.append(f"{region.name}: {done // region.itemsize} of {of} elements are written, the first that is not is "
                             f"{region.name}[{element}]")  # fmt: skip
    return found


def index(number: int, sizes: tuple[int, ...]) -> str:
    """A number as the index that CUDA gives it: "3", or "(3, 1)" where there are several along y."""
    x, y, z = (*sizes, 1, 1)[:3]
    whole = (number % x, number // x % y, number // (x * y))
    used = 3 if z > 1 else 2 if y > 1 else 1
    return str(whole[0]) if used == 1 else f"({', '.join(map(str, whole[:used]))})"
