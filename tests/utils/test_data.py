"""Datasets, samplers, and the DataLoader with and without worker processes."""

from __future__ import annotations

import collections
import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import minidl as md
from minidl.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    StackDataset,
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


def test_drawing_between_batches_does_not_change_the_order():
    """Workers are asked ahead, so the order must not depend on what else draws from the global generator meanwhile."""

    def order(workers):
        md.manual_seed(1)
        sampler = RandomSampler(range(50), replacement=True, num_samples=2100)
        seen = []
        for batch in DataLoader(range(50), batch_size=300, sampler=sampler, num_workers=workers):
            md.rand(3)
            seen += batch.tolist()
        return seen, md.rand(1).item()

    assert order(0) == order(2)


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
def test_a_failing_sample_raises_what_the_dataset_raised(workers):
    loader = DataLoader(Squares(8, missing=5), batch_size=2, num_workers=workers)
    with pytest.raises(KeyError, match="no square of 5") as caught:
        list(loader)
    assert caught.value.args == ("no square of 5 here",)
    if workers:
        (note,) = caught.value.__notes__
        assert note.startswith("in DataLoader worker 0, request [4, 5]:\nTraceback") and "in __getitem__" in note
    assert len(list(loader._indices())) == 4, "the loader can be used again"


class Unpicklable(Exception):
    def __init__(self, a, b):
        super().__init__(f"{a} and {b}")


def failing_init(worker):
    raise Unpicklable("one", "two")


def test_failures_of_other_kinds():
    with pytest.raises(RuntimeError, match="Unpicklable: one and two") as caught:
        list(DataLoader(Squares(9), num_workers=2, worker_init_fn=failing_init))
    assert "worker_init_fn" in caught.value.__notes__[0] and "failing_init" in caught.value.__notes__[0]
    for batch, message in ((lambda b: (_ for _ in b), "pickle"), (lambda b: next(iter(())), "StopIteration")):
        with pytest.raises(Exception, match=message):
            list(DataLoader(Squares(4), num_workers=1, collate_fn=batch))
    with pytest.raises(RuntimeError, match="StopIteration"):  # never the end of the loop
        list(DataLoader(Squares(4), collate_fn=lambda b: next(iter(()))))


def exit_at_once(worker):
    os._exit(3)


def test_a_worker_that_dies_is_reported():
    with pytest.raises(RuntimeError, match="worker 0 exited unexpectedly, with exit code 3"):
        list(DataLoader(Squares(4), num_workers=2, worker_init_fn=exit_at_once))


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_a_worker_that_is_killed_is_reported():
    before = set(multiprocessing.active_children())
    iterator = iter(DataLoader(Squares(1000), num_workers=2))
    next(iterator)
    victim = next(p for p in multiprocessing.active_children() if p not in before)
    victim.kill()
    with pytest.raises(RuntimeError, match=r"exit code -9"):
        list(iterator)
    assert set(multiprocessing.active_children()) == before


def test_large_requests_and_large_batches_do_not_wait_for_each_other():
    """Both are larger than a pipe holds: a loader that waits to send while its worker waits to send never ends."""
    loader = DataLoader(range(300_000), 100_000, num_workers=1, collate_fn=np.array, prefetch_factor=3, timeout=20)
    assert [batch.sum() for batch in loader] == [sum(range(n, n + 100_000)) for n in (0, 100_000, 200_000)]


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().split()[2] != "Z"  # a zombie waits for its parent only


@pytest.mark.skipif(os.name == "nt", reason="Windows has other signals")
@pytest.mark.parametrize("name", ["SIGINT", "SIGKILL"])
def test_no_worker_outlives_the_main_process(name):
    code = """
import multiprocessing, time
from minidl.utils.data import DataLoader
loader = iter(DataLoader(range(10**6), num_workers=2, batch_size=2))
next(loader)
print(*(p.pid for p in multiprocessing.active_children()), flush=True)
time.sleep(60)
"""
    main = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    workers = [int(pid) for pid in main.stdout.readline().split()]
    assert len(workers) == 2 and all(map(alive, workers))
    if name == "SIGINT":
        os.killpg(main.pid, signal.SIGINT)  # as Ctrl-C does, to all of them
    else:
        main.kill()
    _, errors = main.communicate(timeout=20)
    assert errors.count("Traceback") == (name == "SIGINT"), errors
    deadline = time.monotonic() + 10
    while any(map(alive, workers)):
        assert time.monotonic() < deadline, "a worker is left"
        time.sleep(0.02)


