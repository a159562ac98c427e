"""Drawing the graph: what stands in the picture, and that it is well-formed SVG within its frame."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

import minidl as md
from minidl import nn
from minidl.autograd import graph

pytest.importorskip("grandalf")
SVG = "{http://www.w3.org/2000/svg}"


def parsed(drawing):
    """(boxes by class as lists of their texts, arrows, other texts) of a drawing, after a check of its geometry."""
    root = ET.fromstring(drawing.svg)
    left, top, width, height = map(float, root.get("viewBox").split())
    boxes = {"op": [], "leaf": [], "result": []}
    for group in root.iter(f"{SVG}g"):
        boxes[group.get("class")].append([text.text for text in group.iter(f"{SVG}text")])
    for rect in root.iter(f"{SVG}rect"):
        x, y, w, h = (float(rect.get(name)) for name in ("x", "y", "width", "height"))
        assert left <= x and x + w <= left + width and top <= y and y + h <= top + height
    rects = [[float(r.get(k)) for k in ("x", "y", "width", "height")] for r in root.iter(f"{SVG}rect")]
    for i, (x, y, w, h) in enumerate(rects):
        for x2, y2, w2, h2 in rects[:i]:
            assert x + w <= x2 or x2 + w2 <= x or y + h <= y2 or y2 + h2 <= y, "two boxes overlap"
    arrows = [p for p in root.iter(f"{SVG}path") if p.get("marker-end")]
    uses = [t.text for t in root.iter(f"{SVG}text") if t.get("class") == "use"]
    return boxes, arrows, uses


def test_operations_shapes_and_leaves():
    x, w = md.ones(2, 3, requires_grad=True), md.ones(3, requires_grad=True)
    boxes, arrows, uses = parsed(graph.draw((x * w).exp().sum(), names={"weights": w}))
    assert sorted(boxes["op"]) == [["Exp", "[2, 3]"], ["Mul", "[2, 3]"], ["Sum", "[]"]]
    assert sorted(boxes["leaf"]) == [["[2, 3] float32"], ["weights", "[3] float32"]]
    assert boxes["result"] == [["result", "[] float32"]]
    assert len(arrows) == 5 and not uses


def test_one_value_used_twice_is_one_arrow():
    x = md.ones(3, requires_grad=True)
    _, arrows, uses = parsed(graph.draw(x * x))
    assert len(arrows) == 2 and uses == ["2×"]  # noqa: RUF001


def test_diamonds_and_several_results():
    x = md.ones(4, requires_grad=True)
    a, b = x.chunk(2)
    boxes, arrows, _ = parsed(graph.draw(a.exp() * b + a))
    assert sorted(box[0] for box in boxes["op"]) == ["Add", "Exp", "Mul", "Split"]
    assert len(arrows) == 7
    assert parsed(graph.draw(a))[0]["op"] == [["Split"]]


def test_a_model_with_the_names_of_its_parameters():
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    boxes, _, _ = parsed(graph.draw(model(md.ones(1, 3)), names=dict(model.named_parameters())))
    assert sorted(box[0] for box in boxes["leaf"]) == ["0.bias", "0.weight", "2.bias", "2.weight"]


def test_a_tensor_without_a_graph_and_a_leaf():
    assert parsed(graph.draw(md.zeros(2)))[0]["leaf"] == [["[2] float32", "no gradient"]]
    leaf = md.zeros(2, requires_grad=True)
    boxes, arrows, _ = parsed(graph.draw(leaf))
    assert boxes["leaf"] == [["[2] float32"]] and len(arrows) == 1


def test_two_hundred_nodes():
    x = y = md.ones(2, requires_grad=True)
    for _ in range(100):
        y = y * 1.01 + x
    boxes, _, _ = parsed(graph.draw(y))
    assert len(boxes["op"]) == 200


def test_too_large_a_graph_is_refused():
    y = md.ones(2, requires_grad=True)
    for _ in range(50):
        y = y * 2
    with pytest.raises(ValueError, match="more than 20 operations"):
        graph.draw(y, limit=20)


def test_names_are_escaped():
    x = md.ones(1, requires_grad=True)
    boxes, _, _ = parsed(graph.draw(x * 2, names={"<a & b>": x}))
    assert boxes["leaf"][0][0] == "<a & b>"


def test_jupyter_and_files(tmp_path):
    drawing = graph.draw(md.ones(1, requires_grad=True) * 2)
    assert drawing._repr_svg_() == drawing.svg
    drawing.save(tmp_path / "graph.svg")
    assert (tmp_path / "graph.svg").read_text(encoding="utf-8") == drawing.svg
    with pytest.raises(ValueError, match=r"\.svg"):
        drawing.save(tmp_path / "graph.png")
    assert [p.name for p in tmp_path.iterdir()] == ["graph.svg"]


def test_drawing_leaves_the_graph_as_it_was():
    x = md.ones(2, requires_grad=True)
    y = (x * x).sum()
    graph.draw(y)
    y.backward()
    assert x.grad.tolist() == [2, 2]
