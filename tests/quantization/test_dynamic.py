"""Dynamic layers against PyTorch's, their files, and weights of four bits."""

from __future__ import annotations

import io

import numpy as np
import pytest

import minidl as md
from minidl import nn
from minidl import quantization as Q


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def size_of(state):
    file = io.BytesIO()
    md.save(state, file)
    return len(file.getvalue()), file


def pytorchs(torch, layer):
    """PyTorch's dynamic quantization of one layer, on the kernels that all its CPUs have."""
    torch.backends.quantized.engine = "fbgemm"
    kind = type(layer)
    return torch.ao.quantization.quantize_dynamic(torch.nn.Sequential(layer), {kind}, dtype=torch.qint8)[0]


@pytest.mark.parametrize("shape", [(7, 20), (1, 20), (2, 3, 20), (20,), (0, 20)])
@pytest.mark.parametrize("bias", [True, False])
def test_linear_against_pytorch(shape, bias):
    """The same weights; PyTorch's inputs have 7 bits and these 8, so the results agree to PyTorch's error, and are nearer."""
    torch = pytest.importorskip("torch")
    theirs_float = torch.nn.Linear(20, 33, bias=bias)
    ours_float = nn.Linear(20, 33, bias=bias)
    ours_float.load_state_dict({k: md.tensor(v.numpy()) for k, v in theirs_float.state_dict().items()})
    ours, theirs = Q.quantize_dynamic(ours_float, {nn.Linear}), pytorchs(torch, theirs_float)
    np.testing.assert_array_equal(ours.weight().int_repr().numpy(), theirs.weight().int_repr().numpy())
    assert np.isclose(ours.weight().q_scale(), theirs.weight().q_scale(), rtol=1e-6)
    x = drawn(*shape)
    with md.no_grad():
        exact, found = ours_float(md.tensor(x)).numpy(), ours(md.tensor(x)).numpy()
    assert found.shape == exact.shape and found.dtype == np.float32
    if x.size:
        wanted = theirs(torch.tensor(x).reshape(-1, 20)).detach().numpy().reshape(found.shape)
        assert np.abs(found - wanted).max() < 0.03 and np.abs(found - exact).max() < 0.02


def test_linear_is_its_integers():
    """The result is that of the integers: a sum of products of uint8 and int8, one scale and a bias."""
    layer = Q.dynamic.Linear.from_float(nn.Linear(9, 5))
    x = drawn(4, 9)
    low, high = min(x.min(), 0), max(x.max(), 0)
    scale = np.float32((float(high) - float(low)) / 255)
    zero = round(-float(low) / float(scale))
    integers = np.clip(np.rint(x * (np.float32(1) / scale)) + zero, 0, 255).astype(np.int64)
    sums = (integers - zero) @ layer.weight().int_repr().numpy().astype(np.int64).T
    wanted = sums * float(scale) * layer.weight().q_scale() + layer.bias().numpy()
    np.testing.assert_allclose(layer(md.tensor(x)).numpy(), wanted, rtol=1e-5, atol=1e-6)


def test_per_channel_weights_are_better():
    """With one output 20 times larger than the others, their common scale is of little use to these."""
    layer = nn.Linear(64, 16)
    with md.no_grad():
        layer.weight[3] *= 20.0
    x = md.tensor(drawn(32, 64))
    errors = []
    for qconfig in (Q.default_dynamic_qconfig, Q.per_channel_dynamic_qconfig):
        quantized = Q.quantize_dynamic(nn.Sequential(layer), {nn.Linear: qconfig})
        with md.no_grad():
            difference = (quantized(x) - layer(x)).numpy()
        errors.append(np.abs(np.delete(difference, 3, 1)).mean())
    assert errors[1] < 0.3 * errors[0], errors