def test_workers_may_be_spawned():
    data = TensorDataset(md.arange(5), md.arange(5) * 10)
    got = batches(data, batch_size=2, num_workers=1, multiprocessing_context="spawn")
    assert got == [([0, 1], [0, 10]), ([2, 3], [20, 30]), ([4], [40])]
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    assert batches(data, batch_size=2, num_workers=1, multiprocessing_context=context) == got


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


class Threads(Dataset):
    """How many threads an operation may use, where the sample is made."""

    def __len__(self):
        return 2

    def __getitem__(self, i):
        return md.get_num_threads()


def test_a_worker_has_one_thread():
    before = md.get_num_threads()
    md.set_num_threads(3)
    try:
        assert [n.tolist() for n in DataLoader(Threads(), batch_size=2)] == [[3, 3]]
        assert [n.tolist() for n in DataLoader(Threads(), batch_size=2, num_workers=1)] == [[1, 1]]
    finally:
        md.set_num_threads(before)


@pytest.mark.parametrize("workers", WORKERS)
def test_streams(workers):
    loader = DataLoader(Counting(10), batch_size=2, num_workers=workers)
    assert sorted(i for batch in loader for i in batch.tolist()) == list(range(10))
    single = DataLoader(Counting(5), batch_size=None, num_workers=workers)
    assert sorted(single) == [0, 1, 2, 3, 4]


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # PyTorch's, on a machine of two cores
@pytest.mark.parametrize("workers, batch_size, prefetch", [(2, 2, None), (3, 3, 1), (2, None, 4)])
def test_streams_come_in_the_order_of_pytorch(workers, batch_size, prefetch):
    data = pytest.importorskip("torch").utils.data

    class Theirs(data.IterableDataset):
        def __iter__(self):
            info = data.get_worker_info()
            return iter(range(info.id, 11 + 4 * info.id, info.num_workers))  # of different lengths

    class Ours(IterableDataset):
        def __iter__(self):
            info = get_worker_info()
            return iter(range(info.id, 11 + 4 * info.id, info.num_workers))

    options = {"batch_size": batch_size, "num_workers": workers, "prefetch_factor": prefetch}
    if sys.platform == "linux":
        options["multiprocessing_context"] = "fork"
    theirs, ours = data.DataLoader(Theirs(), **options), DataLoader(Ours(), **options)
    assert [np.asarray(b).tolist() for b in ours] == [np.asarray(b).tolist() for b in theirs]


def test_a_seed_gives_each_worker_of_a_stream_its_numbers():
    class Rolls(IterableDataset):
        def __iter__(self):
            for _ in range(3):
                yield get_worker_info().seed, md.rand(()).item()

    def drawn():
        return batches(Rolls(), num_workers=2, batch_size=3, generator=md.Generator().manual_seed(4))

    first = drawn()
    assert drawn() == first
    (seeds_0, values_0), (seeds_1, values_1) = first
    assert seeds_1[0] == seeds_0[0] + 1 and not {*values_0} & {*values_1}


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
    with pytest.raises(TypeError, match="arrays of object"):
        default_collate([np.array([None])])
    assert isinstance(default_collate([collections.OrderedDict(a=1)]), collections.OrderedDict)
    assert default_collate([collections.defaultdict(int, a=1)])["a"].tolist() == [1]


def test_collating_as_pytorch_does():
    torch = pytest.importorskip("torch")
    from torch.utils.data import default_collate as theirs

    for samples in (
        *([1, 2], [1.5, 2.5], [1, 2.5], [1.5, 2], [True, False], [True, 2], [np.bool_(True), np.bool_(False)]),
        *(
            [np.float32(1), np.float32(2)],
            [np.float64(1)],
            [np.float16(1)],
            [np.int8(1)],
            [np.array(1.5)],
            [np.zeros((2, 0))],
        ),
        *([(1, 2.0), (3, 4.0)], [[1, 2], [3, 4]], [()]),
    ):
        a, b = theirs(samples), default_collate(samples)
        for t, m in zip(a if isinstance(a, list) else [a], b if isinstance(b, list) else [b], strict=True):
            assert isinstance(t, torch.Tensor) and str(t.dtype) == str(m.dtype) and t.tolist() == m.tolist()


