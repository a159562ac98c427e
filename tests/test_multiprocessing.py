"""minidl.multiprocessing and hub: what programs import of them."""

from __future__ import annotations

import multiprocessing
import sys

import pytest

import minidl as md


def leave(i, code):
    sys.exit(code if i == 1 else 0)


def test_processes():
    mp = md.multiprocessing
    assert mp.cpu_count() == multiprocessing.cpu_count() and mp.Process is multiprocessing.Process
    assert mp.get_sharing_strategy() in mp.get_all_sharing_strategies()
    mp.set_sharing_strategy("file_system")
    with pytest.raises(ValueError, match="not one of"):
        mp.set_sharing_strategy("memory")
    mp.spawn(leave, (0,), nprocs=2, start_method="fork")
    with pytest.raises(RuntimeError, match="process 1 terminated with exit code 3"):
        mp.spawn(leave, (3,), nprocs=2, start_method="fork")
    running = mp.spawn(leave, (0,), nprocs=1, join=False, start_method="fork")
    assert len(running.pids()) == 1 and running.join()


def test_nothing_is_downloaded():
    for name in ("load", "list", "load_state_dict_from_url"):
        with pytest.raises(NotImplementedError, match=rf"hub.{name} is not there: nothing is downloaded"):
            getattr(md.hub, name)("x")