@pytest.mark.parametrize("name", ["LSTM", "GRU"])
@pytest.mark.parametrize(
    "options", [{}, {"num_layers": 2, "bidirectional": True}, {"bias": False, "batch_first": True}]
)
def test_recurrent_layers_against_pytorch(name, options):
    torch = pytest.importorskip("torch")
    theirs_float, ours_float = getattr(torch.nn, name)(10, 16, **options), getattr(nn, name)(10, 16, **options)
    ours_float.load_state_dict({k: md.tensor(v.numpy()) for k, v in theirs_float.state_dict().items()})
    ours = Q.quantize_dynamic(nn.Sequential(ours_float), {getattr(nn, name)}, dtype=md.qint8)[0]
    assert type(ours) is getattr(Q.dynamic, name) and repr(ours).startswith(f"DynamicQuantized{name}(10, 16")
    x = drawn(5, 3, 10)
    found, last = ours(md.tensor(x))
    # without a bias PyTorch's fails
    wanted, others = (pytorchs(torch, theirs_float) if options.get("bias", True) else theirs_float)(torch.tensor(x))
    lasts = zip(last, others, strict=True) if name == "LSTM" else [(last, others)]
    for mine, other in ((found, wanted), *lasts):
        np.testing.assert_allclose(mine.numpy(), other.detach().numpy(), atol=0.02)
    again, _ = ours(md.tensor(x), last)
    assert again.shape == found.shape
    packed = nn.utils.rnn.pack_sequence([md.tensor(x[:4, 0]), md.tensor(x[:2, 1])])
    assert type(ours(packed)[0]) is type(packed)
    with pytest.raises(ValueError, match=r"expected a float32 input, got torch.float64"):
        ours(md.tensor(x).double())
    if name == "LSTM":
        with pytest.raises(NotImplementedError, match=r"dynamic.LSTM: states that are projected \(proj_size\)"):
            Q.quantize_dynamic(nn.LSTM(3, 4, proj_size=2), {nn.LSTM})


@pytest.mark.parametrize("name", ["RNNCell", "LSTMCell", "GRUCell"])
@pytest.mark.parametrize("bias", [True, False])
def test_cells_against_pytorch(name, bias):
    torch = pytest.importorskip("torch")
    theirs_float, ours_float = getattr(torch.nn, name)(7, 12, bias=bias), getattr(nn, name)(7, 12, bias=bias)
    ours_float.load_state_dict({k: md.tensor(v.numpy()) for k, v in theirs_float.state_dict().items()})
    ours = Q.quantize_dynamic(ours_float, {getattr(nn, name)})
    assert type(ours) is getattr(Q.dynamic, name) and not list(ours.parameters())
    assert repr(ours).startswith(f"DynamicQuantized{name}(7, 12")
    x, h = drawn(4, 7), 0.5 * drawn(2, 4, 12, seed=1)
    other = pytorchs(torch, theirs_float) if bias else theirs_float
    for state in (None, h if name == "LSTMCell" else h[0]):
        given = [None if state is None else tuple(map(m.tensor, state)) if name == "LSTMCell" else m.tensor(state)
                 for m in (md, torch)]  # fmt: skip
        found, wanted = ours(md.tensor(x), given[0]), other(torch.tensor(x), given[1])
        for mine, one in zip(*((r if name == "LSTMCell" else [r]) for r in (found, wanted)), strict=True):
            np.testing.assert_allclose(mine.numpy(), one.detach().numpy(), atol=0.02)
    assert ours(md.zeros(7))[0].shape == ((12,) if name == "LSTMCell" else ())
    with pytest.raises(ValueError, match=rf"dynamic.{name}: expected a float32 input and state, got torch.float64"):
        ours(md.zeros(2, 7, dtype=md.float64))


@pytest.mark.parametrize(
    "options", [{}, {"kdim": 6, "vdim": 5}, {"bias": False, "add_bias_kv": True, "batch_first": True}]
)
def test_attention(options):
    layer = nn.MultiheadAttention(16, 4, **options).eval()
    quantized = Q.quantize_dynamic(nn.Sequential(layer), {nn.MultiheadAttention})[0]
    query, key, value = (
        md.tensor(drawn(5, 3, width, seed=i))
        for i, width in enumerate((16, options.get("kdim", 16), options.get("vdim", 16)))
    )
    with md.no_grad():
        for inputs in ((query, key, value), (query, query, query))[: 1 if "kdim" in options else 2]:
            for exact, found in zip(layer(*inputs), quantized(*inputs), strict=True):
                np.testing.assert_allclose(found.numpy(), exact.numpy(), atol=0.03)
    assert not list(quantized.parameters())


