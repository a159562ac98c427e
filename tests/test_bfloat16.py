"""bfloat16 against PyTorch: bit for bit where both compute in float32 and round once."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest

import minidl as md
import minidl.nn.functional as F
from minidl import dtypes, nn
from minidl.autograd.precision import twin
from minidl.ops.arithmetic import Div

torch = pytest.importorskip("torch")
TF = torch.nn.functional
SPECIAL = [0.0, -0.0, float("inf"), float("-inf"), float("nan"), 3e38, -1.0, 1.0, 257.0]


def both(values):
    """The same numbers as bfloat16 tensors of minidl and PyTorch."""
    return md.tensor(values).bfloat16(), torch.tensor(values).bfloat16()


def draw(*shape, seed=0, low=-3.0, high=3.0):
    return both(np.random.default_rng(seed).uniform(low, high, shape).astype(np.float32))


def bits(x):
    """The numbers as integers that count representable numbers; both zeros are 0."""
    raw = (x.float().numpy() if isinstance(x, torch.Tensor) else x.float().detach().numpy()).view(np.int32) >> 16
    return np.where(raw < 0, -(raw & 0x7FFF), raw)


def same(ours, theirs, ulp=0):
    """Equal dtype, shape and values, or values at most `ulp` representable numbers apart."""
    theirs = theirs.detach()
    assert str(ours.dtype) == str(theirs.dtype) and tuple(ours.shape) == tuple(theirs.shape)
    if ours.dtype is not md.bfloat16:
        np.testing.assert_array_equal(ours.detach().numpy(), theirs.numpy())
        return
    a, b = ours.detach().float().numpy(), theirs.float().numpy()
    apart = np.where(np.isnan(a) & np.isnan(b), 0, np.abs(bits(ours) - bits(theirs)))
    assert apart.max(initial=0) <= ulp, f"{apart.max()} representable numbers apart, at most {ulp} expected"


@pytest.mark.tiny
def test_conversion_rounds_to_the_nearest_even():
    raw = np.random.default_rng(0).integers(0, 2**32, 4096, dtype=np.uint32).view(np.float32)
    with np.errstate(all="ignore"):
        x = np.concatenate([raw, np.float32(SPECIAL), np.float32([1 + 2**-8, 1 + 3 * 2**-8])])  # two ties
    same(*both(x))
    for dtype in ("float16", "float32", "float64", "int32", "bool"):
        ours, theirs = draw(50)
        assert ours.to(getattr(md, dtype)).tolist() == theirs.to(getattr(torch, dtype)).tolist()
    assert md.tensor([1.1, 2.2]).to(md.bfloat16).tolist() == [1.1015625, 2.203125]


UNARY = ("neg abs sqrt rsqrt exp expm1 exp2 log log1p log2 sin cos tan tanh sigmoid erf erfc floor ceil round trunc frac sign "
         "square reciprocal isnan isfinite relu asinh atan nan_to_num logical_not").split()  # fmt: skip


@pytest.mark.parametrize("name", UNARY)
def test_functions_of_one_number_round_once(name):
    values = np.concatenate([np.random.default_rng(1).uniform(-6, 6, 400), SPECIAL]).astype(np.float32)
    ours, theirs = both(values)
    # 1: the float32 function itself may be an ulp of float32 apart, and with it the side of a tie
    with np.errstate(all="ignore"):
        same(
            getattr(md, name)(ours),
            getattr(torch, name)(theirs),
            ulp=int(name in ("tan", "erfc", "log2", "exp2", "rsqrt")),
        )


@pytest.mark.parametrize("name", "add sub mul div maximum minimum fmod remainder atan2 eq lt ge".split())
def test_functions_of_two_numbers(name):
    (a, ta), (b, tb) = draw(200, 3), draw(3, seed=1, low=0.5)
    same(getattr(md, name)(a, b), getattr(torch, name)(ta, tb))
    for number in (0.1, 3, 2.7):
        same(getattr(md, name)(a, md.tensor(number)), getattr(torch, name)(ta, torch.tensor(number)))
    if name not in ("maximum", "minimum", "atan2"):
        for number in (
            0.1,
            3,
            2.7,
        ):  # 0.1 is not a bfloat16: products take it as it is, sums and comparisons its rounding
            same(getattr(md, name)(a, number), getattr(torch, name)(ta, number))


@pytest.mark.tiny
def test_promotion_is_pytorchs():
    names = [name for name in dtypes.ALL if hasattr(torch, name)]
    for name in names:
        mine, theirs = getattr(md, name), getattr(torch, name)
        assert str(md.promote_types(md.bfloat16, mine)) == str(torch.promote_types(torch.bfloat16, theirs))
        if name.startswith("uint") and name != "uint8":
            continue  # PyTorch multiplies none of these
        for shape in ((), (2,)):
            for other in ((), (2,)):
                ours = md.ones(shape, dtype=md.bfloat16) * md.ones(other, dtype=mine)
                wanted = torch.ones(shape, dtype=torch.bfloat16) * torch.ones(other, dtype=theirs)
                assert str(ours.dtype) == str(wanted.dtype), (name, shape, other)
    x, t = draw(2)
    for number in (True, 2, 2.5, 2j):
        assert str((x * number).dtype) == str((t * number).dtype)


def test_sums_are_taken_in_float32():
    x, t = draw(64, 300, low=0.0)
    ones = md.ones(3000, dtype=md.bfloat16)
    assert ones.sum().item() == 3008.0  # 3000 rounded; one by one they would stay at 256
    assert (ones.expand(2, 3000).sum(1)).tolist() == [3008.0, 3008.0]
    for f in ("sum", "mean", "var", "std", "amax", "argmax", "norm", "logsumexp"):
        for dim in (0, 1):
            # another order of the sum can round to the other side
            same(getattr(x, f)(dim), getattr(t, f)(dim), ulp=int(f not in ("amax", "argmax")))
    assert x.sum(dtype=md.float32).dtype is md.float32
    y = md.ones(3000, 1, dtype=md.bfloat16, requires_grad=True)
    (y * md.ones(3000, 300, dtype=md.bfloat16)).sum().backward()
    assert y.grad.dtype is md.bfloat16 and set(y.grad.flatten().tolist()) == {300.0}


def test_layers_give_pytorchs_values_and_gradients():
    """Within 1 ulp: sums of products in another order, and PyTorch's own results that are rounded in between."""
    (x, tx), (w, tw), (b, tb) = draw(6, 40), draw(8, 40, seed=1), draw(8, seed=2)
    (image, ti), (k, tk) = draw(2, 3, 7, 6, seed=3), draw(4, 3, 3, 3, seed=4)
    (g, tg), target = draw(40, seed=5), [1, 3, 0, 39, 5, 7]
    calls = [
        (F.linear, TF.linear, (x, w, b), (tx, tw, tb)),
        (md.matmul, torch.matmul, (x, w.T), (tx, tw.T)),
        (md.addmm, torch.addmm, (b, x, w.T), (tb, tx, tw.T)),
        (F.conv2d, TF.conv2d, (image, k), (ti, tk)),
        (lambda x: F.softmax(x, 1), lambda x: TF.softmax(x, 1), (x,), (tx,)),
        (lambda x: F.layer_norm(x, (40,), g, g), lambda x: TF.layer_norm(x, (40,), tg, tg), (x,), (tx,)),
        (F.gelu, TF.gelu, (x,), (tx,)),
        (F.silu, TF.silu, (x,), (tx,)),
        (F.mse_loss, TF.mse_loss, (x, x * 2), (tx, tx * 2)),
        (lambda x: F.cross_entropy(x, md.tensor(target)), lambda x: TF.cross_entropy(x, torch.tensor(target)), (x,), (tx,)),
        (lambda x: F.max_pool2d(x, 2), lambda x: TF.max_pool2d(x, 2), (image,), (ti,)),
        (lambda x: F.embedding(md.tensor([0, 2, 2]), x), lambda x: TF.embedding(torch.tensor([0, 2, 2]), x), (x,), (tx,)),
    ]  # fmt: skip
    for mine, theirs, ours, wanted in calls:
        ours = [a.detach().requires_grad_() for a in ours]
        wanted = [a.detach().requires_grad_() for a in wanted]
        out, expected = mine(*ours), theirs(*wanted)
        same(out, expected, ulp=1)
        (cotangent, tc) = draw(*out.shape, seed=9)
        out.backward(cotangent)
        expected.backward(tc)
        for a, t in zip(ours, wanted, strict=True):
            assert a.grad.dtype is md.bfloat16
            # relative to the largest gradient: two roundings of 2^-9 each, of results that are kept and of the gradient
            largest = t.grad.float().abs().max().item()
            np.testing.assert_allclose(a.grad.float().numpy(), t.grad.float().numpy(), rtol=0, atol=largest * 2**-7)


