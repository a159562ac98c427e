"""One step of Adam, SGD and RMSprop, in place, on a parameter and its state.

The arrays have one shape. `adam_many` and `sgd_many` take lists of them, all with the same options: for small parameters the
way to the loop costs more than the loop. The gradient is never changed. Numba's gain is that the whole step is one loop: each
array is read and written once, where a line of NumPy reads and writes memory for every operation. On a GPU it is optimizer.cu, which
optimizer_cuda.py launches.

Sources: Kingma and Ba, "Adam", 2014; Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2017 (AdamW);
Reddi, Kale and Kumar, "On the Convergence of Adam and Beyond", 2018 (AMSGrad); Tieleman and Hinton, lecture 6.5 of
"Neural Networks for Machine Learning", 2012 (RMSprop); Sutskever and others, "On the importance of initialization and
momentum in deep learning", 2013 (Nesterov momentum). Where they leave a choice, it is PyTorch's.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from . import Kernel, array_module
from .common import FLOAT32, Array
from .jit import jit
from .parallel import FEW, MEMORY, share_rows


@Kernel
def adam(
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
    """One step, in place, of Adam, or of AdamW if `decoupled`; `step` is 1 in the first call.

    `step` may be an array without dimensions, which a graph of a GPU's work reads anew at every replay.
    AMSGrad when max_exp_avg_sq is an array: the largest exp_avg_sq so far divides instead of the present one.
    """
    xp = array_module(param)
    if maximize:
        grad = -grad
    if decoupled:
        param *= 1 - lr * weight_decay
    elif weight_decay:
        grad = grad + weight_decay * param
    exp_avg += (1 - beta1) * (grad - exp_avg)
    exp_avg_sq *= beta2
    exp_avg_sq += (1 - beta2) * grad * grad
    second = exp_avg_sq
    if max_exp_avg_sq is not None:
        xp.maximum(max_exp_avg_sq, exp_avg_sq, out=max_exp_avg_sq)
        second = max_exp_avg_sq
    step_size, correction = corrections(step, lr, beta1, beta2, param.dtype)
    param -= step_size * exp_avg / (xp.sqrt(second) / correction + eps)


def corrections(step: Any, lr: float, beta1: float, beta2: float, dtype: Any) -> tuple[Any, Any]:
    """What the means, which begin at 0, are made up for with: lr / (1 - beta1^step) and the root of 1 - beta2^step."""
    if not hasattr(step, "dtype"):
        return lr / (1 - beta1**step), math.sqrt(1 - beta2**step)
    count = step.astype(np.float64)
    return (lr / (1 - beta1**count)).astype(dtype), array_module(step).sqrt(1 - beta2**count).astype(dtype)


@Kernel
def sgd(
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
    """One step of stochastic gradient descent, in place.

    momentum_buffer is an array exactly when momentum is not 0; in the `first` step it takes the gradient as it is.
    """
    if maximize:
        grad = -grad
    if weight_decay:
        grad = grad + weight_decay * param
    if momentum_buffer is not None:
        if first:
            momentum_buffer[...] = grad
        else:
            momentum_buffer *= momentum
            momentum_buffer += (1 - dampening) * grad
        grad = grad + momentum * momentum_buffer if nesterov else momentum_buffer
    param -= lr * grad


@Kernel
def adam_many(
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
    """`adam` for several parameters with the same options: on a GPU one launch for all of them, on a CPU less to do for each."""
    largest = max_exp_avg_sqs or [None] * len(params)
    for arrays in zip(params, grads, exp_avgs, exp_avg_sqs, largest, strict=True):
        adam(*arrays, step, lr, beta1, beta2, eps, weight_decay, decoupled, maximize)


@Kernel
def sgd_many(
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
    """`sgd` for several parameters with the same options: on a GPU one launch for all of them, on a CPU less to do for each."""
    buffers = momentum_buffers or [None] * len(params)
    for arrays in zip(params, grads, buffers, strict=True):
        sgd(*arrays, lr, momentum, dampening, weight_decay, nesterov, maximize, first)


@Kernel
def rmsprop(
    param: Array,
    grad: Array,
    square_avg: Array,
    grad_avg: Array | None,
    momentum_buffer: Array | None,
    lr: float,
    alpha: float,
    eps: float,
    weight_decay: float,
    momentum: float,
    maximize: bool,
) -> None:
    """One step of RMSprop, in place.

    Centered (divided by a variance, not a mean square) when grad_avg is an array; with momentum when momentum_buffer
    is one.
    """
    xp = array_module(param)
    if maximize:
        grad = -grad
    if weight_decay:
        grad = grad + weight_decay * param
    square_avg *= alpha
    square_avg += (1 - alpha) * grad * grad
    second = square_avg
    if grad_avg is not None:
        grad_avg += (1 - alpha) * (grad - grad_avg)
        second = square_avg - grad_avg * grad_avg
    update = grad / (xp.sqrt(second) + eps)
    if momentum_buffer is not None:
        momentum_buffer *= momentum
        momentum_buffer += update
        update = momentum_buffer
    param -= lr * update


# Numba. Loops without options inside: an option that is off is a factor of 0 or 1, and a missing state array is
# replaced by another one that the loop then leaves alone. Scalars come as Python floats and are rounded to float32
# before the loop. a * b + c may be one instruction; nothing else differs from the reference.


def alike(param: Array, *others: Array | None) -> bool:
    """Whether the arrays are float32, C-contiguous, of one shape, and in the CPU's memory."""
    shape = param.shape
    for a in others:
        if a is not None and (a.shape != shape or a.dtype != FLOAT32 or not a.flags.c_contiguous):
            return False
    return param.__class__ is np.ndarray and param.dtype == FLOAT32 and param.flags.c_contiguous


