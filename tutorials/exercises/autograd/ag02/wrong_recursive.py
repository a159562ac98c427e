from typing import Any


def backward_order(root: Any) -> list[Any]:
    inputs_first, seen = [], set()

    def visit(node: Any) -> None:
        if node not in seen:
            seen.add(node)
            for one in node.inputs:
                visit(one)
            inputs_first.append(node)

    visit(root)
    return inputs_first[::-1]
