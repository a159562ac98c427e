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
                parts = value.values() if isinstance(value, dict) else value
                for one in parts if isinstance(value, dict | list | tuple) else [value]:
                    if isinstance(one, Parameter) and one not in found:
                        found.append(one)
                    elif isinstance(one, Module) and one not in seen:
                        visit(one)

        visit(self)
        return found
