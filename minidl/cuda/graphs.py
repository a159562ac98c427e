"""CUDA graphs: the work of a piece of code recorded once and launched again as a whole, without Python between its kernels.

    static_x = minidl.zeros(64, 784, device="cuda")
    model(static_x)                          # once before: compiles kernels, starts libraries
    g = minidl.cuda.CUDAGraph()
    with minidl.cuda.graph(g):
        static_y = model(static_x)
    static_x.copy_(batch); g.replay()        # static_y now holds model(batch)

A replay runs the same kernels on the same memory. What depends on Python at the time of recording stays as it was: shapes,
branches, numbers. Whatever needs a value on the CPU (item(), a condition on a tensor), copies from the CPU or draws random
numbers cannot be recorded and raises; checks of indices are left out, as they would need to look. Arrays that are made while
recording come from a pool of memory that belongs to the graph alone, so that nobody else writes to it. A whole training step is
recorded after a few that were not, with SGD, or with capturable=True and any optimizer that has this option: Adam, AdamW,
Adamax, NAdam, RAdam, RMSprop, Adadelta, ASGD, Rprop. The others raise.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any, Self

from .. import devices
from ..autograd.engine import grad
from ..autograd.function import Function
from ..autograd.op import wrap
from ..devices import cupy_for
from .streams import Stream, current_stream


def is_current_stream_capturing() -> bool:
    """Whether the work of the current stream is being recorded."""
    return devices.capturing.get()


class CUDAGraph:
    """Recorded work. Filled by a `graph` block, run by `replay`."""

    def __init__(self) -> None:
        self.raw: Any = None  # CuPy's graph
        self._memory: Any = None

    def capture_begin(self, pool: Any = None, stream: Stream | None = None) -> None:
        """Record the current stream's work until capture_end(). `graph` does it with the care that it needs."""
        self.check_empty()
        self._memory = pool or cupy_for("cuda.CUDAGraph").cuda.MemoryPool()
        self._stream = stream or current_stream()
        self._stream.raw.begin_capture()

    def check_empty(self) -> None:
        """Raise for a graph that has been recorded."""
        if self.raw is not None:
            raise RuntimeError("CUDAGraph: this graph has been recorded already; reset() it, or make another")

    def capture_end(self) -> None:
        """The end of the recording. Raises where it had to be given up."""
        self.raw = self._stream.raw.end_capture()

    def pool(self) -> Any:
        """The memory of this graph, to be shared with graphs that run one after the other."""
        return self._memory

    def replay(self) -> None:
        """Run the recorded work in the current stream."""
        if self.raw is None:
            raise RuntimeError("CUDAGraph.replay: nothing was recorded; do it in `with minidl.cuda.graph(g):`")
        self.raw.launch(current_stream().raw)

    def reset(self) -> None:
        """Forget the recording and its memory."""
        self.raw = self._memory = None


class graph:
    """A block whose work on the GPU is recorded instead of done.

    stream: the stream to record in, by default one of its own. Raises RuntimeError for what cannot be recorded.
    """

    def __init__(self, cuda_graph: CUDAGraph, pool: Any = None, stream: Stream | None = None, **ignored: Any) -> None:
        self.graph, self.pool = cuda_graph, pool
        self.stream = Stream() if stream is None else stream

    def __enter__(self) -> Self:
        self.graph.check_empty()
        cupy = cupy_for("cuda.graph")
        cupy.cuda.Device().synchronize()
        gc.collect()  # arrays that die while recording would take their memory along into the graph
        self.stream.__enter__()
        self.graph.capture_begin(self.pool, self.stream)
        self.allocator = cupy.cuda.using_allocator(self.graph.pool().malloc)
        self.allocator.__enter__()
        self.before = devices.capturing.set(True)
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        devices.capturing.reset(self.before)
        self.allocator.__exit__(None, None, None)
        runtime_error = cupy_for("cuda.graph").cuda.runtime.CUDARuntimeError
        try:
            self.graph.capture_end()
        except runtime_error as given_up:
            error = error or given_up  # that of the block says more
        finally:
            self.stream.__exit__(None, None, None)
        if error is not None:
            self.graph.reset()
        if is_of_a_capture(error):
            raise RuntimeError(
                f"cuda.graph: the capture was given up ({error}). Something in the block waits for the GPU: item(), a condition "
                "on a tensor, a result whose size depends on values, or a kernel that ran for the first time; run the block "
                "once before it is recorded"
            ) from error


def is_of_a_capture(error: Any) -> bool:
    """Whether CUDA or CuPy raised it because work was being recorded: an error of the runtime, or one that says so."""
    if isinstance(error, cupy_for("cuda.graph").cuda.runtime.CUDARuntimeError):
        return True
    words = ("is capturing", "was capturing", "stream capture")
    return isinstance(error, RuntimeError) and any(word in str(error) for word in words)


