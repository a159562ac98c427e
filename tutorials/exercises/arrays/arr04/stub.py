import numpy as np


def softmax(x: np.ndarray, axis: int = -1) -> np.ndarray:
    # TODO
    raise NotImplementedError
