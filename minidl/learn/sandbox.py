"""Runs a learner's file where it can do no harm: in a process group of its own, with limits on time, memory and output.

    outcome = run(exercise, source, "initialization/init02.py")

The verdict (`minidl.learn.examine.summary`, with what is said here) comes over a private pipe, in lines that begin with a token
drawn for this run. What ends without such a line, for whatever reason, is an error and never passed. At the end the whole group
is killed. A process that moves itself into another session on purpose (os.setsid) is not in the group and stays; the limit on
its processor time ends it. The learner's code has the rights of the user: this is a guard against accidents, not against malice.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import selectors
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from .bank import Exercise

BYTES = 2 << 30  # memory of the group
PROCESSES = 64  # in the group
STARTUP = 120.0  # seconds until the checks are loaded: kernels may have to be compiled
KEPT = 64 << 10  # bytes of output that are kept, half of them the first ones and half the last ones
TICK = 0.05

_START = "import sys; sys.path[:] = {path!r}; from minidl.learn.child import main; main()"


def lacking() -> str:
    """Why files cannot be run here, or the empty string."""
    if os.name != "posix":
        return "running exercises needs process groups, which Windows lacks: use WSL, or `minidl.learn.check` in a notebook"
    return ""


def run(
    exercise: Exercise, source: str, name: str, *, seed: int = 0, thorough: bool = False,
    seconds: float = 0.0, memory: int = BYTES, stop: threading.Event | None = None,
) -> dict[str, Any]:  # fmt: skip
    """The verdict on a text as plain values, with its output; `name` is what tracebacks call it.

    seconds: for the learner's code and the checks (default: 10, or 60 if a check trains).
    stop: ends the run when it is set. Raises OSError where `lacking()`.
    """
    if lacking():
        raise OSError(lacking())
    token = secrets.token_hex(16)
    job = {"token": token, "exercise": str(exercise.folder.resolve()), "source": source, "name": name, "seed": seed,
           "thorough": thorough, "seconds": seconds, "bytes": memory}  # fmt: skip
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="minidl-", ignore_cleanup_errors=True) as folder:
        group = _Group(folder, token, memory, stop or threading.Event())
        try:
            group.give(json.dumps(job).encode())
            group.watch()
        finally:
            group.kill()
        outcome = group.outcome(name)
    return {
        "exercise": exercise.id, "verdict": "error", "stage": "", "seed": seed, "problems": [], "later": [],
        "misconception": "", "observations": 0, "held": 0, "statistical": 0, **outcome,
        "output": group.output.text(), "seconds": time.monotonic() - began,
    }  # fmt: skip


class _Group:
    """The process that runs the learner's code, and all that it starts."""

    def __init__(self, folder: str, token: str, memory: int, stop: threading.Event) -> None:
        self.token, self.memory, self.stop = token.encode(), memory, stop
        self.output, self.messages = _Kept(KEPT), _Kept(1 << 20)
        self.verdict: dict[str, Any] | None = None
        self.final = False
        self.trouble: dict[str, Any] = {}
        self.seconds = 0.0
        self.deadline = time.monotonic() + STARTUP
        self._line = b""
        reading, writing = os.pipe()
        path = [os.path.abspath(entry) for entry in sys.path]  # noqa: PTH100  # "" is the current folder
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _START.format(path=path), str(writing)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, pass_fds=(writing,),
                cwd=folder, env=_environment(folder), start_new_session=True,
            )  # fmt: skip
        finally:
            os.close(writing)
        self.channel = open(reading, "rb", buffering=0)  # noqa: PTH123

    def give(self, job: bytes) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(job)
            self.process.stdin.close()

    def watch(self) -> None:
        """Read what comes until there is a final verdict, the process has ended or a limit is passed."""
        with selectors.DefaultSelector() as ready:
            for stream in (self.process.stdout, self.channel):
                ready.register(stream, selectors.EVENT_READ)  # type: ignore[arg-type]
            looked = time.monotonic()
            while not self.final and not self.trouble and not self.stop.is_set():
                for key, _ in ready.select(TICK):
                    data = os.read(key.fd, 1 << 16)
                    if not data:
                        ready.unregister(key.fileobj)
                    elif key.fileobj is self.channel:
                        self._hear(data)
                    else:
                        self.output.add(data)
                now = time.monotonic()
                if now > self.deadline:
                    self.trouble = {"kind": "time", "seconds": self.seconds or STARTUP}
                elif now > looked + TICK:
                    looked = now
                    self._measure()
                if self.process.poll() is not None and self._drained(ready):
                    break
            if self.final or self.trouble:
                self._drained(ready, most=64)

    def _drained(self, ready: selectors.BaseSelector, most: int = 1024) -> bool:
        """Read what is left in the pipes; a process that was left behind may hold them open, and may go on writing."""
        for _ in range(most):
            found = ready.select(0) if ready.get_map() else []
            if not found:
                break
            for key, _ in found:
                data = os.read(key.fd, 1 << 16)
                if not data:
                    ready.unregister(key.fileobj)
                elif key.fileobj is self.channel:
                    self._hear(data)
                else:
                    self.output.add(data)
        return True

    def _hear(self, data: bytes) -> None:
        """Lines of the channel: messages with the token, and what others wrote, such as where the code is at the end."""
        *lines, self._line = (self._line + data).split(b"\n")
        if len(self._line) > 16 << 20:
            self._line = b""
        for line in lines:
            if not line.startswith(self.token):
                self.messages.add(line + b"\n")
                continue
            message = json.loads(line[len(self.token) :])
            if "verdict" in message:
                self.verdict, self.final = message["verdict"], message.get("final", False)
            else:
                self.seconds = message["seconds"]
                self.deadline = time.monotonic() + self.seconds

    def _measure(self) -> None:
        """Hold the group to its memory and its number of processes."""
        count, size = usage(self.process.pid)
        if count > PROCESSES:
            self.trouble = {"kind": "processes", "count": PROCESSES}
        elif size > self.memory:
            self.trouble = {"kind": "memory", "bytes": self.memory}

    def kill(self) -> None:
        """End the group, also what forks while it is being ended."""
        for _ in range(100):
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):  # macOS says the latter of a group of zombies
                break
            self.process.poll()
            time.sleep(0.001)
        self.process.wait()
        self.channel.close()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def outcome(self, name: str) -> dict[str, Any]:
        """The verdict that came, or why none came."""
        if self.verdict is not None:
            return self.verdict
        code = self.process.returncode
        if not self.trouble and code < 0:
            self.trouble = {"kind": "signal", "signal": signal.Signals(-code).name}
        elif not self.trouble:
            self.trouble = {"kind": "exit", "code": code}
        if self.seconds:  # else the learner's code had not begun
            self.trouble["lines"] = _places(self.messages.text(), name) if self.trouble["kind"] == "time" else []
        else:
            self.trouble["early"] = True
        return {"trouble": self.trouble}


