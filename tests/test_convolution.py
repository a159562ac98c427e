"""Convolutions, their transposes, unfold and fold against PyTorch: values, gradients of both orders, errors, layers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import minidl
from minidl import nn
from minidl.nn import functional as F

few_examples = settings(max_examples=60, deadline=None)


@st.composite
def configurations(draw, transposed):
    """Shapes and arguments of a convolution or a transposed convolution in 1 to 3 dimensions."""
    n = draw(st.integers(1, 3))

    def sizes(low, high):
        return draw(st.tuples(*[st.integers(low, high)] * n))

    groups = draw(st.integers(1, 3))
    batch = draw(st.integers(int(transposed), 2))  # PyTorch does not check transposed convolutions of empty batches
    first, second = groups * draw(st.integers(1, 2)), draw(st.integers(1, 2))
    kernel, space = sizes(1, 3), sizes(1, 6)
    arguments = {"stride": sizes(1, 3), "padding": sizes(0, 2), "dilation": sizes(1, 3), "groups": groups}
    if transposed:
        limits = zip(sizes(0, 2), arguments["stride"], arguments["dilation"], strict=True)
        arguments["output_padding"] = tuple(min(extra, max(s, d) - 1) for extra, s, d in limits)
    weight, channels = (first, second, *kernel), first if transposed else second * groups
    bias = draw(st.booleans()) and (second * groups if transposed else first,)
    return n, (batch, channels, *space), weight, bias, arguments


def gradients(engine, out, inputs, cotangent, directions):
    """The gradients, and the gradients of their product with `directions`."""
    first = engine.autograd.grad(out, inputs, cotangent, create_graph=True)
    total = sum((g * v).sum() for g, v in zip(first, directions, strict=True))
    wanted = [*inputs, cotangent]
    return first, engine.autograd.grad(total, wanted, allow_unused=True, materialize_grads=True)


def agree_with_pytorch(name, shapes, arguments, seed):
    """Value, first and second derivatives of functional.name in float64; passes over what PyTorch refuses."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(seed)
    arrays = [rng.standard_normal(shape) for shape in shapes if shape]
    theirs = [torch.tensor(a, requires_grad=True) for a in arrays]
    ours = [minidl.tensor(a, requires_grad=True) for a in arrays]
    try:
        expected = getattr(torch.nn.functional, name)(*theirs, **arguments)
    except RuntimeError:
        with pytest.raises(RuntimeError, match=name):
            getattr(F, name)(*ours, **arguments)
        return
    got = getattr(F, name)(*ours, **arguments)
    assert tuple(got.shape) == tuple(expected.shape)
    np.testing.assert_allclose(got.detach().numpy(), expected.detach().numpy(), rtol=1e-10, atol=1e-10)
    cotangent, directions = rng.standard_normal(tuple(got.shape)), [rng.standard_normal(a.shape) for a in arrays]
    results = []
    for engine, out, inputs in ((minidl, got, ours), (torch, expected, theirs)):
        g = engine.tensor(cotangent, requires_grad=True)
        first, second = gradients(engine, out, inputs, g, [engine.tensor(v) for v in directions])
        results.append([t.detach().numpy() for t in (*first, *second)])
    for mine, wanted in zip(*results, strict=True):
        np.testing.assert_allclose(mine, wanted, rtol=1e-9, atol=1e-9)


@few_examples
@given(configurations(transposed=False), st.integers(0, 1000))
def test_convolution_is_pytorchs(configuration, seed):
    n, *shapes, arguments = configuration
    agree_with_pytorch(f"conv{n}d", shapes, arguments, seed)


@few_examples
@given(configurations(transposed=True), st.integers(0, 1000))
def test_transposed_convolution_is_pytorchs(configuration, seed):
    n, *shapes, arguments = configuration
    agree_with_pytorch(f"conv_transpose{n}d", shapes, arguments, seed)


