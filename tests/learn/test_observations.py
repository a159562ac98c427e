"""What checks see: names that are forbidden, calls that must raise, dtypes, and results of the wrong kind."""

from __future__ import annotations

import numpy as np
import pytest

from minidl.learn.checks import Subject, case, equal, forbid, gradient, raises
from minidl.learn.compare import problem

RNG = np.random.default_rng(0)


def forbidden(source, *names):
    subject = Subject.of_source(source, "given.py", ("f",))
    return [one.what for one in forbid(*names).observe(subject, RNG) if problem(one)]


@pytest.mark.parametrize(
    "source",
    [
        "import scipy.special\nf = scipy.special.softmax",
        "from scipy.special import softmax\nf = softmax",
        "from scipy import special\nf = special.softmax",
        "import scipy.special as s\nf = s.softmax",
    ],
)
def test_a_package_is_forbidden_however_it_is_imported(source):
    assert forbidden(source, "scipy") == ["scipy"]
    assert forbidden(source, "softmax") == ["softmax"]
    assert forbidden(source, "minidl", "soft") == []


def test_an_own_function_may_have_a_forbidden_name():
    assert forbidden("def f(x):\n    return f(x - 1) if x else 0", "f") == []


def test_a_call_that_must_raise():
    def raising(error):
        raise error

    assert problem(raises("x", ValueError, lambda: raising(ValueError()))) is None
    assert problem(raises("x", LookupError, lambda: raising(KeyError()))) is None
    assert problem(raises("x", ValueError, lambda: raising(TypeError()))).got == "TypeError"
    assert problem(raises("x", ValueError, lambda: 3)).got == "returned 3"
    with pytest.raises(NotImplementedError):
        raises("x", ValueError, lambda: raising(NotImplementedError()))


def test_a_result_that_is_only_rounded_is_told_by_its_dtype():
    wanted = RNG.normal(size=5)
    rounded = problem(equal("x", wanted.astype(np.float32), wanted, rtol=1e-9))
    assert (rounded.kind, rounded.got, rounded.expected) == ("dtype", "float32", "float64")
    assert problem(equal("x", 2 * wanted.astype(np.float32), wanted, rtol=1e-9)).kind == "values"
    assert problem(equal("x", wanted.astype(np.float32), wanted, rtol=1e-5)) is None


@pytest.mark.parametrize(("body", "got"), [("g * b", "array"), ("None", "None"), ("(g,)", 1)])
def test_a_backward_that_does_not_return_all_gradients(body, got):
    subject = Subject.of_source(f"def f(g, a, b):\n    return {body}", "given.py", ("f",))
    check = gradient("f", np.multiply, lambda rng: [case(rng.normal(size=2), rng.normal(size=2))], wrt=(0, 1))
    (seen,) = check.observe(subject, RNG)
    assert problem(seen).got == got
