"""Files written by `save` and files made here, whole, reordered and damaged; the model before and after."""

import tempfile
from pathlib import Path

import numpy as np

import minidl
from minidl import nn
from minidl.learn.checks import check, equal, forbid, raises


def model(rng):
    """Two layers of the same shape, and a batch norm with buffers; every tensor with numbers of its own."""
    made = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 3), nn.Linear(3, 2, bias=False))
    with minidl.no_grad():
        for tensor in [*made.parameters(), *made.buffers()]:
            if tensor.dtype == minidl.int64:
                tensor.fill_(int(rng.integers(1, 100)))
            else:
                tensor.copy_(minidl.from_numpy(rng.uniform(0.5, 2, size=tuple(tensor.shape))))
    return made


def contents(made):
    named = [*made.named_parameters(), *made.named_buffers()]
    return {name: tensor.detach().numpy().copy() for name, tensor in named}


def compared(what, made, wanted):
    for name, array in contents(made).items():
        yield equal(f"{name}, {what}", array, wanted[name], rtol=0, atol=0)


@check("values")
def saved(subject, rng):
    made = model(rng)
    before = contents(made)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.npz")
        subject.save(made, path)
        with np.load(path) as file:
            arrays = dict(file)
    yield equal("names in the file", ", ".join(sorted(arrays)), ", ".join(sorted(before)))
    for name, array in before.items():
        yield equal(f"{name} in the file", arrays[name], array, rtol=0, atol=0)
        yield equal(f"dtype of {name} in the file", str(arrays[name].dtype), str(array.dtype))


@check("values")
def loaded(subject, rng):
    one, other = model(rng), model(rng)
    wanted = contents(one)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.npz")
        subject.save(one, path)
        subject.load(other, path)
        yield from compared("saved and loaded", other, wanted)
        exchanged = [name.translate(str.maketrans("02", "20")) for name in wanted]  # of equal shapes
        for what, names in [("in another order", exchanged), ("in the model's order", list(wanted))]:
            np.savez(path, **{name: wanted[name] for name in names})
            other = model(rng)
            subject.load(other, path)
            yield from compared(f"from a file {what}", other, wanted)


@check("property")
def in_place(subject, rng):
    made, wanted = model(rng), contents(model(rng))
    known = dict(made.named_parameters())
    dtypes = {name: str(array.dtype) for name, array in contents(made).items()}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.npz")
        np.savez(path, **{name: a.astype(np.float64) if a.dtype.kind == "f" else a for name, a in wanted.items()})
        subject.load(made, path)
    kept = [name for name, p in made.named_parameters() if known[name] is p]
    yield equal("parameters that are still the same objects", ", ".join(kept) or "none", ", ".join(known))
    found = {name: str(array.dtype) for name, array in contents(made).items()}
    yield equal("dtype of 0.weight, from a file of float64", found["0.weight"], dtypes["0.weight"])
    yield equal("all dtypes kept", found == dtypes, True)
    yield equal("requires_grad of 0.weight", made[0].weight.requires_grad, True)
    yield equal("0.weight is a leaf", made[0].weight.is_leaf, True)


@check("property")
def refused(subject, rng):
    wanted = contents(model(rng))
    missing = {name: array for name, array in wanted.items() if name != "2.bias"}
    damaged = [
        ("2.bias is missing", KeyError, missing),
        ("2.bias is called 2.offset", KeyError, {**missing, "2.offset": wanted["2.bias"]}),
        ("3.bias is unexpected", KeyError, {**wanted, "3.bias": np.zeros(2, np.float32)}),
        ("3.weight has another shape", ValueError, {**wanted, "3.weight": np.zeros((3, 3), np.float32)}),
        ("3.weight has shape (1, 3), which would broadcast", ValueError, {**wanted, "3.weight": np.zeros((1, 3))}),
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.npz")
        for what, kind, arrays in damaged:
            np.savez(path, **arrays)
            made = model(rng)
            before = contents(made)
            yield raises(what, kind, lambda made=made: subject.load(made, path))
            changed = [name for name, array in contents(made).items() if not np.array_equal(array, before[name])]
            yield equal(f"tensors changed all the same, {what}", ", ".join(changed) or "none", "none")


checks = [
    forbid("state_dict", "load_state_dict", "minidl.save", "minidl.load", "pickle", "torch"),
    saved,
    loaded,
    in_place,
    refused,
]
