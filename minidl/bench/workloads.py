"""What is measured: each workload is made from a module with PyTorch's names, minidl or torch itself.

A workload is a function that takes the module and returns a step: a function without arguments that does the work once and
returns a number by which both sides can be compared.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

Step = Callable[[], float]


def peer() -> tuple[Any, str]:
    """The module to compare with, and its name."""
    if importlib.util.find_spec("torch") is not None:
        torch = importlib.import_module("torch")
        torch.set_num_threads(1)
        return torch, f"PyTorch {torch.__version__} eager"
    import minidl

    return minidl, "minidl on NumPy kernels"


@contextmanager
def reference_kernels(needed: bool) -> Iterator[Callable[[Step], Step]]:
    """A wrapper for the peer's step: on the reference kernels if there is no PyTorch to compare with."""
    from minidl import kernels

    def wrap(step: Step) -> Step:
        def on_reference() -> float:
            with kernels.use("numpy"):
                return step()

        return on_reference if needed else step

    yield wrap


def _random(*shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32) * 0.1


def chain(m: Any) -> Step:
    """1000 times x * a + b on 4 elements, forward and backward."""
    a, b, x0 = (m.tensor(_random(4) + c, requires_grad=True) for c in (1.0, 0.0, 1.0))

    def step() -> float:
        for t in (a, b, x0):
            t.grad = None
        x = x0
        for _ in range(500):
            x = x * a + b
        s = x.sum()
        s.backward()
        return float(a.grad[0])

    return step


def chain_without_graph(m: Any) -> Step:
    """1000 operations on 4 elements, no gradients."""
    a, b, x0 = (m.tensor(_random(4) + c) for c in (1.0, 0.0, 1.0))

    def step() -> float:
        x = x0
        for _ in range(500):
            x = x * a + b
        return float(x[0])

    return step


def _mlp(m: Any, sizes: list[int], batch: int, optimizer: Callable[[Any, Any], Any]) -> Step:
    layers: list[Any] = []
    for n, k in zip(sizes, sizes[1:], strict=False):
        layer = m.nn.Linear(n, k)
        with m.no_grad():
            layer.weight.copy_(m.tensor(_random(k, n)))
            layer.bias.copy_(m.tensor(_random(k)))
        layers += [layer, m.nn.ReLU()]
    model = m.nn.Sequential(*layers[:-1])
    x = m.tensor(_random(batch, sizes[0]))
    y = m.tensor(np.random.default_rng(1).integers(0, sizes[-1], batch))
    update = optimizer(m, model.parameters())

    def step() -> float:
        update.zero_grad()
        loss = m.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        update.step()
        return float(loss.item())

    return step


def tiny_mlp(m: Any) -> Step:
    """A training step of a 32-32-10 MLP at batch 1, SGD."""
    return _mlp(m, [32, 32, 10], 1, lambda m, p: m.optim.SGD(p, lr=0.01))


def mlp(m: Any) -> Step:
    """A training step of a 784-512-256-10 MLP at batch 128, Adam."""
    return _mlp(m, [784, 512, 256, 10], 128, lambda m, p: m.optim.Adam(p, lr=1e-3))


def softmax_cross_entropy(m: Any) -> Step:
    """Cross-entropy of (512, 1000) logits, forward and backward."""
    logits = m.tensor(_random(512, 1000), requires_grad=True)
    target = m.tensor(np.random.default_rng(1).integers(0, 1000, 512))

    def step() -> float:
        logits.grad = None
        loss = m.nn.functional.cross_entropy(logits, target)
        loss.backward()
        return float(loss.item())

    return step


def layer_norm(m: Any) -> Step:
    """LayerNorm of (2048, 128), forward and backward."""
    x = m.tensor(_random(2048, 128), requires_grad=True)
    norm = m.nn.LayerNorm(128)
    weights = m.tensor(_random(2048, 128))

    def step() -> float:
        x.grad = None
        loss = (norm(x) * weights).sum()
        loss.backward()
        return float(loss.item())

    return step


WORKLOADS: dict[str, Callable[[Any], Step]] = {
    "1000-op chain, forward and backward": chain,
    "1000-op chain, no graph": chain_without_graph,
    "MLP 32-32-10, batch 1, SGD": tiny_mlp,
    "MLP 784-512-256-10, batch 128, Adam": mlp,
    "cross-entropy 512 x 1000": softmax_cross_entropy,
    "layer norm 2048 x 128": layer_norm,
}
