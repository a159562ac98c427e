"""functional.pad against PyTorch, values and gradients, and its errors."""

import numpy as np
import pytest

import minidl
from minidl.nn import functional as F

CASES = [
    ((4, 5), (1, 2), "constant", 0.5),
    ((4, 5), (1, -2, -1, 3), "constant", None),
    ((0, 3), (0, 0, 1, 1), "constant", 2.0),
    ((2, 5), (4, 2), "reflect", None),
    ((2, 3, 4, 5), (1, 2, 3, 0), "reflect", None),
    ((2, 4, 5), (2, 7, 1, 0), "replicate", None),
    ((1, 2, 3, 3, 3), (1, 0, 0, 2, 1, 1), "replicate", None),
    ((2, 3, 4, 5), (5, 1, 0, 4), "circular", None),
    ((1, 3, 4, 4), (-1, 1, -2, 1), "circular", None),
]


@pytest.mark.parametrize(("shape", "widths", "mode", "value"), CASES)
def test_pad_is_pytorchs(shape, widths, mode, value):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    a = rng.normal(size=shape)
    ours, theirs = minidl.tensor(a, requires_grad=True), torch.tensor(a, requires_grad=True)
    got, expected = F.pad(ours, widths, mode, value), torch.nn.functional.pad(theirs, widths, mode, value)
    np.testing.assert_array_equal(got.detach().numpy(), expected.detach().numpy())
    cotangent = rng.normal(size=tuple(got.shape))
    got.backward(minidl.tensor(cotangent))
    expected.backward(torch.tensor(cotangent))
    np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("shape", "arguments", "error", "message"),
    [
        ((2, 3), ((1,),), RuntimeError, "divisible by 2"),
        ((2,), ((1, 1, 1, 1),), RuntimeError, "no more than twice"),
        ((2, 3), ((-2, -2),), RuntimeError, "cut more off"),
        ((2, 3), ((3, 0), "reflect"), RuntimeError, "less than the corresponding input dimension 3"),
        ((2, 3), ((4, 0), "circular"), RuntimeError, "wrapping around more than once"),
        ((2, 0), ((1, 0), "replicate"), RuntimeError, "non-empty"),
        ((2, 3), ((1, 1), "mirror"), NotImplementedError, "none of constant"),
        ((3,), ((1, 1), "reflect"), NotImplementedError, "got 1 dimensions"),
        ((2, 3), ((1, 1), "reflect", 1.0), ValueError, "value"),
    ],
)
def test_errors_say_what_is_wrong(shape, arguments, error, message):
    with pytest.raises(error, match=message):
        F.pad(minidl.zeros(shape), *arguments)
