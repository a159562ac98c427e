"""From a float model to a quantized one: prepare, calibrate, convert; or prepare, train, convert; or dynamically, in one step.

    model.qconfig = get_default_qconfig()         model.qconfig = get_default_qat_qconfig()        quantize_dynamic(model, {nn.Linear})
    prepared = prepare(model.eval())              prepared = prepare_qat(model.train())
    for x in some_batches: prepared(x)            train(prepared)
    quantized = convert(prepared)                 quantized = convert(prepared.eval())

The first two need a model that says where integers begin and end: a QuantStub and a DeQuantStub, or QuantWrapper(model).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from ..dtypes import qint8, quint4x2, quint8
from ..nn import activation, conv, linear, rnn, sparse
from ..nn.attention import MultiheadAttention
from ..nn.module import Module
from . import dynamic, intrinsic, qat, quantized, stubs, through_floats
from .fake_quantize import FakeQuantize
from .observer import ObserverBase
from .qconfig import (
    default_dynamic_qconfig,
    default_fixed_qparams_range_0to1_fake_quant,
    default_fixed_qparams_range_neg1to1_fake_quant,
    float_qparams_weight_only_qconfig,
    float_qparams_weight_only_qconfig_4bit,
)

STATIC: dict[type, Any] = {
    stubs.QuantStub: quantized.Quantize,
    stubs.DeQuantStub: quantized.DeQuantize,
    stubs.FloatFunctional: quantized.QFunctional,
    linear.Linear: quantized.Linear,
    activation.ReLU6: quantized.ReLU6,
    sparse.Embedding: quantized.Embedding,
    sparse.EmbeddingBag: quantized.EmbeddingBag,
    intrinsic.LinearReLU: quantized.Linear,
    qat.Linear: quantized.Linear,
    qat.LinearReLU: quantized.Linear,
}
# without a form in integers: computed in floats, with the scale of the result observed
STATIC |= {cls.__bases__[1]: cls for cls in through_floats.ALL}
QAT: dict[type, Any] = {linear.Linear: qat.Linear, intrinsic.LinearReLU: qat.LinearReLU}
for _n in (1, 2, 3):
    _to = getattr(quantized, f"Conv{_n}d")
    STATIC |= {getattr(conv, f"Conv{_n}d"): _to, getattr(intrinsic, f"ConvReLU{_n}d"): _to}
    STATIC[getattr(conv, f"ConvTranspose{_n}d")] = getattr(quantized, f"ConvTranspose{_n}d")
    STATIC |= {getattr(qat, f"{name}{_n}d"): _to for name in ("Conv", "ConvReLU", "ConvBn", "ConvBnReLU")}
    QAT[getattr(conv, f"Conv{_n}d")] = getattr(qat, f"Conv{_n}d")
    QAT |= {
        getattr(intrinsic, f"{name}{_n}d"): getattr(qat, f"{name}{_n}d")
        for name in ("ConvReLU", "ConvBn", "ConvBnReLU")
    }
RECURRENT = (rnn.LSTM, rnn.GRU, rnn.LSTMCell, rnn.RNNCell, rnn.GRUCell)
TABLES = (sparse.Embedding, sparse.EmbeddingBag)
DYNAMIC: dict[type, Any] = {
    linear.Linear: dynamic.Linear,
    **{kind: getattr(dynamic, kind.__name__) for kind in RECURRENT},
    **{kind: getattr(quantized, kind.__name__) for kind in TABLES},
    MultiheadAttention: dynamic.MultiheadAttention,
}
# what is known of the results of some layers needs no observation
FIXED: dict[type, Any] = dict.fromkeys(
    (activation.Hardsigmoid, activation.Sigmoid, activation.Softmax), default_fixed_qparams_range_0to1_fake_quant
) | {activation.Tanh: default_fixed_qparams_range_neg1to1_fake_quant}


def quantize_dynamic(
    model: Module, qconfig_spec: Any = None, dtype: Any = qint8, mapping: dict[type, Any] | None = None, inplace: bool = False
) -> Module:  # fmt: skip
    """A copy of a float model, in evaluation, whose layers of the given kinds have quantized weights, and take and return floats.

    qconfig_spec: classes, or names of layers; a dict gives each the QConfig whose weight observer is used, None for none.
    dtype: of the weights. qint8: by default nn.Linear and recurrent layers and cells; nn.MultiheadAttention may be asked for.
    quint8, quint4x2: by default nn.Embedding and nn.EmbeddingBag; those that are asked for beside others are always quint8 unless
    this says quint4x2. mapping: the class for each kind.
    Raises ValueError for a dtype that is not supported, or where nothing was quantized.

    Example:
        >>> quantize_dynamic(nn.Sequential(nn.Linear(2, 3), nn.ReLU()), {nn.Linear}, dtype=minidl.qint8)
        Sequential(
          (0): DynamicQuantizedLinear(in_features=2, out_features=3, dtype=torch.qint8, qscheme=torch.per_tensor_affine)
          (1): ReLU()
        )
    """
    if dtype not in (qint8, quint8, quint4x2):
        raise ValueError(f"quantize_dynamic: dtype is qint8, or quint8 or quint4x2 for embeddings, got {dtype!r}")
    if qconfig_spec is None:
        qconfig_spec = {linear.Linear, *RECURRENT} if dtype is qint8 else set(TABLES)
    mapping = DYNAMIC if mapping is None else mapping
    unknown = [kind for kind in qconfig_spec if isinstance(kind, type) and kind not in mapping]
    if unknown:
        known = ", ".join(sorted(kind.__name__ for kind in mapping))
        raise ValueError(
            f"quantize_dynamic: no quantized form of {', '.join(k.__name__ for k in unknown)}; there are {known}"
        )
    model = model if inplace else copy.deepcopy(model)
    chosen: dict[Module, Any] = {}
    for name, layer in model.named_modules(remove_duplicate=False):
        for key in (type(layer), name):  # a name says more than a class
            if key in qconfig_spec and type(layer) in mapping:
                chosen[layer] = qconfig_spec[key] if isinstance(qconfig_spec, dict) else _usual(type(layer), dtype)
    chosen = {layer: qconfig for layer, qconfig in chosen.items() if qconfig is not None}
    if not chosen:
        wanted = ", ".join(k.__name__ if isinstance(k, type) else repr(k) for k in qconfig_spec)
        raise ValueError(f"quantize_dynamic: the model has no layer of {wanted}")

    def new(layer: Any) -> Module | None:
        if layer not in chosen:
            return None
        layer.qconfig = chosen[layer]
        return mapping[type(layer)].from_float(layer)

    return _replaced(model, new).eval()


def _usual(kind: type, dtype: Any) -> Any:
    """The QConfig of a kind of layer for which none was given."""
    if kind not in TABLES:
        return default_dynamic_qconfig
    return float_qparams_weight_only_qconfig_4bit if dtype is quint4x2 else float_qparams_weight_only_qconfig


def propagate_qconfig_(module: Module, qconfig_dict: dict[Any, Any] | None = None) -> None:
    """Give each layer below that has no qconfig that of its parent, or what the dict says for its name or its class.

    A qconfig of None keeps a layer, and those below it, float.
    """
    given = qconfig_dict or {}

    def walk(layer: Module, path: str, inherited: Any) -> None:
        own = layer.__dict__["qconfig"] if "qconfig" in layer.__dict__ else inherited
        own = given.get(path, given.get(type(layer), own))
        layer.qconfig = own
        for name, child in layer.named_children():
            if not isinstance(child, (ObserverBase, FakeQuantize)):
                walk(child, f"{path}.{name}" if path else name, own)

    walk(module, "", given.get("", None))


def prepare(model: Module, inplace: bool = False) -> Module:
    """A copy of a float model in which the results of layers are observed, as `qconfig` of the model and its layers says.

    Run batches of data through it, and then convert() it. Raises ValueError if there is no qconfig, AssertionError for a model in
    training, whose dropout and batch normalization would change what is observed.
    """
    if model.training:
        raise AssertionError(
            "prepare: the model is in training; call model.eval() first, or use prepare_qat to train it quantized"
        )
    _check_not_observed("prepare", model)
    model = model if inplace else copy.deepcopy(model)
    return _observed("prepare", model, STATIC)


def _check_not_observed(name: str, model: Module) -> None:
    if any(isinstance(layer, (ObserverBase, FakeQuantize)) for layer in model.modules()):
        raise ValueError(
            f"{name}: the model has observers already; run data through it and convert() it, or begin anew"
        )


def prepare_qat(model: Module, mapping: dict[type, Any] | None = None, inplace: bool = False) -> Module:
    """A copy of a model in training whose weights and results go through fake quantization, as `qconfig` says.

    Train it, make a new optimizer of its parameters first, and convert(model.eval()) it.
    Raises ValueError if there is no qconfig, AssertionError for a model in evaluation.
    """
    if not model.training:
        raise AssertionError("prepare_qat only works on models in training mode: call model.train() first")
    _check_not_observed("prepare_qat", model)
    model = model if inplace else copy.deepcopy(model)
    propagate_qconfig_(model)
    table = QAT if mapping is None else mapping
    model = _replaced(model, lambda layer: table[type(layer)].from_float(layer) if _wanted(layer, table) else None)
    return _observed("prepare_qat", model, STATIC)


def _wanted(layer: Module, table: dict[type, Any]) -> bool:
    return type(layer) in table and getattr(layer, "qconfig", None) is not None


def _observed(name: str, model: Module, table: dict[type, Any]) -> Module:
    propagate_qconfig_(model)
    observed = 0
    for layer in dict.fromkeys(_outermost(model, table)):  # one that stands in several places is observed once
        if _wanted(layer, table) and not isinstance(layer, stubs.DeQuantStub):
            layer.activation_post_process = FIXED.get(type(layer), layer.qconfig.activation)()
            if not isinstance(layer, stubs.FloatFunctional):
                layer.register_forward_hook(_observe)
            observed += 1
    if not observed:
        raise ValueError(
            f"{name}: nothing to observe: set model.qconfig = get_default_qconfig() first, on a model with layers such as Linear or "
            "Conv2d"
        )
    return model


def _outermost(model: Module, table: dict[type, Any]) -> list[Module]:
    """The layers that convert() will replace: those of the table, not what is inside of them."""
    if type(model) in table:
        return [model]
    return [found for child in model.children() for found in _outermost(child, table)]


def _observe(layer: Any, args: tuple[Any, ...], output: Any) -> Any:
    return layer.activation_post_process(output)


def convert(module: Module, mapping: dict[type, Any] | None = None, inplace: bool = False) -> Module:
    """A copy of a prepared model, calibrated or trained, with quantized layers in place of the observed ones.

    Raises RuntimeError where a layer observed nothing, ValueError for a model that was not prepared.
    """
    module = module if inplace else copy.deepcopy(module)
    table = STATIC if mapping is None else mapping
    if not any(isinstance(layer, (ObserverBase, FakeQuantize)) for layer in module.modules()):
        raise ValueError(
            "convert: the model has no observers: use prepare() and run data through it, or prepare_qat() and train it"
        )

    def new(layer: Any) -> Module | None:
        if not _wanted(layer, table):
            return None
        for key, hook in list(layer._forward_hooks.items()):
            if hook is _observe:
                del layer._forward_hooks[key]
        return table[type(layer)].from_float(layer)

    return _replaced(module, new)


def _replaced(
    module: Module, new: Callable[[Module], Module | None], done: dict[Module, Module] | None = None
) -> Module:
    """A model in which `new` has been asked for each layer, from the outside in, what to put in its place.

    A layer that stands in several places is replaced by one layer.
    """
    done = {} if done is None else done
    if module in done:
        return done[module]
    found = new(module)
    if found is not None:
        found.train(module.training)
        done[module] = found
        return found
    done[module] = module
    for name, child in module._modules.items():
        if child is not None:
            setattr(module, name, _replaced(child, new, done))
    return module


def default_eval_fn(model: Module, calib_data: Any) -> None:
    """Run the inputs of (input, target) pairs through a model: a run_fn for quantize()."""
    for data, _ in calib_data:
        model(data)


def quantize(
    model: Module, run_fn: Callable[..., Any], run_args: Any, mapping: Any = None, inplace: bool = False
) -> Module:
    """prepare, run_fn(model, *run_args), which runs data through it, and convert."""
    model = prepare(model, inplace)
    run_fn(model, *run_args)
    return convert(model, mapping, inplace=True)


def quantize_qat(model: Module, run_fn: Callable[..., Any], run_args: Any, inplace: bool = False) -> Module:
    """prepare_qat, run_fn(model, *run_args), which trains it, and convert."""
    model = prepare_qat(model.train(), inplace=inplace)
    run_fn(model, *run_args)
    return convert(model.eval(), inplace=True)
