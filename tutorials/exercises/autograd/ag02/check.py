"""Two properties on graphs of every kind: each node once, and none before a node that uses it. Then depth and paths."""

from minidl.learn.checks import check, equal, forbid


class Node:
    """A node of a graph. It counts how often it is looked at, so that a walk of every single path ends."""

    def __init__(self, name, *inputs):
        self.name, self._inputs, self.looks = name, inputs, 0

    @property
    def inputs(self):
        self.looks += 1
        if self.looks > 100:
            raise RuntimeError(
                f"the inputs of one node were read {self.looks} times: is it visited once for each path?"
            )
        return self._inputs

    def __repr__(self):
        return self.name


def graph(edges):
    """Nodes from "d: b c" lines, inputs first; the last one is the root."""
    nodes = {}
    for line in edges.split("; "):
        name, _, inputs = line.partition(":")
        nodes[name] = Node(name, *(nodes[one] for one in inputs.split()))
    return nodes[name], len(nodes)


GRAPHS = {
    "a lone node": "a",
    "a chain": "a; b: a; c: b",
    "x * x": "x; y: x x",
    "a diamond": "a; b: a; c: a; d: b c",
    "a short and a long way to a": "a; b: a; c: b; d: a c",
    "a long and a short way to a": "a; b: a; c: b; d: c a",
    "two diamonds": "a; b: a; c: a; d: b c; e: d; f: d a; g: f e",
}


def faults(order):
    """Nodes that stand before one that was computed from them."""
    place = {node: i for i, node in enumerate(order)}
    early = {one.name for node in order for one in node._inputs if place.get(one, -1) < place[node]}
    return ", ".join(sorted(early)) or "none"


@check("values")
def small(subject, rng):
    for what, edges in GRAPHS.items():
        root, size = graph(edges)
        order = list(subject.main(root))
        yield equal(f"how many nodes, {what} ({edges})", len(order), size)
        yield equal(f"each one once, {what} ({edges})", len(set(order)), size)
        yield equal(f"nodes that stand before their users, {what} ({edges})", faults(order), "none")


@check("property")
def grown(subject, rng):
    for size in (2, 7, 31, 97):
        nodes = [Node("0")]
        for i in range(1, size):
            others = rng.choice(i, size=min(i, 3), replace=False)
            nodes.append(Node(str(i), nodes[i - 1], *(nodes[j] for j in others)))
        order = list(subject.main(nodes[-1]))
        yield equal(f"how many nodes, {size} at random", len(order), size)
        yield equal(f"nodes that stand before their users, {size} at random", faults(order), "none")


@check("property")
def deep(subject, rng):
    chain = ladder = Node("0")
    for i in range(1, 10_000):
        chain = Node(str(i), chain)
    order = list(subject.main(chain))
    yield equal("how many nodes, a chain of 10,000", len(order), 10_000)
    yield equal("nodes that stand before their users, a chain of 10,000", faults(order), "none")
    for i in range(1, 60):
        ladder = Node(str(i), ladder, ladder)
    yield equal("how many nodes, 60 doublings x = x + x", len(list(subject.main(ladder))), 60)


@check("property")
def unused(subject, rng):
    root, _ = graph("a; b: a; c: a")  # b is not what c was computed from
    for times in ("once", "twice"):
        yield equal(
            f"a node that is not needed, called {times}", [node.name for node in subject.main(root)], ["c", "a"]
        )


checks = [forbid("setrecursionlimit", "graphlib", "networkx"), small, grown, deep, unused]
