"""`minidl compress` on a tiny run, what it writes, and what the methods do to networks for digits."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from typer.testing import CliRunner

import minidl as md
from minidl import compression, nn, training
from minidl.cli import app
from minidl.compression import effects, measure, pipeline
from minidl.datasets import digits


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A short run of two recipes."""
    root = tmp_path_factory.mktemp("runs")
    for recipe in ("mlp", "cnn"):
        run = training.start(training.Config(recipe, epochs=2), root / recipe)
        training.fit(run)
    return root


def minidl(*arguments):
    return CliRunner(env={"COLUMNS": "120"}).invoke(app, ["compress", *map(str, arguments)], prog_name="minidl")


def test_the_command_prints_a_table_and_leaves_a_model_that_loads(runs, tmp_path):
    out = tmp_path / "small"
    arguments = ["--channels", 0.25, "--low-rank", 0.5, "--prune", 0.8, "--csr", "--finetune-epochs", 2, "--out", out]
    done = minidl(runs / "mlp", *arguments)
    assert done.exit_code == 0, done.output
    lines = [line for line in done.stdout.splitlines() if line.startswith("│")]
    *steps, last = [line.split("│")[1].strip() for line in lines]
    assert steps == ["dense", "25% channels removed", "low rank, 3 layers", "80% pruned"]
    assert re.fullmatch(r"[1-6] CSR layers", last)  # those of the 6 thin ones that are mostly 0
    assert {path.name for path in out.iterdir()} == {"config.json", "model.ckpt", "report.json", "report.png"}
    model = compression.load(out)
    x, y = digits("test", 0).tensors
    costs = json.loads((out / "report.json").read_text())["costs"]
    assert costs[-1]["accuracy"] == pytest.approx(measure.accuracy(model, x, y), abs=1e-6) and not model.training
    assert costs[-1]["bytes"] == (out / "model.ckpt").stat().st_size < costs[0]["bytes"] / 5
    stored = sum(len(m.values) for m in model.modules() if isinstance(m, compression.SparseLinear))
    dense = sum(m.weight.numel() for m in model.modules() if type(m) is nn.Linear)
    assert costs[-1]["multiply_adds"] == stored + dense < costs[0]["multiply_adds"] / 5
    assert all(set(row["latency"]) == {"1", "64"} and min(row["latency"].values()) > 0 for row in costs)


def test_a_convolution_keeps_its_zeros_in_few_bytes(runs, tmp_path):
    source = pipeline.read_run(runs / "cnn")
    work = pipeline.Compression(source, pipeline.Plan(channels=0.5, prune=0.9, csr=False, finetune_epochs=0))
    dense, removed, pruned = work.run()
    assert removed.multiply_adds < dense.multiply_adds / 2 and pruned.multiply_adds == removed.multiply_adds
    assert pruned.bytes < removed.bytes / 3 and pruned.weights < removed.weights / 5
    work.save(tmp_path / "out")
    model, x = compression.load(tmp_path / "out"), md.randn(3, 1, 8, 8)
    assert (model(x) == work.model(x)).all()
    assert [type(m) for m in model] == [type(m) for m in source.model]


@pytest.mark.parametrize("prune", [0.0, 0.9])
def test_bytes_are_a_quarter_and_with_zeros_less(runs, tmp_path, prune):
    source = pipeline.read_run(runs / "mlp")
    work = pipeline.Compression(source, pipeline.Plan(prune=prune, int8=True, finetune_epochs=0))
    *_, before, last = work.run()
    assert (
        last.step == "int8 dynamic, 3 layers"
        and last.multiply_adds == before.multiply_adds == 64 * 128 + 128 * 64 + 64 * 10
    )
    assert last.accuracy == pytest.approx(before.accuracy, abs=0.03)
    assert last.weights == pytest.approx(before.weights, rel=0.05)  # a few are rounded to 0
    work.save(tmp_path / "out")
    # a byte for each weight; or a bit for each, and a byte for each that is left. Beside them biases, and names and structure in JSON
    weights, rest = 64 * 128 + 128 * 64 + 64 * 10, 4 * (128 + 64 + 10) + 4000
    assert (tmp_path / "out" / "model.ckpt").stat().st_size < (weights / 8 + weights / 10 if prune else weights) + rest
    model, x = compression.load(tmp_path / "out"), md.rand(5, 1, 8, 8)
    assert (model(x) == work.model(x)).all()


