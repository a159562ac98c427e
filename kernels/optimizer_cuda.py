"""The launchers of optimizer.cu: steps of Adam and SGD on a GPU, for one array or for all of a model at once."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import array_module
from .common import Array
from .cuda import Entry, Source, address, blocks, launchable
from .optimizer import adam, adam_many, adam_scalars, sgd, sgd_many, sgd_scalars

CU = Source(
    "optimizer.cu",
    Entry("adam_flat", "adam", registers=64),
    Entry("adam_counted", "adam", registers=64, shared=8),
    Entry("adam_table", "adam_many", registers=64),
    Entry("sgd_flat", "sgd", registers=48),
    Entry("sgd_table", "sgd_many", registers=48),
)
CHUNK, THREADS = 16384, 256  # elements of one array that a block takes, as in the file


def supports_cuda(param: Array, grad: Array, *rest: Any) -> bool:
    states = [a for a in rest if hasattr(a, "shape")]
    return param.size > 0 and launchable(param, grad, *states) and all(a.shape == param.shape for a in (grad, *states))


def supports_many_cuda(params: list[Array], *rest: Any) -> bool:
    lists = [arrays for arrays in rest if isinstance(arrays, list)]
    return bool(params) and all(supports_cuda(*arrays) for arrays in zip(params, *lists, strict=True))


def launch_table(entry: str, scalars: tuple[float, ...], params: list[Array], *states: list[Array] | None) -> None:
    """One launch for all arrays: their addresses, the first chunk of each, and their sizes go to the device as tables."""
    xp = array_module(params[0])
    lists = (params, *states)
    addresses = [[0] * len(params) if arrays is None else [address(a) for a in arrays] for arrays in lists]
    sizes = np.array([p.size for p in params])
    chunks = np.concatenate(([0], np.cumsum(-(-sizes // CHUNK)))).astype(np.int32)
    tables = (xp.asarray(np.array(addresses, np.uint64)), xp.asarray(chunks), xp.asarray(sizes))
    CU.launch(entry, int(chunks[-1]), THREADS, *tables, len(params), *scalars)


def supports_adam(
    param: Array, grad: Array, exp_avg: Array, exp_avg_sq: Array, max_exp_avg_sq: Array | None, step: Any, *rest: Any
) -> bool:
    counted = not hasattr(step, "dtype") or launchable(step)
    return counted and supports_cuda(param, grad, exp_avg, exp_avg_sq, max_exp_avg_sq)


@adam.variant("cuda", device="cuda", supports=supports_adam)
def adam_cuda(
    param: Array,
    grad: Array,
    exp_avg: Array,
    exp_avg_sq: Array,
    max_exp_avg_sq: Array | None,
    step: int | Array,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    decoupled: bool,
    maximize: bool,
) -> None:
    arrays = (param, grad, exp_avg, exp_avg_sq, max_exp_avg_sq)
    grid = blocks(param.size, CHUNK)
    if not hasattr(step, "dtype"):
        scalars = adam_scalars(step, lr, beta1, beta2, eps, weight_decay, decoupled, maximize)
        CU.launch("adam_flat", grid, THREADS, *arrays, param.size, *scalars)
        return
    sign, keep, l2, rate1, _, rate2, *_ = adam_scalars(1, lr, beta1, beta2, eps, weight_decay, decoupled, maximize)
    numbers = (sign, keep, l2, rate1, rate2, eps, lr, beta1, beta2)
    CU.launch("adam_counted", grid, THREADS, *arrays, step, param.size, *numbers)


@adam_many.variant("cuda", device="cuda", supports=supports_many_cuda)
def adam_many_cuda(
    params: list[Array],
    grads: list[Array],
    exp_avgs: list[Array],
    exp_avg_sqs: list[Array],
    max_exp_avg_sqs: list[Array] | None,
    step: int,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    decoupled: bool,
    maximize: bool,
) -> None:
    scalars = adam_scalars(step, lr, beta1, beta2, eps, weight_decay, decoupled, maximize)
    launch_table("adam_table", scalars, params, grads, exp_avgs, exp_avg_sqs, max_exp_avg_sqs)


@sgd.variant("cuda", device="cuda", supports=supports_cuda)
def sgd_cuda(
    param: Array,
    grad: Array,
    momentum_buffer: Array | None,
    lr: float,
    momentum: float,
    dampening: float,
    weight_decay: float,
    nesterov: bool,
    maximize: bool,
    first: bool,
) -> None:
    scalars = sgd_scalars(lr, momentum, dampening, weight_decay, nesterov, maximize, first)
    CU.launch("sgd_flat", blocks(param.size, CHUNK), THREADS, param, grad, momentum_buffer, param.size, *scalars)


@sgd_many.variant("cuda", device="cuda", supports=supports_many_cuda)
def sgd_many_cuda(
    params: list[Array],
    grads: list[Array],
    momentum_buffers: list[Array] | None,
    lr: float,
    momentum: float,
    dampening: float,
    weight_decay: float,
    nesterov: bool,
    maximize: bool,
    first: bool,
) -> None:
    scalars = sgd_scalars(lr, momentum, dampening, weight_decay, nesterov, maximize, first)
    launch_table("sgd_table", scalars, params, grads, momentum_buffers)
