"""Weights that PyTorch saved, read without PyTorch and without executing anything."""

from __future__ import annotations

import collections
import io
import pickle
import zipfile

import numpy as np
import pytest

import minidl as md
from minidl import nn

torch = pytest.importorskip("torch")


def through(obj, **options):
    file = io.BytesIO()
    torch.save(obj, file, **options)
    file.seek(0)
    return md.load(file)


OLD = {"_use_new_zipfile_serialization": False}  # the kind of file that PyTorch wrote before 1.6


@pytest.fixture(params=["archive", "old"])
def written(request):
    return {} if request.param == "archive" else OLD


def test_a_model_and_its_optimizer(written):
    theirs = torch.nn.Sequential(
        torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2), torch.nn.Flatten(), torch.nn.Linear(8, 3)
    )
    optimizer = torch.optim.Adam(theirs.parameters(), lr=0.01)
    theirs(torch.randn(4, 1, 4, 4)).sum().backward()
    optimizer.step()
    ours = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))
    ours_optimizer = md.optim.Adam(ours.parameters(), lr=0.5)
    loaded = through({"model": theirs.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}, **written)
    ours.load_state_dict(loaded["model"])
    ours_optimizer.load_state_dict(loaded["optimizer"])
    assert loaded["epoch"] == 3 and ours_optimizer.param_groups[0]["lr"] == 0.01
    x = np.random.default_rng(0).standard_normal((2, 1, 4, 4)).astype(np.float32)
    theirs.eval(), ours.eval()
    np.testing.assert_allclose(
        ours(md.tensor(x)).detach().numpy(), theirs(torch.tensor(x)).detach().numpy(), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize(
    "dtype", ["float64", "float16", "int64", "int32", "int16", "int8", "uint8", "bool", "complex64"]
)
def test_every_dtype_and_layout(dtype, written):
    base = torch.arange(24).reshape(2, 3, 4) % 5
    for t in (base, base.transpose(0, 2), base[:, 1:, ::2], base[0, 0, 0], base[:0]):
        t = t.to(getattr(torch, dtype))
        got = through([t], **written)[0]
        assert got.dtype is getattr(md, dtype) and got.tolist() == t.tolist()


def test_views_parameters_and_kinds(written):
    x = torch.arange(6.0)
    loaded = through(
        {"x": x, "part": x[2:4], "p": torch.nn.Parameter(x), "s": torch.Size([2]), "d": torch.float16, "none": None},
        **written,
    )
    loaded["x"][2] = 9
    assert loaded["part"].tolist() == [9, 3]  # still on one memory
    assert isinstance(loaded["p"], nn.Parameter) and loaded["p"].requires_grad
    assert loaded["s"] == md.Size([2]) and loaded["d"] is md.float16 and loaded["none"] is None
    rounded = through(torch.tensor([1.5, -2.0]).bfloat16(), **written)
    assert rounded.dtype is md.bfloat16 and rounded.tolist() == [1.5, -2.0]


def test_whole_models_and_other_classes_are_refused(tmp_path):
    with pytest.raises(RuntimeError, match=r"torch\.nn\.modules\.linear\.Linear.*state_dict.*weights_only=False"):
        through(torch.nn.Linear(1, 1))
    with zipfile.ZipFile(tmp_path / "evil.pt", "w") as archive:
        archive.writestr("evil/data.pkl", pickle.dumps(Evil(tmp_path / "executed"), protocol=2))
    with pytest.raises(RuntimeError, match=r"names posix\.mkdir"):
        md.load(tmp_path / "evil.pt")
    (inert, *_) = [md.load(tmp_path / "evil.pt", weights_only=False)]
    assert repr(inert) == "<stand-in for posix.mkdir>" and inert.args == (str(tmp_path / "executed"),)
    assert not (tmp_path / "executed").exists()


class Evil:
    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        import os

        return os.mkdir, (str(self.folder),)


class Settings:
    """What some save beside their weights: an object of a class of their own."""

    def __init__(self):
        self.width, self.choices = 3, Choices([1, 2])


class Choices(list):
    pass


def test_stand_ins_for_what_is_beside_the_weights(written):
    file = io.BytesIO()
    torch.save({"weights": torch.arange(3.0), "settings": Settings(), "by_kind": {Settings: 1}}, file, **written)
    file.seek(0)
    with pytest.raises(RuntimeError, match="Settings"):
        md.load(file)
    file.seek(0)
    loaded = md.load(file, weights_only=False)
    settings = loaded["settings"]
    assert loaded["weights"].tolist() == [0, 1, 2] and type(settings).__name__ == "Settings"
    assert settings.state["width"] == 3 and settings.state["choices"].items == [1, 2]
    assert isinstance(settings, next(iter(loaded["by_kind"])))


def test_numpy_and_containers(written):
    arrays = [
        np.arange(6, dtype=">i2").reshape(2, 3),
        np.asfortranarray(np.ones((2, 2))),
        np.array("text"),
        np.zeros(0, bool),
    ]
    content = {
        "arrays": arrays,
        "scalars": [np.float32(1.5), np.int64(-3), np.bool_(True)],
        "counter": collections.Counter("aab"),
        "default": collections.defaultdict(list, {"a": [1]}),
        "others": [{1, 2}, frozenset([3]), 1 + 2j, b"bytes", b"", bytearray(b"x"), 10**30],
    }
    for protocol in (2, 4, 5):
        loaded = through(content, pickle_protocol=protocol, **written)
        for ours, theirs in zip(loaded["arrays"], arrays, strict=True):
            assert (
                isinstance(ours, np.ndarray) and ours.dtype == theirs.dtype.newbyteorder("=") and ours.flags.writeable
            )
            np.testing.assert_array_equal(ours, theirs)
        for name in ("scalars", "counter", "default", "others"):
            assert loaded[name] == content[name] and type(loaded[name]) is type(content[name])
    with pytest.raises(RuntimeError, match="neither numbers nor text"):
        through([np.array([None, 1])], **written)


def test_old_files_that_are_damaged():
    file = io.BytesIO()
    torch.save({"x": torch.arange(100.0), "y": torch.ones(3)}, file, **OLD)
    data = file.getvalue()
    for length in range(4, len(data), 29):
        with pytest.raises(RuntimeError):
            md.load(io.BytesIO(data[:length]))
    for plain, message in (
        (pickle.dumps([1, 2]), "not one of torch.save's"),
        (data.replace((1001).to_bytes(2, "little"), (1002).to_bytes(2, "little"), 1), "version 1002"),
        (data.replace((100).to_bytes(8, "little"), (99).to_bytes(8, "little"), 1), "another length"),
    ):
        with pytest.raises(RuntimeError, match=message):
            md.load(io.BytesIO(plain))


def test_a_view_of_a_storage_in_an_old_file():
    """Before storages could be shared by offset, a part of one was written as a view with a place and a length."""
    head = b"".join(
        pickle.dumps(part, 2)
        for part in (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True, "type_sizes": {}})
    )

    class Old(pickle.Pickler):
        def persistent_id(self, obj):
            if isinstance(obj, tuple) and obj and obj[0] == "part of a":
                return ("storage", torch.FloatStorage, "a", "cpu", 6, ("b", *obj[1:]))
            return None

        def reducer_override(self, obj):
            if isinstance(obj, slice):
                part = ("part of a", obj.start, obj.stop - obj.start)
                return torch._utils._rebuild_tensor, (part, 0, (obj.stop - obj.start,), (1,))
            return NotImplemented

    body = io.BytesIO()
    Old(body, 2).dump([slice(1, 4), slice(0, 2)])
    memory = (6).to_bytes(8, "little") + np.arange(6, dtype="<f4").tobytes()
    loaded = md.load(io.BytesIO(head + body.getvalue() + pickle.dumps(["a"], 2) + memory))
    assert [t.tolist() for t in loaded] == [[1, 2, 3], [0, 1]]


