from minidl import Tensor


def grow(x: Tensor, w: Tensor, limit: float) -> Tensor:
    while x.norm() < limit:
        x = x * w
    return x


def count_nodes(t: Tensor) -> int:
    count, waiting = 0, [t.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None:
            count += 1
            waiting.extend(before for before, _ in node.next_functions)
    return count
