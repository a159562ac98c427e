import numpy as np


class Parameter:
    """An array that an optimizer is to change."""

    def __init__(self, data: np.ndarray) -> None:
        self.data = data


class Module:
    def parameters(self) -> list[Parameter]:
        found: list[Parameter] = []
        seen = set()

        def visit(module: Module) -> None:
            seen.add(module)
            for value in vars(module).values():
                if isinstance(value, Parameter) and value not in found:
                    found.append(value)
                elif isinstance(value, Module) and value not in seen:
                    visit(value)

        visit(self)
        return found
