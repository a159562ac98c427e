"""Worker processes of a DataLoader: each waits at a pipe, and answers every request with a batch."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import queue
import random
import reprlib
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing.connection import wait
from multiprocessing.reduction import ForkingPickler
from typing import Any, NamedTuple

import numpy as np

from ... import random as random_state
from ...kernels import threads
from .dataset import IterableDataset


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


class Source(NamedTuple):
    """Makes batches of a dataset, in whichever process."""

    dataset: Any
    collate: Callable[[Any], Any]
    batched: bool  # whether a request is a list of indices, not one index
    batch_size: int | None  # these two are for streams, which choose their samples themselves
    drop_last: bool

    def fetch(self, request: Any) -> Any:
        """The batch of the indices in a request."""
        if self.batched:
            return self.collate([self.dataset[i] for i in request])
        return self.collate(self.dataset[request])

    def stream(self) -> Iterator[Any]:
        """The batches of an IterableDataset."""
        if self.batch_size is None:
            for sample in self.dataset:
                yield self.collate(sample)
            return
        batch: list[Any] = []
        for sample in self.dataset:
            batch.append(sample)
            if len(batch) == self.batch_size:
                yield self.collate(batch)
                batch = []
        if batch and not self.drop_last:
            yield self.collate(batch)


class Restart(NamedTuple):
    """A request to begin another pass, with another seed."""

    seed: int


class End:
    """The answer of a worker whose stream is used up."""


class Failure(NamedTuple):
    """The answer of a worker that could not make the batch."""

    error: Exception


class Worker:
    """A worker process, and this process's end of the pipe to it."""

    def __init__(self, context: Any, info: WorkerInfo, source: Source, init: Callable[[int], None] | None) -> None:
        self.id = info.id
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, info, source, init), daemon=True)
        self.process.start()
        theirs.close()

    def ask(self, request: Any) -> None:
        """Request a batch; it will come after those that were requested before."""
        with suppress(BrokenPipeError, ConnectionResetError):  # a worker that died is reported by `receive`
            self.pipe.send(request)

    def restart(self, seed: int) -> None:
        """Begin another pass."""
        self.ask(Restart(seed))

    def receive(self, timeout: float) -> Any:
        """The next batch, or End. Raises what went wrong in the worker, or RuntimeError for a worker that is late or dead."""
        ready = wait([self.pipe, self.process.sentinel], timeout or None)
        if not ready:
            raise RuntimeError(f"DataLoader timed out after {timeout} seconds, waiting for worker {self.id}")
        try:
            if self.pipe not in ready and not self.pipe.poll():
                raise EOFError
            answer = self.pipe.recv()
        except (EOFError, ConnectionResetError):
            self.process.join()
            raise RuntimeError(
                f"DataLoader worker {self.id} exited unexpectedly, with exit code {self.process.exitcode}; num_workers=0 "
                "shows what happens in this process"
            ) from None
        if isinstance(answer, Failure):
            raise answer.error
        return answer

    def stop(self) -> None:
        """End the process."""
        self.process.terminate()
        self.process.join()
        self.pipe.close()


def _work(pipe: Any, info: WorkerInfo, source: Source, init: Callable[[int], None] | None) -> None:
    """The life of a worker process."""
    global _worker_info
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes: the main one decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # and a handler of the main process is not for this one
    requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(pipe, requests), daemon=True).start()
    _worker_info = info
    threads.set_num_threads(1)  # there are as many workers as somebody found right
    _seed_everything(info.seed)
    try:
        if init is not None:
            init(info.id)
        stream = source.stream() if isinstance(source.dataset, IterableDataset) else None
    except Exception as error:
        pipe.send(_failure(info.id, "worker_init_fn", error))
        return
    while True:
        request = requests.get()
        if isinstance(request, Restart):
            _worker_info = info._replace(seed=request.seed)
            _seed_everything(request.seed)
            stream = source.stream() if stream is not None else None
            continue
        try:
            answer = ForkingPickler.dumps(source.fetch(request) if stream is None else next(stream, End()))
        except Exception as error:
            answer = ForkingPickler.dumps(_failure(info.id, f"request {reprlib.repr(request)}", error))
        pipe.send_bytes(answer)


def _seed_everything(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002  # datasets of users draw from NumPy's global generator
    random_state.manual_seed(seed)


def _listen(pipe: Any, requests: queue.SimpleQueue[Any]) -> None:
    """Take requests at once, so that the main process need not wait to send one, and end when the main process does."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    with suppress(EOFError, ConnectionResetError):
        while parent.sentinel not in wait([pipe, parent.sentinel]):
            requests.put(pipe.recv())
    os._exit(1)


def _failure(worker: int, what: str, error: Exception) -> Failure:
    """The error with its traceback as a note; another in its place if it cannot be sent from process to process."""
    note = f"in DataLoader worker {worker}, {what}:\n{traceback.format_exc()}"
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        error = RuntimeError(f"{type(error).__name__}: {error}")
    error.add_note(note)
    return Failure(error)
