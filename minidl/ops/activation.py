"""Activation functions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..autograd.op import Op
from ..autograd.precision import under_autocast
from ..kernels import activation as kernels
from ..kernels import array_module, pointwise
from ..tensor import Tensor, method
from ..testing.samples import Sample, samples
from .define import public
from .exponential import exp
from .selection import where
from .shape import normalize_dim
from .special import erf
from .trigonometric import tanh

SMALL = 2**10  # elements from which on the compiled loop pays


class ReLU(Op):
    """max(x, 0)."""

    has_bfloat16_kernel = has_bfloat16_rule = True

    @staticmethod
    def forward(x: Any) -> Any:
        return np.maximum(x, 0) if x.size < SMALL and x.__class__ is np.ndarray else kernels.relu(x)

    def backward(self, g: Any, out: Any) -> Any:
        return kernels.relu_backward(g, out)

    def composite(self, g: Any, out: Any) -> Any:
        return where(out.array <= 0, 0.0, g)


class Sigmoid(Op):
    """1 / (1 + e^-x)."""

    complex_rule = True
    promotion = "float"

    @staticmethod
    def forward(x: Any) -> Any:
        return kernels.sigmoid(x)

    def backward(self, g: Any, out: Any) -> Any:
        return g * out * (1 - out)


class GELU(Op):
    """x times the normal distribution's Phi(x) (Hendrycks & Gimpel, 2016)."""

    has_bfloat16_kernel = has_bfloat16_rule = True

    def forward(self, x: Any, *, approximate: str) -> Any:
        self.approximate = approximate
        return kernels.gelu(x, approximate)

    def backward(self, g: Any, x: Any) -> Any:
        return kernels.gelu_backward(g, x, self.approximate)

    def composite(self, g: Any, x: Any) -> Any:
        return g * gelu_slope(x, self.approximate)


def gelu_slope(x: Tensor, approximate: str) -> Tensor:
    """The derivative of GELU, in differentiable operations."""
    if approximate == "none":
        return 0.5 * (1 + erf(x * math.sqrt(0.5))) + x * exp(-0.5 * x * x) * (1 / math.sqrt(2 * math.pi))
    scale = math.sqrt(2 / math.pi)
    t = tanh(scale * (x + 0.044715 * x * x * x))
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * scale * (1 + 3 * 0.044715 * x * x)


class BiasActivation(Op):
    """activation(x + bias) for x (..., D) and bias (D,), in one pass over memory; activation: "relu", "sigmoid" or "tanh".

    The gradient of the bias comes with that of x, in another pass. This and BiasGELU are what a linear layer and its activation
    become on a GPU, see nn/fused.py.
    """

    has_bfloat16_kernel = has_bfloat16_rule = True
    precision = "half"

    def forward(self, x: Any, bias: Any, *, activation: str) -> Any:
        _check_bias(type(self).__name__, x, bias)
        self.activation = activation
        return kernels.bias_activation(x, bias, activation)

    def backward(self, g: Any, out: Any) -> Any:
        return kernels.bias_activation_backward(g, out, self.activation)

    def composite(self, g: Any, out: Any) -> Any:
        if self.activation == "relu":
            d = where(out.array <= 0, 0.0, g)
        else:
            d = g * out * (1 - out) if self.activation == "sigmoid" else g * (1 - out * out)
        return d, _of_bias(d)


class BiasGELU(Op):
    """gelu(x + bias) for x (..., D) and bias (D,), as BiasActivation; approximate: "none" or "tanh"."""

    has_bfloat16_kernel = has_bfloat16_rule = True
    precision = "half"

    def forward(self, x: Any, bias: Any, *, approximate: str) -> Any:
        _check_bias(type(self).__name__, x, bias)
        self.approximate = approximate
        return kernels.bias_activation(x, bias, "gelu" if approximate == "none" else "gelu_tanh")

    def backward(self, g: Any, x: Any, bias: Any) -> Any:
        return kernels.bias_gelu_backward(g, x, bias, self.approximate)

    def composite(self, g: Any, x: Any, bias: Any) -> Any:
        d = g * gelu_slope(x + bias, self.approximate)
        return d, _of_bias(d)


def _check_bias(name: str, x: Any, bias: Any) -> None:
    if x.dtype != bias.dtype or x.shape[-1:] != bias.shape:
        raise RuntimeError(
            f"{name}: expected a bias of {x.dtype}{list(x.shape[-1:])}, a number for each of the last dimension, got "
            f"{bias.dtype}{list(bias.shape)}"
        )


