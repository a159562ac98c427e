"""Every operator, module and optimizer on the device against itself on the CPU: values, dtypes, gradients, random numbers.

The samples are PyTorch's, from the databases of its own tests; its results play no part. What the CPU refuses is left out.
"""

from __future__ import annotations

import functools
import itertools
import re
import sys
import types
import unittest
import warnings

import numpy as np
import pytest

import minidl
import minidl.nn.functional

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("ignore")  # of PyTorch's samples, which call deprecated functions
# PyTorch's databases import it only for the base class of PyTorch's own test cases
sys.modules.setdefault("expecttest", types.ModuleType("expecttest")).__dict__.setdefault("TestCase", unittest.TestCase)

SAMPLES = 3  # of each entry and dtype
TOLERANCE = {torch.float64: 1e-9, torch.float32: 2e-4}
PUBLIC_ORDER = {  # PyTorch calls the sample's input first, whatever the argument's place in the public signature
    "einsum": lambda f: lambda operands, equation, **kw: f(equation, *operands, **kw),
    "where": lambda f: lambda x, condition, y, **kw: f(condition, x, y, **kw),
    "nn.functional.embedding": lambda f: lambda weight, index, **kw: f(index, weight, **kw),
    "polygamma": lambda f: lambda x, n, **kw: f(n, x, **kw),
    "special.polygamma": lambda f: lambda x, n, **kw: f(n, x, **kw),
}
# of which several results are right: signs of vectors, the order of eigenvalues
NOT_UNIQUE = re.compile(r"(linalg\.)?(eigh?|svd|qr)|svd_lowrank|pca_lowrank|geqrf")
UNINITIALIZED = ("empty", "empty_like", "new_empty", "new_empty_strided", "empty_strided", "empty_permuted")


def find(name):
    """minidl's function, class or tensor method of that dotted name, or None."""
    try:
        return functools.reduce(getattr, name.split("."), minidl)
    except AttributeError:
        return None if "." in name else getattr(minidl.Tensor, name, None)


def translate(x, device, leaves):
    """A structure of PyTorch's arguments with minidl's tensors on the device; those that want gradients go to `leaves`."""
    if isinstance(x, torch.Tensor):
        t = minidl.tensor(x.detach().numpy().copy()).to(device)
        if x.requires_grad:
            leaves.append(t.requires_grad_())
        return t
    if isinstance(x, dict):
        return {key: translate(v, device, leaves) for key, v in x.items()}
    if type(x) in (list, tuple):
        return type(x)(translate(v, device, leaves) for v in x)
    if type(x) is type(torch.nn.functional.gelu):  # an activation, by its name
        return getattr(minidl.nn.functional, x.__name__)
    if isinstance(x, torch.dtype):
        return getattr(minidl, str(x).removeprefix("torch."))
    return device if isinstance(x, torch.device) or x == "cpu" else x


def tensors_in(out):
    if isinstance(out, (list, tuple)):
        return [t for part in out for t in tensors_in(part)]
    return [out] if isinstance(out, minidl.Tensor) else []


def run(function, args, kwargs, device):
    """The results of a call and the gradients of its inputs, as pairs of what it is and the tensor."""
    leaves = []
    args, kwargs = translate((args, kwargs), device, leaves)
    minidl.manual_seed(0)
    with device:
        outputs = tensors_in(function(*args, **kwargs))
    return [(f"result {i}", t) for i, t in enumerate(outputs)] + gradients(outputs, leaves, device)


def gradients(outputs, leaves, device):
    """Of the sum of the outputs, each times a random constant."""
    rng = np.random.default_rng(0)
    weighted = [(t, minidl.tensor(np.asarray(rng.standard_normal(t.shape))).to(t.dtype).to(device))
                for t in outputs if t.requires_grad and t.is_floating_point()]  # fmt: skip
    if not weighted:
        return []
    sum((t * w).sum() for t, w in weighted).backward()
    return [(f"gradient {i}", t.grad) for i, t in enumerate(leaves) if t.grad is not None]


def agree(here, there, tolerance, unique=True):
    """Raise unless both are the same (or of one shape, where results are not unique), the second on the device."""
    assert [what for what, _ in here] == [what for what, _ in there]
    for (what, a), (_, b) in zip(here, there, strict=True):
        assert a.device.type == "cpu" and b.device.type == "cuda", f"{what} is on {b.device}"
        assert a.dtype == b.dtype, f"{what}: {b.dtype}, on the CPU {a.dtype}"
        assert a.layout == b.layout, f"{what}: {b.layout}, on the CPU {a.layout}"
        a, b = (t if t.layout is minidl.strided else t.to_dense() for t in (a, b))
        a, b = a.detach().numpy(), b.detach().cpu().numpy()
        assert a.shape == b.shape, f"{what}: shape {b.shape}, on the CPU {a.shape}"
        if unique:
            np.testing.assert_allclose(b, a, rtol=tolerance, atol=tolerance, err_msg=what)


