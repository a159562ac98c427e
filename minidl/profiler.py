"""Where the time and the memory of a program go: by operation, by module, and as a picture over time.

    with minidl.profiler.profile() as prof:
        loss = model(x).sum()
        loss.backward()
    print(prof.key_averages().table())
    prof.export_chrome_trace("trace.json")      # open in chrome://tracing or Perfetto

Operations do not know of it and cost nothing extra while no profiler runs. Entering one puts a stopwatch around the
`forward` and `backward` of every operation, the calls of modules and the steps of optimizers; leaving takes them off again.
What is timed is therefore the mathematics; what lies between (building the graph, Python) shows as the self time of the
enclosing module, or as the difference to the wall time.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import json
import os
import threading
import time
import tracemalloc
import weakref
from collections.abc import Callable
from enum import Enum, auto
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from .autograd.op import Op

_running: profile | None = None  # two stopwatches on one operation would count its time twice


class Event(NamedTuple):
    """One call that was timed; times in seconds since the profiler's start."""

    name: str
    kind: str  # "op", "backward", "module", "optimizer" or "user"
    start: float
    end: float
    inside: float  # the time of the timed calls within it
    nbytes: int  # of the arrays that it made
    shapes: tuple[Any, ...]  # of its arrays, if asked for
    depth: int
    flops: int  # floating-point operations, if asked for
    moved: int  # bytes of the arrays that it read and made, of operations
    thread: int = 0  # counted from 0 in the order of their first calls

    @property
    def self_time(self) -> float:
        return self.end - self.start - self.inside


class ProfilerActivity(Enum):
    """PyTorch's names for what to watch. Calls are timed on the CPU; for GPU arrays until the GPU has done the work."""

    CPU = auto()
    CUDA = auto()


class ProfilerAction(Enum):
    """What a schedule says of a step."""

    NONE = auto()
    WARMUP = auto()
    RECORD = auto()
    RECORD_AND_SAVE = auto()


def schedule(*, wait: int, warmup: int, active: int, repeat: int = 0, skip_first: int = 0) -> Any:
    """Which steps to record: after skip_first, rounds of `wait` and `warmup` steps without and `active` ones with it."""

    def action(step: int) -> ProfilerAction:
        step -= skip_first
        length = wait + warmup + active
        if step < 0 or (repeat and step >= repeat * length):
            return ProfilerAction.NONE
        place = step % length
        if place < wait:
            return ProfilerAction.NONE
        if place < wait + warmup:
            return ProfilerAction.WARMUP
        return ProfilerAction.RECORD_AND_SAVE if place == length - 1 else ProfilerAction.RECORD

    return action


