"""Beside SciPy's log_softmax: large logits, ignored targets (0 and -1 are ignored ones too), one class, one row."""

import numpy as np
from scipy.special import log_softmax

from minidl.learn.checks import case, check, equal, forbid, gradient, values


def reference(logits, target, ignore_index=-100):
    losses = [-log_softmax(row)[t] for row, t in zip(logits, target, strict=True) if t != ignore_index]
    return float(sum(losses) / len(losses))


def small(rng):
    def one(rows, classes, **ignored):
        target = rng.integers(0, classes, size=rows)
        if ignored:
            target[rng.permutation(rows)[: (rows + 1) // 2]] = ignored["ignore_index"]
            target[0] = classes - 1 if ignored["ignore_index"] != classes - 1 else 0
        note = f"{rows} rows, {classes} classes, target={target.tolist()}"
        note += "".join(f", {name}={value}" for name, value in ignored.items())
        return case(rng.normal(size=(rows, classes)) * 3, target, note=note, **ignored)

    yield one(1, 2)
    yield one(4, 3)
    yield one(7, 5)
    yield one(3, 1)
    yield one(5, 4, ignore_index=-100)
    yield one(6, 3, ignore_index=-1)
    yield one(6, 3, ignore_index=0)
    yield one(7, 3, ignore_index=255)


def large(rng):
    yield case(np.array([[1e4, 0.0, -1e4]]), np.array([1]), note="logits [[1e4, 0, -1e4]], target [1]")
    yield case(np.array([[-1e4, -1e4 + 2], [1e3, 0]]), np.array([0, 1]), note="logits [[-1e4, -1e4 + 2], [1e3, 0]]")


@check("property")
def gradients(subject, rng):
    logits, target = rng.normal(size=(6, 4)), np.array([1, -100, 3, 0, -100, 2])
    before = logits.copy()
    grad = subject.cross_entropy_backward(1.0, logits, target)
    yield equal("gradient, each row sums to 0", grad.sum(1), np.zeros(6))
    yield equal("gradient in the rows that are ignored", grad[target == -100], np.zeros((2, 4)), atol=0)
    yield equal("logits must not be changed", logits, before, rtol=0, atol=0)
    changed = np.where(target[:, None] == -100, 50.0, logits)
    yield equal("loss, other logits where ignored", subject.main(changed, target), subject.main(logits, target))
    yield equal("loss of equal logits, 4 classes", subject.main(np.zeros((3, 4)), np.array([0, 1, 3])), np.log(4))
    sure = subject.cross_entropy_backward(1.0, np.array([[1e4, -1e4]]), np.array([1]))
    yield equal("gradient at logits [[1e4, -1e4]], target [1]", sure, np.array([[1.0, -1.0]]))


checks = [
    forbid("minidl", "torch", "scipy"),
    values(reference, small, rtol=1e-9, atol=1e-12),
    values(reference, large, rtol=1e-9, atol=1e-12),
    gradient("cross_entropy_backward", reference, small),
    gradients,
]
