"""One thread: the products of these small networks gain nothing from more, and wait for one another where a machine is busy."""

from __future__ import annotations

import pytest

import minidl as md


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    threads = md.get_num_threads()
    md.set_num_threads(1)
    yield
    md.set_num_threads(threads)
