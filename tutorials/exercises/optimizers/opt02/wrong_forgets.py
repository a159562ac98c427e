import numpy as np


class Momentum:
    def __init__(self, params: list[np.ndarray], lr: float, momentum: float, nesterov: bool = False) -> None:
        self.params, self.lr, self.momentum, self.nesterov = params, lr, momentum, nesterov

    def step(self, grads: list[np.ndarray]) -> None:
        for p, g in zip(self.params, grads, strict=True):
            v = np.zeros_like(p)
            v = self.momentum * v + g
            p -= self.lr * (g + self.momentum * v if self.nesterov else v)
