"""fuse_modules: neighbouring layers of a model as one."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

from ..nn import activation, batchnorm, conv
from ..nn.linear import Identity, Linear
from ..nn.module import Module
from ..nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval
from . import intrinsic

ReLU = activation.ReLU
EVAL: dict[tuple[type, ...], Any] = {
    (Linear, batchnorm.BatchNorm1d): fuse_linear_bn_eval,
    (Linear, ReLU): intrinsic.LinearReLU,
    (batchnorm.BatchNorm2d, ReLU): intrinsic.BNReLU2d,
    (batchnorm.BatchNorm3d, ReLU): intrinsic.BNReLU3d,
}
TRAIN: dict[tuple[type, ...], Any] = {(Linear, ReLU): intrinsic.LinearReLU}


def _folding(with_relu: Any) -> Any:
    return lambda conv, bn, relu: with_relu(fuse_conv_bn_eval(conv, bn), relu)


for _n in (1, 2, 3):
    _conv, _bn, _transposed = (
        getattr(of, f"{name}{_n}d") for of, name in ((conv, "Conv"), (batchnorm, "BatchNorm"), (conv, "ConvTranspose"))
    )
    _relu, _conv_bn, _all = (getattr(intrinsic, f"Conv{name}{_n}d") for name in ("ReLU", "Bn", "BnReLU"))
    EVAL |= {
        (_conv, _bn): fuse_conv_bn_eval,
        (_conv, _bn, ReLU): _folding(_relu),
        (_conv, ReLU): _relu,
        (_transposed, _bn): partial(fuse_conv_bn_eval, transpose=True),
    }
    TRAIN |= {(_conv, _bn): _conv_bn, (_conv, _bn, ReLU): _all, (_conv, ReLU): _relu}


def fuse_modules(model: Module, modules_to_fuse: list[Any], inplace: bool = False) -> Module:
    """A model in which the named layers, in rows of two or three, are one: in evaluation, with the normalization folded in.

    modules_to_fuse: a list of names, or several: [["conv1", "bn1", "relu1"], ["fc", "relu2"]]. The first of them becomes the fused
    layer, the others Identity. A convolution may be followed by its batch normalization, ReLU, or both, a Linear by BatchNorm1d or
    ReLU, a transposed convolution by batch normalization, and BatchNorm2d or BatchNorm3d by ReLU.
    Raises AssertionError for a model in training (fuse_modules_qat), NotImplementedError for other layers.

    Example:
        >>> fused = fuse_modules(nn.Sequential(nn.Linear(2, 3), nn.ReLU()).eval(), ["0", "1"])
        >>> type(fused[0]).__name__, fused[1]
        ('LinearReLU', Identity())
    """
    return _fused(model, modules_to_fuse, inplace, EVAL, False)


def fuse_modules_qat(model: Module, modules_to_fuse: list[Any], inplace: bool = False) -> Module:
    """fuse_modules for a model in training: normalization stays, and prepare_qat() trains with it folded in."""
    return _fused(model, modules_to_fuse, inplace, TRAIN, True)


def _fused(model: Module, rows: list[Any], inplace: bool, known: Any, training: bool) -> Module:
    if not inplace:
        model = copy.deepcopy(model)
    for names in [rows] if rows and isinstance(rows[0], str) else rows:
        layers = [model.get_submodule(name) for name in names]
        kinds = tuple(type(layer) for layer in layers)
        if kinds not in known:
            wanted = "; ".join(sorted(" + ".join(k.__name__ for k in kinds) for kinds in known))
            raise NotImplementedError(
                f"fuse_modules: cannot fuse {' + '.join(k.__name__ for k in kinds)} ({', '.join(names)}); it takes {wanted}"
            )
        if any(layer.training is not training for layer in layers):
            wanted = (
                "training: call model.train(), or use fuse_modules"
                if training
                else "evaluation: call model.eval() first"
            )
            raise AssertionError(f"fuse_modules: expected {', '.join(names)} in {wanted}")
        fused = known[kinds](*layers)
        fused.training = training
        _move_hooks(layers, fused)
        model.set_submodule(names[0], fused)
        for name in names[1:]:
            model.set_submodule(name, Identity())
    return model


def _move_hooks(layers: list[Module], fused: Module) -> None:
    """Hooks before the first layer and after the last one are called around the fused one."""
    for kind, layer in (("_forward_pre_hooks", layers[0]), ("_forward_hooks", layers[-1])):
        if layer.__dict__[kind]:
            fused.__dict__[kind].update(layer.__dict__[kind])
            layer.__dict__[kind].clear()
