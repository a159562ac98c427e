"""`minidl bench --device cuda`: whole training steps, and every CUDA kernel, beside PyTorch's, on the GPU of this machine.

First come the two ceilings of this machine at this moment: how fast memory is copied (bytes read and written), and how fast
the vendor's library multiplies matrices. A kernel that moves bytes is judged by the least bytes that its work needs over the
first; one that multiplies by its operations over the second. The time is that between two events on the device: a few
calls, after a warm-up, and of at least 20 such the median. Arrays are several times as large as the second-level cache,
and random.

Workloads run in a process of their own, since a kernel that reads foreign memory takes its process with it; the next process
goes on behind it.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..devices import cupy_for
from . import compare, gpu_kernels, workloads
from .gpu_kernels import Call, Machine, Work, first
from .workloads import Step

CEILINGS, TRAINING = "ceilings", "training step: "
SAMPLES, SAMPLE_SECONDS, MOST_SECONDS = 20, 2e-3, 1.5


def seconds(call: Call) -> tuple[float, int]:
    """The median time of a call on the device, and of how many samples."""
    import cupy

    def sample(repeats: int) -> float:
        begin, end = cupy.cuda.Event(), cupy.cuda.Event()
        begin.record()
        for _ in range(repeats):
            call()
        end.record()
        end.synchronize()
        return float(cupy.cuda.get_elapsed_time(begin, end)) / repeats / 1e3

    for _ in range(2):
        call()
    once = max(sample(1), 1e-7)
    repeats = max(1, min(200, int(SAMPLE_SECONDS / once)))
    count = max(5, min(SAMPLES, int(MOST_SECONDS / (once * repeats))))
    return statistics.median(sample(repeats) for _ in range(count)), count


def difference(ours: Any, theirs: Any) -> float:
    """The distance of two results, relative to the size of the second."""
    a, b = first(ours), first(theirs)
    return float(np.linalg.norm(a - b) / max(float(np.linalg.norm(b)), 1e-30))


def machine() -> Machine:
    """CuPy, and PyTorch if it sees the GPU."""
    import cupy

    try:
        import torch

        torch.backends.cuda.matmul.allow_tf32 = False
        return Machine(cupy, torch if torch.cuda.is_available() else None)
    except ImportError:
        return Machine(cupy, None)


def copy_rate(m: Machine) -> float:
    """Bytes read and written in a second by the device's copy of 1 GiB."""
    import cupy

    source, target = m.normal(2**28), cupy.empty(2**28, "float32")
    stream = cupy.cuda.get_current_stream()
    duration, _ = seconds(lambda: target.data.copy_from_device_async(source.data, source.nbytes, stream))
    return float(2 * source.nbytes / duration)


def product_rate(m: Machine, size: int, half: bool) -> float:
    """Operations a second of the vendor's matrix product."""
    a, b = m.normal(size, size, half=half), m.normal(size, size, half=half)
    if m.torch:
        a, b = m.tensor(a), m.tensor(b)
    return float(2 * size**3 / seconds(lambda: a @ b)[0])


def ceilings(m: Machine) -> list[dict[str, Any]]:
    """The row of the two ceilings, memory and arithmetic, the latter in float32 and in float16."""
    import cupy

    device = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)["name"].decode()
    rates = {"copy": copy_rate(m), "float32": product_rate(m, 8192, False), "float16": product_rate(m, 8192, True)}
    versions = {"driver": cupy.cuda.runtime.driverGetVersion(), "cupy": cupy.__version__}
    return [{"name": CEILINGS, "device": device, **versions, "torch": m.torch and m.torch.__version__, **rates}]


def kernel_results(m: Machine, name: str, work: Work) -> list[dict[str, Any]]:
    """Figures of every version of a piece of work."""
    results = []
    twin, expected = None, None
    if work.twin:
        twin, _ = seconds(work.twin)
        expected = work.twin() if work.check else None
    for version, call in work.versions.items():
        duration, samples = seconds(call)
        row: dict[str, Any] = {"name": name, "version": version, "seconds": duration, "samples": samples, "bytes": work.bytes,
               "flops": work.flops, "half": work.half, "torch_seconds": twin}  # fmt: skip
        if expected is not None:
            row["difference"] = difference(call(), expected)
            row["agrees"] = row["difference"] <= work.tolerance
        results.append(row)
    return results


def training_results(name: str) -> Iterator[dict[str, Any]]:
    """A training step of minidl and of PyTorch eager, both on the GPU; then minidl's as one CUDA graph, or why it is none."""
    import torch

    import minidl

    modules: list[Any] = [minidl, torch]
    row: dict[str, Any] = {"name": TRAINING + name}
    try:
        for module in modules:
            module.set_default_device("cuda")
        ours, theirs = (workloads.WORKLOADS[name](module) for module in modules)
        yield row | {"version": "minidl"} | side_by_side(ours, theirs)
        ours, theirs = (workloads.WORKLOADS[name](module) for module in modules)
        yield row | {"version": "graph"} | recorded_results(ours, theirs)
    finally:
        for module in modules:
            module.set_default_device("cpu")


def side_by_side(ours: Step, theirs: Step) -> dict[str, Any]:
    figures = compare(ours, theirs, rounds=5, seconds=0.2)
    return {"seconds": figures["ours"], "torch_seconds": figures["theirs"], "ratio": figures["ratio"],
            "losses": [ours(), theirs()]}  # fmt: skip


