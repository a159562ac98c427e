"""Layers and small training steps at sizes that nobody chooses to look good: `minidl bench --sizes`.

Odd numbers of channels, batches of 1 and 2, widths that no register divides, long vocabularies, few queries, inputs that are
not contiguous. Each row runs forward and backward on both sides, on the same numbers, and all values and gradients are compared
before anything is timed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .pieces import Rows, Updated, attention, convolution, indexed, layer, of, recurrent, resized, trained

CONVOLUTIONS: Rows = {
    "conv 3 to 16, 3x3, 8 x 32 x 32": convolution(3, 16, 3, 8, 32, 32, padding=1),
    "conv 3 to 64, 7x7, stride 2, 2 x 64 x 64": convolution(3, 64, 7, 2, 64, 64, padding=3, stride=2),
    "conv 5 to 17, 3x3, 4 x 28 x 28": convolution(5, 17, 3, 4, 28, 28, padding=1),
    "conv 17 to 33, 3x3, 4 x 28 x 28": convolution(17, 33, 3, 4, 28, 28, padding=1),
    "conv 33 to 48, 3x3, stride 2, 4 x 28 x 28": convolution(33, 48, 3, 4, 28, 28, padding=1, stride=2),
    "conv 48 to 100, 3x3, 4 x 14 x 14": convolution(48, 100, 3, 4, 14, 14, padding=1),
    "conv 100 to 100, 3x3, 2 x 14 x 14": convolution(100, 100, 3, 2, 14, 14, padding=1),
    "conv 100 to 100, 3x3, 1 x 7 x 7": convolution(100, 100, 3, 1, 7, 7, padding=1),
    "conv 64 to 64, 3x3, 1 x 56 x 56": convolution(64, 64, 3, 1, 56, 56, padding=1),
    "conv 3 to 16, 3x3, stride 2, 1 x 224 x 224": convolution(3, 16, 3, 1, 224, 224, padding=1, stride=2),
    "conv 100 to 48, 1x1, 4 x 14 x 14": convolution(100, 48, 1, 4, 14, 14),
    "conv 33 to 100, 1x1, stride 2, 4 x 28 x 28": convolution(33, 100, 1, 4, 28, 28, stride=2),
    "conv 3 to 5, 1x1, 2 x 33 x 33": convolution(3, 5, 1, 2, 33, 33),
    "conv 24 to 33, 1x1, 2 x 16 x 16": convolution(24, 33, 1, 2, 16, 16),
    "conv 16 to 16, 1x1, 1 x 8 x 8": convolution(16, 16, 1, 1, 8, 8),
    "conv 24 to 33, 1x1, of an image turned, 2 x 16 x 16": layer(
        "Conv2d", 24, 33, 1, on=(2, 16, 16, 24), pick=lambda net, x: net(x.permute(0, 3, 1, 2))
    ),
    "conv 1 to 6, 5x5, 32 x 28 x 28": convolution(1, 6, 5, 32, 28, 28),
    "conv 6 to 16, 5x5, 32 x 12 x 12": convolution(6, 16, 5, 32, 12, 12),
    "LeNet's first, 1 to 6, 5x5, 1 x 28 x 28": convolution(1, 6, 5, 1, 28, 28, padding=2),
    "LeNet's first, 1 to 6, 5x5, 16 x 28 x 28": convolution(1, 6, 5, 16, 28, 28, padding=2),
    "LeNet's second, 6 to 16, 5x5, 1 x 14 x 14": convolution(6, 16, 5, 1, 14, 14),
    "LeNet's second, 6 to 16, 5x5, 16 x 14 x 14": convolution(6, 16, 5, 16, 14, 14),
    "conv 48 to 48, 5x5, 2 x 14 x 14": convolution(48, 48, 5, 2, 14, 14, padding=2),
    "conv 17 to 33, 7x7, 2 x 28 x 28": convolution(17, 33, 7, 2, 28, 28, padding=3),
    "conv 48 to 48, 3x3, dilation 2, 2 x 28 x 28": convolution(48, 48, 3, 2, 28, 28, padding=2, dilation=2),
    "conv 48 to 96, 3x3, 4 groups, 2 x 28 x 28": convolution(48, 96, 3, 2, 28, 28, padding=1, groups=4),
    "conv 100 to 100, 3x3, 20 groups, 2 x 14 x 14": convolution(100, 100, 3, 2, 14, 14, padding=1, groups=20),
    "conv 48, depthwise 3x3, 2 x 28 x 28": convolution(48, 48, 3, 2, 28, 28, padding=1, groups=48),
    "conv 24, depthwise 3x3, of an image turned, 2 x 32 x 32": layer(
        "Conv2d", 24, 24, 3, padding=1, groups=24, on=(2, 32, 32, 24), pick=lambda net, x: net(x.permute(0, 3, 1, 2))
    ),
    "conv 33, depthwise 7x7, 2 x 28 x 28": convolution(33, 33, 7, 2, 28, 28, padding=3, groups=33),
    "conv 100, depthwise 5x5, stride 2, 2 x 28 x 28": convolution(100, 100, 5, 2, 28, 28, padding=2, stride=2, groups=100),
    "conv1d 100 to 100, 5, 4 x 100": convolution(100, 100, 5, 4, 100, padding=2),
    "conv1d 1 to 8, 5, 16 x 100": convolution(1, 8, 5, 16, 100),
    "conv1d 33 to 33, 3, dilation 4, 2 x 200": convolution(33, 33, 3, 2, 200, padding=4, dilation=4),
    "conv3d 5 to 17, 3x3x3, 1 x 12 x 12 x 12": convolution(5, 17, 3, 1, 12, 12, 12, padding=1),
    "transposed conv 33 to 17, 4x4, stride 2, 4 x 14 x 14": convolution(
        33, 17, 4, 4, 14, 14, padding=1, stride=2, transposed=True
    ),
    "transposed conv 16 to 1, 3x3, stride 2, 8 x 14 x 14": convolution(
        16, 1, 3, 8, 14, 14, padding=1, stride=2, output_padding=1, transposed=True
    ),
    "transposed conv 100 to 48, 4x4, 8 x 1 x 1": convolution(100, 48, 4, 8, 1, 1, transposed=True),
    "conv 17 to 33, 3x3, of an image turned, 4 x 28 x 28": layer(
        "Conv2d", 17, 33, 3, padding=1, on=(4, 28, 28, 17), pick=lambda net, x: net(x.permute(0, 3, 1, 2))
    ),
}  # fmt: skip

RECURRENT: Rows = {
    "LSTM 100 to 200, 100 steps, batch 8": recurrent("LSTM", 100, 200, 100, 8),
    "LSTM 100 to 200, 100 steps, batch 1": recurrent("LSTM", 100, 200, 100, 1),
    "LSTM 33 to 100, 7 steps, batch 32": recurrent("LSTM", 33, 100, 7, 32),
    "LSTM 33 to 100, 7 steps, batch 1": recurrent("LSTM", 33, 100, 7, 1),
    "LSTM 2 layers of 100, 50 steps, batch 8": recurrent("LSTM", 100, 100, 50, 8, num_layers=2),
    "LSTM 2 layers of 100, both ways, 20 steps, batch 16": recurrent("LSTM", 33, 100, 20, 16, num_layers=2, bidirectional=True),
    "LSTM 33 to 100, both ways, 50 steps, batch 1": recurrent("LSTM", 33, 100, 50, 1, bidirectional=True),
    "LSTM 100 to 200, forward only, 1 step, batch 1": recurrent("LSTM", 100, 200, 1, 1, grad=False),
    "GRU 100 to 200, 100 steps, batch 8": recurrent("GRU", 100, 200, 100, 8),
    "GRU 33 to 100, 7 steps, batch 32": recurrent("GRU", 33, 100, 7, 32),
    "GRU 33 to 100, 50 steps, batch 1": recurrent("GRU", 33, 100, 50, 1),
    "GRU 2 layers of 100, both ways, 20 steps, batch 16": recurrent("GRU", 33, 100, 20, 16, num_layers=2, bidirectional=True),
    "RNN 100 to 200, 100 steps, batch 8": recurrent("RNN", 100, 200, 100, 8),
    "RNN 33 to 100, 50 steps, batch 1": recurrent("RNN", 33, 100, 50, 1),
    "RNN 2 layers of 100, both ways, 20 steps, batch 16": recurrent("RNN", 33, 100, 20, 16, num_layers=2, bidirectional=True),
}  # fmt: skip

VOCABULARY: Rows = {
    "embedding 1000 x 100, 8 x 100 words": indexed(
        lambda m, i, w: m.nn.functional.embedding(i, w), 1000, (8, 100), (1000, 100)
    ),
    "embedding 50257 x 64, 2 x 65 words": indexed(
        lambda m, i, w: m.nn.functional.embedding(i, w), 50257, (2, 65), (50257, 64)
    ),
    "output layer 100 to 1000, 8 x 65": layer("Linear", 100, 1000, on=(8, 65, 100)),
    "output layer 64 to 50257, 65": layer("Linear", 64, 50257, on=(65, 64), bias=False),
    "cross-entropy 520 x 1000": indexed(lambda m, y, x: m.nn.functional.cross_entropy(x, y), 1000, (520,), (520, 1000)),
    "cross-entropy 65 x 50257": indexed(
        lambda m, y, x: m.nn.functional.cross_entropy(x, y), 50257, (65,), (65, 50257)
    ),
    "cross-entropy 33 x 10": indexed(lambda m, y, x: m.nn.functional.cross_entropy(x, y), 10, (33,), (33, 10)),
    "cross-entropy 200 x 1000, smoothed": indexed(
        lambda m, y, x: m.nn.functional.cross_entropy(x, y, label_smoothing=0.1), 1000, (200,), (200, 1000)
    ),
    "cross-entropy of a map, 2 x 21 x 33 x 33": indexed(
        lambda m, y, x: m.nn.functional.cross_entropy(x, y), 21, (2, 33, 33), (2, 21, 33, 33)
    ),
    "log softmax 65 x 50257": of(lambda m, x: m.log_softmax(x, -1), (65, 50257)),
    "embedding, output layer, loss, 65 x 64 x 50257": indexed(
        lambda m, i, w: m.nn.functional.cross_entropy(m.nn.functional.embedding(i, w) @ w.T, i), 50257, (65,), (50257, 64)
    ),
}  # fmt: skip

ATTENTION: Rows = {
    "attention 2 x 4, 100 steps, width 32, causal": attention(2, 4, 100, 32, is_causal=True),
    "attention 2 x 4, 100 steps, width 24": attention(2, 4, 100, 24),
    "attention 1 x 3, 65 steps, width 64, causal": attention(1, 3, 65, 64, is_causal=True),
    "attention 1 x 3, 65 steps, width 80": attention(1, 3, 65, 80),
    "attention 8 x 2, 7 steps, width 24, causal": attention(8, 2, 7, 24, is_causal=True),
    "attention 32 x 4, 16 steps, width 16": attention(32, 4, 16, 16),
    "attention 2 x 4, 65 queries, 100 keys, width 32": attention(2, 4, 65, 32, 100),
    "attention 2 x 4, 100 steps, width 32, padding hidden": attention(2, 4, 100, 32, mask="bool"),
    "attention 2 x 4, 100 steps, width 32, bias": attention(2, 4, 100, 32, mask="float"),
    "attention 8 heads on 2, 100 steps, width 32, causal": attention(1, 8, 100, 32, shared=4, is_causal=True, enable_gqa=True),
    "attention 1 x 4, 1 query, 100 keys, width 32, forward": attention(1, 4, 1, 32, 100, grad=False),
    "attention 1 x 12, 1 query, 1000 keys, width 64, forward": attention(1, 12, 1, 64, 1000, grad=False),
    "attention 8 x 4, 1 query, 100 keys, width 32, forward": attention(8, 4, 1, 32, 100, grad=False),
    "attention 4 x 4, 1 query, 100 keys, width 32": attention(4, 4, 1, 32, 100),
    "attention 4 x 4, 3 queries, 65 keys, width 24": attention(4, 4, 3, 24, 65),
    "MultiheadAttention 96, 6 heads, 2 x 65": layer(
        "MultiheadAttention", 96, 6, batch_first=True, on=(2, 65, 96), pick=lambda net, x: net(x, x, x, need_weights=False)[0]
    ),
    "TransformerEncoderLayer 96, 4 heads, 2 x 65": layer(
        "TransformerEncoderLayer", 96, 4, 200, dropout=0.0, batch_first=True, on=(2, 65, 96)
    ),
    "a cache that grows: attention of token 100, 1 x 4 x 32, forward": of(
        lambda m, q, k, v, new: m.nn.functional.scaled_dot_product_attention(
            q, m.cat([k, new], 2), m.cat([v, new], 2)
        ), (1, 4, 1, 32), (1, 4, 99, 32), (1, 4, 99, 32), (1, 4, 1, 32), grad=False,
    ),
}  # fmt: skip

NORMALIZATIONS: Rows = {
    "LayerNorm 8 x 65 x 100": layer("LayerNorm", 100, on=(8, 65, 100)),
    "LayerNorm 200 x 33": layer("LayerNorm", 33, on=(200, 33)),
    "LayerNorm 65 x 768": layer("LayerNorm", 768, on=(65, 768)),
    "LayerNorm 1 x 200": layer("LayerNorm", 200, on=(1, 200)),
    "RMSNorm 8 x 65 x 100": layer("RMSNorm", 100, on=(8, 65, 100)),
    "RMSNorm 200 x 33": layer("RMSNorm", 33, on=(200, 33)),
    "BatchNorm1d 16 x 100": layer("BatchNorm1d", 100, on=(16, 100)),
    "BatchNorm1d 4 x 33 x 65": layer("BatchNorm1d", 33, on=(4, 33, 65)),
    "BatchNorm2d 2 x 17 x 28 x 28": layer("BatchNorm2d", 17, on=(2, 17, 28, 28)),
    "BatchNorm2d 4 x 33 x 14 x 14": layer("BatchNorm2d", 33, on=(4, 33, 14, 14)),
    "BatchNorm2d 4 x 33 x 14 x 14, evaluating": layer(
        "BatchNorm2d", 33, on=(4, 33, 14, 14), pick=lambda net, x: net.eval()(x)
    ),
    "BatchNorm2d 1 x 16 x 8 x 8, evaluating": layer("BatchNorm2d", 16, on=(1, 16, 8, 8), pick=lambda net, x: net.eval()(x)),
    "BatchNorm2d 1 x 16 x 8 x 8, evaluating, forward": layer(
        "BatchNorm2d", 16, on=(1, 16, 8, 8), pick=lambda net, x: net.eval()(x), grad=False
    ),
    "BatchNorm2d 4 x 14 x 14 x 33 turned, evaluating": layer(
        "BatchNorm2d", 33, on=(4, 14, 14, 33), pick=lambda net, x: net.eval()(x.permute(0, 3, 1, 2))
    ),
    "BatchNorm1d 16 x 100, evaluating": layer("BatchNorm1d", 100, on=(16, 100), pick=lambda net, x: net.eval()(x)),
    "GroupNorm 4 of 32, 8 x 4 x 4": layer("GroupNorm", 4, 32, on=(8, 32, 4, 4)),
    "GroupNorm 5 of 100, 2 x 14 x 14": layer("GroupNorm", 5, 100, on=(2, 100, 14, 14)),
    "GroupNorm 3 of 33, 2 x 28 x 28": layer("GroupNorm", 3, 33, on=(2, 33, 28, 28)),
    "InstanceNorm2d 2 x 17 x 28 x 28": layer("InstanceNorm2d", 17, on=(2, 17, 28, 28)),
}  # fmt: skip

ODD = (100, 333)
ACTIVATIONS: Rows = {
    f"{name} 100 x 333": of(call, ODD)
    for name, call in {
        "ReLU": lambda m, x: m.relu(x),
        "GELU": lambda m, x: m.nn.functional.gelu(x),
        "GELU, tanh": lambda m, x: m.nn.functional.gelu(x, approximate="tanh"),
        "SiLU": lambda m, x: m.nn.functional.silu(x),
        "tanh": lambda m, x: m.tanh(x),
        "sigmoid": lambda m, x: m.sigmoid(x),
        "ELU": lambda m, x: m.nn.functional.elu(x),
        "SELU": lambda m, x: m.nn.functional.selu(x),
        "leaky ReLU": lambda m, x: m.nn.functional.leaky_relu(x, 0.1),
        "softplus": lambda m, x: m.nn.functional.softplus(x),
        "Mish": lambda m, x: m.nn.functional.mish(x),
        "hard swish": lambda m, x: m.nn.functional.hardswish(x),
        "GLU": lambda m, x: m.nn.functional.glu(x.T, -1),
        "exp": lambda m, x: m.exp(x),
        "softmax": lambda m, x: m.softmax(x, -1),
        "softmax along columns": lambda m, x: m.softmax(x, 0),
        "x * sigmoid(x) + x": lambda m, x: x * m.sigmoid(x) + x,
        "mean": lambda m, x: x.mean(),
        "sum of columns": lambda m, x: x.sum(0),
        "standard deviation of rows": lambda m, x: x.std(1),
        "norm of rows": lambda m, x: x.norm(dim=1),
    }.items()
}  # fmt: skip
ACTIVATIONS |= {
    "ReLU 7 x 33": of(lambda m, x: m.relu(x), (7, 33)),
    "GELU 7 x 33": of(lambda m, x: m.nn.functional.gelu(x), (7, 33)),
    "x + bias 100 x 333": of(lambda m, x, b: x + b, ODD, (333,)),
    "mean squared error 100 x 33": of(lambda m, x, y: m.nn.functional.mse_loss(x, y), (100, 33), (100, 33)),
    "smooth L1 100 x 33": of(lambda m, x, y: m.nn.functional.smooth_l1_loss(x, y), (100, 33), (100, 33)),
    "binary cross-entropy of logits 100 x 33": of(
        lambda m, x: m.nn.functional.binary_cross_entropy_with_logits(x, m.full((100, 33), 0.25)), (100, 33)
    ),
}  # fmt: skip

POOLING: Rows = {
    "max pool 2x2, 4 x 17 x 28 x 28": layer("MaxPool2d", 2, on=(4, 17, 28, 28)),
    "max pool 3x3, stride 2, 4 x 33 x 28 x 28": layer("MaxPool2d", 3, 2, 1, on=(4, 33, 28, 28)),
    "max pool 2x2, 1 x 6 x 24 x 24": layer("MaxPool2d", 2, on=(1, 6, 24, 24)),
    "max pool 2x2, 16 x 6 x 28 x 28": layer("MaxPool2d", 2, on=(16, 6, 28, 28)),
    "max pool 2x2, of maps turned, 4 x 28 x 28 x 17": layer(
        "MaxPool2d", 2, on=(4, 28, 28, 17), pick=lambda net, x: net(x.permute(0, 3, 1, 2))
    ),
    "average pool 2x2, 4 x 17 x 28 x 28": layer("AvgPool2d", 2, on=(4, 17, 28, 28)),
    "average pool 3x3, stride 2, 4 x 33 x 28 x 28": layer("AvgPool2d", 3, 2, 1, on=(4, 33, 28, 28)),
    "average pool 2x2, 1 x 6 x 24 x 24": layer("AvgPool2d", 2, on=(1, 6, 24, 24)),
    "average pool 2x2, of maps turned, 4 x 28 x 28 x 17": layer(
        "AvgPool2d", 2, on=(4, 28, 28, 17), pick=lambda net, x: net(x.permute(0, 3, 1, 2))
    ),
    "average of a map, 4 x 100 x 7 x 7": layer("AdaptiveAvgPool2d", 1, on=(4, 100, 7, 7)),
    "adaptive average pool 3, 4 x 33 x 14 x 14": layer("AdaptiveAvgPool2d", 3, on=(4, 33, 14, 14)),
    "adaptive max pool 3, 4 x 33 x 14 x 14": layer("AdaptiveMaxPool2d", 3, on=(4, 33, 14, 14)),
    "max pool 2, 4 x 33 x 100": layer("MaxPool1d", 2, on=(4, 33, 100)),
    "average pool 2, 4 x 33 x 100": layer("AvgPool1d", 2, on=(4, 33, 100)),
    "max pool 2x2x2, 2 x 8 x 12 x 12 x 12": layer("MaxPool3d", 2, on=(2, 8, 12, 12, 12)),
    "average pool 2x2x2, 2 x 8 x 12 x 12 x 12": layer("AvgPool3d", 2, on=(2, 8, 12, 12, 12)),
}  # fmt: skip


MAP, ENLARGED = (2, 17, 14, 14), ("nearest", "nearest-exact", "bilinear", "bicubic", "area")
RESIZING: Rows = {
    **{f"{mode}, twice as large, 2 x 17 x 14 x 14": resized(mode, *MAP, scale=2) for mode in ENLARGED},
    **{f"{mode}, half as large, 2 x 17 x 28 x 28": resized(mode, 2, 17, 28, 28, scale=0.5) for mode in ENLARGED},
    "nearest, 2 x 17 x 14 x 14 to 23 x 23": resized("nearest", *MAP, size=23),
    "bilinear, 2 x 17 x 14 x 14 to 23 x 23, corners kept": resized("bilinear", *MAP, size=23, align_corners=True),
    "bilinear, 8 x 3 x 64 x 64 to 28 x 28, antialiased": resized("bilinear", 8, 3, 64, 64, size=28, antialias=True),
    "nearest, twice as large, 8 x 64 x 16 x 16": resized("nearest", 8, 64, 16, 16, scale=2),
    "bilinear, twice as large, 8 x 64 x 16 x 16": resized("bilinear", 8, 64, 16, 16, scale=2),
    "bilinear, twice as large, of maps turned, 2 x 14 x 14 x 17": of(
        lambda m, x: m.nn.functional.interpolate(x.permute(0, 3, 1, 2), scale_factor=2, mode="bilinear"), (2, 14, 14, 17)
    ),
    "nearest, twice as large, of maps turned, 2 x 14 x 14 x 17": of(
        lambda m, x: m.nn.functional.interpolate(x.permute(0, 3, 1, 2), scale_factor=2), (2, 14, 14, 17)
    ),
    "nearest, twice as long, 4 x 33 x 50": resized("nearest", 4, 33, 50, scale=2),
    "linear, twice as long, 4 x 33 x 50": resized("linear", 4, 33, 50, scale=2),
    "trilinear, twice as large, 1 x 8 x 8 x 8 x 8": resized("trilinear", 1, 8, 8, 8, 8, scale=2),
    "pixel shuffle by 2, 2 x 36 x 14 x 14": layer("PixelShuffle", 2, on=(2, 36, 14, 14)),
}  # fmt: skip

ROWS, ENTRIES = (200, 33), (300, 33)
SCATTERING: Rows = {
    "gather 300 x 33 of 200 x 33 along rows": indexed(lambda m, i, x: x.gather(0, i), 200, ENTRIES, ROWS),
    "gather one class of 10 in 128 rows": indexed(lambda m, i, x: x.gather(1, i), 10, (128, 1), (128, 10)),
    "index_select 300 of 200 x 33": indexed(lambda m, i, x: x.index_select(0, i), 200, (300,), ROWS),
    "scatter 300 x 33 to 200 x 33, one value": indexed(lambda m, i, x: x.scatter(0, i, 1.0), 200, ENTRIES, ROWS),
    "scatter one number of 33 to each of 200 rows": indexed(lambda m, i, x, y: x.scatter(1, i, y), 33, (200, 1), ROWS, (200, 1)),
    "scatter_add 300 x 33 to 200 x 33": indexed(lambda m, i, x, y: x.scatter_add(0, i, y), 200, ENTRIES, ROWS, ENTRIES),
    "index_add 300 rows to 200 x 33": indexed(lambda m, i, x, y: x.index_add(0, i, y), 200, (300,), ROWS, ENTRIES),
    "index_copy 300 rows to 1 x 33": indexed(lambda m, i, x, y: x.index_copy(0, i, y), 1, (1,), ROWS, (1, 33)),
    "index_put 300 rows, added to 200 x 33": indexed(
        lambda m, i, x, y: x.index_put((i,), y, accumulate=True), 200, (300,), ROWS, ENTRIES
    ),
    **{
        f"scatter_reduce {reduce}, 300 x 33 to 200 x 33": indexed(
            lambda m, i, x, y, reduce=reduce: x.scatter_reduce(0, i, y, reduce), 200, ENTRIES, ROWS, ENTRIES
        )
        for reduce in ("sum", "mean", "amax", "prod")
    },
    "sums of edges at nodes, 1000 x 16 to 100 x 16": indexed(
        lambda m, i, y: m.zeros(100, 16).index_add(0, i, y), 100, (1000,), (1000, 16)
    ),
}  # fmt: skip

WEIGHTS = ((100, 33), (100,), (17, 100), (17,), (1001, 65), (33, 17, 3, 3), (33,))
OPTIMIZERS: Rows = {
    f"{name} on 7 odd parameters": (lambda m, name=name, o=options: Updated(m, lambda p: getattr(m.optim, name.split(",")[0])(p, lr=1e-3, **o), WEIGHTS))  # type: ignore[misc]
    for name, options in {
        "Adam": {},
        "AdamW": {},
        "SGD": {},
        "SGD, momentum": {"momentum": 0.9, "weight_decay": 1e-4},
        "RMSprop": {},
        "Adagrad": {},
        "NAdam": {},
        "Adamax": {},
    }.items()
}  # fmt: skip

PRODUCTS: Rows = {
    "linear 200 to 100, batch 1": layer("Linear", 200, 100, on=(1, 200)),
    "linear 1000 to 10, batch 2": layer("Linear", 1000, 10, on=(2, 1000)),
    "linear 33 to 17, batch 100": layer("Linear", 33, 17, on=(100, 33)),
    "linear 100 to 300, 8 x 65": layer("Linear", 100, 300, on=(8, 65, 100)),
    "linear 200 to 200, 100, of an input turned": layer(
        "Linear", 200, 200, on=(200, 100), pick=lambda net, x: net(x.T)
    ),
    "batched product 8 x 100 x 33 x 65": of(lambda m, x, y: x @ y, (8, 100, 33), (8, 33, 65)),
    "batched product of turned factors 8 x 100 x 33 x 65": of(
        lambda m, x, y: x.transpose(1, 2) @ y.transpose(1, 2), (8, 33, 100), (8, 65, 33)
    ),
    "einsum bhqd,bhkd->bhqk 2 x 3 x 33 x 24": of(
        lambda m, x, y: m.einsum("bhqd,bhkd->bhqk", x, y), (2, 3, 33, 24), (2, 3, 33, 24)
    ),
}

NOT_CONTIGUOUS: Rows = {
    "GELU of every second column, 100 x 666": of(lambda m, x: m.nn.functional.gelu(x[:, ::2]), (100, 666)),
    "softmax of a transpose, 333 x 100": of(lambda m, x: m.softmax(x.T, -1), (333, 100)),
    "layer norm of a transpose, 100 x 333": of(lambda m, x: m.nn.functional.layer_norm(x.T, (100,)), ODD),
    "product of two slices, 100 x 333": of(lambda m, x, y: x[:, 1:] * y[:, :-1], ODD, ODD),
    "heads to the front and back, 8 x 65 x 4 x 24": of(
        lambda m, x: m.relu(x.transpose(1, 2)).transpose(1, 2).reshape(8, 65, 96), (8, 65, 4, 24)
    ),
    "joined columns, 100 x 33 and 100 x 65": of(lambda m, x, y: m.cat([x, y], 1), (100, 33), (100, 65)),
    "rows that an index picks, 333 of 1000 x 33": indexed(lambda m, i, x: x[i], 1000, (333,), (1000, 33)),
}


def _lenet(m: Any) -> Any:
    nn = m.nn
    return nn.Sequential(
        *(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)),
    )


def _separable(m: Any) -> Any:
    nn, blocks = m.nn, []
    for c, o, s in ((24, 33, 1), (33, 48, 2), (48, 100, 2)):
        blocks += [nn.Conv2d(c, c, 3, s, 1, groups=c, bias=False), nn.BatchNorm2d(c), nn.ReLU6()]
        blocks += [nn.Conv2d(c, o, 1, bias=False), nn.BatchNorm2d(o), nn.ReLU6()]
    return nn.Sequential(nn.Conv2d(3, 24, 3, 2, 1), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(100, 10))


def _autoencoder(m: Any) -> Any:
    nn = m.nn
    return nn.Sequential(
        *(nn.Conv2d(1, 17, 3, 2, 1), nn.SiLU(), nn.Conv2d(17, 33, 3, 2, 1), nn.GroupNorm(3, 33), nn.SiLU()),
        *(nn.ConvTranspose2d(33, 17, 4, 2, 1), nn.SiLU(), nn.ConvTranspose2d(17, 10, 4, 2, 1)),
        *(nn.AvgPool2d(28), nn.Flatten()),
    )


def _tagger(name: str, **options: Any) -> Callable[[Any], Any]:
    def build(m: Any) -> Any:
        class Tagger(m.nn.Module):  # type: ignore[misc]  # of whichever module is measured
            def __init__(self) -> None:
                super().__init__()
                self.words = m.nn.Embedding(1000, 50)
                self.states = getattr(m.nn, name)(50, 100, batch_first=True, **options)
                self.out = m.nn.Linear(200 if options.get("bidirectional") else 100, 17)

            def forward(self, x: Any) -> Any:
                return self.out(self.states(self.words(x))[0]).flatten(0, 1)

        return Tagger()

    return build


def _encoder(m: Any) -> Any:
    class Model(m.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            block = m.nn.TransformerEncoderLayer(
                72, 3, 200, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
            )
            self.words, self.blocks = (
                m.nn.Embedding(1000, 72),
                m.nn.TransformerEncoder(block, 2, enable_nested_tensor=False),
            )
            self.out = m.nn.Linear(72, 1000)

        def forward(self, x: Any) -> Any:
            return self.out(self.blocks(self.words(x))).flatten(0, 1)

    return Model()


TRAINING: Rows = {
    "train LeNet, batch 1, SGD": trained(_lenet, (1, 1, 28, 28), 10, 1, "SGD"),
    "train LeNet, batch 16, Adam": trained(_lenet, (16, 1, 28, 28), 10, 16),
    "train depthwise CNN, batch 2, 64 x 64, AdamW": trained(_separable, (2, 3, 64, 64), 10, 2, "AdamW"),
    "train convolutional autoencoder, batch 8, Adam": trained(_autoencoder, (8, 1, 28, 28), 10, 8),
    "train MLP 100-33-17, batch 2, RMSprop": trained(
        lambda m: m.nn.Sequential(m.nn.Linear(100, 33), m.nn.Tanh(), m.nn.Linear(33, 17)), (2, 100), 17, 2, "RMSprop"
    ),
    "train MLP 200-200-200-10 with batch norm, batch 33, Adam": trained(
        lambda m: m.nn.Sequential(
            *(m.nn.Linear(200, 200), m.nn.BatchNorm1d(200), m.nn.GELU(), m.nn.Linear(200, 200), m.nn.BatchNorm1d(200)),
            *(m.nn.SiLU(), m.nn.Linear(200, 10)),
        ), (33, 200), 10, 33,
    ),
    "train LSTM, 2 layers of 100 both ways, 4 x 20 words": trained(
        _tagger("LSTM", num_layers=2, bidirectional=True), (4, 20), 17, 80, vocabulary=1000
    ),
    "train GRU 100, 1 x 50 words": trained(_tagger("GRU"), (1, 50), 17, 50, vocabulary=1000),
    "train encoder 2 x 72, 2 x 65 words, AdamW": trained(_encoder, (2, 65), 1000, 130, "AdamW", vocabulary=1000),
}  # fmt: skip

SIZES: Rows = (
    TRAINING | CONVOLUTIONS | RECURRENT | VOCABULARY | ATTENTION | NORMALIZATIONS | ACTIVATIONS | POOLING | RESIZING | SCATTERING
    | OPTIMIZERS | PRODUCTS | NOT_CONTIGUOUS
)  # fmt: skip
