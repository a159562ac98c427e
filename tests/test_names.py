"""Names that public programs expect of PyTorch beyond tensors and layers, and what they do here."""

from __future__ import annotations

import importlib
from collections import OrderedDict
from typing import NamedTuple

import numpy as np
import pytest

import minidl as md
from minidl import nn
from minidl.amp import GradScaler, autocast


@pytest.mark.tiny
def test_switches_that_change_nothing():
    def function(x):
        return x

    assert md.compile(function) is function and md.compile(mode="max-autotune")(function) is function
    assert md.jit.script(function) is function and md.jit.trace(function, None) is function
    assert not md.jit.is_scripting()
    md.set_float32_matmul_precision("high")
    md.backends.cudnn.benchmark = True
    md.backends.cudnn.benchmark = False
    assert not md.backends.mps.is_available() and not md.backends.cudnn.is_available()
    assert repr(md.channels_last) == "torch.channels_last"
    x = md.zeros(1, 1, 2, 2)
    assert x.to(memory_format=md.channels_last) is x and x.pin_memory() is x
    nn.Conv2d(1, 1, 1).to(memory_format=md.channels_last)
    with pytest.raises(RuntimeError, match="precision"):
        md.set_float32_matmul_precision("low")


def test_modules_that_programs_import():
    for name in ("cuda.amp", "amp", "backends.cudnn", "jit", "nn.functional", "nn.init", "nn.utils.rnn", "nn.parallel",
                 "optim.lr_scheduler", "optim.swa_utils", "utils.data", "utils.checkpoint",
                 "distributions", "linalg", "special", "fft", "accelerator", "version"):  # fmt: skip
        assert importlib.import_module(f"minidl.{name}").__doc__, name


def test_devices_without_a_gpu():
    assert md.get_default_device() == md.device("cpu")
    md.set_default_device("cpu")
    if not md.cuda.is_available():
        assert md.accelerator.current_accelerator() is None and not md.accelerator.is_available()
        with pytest.raises(RuntimeError, match="cannot use cuda"):
            md.set_default_device("cuda")


def test_default_tensor_type():
    md.set_default_tensor_type("torch.DoubleTensor")
    try:
        assert md.zeros(1).dtype is md.float64
    finally:
        md.set_default_tensor_type(md.FloatTensor)
    assert md.zeros(1).dtype is md.float32
    with pytest.raises(TypeError, match="LongTensor"):
        md.set_default_tensor_type("torch.LongTensor")


def test_results_can_be_written_into_a_tensor():
    x, out = md.tensor([[1.0, 2.0], [3.0, 4.0]]), md.zeros(2, 2)
    assert md.matmul(x, x, out=out) is out and out.tolist() == [[7, 10], [15, 22]]
    assert md.mul(x, x, out=out).tolist() == [[1, 4], [9, 16]]
    with pytest.raises(RuntimeError, match=r"shape \[2, 2\]"):
        md.add(x, x, out=md.zeros(3))


def test_what_is_not_there_says_so():
    assert not md.distributed.is_available() and md.distributed.get_world_size() == 1
    for use in (
        md.distributed.init_process_group,
        lambda: nn.parallel.DistributedDataParallel(nn.Identity()),
        md.onnx.export,
    ):
        with pytest.raises((RuntimeError, NotImplementedError), match="not there"):
            use()


def test_autocast_on_a_gpu_leaves_the_cpu_alone():
    @autocast("cuda")
    def f(x):
        return x @ x

    with autocast(device_type="cuda", dtype=md.float16, enabled=True), md.cuda.amp.autocast():
        assert f(md.eye(2)).dtype is md.float32
    with pytest.raises(RuntimeError, match="device_type must be 'cpu' or 'cuda', got 'abacus'"):
        autocast("abacus")


def one_step(scaler, gradient):
    w = nn.Parameter(md.ones(2))
    optimizer = md.optim.SGD([w], lr=0.5)
    scaler.scale((w * md.tensor(gradient)).sum()).backward()
    scaler.step(optimizer)
    scaler.update()
    return w.tolist()


def test_gradient_scaling():
    scaler = GradScaler("cpu", init_scale=8.0, growth_interval=2)
    assert one_step(scaler, [1.0, 2.0]) == [0.5, 0.0] and scaler.get_scale() == 8
    assert one_step(scaler, [1.0, float("inf")]) == [1.0, 1.0] and scaler.get_scale() == 4  # left out, and halved
    one_step(scaler, [1.0, 1.0])
    one_step(scaler, [1.0, 1.0])
    assert scaler.get_scale() == 8
    again = GradScaler("cpu")
    again.load_state_dict(scaler.state_dict())
    assert again.get_scale() == 8
    off = GradScaler(enabled=False)
    assert one_step(off, [1.0, 2.0]) == [0.5, 0.0] and off.get_scale() == 1 and off.state_dict() == {}


