"""Recurrent layers: RNN, LSTM and GRU over whole sequences, and their cells for one step at a time."""

from __future__ import annotations

import math
import warnings
from typing import Any, ClassVar

import numpy as np

from ..autograd.op import Op, wrap
from ..autograd.precision import half_of
from ..ops.creation import zeros
from ..ops.joining import cat, stack
from ..ops.recurrent import GRUSequence, LSTMSequence, RNNSequence
from ..tensor import Tensor
from . import functional as F
from . import init
from .module import Module
from .parameter import Parameter, blank
from .utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence


class RNNBase(Module):
    """What RNN, LSTM and GRU share: layers, directions, parameters, batches of padded or packed sequences.

    Inputs are (T, B, I), (B, T, I) with batch_first, (T, I) for one sequence, or a PackedSequence. All parameters begin uniform
    in ±1/sqrt(hidden_size).
    """

    mode: ClassVar[str]
    gates: ClassVar[int]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        for option, value in (("bias", bias), ("batch_first", batch_first)):
            if not isinstance(value, bool):
                raise TypeError(f"{option} should be of type bool, got: {type(value).__name__}")
        if not 0 <= dropout <= 1 or isinstance(dropout, bool):
            raise ValueError(
                "dropout should be a number in range [0, 1] representing the probability of an element being zeroed"
            )
        if dropout and num_layers == 1:
            warnings.warn(
                "dropout option adds dropout after all but last recurrent layer, so non-zero dropout expects num_layers "
                f"greater than 1, but got dropout={dropout} and num_layers={num_layers}",
                stacklevel=2,
            )
        if hidden_size <= 0 or num_layers <= 0:
            raise ValueError(
                f"hidden_size and num_layers must be greater than zero, got {hidden_size} and {num_layers}"
            )
        if not 0 <= proj_size < hidden_size:
            raise ValueError("proj_size has to be smaller than hidden_size, zero to disable projections")
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.dropout = bias, batch_first, float(dropout)
        self.bidirectional, self.proj_size = bidirectional, proj_size
        directions, state = 1 + bidirectional, proj_size or hidden_size
        for layer in range(num_layers):
            width = input_size if layer == 0 else state * directions
            for suffix in self._suffixes(layer):
                shapes = {
                    "weight_ih": (self.gates * hidden_size, width),
                    "weight_hh": (self.gates * hidden_size, state),
                }
                if bias:
                    shapes.update(dict.fromkeys(("bias_ih", "bias_hh"), (self.gates * hidden_size,)))  # type: ignore[arg-type]
                if proj_size:
                    shapes["weight_hr"] = (proj_size, hidden_size)
                for name, shape in shapes.items():
                    self.register_parameter(name + suffix, Parameter(blank(*shape, device=device, dtype=dtype)))
        self.reset_parameters()

    def _suffixes(self, layer: int) -> list[str]:
        return [f"_l{layer}", f"_l{layer}_reverse"][: 1 + self.bidirectional]

    def reset_parameters(self) -> None:
        """Draw all parameters again."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def flatten_parameters(self) -> None:
        """Does nothing: there is no library here that wants the weights side by side."""

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The parameters of each layer and direction."""
        names = [n for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr") if hasattr(self, f"{n}_l0")]
        return [
            [getattr(self, name + suffix) for name in names]
            for layer in range(self.num_layers)
            for suffix in self._suffixes(layer)
        ]

    def _sequence(self, x: Tensor, suffix: str, states: tuple[Tensor, ...], sizes: Any, reverse: bool) -> Any:
        """One layer in one direction: outputs (T, B, P) and the last states."""
        raise NotImplementedError

    def _state_sizes(self) -> tuple[int, ...]:
        """The width of each state: of h, and for LSTM of c."""
        return (self.hidden_size,)

    def forward(self, input: Any, hx: Any = None) -> Any:
        """(outputs, last states), for `hx` the first states (layers x directions, B, H), by default zeros."""
        packed = isinstance(input, PackedSequence)
        x, sizes = self._in_time_order(input)
        unbatched = not packed and input.ndim == 2
        states = self._first_states(hx, x, input.sorted_indices if packed else None, unbatched)
        last: list[list[Tensor]] = [[] for _ in states]
        for layer in range(self.num_layers):
            outputs = []
            for direction, suffix in enumerate(self._suffixes(layer)):
                row = layer * (1 + self.bidirectional) + direction
                y, *ends = self._sequence(x, suffix, tuple(s[row] for s in states), sizes, bool(direction))
                outputs.append(y)
                for kept, end in zip(last, ends, strict=True):
                    kept.append(end)
            x = outputs[0] if len(outputs) == 1 else cat(outputs, -1)
            if self.dropout and self.training and layer < self.num_layers - 1:
                x = F.dropout(x, self.dropout)
        ends = [stack(kept) for kept in last]
        if packed and input.unsorted_indices is not None:
            ends = [end.index_select(1, input.unsorted_indices) for end in ends]
        if unbatched:
            ends = [end.squeeze(1) for end in ends]
        result: Any = self._packed_again(x, input) if packed else self._as_given(x, unbatched)
        return result, ends[0] if len(ends) == 1 else tuple(ends)

    def _in_time_order(self, input: Any) -> tuple[Tensor, tuple[int, ...]]:
        """The input as (T, B, I), and how many sequences are running at each step."""
        if isinstance(input, PackedSequence):
            padded, _ = pad_packed_sequence(PackedSequence(input.data, input.batch_sizes))
            x, sizes = padded, tuple(input.batch_sizes.tolist())
        else:
            if input.ndim not in (2, 3):
                raise ValueError(f"{self.mode}: Expected input to be 2D or 3D, got {input.ndim}D instead")
            x = input.unsqueeze(1) if input.ndim == 2 else input.transpose(0, 1) if self.batch_first else input
            sizes = (x.shape[1],) * x.shape[0]
        if x.shape[-1] != self.input_size:
            raise RuntimeError(
                f"input.size(-1) must be equal to input_size. Expected {self.input_size}, got {x.shape[-1]}"
            )
        self._check_dtype(x)
        if not x.shape[0]:
            raise RuntimeError(f"{self.mode}: Expected sequence length to be larger than 0")
        return x, sizes

    def _check_dtype(self, x: Tensor) -> None:
        if x.array.dtype != self.weight_ih_l0.array.dtype:
            raise ValueError(
                f"{self.mode}: input dtype ({x.dtype}) does not match weight dtype ({self.weight_ih_l0.dtype}); convert the "
                f"input with to({self.weight_ih_l0.dtype}) or the module with to({x.dtype})"
            )

    def _first_states(self, hx: Any, x: Tensor, order: Tensor | None, unbatched: bool) -> tuple[Tensor, ...]:
        widths, rows, B = self._state_sizes(), self.num_layers * (1 + self.bidirectional), x.shape[1]
        if hx is None:
            return tuple(zeros(rows, B, width, dtype=x.dtype, device=x.device) for width in widths)
        given = (hx,) if isinstance(hx, Tensor) else tuple(hx)
        if len(given) != len(widths) or isinstance(hx, Tensor) is not (len(widths) == 1):
            wanted = "one tensor" if len(widths) == 1 else "a pair of tensors (h, c)"
            raise RuntimeError(f"{self.mode}: Expected the first states hx as {wanted}, got {type(hx).__name__}")
        for h, width in zip(given, widths, strict=True):
            shape = (rows, width) if unbatched else (rows, B, width)
            if tuple(h.shape) != shape or h.array.dtype != x.array.dtype:
                raise RuntimeError(
                    f"{self.mode}: Expected hidden size {shape} and dtype {x.dtype} for this input, got {list(h.shape)} and "
                    f"{h.dtype}"
                )
        if unbatched:
            given = tuple(h.unsqueeze(1) for h in given)
        return given if order is None else tuple(h.index_select(1, order) for h in given)

    def _as_given(self, x: Tensor, unbatched: bool) -> Tensor:
        if unbatched:
            return x.squeeze(1)
        return x.transpose(0, 1) if self.batch_first else x

    def _packed_again(self, x: Tensor, like: PackedSequence) -> PackedSequence:
        lengths = (like.batch_sizes.numpy()[:, None] > np.arange(x.shape[1])).sum(0)
        data = pack_padded_sequence(x, wrap(lengths)).data
        return PackedSequence(data, like.batch_sizes, like.sorted_indices, like.unsorted_indices)

    def _weights(self, suffix: str) -> tuple[Any, ...]:
        """The weights of one layer in one direction, and its biases, which are None without."""
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        return tuple(getattr(self, name + suffix, None) for name in names)

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        usual = {
            "proj_size": 0,
            "num_layers": 1,
            "bias": True,
            "batch_first": False,
            "dropout": 0,
            "bidirectional": False,
        }
        return text + "".join(
            f", {name}={getattr(self, name)}" for name, v in usual.items() if getattr(self, name) != v
        )


class RNN(RNNBase):
    """h_t = tanh(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh), or max(0, ...) with nonlinearity="relu" (Elman, 1990).

    Example:
        >>> outputs, last = nn.RNN(3, 4)(torch.ones(5, 2, 3))
        >>> outputs.shape, last.shape
        (torch.Size([5, 2, 4]), torch.Size([1, 2, 4]))
    """

    mode, gates = "RNN", 1

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, nonlinearity: str = "tanh", bias: bool = True,
        batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False, device: Any = None,
        dtype: Any = None,
    ) -> None:  # fmt: skip
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'.")
        super().__init__(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, 0, device, dtype
        )
        self.nonlinearity = nonlinearity

    def _sequence(self, x: Tensor, suffix: str, states: tuple[Tensor, ...], sizes: Any, reverse: bool) -> Any:
        w_ih, w_hh, b_ih, b_hh = self._weights(suffix)
        bias = b_ih + b_hh if self.bias else None
        relu = self.nonlinearity == "relu"
        return RNNSequence.apply(x, w_ih, w_hh, bias, states[0], sizes=sizes, reverse=reverse, relu=relu)


