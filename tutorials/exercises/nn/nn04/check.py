"""Both modes beside plain formulas for one channel at a time, the running statistics step by step, and all gradients."""

from statistics import fmean, pvariance, variance

import numpy as np

from minidl.learn.checks import check, equal, forbid, slope


def normalized(x, means, variances, layer):
    """What the layer must return for these statistics of its channels."""
    columns = [
        w * (column - mean) / np.sqrt(var + layer.eps) + b
        for column, mean, var, w, b in zip(x.T, means, variances, layer.weight, layer.bias, strict=True)
    ]
    return np.stack(columns, axis=1)


def on_batch(x, layer):
    return normalized(x, [fmean(c) for c in x.T.tolist()], [pvariance(c) for c in x.T.tolist()], layer)


def made(subject, rng, channels, **options):
    layer = subject.BatchNorm(channels, **options)
    layer.weight, layer.bias = rng.normal(size=channels), rng.normal(size=channels)
    return layer


@check("values")
def training(subject, rng):
    for n, channels, eps in [(2, 1, 1e-5), (7, 3, 1e-5), (31, 2, 0.1), (5, 0, 1e-5)]:
        layer = made(subject, rng, channels, eps=eps)
        x = rng.normal(size=(n, channels)) * 3 + 5
        before = x.copy()
        what = f"training, x of shape {x.shape}, eps={eps}"
        wanted = on_batch(x, layer) if channels else x
        yield equal(what, layer.forward(x), wanted, rtol=1e-9)
        yield equal(f"x must not be changed, {what}", x, before, rtol=0, atol=0)
    layer = made(subject, rng, 1)
    yield equal(
        "training, a channel of equal numbers", layer.forward(np.full((4, 1), 3.0)), np.tile(layer.bias, (4, 1))
    )


@check("values")
def running(subject, rng):
    for momentum in (0.1, 0.3):
        layer = made(subject, rng, 3, momentum=momentum)
        mean, var = np.zeros(3), np.ones(3)
        for step in range(1, 4):
            x = rng.normal(size=(rng.integers(2, 9), 3)) * 2 + 1
            layer.forward(x)
            columns = x.T.tolist()
            mean = (1 - momentum) * mean + momentum * np.array([fmean(c) for c in columns])
            var = (1 - momentum) * var + momentum * np.array([variance(c) for c in columns])
            yield equal(
                f"running_mean after {step} batches, momentum={momentum}", layer.running_mean.copy(), mean, rtol=1e-9
            )
            yield equal(
                f"running_var after {step} batches, momentum={momentum}", layer.running_var.copy(), var, rtol=1e-9
            )


@check("values")
def evaluation(subject, rng):
    for n in (1, 5):
        layer = made(subject, rng, 3)
        mean, var = rng.normal(size=3), rng.uniform(0.5, 2, size=3)
        layer.running_mean, layer.running_var, layer.training = mean.copy(), var.copy(), False
        x = rng.normal(size=(n, 3)) * 3 + 5
        yield equal(f"evaluation, x of shape {x.shape}", layer.forward(x), normalized(x, mean, var, layer), rtol=1e-9)
        yield equal("running_mean after evaluation", layer.running_mean.copy(), mean, rtol=0, atol=0)
        yield equal("running_var after evaluation", layer.running_var.copy(), var, rtol=0, atol=0)


@check("gradient")
def gradients(subject, rng):
    for mode, n in [("training", 3), ("training", 7), ("evaluation", 1), ("evaluation", 5)]:
        layer = made(subject, rng, 3, eps=0.1)  # far from 0 / 0, so that differences are accurate
        layer.training = mode == "training"
        mean, var = rng.normal(size=3), rng.uniform(0.5, 2, size=3)
        layer.running_mean, layer.running_var = mean.copy(), var.copy()
        x, g = rng.normal(size=(n, 3)), rng.normal(size=(n, 3))

        def loss(v, mode=mode, g=g, layer=layer, mean=mean, var=var):
            return (g * (on_batch(v, layer) if mode == "training" else normalized(v, mean, var, layer))).sum()

        given = g.copy()
        normal = (on_batch(x, layer) if mode == "training" else normalized(x, mean, var, layer)) - layer.bias
        layer.forward(x)
        gx, gweight, gbias = layer.backward(given)
        yield equal(f"gradient of x, {mode}, {n} rows", gx, slope(loss, x), atol=1e-7)
        yield equal(f"gradient of weight, {mode}, {n} rows", gweight, (g * normal / layer.weight).sum(0))
        yield equal(f"gradient of bias, {mode}, {n} rows", gbias, g.sum(0))
        yield equal(f"g must not be changed, {mode}, {n} rows", given, g, rtol=0, atol=0)


checks = [forbid("minidl", "torch"), training, running, evaluation, gradients]
