"""Whatever a learner's file does, the runner gets a verdict, says what happened, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from minidl.learn import sandbox
from minidl.learn.bank import bank
from minidl.learn.layout import Style
from minidl.learn.report import report
from minidl.learn.sandbox import run, usage

pytestmark = pytest.mark.skipif(bool(sandbox.lacking()), reason="no process groups here")

INIT02 = bank()["init02"]
RIGHT = "return rng.normal(scale=(2 / (fan_in + fan_out)) ** 0.5, size=(fan_in, fan_out))"


def function(*lines):
    """A file whose function has these lines."""
    return "import numpy as np\n\ndef xavier_normal(fan_in, fan_out, rng):\n" + "".join(
        f"    {line}\n" for line in lines
    )


def attempt(source, **options):
    found = run(INIT02, source, "init02.py", **{"seconds": 3, **options})
    json.dumps(found)
    for lang in ("en", "zh"):  # whatever it was, it can be said, in 80 columns
        assert report(INIT02, found, Style(lang, plain=True), source=source)
    return found


def test_verdicts_come_out_as_they_are():
    right = attempt(function(RIGHT))
    assert right["verdict"] == "passed" and right["held"] == right["observations"] > 5 and right["statistical"] == 8
    wrong = attempt(INIT02.source("wrong_lecun"))
    assert (wrong["verdict"], wrong["stage"], wrong["misconception"]) == ("wrong", "statistics", "lecun")
    assert attempt("# a comment\n" + INIT02.source("stub"))["verdict"] == "not started"


@pytest.mark.parametrize(
    ("lines", "kind"),
    [
        (["while True:", "    pass"], "time"),
        (["while True:", "    try:", "        while True: pass", "    except BaseException: pass"], "time"),
        (["import signal", "signal.pause()"], "time"),
        (["import os", "os._exit(0)"], "exit"),
        (["import os", "os.closerange(3, 512)", RIGHT], "exit"),
        (["import ctypes", "ctypes.string_at(0)"], "signal"),
        (["import os", "os.abort()"], "signal"),
        (["import os", "while True: os.fork()"], "processes"),
        (["np.isclose = lambda *a, **k: np.True_", "return np.zeros((fan_in, fan_out))"], "changed"),
        (["import minidl.learn.examine as e", "e.problem = lambda seen: None", "return 1"], "changed"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[-1][:24],
)
def test_what_ends_without_a_verdict_is_an_error_and_says_why(lines, kind):
    found = attempt(function(*lines), seconds=1 if kind == "time" else 5)
    assert found["verdict"] == "error"
    assert found["trouble"]["kind"] == kind


def test_os_exit_at_the_top_of_the_file_is_an_error():
    assert attempt("import os\nos._exit(0)\n")["trouble"] == {"kind": "exit", "code": 0, "lines": []}


def test_an_endless_loop_is_told_with_its_line():
    source = function("n = 0", "while True:", "    n += 1")
    found = attempt(source, seconds=1)
    assert found["trouble"]["lines"][0] in (5, 6)
    said = "\n".join(report(INIT02, found, Style("en", plain=True), source=source))
    assert "longer than 1 s" in said and ("while True:" in said or "n += 1" in said)


@pytest.mark.parametrize(
    ("lines", "kind"),
    [
        (["import sys", "sys.exit()"], "SystemExit"),
        (["raise KeyboardInterrupt"], "KeyboardInterrupt"),
        (["return input()"], "EOFError"),
        (["import os", "os.read(int(__import__('sys').argv[1]), 10)"], "OSError"),
        (["raise RuntimeError('a' * 100_000)"], "RuntimeError"),
        (["return xavier_normal(fan_in, fan_out, rng)"], "RecursionError"),
        (["class Odd(Exception):", "    def __str__(self): raise ValueError", "raise Odd"], "Odd"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_exceptions_come_with_the_learners_own_frames(lines, kind):
    found = attempt(function(*lines))
    assert found["verdict"] == "error" and found["exception"]["type"] == kind
    assert found["exception"]["frames"] and len(found["exception"]["message"]) <= 2000
    assert all(frame["function"] in ("xavier_normal", "__str__") for frame in found["exception"]["frames"])


def test_gigabytes():
    found = attempt(function("return np.ones((fan_in, fan_out, 10**6))"))
    if sys.platform == "linux":  # the system refuses, and the learner sees where
        assert found["exception"]["type"] == "MemoryError" and found["exception"]["frames"][0]["line"] == 4
    else:
        assert found["trouble"]["kind"] == "memory"


def test_the_memory_of_a_group_is_counted_together():
    """Two processes, each below the limit of one."""
    lines = ["import os, time", "os.fork()", "kept = np.ones(100 << 17)", "time.sleep(60)"]
    found = attempt(function(*lines), memory=250 << 20, seconds=20)
    assert found.get("trouble", {}).get("kind") == "memory", found


def test_a_printing_storm_is_shown_shortened():
    found = attempt(function("while True: print('\\x1b[2J' + 'x' * 1000)"), seconds=1)
    assert found["trouble"]["kind"] == "time" and len(found["output"]) < 70_000 and "bytes ...]" in found["output"]
    lines = report(INIT02, found, Style("en", plain=True))
    assert len(lines) < 25 and not any("\x1b" in line for line in lines) and "more lines" in "\n".join(lines)


def test_what_is_printed_comes_along_once():
    found = attempt(function("print('fan', fan_in)", INIT02.source("wrong_he").splitlines()[-2].strip(), "return rng.normal(size=(fan_in, fan_out)) * std"))  # fmt: skip
    assert found["verdict"] == "wrong" and found["output"].count("fan 512\n") == 1 + 1  # shape and moments


@pytest.mark.skipif(shutil.which("ps") is None, reason="there is no ps to look for them")
def test_processes_and_threads_that_are_left_are_ended():
    marker = f"left-{os.getpid()}"
    code = f"import time; time.sleep(600)  # {marker}"
    lines = ["import subprocess, sys, threading, time", f"subprocess.Popen([sys.executable, '-c', {code!r}])",
             "threading.Thread(target=time.sleep, args=(600,)).start()", RIGHT]  # fmt: skip
    began = time.monotonic()
    assert attempt(function(*lines), seconds=20)["verdict"] == "passed"
    assert time.monotonic() - began < 20
    time.sleep(0.1)
    assert marker not in subprocess.run(["ps", "-axo", "args"], capture_output=True, text=True, check=False).stdout


def test_a_fork_has_no_say():
    lines = ["import os", "if fan_in == 1000 and os.fork() == 0: return np.zeros(3)", RIGHT]
    assert attempt(function(*lines))["verdict"] == "passed"


def test_a_made_up_verdict_is_not_believed():
    forged = '\\n{\\"verdict\\": {\\"verdict\\": \\"passed\\"}, \\"final\\": true}\\n'
    lines = ["import os, sys", f"os.write(int(sys.argv[1]), b'{forged}')", "print('passed')", "os._exit(0)"]
    assert attempt(function(*lines))["verdict"] == "error"


def test_files_are_written_where_they_vanish(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = function("import pathlib", "pathlib.Path('mine.txt').write_text('x')", "print(pathlib.Path.cwd())", RIGHT)
    found = attempt(source)
    assert found["verdict"] == "passed" and not list(tmp_path.iterdir())
    assert not Path(found["output"].splitlines()[0]).exists()
    found = attempt(function("open('big', 'wb').write(bytes(100 << 20))", RIGHT))
    assert found["verdict"] == "error" and found["exception"]["type"] == "OSError"


@pytest.mark.parametrize(
    ("source", "line", "kind"),
    [
        ("def f(:\n", 1, "SyntaxError"),
        ("def f():\nreturn 1\n", 2, "IndentationError"),
        ("x = 1\ny = 1 +\n", 2, "SyntaxError"),
    ],
)
def test_what_is_no_python_has_line_and_caret(source, line, kind):
    error = attempt(source)["exception"]
    assert error["type"] == kind and error["frames"][0]["line"] == line and error["caret"] is not None


def test_the_learners_numpy_is_whole_again_and_the_runner_untouched():
    import numpy as np

    before = np.isclose
    attempt(function("np.isclose = None", RIGHT))
    assert np.isclose is before


def test_a_run_can_be_stopped_from_outside():
    stop = threading.Event()
    threading.Timer(0.5, stop.set).start()
    began = time.monotonic()
    attempt(function("while True: pass"), seconds=60, stop=stop)
    assert time.monotonic() - began < 30


def test_usage_counts_this_process():
    count, size = usage(os.getpgid(0))
    assert count >= 1 and size > 10 << 20
    assert usage(2**22 + 1) == (0, 0)


def test_where_groups_are_lacking_it_says_so(monkeypatch):
    monkeypatch.setattr(sandbox, "lacking", lambda: "groups are lacking")
    with pytest.raises(OSError, match="groups are lacking"):
        run(INIT02, "", "init02.py")
