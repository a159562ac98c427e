from collections import Counter
from typing import Any

import numpy as np


def gradients(order: list[Any], g: np.ndarray) -> dict[Any, np.ndarray]:
    result, uses = {order[0]: g}, Counter(one for node in order for one in node.inputs)
    for node in order:
        for one, part in zip(node.inputs, node.backward(result[node]), strict=True):
            result[one] = result.get(one, 0) + part / uses[one]
    return result
