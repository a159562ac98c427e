"""Adam's relatives: Adagrad, Adadelta, Adamax, NAdam, RAdam. Each element of a parameter has a step size of its own."""

from __future__ import annotations

import math
from typing import Any

from ..kernels import array_module
from ..tensor import Tensor
from .optimizer import Optimizer, check_not_negative, count_step, full_like, of_dtype, refuse_differentiable, zeros_like


def _check(lr: Any, eps: float, weight_decay: float, betas: tuple[float, float] = (0.0, 0.0)) -> None:
    check_not_negative("learning rate", lr)
    check_not_negative("epsilon value", eps)
    check_not_negative("weight_decay value", weight_decay)
    for i, beta in enumerate(betas):
        if not 0.0 <= beta < 1.0:
            raise ValueError(f"Invalid beta parameter at index {i}: {beta}")


def decayed(param: Any, grad: Any, group: dict[str, Any]) -> Any:
    """The gradient, turned around to maximize, with the weight decay added that goes through its statistics."""
    if group["maximize"]:
        grad = -grad
    if not group["weight_decay"]:
        return grad
    if group.get("decoupled_weight_decay"):
        param *= 1 - float(group["lr"]) * group["weight_decay"]
        return grad
    return grad + group["weight_decay"] * param


def mix(average: Any, new: Any, share: float) -> None:
    """Move an average towards a new value by a share, in place."""
    average += share * (new - average)


class Adagrad(Optimizer):
    """Each element's step divided by the root of the sum of its squared gradients so far.

    lr_decay: the learning rate falls with 1 / (1 + step * lr_decay).
    Source: Duchi, Hazan & Singer, "Adaptive Subgradient Methods", 2011.
    """

    recordable = False

    def __init__(
        self, params: Any, lr: float | Tensor = 1e-2, lr_decay: float = 0, weight_decay: float = 0,
        initial_accumulator_value: float = 0, eps: float = 1e-10, foreach: bool | None = None, *,
        maximize: bool = False, differentiable: bool = False, fused: bool | None = None,
    ) -> None:  # fmt: skip
        _check(lr, eps, weight_decay)
        check_not_negative("lr_decay value", lr_decay)
        check_not_negative("initial_accumulator_value value", initial_accumulator_value)
        refuse_differentiable(differentiable)
        defaults = {
            "lr": lr, "lr_decay": lr_decay, "eps": eps, "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value, "foreach": foreach, "maximize": maximize,
            "differentiable": differentiable, "fused": fused,
        }  # fmt: skip
        super().__init__(params, defaults)

    def update(self, param: Tensor, grad: Any, state: dict[str, Any], group: dict[str, Any]) -> None:
        if "sum" not in state:
            state["sum"] = full_like(param, group["initial_accumulator_value"])
        step, xp = count_step(state), array_module(grad)
        g, total = decayed(param.array, grad, group), state["sum"].array
        total += g * g
        lr = float(group["lr"]) / (1 + (step - 1) * group["lr_decay"])
        param.array -= lr * g / (xp.sqrt(total) + group["eps"])

    def update_sparse(self, param: Tensor, grad: Any, state: dict[str, Any], group: dict[str, Any]) -> None:
        """The same for the rows that have a gradient; the others, and their sums, stay as they are."""
        if group["weight_decay"] != 0:
            raise RuntimeError("Adagrad: weight_decay option is not compatible with sparse gradients; leave it out")
        grad = grad.detach().coalesce()
        if "sum" not in state:
            state["sum"] = full_like(param, group["initial_accumulator_value"])
        step, total, rows, g = count_step(state), state["sum"].array, grad.pattern.index(), grad.entries.array
        total[rows] += g * g
        lr = float(group["lr"]) / (1 + (step - 1) * group["lr_decay"])
        param.array[rows] -= (-lr if group["maximize"] else lr) * g / (array_module(g).sqrt(total[rows]) + group["eps"])


class Adadelta(Optimizer):
    """Steps as large as the root of the mean squared step so far, relative to the gradients': no learning rate to choose.

    Source: Zeiler, "ADADELTA", 2012.
    """

    def __init__(
        self, params: Any, lr: float | Tensor = 1.0, rho: float = 0.9, eps: float = 1e-6, weight_decay: float = 0,
        foreach: bool | None = None, *, capturable: bool = False, maximize: bool = False, differentiable: bool = False,
    ) -> None:  # fmt: skip
        _check(lr, eps, weight_decay)
        if not 0.0 <= rho <= 1.0:
            raise ValueError(f"Invalid rho value: {rho}")
        refuse_differentiable(differentiable)
        defaults = {
            "lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize,
            "capturable": capturable, "foreach": foreach, "differentiable": differentiable,
        }  # fmt: skip
        super().__init__(params, defaults)

    def update(self, param: Tensor, grad: Any, state: dict[str, Any], group: dict[str, Any]) -> None:
        if self.begins(state, "square_avg"):
            state["square_avg"], state["acc_delta"] = zeros_like(param), zeros_like(param)
        self.next_step(state, param, group)
        xp, rho, eps = array_module(grad), group["rho"], group["eps"]
        g, squares, steps = decayed(param.array, grad, group), state["square_avg"].array, state["acc_delta"].array
        mix(squares, g * g, 1 - rho)
        delta = xp.sqrt(steps + eps) / xp.sqrt(squares + eps) * g
        mix(steps, delta * delta, 1 - rho)
        param.array -= float(group["lr"]) * delta


