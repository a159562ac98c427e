"""Numerical routines: each one a plain reference and, beside it, the fast variants that must agree with it.

    @Kernel
    def softmax(x, axis): ...                      # the reference: NumPy and CuPy, every dtype and shape

    @softmax.variant("numba", device="cpu", supports=rows_of_float32)
    def softmax_numba(x, axis): ...                # the same signature

A call goes to the variant in force for the type of its first argument, or of the first array in it if it is a list. That
choice is made once, when it changes, and not per call. By default it is the first of DEFAULT_ORDER that is installed;
`use(...)` and the environment variable MINIDL_KERNELS ("numpy", or "softmax=numpy,adam=numba") choose otherwise. Outside of
what a variant `supports`, the reference runs; before that, a variant that `copies` is asked again with its arrays copied into
row-major order.

This package imports NumPy, Numba and CuPy and nothing of minidl.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any, Self

import numpy as np

if __name__ == "kernels":
    raise ImportError("this package is minidl.kernels: write `from minidl import kernels`, not `import kernels`")

DEFAULT_ORDER: dict[str, tuple[str, ...]] = {"cpu": ("numba", "blas", "numpy"), "cuda": ("cuda", "cublas", "cupy")}
REFERENCE = {"cpu": "numpy", "cuda": "cupy"}
REGISTRY: dict[str, Kernel] = {}
FLOAT32 = np.dtype(np.float32)


class KernelUnavailable(RuntimeError):
    """The variant asked for does not exist or cannot run on this machine; the message lists what there is."""


class Variant:
    """One implementation of a kernel for one device, and the inputs that it is made for."""

    def __init__(
        self, name: str, device: str, run: Callable[..., Any], supports: Callable[..., bool] | None, requires: str,
        copies: bool = False,
    ) -> None:  # fmt: skip
        self.name, self.device, self.run, self.supports, self.requires = name, device, run, supports, requires
        self.copies = copies

    def missing(self) -> str:
        """Why this variant cannot run here, or the empty string."""
        if self.requires and importlib.util.find_spec(self.requires) is None:
            return f"{self.requires} is not installed"
        return ""


class Kernel:
    """One numerical routine: a reference and its variants. Use as a decorator of the reference."""

    def __init__(self, reference: Callable[..., Any]) -> None:
        self.name = reference.__name__
        self.reference = reference
        self.variants: dict[tuple[str, str], Variant] = {}
        for device, name in REFERENCE.items():
            self.variants[device, name] = Variant(name, device, reference, None, "" if name == "numpy" else name)
        self.takes_bfloat16 = False  # whether the reference does, on a GPU
        self.statistics: tuple[int, ...] = ()  # the results that stay float32 where others are rounded to bfloat16
        self.choice: dict[str, str | Callable[..., Any]] = {}  # device -> what `use` asked for
        self._resolved: dict[type, tuple[Any, Any, Any]] = {}  # array type -> what runs, for which arguments, what else
        self.__name__, self.__doc__, self.__wrapped__ = reference.__name__, reference.__doc__, reference
        if self.name in REGISTRY and REGISTRY[self.name].reference.__code__ != reference.__code__:
            from .paths import location

            raise ValueError(f"kernel {self.name!r} is defined twice: {location(reference)} and before")
        REGISTRY[self.name] = self

    def variant(
        self, name: str, device: str, supports: Callable[..., bool] | None = None, requires: str | None = None,
        copies: bool = False,
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:  # fmt: skip
        """Register the decorated function as the variant `name` for `device` ("cpu" or "cuda").

        `supports` takes the kernel's arguments and says whether the variant is made for them; `requires` names the
        package without which it is missing (default: cupy for the device "cuda", else numba for "numba"). copies: arrays
        that are in another order than row-major are copied into it where that is all that `supports` minds: on a GPU a copy
        costs less than a reference that is made of many kernels. Not for one that writes to its arguments.
        """
        if requires is None:
            requires = "cupy" if device == "cuda" else "numba" if "numba" in name else ""

        def register(function: Callable[..., Any]) -> Callable[..., Any]:
            if parameters(function) != parameters(self.reference):
                raise TypeError(
                    f"kernel {self.name}: variant {name!r} has the parameters {inspect.signature(function)}, "
                    f"the reference has {inspect.signature(self.reference)}"
                )
            self.variants[device, name] = Variant(name, device, function, supports, requires, copies)
            self._resolved.clear()
            return function

        return register

    def __call__(self, *args: Any) -> Any:
        kind = type(args[0])
        if kind is list:
            kind = type(args[0][0]) if args[0] else np.ndarray
        try:
            run, supports, otherwise = self._resolved[kind]
        except KeyError:
            device = device_of(kind)
            variant = self.in_force(device)
            reference = self._reference_on_gpu if device == "cuda" else self.reference
            otherwise = partial(self._on_copies, variant) if variant.copies else reference
            run = reference if variant.run is self.reference else variant.run
            run, supports, otherwise = self._resolved[kind] = run, variant.supports, otherwise
        if supports is None or supports(*args):
            return run(*args)
        return otherwise(*args)

    def _on_copies(self, variant: Variant, *args: Any) -> Any:
        """The variant on row-major copies of its arrays, or the reference where their order is not what is in the way."""
        from .cast import in_rows  # it needs Kernel

        disorderly = (hasattr(a, "flags") and not a.flags.c_contiguous for a in args)
        ordered = [
            a if not d else in_rows(a) if a.dtype.kind == "V" else a.copy()
            for a, d in zip(args, disorderly, strict=True)
        ]
        disordered = any(a is not b for a, b in zip(args, ordered, strict=True))
        if disordered and variant.supports is not None and variant.supports(*ordered):
            return variant.run(*ordered)
        return self._reference_on_gpu(*args)

    def _reference_on_gpu(self, *args: Any) -> Any:
        """The reference; with bfloat16 arrays of CuPy's, which does not compute with them, in float32 and rounded at the end."""
        low = getattr(args[0], "dtype", None)
        if low is None or low.kind != "V" or self.takes_bfloat16 or args[0].__class__ is np.ndarray:
            return self.reference(*args)
        from .cast import astype

        wide = [astype(x, FLOAT32) if getattr(x, "dtype", None) == low else x for x in args]
        out = self.reference(*wide)
        found = out if isinstance(out, tuple) else (out,)
        results = [
            astype(x, low) if x.dtype == FLOAT32 and i not in self.statistics else x for i, x in enumerate(found)
        ]
        return tuple(results) if isinstance(out, tuple) else results[0]

    def in_force(self, device: str = "cpu") -> Variant:
        """The variant that calls with this device's arrays go to."""
        wanted = self.choice.get(device)
        if callable(wanted):
            return Variant(wanted.__name__, device, wanted, None, "")
        if wanted is not None:
            return self.variants[device, wanted]
        for name in DEFAULT_ORDER[device]:
            variant = self.variants.get((device, name))
            if variant is not None and not variant.missing():
                return variant
        return self.variants[device, REFERENCE[device]]

    def choose(self, wanted: str | Callable[..., Any] | None) -> None:
        """Put a variant (by name), a function of yours, or the default (None) in force."""
        if wanted is None:
            self.choice.clear()
        elif callable(wanted):
            self.choice = {"cpu": wanted, "cuda": wanted}
        else:
            devices = [device for device, name in self.variants if name == wanted]
            reasons = [self.variants[device, wanted].missing() for device in devices]
            if not devices or all(reasons):
                raise KernelUnavailable(
                    f"kernel {self.name!r} has no variant {wanted!r} here{''.join(f' ({r})' for r in reasons if r)}; "
                    f"there are: {self.describe()}"
                )
            self.choice.update(dict.fromkeys(devices, wanted))
        self._resolved.clear()

    def describe(self) -> str:
        """The variants in one line, each missing one with its reason."""
        parts = []
        for (device, name), variant in self.variants.items():
            why = variant.missing()
            parts.append(f"{name} [{device}]" + (f" (missing: {why})" if why else ""))
        return ", ".join(parts)

    def __repr__(self) -> str:
        return f"<Kernel {self.name}: {self.describe()}; in force on the CPU: {self.in_force().name}>"