def _of_bias(d: Tensor) -> Tensor:
    """The gradient of a bias (D,) from that of the sum (..., D)."""
    return d.reshape(math.prod(d.shape[:-1]), d.shape[-1]).sum(0)


class SiLU(Op):
    """x sigmoid(x), also called swish."""

    complex_rule = True
    promotion = "float"

    @staticmethod
    def forward(x: Any) -> Any:
        return pointwise.silu(x)

    def backward(self, g: Any, x: Any) -> Any:
        return pointwise.silu_backward(g, x)

    def composite(self, g: Any, x: Any) -> Any:
        s = sigmoid(x)
        return g * (s * (1 + x * (1 - s)))


class Mish(Op):
    """x tanh(softplus(x)) (Misra, 2019)."""

    promotion = "float"

    @staticmethod
    def forward(x: Any) -> Any:
        return pointwise.mish(x)

    def backward(self, g: Any, x: Any) -> Any:
        return pointwise.mish_backward(g, x)

    def composite(self, g: Any, x: Any) -> Any:
        t = tanh(softplus(x))
        return g * (t + x * (1 - t * t) * sigmoid(x))


class Softplus(Op):
    """log(1 + e^(beta x)) / beta, and x where beta x passes the threshold."""

    precision = "full on cuda"

    def forward(self, x: Any, *, beta: float, threshold: float) -> Any:
        self.how = beta, threshold
        return pointwise.softplus(x, beta, threshold)

    def backward(self, g: Any, x: Any) -> Any:
        return pointwise.softplus_backward(g, x, *self.how)

    def composite(self, g: Any, x: Any) -> Any:
        beta, threshold = self.how
        return g * where(x * beta > threshold, 1.0, sigmoid(x * beta))


class LogSigmoid(Op):
    """log(sigmoid(x)), without underflow."""

    @staticmethod
    def forward(x: Any) -> Any:
        return -pointwise.softplus(-x, 1.0, math.inf)

    def backward(self, g: Any, x: Any) -> Any:
        return pointwise.softplus_backward(g, -x, 1.0, math.inf)

    def composite(self, g: Any, x: Any) -> Any:
        return g * sigmoid(-x)


class LeakyReLU(Op):
    """x where positive, slope x elsewhere (Maas et al., 2013)."""

    def forward(self, x: Any, *, slope: float) -> Any:
        self.slope = slope
        return pointwise.leaky_relu(x, slope)

    def backward(self, g: Any, x: Any) -> Any:
        return pointwise.leaky_relu_backward(g, x, self.slope)

    def composite(self, g: Any, x: Any) -> Any:
        return where(x > 0, g, g * self.slope)


class HardSwish(Op):
    """x times (x + 3) / 6 held within [0, 1] (Howard et al., 2019)."""

    @staticmethod
    def forward(x: Any) -> Any:
        return pointwise.hard_swish(x)

    def backward(self, g: Any, x: Any) -> Any:
        return pointwise.hard_swish_backward(g, x)

    def composite(self, g: Any, x: Any) -> Any:
        return where(x <= -3, 0.0, where(x < 3, g * (2 * x + 3) / 6, g))


class HardTanh(Op):
    """x held within [low, high]; no gradient at the ends."""

    def forward(self, x: Any, *, low: float, high: float) -> Any:
        self.ends = low, high
        return pointwise.hard_tanh(x, low, high)

    def backward(self, g: Any, x: Any) -> Any:
        return pointwise.hard_tanh_backward(g, x, *self.ends)

    def composite(self, g: Any, x: Any) -> Any:
        low, high = self.ends
        return where((x <= low) | (x >= high), 0.0, g)


class ELU(Op):
    """scale x where positive, scale alpha (e^(inner x) - 1) elsewhere (Clevert et al., 2015)."""

    def forward(self, x: Any, *, alpha: float, scale: float, inner: float) -> Any:
        self.how = alpha, scale, inner
        return pointwise.elu(x, *self.how)

    def backward(self, g: Any, x: Any) -> Any:
        return pointwise.elu_backward(g, x, *self.how)

    def composite(self, g: Any, x: Any) -> Any:
        alpha, scale, inner = self.how
        return g * where(x > 0, scale, scale * alpha * inner * exp(inner * where(x > 0, 0.0, x)))


class KWinners(Op):
    """x where its score is one of the k largest along a dimension, 0 elsewhere; the gradient passes the winners alone."""

    def forward(self, x: Any, scores: Any, *, k: int, dim: int) -> Any:
        xp = array_module(x)
        self.won = xp.zeros(x.shape, bool)
        if k:
            best = xp.argpartition(scores, x.shape[dim] - k, axis=dim)[(slice(None),) * dim + (slice(-k, None),)]
            xp.put_along_axis(self.won, best, True, dim)
        return xp.where(self.won, x, x.dtype.type(0))

    def backward(self, g: Any) -> Any:
        return where(self.won, g, 0.0), None


