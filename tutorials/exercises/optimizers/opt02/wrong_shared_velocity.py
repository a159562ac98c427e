import numpy as np


class Momentum:
    def __init__(self, params: list[np.ndarray], lr: float, momentum: float, nesterov: bool = False) -> None:
        self.params, self.lr, self.momentum, self.nesterov = params, lr, momentum, nesterov
        self.velocity = 0.0

    def step(self, grads: list[np.ndarray]) -> None:
        for p, g in zip(self.params, grads, strict=True):
            self.velocity = self.momentum * self.velocity + g
            p -= self.lr * (g + self.momentum * self.velocity if self.nesterov else self.velocity)
