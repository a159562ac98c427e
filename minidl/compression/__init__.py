"""Smaller networks: pruning, sparse training, distillation, low rank, and what each step costs and saves."""
