"""Smaller networks: pruning, sparse training, distillation, low rank, and what each step costs and saves.

pruning.py says which weights go and what keeps them at 0; gradual.py, rigl.py and tickets.py say when; channels.py removes whole
channels, csr.py stores what is left of a matrix, also in blocks, and skips its zeros. low_rank.py, int8.py and distillation.py are other ways. measure.py
measures the result, pipeline.py is `minidl compress`, effects.py shows on digits what the methods do.
"""

from .break_even import BreakEven, break_even
from .channels import keep_channels, prune_channels, remove_channels
from .csr import SparseLinear, to_bsr, to_csr
from .distillation import FeatureMatching, distillation_loss, features_of, soft_target_loss
from .gradual import GradualPruning, cubic
from .int8 import static_int8
from .low_rank import factorize, low_rank, rank_for
from .packing import pack, unpack
from .pipeline import load
from .proximal import proximal_l1, soft_threshold_
from .pruning import NM, Blocks, blocks, copy_of, heads, make_permanent, nm, prune_to, set_mask, sparsity, weights
from .rigl import RigL, erdos_renyi
from .tickets import rewind, snapshot

__all__ = [
    "NM", "Blocks", "BreakEven", "FeatureMatching", "GradualPruning", "RigL", "SparseLinear", "blocks", "break_even", "copy_of", "cubic",
    "distillation_loss", "erdos_renyi", "factorize", "features_of", "heads", "keep_channels", "load", "low_rank",
    "make_permanent", "nm", "pack", "proximal_l1", "prune_channels", "prune_to", "rank_for", "remove_channels", "rewind",
    "set_mask", "snapshot", "soft_target_loss", "soft_threshold_", "sparsity", "static_int8", "to_bsr", "to_csr", "unpack", "weights",
]  # fmt: skip
