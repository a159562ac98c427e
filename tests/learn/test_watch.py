"""Watch mode, driven in a real terminal by tmux: keys are sent, the screen is read."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import minidl
from minidl.learn.bank import bank
from minidl.learn.layout import wide
from minidl.learn.workspace import Workspace

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
ROOT = Path(minidl.__file__).parent.parent
ARR04, INIT02 = bank()["arr04"], bank()["init02"]


class Screen:
    """A terminal of 80 columns with a shell in it."""

    def __init__(self, folder, socket):
        self.socket = str(socket)
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "LANG": "C.UTF-8",
            "LC_ALL": "C.UTF-8",
            "PS1": "$ ",
            "ENV": "",
        }
        for name in ("TMUX", "MINIDL_LANG", "NO_COLOR"):
            environment.pop(name, None)
        self.environment = environment
        self.tmux("-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", "60", "-c", str(folder), "sh")
        self.tmux("set-option", "-g", "history-limit", "5000")

    def tmux(self, *arguments):
        command = ["tmux", "-u", "-S", self.socket, *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, check=True, env=self.environment, timeout=30
        ).stdout

    def type(self, text):
        self.tmux("send-keys", text, "Enter")

    def press(self, key):
        self.tmux("send-keys", key)

    def text(self):
        return self.tmux("capture-pane", "-p", "-J", "-S", "-")

    def wait(self, *wanted, after=0, seconds=40):
        """Wait until the screen, from a place on, shows all of these; the place behind the last one."""
        end = time.monotonic() + seconds
        while True:
            text = self.text()[after:]
            if all(one in text for one in wanted):
                return after + max(text.rindex(one) + len(one) for one in wanted)
            assert time.monotonic() < end, f"{wanted} did not come:\n{text}"
            time.sleep(0.1)


@pytest.fixture
def screen(tmp_path):
    Workspace.make(tmp_path / "work", "en")[0].go(ARR04)
    made = Screen(tmp_path / "work", tmp_path / "socket")
    yield made
    made.tmux("kill-server")


def learn(*arguments):
    return shlex.join([sys.executable, "-m", "minidl", "learn", *arguments])


def test_from_a_wrong_file_to_the_next_exercise(screen, tmp_path):
    file = tmp_path / "work" / "arrays" / "arr04.py"
    screen.type("stty -a > before; " + learn("--plain"))
    at = screen.wait("not started", "Replace the TODO in arrays/arr04.py", "Q quit")
    file.write_text(ARR04.source("wrong_all_axes"))  # saved: it is checked without a key
    at = screen.wait("wrong", "looks like: you summed over the whole array", "Q quit", after=at)
    screen.press("n")
    at = screen.wait("not solved yet", after=at)
    screen.press("h")
    at = screen.wait("hint 1 of 3", after=at)
    screen.press("h")
    at = screen.wait("hint 2 of 3", after=at)
    screen.press("d")
    at = screen.wait("after you have solved it", after=at)
    screen.press("Z")
    at = screen.wait("Z is no key", "Q quit", after=at)
    temporary = file.with_suffix(".new")  # as editors do: another file, put in its place
    temporary.write_text(ARR04.source("solution"))
    temporary.replace(file)
    at = screen.wait("passed", "why it matters", "n goes on to the next exercise", "Q quit", after=at)
    screen.press("d")
    at = screen.wait("the same as the reference", after=at)
    screen.press("n")
    following = Workspace(tmp_path / "work").following()
    at = screen.wait("not started", "Q quit", after=at)
    screen.press("l")
    at = screen.wait("of", "solved", "> current", after=at)
    screen.press("Q")
    at = screen.wait("minidl learn goes on here", after=at)
    screen.type("echo status $?; stty -a > after; cmp before after && echo as before")
    screen.wait("status 0", "as before", after=at)
    workspace = Workspace(tmp_path / "work")
    assert following is not None and workspace.solved("arr04") and workspace.current.id != "arr04"
    assert workspace.record(ARR04)["hint"] == 2
    assert all(wide(line.rstrip()) <= 80 for line in screen.text().splitlines() if "PYTHON" not in line and "-m minidl" not in line)  # fmt: skip
    # the screen was never cleared: the first verdict is still there
    assert screen.text().count("Replace the TODO in arrays/arr04.py") == 1


def test_chinese_by_polling_reset_skip_and_an_interrupt(screen, tmp_path):
    work = tmp_path / "work"
    file = work / "initialization" / "init02.py"
    Workspace(work).go(INIT02)
    screen.type("stty -a > before; " + learn("--lang", "zh", "--poll"))
    at = screen.wait("未开始", "Xavier(Glorot)初始化", "Q 退出")
    file.write_text(INIT02.source("wrong_lecun"))
    at = screen.wait("✗ 错误", "很可能是：你用的是 1/fan_in", "Q 退出", after=at)
    screen.press("x")
    at = screen.wait("y/n", after=at)
    screen.press("y")
    at = screen.wait("已恢复为题目", "未开始", "Q 退出", after=at)
    assert INIT02.untouched(file.read_text()) and len(list((work / "backups").rglob("*.py"))) == 1
    file.write_text("def xavier_normal(fan_in, fan_out, rng):\n    while True: pass\n")
    at = screen.wait("正在检查", after=at)
    screen.press("C-c")  # during a run
    at = screen.wait("minidl: stopped", after=at)
    screen.type("echo status $?; stty -a > after; cmp before after && echo as before")
    screen.wait("status 130", "as before", after=at)
    processes = subprocess.run(["ps", "-axo", "args"], capture_output=True, text=True, check=False).stdout
    assert not [line for line in processes.splitlines() if "minidl.learn.child" in line and str(work) in line]


def test_a_request_to_end_leaves_the_terminal_as_it_was(screen, tmp_path):
    screen.type("stty -a > before; " + learn("--plain") + " & echo pid $! > pid; fg")
    at = screen.wait("Q quit")
    os.kill(int((tmp_path / "work" / "pid").read_text().split()[1]), signal.SIGTERM)
    time.sleep(0.5)
    screen.type("stty -a > after; cmp before after && echo as before")
    screen.wait("as before", after=at)


def test_without_a_terminal_it_says_what_to_do(tmp_path):
    Workspace.make(tmp_path / "work", "en")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    found = subprocess.run([sys.executable, "-m", "minidl", "learn"], cwd=tmp_path / "work", env=environment,
                           stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)  # fmt: skip
    assert found.returncode == 1 and "minidl learn run" in found.stderr and "Traceback" not in found.stderr