@pytest.mark.parametrize("shape", [(4,), (2, 3), ()])
def test_embedding_against_pytorch(shape):
    torch = pytest.importorskip("torch")
    table, index = drawn(10, 8), np.random.default_rng(0).integers(0, 10, shape)
    ours = Q.quantize_dynamic(nn.Sequential(nn.Embedding.from_pretrained(md.tensor(table))), {nn.Embedding})[0]
    theirs = torch.nn.Sequential(torch.nn.Embedding.from_pretrained(torch.tensor(table)))
    qconfig = torch.ao.quantization.float_qparams_weight_only_qconfig
    theirs = torch.ao.quantization.quantize_dynamic(theirs, {torch.nn.Embedding: qconfig})[0]
    np.testing.assert_array_equal(ours.weight().int_repr().numpy(), theirs.weight().int_repr().numpy())
    found = ours(md.tensor(index)).numpy()
    if index.ndim:
        np.testing.assert_allclose(found, theirs(torch.tensor(index)).numpy(), atol=1e-6)
    np.testing.assert_allclose(found, table[index], atol=np.ptp(table, 1).max() / 255)
    for bad, error, message in (
        ([10], IndexError, "10 to 10, the table has 10 rows"),
        ([0.5], RuntimeError, "int32 or int64"),
    ):
        with pytest.raises(error, match=message):
            ours(md.tensor(bad))
    with pytest.raises(NotImplementedError, match="max_norm"):
        Q.quantize_dynamic(nn.Embedding(3, 2, max_norm=1.0), {nn.Embedding})


@pytest.mark.parametrize("bits", [8, 4])
def test_embedding_bag_against_pytorch(bits):
    """PyTorch's adds up and holds 4-bit scales in float16."""
    torch = pytest.importorskip("torch")
    table, index = drawn(10, 8), np.random.default_rng(0).integers(0, 10, (6, 5))
    ours = nn.EmbeddingBag.from_pretrained(md.tensor(table), mode="sum")
    theirs = torch.nn.EmbeddingBag.from_pretrained(torch.tensor(table), mode="sum")
    for m in (md, torch):
        q, kind = m.ao.quantization, m.nn.EmbeddingBag
        made = q.quantize_dynamic(
            m.nn.Sequential(ours if m is md else theirs), {kind}, dtype=m.quint8 if bits == 8 else m.quint4x2
        )
        ours, theirs = (made[0], theirs) if m is md else (ours, made[0])
    assert type(ours) is Q.quantized.EmbeddingBag and repr(ours.weight().dtype) == repr(theirs.weight().dtype)
    np.testing.assert_array_equal(ours.weight().int_repr().numpy(), theirs.weight().int_repr().numpy())
    tolerance = {"atol": 1e-5} if bits == 8 else {"atol": 5e-2}
    np.testing.assert_allclose(ours(md.tensor(index)).numpy(), theirs(torch.tensor(index)).numpy(), **tolerance)
    offsets, factors = np.array([0, 0, 11, 30]), np.abs(drawn(30))
    flat = index.reshape(-1)
    found = ours(md.tensor(flat), md.tensor(offsets), md.tensor(factors))
    wanted = theirs(torch.tensor(flat), torch.tensor(offsets), torch.tensor(factors))
    np.testing.assert_allclose(found.numpy(), wanted.numpy(), rtol=1e-4, **tolerance)


@pytest.mark.parametrize(
    "options", [{"mode": "mean", "padding_idx": 3}, {"mode": "max"}, {"mode": "sum", "include_last_offset": True}]
)
@pytest.mark.parametrize("dtype", [md.quint8, md.quint4x2], ids=repr)
def test_embedding_bag_does_what_the_float_layer_does(options, dtype):
    layer = nn.EmbeddingBag(9, 7, **options)  # rows of odd width: half of the last byte is not used
    quantized = Q.quantize_dynamic(layer, {nn.EmbeddingBag}, dtype=dtype)
    assert not list(quantized.parameters()) and quantized.weight().shape == (9, 7)
    rounded = nn.EmbeddingBag(9, 7, _weight=quantized.weight().dequantize(), **options)
    index, offsets = md.tensor([3, 1, 1, 8, 3, 0, 3]), md.tensor([0, 2, 2, 6])
    for given in ((index, offsets), (index[:6].reshape(2, 3), None)):
        if given[1] is None and "include_last_offset" in options:
            continue
        with md.no_grad():
            np.testing.assert_allclose(quantized(*given).numpy(), rounded(*given).numpy(), rtol=1e-5, atol=1e-6)
    step = np.ptp(np.concatenate([layer.weight.detach().numpy(), np.zeros((9, 1))], 1), 1) / dtype.high
    assert (np.abs((quantized.weight().dequantize() - layer.weight.detach()).numpy()) <= 0.501 * step[:, None]).all()
    with pytest.raises(IndexError, match=r"quantized.EmbeddingBag: indices from 0 to 9, the table has 9 rows"):
        quantized(md.tensor([[0, 9]]))