class profile:
    """Time what happens inside the block.

    record_shapes: keep the shapes of the arrays of each operation. with_flops: count floating-point operations (see
    utils.flop_counter). profile_memory: also the peak of allocated memory, by
    tracemalloc, which slows the program down. schedule, on_trace_ready and step() as in PyTorch: record some steps only.
    Other arguments of PyTorch's are accepted and change nothing. Raises RuntimeError inside another profiler.
    """

    def __init__(
        self,
        activities: Any = None,
        *,
        schedule: Callable[[int], ProfilerAction] | None = None,
        on_trace_ready: Callable[[profile], Any] | None = None,
        record_shapes: bool = False,
        profile_memory: bool = False,
        with_flops: bool = False,
        enabled: bool = True,
        **ignored: Any,
    ) -> None:
        self.schedule, self.on_trace_ready, self.enabled = schedule, on_trace_ready, enabled
        self.record_shapes, self.profile_memory, self.with_flops = record_shapes, profile_memory, with_flops
        self.recorded: list[Event] = []
        self.peak_bytes = 0  # the most memory that was allocated at one time, with profile_memory
        self.wall_time = 0.0  # seconds from beginning to end
        self.step_num = 0
        # by thread, of each call under way the time of the timed calls inside
        self._open: dict[int, list[list[float]]] = {}
        self._undo: list[Callable[[], None]] = []
        # a module's place in the outermost one
        self._paths: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()
        self._counted: dict[int, tuple[Any, int]] = {}  # by id, the nodes of operations and the flops of their forward

    # -- beginning and end

    def __enter__(self) -> Self:
        global _running
        if _running is not None and self.enabled:
            raise RuntimeError("profile: a profiler is running already; leave its block first")
        if self.enabled:
            _running = self
            self._begin = time.perf_counter()
            if self.profile_memory:
                tracemalloc.start()
            self._watch()
        return self

    def __exit__(self, *exception: object) -> None:
        global _running
        if not self.enabled or _running is not self:
            return
        _running = None
        self.wall_time += time.perf_counter() - self._begin
        while self._undo:
            self._undo.pop()()
        if self.profile_memory:
            self.peak_bytes = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        if self.on_trace_ready is not None and self.schedule is None:
            self.on_trace_ready(self)

    start, stop = __enter__, __exit__

    def step(self) -> None:
        """Say that one step of the program is over; with a schedule, recording begins and ends at these points."""
        if self.schedule is not None:
            action = self.schedule(self.step_num)
            if action in (ProfilerAction.NONE, ProfilerAction.WARMUP):
                self.recorded.clear()
            elif action is ProfilerAction.RECORD_AND_SAVE and self.on_trace_ready is not None:
                self.on_trace_ready(self)
                self.recorded.clear()
        self.step_num += 1

    # -- the stopwatches

    def _enter(self) -> tuple[list[float], float]:
        inside = [0.0]
        self._open.setdefault(threading.get_ident(), []).append(inside)
        return inside, time.perf_counter()

    def _leave(
        self, entered: tuple[list[float], float], name: str, kind: str, nbytes: int = 0, shapes: Any = (), flops: int = 0,
        moved: int = 0,
    ) -> None:  # fmt: skip
        end = time.perf_counter()
        inside, begin = entered
        thread = threading.get_ident()
        around = self._open[thread]
        around.pop()
        if around:
            around[-1][0] += end - begin
        times = begin - self._begin, end - self._begin
        number = list(self._open).index(thread)
        self.recorded.append(Event(name, kind, *times, inside[0], nbytes, shapes, len(around), flops, moved, number))

    def _timed(self, call: Callable[[], Any], name: str, kind: str) -> Any:
        """The result of the call of a module or an optimizer, of which an event is kept."""
        entered = self._enter()
        try:
            return call()
        finally:
            self._leave(entered, name, kind)

    def _timed_op(self, call: Callable[[], Any], name: str, kind: str, op: Any, inputs: tuple[Any, ...]) -> Any:
        """The result of an operation's forward or backward, of which an event is kept. `op` is its node, if it has one."""
        entered = self._enter()
        result: Any = None
        try:
            result = call()
            _wait_for_device(result)
            return result
        finally:
            made, read = _arrays_of(result), _arrays_of(inputs)
            nbytes = sum(int(a.nbytes) for a in made if not isinstance(a, np.ndarray) or a.base is None)
            moved = sum(int(a.nbytes) for a in (*read, *made))
            shapes = tuple(a.shape for a in read) if self.record_shapes else ()
            flops = self._flops(name, kind, op, read, made) if self.with_flops else 0
            self._leave(entered, name, kind, nbytes, shapes, flops, moved)

    def _flops(self, name: str, kind: str, op: Any, read: list[Any], made: list[Any]) -> int:
        from .utils.flop_counter import flops_of_backward, flops_of_forward

        inputs, out = tuple(a.shape for a in read), tuple(a.shape for a in made)
        if kind == "op":
            flops = flops_of_forward(op, name, inputs, out)
            if op is not None:
                self._counted[id(op)] = op, flops
            return flops
        return flops_of_backward(op, name.removesuffix("Backward"), self._counted.get(id(op), (None, 0))[1], out)

    def _watch(self) -> None:
        from .nn.module import Module
        from .optim.optimizer import Optimizer

        for op in _subclasses(Op):
            for method, suffix, kind in (("forward", "", "op"), ("backward", "Backward", "backward")):
                if method in vars(op):
                    self._watch_op(op, method, f"{op.__name__}{suffix}", kind)
            for cell in _cells(vars(op).get("apply"), "forward"):
                # the calls of small element-wise operations hold `forward` themselves
                self._undo.append(functools.partial(setattr, cell, "cell_contents", cell.cell_contents))
                cell.cell_contents = op.forward
        profiler, call = self, Module.__call__

        @functools.wraps(call)
        def call_timed(module: Any, *args: Any, **kwargs: Any) -> Any:
            return profiler._timed(lambda: call(module, *args, **kwargs), profiler._path(module), "module")

        self._put(Module, "__call__", call_timed, call)
        for optimizer in _subclasses(Optimizer):
            if "step" in vars(optimizer):
                self._watch_step(optimizer, vars(optimizer)["step"])

    def _watch_op(self, op: Any, method: str, name: str, kind: str) -> None:
        """Put a stopwatch around forward or backward: a method, a static method or a ufunc."""
        original = vars(op)[method]
        function = original.__func__ if isinstance(original, staticmethod) else original
        bound = inspect.isfunction(original)

        def with_stopwatch(*args: Any, **kwargs: Any) -> Any:
            node, inputs = (args[0], args[1:]) if bound else (None, args)
            return self._timed_op(lambda: function(*args, **kwargs), name, kind, node, inputs)

        with contextlib.suppress(AttributeError, TypeError):  # a ufunc has not all that a function has
            functools.update_wrapper(with_stopwatch, function)
        self._put(op, method, with_stopwatch if bound else staticmethod(with_stopwatch), original)

    def _watch_step(self, optimizer: Any, step: Any) -> None:
        name = f"Optimizer.step#{optimizer.__name__}"

        @functools.wraps(step)
        def step_timed(*args: Any, **kwargs: Any) -> Any:
            return self._timed(lambda: step(*args, **kwargs), name, "optimizer")

        self._put(optimizer, "step", step_timed, step)

    def _put(self, cls: Any, method: str, new: Any, original: Any) -> None:
        setattr(cls, method, new)
        self._undo.append(lambda: setattr(cls, method, original))

    def _path(self, module: Any) -> str:
        """A module's place in the outermost module that was called, and its class."""
        if module not in self._paths:
            for path, part in module.named_modules():
                self._paths[part] = f"{path or '(model)'} {type(part).__name__}"
        return self._paths[module]

    # -- what was found

    def events(self) -> list[Event]:
        """The timed calls, in the order in which they began."""
        return sorted(self.recorded, key=lambda e: (e.start, e.depth))

    def key_averages(self, group_by_input_shape: bool = False, **ignored: Any) -> Averages:
        """The calls of each name (and shapes, if asked for) added up."""
        rows: dict[Any, Row] = {}
        for e in self.recorded:
            key = (e.name, e.kind, e.shapes if group_by_input_shape else ())
            row = rows.setdefault(key, Row(e.name, e.kind, key[2]))
            row.count += 1
            row.self_time += e.self_time
            row.total_time += e.end - e.start
            row.nbytes += e.nbytes
            row.flops += e.flops
            row.moved += e.moved
        return Averages(rows.values())

    def export_chrome_trace(self, path: Any) -> None:
        """Write the events as JSON in Chrome's trace format; a file that was there is replaced when it is complete."""
        target = Path(path)
        rows = [
            {
                "name": e.name, "cat": e.kind, "ph": "X", "pid": os.getpid(), "tid": e.thread,
                "ts": e.start * 1e6, "dur": (e.end - e.start) * 1e6,
                "args": {"bytes": e.nbytes, **({"shapes": [list(s) for s in e.shapes]} if e.shapes else {})},
            }
            for e in self.events()
        ]  # fmt: skip
        unfinished = target.with_name(target.name + ".unfinished")
        unfinished.write_text(json.dumps({"traceEvents": rows, "displayTimeUnit": "ms"}) + "\n")
        unfinished.replace(target)


