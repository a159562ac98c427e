"""Module against real PyTorch's text, errors and order; hooks; copies."""

import copy
import pickle
from collections import OrderedDict

import numpy as np
import pytest

import minidl
from minidl import nn

torch = pytest.importorskip("torch")


def net(lib):
    class Net(lib.nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = lib.nn.Linear(3, 4)
            self.act = lib.nn.ReLU()
            self.blocks = lib.nn.ModuleList(lib.nn.Linear(4, 4, bias=False) for _ in range(3))
            self.head = self.fc  # shared
            self.register_buffer("scale", lib.ones(2))
            self.register_buffer("scratch", lib.zeros(1), persistent=False)
            self.gain = lib.nn.Parameter(lib.ones(1))

        def forward(self, x):
            x = self.act(self.fc(x))
            for block in self.blocks:
                x = block(x)
            return x * self.gain

    return Net()


def test_walks_and_text_as_torch():
    ours, theirs = net(minidl), net(torch)
    assert repr(ours) == repr(theirs)
    for walk in ("named_parameters", "named_modules", "named_buffers", "named_children"):
        assert [name for name, _ in getattr(ours, walk)()] == [name for name, _ in getattr(theirs, walk)()]
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert ours.get_submodule("blocks.1") is ours.blocks[1]
    assert ours.get_parameter("blocks.1.weight") is ours.blocks[1].weight


@pytest.mark.parametrize(
    "build",
    [
        lambda nn: nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.ReLU(True), nn.Dropout(0.1)), nn.Flatten()),
        lambda nn: nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2), nn.Tanh()]),
        lambda nn: nn.ModuleDict({"a": nn.Identity(), "b": nn.Bilinear(1, 2, 3)}),
        lambda nn: nn.Sequential(nn.Sequential(), nn.ModuleList(), nn.Unflatten(1, (2, 3))),
        lambda nn: nn.Sequential(nn.Softmax(dim=1), nn.Softplus(), nn.PReLU(), nn.GELU(), nn.Hardshrink(), nn.GLU()),
        lambda nn: nn.Sequential(nn.LeakyReLU(0.2, True), nn.ELU(), nn.Hardtanh(), nn.ReLU6(), nn.Threshold(0.1, 20)),
        lambda nn: nn.Sequential(nn.RReLU(), nn.SELU(), nn.SiLU(), nn.Hardswish(), nn.LogSoftmax(-1), nn.Softmin()),
        lambda nn: nn.Sequential(nn.LayerNorm(8), nn.RMSNorm((2, 8)), nn.GroupNorm(2, 4), nn.BatchNorm2d(3)),
        lambda nn: nn.Sequential(nn.Embedding(10, 3, padding_idx=0, max_norm=1.0), nn.CrossEntropyLoss(), nn.MSELoss()),
        lambda nn: nn.Module(),
    ],
)
def test_repr_as_torch(build):
    assert repr(build(nn)) == repr(build(torch.nn))


def test_parameter_containers_print_as_torch():
    for lib in (minidl, torch):
        lib.texts = [
            repr(lib.nn.ParameterList([lib.ones(2, 3), lib.ones(4)])),
            repr(lib.nn.ParameterDict({"a": lib.ones(2)})),
            repr(lib.nn.Parameter(lib.ones(2))),
        ]
    ours, theirs = minidl.__dict__.pop("texts"), torch.__dict__.pop("texts")
    assert [t.replace("torch.FloatTensor", "torch.float32") for t in theirs] == ours


def test_load_state_dict_errors_as_torch():
    messages = []
    for lib in (minidl, torch):
        state = net(lib).state_dict()
        del state["fc.bias"]
        state["gain"] = lib.ones(2)
        state["other"] = state["blocks.7.weight"] = lib.ones(1)
        with pytest.raises(RuntimeError) as caught:
            net(lib).load_state_dict(state)
        messages.append(str(caught.value))
        del state["gain"]
        result = net(lib).load_state_dict(state, strict=False)
        messages.append(repr(result))
    assert messages[:2] == messages[2:]