def test_tables_of_four_bits_in_files():
    table = nn.Embedding(500, 64)
    quantized = Q.quantize_dynamic(table, {nn.Embedding}, dtype=md.quint4x2)
    size, file = size_of(quantized.state_dict())
    assert size_of(table.state_dict())[0] / size > 6  # 32 bits against 4 and, for each row, two floats
    other = Q.quantize_dynamic(nn.Embedding(500, 64), {nn.Embedding}, dtype=md.quint4x2)
    file.seek(0)
    other.load_state_dict(md.load(file))
    index = md.arange(500)
    np.testing.assert_array_equal(other(index).numpy(), quantized(index).numpy())
    np.testing.assert_array_equal(quantized(index).numpy(), quantized.weight().dequantize().numpy())
    assert repr(quantized) == (
        "QuantizedEmbedding(num_embeddings=500, embedding_dim=64, dtype=torch.quint4x2, "
        "qscheme=torch.per_channel_affine_float_qparams)"
    )
    with pytest.raises(
        RuntimeError, match=r"tables are quint8, qint8 or quint4x2 with a scale for each row, got torch.qint8"
    ):
        Q.quantize_dynamic(table, {nn.Embedding: Q.default_dynamic_qconfig})


def test_a_layer_in_two_places_is_quantized_once():
    shared = nn.Linear(4, 4)
    model = nn.Sequential(shared, nn.ReLU(), shared)
    for quantized in (Q.quantize_dynamic(model), Q.quantize_dynamic(model, {"2"}), Q.quantize_weight_only(model)):
        assert quantized[0] is quantized[2] and type(quantized[0]) is not nn.Linear
    with pytest.raises(ValueError, match="the model has no layer of Linear"):
        Q.quantize_dynamic(Q.quantize_dynamic(model), {nn.Linear})


def test_what_a_dict_says():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.LSTM(4, 4))
    found = Q.quantize_dynamic(model, {nn.Linear: Q.per_channel_dynamic_qconfig, "1": None})
    assert [type(layer) for layer in found] == [Q.dynamic.Linear, nn.Linear, nn.LSTM]
    assert found[0].weight().qscheme() is md.per_channel_affine
    everything = Q.quantize_dynamic(nn.ModuleList([nn.Linear(2, 2), *(getattr(nn, n)(2, 2) for n in ("LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell")), nn.Embedding(2, 2)]))  # fmt: skip
    assert [type(layer).__module__.rpartition(".")[2] for layer in everything] == ["dynamic"] * 6 + ["sparse"]
    tables = Q.quantize_dynamic(
        nn.ModuleList([nn.Linear(2, 2), nn.Embedding(2, 2), nn.EmbeddingBag(2, 2)]), dtype=md.quint8
    )
    assert [type(layer).__module__.rpartition(".")[2] for layer in tables] == ["linear", "embedding", "embedding"]


def model():
    return nn.Sequential(nn.Embedding(100, 64), nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 128))


def test_files_are_small_and_hold_no_floats():
    float_model = model()
    quantized = Q.quantize_dynamic(float_model, {nn.Linear, nn.Embedding})
    size, file = size_of(quantized.state_dict())
    before, _ = size_of(float_model.state_dict())
    assert before / size > 3.5, (before, size)
    assert not list(quantized.parameters())  # the float weights are gone
    skeleton = Q.quantize_dynamic(model(), {nn.Linear, nn.Embedding})
    index = md.arange(100)
    before_loading = skeleton(index)
    file.seek(0)
    skeleton.load_state_dict(md.load(file))
    assert (before_loading - quantized(index)).abs().max() > 0.01  # the packed weights are those that were loaded
    np.testing.assert_array_equal(skeleton(index).numpy(), quantized(index).numpy())
    with pytest.raises(RuntimeError, match="_weight"):
        model().load_state_dict(quantized.state_dict())
    with pytest.raises(RuntimeError, match="size mismatch"):
        skeleton.load_state_dict(
            Q.quantize_dynamic(model()[:2], {nn.Linear}).state_dict() | {"1._weight": quantized[3].weight()}
        )


