"""What the simulator's tests share."""

from __future__ import annotations

import inspect

import pytest

from minidl.sim import simulate


def line_of(kernel, text):
    """The number of the first line of a kernel's source that contains a text."""
    lines, first = inspect.getsourcelines(kernel.py_func)
    return first + next(i for i, line in enumerate(lines) if text in line)


@pytest.fixture(name="line_of")
def line_of_fixture():
    return line_of


@pytest.fixture(params=["forward", "reverse", "random"])
def order(request):
    """The order of threads between barriers."""
    return request.param


@pytest.fixture
def run(order):
    """simulate in the order, for kernels that are right: it fails for one that the report finds fault with."""

    def call(kernel, grid, block, *args, **options):
        report = simulate(kernel, grid, block, *args, order=order, seed=3, **options)
        assert report.ok, report.verdict()
        return report

    return call
