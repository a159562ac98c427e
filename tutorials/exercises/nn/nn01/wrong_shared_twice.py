from typing import Any

import numpy as np


class Parameter:
    """An array that an optimizer is to change."""

    def __init__(self, data: np.ndarray) -> None:
        self.data = data


class Module:
    def parameters(self) -> list[Parameter]:
        found: list[Parameter] = []
        path: list[Any] = []

        def visit(value: Any) -> None:
            if any(value is above for above in path):
                return
            path.append(value)
            if isinstance(value, Parameter):
                found.append(value)
            elif isinstance(value, Module):
                visit(vars(value))
            elif isinstance(value, dict | list | tuple):
                for one in value.values() if isinstance(value, dict) else value:
                    visit(one)
            path.pop()

        visit(self)
        return found
