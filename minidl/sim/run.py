"""The scheduler: threads of a block run one after the other from barrier to barrier, in an order of your choice."""

from __future__ import annotations

import random
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from .errors import Fault, KernelError
from .intrinsics import BLOCK_WAITS, FULL_MASK, MAX_SHARED, WARP, Device, Dim3
from .memory import Memory, wrapped
from .report import Report
from .rewrite import Program

ORDERS = ("forward", "reverse", "random")
MAX_THREADS = 1024  # of a block
MAX_BLOCK, MAX_GRID = Dim3(1024, 1024, 64), Dim3(2**31 - 1, 65535, 65535)
MAX_TURNS = 20_000  # of a thread between two barriers: more than any loop that ends in a simulation


class Thread:
    """A CUDA thread: its generator, and what it waits for, as (operation, arguments, place in the source)."""

    __slots__ = ("answer", "done", "generator", "index", "lane", "number", "request", "turns", "warp_epoch")

    def __init__(self, number: int, index: Dim3, generator: Any) -> None:
        self.number, self.index, self.generator = number, index, generator
        self.lane = number % WARP
        self.request: Any = None
        self.answer: Any = None
        self.done = False
        self.turns = self.warp_epoch = 0


def simulate(
    kernel: Any, grid: Any, block: Any, *args: Any, order: str = "forward", seed: int = 0, shared: int = 0
) -> Report:
    """Run a kernel on a GPU that is not there, and report what its threads did to memory.

    kernel: a function under `@cuda.jit`, Numba's or that of minidl.sim, or the plain function. grid, block: an int or up to
    three. args: NumPy arrays, which the kernel writes to, and numbers. order: in which the threads run between barriers:
    "forward", "reverse", or "random" by `seed`; a correct kernel gives the same in all of them. shared: bytes of dynamic
    shared memory.
    Raises: KernelError, naming line, block and thread, for what a GPU refuses, hangs on or is corrupted by.

    Example:
        >>> report = simulate(reverse, 1, 32, x, out)
        >>> print(report.verdict())
    """
    if order not in ORDERS:
        raise ValueError(f"simulate: order {order!r}; it is one of {', '.join(ORDERS)}")
    name = getattr(kernel, "__name__", str(kernel))
    grid3, block3 = launch_size(name, "grid", grid, MAX_GRID), launch_size(name, "block", block, MAX_BLOCK)
    if block3.x * block3.y * block3.z > MAX_THREADS:
        raise KernelError(
            "launch",
            f"a block of {' x '.join(map(str, block3))} threads: {MAX_THREADS} is the most that a block can have",
            name,
        )
    if not 0 <= shared <= MAX_SHARED:
        raise KernelError("launch", f"{shared} bytes of shared memory: a block can have 0 to {MAX_SHARED}", name)
    memory = Memory()
    device = Device(memory, grid3, block3, shared)
    program = Program(kernel, device)
    wanted = program.main.call.__code__
    names = wanted.co_varnames[: wanted.co_argcount]
    fewest = len(names) - len(program.main.call.__defaults__ or ())
    if not fewest <= len(args) <= len(names):
        raise KernelError("launch", f"takes {len(names)} arguments ({', '.join(names)}), got {len(args)}", name)
    values = [argument(memory, name, *pair) for pair in zip(names, args, strict=False)]
    launch = Launch(program, device, values, order, random.Random(seed))
    with np.errstate(all="ignore"):  # a GPU computes infinity and NaN without a word
        launch.run()
    return Report(
        program, memory, grid3, block3, order, [a for a in args if isinstance(a, np.ndarray)], launch.barriers
    )


def launch_size(kernel: str, what: str, size: Any, most: Dim3) -> Dim3:
    """An int or up to three of them as three. Raises KernelError outside of what a GPU can launch."""
    given = tuple(size) if isinstance(size, (tuple, list)) else (size,)
    whole = all(isinstance(n, (int, np.integer)) and not isinstance(n, bool) for n in given)
    if not whole or not 1 <= len(given) <= 3:
        raise KernelError("launch", f"{what} {size!r}: it is an int or up to three of them", kernel)
    out = Dim3(*(int(n) for n in (*given, 1, 1)[:3]))
    for axis, n, limit in zip("xyz", out, most, strict=True):
        if not 1 <= n <= limit:
            raise KernelError("launch", f"{what} {size!r}: {axis} is {n}, and must be from 1 to {limit}", kernel)
    return out


def argument(memory: Memory, kernel: str, name: str, value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return memory.argument(name, value)
    if isinstance(value, (bool, int, float, np.floating)):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, tuple):
        return tuple(argument(memory, kernel, name, part) for part in value)
    raise KernelError("launch", f"{name} is {type(value).__name__}: a kernel takes NumPy arrays and numbers", kernel)


