"""What can be wrong with a kernel: what stops it, and what is only seen in its trace."""

from __future__ import annotations

from pathlib import Path


class Fault(Exception):
    """A mistake of the thread that runs now; the scheduler adds where it happened and raises KernelError."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class KernelError(RuntimeError):
    """A kernel that a GPU would not compile, not launch, hang on or be corrupted by.

    kind: "unsupported" (Python that CUDA does not have), "launch", "bounds", "barrier", "warp", "memory" or "python" (any
        other exception of the kernel's code, which is then its __cause__).
    kernel, file, line: the function and the line of source, 0 where there is none.
    block, thread: their indices as (x, y, z), or None where it is not the doing of one thread.
    """

    def __init__(
        self,
        kind: str,
        message: str,
        kernel: str = "",
        file: str = "",
        line: int = 0,
        block: tuple[int, ...] | None = None,
        thread: tuple[int, ...] | None = None,
    ) -> None:
        self.kind, self.message, self.kernel, self.file, self.line = kind, message, kernel, file, line
        self.block, self.thread = block, thread
        place = f"{Path(file).name}:{line}: " if line else ""
        who = "" if block is None else f" block {coordinates(block)}"
        who += "" if thread is None else f" thread {coordinates(thread)}"
        super().__init__(f"{place}{kernel}:{who}{':' if who else ''} {message}")


def coordinates(index: tuple[int, ...]) -> str:
    """(x, y, z) without what needs no saying: "5", "(2, 3)"."""
    short = tuple(index)
    while len(short) > 1 and short[-1] == 0:
        short = short[:-1]
    return str(short[0]) if len(short) == 1 else f"({', '.join(map(str, short))})"
