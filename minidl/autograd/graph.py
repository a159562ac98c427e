"""A drawing of the graph above a tensor, as SVG. Jupyter shows it where it stands at the end of a cell.

    autograd.graph.draw(loss, names=dict(model.named_parameters()))

Values flow downwards: leaves with the shape and dtype that they have, operations by name, at the bottom the tensor that was
drawn. What the operations keep for backward is not shown. The layout is Sugiyama's, by the package grandalf.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .checkpoint import save_on_cpu, saved_tensors_hooks
from .op import AccumulateGrad, Op, OutputOf
from .storage import mark_written

if TYPE_CHECKING:
    from ..tensor import Tensor

Node = Op  # PyTorch's name for what `grad_fn` is

__all__ = ["Drawing", "Node", "draw", "increment_version", "save_on_cpu", "saved_tensors_hooks"]


def increment_version(tensor: Tensor | Iterable[Tensor]) -> None:
    """Say that the memory of one or several tensors has been written to, by other means than their methods."""
    tensors: Any = [tensor] if hasattr(tensor, "array") else tensor
    for t in tensors:
        mark_written(t)


LETTER, LINE, PADDING = 7.3, 16, 10  # the width of a letter, the height of a line, the space around a box's text
STYLE = """
text { font: 12px ui-monospace, Consolas, Menlo, monospace; text-anchor: middle; fill: #1a1a1a; }
text.use { font-size: 10px; fill: #808080; }
rect { stroke: #555; }
.op rect { fill: #e8eef7; }
.leaf rect { fill: #fdf0d5; }
.result rect { fill: #dcefdc; stroke-width: 2; }
path { fill: none; stroke: #808080; }
marker path { fill: #808080; stroke: none; }
"""


class Drawing:
    """An SVG picture. `svg` is its text; Jupyter shows it by itself; `save` writes it to a file."""

    def __init__(self, svg: str) -> None:
        self.svg = svg

    def _repr_svg_(self) -> str:
        return self.svg

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the picture to `path`, which must end in .svg. The file is there whole or not at all."""
        from ..serialization import write_whole

        target = Path(path)
        if target.suffix != ".svg":
            raise ValueError(
                f"draw: a drawing is saved as .svg, got {str(path)!r}; a browser can print it to other formats"
            )
        write_whole(target, self.svg.encode())


def draw(tensor: Tensor, *, names: Mapping[str, Tensor] | None = None, limit: int = 500) -> Drawing:
    """Draw the operations and leaves that `tensor` was computed from.

    names: what to call leaves, such as dict(model.named_parameters()).
    limit: how many operations and leaves a drawing may have. Raises ValueError for more, ImportError without grandalf.

    Example:
        >>> x = minidl.ones(3, requires_grad=True)
        >>> autograd.graph.draw((x * 2).sum(), names={"x": x})
    """
    titles = {id(t): name for name, t in (names or {}).items()}
    boxes: dict[Any, _Box] = {}
    if tensor.node is None:
        boxes[tensor] = _Box("leaf", [*_title(titles, tensor), *_described(tensor), "no gradient"])
        return Drawing(_rendered(boxes, {}))
    nodes = list(_reached(tensor.node, limit))
    shapes = _shapes(nodes, tensor)
    uses: dict[tuple[Any, Any], int] = {}
    for node in nodes:
        if isinstance(node, AccumulateGrad):
            leaf = node.variable
            boxes[node] = _Box("leaf", ["leaf (gone)"] if leaf is None else [*_title(titles, leaf), *_described(leaf)])
        else:
            shape = shapes.get(node)
            boxes[node] = _Box("op", [type(node).__name__, *([] if shape is None else [str(list(shape))])])
        for edge in _inputs(node):
            uses[edge, node] = uses.get((edge, node), 0) + 1
    boxes[tensor] = _Box("result", [*(_title(titles, tensor) or ["result"]), *_described(tensor)])
    uses[_operation(tensor.node), tensor] = 1
    return Drawing(_rendered(boxes, uses))


def _title(titles: dict[int, str], t: Tensor) -> list[str]:
    return [titles[id(t)]] if id(t) in titles else []


def _described(t: Tensor) -> list[str]:
    return [f"{list(t.shape)} {str(t.dtype).removeprefix('torch.')}"]


def _operation(node: Op) -> Op:
    """A node that has a box: one of several results stands for the operation that gave it."""
    if isinstance(node, OutputOf):
        node = node.edges[0]  # type: ignore[assignment]  # its one edge is never None
    return node


def _inputs(node: Op) -> list[Op]:
    return [_operation(edge) for edge in node.edges if edge is not None]


def _reached(root: Op, limit: int) -> Iterator[Op]:
    """Every operation and leaf that leads to the root, latest first."""
    found = {_operation(root): None}
    pending = list(found)
    while pending:
        for node in _inputs(pending.pop()):
            if node not in found:
                found[node] = None
                pending.append(node)
        if len(found) > limit:
            raise ValueError(
                f"draw: the graph has more than {limit} operations and leaves; draw a smaller part, or raise `limit` "
                "(a large drawing takes long and is hard to read)"
            )
    yield from sorted(found, key=lambda node: node.seq, reverse=True)


def _shapes(nodes: list[Op], tensor: Tensor) -> dict[Op, tuple[int, ...]]:
    """The shapes of the results, which the operations that use them know: kept, or the same as their own."""
    shapes: dict[Op, tuple[int, ...]] = {}
    if not isinstance(tensor.node, OutputOf):
        shapes[nodes[0]] = tensor.shape
    for node in nodes:
        own = shapes.get(node)
        for i, edge in enumerate(node.edges):
            if edge is None or isinstance(edge, OutputOf):
                continue
            shape = own if node.shapes is None else node.shapes[i]
            if shape is not None:
                shapes[edge] = shape
    return shapes


class _Box:
    """A node of the drawing. Width, height and the centre `xy` are what the layout reads and writes."""

    def __init__(self, kind: str, lines: list[str]) -> None:
        self.kind, self.lines = kind, lines
        self.w = max(map(len, lines)) * LETTER + 2 * PADDING
        self.h = len(lines) * LINE + PADDING
        self.xy: tuple[float, float] = (self.w / 2, self.h / 2)

    def svg(self) -> str:
        (x, y), corner = self.xy, 8 if self.kind == "op" else 2
        top = y - self.h / 2 + PADDING / 2 + LINE * 0.75
        texts = "".join(
            f'<text x="{x:.1f}" y="{top + i * LINE:.1f}">{escape(line)}</text>' for i, line in enumerate(self.lines)
        )
        return (
            f'<g class="{self.kind}"><rect x="{x - self.w / 2:.1f}" y="{y - self.h / 2:.1f}" width="{self.w:.1f}" '
            f'height="{self.h:.1f}" rx="{corner}"/>{texts}</g>'
        )


def _rendered(boxes: dict[Any, _Box], uses: dict[tuple[Any, Any], int]) -> str:
    """The SVG of boxes and of the arrows between them, each with how often its value is used."""
    paths = _placed(boxes, uses) if uses else {}
    points = [(box.xy[0] + sx * box.w / 2, box.xy[1] + sy * box.h / 2) for box in boxes.values() for sx in (-1, 1) for sy in (-1, 1)]  # fmt: skip
    points += [point for path in paths.values() for point in path]
    left, top = (min(values) - 10 for values in zip(*points, strict=True))
    right, bottom = (max(values) + 10 for values in zip(*points, strict=True))
    arrows = []
    for pair, path in paths.items():
        line = " L".join(f"{x:.1f} {y:.1f}" for x, y in path)
        arrows.append(f'<path d="M{line}" marker-end="url(#head)"/>')
        if uses[pair] > 1:
            (x0, y0), (x1, y1) = path[-2:]
            arrows.append(
                f'<text class="use" x="{(x0 + x1) / 2 + 10:.1f}" y="{(y0 + y1) / 2:.1f}">{uses[pair]}×</text>'  # noqa: RUF001
            )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{right - left:.0f}" height="{bottom - top:.0f}" '
        f'viewBox="{left:.1f} {top:.1f} {right - left:.1f} {bottom - top:.1f}" role="img">'
        f"<title>Graph of {len(boxes)} operations and tensors</title><style>{STYLE}</style>"
        '<defs><marker id="head" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 L8 4 L0 8 Z"/></marker></defs>'
        f"{''.join(arrows)}{''.join(box.svg() for box in boxes.values())}</svg>"
    )


def _placed(
    boxes: dict[Any, _Box], uses: dict[tuple[Any, Any], int]
) -> dict[tuple[Any, Any], list[tuple[float, float]]]:
    """Give every box its place, and return the way of every arrow from the rim of one box to that of the other."""
    try:
        from grandalf.graphs import Edge, Graph, Vertex
        from grandalf.layouts import SugiyamaLayout
        from grandalf.routing import EdgeViewer, route_with_lines
    except ImportError as error:
        raise ImportError("draw needs the package grandalf for the layout: pip install grandalf") from error
    vertices = {key: Vertex(key) for key in boxes}
    for key, vertex in vertices.items():
        vertex.view = boxes[key]
    edges = {pair: Edge(vertices[pair[0]], vertices[pair[1]]) for pair in uses}
    for edge in edges.values():
        edge.view = EdgeViewer()
    (component,) = Graph(vertices.values(), edges.values()).C
    layout = SugiyamaLayout(component)
    layout.route_edge = route_with_lines
    layout.xspace, layout.yspace = 24, 34
    roots = [vertices[key] for key in boxes if not any(target is key for _, target in uses)]
    layout.init_all(roots=roots, inverted_edges=[])
    layout.draw()
    return {pair: [(float(x), float(y)) for x, y in edge.view._pts] for pair, edge in edges.items()}
