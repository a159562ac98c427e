"""The checks that every operation's samples go through."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd.engine import grad
from ..autograd.gradcheck import directional_check
from ..autograd.op import Op, wrap
from ..devices import CPU, move, of_array
from .samples import Sample, samples_of


def check_op(op: type[Op]) -> int:
    """Run every check on every sample of an operation; the number of samples. Raises AssertionError or GradcheckError."""
    found = samples_of(op)
    assert found, f"{op.__name__} declares no sample: add one beside the class, with @samples({op.__name__})"
    for sample in found:
        check_value(op, sample)
        check_layout(op, sample)
        if op.differentiable and sample.smooth:
            check_gradient(op, sample)
            check_gradient_dtype(op, sample)
    return len(found)


def tensors_of(sample: Sample, dtype: Any = np.float64, requires_grad: bool = False) -> list[Any]:
    """The sample's inputs as tensors; float and complex arrays in the precision of `dtype`, other arrays as they are."""
    result = []
    for x in sample.inputs:
        if not isinstance(x, np.ndarray):
            result.append(x)
        elif x.dtype.kind in "fc":
            t = wrap(x.astype(np.result_type(dtype, np.complex64) if x.dtype.kind == "c" else dtype))
            result.append(t.requires_grad_() if requires_grad else t)
        else:
            result.append(wrap(x.copy()))
    return result


def _arrays(out: Any) -> list[Any]:
    return [t.array for t in (out if isinstance(out, tuple) else (out,))]


def check_value(op: type[Op], sample: Sample) -> None:
    """The float32 value agrees with the float64 value, shapes and dtypes are kept."""
    reference = _arrays(op.apply(*tensors_of(sample), **sample.params))
    single = _arrays(op.apply(*tensors_of(sample, np.float32), **sample.params))
    assert len(reference) == len(single)
    for a, b in zip(reference, single, strict=True):
        assert a.shape == b.shape, f"{op.__name__} {sample}: shape {b.shape} in float32, {a.shape} in float64"
        # 1e-4: float32 inputs are themselves rounded, and the samples' condition numbers are below a few hundred
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-4, err_msg=f"{op.__name__} {sample}")


def check_layout(op: type[Op], sample: Sample) -> None:
    """Transposed and strided inputs give the value of contiguous ones."""
    reference = _arrays(op.apply(*tensors_of(sample), **sample.params))
    strided = []
    for x in tensors_of(sample):
        if hasattr(x, "array"):
            wide = np.repeat(x.array.T, 2, axis=0) if x.array.ndim else x.array
            x = wrap(wide[::2].T if x.array.ndim else x.array)
        strided.append(x)
    for a, b in zip(reference, _arrays(op.apply(*strided, **sample.params)), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-12, atol=1e-12, err_msg=f"{op.__name__} {sample}: strided input")


def check_gradient(op: type[Op], sample: Sample) -> None:
    """First and second derivatives agree with finite differences along random directions."""
    inputs = tensors_of(sample, requires_grad=True)
    if any(hasattr(x, "node") and x.node is not None for x in inputs):
        order = 2 if sample.second_order else 1
        try:
            directional_check(lambda *xs: op.apply(*xs, **sample.params), inputs, order=order)
        except Exception as error:
            error.add_note(f"{op.__name__} {sample}")
            raise


def check_gradient_dtype(op: type[Op], sample: Sample) -> None:
    """Gradients of float32 inputs are float32 of the inputs' shapes."""
    inputs = tensors_of(sample, np.float32, requires_grad=True)
    wanted = [x for x in inputs if hasattr(x, "node") and x.node is not None]
    out = op.apply(*inputs, **sample.params)
    outs = [t for t in (out if isinstance(out, tuple) else (out,)) if t.node is not None]
    if not wanted or not outs:
        return
    for x, g in zip(
        wanted, grad(outs, wanted, [wrap(np.ones_like(t.array)) for t in outs], allow_unused=True), strict=True
    ):
        if g is not None:
            assert g.array.dtype == x.array.dtype, f"{op.__name__} {sample}: gradient in {g.dtype} of a {x.dtype} input"
            assert g.array.shape == x.array.shape, f"{op.__name__} {sample}: gradient of shape {list(g.shape)}"


