"""What a network costs: accuracy, size, multiply-adds and time. They do not follow from one another, so each is measured."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np

from .. import serialization
from ..autograd.grad_mode import no_grad
from ..nn.module import Module
from ..quantization import dynamic
from ..quantization.static import WeightedQuantizedModule
from ..tensor import Tensor
from ..utils.flop_counter import PRODUCTS, FlopCounterMode
from .distillation import features_of
from .packing import pack


@dataclass
class Cost:
    """One row of the table. weights: how many numbers of parameters are not 0. latency: seconds by batch size, medians."""

    step: str
    accuracy: float
    weights: int
    bytes: int
    multiply_adds: int
    latency: dict[int, float] = field(default_factory=dict)


def cost(step: str, model: Module, x: Tensor, labels: Tensor) -> Cost:
    """All but the latency, for inputs x (B, ...) and their labels (B,)."""
    return Cost(step, accuracy(model, x, labels), nonzero(model), size(model), multiply_adds(model, x[:1]))


@no_grad()
def accuracy(model: Module, x: Tensor, labels: Tensor) -> float:
    """The share of inputs x (B, ...) whose largest logit is that of their label (B,)."""
    model.eval()
    return float((model(x).argmax(1) == labels).float().mean())


def nonzero(model: Module) -> int:
    """How many elements of the parameters are not 0; masks count, and a quantized layer's weight and bias."""
    total = 0
    for module in model.modules():
        buffers = [t for t in module._buffers.values() if t is not None and t.ndim]  # not the scale of the results
        learned = [
            getattr(module, name.removesuffix("_orig")) for name, p in module._parameters.items() if p is not None
        ]
        for t in buffers if any(t.is_quantized for t in buffers) else learned:
            values = t.dequantize() if t.is_quantized else t.detach()
            total += int((values != 0).sum().item())
    return total


def size(model: Module) -> int:
    """The bytes of the file that holds the model's state, packed as minidl compress writes it."""
    file = io.BytesIO()
    serialization.save(pack(model.state_dict()), file)
    return len(file.getvalue())


@no_grad()
def multiply_adds(model: Module, x: Tensor) -> int:
    """The multiplications, each with its addition, of all products in one call on x."""
    model.eval()
    of_bytes = {  # products that are no operations, and how many multiplications an element of the result takes
        path: m.weight().numel() // len(m.weight())
        for path, m in model.named_modules()
        if isinstance(m, (dynamic.Linear, WeightedQuantizedModule))
    }
    with FlopCounterMode(display=False) as counter, features_of(model, of_bytes) as outputs:
        model(x)
    counted = sum(n for name, n in counter.get_flop_counts()["Global"].items() if name in PRODUCTS) // 2
    return counted + sum(outputs[path].numel() * width for path, width in of_bytes.items() if path in outputs)


@no_grad()
def latency(models: Sequence[Module], x: Tensor, seconds: float = 0.3, least: int = 20) -> list[float]:
    """The median time of a call on x of each model, in seconds; they are called in turn, so that all see the same machine.

    seconds: for each model together, but at least `least` calls, after two that are not counted.
    """
    for model in models:
        model.eval()
        model(x), model(x)
    times: list[list[float]] = [[] for _ in models]
    end = time.perf_counter() + seconds * len(models)
    while len(times[0]) < least or time.perf_counter() < end:
        for model, found in zip(models, times, strict=True):
            begin = time.perf_counter()
            model(x)
            found.append(time.perf_counter() - begin)
    return [median(found) for found in times]


def plot(costs: Sequence[Cost], path: str | os.PathLike[str]) -> None:
    """The rows as bars, a panel for each thing that was measured: .png, .svg or .pdf."""
    from matplotlib.figure import Figure

    batches = list(costs[0].latency)
    panels: list[tuple[str, Any, str]] = [
        ("accuracy, %", lambda c: 100 * c.accuracy, ".1f"),
        ("file, KiB", lambda c: c.bytes / 1024, ".1f"),
        ("multiply-adds, thousands", lambda c: c.multiply_adds / 1e3, ".1f"),
        *((f"latency, batch {b}, µs", lambda c, b=b: c.latency[b] * 1e6, ".0f") for b in batches),
    ]
    figure = Figure(figsize=(3.2 * len(panels) + 1.5, 0.55 * len(costs) + 1.6), layout="constrained")
    rows = np.arange(len(costs))
    for axes, (title, value, form) in zip(figure.subplots(1, len(panels), sharey=True), panels, strict=True):
        values = [value(c) for c in costs]
        bars = axes.barh(rows, values, color=["0.6", *["C0"] * (len(costs) - 1)])
        axes.bar_label(bars, [format(v, form) for v in values], padding=3, fontsize=8)
        axes.set(title=title, xlim=(0, 1.25 * max(*values, 1e-9)))
    axes.set_yticks(rows, [c.step for c in costs])
    axes.invert_yaxis()  # shared: the first row is on top
    figure.savefig(path, dpi=110)
