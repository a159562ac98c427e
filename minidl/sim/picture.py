"""A report as a picture: which thread reads and writes which element, and how many words each bank has to give.

Every thread has a colour, dark for the first and light for the last, of the cividis scale, which colour-blind readers see as
others do. An element has the colour of the last thread that accessed it, and a bar where several threads did. Pointing at a
square says in words what it shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

import numpy as np

from .analysis import BANKS, WORD, Access, Column, Log, groups, ranks
from .intrinsics import WARP
from .memory import ATOMIC, READ, WRITE, Buffer

if TYPE_CHECKING:
    from .report import Report

CELL, GAP, MARGIN, MOST, TEXT, WIDEST = 9, 26, 12, 64, 7, 900  # TEXT: the width of a letter, at most
CIVIDIS = ("00224e", "123570", "3b496c", "575d6d", "707173", "8a8678", "a59c74", "c3b369", "e1cc55", "fee838")
WORDS = {READ: "read", WRITE: "written", ATOMIC: "updated"}


def colour(fraction: float) -> str:
    """The cividis colour of a number from 0 to 1."""
    at = min(max(fraction, 0.0), 1.0) * (len(CIVIDIS) - 1)
    low = min(int(at), len(CIVIDIS) - 2)
    ends = [[int(CIVIDIS[i][c : c + 2], 16) for c in (0, 2, 4)] for i in (low, low + 1)]
    return "#" + "".join(f"{round(a + (b - a) * (at - low)):02x}" for a, b in zip(*ends, strict=True))


class Canvas:
    """Lines of SVG, one panel below the other."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.y, self.width = MARGIN, 360

    def text(self, text: str, x: int = MARGIN, weight: str = "normal") -> None:
        self.y += 12
        self.lines.append(f'<text x="{x}" y="{self.y}" font-weight="{weight}">{escape(text)}</text>')
        self.y += 6
        self.width = max(self.width, x + TEXT * len(text) + MARGIN)

    def squares(self, cells: list[tuple[int, int]], fill: str, title: str, x: int = MARGIN) -> None:
        """Squares of one colour, at (row, column) of a panel that begins at x and at the current y."""
        path = "".join(f"M{x + column * CELL} {self.y + row * CELL}h{CELL}v{CELL}h-{CELL}z" for row, column in cells)
        self.lines.append(f'<path d="{path}" fill="{fill}"><title>{escape(title)}</title></path>')
        self.width = max(self.width, x + MARGIN + CELL * (1 + max(column for _, column in cells)))

    def bars(self, cells: list[tuple[int, int]], x: int) -> None:
        path = "".join(f"M{x + column * CELL + 2} {self.y + row * CELL + 3.5}h5v2h-5z" for row, column in cells)
        self.lines.append(f'<path d="{path}" fill="#fff" stroke="#000" stroke-width=".4"/>')


def draw(report: Report) -> str:
    """The SVG text."""
    canvas = Canvas()
    canvas.text(f"{report.kernel}: which thread accesses what (simulated)", weight="bold")
    draw_threads(canvas, report)
    draw_arrays(canvas, report)
    for access in report.accesses:
        if access.space == "shared":
            draw_banks(canvas, report.log, access)
    label = (
        f"{report.kernel}: accesses of {report.threads} threads. {len(report.races)} races, {report.barriers} barriers"
    )
    description = report.verdict()
    height = canvas.y + MARGIN
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {canvas.width} {height}" '
            f'width="{canvas.width}" height="{height}" font-family="sans-serif" font-size="11">',
            f"<title>{escape(label)}</title>",
            f"<desc>{escape(description)}</desc>",
            '<rect width="100%" height="100%" fill="#fff"/>',
            '<g stroke="#fff" stroke-width="1">',
            *[line for line in canvas.lines if not line.startswith("<text")],
            "</g>",
            *[line for line in canvas.lines if line.startswith("<text")],
            "</svg>\n",
        ]
    )


def draw_threads(canvas: Canvas, report: Report) -> None:
    """The legend: the colours of the threads."""
    canvas.text(f"threads 0 to {report.threads - 1}, from dark to light; a bar: several threads")
    for shade in range(min(report.threads, WARP)):
        level = shade * (shades(report) - 1) // max(min(report.threads, WARP) - 1, 1)
        canvas.squares([(0, shade)], colour(level / max(shades(report) - 1, 1)), people(report, level))
    canvas.y += GAP


def shades(report: Report) -> int:
    """How many colours there are: one a thread, until there are more threads than one can tell apart anyway."""
    return report.threads if report.threads <= 128 else 64


