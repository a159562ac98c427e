import numpy as np


class Momentum:
    """Gradient descent with momentum, as PyTorch defines it; step() changes the arrays in place."""

    def __init__(self, params: list[np.ndarray], lr: float, momentum: float, nesterov: bool = False) -> None:
        # TODO
        raise NotImplementedError

    def step(self, grads: list[np.ndarray]) -> None:
        raise NotImplementedError
