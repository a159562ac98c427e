import numpy as np


class SGD:
    def __init__(self, params: list[np.ndarray], lr: float) -> None:
        self.params, self.lr = params, lr

    def step(self, grads: list[np.ndarray | None]) -> None:
        for p, g in zip(self.params, grads, strict=True):
            if g is not None:
                p += self.lr * g