def people(report: Report, level: int) -> str:
    """The threads that have one colour."""
    names = []
    for n in (level, level + 1):
        who = -(-n * report.threads // shades(report)) - (n > level)
        names.append(report.place_of(who // report.threads_per_block, who % report.threads_per_block))
    return names[0] if names[0] == names[1] else f"{names[0]} to {names[1]}"


def draw_arrays(canvas: Canvas, report: Report) -> None:
    """The elements of every array, a panel for each kind of access, side by side while there is room."""
    log = report.log
    top, x, lowest = canvas.y, MARGIN, canvas.y
    for buffer, kind, chosen in panels(log):
        width = buffer.shape[-1] if len(buffer.shape) > 1 else min(buffer.shape[0], WARP)
        flat = np.array([np.ravel_multi_index(buffer.index_of(int(o)), buffer.shape) for o in log.offset[chosen]])
        row, column = flat // width, flat % width
        seen = (row < MOST) & (column < MOST)
        title = f"{buffer.space} {buffer.name}: {WORDS[kind]}"
        title += "" if seen.all() else f", the first {MOST} rows and columns"
        wide = max(min(width, MOST) * CELL, TEXT * len(title))
        if x > MARGIN and x + wide > WIDEST:
            top, x = lowest + GAP // 2, MARGIN
        canvas.y = top
        canvas.text(title, x)
        places = list(zip(row[seen].tolist(), column[seen].tolist(), strict=True))
        draw_cells(canvas, report, places, log.who[chosen][seen].tolist(), f"{buffer.name}: {WORDS[kind]} by", x)
        lowest = max(lowest, canvas.y + (int(row[seen].max(initial=0)) + 1) * CELL)
        x += wide + GAP
    canvas.y = lowest + GAP // 2


def panels(log: Log) -> Iterator[tuple[Buffer, int, Column]]:
    """Each array with each kind of access to it, and the rows of the log; of a shared array, those of the first block."""
    for number in range(len(log.names)):
        rows = np.flatnonzero(log.array == number) if log.site.size else np.zeros(0, np.int64)
        if rows.size:
            buffer = log.buffers[log.buffer[rows[0]]]
            rows = rows[log.buffer[rows] == buffer.number]
            for kind in (READ, WRITE, ATOMIC):
                chosen = rows[log.kind[rows] == kind]
                if chosen.size:
                    yield buffer, kind, chosen


def draw_cells(
    canvas: Canvas, report: Report, places: list[tuple[int, int]], actors: list[int], what: str, x: int
) -> None:
    """The elements at `places`, each accessed by the thread beside it in `actors`, in the colour of the last one."""
    last: dict[tuple[int, int], int] = {}
    several: dict[tuple[int, int], None] = {}
    for place, who in zip(places, actors, strict=True):
        if last.setdefault(place, who) != who:
            several[place] = None
        last[place] = who
    by_shade: dict[int, list[tuple[int, int]]] = {}
    for place, who in last.items():
        by_shade.setdefault(who * shades(report) // report.threads, []).append(place)
    for level, cells in sorted(by_shade.items()):
        canvas.squares(cells, colour(level / max(shades(report) - 1, 1)), f"{what} {people(report, level)}", x)
    if several:
        canvas.bars(list(several), x)


def draw_banks(canvas: Canvas, log: Log, access: Access) -> None:
    """How many words each bank has to give for the worst warp-wide access of one place."""
    canvas.text(f"banks of {access.array}, line {access.line} `{access.text}`: {access.bank_conflicts}-way at worst")
    words = bank_words(log, access)
    for bank, count in enumerate(words):
        shade = colour(count / BANKS) if count else "#eeeeee"
        canvas.squares([(0, bank)], shade, f"bank {bank}: {count} words")
    canvas.y += GAP


def bank_words(log: Log, access: Access) -> list[Any]:
    """Different words per bank in the warp-wide access that has the most of one bank."""
    name = log.names.index((access.array, access.space))
    rows = np.flatnonzero((log.array == name) & (log.site == log.sites.index(access.site)))
    when = groups(log.epoch[rows], log.warp_epoch[rows])
    instance = groups(log.block[rows], log.thread[rows] // WARP, when, ranks(groups(log.who[rows], when)))
    word = log.offset[rows] // WORD
    _, first = np.unique(groups(instance, word), return_index=True)
    table = np.zeros((int(instance.max()) + 1, BANKS), np.int64)
    np.add.at(table, (instance[first], word[first] % BANKS), 1)
    return list(table[table.max(axis=1).argmax()].tolist())
