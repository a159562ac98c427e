"""Figures that were measured, kept with what they were measured on, and the tables that are made of them.

    minidl bench --device cuda --json figures.json                # on the machine with the GPU
    python -m minidl.bench.results figures.json --name h200       # keeps them here, and writes README.md anew

Without a file only README.md is written. What is kept is less than what was measured: times to four digits, one row a line. A file is
of the code of its day. What has changed so much since that its figures are no longer those of the code, its entry "since" says, which
is written by hand and goes with the next measurement; a kernel that has another version in force today is marked by itself.
"""

from __future__ import annotations

import argparse
import datetime
import functools
import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from ..gpu import CEILINGS, TRAINING
from ..gpu_kernels import WORKLOADS, Machine

HERE = Path(__file__).parent
COMMAND = "minidl bench --device cuda --json figures.json"
KEPT = ("name", "version", "seconds", "torch_seconds", "bytes", "flops", "half", "agrees", "error")
IN_FORCE = ("cuda", "cublas", "cupy")  # the version that runs by default is the first of these

Row = dict[str, Any]


def compact(figures: list[Row], date: str) -> Row:
    """What is kept of the rows of `minidl bench --device cuda`."""
    first, *others = figures
    if first["name"] != CEILINGS or "error" in first:
        raise ValueError(f"the first row must be the ceilings of the machine, got {first}")
    rows = [{key: rounded(row[key]) for key in KEPT if row.get(key) not in (None, 0, False)} for row in others]
    for row, given in zip(rows, others, strict=True):
        if given.get("agrees") is False:
            row["agrees"] = False
    machine = {key: first.get(key) for key in ("device", "driver", "cupy", "torch")}
    ceilings = {key: rounded(first[key]) for key in ("copy", "float32", "float16")}
    return {**machine, "date": date, "command": COMMAND, "ceilings": ceilings, "rows": rows}


def rounded(value: Any) -> Any:
    """A number to four digits."""
    return float(f"{value:.4g}") if isinstance(value, float) else value


def text_of(found: Row) -> str:
    """The file: facts, then one row a line."""
    facts = json.dumps({key: value for key, value in found.items() if key != "rows"}, indent=1)
    rows = ",\n".join(json.dumps(row) for row in found["rows"])
    return f'{facts[:-2]},\n "rows": [\n{rows}\n]}}\n'


def kernel_table(found: Row) -> list[str]:
    """The version in force of each piece of work beside PyTorch's."""
    best: dict[str, Row] = {}
    for row in found["rows"]:
        if row["name"].startswith(TRAINING) or row.get("version", IN_FORCE[0]) not in IN_FORCE:
            continue
        before = best.get(row["name"])
        if before is None or IN_FORCE.index(row["version"]) < IN_FORCE.index(before["version"]):
            best[row["name"]] = row
    lines = ["| kernel | version | time, ms | rate | share of the ceiling | PyTorch, ms | ratio |",
             "| --- | --- | ---: | ---: | ---: | ---: | ---: |"]  # fmt: skip
    for name, row in best.items():
        if "error" in row:
            lines.append(f"| {name} | {row.get('version', '')} | failed: {first_line(row['error'])} | | | | |")
            continue
        version = row["version"] + (" (differs)" if row.get("agrees") is False else "")
        if version_today(name) not in (None, row["version"]):
            version += f" (now {version_today(name)}, not measured)"
        lines.append(f"| {name} | {version} | {ms(row['seconds'])} | {rate(row, found['ceilings'])} | {beside(row)} |")
    return lines


@functools.cache
def version_today(name: str) -> str | None:
    """The version that a workload runs by default, None for one that there is no more; made of a few numbers, to look at."""
    if name not in WORKLOADS:
        return None
    versions = WORKLOADS[name](Machine(np, None, small=True)).versions
    return next((version for version in IN_FORCE if version in versions), None)


def rate(row: Row, ceilings: Row) -> str:
    """Bytes or operations a second, and their share of what the machine reached at most, as two cells."""
    if row.get("bytes"):
        each = row["bytes"] / row["seconds"]
        return f"{each / 1e9:.0f} GB/s | {share(each / ceilings['copy'])}"
    if row.get("flops"):
        each = row["flops"] / row["seconds"]
        return f"{each / 1e12:.1f} TFLOP/s | {share(each / ceilings['float16' if row.get('half') else 'float32'])}"
    return " | "


def share(part: float) -> str:
    return f"{part:.0%}" if part >= 0.01 else f"{100 * part:.1g}%"


