"""minidl.cuda on the device: streams, events, memory, properties, graphs."""

from __future__ import annotations

import numpy as np
import pytest

import minidl as md
from minidl import nn
from minidl.nn import functional as F


def test_the_device_describes_itself(device):
    cuda = md.cuda
    assert cuda.is_available() and cuda.is_initialized() and cuda.device_count() >= 1 and cuda.current_device() == 0
    cuda.init()
    name, properties = cuda.get_device_name(), cuda.get_device_properties("cuda:0")
    assert name and properties.name == name and properties.total_memory > 2**30 and name in repr(properties)
    assert cuda.get_device_capability() == (properties.major, properties.minor) >= (3, 0)
    assert cuda.is_bf16_supported()
    assert cuda.is_bf16_supported(including_emulation=False) is (cuda.get_device_capability() >= (8, 0))
    cuda.set_device(0)
    with cuda.device(0), cuda.device("cuda"):
        assert cuda.current_device() == 0
    cuda.synchronize()
    assert md.accelerator.current_accelerator() == md.device("cuda:0")
    state = cuda.get_rng_state()
    cuda.manual_seed_all(3)
    first = md.rand(2, device=device)
    md.manual_seed(3)
    assert md.rand(2).tolist() == first.tolist()
    cuda.set_rng_state(state)


def test_streams_and_events(device):
    cuda = md.cuda
    x = md.ones(100, device=device)
    side, start, end = cuda.Stream(), cuda.Event(enable_timing=True), cuda.Event(enable_timing=True)
    main = cuda.current_stream()
    assert (
        main == cuda.default_stream() != side and hash(main) == hash(cuda.default_stream()) and "Stream" in repr(side)
    )
    side.wait_stream(main)
    with cuda.stream(side):
        assert cuda.current_stream() == side
        start.record()
        y = x * 2
        end.record()
    with cuda.stream(None):
        assert cuda.current_stream() == main
    main.wait_event(end)
    end.wait(main)
    assert y.sum().item() == 200
    end.synchronize()
    assert end.query() and side.query() and 0 <= start.elapsed_time(end) < 60_000
    side.synchronize()
    assert isinstance(side.record_event(), cuda.Event)
    for early in (lambda: cuda.Event().elapsed_time(end), lambda: cuda.Event(enable_timing=True).elapsed_time(end)):
        with pytest.raises(RuntimeError, match="must be recorded"):
            early()
    cuda.set_stream(main)
    assert cuda.current_stream() == main


def test_memory(device):
    cuda = md.cuda
    cuda.empty_cache()
    cuda.reset_peak_memory_stats()
    before, peak = cuda.memory_allocated(), cuda.max_memory_allocated()
    assert peak == before
    x = md.zeros(2**20, device=device)  # 4 MiB
    assert cuda.memory_allocated() - before >= 2**22
    del x
    assert cuda.memory_allocated() == before and cuda.max_memory_allocated() >= before + 2**22
    assert cuda.memory_reserved() >= before and cuda.max_memory_reserved() >= cuda.memory_allocated()
    free, total = cuda.mem_get_info()
    assert 0 < free <= total
    assert "most at a time" in cuda.memory_summary() and "MiB" in cuda.memory_summary()


# ---------------------------------------------------------------------------------------------------------------------
# Graphs


def test_a_graph_repeats_its_work_on_new_values(device):
    model = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.GELU(), nn.Linear(8, 3)).to(device)
    x = md.ones(5, 4, device=device)
    with md.no_grad():
        model(x)
        g = md.cuda.CUDAGraph()
        with md.cuda.graph(g):
            assert md.cuda.is_current_stream_capturing()
            y = model(x)
        assert not md.cuda.is_current_stream_capturing()
        for k in range(3):
            batch = md.randn(5, 4, device=device)
            x.copy_(batch)
            g.replay()
            md.cuda.synchronize()
            assert md.allclose(y, model(batch), atol=1e-5), f"replay {k}"
    with pytest.raises(RuntimeError, match="recorded already"), md.cuda.graph(g):
        pass
    g.reset()
    with pytest.raises(RuntimeError, match="nothing was recorded"):
        g.replay()


def test_a_whole_training_step_is_recorded(device):
    md.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).to(device)
    twin = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).to(device)
    twin.load_state_dict(model.state_dict())
    x, y = md.randn(6, 4, device=device), (md.arange(6) % 3).to(device)

    def step(model):
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        with md.no_grad():
            for p in model.parameters():
                p.sub_(p.grad, alpha=0.1)
                p.grad.zero_()
        return loss.detach()

    for _ in range(2):
        step(model)
    for _ in range(2):
        step(twin)
    g = md.cuda.CUDAGraph()
    with md.cuda.graph(g):
        loss = step(model)
    for _ in range(4):
        g.replay()
        wanted = step(twin)
        md.cuda.synchronize()
        assert abs(loss.item() - wanted.item()) < 1e-5
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        assert md.allclose(p, q, atol=1e-5)


