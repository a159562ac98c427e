"""Real data that packages ship: nothing is downloaded."""

from __future__ import annotations

from ..ops.creation import tensor
from ..utils.data import TensorDataset

SPLITS = ("train", "val", "test")


def digits(split: str = "train", seed: int = 0) -> TensorDataset:
    """Handwritten digits from scikit-learn: 1,797 grey images of 8 x 8, in [0, 1], with their labels.

    split: "train" (70 %), "val" (15 %) or "test" (15 %), drawn once per seed with the same share of each digit.
    Returns a TensorDataset of images (N, 1, 8, 8) float32 and labels (N,) int64.
    Raises ValueError for another split, or a seed below 0 or above 2**32 - 1.
    Source: Alpaydin & Kaynak, "Optical recognition of handwritten digits" (UCI, 1998).
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    if split not in SPLITS:
        raise ValueError(f"digits: split is one of {', '.join(SPLITS)}, got {split!r}")
    if not 0 <= seed < 2**32:
        raise ValueError(f"digits: seed is a number from 0 to 2**32 - 1, got {seed}")
    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype("float32").reshape(-1, 1, 8, 8)
    train_x, rest_x, train_y, rest_y = train_test_split(
        images, labels, test_size=0.3, random_state=seed, stratify=labels
    )
    val_x, test_x, val_y, test_y = train_test_split(rest_x, rest_y, test_size=0.5, random_state=seed, stratify=rest_y)
    x, y = {"train": (train_x, train_y), "val": (val_x, val_y), "test": (test_x, test_y)}[split]
    return TensorDataset(tensor(x), tensor(y))