def parameters(function: Callable[..., Any]) -> tuple[str, ...]:
    """The names of a function's parameters."""
    code = function.__code__
    return code.co_varnames[: code.co_argcount]


def device_of(array_type: type) -> str:
    """ "cpu" or "cuda", by the module that an array type comes from."""
    return "cuda" if array_type.__module__.partition(".")[0] == "cupy" else "cpu"


def array_module(x: Any) -> ModuleType:
    """The module, numpy or cupy, whose functions work on `x`."""
    if x.__class__ is np.ndarray:
        return np
    return sys.modules["cupy" if device_of(type(x)) == "cuda" else "numpy"]


class use:
    """Choose kernel variants: at once when called, until the end of the block in a `with`.

    Arguments: one variant name for all kernels that have it, or `kernel=variant` pairs, where a variant is a name,
    a function with the kernel's signature, or None for the default.
    Raises: KernelUnavailable, ValueError for an unknown kernel.

    Example:
        >>> with kernels.use(softmax="numpy"):
        ...     loss = model(x)
    """

    def __init__(self, everywhere: str | None = None, **each: str | Callable[..., Any] | None) -> None:
        load_all()
        unknown = set(each) - set(REGISTRY)
        if unknown:
            raise ValueError(f"unknown kernel {', '.join(sorted(unknown))}; there are: {', '.join(sorted(REGISTRY))}")
        self.before = {name: dict(kernel.choice) for name, kernel in REGISTRY.items()}
        try:
            if everywhere is not None:
                having = [k for k in REGISTRY.values() if any(name == everywhere for _, name in k.variants)]
                if not having:
                    raise KernelUnavailable(f"no kernel has a variant {everywhere!r}")
                for kernel in having:
                    kernel.choose(everywhere)
            for name, wanted in each.items():
                REGISTRY[name].choose(wanted)
        except KernelUnavailable:
            self.__exit__()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        for name, choice in self.before.items():
            REGISTRY[name].choice = dict(choice)
            REGISTRY[name]._resolved.clear()


