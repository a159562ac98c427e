"""DataLoader: batches from a dataset, in this process or made ahead by worker processes."""

from __future__ import annotations

import multiprocessing
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import cycle, islice, repeat
from typing import Any

from ... import random as random_state
from ...random import Generator
from .collate import default_collate, default_convert
from .dataset import IterableDataset
from .sampler import BatchSampler, RandomSampler, SequentialSampler
from .worker import End, Source, Worker, WorkerInfo, get_worker_info

__all__ = ["DataLoader", "default_collate", "default_convert", "get_worker_info"]


class DataLoader:
    """Iterates over batches of a dataset.

    shuffle, sampler, batch_sampler: the order; an IterableDataset has its own. batch_size=None: samples, not batches.
    num_workers: processes that make batches ahead. The order of batches does not depend on it, and the random numbers
    that worker k draws depend on the seed and k alone. Workers are forked on Linux: a dataset need not be picklable there;
    `multiprocessing_context` ("spawn", ...) chooses otherwise. What they send must be on the CPU.
    prefetch_factor: how many batches per worker are made ahead (default 2). timeout: seconds to wait for one.
    generator: draws the shuffling and the workers' seeds; None takes the global one.
    persistent_workers: keep the processes for the next pass; then a new pass ends one that is not over.
    pin_memory and in_order are accepted for PyTorch's sake.

    Raises ValueError for options that contradict each other; while iterating, what the dataset raised, wherever it ran.

    Example:
        >>> for x, y in DataLoader(TensorDataset(xs, ys), batch_size=32, shuffle=True): ...
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Any = None,
        batch_sampler: Any = None,
        num_workers: int = 0,
        collate_fn: Callable[[Any], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: Any = None,
        generator: Generator | None = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ) -> None:
        if batch_sampler is not None:
            if batch_size != 1 or shuffle or sampler is not None or drop_last:
                raise ValueError(
                    "batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, and drop_last"
                )
            batch_size = None
        elif batch_size is None and drop_last:
            raise ValueError("batch_size=None: there are no batches, so drop_last has nothing to drop")
        if sampler is not None and shuffle:
            raise ValueError("sampler option is mutually exclusive with shuffle")
        self.dataset, self.batch_size, self.drop_last = dataset, batch_size, drop_last
        self.num_workers, self.timeout, self.worker_init_fn = num_workers, timeout, worker_init_fn
        self.generator, self.pin_memory, self.persistent_workers = generator, pin_memory, persistent_workers
        self.prefetch_factor, self.multiprocessing_context = prefetch_factor, multiprocessing_context
        self._check_worker_options()
        self.sampler: Any = sampler
        self.batch_sampler: Any = batch_sampler
        if isinstance(dataset, IterableDataset):
            if shuffle or sampler is not None or batch_sampler is not None:
                raise ValueError("DataLoader: an IterableDataset has its own order; leave out shuffle and samplers")
            if batch_size is not None:
                BatchSampler((), batch_size, drop_last)  # checks the size
        elif batch_sampler is None:
            if sampler is None:
                self.sampler = RandomSampler(dataset, generator=generator) if shuffle else SequentialSampler(dataset)
            if batch_size is not None:
                self.batch_sampler = BatchSampler(self.sampler, batch_size, drop_last)
        batched = batch_size is not None or batch_sampler is not None
        self.collate_fn = collate_fn or (default_collate if batched else default_convert)
        self._source = Source(dataset, self.collate_fn, batched, batch_size, drop_last)
        self._kept: list[Worker] = []  # persistent workers, and the pass that they are at
        self._pass: Any = None

    def _check_worker_options(self) -> None:
        if self.num_workers < 0 or self.timeout < 0:
            raise ValueError(
                f"DataLoader: num_workers and timeout must not be negative, got {self.num_workers} and {self.timeout}; "
                "num_workers=0 loads in this process"
            )
        if self.prefetch_factor is not None and self.prefetch_factor < 1:
            raise ValueError(f"DataLoader: prefetch_factor must be at least 1, got {self.prefetch_factor}")
        names = ("prefetch_factor", "timeout", "persistent_workers", "multiprocessing_context")
        idle = [name for name in names if getattr(self, name)]
        if idle and not self.num_workers:
            raise ValueError(f"DataLoader: {' and '.join(idle)} mean nothing without workers; set num_workers > 0")

    def __len__(self) -> int:
        if isinstance(self.dataset, IterableDataset):
            n = len(self.dataset)  # type: ignore[arg-type]
            if self.batch_size is None:
                return n
            return n // self.batch_size if self.drop_last else -(-n // self.batch_size)
        return len(self._indices())  # type: ignore[arg-type]  # a sampler without a length says so itself

    def _indices(self) -> Iterable[Any]:
        return self.batch_sampler if self.batch_sampler is not None else self.sampler

    def __iter__(self) -> Iterator[Any]:
        # drawn without workers too, so that their number does not change the order in which samples are shuffled
        seed = _draw_seed(self.generator or random_state.default_generator)
        if self.num_workers and self.persistent_workers:
            if self._pass is not None:
                self._pass.close()
            self._pass = self._from_kept_workers(seed)
            return self._pass
        if self.num_workers:
            return self._from_workers(seed)
        if isinstance(self.dataset, IterableDataset):
            return self._source.stream()
        return self._here()

    def _here(self) -> Iterator[Any]:
        for index in self._indices():
            yield self._source.fetch(index)

    def _start(self, seed: int, workers: list[Worker]) -> None:
        """Start the processes, one after the other into `workers`."""
        context = self.multiprocessing_context or ("fork" if sys.platform == "linux" else None)
        if context is None or isinstance(context, str):
            context = multiprocessing.get_context(context)
        for k in range(self.num_workers):
            info = WorkerInfo(k, self.num_workers, seed + k, self.dataset)
            workers.append(Worker(context, info, self._source, self.worker_init_fn))

    def _from_workers(self, seed: int) -> Iterator[Any]:
        workers: list[Worker] = []
        try:
            self._start(seed, workers)
            yield from self._in_turn(workers, deque())
        finally:
            for worker in workers:
                worker.stop()

    def _from_kept_workers(self, seed: int) -> Iterator[Any]:
        owed: deque[Worker] = deque()
        try:
            if self._kept:
                for k, worker in enumerate(self._kept):
                    worker.restart(seed + k)
            else:
                self._start(seed, self._kept)
            yield from self._in_turn(self._kept, owed)
        except GeneratorExit:  # the pass is not over: what was asked for comes all the same
            with suppress(Exception):
                while owed:
                    owed.popleft().receive(self.timeout)
            if owed:
                self._stop_kept()
        except BaseException:
            self._stop_kept()
            raise

    def _stop_kept(self) -> None:
        while self._kept:
            self._kept.pop().stop()

    def __del__(self) -> None:
        for worker in self.__dict__.get("_kept", ()):
            worker.stop()

    def _in_turn(self, workers: list[Worker], owed: deque[Worker]) -> Iterator[Any]:
        """Requests go to the workers in turn, and batches are taken in the order in which they were requested.

        owed: the workers whose batches are still to come, the next one first.
        """
        is_stream = isinstance(self.dataset, IterableDataset)
        requests = repeat(None) if is_stream else iter(self._indices())
        turns = cycle(workers)
        used_up: set[Worker] = set()

        def ask() -> None:
            if len(used_up) == len(workers):
                return
            worker = next(w for w in turns if w not in used_up)
            for request in islice(requests, 1):  # none when the sampler has come to its end
                worker.ask(request)
                owed.append(worker)

        for _ in range((self.prefetch_factor or 2) * len(workers)):
            ask()
        while owed:
            worker = owed.popleft()
            batch = worker.receive(self.timeout)
            if isinstance(batch, End):
                used_up.add(worker)
            ask()
            if not isinstance(batch, End):
                yield batch


def _draw_seed(generator: Generator) -> int:
    from ...ops.random import randint

    return int(randint(0, 2**62, (1,), generator=generator).item())
