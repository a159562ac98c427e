"""Beside the 256 numbers that can be represented, written out: ranges on one side of 0, numbers out of range, all integers."""

import numpy as np

from minidl.learn.checks import at_most, case, check, equal, forbid, values


def grid(scale, zero_point):
    """What the integers 0 to 255 stand for."""
    return (np.arange(256) - zero_point) * scale


def spread(low, high):
    if low == high == 0:
        return 1.0, 0
    points = np.linspace(min(low, 0), max(high, 0), 256)
    return float(np.ptp(points) / 255), int(np.abs(points).argmin())


def nearest(x, scale, zero_point):
    return np.abs(x[..., None] - grid(scale, zero_point)).argmin(-1).astype(np.uint8)


def looked_up(q, scale, zero_point):
    return grid(scale, zero_point)[q]


def ranges(rng):
    for low, high in [(-1.0, 4.1), (0.0, 6.0), (2.0, 6.0), (-3.0, -1.0), (-1e-6, 3e-7), (-1e6, 3e7), (0.0, 0.0)]:
        yield case(low, high)
    for _ in range(5):
        # ends that lie between two integers, not half-way: there the rules of rounding differ
        scale, place = rng.uniform(0.01, 1), rng.integers(1, 255) + rng.uniform(-0.4, 0.4)
        yield case(round(-place * scale, 6), round((255 - place) * scale, 6))


def numbers(rng):
    for shape, scale, zero_point in [
        ((5,), 0.1, 50),
        ((3, 4), 0.02, 0),
        ((17,), 1.5, 255),
        ((1,), 1.0, 128),
        ((0,), 1.0, 3),
    ]:
        x = rng.uniform(-zero_point * scale, (255 - zero_point) * scale, size=shape)
        yield case(x, scale, zero_point, note=f"x {shape} in range, scale={scale}, zero_point={zero_point}")
    for scale, zero_point in [(0.1, 50), (0.02, 0), (1.5, 255)]:
        x = scale * rng.uniform(-700, 700, size=23)
        yield case(
            x, scale, zero_point, note=f"x (23,), much of it out of range, scale={scale}, zero_point={zero_point}"
        )


def integers(rng):
    for scale, zero_point in [(0.1, 50), (0.02, 0), (1.5, 255), (3.0, 128)]:
        q = np.arange(256, dtype=np.uint8)
        yield case(q, scale, zero_point, note=f"all of 0 to 255, scale={scale}, zero_point={zero_point}")
    yield case(rng.integers(0, 256, (2, 3), np.uint8), 0.5, 100, note="q (2, 3), scale=0.5, zero_point=100")


@check("property")
def there_and_back(subject, rng):
    for low, high in [(-1.03, 4.1), (0.0, 6.0), (2.0, 6.0), (-3.0, -1.0)]:
        scale, zero_point = subject.affine_params(low, high)
        x = rng.uniform(low, high, size=1000)
        back = subject.dequantize(subject.quantize(x, scale, zero_point), scale, zero_point)
        what = f"low={low}, high={high}"
        yield at_most(f"largest error in steps, {what}", float(np.abs(back - x).max() / scale), 0.5 + 1e-9)
        zero = subject.dequantize(subject.quantize(np.zeros(1), scale, zero_point), scale, zero_point)
        yield equal(f"0.0, there and back, {what}", zero, np.zeros(1), atol=0)
    q = np.arange(256, dtype=np.uint8)
    again = subject.quantize(subject.dequantize(q, 0.37, 77), 0.37, 77)
    yield equal("all of 0 to 255, to floats and back", again, q)


checks = [
    forbid("minidl", "torch"),
    values(spread, ranges, name="affine_params", atol=1e-15),
    values(nearest, numbers, name="quantize"),
    values(looked_up, integers, name="dequantize"),
    there_and_back,
]