class Row:
    """The calls of one name: how many, how long, how much memory they made. Times in seconds."""

    def __init__(self, name: str, kind: str, shapes: Any = ()) -> None:
        self.key = self.name = name
        self.kind, self.shapes = kind, shapes
        self.count = self.nbytes = self.flops = self.moved = 0
        self.self_time = self.total_time = 0.0

    cpu_time_total = property(lambda self: self.total_time * 1e6)  # PyTorch's names, in microseconds
    self_cpu_time_total = property(lambda self: self.self_time * 1e6)
    cpu_time = property(lambda self: self.total_time * 1e6 / max(self.count, 1))


SORTS = {
    "self_time": lambda row: row.self_time, "self_cpu_time_total": lambda row: row.self_time,
    "total_time": lambda row: row.total_time, "cpu_time_total": lambda row: row.total_time,
    "count": lambda row: row.count, "flops": lambda row: row.flops, "bytes": lambda row: row.nbytes, "self_cpu_memory_usage": lambda row: row.nbytes,
    "cpu_memory_usage": lambda row: row.nbytes,
}  # fmt: skip


class Averages(list[Row]):
    """Rows of what was timed; `table()` prints them."""

    def of(self, *kinds: str) -> Averages:
        """The rows of some kinds: "op", "backward", "module", "optimizer", "user"."""
        return Averages(row for row in self if row.kind in kinds)

    def total_average(self) -> Row:
        """All rows added up; the total time is that of the calls that lie in no other."""
        row = Row("total", "")
        for r in self:
            row.count, row.self_time, row.nbytes = (
                row.count + r.count,
                row.self_time + r.self_time,
                row.nbytes + r.nbytes,
            )
        row.total_time = row.self_time
        return row

    def table(self, sort_by: str | None = None, row_limit: int = 100, **ignored: Any) -> str:
        """The rows as text, the largest first. sort_by: one of SORTS. Raises ValueError for another."""
        if sort_by is not None and sort_by.replace("cuda", "cpu").replace("device", "cpu") not in SORTS:
            raise ValueError(f"table: cannot sort by {sort_by!r}; sort_by is one of {', '.join(SORTS)}")
        chosen = SORTS[(sort_by or "self_time").replace("cuda", "cpu").replace("device", "cpu")]
        rows = sorted(self, key=chosen, reverse=True)
        whole = sum(row.self_time for row in self) or 1.0
        shown = [(f"{row.name} {list(map(list, row.shapes))}" if row.shapes else row.name, row) for row in rows]
        shown = shown if row_limit < 0 else shown[:row_limit]
        width = max([len(text) for text, _ in shown] + [4])
        lines = [
            f"{'name':{width}}  {'calls':>7} {'self ms':>10} {'self %':>7} {'total ms':>10} {'us/call':>10} {'MB':>9}"
        ]
        lines += [
            f"{text:{width}}  {row.count:7d} {row.self_time * 1e3:10.3f} {row.self_time / whole:7.1%} "
            f"{row.total_time * 1e3:10.3f} {row.total_time * 1e6 / row.count:10.1f} {row.nbytes / 1e6:9.2f}"
            for text, row in shown
        ]
        if len(shown) < len(rows):
            rest = sum(row.self_time for row in rows[len(shown) :])
            lines.append(f"({len(rows) - len(shown)} more, {rest * 1e3:.3f} ms)")
        return "\n".join(lines) + "\n"