def recorded_results(ours: Any, theirs: Step) -> dict[str, Any]:
    """Figures of the recorded step, or the reason why it was not recorded."""
    try:
        if not hasattr(ours, "recorded"):
            return {"error": "this workload has no form that can be recorded"}
        return side_by_side(ours.recorded(), theirs)
    except Exception as error:  # of whichever operation cannot be recorded
        return {"error": f"{type(error).__name__}: {error}"[:600]}


def names(only: str = "") -> list[str]:
    """What can be measured, in order, as far as it matches a regular expression; the ceilings always.

    Whole steps come before single kernels: they are what a time limit should leave.
    """
    steps = [TRAINING + name for name in workloads.WORKLOADS if "train" in name]
    return [CEILINGS, *(n for n in [*steps, *gpu_kernels.WORKLOADS] if re.search(only, n, re.IGNORECASE))]


def rows_of(m: Machine, name: str) -> Iterable[dict[str, Any]]:
    """The figures of one workload."""
    if name == CEILINGS:
        return ceilings(m)
    if name.startswith(TRAINING):
        return training_results(name.removeprefix(TRAINING))
    return kernel_results(m, name, gpu_kernels.WORKLOADS[name](m))


def measure(wanted: list[str]) -> None:
    """Measure one after another in this process; each result is a line of JSON. Stops where the device is lost."""
    import cupy

    m = machine()
    for name in wanted:
        try:
            for row in rows_of(m, name):
                print(json.dumps(row), flush=True)
        except Exception as error:  # whatever it is, the others are still to be measured
            print(json.dumps({"name": name, "error": f"{type(error).__name__}: {error}"[:600]}), flush=True)
        cupy.get_default_memory_pool().free_all_blocks()
        if m.torch is not None:
            m.torch.cuda.empty_cache()
        cupy.cuda.runtime.deviceSynchronize()  # raises, and ends this process, where the error was a lost device


def run(path: Path | None = None, only: str = "", limit: float = math.inf) -> list[dict[str, Any]]:
    """Measure, print the table, and write the figures to `path` as JSON if given, as they come; stop after `limit` seconds."""
    left, results, end = names(only), [], time.monotonic() + limit
    while left and time.monotonic() < end:
        command = [sys.executable, "-m", "minidl.bench.gpu", "--measure", json.dumps(left)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith("{"):
                    results.append(json.loads(line))
                    print(one_line(results[-1], results[0]), file=sys.stderr, flush=True)
                    if path is not None:
                        path.write_text(json.dumps(results, indent=1) + "\n")
                if time.monotonic() > end:
                    process.kill()
        done = {row["name"] for row in results}
        reached = [i for i, name in enumerate(left) if name in done]
        if not reached:  # it died before its first result
            results.append({"name": left[0], "error": f"the process ended with {process.returncode}"})
        left = left[max(reached, default=0) + 1 :]
        if len(results) > 1 and all("the process ended" in row.get("error", "") for row in results[-2:]):
            break  # whatever it is, it is not the workload
    print(table(results))
    if left:
        print(f"not measured: {len(left)} from {left[0]!r} on")
    return results


def one_line(row: dict[str, Any], ceiling: dict[str, Any]) -> str:
    """A row of the table: time, rate, its share of the ceiling, time over PyTorch's."""
    if row["name"] == CEILINGS:
        if "error" in row:
            return f"ceilings: {row['error']}"
        rates = f"copy {row['copy'] / 1e9:.0f} GB/s, float32 {row['float32'] / 1e12:.1f} and float16 {row['float16'] / 1e12:.0f}"
        return f"{row['device']}: {rates} TFLOP/s"
    if "error" in row:
        version = f" [{row['version']}]" if "version" in row else ""
        return f"{row['name'] + version:<58} FAILED {row['error'].splitlines()[0][:120]}"
    parts = [f"{row['name']} [{row['version']}]"[:58].ljust(58), f"{row['seconds'] * 1e3:9.3f} ms"]
    if row.get("bytes"):
        rate = row["bytes"] / row["seconds"]
        parts.append(f"{rate / 1e9:6.0f} GB/s {rate / ceiling.get('copy', np.nan):5.2f}")
    elif row.get("flops"):
        rate = row["flops"] / row["seconds"]
        parts.append(
            f"{rate / 1e12:6.1f} TF/s {rate / ceiling.get('float16' if row['half'] else 'float32', np.nan):5.2f}"
        )
    if row.get("torch_seconds"):
        parts.append(f"x{row['seconds'] / row['torch_seconds']:.2f}")
    if row.get("agrees") is False:
        parts.append(f"DIFFERS by {row['difference']:.1e}")
    return "  ".join(parts)


def table(results: list[dict[str, Any]]) -> str:
    """The version in force of each piece of work, and what failed; x is the time over PyTorch's: below 1 minidl takes less."""
    in_force = {row["name"] for row in results if row.get("version") == "cuda"}
    shown = [
        row for row in results
        if row.get("version") == "cuda" or row["name"] not in in_force or "error" in row or row.get("agrees") is False
    ]  # fmt: skip
    head = f"{'work [version]':<58}  {'time':>12}  rate, share of the ceiling, time / PyTorch's"
    return "\n".join([head, *(one_line(row, results[0]) for row in shown)])


def main() -> None:
    """Without options: measure everything."""
    parser = argparse.ArgumentParser(prog="python -m minidl.bench.gpu")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--only", default="", help="measure what matches this regular expression")
    parser.add_argument("--seconds", type=float, default=math.inf, help="stop after so long")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(json.loads(options.measure))
        return
    try:
        cupy_for("the benchmark on a GPU")
    except RuntimeError as error:
        parser.error(str(error))
    run(options.json, options.only, options.seconds)


if __name__ == "__main__":
    main()
