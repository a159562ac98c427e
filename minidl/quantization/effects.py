"""What quantization costs in accuracy and saves in bytes: a small convolutional network on packaged digits, measured.

    from minidl.quantization.effects import measure
    measure("digits", seed=0)

Eight bits cost next to nothing, with a few batches of calibration and no training. Two bits, four values a weight, ruin a network
that was trained without them; with training that rounds on the way, per output channel, it recovers.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from .. import datasets, nn, optim
from ..autograd.grad_mode import no_grad
from ..autograd.op import wrap
from ..dtypes import qint8, quint8
from ..nn.module import Module
from ..random import manual_seed
from ..serialization import save
from ..tensor import Tensor
from .fake_quantize import FakeQuantize
from .fuse_modules import fuse_modules, fuse_modules_qat
from .observer import MovingAverageMinMaxObserver, MovingAveragePerChannelMinMaxObserver
from .qconfig import QConfig, default_qconfig, get_default_qconfig
from .quantize import convert, prepare, prepare_qat
from .stubs import QuantWrapper
from .tensor import per_channel_symmetric, per_tensor_symmetric

FUSED = [["module.0", "module.1", "module.2"], ["module.4", "module.5", "module.6"], ["module.9", "module.10"]]


def network(side: int) -> Module:
    """Two convolutions with batch normalization, ReLU and pooling, and two linear layers, between the stubs of quantization."""
    channels, width = (16, 32), (side // 4) ** 2 * 32
    return QuantWrapper(
        nn.Sequential(
            *(nn.Conv2d(1, channels[0], 3, padding=1), nn.BatchNorm2d(channels[0]), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(*channels, 3, padding=1), nn.BatchNorm2d(channels[1]), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(width, 64), nn.ReLU(), nn.Linear(64, 10)),
        )
    )


def digits(name: str, split: str, seed: int) -> tuple[Tensor, Tensor]:
    """Images (N, 1, H, W) in [0, 1] and labels of the data set "digits" or "mnist5k"."""
    data: Any = getattr(datasets, name)(split, seed)
    images = np.asarray(data.data, np.float32)
    if images.ndim == 3:
        images = images[:, None] / np.float32(255)
    return wrap(images), wrap(np.asarray(data.targets))


def fit(model: Module, x: Tensor, y: Tensor, epochs: int, lr: float, seed: int) -> None:
    """Train with Adam in batches of 64, the learning rate falling to 0."""
    optimizer, order = optim.Adam(model.parameters(), lr=lr), np.random.default_rng(seed)
    batches = -(-len(x) // 64)
    for step in range(epochs * batches):
        if step % batches == 0:
            rows = order.permutation(len(x))
        some = rows[step % batches * 64 :][:64]
        optimizer.param_groups[0]["lr"] = lr * (1 - step / (epochs * batches))
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(wrap(x.array[some])), wrap(y.array[some])).backward()
        optimizer.step()


def accuracy(model: Module, x: Tensor, y: Tensor) -> float:
    """The share of right answers."""
    with no_grad():
        return float((model.eval()(x).array.argmax(1) == y.array).mean())


def file_size(model: Module) -> int:
    """Bytes of a file with the model's state_dict."""
    file = io.BytesIO()
    save(model.state_dict(), file)
    return file.getbuffer().nbytes


def two_bits(per_channel: bool) -> QConfig:
    """Weights of the four values -2, -1, 0 and 1, with a scale for each output channel or one for all; activations of 8 bits."""
    observer = MovingAveragePerChannelMinMaxObserver if per_channel else MovingAverageMinMaxObserver
    scheme = per_channel_symmetric if per_channel else per_tensor_symmetric
    return QConfig(
        FakeQuantize.with_args(observer=MovingAverageMinMaxObserver, dtype=quint8),
        FakeQuantize.with_args(
            observer=observer, quant_min=-2, quant_max=1, dtype=qint8, qscheme=scheme, averaging_constant=1.0
        ),
    )


def calibrated(model: Module, qconfig: QConfig, x: Tensor) -> Module:
    """The model quantized after it has seen some data, without training."""
    prepared = fuse_modules(model.eval(), FUSED)
    prepared.qconfig = qconfig
    prepared = prepare(prepared)
    with no_grad():
        for i in range(0, min(len(x), 512), 64):
            prepared(x[i : i + 64])
    return convert(prepared)


def trained(model: Module, qconfig: QConfig, x: Tensor, y: Tensor, epochs: int, seed: int) -> Module:
    """The model quantized after some epochs of training for it."""
    prepared = fuse_modules_qat(model.train(), FUSED)
    prepared.qconfig = qconfig
    prepared = prepare_qat(prepared)
    fit(prepared, x, y, epochs, 3e-3, seed)
    return convert(prepared.eval())


def measure(name: str = "digits", seed: int = 0, epochs: int = 12) -> dict[str, float]:
    """Accuracies on test data and bytes of files of the network on "digits" or "mnist5k": as floats, and quantized.

    float, int8 (static, calibrated), 2 bits (calibrated, per tensor and per channel; trained, per channel); bytes.float, bytes.int8.
    """
    manual_seed(seed)
    (x, y), test = digits(name, "train", seed), digits(name, "test", seed)
    model = network(x.shape[-1])
    fit(model.train(), x, y, epochs, 3e-3, seed)
    int8 = calibrated(model, get_default_qconfig(), x)
    found = {"float": accuracy(model, *test), "int8": accuracy(int8, *test)}
    for kind, per_channel in (("per tensor", False), ("per channel", True)):
        qconfig = QConfig(default_qconfig.activation, two_bits(per_channel).weight)
        found[f"2 bits, calibrated, {kind}"] = accuracy(calibrated(model, qconfig, x), *test)
    found["2 bits, trained"] = accuracy(trained(model, two_bits(True), x, y, epochs, seed), *test)
    return found | {"bytes.float": file_size(model), "bytes.int8": file_size(int8)}
