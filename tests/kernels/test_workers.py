from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from minidl.kernels import parallel, workers


@pytest.fixture(autouse=True)
def three_threads(monkeypatch):
    monkeypatch.setattr(parallel, "get_num_threads", lambda: 3)
    monkeypatch.setattr(parallel, "LEAST", 1)


def put_thread(begin, end, out):
    out[begin:end] = threading.get_ident()
    time.sleep(0.002)


def test_each_unit_is_done_once_and_each_part_by_a_thread_of_its_own():
    out = np.zeros(10, np.int64)
    parallel.share(10, put_thread, 10, out)
    names = [out[0], out[3], out[6]]
    assert names[0] == threading.get_ident() and len(set(names)) == 3
    np.testing.assert_array_equal(out, np.repeat(names, (3, 3, 4)))


def test_workers_are_used_again():
    used = set()
    for _ in range(20):
        out = np.zeros(3, np.int64)
        parallel.share(3, put_thread, 3, out)
        used |= set(out.tolist())
    assert len(used) == 3


def test_little_work_and_one_thread_stay_here(monkeypatch):
    out = np.zeros(4, np.int64)
    monkeypatch.setattr(parallel, "LEAST", 100)
    parallel.share(4, put_thread, 199, out)
    assert set(out) == {threading.get_ident()}
    monkeypatch.setattr(parallel, "get_num_threads", lambda: 1)
    parallel.share(4, put_thread, 10**9, out)
    assert set(out) == {threading.get_ident()}


@pytest.mark.parametrize("where", [0, 1, 2])
def test_an_error_reaches_the_caller_after_all_have_ended(where):
    ended = []

    def fail(begin, end):
        if begin == where:
            raise ZeroDivisionError(f"in part {where}")
        time.sleep(0.02)
        ended.append(begin)

    with pytest.raises(ZeroDivisionError, match=f"in part {where}"):
        parallel.share(3, fail, 3)
    assert sorted(ended) == [i for i in range(3) if i != where]
    out = np.zeros(3, np.int64)
    parallel.share(3, put_thread, 3, out)  # the workers live on
    assert len(set(out)) == 3


def test_errors_of_all_parts():
    def fail(begin, end):
        raise ValueError(f"part {begin}")

    for _ in range(3):
        with pytest.raises(ValueError, match="part"):
            parallel.share(3, fail, 3)
    out = np.zeros(3, np.int64)
    parallel.share(3, put_thread, 3, out)
    assert len(set(out)) == 3


def test_several_callers_at_a_time():
    results = {}

    def caller(k):
        for _ in range(20):
            out = np.zeros((30, 1000))
            parallel.share(30, add, 30, out, k)
            results.setdefault(k, []).append(out.sum())

    threads = [threading.Thread(target=caller, args=(k,)) for k in range(1, 6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {k: [30_000 * k] * 20 for k in range(1, 6)}


def add(begin, end, out, k):
    out[begin:end] += k


def test_arrays_are_not_kept_alive():
    import weakref

    out = np.zeros((3, 1))
    parallel.share(3, add, 3, out, 1)
    ref = weakref.ref(out)
    del out
    deadline = time.monotonic() + 5
    while ref() is not None and time.monotonic() < deadline:
        time.sleep(0.001)
    assert ref() is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_after_a_fork():
    program = """
import os, numpy as np
from minidl.kernels import parallel
parallel.LEAST, parallel.get_num_threads = 1, lambda: 2
def add(begin, end, out): out[begin:end] += 1
out = np.zeros(4)
parallel.share(4, add, 4, out)
child = os.fork()
parallel.share(4, add, 4, out)
if child == 0:
    os._exit(0 if out.sum() == 8 else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), out.sum())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout == "0 8.0\n", done.stderr


def test_look_out_ends_when_the_flag_is_up_and_when_it_is_not():
    flags = np.zeros(workers.FLAGS, np.int64)
    workers.watch(flags, workers.CALLED)  # comes back although nobody puts it up
    threading.Timer(0.001, flags.fill, (1,)).start()
    for _ in range(10_000):
        workers.watch(flags, workers.FINISHED)
        if flags[workers.FINISHED]:
            break
    assert flags[workers.FINISHED] == 1


@pytest.mark.parametrize("kernel", ["gelu", "softmax", "log_softmax", "layer_norm", "dropout", "normal", "adam", "sgd"])
def test_rows_that_threads_share_are_those_of_one_thread(kernel, rng, monkeypatch):
    from minidl import kernels

    kernels.load_all()
    x = rng.standard_normal((37, 53)).astype(np.float32)
    bias, state = x[0].copy(), np.abs(x)
    arguments = {
        "gelu": (x, "tanh"), "softmax": (x, -1), "log_softmax": (x, -1), "layer_norm": (x, bias, bias, 1e-5),
        "dropout": (x, 0.3, 7, 2**128 - 20), "normal": (x, 7, 2**64 - 20),
        "adam": (x, x[::-1].copy(), state, state.copy(), None, 3, 0.1, 0.9, 0.99, 1e-8, 0.1, True, False),
        "sgd": (x, x[::-1].copy(), state, 0.1, 0.9, 0.0, 0.1, True, False, False),
    }[kernel]  # fmt: skip
    results = []
    for threads in (1, 3):
        monkeypatch.setattr(parallel, "get_num_threads", lambda n=threads: n)
        copies = [a.copy() if isinstance(a, np.ndarray) else a for a in arguments]
        out = kernels.REGISTRY[kernel](*copies)
        results.append([*(out if isinstance(out, tuple) else (out,)), *copies])
    for one, three in zip(*results, strict=True):
        if isinstance(one, np.ndarray):
            np.testing.assert_array_equal(one, three)


def test_layer_norm_adds_up_the_gradients_of_all_threads(rng):
    from minidl.kernels.layernorm import layer_norm, layer_norm_backward

    x, g, weight = (rng.standard_normal(shape).astype(np.float32) for shape in ((37, 50), (37, 50), (50,)))
    _, mean, rstd = layer_norm(x, weight, None, 1e-5)
    got = layer_norm_backward(g, x, mean, rstd, weight)
    wanted = layer_norm_backward.reference(*(a.astype(np.float64) for a in (g, x, mean, rstd, weight)))
    for a, b in zip(got, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-5)
