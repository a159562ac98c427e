from collections.abc import Callable

import numpy as np


def gradcheck(
    f: Callable[[np.ndarray], np.ndarray],
    backward: Callable[[np.ndarray, np.ndarray], np.ndarray],
    x: np.ndarray,
    rng: np.random.Generator,
) -> bool:
    h = 1e-6
    y = f(x)
    g = rng.uniform(1, 2, size=y.shape)
    analytic = backward(g, x)
    if np.shape(analytic) != x.shape:
        return False
    left, right = np.zeros_like(x), np.zeros_like(x)
    for i in list(np.ndindex(x.shape))[:1]:
        step = np.zeros_like(x)
        step[i] = h
        left[i] = (g * (y - f(x - step))).sum() / h
        right[i] = (g * (f(x + step) - y)).sum() / h
    scale = np.abs([left, right]).max(initial=0)
    kink = np.abs(right - left) > 1e-2 * scale
    error = np.abs(analytic - (left + right) / 2)
    return bool(np.all((kink | (error <= 1e-4 * scale)).flat[:1]))
