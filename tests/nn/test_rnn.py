"""Recurrent layers where PyTorch's databases do not look: packed sequences, directions, projections, second derivatives."""

from __future__ import annotations

import numpy as np
import pytest

import minidl as md
from minidl import nn
from minidl.autograd import grad, gradcheck, gradgradcheck
from minidl.nn.utils import rnn
from minidl.ops.recurrent import LSTMSequence

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections:UserWarning")  # PyTorch's, of its own speed
LENGTHS = [4, 2, 5, 1]
LAYERS = {
    "RNN": lambda m, **k: m.nn.RNN(3, 4, **k),
    "RNN, relu": lambda m, **k: m.nn.RNN(3, 4, nonlinearity="relu", **k),
    "LSTM": lambda m, **k: m.nn.LSTM(3, 4, **k),
    "LSTM, projected": lambda m, **k: m.nn.LSTM(3, 4, proj_size=2, **k),
    "GRU": lambda m, **k: m.nn.GRU(3, 4, **k),
}


def pair(make, **options):
    """The layer in PyTorch and here, with the same weights."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    theirs, ours = make(torch, **options), make(md, **options)
    assert repr(ours) == repr(theirs)
    ours.load_state_dict({k: md.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
    return torch, theirs, ours


def flat(result):
    return [t for part in result for t in flat(part)] if isinstance(result, tuple) else [result]


def compare(torch, theirs, ours, expected, got, their_leaves, our_leaves):
    rng = np.random.default_rng(1)
    their_loss = our_loss = 0.0
    for a, b in zip(flat(expected), flat(got), strict=True):
        np.testing.assert_allclose(b.detach().numpy(), a.detach().numpy(), rtol=1e-5, atol=1e-6)
        g = rng.standard_normal(tuple(a.shape)).astype(np.float32)
        their_loss, our_loss = their_loss + (a * torch.tensor(g)).sum(), our_loss + (b * md.tensor(g)).sum()
    their_loss.backward()
    our_loss.backward()
    leaves = [*zip(their_leaves, our_leaves, strict=True), *zip(theirs.parameters(), ours.parameters(), strict=True)]
    for a, b in leaves:
        np.testing.assert_allclose(b.grad.numpy(), a.grad.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "options", [{}, {"num_layers": 2, "bidirectional": True}, {"bias": False, "batch_first": True}]
)
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("sort", [True, False])
def test_packed_sequences_against_pytorch(layer, options, sort):
    torch, theirs, ours = pair(LAYERS[layer], **options)
    first = options.get("batch_first", False)
    lengths = sorted(LENGTHS, reverse=True) if sort else LENGTHS
    data = np.random.default_rng(0).standard_normal((4, 5, 3) if first else (5, 4, 3)).astype(np.float32)
    x, y = torch.tensor(data, requires_grad=True), md.tensor(data, requires_grad=True)
    pack = {"batch_first": first, "enforce_sorted": sort}
    packed = torch.nn.utils.rnn.pack_padded_sequence(x, torch.tensor(lengths), **pack)
    ours_packed = rnn.pack_padded_sequence(y, md.tensor(lengths), **pack)
    assert ours_packed.batch_sizes.tolist() == packed.batch_sizes.tolist()
    expected, ends = theirs(packed)
    got, our_ends = ours(ours_packed)
    padded, found = torch.nn.utils.rnn.pad_packed_sequence(expected, batch_first=first)
    our_padded, our_found = rnn.pad_packed_sequence(got, batch_first=first)
    assert our_found.tolist() == found.tolist()
    compare(torch, theirs, ours, (padded, ends), (our_padded, our_ends), [x], [y])


@pytest.mark.parametrize("layer", LAYERS)
def test_given_states_against_pytorch(layer):
    torch, theirs, ours = pair(LAYERS[layer], num_layers=2)
    rng = np.random.default_rng(0)
    width = 2 if "projected" in layer else 4
    arrays = [rng.standard_normal((5, 2, 3)), rng.standard_normal((2, 2, width)), rng.standard_normal((2, 2, 4))]
    arrays = [a.astype(np.float32) for a in arrays[: 3 if "LSTM" in layer else 2]]
    their, our = ([m.tensor(a, requires_grad=True) for a in arrays] for m in (torch, md))
    states = [t[1] if len(t) == 2 else tuple(t[1:]) for t in (their, our)]
    compare(torch, theirs, ours, theirs(their[0], states[0]), ours(our[0], states[1]), their, our)


@pytest.mark.parametrize("layer", LAYERS)
def test_packing_changes_nothing_but_the_padding(layer):
    md.manual_seed(0)
    module = LAYERS[layer](md, bidirectional=True)
    x = md.randn(5, 4, 3)
    outputs, _ = module(rnn.pack_padded_sequence(x, LENGTHS, enforce_sorted=False))
    padded, lengths = rnn.pad_packed_sequence(outputs)
    for b, n in enumerate(lengths.tolist()):
        alone, _ = module(x[:n, b])
        np.testing.assert_allclose(padded[:n, b].detach().numpy(), alone.detach().numpy(), rtol=1e-5, atol=1e-6)
        assert (padded[n:, b] == 0).all()


@pytest.mark.parametrize("layer", ["RNN", "LSTM", "LSTM, projected", "GRU"])
def test_derivatives_of_both_orders(layer):
    md.manual_seed(0)
    module = LAYERS[layer](md, dtype=md.float64)
    x = md.randn(3, 2, 3, dtype=md.float64, requires_grad=True)
    assert gradcheck(lambda x: module(x)[0], (x,))
    assert gradgradcheck(lambda x: module(x)[0], (x,))


def test_one_tensor_as_both_states_has_each_gradient_once():
    md.manual_seed(0)
    x, w, h = (md.randn(*shape, dtype=md.float64, requires_grad=True) for shape in ((2, 2, 2), (8, 2), (2, 2)))

    def outputs(x, w, h):
        return LSTMSequence.apply(x, w, w, None, h, h, None, sizes=(2, 1), reverse=False)[0]

    loss = outputs(x, w, h).sum()
    once, recorded = (grad(loss, h, retain_graph=True, create_graph=flag)[0].detach() for flag in (False, True))
    np.testing.assert_allclose(recorded.numpy(), once.numpy(), rtol=1e-12)
    assert gradgradcheck(outputs, (x, w, h))


@pytest.mark.parametrize("layer", LAYERS)
def test_an_empty_batch(layer):
    module = LAYERS[layer](md)
    outputs, _ = module(md.zeros(5, 0, 3))
    outputs.sum().backward()
    assert outputs.shape[:2] == (5, 0) and (module.weight_ih_l0.grad == 0).all()


@pytest.mark.parametrize("layer", ["RNN", "LSTM", "GRU"])
def test_a_cell_step_by_step_is_the_layer(layer):
    md.manual_seed(0)
    module, cell = LAYERS[layer](md), getattr(nn, f"{layer}Cell")(3, 4)
    cell.load_state_dict({name.removesuffix("_l0"): value for name, value in module.state_dict().items()})
    x = md.randn(5, 2, 3)
    state, outputs = None, []
    for step in x:
        state = cell(step, state)
        outputs.append(state[0] if layer == "LSTM" else state)
    np.testing.assert_allclose(md.stack(outputs).detach().numpy(), module(x)[0].detach().numpy(), rtol=1e-5, atol=1e-6)


def test_dropout_between_layers_only_in_training():
    md.manual_seed(0)
    module = nn.GRU(3, 4, num_layers=2, dropout=0.5)
    x = md.randn(5, 2, 3)
    assert not (module(x)[0] == module(x)[0]).all()
    module.eval()
    assert (module(x)[0] == module(x)[0]).all()


def test_dropout_with_nothing_to_drop_between_warns():
    with pytest.warns(UserWarning, match="num_layers=1"):
        nn.LSTM(3, 4, dropout=0.5)


def test_a_packed_sequence_in_another_dtype_is_packed_alike():
    packed = rnn.pack_sequence([md.arange(1.0), md.arange(3.0)], enforce_sorted=False).to(md.float64)
    assert packed.data.dtype == md.float64 and packed.sorted_indices.tolist() == [1, 0]
    assert [s.tolist() for s in rnn.unpack_sequence(packed.cpu())] == [[0], [0, 1, 2]]


def test_padding_packing_and_back():
    sequences = [md.arange(3.0), md.arange(1.0), md.arange(2.0)]
    padded = rnn.pad_sequence(sequences, batch_first=True, padding_value=-1)
    assert padded.tolist() == [[0, 1, 2], [0, -1, -1], [0, 1, -1]]
    assert rnn.pad_sequence(sequences, padding_side="left").T.tolist() == [[0, 1, 2], [0, 0, 0], [0, 0, 1]]
    packed = rnn.pack_sequence(sequences, enforce_sorted=False)
    assert packed.data.tolist() == [0, 0, 0, 1, 1, 2] and packed.batch_sizes.tolist() == [3, 2, 1]
    assert [s.tolist() for s in rnn.unpack_sequence(packed)] == [s.tolist() for s in sequences]
    longer, lengths = rnn.pad_packed_sequence(packed, True, total_length=4)
    assert longer.shape == (3, 4) and lengths.tolist() == [3, 1, 2]


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: nn.LSTM(3, 4)(md.zeros(2, 2, 5)), RuntimeError, "Expected 3, got 5"),
        (lambda: nn.LSTM(3, 4)(md.zeros(3)), ValueError, "2D or 3D"),
        (lambda: nn.GRU(3, 4)(md.zeros(2, 2, 3), md.zeros(1, 3, 4)), RuntimeError, "Expected hidden size"),
        (lambda: nn.GRU(3, 4)(md.zeros(2, 3), md.zeros(1, 1, 4)), RuntimeError, r"Expected hidden size \(1, 4\)"),
        (lambda: nn.GRU(3, 4)(md.zeros(2, 2, 3), md.zeros(1, 2, 4, dtype=md.float64)), RuntimeError, "dtype"),
        (lambda: nn.GRU(3, 4)(md.zeros(2, 2, 3), [md.zeros(1, 2, 4)]), RuntimeError, "one tensor, got list"),
        (lambda: nn.LSTM(3, 4)(md.zeros(2, 2, 3), md.zeros(2, 2, 4)), RuntimeError, "a pair of tensors"),
        (lambda: nn.LSTM(3, 4)(md.zeros(2, 2, 3, dtype=md.float64)), ValueError, "does not match weight dtype"),
        (lambda: nn.RNN(3, 4)(md.zeros(0, 2, 3)), RuntimeError, "larger than 0"),
        (lambda: nn.GRUCell(3, 4)(md.zeros(2, 3), md.zeros(1, 4)), RuntimeError, r"size \[2, 4\], got \[1, 4\]"),
        (lambda: nn.LSTMCell(3, 4)(md.zeros(2, 3), md.zeros(2, 4)), TypeError, "pair of tensors"),
        (
            lambda: nn.LSTMCell(3, 4)(md.zeros(2, 3), (md.zeros(2, 4), md.zeros(1, 4))),
            RuntimeError,
            r"cell state of size \[2, 4\]",
        ),
        (lambda: nn.RNN(3, 4, nonlinearity="gelu"), ValueError, "tanh"),
        (lambda: nn.GRU(3, 4, dropout=2), ValueError, "dropout"),
        (lambda: nn.LSTM(3, 4, proj_size=4), ValueError, "proj_size"),
        (lambda: nn.LSTM(3, 0), ValueError, "greater than zero"),
        (lambda: nn.GRUCell(3, 4)(md.zeros(2, 5)), RuntimeError, "expected 3"),
        (lambda: rnn.pack_padded_sequence(md.zeros(3, 2, 1), [1, 2]), RuntimeError, "sorted in decreasing"),
        (lambda: rnn.pack_padded_sequence(md.zeros(3, 2, 1), [3, 0]), RuntimeError, "empty sequences"),
        (lambda: rnn.pack_padded_sequence(md.zeros(3, 2, 1), [3]), RuntimeError, "batch_size=2"),
        (lambda: rnn.pack_padded_sequence(md.zeros(3, 0, 1), []), RuntimeError, "empty tensors"),
        (lambda: rnn.pad_sequence([]), RuntimeError, "empty list"),
    ],
)
def test_errors_say_what_is_wrong(call, error, message):
    with pytest.raises(error, match=message):
        call()