class LSTM(RNNBase):
    """Long short-term memory: input, forget and output gates around a cell state. Returns outputs and (h, c).

    proj_size: the width that h is projected to. Sources: Hochreiter & Schmidhuber 1997; Gers and others 2000.

    Example:
        >>> outputs, (h, c) = nn.LSTM(3, 4, batch_first=True)(torch.ones(2, 5, 3))
        >>> outputs.shape, c.shape
        (torch.Size([2, 5, 4]), torch.Size([1, 2, 4]))
    """

    mode, gates = "LSTM", 4

    def _state_sizes(self) -> tuple[int, ...]:
        return self.proj_size or self.hidden_size, self.hidden_size

    def _sequence(self, x: Tensor, suffix: str, states: tuple[Tensor, ...], sizes: Any, reverse: bool) -> Any:
        w_ih, w_hh, b_ih, b_hh = self._weights(suffix)
        bias = b_ih + b_hh if self.bias else None
        projection = getattr(self, f"weight_hr{suffix}") if self.proj_size else None
        return LSTMSequence.apply(x, w_ih, w_hh, bias, *states, projection, sizes=sizes, reverse=reverse)


class GRU(RNNBase):
    """Gated recurrent units: a reset and an update gate, and no cell state. Returns outputs and h (Cho and others, 2014).

    Example:
        >>> outputs, h = nn.GRU(3, 4, bidirectional=True)(torch.ones(5, 2, 3))
        >>> outputs.shape, h.shape
        (torch.Size([5, 2, 8]), torch.Size([2, 2, 4]))
    """

    mode, gates = "GRU", 3

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True, batch_first: bool = False,
        dropout: float = 0.0, bidirectional: bool = False, device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, 0, device, dtype
        )

    def _sequence(self, x: Tensor, suffix: str, states: tuple[Tensor, ...], sizes: Any, reverse: bool) -> Any:
        return GRUSequence.apply(x, *self._weights(suffix), states[0], sizes=sizes, reverse=reverse)


