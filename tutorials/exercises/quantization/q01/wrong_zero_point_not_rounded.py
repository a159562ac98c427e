import numpy as np


def affine_params(low: float, high: float) -> tuple[float, int]:
    """Scale and zero point for numbers from low to high, in 8 bits: 0 to 255."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = (high - low) / 255 or 1.0
    return scale, -low / scale


def quantize(x: np.ndarray, scale: float, zero_point: int) -> np.ndarray:
    """x as uint8."""
    return np.clip(np.rint(x / scale) + zero_point, 0, 255).astype(np.uint8)


def dequantize(q: np.ndarray, scale: float, zero_point: int) -> np.ndarray:
    """q (uint8) as floats."""
    return scale * (q.astype(np.float64) - zero_point)