def test_attention():
    """PyTorch rounds the probabilities to bfloat16 on the way, so that sums that cancel differ more."""
    q, t = draw(2, 3, 7, 8)
    for causal in (False, True):
        ours = F.scaled_dot_product_attention(q, q, q, is_causal=causal)
        theirs = TF.scaled_dot_product_attention(t, t, t, is_causal=causal)
        exact = TF.scaled_dot_product_attention(t.float(), t.float(), t.float(), is_causal=causal)
        same(ours, exact.bfloat16(), ulp=1)
        np.testing.assert_allclose(ours.float().numpy(), theirs.float().numpy(), rtol=2**-7, atol=3 * 2**-8)


@pytest.mark.tiny
def test_the_graph_is_that_of_the_operations():
    x = md.tensor([1.5, 2.5], dtype=md.bfloat16, requires_grad=True)
    y = md.tanh(x) * 0.1
    assert y.grad_fn.name() == "MulBackward0" and y.grad_fn.next_functions[0][0].name() == "TanhBackward0"
    assert isinstance(y.grad_fn.next_functions[0][0].kept[0], md.Tensor)
    assert y.grad_fn.next_functions[0][0].kept[0].dtype is md.bfloat16  # half the memory
    assert twin(Div) is twin(Div) and issubclass(twin(Div), Div)
    (gx,) = md.autograd.grad((x * x * x).sum(), x, create_graph=True)
    (ggx,) = md.autograd.grad(gx.sum(), x)
    assert gx.tolist() == [6.75, 18.75] and ggx.tolist() == [9.0, 15.0] and ggx.dtype is md.bfloat16
    wide = md.tensor([2.0], requires_grad=True)
    (wide.bfloat16() * 3).sum().backward()
    assert wide.grad.dtype is md.float32 and wide.grad.tolist() == [3.0]