def test_a_collate_function_and_no_batches():
    assert list(DataLoader(range(4), batch_size=2, collate_fn=sum)) == [1, 5]
    assert list(DataLoader(range(3), batch_size=None)) == [0, 1, 2]
    (sample,) = DataLoader([{"a": np.ones(2), "n": np.int8(3), "l": (1, "x")}], batch_size=None)
    assert sample["a"].tolist() == [1, 1] and sample["n"].dtype is md.int8 and sample["l"] == [1, "x"]
    rows = TensorDataset(md.arange(5) * 10)  # a sampler of lists and no batches: the dataset is asked for all at once
    (whole,) = DataLoader(rows, batch_size=None, sampler=[[4, 0]])
    assert whole[0].tolist() == [40, 0]


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
    for wrong in ([], [md.tensor(1.0)]):
        with pytest.raises(ValueError, match="first dimension"):
            TensorDataset(*wrong)
    chain = Counting(2) + Counting(3)
    assert list(chain) == [0, 1, 0, 1, 2]
    assert [b.tolist() for b in DataLoader(chain, batch_size=2)] == [[0, 1], [0, 1], [2]]
    assert len(data + data) == 8
    with pytest.raises(TypeError, match="number 1 is a Squares"):
        Counting(2) + Squares(2)
    with pytest.raises(AssertionError, match="ChainDataset"):
        Squares(2) + Counting(2)


@pytest.mark.tiny
def test_random_split():
    parts = random_split(range(10), [6, 4], generator=md.Generator().manual_seed(0))
    assert [len(p) for p in parts] == [6, 4] and sorted([*parts[0], *parts[1]]) == list(range(10))
    assert [len(p) for p in random_split(range(10), [0.5, 0.25, 0.25])] == [6, 2, 2]
    again = random_split(range(10), [6, 4], generator=md.Generator().manual_seed(0))
    assert list(again[0]) == list(parts[0])
    with pytest.raises(ValueError, match="11 and 10"):
        random_split(range(10), [6, 5])
    assert [len(p) for p in random_split(range(10), [0.7, 0.1, 0.2])] == [7, 1, 2]  # adds up to 0.9999999999999999
    assert [len(p) for p in random_split(range(7), [0.5, 0.5])] == [4, 3]
    assert [len(p) for p in random_split(range(10), [10, 0])] == [10, 0]
    for wrong in ([11, -1], [2.5, 7.5], [0.5, 0.6]):
        with pytest.raises(ValueError, match="whole numbers"):
            random_split(range(10), wrong)


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
        lambda: RandomSampler([], replacement=True, num_samples=3),
        lambda: WeightedRandomSampler([1.0], 0),
        lambda: WeightedRandomSampler([[1.0]], 1),
        lambda: WeightedRandomSampler([1.0], 2, replacement=False),
        lambda: DataLoader(Counting(3), batch_size=0),
    ):
        with pytest.raises(ValueError):
            wrong()


@pytest.mark.parametrize(
    "options, message",
    [
        ({"num_workers": -1}, "must not be negative"),
        ({"shuffle": True, "sampler": [0]}, "mutually exclusive with shuffle"),
        ({"batch_sampler": [[0]], "batch_size": 2}, "mutually exclusive with batch_size"),
        ({"batch_size": None, "drop_last": True}, "nothing to drop"),
        ({"timeout": -1, "num_workers": 1}, "must not be negative"),
        ({"timeout": 3}, "timeout mean nothing without workers"),
        ({"prefetch_factor": 2, "persistent_workers": True}, "prefetch_factor and persistent_workers mean nothing"),
        ({"prefetch_factor": 0, "num_workers": 1}, "at least 1, got 0"),
    ],
)
def test_options_that_contradict_each_other(options, message):
    with pytest.raises(ValueError, match=message):
        DataLoader(range(3), **options)


