"""save and load: what comes back, what is refused, and that no accident leaves a wrong file or a wrong tensor."""

from __future__ import annotations

import collections
import enum
import io
import os
import pickle
import signal
import subprocess
import sys
import time
from functools import partial

import numpy as np
import pytest

import minidl as md
from minidl import dtypes, nn, optim
from minidl.serialization import write_whole


def same(a, b):
    """Equal values, of equal types, all the way down."""
    assert type(a) is type(b)
    if isinstance(a, md.Tensor):
        assert a.dtype is b.dtype and a.shape == b.shape and a.requires_grad == b.requires_grad
        np.testing.assert_array_equal(a.detach().array, b.detach().array)
    elif isinstance(a, np.ndarray):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
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
        "array": np.arange(4, dtype=np.int16).reshape(2, 2),
        "parameter": nn.Parameter(md.ones(2)),
        "numbers": (1, -2.5, float("inf"), float("nan"), True, None, 2**70, 1e-300),
        "text": "ä\n'\"",
        3: {"nested": collections.OrderedDict(b=1, a=2)},
        "kinds": [md.float64, md.device("cpu"), md.Size([2, 3])],
    }
    md.save(state, tmp_path / "state.pt")
    same(md.load(tmp_path / "state.pt"), state)


def there_and_back(obj):
    file = io.BytesIO()
    md.save(obj, file)
    file.seek(0)
    return md.load(file)


@pytest.mark.tiny
@pytest.mark.parametrize("dtype", dtypes.ALL)
def test_every_dtype_and_shape(dtype):
    for values in (1, [[0, 1], [1, 1]], np.zeros((0, 3))):
        x = md.tensor(values).to(dtypes.ALL[dtype])
        same(there_and_back(x), x)


def test_complex_numbers():
    x = md.tensor([[1 + 2j, -3j]], dtype=md.complex128)
    same(there_and_back([x, x.real, 1 - 2j, complex("inf")]), [x, x.real, 1 - 2j, complex("inf")])
    same(there_and_back(x.t()[1]), x.t()[1])


def test_numbers_of_numpy_become_numbers_of_python():
    same(
        there_and_back({"lr": np.float64(0.1), "n": np.int32(3), "on": np.bool_(True)}), {"lr": 0.1, "n": 3, "on": True}
    )


def test_every_header_length_is_read():
    """640 and 1152 begin with the bytes of a pickle, 19280 with those of a zip archive."""
    seen = set()
    for characters in [*range(0, 1200, 4), *range(18_000, 19_400, 4)]:
        file = io.BytesIO()
        md.save("x" * characters, file)
        seen.add(int.from_bytes(file.getvalue()[:8], "little"))
        file.seek(0)
        assert md.load(file) == "x" * characters
    assert {640, 1152, 19280} <= seen


def test_names_that_the_format_keeps_for_itself():
    state = {
        "__metadata__": md.ones(1),
        "": md.zeros(2),
        "a.b": md.ones(2),
        "a": {"b": md.zeros(1)},
        "\ud800": md.ones(3),
    }
    same(there_and_back(state), state)


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
    assert loaded["b"]._version == loaded["a"]._version == 1


def test_tied_weights_stay_tied():
    embedding, head = nn.Embedding(5, 3), nn.Linear(3, 5, bias=False)
    head.weight = embedding.weight
    state = there_and_back({**embedding.state_dict(), "head": head.state_dict()})
    assert state["head"]["weight"].data_ptr() == state["weight"].data_ptr()
    turned = md.arange(6.0).reshape(2, 3).t()  # the same memory, read otherwise, is another tensor
    same(there_and_back([turned, turned.t()]), [turned, turned.t()])


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


def trained(make_optimizer, make_scheduler):
    """An optimizer and its scheduler after three epochs."""
    md.manual_seed(2)
    weights = [nn.Parameter(md.randn(2, 3)), nn.Parameter(md.randn(3))]
    if make_optimizer is optim.Muon:  # for matrices
        weights.pop()
    optimizer = make_optimizer(weights, lr=0.1)
    scheduler = make_scheduler(optimizer)
    for i in range(3):
        for w in weights:
            w.grad = w.detach() * (i + 1)
        optimizer.step(lambda: md.tensor(1.0))
        scheduler.step(1.0) if isinstance(scheduler, optim.lr_scheduler.ReduceLROnPlateau) else scheduler.step()
    return optimizer, scheduler


L = optim.lr_scheduler
STEP = lambda o: L.StepLR(o, 2)  # noqa: E731
SGD = partial(optim.SGD, momentum=0.9)


