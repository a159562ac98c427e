"""Arithmetic, powers, exponentials, trigonometry, rounding, comparison, selection.

Every rule is the derivative one finds in a table, times the incoming gradient `g`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import dtypes
from ..autograd import op as _op
from ..autograd.op import Op, _Tensor  # noqa: F401
from ..kernels import array_module
from ..tensor import Tensor, method
