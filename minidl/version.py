"""Versions, as `torch.version` has them."""

cuda = None  # GPUs are reached through CuPy, which brings its own CUDA
hip = None