def test_moving_numbers_keeps_them():
    x, t = draw(4, 6)
    index, tindex = md.tensor([2, 0]), torch.tensor([2, 0])
    for ours, theirs in (
        (x[1:3, ::2], t[1:3, ::2]), (x[index], t[tindex]), (x.T, t.T), (md.cat([x, x]), torch.cat([t, t])),
        (md.stack([x, x], 1), torch.stack([t, t], 1)), (x.flip(0), t.flip(0)), (x.sort(1).values, t.sort(1).values),
        (x.topk(3).values, t.topk(3).values), (x.argsort(1), t.argsort(1)), (x.max(1).indices, t.max(1).indices),
        (md.where(x > 0, x, 0.1), torch.where(t > 0, t, 0.1)), (x.clamp(-0.3, 0.7), t.clamp(-0.3, 0.7)),
        (x.masked_fill(x > 1, 2.7), t.masked_fill(t > 1, 2.7)), (md.tril(x), torch.tril(t)), (x.unique(), t.unique()),
        (md.cat([x, x.float()]), torch.cat([t, t.float()])), (x.cumsum(1), t.cumsum(1)), (x.median(), t.median()),
    ):  # fmt: skip
        same(ours, theirs)
    view = x[1]
    view.fill_(2.0)
    x[0, 0] = 0.1
    x += 1
    t[1].fill_(2.0)
    t[0, 0] = 0.1
    t += 1
    same(x, t)
    assert view.tolist() == [3.0] * 6  # still on one memory


