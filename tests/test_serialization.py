"""save and load: what comes back, what is refused, and that no accident leaves a wrong file or a wrong tensor."""

from __future__ import annotations

import collections
import io
import os
import pickle
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import minidl as md
from minidl import nn, optim
from minidl.serialization import write_whole


def same(a, b):
    """Equal values, of equal types, all the way down."""
    assert type(a) is type(b)
    if isinstance(a, md.Tensor):
        assert a.dtype is b.dtype and a.shape == b.shape and a.requires_grad == b.requires_grad
        np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())
    elif isinstance(a, dict):
        assert list(a) == list(b)
        for key in a:
            same(a[key], b[key])
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            same(x, y)
    else:
        assert a == b or (a != a and b != b)


@pytest.mark.tiny
def test_everything_that_a_state_holds_comes_back(tmp_path):
    state = {
        "tensors": [
            md.arange(6).reshape(2, 3).t(),
            md.tensor(2.5),
            md.zeros(0, 3),
            md.tensor([True]),
            md.ones(2).half(),
        ],
        "leaf": md.ones(3, requires_grad=True),
        "parameter": nn.Parameter(md.ones(2)),
        "numbers": (1, -2.5, float("inf"), float("nan"), True, None, 2**70, 1e-300),
        "text": "ä\n'\"",
        3: {"nested": collections.OrderedDict(b=1, a=2)},
        "kinds": [md.float64, md.device("cpu"), md.Size([2, 3])],
    }
    md.save(state, tmp_path / "state.pt")
    same(md.load(tmp_path / "state.pt"), state)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool"])
def test_every_dtype(dtype):
    x = md.tensor([[0, 1], [1, 1]]).to(getattr(md, dtype))
    file = io.BytesIO()
    md.save(x, file)
    file.seek(0)
    same(md.load(file), x)


def test_loaded_tensors_are_writable_and_independent(tmp_path):
    md.save({"x": md.zeros(2)}, tmp_path / "x.pt")
    a, b = md.load(tmp_path / "x.pt")["x"], md.load(tmp_path / "x.pt")["x"]
    a += 1
    assert a.tolist() == [1, 1] and b.tolist() == [0, 0]


def test_shared_tensors_are_written_once_and_stay_shared(tmp_path):
    x = md.arange(1000.0)
    md.save({"a": x, "b": x.detach(), "part": x[:10]}, tmp_path / "x.pt")
    assert (tmp_path / "x.pt").stat().st_size < 4000 + 2000
    loaded = md.load(tmp_path / "x.pt")
    loaded["a"][0] = 7
    assert loaded["b"][0] == 7 and loaded["part"][0] == 0


def test_models_and_optimizers_go_on_where_they_were(tmp_path):
    def made():
        md.manual_seed(1)
        model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
        optimizer = optim.Adam(model.parameters(), lr=0.1)
        return model, optimizer, optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)

    def step(model, optimizer, scheduler):
        x = md.arange(15.0).reshape(5, 3) / 15
        optimizer.zero_grad()
        (model(x) ** 2).mean().backward()
        optimizer.step()
        scheduler.step()

    first = made()
    for _ in range(3):
        step(*first)
    md.save([part.state_dict() for part in first], tmp_path / "run.pt")
    second = made()
    for part, state in zip(second, md.load(tmp_path / "run.pt"), strict=True):
        part.load_state_dict(state)
    for _ in range(3):
        step(*first)
        step(*second)
    same(dict(first[0].state_dict()), dict(second[0].state_dict()))


def test_what_cannot_be_written_is_named_and_nothing_is_left(tmp_path):
    with pytest.raises(TypeError, match=r"object at a\.1\.model.*state_dict"):
        md.save({"a": [1, {"model": object()}]}, tmp_path / "x.pt")
    with pytest.raises(TypeError, match="Linear"):
        md.save(nn.Linear(1, 1), tmp_path / "x.pt")
    assert list(tmp_path.iterdir()) == []


def test_a_file_from_elsewhere_is_a_dict_of_tensors(tmp_path):
    from safetensors.numpy import save_file

    save_file({"w": np.ones((2, 2), np.float32)}, tmp_path / "w.safetensors")
    same(md.load(tmp_path / "w.safetensors"), {"w": md.ones(2, 2)})


def test_nothing_is_executed(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "executed"),)

    (tmp_path / "evil.pt").write_bytes(pickle.dumps(Evil()))
    for weights_only in (True, False):
        with pytest.raises(RuntimeError, match="run code"):
            md.load(tmp_path / "evil.pt", weights_only=weights_only)
    assert not (tmp_path / "executed").exists()


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        md.load(tmp_path / "none.pt")


def test_a_file_cut_anywhere_is_refused(tmp_path):
    md.save({"weights": md.arange(20.0), "step": 3}, tmp_path / "whole.pt")
    data = (tmp_path / "whole.pt").read_bytes()
    for length in range(len(data)):
        with pytest.raises(RuntimeError, match="damaged"):
            md.load(io.BytesIO(data[:length]))


def test_a_flipped_bit_is_never_read_as_a_weight():
    original = {"weights": md.arange(20.0), "step": 3, "lr": 0.125}
    file = io.BytesIO()
    md.save(original, file)
    data = file.getvalue()
    harmless = 0
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 1 << position % 8
        try:
            loaded = md.load(io.BytesIO(bytes(damaged)))
        except RuntimeError:
            continue
        same(loaded, original)  # a blank that became another, say
        harmless += 1
    assert harmless < 0.02 * len(data)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_a_process_killed_while_writing_leaves_a_whole_file(tmp_path):
    path = tmp_path / "state.pt"
    md.save({"round": -1, "x": md.full((1000,), -1.0)}, path)
    code = (
        "import sys, minidl as md\n"
        "for i in range(10**6): md.save({'round': i, 'x': md.full((200_000,), float(i))}, sys.argv[1])"
    )
    for delay in (0.3, 0.35, 0.41, 0.47):
        writer = subprocess.Popen(
            [sys.executable, "-c", code, str(path)], env={**os.environ, "MINIDL_KERNELS": "numpy"}
        )
        time.sleep(delay)
        writer.kill()
        writer.wait()
        state = md.load(path)
        assert (state["x"] == state["round"]).all()
    assert state["round"] > 0, "the writer was killed before it wrote anything"


def test_a_failing_write_keeps_the_old_file(tmp_path, monkeypatch):
    write_whole(tmp_path / "f", b"old")
    monkeypatch.setattr(os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError("no space left on device")))
    with pytest.raises(OSError, match="no space"):
        write_whole(tmp_path / "f", b"new")
    assert [p.name for p in tmp_path.iterdir()] == ["f"] and (tmp_path / "f").read_bytes() == b"old"