def test_what_is_quantized():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 3)), nn.Linear(3, 1)

    net = Net()
    found = Q.quantize_dynamic(net, {"body.1", "head"})
    kinds = [type(found.get_submodule(n)).__module__.rpartition(".")[2] for n in ("body.0", "body.1", "head")]
    assert kinds == ["linear", "dynamic", "dynamic"] and type(net.head) is nn.Linear and not found.training
    assert Q.quantize_dynamic(net, {nn.Linear}, inplace=True) is net and type(net.head) is Q.dynamic.Linear
    assert repr(net.head) == (
        "DynamicQuantizedLinear(in_features=3, out_features=1, dtype=torch.qint8, qscheme=torch.per_tensor_affine)"
    )
    assert (
        md.ao.quantization.quantize_dynamic is Q.quantize_dynamic
        and md.ao.nn.quantized.dynamic.Linear is Q.dynamic.Linear
    )


def test_mistakes():
    layer = Q.quantize_dynamic(nn.Linear(4, 2), {nn.Linear})
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError, match="NaN or infinite"):
            layer(md.tensor([[1.0, bad, 0, 0]]))
    with pytest.raises(RuntimeError, match=r"expected inputs of 4 features, got shape \[1, 3\]"):
        layer(md.ones(1, 3))
    with pytest.raises(RuntimeError, match="expected a float32 input on cpu, where the weights are, got float64"):
        layer(md.ones(1, 4).double())
    with pytest.raises(TypeError, match=r"quantized.dynamic.Linear: expected a tensor of floats, got torch.quint8"):
        layer(md.quantize_per_tensor(md.ones(1, 4), 0.1, 0, md.quint8))
    with pytest.raises(ValueError, match=r"no quantized form of Conv2d; there are Embedding, EmbeddingBag, GRU"):
        Q.quantize_dynamic(nn.Sequential(nn.Conv2d(1, 1, 1)), {nn.Conv2d})
    with pytest.raises(ValueError, match="the model has no layer of Linear"):
        Q.quantize_dynamic(nn.Sequential(nn.ReLU()), {nn.Linear})
    with pytest.raises(ValueError, match="dtype is qint8"):
        Q.quantize_dynamic(nn.Linear(4, 2), {nn.Linear}, dtype=md.float16)
    with md.no_grad():
        wrong = nn.Linear(4, 2)
        wrong.weight[0, 0] = np.nan
    with pytest.raises(ValueError, match="NaN or infinite"):
        Q.quantize_dynamic(wrong, {nn.Linear})


@pytest.mark.parametrize("group", [32, 64, 128])
@pytest.mark.parametrize("sizes", [(128, 5), (300, 33), (1, 1)])
def test_four_bits(group, sizes):
    K, N = sizes
    layer = nn.Linear(K, N)
    quantized = Q.quantize_weight_only(nn.Sequential(layer), group)[0]
    weight, exact = quantized.weight().numpy(), layer.weight.detach().numpy()
    ranges = np.pad(exact, ((0, 0), (0, -K % group))).reshape(N, -1, group)
    steps = np.repeat((ranges.max(2).clip(0) - ranges.min(2).clip(max=0)) / 15, group, 1)[:, :K]
    # half a step, and as much again at the ends, whose zero point is rounded too; scales are float16
    assert (np.abs(weight - exact) <= steps * 1.01 + 1e-6).all()
    for rows in (1, 3, 9):
        x = md.tensor(drawn(rows, K))
        wanted = x.numpy() @ weight.T + layer.bias.detach().numpy()
        np.testing.assert_allclose(quantized(x).numpy(), wanted, rtol=1e-4, atol=1e-4)


def test_four_bits_in_files():
    layer = nn.Linear(1024, 512)
    quantized = Q.quantize_weight_only(layer)
    size, file = size_of(quantized.state_dict())
    assert size_of(layer.state_dict())[0] / size > 6.5  # 32 bits against 4.75
    other = Q.quantize_weight_only(nn.Linear(1024, 512))
    x = md.ones(1, 1024)
    other(x)
    file.seek(0)
    other.load_state_dict(md.load(file))
    np.testing.assert_array_equal(other(x).numpy(), quantized(x).numpy())
    assert repr(quantized) == "WeightOnlyLinear(in_features=1024, out_features=512, bits=4, group_size=32)"
    with pytest.raises(ValueError, match="groups are of 32, 64, 128 weights, got 16"):
        Q.quantize_weight_only(layer, 16)
    with pytest.raises(ValueError, match=r"no nn.Linear"):
        Q.quantize_weight_only(nn.ReLU())
    with pytest.raises(RuntimeError, match="expected float32 inputs of 1024 features"):
        quantized(md.ones(1, 3))
