"""Optimizers against real PyTorch: ten steps, groups, state."""

import copy
import pickle

import numpy as np
import pytest

import minidl
from minidl import optim

torch = pytest.importorskip("torch")

CASES = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.2, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "maximize": True}),
    ("Adam", {"lr": 0.01}),
    ("Adam", {"lr": 0.01, "betas": (0.8, 0.9), "weight_decay": 0.1, "amsgrad": True, "maximize": True}),
    ("AdamW", {"lr": 0.01, "weight_decay": 0.1}),
    ("AdamW", {"lr": 0.01, "amsgrad": True, "eps": 1e-4}),
    ("RMSprop", {"lr": 0.01}),
    ("RMSprop", {"lr": 0.01, "alpha": 0.9, "momentum": 0.5, "centered": True, "weight_decay": 0.1}),
]


def values(seed, dtype):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(dtype) for shape in ((3, 4), (4,), ())]


def make(lib, name, options, dtype="float32"):
    params = [lib.nn.Parameter(lib.tensor(v)) for v in values(0, dtype)]
    groups = [{"params": params[:2]}, {"params": params[2:], "lr": 0.03}]
    return params, getattr(lib.optim, name)(groups, **options)


def set_grads(lib, params, seed):
    for p, g in zip(params, values(seed, "float32"), strict=True):
        p.grad = lib.tensor(g)


def run(lib, params, optimizer, seeds):
    for seed in seeds:
        set_grads(lib, params, seed)
        optimizer.step()