CAPTURABLE = {  # all that have the option in PyTorch
    "Adam": lambda p, **o: md.optim.Adam(p, 0.01, **o),
    "Adam with its options": lambda p, **o: md.optim.Adam(p, 0.01, amsgrad=True, weight_decay=0.1, **o),
    "AdamW": lambda p, **o: md.optim.AdamW(p, 0.01, **o),
    "Adamax": lambda p, **o: md.optim.Adamax(p, 0.01, weight_decay=0.1, **o),
    "NAdam": lambda p, **o: md.optim.NAdam(p, 0.01, **o),
    "RAdam": lambda p, **o: md.optim.RAdam(p, 0.01, betas=(0.9, 0.6), **o),  # its two cases: at first, and later
    "RAdam, rectified": lambda p, **o: md.optim.RAdam(p, 0.01, betas=(0.9, 0.99), **o),
    "RMSprop": lambda p, **o: md.optim.RMSprop(p, 0.01, momentum=0.9, centered=True, **o),
    "Adadelta": lambda p, **o: md.optim.Adadelta(p, **o),
    "ASGD": lambda p, **o: md.optim.ASGD(p, 0.01, lambd=0.01, t0=3, **o),
    "Rprop": lambda p, **o: md.optim.Rprop(p, 0.01, **o),
}


@pytest.mark.parametrize("name", [*CAPTURABLE, "SGD"])
def test_a_step_with_its_optimizer_is_recorded(device, name):
    md.manual_seed(0)
    models = [nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).to(device) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    x, y = md.randn(6, 4, device=device), (md.arange(6) % 3).to(device)
    if name == "SGD":
        optimizers = [md.optim.SGD(model.parameters(), 0.1, momentum=0.9) for model in models]
    else:  # the twin counts on the CPU
        optimizers = [
            CAPTURABLE[name](m.parameters(), capturable=c) for m, c in zip(models, (True, False), strict=True)
        ]

    def step(model, optimizer):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    for model, optimizer in zip(models, optimizers, strict=True):
        for _ in range(2):
            step(model, optimizer)
    g = md.cuda.CUDAGraph()
    with md.cuda.graph(g):
        loss = step(models[0], optimizers[0])
    for _ in range(6):
        g.replay()
        wanted = step(models[1], optimizers[1])
        assert abs(loss.item() - wanted.item()) < 1e-5
    for p, q in zip(*(model.parameters() for model in models), strict=True):
        assert md.allclose(p, q, atol=1e-5)
        ours, theirs = (o.state[t] for o, t in zip(optimizers, (p, q), strict=True))
        assert ours.keys() == theirs.keys()
        for key in ours:
            np.testing.assert_allclose(
                *(md.as_tensor(s[key]).cpu().numpy() for s in (ours, theirs)), rtol=1e-4, atol=1e-6
            )
        assert name == "SGD" or (ours["step"].is_cuda and ours["step"].item() == 8)


@pytest.mark.parametrize("name", [*CAPTURABLE, "SGD"])
def test_a_state_cannot_begin_in_a_graph(device, name):
    x = md.ones(3, device=device, requires_grad=True)
    x.sum().backward()
    make = CAPTURABLE.get(name, lambda p, **o: md.optim.SGD(p, 0.1, momentum=0.9))
    optimizer, g = make([x], capturable=True), md.cuda.CUDAGraph()
    with pytest.raises(RuntimeError, match=f"first step of {name.split(maxsplit=1)[0].strip(',')}.*take one before"):
        with md.cuda.graph(g):
            optimizer.step()
    optimizer.step()  # nothing was left behind
    assert md.isfinite(x.detach()).all().item()


@pytest.mark.parametrize("name", [*CAPTURABLE, "Adagrad", "Adafactor", "Muon", "LBFGS", "SparseAdam"])
def test_an_optimizer_that_cannot_be_recorded_says_so(device, name):
    x = md.ones(3, 3, device=device, requires_grad=True)
    x.sum().backward()
    optimizer = CAPTURABLE[name]([x]) if name in CAPTURABLE else getattr(md.optim, name)([x])
    why = "counts its steps on the CPU.*capturable=True" if name in CAPTURABLE else "cannot be recorded"
    with (
        pytest.raises(RuntimeError, match=f"{name.split(maxsplit=1)[0].strip(',')}.*{why}"),
        md.cuda.graph(md.cuda.CUDAGraph()),
    ):
        optimizer.step(lambda: x.sum())


