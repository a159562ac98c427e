import numpy as np


class Adam:
    """Adam (Kingma and Ba 2015); step() changes the arrays in place."""

    def __init__(
        self, params: list[np.ndarray], lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8
    ) -> None:
        # TODO
        raise NotImplementedError

    def step(self, grads: list[np.ndarray]) -> None:
        raise NotImplementedError
