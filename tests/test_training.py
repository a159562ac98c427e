"""The loop behind `minidl train`, in this process."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest

import minidl as md
from minidl import training
from minidl.datasets import digits


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
    run_to(4, tmp_path / "whole", recipe)
    run_to(2, tmp_path / "parts", recipe)
    md.manual_seed(12345)  # as in another process, which knows nothing of the first
    run_to(4, tmp_path / "parts")
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


@pytest.mark.parametrize("recipe", sorted(training.RECIPES))
def test_every_recipe_learns(recipe, tmp_path):
    result = run_to(3, tmp_path / "run", recipe)
    assert result["test_accuracy"] > 0.8
    confusion = np.array(result["confusion"])
    assert confusion.sum() == len(digits("test", 0))
    assert result["test_accuracy"] == pytest.approx(np.trace(confusion) / confusion.sum())


def test_the_parts_of_the_data_are_disjoint_and_depend_on_the_seed():
    parts = {name: digits(name, 0).tensors for name in ("train", "val", "test")}
    images = [tuple(image.reshape(-1).tolist()) for x, _ in parts.values() for image in x]
    assert len(images) == 1797
    assert len(set(images)) == 1797
    assert digits("test", 1).tensors[1].tolist() != parts["test"][1].tolist()


def test_folders_are_numbered(tmp_path):
    assert training.new_folder("mlp", tmp_path).name == "digits-mlp-1"
    (tmp_path / "digits-mlp-1").mkdir()
    assert training.new_folder("mlp", tmp_path).name == "digits-mlp-2"