def make_graphed_callables(
    callables: Any, sample_args: Any, num_warmup_iters: int = 3, allow_unused_input: bool = False, pool: Any = None
) -> Any:
    """The same function or module (or a tuple of them) whose forward and backward pass are graphs.

    sample_args: the tensors that it is called with, on the GPU, of the shapes and dtypes and with the requires_grad of all
    later calls; for several callables a tuple of such tuples. A module's `forward` is replaced, and the module returned.
    Raises RuntimeError for what cannot be recorded, such as dropout, for tensors on the CPU, and for calls that do not fit.
    """
    if isinstance(callables, (tuple, list)):
        return tuple(make_graphed_callables(f, s, num_warmup_iters, allow_unused_input, pool)
                     for f, s in zip(callables, sample_args, strict=True))  # fmt: skip
    parameters = tuple(callables.parameters()) if hasattr(callables, "parameters") else ()
    forward = getattr(callables, "forward", callables)
    graphed = _graphed(forward, tuple(sample_args), parameters, num_warmup_iters, allow_unused_input, pool)
    if not hasattr(callables, "parameters"):
        return graphed
    callables.forward = graphed
    return callables


def _graphed(
    forward: Callable[..., Any], samples: tuple[Any, ...], parameters: tuple[Any, ...], warmup: int, unused: bool, pool: Any
) -> Callable[..., Any]:  # fmt: skip
    """forward(*inputs) by two graphs, which read and write the same arrays at every call."""
    for kind, tensors in (("sample argument", samples), ("parameter", parameters)):
        for i, t in enumerate(tensors):
            if not getattr(t, "is_cuda", False):
                what = f"of shape {list(t.shape)} on {t.device}" if hasattr(t, "device") else f"a {type(t).__name__}"
                raise RuntimeError(
                    f"make_graphed_callables: {kind} {i} is {what}; a graph reads and writes tensors on a GPU: move it there"
                )
    inputs = tuple(wrap(x.array.copy()).requires_grad_(x.requires_grad) for x in samples)
    wanted = tuple(t for t in (*inputs, *parameters) if t.requires_grad)

    def gradients(outputs: tuple[Any, ...], cotangents: Any) -> tuple[Any, ...]:
        with_grad = [(o, c) for o, c in zip(outputs, cotangents, strict=True) if o.requires_grad]
        if not wanted or not with_grad:
            return ()
        outs, cots = zip(*with_grad, strict=True)
        return grad(outs, wanted, cots, allow_unused=unused)

    stream = Stream()
    stream.wait_stream(current_stream())
    with stream:
        for _ in range(warmup):
            outputs = _as_tuple(forward(*inputs))
            gradients(outputs, [wrap(o.array.copy()) for o in outputs])
    current_stream().wait_stream(stream)
    there, back = CUDAGraph(), CUDAGraph()
    with graph(there, pool, stream):
        result = forward(*inputs)
        outputs = _as_tuple(result)
    cotangents = tuple(wrap(o.array.copy()) for o in outputs)
    with graph(back, there.pool(), stream):
        found = gradients(outputs, cotangents)

    class Replay(Function):
        """Copies the arguments to where the graph reads them, and its results out."""

        @staticmethod
        def forward(ctx: Any, *arguments: Any) -> Any:
            for place, x in zip(inputs, arguments, strict=False):  # the parameters after the inputs are where they were
                if place.shape != x.shape or place.dtype != x.dtype or place.device != x.device:
                    raise RuntimeError(
                        f"make_graphed_callables: recorded with an argument of shape {list(place.shape)} and {place.dtype} on "
                        f"{place.device}, called with {list(x.shape)} and {x.dtype} on {x.device}"
                    )
                place.array[...] = x.array
            there.replay()
            return tuple(wrap(o.array.copy()) for o in outputs)

        @staticmethod
        def backward(ctx: Any, *gs: Any) -> Any:
            for place, g in zip(cotangents, gs, strict=True):
                place.array[...] = g.array
            back.replay()
            arrived = iter(found)
            made = [next(arrived) if t.requires_grad and found else None for t in (*inputs, *parameters)]
            return tuple(None if t is None else wrap(t.array.copy()) for t in made)

    def replay(*arguments: Any) -> Any:
        if len(arguments) != len(inputs):
            raise RuntimeError(
                f"make_graphed_callables: recorded with {len(inputs)} arguments, called with {len(arguments)}"
            )
        for i, (place, x) in enumerate(zip(inputs, arguments, strict=True)):
            if x.requires_grad and not place.requires_grad:
                raise RuntimeError(
                    f"make_graphed_callables: argument {i} requires a gradient, which was not recorded; let the sample argument "
                    "require one too"
                )
        made = Replay.apply(*arguments, *parameters)
        return made if isinstance(result, tuple) else made[0] if isinstance(made, tuple) else made

    return replay


def _as_tuple(x: Any) -> tuple[Any, ...]:
    return tuple(x) if isinstance(x, (tuple, list)) else (x,)
