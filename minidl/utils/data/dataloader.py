"""DataLoader: batches from a dataset, in this process or made ahead by worker processes."""

from __future__ import annotations

import multiprocessing
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from ... import random as random_state
from ...random import Generator
from ...tensor import Tensor
from .dataset import IterableDataset
from .sampler import BatchSampler, RandomSampler, Sampler, SequentialSampler


class WorkerInfo(NamedTuple):
    """Which worker this is: its number, how many there are, its seed, its copy of the dataset."""

    id: int
    num_workers: int
    seed: int
    dataset: Any


_worker_info: WorkerInfo | None = None


def get_worker_info() -> WorkerInfo | None:
    """Inside a worker process, what it needs to know of itself; None in the main process."""
    return _worker_info


def default_collate(batch: list[Any]) -> Any:
    """One batch from a list of samples: tensors and arrays stacked, numbers made tensors, containers gone into.

    Raises RuntimeError where shapes differ, TypeError for elements of other kinds.
    """
    from ...ops.creation import from_numpy, tensor
    from ...ops.joining import stack

    first = batch[0]
    if isinstance(first, Tensor):
        shapes = {tuple(t.shape) for t in batch}
        if len(shapes) > 1:
            raise RuntimeError(
                f"collate: stack expects each tensor to be equal size, but the batch has {sorted(shapes)}; pad them in a "
                "collate_fn of yours"
            )
        return stack(batch)
    if isinstance(first, np.ndarray):
        return default_collate([from_numpy(a) for a in batch])
    if isinstance(first, (bool, int, np.integer, np.bool_)):
        return tensor(np.array(batch))
    if isinstance(first, (float, np.floating)):
        return tensor(np.array(batch, np.float64 if isinstance(first, float) else first.dtype))
    if isinstance(first, (str, bytes)):
        return batch
    if isinstance(first, Mapping):
        return {key: default_collate([sample[key] for sample in batch]) for key in first}
    if isinstance(first, (tuple, list)):
        if any(len(sample) != len(first) for sample in batch):
            raise RuntimeError(f"collate: the samples of a batch have different lengths: {[len(s) for s in batch]}")
        columns = [default_collate(list(column)) for column in zip(*batch, strict=True)]
        return type(first)(*columns) if hasattr(first, "_fields") else columns
    raise TypeError(
        "default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; "
        f"found {type(first)}; give DataLoader a collate_fn that knows it"
    )


