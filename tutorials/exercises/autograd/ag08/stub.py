from collections.abc import Callable

import numpy as np


def gradcheck(
    f: Callable[[np.ndarray], np.ndarray],
    backward: Callable[[np.ndarray, np.ndarray], np.ndarray],
    x: np.ndarray,
    rng: np.random.Generator,
) -> bool:
    """Whether backward(g, x) is the gradient of sum(g * f(x)) with respect to x."""
    # TODO
    raise NotImplementedError