class _Kept:
    """The beginning and the end of a stream."""

    def __init__(self, size: int) -> None:
        self.half, self.first, self.last, self.dropped = size // 2, b"", b"", 0

    def add(self, data: bytes) -> None:
        room = self.half - len(self.first)
        self.first += data[:room] if room > 0 else b""
        rest = self.last + (data[room:] if room > 0 else data)
        self.dropped += max(0, len(rest) - self.half)
        self.last = rest[-self.half :]

    def text(self) -> str:
        gap = f"\n[... {self.dropped:,} bytes ...]\n" if self.dropped else ""
        return self.first.decode(errors="replace") + gap + self.last.decode(errors="replace")


def _places(dump: str, name: str) -> list[int]:
    """The lines of the learner's file in what faulthandler wrote, the innermost first."""
    return [int(line) for line in re.findall(rf'File "{re.escape(name)}", line (\d+)', dump)]


def _environment(folder: str) -> dict[str, str]:
    """One thread for each library, so that a check gives the same twice; kernels that need no compiling, which would take
    longer than a check may; no window; text in UTF-8."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
    return {
        **os.environ,
        **threads,
        "MPLBACKEND": "agg",
        "PYTHONIOENCODING": "utf-8:backslashreplace",
        "TMPDIR": folder,
    }


def usage(group: int) -> tuple[int, int]:
    """How many processes a group has, and the bytes of memory that they hold together."""
    if Path("/proc/self/stat").exists():
        page = os.sysconf("SC_PAGE_SIZE")
        sizes = [int(fields[21]) * page for fields in _processes() if int(fields[2]) == group]
    else:
        listed = subprocess.run(["ps", "-axo", "pgid=,rss="], capture_output=True, text=True, check=False).stdout
        rows = [line.split() for line in listed.splitlines()]
        sizes = [int(rss) * 1024 for pgid, rss in rows if int(pgid) == group]
    return len(sizes), sum(sizes)


def _processes() -> list[list[str]]:
    """The fields of /proc/PID/stat after the name, for every process."""
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                found.append(Path(entry.path, "stat").read_text(errors="replace").rpartition(")")[2].split())
    return found
