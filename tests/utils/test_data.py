"""Datasets, samplers, and the DataLoader with and without worker processes."""

from __future__ import annotations

import collections
import multiprocessing
import os
import time

import numpy as np
import pytest

import minidl as md
from minidl.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
    get_worker_info,
    random_split,
)

WORKERS = [0, 1, 2]


class Squares(Dataset):
    """The first n square numbers, one of which may be missing."""

    def __init__(self, n, missing=None):
        self.n, self.missing = n, missing

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        if i == self.missing:
            raise KeyError(f"no square of {i} here")
        return md.tensor(float(i * i)), i


class Counting(IterableDataset):
    """0 to n - 1, shared out among the workers."""

    def __init__(self, n):
        self.n = n

    def __iter__(self):
        info = get_worker_info()
        first, step = (0, 1) if info is None else (info.id, info.num_workers)
        return iter(range(first, self.n, step))


class Noisy(Dataset):
    """Random numbers from all three generators, and who drew them."""

    def __len__(self):
        return 6

    def __getitem__(self, i):
        import random

        info = get_worker_info()
        drawn = (random.random(), np.random.random(), md.rand(()).item())  # noqa: NPY002  # as datasets of users do
        return *drawn, -1 if info is None else info.id


def batches(*args, **kwargs):
    return [tuple(part.tolist() for part in batch) for batch in DataLoader(*args, **kwargs)]


@pytest.mark.parametrize("workers", WORKERS)
def test_batches_in_order(workers):
    got = batches(Squares(7), batch_size=3, num_workers=workers)
    assert got == [([0, 1, 4], [0, 1, 2]), ([9, 16, 25], [3, 4, 5]), ([36], [6])]
    assert batches(Squares(7), batch_size=3, drop_last=True, num_workers=workers) == got[:2]
    assert len(DataLoader(Squares(7), batch_size=3)) == 3 and len(DataLoader(Squares(7), 3, drop_last=True)) == 2


def test_shuffling_depends_on_the_seed_alone():
    orders = []
    for workers in WORKERS:
        md.manual_seed(3)
        loader = DataLoader(Squares(20), batch_size=4, shuffle=True, num_workers=workers)
        orders.append([[i for _, batch in epoch for i in batch.tolist()] for epoch in (list(loader), list(loader))])
    assert orders[0][0] == orders[1][0] == orders[2][0]
    first, second = orders[0]
    assert sorted(first) == sorted(second) == list(range(20)) and first != second


def test_a_generator_of_ones_own():
    def order():
        return [b[1] for b in batches(Squares(9), shuffle=True, generator=md.Generator().manual_seed(5))]

    first = order()
    md.manual_seed(99)
    assert order() == first


def test_workers_draw_reproducible_and_different_numbers():
    def drawn():
        md.manual_seed(0)
        return batches(Noisy(), batch_size=3, num_workers=2)

    first = drawn()
    assert drawn() == first
    assert [worker for batch in first for worker in batch[3]] == [0, 0, 0, 1, 1, 1]
    for column in range(3):
        values = [v for batch in first for v in batch[column]]
        assert len(set(values)) == 6


@pytest.mark.parametrize("workers", WORKERS)
def test_a_failing_sample_arrives_with_its_traceback(workers):
    loader = DataLoader(Squares(8, missing=5), batch_size=2, num_workers=workers)
    if workers == 0:
        with pytest.raises(KeyError, match="no square of 5"):
            list(loader)
        return
    with pytest.raises(RuntimeError, match=r"(?s)in DataLoader worker \d.*__getitem__.*no square of 5"):
        list(loader)


def exit_at_once(worker):
    os._exit(3)


def test_a_worker_that_dies_is_reported():
    with pytest.raises(RuntimeError, match="exited unexpectedly"):
        list(DataLoader(Squares(4), num_workers=1, worker_init_fn=exit_at_once))


class Slow(Squares):
    def __getitem__(self, i):
        time.sleep(5)


def test_a_worker_that_takes_too_long():
    began = time.perf_counter()
    with pytest.raises(RuntimeError, match=r"timed out after 0\.2 seconds"):
        list(DataLoader(Slow(2), num_workers=1, timeout=0.2))
    assert time.perf_counter() - began < 4, "the timeout waited for the worker"


def test_stopping_early_leaves_no_process():
    before = set(multiprocessing.active_children())
    for _ in DataLoader(Squares(100), num_workers=2):
        break
    iterator = iter(DataLoader(Squares(100), num_workers=2))
    next(iterator)
    assert len(set(multiprocessing.active_children()) - before) == 2
    del iterator
    assert set(multiprocessing.active_children()) == before


def test_worker_init_function_and_info():
    marks = multiprocessing.get_context("fork").Queue()
    list(DataLoader(Squares(4), num_workers=2, worker_init_fn=lambda worker: marks.put((worker, get_worker_info().id))))
    assert sorted(marks.get(timeout=5) for _ in range(2)) == [(0, 0), (1, 1)]
    assert get_worker_info() is None


@pytest.mark.parametrize("workers", WORKERS)
def test_streams(workers):
    loader = DataLoader(Counting(10), batch_size=2, num_workers=workers)
    assert sorted(i for batch in loader for i in batch.tolist()) == list(range(10))
    single = DataLoader(Counting(5), batch_size=None, num_workers=workers)
    assert sorted(single) == [0, 1, 2, 3, 4]


