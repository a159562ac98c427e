import numpy as np


class Parameter:
    """An array that an optimizer is to change."""

    def __init__(self, data: np.ndarray) -> None:
        self.data = data


class Module:
    def parameters(self) -> list[Parameter]:
        return [value for value in vars(self).values() if isinstance(value, Parameter)]