@st.composite
def windows(draw):
    def pair(low, high):
        return draw(st.one_of(st.integers(low, high), st.tuples(*[st.integers(low, high)] * 2)))

    return {"kernel_size": pair(1, 3), "dilation": pair(1, 2), "padding": pair(0, 2), "stride": pair(1, 3)}


@few_examples
@given(windows(), st.tuples(st.integers(0, 2), st.integers(1, 2), st.integers(1, 6), st.integers(1, 6)))
def test_unfold_and_fold_are_pytorchs(arguments, shape):
    agree_with_pytorch("unfold", [shape], arguments, 0)
    try:
        columns = F.unfold(minidl.zeros(shape), **arguments)
    except RuntimeError:
        assume(False)
    agree_with_pytorch("fold", [tuple(columns.shape)], {"output_size": shape[2:], **arguments}, 0)


@pytest.mark.parametrize(
    ("name", "shapes", "arguments"),
    [
        ("conv1d", [(2, 3, 6), (4, 3, 4)], {"padding": "same"}),
        ("conv2d", [(2, 3, 6, 5), (4, 3, 2, 3)], {"padding": "same", "dilation": (3, 2)}),
        ("conv2d", [(2, 3, 6, 5), (4, 3, 2, 3)], {"padding": "valid", "stride": 2}),
        ("conv2d", [(3, 6, 5), (4, 3, 2, 3), (4,)], {"stride": (2,)}),
        ("conv_transpose2d", [(3, 6, 5), (3, 4, 2, 3), (4,)], {"stride": 2, "output_padding": 1}),
        ("conv_transpose2d", [(1, 2, 3, 3), (2, 1, 2, 2)], {"dilation": 4, "output_padding": (3, 2)}),
        ("unfold", [(3, 4, 4)], {"kernel_size": 2}),
        ("fold", [(8, 9)], {"output_size": 4, "kernel_size": 2}),
    ],
)
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
def test_named_padding_and_inputs_without_batch(name, shapes, arguments):
    agree_with_pytorch(name, shapes, arguments, 0)


@pytest.mark.parametrize(("batch", "space"), [(1, (4, 4)), (0, (4, 4)), (2, (1, 1))])
def test_results_are_contiguous_and_own_their_memory(batch, space):
    x = minidl.ones(batch, 2, *space)
    for out in (F.conv2d(x, minidl.ones(3, 2, 1, 1)), F.conv_transpose2d(x, minidl.ones(2, 3, 3, 3), padding=1)):
        assert out.view(-1).shape == (out.numel(),)
    columns = F.unfold(x, 1)
    columns.mul_(5)
    assert (x == 1).all()