class DataLoader:
    """Iterates over batches of a dataset.

    num_workers: processes that make batches ahead; their order and their random numbers depend on the seed alone.
    generator: draws the shuffling; None takes the global one.
    prefetch_factor: how many batches per worker are made ahead (default 2). timeout: seconds to wait for one.
    pin_memory, persistent_workers and in_order are accepted for PyTorch's sake; workers live for one pass.

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
        collate_fn: Callable[[list[Any]], Any] | None = None,
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
        if num_workers < 0:
            raise ValueError(
                f"DataLoader: num_workers must not be negative, got {num_workers}; 0 loads in this process"
            )
        if sampler is not None and shuffle:
            raise ValueError("sampler option is mutually exclusive with shuffle")
        if batch_sampler is not None and (batch_size != 1 or shuffle or sampler is not None or drop_last):
            raise ValueError(
                "batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, and drop_last"
            )
        self.dataset, self.num_workers, self.timeout = dataset, num_workers, timeout
        self.worker_init_fn, self.generator, self.pin_memory = worker_init_fn, generator, pin_memory
        self.prefetch_factor = prefetch_factor or 2
        self.persistent_workers, self.multiprocessing_context = persistent_workers, multiprocessing_context
        self.collate_fn = collate_fn or (default_collate if batch_size is not None or batch_sampler else lambda x: x)
        self.batch_size, self.drop_last = batch_size, drop_last
        self.sampler: Any = None
        self.batch_sampler = batch_sampler
        if isinstance(dataset, IterableDataset):
            if shuffle or sampler is not None or batch_sampler is not None:
                raise ValueError("DataLoader: an IterableDataset has its own order; leave out shuffle and samplers")
            return
        self.sampler = sampler
        if sampler is None and batch_sampler is None:
            self.sampler = RandomSampler(dataset, generator=generator) if shuffle else SequentialSampler(dataset)
        if batch_sampler is None and batch_size is not None:
            self.batch_sampler = BatchSampler(self.sampler, batch_size, drop_last)

    def __len__(self) -> int:
        if isinstance(self.dataset, IterableDataset):
            n = len(self.dataset)  # type: ignore[arg-type]
            if self.batch_size is None:
                return n
            return n // self.batch_size if self.drop_last else -(-n // self.batch_size)
        return len(self._indices())  # type: ignore[arg-type]  # a sampler without a length says so itself

    def _indices(self) -> Sampler[Any]:
        return self.batch_sampler if self.batch_sampler is not None else self.sampler

    def __iter__(self) -> Iterator[Any]:
        # drawn without workers too, so that their number does not change the order in which samples are shuffled
        seed = _draw_seed(self.generator or random_state.default_generator)
        if self.num_workers:
            return self._from_workers(seed)
        if isinstance(self.dataset, IterableDataset):
            return _batches_of_stream(self.dataset, self.batch_size, self.drop_last, self.collate_fn)
        return self._here()

    def _here(self) -> Iterator[Any]:
        for index in self._indices():
            yield _fetch(self.dataset, index, self.collate_fn)

    def _from_workers(self, seed: int) -> Iterator[Any]:
        """Worker k makes batches k, k + num_workers, ...; they are taken in that order."""
        context = multiprocessing.get_context(self.multiprocessing_context or "fork")
        pipes, processes = [], []
        try:
            for worker in range(self.num_workers):
                ours, theirs = context.Pipe()
                info = WorkerInfo(worker, self.num_workers, (seed + worker) % 2**63, self.dataset)
                options = (self.batch_size, self.drop_last, self.collate_fn, self.worker_init_fn)
                process = context.Process(target=_work, args=(theirs, info, options), daemon=True)
                process.start()
                theirs.close()
                pipes.append(ours)
                processes.append(process)
            if isinstance(self.dataset, IterableDataset):
                yield from self._streams(pipes)
            else:
                yield from self._in_order(pipes)
        finally:
            for pipe in pipes:
                pipe.close()
            for process in processes:
                process.terminate()
                process.join()

    def _in_order(self, pipes: list[Any]) -> Iterator[Any]:
        sent = taken = 0
        for index in self._indices():
            pipes[sent % len(pipes)].send(index)
            sent += 1
            if sent - taken >= self.prefetch_factor * len(pipes):
                yield self._receive(pipes[taken % len(pipes)], taken % len(pipes))
                taken += 1
        while taken < sent:
            yield self._receive(pipes[taken % len(pipes)], taken % len(pipes))
            taken += 1

    def _streams(self, pipes: list[Any]) -> Iterator[Any]:
        open_pipes = dict(enumerate(pipes))
        for pipe in pipes:
            pipe.send("next")
        while open_pipes:
            for worker, pipe in list(open_pipes.items()):
                batch = self._receive(pipe, worker)
                if isinstance(batch, _End):
                    del open_pipes[worker]
                else:
                    pipe.send("next")
                    yield batch

    def _receive(self, pipe: Any, worker: int) -> Any:
        try:
            if self.timeout and not pipe.poll(self.timeout):
                raise RuntimeError(f"DataLoader timed out after {self.timeout} seconds, waiting for worker {worker}")
            answer = pipe.recv()
        except (EOFError, ConnectionResetError):
            raise RuntimeError(
                f"DataLoader worker {worker} exited unexpectedly; num_workers=0 shows what happens in this process"
            ) from None
        if isinstance(answer, _Failure):
            raise RuntimeError(f"in DataLoader worker {worker}, at index {answer.index}:\n{answer.text}")
        return answer


class _End:
    """A stream is used up."""


class _Failure(NamedTuple):
    index: Any
    text: str


def _draw_seed(generator: Generator) -> int:
    from ...ops.random import randint

    return int(randint(0, 2**31, (1,), generator=generator).item())


def _fetch(dataset: Any, index: Any, collate: Callable[[Any], Any]) -> Any:
    if isinstance(index, list):
        return collate([dataset[i] for i in index])
    return collate(dataset[index])


def _batches_of_stream(dataset: Any, batch_size: int | None, drop_last: bool, collate: Callable[[Any], Any]) -> Any:
    if batch_size is None:
        yield from (collate(sample) for sample in dataset)
        return
    batch: list[Any] = []
    for sample in dataset:
        batch.append(sample)
        if len(batch) == batch_size:
            yield collate(batch)
            batch = []
    if batch and not drop_last:
        yield collate(batch)


def _work(pipe: Any, info: WorkerInfo, options: tuple[Any, ...]) -> None:
    """The life of a worker process: answer each request with a batch, until the pipe is closed."""
    global _worker_info
    import random

    batch_size, drop_last, collate, init = options
    _worker_info = info
    random.seed(info.seed)
    np.random.seed(info.seed % 2**32)  # noqa: NPY002  # datasets of users draw from NumPy's global generator
    random_state.manual_seed(info.seed)
    index: Any = "worker_init_fn"
    stream = None
    try:
        if init is not None:
            init(info.id)
        if isinstance(info.dataset, IterableDataset):
            stream = _batches_of_stream(info.dataset, batch_size, drop_last, collate)
        while True:
            index = pipe.recv()
            pipe.send(next(stream, _End()) if stream is not None else _fetch(info.dataset, index, collate))
    except (EOFError, BrokenPipeError, KeyboardInterrupt):
        return
    except Exception as error:
        pipe.send(_Failure(index, f"{type(error).__name__}: {error}\n{traceback.format_exc()}"))