@pytest.mark.tiny
def test_making_and_printing():
    for text in ("tensor([[1e-5, 3e8]], dtype=m.bfloat16)", "tensor(3.14159, dtype=m.bfloat16)", "arange(3, dtype=m.bfloat16)",
                 "linspace(0, 1, 5, dtype=m.bfloat16)", "eye(2, dtype=m.bfloat16)", "full((2,), 3.14159, dtype=m.bfloat16)",
                 "zeros(2, 0, dtype=m.bfloat16)", "tensor([1.1, 2.2, 3.3], dtype=m.bfloat16, requires_grad=True) * 2.5",
                 "finfo(m.bfloat16)", "ones(3).bfloat16().type()", "tensor([m.inf, m.nan, -1]).bfloat16()"):  # fmt: skip
        ours, theirs = (repr(eval(f"m.{text}", {"m": m})) for m in (md, torch))
        assert ours == theirs
    x = md.tensor(3.14159, dtype=md.bfloat16)
    assert x.item() == 3.140625 and f"{x:.2f}" == "3.14" and x.element_size() == md.bfloat16.itemsize == 2
    assert x.is_floating_point() and md.bfloat16.is_floating_point and md.bfloat16.is_signed and not x.is_complex()
    info, wanted = md.finfo(md.bfloat16), torch.finfo(torch.bfloat16)
    assert all(getattr(info, k) == getattr(wanted, k) for k in ("bits", "min", "max", "eps", "tiny", "resolution"))
    for draws in (
        md.rand(1000, dtype=md.bfloat16),
        md.randn(5, dtype=md.bfloat16),
        md.zeros(1000).bfloat16().uniform_(),
    ):
        assert draws.dtype is md.bfloat16 and draws.isfinite().all()
    assert md.rand(100000, dtype=md.bfloat16).max().item() < 1  # rounding to the nearest would give 1
    layer = nn.init.kaiming_uniform_(md.empty(20, 30, dtype=md.bfloat16))
    assert layer.dtype is md.bfloat16 and 0 < layer.std().item() < 1


@pytest.mark.tiny
def test_what_is_not_defined_says_so():
    x = md.ones(2, 2, dtype=md.bfloat16)
    for use, message in (
        (x.numpy, "Got unsupported ScalarType BFloat16.*float\\(\\)"),
        (lambda: np.asarray(x), "unsupported ScalarType BFloat16"),
        (lambda: x @ md.ones(2, 2), "matmul: expected .*same dtype, but got: bfloat16 != float32"),
        (lambda: F.linear(md.ones(2, 2), x), "linear: expected .*same dtype"),
        (lambda: md.fft.fft(x), "fft.fft: Unsupported dtype torch.bfloat16"),
        (lambda: md.linalg.inv(x), "linalg.inv: Low precision dtypes not supported. Got BFloat16"),
        (lambda: md.complex(x, x), "complex: expected two float32"),
    ):
        with pytest.raises((TypeError, RuntimeError), match=message):
            use()


def test_without_ml_dtypes(monkeypatch):
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with pytest.raises(ModuleNotFoundError, match=r"bfloat16 needs the package ml_dtypes.*pip install ml_dtypes"):
        dtypes.bfloat16_dtype("bfloat16", None).dtype  # noqa: B018


