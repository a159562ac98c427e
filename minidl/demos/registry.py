"""Which demos there are, in the order of the list."""

from __future__ import annotations

from difflib import get_close_matches

from . import (
    augmentation_invariance,
    class_incremental,
    deletion_test,
    distill_100,
    dropout_scaling,
    f1_from_accuracy,
    forget_bias,
    init_variance,
    l1_proximal,
    l2_squared,
    lr_decay_noise,
    lr_vs_optimizer,
    momentum_vs_init,
    multitask_aux,
    permutation_attention,
    prune_finetune,
    quantization_outlier,
    shard_gradients,
    softmax_scale,
    sparsity_break_even,
    tracer_branch,
    transfer_shots,
)
from .demo import Demo, Result

DEMOS = {
    module.DEMO.name: module.DEMO
    for module in (
        init_variance,
        momentum_vs_init,
        tracer_branch,
        f1_from_accuracy,
        l2_squared,
        l1_proximal,
        softmax_scale,
        sparsity_break_even,
        quantization_outlier,
        shard_gradients,
        class_incremental,
        lr_vs_optimizer,
        dropout_scaling,
        permutation_attention,
        lr_decay_noise,
        forget_bias,
        transfer_shots,
        multitask_aux,
        augmentation_invariance,
        deletion_test,
        distill_100,
        prune_finetune,
    )
}


def names() -> list[str]:
    """The names of all demos."""
    return list(DEMOS)


def find(name: str) -> Demo:
    """The demo of that name. Raises KeyError, with the nearest name there is, for another."""
    if name not in DEMOS:
        near = get_close_matches(name, DEMOS, n=1, cutoff=0.4)
        raise KeyError(f"there is no demo {name!r}{f'; did you mean {near[0]}?' if near else ''}")
    return DEMOS[name]


def run(name: str, seed: int = 0) -> Result:
    """Run a demo. The same seed gives the same figures; the global generator is left as it was."""
    return find(name).run(seed)