@pytest.mark.parametrize(
    "make_optimizer, make_scheduler",
    [
        *(
            (getattr(optim, name), STEP)
            for name in dir(optim)
            if name[0].isupper() and name not in ("Optimizer", "SparseAdam")
        ),
        (SGD, lambda o: L.MultiStepLR(o, [1, 1, 2])),
        (SGD, lambda o: L.LambdaLR(o, lambda epoch: 0.9**epoch)),
        (SGD, lambda o: L.OneCycleLR(o, 0.5, total_steps=10)),
        (SGD, lambda o: L.ReduceLROnPlateau(o, patience=0)),
        (SGD, lambda o: L.CosineAnnealingWarmRestarts(o, 2)),
        (SGD, lambda o: L.SequentialLR(o, [L.LinearLR(o), L.ExponentialLR(o, 0.9)], [2])),
        (SGD, lambda o: L.ChainedScheduler([L.ConstantLR(o), L.PolynomialLR(o)])),
    ],
)
def test_states_of_optimizers_and_schedulers(make_optimizer, make_scheduler):
    for part in trained(make_optimizer, make_scheduler):
        same(there_and_back(part.state_dict()), part.state_dict())


def test_what_cannot_be_written_is_named_and_nothing_is_left(tmp_path):
    with pytest.raises(TypeError, match=r"object at a\.1\.model.*state_dict"):
        md.save({"a": [1, {"model": object()}]}, tmp_path / "x.pt")
    with pytest.raises(TypeError, match="Linear"):
        md.save(nn.Linear(1, 1), tmp_path / "x.pt")
    assert list(tmp_path.iterdir()) == []


class Color(enum.IntEnum):
    RED = 1


@pytest.mark.parametrize(
    "value, kind",
    [
        ({1, 2}, "builtins.set"),
        (np.array([None]), "numpy.ndarray"),
        (b"x", "builtins.bytes"),
        (Color.RED, "Color"),
        (collections.namedtuple("Pair", "x y")(1, 2), "Pair"),
        (collections.defaultdict(int), "collections.defaultdict"),
        (print, "builtin_function_or_method"),
    ],
)
def test_no_type_is_changed_silently(value, kind):
    with pytest.raises(TypeError, match=rf"{kind} at options\.1: a file holds"):
        md.save({"options": [0, value]}, io.BytesIO())


def test_map_location(tmp_path):
    md.save({"x": md.ones(2)}, tmp_path / "x.pt")
    for place in ("cpu", md.device("cpu"), None):
        assert md.load(tmp_path / "x.pt", map_location=place)["x"].device == md.device("cpu")
    with pytest.raises(RuntimeError, match="device type"):
        md.load(tmp_path / "x.pt", map_location="tpu")
    if not md.cuda.is_available():
        with pytest.raises(RuntimeError, match="cannot use cuda: CuPy"):
            md.load(tmp_path / "x.pt", map_location="cuda")


@pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions")
def test_files_keep_their_mode_links_their_target_and_devices_their_nature(tmp_path):
    before = os.umask(0o022)
    try:
        md.save(1, tmp_path / "new.pt")
        assert (tmp_path / "new.pt").stat().st_mode & 0o777 == 0o644
        (tmp_path / "new.pt").chmod(0o600)
        (tmp_path / "link.pt").symlink_to("new.pt")
        md.save(2, tmp_path / "link.pt")
    finally:
        os.umask(before)
    assert (tmp_path / "link.pt").is_symlink() and md.load(tmp_path / "new.pt") == 2
    assert (tmp_path / "new.pt").stat().st_mode & 0o777 == 0o600
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    md.save(3, tmp_path / "pipe")
    assert md.load(io.BytesIO(os.read(reader, 10_000))) == 3
    os.close(reader)
    with pytest.raises(IsADirectoryError):
        md.save(4, tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere; make it first"):
        md.save(5, tmp_path / "nowhere" / "x.pt")


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


def damages(data):
    """Every single bit flipped, and 300 times a few bytes replaced."""
    for position in range(len(data)):
        for bit in range(8):
            yield position, bytes([data[position] ^ 1 << bit])
    rng = np.random.default_rng(0)
    for _ in range(300):
        width = int(rng.integers(1, 8))
        yield int(rng.integers(0, len(data) - width)), rng.bytes(width)


def test_damage_is_never_read_as_a_weight():
    original = {"weights": md.arange(20.0), "counts": md.ones(1, 2, dtype=md.int32), "step": 3, "lr": 0.125}
    file = io.BytesIO()
    md.save(original, file)
    data, harmless = file.getvalue(), 0
    for position, replacement in damages(data):
        damaged = data[:position] + replacement + data[position + len(replacement) :]
        try:
            loaded = md.load(io.BytesIO(damaged))
        except RuntimeError as error:
            assert "damaged" in str(error) or "run code" in str(error)
        else:
            same(loaded, original)  # a blank that became another, say
            harmless += 1
    assert harmless < 0.02 * 8 * len(data)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_a_process_killed_between_writing_and_renaming(tmp_path):
    path = tmp_path / "state.pt"
    md.save("old", path)
    code = (
        "import os, sys, time, minidl as md\n"
        "os.fsync = lambda descriptor: (print('written', flush=True), time.sleep(60))\n"
        "md.save('new', sys.argv[1])"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout.readline().strip() == b"written"
        writer.kill()
    assert md.load(path) == "old"
    md.save("newer", path)
    assert md.load(path) == "newer"


@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files as Linux does")
def test_a_full_disk_keeps_the_old_file(tmp_path):
    path = tmp_path / "state.pt"
    md.save("old", path)
    code = (
        "import resource, sys, minidl as md\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))\n"
        "md.save(md.zeros(10_000), sys.argv[1])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True)
    assert "File too large" in done.stderr
    assert md.load(path) == "old" and [p.name for p in tmp_path.iterdir()] == ["state.pt"]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_a_process_killed_at_any_moment_leaves_a_whole_file(tmp_path):
    path = tmp_path / "state.pt"
    code = (
        "import sys, minidl as md\n"
        "for i in range(10**6): md.save({'round': i, 'x': md.full((200_000,), float(i))}, sys.argv[1])"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], env={**os.environ, "MINIDL_KERNELS": "numpy"}
    ) as writer:
        deadline = time.monotonic() + 60
        while not path.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        seen = []
        for _ in range(30):  # while it is written again and again, it can always be read
            state = md.load(path)
            assert (state["x"] == state["round"]).all()
            seen.append(state["round"])
        writer.kill()
    state = md.load(path)
    assert (state["x"] == state["round"]).all()
    assert state["round"] >= seen[-1] > seen[0], "the writer stood still"


def test_a_failing_write_keeps_the_old_file(tmp_path, monkeypatch):
    write_whole(tmp_path / "f", b"old")
    monkeypatch.setattr(os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError("no space left on device")))
    with pytest.raises(OSError, match="no space"):
        write_whole(tmp_path / "f", b"new")
    assert [p.name for p in tmp_path.iterdir()] == ["f"] and (tmp_path / "f").read_bytes() == b"old"


def test_safetensors_both_ways(tmp_path):
    """What others wrote is read in the order of its header; a state_dict from here is read by others."""
    torch = pytest.importorskip("torch")
    from safetensors import torch as theirs

    tensors = {
        "half": torch.tensor([1.5, -2.0]).half(), "brain": torch.tensor([[1.5], [-2.0]]).bfloat16(), "n": torch.tensor(7),
        "z": torch.tensor([1 + 2j]), "empty": torch.zeros(0, 3), "bits": torch.tensor([True, False]),
    }  # fmt: skip
    theirs.save_file(tensors, tmp_path / "theirs.safetensors", {"format": "pt"})
    loaded = md.load(tmp_path / "theirs.safetensors")
    assert set(loaded) == set(tensors)
    for name, t in tensors.items():
        assert loaded[name].tolist() == t.tolist() and loaded[name].shape == t.shape
        assert str(loaded[name].dtype) == str(t.dtype)
    loaded["half"].add_(1)  # the memory is its own
    header = (tmp_path / "theirs.safetensors").read_bytes()
    assert sorted(loaded, key=lambda name: header.index(f'"{name}"'.encode())) == list(loaded)
    model = md.nn.Sequential(md.nn.Linear(2, 3), md.nn.BatchNorm1d(3))
    md.save(model.state_dict(), tmp_path / "ours.safetensors")
    back = theirs.load_file(tmp_path / "ours.safetensors")
    assert {name: t.tolist() for name, t in back.items()} == {n: t.tolist() for n, t in model.state_dict().items()}
    theirs.save_file({"small": torch.zeros(2).to(torch.float8_e4m3fn)}, tmp_path / "f8")
    with pytest.raises(RuntimeError, match="small holds numbers of type F8_E4M3"):
        md.load(tmp_path / "f8")
