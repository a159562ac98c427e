"""minidl: a deep-learning engine made to be read, with PyTorch's names.

    import minidl as torch

gives the tensors, the functions, `torch.nn`, `torch.optim`, `torch.autograd` and `torch.utils.data` of public teaching code.
Packages that are not needed for tensors (Numba, SciPy, plotting) are imported where they are used.
"""

from __future__ import annotations

import importlib
import math
import warnings
from typing import TYPE_CHECKING, Any

# NumPy warns of 1/0 and the like; here, as in PyTorch, infinities and NaN are values. Only this package is silenced.
warnings.filterwarnings("ignore", category=RuntimeWarning, module=r"minidl\.")

from .kernels.heap import keep_memory  # noqa: E402

keep_memory()

from . import autograd  # noqa: E402
from .autograd.grad_mode import (  # noqa: E402
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)
from .devices import device  # noqa: E402
from .dtypes import (  # noqa: E402
    bool_ as bool,
)
from .dtypes import (  # noqa: E402
    bfloat16,
    can_cast,
    cdouble,
    cfloat,
    complex64,
    complex128,
    double,
    dtype,
    finfo,
    float16,
    float32,
    float64,
    get_default_dtype,
    half,
    iinfo,
    int8,
    int16,
    int32,
    int64,
    long,
    promote_types,
    qint8,
    qint32,
    quint4x2,
    quint8,
    result_type,
    set_default_dtype,
    short,
    uint8,
    uint16,
    uint32,
    uint64,
)
from .layouts import layout, sparse_bsc, sparse_bsr, sparse_coo, sparse_csc, sparse_csr, strided  # noqa: E402
from .ops import *  # noqa: E402
from .paths import submodule  # noqa: E402
from .printing import set_printoptions  # noqa: E402
from .random import (  # noqa: E402
    Generator,
    default_generator,
    get_rng_state,
    initial_seed,
    manual_seed,
    seed,
    set_rng_state,
)
from .runtime import *  # noqa: E402
from .runtime import with_out  # noqa: E402
from .tensor import Size, Tensor  # noqa: E402

for _name in ("add", "sub", "mul", "div", "matmul", "mm", "bmm"):  # the functions; methods and operators stay without
    globals()[_name] = with_out(globals()[_name])

float = float32  # the dtypes' names, as in PyTorch
int = int32
inf, nan, pi, e = math.inf, math.nan, math.pi, math.e
newaxis = None

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .serialization import load, save
    from . import accelerator, amp, backends, bench, cuda, datasets, distributions, fft, jit, kernels, linalg, nn
    from . import distributed, func, hub, multiprocessing, onnx, optim, profiler, signal, sparse, special, testing
    from . import transforms, utils, version

_LAZY = {
    "load": "serialization", "save": "serialization", "autocast": "amp", "GradScaler": "amp", "is_autocast_enabled": "amp", "get_autocast_dtype": "amp",
    "constant_pad_nd": "ops.padding", "vmap": "func",
}  # fmt: skip
_LAZY |= dict.fromkeys(
    ("adaptive_avg_pool1d", "adaptive_max_pool1d", "avg_pool1d", "channel_shuffle", "instance_norm", "max_pool1d",
     "max_pool1d_with_indices", "max_pool2d", "max_pool3d", "native_channel_shuffle", "pixel_shuffle", "pixel_unshuffle",
     "celu_", "rrelu_", "selu_", "threshold_"),
    "nn.functional",
)  # fmt: skip
_LAZY |= dict.fromkeys(
    (
        "sparse_bsc_tensor",
        "sparse_bsr_tensor",
        "sparse_compressed_tensor",
        "sparse_coo_tensor",
        "sparse_csc_tensor",
        "sparse_csr_tensor",
    ),
    "sparse.creation",
)
_LAZY |= dict.fromkeys(
    ("dequantize", "int_repr", "per_channel_affine", "per_channel_affine_float_qparams", "per_channel_symmetric",
     "per_tensor_affine", "per_tensor_symmetric", "q_per_channel_axis", "q_per_channel_scales", "q_per_channel_zero_points",
     "q_scale", "q_zero_point", "qscheme", "quantize_per_channel", "quantize_per_tensor", "quantize_per_tensor_dynamic"),
    "quantization.tensor",
)  # fmt: skip
_LAZY |= dict.fromkeys(("fake_quantize_per_channel_affine", "fake_quantize_per_tensor_affine"), "ops.quantized")
_METHODS = ("detach", "unsafe_chunk", "unsafe_split", "unsafe_split_with_sizes")  # of Tensor that are functions as well


def __getattr__(name: str) -> Any:
    """Submodules are imported when they are first used, so that `import minidl` stays cheap."""
    if name in _LAZY:
        return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
    if (name in _METHODS or name.endswith("_")) and not name.startswith("_") and hasattr(Tensor, name):
        return getattr(Tensor, name)  # sin_(x) is x.sin_()
    return submodule(__name__, name)