def test_state_dict_round_trip():
    source, target = net(minidl), net(minidl)
    weight = target.fc.weight
    assert repr(target.load_state_dict(source.state_dict())) == "<All keys matched successfully>"
    assert target.fc.weight is weight
    assert weight.tolist() == source.fc.weight.tolist()
    assert weight.requires_grad
    assert "scratch" not in source.state_dict()
    target.load_state_dict(source.state_dict(), assign=True)
    assert isinstance(target.fc.weight, nn.Parameter)
    assert target.fc.weight.array is source.fc.weight.array


def test_attribute_errors():
    class Early(nn.Module):
        def __init__(self, value):
            self.x = value

    for value, what in ((nn.Identity(), "module"), (nn.Parameter(minidl.ones(1)), "parameters")):
        with pytest.raises(AttributeError, match=rf"cannot assign {what} before Module.__init__\(\) call"):
            Early(value)
    m = net(minidl)
    with pytest.raises(AttributeError, match="'Net' object has no attribute 'x'"):
        _ = m.x
    with pytest.raises(TypeError, match=r"cannot assign 'int' as parameter 'gain' \(torch.nn.Parameter or None"):
        m.gain = 3
    with pytest.raises(TypeError, match=r"cannot assign 'int' as child module 'fc' \(torch.nn.Module or None"):
        m.fc = 3
    with pytest.raises(TypeError, match=r"cannot assign 'int' as buffer 'scale'"):
        m.scale = 3
    with pytest.raises(KeyError, match="attribute 'act' already exists"):
        m.register_buffer("act", minidl.ones(1))
    with pytest.raises(KeyError, match=r"name can.*t contain"):
        m.register_parameter("a.b", None)
    with pytest.raises(ValueError, match="Cannot assign non-leaf Tensor"):
        p = nn.Parameter(minidl.ones(1))
        p.node = (minidl.ones(1, requires_grad=True) * 2).node
        m.register_parameter("p", p)
    with pytest.raises(NotImplementedError, match='missing the required "forward"'):
        nn.Module()(1)


def test_reassignment_changes_the_kind():
    m = nn.Module()
    m.a = minidl.ones(1)
    assert not list(m.parameters())
    m.a = nn.Parameter(minidl.ones(1))
    assert [n for n, _ in m.named_parameters()] == ["a"]
    m.a = nn.Identity()
    assert not list(m.parameters())
    assert "a" in dict(m.named_children())
    del m.a
    assert not hasattr(m, "a")
    m.b = nn.Buffer(minidl.ones(1), persistent=False)
    assert [n for n, _ in m.named_buffers()] == ["b"]
    assert not m.state_dict()


def test_modes_and_conversion():
    m = net(minidl)
    m.eval()
    assert not any(module.training for module in m.modules())
    m.requires_grad_(False)
    assert not any(p.requires_grad for p in m.parameters())
    weight = m.fc.weight
    m.double()
    assert m.fc.weight is weight
    assert weight.dtype == minidl.float64
    assert m.scale.dtype == minidl.float64
    m.register_buffer("count", minidl.tensor(3))
    m.to(minidl.float32)
    assert m.count.dtype == minidl.int64
    with pytest.raises(TypeError, match="only accepts floating point"):
        m.to(minidl.int64)


def test_pickle_and_deepcopy():
    m = net(minidl)
    for other in (copy.deepcopy(m), pickle.loads(pickle.dumps(nn.Sequential(nn.Linear(2, 2), nn.Tanh())))):
        assert all(isinstance(p, nn.Parameter) and p.requires_grad for p in other.parameters())
    copied = copy.deepcopy(m)
    assert copied.head is copied.fc
    assert copied.fc.weight is not m.fc.weight
    assert copied.fc.weight.tolist() == m.fc.weight.tolist()