class record_function(contextlib.ContextDecorator):
    """Time a block under a name of its own, if a profiler is running: `with record_function("load"):`, or as a decorator."""

    def __init__(self, name: str, args: str | None = None) -> None:
        self.name = name

    def __enter__(self) -> Self:
        self.profiler = _running
        if self.profiler is not None:
            self.entered = self.profiler._enter()
        return self

    def __exit__(self, *exception: object) -> None:
        if self.profiler is not None and self.profiler is _running:
            self.profiler._leave(self.entered, self.name, "user")


def _subclasses(cls: type) -> list[Any]:
    direct: list[Any] = cls.__subclasses__()
    return direct + [deeper for c in direct for deeper in _subclasses(c)]


def _cells(function: Any, name: str) -> list[Any]:
    """The closure cells of that name that a function, or the function inside a staticmethod, holds."""
    function = getattr(function, "__func__", function)
    if function is None or not getattr(function, "__closure__", None):
        return []
    return [cell for n, cell in zip(function.__code__.co_freevars, function.__closure__, strict=True) if n == name]


def _arrays_of(result: Any) -> list[Any]:
    values = result if isinstance(result, (tuple, list)) else (result,)
    return [getattr(v, "array", v) for v in values if hasattr(getattr(v, "array", v), "nbytes")]


def _wait_for_device(result: Any) -> None:
    """Work on a GPU goes on after a call has returned; its time is known when it has ended."""
    for array in _arrays_of(result):
        if type(array).__module__.partition(".")[0] == "cupy":
            from .cuda import synchronize

            synchronize()
            return
