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


def peer(threads: int = 1) -> tuple[Any, str]:
    """The module to compare with, held to that many threads, and its name."""
    if importlib.util.find_spec("torch") is not None:
        torch = importlib.import_module("torch")
        torch.set_num_threads(threads)
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


class Training:
    """A step of training a classifier, whose weights are the same numbers whatever module made it."""

    def __init__(self, m: Any, model: Any, x: Any, y: Any, optimizer: Callable[[Any], Any]) -> None:
        with m.no_grad():
            for parameter in model.parameters():
                parameter.copy_(m.tensor(_random(*parameter.shape)))
        self.module, self.model, self.x, self.y, self.optimizer = m, model, x, y, optimizer(model.parameters())

    def without_waiting(self) -> Any:
        """The step; its loss stays a tensor."""
        self.optimizer.zero_grad()
        loss = self.module.nn.functional.cross_entropy(self.model(self.x), self.y)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def __call__(self) -> float:
        return float(self.without_waiting().item())

    def recorded(self) -> Step:
        """The same step of minidl as one CUDA graph, after three on the way that is recorded. Raises where it cannot be."""
        cuda = self.module.cuda
        for group in self.optimizer.param_groups:
            group["capturable"] = True
        stream, graph = cuda.Stream(), cuda.CUDAGraph()
        stream.wait_stream(cuda.current_stream())
        with stream:
            for _ in range(3):
                self.without_waiting()
        cuda.synchronize()
        with cuda.graph(graph, stream=stream):
            loss = self.without_waiting()

        def replay() -> float:
            graph.replay()
            return float(loss.item())

        return replay


def _classes(m: Any, n: int, *shape: int) -> Any:
    return m.tensor(np.random.default_rng(1).integers(0, n, shape))


def _mlp(m: Any, sizes: list[int], batch: int, optimizer: Callable[[Any], Any]) -> Step:
    layers: list[Any] = []
    for n, k in zip(sizes, sizes[1:], strict=False):
        layers += [m.nn.Linear(n, k), m.nn.ReLU()]
    x = m.tensor(_random(batch, sizes[0]))
    return Training(m, m.nn.Sequential(*layers[:-1]), x, _classes(m, sizes[-1], batch), optimizer)


def tiny_mlp(m: Any) -> Step:
    """A training step of a 32-32-10 MLP at batch 1, SGD."""
    return _mlp(m, [32, 32, 10], 1, lambda p: m.optim.SGD(p, lr=0.01))


def mlp(m: Any) -> Step:
    """A training step of a 784-512-256-10 MLP at batch 128, Adam."""
    return _mlp(m, [784, 512, 256, 10], 128, lambda p: m.optim.Adam(p, lr=1e-3))


def cnn(m: Any, batch: int = 64, channels: tuple[int, int] = (32, 64), kernel: int = 3, stride: int = 1) -> Step:
    """A training step of two convolutions with pooling on 1 x 28 x 28 images, SGD with momentum."""
    nn, (c1, c2) = m.nn, channels
    body = nn.Sequential(
        *(nn.Conv2d(1, c1, kernel, stride, kernel // 2), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(c1, c2, kernel, 1, kernel // 2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
    )
    x = m.tensor(_random(batch, 1, 28, 28))
    model = nn.Sequential(body, nn.Linear(body(x).shape[1], 128), nn.ReLU(), nn.Linear(128, 10))
    return Training(m, model, x, _classes(m, 10, batch), lambda p: m.optim.SGD(p, lr=0.01, momentum=0.9))


def resnet(m: Any, width: int = 32, batch: int = 32) -> Step:
    """A training step of a stem and three residual blocks of convolution and batch norm on 3 x 32 x 32 images, SGD."""
    nn = m.nn

    class Residual(nn.Module):  # type: ignore[misc,name-defined]  # of whichever module is measured
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)

        def forward(self, x: Any) -> Any:
            return x + nn.functional.relu(self.norm(self.conv(x)))

    model = nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1), *(Residual() for _ in range(3)), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(width, 10),
    )  # fmt: skip
    x = m.tensor(_random(batch, 3, 32, 32))
    return Training(m, model, x, _classes(m, 10, batch), lambda p: m.optim.SGD(p, lr=0.01, momentum=0.9))