class RNNCellBase(Module):
    """One step of a recurrent layer: inputs (B, I) or (I,), states (B, H) or (H,)."""

    gates: ClassVar[int]

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        rows = self.gates * hidden_size
        self.weight_ih = Parameter(blank(rows, input_size, device=device, dtype=dtype))
        self.weight_hh = Parameter(blank(rows, hidden_size, device=device, dtype=dtype))
        for name in ("bias_ih", "bias_hh"):
            self.register_parameter(name, Parameter(blank(rows, device=device, dtype=dtype)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters again, uniform in ±1/sqrt(hidden_size)."""
        bound = 1 / math.sqrt(self.hidden_size) if self.hidden_size else 0.0
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def _check(self, input: Tensor, h: Tensor) -> None:
        if input.ndim not in (1, 2):
            raise ValueError(f"{type(self).__name__}: Expected input to be 1D or 2D, got {input.ndim}D instead")
        if input.shape[-1] != self.input_size:
            raise RuntimeError(
                f"{type(self).__name__}: input has inconsistent input_size: got {input.shape[-1]}, expected {self.input_size}"
            )
        wanted = (*input.shape[:-1], self.hidden_size)
        if tuple(h.shape) != wanted:
            raise RuntimeError(f"{type(self).__name__}: Expected a state of size {list(wanted)}, got {list(h.shape)}")

    def _step(self, sequence: type[Op], input: Tensor, *states: Any, **options: Any) -> Any:
        """The states after a sequence of one step; what is given behind the states goes to the operation with them."""
        if input.ndim == 1:
            states = tuple(None if h is None else h.unsqueeze(0) for h in states)
            after = self._step(sequence, input.unsqueeze(0), *states, **options)
            return tuple(h.squeeze(0) for h in after)
        biases: tuple[Any, ...] = (self.bias_ih, self.bias_hh)
        if self.gates != 3:  # only a GRU uses the second one for itself
            biases = (self.bias_ih + self.bias_hh if self.bias else None,)
        x = input.unsqueeze(0)
        result = sequence.apply(
            x, self.weight_ih, self.weight_hh, *biases, *states, sizes=(x.array.shape[1],), reverse=False, **options
        )
        return result[1:]

    def _products(self, input: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """The input and the state times their weights."""
        return F.linear(input, self.weight_ih, self.bias_ih), F.linear(h, self.weight_hh, self.bias_hh)

    def _zeros(self, input: Tensor) -> Tensor:
        return zeros(*input.shape[:-1], self.hidden_size, dtype=input.dtype, device=input.device)

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        return text if self.bias else f"{text}, bias={self.bias}"


class RNNCell(RNNCellBase):
    """One step of an RNN: the next state."""

    gates = 1

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, nonlinearity: str = "tanh", device: Any = None,
        dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(input_size, hidden_size, bias, device, dtype)
        if nonlinearity not in ("tanh", "relu"):
            raise RuntimeError(f"Unknown nonlinearity: {nonlinearity}; it is 'tanh' or 'relu'")
        self.nonlinearity = nonlinearity

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        h = self._zeros(input) if hx is None else hx
        self._check(input, h)
        a, b = self._products(input, h)
        return (a + b).tanh() if self.nonlinearity == "tanh" else F.relu(a + b)

    def extra_repr(self) -> str:
        text = super().extra_repr()
        return text if self.nonlinearity == "tanh" else f"{text}, nonlinearity={self.nonlinearity}"


class LSTMCell(RNNCellBase):
    """One step of an LSTM: the next (h, c)."""

    gates = 4

    def forward(self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        if isinstance(hx, Tensor):
            raise TypeError("LSTMCell: Expected the state hx as a pair of tensors (h, c), got one tensor")
        h, c = (self._zeros(input), self._zeros(input)) if hx is None else hx
        self._check(input, h)
        if c.shape != h.shape:
            raise RuntimeError(f"LSTMCell: Expected a cell state of size {list(h.shape)}, got {list(c.shape)}")
        return self._next(input, h, c)

    def _next(self, input: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        if _only_products_in_half(input):
            return self._in_parts(input, h, c)
        h, c = self._step(LSTMSequence, input, h, c, None)
        return h, c

    def _in_parts(self, input: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """The same by an operation for each part."""
        a, b = self._products(input, h)
        i, f, g, o = (a + b).chunk(4, -1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c


class GRUCell(RNNCellBase):
    """One step of a GRU: the next state."""

    gates = 3

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        h = self._zeros(input) if hx is None else hx
        self._check(input, h)
        return self._next(input, h)

    def _next(self, input: Tensor, h: Tensor) -> Tensor:
        if _only_products_in_half(input):
            return self._in_parts(input, h)
        (h,) = self._step(GRUSequence, input, h)
        return h

    def _in_parts(self, input: Tensor, h: Tensor) -> Tensor:
        """The same by an operation for each part."""
        (ar, az, an), (br, bz, bn) = (x.chunk(3, -1) for x in self._products(input, h))
        z = (az + bz).sigmoid()
        return (1 - z) * (an + (ar + br).sigmoid() * bn).tanh() + z * h


def _only_products_in_half(input: Tensor) -> bool:
    """Whether autocast reaches the products of a cell, but not its states: so it does on the CPU; on a GPU it reaches both."""
    return "cpu" in (half_of.get() or ()) and not input.is_cuda
