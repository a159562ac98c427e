"""Arrays through small graphs, beside derivatives in closed form. x + y hands one and the same array to both of its inputs."""

from itertools import count

import numpy as np

from minidl.learn.checks import check, equal, slope

numbers = count()


class Node:
    """A node with a value; its rule gives the gradient of each input."""

    def __init__(self, value, inputs=(), rule=lambda g: ()):
        self.value, self.inputs, self.rule = value, inputs, rule
        self.number = next(numbers)

    def backward(self, g):
        return self.rule(g)


def add(x, y):
    return Node(x.value + y.value, (x, y), lambda g: (g, g))


def multiply(x, y):
    return Node(x.value * y.value, (x, y), lambda g: (g * y.value, g * x.value))


def tanh(x):
    out = np.tanh(x.value)
    return Node(out, (x,), lambda g: (g * (1 - out**2),))


PROGRAMS = {
    "x": lambda x: x,
    "tanh(x)": tanh,
    "x + x": lambda x: add(x, x),
    "x * x": lambda x: multiply(x, x),
    "x * tanh(x)": lambda x: multiply(x, tanh(x)),
    "(x + x) * x": lambda x: multiply(add(x, x), x),
    "x * x + tanh(x) + x": lambda x: add(add(multiply(x, x), tanh(x)), x),
}


def order_of(root):
    """The latest first: every node was made after its inputs."""
    reached, waiting = {root}, [root]
    while waiting:
        new = set(waiting.pop().inputs) - reached
        reached |= new
        waiting += new
    return sorted(reached, key=lambda node: -node.number)


@check("gradient")
def of_x(subject, rng):
    for text, program in PROGRAMS.items():
        for shape in ((), (1,), (2, 3), (0,)):
            value = rng.normal(size=shape)
            x = Node(value.copy())
            order = order_of(program(x))
            g = rng.normal(size=shape)
            result = subject.main(order, g.copy())
            wanted = slope(lambda v, g=g, p=program: (g * p(Node(v)).value).sum(), value)
            yield equal(f"nodes with a gradient, {text}, shape {shape}", len(result), len(order))
            yield equal(f"gradient of x, {text}, shape {shape}", np.asarray(result[x]), wanted, atol=1e-7)
            yield equal(f"gradient of the result, {text}, shape {shape}", np.asarray(result[order[0]]), g)


@check("property")
def every_node(subject, rng):
    """p = x + y, q = p + x, r = q * p: p and q share the array that the sum handed on, and x gets three parts."""
    x, y = (Node(rng.normal(size=(5,))) for _ in range(2))
    p = add(x, y)
    q = add(p, x)
    r = multiply(q, p)
    g = rng.normal(size=(5,))
    given = g.copy()
    result = subject.main([r, q, p, x, y], given)
    dq = g * p.value
    dp = g * q.value + dq
    for name, node, wanted in [("r", r, g), ("q", q, dq), ("p", p, dp), ("x", x, dp + dq), ("y", y, dp)]:
        yield equal(f"gradient of {name}: p = x + y, q = p + x, r = q * p", result[node], wanted, rtol=1e-12)
    yield equal("g must not be changed", given, g)
    yield equal("the same, a second time", subject.main([r, q, p, x, y], given)[x], dp + dq)


checks = [of_x, every_node]