def test_csr_layers_that_are_slower_are_not_kept(runs, tmp_path, monkeypatch):
    for factor, kept in ((2.0, False), (0.5, True)):
        monkeypatch.setattr(measure, "latency", lambda models, x, f=factor: [*[1.0] * (len(models) - 1), f])
        work = pipeline.Compression(pipeline.read_run(runs / "mlp"), pipeline.Plan(prune=0.9, finetune_epochs=0))
        work.run()
        work.save(tmp_path / str(factor))
        model = compression.load(tmp_path / str(factor))
        assert any(isinstance(m, compression.SparseLinear) for m in model.modules()) == kept
        assert work.costs[-1].step.endswith("not kept") != kept


def test_mistakes_end_in_one_line(runs, tmp_path):
    for arguments, message in (
        ([runs / "mlp"], "nothing to do: channels, low_rank and prune are all 0, and int8 is not asked for"),
        ([runs / "mlp", "--prune", 1.0], "prune is a share from 0 to below 1, got 1.0"),
        ([tmp_path, "--prune", 0.5], "is no finished run: it has no config.json; minidl train makes one"),
        ([runs / "mlp", "--prune", 0.5, "--out", runs], "exists and is not empty; choose another --out"),
    ):
        done = minidl(*arguments)
        assert done.exit_code == 2 and message in done.stderr and len(done.stderr.splitlines()) == 1
    with pytest.raises(ValueError, match="gpt is no recipe for images in classes"):
        pipeline.network("gpt")
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "config.json").write_text("{")
    (damaged / "best.ckpt").write_bytes(b"")
    assert "is damaged" in minidl(damaged, "--prune", 0.5).stderr


def test_ctrl_c_leaves_nothing(runs, tmp_path, monkeypatch):
    def stop(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline.Compression, "_finetune", stop)
    done = minidl(runs / "mlp", "--prune", 0.5, "--out", tmp_path / "out")
    assert done.exit_code == 130 and "nothing was written" in done.stderr and not (tmp_path / "out").exists()


