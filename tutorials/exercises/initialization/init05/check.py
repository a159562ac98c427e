"""Networks of no layer, one layer and 50; ReLU, whose results have a mean far from 0; layers whose widths differ."""

import numpy as np

from minidl.learn.checks import case, check, equal, values


def relu(x):
    return np.maximum(x, 0)


def reference(weights, x, activation):
    states = [x]
    for w in weights:
        states.append(activation(np.einsum("bi,io->bo", states[-1], w)))
    return [float(np.linalg.norm(s) / s.size**0.5) for s in states[1:]]


def cases(rng):
    for name, activation in [("relu", relu), ("tanh", np.tanh), ("identity", lambda x: x)]:
        for widths in [(5,), (8, 8), (16, 4, 32, 1), (32,) * 51]:
            weights = [rng.normal(size=(a, b)) * (2 / a) ** 0.5 for a, b in zip(widths, widths[1:], strict=False)]
            yield case(
                weights,
                rng.normal(size=(20, widths[0])),
                activation,
                note=f"{name}, {len(weights)} layers, widths {sorted(set(widths))}",
            )


@check("property")
def shifted(subject, rng):
    # all units at 3: the standard deviation would be 0, the size is 3
    (got,) = subject.main([np.eye(4)], np.full((5, 4), 3.0), relu)
    yield equal("every unit is 3", got, 3.0)


checks = [values(reference, cases), shifted]
