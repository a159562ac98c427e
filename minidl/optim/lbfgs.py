"""L-BFGS: Newton's method with the curvature estimated from the last few steps, for full batches."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from ..autograd.grad_mode import enable_grad
from ..autograd.op import wrap
from ..autograd.storage import mark_written
from ..kernels import array_module
from ..tensor import Tensor
from .optimizer import Optimizer, check_not_negative, zeros_like

SUFFICIENT, CURVATURE = 1e-4, 0.9  # the constants of the Wolfe conditions


class Point(NamedTuple):
    """A place along the search direction: how far, the loss, its gradient, and its slope in that direction."""

    t: float
    loss: float
    gradient: Any
    slope: float


class LBFGS(Optimizer):
    """Limited-memory BFGS. `step(closure)` calls the closure, which computes the loss anew, up to max_eval times.

    history_size: how many steps the curvature is estimated from. line_search_fn: None for steps of `lr`, or "strong_wolfe".
    All parameters form one group. Sources: Liu & Nocedal, "On the limited memory BFGS method", 1989; the line search of
    Nocedal & Wright, "Numerical Optimization", 2006, algorithms 3.5 and 3.6.

    Example:
        >>> optimizer = optim.LBFGS(model.parameters(), line_search_fn="strong_wolfe")
        >>> optimizer.step(closure)
    """

    recordable = False

    def __init__(
        self, params: Any, lr: float | Tensor = 1, max_iter: int = 20, max_eval: int | None = None,
        tolerance_grad: float = 1e-7, tolerance_change: float = 1e-9, history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:  # fmt: skip
        check_not_negative("learning rate", lr)
        if line_search_fn not in (None, "strong_wolfe"):
            raise RuntimeError("only 'strong_wolfe' is supported")
        defaults = {
            "lr": lr, "max_iter": max_iter, "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad, "tolerance_change": tolerance_change, "history_size": history_size,
            "line_search_fn": line_search_fn,
        }  # fmt: skip
        super().__init__(params, defaults)
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS doesn't support per-parameter options (parameter groups)")
        self._params = self.param_groups[0]["params"]

    def _gradient(self) -> Any:
        """The gradients of all parameters in one row."""
        grads = [(zeros_like(p) if p.grad is None else p.grad.to_dense()).array.reshape(-1) for p in self._params]
        return array_module(grads[0]).concatenate(grads)

    def _move(self, starts: list[Any], t: float, direction: Any) -> None:
        """Put the parameters at start + t * direction."""
        offset = 0
        for p, start in zip(self._params, starts, strict=True):
            p.array[...] = start + t * direction[offset : offset + p.numel()].reshape(p.array.shape)
            mark_written(p)
            offset += p.numel()

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Up to max_iter iterations; the loss at the beginning."""
        if closure is None:
            raise RuntimeError("LBFGS: step() needs a closure that computes the loss anew and calls backward()")

        def evaluate() -> float:
            with enable_grad():
                return float(closure())

        with enable_grad():
            first_loss = closure()
        group, state = self.param_groups[0], self.state[self._params[0]]
        state["func_evals"] = state.get("func_evals", 0) + 1
        state.setdefault("n_iter", 0)
        loss, g, evaluations = float(first_loss), self._gradient(), 1
        if abs(g).max() <= group["tolerance_grad"]:
            return first_loss
        for iteration in range(1, group["max_iter"] + 1):
            state["n_iter"] += 1
            direction = self._direction(state, g, group["history_size"])
            state["prev_flat_grad"], before = wrap(g.copy()), loss
            lr = float(group["lr"])
            t = min(1.0, 1.0 / float(abs(g).sum())) * lr if state["n_iter"] == 1 else lr
            state["d"], state["t"] = wrap(direction), t
            slope = float(g @ direction)
            if slope > -group["tolerance_change"]:
                break
            if group["line_search_fn"] == "strong_wolfe":
                best, used = self._line_search(evaluate, Point(0.0, loss, g, slope), t, direction)
                state["t"], loss, g = best.t, best.loss, best.gradient
            else:
                self._move([p.array.copy() for p in self._params], t, direction)
                used = int(iteration != group["max_iter"])
                if used:
                    loss, g = evaluate(), self._gradient()
            evaluations += used
            state["func_evals"] += used
            if (
                evaluations >= group["max_eval"]
                or abs(g).max() <= group["tolerance_grad"]
                or abs(direction * state["t"]).max() <= group["tolerance_change"]
                or abs(loss - before) < group["tolerance_change"]
            ):
                break
        state["prev_loss"] = loss
        return first_loss

    def _line_search(self, evaluate: Callable[[], float], here: Point, t: float, direction: Any) -> tuple[Point, int]:
        """Move along the direction to where the strong Wolfe conditions hold: that point, and how many losses it took."""
        starts = [p.array.copy() for p in self._params]

        def at(t: float) -> Point:
            self._move(starts, t, direction)
            loss, g = evaluate(), self._gradient()
            return Point(t, loss, g, float(g @ direction))

        best, used = strong_wolfe(at, here, t, direction, self.param_groups[0]["tolerance_change"])
        self._move(starts, best.t, direction)
        return best, used

    def _direction(self, state: dict[str, Any], g: Any, history_size: int) -> Any:
        """-H g, for H the estimated inverse of the second derivatives, by the two-loop recursion."""
        if state["n_iter"] == 1:
            state.update(old_dirs=[], old_stps=[], ro=[], H_diag=1.0)
            return -g
        changes, moves, ro = state["old_dirs"], state["old_stps"], state["ro"]
        change, move = g - state["prev_flat_grad"].array, state["d"].array * float(state["t"])
        curvature = float(change @ move)
        if curvature > 1e-10:
            if len(changes) == history_size:
                for history in (changes, moves, ro):
                    history.pop(0)
            changes.append(wrap(change))
            moves.append(wrap(move))
            ro.append(1.0 / curvature)
            state["H_diag"] = curvature / float(change @ change)
        steps = [(y.array, s.array, float(r)) for y, s, r in zip(changes, moves, ro, strict=True)]
        q, shares = -g, []
        for change, move, r in reversed(steps):
            shares.append(float(move @ q) * r)
            q = q - shares[-1] * change
        q = q * float(state["H_diag"])
        for (change, move, r), share in zip(steps, reversed(shares), strict=True):
            q = q + (share - float(change @ q) * r) * move
        return q


