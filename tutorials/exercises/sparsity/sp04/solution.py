import numpy as np


class PrunedAdam:
    """Adam with weights that are pruned; step() and prune() change the arrays in place."""

    def __init__(
        self, params: list[np.ndarray], lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8
    ) -> None:
        self.params, self.lr, self.betas, self.eps = params, lr, betas, eps
        self.means = [np.zeros_like(p) for p in params]
        self.squares = [np.zeros_like(p) for p in params]
        self.masks = [np.ones(p.shape, bool) for p in params]
        self.steps = 0

    def prune(self, masks: list[np.ndarray]) -> None:
        """From now on weights are 0 where their mask (bool) is False."""
        self.masks = masks
        for p, m, v, mask in zip(self.params, self.means, self.squares, masks, strict=True):
            for array in (p, m, v):
                array[~mask] = 0

    def step(self, grads: list[np.ndarray]) -> None:
        self.steps += 1
        b1, b2 = self.betas
        for p, g, m, v, mask in zip(self.params, grads, self.means, self.squares, self.masks, strict=True):
            g = np.where(mask, g, 0)  # with both moments at 0 as well, the step is 0
            m += (1 - b1) * (g - m)
            v += (1 - b2) * (g * g - v)
            mean = m / (1 - b1**self.steps)
            square = v / (1 - b2**self.steps)
            p -= self.lr * mean / (np.sqrt(square) + self.eps)
