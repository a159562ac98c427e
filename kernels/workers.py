"""Threads that wait for work, and are awake at once if it comes soon.

To wake a sleeping thread takes the operating system about as long as half a normalisation of a small model takes, and the
caller sleeps too when it waits for the result. But in a training step one piece of work follows the other. So who waits looks
at a flag for a moment first, outside of the interpreter's lock, and sleeps only then.

The flags are hints: what makes the exchange right are the locks. A waiter that never looked would only sleep.
"""

from __future__ import annotations

import os
import sys
import threading
from _thread import allocate_lock
from collections.abc import Callable
from typing import Any

import numpy as np

from .jit import instruction, jit

CALLED, FINISHED, FLAGS = 0, 8, 16  # 64 bytes apart, so that the two flags lie on cache lines of their own
LOOKS = 8000  # a fraction of a millisecond
TURN = 100  # looks, then the core goes to who waits for it: it may be the very thread that is looked out for
MORE = 50  # looks after the flag is up: meanwhile the other thread lets go of the interpreter's lock


class Worker:
    """A thread that runs one call at a time: `start`, then `end`."""

    def __init__(self) -> None:
        self.flags = np.zeros(FLAGS, np.int64)
        self.called, self.finished = allocate_lock(), allocate_lock()
        self.called.acquire()
        self.finished.acquire()
        self.call: tuple[Callable[..., None], tuple[Any, ...]] | None = None
        self.error: BaseException | None = None
        threading.Thread(target=self.work, name="minidl", daemon=True).start()

    def start(self, run: Callable[..., None], *args: Any) -> None:
        """Have the thread call run(*args)."""
        self.call = run, args
        self.flags[CALLED] = 1
        self.called.release()

    def end(self) -> BaseException | None:
        """Wait for the end of the call: what it raised, or None. The worker is free then."""
        look_out(self.flags, FINISHED)
        self.finished.acquire()
        self.flags[FINISHED] = 0
        error, self.error = self.error, None
        _idle.setdefault(os.getpid(), []).append(self)
        return error

    def work(self) -> None:
        while True:
            look_out(self.flags, CALLED)
            self.called.acquire()
            self.flags[CALLED] = 0
            assert self.call is not None
            run, args = self.call
            try:
                run(*args)
            except BaseException as error:  # whatever it is, it belongs to the caller
                self.error = error
            self.call = run = args = None  # type: ignore[assignment]  # arrays are not kept alive
            self.flags[FINISHED] = 1
            self.finished.release()


def look_out(flags: Any, place: int) -> None:
    """Look at a flag until it is up, for a moment at the most. Not where that would mean to load Numba first."""
    if "numba" in sys.modules:
        watch(flags, place)


@jit(signature="void(int64[::1], int64)", nogil=True)
def watch(flags: Any, place: int) -> None:
    more = MORE
    for i in range(LOOKS):
        if look(flags, place) != 0:
            more -= 1
            if more == 0:
                break
        elif i % TURN == TURN - 1:
            give_way()


@instruction
def look(flags: Any, place: int) -> int:
    """flags[place] as another thread may just have written it, and a pause for what shares the core."""
    return int(flags[place])


@instruction
def give_way() -> None:
    """Let another thread have the core, if one waits for it."""


_idle: dict[int, list[Worker]] = {}  # by process: a forked one does not have the threads of its parent


def take() -> Worker:
    """A worker that has nothing to do."""
    try:
        return _idle[os.getpid()].pop()
    except LookupError:
        return Worker()