def steps_table(found: Row) -> list[str]:
    """Of kernels with several versions, what each version reaches, from the slowest to the fastest: the steps of the .cu files."""
    lines = ["| kernel | share of the ceiling that each version reaches |", "| --- | --- |"]
    for name in dict.fromkeys(row["name"] for row in found["rows"]):
        rows = [row for row in found["rows"] if row["name"] == name and "seconds" in row]
        steps = [row for row in rows if row["version"].startswith("cuda_")]
        if not steps:
            continue
        default = [row for row in rows if row["version"] in IN_FORCE]
        steps += sorted(default, key=lambda row: IN_FORCE.index(row["version"]))[:1]
        cells = [
            f"{row['version'].removeprefix('cuda_')} {rate(row, found['ceilings']).rpartition(' | ')[2]}"
            for row in sorted(steps, key=lambda row: -row["seconds"])
        ]
        lines.append(f"| {name} | {', '.join(cells)} |")
    return lines if len(lines) > 2 else []


def training_table(found: Row) -> list[str]:
    """Training steps, operation by operation and as one CUDA graph, beside PyTorch's eager ones."""
    rows = [row for row in found["rows"] if row["name"].startswith(TRAINING)]
    lines = ["| training step | run | time, ms | PyTorch eager, ms | ratio |", "| --- | --- | ---: | ---: | ---: |"]
    for row in rows:
        name = row["name"].removeprefix(TRAINING).removeprefix("train ")
        run = "one CUDA graph" if row.get("version") == "graph" else "eager"
        time = f"not run: {first_line(row['error'])} | |" if "error" in row else f"{ms(row['seconds'])} | {beside(row)}"
        lines.append(f"| {name} | {run} | {time} |")
    return lines


def beside(row: Row) -> str:
    """PyTorch's time and ours over it, as two cells."""
    theirs = row.get("torch_seconds")
    return f"{ms(theirs)} | {row['seconds'] / theirs:.2f}" if theirs else " | "


def ms(seconds: float) -> str:
    return f"{seconds * 1e3:.3f}"


def first_line(text: str) -> str:
    return re.sub(r"\s*[|\n].*", "", text, flags=re.DOTALL)[:100]


def section(found: Row) -> str:
    """One machine's tables."""
    ceilings = found["ceilings"]
    facts = [
        f"{what} {found[key]}"
        for key, what in (("driver", "CUDA driver"), ("cupy", "CuPy"), ("torch", "PyTorch"))
        if found[key]
    ]
    return "\n".join([
        f"## {found['device']}", "",
        f"Measured on {found['date']} by `{found['command']}`{''.join(', ' + fact for fact in facts)}. "
        f"Ceilings: memory is copied at {ceilings['copy'] / 1e9:.0f} GB/s (read and written); cuBLAS multiplies at "
        f"{ceilings['float32'] / 1e12:.1f} TFLOP/s in float32 and {ceilings['float16'] / 1e12:.0f} in float16.", "",
        *([f"Since then: {found['since']}", ""] if "since" in found else []),
        *training_table(found), "", *kernel_table(found), "", *steps_table(found), *not_measured(found),
    ])  # fmt: skip


def not_measured(found: Row) -> list[str]:
    """The workloads that there were not, or not under this name, when the machine was measured."""
    names = [name for name in WORKLOADS if name not in {row["name"] for row in found["rows"]}]
    return ["", f"Not measured on this machine: {'; '.join(names)}."] if names else []


def readme() -> str:
    """README.md, from the files beside it."""
    sections = [section(json.loads(path.read_text())) for path in sorted(HERE.glob("*.json"))]
    head = (
        "# What was measured\n\nWritten by `python -m minidl.bench.results` from the files beside it. A ratio is minidl's time over "
        "PyTorch's in the same run: below 1 minidl takes less."
    )
    return "\n\n".join([head, *sections]) + "\n"


def main(arguments: list[str] | None = None) -> None:
    """Keep a file of figures, if one is given, and write README.md."""
    parser = argparse.ArgumentParser(prog="python -m minidl.bench.results")
    parser.add_argument("figures", nargs="?", type=Path, help="what `minidl bench --device cuda --json` wrote")
    parser.add_argument("--name", help="of the machine: the figures go to NAME.json, and replace what is there")
    parser.add_argument("--date", default=str(datetime.date.today()), help="when they were measured (default: today)")
    options = parser.parse_args(arguments)
    if (options.figures is None) != (options.name is None):
        parser.error("a file of figures and --name belong together")
    if options.figures is not None:
        found = compact(json.loads(options.figures.read_text()), options.date)
        (HERE / f"{options.name}.json").write_text(text_of(found))
    (HERE / "README.md").write_text(readme())
