from typing import Any


def backward_order(root: Any) -> list[Any]:
    order = [root]
    for node in order:
        order.extend(node.inputs)
    return order
