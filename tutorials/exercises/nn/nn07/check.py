"""Nothing but zeros and x/(1-p), the right share of zeros, no pattern among them; and evaluation leaves x alone."""

import numpy as np

from minidl.learn.checks import check, equal, forbid, near


@check("values")
def evaluation(subject, rng):
    for p in (0.0, 0.3, 0.9):
        x = rng.normal(size=(3, 5))
        y = subject.main(x.copy(), p, False, rng)
        yield equal(f"shape in evaluation, p={p}", np.shape(y), x.shape)
        share = np.mean(y != x)
        yield equal(f"elements that evaluation changes, p={p}", {0.0: "none", 1.0: "all"}.get(share, "some"), "none")
        yield equal(f"training, no elements, p={p}", subject.main(np.zeros((0, 3)), p, True, rng), np.zeros((0, 3)))
    yield equal("training, p=0", subject.main(x.copy(), 0.0, True, rng), x)
    for dtype in ("float32", "float64"):
        result = subject.main(np.ones(4, dtype), 0.5, True, rng)
        yield equal(f"dtype for {dtype}", str(result.dtype), dtype)


@check("property")
def survivors(subject, rng):
    for p in (0.2, 0.5, 0.8):
        x = rng.uniform(1, 2, size=(50, 40)) * rng.choice([-1.0, 1.0], size=(50, 40))
        given = x.copy()
        y = subject.main(given, p, True, rng)
        ratios = y[y != 0] / x[y != 0]
        yield equal(f"result / x where it is not 0, smallest, p={p}", ratios.min(), 1 / (1 - p))
        yield equal(f"result / x where it is not 0, largest, p={p}", ratios.max(), 1 / (1 - p))
        yield equal(f"x must not be changed, p={p}", given, x, rtol=0, atol=0)


@check("property")
def each_on_its_own(subject, rng):
    gone = subject.main(np.ones((60, 80)), 0.5, True, rng) == 0
    for what, axis in [("columns", 0), ("rows", 1)]:
        whole = gone.all(axis) | ~gone.any(axis)  # by chance one time in 2^59 or so
        yield equal(f"{what} of 60 x 80 in which everything is dropped, or nothing, p=0.5", int(whole.sum()), 0)


@check("statistics")
def zeros(subject, rng):
    for p in (0.1, 0.5, 0.8):
        n = 100 * 300
        y = subject.main(np.ones((100, 300)), p, True, rng)
        gone = y == 0
        yield near(f"share of zeros, p={p}", gone.mean(), p, np.sqrt(p * (1 - p) / n))
        # a mean of n numbers that are 0 or 1/(1-p)
        yield near(f"mean of ones after dropout, p={p}", y.mean(), 1.0, np.sqrt(p / (1 - p) / n))


@check("property")
def from_rng(subject, rng):
    x = np.ones((8, 8))
    state = rng.bit_generator.state
    once = subject.main(x, 0.5, True, rng)
    yield equal("a second call draws anew", np.array_equal(once, subject.main(x, 0.5, True, rng)), False)
    rng.bit_generator.state = state
    yield equal("the same rng, the same zeros", once, subject.main(x, 0.5, True, rng))


checks = [forbid("minidl", "torch"), evaluation, survivors, each_on_its_own, zeros, from_rng]