def test_unsigned_integers():
    for name in ("uint16", "uint32", "uint64"):
        t = torch.arange(4, dtype=torch.int64).to(getattr(torch, name))
        got = through([t, t[1:3]])
        assert got[0].dtype is getattr(md, name) and [g.tolist() for g in got] == [[0, 1, 2, 3], [1, 2]]


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_a_torchscript_program_says_what_to_do(tmp_path):
    with zipfile.ZipFile(tmp_path / "program.pt", "w") as archive:
        for name in ("data.pkl", "constants.pkl", "code/__torch__.py"):
            archive.writestr(f"program/{name}", pickle.dumps({}, protocol=2))
    with pytest.raises(RuntimeError, match=r"TorchScript program.*state_dict\(\)"):
        md.load(tmp_path / "program.pt")


def test_big_endian_files_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        archive.writestr("x/data.pkl", pickle.dumps({}, protocol=2))
        archive.writestr("x/byteorder", "big")
    with pytest.raises(RuntimeError, match="big-endian"):
        md.load(tmp_path / "x.pt")


def test_damaged_files(tmp_path):
    torch.save({"x": torch.arange(100.0)}, tmp_path / "x.pt")
    data = (tmp_path / "x.pt").read_bytes()
    for length in range(4, len(data), 37):
        with pytest.raises(RuntimeError):
            md.load(io.BytesIO(data[:length]))
    start = data.index(np.arange(100, dtype=np.float32).tobytes())
    damaged = bytearray(data)
    damaged[start + 50] ^= 1
    with pytest.raises(RuntimeError, match="checksum"):
        md.load(io.BytesIO(bytes(damaged)))
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("a.txt", "b")
    with pytest.raises(RuntimeError, match=r"not one of torch\.save's"):
        md.load(tmp_path / "other.zip")


def test_where_tensors_go():
    file = io.BytesIO()
    torch.save(torch.ones(1), file)
    for place in (None, "cpu", md.device("cpu"), lambda storage, location: storage, {"cuda:0": "cpu"}):
        file.seek(0)
        assert md.load(file, map_location=place).tolist() == [1]