_SMOOTH_AWAY_FROM_0 = np.array([[-2.1, -0.7, -0.2], [0.3, 0.9, 1.8]])
for _op in (ReLU, Sigmoid, SiLU, LogSigmoid, Mish, HardSwish):

    @samples(_op)
    def _(make: Any) -> Any:
        yield Sample(_SMOOTH_AWAY_FROM_0)
        yield Sample(np.array([-90.0, 90.0]), note="does not overflow")


@samples(GELU)
def _(make: Any) -> Any:
    yield Sample(make(2, 3), approximate="none")
    yield Sample(make(2, 3), approximate="tanh")


@samples(BiasActivation)
def _(make: Any) -> Any:
    for name in kernels.FROM_RESULT:
        yield Sample(_SMOOTH_AWAY_FROM_0, np.array([0.05, -0.05, 0.1]), activation=name)
    yield Sample(make(2, 2, 3), make(3), activation="tanh", note="a batch of sequences")
    yield Sample(make(3), make(3), activation="sigmoid", note="a vector")


@samples(BiasGELU)
def _(make: Any) -> Any:
    yield Sample(make(2, 3), make(3), approximate="none")
    yield Sample(make(2, 2, 3), make(3), approximate="tanh", note="a batch of sequences")


@samples(Softplus)
def _(make: Any) -> Any:
    yield Sample(make(2, 3), beta=1.5, threshold=20.0)
    yield Sample(np.array([-900.0, 0.5, 900.0]), beta=2.0, threshold=20.0, note="does not overflow")


@samples(HardTanh)
def _(make: Any) -> Any:
    yield Sample(_SMOOTH_AWAY_FROM_0, low=-1.0, high=1.2)


@samples(LeakyReLU)
def _(make: Any) -> Any:
    yield Sample(_SMOOTH_AWAY_FROM_0, slope=0.1)


@samples(ELU)
def _(make: Any) -> Any:
    yield Sample(_SMOOTH_AWAY_FROM_0, alpha=1.5, scale=1.1, inner=0.8)


@samples(KWinners)
def _(make: Any) -> Any:
    x = make.distinct(3, 4, 2)
    yield Sample(x, x, k=2, dim=1)
    yield Sample(make(2, 5), make.distinct(2, 5), k=1, dim=1, note="scores of their own")
    yield Sample(x, x, k=0, dim=0, note="nobody wins")
    yield Sample(x, x, k=3, dim=0, note="all win")


_relu = public(ReLU, "relu", "max(input, 0).")
sigmoid = public(Sigmoid, "sigmoid", "1 / (1 + exp(-input)).")


def _maybe(x: Tensor, result: Tensor, inplace: bool, name: str) -> Tensor:
    """The result, or the input with the result written into it."""
    if not inplace:
        return result
    from ..autograd.inplace import check_writable, write

    check_writable(x, name)
    return write(x, result, name, -1)


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(input, 0)."""
    return input.relu_() if inplace else _relu(input)


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """input times Phi(input); approximate="tanh" is the formula of GPT-2."""
    return GELU.apply(input, approximate=approximate)


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """input times sigmoid(input)."""
    return _maybe(input, SiLU.apply(input), inplace, "silu")


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """input times tanh(softplus(input)) (Misra, 2019)."""
    return _maybe(input, Mish.apply(input), inplace, "mish")


def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + exp(beta input)) / beta, and input itself where beta input passes the threshold."""
    return Softplus.apply(input, beta=beta, threshold=threshold)


def logsigmoid(input: Tensor) -> Tensor:
    """log(sigmoid(input)), without underflow."""
    return LogSigmoid.apply(input)


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """input where positive, negative_slope times it elsewhere."""
    return _maybe(input, LeakyReLU.apply(input, slope=negative_slope), inplace, "leaky_relu")


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """input where positive, alpha (exp(input) - 1) elsewhere."""
    return _maybe(input, ELU.apply(input, alpha=alpha, scale=1.0, inner=1.0), inplace, "elu")


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """input where positive, alpha (exp(input / alpha) - 1) elsewhere (Barron, 2017)."""
    return _maybe(input, ELU.apply(input, alpha=alpha, scale=1.0, inner=1.0 / alpha), inplace, "celu")


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """The self-normalizing ELU (Klambauer et al., 2017)."""
    alpha, scale = 1.6732632423543772, 1.0507009873554805
    return _maybe(input, ELU.apply(input, alpha=alpha, scale=scale, inner=1.0), inplace, "selu")


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """input held within [0, 6]."""
    return hardtanh(input, 0.0, 6.0, inplace)


