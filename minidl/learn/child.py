"""The other end of minidl/learn/sandbox.py: runs a learner's file in this process and says over a pipe what came of it.

    python -c "..." CHANNEL          started by the sandbox, with the job as JSON on standard input

Checks and the learner's code share this process, because a check calls functions with arrays, generators and models in memory.
Whoever changes NumPy on purpose can fool a check, and only himself; who does so by accident is told.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from . import bank, checks, compare, examine

SECONDS, COSTLY_SECONDS = 10, 60  # for the learner's code and the checks; where a check trains, the latter


class Channel:
    """The pipe to the sandbox: lines of JSON, each after the token that only this process and the sandbox know."""

    def __init__(self, number: int, token: str) -> None:
        self.number, self.token, self.process = number, token, os.getpid()

    def send(self, **message: Any) -> None:
        """One message. What forked itself off has no say; a process that cannot be heard ends."""
        if os.getpid() != self.process:
            os._exit(1)
        data = f"\n{self.token}{json.dumps(message)}\n".encode()
        try:
            while data:
                data = data[os.write(self.number, data) :]
        except OSError:
            os._exit(1)


def main() -> None:
    """Do the job that stands on standard input, and end this process, whatever threads are left in it."""
    job = json.loads(sys.stdin.buffer.read())
    channel = Channel(int(sys.argv[1]), job["token"])
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    exercise = bank.read(Path(job["exercise"]))
    seconds = job["seconds"] or (COSTLY_SECONDS if any(one.costly for one in exercise.checks()) else SECONDS)
    limit(seconds, job["bytes"])
    originals = Originals()
    channel.send(seconds=seconds)
    # says where the learner's code is, also from within a loop in C, shortly before the sandbox ends it
    faulthandler.dump_traceback_later(max(seconds - 0.5, 0.75 * seconds), file=channel.number)
    subject, verdict = None, examine.Verdict(exercise.id, "error", job["seed"])
    try:
        subject = checks.Subject.of_source(job["source"], job["name"], exercise.names)
        verdict = examine.judge(exercise, subject, job["seed"], job["thorough"])
        plain = examine.summary(verdict, job["name"])  # which prints objects of the learner's
    except BaseException as error:
        word = "not started" if isinstance(error, NotImplementedError) else "error"
        verdict = examine.Verdict(exercise.id, word, job["seed"], exception=error)
        plain = examine.summary(verdict, job["name"])
    changed = originals.changed()
    flush()
    if changed:
        plain |= {"verdict": "error", "problems": [], "trouble": {"kind": "changed", "names": changed}}
        channel.send(verdict=plain, final=True)
        os._exit(0)
    channel.send(verdict=plain)  # if naming the misconception takes too long, this one stands
    faulthandler.cancel_dump_traceback_later()
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    if subject is not None:
        plain["misconception"] = examine.misconception(exercise, subject, verdict)
    channel.send(verdict=plain, final=True)
    os._exit(0)


def flush() -> None:
    """Write out what the learner's code has printed, if it has left a way to."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            continue


def limit(seconds: float, size: int) -> None:
    """Limits that hold even if the sandbox is gone: processor time, memory where the system counts it, size of a file."""
    import resource

    wanted = {"RLIMIT_CPU": int(4 * seconds) + 60, "RLIMIT_FSIZE": 64 << 20, "RLIMIT_CORE": 0}
    if sys.platform == "linux":
        # what is written to privately. Not the address space, RLIMIT_AS: NumPy and Numba reserve much more than they use
        wanted["RLIMIT_DATA"] = size
    for name, most in wanted.items():
        number = getattr(resource, name)
        _, hard = resource.getrlimit(number)
        with contextlib.suppress(ValueError, OSError):  # a system that does not have this one
            resource.setrlimit(number, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


class Originals:
    """What modules that the checks rest on held before the learner's code ran."""

    MODULES: tuple[ModuleType, ...] = (np, np.linalg, np.random, bank, checks, compare, examine)

    def __init__(self) -> None:
        self.before = [(module, dict(vars(module))) for module in self.MODULES]

    def changed(self) -> list[str]:
        """The names that hold something else now; all are put back."""
        found = []
        for module, before in self.before:
            for name, value in before.items():
                if vars(module).get(name) is not value and name != "__warningregistry__":
                    setattr(module, name, value)
                    found.append(f"{module.__name__}.{name}")
        return found
