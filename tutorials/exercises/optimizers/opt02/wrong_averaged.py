import numpy as np


class Momentum:
    def __init__(self, params: list[np.ndarray], lr: float, momentum: float, nesterov: bool = False) -> None:
        self.params, self.lr, self.momentum, self.nesterov = params, lr, momentum, nesterov
        self.velocities = [np.zeros_like(p) for p in params]

    def step(self, grads: list[np.ndarray]) -> None:
        for p, g, v in zip(self.params, grads, self.velocities, strict=True):
            v *= self.momentum
            v += (1 - self.momentum) * g
            p -= self.lr * (g + self.momentum * v if self.nesterov else v)
