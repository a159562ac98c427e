"""The loop behind `minidl train`, in this process."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest

import minidl as md
from minidl import training
from minidl.datasets import digits


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    """Drawing takes most of the time of so short a run; the command line's tests draw."""
    monkeypatch.setattr(training, "plot_report", lambda *args: None)


def run_to(epochs, folder, recipe="mlp", seed=0, stop_in_epoch=None):
    """Train a new run, or the one in `folder` further; stop_in_epoch interrupts it in the middle of that epoch."""
    if folder.exists():
        run = training.resume(folder, epochs)
    else:
        run = training.start(training.Config(recipe, epochs, seed), folder)

    def on_batch(run, now):
        if run.epoch == stop_in_epoch and now["seen"] > 500:
            raise KeyboardInterrupt

    training.fit(run, on_batch, lambda run: None)
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


@pytest.mark.parametrize("recipe", sorted(training.RECIPES))
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
        training.fit(run, lambda run, now: None, lambda run: None)
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


def test_the_parts_of_the_data_are_disjoint_and_depend_on_the_seed():
    parts = {name: digits(name, 0).tensors for name in ("train", "val", "test")}
    images = [tuple(image.reshape(-1).tolist()) for x, _ in parts.values() for image in x]
    assert len(images) == 1797
    assert len(set(images)) == 1797
    assert digits("test", 1).tensors[1].tolist() != parts["test"][1].tolist()
    for wrong, message in ((("trial", 0), "train, val, test"), (("test", -1), "from 0"), (("test", 2**32), "from 0")):
        with pytest.raises(ValueError, match=message):
            digits(*wrong)


def test_folders_are_numbered(tmp_path):
    assert training.new_folder("mlp", tmp_path).name == "digits-mlp-1"
    (tmp_path / "digits-mlp-1").mkdir()
    assert training.new_folder("mlp", tmp_path).name == "digits-mlp-2"