def test_forward_hooks():
    m, seen = nn.Identity(), []
    pre = m.register_forward_pre_hook(lambda module, args: (args[0] + 1,))
    m.register_forward_hook(lambda module, args, output: seen.append(output.item()))
    m.register_forward_hook(lambda module, args, kwargs, output: output * 2, with_kwargs=True)
    m.register_forward_hook(lambda module, args, output: seen.append("first"), prepend=True)
    assert m(minidl.tensor(1.0)).item() == 4.0
    assert seen == ["first", 2.0]
    pre.remove()
    assert m(minidl.tensor(1.0)).item() == 2.0


def test_full_backward_hooks_as_torch():
    results = []
    for lib in (minidl, torch):
        layer = lib.nn.Linear(2, 1, bias=False)
        with lib.no_grad():
            layer.weight.copy_(lib.tensor([[2.0, 3.0]]))
        seen = []

        def hook(module, grad_input, grad_output, seen=seen):
            seen.append([g if g is None else g.tolist() for g in (*grad_input, *grad_output)])
            return (None,) if grad_input[0] is None else (grad_input[0] * 10,)

        handle = layer.register_full_backward_hook(hook)
        layer.register_full_backward_pre_hook(lambda module, grad_output: (grad_output[0] * 2,))
        x = lib.ones(3, 2, requires_grad=True)
        layer(x).sum().backward()
        handle.remove()
        results.append((seen, x.grad.tolist(), layer.weight.grad.tolist()))
    assert results[0] == results[1]


def test_containers():
    s = nn.Sequential(OrderedDict(a=nn.Linear(2, 3), b=nn.ReLU()))
    assert s.a is s[0]
    assert list(s[:1]._modules) == ["a"]
    s = nn.Sequential(nn.Identity(), nn.ReLU()).append(nn.Tanh()).insert(0, nn.Sigmoid())
    assert [type(m).__name__ for m in s] == ["Sigmoid", "Identity", "ReLU", "Tanh"]
    del s[1]
    assert list(s._modules) == ["0", "1", "2"]
    assert len(s + s) == 6
    with pytest.raises(IndexError):
        s[3]
    with pytest.raises(TypeError, match="is not a Module subclass"):
        nn.Sequential(3)
    p = nn.ParameterList([minidl.ones(2)])
    p.append(minidl.zeros(3))
    assert [n for n, _ in p.named_parameters()] == ["0", "1"]
    d = nn.ModuleDict({"x": nn.ReLU()})
    d["y"] = nn.Tanh()
    assert list(d) == ["x", "y"]
    assert d.pop("x").__class__ is nn.ReLU


def test_clip_and_vectors():
    params = [nn.Parameter(minidl.ones(2, 2)), nn.Parameter(minidl.ones(3))]
    params[0].grad, params[1].grad = minidl.full((2, 2), 3.0), minidl.full((3,), -4.0)
    norm = nn.utils.clip_grad_norm_(params, 1.0)
    assert norm.item() == pytest.approx(84**0.5)
    assert nn.utils.get_total_norm([p.grad for p in params]).item() == pytest.approx(1.0, rel=1e-5)
    nn.utils.clip_grad_value_(params, 0.1)
    assert float(params[1].grad.array.min()) == pytest.approx(-0.1)
    params[1].grad = minidl.full((3,), float("inf"))
    with pytest.raises(RuntimeError, match="non-finite"):
        nn.utils.clip_grad_norm_(params, 1.0, error_if_nonfinite=True)
    vector = nn.utils.parameters_to_vector(params)
    nn.utils.vector_to_parameters(vector * 2, params)
    assert params[1].tolist() == [2, 2, 2]
    with pytest.raises(RuntimeError, match="have 7 elements, the vector 8"):
        nn.utils.vector_to_parameters(minidl.ones(8), params)


def test_embedding_rows_and_pretrained():
    e = nn.Embedding(4, 3, padding_idx=-1)
    assert e.weight[3].tolist() == [0, 0, 0]
    frozen = nn.Embedding.from_pretrained(minidl.ones(2, 3))
    assert not frozen.weight.requires_grad
    assert np.array_equal(frozen(minidl.tensor([1])).numpy(), [[1, 1, 1]])