Z = minidl.zeros


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: F.conv2d(Z(2, 3), Z(4, 3, 2, 2)), r"Expected 3D \(unbatched\) or 4D \(batched\).*\[2, 3\]"),
        (lambda: F.conv2d(Z(1, 3, 5, 5), Z(4, 3, 2)), r"a weight with 4 dimensions.*\[4, 3, 2\]"),
        (lambda: F.conv2d(Z(1, 3, 5, 5), Z(4, 3, 0, 2)), "non-positive kernel_size"),
        (lambda: F.conv2d(Z(1, 3, 5, 5), Z(4, 2, 2, 2)), "groups=1, weight of size .*to have 2 channels, but got 3"),
        (lambda: F.conv2d(Z(1, 6, 5, 5), Z(4, 2, 2, 2), groups=3), "divisible by 3 at dimension 0"),
        (lambda: F.conv2d(Z(1, 3, 5, 5), Z(0, 3, 2, 2)), "not empty"),
        (lambda: F.conv2d(Z(1, 3, 5, 5), Z(4, 3, 2, 2), groups=0), "non-positive groups"),
        (lambda: F.conv2d(Z(1, 3, 5, 5), Z(4, 3, 2, 2), Z(3)), r"1-dimensional with 4 elements.*\[3\]"),
        (lambda: F.conv2d(Z(1, 3, 5, 5), Z(4, 3, 2, 2), stride=0), "non-positive stride"),
        (lambda: F.conv2d(Z(1, 3, 5, 5), Z(4, 3, 2, 2), padding=-1), "negative padding"),
        (lambda: F.conv2d(Z(1, 3, 5, 5), Z(4, 3, 2, 2), dilation=0), "non-positive dilation"),
        (lambda: F.conv2d(Z(1, 3, 5, 5), Z(4, 3, 2, 2), stride=(1, 1, 1)), "stride to be a single .*list of 2 values"),
        (lambda: F.conv2d(Z(1, 3, 5, 5), Z(4, 3, 6, 2)), r"size per channel: \(5 x 5\). Kernel size: \(6 x 2\)"),
        (lambda: F.conv2d(Z(1, 3, 5, 5), Z(4, 3, 2, 2), padding="full"), "Invalid padding string: 'full'"),
        (lambda: F.conv2d(Z(1, 3, 5, 5), Z(4, 3, 2, 2), padding="same", stride=2), "not supported for strided"),
        (lambda: F.conv2d(Z(1, 3, 5, 5).double(), Z(4, 3, 2, 2)), "float64.*weight type.*float32.*should be the same"),
        (lambda: F.conv_transpose2d(Z(1, 3, 5, 5), Z(4, 3, 2, 2)), "to have 4 channels, but got 3"),
        (lambda: F.conv_transpose2d(Z(1, 3, 5, 5), Z(3, 4, 2, 2), output_padding=1), "smaller than either stride"),
        (lambda: F.conv_transpose2d(Z(1, 3, 1, 1), Z(3, 4, 2, 2), padding=1), r"\(0 x 0\). Output size is too small"),
        (lambda: F.conv_transpose2d(Z(1, 3, 0, 1), Z(3, 4, 2, 2)), "Only zero batch"),
        (lambda: F.unfold(Z(2, 3), 2), "Expected 3D or 4D"),
        (lambda: F.unfold(Z(2, 3, 4, 4), 5), r"sliding blocks as \(0, 0\)"),
        (lambda: F.fold(Z(2, 12, 8), (4, 4), 2), "sliding blocks 3 x 3 = 9, but got"),
        (lambda: F.fold(Z(2, 11, 9), (4, 4), 2), "divisible by the product of kernel_size"),
    ],
)
def test_errors_say_what_is_wrong(call, message):
    with pytest.raises(RuntimeError, match=message):
        call()


# ---------------------------------------------------------------------------------------------------------------------
# Layers

LAYERS = [
    ("Conv1d", (4, 6, 3), {}, (2, 4, 8)),
    ("Conv2d", (4, 8, (3, 2), 2, 1, 2, 2, False), {}, (2, 4, 9, 8)),
    ("Conv2d", (2, 3, (3, 4)), {"padding": "same", "padding_mode": "circular"}, (2, 2, 6, 5)),
    ("Conv2d", (2, 3, 3), {"padding": (2, 1), "padding_mode": "reflect", "stride": 2}, (2, 6, 5)),
    ("Conv2d", (2, 3, 3), {"padding": "valid", "padding_mode": "replicate"}, (2, 2, 6, 5)),
    ("Conv3d", (1, 2, 2), {"padding": 1, "padding_mode": "replicate"}, (1, 1, 2, 3, 2)),
    ("ConvTranspose1d", (4, 6, 3), {"groups": 2}, (2, 4, 5)),
    ("ConvTranspose2d", (4, 2, 3, 2, 1, 1, 2, False, 2), {}, (2, 4, 4, 3)),
    ("ConvTranspose3d", (1, 2, 2), {}, (1, 1, 2, 3, 2)),
    ("Unfold", ((2, 2),), {"stride": 2}, (2, 3, 4, 4)),
    ("Fold", ((4, 4), 2), {}, (2, 12, 9)),
]


