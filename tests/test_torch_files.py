"""Weights that PyTorch saved, read without PyTorch and without executing anything."""

from __future__ import annotations

import io
import pickle
import zipfile

import numpy as np
import pytest

import minidl as md
from minidl import nn

torch = pytest.importorskip("torch")


def through(obj):
    file = io.BytesIO()
    torch.save(obj, file)
    file.seek(0)
    return md.load(file)


def test_a_model_and_its_optimizer():
    theirs = torch.nn.Sequential(
        torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2), torch.nn.Flatten(), torch.nn.Linear(8, 3)
    )
    optimizer = torch.optim.Adam(theirs.parameters(), lr=0.01)
    theirs(torch.randn(4, 1, 4, 4)).sum().backward()
    optimizer.step()
    ours = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))
    ours_optimizer = md.optim.Adam(ours.parameters(), lr=0.5)
    loaded = through({"model": theirs.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3})
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
def test_every_dtype_and_layout(dtype):
    base = torch.arange(24).reshape(2, 3, 4) % 5
    for t in (base, base.transpose(0, 2), base[:, 1:, ::2], base[0, 0, 0], base[:0]):
        t = t.to(getattr(torch, dtype))
        got = through([t])[0]
        assert got.dtype is getattr(md, dtype) and got.tolist() == t.tolist()


def test_views_parameters_and_kinds():
    x = torch.arange(6.0)
    loaded = through(
        {"x": x, "part": x[2:4], "p": torch.nn.Parameter(x), "s": torch.Size([2]), "d": torch.float16, "none": None}
    )
    loaded["x"][2] = 9
    assert loaded["part"].tolist() == [9, 3]  # still on one memory
    assert isinstance(loaded["p"], nn.Parameter) and loaded["p"].requires_grad
    assert loaded["s"] == md.Size([2]) and loaded["d"] is md.float16 and loaded["none"] is None
    rounded = through(torch.tensor([1.5, -2.0]).bfloat16())
    assert rounded.dtype is md.float32 and rounded.tolist() == [1.5, -2.0]


def test_whole_models_and_other_classes_are_refused(tmp_path):
    with pytest.raises(RuntimeError, match=r"torch\.nn\.modules\.linear\.Linear.*state_dict"):
        through(torch.nn.Linear(1, 1))

    class Evil:
        def __reduce__(self):
            import os

            return os.mkdir, (str(tmp_path / "executed"),)

    with zipfile.ZipFile(tmp_path / "evil.pt", "w") as archive:
        archive.writestr("evil/data.pkl", pickle.dumps(Evil(), protocol=2))
    with pytest.raises(RuntimeError, match="names"):
        md.load(tmp_path / "evil.pt", weights_only=False)
    assert not (tmp_path / "executed").exists()


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