def load_all() -> None:
    """Import every kernel family, so that REGISTRY is complete; not the modules that need Numba, whose names begin with _."""
    import pkgutil

    for module in pkgutil.iter_modules(__path__):
        if not module.name.startswith("_"):
            importlib.import_module(f"{__name__}.{module.name}")


def _choose_from_environment() -> None:
    """MINIDL_KERNELS: one variant name, or kernel=variant pairs separated by commas."""
    wanted = os.environ.get("MINIDL_KERNELS", "").strip()
    if not wanted:
        return
    pairs = [item.split("=") for item in wanted.split(",")]
    if any(len(pair) > 2 for pair in pairs) or (len(pairs) > 1 and any(len(pair) == 1 for pair in pairs)):
        raise ValueError(f"MINIDL_KERNELS={wanted!r}: write one variant name, or kernel=variant pairs with commas")
    if len(pairs[0]) == 1:
        use(wanted)
    else:
        use(**{name.strip(): variant.strip() for name, variant in pairs})


_choose_from_environment()

from .paths import explain, location  # noqa: E402  # it needs Kernel and REGISTRY, which stand above

__all__ = ["DEFAULT_ORDER", "REFERENCE", "REGISTRY", "Kernel", "KernelUnavailable", "Variant", "array_module", "device_of",
           "explain", "load_all", "location", "use"]  # fmt: skip