# ---------------------------------------------------------------------------------------------------------------------
# The same on another device: whatever the CPU gives, it must give


def check_op_on_device(op: type[Op], device: Any) -> int:
    """Values, layouts and gradients of order 1 and 2 agree with the CPU's; the number of samples compared."""
    found = samples_of(op)
    for sample in found:
        for dtype in (np.float64, np.float32):
            try:
                check_agreement(op, sample, dtype, device)
            except Exception as error:
                error.add_note(f"{op.__name__} {sample} in {np.dtype(dtype)} on {device}")
                raise
    return len(found)


def check_agreement(op: type[Op], sample: Sample, dtype: Any, device: Any) -> None:
    """One sample on both devices, contiguous and strided."""
    # 1e-4 as between float32 and float64 above; in float64 the libraries of the two devices round and order differently
    tolerance = 1e-4 if dtype == np.float32 else 1e-9
    for layout in (lambda x: x, _strided):
        ours, theirs = (_with_gradients(op, sample, dtype, where, layout) for where in (CPU, device))
        assert [what for what, _ in ours] == [what for what, _ in theirs], "different results have gradients"
        for (what, a), (_, b) in zip(ours, theirs, strict=True):
            assert of_array(b).type == device.type, f"{what}: left on {of_array(b)}"
            assert a.dtype == b.dtype, f"{what}: {b.dtype}, on the CPU {a.dtype}"
            assert a.shape == b.shape, f"{what}: shape {b.shape}, on the CPU {a.shape}"
            if sample.unique:
                np.testing.assert_allclose(move(b, CPU), a, rtol=tolerance, atol=tolerance, err_msg=what)
    if not sample.unique and sample.smooth and dtype == np.float64:
        # gradients of the other right result cannot be compared with the CPU's, but with differences of its own
        inputs = [t.to(device).requires_grad_() if hasattr(t, "array") else t for t in tensors_of(sample)]
        directional_check(lambda *xs: op.apply(*xs, **sample.params), inputs)


def _strided(x: Any) -> Any:
    """The same values, each beside a gap, in another order of axes."""
    return x.repeat(2, 0)[::2].T if x.ndim == 1 else x.T.repeat(2, 0)[::2].T if x.ndim else x


def _with_gradients(op: type[Op], sample: Sample, dtype: Any, device: Any, layout: Any) -> list[tuple[str, Any]]:
    """The results of a sample on a device, its gradients and those of its gradients, as (what it is, array)."""
    random = np.random.default_rng(0)

    def there(x: Any) -> Any:
        if type(x) in (list, tuple):
            return type(x)(there(y) for y in x)
        if hasattr(x, "moved"):  # a pattern of a sparse matrix
            return x.moved(device)
        return move(x, device) if isinstance(x, np.ndarray) else x

    inputs: list[Any] = []
    for x in sample.inputs:
        if not isinstance(x, np.ndarray):
            inputs.append(x)
            continue
        t = wrap(layout(there(x.astype(dtype) if x.dtype.kind == "f" else x)))
        inputs.append(t.requires_grad_() if x.dtype.kind == "f" and sample.smooth else t)
    out = op.apply(*inputs, **{name: there(value) for name, value in sample.params.items()})
    outputs: Any = out if isinstance(out, tuple) else (out,)
    found = [(f"result {i}", t.array) for i, t in enumerate(outputs)]
    order = 2 if sample.second_order and dtype == np.float64 else 1
    for level in range(1, order + 1):
        outputs = [t for t in outputs if t is not None and t.node is not None]
        wanted = [x for x in inputs if hasattr(x, "node") and x.node is not None]
        if not outputs or not wanted:
            break
        cotangents = [wrap(move(random.standard_normal(t.shape).astype(dtype), device)) for t in outputs]
        outputs = grad(outputs, wanted, cotangents, create_graph=level < order, allow_unused=True)
        found += [(f"gradient {i} of order {level}", g.array) for i, g in enumerate(outputs) if g is not None]
    return found
