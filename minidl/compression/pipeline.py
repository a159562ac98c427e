"""`minidl compress`: a trained run, smaller step by step, with what each step costs and saves.

The result is a folder: config.json (the recipe and what was done to its layers), model.ckpt (the packed state), report.json and
report.png (the measurements). `load(folder)` gives the model again.
"""

from __future__ import annotations

import io
import json
import math
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import minidl as md

from .. import nn, optim, training
from ..quantization import quantize_dynamic
from ..recipes.classifiers import Classifier
from ..serialization import write_whole
from ..utils.data import DataLoader
from . import measure
from .channels import keep_channels, links, prune_channels, remove_channels
from .csr import SparseLinear, to_csr
from .gradual import GradualPruning
from .int8 import in_a_row, products, static_int8
from .low_rank import low_rank, thin_layers
from .packing import pack, unpack
from .pruning import copy_of, make_permanent, prune_to, weights

FILE = "compressed"  # what config.json says it is
BATCHES = (1, 64)  # whose latency is measured


@dataclass
class Plan:
    """What is to be done; the steps come in this order. Raises ValueError for shares outside [0, 1) and for nothing to do.

    channels: the share of each layer's channels that are removed. low_rank: the relative error that each weight may have.
    prune: the share of single weights that go. csr: linear layers that are mostly 0 become CSR layers; None: they are tried,
    unless there is int8 to come, and kept if they are faster on this machine.
    int8: the weights of layers that are dense still become bytes. static: results too, by scales that `calibrate` images of the
    training set show, convolutions included (int8.py); else inputs of linear layers, for the while of a product; None: static
    where the network has convolutions. finetune_epochs: of further training after each step that loses accuracy.
    """

    channels: float = 0.0
    low_rank: float = 0.0
    prune: float = 0.0
    csr: bool | None = None
    int8: bool = False
    finetune_epochs: int = 120
    static: bool | None = None
    calibrate: int = 512

    def __post_init__(self) -> None:
        for name in ("channels", "low_rank", "prune"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is a share from 0 to below 1, got {getattr(self, name)}")
        if self.finetune_epochs < 0:
            raise ValueError(f"finetune_epochs must not be negative, got {self.finetune_epochs}")
        if self.calibrate < 1:
            raise ValueError(f"calibrate is a number of images from 1 on, got {self.calibrate}")
        if self.static is not None and not self.int8:
            raise ValueError("static and dynamic are ways to int8, which is not asked for")
        if not (self.channels or self.low_rank or self.prune or self.int8):
            raise ValueError("nothing to do: channels, low_rank and prune are all 0, and int8 is not asked for")


@dataclass
class Source:
    """A trained run: its configuration, its best model, its data."""

    config: training.Config
    model: nn.Module
    data: dict[str, Any]


def read_run(folder: Path) -> Source:
    """The run that `minidl train` left in a folder. Raises FileNotFoundError for none, ValueError for a damaged one."""
    if (folder / "model.ckpt").is_file() and (folder / "report.json").is_file():
        raise ValueError(f"{folder} is compressed already; give the run that it was made of, and all steps at once")
    for name in ("config.json", "best.ckpt"):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder} is no finished run: it has no {name}; minidl train makes one")
    try:
        config = training.Config(**json.loads((folder / "config.json").read_text()))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{folder / 'config.json'} is damaged: {error}") from None
    model, recipe = network(config.recipe), training.RECIPES[config.recipe]
    model.load_state_dict(md.load(folder / "best.ckpt", map_location="cpu")["model"])
    return Source(config, model.eval(), recipe.data(config.seed))


def network(recipe: str) -> nn.Module:
    """The network of a recipe, with fresh weights. Raises ValueError for one that does not tell images apart."""
    found = training.RECIPES.get(recipe)
    if not isinstance(found, Classifier):
        raise ValueError(f"{recipe} is no recipe for images in classes, and others are not understood here")
    return found.model({})  # which does not look at the data


