"""PyTorch's own warnings about its quantization, which it is about to move to another package, are not errors here."""

from __future__ import annotations

import warnings

import pytest


@pytest.fixture(autouse=True)
def pytorch_may_warn():
    with warnings.catch_warnings():
        for message in (".*torch.ao.quantization is deprecated", ".*tensor creation functions", ".*reduce_range", ".*TypedStorage",
                        ".*averaging_constant", ".*torch.quantize_per", ".*must run observer"):  # fmt: skip
            warnings.filterwarnings("ignore", message)
        yield