def assert_same(ours, theirs):
    for p, t in zip(ours, theirs, strict=True):
        # float32: the order of operations differs from torch's in the last places
        np.testing.assert_allclose(p.detach().numpy(), t.detach().numpy(), rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_ten_steps_as_torch(name, options):
    p, o = make(minidl, name, options)
    tp, to = make(torch, name, options)
    run(minidl, p, o, range(1, 11))
    run(torch, tp, to, range(1, 11))
    assert_same(p, tp)
    assert repr(o) == repr(to)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_state_round_trip(name, options):
    p, o = make(minidl, name, options)
    _, to = make(torch, name, options)
    run(minidl, p, o, range(1, 4))
    run(torch, to.param_groups[0]["params"] + to.param_groups[1]["params"], to, range(1, 4))
    state, torch_state = o.state_dict(), to.state_dict()
    assert state["param_groups"] == torch_state["param_groups"]
    ours = {i: set(s) for i, s in state["state"].items()}
    assert ours == {i: {k for k, v in s.items() if v is not None} for i, s in torch_state["state"].items() if s}
    q, fresh = make(minidl, name, {"lr": 1.0})
    for a, b in zip(q, p, strict=True):
        a.data.copy_(b.data)
    fresh.load_state_dict(pickle.loads(pickle.dumps(state)))
    run(minidl, p, o, range(4, 8))
    run(minidl, q, fresh, range(4, 8))
    for a, b in zip(q, p, strict=True):
        assert a.tolist() == b.tolist()


def test_parameters_without_gradient_are_left_alone():
    p, o = make(minidl, "Adam", {"lr": 0.1})
    before = p[1].tolist()
    p[0].grad = minidl.ones(3, 4)
    o.step()
    assert p[1].tolist() == before
    assert set(o.state) == {p[0]}


def test_a_step_is_an_in_place_change():
    w = minidl.ones(2, requires_grad=True)
    shared = w.detach()
    loss = (w * w).sum()
    o = optim.SGD([w], lr=0.5)
    w.grad = minidl.ones(2)
    o.step()
    assert shared.tolist() == [0.5, 0.5]
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_closure_and_hooks():
    w = minidl.tensor([3.0], requires_grad=True)
    o = optim.SGD([w], lr=0.1)
    seen = []
    o.register_step_pre_hook(lambda opt, args, kwargs: seen.append("pre"))
    handle = o.register_step_post_hook(lambda opt, args, kwargs: seen.append("post"))

    def closure():
        o.zero_grad()
        loss = (w * w).sum()
        loss.backward()
        return loss

    with minidl.no_grad():
        assert o.step(closure).item() == 9.0
    assert w.item() == pytest.approx(2.4)
    handle.remove()
    o.step(closure)
    assert seen == ["pre", "post", "pre"]


def test_zero_grad():
    p, o = make(minidl, "SGD", {"lr": 0.1})
    set_grads(minidl, p, 1)
    o.zero_grad(set_to_none=False)
    assert p[1].grad.tolist() == [0, 0, 0, 0]
    o.zero_grad()
    assert p[1].grad is None


@pytest.mark.parametrize(
    ("make_it", "error", "message"),
    [
        (lambda w: optim.SGD([w], lr=-1), ValueError, "Invalid learning rate: -1"),
        (
            lambda w: optim.SGD([w], nesterov=True),
            ValueError,
            "Nesterov momentum requires a momentum and zero dampening",
        ),
        (lambda w: optim.Adam([w], betas=(1.0, 0.9)), ValueError, "Invalid beta parameter at index 0: 1.0"),
        (lambda w: optim.Adam([w], eps=-1.0), ValueError, "Invalid epsilon value: -1.0"),
        (lambda w: optim.AdamW([w], weight_decay=-1.0), ValueError, "Invalid weight_decay value: -1.0"),
        (lambda w: optim.RMSprop([w], alpha=-1.0), ValueError, "Invalid alpha value: -1.0"),
        (lambda w: optim.SGD([]), ValueError, "empty parameter list"),
        (lambda w: optim.SGD(w), TypeError, "iterable of Tensors or dicts"),
        (lambda w: optim.SGD([1.0]), TypeError, "one of the params is float"),
        (lambda w: optim.SGD([w * 2]), ValueError, "can't optimize a non-leaf Tensor"),
        (lambda w: optim.SGD([w, w]), ValueError, "more than one parameter group"),
        (lambda w: optim.SGD([{"params": {w}}]), TypeError, "ordered collections"),
        (lambda w: optim.SGD([w], differentiable=True), RuntimeError, "differentiable=True is not supported"),
    ],
)
def test_refusals(make_it, error, message):
    with pytest.raises(error, match=message):
        make_it(minidl.ones(2, requires_grad=True))


def test_load_state_dict_refuses_other_groups():
    _, o = make(minidl, "SGD", {"lr": 0.1})
    state = o.state_dict()
    with pytest.raises(ValueError, match="different number of parameter groups"):
        o.load_state_dict({**state, "param_groups": state["param_groups"][:1]})
    state["param_groups"][0]["params"] = [0]
    with pytest.raises(ValueError, match="doesn't match the size"):
        o.load_state_dict(state)


def test_an_optimizer_with_its_own_step_and_deepcopy():
    class Halve(optim.Optimizer):
        def __init__(self, params):
            super().__init__(params, {})

        @minidl.no_grad()
        def step(self):
            for group in self.param_groups:
                for p in group["params"]:
                    p.mul_(0.5)

    w = minidl.ones(2, requires_grad=True)
    o = Halve([w])
    o.step()
    assert w.tolist() == [0.5, 0.5]
    copied = copy.deepcopy(o)
    copied.step()
    assert w.tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    ("name", "options"), [("SGD", {"momentum": 0.9}), ("Adam", {}), ("AdamW", {"amsgrad": True}), ("RMSprop", {})]
)
def test_what_users_do_between_steps(name, options):
    """Two dtypes, a missing gradient, edits of values and gradients in place, a new learning rate, a new group."""

    def train(lib):
        narrow, wide = (lib.nn.Parameter(lib.tensor(v)) for v in (values(0, "float32")[0], values(1, "float64")[1]))
        late = lib.nn.Parameter(lib.tensor(values(2, "float32")[1]))
        optimizer = getattr(lib.optim, name)([narrow, wide], lr=0.01, **options)
        held = narrow.data
        for step in range(6):
            for i, p in enumerate((narrow, wide, late)):
                rng = np.random.default_rng(10 * step + i)
                p.grad = None if (step, i) == (1, 0) else lib.tensor(rng.standard_normal(p.shape)).to(p.dtype)
            if step == 2:
                narrow.data.mul_(0.5)
                wide.grad.mul_(3)
                optimizer.param_groups[0]["lr"] = 0.05
            if step == 3:
                optimizer.add_param_group({"params": [late], "lr": 0.02})
            if step == 4:
                wide.data = wide.data + 1
            optimizer.step()
        assert held.tolist() == narrow.tolist()
        return [narrow, wide, late]

    assert_same(train(minidl), train(torch))


def test_a_copied_optimizer_and_its_model_go_on_by_themselves():
    model = minidl.nn.Linear(2, 2)
    model.tied = model.weight
    o = optim.Adam(model.parameters(), lr=0.1)
    for p in model.parameters():
        p.grad = minidl.ones(*p.shape)
    o.step()
    twin, twin_o = copy.deepcopy((model, o))
    assert twin.tied is twin.weight
    assert twin_o.param_groups[0]["params"][0] is twin.weight
    before = model.weight.tolist()
    twin_o.step()
    assert model.weight.tolist() == before
    o.step()
    assert model.weight.tolist() == twin.weight.tolist()