@pytest.mark.parametrize(("name", "args", "kwargs", "shape"), LAYERS)
def test_layers_are_pytorchs(name, args, kwargs, shape):
    torch = pytest.importorskip("torch")
    ours, theirs = getattr(nn, name)(*args, **kwargs), getattr(torch.nn, name)(*args, **kwargs)
    assert repr(ours) == repr(theirs)
    assert {k: tuple(v.shape) for k, v in ours.state_dict().items()} == {
        k: tuple(v.shape) for k, v in theirs.state_dict().items()
    }
    theirs.load_state_dict({k: torch.tensor(v.numpy()) for k, v in ours.state_dict().items()})
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    wanted = theirs(torch.tensor(x)).detach().numpy()
    np.testing.assert_allclose(ours(minidl.tensor(x)).detach().numpy(), wanted, rtol=1e-4, atol=1e-5)


def test_initial_values_fill_the_interval_that_fan_in_gives():
    for layer, fan_in in ((nn.Conv2d(8, 64, 3, groups=2), 36), (nn.ConvTranspose2d(64, 8, 3, groups=2), 36)):
        largest = max(float(layer.weight.abs().max()), float(layer.bias.abs().max()))
        assert 0.99 < largest * fan_in**0.5 <= 1
        assert abs(float(layer.weight.detach().mean())) * fan_in**0.5 < 0.05  # 2304 draws of deviation 0.58: 0.012


@pytest.mark.parametrize(("wanted", "shape"), [((9, 10), (1, 3, 9, 10)), ((1, 3, 10, 10), (1, 3, 10, 10))])
def test_output_size(wanted, shape):
    assert nn.ConvTranspose2d(4, 3, 3, stride=2)(minidl.ones(1, 4, 4, 4), output_size=wanted).shape == shape


@pytest.mark.parametrize(("wanted", "message"), [((11, 9), r"from \[9, 9\] to \[10, 10\]"), ((9,), "2 or 4 elements")])
def test_output_size_out_of_range(wanted, message):
    with pytest.raises(ValueError, match=message):
        nn.ConvTranspose2d(4, 3, 3, stride=2)(minidl.ones(1, 4, 4, 4), output_size=wanted)


@pytest.mark.parametrize(
    ("cls", "args", "kwargs", "message"),
    [
        (nn.Conv2d, (3, 4, 2), {"groups": 2}, "in_channels must be divisible by groups"),
        (nn.Conv2d, (4, 3, 2), {"groups": 2}, "out_channels must be divisible by groups"),
        (nn.Conv2d, (3, 4, 2), {"groups": 0}, "groups must be a positive integer"),
        (nn.Conv2d, (3, 4, (2, 2, 2)), {}, "kernel_size must be one number or 2"),
        (nn.Conv2d, (3, 4, 2), {"padding": "full"}, "Invalid padding string 'full'"),
        (nn.Conv2d, (3, 4, 2), {"padding": "same", "stride": 2}, "not supported for strided"),
        (nn.Conv2d, (3, 4, 2), {"padding_mode": "mirror"}, "padding_mode must be one of"),
        (nn.ConvTranspose2d, (3, 4, 2), {"padding_mode": "reflect"}, 'Only "zeros"'),
        (nn.ConvTranspose2d, (3, 4, 2), {"padding": "same"}, "should be numbers"),
    ],
)
def test_layers_refuse(cls, args, kwargs, message):
    with pytest.raises(ValueError, match=message):
        cls(*args, **kwargs)


def test_one_number_in_a_list_counts_for_every_dimension():
    layer = nn.Conv2d(1, 1, 3, stride=[2], padding=(1,))
    assert layer.stride == (2, 2) and layer.padding == (1, 1) and layer(minidl.ones(1, 1, 8, 8)).shape == (1, 1, 4, 4)
