"""Recurrent layers over whole sequences."""

from __future__ import annotations

from typing import Any

from ...kernels.recurrent import gru, gru_backward, lstm, lstm_backward, rnn, rnn_backward
from .registry import Call, Machine, Work, versions, workload


def _recurrent(m: Machine, gates: int, T: int, B: int, H: int) -> tuple[Any, ...]:
    """x, w_ih, w_hh and the first state."""
    T, B, H = m.many(T, 3), m.many(B, 9), m.many(H, 16)
    return m.normal(T, B, 1), m.normal(gates * H, 1), m.normal(gates * H, H) / H**0.5, m.normal(B, H)


def _recurrent_twin(m: Machine, name: str, x: Any, w_ih: Any, w_hh: Any, *states: Any) -> Call:
    """PyTorch's layer, cuDNN's on a GPU, with the same weights."""
    layer = getattr(m.torch.nn, name)(1, states[0].shape[1], bias=False, device=m.tensor(x).device)
    with m.torch.no_grad():
        layer.weight_ih_l0.copy_(m.tensor(w_ih))
        layer.weight_hh_l0.copy_(m.tensor(w_hh))
    layer.flatten_parameters()
    t = m.tensor(x).requires_grad_()
    first = [m.tensor(a.copy())[None] for a in states]
    return lambda: (t, layer, layer(t, tuple(first) if len(first) > 1 else first[0])[0])


def _gradients(m: Machine, twin: Call, g: Any) -> Call:
    """The backward pass of a twin, whose first results are kept."""
    t, layer, out = twin()
    u, wanted = m.tensor(g), (t, *layer.parameters())
    return lambda: m.torch.autograd.grad(out, wanted, u, retain_graph=True)


def _outputs(m: Machine, twin: Call) -> Call:
    def run() -> Any:
        with m.torch.no_grad():
            return twin()[-1]

    return run


@workload("LSTM, 128 steps, batch 64, width 1024", 128, 64, 1024)
@workload("LSTM, 64 steps, batch 32, width 256", 64, 32, 256)
@workload("LSTM, 128 steps, batch 8, width 512", 128, 8, 512)
@workload("LSTM, 100 steps, batch 8, width 200", 100, 8, 200)
def _lstm(m: Machine, *sizes: int) -> Work:
    x, w_ih, w_hh, h = _recurrent(m, 4, *sizes)
    (T, B, _), H = x.shape, h.shape[1]
    twin = m.torch and _outputs(m, _recurrent_twin(m, "LSTM", x, w_ih, w_hh, h, h))
    named = versions(lstm, x, w_ih, w_hh, None, h, h.copy(), None, (B,) * T, False)
    return Work(named, twin, flops=8 * T * B * H * H, tolerance=1e-2)  # PyTorch may use tf32


@workload("LSTM backward, 128 steps, batch 64, width 1024", 128, 64, 1024)
@workload("LSTM backward, 64 steps, batch 32, width 256", 64, 32, 256)
@workload("LSTM backward, 128 steps, batch 8, width 512", 128, 8, 512)
@workload("LSTM backward, 100 steps, batch 8, width 200", 100, 8, 200)
def _lstm_backward(m: Machine, *sizes: int) -> Work:
    x, w_ih, w_hh, h = _recurrent(m, 4, *sizes)
    (T, B, _), H = x.shape, h.shape[1]
    out, _, _, *kept = lstm.reference(x, w_ih, w_hh, None, h, h, None, (B,) * T, False)
    g, none = m.normal(*out.shape), m.xp.zeros_like(h)
    twin = m.torch and _gradients(m, _recurrent_twin(m, "LSTM", x, w_ih, w_hh, h, h), g)
    named = versions(lstm_backward, g, none, none, w_ih, w_hh, None, *kept, (B,) * T, False)
    return Work(named, twin, flops=16 * T * B * H * H, tolerance=1e-2)


@workload("GRU, 128 steps, batch 64, width 1024", 128, 64, 1024)
@workload("GRU, 64 steps, batch 32, width 256", 64, 32, 256)
@workload("GRU, 100 steps, batch 8, width 200", 100, 8, 200)
def _gru(m: Machine, *sizes: int) -> Work:
    x, w_ih, w_hh, h = _recurrent(m, 3, *sizes)
    (T, B, _), H = x.shape, h.shape[1]
    twin = m.torch and _outputs(m, _recurrent_twin(m, "GRU", x, w_ih, w_hh, h))
    named = versions(gru, x, w_ih, w_hh, None, None, h, (B,) * T, False)
    return Work(named, twin, flops=6 * T * B * H * H, tolerance=1e-2)


@workload("GRU backward, 128 steps, batch 64, width 1024", 128, 64, 1024)
@workload("GRU backward, 64 steps, batch 32, width 256", 64, 32, 256)
@workload("GRU backward, 100 steps, batch 8, width 200", 100, 8, 200)
def _gru_backward(m: Machine, *sizes: int) -> Work:
    x, w_ih, w_hh, h = _recurrent(m, 3, *sizes)
    (T, B, _), H = x.shape, h.shape[1]
    out, _, *kept = gru.reference(x, w_ih, w_hh, None, None, h, (B,) * T, False)
    g = m.normal(*out.shape)
    twin = m.torch and _gradients(m, _recurrent_twin(m, "GRU", x, w_ih, w_hh, h), g)
    named = versions(gru_backward, g, m.xp.zeros_like(h), x, w_ih, w_hh, *kept, (B,) * T, False)
    return Work(named, twin, flops=12 * T * B * H * H, tolerance=1e-2)


@workload("RNN, 64 steps, batch 32, width 256", 64, 32, 256)
def _rnn(m: Machine, *sizes: int) -> Work:
    x, w_ih, w_hh, h = _recurrent(m, 1, *sizes)
    (T, B, _), H = x.shape, h.shape[1]
    twin = m.torch and _outputs(m, _recurrent_twin(m, "RNN", x, w_ih, w_hh, h))
    named = versions(rnn, x, w_ih, w_hh, None, h, (B,) * T, False, False)
    return Work(named, twin, flops=2 * T * B * H * H, tolerance=1e-2)


@workload("RNN backward, 64 steps, batch 32, width 256", 64, 32, 256)
def _rnn_backward(m: Machine, *sizes: int) -> Work:
    x, w_ih, w_hh, h = _recurrent(m, 1, *sizes)
    (T, B, _), H = x.shape, h.shape[1]
    out, _, seen = rnn.reference(x, w_ih, w_hh, None, h, (B,) * T, False, False)
    g = m.normal(*out.shape)
    twin = m.torch and _gradients(m, _recurrent_twin(m, "RNN", x, w_ih, w_hh, h), g)
    named = versions(rnn_backward, g, m.xp.zeros_like(h), w_ih, w_hh, out, seen, (B,) * T, False, False)
    return Work(named, twin, flops=4 * T * B * H * H, tolerance=1e-2)
