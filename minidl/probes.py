"""Probe: statistics of what flows through a model while it runs, by hooks that change nothing.

Of each layer: moments of its output and of the loss's gradient with respect to it, how much of it is 0, dead or saturated.
Of each parameter: its size, its gradient, and how large the update was beside it. The questions that they answer: does the
signal keep its size through the depth (Glorot & Bengio, "Understanding the difficulty of training deep feedforward neural
networks", 2010; He et al., "Delving deep into rectifiers", 2015), which units do nothing, and is the learning rate of the
right order (an update of about a thousandth of the weight per step is the rule of thumb of Stanford's CS231n notes).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any, Self

import numpy as np

from . import nn
from .autograd.hooks import RemovableHandle
from .tensor import Tensor

Row = dict[str, Any]
Array = np.ndarray[Any, Any]
EDGE = 0.025  # of the range: there the slope of tanh and of the sigmoid is below a tenth of its largest


class Probe:
    """Records statistics of a model's calls inside a `with` block.

    A step is a call of the model. A layer is a module that calls no other module: a Linear, but also an attention layer that
    uses its parts' weights by itself; functions such as F.relu are not seen. A module that is called several times in a step is
    one layer each time. Of a result of several tensors, such as an LSTM's, the first is looked at.
    modules: the dotted names of the modules to look at instead, whatever they call.
    every: record the first of so many steps. training_only: leave out calls in evaluation mode.

    activations: a row per step and layer: step, layer, type; of the output mean, std, rms, zeros (the share that is exactly
        0), dead (the share of units that are 0 on the whole batch; a unit is a place in the last dimension, or with 4 and more
        dimensions a channel, dimension 1), saturated (the share near an end of the range, for tanh and its like, else NaN);
        of the gradient, NaN before a backward pass, grad_mean, grad_std, grad_rms.
    updates: a row per step and parameter: step, parameter, weight_rms before the step, grad_rms, update_rms, ratio. The update
        is what changed until the next call of the model, or the end of the block.
    All are Python's floats, computed in float64.
    Raises ValueError for a name in `modules` that the model does not have, and for every below 1.

    Example:
        >>> with Probe(model) as probe:
        ...     loss(model(x)).backward()
        ...     optimizer.step()
        >>> print(probe.table())
    """

    def __init__(
        self, model: nn.Module, modules: Iterable[str] | None = None, *, every: int = 1, training_only: bool = True
    ) -> None:
        self.model, self.every, self.training_only = model, every, training_only
        self._names = {module: name for name, module in model.named_modules()}
        self._watched = None if modules is None else set(modules)
        unknown = sorted((self._watched or set()) - set(self._names.values()))
        if unknown:
            raise ValueError(f"Probe: the model has no module {unknown[0]!r}; named_modules() lists those that it has")
        if every < 1:
            raise ValueError(f"Probe: every must be at least 1, got {every}")
        self.activations: list[Row] = []
        self.updates: list[Row] = []
        self.steps = 0  # calls of the model so far
        self._handles: list[RemovableHandle] = []
        self._recording = False  # inside of a call that is recorded
        self._called: list[bool] = []  # of each module that is running: has it called another?
        self._times: dict[str, int] = {}  # how often each layer was called in this step
        self._before: dict[str, Array] = {}  # the parameters at the start of the step
        self._grads: dict[str, float] = {}  # the sizes of their gradients

    def __enter__(self) -> Self:
        for module in self._names:
            self._handles.append(module.register_forward_pre_hook(self._enter, prepend=True))
            self._handles.append(module.register_forward_hook(self._leave))
        for name, p in self.model.named_parameters():
            if p.requires_grad:
                self._handles.append(p.register_hook(self._noting(name)))
        return self

    def __exit__(self, *exception: object) -> None:
        self._end_step()
        self._recording = False
        while self._handles:
            self._handles.pop().remove()

    # -- the hooks -----------------------------------------------------------------------------------------------------

    def _enter(self, module: nn.Module, args: Any) -> None:
        if module is self.model:
            self._end_step()
            self._recording = self.steps % self.every == 0 and (module.training or not self.training_only)
            if module.training or not self.training_only:
                self.steps += 1
            if self._recording:
                self._before = {name: _array(p).copy() for name, p in module.named_parameters()}
                self._called, self._times, self._grads = [], {}, {}
        if self._recording:
            if self._called:
                self._called[-1] = True
            self._called.append(False)

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        if not self._recording or not self._called:
            return
        called_others = self._called.pop()
        name = self._names[module]
        if not called_others if self._watched is None else name in self._watched:
            self._record(name, module, output)
        if module is self.model:
            self._recording = False

    def _record(self, name: str, module: nn.Module, output: Any) -> None:
        x = next(_tensors(output), None)
        if x is None or x.numel() == 0:
            return
        self._times[name] = self._times.get(name, 0) + 1
        again = f" ({self._times[name]})" if self._times[name] > 1 else ""
        row = {"step": self.steps - 1, "layer": (name or "model") + again, "type": type(module).__name__}
        row |= _moments(x) | _activity(_array(x), module)
        row |= dict.fromkeys(("grad_mean", "grad_std", "grad_rms"), math.nan)
        self.activations.append(row)
        if x.requires_grad:
            x.register_hook(lambda g: row.update({f"grad_{k}": v for k, v in _moments(g).items()}))

    def _noting(self, name: str) -> Any:
        def note(g: Tensor) -> None:
            if self._before:
                self._grads[name] = _moments(g)["rms"]

        return note

    def _end_step(self) -> None:
        """What has become of the parameters since the step began."""
        now = dict(self.model.named_parameters())
        for name, before in self._before.items():
            if name in now and before.size:
                weight, update = _rms(before), _rms(_array(now[name]) - before)
                ratio = update / weight if weight else math.nan
                row = {"step": self.steps - 1, "parameter": name, "weight_rms": weight, "update_rms": update}
                self.updates.append(row | {"grad_rms": self._grads.get(name, math.nan), "ratio": ratio})
        self._before = {}

    # -- what was found ------------------------------------------------------------------------------------------------

    def layers(self) -> list[str]:
        """The layers in the order in which they were called."""
        return list(dict.fromkeys(row["layer"] for row in self.activations))

    def grid(self, what: str = "rms") -> Array:
        """One statistic of activations as an array (layers, recorded steps), NaN where a layer was not called."""
        self._must_have_seen_something()
        if what not in self.activations[0] or what in ("step", "layer", "type"):
            raise ValueError(f"Probe.grid: there is no statistic {what!r}; there are: {', '.join(STATISTICS)}")
        return _grid(self.activations, "layer", what)

    def table(self, step: int | None = None) -> str:
        """The statistics of one recorded step (default: the last) as text, layers above parameters.

        Raises RuntimeError if nothing was recorded, ValueError for a step that was not.
        """
        self._must_have_seen_something()
        steps = sorted({row["step"] for row in self.activations})
        step = steps[-1] if step is None else step
        if step not in steps:
            raise ValueError(f"Probe.table: step {step} was not recorded; there are: {', '.join(map(str, steps))}")
        texts = [_as_text(f"step {step}", "layer", STATISTICS, [r for r in self.activations if r["step"] == step])]
        updates = [row for row in self.updates if row["step"] == step]
        if updates:
            texts.append(_as_text("", "parameter", ("weight_rms", "grad_rms", "update_rms", "ratio"), updates))
        return "\n\n".join(texts)

    def plot(self) -> Any:
        """A matplotlib Figure: rms per layer and step, rms of activations and gradients through the depth in the last step,
        and the ratio of update to weight of each matrix over the steps."""
        from matplotlib.figure import Figure

        self._must_have_seen_something()
        updated = any(row["ratio"] > 0 for row in self.updates)
        height = min(8, max(3.5, 1.2 + 0.16 * len(self.layers())))
        figure = Figure(figsize=(14 if updated else 9.5, height), layout="constrained")
        axes = figure.subplots(1, 3 if updated else 2)
        self._plot_heat_map(figure, axes[0])
        self._plot_depth(axes[1])
        if updated:
            self._plot_ratios(axes[2])
        for own in (axes[0], *axes[2:]):
            own.xaxis.get_major_locator().set_params(integer=True)
        return figure

    def _plot_heat_map(self, figure: Any, axes: Any) -> None:
        from matplotlib.colors import LogNorm

        layers, rms = self.layers(), self.grid("rms")
        shown = np.where(np.isfinite(rms) & (rms > 0), rms, np.nan)
        steps = sorted({row["step"] for row in self.activations})
        if np.isfinite(shown).any():
            norm = LogNorm(np.nanmin(shown), max(np.nanmax(shown), 1.001 * np.nanmin(shown)))
            half = (steps[-1] - steps[0]) / max(1, len(steps) - 1) / 2 or 0.5
            extent = (steps[0] - half, steps[-1] + half, len(layers) - 0.5, -0.5)
            image = axes.imshow(shown, aspect="auto", norm=norm, extent=extent, interpolation="nearest", cmap="viridis")
            figure.colorbar(image, ax=axes)
        ticks = range(0, len(layers), -(-len(layers) // 20))
        axes.set(xlabel="step", title="rms of activations", yticks=ticks, yticklabels=[layers[i] for i in ticks])

    def _plot_depth(self, axes: Any) -> None:
        for what, label in (("rms", "activation"), ("grad_rms", "gradient")):
            values = self.grid(what)[:, -1]
            if (np.isfinite(values) & (values > 0)).any():
                axes.plot(np.where(values > 0, values, np.nan), "o-", markersize=3, label=label)
        last = self.activations[-1]["step"]
        axes.set(xlabel="layer", ylabel="rms", yscale="log", title=f"through the depth, step {last}")
        if axes.lines:
            axes.legend()

    def _plot_ratios(self, axes: Any) -> None:
        matrices = {name for name, p in self.model.named_parameters() if p.dim() > 1}
        rows = [row for row in self.updates if row["parameter"] in matrices and row["ratio"] > 0]
        names = list(dict.fromkeys(row["parameter"] for row in rows))
        for name in names:
            own = [row for row in rows if row["parameter"] == name]
            axes.plot([row["step"] for row in own], [row["ratio"] for row in own], "o-", markersize=3, label=name)
        axes.axhline(1e-3, color="0.7", linestyle=":")
        axes.set(xlabel="step", yscale="log", title="rms of update / rms of weight")
        if len(names) <= 10:
            axes.legend(fontsize=7)

    def _must_have_seen_something(self) -> None:
        if not self.activations:
            mode = " in training mode" if self.training_only else ""
            raise RuntimeError(f"Probe: nothing was recorded; call the model itself{mode} inside the with block")


STATISTICS = ("mean", "std", "rms", "zeros", "dead", "saturated", "grad_mean", "grad_std", "grad_rms")


def _array(x: Tensor) -> Array:
    return np.asarray(x.detach().cpu().numpy(), np.float64)


def _rms(a: Array) -> float:
    return float(np.sqrt(np.mean(a * a)))


def _moments(x: Tensor) -> dict[str, float]:
    a = _array(x)
    return {"mean": float(a.mean()), "std": float(a.std()), "rms": _rms(a)}


def _activity(a: Array, module: nn.Module) -> dict[str, float]:
    """The shares of an output that are 0, dead and saturated."""
    units = np.moveaxis(a, 1 if a.ndim > 3 else -1, -1).reshape(-1, a.shape[1 if a.ndim > 3 else -1]) if a.ndim else a
    found = {"zeros": float((a == 0).mean()), "dead": float((units == 0).all(0).mean()), "saturated": math.nan}
    ends = _range_of(module)
    if ends is not None:
        margin = EDGE * (ends[1] - ends[0])
        found["saturated"] = float(((a < ends[0] + margin) | (a > ends[1] - margin)).mean())
    return found


def _range_of(module: nn.Module) -> tuple[float, float] | None:
    """The ends of what an activation function can give, where it has two."""
    if isinstance(module, (nn.Tanh, nn.Softsign)):
        return -1.0, 1.0
    if isinstance(module, (nn.Sigmoid, nn.Hardsigmoid)):
        return 0.0, 1.0
    if isinstance(module, nn.Hardtanh):
        return module.min_val, module.max_val
    return None


def _tensors(output: Any) -> Iterator[Tensor]:
    """The tensors of floats in a result, in order."""
    if isinstance(output, Tensor):
        if output.is_floating_point():
            yield output
    elif isinstance(output, (tuple, list, dict)):
        for part in output.values() if isinstance(output, dict) else output:
            yield from _tensors(part)


def _grid(rows: list[Row], key: str, what: str) -> Array:
    names, steps = (list(dict.fromkeys(row[k] for row in rows)) for k in (key, "step"))
    grid = np.full((len(names), len(steps)), math.nan)
    for row in rows:
        grid[names.index(row[key]), steps.index(row["step"])] = row[what]
    return grid


def _as_text(title: str, key: str, columns: tuple[str, ...], rows: list[Row]) -> str:
    named = [f"{row[key]} {row['type']}" if "type" in row else row[key] for row in rows]
    width = max(len(key), len(title), *map(len, named))
    lines = [f"{title or key:{width}}" + "".join(f"{c:>11}" for c in columns)]
    for name, row in zip(named, rows, strict=True):
        lines.append(
            f"{name:{width}}" + "".join("          -" if math.isnan(row[c]) else f"{row[c]:11.3g}" for c in columns)
        )
    return "\n".join(lines)
