"""Static int8 for networks that are layers in a row: bytes from the first product to the last, by scales found beforehand."""

from __future__ import annotations

from collections.abc import Iterator

from ..autograd.grad_mode import no_grad
from ..dtypes import quint8
from ..nn import activation, dropout, flatten, linear, pooling
from ..nn.container import Sequential
from ..nn.module import Module
from ..quantization import convert, fuse_modules, prepare
from ..quantization.fuse_modules import EVAL
from ..quantization.observer import FixedQParamsObserver
from ..quantization.qconfig import QConfig, get_default_qconfig
from ..quantization.quantize import STATIC
from ..quantization.static import WeightedQuantizedModule
from ..quantization.stubs import DeQuantStub, QuantStub
from ..tensor import Tensor
from .pruning import copy_of, make_permanent

GONE = (linear.Identity, dropout.Dropout, dropout.Dropout1d, dropout.Dropout2d, dropout.Dropout3d)  # in evaluation
EITHER = (  # on floats and on integers alike
    activation.ReLU, flatten.Flatten, pooling.MaxPool1d, pooling.MaxPool2d, pooling.AvgPool2d, pooling.AdaptiveAvgPool2d,
)  # fmt: skip


def in_a_row(model: Module) -> bool:
    """Whether a model is layers one after the other: nn.Sequential, in which there may be others."""
    return not any(layer._modules for layer in leaves(model))


def leaves(model: Module) -> Iterator[Module]:
    """The layers of a model in their order, without those that do nothing in evaluation."""
    if type(model) is Sequential:
        for child in model.children():
            yield from leaves(child)
    elif type(model) not in GONE:
        yield model


def products(model: Module) -> int:
    """How many layers multiply bytes."""
    return sum(isinstance(layer, WeightedQuantizedModule) for layer in model.modules())


def static_int8(model: Module, calibration: Tensor | None = None, batch_size: int = 64) -> Module:
    """A copy of a model of layers in a row with products of bytes: normalization folded in, ReLU fused, weights per output.

    calibration: inputs (N, ...) from which the scales of all results are found, by histograms. None: all scales are 1, for
    load_state_dict. What has no form in bytes, a CSR layer for instance, stays as it is, with conversions before and after it.
    Raises ValueError for a model that is not layers in a row.

    Example:
        >>> static_int8(nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU()), minidl.rand(64, 1, 8, 8))
    """
    if not in_a_row(model):
        raise ValueError(
            "static int8 is for layers in a row, nn.Sequential, and the network is another one; use dynamic int8"
        )
    layers = list(leaves(make_permanent(copy_of(model)).eval()))
    rows = _fusible(layers)
    fused = fuse_modules(Sequential(*layers).eval(), rows) if rows else Sequential(*layers)
    whole = _with_stubs(leaves(fused)).eval()
    whole.qconfig = get_default_qconfig()
    if calibration is None:
        unit = FixedQParamsObserver.with_args(scale=1.0, zero_point=0, dtype=quint8)
        whole.qconfig = QConfig(unit, get_default_qconfig().weight)
    if not any(type(layer) in STATIC for layer in whole):
        return whole
    prepared = prepare(whole, inplace=True)
    if calibration is not None:
        with no_grad():
            for i in range(0, len(calibration), batch_size):
                prepared(calibration[i : i + batch_size])
    return convert(prepared, inplace=True)


def _fusible(layers: list[Module]) -> list[list[str]]:
    """The names, in a Sequential of these layers, of rows that fuse_modules takes, the longest first."""
    rows, i = [], 0
    while i < len(layers):
        length = next((n for n in (3, 2) if i + n <= len(layers) and tuple(map(type, layers[i : i + n])) in EVAL), 1)
        if length > 1:
            rows.append([str(j) for j in range(i, i + length)])
        i += length
    return rows


def _with_stubs(layers: Iterator[Module]) -> Sequential:
    """The layers with a QuantStub and a DeQuantStub wherever integers begin and end."""
    row: list[Module] = []
    integers = False
    for layer in layers:
        wanted = type(layer) in STATIC or (integers and type(layer) in EITHER)
        if wanted is not integers:
            row.append(QuantStub() if wanted else DeQuantStub())
            integers = wanted
        row.append(layer)
    return Sequential(*row, *([DeQuantStub()] if integers else []))