def test_folders_that_hold_no_compressed_model(runs, tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no compressed model"):
        compression.load(tmp_path)
    with pytest.raises(ValueError, match="it is no compressed model's"):
        compression.load(runs / "mlp")
    config = {"kind": "compressed", "recipe": "mlp", "edits": [{"kind": "magic", "path": "1"}]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="unknown change 'magic'"):
        compression.load(tmp_path)


# ---------------------------------------------------------------------------------------------------------------------
# Packing


def test_packed_states_are_small_and_the_same():
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((40, 33)).astype(np.float32)
    weight[np.abs(weight) < 1.6] = 0
    weight[0, :2] = np.nan, np.inf
    state = {
        "weight": md.from_numpy(weight),
        "full": md.randn(30, 30),
        "short": md.zeros(9),
        "n": md.tensor(3),
        "text": "x",
    }
    packed = compression.pack(state)
    assert [name for name in state if isinstance(packed[name], dict)] == ["weight"]
    back = compression.unpack(packed)
    np.testing.assert_array_equal(back["weight"].numpy(), weight)
    assert all(back[name] is state[name] for name in ("full", "short", "n", "text"))
    packed["weight"]["values"] = packed["weight"]["values"][:-1]
    with pytest.raises(ValueError, match=r"weight says \d+ values for \[40, 33\], and its bits say otherwise"):
        compression.unpack(packed)


@pytest.mark.parametrize("values", [md.zeros(20, 20), md.ones(300).double() * (md.arange(300) % 3 == 0)])
def test_packing_of_nothing_but_zeros_and_of_double_precision(values):
    back = compression.unpack(compression.pack({"t": values}))["t"]
    assert back.dtype is values.dtype and (back == values).all()


def test_costs_by_hand():
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    compression.prune_to(compression.weights(model), 0.5)
    assert measure.nonzero(model) == 320 + 10
    assert measure.multiply_adds(model, md.randn(1, 1, 8, 8)) == 640  # a mask saves none
    assert measure.accuracy(lambda_module(), md.eye(4), md.tensor([0, 1, 2, 0])) == 0.75


def lambda_module():
    return nn.Identity()


# ---------------------------------------------------------------------------------------------------------------------
# What the methods do; `python -m minidl.compression.effects` has all the seeds


def test_ninety_percent_can_go():
    dense, pruned, tuned = effects.pruning(seed=1, steps=1200).values()
    assert dense > 0.94 and pruned < dense - 0.1 and tuned > dense - 0.01


def test_a_student_with_few_labels_learns_more_from_a_teacher():
    found = [effects.distillation(seed) for seed in range(3)]
    mean = {name: np.mean([row[name] for row in found]) for name in found[0]}
    assert mean["distilled"] > mean["hard labels"] + 0.05 and mean["teacher"] > 0.94


def test_only_the_proximal_step_makes_zeros():
    found = effects.l1(0)
    assert found["zeros, gradient"] == 0 and found["zeros, proximal step"] > 100
    assert abs(found["accuracy, gradient"] - found["accuracy, proximal step"]) < 0.02


# ---------------------------------------------------------------------------------------------------------------------
# Static int8


@pytest.fixture
def untimed(monkeypatch):
    """Nothing here looks at the latencies."""
    monkeypatch.setattr(measure, "latency", lambda models, x: [1.0] * len(models))


def test_static_int8_of_a_convolutional_network(runs, tmp_path):
    out = tmp_path / "small"
    done = minidl(runs / "cnn", "--int8", "--calibrate", 100, "--out", out)
    assert done.exit_code == 0, done.output
    model = compression.load(out)
    assert [type(m).__name__ for m in model] == [
        "Quantize",
        "Conv2d",
        "MaxPool2d",
        "Conv2d",
        "MaxPool2d",
        "Flatten",
        "Linear",
        "DeQuantize",
    ]
    assert not list(model.parameters())  # no float weights: biases alone are left
    floats = [t for t in model.state_dict().values() if t is not None and not t.is_quantized and t.ndim]
    assert [len(t) for t in floats] == [16, 32, 10]
    x, y = digits("test", 0).tensors
    dense, last = json.loads((out / "report.json").read_text())["costs"]
    assert last["step"] == "int8 static, 3 layers" and last["multiply_adds"] == dense["multiply_adds"]
    assert last["accuracy"] == pytest.approx(measure.accuracy(model, x, y), abs=1e-6)
    assert last["accuracy"] == pytest.approx(dense["accuracy"], abs=0.02)
    assert last["weights"] == pytest.approx(dense["weights"], rel=0.05) and last["bytes"] < dense["bytes"] / 2
    assert set(last["latency"]) == {"1", "64"}
    exact = pipeline.read_run(runs / "cnn").model
    with md.no_grad():
        assert (model(x) - exact(x)).abs().mean() < 0.03 * exact(x).abs().mean()


def test_which_int8(runs, untimed):
    source = {name: pipeline.read_run(runs / name) for name in ("mlp", "cnn")}
    for name, static, wanted in (
        ("mlp", None, "int8 dynamic, 3 layers"), ("mlp", True, "int8 static, 3 layers"), ("cnn", False, "int8 dynamic, 1 layers"),
    ):  # fmt: skip
        work = pipeline.Compression(source[name], pipeline.Plan(int8=True, static=static, calibrate=64))
        assert work.run()[-1].step == wanted
    for plan, message in (
        ({"int8": True, "calibrate": 0}, "calibrate is a number of images from 1 on"),
        ({"prune": 0.5, "static": True}, "static and dynamic are ways to int8"),
    ):
        with pytest.raises(ValueError, match=message):
            pipeline.Plan(**plan)


def test_static_int8_beside_layers_that_stay_float(runs, untimed, tmp_path):
    """CSR layers, layers of two thin ones, and channels that are gone."""
    plan = pipeline.Plan(low_rank=0.3, prune=0.9, csr=True, int8=True, static=True, finetune_epochs=0)
    work = pipeline.Compression(pipeline.read_run(runs / "mlp"), plan)
    work.run()
    work.save(tmp_path / "out")
    model, x = compression.load(tmp_path / "out"), md.rand(5, 1, 8, 8)
    kinds = {type(m).__name__ for m in model}
    assert "SparseLinear" in kinds and (model(x) == work.model(x)).all()


def test_static_int8_folds_normalization_and_refuses_other_networks():
    norm = nn.BatchNorm2d(4)
    with md.no_grad():
        norm.running_mean += 0.3
        norm.running_var *= 2.0
    model = nn.Sequential(
        nn.Sequential(nn.Conv2d(1, 4, 3, bias=False), norm, nn.ReLU(), nn.Dropout(0.5)), nn.Identity(), nn.AvgPool2d(2), nn.GELU(),
        nn.Flatten(), nn.Linear(36, 7), nn.BatchNorm1d(7), nn.LayerNorm(7), nn.Softplus(), nn.Flatten(),
    ).eval()  # fmt: skip
    x = md.tensor(np.random.default_rng(0).standard_normal((50, 1, 8, 8)).astype(np.float32))
    small = compression.static_int8(model, x)
    names = "Quantize Conv2d AvgPool2d GELU Flatten Linear LayerNorm DeQuantize Softplus Flatten"
    assert " ".join(type(m).__name__ for m in small) == names
    with md.no_grad():
        assert (small(x) - model(x)).abs().max() < 0.1
    assert type(model[0][1]) is nn.BatchNorm2d  # the model is as it was
    skeleton = compression.static_int8(model)
    skeleton.load_state_dict(small.state_dict())
    assert (skeleton(x) == small(x)).all()
    assert [type(m) for m in compression.static_int8(nn.Sequential(nn.Softplus()), x)] == [nn.Softplus]
    encoder = nn.Sequential(nn.Linear(4, 4), nn.TransformerEncoderLayer(4, 2))
    with pytest.raises(ValueError, match=r"static int8 is for layers in a row, nn.Sequential, .* use dynamic int8"):
        compression.static_int8(encoder, md.rand(3, 4))


def test_static_int8_of_layers_that_end_in_a_fused_pair():
    model, x = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU()), md.rand(64, 1, 8, 8)
    small = compression.static_int8(model, x)
    assert [m._get_name() for m in small] == ["Quantize", "QuantizedConv2dReLU", "DeQuantize"]
    with md.no_grad():
        np.testing.assert_allclose(small(x).numpy(), model(x).numpy(), atol=0.02)  # some steps of 1 / 256


def test_interrupted_or_failed_while_it_writes(runs, untimed, tmp_path, monkeypatch):
    out = tmp_path / "new" / "out"
    for error in (KeyboardInterrupt, OSError("disk full")):

        def stop(*args, error=error):
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(measure, "plot", stop)  # the last of the files
            done = minidl(runs / "mlp", "--int8", "--out", out)
        assert done.exit_code == (130 if error is KeyboardInterrupt else 2)
        assert not out.exists() and not list(out.parent.iterdir())
    (out.parent / ".out.partial").mkdir()  # of a process that was killed
    out.mkdir()
    assert minidl(runs / "mlp", "--int8", "--out", out).exit_code == 0
    assert [path.name for path in out.parent.iterdir()] == ["out"] and compression.load(out)


def test_a_run_that_is_compressed_already(runs, untimed, tmp_path):
    assert minidl(runs / "mlp", "--int8", "--out", tmp_path / "out").exit_code == 0
    done = minidl(tmp_path / "out", "--prune", 0.5)
    assert done.exit_code == 2 and "is compressed already; give the run that it was made of" in done.stderr
