"""PyTorch's import paths that lead elsewhere here: `minidl.nn.modules.instancenorm` to `minidl.nn.batchnorm`.

PyTorch has a file for nearly every class, and programs import from those files. A path of the table below becomes a module
when it is first asked for, with the names of the module that it stands for; until then it costs nothing.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

_LAYERS = (
    "activation", "adaptive", "batchnorm", "container", "conv", "distance", "dropout", "flatten", "fold", "lazy", "linear", "loss",
    "module", "normalization", "padding", "pooling", "rnn", "sparse", "transformer", "upsampling",
)  # fmt: skip
_DISTRIBUTIONS = (
    "bernoulli", "beta", "binomial", "categorical", "cauchy", "chi2", "dirichlet", "exponential", "fishersnedecor",
    "geometric", "gumbel", "half_cauchy", "half_normal", "inverse_gamma", "kumaraswamy", "laplace", "log_normal",
    "logistic_normal", "mixture_same_family", "multinomial", "negative_binomial", "normal", "one_hot_categorical",
    "pareto", "poisson", "relaxed_bernoulli", "relaxed_categorical", "studentT", "transformed_distribution", "uniform",
    "weibull",
)  # fmt: skip
_PLACES = {
    "nn.modules": "nn",
    **{f"nn.modules.{name}": f"nn.{name}" for name in _LAYERS},
    "nn.modules.channelshuffle": "nn.upsampling",
    "nn.modules.instancenorm": "nn.batchnorm",
    "nn.modules.pixelshuffle": "nn.upsampling",
    "nn.modules.utils": "nn.sizes",
    "nn.common_types": "nn.sizes",
    "nn.parallel.data_parallel": "nn.parallel",
    "nn.parallel.distributed": "nn.parallel",
    "nn.parallel.scatter_gather": "nn.parallel",
    "nn.utils.convert_parameters": "nn.utils.convert",
    **{f"distributions.{name}": "distributions" for name in _DISTRIBUTIONS},
    **{f"optim.{name}": "optim.adaptive" for name in ("adadelta", "adagrad", "adamax", "nadam", "radam")},
    "ao": "quantization",
    "ao.nn": "quantization",
    "ao.nn.intrinsic": "quantization.intrinsic",
    "ao.nn.intrinsic.qat": "quantization.qat",
    "ao.nn.qat": "quantization.qat",
    "ao.nn.quantized": "quantization.quantized",
    "ao.nn.quantized.dynamic": "quantization.dynamic",
    "ao.quantization": "quantization",
    **{f"ao.quantization.{name}": f"quantization.{name}" for name in ("fake_quantize", "observer", "qconfig")},
    "ao.quantization.stubs": "quantization.stubs",
    "nn.intrinsic": "quantization.intrinsic",
    "nn.intrinsic.qat": "quantization.qat",
    "nn.qat": "quantization.qat",
    "nn.quantized": "quantization.quantized",
    "nn.quantized.dynamic": "quantization.dynamic",
    "optim.adamw": "optim.adam",
    "optim.asgd": "optim.rprop",
    "amp.autocast_mode": "amp",
    "amp.grad_scaler": "amp",
    "cuda.amp.autocast_mode": "cuda.amp",
    "cuda.amp.grad_scaler": "cuda.amp",
    "autograd.anomaly_mode": "autograd.anomaly",
    "autograd.profiler": "profiler",
    "autograd.variable": "autograd",
    "utils.data._utils": "utils.data",
    "utils.data._utils.collate": "utils.data.collate",
    "utils.data._utils.worker": "utils.data.worker",
    "utils.data.distributed": "utils.data.sampler",
    "utils.dlpack": "ops.legacy",
    "utils.hooks": "autograd.hooks",
}
PLACES = {f"minidl.{path}": f"minidl.{place}" for path, place in _PLACES.items()}


class _Borrowed(ModuleType):
    """A module whose names are those of another or, failing that, of the package around that."""

    def __getattr__(self, name: str) -> Any:
        if f"{self.__name__}.{name}" in PLACES:
            return import_module(f"{self.__name__}.{name}")
        place = PLACES[self.__name__]
        if name == "__all__":
            return [name for name in dir(import_module(place)) if not name.startswith("_")]
        if not name.startswith("__"):
            for module in map(import_module, (place, place.rpartition(".")[0])):
                if hasattr(module, name):
                    return getattr(module, name)
        raise AttributeError(f"module {self.__name__!r}, which stands for {place!r}, has no attribute {name!r}")


class _Finder:
    """What the import statement asks when it finds no file."""

    @classmethod
    def find_spec(cls, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        return ModuleSpec(name, cls, is_package=True) if name in PLACES else None  # type: ignore[arg-type]

    @staticmethod
    def create_module(spec: ModuleSpec) -> ModuleType:
        return _Borrowed(spec.name, f"PyTorch's name for {PLACES[spec.name]}.")

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        """Nothing to run: names are looked up when they are used."""


sys.meta_path.append(_Finder)


def submodule(package: str, name: str) -> Any:
    """A module of a package, imported when it is first used: what a package's __getattr__ returns.

    Raises AttributeError where there is none.
    """
    path = f"{package}.{name}"
    if name.startswith("__") or find_spec(path) is None:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    return import_module(path)
