"""Probability distributions: `torch.distributions`. Samples are drawn from minidl's generator, whose numbers are its own."""

from typing import Any as _Any

from ..paths import submodule as _submodule
from . import constraints, transforms
from .classes import *
from .composed import *
from .continuous import *
from .discrete import *
from .distribution import Distribution
from .gamma import *
from .independent import Independent
from .kl import kl_divergence, register_kl
from .multivariate_normal import MultivariateNormal
from .relaxed import *
from .tails import *
from .transforms import *


def __getattr__(name: str) -> _Any:
    return _submodule(__name__, name)
