"""Distillation: a small network learns from the answers of a large one, which say more than labels do."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import contextmanager
from typing import Any

from ..nn.conv import Conv2d
from ..nn.functional import cross_entropy, log_softmax, mse_loss, softmax
from ..nn.linear import Linear
from ..nn.module import Module
from ..tensor import Tensor


def soft_target_loss(student: Tensor, teacher: Tensor, temperature: float = 4.0) -> Tensor:
    """T² KL(softmax(teacher / T) || softmax(student / T)), the mean over the batch; logits (*, C), a teacher without gradient.

    A temperature above 1 shows how the teacher ranks the wrong classes. The gradient of the divergence shrinks as 1 / T²; the
    factor makes up for that, so that other losses beside it keep their weight when T changes.
    Source: Hinton, Vinyals & Dean, "Distilling the Knowledge in a Neural Network", 2015.

    Example:
        >>> soft_target_loss(minidl.zeros(2, 3), minidl.zeros(2, 3))
        tensor(0.)
    """
    if student.shape != teacher.shape or not student.ndim:
        raise RuntimeError(
            f"soft_target_loss: student and teacher must be logits (*, C) of one shape, got {list(student.shape)} and "
            f"{list(teacher.shape)}"
        )
    if not temperature > 0:
        raise ValueError(f"soft_target_loss: temperature must be above 0, got {temperature}")
    wanted = teacher.detach() / temperature
    distance = softmax(wanted, -1) * (log_softmax(wanted, -1) - log_softmax(student / temperature, -1))
    return distance.sum(-1).mean() * temperature**2


def distillation_loss(
    student: Tensor, teacher: Tensor, labels: Tensor, temperature: float = 4.0, soft: float = 0.9
) -> Tensor:
    """soft * soft_target_loss + (1 - soft) * cross-entropy with the labels (B,); logits (B, C).

    Raises ValueError for a `soft` outside [0, 1].
    """
    if not 0 <= soft <= 1:
        raise ValueError(f"distillation_loss: soft is the share of the soft targets, from 0 to 1, got {soft}")
    return soft * soft_target_loss(student, teacher, temperature) + (1 - soft) * cross_entropy(student, labels)


class FeatureMatching(Module):
    """Half the mean squared distance of a teacher's features from the student's, which a learned map brings to their width.

    Features are (*, D), or (B, C, H, W) with images=True, where the map is a 1 x 1 convolution. Train the map with the student:
    give the optimizer both parameters. Source: Romero et al., "FitNets: Hints for Thin Deep Nets", 2015.

    Example:
        >>> FeatureMatching(8, 64)(minidl.randn(5, 8), minidl.randn(5, 64)).shape
        torch.Size([])
    """

    def __init__(self, student_features: int, teacher_features: int, images: bool = False) -> None:
        super().__init__()
        self.map: Module = (Conv2d(student_features, teacher_features, 1) if images
                            else Linear(student_features, teacher_features))  # fmt: skip

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        mapped = self.map(student)
        if mapped.shape != teacher.shape:
            raise RuntimeError(
                f"FeatureMatching: the student's features {list(student.shape)} became {list(mapped.shape)}, and the teacher's "
                f"are {list(teacher.shape)}"
            )
        return mse_loss(mapped, teacher.detach()) / 2


@contextmanager
def features_of(model: Module, paths: Iterable[str]) -> Any:
    """Keep what the modules at these paths give in each call of the model: a dict from path to result, filled by the call.

    Raises AttributeError for a path that leads to no module.

    Example:
        >>> with features_of(model, ["0"]) as features:
        ...     logits = model(x)
        >>> features["0"].shape
    """
    features: dict[str, Any] = {}
    handles = []
    try:
        for path in paths:

            def keep(module: Module, inputs: Any, output: Any, path: str = path) -> None:
                features[path] = output

            handles.append(model.get_submodule(path).register_forward_hook(keep))
        yield features
    finally:
        for handle in handles:
            handle.remove()
