import numpy as np


class BatchNorm:
    """Batch normalization of x with shape (N, C), channel by channel."""

    def __init__(self, channels: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        self.weight, self.bias = np.ones(channels), np.zeros(channels)
        self.running_mean, self.running_var = np.zeros(channels), np.ones(channels)
        self.eps, self.momentum, self.training = eps, momentum, True

    def forward(self, x: np.ndarray) -> np.ndarray:
        if self.training:
            mean, var = x.mean(0), x.var(0, ddof=1)
            self.running_mean += self.momentum * (mean - self.running_mean)
            self.running_var += self.momentum * (var - self.running_var)
        else:
            mean, var = self.running_mean, self.running_var
        self.std = np.sqrt(var + self.eps)
        self.normal = (x - mean) / self.std
        return self.weight * self.normal + self.bias

    def backward(self, g: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        gweight, gbias = (g * self.normal).sum(0), g.sum(0)
        if self.training:  # mean and variance moved with x too
            g = g - (gbias + self.normal * gweight) / len(g)
        return self.weight / self.std * g, gweight, gbias
