"""The differentiable operations, one file a family. Each family's `__all__` is public in `minidl`."""

from .arithmetic import *
from .elementwise import *
from .selection import *
