"""A report in words."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .analysis import Access

if TYPE_CHECKING:
    from .report import Report

TITLES = {"read": "loads", "write": "stores", "atomic": "atomics"}


def verdict(report: Report) -> str:
    """The report as lines of text."""
    from .report import MODEL

    lines = [f"{report.kernel}  grid {size(report.grid)}  block {size(report.block)}    {MODEL}"]
    texts = [access.text for access in report.accesses]
    width = min(max(map(len, texts), default=0), 40)
    for access, text in zip(report.accesses, texts, strict=True):
        cut = text if len(text) <= width else text[: width - 3] + "..."
        lines.append(f"{TITLES[access.kind]:8}{cut:{width}}  line {access.line:<4}{about(access)}".rstrip())
    lines += [f"warning {sentence}" for sentence in report.warnings]
    for race in report.races:
        lines.append(f"race    {race.message}")
    lines += [f"unset   {sentence}" for sentence in report.uninitialized]
    lines += [f"partly  {sentence}" for sentence in report.partly_written]
    count = f"{len(report.races)}" if report.races else "none"
    lines.append(
        f"races   {count}    barriers {report.barriers}    atomics {report.atomics}    "
        f"per thread: {report.reads_per_thread} reads, {report.writes_per_thread} writes of global memory"
    )
    lines.append(f"verdict: {summary(report)}")
    return "\n".join(lines)


def size(dims: tuple[int, ...]) -> str:
    return ",".join(str(n) for n in dims[: max(i + 1 for i, n in enumerate(dims) if n > 1 or i == 0)])


def about(access: Access) -> str:
    """What one place does to memory: transactions of global, conflicts of shared memory."""
    if access.space == "shared":
        if access.bank_conflicts <= 1:
            return f"shared {access.array}: no bank conflict"
        return f"shared {access.array}: {access.bank_conflicts}-way bank conflict{stride(access)}"
    number = f"{access.transactions_per_warp:g}"
    unit = "transaction" if number == "1" else "transactions"
    if access.coalesced:
        return f"{number:>5} {unit}/warp, coalesced"
    return f"{number:>5} {unit}/warp, {access.efficiency:.0%} of what is moved is used{stride(access)}"


def stride(access: Access) -> str:
    return f" (stride {access.stride} elements)" if access.stride not in (None, 0, 1) else ""


def summary(report: Report) -> str:
    """One line: wrong, correct but slow and what to do, or fine."""
    if not report.ok:
        return "wrong: " + "; ".join(
            f"{n} {what}"
            for n, what in ((len(report.races), "race(s)"), (len(report.uninitialized), "read(s) of unset memory"))
            if n
        )
    loose = [access for access in report.accesses if access.space == "global" and not access.coalesced]
    scattered = [access for access in loose if access.transactions_per_warp >= 2]
    hints = []
    if scattered:
        worst = max(scattered, key=lambda access: access.transactions_per_warp)
        hints.append(f"line {worst.line} moves {worst.transactions_per_warp:g} lines per warp: {advice(worst)}")
    if report.bank_conflicts > 1:
        worst = max(report.accesses, key=lambda access: access.bank_conflicts)
        padded = "pad the rows of the tile by one element" if worst.bank_conflicts > 2 else "spread the addresses"
        hints.append(f"line {worst.line} waits {worst.bank_conflicts} times for a bank: {padded}")
    if hints:
        return "no errors, not fast: " + "; ".join(hints)
    return f"no errors, accesses {'nearly ' if loose else ''}coalesced" + (
        ", no bank conflicts" if report.bank_conflicts else ""
    )


def advice(access: Access) -> str:
    """What to do about an access that is not coalesced."""
    if access.kind == "atomic":
        return "collect in shared memory first"
    if access.stride is None:
        return "let neighbouring threads take neighbouring elements"
    return "let threadIdx.x run along the last axis, or stage through shared memory"


def as_json(report: Report) -> dict[str, Any]:
    names = ("kernel", "order", "threads", "barriers", "atomics", "shared_atomics", "global_reads", "global_writes",
             "reads_per_thread", "writes_per_thread", "shared_bytes", "bank_conflicts", "warnings", "uninitialized", "partly_written",
             "ok")  # fmt: skip
    out: dict[str, Any] = {name: getattr(report, name) for name in names}
    out |= {"grid": list(report.grid), "block": list(report.block), "file": Path(report.file).name}
    out["accesses"] = [
        asdict(access) | {"site": None, "line": access.line, "text": access.text} for access in report.accesses
    ]
    for row in out["accesses"]:
        del row["site"]
    out["races"] = [
        {"array": race.array, "space": race.space, "element": race.element, "between": race.between, "count": race.count,
         "lines": [race.first.line, race.second.line], "kinds": list(race.kinds), "message": race.message}
        for race in report.races
    ]  # fmt: skip
    out["verdict"] = summary(report)
    out["model"] = "simulated"
    return out