class Launch:
    """One launch: block after block, each until all of its threads have ended."""

    def __init__(
        self, program: Program, device: Device, values: list[Any], order: str, generator: random.Random
    ) -> None:
        self.program, self.device, self.memory, self.values = program, device, device.memory, values
        self.order, self.random = order, generator
        self.barriers = 0  # the most that a block has passed
        self.epoch = 0  # barriers that this block has passed
        self.block_number = 0

    def ordered(self, items: list[Any]) -> list[Any]:
        if self.order == "reverse":
            return items[::-1]
        if self.order == "random":
            return self.random.sample(items, len(items))
        return items

    def run(self) -> None:
        blocks = list(enumerate(indices(self.device.gridDim)))
        for number, index in self.ordered(blocks):
            self.block_number = number
            self.run_block(index)

    def run_block(self, index: Dim3) -> None:
        self.device.begin_block(index)
        self.epoch, self.memory.block = 0, self.block_number
        threads = [
            Thread(number, place, self.program.main.call(*self.values))
            for number, place in enumerate(indices(self.device.blockDim))
        ]
        ready = threads
        while ready:
            for thread in self.ordered(ready):
                self.resume(thread)
            ready = self.released(threads)
        self.barriers = max(self.barriers, self.epoch)

    def resume(self, thread: Thread) -> None:
        """Let a thread go on until it waits or ends."""
        device, memory = self.device, self.memory
        device.threadIdx, device.laneid, memory.thread = thread.index, thread.lane, thread
        memory.segments.append((len(memory.log), self.block_number, thread.number, self.epoch, thread.warp_epoch))
        try:
            thread.request = thread.generator.send(thread.answer)
        except StopIteration:
            thread.done, thread.request = True, None
            return
        except KernelError:
            raise
        except Exception as error:
            raise self.error(error, thread) from (None if isinstance(error, Fault) else error)
        thread.answer = None
        if thread.request is None:
            thread.turns += 1
            if thread.turns > MAX_TURNS:
                raise self.blame(
                    "barrier",
                    f"{MAX_TURNS} turns of a while loop without a barrier: does it wait for what no thread does? (Blocks run one "
                    "after the other here, so none can wait for a later one)",
                    thread,
                    (self.program.main.name, line_of(thread.generator), 0),
                )
        else:
            thread.turns = 0

    def error(self, error: Exception, thread: Thread) -> KernelError:
        """An exception of the kernel's code, with the line of the kernel that it came from."""
        kind = error.kind if isinstance(error, Fault) else "python"
        message = str(error) if isinstance(error, Fault) else f"{type(error).__name__}: {error}".rstrip(": ")
        if isinstance(error, ZeroDivisionError):
            message = "division by zero: a GPU goes on with infinity, or with a meaningless integer"
        name, file, line = self.program.main.name, self.program.main.file, 0
        for frame, number in traceback.walk_tb(error.__traceback__):
            if frame.f_code in self.program.codes:
                where = self.program.codes[frame.f_code]
                name, file, line = where.name, where.file, number
        return KernelError(kind, message, name, file, line, self.device.blockIdx, thread.index)

    def blame(self, kind: str, message: str, thread: Thread | None, place: tuple[str, int, int]) -> KernelError:
        function = next((f for f in self.program.codes.values() if f.name == place[0]), self.program.main)
        index = None if thread is None else thread.index
        return KernelError(kind, message, function.name, function.file, place[1], self.device.blockIdx, index)

    def released(self, threads: list[Thread]) -> list[Thread]:
        """The threads that can go on, with the answers that they waited for. Raises KernelError if there are none."""
        live = [thread for thread in threads if not thread.done]
        ready = [thread for thread in live if thread.request is None]
        for first in range(0, len(threads), WARP):
            ready += self.warp_ready(threads[first : first + WARP])
        if ready or not live:
            return ready
        stuck = [thread for thread in live if thread.request[0] not in BLOCK_WAITS]
        if stuck:
            self.stuck_warp(stuck[0], threads)
        self.check_barrier(threads, live)
        operation = live[0].request[0]
        given = [bool(thread.request[1][0]) for thread in live if thread.request[1]]
        answers = {
            "syncthreads_count": sum(given),
            "syncthreads_and": int(all(given)),
            "syncthreads_or": int(any(given)),
        }
        for thread in live:
            thread.answer = answers.get(operation)
            thread.request = None
        self.epoch += 1
        return live

    def check_barrier(self, threads: list[Thread], live: list[Thread]) -> None:
        """All threads of the block wait at one barrier, or KernelError says who does not."""
        here, place = live[0].request[0], live[0].request[2]
        ended = next((thread for thread in threads if thread.done), None)
        if ended is not None:
            raise self.blame(
                "barrier",
                f"only {len(live)} of {len(threads)} threads reach this cuda.{here}(), the others (such as thread "
                f"{tuple(ended.index)}) have ended: a GPU may hang or go on. Let all threads of a block reach every barrier: put "
                "the condition around the work, not around the barrier or a return before it",
                live[0],
                place,
            )
        other = next((thread for thread in live if thread.request[2] != place), None)
        if other is not None:
            raise self.blame(
                "barrier",
                f"threads wait at different barriers: this one at cuda.{here}(), thread {tuple(other.index)} at "
                f"cuda.{other.request[0]}() of line {other.request[2][1]}. Take the barrier out of the if",
                live[0],
                place,
            )

    def stuck_warp(self, thread: Thread, threads: list[Thread]) -> None:
        operation, arguments, place = thread.request
        mask = mask_of(arguments)
        warp = threads[thread.number // WARP * WARP :][:WARP]
        missing = next(
            t for t in warp if mask >> t.lane & 1 and not t.done and t.request[:1] + t.request[2:] != (operation, place)
        )
        raise self.blame(
            "warp",
            f"cuda.{operation} waits for lane {missing.lane}, which its mask {mask:#x} names and which waits at "
            f"cuda.{missing.request[0]} of line {missing.request[2][1]}: all lanes of a mask execute the same line",
            thread,
            place,
        )

    def warp_ready(self, warp: list[Thread]) -> list[Thread]:
        """Finish the operations of a warp for which every living lane of the mask has come."""
        groups: dict[Any, list[Thread]] = {}
        for thread in warp:
            if thread.request is not None and thread.request[0] not in BLOCK_WAITS:
                operation, arguments, place = thread.request
                groups.setdefault((operation, mask_of(arguments), place), []).append(thread)
        ready = []
        for (operation, mask, place), lanes in groups.items():
            needed = [thread for thread in warp if mask >> thread.lane & 1 and not thread.done]
            outside = next((thread for thread in lanes if not mask >> thread.lane & 1), None)
            if outside is not None:
                raise self.blame(
                    "warp", f"the mask {mask:#x} does not name lane {outside.lane}, which calls", outside, place
                )
            if len(needed) == len(lanes):
                self.answer_warp(operation, lanes, warp, place)
                ready += lanes
        return ready

    def answer_warp(self, operation: str, lanes: list[Thread], warp: list[Thread], place: tuple[str, int, int]) -> None:
        values = {thread.lane: thread.request[1][1] for thread in lanes if len(thread.request[1]) > 1}
        alive = sum(not thread.done for thread in warp)
        for thread in lanes:
            if operation == "syncwarp":
                thread.warp_epoch += len(lanes) == alive
            elif operation.startswith("shfl"):
                thread.answer = self.shuffled(operation, thread, values, place)
            else:
                thread.answer = voted(operation, values, thread.lane)
        for thread in lanes:
            thread.request = None

    def shuffled(self, operation: str, thread: Thread, values: dict[int, Any], place: tuple[str, int, int]) -> Any:
        delta = int(thread.request[1][2])
        moves = {"shfl_sync": delta % WARP, "shfl_up_sync": thread.lane - delta, "shfl_down_sync": thread.lane + delta,
                 "shfl_xor_sync": thread.lane ^ delta}  # fmt: skip
        source = moves[operation]
        if not 0 <= source < WARP:
            return values[thread.lane]  # beyond the warp: a lane keeps its own
        if source not in values:
            raise self.blame(
                "warp",
                f"cuda.{operation} reads from lane {source}, which does not take part: it has ended, is not in the mask or "
                "does not exist in a block this small; the value is undefined on a GPU",
                thread,
                place,
            )
        return values[source]


def voted(operation: str, values: dict[int, Any], lane: int) -> Any:
    """The answer to a lane of a vote or match among the lanes that take part."""
    same = sum(1 << i for i, value in values.items() if value == values[lane])
    everyone = sum(1 << i for i in values)
    if operation == "ballot_sync":
        return sum(1 << i for i, value in values.items() if value)
    if operation == "match_any_sync":
        return same
    if operation == "match_all_sync":
        return (everyone, True) if same == everyone else (0, False)
    if operation == "eq_sync":
        return len({bool(value) for value in values.values()}) == 1
    return (all if operation == "all_sync" else any)(values.values())


def mask_of(arguments: tuple[Any, ...]) -> int:
    return wrapped(int(arguments[0]), np.dtype(np.uint32)) if arguments else FULL_MASK


def line_of(generator: Any) -> int:
    """The line at which a suspended generator stands."""
    return generator.gi_frame.f_lineno if generator.gi_frame is not None else 0


def indices(size: Dim3) -> Iterator[Dim3]:
    """All indices of a grid or block, x running fastest."""
    for z in range(size.z):
        for y in range(size.y):
            for x in range(size.x):
                yield Dim3(x, y, z)


@contextmanager
def running(order: str = "forward", seed: int = 0, reports: list[Report] | None = None) -> Iterator[None]:
    """Within the block, the Numba-CUDA kernels of minidl.kernels that are given NumPy arrays are simulated.

    reports: collects a Report for each launch. Raises: KernelError.

    Example:
        >>> with running():
        ...     y = softmax.variants["cuda", "numba_cuda"].run(x, -1)
    """
    from ..kernels import numba_cuda

    def launch(kernel: Any, grid: Any, block: Any, *args: Any) -> None:
        report = simulate(kernel, grid, block, *args, order=order, seed=seed)
        if reports is not None:
            reports.append(report)

    before, numba_cuda.on_cpu = numba_cuda.on_cpu, launch
    try:
        yield
    finally:
        numba_cuda.on_cpu = before
