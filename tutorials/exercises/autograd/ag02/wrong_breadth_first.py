from typing import Any


def backward_order(root: Any) -> list[Any]:
    order, seen = [root], {root}
    for node in order:
        for one in node.inputs:
            if one not in seen:
                seen.add(one)
                order.append(one)
    return order
