"""What tests, documentation and exercises share: sample inputs of every operation, and gradient checks."""

from .samples import Sample, samples

__all__ = ["Sample", "samples"]