def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """input held within [min_val, max_val]; no gradient at the ends."""
    if min_val > max_val:
        raise ValueError(f"hardtanh: min_val cannot be greater than max_val, got {min_val} and {max_val}")
    return _maybe(input, HardTanh.apply(input, low=min_val, high=max_val), inplace, "hardtanh")


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """(input + 3) / 6 held within [0, 1]."""
    return _maybe(input, hardtanh(input + 3.0, 0.0, 6.0) / 6.0, inplace, "hardsigmoid")


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """input times hardsigmoid(input) (Howard et al., 2019)."""
    return _maybe(input, HardSwish.apply(input), inplace, "hardswish")


@method()
@under_autocast("half")
def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """input where positive, weight times it elsewhere; one weight, or one per channel (He et al., 2015)."""
    channels = 1 if input.array.ndim < 2 else input.array.shape[1]
    if weight.array.ndim > 1 or weight.numel() not in (1, channels):
        raise RuntimeError(
            f"prelu: Expected `weight` to be one number, or a vector with one for each of the {channels} channels of an input "
            f"of shape {list(input.shape)}, got {list(weight.shape)}"
        )
    if weight.numel() == 1:
        weight = weight.reshape(())
    elif input.array.ndim > 2:
        weight = weight.reshape((-1,) + (1,) * (input.array.ndim - 2))
    return where(input > 0, input, weight * input)


def rrelu(
    input: Tensor, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False, inplace: bool = False
) -> Tensor:
    """leaky_relu with a slope drawn evenly from [lower, upper) per element in training, their mean otherwise."""
    if lower > upper:
        raise RuntimeError(
            f"rrelu: Lower bound should be less than or equal to the upper bound, got {lower} and {upper}"
        )
    slope: Any = (lower + upper) / 2
    if training:
        from .random import rand_like

        slope = rand_like(input) * (upper - lower) + lower
    return _maybe(input, where(input > 0, input, input * slope), inplace, "rrelu")


@method()
def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """input where its size passes lambd, else 0."""
    return where((input >= -lambd) & (input <= lambd), 0.0, input)


def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """input moved towards 0 by lambd, and 0 within lambd of it."""
    if not lambd >= 0:
        raise RuntimeError(f"softshrink: lambd must not be negative, found {lambd}")
    return where(input > lambd, input - lambd, where(input < -lambd, input + lambd, input * 0.0))


def tanhshrink(input: Tensor) -> Tensor:
    """input - tanh(input)."""
    return input - tanh(input)


def softsign(input: Tensor) -> Tensor:
    """input / (1 + |input|)."""
    return input / (input.abs() + 1)


def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """input where it passes the threshold, else value."""
    return _maybe(input, where(input > threshold, input, value), inplace, "threshold")


def kwinners(input: Tensor, k: int, dim: int = -1, scores: Tensor | None = None) -> Tensor:
    """The k largest elements along `dim`, 0 for all others: "k-winners-take-all" (Makhzani & Frey, 2013).

    scores: of input's shape, what is compared in its place. Among equal scores exactly as many win as places are left.
    Raises RuntimeError for a k below 0 or above the size of `dim`, and for scores of another shape.

    Example:
        >>> kwinners(minidl.tensor([3.0, -1.0, 2.0, 5.0]), k=2)
        tensor([3., 0., 0., 5.])
    """
    dim = normalize_dim(dim, input.array.ndim, "kwinners")
    scores = input if scores is None else scores
    if not input.array.ndim or not 0 <= k <= input.array.shape[dim]:
        raise RuntimeError(f"kwinners: k must be from 0 to the size of dim {dim}, got k={k} for {list(input.shape)}")
    if scores.shape != input.shape:
        raise RuntimeError(f"kwinners: scores {list(scores.shape)} must have the shape of input, {list(input.shape)}")
    return KWinners.apply(input, scores.detach(), k=k, dim=dim)


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """The first half along `dim`, gated by the sigmoid of the second (Dauphin et al., 2016)."""
    if not input.array.ndim or input.array.shape[dim] % 2:
        raise RuntimeError(f"glu: halving dimension must be even, but dimension {dim} of {list(input.shape)} is not")
    first, gate = input.chunk(2, dim)
    return first * sigmoid(gate)


__all__ = ["celu", "hardshrink", "prelu", "relu", "rrelu", "selu", "sigmoid", "threshold"]