def test_capturable_follows_a_loaded_state(device):
    x = md.ones(3, requires_grad=True)
    x.sum().backward()
    optimizer = md.optim.Adam([x], capturable=True)  # on the CPU it changes nothing
    optimizer.step()
    there = md.ones(3, device=device, requires_grad=True)
    there.sum().backward()
    moved = md.optim.Adam([there])
    moved.load_state_dict(optimizer.state_dict())
    moved.step()
    state = moved.state[there]
    assert state["step"].is_cuda and state["step"].item() == 2.0
    optimizer.step()


@pytest.mark.parametrize(
    ("work", "why"),
    [
        (lambda x: x.sum().item(), "waits for the GPU"),
        (lambda x: x[x > 0], "waits for the GPU"),
        (lambda x: F.dropout(x), "random numbers cannot be recorded"),
        (lambda x: x + md.ones(3).to(x.device), "comes from the CPU"),
        (
            lambda x: md.optim.Adam([x.requires_grad_()]).step(lambda: (x * 1).sum().backward()),
            "counts its steps on the CPU",
        ),
    ],
)
def test_what_cannot_be_recorded(device, work, why):
    x = md.ones(3, device=device)
    g = md.cuda.CUDAGraph()
    with pytest.raises(RuntimeError, match=why), md.cuda.graph(g):
        work(x)
    assert not md.cuda.is_current_stream_capturing() and md.cuda.current_stream() == md.cuda.default_stream()
    assert (x.detach() + 1).tolist() == [2.0, 2.0, 2.0]  # the device works on
    with pytest.raises(RuntimeError, match="nothing was recorded"):
        g.replay()


def test_graphed_callables(device):
    md.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2)).to(device)
    twin = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2)).to(device)
    twin.load_state_dict(model.state_dict())
    sample = md.randn(3, 4, device=device, requires_grad=True)
    graphed = md.cuda.make_graphed_callables(model, (sample,))
    assert graphed is model
    for _ in range(3):
        x = md.randn(3, 4, device=device)
        a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
        (graphed(a) * 3).square().sum().backward()
        (twin(b) * 3).square().sum().backward()
        assert md.allclose(a.grad, b.grad, atol=1e-4)
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        assert md.allclose(p.grad, q.grad, rtol=1e-4, atol=1e-4)
    with pytest.raises(RuntimeError, match="recorded with an argument of shape \\[3, 4\\]"):
        graphed(md.ones(2, 4, device=device))
    double = md.cuda.make_graphed_callables(lambda x: x * 2, (md.ones(2, device=device),))
    assert double(md.tensor([1.0, 5.0], device=device)).tolist() == [2.0, 10.0]


def test_graphed_callables_say_what_does_not_fit(device):
    x = md.ones(2, device=device)
    double = md.cuda.make_graphed_callables(lambda x: x * 2, (x,))
    with pytest.raises(RuntimeError, match="recorded with 1 arguments, called with 2"):
        double(x, x)
    with pytest.raises(RuntimeError, match="argument 0 requires a gradient, which was not recorded"):
        double(md.ones(2, device=device, requires_grad=True))
    with pytest.raises(RuntimeError, match=r"on cuda:0, called with .* on cpu"):
        double(md.ones(2))
    with pytest.raises(RuntimeError, match=r"sample argument 0 is of shape \[2\] on cpu; .* move it there"):
        md.cuda.make_graphed_callables(lambda x: x * 2, (md.ones(2),))
    with pytest.raises(RuntimeError, match="sample argument 0 is a float"):
        md.cuda.make_graphed_callables(lambda x: x * 2, (2.0,))
    with pytest.raises(RuntimeError, match=r"parameter 0 is of shape \[3, 2\] on cpu"):
        md.cuda.make_graphed_callables(nn.Linear(2, 3), (x,))
    for layer in (nn.Dropout(0.5).to(device), lambda x: x.sum().item() * x):
        with pytest.raises(RuntimeError, match=r"random numbers cannot be recorded|waits for the GPU"):
            md.cuda.make_graphed_callables(layer, (x,))
        assert not md.cuda.is_current_stream_capturing()
    optimizer = md.optim.Adagrad([md.ones(2, device=device, requires_grad=True)])

    def step(x):
        optimizer.step()
        return x * 2

    with pytest.raises(RuntimeError, match="a step of Adagrad cannot be recorded"):
        md.cuda.make_graphed_callables(step, (x,))
