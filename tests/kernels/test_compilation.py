"""Compiled kernels on disk: kept, announced, and no obstacle when the disk is; how many threads they use."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import minidl as md
from minidl.kernels import blas, threads
from minidl.kernels.jit import jit

pytest.importorskip("numba")

from minidl.kernels._cache import announcer  # it needs Numba

PROGRAM = """
import warnings
import minidl, numpy as np
from minidl.kernels._cache import announcer
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    y = minidl.nn.functional.gelu(minidl.tensor(np.ones((3, 5), np.float32)))
    assert abs(float(y[0, 0]) - 0.8413447) < 1e-6, y
print(announcer.count, len(seen), *[w.message for w in seen])
"""


def run(folder, program=PROGRAM, **environment):
    """What a new process prints: how many kernels it compiled, and how many warnings it gave."""
    env = {**os.environ, "NUMBA_CACHE_DIR": str(folder), **environment}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    count, warned, *text = done.stdout.split(maxsplit=2)
    return int(count), int(warned), "".join(text)


def files(folder, pattern):
    return [path for path in Path(folder).rglob(pattern)]


@pytest.fixture(scope="module")
def warm(tmp_path_factory):
    """A folder with the compiled kernels of the program, and how many they are."""
    folder = tmp_path_factory.mktemp("kernels")
    return folder, run(folder)[0]


def test_compiled_once_and_loaded_then(warm):
    folder, count = warm
    assert count > 0 and run(folder)[0] == 0


@pytest.mark.parametrize(
    ("pattern", "damage"),
    [
        ("*.nbc", lambda data: b"garbage"),
        ("*.nbc", lambda data: b""),
        ("*.nbc", lambda data: data[: len(data) // 2]),
        ("*.nbc", lambda data: data[:-100] + bytes(100)),
    ],
    ids=["garbage", "empty", "half of the code", "other code"],
)
def test_damaged_files_are_replaced(warm, tmp_path, pattern, damage):
    folder = shutil.copytree(warm[0], tmp_path / "damaged")
    assert files(folder, pattern)
    for path in files(folder, pattern):
        path.write_bytes(damage(path.read_bytes()))
    assert run(folder)[:2] == (warm[1], 0)
    assert run(folder)[0] == 0


def test_no_folder_to_write_to(tmp_path):
    # permissions do not bind the superuser, who may run this: every place that Numba tries is a file, not a folder
    program = f"""
def refuse(*args, **kwargs):
    return None
from minidl.kernels._cache import Places
for locator in Places._locator_classes:
    locator.from_function = classmethod(lambda cls, *args: None)
{PROGRAM}"""
    count, warned, text = run(tmp_path, program)
    assert count > 0 and warned == 1 and "cannot be kept on disk" in text and "NUMBA_CACHE_DIR" in text
    assert files(tmp_path, "*.nbc") == []


def test_full_disk(tmp_path):
    program = f"""
import errno, os
def full(self, key, data):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
import minidl.kernels._cache
minidl.kernels._cache.Files.save = full
{PROGRAM}"""
    count, warned, text = run(tmp_path, program)
    assert count > 0 and warned == 1 and "No space left on device" in text


def test_two_processes_at_once(tmp_path):
    results = []
    workers = [threading.Thread(target=lambda: results.append(run(tmp_path))) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(results) == 2 and all(warned == 0 for _, warned, _ in results)
    assert run(tmp_path)[0] == 0


def test_a_file_is_found_by_what_it_is_compiled_from(tmp_path):
    from minidl.kernels._cache import Files

    old, one, other = Files(tmp_path, "f[1]", "old"), Files(tmp_path, "f[1]", "new"), Files(tmp_path, "f[1]", "new")
    old.save("float32", "stale")
    (tmp_path / f"f[1].{old.source}.part").touch()  # what a killed process leaves
    assert one.load("float32") is None
    one.save("float32", "code")
    other.save("float64", "other code")  # of a process that did not see the first
    assert (one.load("float32"), one.load("float64"), one.load("int32")) == ("code", "other code", None)
    assert len(files(tmp_path, "*")) == 2
    one.path("float32").write_bytes(one.path("float64").read_bytes()[:-1])
    with pytest.raises(ValueError, match="is damaged"):
        one.load("float32")


def test_an_account_without_a_home_gets_no_folder(tmp_path, monkeypatch):
    from minidl.kernels._cache import Home

    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Path, "home", homeless)
    assert Home.from_function(run, __file__) is None and list(tmp_path.iterdir()) == []


def test_python_collects_garbage_again_after_a_compilation_that_fails():
    import gc

    from numba.core.errors import TypingError

    with pytest.raises(TypingError):
        jit(cache=False)(lambda x: x.nonsense)(1.0)
    assert gc.isenabled() and announcer.begins == []


def in_terminal(folder, **environment):
    """Standard error of the program, where that is a terminal."""
    here, there = pty.openpty()
    env = {**os.environ, "NUMBA_CACHE_DIR": str(folder), "MINIDL_QUIET": "", **environment}
    done = subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.DEVNULL, stderr=there, env=env)
    os.close(there)
    text = b""
    while True:
        try:
            part = os.read(here, 4096)
        except OSError:  # Linux says so at the end
            break
        if not part:
            break
        text += part
    os.close(here)
    assert done.wait() == 0
    return text.decode()


def test_compiling_is_announced_in_a_terminal_and_wiped_off(tmp_path):
    text = in_terminal(tmp_path / "a")
    assert "minidl: compiling kernels, once: number 1, gelu_loop (0 s so far)" in text and text.endswith("\r\x1b[K")
    assert in_terminal(tmp_path / "b", MINIDL_QUIET="1") == ""


def test_nothing_is_announced_where_nothing_is_compiled(warm):
    assert in_terminal(warm[0]) == ""


def test_number_of_threads():
    before = md.get_num_threads()
    try:
        for number in (1, 3):
            md.set_num_threads(number)
            assert md.get_num_threads() == number
            if blas.library() is not None:
                assert blas.library().get_threads() == 1  # minidl has threads of its own
        for wrong in (0, -1, 2.0, True):
            with pytest.raises(RuntimeError, match="expects a positive integer"):
                md.set_num_threads(wrong)
    finally:
        md.set_num_threads(before)
        threads._asked = None
    md.set_num_interop_threads(1)
    assert md.get_num_interop_threads() == 1
    with pytest.raises(RuntimeError, match="expects a positive integer"):
        md.set_num_interop_threads(0)


def test_threads_from_the_environment():
    program = "import minidl; print(minidl.get_num_threads(), 0)"
    assert run(".", program, OMP_NUM_THREADS="3")[0] == 3
    assert run(".", program, OMP_NUM_THREADS="many")[0] >= 1