class Adamax(Optimizer):
    """Adam with the largest recent gradient instead of the root of the mean square (Kingma & Ba, 2014, section 7)."""

    def __init__(
        self, params: Any, lr: float | Tensor = 2e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 0, foreach: bool | None = None, *, maximize: bool = False, differentiable: bool = False,
        capturable: bool = False,
    ) -> None:  # fmt: skip
        _check(lr, eps, weight_decay, betas)
        refuse_differentiable(differentiable)
        defaults = {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "foreach": foreach,
            "maximize": maximize, "differentiable": differentiable, "capturable": capturable,
        }  # fmt: skip
        super().__init__(params, defaults)

    def update(self, param: Tensor, grad: Any, state: dict[str, Any], group: dict[str, Any]) -> None:
        if self.begins(state, "exp_avg"):
            state["exp_avg"], state["exp_inf"] = zeros_like(param), zeros_like(param)
        step, xp, (beta1, beta2) = self.next_step(state, param, group), array_module(grad), group["betas"]
        g, mean, largest = decayed(param.array, grad, group), state["exp_avg"].array, state["exp_inf"].array
        mix(mean, g, 1 - beta1)
        xp.maximum(largest * beta2, xp.abs(g) + group["eps"], out=largest)
        param.array -= of_dtype(float(group["lr"]) / (1 - beta1**step), mean) * mean / largest


class NAdam(Optimizer):
    """Adam with Nesterov's momentum: the step looks ahead by one gradient (Dozat, 2016).

    momentum_decay: how fast the momentum rises to its full value.
    """

    def __init__(
        self, params: Any, lr: float | Tensor = 2e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 0, momentum_decay: float = 4e-3, decoupled_weight_decay: bool = False, *,
        foreach: bool | None = None, maximize: bool = False, capturable: bool = False, differentiable: bool = False,
    ) -> None:  # fmt: skip
        _check(lr, eps, weight_decay, betas)
        check_not_negative("momentum_decay value", momentum_decay)
        refuse_differentiable(differentiable)
        defaults = {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay, "maximize": maximize, "foreach": foreach,
            "capturable": capturable, "differentiable": differentiable,
        }  # fmt: skip
        super().__init__(params, defaults)

    def update(self, param: Tensor, grad: Any, state: dict[str, Any], group: dict[str, Any]) -> None:
        if self.begins(state, "exp_avg"):
            state["exp_avg"], state["exp_avg_sq"] = zeros_like(param), zeros_like(param)
            state["mu_product"] = 1.0
        step, xp, (beta1, beta2) = self.next_step(state, param, group), array_module(grad), group["betas"]
        g, mean, squares = decayed(param.array, grad, group), state["exp_avg"].array, state["exp_avg_sq"].array
        now, then = (beta1 * (1 - 0.5 * 0.96 ** (t * group["momentum_decay"])) for t in (step, step + 1))
        if hasattr(step, "dtype"):
            product = self.number_on_gpu(state, "mu_product", param, 1.0)
            product *= now
        else:
            product = state["mu_product"] = float(state["mu_product"]) * now
        mix(mean, g, 1 - beta1)
        mix(squares, g * g, 1 - beta2)
        scale = float(group["lr"]) / (xp.sqrt(squares / of_dtype(1 - beta2**step, g)) + group["eps"])
        of_g, of_mean = of_dtype((1 - now) / (1 - product), g), of_dtype(then / (1 - product * then), mean)
        param.array -= scale * (of_g * g + of_mean * mean)


class RAdam(Optimizer):
    """Adam that takes plain momentum steps until its mean square is worth dividing by (Liu et al., 2020)."""

    def __init__(
        self, params: Any, lr: float | Tensor = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 0, decoupled_weight_decay: bool = False, *, foreach: bool | None = None,
        maximize: bool = False, capturable: bool = False, differentiable: bool = False,
    ) -> None:  # fmt: skip
        _check(lr, eps, weight_decay, betas)
        refuse_differentiable(differentiable)
        defaults = {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "maximize": maximize, "foreach": foreach,
            "capturable": capturable, "decoupled_weight_decay": decoupled_weight_decay, "differentiable": differentiable,
        }  # fmt: skip
        super().__init__(params, defaults)

    def update(self, param: Tensor, grad: Any, state: dict[str, Any], group: dict[str, Any]) -> None:
        if self.begins(state, "exp_avg"):
            state["exp_avg"], state["exp_avg_sq"] = zeros_like(param), zeros_like(param)
        step, xp, (beta1, beta2) = self.next_step(state, param, group), array_module(grad), group["betas"]
        g, mean, squares = decayed(param.array, grad, group), state["exp_avg"].array, state["exp_avg_sq"].array
        mix(mean, g, 1 - beta1)
        mix(squares, g * g, 1 - beta2)
        correction = 1 - beta2**step
        longest = 2 / (1 - beta2) - 1  # of how many gradients the mean square consists in the end, and now
        length = longest - 2 * step * beta2**step / correction
        lr = float(group["lr"]) / (1 - beta1**step)
        counted = hasattr(step, "dtype")  # by the GPU, so that both cases are computed
        if not counted and length <= 5:
            param.array -= lr * mean
            return
        rectified = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length) * correction
        root = lr * (xp.sqrt(xp.maximum(rectified, 0)) if counted else math.sqrt(rectified))
        move = of_dtype(root, mean) * mean / (xp.sqrt(squares) + group["eps"])
        param.array -= xp.where(length > 5, move, of_dtype(lr, mean) * mean) if counted else move
