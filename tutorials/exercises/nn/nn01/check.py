"""Trees of modules whose parameters have names: which are found, in which order, and how often."""

import numpy as np

from minidl.learn.checks import check, equal, forbid


class Names:
    """Parameters by name, made with the learner's classes, and the names of those that were found."""

    def __init__(self, subject, rng):
        self.subject, self.rng, self.known = subject, rng, {}

    def parameter(self, name, data=None):
        made = self.subject.Parameter(self.rng.normal(size=3) if data is None else data)
        self.known[id(made)] = (name, made)
        return made

    def module(self, **attributes):
        made = type("Net", (self.subject.Module,), {})()
        for name, value in attributes.items():
            setattr(made, name, value)
        return made

    def found(self, module):
        names = [self.known.get(id(one), (f"a {type(one).__name__}",))[0] for one in module.parameters()]
        return ", ".join(names) or "none"


@check("values")
def trees(subject, rng):
    n = Names(subject, rng)
    p, m = n.parameter, n.module
    yield equal("no attributes", n.found(m()), "none")
    yield equal("only other attributes", n.found(m(size=3, name="x", data=np.ones(2), off=None)), "none")
    yield equal("self.w, self.b", n.found(m(w=p("w"), b=p("b"), size=2)), "w, b")
    inner = m(w=p("inner.w"))
    yield equal("self.a, self.inner, self.z", n.found(m(a=p("a"), inner=inner, z=p("z"))), "a, inner.w, z")
    deep = m(one=m(two=m(three=m(w=p("w")))))
    yield equal("self.one.two.three.w", n.found(deep), "w")


@check("values")
def containers(subject, rng):
    n = Names(subject, rng)
    p, m = n.parameter, n.module
    layers = [m(w=p("0")), m(w=p("1"))]
    yield equal("self.layers, a list of modules", n.found(m(layers=layers)), "0, 1")
    yield equal("self.weights, a tuple of parameters", n.found(m(weights=(p("0"), p("1")))), "0, 1")
    yield equal("self.heads, a dict", n.found(m(heads={"x": m(w=p("x")), "y": p("y")})), "x, y")
    nested = [[p("0"), [m(w=p("1"))]], {"x": (p("2"), None, [])}, "text", p("3")]
    yield equal("lists in lists, a tuple in a dict", n.found(m(nested=nested)), "0, 1, 2, 3")


@check("property")
def once(subject, rng):
    n = Names(subject, rng)
    p, m = n.parameter, n.module
    w = p("w")
    yield equal("self.encoder = self.decoder = w", n.found(m(encoder=w, decoder=w)), "w")
    layer = m(w=p("w"), b=p("b"))
    yield equal("one layer three times in a list", n.found(m(layers=[layer] * 3, tail=p("t"))), "w, b, t")
    tied = m(embedding=m(w=w), body=m(w=p("body")), head=m(w=w, b=p("b")))
    yield equal("the head shares the embedding's w", n.found(tied), "w, body, b")
    zeros = m(first=p("first", np.zeros(2)), second=p("second", np.zeros(2)))
    yield equal("two parameters with equal numbers", n.found(zeros), "first, second")
    child = m(w=p("child"))
    parent = m(child=child, w=p("parent"))
    child.parent = parent
    yield equal("child.parent = parent", n.found(parent), "child, parent")
    yield equal("called again", n.found(parent), "child, parent")
    parent.later = p("later")
    yield equal("after self.later = Parameter(...)", n.found(parent), "child, parent, later")
    parent.later.data = np.ones(1)
    yield equal("the attributes afterwards", sorted(vars(parent)), ["child", "later", "w"])


checks = [forbid("minidl", "torch"), trees, containers, once]
