"""Which CUDA kernels the public calls launch: every kernel of every .cu file is some call's, or is named below with the reason."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

import minidl as md
from minidl import nn
from minidl.kernels import cuda
from minidl.nn import functional as F
from minidl.testing.kernel_checks import variants

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")

LADDER = "a step of the way to the kernel that runs, for reading and for the benchmark"
UNREACHED = {
    **dict.fromkeys((
        "attention_naive", "conv_implicit", "cross_entropy_naive", "dropout_naive", "embedding_atomic", "gelu_naive",
        "gelu_stride", "hgemm_mma", "int8_dp4a", "int8_naive", "layer_norm_naive", "max_pool_index_2d", "sddmm_naive",
        "sgemm_coalesced", "sgemm_naive", "sgemm_registers", "sgemm_tiled", "sgemm_vectorised", "sgemm_warps", "softmax_block",
        "softmax_naive", "spmm_naive", "sum_atomic", "sum_tree", "narrow_naive", "widen_naive",
    ), LADDER),
}  # fmt: skip


def of(function, *shapes, dtype="float32"):
    """A call: the value of a function of random tensors and its gradients along a random direction."""

    def call(device):
        rng = np.random.default_rng(0)
        xs = [md.from_numpy(rng.standard_normal(shape).astype(dtype)).to(device).requires_grad_() for shape in shapes]
        y = function(*xs)
        y.backward(md.from_numpy(rng.standard_normal(y.shape).astype(dtype)).to(device))
        return [y.detach(), *(x.grad for x in xs)]

    return call


def layer(make, *shape):
    """A call of a layer: its first result, and the gradients of its parameters."""

    def call(device):
        md.manual_seed(0)
        made = make().to(device)
        y = made(md.randn(*shape).to(device))
        y = y[0] if isinstance(y, tuple) else y
        y.backward(y.detach())
        return [y.detach(), *(p.grad for p in made.parameters())]

    return call


def mlp(activation):
    return lambda: nn.Sequential(nn.Linear(8, 12), activation, nn.Linear(12, 4, bias=False))


def fill(function):
    """A call that draws numbers."""

    def call(device):
        md.manual_seed(0)
        return [function(device)]

    return call


def step(make, *dtypes):
    """A call: two steps of an optimizer on parameters of these dtypes."""

    def call(device):
        rng = np.random.default_rng(0)
        some = [md.from_numpy(rng.standard_normal((5, 3)).astype(t)).to(device).requires_grad_() for t in dtypes]
        optimizer = make(some)
        for _ in range(2):
            for p in some:
                p.grad = md.from_numpy(rng.standard_normal((5, 3)).astype(p.detach().cpu().numpy().dtype)).to(device)
            optimizer.step()
        return [p.detach() for p in some]

    return call


def labels(n):
    return lambda x: F.cross_entropy(x, (md.arange(len(x)) % n).to(x.device))


def looked_up(weight):
    return F.embedding(md.tensor([[0, 4, 4], [1, 4, 0]]).to(weight.device), weight)


def attention(q, k, v):
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def sparse(longest):
    """A call: a sparse matrix, with one row of so many entries, times a dense one, and both gradients."""

    def call(device):
        rng = np.random.default_rng(0)
        rows = np.concatenate([np.zeros(longest, np.int64), rng.integers(1, 9, 30)])
        columns = np.concatenate([np.arange(longest), rng.permutation(400)[:30]])
        values = md.from_numpy(rng.standard_normal(len(rows)).astype("f4")).to(device).requires_grad_()
        dense = md.from_numpy(rng.standard_normal((400, 5)).astype("f4")).to(device).requires_grad_()
        matrix = md.sparse_coo_tensor(md.from_numpy(np.stack([rows, columns])).to(device), values, (9, 400))
        y = md.sparse.mm(matrix, dense)
        y.backward(md.from_numpy(rng.standard_normal(y.shape).astype("f4")).to(device))
        return [y.detach(), values.grad, dense.grad]

    return call


def sparse_step(make):
    """A call: a step of an optimizer on a table of which few rows were looked up."""

    def call(device):
        table = md.from_numpy(np.random.default_rng(0).standard_normal((6, 5)).astype("f4")).to(device).requires_grad_()
        F.embedding(md.tensor([0, 4, 4]).to(device), table, sparse=True).backward(md.ones(3, 5).to(device))
        make([table]).step()
        return [table.detach()]

    return call


def recorded_sgd(device):
    """A step within a graph, in which arrays are updated one by one."""
    p = md.ones(5, device=device)
    p.grad = md.ones(5, device=device)
    optimizer = md.optim.SGD([p], lr=0.5)
    if p.is_cuda:
        g = md.cuda.CUDAGraph()
        with md.cuda.graph(g):
            optimizer.step()
        g.replay()
    else:
        optimizer.step()
    return [p]


def quantized(device):
    md.manual_seed(0)
    layer = md.ao.quantization.quantize_dynamic(nn.Linear(37, 9), {nn.Linear}).to(device)
    return [layer(md.randn(2, 5, 37).to(device))]


HEADS = [(1, 2, 9, 32)] * 3
IMAGE = (2, 3, 9, 8)

CALLS = {
    # call: what it launches
    "gelu": (of(F.gelu, (5, 7)), "gelu_none_packed gelu_backward_none_packed"),
    "gelu tanh": (of(lambda x: F.gelu(x, approximate="tanh"), (5, 7)), "gelu_tanh_packed gelu_backward_tanh_packed"),
    "gelu of a transposed tensor": (of(lambda x: F.gelu(x.T), (5, 7)), "gelu_none_packed gelu_backward_none_packed"),
    "relu": (of(F.relu, (5, 7)), "relu_packed relu_backward_packed"),
    "Linear and ReLU": (layer(mlp(nn.ReLU()), 5, 8), "bias_relu bias_relu_backward sum_columns_finish"),
    "Linear and Sigmoid": (layer(mlp(nn.Sigmoid()), 5, 8), "bias_sigmoid bias_sigmoid_backward sum_columns_finish"),
    "Linear and Tanh": (layer(mlp(nn.Tanh()), 2, 5, 8), "bias_tanh bias_tanh_backward sum_columns_finish"),
    "Linear and GELU": (layer(mlp(nn.GELU()), 5, 8), "bias_gelu bias_gelu_none_backward sum_columns_finish"),
    "Linear and GELU, tanh": (
        layer(mlp(nn.GELU("tanh")), 5, 8), "bias_gelu_tanh bias_gelu_tanh_backward sum_columns_finish"
    ),
    "sigmoid": (of(md.sigmoid, (5, 7)), "sigmoid_packed"),
    "silu": (of(F.silu, (5, 7)), "sigmoid_packed"),
    "erf": (of(md.erf, (500,)), "erf_packed"),
    "softmax": (of(lambda x: F.softmax(x, -1), (5, 7)), "softmax_warp softmax_backward_warp"),
    "softmax of a middle axis": (of(lambda x: F.softmax(x.transpose(1, 2), -1), (2, 5, 7)), "softmax_warp softmax_backward_warp"),
    "softmax, wide": (of(lambda x: F.softmax(x, -1), (2, 3000)), "softmax_cached softmax_backward_block"),
    "softmax, very wide": (of(lambda x: F.softmax(x, -1), (2, 20000)), "softmax_online softmax_backward_block"),
    "log_softmax": (of(lambda x: F.log_softmax(x, -1), (5, 7)), "log_softmax_warp log_softmax_backward_warp"),
    "log_softmax, wide": (of(lambda x: F.log_softmax(x, -1), (2, 3000)), "log_softmax_cached log_softmax_backward_block"),
    "log_softmax, very wide": (
        of(lambda x: F.log_softmax(x, -1), (2, 20000)), "log_softmax_online log_softmax_backward_block"
    ),
    "cross_entropy": (of(labels(7), (5, 7)), "cross_entropy_warp cross_entropy_backward_rows"),
    "cross_entropy, wide": (of(labels(3000), (2, 3000)), "cross_entropy_block cross_entropy_backward_rows"),
    "layer_norm": (
        of(lambda x, w, b: F.layer_norm(x, (8,), w, b), (5, 8), (8,), (8,)),
        "layer_norm_cached layer_norm_backward_fused sum_columns_finish",
    ),
    "layer_norm, wide": (
        of(lambda x, w: F.layer_norm(x, (9001,), w), (3, 9001), (9001,)),
        "layer_norm_block layer_norm_backward_rows layer_norm_backward_columns sum_columns_finish",
    ),
    "rms_norm": (
        of(lambda x, w: F.rms_norm(x, (8,), w), (5, 8), (8,)), "rms_norm_cached rms_norm_backward_fused sum_columns_finish"
    ),
    "rms_norm, wide": (
        of(lambda x: F.rms_norm(x, (9001,)), (3, 9001)),
        "rms_norm_block rms_norm_backward_rows rms_norm_backward_columns sum_columns_finish",
    ),
    "LayerNorm": (layer(lambda: nn.LayerNorm(8), 5, 8), "layer_norm_cached layer_norm_backward_fused sum_columns_finish"),
    "RMSNorm": (layer(lambda: nn.RMSNorm(8), 5, 8), "rms_norm_cached rms_norm_backward_fused sum_columns_finish"),
    "rand": (fill(lambda device: md.rand(5, device=device)), "uniform_blocks"),
    "randn": (fill(lambda device: md.randn(5, device=device)), "normal_blocks"),
    "randint": (fill(lambda device: md.randint(0, 9, (5,), device=device)), "philox_blocks"),
    "dropout": (fill(lambda device: F.dropout(md.ones(40, device=device))), "dropout_blocks"),
    "embedding": (of(looked_up, (6, 5)), "embedding_segments"),
    "max_pool2d": (of(lambda x: F.max_pool2d(x, 2), IMAGE), "max_pool_2d max_pool_backward_2d"),
    "fractional_max_pool2d": (of(lambda x: F.fractional_max_pool2d(x, 2, 4, _random_samples=md.full((2, 3, 2), 0.3).to(x.device)), IMAGE), "pick_2d"),
    "adaptive_max_pool2d": (
        of(lambda x: F.adaptive_max_pool2d(x, (4, 3)), IMAGE), "adaptive_max_2d adaptive_max_backward_2d"
    ),
    "adaptive_avg_pool2d": (
        of(lambda x: F.adaptive_avg_pool2d(x, (4, 3)), IMAGE), "adaptive_sum_2d adaptive_sum_backward_2d"
    ),
    "bfloat16 and back": (
        fill(lambda device: (md.arange(40) * 0.37).to(device).to(md.bfloat16).to(md.float32)), "narrow_packed widen_packed"
    ),
    "avg_pool2d": (of(lambda x: F.avg_pool2d(x, 2), IMAGE), "sum_pool_2d sum_pool_backward_2d"),
    "unfold": (of(lambda x: F.unfold(x, 3), IMAGE), "unfold_2d fold_2d"),
    "conv2d of few channels": (
        of(lambda x, w: F.conv2d(x, w, padding=1), IMAGE, (4, 3, 3, 3)),
        "conv_direct conv_direct_input conv_direct_weight sum_rows_warp sum_columns_finish",
    ),
    "conv2d": (
        of(lambda x, w: F.conv2d(x, w, padding=1), (2, 9, 8, 8), (9, 9, 3, 3)),
        "conv_tiles conv_tiles_input conv_tiles_weight sum_rows_warp sum_columns_finish",
    ),
    "conv2d, float16": (
        of(lambda x, w: F.conv2d(x, w, padding=1), (1, 9, 8, 8), (9, 9, 3, 3), dtype="float16"),
        "conv_mma conv_mma_input conv_mma_weight sum_columns_finish sum_rows_warp",
    ),
    "attention": (
        of(attention, *HEADS),
        "attention_tiled attention_delta attention_backward_kv_tiled attention_backward_q_tiled",
    ),
    "attention of transposed heads": (
        of(lambda *qkv: attention(*(x.transpose(1, 2) for x in qkv)), *[(1, 9, 2, 32)] * 3),
        "attention_tiled attention_delta attention_backward_kv_tiled attention_backward_q_tiled",
    ),
    "attention, float16": (
        of(attention, *HEADS, dtype="float16"),
        "attention_mma attention_delta attention_backward_kv_mma attention_backward_q_mma",
    ),
    "RNN": (layer(lambda: nn.RNN(7, 6), 3, 19, 7), "rnn_sequence rnn_sequence_backward"),
    "RNN, relu": (layer(lambda: nn.RNN(7, 6, nonlinearity="relu"), 3, 2, 7), "rnn_sequence rnn_sequence_backward"),
    "LSTM": (layer(lambda: nn.LSTM(7, 6), 3, 2, 7), "lstm_sequence lstm_sequence_backward"),
    "LSTM of several groups": (layer(lambda: nn.LSTM(7, 6), 3, 19, 7), "lstm_sequence lstm_sequence_backward"),
    "LSTM of a large batch": (layer(lambda: nn.LSTM(7, 6), 3, 65, 7), "lstm_step lstm_step_backward"),
    "GRU": (layer(lambda: nn.GRU(7, 6), 3, 2, 7), "gru_sequence gru_sequence_backward"),
    "GRU of a large batch": (layer(lambda: nn.GRU(7, 6), 3, 65, 7), "gru_step gru_step_backward"),
    "sparse.mm": (sparse(3), "spmm_rows sddmm_warps"),
    "sparse.mm, a row that is long": (sparse(400), "spmm_rows spmm_merge spmm_carry sddmm_warps"),
    "a linear layer in bytes": (quantized, "int8_mma"),
    "sum": (of(md.sum, (170, 40)), "sum_all sum_all_finish"),
    "sum of few": (of(md.sum, (70, 40)), "sum_all_finish"),
    "sum of rows": (of(lambda x: x.sum(-1), (70, 40)), "sum_rows_warp"),
    "sum of wide rows": (of(lambda x: x.sum(-1), (2, 3000)), "sum_rows_block"),
    "sum of columns": (of(lambda x: x.sum(0), (300, 40)), "sum_columns sum_columns_finish"),
    "mean of the middle": (of(lambda x: x.mean(1), (5, 300, 20)), "sum_columns sum_columns_finish"),
    "sum of two dimensions, float16": (
        of(lambda x: x.sum((0, 2)), (2, 3, 40), dtype="float16"), "sum_rows_warp_wide sum_columns_finish"
    ),
    "sum of two dimensions, wide, float16": (
        of(lambda x: x.sum((0, 2)), (2, 3, 2100), dtype="float16"), "sum_rows_block_wide sum_columns_finish"
    ),
    "var": (of(lambda x: x.var((0, 2)), (5, 30, 20)), "sum_rows_warp sum_columns_finish"),
    "norm": (of(md.norm, (170, 40)), "sum_all sum_all_finish"),
    "bias": (of(lambda x, b: x + b, (70, 40), (40,)), "sum_columns_finish"),
    "linear": (of(F.linear, (300, 40), (3, 40), (3,)), "sum_columns sum_columns_finish"),
    "conv_transpose2d": (
        of(F.conv_transpose2d, IMAGE, (3, 4, 2, 2), (4,)),
        "conv_direct conv_direct_input conv_direct_weight sum_rows_warp sum_columns_finish",
    ),
    "amax": (of(md.amax, (170, 40)), "max_all max_all_finish"),
    "amax of rows": (of(lambda x: x.amax(1), (7, 4)), "max_rows_warp"),
    "amax of wide rows": (of(lambda x: x.amax(1), (2, 3000)), "max_rows_block"),
    "amax of columns": (of(lambda x: x.amax(0), (300, 4)), "max_columns max_columns_finish"),
    "min": (of(md.min, (170, 40)), "min_all min_all_finish"),
    "amin of rows": (of(lambda x: x.amin(1), (7, 4)), "min_rows_warp"),
    "amin of wide rows": (of(lambda x: x.amin(1), (2, 3000)), "min_rows_block"),
    "amin of columns": (of(lambda x: x.amin(0), (300, 4)), "min_columns min_columns_finish"),
    "Adam": (step(md.optim.Adam, "f4", "f4"), "adam_table"),
    "AdamW, capturable": (step(lambda p: md.optim.AdamW(p, capturable=True), "f4", "f4"), "adam_counted"),
    "Adam, one float64 among others": (step(md.optim.Adam, "f4", "f8"), "adam_flat"),
    "SGD": (step(lambda p: md.optim.SGD(p, lr=0.1, momentum=0.9), "f4", "f4"), "sgd_table"),
    "SGD in a graph": (recorded_sgd, "sgd_flat"),
    "SGD of a sparse gradient": (sparse_step(lambda p: md.optim.SGD(p, lr=0.1)), "add_rows"),
    "SparseAdam": (sparse_step(md.optim.SparseAdam), "adam_rows embedding_segments"),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_a_call_launches_its_kernels_and_agrees_with_the_cpu(name, launched):
    call, wanted = CALLS[name]
    found = call("cuda")
    assert {entry for entry, _ in launched} == set(wanted.split())
    for x, y in zip(found, call("cpu"), strict=True):
        assert x.is_cuda
        close = {"rtol": 2e-3, "atol": 2e-3} if y.dtype == md.float16 else {"rtol": 2e-5, "atol": 2e-5}
        np.testing.assert_allclose(x.cpu().numpy(), y.numpy(), **close)


def test_every_kernel_is_launched_by_a_call_or_has_a_reason():
    assert variants()  # loads every file
    entries = {name for source in cuda.SOURCES.values() for name in source.entries}
    reached = {entry for _, wanted in CALLS.values() for entry in wanted.split()}
    assert reached <= entries and set(UNREACHED) <= entries
    assert not reached & set(UNREACHED), "launched, and yet with a reason why not"
    assert entries == reached | set(UNREACHED), "no public call launches these: add the call, or the reason"


def test_a_gradient_that_is_the_same_everywhere_takes_the_kernel_too(launched):
    x = md.randn(5, 7, device="cuda", requires_grad=True)
    F.softmax(x, -1).sum().backward()  # its gradient is one number, repeated with strides of 0
    assert ("softmax_backward_warp", "float32") in launched
