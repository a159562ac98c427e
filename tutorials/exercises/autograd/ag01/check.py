"""Expressions evaluated twice: with Values, and with floats under central differences. Numbers come back several times."""

from minidl.learn.checks import check, equal, slope

EXPRESSIONS = {
    "a + b": lambda a, b: a + b,
    "a * b": lambda a, b: a * b,
    "a ** 3": lambda a, b: a**3,
    "a ** -1": lambda a, b: a**-1,
    "a ** 0.5": lambda a, b: a**0.5,
    "a + a": lambda a, b: a + a,
    "a * a": lambda a, b: a * a,
    "(a * b + a) ** 2": lambda a, b: (a * b + a) ** 2,
    "(a + b) * (a * b)": lambda a, b: (a + b) * (a * b),
    "(a * b) ** 2 * a + b ** 3 * b": lambda a, b: (a * b) ** 2 * a + b**3 * b,
}


def inputs(expression, rng):
    a, b = rng.uniform(0.5, 2.0, size=2) * rng.choice([-1.0, 1.0], size=2)
    return float(abs(a) if "0.5" in expression else a), float(b)


@check("values")
def data(subject, rng):
    yield equal("Value(3.0).grad", subject.Value(3.0).grad, 0.0)
    for text, f in EXPRESSIONS.items():
        a, b = inputs(text, rng)
        result = f(subject.Value(a), subject.Value(b))
        yield equal(f"({text}).data, a={a:.3f}, b={b:.3f}", result.data, f(a, b))


@check("gradient")
def gradients(subject, rng):
    for text, f in EXPRESSIONS.items():
        a, b = inputs(text, rng)
        va, vb = subject.Value(a), subject.Value(b)
        result = f(va, vb)
        result.backward()
        yield equal(f"d result / d result, {text}", result.grad, 1.0)
        yield equal(f"d/da of {text}, a={a:.3f}, b={b:.3f}", va.grad, slope(lambda x, f=f, b=b: f(x, b), a), atol=1e-7)
        yield equal(f"d/db of {text}, a={a:.3f}, b={b:.3f}", vb.grad, slope(lambda x, f=f, a=a: f(a, x), b), atol=1e-7)


@check("gradient")
def between(subject, rng):
    a, b = subject.Value(3.0), subject.Value(-2.0)
    product = a * b
    (product * product + product).backward()
    yield equal("d/dp of p*p + p where p = a*b = -6", product.grad, -11.0)
    yield equal("d/da of p*p + p, a=3, b=-2", a.grad, 22.0)
    yield equal("data of a must not be changed", a.data, 3.0)
    yield equal("d/dx of x*x at 0", zero_slope(subject), 0.0)


def zero_slope(subject):
    x = subject.Value(0.0)
    (x * x).backward()
    return x.grad


checks = [data, gradients, between]