def char_lstm(m: Any, hidden: int = 256, time: int = 64, batch: int = 32, vocabulary: int = 96) -> Step:
    """A training step of a character model: embedding 128, an LSTM, a linear layer, Adam."""
    nn = m.nn

    class Model(nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(vocabulary, 128)
            self.lstm = nn.LSTM(128, hidden, batch_first=True)
            self.out = nn.Linear(hidden, vocabulary)

        def forward(self, x: Any) -> Any:
            return self.out(self.lstm(self.embedding(x))[0]).flatten(0, 1)

    x, y = _classes(m, vocabulary, batch, time), _classes(m, vocabulary, batch * time)
    return Training(m, Model(), x, y, lambda p: m.optim.Adam(p, lr=1e-3))


def gpt(
    m: Any, width: int = 128, heads: int = 4, layers: int = 4, time: int = 128, batch: int = 16, vocabulary: int = 96
) -> Step:
    """A training step of a GPT, AdamW."""
    nn = m.nn

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
            self.tokens, self.places = nn.Embedding(vocabulary, width), nn.Embedding(time, width)
            self.blocks = nn.ModuleList([Block() for _ in range(layers)])
            self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary, bias=False)

        def forward(self, x: Any) -> Any:
            x = self.tokens(x) + self.places(m.arange(time))
            for block in self.blocks:
                x = block(x)
            return self.head(self.norm(x)).flatten(0, 1)

    x, y = _classes(m, vocabulary, batch, time), _classes(m, vocabulary, batch * time)
    return Training(m, Model(), x, y, lambda p: m.optim.AdamW(p, lr=1e-3))


# ---------------------------------------------------------------------------------------------------------------------
# Pieces: one layer or function, forward and backward


def _piece(m: Any, function: Callable[..., Any], *inputs: Any) -> Step:
    """Forward and backward of a function, for a gradient that is not all ones."""
    leaves = [m.tensor(x, requires_grad=True) for x in inputs]
    weights = m.tensor(_random(*function(*leaves).shape))

    def step() -> float:
        for t in leaves:
            t.grad = None
        out = function(*leaves)
        out.backward(weights)
        return float(leaves[0].grad.reshape(-1)[0]) + float(out.detach().reshape(-1)[-1])

    return step


def _layer(m: Any, layer: Any, *shape: int) -> Step:
    with m.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(m.tensor(_random(*parameter.shape) + 0.1))
    return _piece(m, layer, _random(*shape))


def attention(m: Any, batch: int = 8, heads: int = 8, time: int = 512, width: int = 64) -> Step:
    """Causal attention."""
    qkv = [_random(batch, heads, time, width) + c for c in (0.0, 0.1, 0.2)]
    return _piece(m, lambda q, k, v: m.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True), *qkv)


def cross_entropy(m: Any, batch: int = 512, classes: int = 1000) -> Step:
    """Softmax and cross-entropy in one."""
    target = m.tensor(np.random.default_rng(1).integers(0, classes, batch))
    return _piece(m, lambda x: m.nn.functional.cross_entropy(x, target), _random(batch, classes))


def convolution(m: Any, *arguments: int, size: tuple[int, ...], **options: int) -> Step:
    """One convolution."""
    return _layer(m, m.nn.Conv2d(*arguments, **options), *size)


def optimizer_step(m: Any, make: Callable[[Any], Any], *shapes: tuple[int, ...]) -> Step:
    """The step of an optimizer alone."""
    parameters = [m.nn.Parameter(m.tensor(_random(*shape))) for shape in shapes]
    for p in parameters:
        p.grad = m.tensor(_random(*p.shape))
    update = make(parameters)

    def step() -> float:
        update.step()
        return float(parameters[0].detach().reshape(-1)[0])

    return step


def sparse_product(m: Any) -> Step:
    """A CSR matrix 2048 x 2048, 5 % of it stored, times 2048 x 128, with the gradients of both."""
    full = _random(2048, 2048)
    stored = np.where(np.random.default_rng(1).random(full.shape) < 0.05, full, 0)
    a = m.tensor(stored).to_sparse_csr().requires_grad_()
    x, g = m.tensor(_random(2048, 128), requires_grad=True), m.tensor(_random(2048, 128))

    def step() -> float:
        a.grad = x.grad = None
        (a @ x).backward(g)
        return float(x.grad[0, 0])

    return step


def sparse_embedding(m: Any) -> Step:
    """A step of SGD on 4,096 of 100,000 embeddings of width 64, with a sparse gradient."""
    table = m.nn.Embedding.from_pretrained(m.tensor(_random(100_000, 64)), freeze=False, sparse=True)
    optimizer = m.optim.SGD(table.parameters(), lr=0.1)
    index = m.tensor(np.random.default_rng(1).integers(0, 100_000, 4096))

    def step() -> float:
        optimizer.zero_grad()
        out = table(index)
        loss = (out * out).mean()
        loss.backward()
        optimizer.step()
        return float(loss)

    return step


