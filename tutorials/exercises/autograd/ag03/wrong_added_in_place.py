from typing import Any

import numpy as np


def gradients(order: list[Any], g: np.ndarray) -> dict[Any, np.ndarray]:
    result = {order[0]: g}
    for node in order:
        for one, part in zip(node.inputs, node.backward(result[node]), strict=True):
            if one in result:
                result[one] += part
            else:
                result[one] = part
    return result