def test_a_batch_sampler_of_ones_own():
    assert [b.tolist() for b in DataLoader(range(4), batch_sampler=[[3, 0], [1]])] == [[3, 0], [1]]
    assert [b.tolist() for b in DataLoader(range(4), batch_sampler=[(3, 0), md.tensor([1])])] == [[3, 0], [1]]
    nothing = BatchSampler([], 2, drop_last=False)  # of length 0, which is no reason to overlook it
    assert list(DataLoader(range(4), batch_sampler=nothing)) == []


class WhoAmI(Dataset):
    def __len__(self):
        return 10

    def __getitem__(self, i):
        return i, os.getpid(), md.rand(1).item()


def passes(loader, count):
    """What each pass gives: order, processes, draws."""
    result = []
    for _ in range(count):
        i, pid, draw = (column.tolist() for column in map(md.cat, zip(*loader, strict=True)))
        result.append((i, set(pid), draw))
    return result


def test_workers_that_stay_do_what_new_ones_do():
    md.manual_seed(0)
    loader = DataLoader(WhoAmI(), 2, shuffle=True, num_workers=2, persistent_workers=True)
    stay = passes(loader, 3)
    md.manual_seed(0)
    new = passes(DataLoader(WhoAmI(), 2, shuffle=True, num_workers=2), 3)
    assert [(i, draw) for i, _, draw in stay] == [(i, draw) for i, _, draw in new]
    assert stay[0][1] == stay[1][1] == stay[2][1] and not new[0][1] & new[1][1]
    assert stay[0][0] != stay[1][0] and stay[0][2] != stay[1][2]  # another order and other draws in each pass


def test_a_pass_that_ends_early_leaves_nothing_behind():
    loader = DataLoader(WhoAmI(), 1, num_workers=2, persistent_workers=True, timeout=20)
    first = iter(loader)
    next(first)
    assert [i.item() for i, _, _ in loader] == list(range(10))  # a new pass ends the one before
    assert list(first) == []
    for _ in loader:
        break
    assert len(list(loader)) == 10


def test_workers_that_stay_begin_streams_again_and_survive_errors():
    class Stream(IterableDataset):
        def __iter__(self):
            info = get_worker_info()
            yield from range(info.id, 9, info.num_workers)

    loader = DataLoader(Stream(), 2, num_workers=2, persistent_workers=True)
    assert [b.tolist() for b in loader] == [b.tolist() for b in loader] == [[0, 2], [1, 3], [4, 6], [5, 7], [8]]

    class Bad(WhoAmI):
        def __getitem__(self, i):
            if i == 5:
                raise ValueError("five")
            return i

    failing = DataLoader(Bad(), 1, num_workers=2, persistent_workers=True)
    for _ in range(2):
        with pytest.raises(ValueError, match="five"):
            list(failing)


def test_shares_of_processes_as_pytorch():
    torch = pytest.importorskip("torch")
    for n, replicas, drop in itertools.product((1, 2, 10, 11), (1, 3, 4), (False, True)):
        for rank in range(replicas):
            arguments = range(n), replicas, rank
            ours = DistributedSampler(*arguments, shuffle=False, drop_last=drop)
            theirs = torch.utils.data.DistributedSampler(*arguments, shuffle=False, drop_last=drop)
            assert list(ours) == list(theirs) and len(ours) == len(theirs)
    both = [DistributedSampler(range(10), 2, rank, seed=3) for rank in (0, 1)]
    assert sorted(i for sampler in both for i in sampler) == list(range(10))
    before = list(both[0])
    assert before == list(both[0])
    both[0].set_epoch(1)
    assert before != list(both[0])
    assert len(DistributedSampler(range(10))) == 10  # one process
    with pytest.raises(ValueError, match="Invalid rank 2"):
        DistributedSampler(range(10), 2, 2)


def test_stacked_datasets():
    assert StackDataset(range(3), "abc")[1] == (1, "b") and len(StackDataset("ab")) == 2
    assert StackDataset(number=range(3), letter="abc")[2] == {"number": 2, "letter": "c"}
    with pytest.raises(ValueError, match="Size mismatch"):
        StackDataset(range(3), range(2))
    with pytest.raises(ValueError, match="positional arguments, for tuples"):
        StackDataset(range(3), x=range(3))
