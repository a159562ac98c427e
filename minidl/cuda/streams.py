"""Queues of work on a GPU, and marks in them."""

from __future__ import annotations

from typing import Any, Self

from ..devices import cupy_for


class Stream:
    """A queue: what is put in is done in order. Several queues run side by side unless one waits for another.

    A tensor made in one stream must not be used in another before `wait_stream`, and not be dropped before that is done.

    Example:
        >>> s = minidl.cuda.Stream()
        >>> with minidl.cuda.stream(s):
        ...     y = x @ x
        >>> minidl.cuda.current_stream().wait_stream(s)
    """

    def __init__(self, device: Any = None, priority: int = 0, *, raw: Any = None) -> None:
        if raw is None:
            raw = cupy_for("cuda.Stream").cuda.Stream(non_blocking=True, priority=priority or None)
        self.raw = raw  # CuPy's

    @property
    def cuda_stream(self) -> int:
        """The address that CUDA knows the stream by."""
        return int(self.raw.ptr)

    def query(self) -> bool:
        """Whether all work is done."""
        return bool(self.raw.done)

    def synchronize(self) -> None:
        """Wait until all work is done."""
        self.raw.synchronize()

    def record_event(self, event: Event | None = None) -> Event:
        """Put a mark at the end of the queue; the event."""
        event = Event() if event is None else event
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        """Let later work of this stream wait for an event of another."""
        self.raw.wait_event(event.raw)

    def wait_stream(self, stream: Stream) -> None:
        """Let later work of this stream wait for all that another has now."""
        self.wait_event(stream.record_event())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and self.cuda_stream == other.cuda_stream

    def __hash__(self) -> int:
        return hash(self.cuda_stream)

    def __repr__(self) -> str:
        return f"<minidl.cuda.Stream cuda_stream={self.cuda_stream:#x}>"

    def __enter__(self) -> Self:
        self.raw.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self.raw.__exit__(*exception)


class Event:
    """A mark in a stream; two of them with enable_timing measure the time between.

    Example:
        >>> start, end = minidl.cuda.Event(enable_timing=True), minidl.cuda.Event(enable_timing=True)
        >>> start.record(); y = x @ x; end.record()
        >>> end.synchronize(); start.elapsed_time(end)  # milliseconds
    """

    def __init__(self, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False) -> None:
        self.timing, self.recorded = enable_timing, False
        self.raw = cupy_for("cuda.Event").cuda.Event(block=blocking, disable_timing=not enable_timing)

    def record(self, stream: Stream | None = None) -> None:
        """Put the mark at the end of a stream, by default of the current one."""
        self.raw.record((current_stream() if stream is None else stream).raw)
        self.recorded = True

    def wait(self, stream: Stream | None = None) -> None:
        """Let later work of a stream, by default of the current one, wait for the mark."""
        (current_stream() if stream is None else stream).wait_event(self)

    def query(self) -> bool:
        """Whether everything before the mark is done."""
        return bool(self.raw.done)

    def synchronize(self) -> None:
        """Wait until everything before the mark is done."""
        self.raw.synchronize()

    def elapsed_time(self, end_event: Event) -> float:
        """Milliseconds from this mark to another. Both must have been recorded with enable_timing, and be done."""
        for event in (self, end_event):
            if not event.timing or not event.recorded:
                raise RuntimeError(
                    "Event.elapsed_time: both events need Event(enable_timing=True) and must be recorded before calculating "
                    "elapsed time; call record() where the time begins and ends"
                )
        end_event.synchronize()
        return float(cupy_for("cuda.Event").cuda.get_elapsed_time(self.raw, end_event.raw))


def current_stream(device: Any = None) -> Stream:
    """The stream that work goes to."""
    return Stream(raw=cupy_for("cuda.current_stream").cuda.get_current_stream())


def default_stream(device: Any = None) -> Stream:
    """The stream that work goes to unless another was chosen."""
    return Stream(raw=cupy_for("cuda.default_stream").cuda.Stream.null)


def set_stream(stream: Stream) -> None:
    """Let work go to that stream from now on."""
    stream.raw.use()


class stream:
    """A block whose work goes to that stream; None changes nothing."""

    def __init__(self, stream: Stream | None) -> None:
        self.stream = stream

    def __enter__(self) -> None:
        if self.stream is not None:
            self.stream.__enter__()

    def __exit__(self, *exception: object) -> None:
        if self.stream is not None:
            self.stream.__exit__(*exception)