def int8_linear(m: Any, batch: int, width: int) -> Step:
    """A linear layer with int8 weights and float inputs, quantized dynamically, in evaluation."""
    layer = m.nn.Linear(width, width)
    with m.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(m.tensor(_random(*parameter.shape)))
    model = m.ao.quantization.quantize_dynamic(m.nn.Sequential(layer), {m.nn.Linear}, dtype=m.qint8)
    x = m.tensor(_random(batch, width))

    def step() -> float:
        with m.no_grad():
            return float(model(x).sum()) / (batch * width)  # errors of rounding cancel out in the mean

    return step


def int8_convolution(m: Any) -> Step:
    """A convolution on quantized images, statically, with a quantized result."""
    q, layer = m.ao.quantization, m.nn.Conv2d(32, 64, 3, padding=1)
    with m.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(m.tensor(_random(*parameter.shape)))
    model, x = q.QuantWrapper(layer).eval(), m.tensor(_random(16, 32, 28, 28))
    model.qconfig = q.default_per_channel_qconfig
    model = q.prepare(model)
    model(x)
    model = q.convert(model)
    integers = model.quant(x)

    def step() -> float:
        return float(model.module(integers)[:, :, ::9, ::9].dequantize().mean())  # errors of rounding cancel out

    return step


MLP_SHAPES = ((512, 784), (512,), (256, 512), (256,), (10, 256), (10,))

WORKLOADS: dict[str, Callable[[Any], Step]] = {
    "chain of 1000 operations": chain,
    "chain of 1000 operations, no graph": chain_without_graph,
    "train MLP 32-32-10, batch 1, SGD": tiny_mlp,
    "train MLP 784-512-256-10, batch 128, Adam": mlp,
    "train CNN 32 and 64 channels, batch 64, SGD": cnn,
    "train CNN 13 and 37 channels, 5 x 5, stride 2, batch 16": lambda m: cnn(m, 16, (13, 37), 5, 2),
    "train ResNet 32 channels, batch 32, SGD": resnet,
    "train LSTM 256, 64 steps, batch 32, Adam": char_lstm,
    "train LSTM 200, 100 steps, batch 8, vocabulary 1000": lambda m: char_lstm(m, 200, 100, 8, 1000),
    "train GPT 4 x 128, 128 steps, batch 16, AdamW": gpt,
    "train GPT 2 x 96, 77 steps, batch 4, vocabulary 1000": lambda m: gpt(m, 96, 3, 2, 77, 4, 1000),
    "attention 512 steps, causal": attention,
    "attention 128 steps, causal": lambda m: attention(m, 16, 4, 128, 32),
    "cross-entropy 512 x 1000": cross_entropy,
    "convolution 32 to 64, 3 x 3": lambda m: convolution(m, 32, 64, 3, size=(16, 32, 28, 28), padding=1),
    "convolution 64 to 64, 1 x 1": lambda m: convolution(m, 64, 64, 1, size=(16, 64, 28, 28)),
    "convolution 64, depthwise": lambda m: convolution(m, 64, 64, 3, size=(16, 64, 28, 28), padding=1, groups=64),
    "layer norm 2048 x 128": lambda m: _layer(m, m.nn.LayerNorm(128), 2048, 128),
    "batch norm 32 x 32 x 28 x 28": lambda m: _layer(m, m.nn.BatchNorm2d(32), 32, 32, 28, 28),
    "GELU 2048 x 512": lambda m: _piece(m, m.nn.functional.gelu, _random(2048, 512)),
    "softmax 2048 x 128": lambda m: _piece(m, lambda x: m.softmax(x, -1), _random(2048, 128)),
    "max pool 2 x 2": lambda m: _piece(m, lambda x: m.nn.functional.max_pool2d(x, 2), _random(32, 32, 28, 28)),
    "matrix product 512 x 512": lambda m: _piece(m, lambda x, y: x @ y, _random(512, 512), _random(512, 512)),
    "Adam on an MLP": lambda m: optimizer_step(m, lambda p: m.optim.Adam(p, lr=1e-3), *MLP_SHAPES),
    "CSR 2048 x 2048, 5 % stored, and gradients": sparse_product,
    "train embedding 100k x 64, sparse gradient, SGD": sparse_embedding,
    "int8 linear 64 x 1024 x 1024, dynamic": lambda m: int8_linear(m, 64, 1024),
    "int8 linear 1 x 4096 x 4096, dynamic": lambda m: int8_linear(m, 1, 4096),
    "int8 convolution 32 to 64, 3 x 3, static": int8_convolution,
}
