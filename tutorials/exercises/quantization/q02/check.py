"""Row by row beside the 255 numbers that it can represent; rows of very different size; an outlier; a layer's product."""

import numpy as np

from minidl.learn.checks import at_most, case, check, equal, forbid, values


def row_by_row(w):
    integers, scales = np.zeros(w.shape, np.int8), np.ones(len(w))
    for n, row in enumerate(w):
        if np.any(row):
            points = np.linspace(-abs(row).max(), abs(row).max(), 255)
            scales[n] = points[-1] / 127
            integers[n] = abs(row[..., None] - points).argmin(-1) - 127
    return integers, scales


def cases(rng):
    for shape in [(3, 5), (1, 1), (4, 4), (7, 1), (2, 13), (4, 3, 3, 3), (5,)]:
        sizes = 10.0 ** rng.integers(-3, 4, size=(shape[0],) + (1,) * (len(shape) - 1))
        yield case(rng.normal(size=shape) * sizes, note=f"w {shape}")
    yield case(-rng.uniform(1, 2, (2, 6)), note="w (2, 6), all negative")
    yield case(rng.uniform(1, 2, (2, 6)), note="w (2, 6), all positive")
    w = rng.normal(size=(3, 4))
    w[1] = 0
    yield case(w, note="w (3, 4), row 1 all 0")


@check("property")
def rows_apart(subject, rng):
    w = rng.normal(size=(6, 32))
    integers, scales = subject.main(w)
    yield equal("smallest and largest integer of a row", np.abs(integers.astype(int)).max(1), np.full(6, 127))
    error = np.abs(integers * scales[:, None] - w) / scales[:, None]
    yield at_most("largest error in steps", float(error.max()), 0.5 + 1e-9)
    outlier = w.copy()
    outlier[2, 5] = 1e4
    others = [0, 1, 3, 4, 5]
    changed = subject.main(outlier)
    yield equal("an outlier in row 2: integers of the other rows", changed[0][others], integers[others])
    yield equal("an outlier in row 2: scales of the other rows", changed[1][others], scales[others])
    negated = subject.main(-w)
    yield equal("-w: the integers negated", negated[0].astype(int), -integers.astype(int))
    x = rng.normal(size=(5, 32))
    exact = x @ w.T
    apart = (x @ integers.T.astype(float)) * scales - exact
    yield at_most("x wᵀ with the scales after the product, relative error", float(np.ptp(apart) / np.ptp(exact)), 0.02)


checks = [forbid("minidl", "torch"), values(row_by_row, cases), rows_apart]
