"""README and CONTRIBUTING hold: their code runs, the files that they name are there."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import minidl as md
from minidl import kernels
from minidl.cli import app
from minidl.kernels import Kernel, jit
from minidl.testing.checks import check_op
from minidl.testing.samples import REGISTRY

ROOT = Path(__file__).parent.parent
DOCUMENTS = ["README.md", "CONTRIBUTING.md", "tutorials/README.md", "kernels/README.md"]


def blocks(document, language):
    found = re.findall(r"^```(\w*)\n(.*?)^```$", (ROOT / document).read_text(), re.DOTALL | re.MULTILINE)
    return [text for kind, text in found if kind == language]


@pytest.fixture
def family():
    """The names that a family file of operations has; what is added to Tensor and the registries is taken away again."""
    from minidl.ops import activation, arithmetic

    before = dict(vars(md.Tensor)), dict(REGISTRY), dict(kernels.REGISTRY)
    yield {**vars(arithmetic), **vars(activation)}
    for name in set(vars(md.Tensor)) | set(before[0]):
        if name not in before[0]:
            delattr(md.Tensor, name)
        elif vars(md.Tensor).get(name) is not before[0][name]:
            setattr(md.Tensor, name, before[0][name])
    for now, then in ((REGISTRY, before[1]), (kernels.REGISTRY, before[2])):
        now.clear()
        now.update(then)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_files_that_are_named_are_there(document):
    text = (ROOT / document).read_text()
    named = set(re.findall(r"`((?:minidl|kernels|tests|tutorials)/[\w./]*)`", text))
    assert named, "no file is named: has the way of naming them changed?"
    missing = [path for path in named if not (ROOT / path).exists()]
    assert not missing
    for picture in re.findall(r"!\[.*?\]\((.*?)\)", text):
        assert (ROOT / picture).is_file()


def test_the_map_of_the_tree():
    (tree,) = [b for b in blocks("README.md", "") if b.startswith("minidl/")]
    folder = ROOT
    for line in tree.splitlines():
        indent = len(line) - len(line.lstrip())
        if indent > 2:
            continue  # a description that goes on
        names = re.findall(r"[\w./]+(?:/|\.py)(?= |$)", re.split(r" {3,}", line.strip())[0])
        assert names, line
        if not indent:
            folder = ROOT / names[0] if names == ["minidl/"] else ROOT
        for name in names:
            assert (folder.parent if folder.name == name.strip("/") else folder).joinpath(name).exists(), name


def test_python_in_the_readme_runs(capsys):
    (example, _) = blocks("README.md", "python")
    exec(example, {})
    assert capsys.readouterr().out == "torch.Size([8, 3])\n"


def test_the_operation_in_the_readme(family):
    (_, example) = blocks("README.md", "python")
    exec(example, family)
    assert check_op(family["Cube"]) == 1
    assert md.tensor([2.0]).cube().tolist() == [8.0]


def test_the_operation_in_contributing(family):
    (example, _) = blocks("CONTRIBUTING.md", "python")
    exec(example, family)
    assert check_op(family["Softplus"]) == 2
    x = md.tensor([-900.0, 0.0, 900.0])
    assert x.softplus().tolist() == pytest.approx([0.0, np.log(2), 900.0])


def test_the_kernel_in_contributing(family):
    pytest.importorskip("numba")
    (_, example) = blocks("CONTRIBUTING.md", "python")
    source = ROOT / "CONTRIBUTING.md"
    names = {"Kernel": Kernel, "jit": lambda f: f, "np": np}  # uncompiled: Numba's cache wants a file
    exec(compile(example, str(source), "exec"), names)
    x = np.random.default_rng(0).standard_normal((3, 5)).astype(np.float32)
    for variant in ("numpy", "numba"):
        with kernels.use(row_sum=variant):
            np.testing.assert_allclose(names["row_sum"](x), x.sum(1), rtol=1e-5)
    assert callable(jit.jit)


def test_commands_are_commands():
    text = " ".join(blocks("README.md", "bash"))
    assert "minidl train" in text and "pytest -q" in text
    known = {command.name or command.callback.__name__ for command in app.registered_commands}
    known |= {group.name for group in app.registered_groups}
    assert set(re.findall(r"(?:^|`)minidl ([a-z]+)", (ROOT / "README.md").read_text(), re.MULTILINE)) <= known
