"""What needs a process of its own to be measured: peak memory, growth over many steps, the cost of importing.

Memory is read from Linux's /proc; elsewhere these measurements are left out.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

PROLOGUE = r"""
import re, time
def memory(field):  # Linux: what the process holds (VmRSS), or held at most (VmHWM)
    return int(re.search(field + r":\s+(\d+)", open("/proc/self/status").read())[1]) * 1024
def forget_peak():
    open("/proc/self/clear_refs", "w").write("5")
"""

ATTENTION = """
import numpy as np, {module} as m
x = [m.tensor(np.ones((8, 8, {time}, 64), np.float32), requires_grad=True) for _ in range(3)]
def step(n):
    q, k, v = (m.tensor(np.ones((8, 8, n, 64), np.float32), requires_grad=True) for _ in range(3)) if n < {time} else x
    m.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True).sum().backward()
step(64)  # what compiling and loading take is not meant
forget_peak()
before = memory("VmRSS")
step({time})
print((memory("VmHWM") - before) / 2**20)
"""

GROWTH = """
import {module} as m
from minidl.bench.workloads import char_lstm, cnn, gpt, tiny_mlp
step = {step}
for _ in range(200):
    step()
before = memory("VmRSS")
for _ in range(1000):
    step()
print((memory("VmRSS") - before) / 2**20)
"""
SMALL = {  # training steps of a millisecond or less
    "MLP": "tiny_mlp(m)",
    "CNN": "cnn(m, 4, (3, 5))",
    "LSTM": "char_lstm(m, 17, 7, 2, 30)",
    "GPT": "gpt(m, 24, 2, 1, 16, 2, 30)",
}

IMPORT_TIME = """
begin = time.perf_counter()
import {module}
print((time.perf_counter() - begin) * 1e3)
"""

IMPORT_MEMORY = """
before = memory("VmRSS")
import {module}
print((memory("VmRSS") - before) / 2**20)
"""


def in_new_process(program: str, **values: Any) -> float:
    """The number that a Python program prints. Raises RuntimeError, with what it wrote, if it fails."""
    text = PROLOGUE + program.format(**values)
    environment = {
        k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"
    }  # or each import compiles anew
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(f"bench: a measuring process failed:\n{done.stderr[-2000:]}")
    return float(done.stdout.split()[-1])


def both(program: str, unit: str, repeat: int = 1, **values: Any) -> Callable[[str], dict[str, Any]]:
    """A measurement of minidl and of a peer, each in new processes, in turn; the medians."""

    def measurement(peer: str) -> dict[str, Any]:
        pairs = [[in_new_process(program, module=m, **values) for m in ("minidl", peer)] for _ in range(repeat)]
        ours, theirs = (median(column) for column in zip(*pairs, strict=True))
        return {"ours": ours, "theirs": theirs, "unit": unit}

    return measurement


MEASUREMENTS: dict[str, Callable[[str], dict[str, Any]]] = {
    "import time": both(IMPORT_TIME, "ms", repeat=5),
    "import time, the other being NumPy": lambda peer: both(IMPORT_TIME, "ms", repeat=5)("numpy"),
}
if Path("/proc/self/clear_refs").exists():
    MEASUREMENTS |= {
        "import memory": both(IMPORT_MEMORY, "MiB"),
        **{f"memory growth over 1000 steps, {k}": both(GROWTH, "MiB", step=step) for k, step in SMALL.items()},
        "peak memory, attention 8 x 8 x 2048": both(ATTENTION, "MiB", time=2048),
    }
