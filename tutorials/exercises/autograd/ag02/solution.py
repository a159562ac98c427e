from typing import Any


def backward_order(root: Any) -> list[Any]:
    """The nodes that lead to `root`; node.inputs is a tuple of the nodes that a node was computed from."""
    inputs_first, seen = [], set()
    stack = [(root, False)]
    while stack:
        node, inputs_done = stack.pop()
        if inputs_done:
            inputs_first.append(node)
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack.extend((one, False) for one in node.inputs)
    return inputs_first[::-1]
