"""Modules, optimizers and mixed precision on the device: the same as on the CPU, from the weights to the last step."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest

import minidl as md
from minidl import nn
from minidl.nn import functional as F
from minidl.nn.utils import rnn as rnn_utils
from minidl.utils.data import DataLoader, TensorDataset


class Recurrent(nn.Module):
    def __init__(self, cell):
        super().__init__()
        self.embed, self.rnn, self.head = (
            nn.Embedding(11, 6, padding_idx=0),
            cell(6, 8, 2, dropout=0.2),
            nn.Linear(8, 5),
        )

    def forward(self, x):
        out, _ = self.rnn(self.embed(x).transpose(0, 1))
        return self.head(out[-1])


def mlp():
    return nn.Sequential(
        nn.Linear(6, 16), nn.BatchNorm1d(16), nn.GELU(), nn.Dropout(0.3), nn.LayerNorm(16), nn.Linear(16, 5)
    )


def cnn():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 8, 3, stride=2, groups=2),
        nn.SiLU(), nn.Dropout2d(0.2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5),
    )  # fmt: skip


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(11, 8)
        self.encoder = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1], device=x.device)
        return self.head(self.encoder(self.embed(x), src_mask=mask, is_causal=True).mean(1))


def features(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def words(*shape):
    return np.random.default_rng(0).integers(1, 11, shape)


MODELS = {
    "mlp": (mlp, features(12, 6)),
    "cnn": (cnn, features(4, 1, 8, 8)),
    "rnn": (lambda: Recurrent(nn.RNN), words(3, 5)),
    "lstm": (lambda: Recurrent(nn.LSTM), words(3, 5)),
    "gru": (lambda: Recurrent(nn.GRU), words(3, 5)),
    "attention": (Attention, words(3, 5)),
}


def train(name, device, optimizer, steps=5, **options):
    """The losses of a few steps and the weights after them."""
    build, x = MODELS[name]
    md.manual_seed(0)
    model = build().to(device)
    optimizer = getattr(md.optim, optimizer)(model.parameters(), **options)
    x, y = md.tensor(x, device=device), (md.arange(len(x)) % 5).to(device)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y, label_smoothing=0.1)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        losses.append(loss.item())
    model.eval()
    return losses, [t.cpu() for t in model.state_dict().values()], model(x).detach().cpu()


@pytest.mark.parametrize("name", MODELS)
def test_training(device, name):
    # not Adam: it would divide by the size of gradients that are zero but for rounding, as before a normalization
    here, there = (train(name, d, "SGD", lr=0.1, momentum=0.9, nesterov=True) for d in ("cpu", device))
    # float32, summed in another order, through five steps
    np.testing.assert_allclose(there[0], here[0], rtol=1e-4)
    for a, b in zip(here[1], there[1], strict=True):
        np.testing.assert_allclose(b.numpy(), a.numpy(), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(there[2].numpy(), here[2].numpy(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["Adadelta", "Adafactor", "Adagrad", "Adam", "Adamax", "ASGD", "Muon", "NAdam", "RAdam",
                                  "RMSprop", "Rprop", "SGD"])  # fmt: skip
def test_the_state_of_an_optimizer_moves_with_the_weights(device, name):
    md.manual_seed(1)
    model = nn.Linear(4, 3, bias=False)
    x = md.randn(5, 4)
    make = getattr(md.optim, name)
    options = {"lr": 0.05} | ({"momentum": 0.9} if name in ("SGD", "RMSprop") else {})

    def steps(model, optimizer, x, count=2):
        for _ in range(count):
            optimizer.zero_grad()
            model(x).square().sum().backward()
            optimizer.step()

    optimizer = make(model.parameters(), **options)
    steps(model, optimizer, x)
    there = copy.deepcopy(model).to(device)
    moved = make(there.parameters(), **options)
    moved.load_state_dict(optimizer.state_dict())
    for state in moved.state.values():
        assert all(v.is_cuda for k, v in state.items() if isinstance(v, md.Tensor) and k != "step" and v.ndim)
    steps(model, optimizer, x)
    steps(there, moved, x.to(device))
    assert there.weight.is_cuda
    np.testing.assert_allclose(there.weight.detach().cpu().numpy(), model.weight.detach().numpy(), rtol=1e-4, atol=1e-5)


def test_schedulers_averages_lbfgs(device):
    model = nn.Linear(3, 1).to(device)
    x = md.randn(8, 3, device=device)
    optimizer = md.optim.LBFGS(model.parameters(), max_iter=4, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = (model(x) - 1).square().mean()
        loss.backward()
        return loss

    first = closure().item()
    optimizer.step(closure)
    assert closure().item() < first
    average = md.optim.swa_utils.AveragedModel(model)
    average.update_parameters(model)
    assert average.module.weight.is_cuda
    sgd = md.optim.SGD(model.parameters(), lr=1.0)
    schedule = md.optim.lr_scheduler.OneCycleLR(sgd, 1.0, total_steps=3)
    sgd.step()
    schedule.step()


# ---------------------------------------------------------------------------------------------------------------------
# Modules


def test_every_tensor_of_a_module_moves(device):
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 2), nn.LSTM(2, 2))
    model.register_buffer("seen", md.zeros(1, dtype=md.int64), persistent=False)
    for there in (model.to(device), model.cpu().cuda(), model.cpu().cuda(0), model.cpu().to(device, md.float64)):
        assert there is model and all(t.is_cuda for t in (*model.parameters(), *model.buffers()))
    assert model[1].weight.dtype is md.float64 and model.seen.dtype is md.int64
    x = md.ones(2, 3, device=device, dtype=md.float64)
    model[1](model[0](x)).sum().backward()
    model.cpu()
    assert not model[1].weight.is_cuda and not model[1].weight.grad.is_cuda


def test_modules_are_made_where_they_are_wanted(device):
    for build in (lambda: nn.Linear(2, 3, device=device), lambda: _within(device, lambda: nn.Linear(2, 3))):
        assert build().weight.is_cuda
    made = _within(device, lambda: nn.ModuleList([
        nn.BatchNorm2d(2), nn.Embedding(3, 2), nn.LSTM(2, 2), nn.MultiheadAttention(4, 2), nn.TransformerDecoderLayer(4, 2),
        nn.PReLU(), nn.Conv3d(1, 1, 1), nn.LayerNorm(2), nn.LazyLinear(3), nn.Bilinear(1, 2, 3), nn.GroupNorm(1, 2),
    ]))  # fmt: skip
    assert all(t.device.type == "cuda" for t in (*made.parameters(), *made.buffers()))
    made[8](md.ones(1, 2, device=device))
    assert made[8].weight.is_cuda
    assert nn.Linear(2, 2).to_empty(device=device).weight.is_cuda


def _within(device, make):
    with device:
        return make()


def test_packed_and_padded_sequences(device):
    rows = [md.arange(float(n)).reshape(n, 1).to(device) for n in (4, 2, 1)]
    padded = rnn_utils.pad_sequence(rows, batch_first=True, padding_value=-1.0)
    assert padded.is_cuda and padded[2, :, 0].tolist() == [0.0, -1.0, -1.0, -1.0]
    packed = rnn_utils.pack_padded_sequence(padded[[1, 0, 2]], [2, 4, 1], batch_first=True, enforce_sorted=False)
    assert packed.data.is_cuda and not packed.batch_sizes.is_cuda
    out, (h, _) = nn.LSTM(1, 3).to(device)(packed)
    again, lengths = rnn_utils.pad_packed_sequence(out, batch_first=True)
    assert again.is_cuda and h.is_cuda and again.shape == (3, 4, 3) and lengths.tolist() == [2, 4, 1]


def test_gradient_tools(device):
    model = nn.Linear(3, 2).to(device)
    model(md.ones(4, 3, device=device)).square().sum().backward()
    vector = nn.utils.parameters_to_vector(model.parameters())
    assert vector.is_cuda and vector.shape == (8,)
    nn.utils.vector_to_parameters(vector * 0, model.parameters())
    assert model.weight.is_cuda and model.weight.abs().sum() == 0
    norm = nn.utils.clip_grad_norm_(model.parameters(), 1e-3)
    assert norm.is_cuda and nn.utils.get_total_norm([p.grad for p in model.parameters()]).item() <= 1.001e-3
    small = [p.grad.clone() for p in model.parameters()]
    nn.utils.clip_grad_norm_(model.parameters(), 1e3)
    assert all((p.grad == g).all() for p, g in zip(model.parameters(), small, strict=True))
    nn.utils.clip_grad_value_(model.parameters(), 1e-5)
    assert max(p.grad.abs().max().item() for p in model.parameters()) <= 1.001e-5


def test_batches_for_the_device(device):
    data = TensorDataset(md.arange(10.0), md.arange(10))
    for x, y in DataLoader(data, batch_size=4, shuffle=True, pin_memory=True):
        x, y = x.to(device, non_blocking=True), y.to(device, non_blocking=True)
        assert x.is_cuda and x.tolist() == y.tolist()
    there = TensorDataset(md.arange(10.0).to(device))
    assert all(x.is_cuda for (x,) in DataLoader(there, batch_size=4))


def test_distributions(device):
    D = md.distributions
    loc = md.zeros(3, device=device, requires_grad=True)
    normal = D.Normal(loc, md.ones(3, device=device))
    for made in (
        normal,
        D.Categorical(logits=loc),
        D.Bernoulli(logits=loc),
        D.Gamma(loc.exp(), loc.exp()),
        D.Laplace(loc, 1.0),
    ):
        draw = made.sample((4,))
        assert draw.is_cuda and made.log_prob(draw).is_cuda and made.entropy().is_cuda
    normal.rsample().sum().backward()
    assert loc.grad.is_cuda and D.kl_divergence(normal, D.Normal(loc * 0 + 1, 1.0)).is_cuda


def test_the_command_trains_on_the_device(device, tmp_path):
    from typer.testing import CliRunner

    from minidl.cli import app

    done = CliRunner().invoke(app, ["train", "--device", "cuda", "--epochs", "1", "--out", str(tmp_path / "run")])
    assert done.exit_code == 0, done.output
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["test_accuracy"] > 0.5  # ten classes


# ---------------------------------------------------------------------------------------------------------------------
# Mixed precision


def test_autocast_chooses_by_operation(device):
    x, w = md.ones(2, 4, device=device), md.ones(4, 4, device=device, requires_grad=True)
    image = md.ones(1, 1, 4, 4, device=device)
    with md.autocast("cuda"):
        for half in (x @ w, F.linear(x, w), F.conv2d(image, image[:, :, :2, :2]), w.mm(w),
                     F.scaled_dot_product_attention(image, image, image), nn.LSTM(4, 3).to(device)(x)[0],
                     w.matmul(x[0])):  # fmt: skip
            assert half.dtype is md.float16
        h = x @ w
        for full in (h.softmax(1), h.log_softmax(1), h.sum(), h.exp(), h**2, F.layer_norm(h, (4,)), F.mse_loss(h, x), h.norm(),
                     F.cross_entropy(h, md.zeros(2, dtype=md.int64, device=device)), h.cumsum(0), h.prod(0),
                     F.binary_cross_entropy_with_logits(h, x)):  # fmt: skip
            assert full.dtype is md.float32
        assert (h + x).dtype is md.float32 and h.relu().dtype is md.float16 and h.mean().dtype is md.float16
        assert (x.double() @ w.double()).dtype is md.float64
        assert (md.ones(2, 2) @ md.ones(2, 2)).dtype is md.float32  # on the CPU
        with md.autocast("cuda", enabled=False):
            assert (x @ w).dtype is md.float32
        assert (x @ w).dtype is md.float16
    assert (x @ w).dtype is md.float32
    with md.autocast("cpu"):
        assert (x @ w).dtype is md.float32 and (md.ones(2, 2) @ md.ones(2, 2)).dtype is md.bfloat16
    with pytest.raises(RuntimeError, match="dtype must be float16"):
        md.autocast("cuda", dtype=md.int8)


def test_gradients_under_autocast_are_float32_and_right(device):
    md.manual_seed(3)
    x, w = md.randn(8, 4, device=device), md.randn(4, 4, device=device)
    found = []
    for enabled in (False, True):
        p = w.clone().requires_grad_()
        with md.autocast("cuda", enabled=enabled):
            loss = (x @ p).tanh().sum()
        assert loss.dtype is md.float32
        loss.backward()
        assert p.grad.dtype is md.float32
        found.append(p.grad.cpu().numpy())
    np.testing.assert_allclose(found[1], found[0], rtol=2e-2, atol=2e-2)  # float16 has 11 bits


def test_training_in_mixed_precision(device):
    md.manual_seed(0)
    model = mlp().to(device)
    x, y = md.tensor(features(12, 6), device=device), (md.arange(12) % 5).to(device)
    optimizer, scaler = md.optim.Adam(model.parameters(), lr=1e-2), md.amp.GradScaler("cuda", init_scale=2.0**40)
    assert scaler.is_enabled()
    losses, scales = [], []
    for _ in range(60):
        optimizer.zero_grad()
        with md.autocast("cuda"):
            loss = F.cross_entropy(model(x), y)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        losses.append(loss.item())
        scales.append(scaler.get_scale())
    assert scales[0] == 2.0**39 and 1 < scales[-1] < 2.0**30  # too large at first: those steps were left out
    assert losses[-1] < 0.7 * losses[0]
