"""The memory of the simulated GPU: arrays that check every index, remember what was written, and log each access."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any, NoReturn

import numpy as np

from .errors import Fault

READ, WRITE, ATOMIC = 0, 1, 2
SIZE_BITS = 8  # a key of the log is buffer number << SIZE_BITS | bytes per element
Entry = tuple[CodeType, int, int, int, int]  # code, instruction, key, byte offset in the buffer, READ | WRITE | ATOMIC


class Memory:
    """All buffers of one launch, and the log of what its threads did to them.

    segments: (position in the log, block, thread, barrier epoch, warp epoch), one whenever another thread goes on. What
    stands in the log between two of them was done by the one thread in one interval between barriers.
    """

    def __init__(self) -> None:
        self.buffers: list[Buffer] = []
        self.log: list[Entry] = []
        self.segments: list[tuple[int, int, int, int, int]] = []
        self.unwritten: dict[tuple[int, int, str], Unwritten] = {}
        self.cut: dict[Any, list[Any]] = {}  # stores of numbers that the array's type does not hold, by place
        self.thread: Any = None  # the one that runs now, and the number of its block
        self.block = 0

    def argument(self, name: str, array: np.ndarray[Any, Any]) -> Array:
        """A kernel's argument. Arguments that overlap in memory are one buffer, so that races between them are seen."""
        root = array
        while isinstance(root.base, np.ndarray):
            root = root.base
        address = root.__array_interface__["data"][0]
        for buffer in self.buffers:
            if buffer.space == "global" and buffer.address == address:
                break
        else:
            buffer = self.buffer(name, "global", root.nbytes, tracked=False)
            buffer.address = address
        return Array(self, buffer, array, array.__array_interface__["data"][0] - address)

    def buffer(self, name: str, space: str, nbytes: int, tracked: bool = True) -> Buffer:
        self.buffers.append(Buffer(len(self.buffers), name, space, nbytes, tracked))
        return self.buffers[-1]

    def new(self, name: str, space: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """Shared or local memory, filled with what is there on no GPU but shows up in results: NaN, or bytes 0xCD."""
        data = np.empty(shape, dtype)
        poison(data)
        return Array(self, self.buffer(name, space, data.nbytes), data, 0)


def poison(data: np.ndarray[Any, Any]) -> None:
    if data.dtype.kind in "fc":
        data.fill(np.nan)
    else:
        data.view(np.uint8).fill(0xCD)


class Buffer:
    """A contiguous piece of memory: an argument of the kernel, or a shared or local array of one block or thread."""

    def __init__(self, number: int, name: str, space: str, nbytes: int, tracked: bool) -> None:
        self.number, self.name, self.space, self.nbytes = number, name, space, nbytes
        self.written = bytearray(nbytes) if tracked else None  # a mark for each byte
        self.address = 0
        self.shape: tuple[int, ...] = ()  # of the first array over it, for pictures and messages
        self.strides: tuple[int, ...] = ()
        self.start = 0
        self.itemsize = 1

    def index_of(self, offset: int) -> tuple[int, ...]:
        """The index that a byte offset has in the first array over this buffer."""
        found, rest = [0] * len(self.shape), offset - self.start
        for axis in sorted(range(len(self.shape)), key=lambda axis: -abs(self.strides[axis])):
            if self.strides[axis]:
                found[axis], rest = divmod(rest, self.strides[axis])
        return tuple(found)

    def places(self) -> np.ndarray[Any, Any]:
        """The byte offsets of all elements of the first array over this buffer, in its order."""
        index = np.indices(self.shape).reshape(len(self.shape), -1)
        return self.start + np.array(self.strides, np.int64) @ index

    def element(self, offset: int) -> str:
        return f"{self.name}[{', '.join(map(str, self.index_of(offset)))}]"


class Unwritten:
    """A read of a cell of shared or local memory that no thread has written to."""

    def __init__(self, code: CodeType, instruction: int, buffer: Buffer, offset: int, thread: Any, block: int) -> None:
        self.code, self.instruction, self.buffer, self.offset = code, instruction, buffer, offset
        self.thread, self.block, self.count = thread, block, 0


ONES = [b"\1" * n for n in range(17)]


class Array:
    """An array as a kernel sees it. It takes whole indices (`a[i, j]`), and slices, which are views (`a[4:]`).

    A read gives an int for an array of integers, which is Numba's 64-bit arithmetic, and a scalar of the array's type for
    floats. A store converts to the array's type as C does: floats are truncated, integers keep their low bits.
    """

    __slots__ = ("buffer", "data", "dtype", "integer", "itemsize", "key", "log", "memory", "ndim", "shape", "size",
                 "start", "strides", "writable", "written")  # fmt: skip

    def __init__(
        self, memory: Memory, buffer: Buffer, data: np.ndarray[Any, Any], start: int, writable: bool = True
    ) -> None:
        self.memory, self.buffer, self.data, self.start, self.writable = memory, buffer, data, start, writable
        self.shape, self.strides, self.ndim, self.size = data.shape, data.strides, data.ndim, data.size
        self.dtype, self.itemsize = data.dtype, data.itemsize
        self.integer = data.dtype.kind in "iub"
        self.log = memory.log if buffer.space in ("global", "shared") else None
        self.written = buffer.written
        self.key = buffer.number << SIZE_BITS | data.itemsize
        if not buffer.shape:
            buffer.shape, buffer.strides, buffer.start = data.shape, data.strides, start
            buffer.itemsize = data.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> NoReturn:
        raise Fault("unsupported", f"a loop over the array {self.buffer.name}: loop over indices, `for i in range(n)`")

    def __getitem__(self, index: Any) -> Any:
        offset = self.offset(index)
        if offset < 0:
            return self.view(index)
        frame = sys._getframe(1)
        if self.log is not None:
            self.log.append((frame.f_code, frame.f_lasti, self.key, offset, READ))
        if self.written is not None and not self.written[offset]:
            self.note_unwritten(frame, offset)
        value = self.data[index]
        return value.item() if self.integer else value

    def __setitem__(self, index: Any, value: Any) -> None:
        offset = self.offset(index)
        if offset < 0:
            raise Fault("unsupported", f"a slice of {self.buffer.name} is assigned to: write one element per thread")
        frame = sys._getframe(1)
        if self.log is not None:
            self.log.append((frame.f_code, frame.f_lasti, self.key, offset, WRITE))
        self.store(index, offset, value, frame)

    def store(self, index: Any, offset: int, value: Any, frame: FrameType) -> None:
        if not self.writable:
            raise Fault("memory", f"{self.buffer.name} is constant memory: a kernel can only read it")
        if value.__class__ is Array:
            raise Fault("unsupported", f"a whole array is stored into one element of {self.buffer.name}: index it")
        if self.written is not None:
            self.written[offset : offset + self.itemsize] = ONES[self.itemsize]
        if self.integer and value.__class__ is not int and self.dtype.kind != "b" and not fits(value, self.dtype):
            self.note_cut(frame, value)
        try:
            self.data[index] = value
        except (OverflowError, ValueError):  # NumPy refuses what C and Numba cut off, and to make an integer of NaN
            # what is unsigned and wide is meant to go round: hashes, random bits
            if value.__class__ is int and (self.dtype.kind == "i" or self.itemsize < 4):
                self.note_cut(frame, value)
            self.data[index] = wrapped(int(value), self.dtype) if math.isfinite(value) else 0

    def atomic(self, index: Any, change: Callable[[Any], Any]) -> Any:
        """Replace an element by change(element); returns what was there. For the functions of cuda.atomic."""
        offset = self.offset(index)
        if offset < 0:
            raise Fault("unsupported", f"an atomic operation on a slice of {self.buffer.name}: give a whole index")
        frame = sys._getframe(2)
        if self.log is not None:
            self.log.append((frame.f_code, frame.f_lasti, self.key, offset, ATOMIC))
        if self.written is not None and not self.written[offset]:
            self.note_unwritten(frame, offset)
        old = self.data[index]
        old = old.item() if self.integer else old
        self.store(index, offset, change(old), frame)
        return old

    def offset(self, index: Any) -> int:
        """The byte offset of an element in its buffer, or -1 for an index that leaves a view. Raises Fault."""
        if index.__class__ is int and self.ndim == 1:
            if not 0 <= index < self.size:
                self.out_of_bounds(index)
            return self.start + index * self.strides[0]
        whole = index if index.__class__ is tuple else (index,)
        if self.ndim == 2 and len(whole) == 2:  # as below, for the sake of tiles, in half the time
            i, j = whole
            if i.__class__ is int and j.__class__ is int and 0 <= i < self.shape[0] and 0 <= j < self.shape[1]:
                return self.start + i * self.strides[0] + j * self.strides[1]
        if len(whole) > self.ndim:
            raise Fault("bounds", f"{self.buffer.name} has {self.ndim} dimensions and {len(whole)} indices are given")
        offset, view = self.start, len(whole) < self.ndim
        for i, size, stride in zip(whole, self.shape, self.strides, strict=False):
            if i.__class__ is not int:
                if isinstance(i, slice):
                    view = True
                    continue
                if not isinstance(i, (np.integer, bool)):
                    raise Fault("bounds", f"the index {i!r} of {self.buffer.name} is no integer; `//` divides integers")
                i = int(i)
            if not 0 <= i < size:
                self.out_of_bounds(index)
            offset += i * stride
        return -1 if view else offset

    def out_of_bounds(self, index: Any) -> NoReturn:
        shape = self.shape[0] if self.ndim == 1 else self.shape
        whole = index if isinstance(index, tuple) else (index,)
        text = ", ".join(str(i) if not isinstance(i, slice) else ":" for i in whole)
        below = any(not isinstance(i, slice) and i < 0 for i in whole)
        why = (
            "Python counts it from the end, a GPU reads before the array. Test the index, `if i >= 0:`"
            if below
            else "a GPU would go on into memory that belongs to others. Guard it: `if i < n:`"
        )
        raise Fault("bounds", f"{self.buffer.name}[{text}] is out of bounds, the shape is {shape}; {why}")

    def view(self, index: Any) -> Array:
        data = self.data[index]
        start = self.start + data.__array_interface__["data"][0] - self.data.__array_interface__["data"][0]
        return Array(self.memory, self.buffer, data, start if data.size else self.start, self.writable)

    def note_unwritten(self, frame: FrameType, offset: int) -> None:
        place = id(frame.f_code), frame.f_lasti, self.buffer.name
        found = self.memory.unwritten.get(place)
        if found is None:
            memory = self.memory
            found = Unwritten(frame.f_code, frame.f_lasti, self.buffer, offset, memory.thread, memory.block)
            self.memory.unwritten[place] = found
        found.count += 1

    def note_cut(self, frame: FrameType, value: Any) -> None:
        place = id(frame.f_code), frame.f_lasti, self.buffer.name
        first = self.memory.cut.setdefault(place, [frame.f_code, frame.f_lasti, value, self.dtype, 0])
        first[-1] += 1


def fits(value: Any, dtype: np.dtype[Any]) -> bool:
    """Whether a float that becomes an integer stays within the type's range: NaN does not."""
    limits = np.iinfo(dtype)
    return bool(limits.min - 1 < value < limits.max + 1)


def wrapped(value: int, dtype: np.dtype[Any]) -> int:
    """An integer reduced to the bits of an integer type, as a C cast does it."""
    bits = 8 * dtype.itemsize
    value &= (1 << bits) - 1
    return value - (1 << bits) if dtype.kind == "i" and value >> (bits - 1) else value


def dtype_of(wanted: Any) -> np.dtype[Any]:
    """The NumPy dtype of a NumPy type, a dtype or one of Numba's types, which is known by its name."""
    try:
        return np.dtype(wanted if isinstance(wanted, (type, np.dtype, str)) else str(wanted))
    except TypeError:
        raise Fault("unsupported", f"{wanted!r} is no element type; float32, int32 and so on are") from None