@pytest.mark.skipif(md.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_the_default_scaler_is_off():
    with pytest.warns(UserWarning, match="Disabling"):
        assert not GradScaler().is_enabled()


def test_gradients_are_divided_once():
    w = nn.Parameter(md.ones(1))
    optimizer, scaler = md.optim.SGD([w], lr=1.0), GradScaler("cpu", init_scale=4.0)
    scaler.scale(w * 2).sum().backward()
    scaler.unscale_(optimizer)
    assert w.grad.tolist() == [2]
    with pytest.raises(RuntimeError, match="already been called"):
        scaler.unscale_(optimizer)
    scaler.step(optimizer)
    assert w.tolist() == [-1]


def test_data_parallel_prefixes_names():
    model = nn.DataParallel(nn.Linear(2, 3), device_ids=[0])
    assert list(model.state_dict()) == ["module.weight", "module.bias"] and model(md.ones(1, 2)).shape == (1, 3)


def test_module_names_of_old():
    layer, seen = nn.Linear(2, 2), []
    layer.register_backward_hook(lambda module, given, got: seen.append(got[0].shape))
    layer(md.ones(1, 2, requires_grad=True)).sum().backward()
    assert seen == [(1, 2)]
    nn.init.constant(layer.weight, 3.0)
    nn.utils.clip_grad_norm(layer.parameters(), 1.0)
    empty = nn.Linear(2, 2).to_empty(device="cpu")
    assert empty.weight.tolist() == [[0, 0], [0, 0]]
    x = md.tensor([-1.0, 2.0])
    assert nn.functional.relu_(x) is x and x.tolist() == [0, 2]


def test_fourier_transforms():
    x = md.tensor([1.0, 2.0, 3.0, 4.0])
    f = md.fft.fft(x)
    assert f.dtype is md.complex64
    np.testing.assert_allclose(f.numpy(), np.fft.fft(x.numpy()), rtol=1e-6)
    np.testing.assert_allclose(md.fft.irfft(md.fft.rfft(x)).numpy(), x.numpy(), rtol=1e-6)
    image = md.arange(12.0).reshape(3, 4)
    np.testing.assert_allclose(md.fft.ifft2(md.fft.fft2(image)).real.numpy(), image.numpy(), atol=1e-6)
    assert md.fft.fftshift(md.fft.fftfreq(4)).tolist() == [-0.5, -0.25, 0, 0.25]


def test_trees_of_containers():
    from minidl.utils import _pytree as trees

    class Pair(NamedTuple):
        a: object
        b: object

    tree = {"x": [1, (2, Pair(3, [4]))], "y": OrderedDict(z=5), "w": {}}
    leaves, shape = trees.tree_flatten(tree)
    assert leaves == [1, 2, 3, 4, 5] == trees.tree_leaves(tree) and shape.num_leaves == 5
    again = trees.tree_unflatten(leaves, shape)
    assert again == tree and type(again["x"][1][1]) is Pair and type(again["y"]) is OrderedDict
    assert trees.tree_map(lambda a, b: a + b, tree, tree)["x"] == [2, (4, Pair(6, [8]))]
    assert trees.tree_map_only(int, str, [1, 2.5]) == ["1", 2.5]
    assert trees.tree_flatten([(1, 2), 3], is_leaf=lambda t: isinstance(t, tuple))[0] == [(1, 2), 3]
    with pytest.raises(ValueError, match="2 leaves for a tree of 5"):
        trees.tree_unflatten([1, 2], shape)


def test_weights_by_their_address(tmp_path, monkeypatch):
    from minidl.utils import model_zoo

    url = "https://example.org/models/net-1234.pth?download=1"
    with pytest.raises(FileNotFoundError, match=r"net-1234\.pth is not there; get it from"):
        model_zoo.load_url(url, tmp_path)
    md.save({"w": md.ones(2)}, tmp_path / "net-1234.pth")
    assert model_zoo.load_url(url, tmp_path)["w"].tolist() == [1, 1]
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    md.save({"w": md.zeros(1)}, tmp_path / "hub" / "checkpoints" / "other.pth")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert model_zoo.load_url(url, file_name="other.pth")["w"].tolist() == [0]


def test_functions_under_autocast():
    from minidl.amp import custom_bwd, custom_fwd, is_autocast_available, is_autocast_enabled

    states = []

    class Half(md.autograd.Function):
        @staticmethod
        @custom_fwd(device_type="cuda")
        def forward(ctx, x):
            states.append(is_autocast_enabled())
            return x * 2

        @staticmethod
        @custom_bwd(device_type="cuda")
        def backward(ctx, g):
            states.append(is_autocast_enabled())
            return g * 2

    class Full(Half):
        @staticmethod
        @custom_fwd(cast_inputs=md.float32)
        def forward(ctx, x):
            states.append((is_autocast_enabled(), x.dtype))
            return x.double()

    x = md.ones(2, dtype=md.float64, requires_grad=True)
    with autocast("cuda"):
        y = Half.apply(x)
        Full.apply(x).sum().backward()
    y.sum().backward()
    assert states == [True, (False, md.float32), False, True] and not is_autocast_enabled()
    assert is_autocast_available("cpu") and not is_autocast_available("abacus")
