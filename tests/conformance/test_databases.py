"""minidl on the samples that PyTorch tests itself with: values, dtypes, and gradients of a random cotangent.

PyTorch ships databases of operators, modules and optimizers with sample inputs for its own tests. Each sample runs in both
on the same numbers. `deviations.toml` lists the entries that are meant to differ, with the reason.
"""

from __future__ import annotations

import functools
import itertools
import re
import tomllib
import warnings
from pathlib import Path

import numpy as np
import pytest

import minidl
import minidl.nn.functional

pytest.importorskip("expecttest", reason="PyTorch's databases need it")
torch = pytest.importorskip("torch")

SAMPLES = 6  # of each entry and dtype; the databases have up to some hundreds of one
TOLERANCE = {torch.float64: 1e-7, torch.float32: 2e-4}
NOT_FOR_COMPLEX = "not defined for complex numbers"  # said by operations whose gradient rule is for real ones

# PyTorch calls the sample's input first, whatever the argument's place in the public signature
PUBLIC_ORDER = {
    "einsum": lambda f: lambda operands, equation, **kw: f(equation, *operands, **kw),
    "where": lambda f: lambda x, condition, y, **kw: f(condition, x, y, **kw),
    "nn.functional.embedding": lambda f: lambda weight, index, **kw: f(index, weight, **kw),
    "nn.functional.embedding_bag": lambda f: lambda weight, index, **kw: f(index, weight, **kw),
    "polygamma": lambda f: lambda x, n, **kw: f(n, x, **kw),
    "special.polygamma": lambda f: lambda x, n, **kw: f(n, x, **kw),
}
# other draws of the same distribution: only shapes and dtypes are compared
RANDOM = re.compile(
    r"dropout|multi_head_attention_forward|bernoulli|multinomial|rand|normal|uniform|cauchy|exponential|geometric|rrelu|[Ff]ractional|empty"
)
# PyTorch's own functions do not survive this comparison (complex or bfloat16 to NumPy, memory layout, sparse layout, other
# arguments than the public ones), and the signs of eigenvectors are the choice of the LAPACK library
NOT_COMPARABLE = re.compile(
    r"as_strided.partial_views|bfloat16|chalf|fft\.(ifft|ihfft.*)|sparse\..*|sgn|zero_|linalg.lstsq.grad_oriented|linalg.pinv.singular|"
    r"linalg.eigh?|normal.in_place|nn.FractionalMaxPool[23]d|(svd|pca)_lowrank|to_sparse"
)


def deviations(part):
    return tomllib.loads((Path(__file__).parent / "deviations.toml").read_text())[part]


def find(name):
    """minidl's function, class or tensor method of that dotted name, or None."""
    try:
        return functools.reduce(getattr, name.split("."), minidl)
    except AttributeError:
        return None if "." in name else getattr(minidl.Tensor, name, None)


def translate(x, leaves, tensor):
    """A structure of arguments with `tensor` applied to each of PyTorch's tensors; those wanting gradients go to `leaves`."""
    if isinstance(x, torch.Tensor):
        t = tensor(x)
        if x.requires_grad:
            leaves.append(t.requires_grad_())
        return t
    if isinstance(x, dict):
        return {key: translate(v, leaves, tensor) for key, v in x.items()}
    if type(x) in (list, tuple):
        return type(x)(translate(v, leaves, tensor) for v in x)
    if tensor is to_minidl and type(x) is type(torch.nn.functional.gelu):  # an activation, by its name
        return getattr(minidl.nn.functional, x.__name__)
    if tensor is in_float32 and x is torch.bfloat16:
        return torch.float32
    if tensor is to_minidl and isinstance(x, torch.dtype):
        return getattr(minidl, str(x).removeprefix("torch."))
    return str(x) if tensor is to_minidl and isinstance(x, torch.device) else x


def to_minidl(x):
    return minidl.tensor(array(x).copy()).to(getattr(minidl, str(x.dtype).removeprefix("torch.")))


