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


def _training(m: Any, model: Any, x: Any, y: Any, optimizer: Callable[[Any], Any]) -> Step:
    """A step of training a classifier, whose weights are the same numbers whatever module made it."""
    with m.no_grad():
        for parameter in model.parameters():
            parameter.copy_(m.tensor(_random(*parameter.shape)))
    update = optimizer(model.parameters())

    def step() -> float:
        update.zero_grad()
        loss = m.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        update.step()
        return float(loss.item())

    return step


def _classes(m: Any, n: int, *shape: int) -> Any:
    return m.tensor(np.random.default_rng(1).integers(0, n, shape))


def _mlp(m: Any, sizes: list[int], batch: int, optimizer: Callable[[Any], Any]) -> Step:
    layers: list[Any] = []
    for n, k in zip(sizes, sizes[1:], strict=False):
        layers += [m.nn.Linear(n, k), m.nn.ReLU()]
    x = m.tensor(_random(batch, sizes[0]))
    return _training(m, m.nn.Sequential(*layers[:-1]), x, _classes(m, sizes[-1], batch), optimizer)


def tiny_mlp(m: Any) -> Step:
    """A training step of a 32-32-10 MLP at batch 1, SGD."""
    return _mlp(m, [32, 32, 10], 1, lambda p: m.optim.SGD(p, lr=0.01))


def mlp(m: Any) -> Step:
    """A training step of a 784-512-256-10 MLP at batch 128, Adam."""
    return _mlp(m, [784, 512, 256, 10], 128, lambda p: m.optim.Adam(p, lr=1e-3))


def cnn(m: Any) -> Step:
    """A training step of two 3 x 3 convolutions with pooling on 1 x 28 x 28 images at batch 64, SGD with momentum."""
    nn = m.nn
    model = nn.Sequential(
        *(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(3136, 128), nn.ReLU(), nn.Linear(128, 10)),
    )
    x = m.tensor(_random(64, 1, 28, 28))
    return _training(m, model, x, _classes(m, 10, 64), lambda p: m.optim.SGD(p, lr=0.01, momentum=0.9))


def char_lstm(m: Any) -> Step:
    """A training step of a character model: embedding 128, LSTM 256, 64 steps of time at batch 32, Adam."""
    nn = m.nn

    class Model(nn.Module):  # type: ignore[misc,name-defined]  # of whichever module is measured
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(96, 128)
            self.lstm = nn.LSTM(128, 256, batch_first=True)
            self.out = nn.Linear(256, 96)

        def forward(self, x: Any) -> Any:
            return self.out(self.lstm(self.embedding(x))[0]).flatten(0, 1)

    return _training(m, Model(), _classes(m, 96, 32, 64), _classes(m, 96, 32 * 64), lambda p: m.optim.Adam(p, lr=1e-3))


def gpt(m: Any) -> Step:
    """A training step of a GPT with 4 layers, width 128, 4 heads, 128 steps of time at batch 16, AdamW."""
    nn, width, heads, time = m.nn, 128, 4, 128

    class Block(nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.mixed = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.wide, self.back = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

        def forward(self, x: Any) -> Any:
            B, T, D = x.shape
            q, k, v = self.qkv(self.norm1(x)).reshape(B, T, 3, heads, D // heads).permute(2, 0, 3, 1, 4)
            y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.mixed(y.transpose(1, 2).reshape(B, T, D))
            return x + self.back(nn.functional.gelu(self.wide(self.norm2(x)), approximate="tanh"))

    class Model(nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.tokens, self.places = nn.Embedding(96, width), nn.Embedding(time, width)
            self.blocks = nn.ModuleList([Block() for _ in range(4)])
            self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 96, bias=False)

        def forward(self, x: Any) -> Any:
            x = self.tokens(x) + self.places(m.arange(time))
            for block in self.blocks:
                x = block(x)
            return self.head(self.norm(x)).flatten(0, 1)

    x, y = _classes(m, 96, 16, time), _classes(m, 96, 16 * time)
    return _training(m, Model(), x, y, lambda p: m.optim.AdamW(p, lr=1e-3))


def attention(m: Any) -> Step:
    """Causal attention of 8 x 8 heads, 256 steps of time, width 64, forward and backward."""
    q, k, v = (m.tensor(_random(8, 8, 256, 64) + c, requires_grad=True) for c in (0.0, 0.1, 0.2))
    weights = m.tensor(_random(8, 8, 256, 64))

    def step() -> float:
        for t in (q, k, v):
            t.grad = None
        loss = (m.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True) * weights).sum()
        loss.backward()
        return float(loss.item())

    return step


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
    "CNN 28 x 28, batch 64, SGD": cnn,
    "LSTM 256, 64 steps, batch 32, Adam": char_lstm,
    "GPT 4 x 128, 128 steps, batch 16, AdamW": gpt,
    "attention 256 steps, causal": attention,
    "cross-entropy 512 x 1000": softmax_cross_entropy,
    "layer norm 2048 x 128": layer_norm,
}
