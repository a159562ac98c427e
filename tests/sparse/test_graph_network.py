"""A graph convolutional network (Kipf and Welling, 2017) as public programs write it, step by step beside PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

import minidl as md


def community_graph(nodes=60, classes=3):
    """Edges mostly inside of communities, with some given twice; noisy features; the communities as labels."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, nodes)
    ends = rng.integers(0, nodes, (nodes * 12, 2))
    kept = (labels[ends[:, 0]] == labels[ends[:, 1]]) | (rng.random(len(ends)) < 0.1)
    features = (rng.random((nodes, 12)) < 0.2 + 0.5 * (np.arange(12) % classes == labels[:, None])).astype(np.int32)
    return ends[kept].astype(np.int32), features, labels


def normalized_adjacency(m, edges, nodes):
    """D^-1/2 (A + 1) D^-1/2 with D the row sums of A + 1, as a sparse tensor of the library m."""
    adjacency = m.sparse_coo_tensor(edges.T, m.ones(len(edges)), (nodes, nodes), dtype=m.int64)
    adjacency = m.eye(nodes) + adjacency
    degree = m.sqrt(1 / m.sum(adjacency, dim=1))
    degree[degree == float("inf")] = 0
    degree = m.diag(degree).to_sparse()
    return (degree @ adjacency @ degree).to_sparse()


def losses(m, weights, edges, features, labels, layout, steps=8):
    """The losses of full-batch training from the given weights."""
    F = m.nn.functional
    adjacency = normalized_adjacency(m, edges, len(labels)).to_sparse(layout=layout)
    inputs = m.FloatTensor(features)
    scale = 1 / m.sum(inputs, dim=1)
    scale[scale == float("inf")] = 0
    inputs = (m.diag(scale).to_sparse() @ inputs).to_sparse()
    target = m.LongTensor(labels)
    parameters = [m.nn.Parameter(m.tensor(w)) for w in weights]
    optimizer = m.optim.Adam(parameters, lr=0.05, weight_decay=5e-4)
    found = []
    for _ in range(steps):
        optimizer.zero_grad()
        hidden = F.relu(m.spmm(adjacency, m.mm(inputs, parameters[0])) + parameters[1])
        output = F.log_softmax(m.spmm(adjacency, m.mm(hidden, parameters[2])), dim=1)
        loss = m.nn.NLLLoss()(output, target)
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return found, (output.argmax(dim=1) == target).float().mean().item()


@pytest.mark.filterwarnings("ignore:Sparse")
@pytest.mark.parametrize("layout", ["sparse_coo", "sparse_csr"])
def test_training(layout):
    rng, graph = np.random.default_rng(1), community_graph()
    weights = [0.3 * rng.standard_normal(shape).astype(np.float32) for shape in ((12, 8), (8,), (8, 3))]
    ours, accuracy = losses(md, weights, *graph, getattr(md, layout))
    assert ours[-1] < 0.8 * ours[0] and accuracy > 0.5
    torch = pytest.importorskip("torch")
    theirs, _ = losses(torch, weights, *graph, getattr(torch, layout))
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_attention_over_edges():
    """Softmax over the neighbours of each node, through the sparse matrix and through a dense one with masks."""
    edges, features, _ = community_graph()
    nodes = len(features)
    edges = np.unique(edges, axis=0)
    md.manual_seed(0)
    w, a = md.randn(12, 4, dtype=md.float64, requires_grad=True), md.randn(4, dtype=md.float64, requires_grad=True)
    x = md.tensor(features, dtype=md.float64)

    def attended(sparse):
        h = x @ w
        scores = h @ a
        rows, columns = md.tensor(edges.T).long()
        e = md.nn.functional.leaky_relu(scores[rows] + scores[columns], 0.2)
        if sparse:
            return md.sparse.softmax(md.sparse_coo_tensor(edges.T, e, (nodes, nodes)), 1) @ h
        mask = md.full((nodes, nodes), -float("inf"), dtype=md.float64)
        some = md.zeros(nodes, 1, dtype=md.float64).index_fill(
            0, rows, 1.0
        )  # a node without neighbours attends to nothing
        return md.where(some > 0, mask.index_put((rows, columns), e).softmax(1), 0.0) @ h

    results = []
    for sparse in (True, False):
        w.grad = a.grad = None
        out = attended(sparse)
        (out**2).sum().backward()
        results.append([out.detach().numpy(), w.grad.numpy(), a.grad.numpy()])
    for ours, dense in zip(*results, strict=True):
        np.testing.assert_allclose(ours, dense, rtol=1e-9, atol=1e-12)