def test_ml_dtypes_is_imported_at_the_first_use():
    code = """
import sys, minidl, numpy
minidl.nn.Linear(2, 2)(minidl.ones(1, 2)).sum().backward()
assert minidl.bfloat16.is_floating_point and minidl.bfloat16.itemsize == 2 and "ml_dtypes" not in sys.modules
import ml_dtypes  # an array that was made elsewhere
assert minidl.from_numpy(numpy.ones(2, ml_dtypes.bfloat16)).dtype is minidl.bfloat16
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_files(tmp_path):
    from safetensors import torch as theirs

    x, t = draw(3, 4)
    md.save({"x": x, "p": nn.Parameter(x)}, tmp_path / "ours.safetensors")
    back = md.load(tmp_path / "ours.safetensors")
    same(back["x"], t)
    assert isinstance(back["p"], nn.Parameter) and back["p"].requires_grad
    same(x, theirs.load_file(tmp_path / "ours.safetensors")["x"])
    torch.save({"w": t, "part": t[1]}, tmp_path / "theirs.pt")
    loaded = md.load(tmp_path / "theirs.pt")
    same(loaded["w"], t)
    loaded["w"].zero_()
    assert loaded["part"].tolist() == [0.0] * 4  # on one memory
    for there_and_back in (pickle.loads(pickle.dumps(x)), copy.deepcopy(x)):
        same(there_and_back, t)


def test_modules_and_state_dicts():
    md.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    wide = {name: x.clone() for name, x in model.state_dict().items()}
    model.to(md.bfloat16)
    assert {x.dtype for x in model.parameters()} == {md.bfloat16}
    assert model[1].running_mean.dtype is md.bfloat16 and model[1].num_batches_tracked.dtype is md.int64
    out = model(md.randn(16, 4, dtype=md.bfloat16))
    out.sum().backward()
    assert out.dtype is md.bfloat16 and model[0].weight.grad.dtype is md.bfloat16
    assert model[1].running_var.dtype is md.bfloat16 and model[1].running_var[0].item() != 1
    low = model.state_dict()
    other = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    other.load_state_dict(low)  # each keeps its own dtype
    assert other[0].weight.dtype is md.float32 and other[0].weight.tolist() == low["0.weight"].tolist()
    model.load_state_dict(wide)
    same(model[0].weight, torch.tensor(wide["0.weight"].tolist()).bfloat16())
    assert nn.Linear(2, 2).bfloat16().weight.dtype is md.bfloat16
    eval_out = model.eval()(md.randn(3, 4, dtype=md.bfloat16))
    assert eval_out.dtype is md.bfloat16
    mixed = nn.LayerNorm(4)(md.randn(3, 4, dtype=md.bfloat16))  # float32 weights beside bfloat16, as in PyTorch
    assert mixed.dtype is md.bfloat16


@pytest.mark.parametrize(
    "name", "SGD Adam AdamW RMSprop Adagrad Adadelta Adamax NAdam RAdam Rprop ASGD Adafactor Muon".split()
)
def test_optimizers_round_once_a_step(name):
    md.manual_seed(1)
    p = nn.Parameter(md.randn(4, 6).bfloat16())
    wide = nn.Parameter(p.detach().float())
    options = {"lr": 0.1, "momentum": 0.9} if name == "SGD" else {"lr": 0.1}
    ours, reference = (getattr(md.optim, name)([x], **options) for x in (p, wide))
    for _ in range(2):
        grad = md.randn(4, 6).bfloat16()
        with md.no_grad():
            wide.copy_(p.float())
        p.grad, wide.grad = grad, grad.float()
        ours.step()
        reference.step()
        assert p.dtype is md.bfloat16
        # beside the parameter the state was rounded, to 8 bits, before the second step of at most about lr
        np.testing.assert_allclose(p.detach().float().numpy(), wide.detach().numpy(), rtol=2**-8, atol=2**-8 * 0.1)
    floats = [x for key, x in ours.state[p].items() if isinstance(x, md.Tensor) and key != "step"]
    assert all(x.dtype is md.bfloat16 for x in floats)


def test_training_reaches_what_float32_reaches():
    losses = {}
    for dtype in (md.float32, md.bfloat16):
        md.manual_seed(0)
        model = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 1)).to(dtype)
        x = md.randn(64, 8)
        y = (x[:, :1] * x[:, 1:2]).to(dtype)
        optimizer = md.optim.Adam(model.parameters(), lr=1e-2)
        for _ in range(150):
            optimizer.zero_grad()
            loss = F.mse_loss(model(x.to(dtype)), y)
            loss.backward()
            optimizer.step()
        losses[dtype] = loss.item()
    assert losses[md.float32] < 0.1 and losses[md.bfloat16] < 0.2


def test_default_dtype():
    md.set_default_dtype(md.bfloat16)
    try:
        assert md.randn(2).dtype is md.tensor(1.0).dtype is md.bfloat16 and nn.Linear(2, 2).weight.dtype is md.bfloat16
        assert repr(md.tensor([1.5])) == "tensor([1.5000])"
    finally:
        md.set_default_dtype(md.float32)


# ---------------------------------------------------------------------------------------------------------------------
# autocast on the CPU, and GradScaler


def calls(m, functional, nn):
    """What is called under autocast, by name, on float32 (x, w, ...) and bfloat16 (h, p) tensors."""
    x, w, b, q = m.ones(4, 8), m.ones(8, 8), m.ones(8), m.ones(2, 4, 8)
    image, k, kinds = m.ones(2, 3, 8, 8), m.ones(4, 3, 3, 3), m.zeros(4, dtype=m.int64)
    h, p, low = x.bfloat16(), (x * 0.5).bfloat16(), image.bfloat16()
    f = functional
    return {
        "linear": lambda: f.linear(x, w, b), "matmul": lambda: x @ w, "bmm": lambda: m.bmm(q, q.mT), "mm": lambda: m.mm(x, w),
        "addmm": lambda: m.addmm(b, x, w), "baddbmm": lambda: m.baddbmm(q @ q.mT, q, q.mT), "conv2d": lambda: f.conv2d(image, k),
        "conv_transpose2d": lambda: f.conv_transpose2d(image, m.ones(3, 4, 3, 3)), "einsum": lambda: m.einsum("ij,jk->ik", x, w),
        "outer": lambda: m.outer(b, b), "addr": lambda: m.addr(w, b, b), "bilinear": lambda: f.bilinear(x, x, m.ones(3, 8, 8)),
        "attention": lambda: f.scaled_dot_product_attention(q, q, q), "prelu": lambda: f.prelu(x, b[:1]),
        "lstm": lambda: nn.LSTM(8, 8)(q)[0], "gru": lambda: nn.GRU(8, 8)(q)[0], "rnn": lambda: nn.RNN(8, 8)(q)[0],
        "multihead": lambda: nn.MultiheadAttention(8, 2)(q, q, q)[0], "vecdot": lambda: m.linalg.vecdot(x, x),
        "softmax": lambda: f.softmax(h, -1), "softmax32": lambda: f.softmax(x, -1), "layer_norm": lambda: f.layer_norm(h, (8,), b, b),
        "layer_norm32": lambda: f.layer_norm(x, (8,), b, b), "group_norm": lambda: f.group_norm(low, 3, b[:3], b[:3]),
        "batch_norm": lambda: f.batch_norm(low, m.zeros(3), m.ones(3), m.ones(3), m.ones(3), True), "sum": lambda: h.sum(),
        "prod": lambda: h.prod(1), "cumsum": lambda: h.cumsum(0), "norm": lambda: h.norm(), "mean": lambda: h.mean(),
        "exp": lambda: h.exp(), "pow": lambda: h**2, "gelu": lambda: f.gelu(h), "cdist": lambda: m.cdist(h, h),
        "trace": lambda: m.trace(w.bfloat16()), "quantile": lambda: m.quantile(p, 0.5), "std": lambda: h.std(),
        "mse": lambda: f.mse_loss(h, h), "l1": lambda: f.l1_loss(h, h), "cross_entropy": lambda: f.cross_entropy(h, kinds),
        "nll": lambda: f.nll_loss(h, kinds), "bce": lambda: f.binary_cross_entropy(p, p), "huber": lambda: f.huber_loss(h, h),
        "logits": lambda: f.binary_cross_entropy_with_logits(h, p), "smooth": lambda: f.smooth_l1_loss(h, h),
        "kl": lambda: f.kl_div(h, p), "poisson": lambda: f.poisson_nll_loss(h, h), "gaussian": lambda: f.gaussian_nll_loss(h, h, p + 1),
        "triplet": lambda: f.triplet_margin_loss(h, h * 2, h), "multi_margin": lambda: f.multi_margin_loss(h, kinds),
        "soft_margin": lambda: f.multilabel_soft_margin_loss(h, p), "cosine": lambda: f.cosine_similarity(h, h),
        "avg_pool3d": lambda: f.avg_pool3d(low[None], 2), "avg_pool2d": lambda: f.avg_pool2d(low, 2),
        "max_pool3d": lambda: f.max_pool3d(low[None], 2), "adaptive3": lambda: f.adaptive_avg_pool3d(low[None], 2),
        "reflect": lambda: f.pad(low, (1, 1, 1, 1), "reflect"), "replicate": lambda: f.pad(low, (1, 1, 1, 1), "replicate"),
        "zeros": lambda: f.pad(low, (1, 1, 1, 1)), "cat": lambda: m.cat([h, x]), "stack": lambda: m.stack([h, x]),
        "add": lambda: h + x, "add of the same": lambda: h + h, "embedding": lambda: f.embedding(kinds, w), "relu": lambda: f.relu(h),
        "float64": lambda: x.double() @ w.double(), "dropout": lambda: f.dropout(h), "addcmul": lambda: m.addcmul(h, h, x),
        "fft": lambda: m.fft.fft(h),
    }  # fmt: skip


@pytest.mark.filterwarnings("ignore")
def test_autocast_chooses_pytorchs_dtypes():
    ours, theirs = calls(md, F, nn), calls(torch, TF, torch.nn)
    found = {}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        for name in ours:
            with md.autocast("cpu", dtype=md.bfloat16):
                mine = ours[name]()
            with torch.autocast("cpu", dtype=torch.bfloat16):
                wanted = theirs[name]()
            if str(mine.dtype) != str(wanted.dtype):
                found[name] = f"{mine.dtype}, PyTorch's {wanted.dtype}"
    assert not found


@pytest.mark.parametrize("cell", ["RNNCell", "LSTMCell", "GRUCell"])
@pytest.mark.parametrize("given", ["float32", "bfloat16"])
@pytest.mark.parametrize("state", [None, "float32", "bfloat16"])
def test_autocast_leaves_the_states_of_a_cell(cell, given, state):
    (x, tx), (h, th), (c, tc) = draw(3, 8), draw(3, 4, seed=1), draw(3, 4, seed=2)
    torch.manual_seed(0)
    ours, theirs = getattr(nn, cell)(8, 4), getattr(torch.nn, cell)(8, 4)
    ours.load_state_dict({name: md.tensor(value.numpy()) for name, value in theirs.state_dict().items()})
    results = []
    for m, module, *tensors in ((md, ours, x, h, c), (torch, theirs, tx, th, tc)):
        input = tensors[0].to(getattr(m, given))
        states = None if state is None else tuple(s.to(getattr(m, state)) for s in tensors[1:])
        with m.autocast("cpu", dtype=m.bfloat16):
            after = module(input, states if cell == "LSTMCell" or states is None else states[0])
        results.append(after if isinstance(after, tuple) else (after,))
    for mine, wanted in zip(*results, strict=True):
        assert str(mine.dtype) == str(wanted.dtype)
        # 2**-7: products of bfloat16 that are rounded in another order
        np.testing.assert_allclose(
            mine.detach().float().numpy(), wanted.detach().float().numpy(), rtol=2**-7, atol=2**-7
        )
    sum(s.float().sum() for s in results[0]).backward()
    assert all(p.grad.dtype is md.float32 for p in ours.parameters())


def test_autocast_values_and_gradients():
    (x, tx), (w, tw) = draw(5, 16), draw(7, 16, seed=1)
    x, tx, w, tw = x.float(), tx.float(), w.float().requires_grad_(), tw.float().requires_grad_()
    with md.autocast("cpu", dtype=md.bfloat16):
        assert md.is_autocast_enabled("cpu") and not md.is_autocast_enabled("cuda")
        assert md.get_autocast_dtype("cpu") is md.bfloat16
        hidden = F.linear(x, w)
        loss = F.mse_loss(hidden, x[:, :7])
        with md.autocast("cpu", enabled=False):
            assert F.linear(x, w).dtype is md.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected = TF.linear(tx, tw)
        wanted = TF.mse_loss(expected, tx[:, :7])
    same(hidden, expected, ulp=1)
    assert loss.dtype is md.float32 and abs(loss.item() - wanted.item()) < 1e-2 * wanted.item()
    loss.backward()
    wanted.backward()
    assert w.grad.dtype is md.float32
    np.testing.assert_allclose(w.grad.numpy(), tw.grad.numpy(), rtol=2**-6, atol=2**-6 * float(tw.grad.abs().max()))
    with md.autocast("cpu", dtype=md.float16):
        assert F.linear(x, w).dtype is md.float16
    assert F.linear(x, w).dtype is md.float32 and not md.is_autocast_enabled("cpu")


def test_gradscaler_follows_pytorchs():
    """The scale, the parameters and the state after each of a row of steps, some of them with infinite gradients."""
    options = {"init_scale": 2.0**10, "growth_factor": 3.0, "backoff_factor": 0.25, "growth_interval": 2}
    runs = []
    for m in (md, torch):
        p = m.nn.Parameter(m.tensor([1.0, -2.0]))
        optimizer, scaler = m.optim.SGD([p], lr=0.5), m.amp.GradScaler("cpu", **options)
        seen = []
        for i, g in enumerate(
            ([1.0, 2.0], [0.5, 0.25], [float("inf"), 1.0], [1.0, 1.0], [float("nan"), 1.0], [2.0, 1.0], [1.0, 0.0])
        ):
            optimizer.zero_grad()
            scaler.scale((p * m.tensor(g)).sum()).backward()
            if i % 2:
                scaler.unscale_(optimizer)
                seen.append(p.grad.tolist())
            scaler.step(optimizer)
            scaler.update()
            seen += [p.tolist(), scaler.get_scale(), scaler.state_dict()]
        scaler.update(8.0)
        seen.append(scaler.get_scale())
        seen += [scaler.get_growth_factor(), scaler.get_backoff_factor(), scaler.get_growth_interval()]
        huge = m.amp.GradScaler("cpu", init_scale=2.0**127, growth_interval=1)
        optimizer.zero_grad()
        huge.scale((p * 0).sum()).backward()
        huge.step(optimizer)
        huge.update()
        seen.append(huge.get_scale())  # it would not be finite
        runs.append(repr(seen))
    assert runs[0] == runs[1]


def test_gradscaler_refuses_what_pytorch_refuses():
    for m in (md, torch):
        p = m.nn.Parameter(m.ones(2))
        optimizer, scaler = m.optim.SGD([p], lr=0.5), m.amp.GradScaler("cpu")
        scaler.scale(m.ones(1))
        with pytest.raises(AssertionError, match="No inf checks were recorded for this optimizer"):
            scaler.step(optimizer)
        with pytest.raises(AssertionError, match="No inf checks were recorded prior to update"):
            m.amp.GradScaler("cpu").update() if m is md else scaler.update()
        scaler = m.amp.GradScaler("cpu")
        scaler.scale(p.sum()).backward()
        with pytest.raises(RuntimeError, match="Closure use is not currently supported"):
            scaler.step(optimizer, closure=lambda: None)
        scaler.step(optimizer)
        with pytest.raises(RuntimeError, match=r"step\(\) has already been called since the last update"):
            scaler.step(optimizer)
        with pytest.raises(RuntimeError, match=r"unscale_\(\) is being called after step"):
            scaler.unscale_(optimizer)
        with pytest.raises(RuntimeError, match="state dict is empty"):
            scaler.load_state_dict({})
        with pytest.raises(ValueError, match="outputs must be a Tensor or an iterable of Tensors"):
            scaler.scale(1.0)
    q = nn.Parameter(md.ones(2, dtype=md.bfloat16))
    optimizer, scaler = md.optim.SGD([q], lr=0.5), md.amp.GradScaler("cpu", init_scale=4.0)
    scaler.scale(q.sum()).backward()
    scaler.unscale_(optimizer)
    assert q.grad.tolist() == [1.0, 1.0] and q.grad.dtype is md.bfloat16
