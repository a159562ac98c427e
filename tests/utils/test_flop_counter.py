"""Counted operations against PyTorch's counter and against counting by hand."""

from __future__ import annotations

import pytest

import minidl as md
from minidl import nn
from minidl.utils.flop_counter import FlopCounterMode


def counted(program):
    with FlopCounterMode(display=False) as counter:
        program()
    return counter.get_flop_counts()["Global"]


def test_matrix_products_by_hand():
    found = counted(lambda: md.ones(2, 3) @ md.ones(3, 4))
    assert found == {"MatMul": 2 * 2 * 3 * 4}
    found = counted(lambda: md.einsum("bij,bjk->bik", md.ones(5, 2, 3), md.ones(5, 3, 4)))
    assert found["Einsum"] == 2 * 5 * 2 * 3 * 4


@pytest.mark.parametrize(
    "program",
    [
        lambda m: m.nn.Linear(5, 7)(m.ones(2, 3, 5)).sum().backward(),
        lambda m: m.nn.Linear(5, 7)(m.ones(2, 5, requires_grad=True)).sum().backward(),
        lambda m: m.nn.Conv2d(4, 6, 3, stride=2)(m.ones(2, 4, 9, 8)).sum().backward(),
        lambda m: m.nn.Conv1d(3, 6, 3)(m.ones(2, 3, 9, requires_grad=True)).sum().backward(),
        lambda m: m.nn.ConvTranspose2d(3, 5, 2, stride=2)(m.ones(2, 3, 4, 4)),
        lambda m: (m.ones(2, 3, 4, requires_grad=True) @ m.ones(4, 5, requires_grad=True)).sum().backward(),
    ],
)
def test_products_as_pytorch_counts_them(program):
    pytest.importorskip("torch")
    import torch
    from torch.utils.flop_counter import FlopCounterMode as Theirs

    theirs = Theirs(display=False)
    with theirs:
        program(torch)
    products = ("MatMul", "Linear", "Convolution", "TransposedConvolution", "WeightGradient")
    ours = sum(n for name, n in counted(lambda: program(md)).items() if name.removesuffix("Backward") in products)
    assert ours == theirs.get_total_flops()


def test_grouped_convolution_by_hand():  # PyTorch counts its weight gradient once per group too often
    found = counted(lambda: nn.Conv2d(4, 6, 3, groups=2)(md.ones(1, 4, 5, 5)).sum().backward())
    assert found["Convolution"] == found["ConvolutionBackward"] == 2 * (6 * 3 * 3) * (2 * 3 * 3)


def test_recurrent_layers_by_hand():
    T, B, D, H = 5, 3, 4, 6
    layer, x = nn.LSTM(D, H), md.ones(T, B, D)
    found = counted(lambda: layer(x)[0].sum().backward())
    assert found["LSTMSequence"] == 2 * T * B * 4 * H * (D + H)
    assert found["LSTMSequenceBackward"] == 2 * found["LSTMSequence"]


def test_table(capsys):
    with FlopCounterMode() as counter:
        (md.ones(2, 3) @ md.ones(3, 4) + 1.0).exp()
    assert counter.get_total_flops() == 48 + 8 + 8
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["total", "64", "100.0%"], ["MatMul", "48", "75.0%"], ["Add", "8", "12.5%"], ["Exp", "8", "12.5%"]
    ]  # fmt: skip