def test_streams_have_their_own_order():
    with pytest.raises(ValueError, match="own order"):
        DataLoader(Counting(3), shuffle=True)


@pytest.mark.tiny
def test_collating():
    Pair = collections.namedtuple("Pair", "x y")
    samples = [
        {"t": md.ones(2), "a": np.array([i, i], np.int16), "n": i, "f": 0.5, "b": True, "s": "x", "p": Pair(i, [i])}
        for i in range(3)
    ]
    batch = default_collate(samples)
    assert batch["t"].shape == (3, 2) and batch["a"].dtype is md.int16
    assert batch["n"].dtype is md.int64 and batch["f"].dtype is md.float64 and batch["b"].dtype is md.bool
    assert batch["s"] == ["x"] * 3
    assert isinstance(batch["p"], Pair) and batch["p"].y[0].tolist() == [0, 1, 2]
    with pytest.raises(RuntimeError, match="equal size"):
        default_collate([md.ones(2), md.ones(3)])
    with pytest.raises(RuntimeError, match="different lengths"):
        default_collate([[1], [1, 2]])
    with pytest.raises(TypeError, match="object"):
        default_collate([object()])


def test_collating_as_pytorch_does():
    torch = pytest.importorskip("torch")
    from torch.utils.data import default_collate as theirs

    for samples in ([1, 2], [1.5, 2.5], [np.float32(1), np.float32(2)], [(1, 2.0), (3, 4.0)], [True, False]):
        a, b = theirs(samples), default_collate(samples)
        for t, m in zip(a if isinstance(a, list) else [a], b if isinstance(b, list) else [b], strict=True):
            assert isinstance(t, torch.Tensor) and str(t.dtype) == str(m.dtype) and t.tolist() == m.tolist()


def test_a_collate_function_and_no_batches():
    assert list(DataLoader(range(4), batch_size=2, collate_fn=sum)) == [1, 5]
    assert list(DataLoader(range(3), batch_size=None)) == [0, 1, 2]


@pytest.mark.tiny
def test_datasets():
    data = TensorDataset(md.arange(4), md.arange(4) * 10)
    assert [tuple(t.item() for t in row) for row in (data[1], data[-1])] == [(1, 10), (3, 30)]
    both = ConcatDataset([range(3), range(10, 12)])
    assert [both[i] for i in range(5)] == [0, 1, 2, 10, 11] and both[-1] == 11
    assert list(Subset("abcd", [3, 0])) == ["d", "a"]
    with pytest.raises(IndexError, match="out of range"):
        both[5]
    with pytest.raises(AssertionError, match="Size mismatch"):
        TensorDataset(md.zeros(2), md.zeros(3))


@pytest.mark.tiny
def test_random_split():
    parts = random_split(range(10), [6, 4], generator=md.Generator().manual_seed(0))
    assert [len(p) for p in parts] == [6, 4] and sorted([*parts[0], *parts[1]]) == list(range(10))
    assert [len(p) for p in random_split(range(10), [0.5, 0.25, 0.25])] == [6, 2, 2]
    again = random_split(range(10), [6, 4], generator=md.Generator().manual_seed(0))
    assert list(again[0]) == list(parts[0])
    with pytest.raises(ValueError, match="11 and 10"):
        random_split(range(10), [6, 5])


def test_samplers():
    assert list(BatchSampler(range(5), 2, drop_last=False)) == [[0, 1], [2, 3], [4]]
    assert sorted(RandomSampler(range(5))) == [0, 1, 2, 3, 4]
    drawn = list(RandomSampler(range(3), replacement=True, num_samples=3000))
    assert len(drawn) == 3000 and set(drawn) == {0, 1, 2}
    assert sorted(SubsetRandomSampler([3, 5, 8])) == [3, 5, 8]
    weighted = list(WeightedRandomSampler([0.0, 1.0, 3.0], 4000))
    counts = np.bincount(weighted, minlength=3)
    assert counts[0] == 0 and abs(counts[2] / 4000 - 0.75) < 5 * (0.75 * 0.25 / 4000) ** 0.5  # five standard errors
    assert sorted(WeightedRandomSampler([1.0, 1.0, 1.0], 3, replacement=False)) == [0, 1, 2]
    for wrong in (
        lambda: RandomSampler([]),
        lambda: BatchSampler([1], 0, False),
        lambda: WeightedRandomSampler([1.0], 0),
    ):
        with pytest.raises(ValueError):
            wrong()


@pytest.mark.parametrize(
    "options, message",
    [
        ({"num_workers": -1}, "must not be negative"),
        ({"shuffle": True, "sampler": [0]}, "mutually exclusive with shuffle"),
        ({"batch_sampler": [[0]], "batch_size": 2}, "mutually exclusive with batch_size"),
    ],
)
def test_options_that_contradict_each_other(options, message):
    with pytest.raises(ValueError, match=message):
        DataLoader(range(3), **options)


def test_a_batch_sampler_of_ones_own():
    assert [b.tolist() for b in DataLoader(range(4), batch_sampler=[[3, 0], [1]])] == [[3, 0], [1]]
