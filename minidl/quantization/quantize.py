"""quantize_dynamic."""
from __future__ import annotations
import copy
from typing import Any
from ..dtypes import qint8, quantized_dtype
from ..nn.linear import Linear
from ..nn.attention import MultiheadAttention
from ..nn.module import Module
from ..nn.rnn import LSTM
from ..nn.sparse import Embedding
from . import dynamic
from .qconfig import default_dynamic_qconfig, float_qparams_weight_only_qconfig

DYNAMIC: dict[type, Any] = {
    Linear: dynamic.Linear, LSTM: dynamic.LSTM, Embedding: dynamic.Embedding, MultiheadAttention: dynamic.MultiheadAttention,
}
def quantize_dynamic(model: Module, qconfig_spec: Any = None, dtype: Any = qint8, mapping: Any = None, inplace: bool = False) -> Module:
    if not inplace:
        model = copy.deepcopy(model)
    for name, child in list(model._modules.items()):
        if type(child) in DYNAMIC and type(child) in qconfig_spec:
            setattr(model, name, DYNAMIC[type(child)].from_float(child))
        else:
            quantize_dynamic(child, qconfig_spec, inplace=True)
    return model