def compare(report, name, call, tolerance):
    """call(device) on the CPU and, unless that fails, on the device."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            here = call(minidl.device("cpu"))
        except Exception:
            return False  # the CPU refuses it, and other tests say whether that is right
        try:
            agree(here, call(minidl.device("cuda")), tolerance, not NOT_UNIQUE.fullmatch(name))
        except Exception as error:
            report.setdefault(name, f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
    return True


def conclude(report, compared, at_least):
    assert not report, f"{len(report)} differ on the device:\n" + "\n".join(f"{n}: {why}" for n, why in report.items())
    assert compared >= at_least, f"only {compared} samples were compared"


SHARDS = 24  # so that several processes can share the work


@pytest.mark.parametrize("shard", range(SHARDS))
def test_operators(device, shard):
    from torch.testing._internal.common_methods_invocations import op_db

    report, compared = {}, 0
    for op in op_db[shard::SHARDS]:
        ours = find(op.name)
        if not callable(ours) or op.name in UNINITIALIZED:
            continue
        ours = PUBLIC_ORDER.get(op.name, lambda f: f)(ours)
        for dtype in TOLERANCE:
            if dtype not in op.dtypes:
                continue
            torch.manual_seed(0)
            inputs = op.sample_inputs_func(op, "cpu", dtype, op.supports_autograd)
            for s in itertools.islice(inputs, SAMPLES):
                call = functools.partial(run, ours, (s.input, *s.args), s.kwargs)
                compared += compare(report, op.name, call, TOLERANCE[dtype])
    conclude(report, compared, at_least=30)


def run_module(cls, sample, training, device):
    leaves = []
    args, kwargs = translate((sample.constructor_input.args, sample.constructor_input.kwargs), minidl.device("cpu"), [])
    minidl.manual_seed(0)
    module = cls(*args, **kwargs).train(training).to(device)
    inputs, named = translate((sample.forward_input.args, sample.forward_input.kwargs), device, leaves)
    minidl.manual_seed(0)
    outputs = tensors_in(module(*inputs, **named))
    found = [(f"result {i}", t) for i, t in enumerate(outputs)] + gradients(outputs, leaves, device)
    found += [(f"state {name}", t) for name, t in module.state_dict().items()]
    return found + [(f"gradient of {n}", p.grad) for n, p in module.named_parameters() if p.grad is not None]


@pytest.mark.parametrize("shard", range(8))
def test_modules(device, shard):
    from torch.testing._internal.common_modules import module_db

    report, compared = {}, 0
    for info in module_db[shard::8]:
        ours = find(info.name)
        if ours is None:
            continue
        for training in (True, False):
            torch.manual_seed(0)
            inputs = info.module_inputs_func(
                info, device="cpu", dtype=torch.float32, requires_grad=True, training=training
            )
            for sample in inputs[: 2 * SAMPLES]:
                made_of_modules = any(isinstance(a, torch.nn.Module) for a in sample.constructor_input.args)
                if sample.forward_input is not None and not made_of_modules:
                    call = functools.partial(run_module, ours, sample, training)
                    compared += compare(report, info.name, call, 1e-3)  # float32 sums over a batch
    conclude(report, compared, at_least=20)


def run_optimizer(optimizer, kwargs, device):
    rng = np.random.default_rng(0)
    x, y, start = (minidl.tensor(rng.standard_normal(s)).to(device) for s in ((20, 6), (20, 4), (6, 4)))
    w = start.requires_grad_()
    optimizer = optimizer([w], **kwargs)

    def closure():
        optimizer.zero_grad()
        loss = ((x @ w - y) ** 2).mean()
        loss.backward()
        return loss

    for _ in range(5):
        optimizer.step(closure)
    state = optimizer.state_dict()["state"].get(0, {})
    steps = state.pop("step", None)
    assert steps is None or not getattr(steps, "is_cuda", False), "steps are counted on the CPU"
    return [("weights", w), *((k, v) for k, v in sorted(state.items()) if isinstance(v, minidl.Tensor))]


def test_optimizers(device):
    from torch.testing._internal.common_optimizers import optim_db

    report, compared = {}, 0
    for info in optim_db:
        ours = getattr(minidl.optim, info.optim_cls.__name__, None)
        if ours is None:
            continue
        for sample in info.optim_inputs_func(device="cpu"):
            if any(sample.kwargs.get(flag) for flag in ("fused", "capturable", "differentiable", "foreach")):
                continue  # how PyTorch computes, not what
            numbers = {k: float(v) if isinstance(v, torch.Tensor) else v for k, v in sample.kwargs.items()}
            compared += compare(report, info.optim_cls.__name__, functools.partial(run_optimizer, ours, numbers), 1e-7)
    conclude(report, compared, at_least=12)
