"""The differentiable operations, one file a family. Each family's `__all__` is public in `minidl`."""

from types import ModuleType as _Module

from .activation import *
from .arithmetic import *
from .complex import *
from .conversion import *
from .convolution import *
from .creation import *
from .cumulative import *
from .decompositions import *
from .dropout import *
from .exponential import *
from .extremum import *
from .gather import *
from .indexing import *
from .inspection import *
from .joining import *
from .legacy import *
from .linalg import *
from .loss import *
from .masks import *
from .matrix_functions import *
from .normalization import *
from .products import *
from .random import *
from .rearrange import *
from .reduction import *
from .rounding import *
from .selection import *
from .shape import *
from .signal import *
from .softmax import *
from .solving import *
from .sorting import *
from .special import *
from .spectral import *
from .statistics import *
from .strides import *
from .trigonometric import *

# the families' functions without the families: `minidl.linalg` is not `minidl.ops.linalg`
__all__ = [name for name, value in globals().items() if not name.startswith("_") and not isinstance(value, _Module)]
