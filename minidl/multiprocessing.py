"""Python's multiprocessing, under the name where PyTorch has it. Tensors go from process to process as copies."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing import *  # noqa: F403
from multiprocessing.process import BaseProcess
from typing import Any


def get_all_sharing_strategies() -> set[str]:
    """The ways in which PyTorch shares memory; here nothing is shared."""
    return {"file_descriptor", "file_system"}


def get_sharing_strategy() -> str:
    """What PyTorch has by default."""
    return "file_descriptor"


def set_sharing_strategy(new_strategy: str) -> None:
    """Does nothing. Raises ValueError for a strategy that does not exist."""
    if new_strategy not in get_all_sharing_strategies():
        raise ValueError(f"set_sharing_strategy: {new_strategy!r} is not one of {sorted(get_all_sharing_strategies())}")


class SpawnContext:
    """Processes that run side by side; `join` waits for them."""

    def __init__(self, processes: list[BaseProcess]) -> None:
        self.processes = processes

    def pids(self) -> list[int | None]:
        """The numbers of the processes."""
        return [process.pid for process in self.processes]

    def join(self, timeout: float | None = None) -> bool:
        """Whether all have ended well, after waiting for at most `timeout` seconds. Raises RuntimeError if one has not."""
        for process in self.processes:
            process.join(timeout)
        for i, process in enumerate(self.processes):
            if process.exitcode:
                for other in self.processes:
                    other.terminate()
                raise RuntimeError(f"spawn: process {i} terminated with exit code {process.exitcode}; it printed why")
        return all(process.exitcode == 0 for process in self.processes)


def spawn(
    fn: Callable[..., Any],
    args: tuple[Any, ...] = (),
    nprocs: int = 1,
    join: bool = True,
    daemon: bool = False,
    start_method: str = "spawn",
) -> SpawnContext | None:
    """Run fn(i, *args) in nprocs processes, i being the number of each, and wait for them if `join`.

    The processes do not know of each other: training in several processes is not there.
    """
    context: Any = multiprocessing.get_context(start_method)
    processes = [context.Process(target=fn, args=(i, *args), daemon=daemon) for i in range(nprocs)]
    for process in processes:
        process.start()
    running = SpawnContext(processes)
    if not join:
        return running
    running.join()
    return None