def supports(param: Array, grad: Array, *rest: Any) -> bool:
    return alike(param, grad, *(state for state in rest if isinstance(state, np.ndarray)))


@adam.variant("numba", device="cpu", supports=supports)  # a step that is an array has another shape: not supported
def adam_numba(
    param: Array,
    grad: Array,
    exp_avg: Array,
    exp_avg_sq: Array,
    max_exp_avg_sq: Array | None,
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
    arrays = param.ravel(), grad.ravel(), exp_avg.ravel(), exp_avg_sq.ravel()
    if max_exp_avg_sq is None:
        share_rows(adam_loop, 7 * MEMORY, arrays, *scalars)
    else:
        share_rows(amsgrad_loop, 9 * MEMORY, (*arrays, max_exp_avg_sq.ravel()), *scalars)


@adam_many.variant("numba", device="cpu")
def adam_many_numba(
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
    options = step, lr, beta1, beta2, eps, weight_decay, decoupled, maximize
    if max_exp_avg_sqs is not None:
        adam_many.reference(params, grads, exp_avgs, exp_avg_sqs, max_exp_avg_sqs, *options)
        return
    scalars = adam_scalars(*options)
    for param, grad, exp_avg, exp_avg_sq in zip(params, grads, exp_avgs, exp_avg_sqs, strict=True):
        if alike(param, grad, exp_avg, exp_avg_sq):
            arrays = param.ravel(), grad.ravel(), exp_avg.ravel(), exp_avg_sq.ravel()
            share_rows(adam_loop, 7 * MEMORY, arrays, *scalars)
        else:
            adam.reference(param, grad, exp_avg, exp_avg_sq, None, *options)


def adam_scalars(
    step: int, lr: float, beta1: float, beta2: float, eps: float, weight_decay: float, decoupled: bool, maximize: bool
) -> tuple[float, ...]:
    """The numbers of the loop: sign, keep, l2, rate1, beta2, rate2, step_size, correction, eps."""
    sign = -1.0 if maximize else 1.0
    keep, l2 = (1.0 - lr * weight_decay, 0.0) if decoupled else (1.0, float(weight_decay))
    return (sign, keep, l2, 1 - beta1, float(beta2), 1 - beta2, *corrections(step, lr, beta1, beta2, None), float(eps))


@jit(fastmath={"contract"}, nogil=True)
def adam_loop(
    param: Any,
    grad: Any,
    exp_avg: Any,
    exp_avg_sq: Any,
    sign: Any,
    keep: Any,
    l2: Any,
    rate1: Any,
    beta2: Any,
    rate2: Any,
    step_size: Any,
    correction: Any,
    eps: Any,
) -> None:
    sign, keep, l2, rate1 = np.float32(sign), np.float32(keep), np.float32(l2), np.float32(rate1)
    beta2, rate2, eps = np.float32(beta2), np.float32(rate2), np.float32(eps)
    step_size = np.float32(step_size)
    correction = np.float32(1 / correction)  # to multiply with: the loop's time is that of its roots and divisions
    for i in range(param.size):
        p = keep * param[i]
        g = sign * grad[i] + l2 * p
        m = exp_avg[i] + rate1 * (g - exp_avg[i])
        v = beta2 * exp_avg_sq[i] + rate2 * g * g
        exp_avg[i] = m
        exp_avg_sq[i] = v
        param[i] = p - step_size * m / (math.sqrt(v) * correction + eps)


@jit(fastmath={"contract"}, nogil=True)
def amsgrad_loop(
    param: Any,
    grad: Any,
    exp_avg: Any,
    exp_avg_sq: Any,
    max_exp_avg_sq: Any,
    sign: Any,
    keep: Any,
    l2: Any,
    rate1: Any,
    beta2: Any,
    rate2: Any,
    step_size: Any,
    correction: Any,
    eps: Any,
) -> None:
    sign, keep, l2, rate1 = np.float32(sign), np.float32(keep), np.float32(l2), np.float32(rate1)
    beta2, rate2, eps = np.float32(beta2), np.float32(rate2), np.float32(eps)
    step_size = np.float32(step_size)
    correction = np.float32(1 / correction)  # to multiply with: the loop's time is that of its roots and divisions
    for i in range(param.size):
        p = keep * param[i]
        g = sign * grad[i] + l2 * p
        m = exp_avg[i] + rate1 * (g - exp_avg[i])
        v = beta2 * exp_avg_sq[i] + rate2 * g * g
        largest = v if v > max_exp_avg_sq[i] else max_exp_avg_sq[i]
        exp_avg[i] = m
        exp_avg_sq[i] = v
        max_exp_avg_sq[i] = largest
        param[i] = p - step_size * m / (math.sqrt(largest) * correction + eps)


@sgd.variant("numba", device="cpu", supports=supports)
def sgd_numba(
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
    buffers = None if momentum_buffer is None else [momentum_buffer]
    sgd_many_numba([param], [grad], buffers, lr, momentum, dampening, weight_decay, nesterov, maximize, first)


@sgd_many.variant("numba", device="cpu")
def sgd_many_numba(
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
    options = lr, momentum, dampening, weight_decay, nesterov, maximize, first
    scalars = sgd_scalars(*options)
    few_scalars = scalars[0], scalars[5], scalars[6]
    buffers = momentum_buffers or [None] * len(params)
    for param, grad, buffer in zip(params, grads, buffers, strict=True):
        if not alike(param, grad, buffer):
            sgd.reference(param, grad, buffer, *options)
        elif buffer is None:
            flat = param.ravel(), grad.ravel()
            if param.size < FEW:
                sgd_loop(*flat, *few_scalars)
            else:
                share_rows(sgd_loop, 3 * MEMORY, flat, *few_scalars)
        else:
            share_rows(momentum_loop, 5 * MEMORY, (param.ravel(), grad.ravel(), buffer.ravel()), *scalars)


def sgd_scalars(
    lr: float, momentum: float, dampening: float, weight_decay: float, nesterov: bool, maximize: bool, first: bool
) -> tuple[float, ...]:
    """The numbers of the loop: lr, decay, rate, of_buffer, of_grad, weight_decay, sign."""
    decay, rate = (0.0, 1.0) if first else (float(momentum), 1.0 - dampening)
    of_buffer, of_grad = (float(momentum), 1.0) if nesterov else (1.0, 0.0)  # the update is their mixture
    return float(lr), decay, rate, of_buffer, of_grad, float(weight_decay), -1.0 if maximize else 1.0


@jit(fastmath={"contract"}, nogil=True)
def sgd_loop(param: Any, grad: Any, lr: Any, weight_decay: Any, sign: Any) -> None:
    lr, weight_decay, sign = np.float32(lr), np.float32(weight_decay), np.float32(sign)
    for i in range(param.size):
        param[i] -= lr * (sign * grad[i] + weight_decay * param[i])


@jit(fastmath={"contract"}, nogil=True)
def momentum_loop(
    param: Any,
    grad: Any,
    buffer: Any,
    lr: Any,
    decay: Any,
    rate: Any,
    of_buffer: Any,
    of_grad: Any,
    weight_decay: Any,
    sign: Any,
) -> None:
    lr, decay, rate = np.float32(lr), np.float32(decay), np.float32(rate)
    of_buffer, of_grad = np.float32(of_buffer), np.float32(of_grad)
    weight_decay, sign = np.float32(weight_decay), np.float32(sign)
    for i in range(param.size):
        g = sign * grad[i] + weight_decay * param[i]
        b = decay * buffer[i] + rate * g
        buffer[i] = b
        param[i] -= lr * (of_grad * g + of_buffer * b)


@rmsprop.variant("numba", device="cpu", supports=supports)
def rmsprop_numba(
    param: Array,
    grad: Array,
    square_avg: Array,
    grad_avg: Array | None,
    momentum_buffer: Array | None,
    lr: float,
    alpha: float,
    eps: float,
    weight_decay: float,
    momentum: float,
    maximize: bool,
) -> None:
    sign = -1.0 if maximize else 1.0
    centered, with_momentum = grad_avg is not None, momentum_buffer is not None
    mean = square_avg if grad_avg is None else grad_avg
    buffer = square_avg if momentum_buffer is None else momentum_buffer
    arrays = tuple(a.reshape(-1) for a in (param, grad, square_avg, mean, buffer))
    scalars = (float(lr), float(alpha), 1 - alpha, float(eps), float(weight_decay), float(momentum), sign)
    share_rows(rmsprop_loop, 6 * MEMORY, arrays, centered, with_momentum, *scalars)


@jit(fastmath={"contract"}, nogil=True)
def rmsprop_loop(
    param: Any,
    grad: Any,
    square_avg: Any,
    grad_avg: Any,
    buffer: Any,
    centered: Any,
    with_momentum: Any,
    lr: Any,
    alpha: Any,
    rate: Any,
    eps: Any,
    weight_decay: Any,
    momentum: Any,
    sign: Any,
) -> None:
    lr, alpha, rate, eps = np.float32(lr), np.float32(alpha), np.float32(rate), np.float32(eps)
    weight_decay, momentum, sign = np.float32(weight_decay), np.float32(momentum), np.float32(sign)
    for i in range(param.size):
        g = sign * grad[i] + weight_decay * param[i]
        s = alpha * square_avg[i] + rate * g * g
        square_avg[i] = s
        if centered:
            m = grad_avg[i] + rate * (g - grad_avg[i])
            grad_avg[i] = m
            s -= m * m
        update = g / (math.sqrt(s) + eps)
        if with_momentum:
            update += momentum * buffer[i]
            buffer[i] = update
        param[i] -= lr * update


from . import optimizer_cuda as optimizer_cuda  # noqa: E402  # its variants need the kernels, which stand above