def copied(x):
    return x.detach().clone()


def in_float32(x):
    return x.detach().clone().to(torch.float32 if x.dtype is torch.bfloat16 else x.dtype)


def tensors_in(out):
    if isinstance(out, (list, tuple)):
        return [t for part in out for t in tensors_in(part)]
    return [out]


def array(x):
    if isinstance(x, torch.Tensor):
        x = x.resolve_conj().resolve_neg()
    x = x.to_dense() if hasattr(x, "to_dense") else x
    x = x.float() if str(getattr(x, "dtype", "")) == "torch.bfloat16" else x
    return x.detach().numpy() if hasattr(x, "detach") else np.asarray(x)


def agree(theirs, ours, tolerance, what):
    a, b = array(theirs), array(ours)
    assert a.shape == b.shape, f"{what}: shape {b.shape}, PyTorch's {a.shape}"
    assert a.dtype == b.dtype, f"{what}: dtype {b.dtype}, PyTorch's {a.dtype}"
    np.testing.assert_allclose(b, a, rtol=tolerance, atol=tolerance, err_msg=what)


def compare_call(theirs, ours, args, kwargs, tolerance, random=False):
    """Run both; compare results and, unless they are random, the gradients of the inputs that want one."""
    their_leaves, our_leaves = [], []
    their_args, their_kwargs = translate((args, kwargs), their_leaves, copied)
    our_args, our_kwargs = translate((args, kwargs), our_leaves, to_minidl)
    expected = tensors_in(theirs(*their_args, **their_kwargs))
    results = tensors_in(ours(*our_args, **our_kwargs))
    assert len(results) == len(expected), f"{len(results)} results, PyTorch's {len(expected)}"
    for t, m in zip(expected, results, strict=True):
        if random:
            assert array(t).shape == array(m).shape
        else:
            agree(t, m, tolerance, "value")
    rng = np.random.default_rng(0)
    their_loss = our_loss = 0.0
    for t, m in zip(expected, results, strict=True):
        if isinstance(t, torch.Tensor) and t.requires_grad:
            cotangent = rng.standard_normal(t.shape)
            if t.is_complex():
                cotangent = cotangent + 1j * rng.standard_normal(t.shape)
            cotangent = np.asarray(cotangent).astype(array(t).dtype)
            their_loss = their_loss + real_part((t * torch.from_numpy(cotangent)).sum())
            our_loss = our_loss + real_part((m * minidl.tensor(cotangent)).sum())
    if random or not isinstance(their_loss, torch.Tensor):
        return
    their_loss.backward()
    our_loss.backward()
    for i, (t, m) in enumerate(zip(their_leaves, our_leaves, strict=True)):
        if t.grad is not None:
            assert m.grad is not None, f"input {i} has no gradient"
            agree(t.grad, m.grad, 5 * tolerance, f"gradient of input {i}")  # sums of many rounded terms


def real_part(t):
    return t.real if t.is_complex() else t


