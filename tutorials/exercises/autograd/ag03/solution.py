from typing import Any

import numpy as np


def gradients(order: list[Any], g: np.ndarray) -> dict[Any, np.ndarray]:
    """The gradient of every node in `order`; node.backward(g) returns a tuple, one gradient for each of node.inputs."""
    result = {order[0]: g}
    for node in order:
        for one, part in zip(node.inputs, node.backward(result[node]), strict=True):
            result[one] = result[one] + part if one in result else part
    return result
