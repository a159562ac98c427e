"""The differentiable operations, one file a family. Each family's `__all__` is public in `minidl`."""

from .activation import *
from .arithmetic import *
from .creation import *
from .dropout import *
from .elementwise import *
from .gather import *
from .indexing import *
from .joining import *
from .linalg import *
from .loss import *
from .normalization import *
from .random import *
from .rearrange import *
from .reduction import *
from .selection import *
from .shape import *
from .softmax import *
from .sorting import *
