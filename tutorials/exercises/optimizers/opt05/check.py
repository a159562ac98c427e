"""Steps beside a decay written apart from Adam; and what "decoupled" means: all weights shrink at the same rate."""

import numpy as np

from minidl.learn.checks import check, equal, forbid

BETAS, EPS = (0.9, 0.999), 1e-8


def reference(p, g, m, v, t, lr, betas, eps, decay):
    m = betas[0] * m + (1 - betas[0]) * g
    v = betas[1] * v + (1 - betas[1]) * g**2
    corrected = m / (1 - betas[0] ** t), v / (1 - betas[1] ** t)
    return p - lr * decay * p - lr * corrected[0] / (corrected[1] ** 0.5 + eps), m, v


@check("values")
def trajectories(subject, rng):
    for decay, lr in [(0.1, 0.01), (0.0, 0.01), (0.5, 0.1)]:
        p, m, v = rng.normal(size=(3, 4)), np.zeros((3, 4)), np.zeros((3, 4))
        wanted = p.copy(), m.copy(), v.copy()
        for t in range(1, 6):
            g = rng.normal(size=(3, 4))
            wanted = reference(wanted[0], g, *wanted[1:], t, lr, BETAS, EPS, decay)
            kept = g.copy()
            yield equal("what is returned", subject.main(p, g, m, v, t, lr, BETAS, EPS, decay), None)
            for name, got, right in zip("pmv", (p, m, v), wanted, strict=True):
                yield equal(f"{name} after {t} step(s), lr={lr}, weight_decay={decay}", got, right)
            yield equal(f"g after step {t}", g, kept, rtol=0, atol=0)


@check("property")
def decoupled(subject, rng):
    """Two weights of 1, gradients of 100 and of 0.01 that change their sign: decay alone is left, and is equal for both."""
    p, m, v = np.ones(2), np.zeros(2), np.zeros(2)
    plain, m0, v0 = np.ones(2), np.zeros(2), np.zeros(2)
    for t in range(1, 41):
        g = np.array([100.0, 0.01]) * (-1) ** t
        subject.main(p, g, m, v, t, 1e-3, BETAS, 0.0, 1.0)
        subject.main(plain, g, m0, v0, t, 1e-3, BETAS, 0.0, 0.0)
    shrunk = p - plain
    yield equal("both weights shrink alike", shrunk[0], shrunk[1], rtol=1e-6)
    yield equal("by about 40 lr · weight_decay", shrunk[0], 0.999**40 - 1, rtol=0.05)


checks = [forbid("minidl", "torch"), trajectories, decoupled]
