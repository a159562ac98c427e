"""Kernels as exercises: what the simulator sees is what a learner is told, and what a misconception is recognized by."""

from __future__ import annotations

import numpy as np
import pytest

from minidl.learn import sandbox
from minidl.learn.bank import bank
from minidl.learn.checks import Subject
from minidl.learn.compare import problem, same
from minidl.learn.examine import examine, summary
from minidl.learn.kernels import FIGURES, launch, simulated

CU04 = bank()["cu04"]
NO_BARRIER = """
from minidl.sim import cuda, float32


@cuda.jit
def reverse(numbers, result):
    me = cuda.threadIdx.x
    if me >= numbers.size:
        return
    kept = cuda.shared.array(64, float32)
    kept[me] = numbers[me]
    result[me] = kept[numbers.size - 1 - me]
"""


def seen(source, launches, reference=lambda x: 2 * x):
    subject = Subject.of_source("from minidl.sim import cuda, float32\n" + source, "given.py", ("f",))
    return list(simulated(reference, launches).observe(subject, np.random.default_rng(0)))


def one(n, **bounds):
    return lambda rng: [launch(1, 32, rng.normal(size=n).astype(np.float32), np.zeros(n, np.float32), **bounds)]


def test_a_right_kernel_is_seen_in_three_orders():
    found = seen("@cuda.jit\ndef f(x, out):\n    out[cuda.grid(1)] = 2 * x[cuda.grid(1)]\n", one(32))
    assert not [one for one in found if problem(one)]
    assert [one.what.rpartition(" ")[2] for one in found if one.what.startswith("results")] == [
        "forward",
        "reverse",
        "random",
    ]


def test_a_function_without_the_decorator_is_no_kernel():
    found = seen("def f(x, out):\n    out[cuda.grid(1)] = 2 * x[cuda.grid(1)]\n", one(32))
    assert [(one.what, one.got, one.expected) for one in found] == [("decorator of f", "none", "@cuda.jit")]
    assert problem(found[0])


def test_a_race_is_told_with_its_lines_and_results_are_then_left_out():
    found = seen("@cuda.jit\ndef f(x, out):\n    out[0] = 2 * x[cuda.threadIdx.x]\n", one(32))
    assert [one.what.split(",")[0] for one in found] == ["races", "reads of unset memory"]
    assert problem(found[0]) and "line 4 `out[0]`" in found[0].got and found[1].got == "none"


def test_results_that_depend_on_the_order_and_arguments_that_are_changed():
    source = """@cuda.jit
def f(x, out):
    place = cuda.atomic.add(x, 0, float32(1))
    if cuda.threadIdx.x == 0:
        out[0] = place
"""
    wrong = [one.what for one in seen(source, one(1), np.zeros_like) if problem(one)]
    assert {what.split(",")[0] for what in wrong} == {"results", "argument 1 must not be changed"}


def test_figures_are_bounded_both_ways():
    source = "@cuda.jit\ndef f(x, out):\n    i = cuda.grid(1)\n    out[i] = x[i] + x[i]\n"
    wrong = [one for one in seen(source, one(32, most={"reads_per_thread": 1}, least={"barriers": 1})) if problem(one)]
    assert [(one.got, one.expected, one.relation) for one in wrong] == [(2, 1, "at most"), (0, 1, "at least")]
    every = seen(source, one(32, most=dict.fromkeys(FIGURES, 1000)))
    assert len(every) - len(FIGURES) == 6 and not [one.what for one in every if problem(one)]


def test_a_race_written_with_other_names_and_lines_is_the_same_race():
    mine = Subject.of_source(NO_BARRIER, "mine.py", CU04.names)
    verdict = examine(CU04, mine)
    assert verdict.misconception == "no_barrier"
    theirs = CU04.subject("wrong_no_barrier")
    (check,) = CU04.checks()
    pairs = zip(*(list(check.observe(s, np.random.default_rng(0)))[:1] for s in (mine, theirs)), strict=True)
    assert all(a.got != b.got and same(a, b) for a, b in pairs)


def test_what_stops_a_kernel_is_told_with_the_learners_line_and_the_launch():
    verdict = examine(CU04, CU04.subject("wrong_barrier_in_guard"))
    assert verdict.verdict == "error" and verdict.exception.kind == "barrier"
    told = summary(verdict, "cu04/wrong_barrier_in_guard.py")["exception"]
    assert told["frames"] == [{"line": 12, "function": "reverse", "code": "        cuda.syncthreads()"}]
    assert "only 50 of 64 threads" in told["message"] and told["notes"] == ["50 elements, grid 1, block 64"]


def test_another_way_of_stopping_is_not_taken_for_it():
    source = "from minidl.sim import cuda\n\n\n@cuda.jit\ndef reverse(x, out):\n    out[cuda.threadIdx.x] = x[-1 - cuda.threadIdx.x]\n"
    verdict = examine(CU04, Subject.of_source(source, "beyond.py", CU04.names))
    assert verdict.exception.kind == "bounds" and verdict.misconception == ""


@pytest.mark.skipif(bool(sandbox.lacking()), reason=sandbox.lacking())
def test_in_the_sandbox_a_kernel_that_never_ends_is_an_error():
    source = "from minidl.sim import cuda\n\n\n@cuda.jit\ndef reverse(x, out):\n    while True:\n        pass\n"
    outcome = sandbox.run(CU04, source, "gpu/cu04.py")
    assert outcome["verdict"] == "error" and "turns of a while loop" in outcome["exception"]["message"]
    assert outcome["exception"]["frames"][-1]["line"] == 6


def test_a_barrier_that_is_missing_elsewhere_is_not_taken_for_a_known_one():
    cu08 = bank()["cu08"]
    solution = cu08.source("solution")
    barrier = "    cuda.syncthreads()\n    top = part[0]\n"
    assert solution.count(barrier) == 1
    verdict = examine(cu08, Subject.of_source(solution.replace(barrier, "    top = part[0]\n"), "other.py", cu08.names))
    assert verdict.verdict == "wrong" and verdict.problems[0].what.startswith("races") and verdict.misconception == ""