class Report:
    """What differed, entry by entry, held against the list of deviations."""

    def __init__(self, part):
        self.part, self.compared, self.found = part, 0, {}

    def check(self, name, compare, *args):
        self.compared += 1
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # both warn, of deprecated arguments for one
                compare(*args)
        except Exception as error:
            self.found.setdefault(name, f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")

    def conclude(self, at_least):
        listed = deviations(self.part)
        unexpected = [f"{name}: {why}" for name, why in self.found.items() if name not in listed]
        assert not unexpected, f"{len(unexpected)} {self.part} deviate from PyTorch:\n" + "\n".join(unexpected)
        agreeing = sorted(set(listed) - set(self.found))
        assert not agreeing, f"listed as deviating, but they agree: {agreeing}; take them off deviations.toml"
        assert self.compared >= at_least, f"only {self.compared} samples were compared"


def test_operators():
    from torch.testing._internal.common_methods_invocations import op_db

    report = Report("operators")
    for op in op_db:
        label = op.name + (f".{op.variant_test_name}" if op.variant_test_name else "")
        ours = find(op.name)
        if not callable(ours) or NOT_COMPARABLE.fullmatch(label):
            continue
        ours = PUBLIC_ORDER.get(op.name, lambda f: f)(ours)
        for dtype in TOLERANCE:
            if dtype not in op.dtypes:
                continue
            torch.manual_seed(0)
            inputs = op.sample_inputs_func(op, "cpu", dtype, op.supports_autograd)
            for s in itertools.islice(inputs, SAMPLES):
                random = bool(RANDOM.search(op.name) or s.kwargs.get("dropout_p") or s.kwargs.get("dropout"))
                args = (s.input, *s.args), s.kwargs
                report.check(label, compare_call, op.op, ours, *args, TOLERANCE[dtype], random)
    report.conclude(at_least=2500)


# bfloat16: an operation is right where it gives PyTorch's number or its neighbour, or the float32 result of the same inputs,
# rounded: PyTorch computes some operations in several steps and rounds after each. Gradients depend on results that were
# rounded and are sums of rounded numbers, so they are compared beside the largest one: two to four roundings of 2^-9
GRADIENT_IN_BFLOAT16 = 2**-6


def counted(a):
    """The upper halves of float32 as integers that count the numbers of bfloat16; both zeros are 0."""
    raw = np.asarray(a, np.float32).view(np.int32) >> 16
    return np.where(raw < 0, -(raw & 0x7FFF), raw)


def agree_in_bfloat16(ours, theirs, exact, share=0.0):
    """A neighbour of PyTorch's number or of the float32 result, or as near as `share` of the largest number."""
    assert str(ours.dtype) == str(theirs.dtype), f"dtype {ours.dtype}, PyTorch's {theirs.dtype}"
    a, b, c = array(ours), array(theirs), array(exact)
    assert a.shape == b.shape, f"shape {a.shape}, PyTorch's {b.shape}"
    if a.dtype.kind not in "f":
        np.testing.assert_array_equal(a, b)
        return
    # 1e-6: the error of float32 in sums of numbers that cancel
    near = max(share, 1e-6) * np.abs(c[np.isfinite(c)]).max(initial=1e-3)
    wrong = np.ones(a.shape, bool)
    with np.errstate(invalid="ignore"):
        for wanted in (b, c):
            wrong &= (np.abs(counted(a) - counted(wanted)) > 1) & ~(np.abs(a - wanted) <= near)
    wrong &= ~(np.isnan(a) & np.isnan(b))
    assert not wrong.any(), f"{a[wrong][0]}, PyTorch's {b[wrong][0]}, in float32 {c[wrong][0]}"


def compare_in_bfloat16(theirs, ours, args, kwargs, differentiable, random):
    leaves, results = ([], [], []), []
    for tensor, function, own in zip((copied, in_float32, to_minidl), (theirs, theirs, ours), leaves, strict=True):
        own_args, own_kwargs = translate((args, kwargs), own, tensor)
        results.append(tensors_in(function(*own_args, **own_kwargs)))
    expected, exact, found = results
    for t, e, m in zip(expected, exact, found, strict=True):
        if isinstance(t, torch.Tensor) and random:
            assert str(t.dtype) == str(m.dtype)
        elif isinstance(t, torch.Tensor):
            agree_in_bfloat16(m, t, e)
    wanted = [i for i, t in enumerate(expected) if isinstance(t, torch.Tensor) and t.requires_grad]
    if random or not differentiable or not wanted:
        return
    cotangents = [torch.randn(expected[i].shape).to(expected[i].dtype) for i in wanted]
    gradients = [
        grad([out[i] for i in wanted], own, [tensor(g) for g in cotangents], allow_unused=True)
        for grad, out, own, tensor in (
            (torch.autograd.grad, expected, leaves[0], copied),
            (torch.autograd.grad, exact, leaves[1], in_float32),
            (minidl.autograd.grad, found, leaves[2], to_minidl),
        )
    ]
    for i, (t, e, m) in enumerate(zip(*gradients, strict=True)):
        if t is not None:
            assert m is not None, f"input {i} has no gradient"
            agree_in_bfloat16(m, t, e, GRADIENT_IN_BFLOAT16)


def test_operators_in_bfloat16():
    from torch.testing._internal.common_methods_invocations import op_db

    report = Report("bfloat16")
    for op in op_db:
        label = op.name + (f".{op.variant_test_name}" if op.variant_test_name else "")
        ours, dtype = find(op.name), torch.bfloat16
        if (
            not callable(ours)
            or isinstance(ours, minidl.dtype)
            or NOT_COMPARABLE.fullmatch(label)
            or dtype not in op.dtypes
        ):
            continue
        ours = PUBLIC_ORDER.get(op.name, lambda f: f)(ours)
        differentiable = op.supports_autograd and dtype in op.backward_dtypes
        torch.manual_seed(0)
        for s in itertools.islice(op.sample_inputs_func(op, "cpu", dtype, differentiable), SAMPLES // 3):
            random = bool(RANDOM.search(op.name) or s.kwargs.get("dropout_p") or s.kwargs.get("dropout"))
            report.check(label, compare_in_bfloat16, op.op, ours, (s.input, *s.args), s.kwargs, differentiable, random)
    report.conclude(at_least=700)


def test_operators_on_complex_numbers():
    """Where a gradient for complex numbers is not refused, it is PyTorch's."""
    from torch.testing._internal.common_methods_invocations import op_db

    report = Report("complex")

    def compare_unless_refused(theirs, ours, args, kwargs):
        try:
            compare_call(theirs, ours, args, kwargs, TOLERANCE[torch.float64])
        except RuntimeError as error:
            if NOT_FOR_COMPLEX not in str(error):
                raise
            report.compared -= 1

    for op in op_db:
        label = op.name + (f".{op.variant_test_name}" if op.variant_test_name else "")
        ours = find(op.name)
        if not callable(ours) or NOT_COMPARABLE.fullmatch(label) or RANDOM.search(op.name):
            continue
        if torch.complex128 in op.dtypes:
            ours = PUBLIC_ORDER.get(op.name, lambda f: f)(ours)
            torch.manual_seed(0)
            inputs = op.sample_inputs_func(op, "cpu", torch.complex128, op.supports_autograd)
            for s in itertools.islice(inputs, SAMPLES):
                report.check(label, compare_unless_refused, op.op, ours, (s.input, *s.args), s.kwargs)
    report.conclude(at_least=1200)


def compare_module(info, ours, sample, training):
    args, kwargs = sample.constructor_input.args, sample.constructor_input.kwargs
    theirs = info.module_cls(*args, **kwargs).train(training)
    mine = ours(*translate(args, [], to_minidl), **translate(kwargs, [], to_minidl)).train(training)
    assert repr(mine) == repr(theirs)
    call = sample.forward_input.args, sample.forward_input.kwargs
    if any(isinstance(p, torch.nn.parameter.UninitializedParameter) for p in theirs.parameters()):
        theirs(*translate(call[0], [], copied))
        mine(*translate(call[0], [], to_minidl))
    mine.load_state_dict({name: to_minidl(value) for name, value in theirs.state_dict().items()})
    random = bool(RANDOM.search(info.name.lower())) or bool(training and getattr(theirs, "dropout", 0))
    compare_call(theirs, mine, *call, 2e-4, random)
    parameters = dict(mine.named_parameters())
    for name, p in theirs.named_parameters():
        if p.grad is not None and not random:
            assert parameters[name].grad is not None, f"parameter {name} has no gradient"
            agree(p.grad, parameters[name].grad, 1e-3, f"gradient of {name}")  # float32 sums over a batch


def test_modules():
    from torch.testing._internal.common_modules import module_db

    report = Report("modules")
    for info in module_db:
        ours = find(info.name)
        if ours is None or NOT_COMPARABLE.fullmatch(info.name):
            continue
        for training in (True, False):
            torch.manual_seed(0)
            inputs = info.module_inputs_func(
                info, device="cpu", dtype=torch.float32, requires_grad=True, training=training
            )
            for sample in inputs[: 2 * SAMPLES]:
                made_of_modules = any(isinstance(a, torch.nn.Module) for a in sample.constructor_input.args)
                if sample.forward_input is not None and not made_of_modules:
                    report.check(info.name, compare_module, info, ours, sample, training)
    report.conclude(at_least=300)


def compare_refusal(ours, *call):
    """What PyTorch raises an error for must raise one."""
    try:
        args, kwargs = translate(call, [], to_minidl)
    except (TypeError, ValueError):  # a sparse tensor, or one of 65 dimensions
        return
    try:
        ours(*args, **kwargs)
    except Exception:
        return
    raise AssertionError(f"computed something of {args} {kwargs}")


def test_erroneous_inputs_of_operators():
    from torch.testing._internal.common_methods_invocations import op_db

    report = Report("errors")
    for op in op_db:
        ours = find(op.name)
        if op.error_inputs_func is None or not callable(ours):
            continue
        ours = PUBLIC_ORDER.get(op.name, lambda f: f)(ours)
        for error in op.error_inputs("cpu"):
            s = error.sample_input
            # where any Exception will do, a number stands where PyTorch wants a tensor; here it is as good as one
            if error.error_type is not Exception:
                report.check(op.name, compare_refusal, ours, (s.input, *s.args), s.kwargs)
    report.conclude(at_least=400)


def test_erroneous_inputs_of_modules():
    from torch.testing._internal.common_modules import module_db

    report = Report("module_errors")
    for info in module_db:
        ours = find(info.name)
        if info.module_error_inputs_func is None or ours is None:
            continue
        options = {"device": "cpu", "dtype": torch.float32, "requires_grad": False, "training": True}
        for error in info.module_error_inputs_func(info, **options) or ():
            made, given = error.module_error_input.constructor_input, error.module_error_input.forward_input

            def build_and_call(args, kwargs, ours=ours, given=given):
                module = ours(*args, **kwargs)
                if given is not None:
                    module(*translate(given.args, [], to_minidl), **translate(given.kwargs, [], to_minidl))

            report.check(info.name, compare_refusal, build_and_call, made.args, made.kwargs)
    report.conclude(at_least=80)


def compare_optimizer(theirs, ours, kwargs):
    rng = np.random.default_rng(0)
    data, target, start = (rng.standard_normal(shape) for shape in ((20, 6), (20, 4), (6, 4)))
    sides = []
    for m, optimizer in ((torch, theirs), (minidl, ours)):
        w = m.tensor(start, requires_grad=True)
        sides.append((m.tensor(data), m.tensor(target), w, optimizer([w], **kwargs)))
    for step in range(8):
        for x, y, w, optimizer in sides:

            def closure(x=x, y=y, w=w, optimizer=optimizer):
                optimizer.zero_grad()
                loss = ((x @ w - y) ** 2).mean()
                loss.backward()
                return loss

            optimizer.step(closure)
        agree(sides[0][2], sides[1][2], 1e-7, f"weights after step {step + 1}")


def test_optimizers():
    from torch.testing._internal.common_optimizers import optim_db

    report = Report("optimizers")
    for info in optim_db:
        name = info.optim_cls.__name__
        ours = getattr(minidl.optim, name, None)
        if ours is None or name == "SparseAdam":  # it takes sparse gradients only
            continue
        for sample in info.optim_inputs_func(device="cpu"):
            if any(sample.kwargs.get(flag) for flag in ("fused", "capturable", "differentiable", "foreach")):
                continue  # how PyTorch computes, not what
            numbers = {k: float(v) if isinstance(v, torch.Tensor) else v for k, v in sample.kwargs.items()}
            report.check(name, compare_optimizer, info.optim_cls, ours, numbers)
    report.conclude(at_least=12)