def cubic_minimum(a: Point, b: Point, bounds: tuple[float, float] | None = None) -> float:
    """Where the cubic polynomial through two points with their slopes is smallest, within bounds (the points)."""
    low, high = bounds or (min(a.t, b.t), max(a.t, b.t))
    d1 = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.t - b.t)
    square = d1 * d1 - a.slope * b.slope
    if not square >= 0:
        return (low + high) / 2
    if a.t > b.t:
        a, b = b, a
    d2 = math.sqrt(square)
    return min(max(b.t - (b.t - a.t) * ((b.slope + d2 - d1) / (b.slope - a.slope + 2 * d2)), low), high)


def strong_wolfe(
    at: Callable[[float], Point], start: Point, t: float, direction: Any, tolerance: float, most: int = 25
) -> tuple[Point, int]:
    """(point, evaluations): a step after which the loss has fallen enough and is flat enough.

    First steps grow until two of them enclose such a point, then the bracket shrinks around it. After `most` evaluations,
    or with ends less than `tolerance` apart, the lower end has to do.
    """

    def too_high(p: Point) -> bool:
        return p.loss > start.loss + SUFFICIENT * p.t * start.slope

    def flat(p: Point) -> bool:
        return abs(p.slope) <= -CURVATURE * start.slope

    previous, new, tries = start, at(t), 1
    while tries <= most:
        if too_high(new) or (tries > 2 and new.loss >= previous.loss):
            break
        if flat(new):
            return new, tries
        if new.slope >= 0:
            break
        bounds = (new.t + 0.01 * (new.t - previous.t), new.t * 10)
        previous, new = new, at(cubic_minimum(previous, new, bounds))
        tries += 1
    else:
        previous = start  # no bracket was found
    low, high = sorted((previous, new), key=lambda p: p.loss)
    stuck, largest = False, float(abs(direction).max())
    while tries <= most and abs(high.t - low.t) * largest >= tolerance:
        t, stuck = inside(low, high, stuck)
        new = at(t)
        tries += 1
        if too_high(new) or new.loss >= low.loss:
            low, high = sorted((low, new), key=lambda p: p.loss)
        elif flat(new):
            return new, tries
        else:
            low, high = new, low if new.slope * (high.t - low.t) >= 0 else high
    return low, tries


def inside(a: Point, b: Point, stuck: bool) -> tuple[float, bool]:
    """(t, stuck): the cubic minimum between two points; when that is near the same end twice in a row, away from the end."""
    left, right = sorted((a, b), key=lambda p: p.t)
    t, margin = cubic_minimum(left, right), 0.1 * (right.t - left.t)
    if min(right.t - t, t - left.t) >= margin:
        return t, False
    if stuck or t >= right.t or t <= left.t:
        return (right.t - margin if right.t - t < t - left.t else left.t + margin), False
    return t, True
