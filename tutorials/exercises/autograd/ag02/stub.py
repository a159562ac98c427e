from typing import Any


def backward_order(root: Any) -> list[Any]:
    """The nodes that lead to `root`; node.inputs is a tuple of the nodes that a node was computed from."""
    # TODO
    raise NotImplementedError