class Compression:
    """The steps on one run. `run()` gives a row per step; `save(folder)` writes the result.

    on_progress(step, done, total): called for each epoch of fine-tuning.
    """

    def __init__(self, source: Source, plan: Plan, on_progress: Callable[[str, int, int], None] | None = None) -> None:
        self.source, self.plan, self.on_progress = source, plan, on_progress or (lambda *_: None)
        self.model = copy_of(source.model)
        self.edits: list[dict[str, Any]] = []
        self.models = [source.model]
        self.costs = [self._cost("dense", source.model)]

    def run(self) -> list[measure.Cost]:
        """All steps of the plan, then the latencies."""
        plan = self.plan
        if plan.channels:
            prune_channels(self.model, plan.channels)
            self._finetune("channels", None)
            self.model = remove_channels(self.model)
            kept = {link.path: len(link.layer.weight) for link in links(self.model)}
            self.edits.append({"kind": "channels", "kept": kept})
            self._done(f"{plan.channels:.0%} channels removed")
        if plan.low_rank:
            self.model, changes = low_rank(self.model, plan.low_rank)
            self.edits += [{"kind": "low_rank", "path": c.path, "rank": c.rank} for c in changes]
            if changes:
                self._finetune("low rank", None)
            self._done(f"low rank, {len(changes)} layers")
        if plan.prune:
            self._finetune("pruning", plan.prune)
            make_permanent(self.model)
            self._done(f"{plan.prune:.0%} pruned")
        if plan.prune and (plan.csr or (plan.csr is None and not plan.int8)):
            self._to_csr()
        if plan.int8:
            self._to_int8()
        for batch in BATCHES:
            for row, seconds in zip(self.costs, self._latencies(self.models, batch), strict=True):
                row.latency[batch] = seconds
        return self.costs

    def _latencies(self, models: list[nn.Module], batch: int) -> list[float]:
        return measure.latency(models, self.source.data["test"].tensors[0][:batch])

    def _to_csr(self) -> None:
        sparse = to_csr(self.model)
        paths = [path for path, module in sparse.named_modules() if isinstance(module, SparseLinear)]
        if not paths:
            return
        times = [self._latencies([self.model, sparse], batch) for batch in BATCHES]
        kept = self.plan.csr or math.prod(csr / dense for dense, csr in times) < 1
        self._done(f"{len(paths)} CSR layers" + ("" if kept else ", not kept"), sparse)
        if kept:
            self.model = sparse
            self.edits += [{"kind": "csr", "path": path} for path in paths]

    def _to_int8(self) -> None:
        static = self.plan.static
        if static is None:
            static = in_a_row(self.model) and any(isinstance(m, nn.Conv2d) for m in self.model.modules())
        if static:
            images = self.source.data["train"].tensors[0]
            every = max(len(images) // self.plan.calibrate, 1)
            self.model = static_int8(self.model, images[::every][: self.plan.calibrate])
            self.edits.append({"kind": "static int8"})
            self._done(f"int8 static, {products(self.model)} layers")
            return
        paths = [path for path, module in self.model.named_modules() if type(module) is nn.Linear]
        if paths:
            self.model = quantize_dynamic(self.model, set(paths), dtype=md.qint8)
            self.edits.append({"kind": "int8", "paths": paths})
        self._done(f"int8 dynamic, {len(paths)} layers")

    def _cost(self, step: str, model: nn.Module) -> measure.Cost:
        return measure.cost(step, model, *self.source.data["test"].tensors)

    def _done(self, step: str, model: nn.Module | None = None) -> None:
        """A row for the model as it is now, or for one that was tried."""
        self.models.append(make_permanent(copy_of(self.model if model is None else model)).eval())
        self.costs.append(self._cost(step, self.models[-1]))

    def _finetune(self, step: str, prune: float | None) -> None:
        """Train on with a falling learning rate; with `prune`, pruning little by little over the first half."""
        config, epochs = self.source.config, self.plan.finetune_epochs
        if not epochs:
            if prune:
                prune_to(weights(self.model), prune, scope="global")
            return
        md.manual_seed(config.seed)
        loader = DataLoader(self.source.data["train"], batch_size=config.batch_size, shuffle=True)
        optimizer = optim.Adam(self.model.parameters(), lr=config.lr)
        total = epochs * len(loader)
        schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, total)
        pruning = None
        if prune:
            pruning = GradualPruning(
                weights(self.model), prune, 0, max(total // 2, 1), max(total // 40, 1), scope="global"
            )
        for epoch in range(epochs):
            self.model.train()
            for x, y in loader:
                optimizer.zero_grad()
                nn.functional.cross_entropy(self.model(x), y).backward()
                optimizer.step()
                schedule.step()
                if pruning is not None:
                    pruning.step()
            self.on_progress(step, epoch + 1, epochs)
        self.model.eval()

    def save(self, folder: Path) -> None:
        """Write the result into a folder, which is made, wholly or not at all. Raises OSError where that cannot be."""
        partial = folder.with_name(f".{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
        try:
            partial.mkdir(parents=True)
            self._write(partial)
            if folder.exists():
                folder.rmdir()
            partial.rename(folder)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise

    def _write(self, folder: Path) -> None:
        config = {
            "kind": FILE,
            "recipe": self.source.config.recipe,
            "seed": self.source.config.seed,
            "edits": self.edits,
        }
        md.save(pack(self.model.state_dict()), folder / "model.ckpt")
        _write_json(folder / "config.json", config)
        _write_json(folder / "report.json", {"plan": asdict(self.plan), "costs": [asdict(c) for c in self.costs]})
        picture = io.BytesIO()
        measure.plot(self.costs, picture)  # type: ignore[arg-type]  # matplotlib takes files, too
        write_whole(folder / "report.png", picture.getvalue())


def load(folder: str | Path) -> nn.Module:
    """The model that `minidl compress` wrote, in evaluation.

    Raises FileNotFoundError for a folder without one, ValueError or RuntimeError for damaged files.
    """
    folder = Path(folder)
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(f"{folder} holds no compressed model: it has no config.json")
    try:
        config = json.loads((folder / "config.json").read_text())
        if config.get("kind") != FILE:
            raise ValueError("it is no compressed model's; minidl compress makes one of a run")
        model = network(config["recipe"])
        for edit in config["edits"]:
            model = _edited(model, **edit)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{folder / 'config.json'} cannot be used: {error}") from None
    model.load_state_dict(unpack(md.load(folder / "model.ckpt")))
    return model.eval()


def _edited(model: nn.Module, kind: str, **edit: Any) -> nn.Module:
    """The model with one change of its structure repeated; its values come later."""
    if kind == "channels":
        return keep_channels(model, {path: range(n) for path, n in edit["kept"].items()})
    if kind == "int8":
        return quantize_dynamic(model, set(edit["paths"]), dtype=md.qint8)
    if kind == "static int8":
        return static_int8(model)
    layer: Any = model.get_submodule(edit["path"])
    if kind == "low_rank":
        new: nn.Module = nn.Sequential(*thin_layers(layer, edit["rank"]))
    elif kind == "csr":
        new = SparseLinear(layer.in_features, layer.out_features, bias=layer.bias is not None)
    else:
        raise ValueError(f"unknown change {kind!r} of a layer")
    model.set_submodule(edit["path"], new)
    return model


def _write_json(path: Path, content: Any) -> None:
    write_whole(path, (json.dumps(content, indent=2) + "\n").encode())
